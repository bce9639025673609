"""KubeRay as a process of this machine, to measure beside ours: built from its Go module, with its own defaults.

A RayCluster that is only a head is its smallest object: one pod, as a GpuQueryJob of one process.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench.plane import HERE, Plane, answers, end, free_ports, go_tool
from tools.kubectl import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULE = "github.com/ray-project/kuberay/ray-operator"
SOURCE = HERE / "go" / "kuberay"
USER = "kuberay"
CLUSTERS = "/apis/ray.io/v1/namespaces/{}/rayclusters"


def install(plane: Plane) -> None:
    """Bring its CRDs into a plane, from the module that the program is built from."""
    go_tool(SOURCE, "ray-operator")
    go = ["go", "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", MODULE]
    env = {**os.environ, "GOTOOLCHAIN": "local", "GOWORK": "off"}
    folder = subprocess.run(go, cwd=SOURCE, env=env, check=True, capture_output=True, text=True).stdout.strip()
    for crd in sorted(Path(folder, "config", "crd", "bases").glob("*.yaml")):
        plane.cluster.run("apply", "--server-side", "-f", str(crd))
    plane.cluster.run("wait", "--for=condition=Established", "crd/rayclusters.ray.io", "--timeout=60s")


@contextlib.contextmanager
def operator(plane: Plane) -> Iterator[subprocess.Popen[bytes]]:
    """Run KubeRay's operator until the end of the block."""
    probes, metrics = free_ports(2)
    flags = ["--enable-leader-election=false", f"--health-probe-bind-address=127.0.0.1:{probes}"]
    flags.append(f"--metrics-addr=127.0.0.1:{metrics}")
    process = plane.start(str(go_tool(SOURCE, "ray-operator")), *flags, env={"KUBECONFIG": str(plane.kubeconfig(USER))})
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{probes}/readyz"), timeout=120, what="KubeRay to be ready")
        yield process
    finally:
        plane.started.remove(process)
        end(process)


def cluster(name: str) -> dict[str, Any]:
    """Return a RayCluster that is only a head."""
    resources = {"limits": {"memory": "8Gi"}, "requests": {"cpu": "1"}}
    head = {"containers": [{"name": "ray-head", "image": "rayproject/ray:2.52.0", "resources": resources}]}
    spec = {"rayVersion": "2.52.0", "headGroupSpec": {"rayStartParams": {}, "template": {"spec": head}}}
    return {"apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": {"name": name}, "spec": spec}
