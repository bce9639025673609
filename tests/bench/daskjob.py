"""Our job against a DaskJob of the same shape: API requests, objects, time until all pods exist, what operators use.

The control plane is the real one with an audit log (tests/bench/plane.py), kubelets are played by KWOK, so that a
hundred pods cost nothing; both operators are processes of this machine, each alone while its jobs are measured, in
turns. A DaskJob of N workers is N pods with one GPU, a scheduler and a runner; ours is N pods with one GPU. The clock
runs from the API server's receipt of the job until its answer to the creation of the last pod. Leases are not counted.

Workers that really connect need pods that really run: tests/bench/connected.py.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.bench import audit
from tests.bench.plane import ADMIN, Limits, Plane, answers, control_plane, end, free_ports
from tests.bench.setting import conditions
from tests.e2e.jobs import fresh
from tests.tenants import stage
from tools import dask_kubernetes
from tools.kubectl import ROOT, wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping

OURS, THEIRS = "gpuquery", "dask-kubernetes"
NAMESPACE = "bench"
IMAGE = "localhost/gpuquery-runtime-26.10-cu12:dev"
QUIET = 5.0
"""Seconds without a write after which a job counts as settled."""
PATIENCE = 600.0


@dataclass(frozen=True)
class Operator:
    """One of the two, as a process of this machine."""

    name: str
    kind: str
    """Resource of its jobs."""
    process: subprocess.Popen[bytes]

    def cpu(self) -> float:
        """Return the CPU time that it has used, in seconds."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def forget_peak(self) -> None:
        """Let the peak of its memory begin anew."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def peak(self) -> float:
        """Return the peak of its resident memory, in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024 / 1e6


@contextlib.contextmanager
def operator(plane: Plane, name: str) -> Iterator[Operator]:
    """Run one of the operators, and wait until it watches."""
    env = {"KUBECONFIG": str(plane.kubeconfig(name))}
    probes, metrics = free_ports(2)
    before = len(audit.Log(plane.audit).look())
    if name == OURS:
        env |= {
            "PYTHONPATH": str(ROOT / "operator"),
            "GPUQUERY_PROBE_PORT": str(probes),
            "GPUQUERY_METRICS_PORT": str(metrics),
            "GPUQUERY_HOST": "127.0.0.1",
            "GPUQUERY_RUNTIME_IMAGES": json.dumps({"26.10": IMAGE}),
        }
        command = [sys.executable, "-c", f"{stage.NO_PROGRESS}; from gpuquery.cli import main; main(['operator'])"]
        kind = "gpuqueryjobs"
    else:
        liveness = f"--liveness=http://127.0.0.1:{probes}/healthz"
        kopf = dask_kubernetes.environment() / "kopf"
        kind = "daskjobs"
        command = [str(kopf), "run", "-m", "dask_kubernetes.operator.controller", liveness, "--all-namespaces"]
    started = Operator(name, kind, plane.start(*command, env=env))
    try:
        wait_until(lambda: _watches(plane, name, kind, before), timeout=60, what=f"{name} to watch {kind}")
        wait_until(lambda: answers(f"http://127.0.0.1:{probes}/healthz"), timeout=60, what=f"{name}'s probe")
        yield started
    finally:
        plane.started.remove(started.process)
        end(started.process)


def _watches(plane: Plane, name: str, kind: str, before: int) -> bool:
    since = audit.Log(plane.audit).look()[before:]
    return any((r.user, r.verb, r.resource) == (name, "watch", kind) for r in since)


def daskjob(name: str, workers: int) -> dict[str, Any]:
    """Return a DaskJob: a scheduler, so many Dask-CUDA workers of one GPU each, and the pod of the client."""

    def pod(container: str, command: str, gpus: int, **more: Any) -> dict[str, Any]:
        # Their schema takes texts only, where Kubernetes takes numbers too.
        resources = {"limits": {"nvidia.com/gpu": str(gpus), "memory": "8Gi"}, "requests": {"cpu": "1"}}
        one = {"name": container, "image": IMAGE, "args": command.split(), "resources": resources, **more}
        return {"containers": [one], "restartPolicy": "Never"} if container == "job" else {"containers": [one]}

    port = {"name": "tcp-comm", "containerPort": 8786}
    board = {"name": "http-dashboard", "containerPort": 8787}
    selector = {"dask.org/cluster-name": name, "dask.org/component": "scheduler"}
    ports = [{"name": p["name"], "port": p["containerPort"], "targetPort": p["name"]} for p in (port, board)]
    cluster = {
        "scheduler": {
            "spec": pod("scheduler", "dask scheduler --protocol ucx", 0, ports=[port, board]),
            "service": {"type": "ClusterIP", "selector": selector, "ports": ports},
        },
        "worker": {
            "replicas": workers,
            "spec": pod("worker", "dask cuda worker --name $(DASK_WORKER_NAME) --protocol ucx", 1),
        },
    }
    spec = {"job": {"spec": pod("job", "python query.py", 1)}, "cluster": {"spec": cluster}}
    return {"apiVersion": "kubernetes.dask.org/v1", "kind": "DaskJob", "metadata": {"name": name}, "spec": spec}


