"""`output.keepFailed`: the rows of a result that is not as expected stay where no reader of a table finds them."""

from __future__ import annotations

import os
import re
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from gpuquery.api.reasons import Failure
from gpuquery.api.receipt import contract
from gpuquery.runner import engines
from gpuquery.runner.attempt import Attempt
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output import fsck, keep_failed, scratch
from gpuquery.runner.output.sink import Sink
from gpuquery.runner.output.upload import Uploads
from gpuquery.runner.progress import Tracker
from gpuquery.runner.stores.posix import PosixStore
from tests.support import iceberg, runner, sinks
from tests.support.rank_threads import Shares, leftovers, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gpuquery.api.report import Report
    from gpuquery.plan.plan import Plan

TABLE = pa.table({"k": ["a/b", "", None, "a/b"] * 50, "v": range(200)})
FAILS: list[Any] = [
    pytest.param({"rows": "> 200"}, id="what is seen in counts"),
    pytest.param({"notNull": ["k"]}, id="what is seen in footers"),
    pytest.param({"unique": ["k"]}, id="what is seen in columns"),
]


@pytest.fixture(autouse=True)
def _scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(scratch, "root", lambda: tmp_path / "scratch")
    yield
    assert list((tmp_path / "scratch").iterdir()) == [], "the copies are gone"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """The input of all plans."""
    pq.write_table(TABLE, tmp_path / "in.parquet")
    return tmp_path / "in.parquet"


def plan(folder: Path, *expect: dict[str, Any], kept: str | None = "7d", output: Any = (), **changes: Any) -> Plan:
    """A plan that writes the input as it is to `out`, or where `output` says."""
    where = {"expect": list(expect), "keepFailed": kept, **dict(output)}
    if "table" not in where:
        where = {"uri": f"file://{folder}/out", **where}
    inputs = {"t": f"file://{folder}/in.parquet"}
    return runner.plan(folder, "SELECT k, v FROM t", inputs=inputs, output=where, **changes)


def failed(report: Report | None) -> tuple[str, datetime]:
    """Where the rows are by the message, and until when."""
    assert report is not None and report.failure is Failure.EXPECTATION_FAILED, report
    found = re.match(
        r"1 of 1 expectations do not hold, and nothing was published; its ([0-9,]+) rows are kept in file://(\S+) "
        r"until (\S+ \S+) UTC \([0-9]+ files?\): output.expect\[0\]",
        report.message,
    )
    assert found, report.message
    assert found[1] == "200"
    return found[2], datetime.strptime(found[3], "%Y-%m-%d %H:%M").replace(tzinfo=UTC)


def rows(place: str) -> list[tuple[Any, Any]]:
    """The rows below a folder, as DuckDB and pyarrow read them."""
    sql = f"SELECT k, v FROM read_parquet('{place}**/*.parquet', hive_partitioning = true) ORDER BY v"
    found = duckdb.sql(sql).fetchall()
    read = ds.dataset(place, partitioning="hive").to_table().sort_by("v")
    assert [*zip(read["k"].to_pylist(), read["v"].to_pylist(), strict=True)] == found
    return found


def files(folder: Path) -> list[str]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return sorted(str(path.relative_to(folder)) for path in found)


WANT = [*zip(TABLE["k"].to_pylist(), TABLE["v"].to_pylist(), strict=True)]


@pytest.mark.parametrize("by", [[], ["k"]], ids=["in one folder", "by a text"])
@pytest.mark.parametrize("expectation", FAILS)
def test_rows_of_a_folder_are_kept_beside_it_and_the_message_says_where_and_until_when(
    tmp_path: Path, table: Path, expectation: dict[str, Any], by: list[str]
) -> None:
    made = plan(tmp_path, expectation, output={"partitionBy": by})
    begun = datetime.now(UTC)
    place, until = failed(runner.run(made))
    assert place == f"{tmp_path}/out/_failed/{made.job.uid}/1/"
    assert begun - timedelta(minutes=1) < until - timedelta(days=7) <= datetime.now(UTC)
    assert rows(place) == WANT
    assert not (tmp_path / "out/data").exists() and not (tmp_path / "out/_commits").exists()
    assert leftovers(tmp_path / "out") == []
    assert all(name.startswith("_failed/") for name in files(tmp_path / "out"))


def test_a_job_may_read_what_another_one_has_kept(tmp_path: Path, table: Path) -> None:
    place, _ = failed(runner.run(plan(tmp_path, {"rows": "> 200"}, output={"partitionBy": ["k"]})))
    again = runner.plan(
        tmp_path, "SELECT count(*) AS n, sum(v) AS s FROM t", inputs={"t": f"file://{place}"},
        output={"uri": f"file://{tmp_path}/looked"},
    )  # fmt: skip
    assert runner.run(again).failure is None
    assert ds.dataset(tmp_path / "looked/data").to_table().to_pylist() == [{"n": 200, "s": 19900}]


