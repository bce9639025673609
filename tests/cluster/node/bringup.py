"""Bring the cluster up: the order of its parts, and what each waits for."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from . import api, build, cgroup, host, images, network, parts, pki, process, teardown
from .host import say
from .layout import DNS_READY_URL, NODE, OUTSIDE, PROXY_READY_URL, Layout, RefusedError
from .parts import Options

PARTS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "containerd",
    "kubelet",
    "kube-proxy",
    "coredns",
)
DEFAULT_ACCOUNT = "/api/v1/namespaces/default/serviceaccounts/default"
PATIENCE = 90.0


@dataclass(frozen=True)
class Status:
    """What there is of a cluster."""

    running: tuple[str, ...]
    missing: tuple[str, ...]
    leftovers: bool
    api: bool
    node: bool
    gpus: int

    @property
    def ready(self) -> bool:
        return not self.missing and self.api and self.node

    @property
    def absent(self) -> bool:
        return not self.running and not self.leftovers


def status(layout: Layout) -> Status:
    """Look at processes, API server and node; nothing is taken from a record."""
    alive = {found.part for found in process.of(layout) if found.command[:15] == found.part[:15]}
    answering = layout.pki.exists() and api.ready(layout)
    node = api.node(layout) if answering else None
    return Status(
        running=tuple(part for part in PARTS if part in alive),
        missing=tuple(part for part in PARTS if part not in alive),
        leftovers=layout.state.exists() or network.bridge_exists(),
        api=answering,
        node=api.is_ready(node),
        gpus=api.gpus(node) if node else 0,
    )


def up(layout: Layout, options: Options) -> str:
    """Bring the cluster up, repair it, or leave it; say which."""
    _refuse_second_cluster(layout)
    now = status(layout)
    if now.ready and layout.options.exists():
        return _keep(layout, options, now)
    if not now.absent:
        say(f"a cluster is half there (not running: {', '.join(now.missing) or 'nothing'}): taking it down first")
        teardown.down(layout)
    return _fresh(layout, options)


def _keep(layout: Layout, options: Options, now: Status) -> str:
    if (running := process.programs(layout)) != build.programs(layout):
        raise RefusedError(f"already up with other versions (from {running}): run `down` first to change them")
    former = Options(**json.loads(layout.options.read_text()))
    if (changed := asdict(former) | {"gpus": options.gpus}) != asdict(options):
        raise RefusedError(f"already up with other options ({changed}): run `down` first to change them")
    if now.gpus == options.gpus:
        return f"already up, with {now.gpus} simulated GPUs; nothing to do"
    api.set_gpus(layout, options.gpus)
    layout.options.write_text(json.dumps(asdict(options)))
    return f"already up; simulated GPUs changed from {now.gpus} to {options.gpus}"


def _fresh(layout: Layout, options: Options) -> str:
    host.require_commands(host.RUN)
    programs = build.ensure(layout)
    began = time.monotonic()
    layout.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    layout.state.chmod(0o700)
    host.require_kernel(layout.state)
    host.require_free_ports()
    for folder in (layout.logs, layout.conf):
        folder.mkdir()
    layout.outside.write_text(json.dumps([folder for folder in OUTSIDE if not Path(folder).exists()]))
    network.create(layout)
    cgroup.create()
    for path, content in parts.files(layout, programs).items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)

    started: list[process.Running] = []

    def start(command: Sequence[str]) -> None:
        started.append(process.start(layout, command[0], command, programs))

    start(parts.etcd(layout, options))
    start(parts.containerd(layout))
    pki.create(layout)
    start(parts.apiserver(layout))
    _wait("containerd", layout.containerd_socket.exists, started)
    images.load_archive(layout, programs, programs / "pause.tar")
    _wait("the API server", lambda: api.ready(layout), started)
    start(parts.controller_manager(layout, options))
    start(parts.kubelet(layout))
    start(parts.scheduler(layout))
    start(parts.kube_proxy(layout))
    start(parts.coredns(layout))
    _wait(f"node {NODE}", lambda: api.node(layout) is not None, started)
    api.set_gpus(layout, options.gpus)
    _wait("a Ready node", lambda: api.is_ready(api.node(layout)), started)
    _wait("the default ServiceAccount", lambda: api.get(layout, DEFAULT_ACCOUNT) is not None, started)
    _wait("DNS", lambda: api.answers(DNS_READY_URL), started)
    _wait("kube-proxy", lambda: api.answers(PROXY_READY_URL), started)
    _wait("the simulated GPUs", lambda: api.gpus(api.node(layout) or {"status": {}}) == options.gpus, started)
    layout.options.write_text(json.dumps(asdict(options)))
    return f"up in {time.monotonic() - began:.1f} s, with {options.gpus} simulated GPUs"


def _wait(what: str, done: Callable[[], bool], started: Sequence[process.Running]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done():
        for part in started:
            part.check()
        if time.monotonic() > deadline:
            logs = {str(part.log.parent) for part in started}
            raise RefusedError(f"{what} did not come within {PATIENCE:.0f} s; see the logs in {', '.join(logs)}")
        time.sleep(0.05)


def _refuse_second_cluster(layout: Layout) -> None:
    others = {found.folder for found in process.owned()} - {str(layout.state)}
    if others:
        raise RefusedError(
            f"a one-node cluster of another folder is up: {', '.join(sorted(others))}; one machine holds one. "
            f"Take it down with `GPUQUERY_CLUSTER_DIR={min(others)} … down`, or use it"
        )


def programs_of(layout: Layout) -> Path:
    """The programs of a cluster that must be up."""
    running = process.programs(layout)
    if not status(layout).ready or running is None:
        raise RefusedError("the cluster is not up: run `up` first")
    return running
