"""A Kubernetes control plane of its own, whose audit log tells who asked the API server for what, and fake nodes.

The real etcd, API server, controller manager and scheduler of the one-node cluster, on free ports of this machine, so
that nothing else talks to them; KWOK plays kubelets, so that pods cost nothing. Operators run as processes of this
machine. Every client has a name of its own in the audit log.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import secrets
import socket
import subprocess
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.cluster.node import build, toolchain
from tests.cluster.node.layout import Layout
from tools.kubectl import Cluster, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

HERE = Path(__file__).parent
KWOK = HERE / "go" / "kwok"
STAGES = HERE / "kwok.yaml"
MASTERS = "system:masters"
CONTROLLERS, SCHEDULER = "system:kube-controller-manager", "system:kube-scheduler"
KUBELET, ADMIN = "kwok", "admin"
POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "None", "nonResourceURLs": ["*"]}, {"level": "Metadata"}],
}
POD_CIDR = "127.64.0.1/10"
"""Loopback, so that whoever asks a pod for its progress asks this machine, where nothing answers for it."""


def go_tool(source: Path, program: str) -> Path:
    """Return the program of a pinned Go module of `tests/bench/go`, built on the first call."""
    layout = Layout.from_env()
    sources = b"".join((source / name).read_bytes() for name in ("go.mod", "go.sum"))
    folder = layout.cache.parent / source.name / hashlib.sha256(sources).hexdigest()[:12]
    if not (folder / program).exists():
        go = toolchain.find(layout, toolchain.required([source / "go.mod"]))
        env = {
            "GOBIN": str(folder),
            "GOFLAGS": "-mod=readonly -buildvcs=false",
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
        }
        env |= {"CGO_ENABLED": "0", "PATH": f"{go.parent}:{os.environ['PATH']}"}
        command = [str(go), "install", "-trimpath", "-ldflags", "-s -w", "tool"]
        subprocess.run(command, cwd=source, env={**os.environ, **env}, check=True)
    return folder / program


@dataclass(frozen=True)
class Limits:
    """kube-controller-manager's limits towards the API server; its own defaults are 20 and 30."""

    qps: int = 200
    burst: int = 400


