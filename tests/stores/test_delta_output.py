"""Delta tables in each kind of store, read back by delta-rs from a copy. Real clouds were not asked."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from tests.support import sinks
from tests.support.delta_output import read
from tests.support.delta_runs import ROWS, attempt

if TYPE_CHECKING:
    from pathlib import Path

    from gpuquery.plan.plan import Plan
    from tests.support.lakes import Lake

pytestmark = pytest.mark.s3


def plan(lake: Lake, **more: Any) -> Plan:
    return lake.plan(**{"delta": {}, "mode": "append", "partition_by": ["k"], **more})


def rows(lake: Lake, path: Path) -> list[Any]:
    for key, body in lake.contents().items():
        (path / key).parent.mkdir(parents=True, exist_ok=True)
        (path / key).write_bytes(body)
    found = read(path)
    return sorted(zip(found["k"].to_pylist(), found["v"].to_pylist(), strict=True), key=str)


def test_a_table_is_made_and_its_partitions_are_replaced(lake: Lake, tmp_path: Path) -> None:
    first = plan(lake)
    assert sinks.run(first, pl.LazyFrame(ROWS)).version == 0
    done = sinks.run(plan(lake, mode="overwritePartitions"), pl.LazyFrame({"k": ["ä"], "v": [-1]}))
    assert (done.version, done.rows, done.uri) == (1, 1, f"{lake.uri}/")
    assert sinks.run(first, pl.LazyFrame(ROWS), attempt=2).version == 0
    kept = [one for one in zip(ROWS["k"], ROWS["v"], strict=True) if one[0] != "ä"]
    assert rows(lake, tmp_path / "copy") == sorted([*kept, ("ä", -1)], key=str)


@pytest.mark.parametrize("same", [True, False], ids=["of one job", "of three jobs"])
def test_attempts_at_one_time_make_one_commit_for_each_job(lake: Lake, tmp_path: Path, same: bool) -> None:
    plans = [plan(lake)] * 3 if same else [plan(lake) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        said = list(pool.map(lambda made: attempt(sinks.sink(made)), plans))
    committed = {one for one in said if one.startswith("version")}
    assert len(committed) == (1 if same else 3), said
    assert set(said) - committed <= {"WorkerLost"}
    want = list(zip(ROWS["k"], ROWS["v"], strict=True)) * len(committed)
    assert rows(lake, tmp_path / "copy") == sorted(want, key=str)