def ours(name: str, workers: int, *, dask: bool) -> dict[str, Any]:
    """Return our job of the same shape: on a Dask cluster of its own, or a set of ranks."""
    spec: dict[str, Any] = {
        "query": {"sql": "SELECT 1 AS one"},
        "output": {"uri": f"s3://lake/out/{name}"},
        "storage": {"secretName": "lake", "endpoint": "http://lake:8333"},
        "engine": "rapidsmpf",
        "cluster": "distributed" if workers > 1 else "single",
        "preflight": "never",
        "workers": {"replicas": workers, "gpus": 1, "resources": {"limits": {"memory": "8Gi"}}},
        "runtime": {"release": "26.10", "image": IMAGE},
    }
    if dask and workers > 1:
        spec["dask"] = {"backend": "native"}
    meta = {"name": name}
    return {"apiVersion": "gpuquery.io/v1alpha1", "kind": "GpuQueryJob", "metadata": meta, "spec": spec}


def has_dask() -> bool:
    """Whether this checkout's object has a section `dask`."""
    (crd,) = yaml.safe_load_all((ROOT / "crds" / "gpuquery.io_gpuqueryjobs.yaml").read_text())
    return "dask" in crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]


def pods_of(name: str, workers: int) -> int:
    """Return how many pods a job of one of the operators is made of."""
    return workers if name == OURS else workers + 2


def run(plane: Plane, who: Operator, workers: int, jobs: int = 1) -> dict[str, Any]:
    """Run so many jobs at once until nothing changes any more, take them away, and return what the log tells."""
    log, prefix = audit.Log(plane.audit), fresh("job")
    names = [f"{prefix}-{number}" for number in range(jobs)]
    dask = has_dask()
    documents = [daskjob(n, workers) if who.name == THEIRS else ours(n, workers, dask=dask) for n in names]
    expected = jobs * pods_of(who.name, workers)
    before = len(log.look())
    who.forget_peak()
    cpu = who.cpu()
    plane.cluster.apply(*documents, namespace=NAMESPACE)

    def pods() -> list[audit.Request]:
        return [r for r in log.look()[before:] if r.created and r.resource == "pods" and r.namespace == NAMESPACE]

    wait_until(lambda: len(pods()) >= expected, timeout=PATIENCE, what=f"{expected} pods of {who.name}")
    settled(log)
    wait_until(lambda: running(plane) == expected, timeout=PATIENCE, what=f"{expected} running pods", every=1)
    settled(log)
    used, peak = who.cpu() - cpu, who.peak()
    since = log.look()[before:]
    middle = len(log.requests)
    began = min(r.received for r in since if r.user == ADMIN and r.resource == who.kind and r.verb in audit.WRITES)
    answered = sorted(p.answered - began for p in pods())
    plane.cluster.run("delete", who.kind, *names, "-n", NAMESPACE, "--wait=false")
    wait_until(lambda: running(plane) == 0, timeout=PATIENCE, what="the pods to go", every=1)
    settled(log)
    whole = audit.counted(r for r in log.look()[before:] if r.user != ADMIN)
    start = audit.counted(r for r in since if r.user != ADMIN)
    objects = Counter(r.resource for r in since if r.created and r.user != ADMIN)
    return {
        "operator": who.name,
        "jobs": jobs,
        "workers": workers,
        "pods": expected,
        "seconds_to_first_pod": round(answered[0], 3),
        "seconds_to_all_pods": round(answered[-1], 3),
        "objects": sum(objects.values()),
        "objects_by_kind": dict(objects.most_common()),
        "operator_writes": start["writes_by_client"].get(who.name, 0),
        "operator_requests": start["requests_by_client"].get(who.name, 0),
        "all_writes": start["writes"],
        "all_requests": start["requests"],
        "operator_writes_with_end": whole["writes_by_client"].get(who.name, 0),
        "all_writes_with_end": whole["writes"],
        "operator_cpu_ms": round(1000 * used),
        "operator_peak_mb": round(peak),
        "detail": {**start, "requests_until_deleted": middle - before},
    }


