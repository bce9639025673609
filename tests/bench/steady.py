"""Many one-pod jobs: what the operator asks and uses for each, while they merely run, and after a restart with them.

The control plane is the real one with an audit log (tests/bench/plane.py), and kubelets are played by KWOK, so that
pods cost nothing; the operator is a process of this machine. Phases: all jobs are applied and begin; nothing happens;
nothing happens and no operator runs, which tells what the API server does without one; the operator is started again;
and all pods end with a report of their commit. `--operator` measures another version of the operator in the same run:
the folder of its package's parent, such as `operator` of a checkout. `--beside` measures bare batch Jobs, of which the
controller manager is the operator, and clusters of KubeRay (tests/bench/kuberay.py) up to the moment they run.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuquery.api.report import Report
from gpuquery.api.status import OutputStatus
from tests.bench import audit, daskjob, kuberay
from tests.bench.plane import Limits, Plane, control_plane
from tests.bench.setting import conditions
from tests.tenants import stage
from tools.kubectl import ROOT, wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

PATIENCE = 3600.0
OF_A_NAMESPACE = 900
"""Jobs of one namespace, of which 1,000 may live at the same time."""


@dataclass
class Meter:
    """What operator and API server have used and answered since it was last read."""

    plane: Plane
    user: str
    process: subprocess.Popen[bytes]
    log: audit.Log

    def __post_init__(self) -> None:
        """Begin."""
        self.before = self._now()

    def _now(self) -> tuple[float, float, float, float, int]:
        others = (program(self.plane, name) for name in ("kube-apiserver", "kube-controller-manager"))
        used = [daskjob.Operator("", "", process).cpu() for process in (self.process, *others)]
        return time.monotonic(), used[0], used[1], used[2], len(self.log.look())

    def read(self, jobs: int) -> dict[str, Any]:
        """Return what was used, a job, and begin anew."""
        now = self._now()
        seconds, cpu, server, controllers = (b - a for b, a in zip(now[:4], self.before[:4], strict=True))
        since = self.log.requests[self.before[4] :]
        mine = [r for r in since if audit.client(r.user) == self.user and not audit.heartbeat(r)]
        self.before = now
        return {
            "seconds": round(seconds, 1),
            "operator_cpu_ms_per_job": round(1000 * cpu / jobs, 1),
            "operator_cores": round(cpu / seconds, 4),
            "server_cpu_ms_per_job": round(1000 * server / jobs, 1),
            "server_cores": round(server / seconds, 4),
            "controllers_cpu_ms_per_job": round(1000 * controllers / jobs, 1),
            "requests_per_job": round(len(mine) / jobs, 2),
            "writes_per_job": round(sum(r.write for r in mine) / jobs, 2),
            "asked": dict(Counter(f"{r.verb} {r.resource}" for r in mine).most_common()),
            "resident_mb": round(_resident(self.process) / 1e6),
            "load": conditions()["load"],
        }


def program(plane: Plane, name: str) -> subprocess.Popen[bytes]:
    """Return a process of the plane."""
    return next(process for process in plane.started if name in str(process.args))


def _resident(process: subprocess.Popen[bytes]) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) * 1024


@dataclass(frozen=True)
class Load:
    """Many objects of one kind, in as few namespaces as may have them."""

    server: stage.Server
    path: str
    """Of the kind, with {} for the namespace."""
    document: Callable[[str], stage.Manifest]
    namespaces: tuple[str, ...]
    count: int

    @classmethod
    def of(cls, server: stage.Server, path: str, document: Callable[[str], stage.Manifest], count: int) -> Load:
        """Make the namespaces."""
        spaces = tuple(server.namespace("steady") for _ in range(-(-count // OF_A_NAMESPACE)))
        return cls(server, path, document, spaces, count)

    def apply(self) -> None:
        """Make all of them."""
        paths = (self.path.format(self.namespaces[n % len(self.namespaces)]) for n in range(self.count))
        made = self.server.send(*(("POST", path, self.document(f"job-{n}")) for n, path in enumerate(paths)))
        assert set(made) == {201}

    def until(self, so: Callable[[stage.Manifest], bool], what: str) -> None:
        """Wait until something is so of all; asked seldom, for each answer costs the API server."""

        def count() -> bool:
            found = (self.server.get(self.path.format(namespace))["items"] for namespace in self.namespaces)
            return sum(so(each) for items in found for each in items) == self.count

        wait_until(count, timeout=PATIENCE, what=what, every=max(1.0, self.count / 200))

    def end(self) -> None:
        """Let each pod tell that its query was committed."""
        for path in (f"/api/v1/namespaces/{namespace}/pods" for namespace in self.namespaces):
            pods = self.server.get(path)["items"]
            ended = (("PATCH", f"{path}/{pod['metadata']['name']}/status", {"status": _committed(pod)}) for pod in pods)
            assert set(self.server.send(*ended)) == {200}

    def clear(self) -> None:
        """Delete all of them and their pods, again until they are gone: a busy API server deletes only some."""
        for path in (self.path, "/api/v1/namespaces/{}/pods"):
            for namespace in self.namespaces:

                def gone(at: str = path.format(namespace)) -> bool:
                    self.server.send(("DELETE", at, {"propagationPolicy": "Background"}))
                    return not self.server.get(f"{at}?limit=1")["items"]

                wait_until(gone, timeout=PATIENCE, what=f"{path} of {namespace} to be empty", every=5)


def _committed(pod: dict[str, Any]) -> dict[str, Any]:
    uri = f"s3://lake/out/{pod['metadata']['labels']['gpuquery.io/job']}/data/"
    report = Report(committed=OutputStatus(uri=uri, version=1, files=1, rows=1, bytes=100, partitions=1))
    end = {"exitCode": 0, "reason": "Completed", "finishedAt": datetime.now(tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
    runner = {**pod["status"]["containerStatuses"][0], "ready": False}
    runner["state"] = {"terminated": {**end, "message": report.to_line()}}
    conditions = [
        {**condition, "status": "False"} if condition["type"] in ("Ready", "ContainersReady") else condition
        for condition in pod["status"]["conditions"]
    ]
    return {"phase": "Succeeded", "containerStatuses": [runner], "conditions": conditions}


def _job(name: str) -> stage.Manifest:
    return stage.job(name, preflight="never", startDeadlineSeconds=86_400)


def _bare(name: str) -> stage.Manifest:
    container = {"name": "query", "image": "runtime:26.10", "resources": {"requests": {"cpu": "1"}}}
    spec = {"template": {"spec": {"containers": [container], "restartPolicy": "Never"}}, "backoffLimit": 0}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}


def _in_state(*states: str) -> Callable[[stage.Manifest], bool]:
    return lambda found: found.get("status", {}).get("state") in states


def measured(server: stage.Server, name: str, folder: str, count: int, seconds: float) -> None:
    """Run all phases with one version of the operator, and print them."""
    plane, log = server.plane, audit.Log(server.plane.audit)
    jobs = Load.of(server, f"{stage.API}/namespaces/{{}}/gpuqueryjobs", _job, count)
    found: dict[str, Any] = {"bench": "steady", "subject": name, "jobs": count}
    with stage.operator(plane, PYTHONPATH=folder) as subject:
        meter = Meter(plane, stage.USER, subject.process, log)
        jobs.apply()
        jobs.until(_in_state("Ready", "Running"), "all pods to be ready")
        found["begin"] = {**meter.read(count), "looks_per_job": round(_looks(subject) / count, 1)}
        time.sleep(30)  # what is left to do is done, and progress has been asked for without an answer
        meter.read(count)
        time.sleep(seconds)
        found["running"] = {**meter.read(count), "peak_mb": round(subject.peak() / 1e6)}
    meter = Meter(plane, "", program(plane, "kube-apiserver"), log)
    time.sleep(seconds / 2)
    found["no_operator"] = {"server_cores": meter.read(count)["server_cores"]}
    with stage.operator(plane, PYTHONPATH=folder) as subject:
        meter = Meter(plane, stage.USER, subject.process, log)
        began = time.monotonic()
        wait_until(lambda: _looked_at(subject) >= count, timeout=PATIENCE, what="a look at each job", every=0.2)
        found["restart"] = {**meter.read(count), "all_seen_after_seconds": round(time.monotonic() - began, 1)}
        meter.read(count)
        jobs.end()
        jobs.until(_in_state("Complete"), "all jobs to be complete")
        found["end"] = {**meter.read(count), "peak_mb": round(subject.peak() / 1e6)}
    both = (found["begin"], found["end"])
    for figure in ("requests_per_job", "writes_per_job", "operator_cpu_ms_per_job"):
        found[figure] = round(sum(phase[figure] for phase in both), 2)
    print(json.dumps({**found, **conditions()}), flush=True)
    jobs.clear()


def beside(server: stage.Server, count: int, seconds: float) -> None:
    """Print the same of bare Jobs, and of KubeRay's clusters: until they run, and while they do."""
    plane, log = server.plane, audit.Log(server.plane.audit)
    bare = Load.of(server, "/apis/batch/v1/namespaces/{}/jobs", _bare, count)
    meter = Meter(plane, "controllers", program(plane, "kube-controller-manager"), log)
    _run(bare, meter, "bare Jobs", lambda found: found.get("status", {}).get("ready") == 1, seconds)
    kuberay.install(plane)
    clusters = Load.of(server, kuberay.CLUSTERS, kuberay.cluster, count)
    with kuberay.operator(plane) as process:
        meter = Meter(plane, kuberay.USER, process, log)
        _run(clusters, meter, "KubeRay", _in_state("ready"), seconds)


