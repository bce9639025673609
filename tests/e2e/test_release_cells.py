"""Engine x cluster x release on a real cluster: what runs is checked in a pod of its release's image, the rest refused.

`make test` builds the images of RELEASES, the last of each world. Those of the others, about 8 GB of disk each while
they are built, are tested by name: `make e2e RELEASES=25.08 ARGS="-k test_release"`.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

from gpuquery.api.choices import ClusterChoice, EngineChoice
from gpuquery.plan.releases import RELEASES
from tests.e2e.jobs import Bench, condition, fresh, tpch
from tools.kubectl import KubectlError

BUILT = os.environ.get("RELEASES", "26.04 26.10").split()
CUDA = int(os.environ.get("CUDA", "12"))
CELLS = [
    (release.name, engine, cluster, cell)
    for release in RELEASES.values()
    for (engine, cluster), cell in release.cells.items()
    if engine is not EngineChoice.CPU
]
RUNNABLE = [(r, e, c) for r, e, c, cell in CELLS if cell.way is not None and r in BUILT]
REFUSED = [(r, e, c) for r, e, c, cell in CELLS if cell.way is None]
SQL = "SELECT n_regionkey, count(*) AS nations FROM nation GROUP BY n_regionkey"
SPREAD = {"sql": "SELECT n_name FROM nation", "executorOptions": {"target_partition_size": 1000}}
"""Rows on several partitions, for where a result on one is refused."""
SMOOTHED = """
import polars as pl

def query(inputs, params):
    return inputs["nation"].select(pl.col("n_nationkey").ewm_mean(span=3))
"""


def cell(bench: Bench, release: str, engine: EngineChoice, cluster: ClusterChoice, **spec: Any) -> dict[str, Any]:
    """Build a job for one cell."""
    name = fresh("cell")
    image = bench.cluster.image(f"runtime-{release}-cu{CUDA}")
    workers = {"gpus": 2, "replicas": 1} if cluster is ClusterChoice.DISTRIBUTED else {"gpus": 1, "replicas": 1}
    wanted: dict[str, Any] = {
        "inputs": tpch("nation"),
        "engine": str(engine),
        "cluster": str(cluster),
        "workers": workers,
        "runtime": {"release": release, "image": image},
        **spec,
    }
    return bench.job(name, **({} if {"python", "sql"} & set(spec) else {"sql": SQL}), **wanted)


@pytest.mark.parametrize(("release", "engine", "shape"), RUNNABLE)
def test_a_cell_that_runs_is_resolved_and_checked_in_a_pod_of_its_release(
    bench: Bench, release: str, engine: EngineChoice, shape: ClusterChoice
) -> None:
    spread = {} if RELEASES[release].cells[engine, shape].replicated_safe else SPREAD
    job = cell(bench, release, engine, shape, dryRun=True, **spread)
    bench.apply(job)
    status = bench.ended(job["metadata"]["name"])["status"]
    complete = condition({"status": status}, "Complete")
    assert complete and (complete["status"], complete["reason"]) == ("True", "DryRun"), status
    plan = status["plan"]
    assert (plan["engine"], plan["cluster"], plan["release"]) == (engine, shape, release)
    assert status["preflight"]["release"] == release
    assert status["preflight"]["rows"] == 25
    assert not any("not translated" in warning for warning in status["preflight"].get("warnings", []))
    assert "attempts" not in status, "no GPU was asked for"


@pytest.mark.parametrize(
    ("release", "engine", "shape"), [c for c in RUNNABLE if not RELEASES[c[0]].cells[c[1], c[2]].replicated_safe]
)
def test_rows_that_would_come_out_once_for_each_gpu_are_refused_before_a_gpu_is_asked_for(
    bench: Bench, release: str, engine: EngineChoice, shape: ClusterChoice
) -> None:
    job = cell(bench, release, engine, shape, sql="SELECT count(*) AS nations FROM nation")
    bench.apply(job)
    status = bench.ended(job["metadata"]["name"])["status"]
    failed = condition({"status": status}, "Failed")
    assert failed and failed["reason"] == "InvalidCombination", status
    assert "once for each GPU" in failed["message"]
    assert "26.10" in failed["message"]
    assert "attempts" not in status


@pytest.mark.parametrize("release", BUILT)
def test_what_the_gpu_engine_cannot_run_is_named_before_a_gpu_is_asked_for(bench: Bench, release: str) -> None:
    engine = next(engine for name, engine, shape in RUNNABLE if (name, shape) == (release, ClusterChoice.SINGLE))
    job = cell(bench, release, engine, ClusterChoice.SINGLE, python=SMOOTHED, preflight="always")
    bench.apply(job)
    status = bench.ended(job["metadata"]["name"])["status"]
    failed = condition({"status": status}, "Failed")
    assert failed and failed["reason"] == "UnsupportedQuery", status
    assert "ewm" in failed["message"]  # 26.04 calls it "ewm mean"
    assert '"n_nationkey"' in failed["message"]
    assert "attempts" not in status


def test_an_image_of_another_release_is_told(bench: Bench) -> None:
    there = BUILT[0]
    asked = "26.10" if there != "26.10" else "26.08"
    job = cell(bench, asked, EngineChoice.RAPIDSMPF, ClusterChoice.SINGLE, dryRun=True)
    job["spec"]["runtime"]["image"] = bench.cluster.image(f"runtime-{there}-cu{CUDA}")
    bench.apply(job)
    status = bench.ended(job["metadata"]["name"])["status"]
    failed = condition({"status": status}, "Failed")
    assert failed and failed["reason"] == "ReleaseMismatch", status
    assert there in failed["message"]
    assert asked in failed["message"]


@pytest.mark.parametrize(("release", "engine", "shape"), REFUSED)
def test_a_cell_that_cannot_run_is_refused_with_the_releases_that_can(
    bench: Bench, release: str, engine: EngineChoice, shape: ClusterChoice
) -> None:
    job = cell(bench, release, engine, shape)
    with pytest.raises(KubectlError) as refused:
        bench.apply(job)
    told = str(refused.value)
    able = [r.name for r in RELEASES.values() if r.cells[engine, shape].way is not None]
    assert release in told
    assert any(name in told for name in able), told
