"""How long it takes to resolve and check a job, against pydantic's own validation of the same object.

Three jobs: the smallest, one that asks for all that can be chosen, and the same with as many inputs and parameters as
a job may have. The namespace has annotations. Both run in turn in one process; medians of many rounds of the CPU time
of one resolution and of the status that tells it. One JSON line on stdout.

    python -m tests.bench.resolve [--rounds 400]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import TYPE_CHECKING, Any

from gpuquery.api.types import GpuQueryJob
from gpuquery.plan.defaults import Defaults
from gpuquery.plan.plan import Plan
from gpuquery.plan.resolve import plan_status, resolve
from tests.bench.setting import conditions

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULTS = Defaults(runtime_image_pattern="gpuquery-runtime:{release}").in_namespace(
    {"gpuquery.io/default-release": "26.04", "gpuquery.io/default-cluster": "single"}
)
SMALL: dict[str, Any] = {
    "query": {"sql": "SELECT a, sum(b) AS b FROM t0 GROUP BY a"},
    "inputs": [{"name": "t0", "uri": "s3://lake/t/*.parquet"}],
    "output": {"uri": "s3://lake/out"},
}
CHOOSY: dict[str, Any] = {
    **SMALL,
    "inputs": [{"name": f"t{i}", "uri": f"s3://lake/t{i}/*.parquet"} for i in range(4)],
    "parameters": {"since": {"date": "1994-01-01"}},
    "engine": "tasks",
    "cluster": "distributed",
    "workers": {"replicas": 4, "gpus": 8},
    "runtime": {"release": "26.04"},
    "executorOptions": {
        "target_partition_size": "1.5GB", "fallback_mode": "raise", "groupby_n_ary": 16, "shuffle_method": "rapidsmpf",
        "stats_planning": {"use_io_partitioning": True, "default_selectivity": 0.5},
    },
    "template": {
        "spec": {
            "env": [
                {"name": "CUDF_POLARS__EXECUTOR__MAX_ROWS_PER_PARTITION", "value": "2000000"},
                {"name": "CUDF_POLARS__EXECUTOR__BROADCAST_JOIN_LIMIT", "value": "4"},
            ]
        }
    },
}  # fmt: skip
LARGE: dict[str, Any] = {
    **CHOOSY,
    "inputs": [{"name": f"t{i}", "uri": f"s3://lake/t{i}/*.parquet"} for i in range(64)],
    "parameters": {f"p{i}": {"integer": i} for i in range(64)},
}
JOBS = {"small": SMALL, "choosy": CHOOSY, "largest": LARGE}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure resolving a job.")
    parser.add_argument("--rounds", type=int, default=400)
    rounds = parser.parse_args().rounds
    result = {name: measured(spec, rounds) for name, spec in JOBS.items()}
    print(json.dumps({"bench": "resolve", "rounds": rounds, **result, **conditions()}))


def measured(spec: dict[str, Any], rounds: int) -> dict[str, float]:
    """Return medians of resolving and of the reference, in seconds, and their ratio."""
    document = {"metadata": {"name": "bench", "namespace": "marts", "uid": "u"}, "spec": spec}
    job = GpuQueryJob.model_validate(document)
    times: dict[str, list[float]] = {"resolve": [], "pydantic": []}
    for _ in range(rounds):
        times["resolve"].append(timed(lambda: told(job)))
        times["pydantic"].append(timed(lambda: GpuQueryJob.model_validate(document)))
    ours, theirs = (statistics.median(times[name]) for name in ("resolve", "pydantic"))
    return {
        "resolve_seconds": round(ours, 6),
        "resolve_p99_seconds": round(statistics.quantiles(times["resolve"], n=100)[98], 6),
        "pydantic_seconds": round(theirs, 6),
        "ratio": round(ours / theirs, 3),
    }


def told(job: GpuQueryJob) -> None:
    """Resolve a job and put it into words, as the operator does."""
    plan = resolve(job, DEFAULTS)
    assert isinstance(plan, Plan), plan
    plan_status(plan, job, DEFAULTS)


def timed(action: Callable[[], object]) -> float:
    """Return the seconds of CPU that an action takes: others may be at work on this machine."""
    began = time.thread_time()
    action()
    return time.thread_time() - began


if __name__ == "__main__":
    main()
