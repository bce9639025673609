"""Many one-pod jobs: what the operator asks and uses for each, while they merely run, and after a restart with them.

The control plane is the real one with an audit log (tests/bench/plane.py), and kubelets are played by KWOK, so that
pods cost nothing; the operator is a process of this machine. Four phases: all jobs are applied and begin; nothing
happens; the operator is ended and started again; and all pods end with a report of their commit. `--operator` measures
another version of the operator in the same run: the folder of its package's parent, such as `operator` of a checkout.
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
from tests.bench import audit, daskjob
from tests.bench.plane import Limits, Plane, control_plane
from tests.bench.setting import conditions
from tests.tenants import stage
from tools.kubectl import ROOT, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 1800.0


@dataclass
class Meter:
    """What operator and API server have used and answered since it was last read."""

    plane: Plane
    operator: stage.Operator
    log: audit.Log

    def __post_init__(self) -> None:
        """Begin."""
        self.before = self._now()

    def _now(self) -> tuple[float, float, float, int]:
        server = next(p for p in self.plane.started if "kube-apiserver" in str(p.args))
        used = [daskjob.Operator("", "", process).cpu() for process in (self.operator.process, server)]
        return time.monotonic(), used[0], used[1], len(self.log.look())

    def read(self, jobs: int) -> dict[str, Any]:
        """Return what was used, a job, and begin anew."""
        now = self._now()
        seconds, cpu, server = (after - before for after, before in zip(now[:3], self.before[:3], strict=True))
        mine = [r for r in self.log.requests[self.before[3] :] if r.user == stage.USER and not audit.heartbeat(r)]
        self.before = now
        return {
            "seconds": round(seconds, 1),
            "operator_cpu_ms_per_job": round(1000 * cpu / jobs, 1),
            "operator_cores": round(cpu / seconds, 3),
            "server_cpu_ms_per_job": round(1000 * server / jobs, 1),
            "requests_per_job": round(len(mine) / jobs, 2),
            "writes_per_job": round(sum(r.write for r in mine) / jobs, 2),
            "asked": dict(Counter(f"{r.verb} {r.resource}" for r in mine).most_common()),
            "resident_mb": round(_resident(self.operator) / 1e6),
        }


def _resident(operator: stage.Operator) -> int:
    status = Path(f"/proc/{operator.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) * 1024


@dataclass(frozen=True)
class Jobs:
    """The jobs of one subject, in a namespace of their own."""

    server: stage.Server
    namespace: str
    count: int

    def apply(self) -> None:
        """Make all of them."""
        jobs = (stage.job(f"job-{n}", preflight="never", startDeadlineSeconds=86_400) for n in range(self.count))
        assert set(self.server.create(self.namespace, *jobs)) == {201}

    def all(self, *states: str) -> Callable[[], bool]:
        """Return whether all of them are in one of these states."""

        def so() -> bool:
            found = self.server.get(f"{stage.API}/namespaces/{self.namespace}/gpuqueryjobs")["items"]
            return sum(job.get("status", {}).get("state") in states for job in found) == self.count

        return so

    def end(self) -> None:
        """Let each pod tell that its query was committed."""
        path = f"/api/v1/namespaces/{self.namespace}/pods"
        pods = self.server.get(path)["items"]
        ended = (("PATCH", f"{path}/{pod['metadata']['name']}/status", {"status": _committed(pod)}) for pod in pods)
        assert set(self.server.send(*ended)) == {200}


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


def measured(server: stage.Server, name: str, folder: str, count: int, seconds: float) -> dict[str, Any]:
    """Run all phases with one version of the operator."""
    jobs, log = Jobs(server, server.namespace("steady"), count), audit.Log(server.plane.audit)
    running = jobs.all("Ready", "Running")
    found: dict[str, Any] = {"bench": "steady", "subject": name, "jobs": count}
    with stage.operator(server.plane, PYTHONPATH=folder) as subject:
        meter = Meter(server.plane, subject, log)
        jobs.apply()
        wait_until(running, timeout=PATIENCE, what="all pods to be ready", every=1)
        found["begin"] = meter.read(count)
        time.sleep(30)  # what is left to do is done, and progress has been asked for in vain
        meter.read(count)
        time.sleep(seconds)
        found["running"] = meter.read(count)
    with stage.operator(server.plane, PYTHONPATH=folder) as subject:
        meter = Meter(server.plane, subject, log)
        began = time.monotonic()
        page = f"{subject.metrics}/metrics"
        wait_until(lambda: _looked_at(page) >= count, timeout=PATIENCE, what="a look at each job", every=0.2)
        found["restart"] = {**meter.read(count), "all_seen_after_seconds": round(time.monotonic() - began, 1)}
        meter.read(count)
        jobs.end()
        wait_until(jobs.all("Complete"), timeout=PATIENCE, what="all jobs to be complete", every=1)
        found["end"] = {**meter.read(count), "peak_mb": round(subject.peak() / 1e6)}
    both = (found["begin"], found["end"])
    for figure in ("requests_per_job", "writes_per_job", "operator_cpu_ms_per_job"):
        found[figure] = round(sum(phase[figure] for phase in both), 2)
    server.clear(jobs.namespace)
    return {**found, **conditions()}


def _looked_at(page: str) -> int:
    """Return how many jobs the operator has looked at since it began."""
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(page, timeout=5) as answer:
        lines = [line.rsplit(" ", 1) for line in answer.read().decode().splitlines()]
    return sum(int(float(value)) for name, value in lines if name.startswith("gpuquery_jobs{"))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60, help="how long the jobs merely run")
    parser.add_argument("--operator", action="append", default=[], help="name=folder of another version")
    chosen = parser.parse_args()
    subjects = [*(each.split("=", 1) for each in chosen.operator), ["this", str(ROOT / "operator")]]
    with tempfile.TemporaryDirectory(prefix="gpuquery-steady-") as folder:
        nodes = max(2, -(-chosen.jobs // 900))
        with control_plane(Path(folder) / "plane", users=[stage.USER], limits=Limits(), nodes=nodes, gpus=8) as plane:
            plane.cluster.run("apply", "--server-side", "-f", str(ROOT / "crds" / "gpuquery.io_gpuqueryjobs.yaml"))
            plane.cluster.run("wait", "--for=condition=Established", "crd/gpuqueryjobs.gpuquery.io", "--timeout=60s")
            for name, path in subjects:
                print(json.dumps(measured(stage.Server(plane), name, path, chosen.jobs, chosen.seconds)), flush=True)


if __name__ == "__main__":
    main()
