"""The commit protocol on Google's and Azure's stores as on folders: races, crashes at every step, what is left behind.

tests/s3/test_sink.py has the same on S3. Rows are read back by pyarrow and DuckDB, which know no such store: from a
copy that another client has made of what everybody sees.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import duckdb
import polars as pl
import pyarrow.dataset as ds
import pytest
import yaml

from gpuquery.api.reasons import Failure
from gpuquery.cli import main
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output import commit, fsck, sweep
from gpuquery.runner.output.commit import Step
from gpuquery.runner.stores import rest
from gpuquery.runner.stores.base import Piece
from tests.support.faultproxy import Action, Rule, in_front_of
from tests.support.job_tables import job
from tests.support.sinks import ROWS, run, run_in_process, sink

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.faultproxy import FaultProxy
    from tests.support.lakes import Lake

pytestmark = pytest.mark.s3
EVERYWHERE = pytest.mark.parametrize("lake", ["gs", "abfss", "file"], indirect=True)
SERVED = pytest.mark.parametrize("lake", ["gs", "abfss"], indirect=True)
FRAME = pl.LazyFrame(ROWS)


def rows(lake: Lake, folder: Path) -> list[tuple[Any, ...]]:
    """All rows of the table, as two engines read them that have nothing to do with Polars."""
    copy = lake.copied(folder)
    sql = f"SELECT k, v FROM read_parquet('{copy}/**/*.parquet', hive_partitioning=true) ORDER BY v"
    by_duckdb = duckdb.sql(sql).fetchall()
    table = ds.dataset(copy, partitioning="hive").to_table().sort_by("v")
    assert table["v"].to_pylist() == [v for _, v in by_duckdb]
    return by_duckdb


def staged(lake: Lake) -> list[str]:
    return [key for key in lake.contents() if key.startswith("_staging/")]


@EVERYWHERE
def test_a_result_is_invisible_until_it_is_committed_and_whole_afterwards(lake: Lake, tmp_path: Path) -> None:
    one = lake.plan(partition_by=["k"])
    writer = sink(one)
    assert writer.preflight() is None
    writer.write(FRAME)
    assert lake.data() == {}
    status = writer.commit()
    assert (status.version, status.files, status.rows, status.partitions) == (1, 3, 3000, 3)
    found = rows(lake, tmp_path / "copy")
    assert [v for _, v in found] == ROWS["v"]
    assert {k for k, _ in found} == {"a/b", "", None}
    assert staged(lake) == []
    assert list(lake.store().dangling()) == []


@EVERYWHERE
def test_attempts_of_one_job_race_and_one_commit_stands(lake: Lake, tmp_path: Path) -> None:
    one, barrier = lake.plan(partition_by=["k"]), threading.Barrier(4)

    def attempt(_: int) -> Any:
        racer = sink(one, attempt=7)  # the same number: no attempt may fence another one
        racer.preflight()
        racer.write(FRAME)
        barrier.wait()
        return racer.commit()

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(attempt, range(4)))
    assert {result.version for result in results} == {1}
    assert len(lake.data()) == 3
    assert [v for _, v in rows(lake, tmp_path / "copy")] == ROWS["v"]
    assert staged(lake) == []
    if lake.kind != "abfss":  # Azure drops the losers' blocks a week later
        assert list(lake.store().dangling()) == []


@EVERYWHERE
def test_jobs_append_at_once_and_none_is_lost(lake: Lake) -> None:
    jobs = [lake.plan(mode="append") for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        versions = sorted(status.version for status in pool.map(run, jobs))
    assert versions == [1, 2, 3, 4]
    assert len(lake.data()) == 4


@EVERYWHERE
@pytest.mark.parametrize("step", [Step.BEFORE_RECORD, Step.AFTER_RECORD, Step.MID_PUBLISH, Step.BEFORE_MARKER])
def test_a_process_killed_at_any_step_leaves_what_the_next_attempt_completes(
    lake: Lake, step: Step, tmp_path: Path
) -> None:
    uid = str(uuid4())
    run(lake.plan(mode="append", partition_by=["k"]), FRAME.with_columns(pl.lit("old").alias("k")))
    one = lake.plan(mode="overwrite", partition_by=["k"], uid=uid)
    assert run_in_process(one, die_at=step, env=lake.environment) == -9
    if step in (Step.BEFORE_RECORD, Step.AFTER_RECORD):
        assert {k for k, _ in rows(lake, tmp_path / "before")} == {"old"}
    status = run(one, attempt=2)
    assert status.rows == 3000
    assert [v for _, v in rows(lake, tmp_path / "after")] == ROWS["v"]
    assert staged(lake) == []
    # What attempt 1 has staged and nothing names is Azure's to drop; a fence keeps anybody from naming it.
    assert len(list(lake.store().dangling())) == (3 if lake.kind == "abfss" and step is Step.BEFORE_RECORD else 0)
    assert run(one, FRAME.filter(False), attempt=3) == status, "a job that has committed never runs again"


@EVERYWHERE
def test_a_query_that_fails_half_way_leaves_nothing_that_anybody_sees(lake: Lake) -> None:
    def fail(batch: pl.DataFrame) -> pl.DataFrame:
        if batch["v"].max() > 500_000:  # type: ignore[operator]
            raise ZeroDivisionError("the user's mistake")
        return batch

    lf = pl.LazyFrame({"v": range(1_000_000)}).map_batches(fail, streamable=True, schema={"v": pl.Int64})
    with pytest.raises(JobError, match="the user's mistake"):
        run(lake.plan(), lf)
    assert lake.contents() == {}


@EVERYWHERE
def test_uploads_of_a_job_that_died_a_day_ago_can_never_be_committed(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = sink(lake.plan(mode="append"))
    dead.preflight()
    dead.write(FRAME)
    monkeypatch.setattr(sweep, "STALE_SECONDS", -5)
    run(lake.plan(mode="append"))
    assert staged(lake) == []
    with pytest.raises(JobError, match="given up for dead"):
        dead.commit()
    assert len(lake.data()) == 1


LOST = {
    "gs": "did a lifecycle rule of the bucket, or somebody, delete objects below _staging/",
    "abfss": "did it wait for more than a week? Azure drops blocks",
    "file": "did somebody remove temporary files below _staging/",
}


@EVERYWHERE
def test_an_upload_that_vanishes_between_commit_and_publish_is_told_with_a_way_out_that_works(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit, "PUBLISH_PATIENCE", 0.1)
    run(lake.plan(mode="append"))
    before = lake.data()
    assert run_in_process(lake.plan(mode="append"), die_at=Step.AFTER_RECORD, env=lake.environment) == -9
    vanish(lake)
    with pytest.raises(JobError) as caught:
        run(lake.plan(mode="append"))
    assert caught.value.failure is Failure.STORAGE_UNAVAILABLE
    assert LOST[lake.kind] in str(caught.value)
    assert "`gpuquery fsck URI --void 2`" in str(caught.value)
    fsck.void(lake.store(), 2)
    assert lake.data() == before
    assert run(lake.plan(mode="append")).version == 2
    assert len(lake.data()) == 2


def vanish(lake: Lake) -> None:
    """Drop an upload as the store does after its time."""
    (upload,) = lake.store().dangling()
    if lake.kind == "abfss":  # another list for the same blob drops all that it does not name
        store = lake.store()
        other = store.begin(upload.key)
        assert store.complete(upload.key, other, [store.upload(upload.key, other, Piece(1, 0, b"x"))])
        store.delete([upload.key])
    else:
        lake.store().abort(upload.key, upload.upload_id)
    assert list(lake.store().dangling()) == []


@pytest.fixture
def proxy(lake: Lake) -> Iterator[FaultProxy]:
    """A proxy before the lake's server."""
    endpoint = (lake.access.gs or lake.access.az).endpoint  # type: ignore[union-attr]
    with in_front_of(endpoint.rstrip("/")) as made:
        yield made