def test_a_result_without_rows_keeps_its_columns(tmp_path: Path) -> None:
    pq.write_table(TABLE.slice(0, 0), tmp_path / "in.parquet")
    report = runner.run(plan(tmp_path, {"rows": "> 0"}))
    assert "; its 0 rows are kept in file://" in report.message and "(1 file)" in report.message
    (one,) = (tmp_path / "out/_failed").rglob("*.parquet")
    assert pq.read_schema(one).names == ["k", "v"]


def test_nothing_is_kept_of_a_result_that_is_as_expected_or_of_one_that_nobody_wants(
    tmp_path: Path, table: Path
) -> None:
    assert runner.run(plan(tmp_path, {"rows": "> 200"}, kept=None)).failure is Failure.EXPECTATION_FAILED
    assert files(tmp_path / "out") == []
    assert runner.run(plan(tmp_path, {"rows": "== 200"}, {"unique": ["v"]})).committed
    assert not (tmp_path / "out/_failed").exists() and rows(f"{tmp_path}/out/data/") == WANT


@pytest.mark.parametrize("by", [[], ["k"]], ids=["in one folder", "by a text"])
def test_rows_of_a_delta_table_are_kept_where_neither_readers_nor_vacuum_look(
    tmp_path: Path, table: Path, by: list[str]
) -> None:
    output = {"delta": {}, "partitionBy": by, "mode": "append"}
    pq.write_table(TABLE.set_column(0, "k", [["a", "b"] * 100]), tmp_path / "in.parquet")  # Delta takes '' for null
    want = [*zip(["a", "b"] * 100, range(200), strict=True)]
    assert runner.run(plan(tmp_path, {"rows": "== 200"}, output=output)).committed
    place, _ = failed(runner.run(plan(tmp_path, {"rows": "> 200"}, output=output)))
    found = DeltaTable(tmp_path / "out")
    assert (found.version(), found.to_pyarrow_table().num_rows) == (0, 200)
    assert sorted(found.file_uris()) == sorted(map(str, (tmp_path / "out/data").rglob("*.parquet")))
    found.vacuum(0, dry_run=False, enforce_retention_duration=False)
    assert rows(place) == want


@pytest.mark.parametrize("by", [[], ["k"]], ids=["in one folder", "by a text"])
def test_rows_of_an_iceberg_table_are_kept_where_no_reader_looks(
    tmp_path: Path, table: Path, monkeypatch: pytest.MonkeyPatch, by: list[str]
) -> None:
    with iceberg.served(tmp_path) as lake:
        output = {
            "table": {"catalog": "lake", "name": "sales.orders", "create": {"partitionBy": by}}, "mode": "append",
        }  # fmt: skip
        more = {"output": output, "store": lake.access.model_dump()}
        assert runner.run(plan(tmp_path, {"rows": "== 200"}, **more)).committed
        place, _ = failed(runner.run(plan(tmp_path, {"rows": "> 200"}, **more)))
        found = lake.catalog.load_table("sales.orders")
        assert rows(place) == WANT
        assert len(found.snapshots()) == 1 and found.scan().to_arrow().num_rows == 200
        named = {one.file.file_path.removeprefix("file://") for one in found.scan().plan_files()}
        assert named == {str(path) for path in (tmp_path / "warehouse").rglob("data/**/*.parquet")}