@dataclass(frozen=True)
class Plane:
    """A running control plane."""

    folder: Path
    programs: Path
    port: int
    tokens: Mapping[str, str]
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def audit(self) -> Path:
        """Return the audit log: one JSON document a line."""
        return self.folder / "audit.log"

    @property
    def cluster(self) -> Cluster:
        """Return it as a cluster for kubectl, as `admin`."""
        path = f"{self.programs}:{os.environ['PATH']}"
        return Cluster(None, "localhost", "dev", {"KUBECONFIG": str(self.kubeconfig(ADMIN)), "PATH": path})

    def kubeconfig(self, user: str) -> Path:
        """Return a kubeconfig of a client."""
        authority = base64.b64encode((self.folder / "pki" / "apiserver.crt").read_bytes()).decode()
        server = {"server": f"https://127.0.0.1:{self.port}", "certificate-authority-data": authority}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "plane", "cluster": server}],
            "users": [{"name": user, "user": {"token": self.tokens[user]}}],
            "contexts": [{"name": "plane", "context": {"cluster": "plane", "user": user}}],
            "current-context": "plane",
        }
        path = self.folder / f"{user.replace(':', '-')}.conf"
        path.write_text(json.dumps(config))
        return path

    def start(self, name: str, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start a program whose output goes to `<name>.log`; it is ended with the plane at the latest."""
        with (self.folder / f"{Path(name).name}.log").open("ab") as out:
            process = subprocess.Popen(
                [name, *arguments], stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd=self.folder,
                env={**{k: v for k, v in os.environ.items() if not k.startswith("KUBE")}, **(env or {})},
            )  # fmt: skip
        self.started.append(process)
        return process

    def ready(self) -> bool:
        """Whether the API server says so; raises if a part has ended."""
        for process in self.started:
            if process.poll() is not None:
                raise RuntimeError(f"{process.args!r} ended with {process.returncode}: see {self.folder}")
        return (self.folder / "pki" / "apiserver.crt").exists() and self.cluster.run(
            "get", "--raw", "/readyz", check=False
        ) == "ok"

    def fake_nodes(self, count: int, *, gpus: int) -> None:
        """Make nodes that take a thousand pods each, and wait until they are Ready."""
        amount = {"cpu": "1000", "memory": "4Ti", "pods": "1000", "ephemeral-storage": "100Ti", "nvidia.com/gpu": gpus}
        status = {"capacity": amount, "allocatable": amount}
        nodes = [
            {"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"fake-{n}"}, "status": status}
            for n in range(count)
        ]
        self.cluster.apply(*nodes)
        wait_until(lambda: self._ready_nodes() == count, timeout=60, what="the fake nodes")

    def _ready_nodes(self) -> int:
        nodes = self.cluster.get("nodes")["items"]
        return sum(
            not node["spec"].get("taints")
            and any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"].get("conditions", []))
            for node in nodes
        )


@contextlib.contextmanager
def control_plane(folder: Path, *, users: Sequence[str], limits: Limits, nodes: int, gpus: int) -> Iterator[Plane]:
    """Bring a control plane up with clients of these names, who may do everything, and take it down."""
    layout = Layout.from_env()
    (folder / "pki").mkdir(parents=True)
    groups = dict.fromkeys((ADMIN, KUBELET, *users), MASTERS) | {CONTROLLERS: "", SCHEDULER: ""}
    tokens = {name: secrets.token_hex(16) for name in groups}
    lines = [f'{token},{name},{name},"{groups[name]}"' for name, token in tokens.items()]
    (folder / "tokens.csv").write_text("\n".join(lines) + "\n")
    (folder / "tokens.csv").chmod(0o600)
    (folder / "policy.yaml").write_text(json.dumps(POLICY))
    key = str(folder / "accounts.key")
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    client, peer, port, controllers, scheduler = free_ports(5)
    plane = Plane(folder, build.ensure(layout), port, tokens)
    try:
        _etcd(plane, client, peer)
        _apiserver(plane, client, key)
        wait_until(plane.ready, timeout=90, what="the API server")
        for name, user, loop_port, more in (
            ("kube-controller-manager", CONTROLLERS, controllers, _controller_flags(key, limits)),
            ("kube-scheduler", SCHEDULER, scheduler, []),
        ):
            config = plane.kubeconfig(user)
            flags = [f"--{use}kubeconfig={config}" for use in ("", "authentication-", "authorization-")]
            flags += ["--bind-address=127.0.0.1", f"--secure-port={loop_port}", "--leader-elect=false"]
            plane.start(str(plane.programs / name), *flags, *more)
        config = plane.kubeconfig(KUBELET)
        flags = ["--manage-all-nodes", f"--config={STAGES}", f"--cidr={POD_CIDR}", "--node-lease-duration-seconds=40"]
        plane.start(str(go_tool(KWOK, "kwok")), f"--kubeconfig={config}", *flags)
        plane.fake_nodes(nodes, gpus=gpus)
        yield plane
    finally:
        for process in reversed(plane.started):
            end(process)


def _etcd(plane: Plane, client: int, peer: int) -> None:
    urls = {"client": f"http://127.0.0.1:{client}", "peer": f"http://127.0.0.1:{peer}"}
    plane.start(
        str(plane.programs / "etcd"), f"--data-dir={plane.folder}/etcd", f"--initial-cluster=default={urls['peer']}",
        f"--listen-client-urls={urls['client']}", f"--advertise-client-urls={urls['client']}",
        f"--listen-peer-urls={urls['peer']}", f"--initial-advertise-peer-urls={urls['peer']}",
    )  # fmt: skip


def _apiserver(plane: Plane, etcd: int, key: str) -> None:
    plane.start(
        str(plane.programs / "kube-apiserver"),
        f"--etcd-servers=http://127.0.0.1:{etcd}",
        "--bind-address=127.0.0.1",
        "--advertise-address=192.0.2.1",  # nobody comes that way, but a loopback address is refused
        "--endpoint-reconciler-type=none",
        f"--secure-port={plane.port}",
        f"--cert-dir={plane.folder}/pki",
        "--service-cluster-ip-range=10.97.0.0/16",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        f"--token-auth-file={plane.folder}/tokens.csv",
        "--authorization-mode=RBAC",
        f"--audit-policy-file={plane.folder}/policy.yaml",
        f"--audit-log-path={plane.audit}",
    )


def _controller_flags(key: str, limits: Limits) -> list[str]:
    return [
        f"--service-account-private-key-file={key}",
        "--use-service-account-credentials",
        "--allocate-node-cidrs=false",
        f"--kube-api-qps={limits.qps}",
        f"--kube-api-burst={limits.burst}",
    ]


def free_ports(count: int) -> list[int]:
    """Return ports of this machine that nobody listens on."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def end(process: subprocess.Popen[Any]) -> None:
    """End a process, by force if it does not go."""
    process.terminate()
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout=10)


def answers(url: str) -> bool:
    """Whether a page answers with 200."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