FAULTS = [
    pytest.param(Rule(Action.ANSWER, "PUT|POST", times=3), id="503 on writes"),
    pytest.param(Rule(Action.CLOSE, times=3), id="closed connections"),
    pytest.param(Rule(Action.SWALLOW, "PUT|POST", "compose|comp=blocklist", times=2), id="a completion's answer lost"),
    pytest.param(Rule(Action.SWALLOW, "PUT", "_commits.*json", times=1), id="the commit's answer lost"),
    pytest.param(Rule(Action.SWALLOW, "PUT|POST", "uploadType|comp=block&", times=5), id="answers of writes lost"),
    pytest.param(Rule(Action.SWALLOW, "DELETE", times=2), id="answers of deletes lost"),
]


@SERVED
@pytest.mark.parametrize("rule", FAULTS)
def test_a_passing_fault_is_survived(lake: Lake, proxy: FaultProxy, rule: Rule, tmp_path: Path) -> None:
    proxy.rules = [Rule(**vars(rule))]
    one = lake.plan(partition_by=["k"])
    status = run(one.model_copy(update={"store": behind(lake, proxy)}))
    assert (status.version, status.rows) == (1, 3000)
    assert [v for _, v in rows(lake, tmp_path / "copy")] == ROWS["v"]
    assert staged(lake) == []