def _run(load: Load, meter: Meter, name: str, ready: Callable[[stage.Manifest], bool], seconds: float) -> None:
    load.apply()
    load.until(ready, f"all of {name} to be ready")
    found: dict[str, Any] = {"bench": "steady", "subject": name, "jobs": load.count, "begin": meter.read(load.count)}
    time.sleep(30)
    meter.read(load.count)
    time.sleep(seconds)
    found["running"] = meter.read(load.count)
    load.clear()
    print(json.dumps({**found, **conditions()}), flush=True)


def _metrics(subject: stage.Operator, prefix: str) -> int:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{subject.metrics}/metrics") as answer:
        lines = [line.rsplit(" ", 1) for line in answer.read().decode().splitlines()]
    return sum(int(float(value)) for name, value in lines if name.startswith(prefix))


def _looked_at(subject: stage.Operator) -> int:
    """Return how many jobs the operator has looked at since it began."""
    return _metrics(subject, "gpuquery_jobs{")


def _looks(subject: stage.Operator) -> int:
    """Return how often it has looked at any."""
    return _metrics(subject, "gpuquery_reconcile_seconds_count{")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, nargs="*", default=[100, 3000])
    parser.add_argument("--seconds", type=float, default=60, help="how long the jobs merely run")
    parser.add_argument("--operator", action="append", default=[], help="name=folder of another version, for the first")
    parser.add_argument("--beside", type=int, default=0, help="how many bare Jobs, and clusters of KubeRay; 0: none")
    chosen = parser.parse_args()
    subjects = [*(each.split("=", 1) for each in chosen.operator), ["this", str(ROOT / "operator")]]
    users = [stage.USER, kuberay.USER]
    with tempfile.TemporaryDirectory(prefix="gpuquery-steady-") as folder:
        nodes = max(2, -(-max(*chosen.jobs, chosen.beside, 0) // 900))
        with control_plane(Path(folder) / "plane", users=users, limits=Limits(), nodes=nodes, gpus=8) as plane:
            server = stage.Server(plane)
            plane.cluster.run("apply", "--server-side", "-f", str(ROOT / "crds" / "gpuquery.io_gpuqueryjobs.yaml"))
            plane.cluster.run("wait", "--for=condition=Established", "crd/gpuqueryjobs.gpuquery.io", "--timeout=60s")
            if chosen.beside:
                beside(server, chosen.beside, chosen.seconds)
            for count in chosen.jobs:
                for name, path in subjects if count == chosen.jobs[0] else subjects[-1:]:
                    measured(server, name, path, count, chosen.seconds)


if __name__ == "__main__":
    main()
