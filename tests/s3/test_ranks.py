"""Several ranks on a real S3 server: one commit of all, and what becomes of the rows of ranks that died."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from gpuquery.api.reasons import Failure
from gpuquery.runner import engines, stores
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output.sink import Identity, Sink, Totals
from tests.support.rank_threads import Shares, run
from tests.support.runner import plan
from tests.support.sinks import ROOT
from tests.support.sinks import plan as sink_plan

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gpuquery.plan.plan import Plan
    from tests.support.seaweed import Seaweed

pytestmark = pytest.mark.s3
ROWS = pl.DataFrame({"k": [f"k{n % 4}" for n in range(300)], "v": range(300)})


@pytest.fixture
def made(seaweed: Seaweed, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Plan]:
    """Makes plans of three ranks over a table of 300 rows."""
    for name, value in seaweed.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(engines, "find", lambda name: Shares(parts=3))
    store = {"endpoint": seaweed.endpoint, "region": "us-east-1", "pathStyle": True}

    def make(query: str = "SELECT k, v FROM t", **changes: Any) -> Plan:
        inputs = {"t": f"s3://{bucket}/in/*.parquet"}
        return plan(f"s3://{bucket}", query, store=store, inputs=inputs, processes="ranks", replicas=3, **changes)

    ROWS.write_parquet(f"s3://{bucket}/in/t.parquet", storage_options=stores.scan_options(make().store, "s3://x"))
    return make


def scan(one: Plan) -> pl.DataFrame:
    options = stores.scan_options(one.store, one.output.uri)
    return pl.scan_parquet(f"{one.output.uri}/data/", storage_options=options).collect()


@pytest.mark.parametrize("by", [[], ["k"]])
def test_three_ranks_commit_once_and_leave_nothing_else(
    seaweed: Seaweed, bucket: str, made: Callable[..., Plan], by: list[str]
) -> None:
    one = made(output={"uri": f"s3://{bucket}/out", "partitionBy": by})
    reports = run(one, 3)
    assert [report and report.committed and report.committed.rows for report in reports] == [300] * 3
    assert scan(one).select("k", "v").sort("v").equals(ROWS)
    assert seaweed.uploads(bucket) == [] and seaweed.keys(bucket, "out/_staging/") == []


def test_two_attempts_at_once_leave_one_commit(seaweed: Seaweed, bucket: str, made: Callable[..., Plan]) -> None:
    one = made()
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda attempt: run(one.model_copy(update={"attempt": attempt}), 3), (1, 2)))
    committed = [report.committed for reports in both for report in reports if report and report.committed]
    assert committed and {found.version for found in committed} == {committed[0].version}
    assert len(committed) >= 3, "all ranks of one attempt have succeeded"
    assert scan(one).sort("v").equals(ROWS)
    assert all(report and report.committed for report in run(one.model_copy(update={"attempt": 3}), 3))
    assert seaweed.uploads(bucket) == []
    assert scan(one).sort("v").equals(ROWS)


def sinks(one: Plan, attempt: int = 1) -> list[Sink]:
    made = [Sink(one, Identity(one.job.uid, attempt, rank, 3)) for rank in range(3)]
    assert made[0].preflight() is None
    for each in made:
        each.check_schema(ROWS.schema)
    return made


def stage(each: Sink) -> Totals:
    file = each.scratch() / "part.000000.parquet"
    ROWS.write_parquet(file)
    each.add(file)
    return each.seal()


@pytest.mark.parametrize("sealed", [False, True], ids=["before its pending set", "after its pending set"])
def test_a_rank_that_is_killed_leaves_what_the_next_attempt_sweeps(
    seaweed: Seaweed, bucket: str, tmp_path: Path, sealed: bool
) -> None:
    one = sink_plan(f"s3://{bucket}/out", endpoint=seaweed.endpoint)
    first, second, _ = sinks(one)
    totals = [stage(first), stage(second)]
    code = (
        "import os, signal, sys\n"
        "from gpuquery.plan.plan import Plan\n"
        "from tests.s3.test_ranks import ROWS, Identity, Sink, stage\n"
        "one = Plan.model_validate_json(sys.argv[1])\n"
        "each = Sink(one, Identity(one.job.uid, 1, 2, 3))\n"
        "each.check_schema(ROWS.schema)\n"
        f"{'stage(each)' if sealed else 'each.write(ROWS.lazy())'}\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, **seaweed.environment, "PYTHONPATH": f"{ROOT / 'operator'}{os.pathsep}{ROOT}"}
    ended = subprocess.run([sys.executable, "-c", code, one.model_dump_json()], cwd=ROOT, env=environment, timeout=120)
    assert ended.returncode == -signal.SIGKILL
    assert len(seaweed.uploads(bucket)) == 3
    if not sealed:
        with pytest.raises(JobError, match="rank 2 has written no pending set") as caught:
            first.commit([*totals, Totals(300, 1, totals[0].bytes)])
        assert caught.value.failure is Failure.INTERNAL_ERROR
        first.abort()
        second.abort()  # which has handed its rows over
        assert len(seaweed.uploads(bucket)) == 2
    again = sinks(one, attempt=2)
    assert seaweed.uploads(bucket) == []
    status = again[0].commit([stage(each) for each in reversed(again)][::-1])
    assert status.rows == 900
    assert seaweed.uploads(bucket) == [] and seaweed.keys(bucket, "out/_staging/") == []
    with pytest.raises(JobError):
        first.commit(totals)


def test_a_pending_set_that_does_not_add_up_is_named_and_nothing_is_committed(seaweed: Seaweed, bucket: str) -> None:
    one = sink_plan(f"s3://{bucket}/out", endpoint=seaweed.endpoint)
    all_ranks = sinks(one)
    totals = [stage(each) for each in all_ranks]
    for wrong in (
        [totals[0], Totals(299, 1, totals[1].bytes), totals[2]],
        [totals[0], Totals(300, 2, totals[1].bytes), totals[2]],
    ):
        with pytest.raises(JobError, match="pending set of rank 1 does not add up") as caught:
            all_ranks[0].commit(wrong)
        assert caught.value.failure is Failure.INTERNAL_ERROR
    with pytest.raises(JobError, match="2 ranks have told"):
        all_ranks[0].commit(totals[:2])
    assert seaweed.keys(bucket, "out/_commits/") == [] and seaweed.keys(bucket, "out/data/") == []
    assert all_ranks[0].commit(totals).rows == 900


def test_ranks_that_abort_at_any_time_leave_nothing(seaweed: Seaweed, bucket: str) -> None:
    one = sink_plan(f"s3://{bucket}/out", endpoint=seaweed.endpoint, partition_by=["k"])
    all_ranks = sinks(one)
    file = all_ranks[1].scratch() / "part.000000.parquet"
    ROWS.write_parquet(file)
    all_ranks[1].add(file)
    stage(all_ranks[0])
    for each in all_ranks:
        each.abort()
    assert not file.parent.exists()
    with pytest.raises(JobError, match="told to stop"):
        all_ranks[1].seal()
    assert seaweed.uploads(bucket) == []
    assert [key for key in seaweed.keys(bucket, "out/") if "probe" not in key] == []