@SERVED
def test_rights_that_are_missing_are_told_at_once(lake: Lake, proxy: FaultProxy) -> None:
    proxy.rules = [Rule(Action.ANSWER, "PUT|POST", status=403, code="AuthorizationPermissionMismatch")]
    with pytest.raises(JobError, match=r"credentials .* and their rights") as caught:
        sink(lake.plan().model_copy(update={"store": behind(lake, proxy)})).preflight()
    assert caught.value.failure is Failure.STORAGE_AUTH
    assert proxy.count("PUT|POST") == 1


@SERVED
def test_a_store_that_ignores_conditional_writes_is_refused(lake: Lake, proxy: FaultProxy) -> None:
    proxy.rules = [Rule(Action.PRETEND, "PUT|POST")]
    with pytest.raises(JobError, match="ignores conditional writes") as caught:
        sink(lake.plan().model_copy(update={"store": behind(lake, proxy)})).preflight()
    assert caught.value.failure is Failure.UNSAFE_STORE


@SERVED
def test_a_server_that_is_away_is_told_within_seconds(
    lake: Lake, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest, "HURRIED", 0.5)
    proxy.down()
    with pytest.raises(JobError, match=r"no answer from 127\.0\.0\.1") as caught:
        sink(lake.plan().model_copy(update={"store": behind(lake, proxy)})).preflight()
    assert caught.value.failure is Failure.STORAGE_UNAVAILABLE


def behind(lake: Lake, proxy: FaultProxy) -> Any:
    """Where the lake is, by the proxy."""
    kind = "gs" if lake.kind == "gs" else "az"
    given = getattr(lake.access, kind)
    path = given.endpoint.partition("://")[2].partition("/")[2]
    return lake.access.model_copy(update={kind: given.model_copy(update={"endpoint": f"{proxy.endpoint}/{path}"})})


@EVERYWHERE
def test_a_whole_job_writes_there_and_its_table_is_looked_at(
    lake: Lake, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pl.DataFrame({"k": ["a", "b", "a"], "v": [1, 2, 3]}).write_parquet(tmp_path / "in.parquet")
    kind = {"gs": "gs", "abfss": "az"}.get(lake.kind)
    storage = {"storage": {kind: getattr(lake.access, kind).model_dump(exclude_none=True)}} if kind else {}
    spec = {
        "query": {"sql": "SELECT k, sum(v) AS v FROM t GROUP BY k"},
        "inputs": [{"name": "t", "uri": f"file://{tmp_path}/in.parquet"}],
        "output": {"uri": lake.uri, "partitionBy": ["k"]},
        **storage,
    }
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job(**spec)))
    assert main(["run", str(tmp_path / "job.yaml")]) == 0, capsys.readouterr().err
    assert sorted(rows(lake, tmp_path / "copy")) == [("a", 4), ("b", 2)]
    capsys.readouterr()
    if lake.kind == "gs":  # the command has no word for `anonymous`; keys of emulators say it like this
        monkeypatch.setenv(
            "GOOGLE_SERVICE_ACCOUNT_KEY", '{"client_email": "e", "private_key": "k", "disable_oauth": true}'
        )
    place = ["--endpoint", getattr(lake.access, kind).endpoint] if kind else []
    assert main(["history", lake.uri, *place]) == 0
    assert "table-job" in capsys.readouterr().out
    assert main(["fsck", "--deep", lake.uri, *place]) == 0
    compared = "" if lake.kind == "file" else "; the bytes of 2 files are those that were uploaded"
    assert f"nothing is wrong{compared}" in capsys.readouterr().out
