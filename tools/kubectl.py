"""A Kubernetes cluster that was chosen on purpose, driven through kubectl.

Nothing here ever uses the current context of a kubeconfig: the one-node cluster brings its own kubeconfig, and any
other cluster is named by the environment variable CONTEXT.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parent.parent
ONENODE = ROOT / "tests" / "cluster" / "onenode.py"
PATIENCE = 300.0
"""Seconds for anything on a busy cluster of one small node, where everything waits for everything else."""


class KubectlError(RuntimeError):
    """kubectl said no; the text is what it printed."""


@dataclass(frozen=True)
class Cluster:
    """One cluster: how to reach it and where its images come from."""

    context: str | None
    registry: str
    tag: str
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_one_node(self) -> bool:
        """Whether it is the cluster of `make cluster-up`."""
        return self.context is None

    def image(self, component: str) -> str:
        """Name of one of the project's images: operator, runtime, seaweedfs."""
        return f"{self.registry}/gpuquery-{component}:{self.tag}"

    def command(self, *arguments: str) -> list[str]:
        """Return the kubectl command line for this cluster."""
        executable = shutil.which("kubectl", path=self.environment.get("PATH", os.environ.get("PATH")))
        if executable is None:
            raise KubectlError("kubectl is not on the PATH: install it, or run `make cluster-up`, which brings one")
        chosen = ["--context", self.context] if self.context else []
        return [executable, *chosen, *arguments]

    def env(self) -> dict[str, str]:
        """Return the environment in which kubectl and helm reach this cluster."""
        return {**os.environ, **self.environment}

    def run(self, *arguments: str, stdin: str | None = None, check: bool = True, timeout: float = 120) -> str:
        """Run kubectl and return what it printed; raise KubectlError if it fails and `check` is set."""
        return self._run("kubectl", self.command(*arguments), stdin=stdin, check=check, timeout=timeout)

    def get(self, *arguments: str) -> Any:
        """Return `kubectl get ... -o json`, parsed."""
        return json.loads(self.run("get", *arguments, "-o", "json"))

    def apply(self, *documents: Mapping[str, Any], namespace: str | None = None) -> str:
        """Apply objects with strict field validation."""
        target = ["-n", namespace] if namespace else []
        text = yaml.safe_dump_all([dict(d) for d in documents])
        return self.run("apply", "--validate=strict", *target, "-f", "-", stdin=text)

    def wait_for(self, what: str, condition: str, *, namespace: str, timeout: int = 180) -> None:
        """Wait until an object has a condition, as `kubectl wait --for`."""
        flags = [f"--for={condition}", "-n", namespace, f"--timeout={timeout}s"]
        self.run("wait", what, *flags, timeout=timeout + 30)

    def helm(self, *arguments: str, check: bool = True, timeout: float = 300) -> str:
        """Run helm against this cluster and return what it printed."""
        executable = Path(sys.executable).parent / "helm"
        chosen = ["--kube-context", self.context] if self.context else []
        return self._run("helm", [str(executable), *chosen, *arguments], check=check, timeout=timeout)

    def _run(self, name: str, command: Sequence[str], *, check: bool, timeout: float, stdin: str | None = None) -> str:
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, env=self.env(), timeout=timeout, check=False
        )
        if check and done.returncode:
            words = done.stderr.strip() or done.stdout.strip()
            raise KubectlError(f"{name} {' '.join(command[1:])}: {words}")
        return done.stdout + (done.stderr if done.returncode else "")

    @contextmanager
    def forwarded(self, target: str, port: int, *, namespace: str) -> Iterator[str]:
        """Forward a port of a pod or Service to this machine; yields `127.0.0.1:<port>`."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            local = probe.getsockname()[1]
        process = subprocess.Popen(
            self.command("port-forward", "-n", namespace, target, f"{local}:{port}"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.env(),
        )
        try:
            wait_until(lambda: _listens(local) or process.poll() is not None, timeout=30, what="the forwarded port")
            if process.poll() is not None:
                raise KubectlError(f"kubectl port-forward {target}: {process.stdout.read() if process.stdout else ''}")
            yield f"127.0.0.1:{local}"
        finally:
            process.terminate()
            process.wait(timeout=10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(ready: Any, *, what: str, timeout: float = PATIENCE, every: float = 0.2) -> Any:
    """Call `ready` until it returns something true, and return that; TimeoutError names what was waited for."""
    deadline = time.monotonic() + timeout
    while True:
        if value := ready():
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout:.0f} s for {what}")
        time.sleep(every)


def chosen_cluster() -> Cluster:
    """Return the cluster of the environment: CONTEXT with REGISTRY, or the one-node cluster if CONTEXT is not set."""
    context = os.environ.get("CONTEXT")
    tag = os.environ.get("TAG", "dev")
    if context:
        registry = os.environ.get("REGISTRY")
        if not registry:
            raise SystemExit(
                f"CONTEXT={context} needs REGISTRY=<where that cluster pulls from>, e.g. REGISTRY=ghcr.io/acme"
            )
        return Cluster(context=context, registry=registry, tag=tag)
    return Cluster(context=None, registry="localhost", tag=tag, environment=_one_node_environment())


def _one_node_environment() -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, str(ONENODE), "kubeconfig"], capture_output=True, text=True, check=False, timeout=60
    )
    if done.returncode:
        raise SystemExit(f"the one-node cluster is not up: run `make cluster-up` ({done.stderr.strip()})")
    return parse_exports(done.stdout.splitlines())


def parse_exports(lines: Sequence[str]) -> dict[str, str]:
    """Read `export A=1 B=2` lines; `$PATH` in a value is this process's own."""
    words = [word for line in lines if line.startswith("export ") for word in shlex.split(line)[1:]]
    pairs = (word.partition("=") for word in words if "=" in word)
    return {name: os.path.expandvars(value) for name, _, value in pairs}
