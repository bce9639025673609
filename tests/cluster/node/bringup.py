"""Bring the cluster up: the order of its parts, and what each waits for."""

import json
import time
from collections.abc import Callable, Collection, Sequence
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
    """Bring the cluster up, repair it, or leave it; say which. What etcd holds is never taken away: that is `down`."""
    _refuse_second_cluster(layout)
    now = status(layout)
    if now.ready and layout.options.exists():
        return _keep(layout, options, now)
    if not now.absent and holds_data(layout):
        return _repair(layout, options, now)
    if not now.absent:
        say("the rest of a cluster that held nothing yet is there: taking it away first")
        teardown.down(layout)
    return _fresh(layout, options)


def holds_data(layout: Layout) -> bool:
    """Whether etcd may hold objects: it has written, and an API server was there to write to it."""
    used = layout.options.exists() or layout.log("kube-apiserver").exists()
    return used and (layout.state / "etcd" / "member").exists()


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


def _repair(layout: Layout, options: Options, now: Status) -> str:
    """Start the parts that are missing, as they were, beside those that run."""
    began = time.monotonic()
    programs = _as_before(layout)
    missing = ", ".join(now.missing)
    say(
        f"a cluster is half there: starting {missing}"
        if missing
        else "a cluster is there and not ready: waiting for it"
    )
    former = Options(**json.loads(layout.options.read_text())) if layout.options.exists() else options
    if not network.bridge_exists():
        network.create(layout)
    cgroup.create()
    if "containerd" in now.missing:
        layout.containerd_socket.unlink(missing_ok=True)  # of the one that has ended: nobody answers there
    try:
        _bring(layout, former, programs, now.missing)
    except RefusedError as refusal:
        raise RefusedError(
            f"{refusal}\nNothing was taken away: etcd's data is in {layout.state}/etcd. "
            "Mend what is wrong and run `up` again, or give the data up with `down`"
        ) from None
    done = f"repaired in {time.monotonic() - began:.1f} s: started {missing or 'nothing, and waited'}"
    return f"{done}; {_keep(layout, options, status(layout))}"


def _as_before(layout: Layout) -> Path:
    """Return the programs that the cluster was made with; refuse to go on with others, or without its keys."""
    way_out = f"etcd's data in {layout.state}/etcd would be lost: save what you need and run `down`"
    if not layout.kubeconfig.exists():
        raise RefusedError(f"a cluster is half there, and its keys are incomplete; {way_out}")
    made, wanted = parts.programs_of(layout), build.programs(layout)
    if made != wanted:
        raise RefusedError(f"a cluster is half there, and other versions made it ({made}, not {wanted}); {way_out}")
    return build.ensure(layout)


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
    _bring(layout, options, programs, PARTS)
    return f"up in {time.monotonic() - began:.1f} s, with {options.gpus} simulated GPUs"


def _bring(layout: Layout, options: Options, programs: Path, wanted: Collection[str]) -> None:
    """Start the wanted parts in their order and wait until the node is ready with its GPUs."""
    started: list[process.Running] = []

    def start(command: Sequence[str]) -> None:
        if command[0] in wanted:
            started.append(process.start(layout, command[0], command, programs))

    start(parts.etcd(layout, options))
    start(parts.containerd(layout))
    if not layout.kubeconfig.exists():
        pki.create(layout)
    start(parts.apiserver(layout))
    _wait("containerd", layout.containerd_socket.exists, started)
    if "containerd" in wanted:
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
    for part in started:
        part.check()
    layout.options.write_text(json.dumps(asdict(options)))


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