def test_rows_that_cannot_be_kept_do_not_hide_what_does_not_hold(
    tmp_path: Path, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "planted/secret/0123456789"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    complete, many = PosixStore.complete, []

    def full(self: PosixStore, key: str, *more: Any) -> bool:
        many.append(key)
        if key.startswith("_failed/") and len(many) > 1:
            raise JobError(Failure.STORAGE_AUTH, f"no right to write with {secret}")
        return complete(self, key, *more)

    monkeypatch.setattr(PosixStore, "complete", full)
    monkeypatch.setattr(keep_failed, "Uploads", slow_uploads())
    report = runner.run(plan(tmp_path, {"rows": "> 200"}, output={"partitionBy": ["k"]}))
    assert report.failure is Failure.EXPECTATION_FAILED
    assert report.message == (
        "1 of 1 expectations do not hold, and nothing was published; its rows could not be kept (no right to write "
        "with ***): output.expect[0] (rows > 200): the result has 200 rows"
    )
    assert many and files(tmp_path / "out") == [], "what was kept of it is gone"


def slow_uploads() -> Any:
    """Uploads that put no file in one request, so that each is completed."""

    class Slow(Uploads):
        def _upload(self, file: Any, piece: Any) -> str:
            tag = self._upload_piece(file, self._wanted.below + file.path, piece)
            self._report(size=len(piece.body))
            return tag

    return Slow


def test_a_process_that_is_stopped_while_it_keeps_rows_has_said_what_does_not_hold(
    tmp_path: Path, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Report] = []
    ended: list[Report] = []
    keep = Sink.keep

    def late(self: Sink) -> Any:
        assert [one.failure for one in told] == [Failure.EXPECTATION_FAILED], "should the process die now"
        ended.append(attempt.stop("the pod is taken away"))
        return keep(self)

    monkeypatch.setattr(Sink, "keep", late)
    attempt = Attempt(plan(tmp_path, {"rows": "> 200"}), Tracker(lambda _: None, quiet=True), on_fault=told.append)
    report = attempt.run()
    assert {one.failure for one in (report, *ended)} == {Failure.EXPECTATION_FAILED}
    assert files(tmp_path / "out") == []


@pytest.mark.parametrize("by", [[], ["k"]], ids=["in one folder", "by a text"])
def test_each_rank_of_a_set_keeps_its_rows_and_all_say_the_same(
    tmp_path: Path, table: Path, monkeypatch: pytest.MonkeyPatch, by: list[str]
) -> None:
    monkeypatch.setattr(engines, "find", lambda name: Shares())
    made = plan(tmp_path, {"rows": "> 200"}, output={"partitionBy": by}, processes="ranks", replicas=2)
    reports = run(made, 2)
    assert len({report.message for report in reports if report}) == 1
    place, _ = failed(reports[0])
    assert rows(place) == WANT
    ranks = {path.name.split("-")[3] for path in (tmp_path / "out/_failed").rglob("part-*")}
    assert ranks == {"00000", "00001"}
    assert all(name.startswith("_failed/") for name in files(tmp_path / "out"))


def test_a_set_of_which_one_cannot_keep_its_rows_keeps_none(
    tmp_path: Path, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "find", lambda name: Shares())
    put = PosixStore.put

    def refuse(self: PosixStore, key: str, body: bytes) -> None:
        if key.startswith("_failed/") and "-00001-" in key:
            raise JobError(Failure.STORAGE_UNAVAILABLE, "the store is away")
        put(self, key, body)

    monkeypatch.setattr(PosixStore, "put", refuse)
    reports = run(plan(tmp_path, {"rows": "> 200"}, processes="ranks", replicas=2), 2)
    told = {(report.failure, report.message) for report in reports if report}
    (one,) = told
    assert one[0] is Failure.EXPECTATION_FAILED and "could not be kept (the store is away)" in one[1]
    assert files(tmp_path / "out") == []


def test_a_set_whose_result_is_as_expected_commits_and_keeps_nothing(
    tmp_path: Path, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "find", lambda name: Shares())
    reports = run(plan(tmp_path, {"rows": "== 200"}, processes="ranks", replicas=2), 2)
    assert [report and report.committed and report.committed.rows for report in reports] == [200, 200]
    assert rows(f"{tmp_path}/out/data/") == WANT and not (tmp_path / "out/_failed").exists()


def put(folder: Path, key: str, days: float) -> None:
    """Leave an object that was written so many days ago."""
    path = folder / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    os.utime(path, times=(time.time() - days * 86_400,) * 2)


GOES = ["_failed/a/1/k=x/part-1.parquet", "_failed/a/2/part-2.parquet", "_failed/a/keep-7d", "_failed/b/keep-1s"]
STAYS = [
    "_failed/c/1/part-3.parquet", "_failed/c/keep-7d",
    "_failed/d/1/part-4.parquet", "_failed/d/keep-7d", "_failed/d/keep-30d",
    "_failed/e/1/part-5.parquet",
    "_failed/a/notes.txt", "_failed/loose.parquet", "_failed/f/keep-1w", "_failed/g/keep-99999999d",
]  # fmt: skip


@pytest.mark.parametrize("how", ["a job that writes", "fsck"])
def test_what_is_over_goes_and_what_lives_or_is_not_ours_stays(tmp_path: Path, table: Path, how: str) -> None:
    folder = tmp_path / "out"
    for key in (*GOES, *STAYS):
        # Of c the newest file counts, and of d the longest time.
        put(folder, key, 1 if key == "_failed/c/1/part-3.parquet" else 8)
    (tmp_path / "elsewhere").mkdir()
    put(tmp_path, "elsewhere/1/part-6.parquet", 8)
    put(tmp_path, "elsewhere/keep-1d", 8)
    (folder / "_failed/z").symlink_to(tmp_path / "elsewhere")
    store = PosixStore(str(folder), "_staging/fsck/1")
    if how == "fsck":
        told = {one.what.partition(":")[0]: one for one in fsck.check(store).findings}
        assert {one.level for one in told.values()} == {fsck.Level.NOTE}
        assert list(told) == [
            "_failed/a/ has 2 files of a job whose result was not as expected",
            "_failed/b/ has 0 files of a job whose result was not as expected",
            "_failed/c/ has 1 file of a job whose result was not as expected",
            "_failed/d/ has 1 file of a job whose result was not as expected",
            "_failed/e/ has 1 file of a job whose result was not as expected, and nothing says for how long",
        ]
        assert ["--repair" in one.way for one in told.values()] == [True, True, False, False, False]
        fsck.repair(store)
    else:
        assert sinks.sink(sinks.plan(f"file://{folder}")).preflight() is None
    assert files(folder) == sorted(STAYS)
    assert files(tmp_path / "elsewhere") == ["1/part-6.parquet", "keep-1d"]


def test_whether_rows_would_be_kept_decides_no_reuse(tmp_path: Path) -> None:
    of = [contract(plan(tmp_path, {"rows": "> 0"}, kept=kept).output) for kept in (None, "7d")]
    assert of[0] == of[1] and "expect" in of[0]