def running(plane: Plane) -> int:
    """Return how many pods of the namespace run."""
    found = plane.cluster.run("get", "pods", "-n", NAMESPACE, "--no-headers", "--field-selector=status.phase=Running")
    return len(found.splitlines())


def settled(log: audit.Log) -> None:
    """Wait until nobody has written anything for a while, heartbeats aside."""

    def quiet() -> bool:
        writes = [r.answered for r in log.look() if r.write and not audit.heartbeat(r)]
        return time.time() - max(writes, default=0) > QUIET

    wait_until(quiet, timeout=PATIENCE, what="the cluster to settle", every=0.5)


def prepare(plane: Plane) -> None:
    """Install both kinds of objects, a namespace, and the Secret that our jobs name."""
    cluster = plane.cluster
    dask_kubernetes.apply_crds(cluster)
    cluster.run("apply", "--server-side", "-f", str(ROOT / "crds"))
    served = ("get", "--raw", "/apis/gpuquery.io/v1alpha1")
    wait_until(lambda: "gpuqueryjobs" in cluster.run(*served, check=False), timeout=60, what="our CRD")
    cluster.run("create", "namespace", NAMESPACE)
    data = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "lake"}, "stringData": data}
    cluster.apply(secret, namespace=NAMESPACE)


def compared(runs: list[dict[str, Any]], key: str) -> Mapping[str, float]:
    """Return the medians of a number for both, and how many times more theirs is."""
    mine, other = (statistics.median(r[key] for r in runs if r["operator"] == name) for name in (OURS, THEIRS))
    return {"ours": mine, "theirs": other, "ratio": round(other / mine, 2) if mine else 0}


def main() -> None:
    """Measure and print one JSON line for each shape."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 10, 100])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--at-once", type=int, default=50, help="jobs of the last shape; 0 leaves it out")
    parser.add_argument("--at-once-workers", type=int, default=10)
    parser.add_argument("--kcm-qps", type=int, default=Limits.qps)
    parser.add_argument("--kcm-burst", type=int, default=Limits.burst)
    parser.add_argument("--detail", action="store_true", help="print every run with its requests by client and verb")
    arguments = parser.parse_args()
    shapes = [(workers, 1, arguments.rounds) for workers in arguments.workers]
    shapes += [(arguments.at_once_workers, arguments.at_once, 1)] if arguments.at_once else []
    limits = Limits(arguments.kcm_qps, arguments.kcm_burst)
    with tempfile.TemporaryDirectory() as folder:
        users = (OURS, THEIRS)
        with control_plane(Path(folder) / "plane", users=users, limits=limits, nodes=10, gpus=200) as plane:
            prepare(plane)
            for workers, jobs, rounds in shapes:
                runs = []
                for _ in range(rounds):
                    for name in users:
                        with operator(plane, name) as who:
                            runs.append(run(plane, who, workers, jobs))
                        if arguments.detail:
                            print(json.dumps(runs[-1]), flush=True)
                print(json.dumps(result(runs, limits)), flush=True)


def result(runs: list[dict[str, Any]], limits: Limits) -> dict[str, Any]:
    """Return the line of a shape."""
    keys = [k for k, v in runs[0].items() if isinstance(v, int | float) and k not in ("jobs", "workers")]
    return {
        "bench": "daskjob",
        "jobs": runs[0]["jobs"],
        "workers": runs[0]["workers"],
        "rounds": len(runs) // 2,
        "our_job": "one process" if runs[0]["workers"] == 1 else "dask native" if has_dask() else "set of ranks",
        "kcm_qps": limits.qps,
        **{key: compared(runs, key) for key in keys},
        "objects_by_kind": {run["operator"]: run["objects_by_kind"] for run in runs},
        **conditions(),
    }


if __name__ == "__main__":
    main()
