"""What a preflight in a pod of its own adds to a job, against one pod start.

In turns: a small query with the checks in its own pod, the same with `preflight: always`, and a bare Job of the same
image that only imports what a preflight imports. The clock runs from the call of `kubectl apply` until `kubectl wait`
sees the object finished. How many writes a preflight adds is a matter of tests/unit/reconcile/test_reconciler.py.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import Any

from tests.bench.overhead import wait
from tests.bench.setting import conditions, prepared
from tests.e2e.jobs import Bench, fresh, tpch

IMPORTS = ["python", "-c", "import gpuquery.runner.attempt"]


def ours(bench: Bench, preflight: str) -> float:
    """Run one GpuQueryJob; returns seconds."""
    name = fresh("bench")
    document = bench.job(name, sql="SELECT n_name FROM nation", inputs=tpch("nation"), preflight=preflight)
    began = time.monotonic()
    bench.apply(document)
    wait(bench, f"gqj/{name}", "Complete")
    return time.monotonic() - began


def bare(bench: Bench) -> float:
    """Run a Job of the runtime image that only starts; returns seconds."""
    name = fresh("bare")
    restricted = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container: dict[str, Any] = {
        "name": "main", "image": bench.cluster.image("runtime"), "command": IMPORTS, "securityContext": restricted,
        "resources": {"requests": {"cpu": "250m", "memory": "512Mi"}},
    }  # fmt: skip
    pod = {
        "restartPolicy": "Never",
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    spec = {"backoffLimit": 0, "template": {"spec": pod}}
    began = time.monotonic()
    bench.cluster.apply(
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}, namespace=bench.namespace
    )
    wait(bench, f"job/{name}", "Complete")
    took = time.monotonic() - began
    bench.cluster.run("delete", f"job/{name}", "-n", bench.namespace, "--wait=false")
    return took


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    with prepared() as bench:
        ours(bench, "auto")
        rounds = [(ours(bench, "auto"), ours(bench, "always"), bare(bench)) for _ in range(arguments.rounds)]
    without, with_it, start = (statistics.median(x) for x in zip(*rounds, strict=True))
    added = statistics.median(b - a for a, b, _ in rounds)
    result = {
        "bench": "preflight",
        "without_seconds": round(without, 2),
        "with_seconds": round(with_it, 2),
        "added_seconds": round(added, 2),
        "bare_pod_seconds": round(start, 2),
        "added_pod_starts": round(added / start, 3),
        "rounds": [[round(x, 2) for x in r] for r in rounds],
        **conditions(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
