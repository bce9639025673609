"""An attempt of several ranks: what they agree on, who commits, and what becomes of the others."""

from __future__ import annotations

import faulthandler
import json
import threading
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from gpuquery.api.reasons import Failure
from gpuquery.runner import agreement, engines, inputs
from gpuquery.runner.agreement import Word
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs import verify
from gpuquery.runner.inputs.formats import contents
from gpuquery.runner.inputs.verify import __main__
from gpuquery.runner.output.commit import Committer
from gpuquery.runner.output.kept import Keeper
from gpuquery.runner.output.sink import Sink
from gpuquery.runner.query.fingerprint import fingerprint
from tests.support import rank_threads
from tests.support.rank_threads import Member, Set, Shares, leftovers, run
from tests.support.runner import plan, result

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gpuquery.api.report import Report
    from gpuquery.plan.plan import Plan

QUERY = "SELECT k, v FROM t WHERE v >= 10"


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Shares:
    """The engine of all plans; its fields may be changed."""
    made = Shares()
    monkeypatch.setattr(engines, "find", lambda name: made)
    return made


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Plan]:
    """Makes plans over a table of three files with 300 rows."""
    (tmp_path / "in").mkdir()
    for number in range(3):
        rows = range(number * 100, number * 100 + 100)
        frame = pl.DataFrame({"k": [f"k{row % 4}" for row in rows], "v": rows})
        frame.write_parquet(tmp_path / f"in/{number}.parquet")

    def make(query: str = QUERY, **changes: Any) -> Plan:
        changes.setdefault("inputs", {"t": f"file://{tmp_path}/in/*.parquet"})
        return plan(tmp_path, query, processes="ranks", replicas=3, **changes)

    return make


def one_failure(reports: list[Report | None]) -> Report:
    """The failure that all ranks report that were not ended by another's."""
    told = [report for report in reports if report is not None]
    assert told and {report.failure for report in told} == {told[0].failure}, reports
    assert told[0].failure is not None
    return told[0]


@pytest.mark.parametrize("by", [[], ["k"]])
def test_all_ranks_stage_and_index_0_alone_commits(
    tmp_path: Path, engine: Shares, table: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch, by: list[str]
) -> None:
    commits: list[int] = []
    commit, preflight = Sink.commit, Sink.preflight
    asked: list[int] = []
    monkeypatch.setattr(Sink, "commit", lambda s, *a: commits.append(s._identity.rank) or commit(s, *a))
    monkeypatch.setattr(Sink, "preflight", lambda s: asked.append(s._identity.rank) or preflight(s))
    reports = run(table(output={"uri": f"file://{tmp_path}/out", "partitionBy": by}), 3)
    assert [report and report.failure for report in reports] == [None] * 3
    assert (commits, asked, sorted(engine.ran)) == ([0], [0], [0, 1, 2])
    committed = {report.committed for report in reports if report}
    assert len(committed) == 1 and next(iter(committed)).rows == 290
    assert all(report and isinstance(report.joined, datetime) for report in reports)
    assert result(tmp_path)["v"].sort().to_list() == list(range(10, 300))
    assert leftovers(tmp_path) == []


def test_the_receipt_beside_the_commit_says_what_each_rank_has_done(
    tmp_path: Path, engine: Shares, table: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPUQUERY_POD_NAME", "pod-7")
    wanted = table()
    (report, *_) = run(wanted, 3)
    assert report and report.committed
    told = json.loads((tmp_path / f"out/_receipts/{wanted.job.uid}.json").read_text())
    assert told["job"]["uid"] == wanted.job.uid and told["attempt"] == 1
    assert (told["version"], told["rows"]) == (report.committed.version, 290)
    assert [one["index"] for one in told["processes"]] == [0, 1, 2]
    assert [one["rank"] for one in told["processes"]] == [2, 1, 0], "the communicator numbers them in another order"
    assert sum(one["rows"] for one in told["processes"]) == 290
    assert {one["pod"] for one in told["processes"]} == {"pod-7"}
    assert "statistics" not in told["processes"][0], "what does not fit through a gate is left out, the longest first"
    (again, *_) = run(wanted, 3)
    assert again and again.committed == report.committed, "the log is read as if the receipt were not there"


def test_index_0_finds_for_all_that_the_result_is_there_already(
    tmp_path: Path, engine: Shares, table: Callable[..., Plan]
) -> None:
    how = {"output": {"uri": f"file://{tmp_path}/out", "mode": "overwrite"}, "reuse": {"maxAge": "1h"}}
    first = run(table(**how), 3)
    assert first[0] and first[0].committed and first[0].reuse and not first[0].reuse.reused
    engine.ran.clear()
    again = run(table(**how), 3)
    assert {report and report.committed for report in again} == {first[0].committed} and not engine.ran
    assert again[0] and again[0].reuse and again[0].reuse.reused and again[0].receipt
    (other, *_) = run(table(QUERY + " AND v > 11", **how), 3)
    assert other and other.committed and other.committed.version == 2 and sorted(engine.ran) == [0, 1, 2]


@pytest.mark.parametrize("empty", [[0], [1], [0, 1, 2]], ids=["index 0", "another", "all"])
def test_ranks_without_rows_leave_no_file(
    tmp_path: Path, engine: Shares, table: Callable[..., Plan], empty: list[int]
) -> None:
    engine.empty = empty
    (report, *_) = run(table(), 3)
    assert report and report.committed and report.committed.rows == (0 if len(empty) == 3 else 290)
    assert result(tmp_path).height == report.committed.rows
    assert set(result(tmp_path).columns) == {"k", "v"}
    names = {path.name.split("-")[3] for path in (tmp_path / "out/data").rglob("*.parquet")}
    assert names == ({"00000"} if len(empty) == 3 else {f"{rank:05d}" for rank in range(3) if rank not in empty})


def test_rows_are_appended_by_all_ranks_in_the_tables_order_of_columns(
    tmp_path: Path, engine: Shares, table: Callable[..., Plan]
) -> None:
    output = {"uri": f"file://{tmp_path}/out", "mode": "append"}
    assert all(report and report.committed for report in run(table(output=output), 3))
    assert all(report and report.committed for report in run(table("SELECT v, k FROM t", output=output), 3))
    files = list((tmp_path / "out/data").glob("*.parquet"))
    assert len(files) > 3 and all(list(pl.read_parquet_schema(file)) == ["k", "v"] for file in files)
    assert result(tmp_path).height == 590


def test_a_job_that_has_committed_runs_nowhere_even_if_its_inputs_are_gone(
    tmp_path: Path, engine: Shares, table: Callable[..., Plan]
) -> None:
    one = table()
    first = run(one, 3)[0]
    engine.ran.clear()
    for file in (tmp_path / "in").iterdir():
        file.unlink()
    reports = run(one.model_copy(update={"attempt": 2}), 3)
    assert engine.ran == []
    assert [report and report.committed for report in reports] == [first and first.committed] * 3


def test_an_output_that_exists_stops_all_before_they_run(
    tmp_path: Path, engine: Shares, table: Callable[..., Plan]
) -> None:
    run(table(), 3)
    engine.ran.clear()
    assert one_failure(run(table(), 3)).failure is Failure.OUTPUT_EXISTS
    assert engine.ran == []


def test_plans_that_differ_are_named_with_the_input_and_nobody_runs(
    tmp_path: Path, engine: Shares, table: Callable[..., Plan]
) -> None:
    both = {"t": f"file://{tmp_path}/in/*.parquet", "u": f"file://{tmp_path}/in/[12].parquet"}
    one = table(inputs=both)
    other = table(QUERY.replace("FROM t", "FROM u"), inputs=both).model_copy(update={"job": one.job})
    report = one_failure(run(one, 3, plans=[one, one, other]))
    assert (report.failure, report.process) == (Failure.PLANS_DIFFER, 2)
    assert "process 2 of 3" in report.message
    assert "input of 2 files" in report.message and "in process 2, input of 3 files" in report.message
    assert engine.ran == []


def test_what_index_0_finds_wrong_with_an_input_is_the_cause_everywhere(
    tmp_path: Path, engine: Shares, table: Callable[..., Plan]
) -> None:
    reports = run(table(inputs={"t": f"file://{tmp_path}/in/none-*.parquet"}), 3)
    report = one_failure(reports)
    assert report.failure is Failure.INVALID_INPUT and "no file matches" in report.message
    assert {told.process for told in reports[1:] if told} <= {0}, "who passes it on says whose it is"
    assert engine.ran == []


def test_inputs_are_resolved_by_index_0_alone_and_recorded_with_the_commit(
    tmp_path: Path, engine: Shares, table: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve, asked = inputs.resolve, []
    monkeypatch.setattr(inputs, "resolve", lambda *given: asked.append(1) or resolve(*given))
    reports = run(table(), 3)
    assert asked == [1]
    (read,) = {report.inputs for report in reports if report}
    assert [(one.name, one.files) for one in read] == [("t", 3)]
    assert read[0].bytes == sum(file.stat().st_size for file in (tmp_path / "in").iterdir())
    record = json.loads(next((tmp_path / "out/_commits").glob("*.json")).read_text())
    assert record["inputs"] == [one.model_dump(by_alias=True) for one in read]


def test_a_rank_takes_no_list_of_inputs_but_that_of_index_0(
    tmp_path: Path, engine: Shares, table: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    share = Sink.share

    def forged(self: Sink, text: str) -> Any:
        told = share(self, text)
        share(self, text.replace("in/0.parquet", "in/1.parquet"))
        return told

    monkeypatch.setattr(Sink, "share", forged)
    report = one_failure(run(table(), 3))
    assert report.failure is Failure.INTERNAL_ERROR and "is not what rank 0 wrote" in report.message
    assert engine.ran == []


def test_a_rank_that_fails_while_it_runs_withdraws_what_it_staged_and_nothing_is_committed(
    tmp_path: Path, engine: Shares, table: Callable[..., Plan]
) -> None:
    def fail(index: int) -> None:
        if index == 2:
            raise JobError(Failure.GPU_ERROR, "an illegal address")

    engine.before = fail
    report = one_failure(run(table(), 3))
    assert (report.failure, report.message) == (Failure.GPU_ERROR, "an illegal address")
    assert not (tmp_path / "out/_commits").exists() and not (tmp_path / "out/data").exists()
    engine.before = lambda index: None
    assert all(report and report.committed for report in run(table(), 3))


def test_a_rank_works_while_it_waits_for_its_last_bytes_and_not_while_it_waits_for_the_others(
    engine: Shares, table: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, float]] = []
    ends: list[float] = []
    seal = Sink.seal

    def slow(self: Sink) -> Any:
        if self._identity.rank == 1:
            time.sleep(0.5)
            ends.append(time.monotonic())
        return seal(self)

    monkeypatch.setattr(agreement, "ADVANCE_SECONDS", 0.05)
    monkeypatch.setattr(Member, "advance", lambda self: told.append((self.index, time.monotonic())))
    monkeypatch.setattr(Sink, "seal", slow)
    reports = run(table(), 3)
    assert [report and report.failure for report in reports] == [None] * 3
    assert len([index for index, _ in told if index == 1]) >= 3
    assert not [index for index, at in told if index != 1 and ends[0] - 0.2 < at < ends[0]], "these wait at a gate"


def test_a_rank_that_hangs_fails_its_test_and_does_not_hold_up_the_others(
    engine: Shares, table: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    freed = threading.Event()
    engine.before = lambda index: index == 1 and freed.wait() and None  # type: ignore[assignment]
    monkeypatch.setattr(rank_threads, "LONGEST", 0.5)
    monkeypatch.setattr(faulthandler, "dump_traceback", lambda _: None)
    try:
        with pytest.raises(AssertionError, match=r"1.* of 3 hang"):
            run(table(), 3)
    finally:
        freed.set()


def test_ranks_whose_pending_set_does_not_add_up_are_named_and_nothing_is_committed(
    tmp_path: Path, engine: Shares, table: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    seal = Sink.seal

    def short(self: Sink) -> Any:
        totals = seal(self)
        if self._identity.rank == 1:
            key = next((tmp_path / "out").rglob("rank-00001.json"))
            key.write_text('{"format": 1, "files": []}')
        return totals

    monkeypatch.setattr(Sink, "seal", short)
    report = one_failure(run(table(), 3))
    assert report.failure is Failure.INTERNAL_ERROR
    assert "pending set of rank 1 does not add up" in report.message
    assert not (tmp_path / "out/data").exists()


def test_a_commit_stands_even_if_the_others_never_hear_of_it(
    tmp_path: Path, engine: Shares, table: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, Report]] = []

    def lost(ranks: Any, committed: Any) -> None:
        raise JobError(Failure.RANK_STALLED, "the others are gone")

    monkeypatch.setattr(agreement, "after_commit", lost)
    reports = run(table(), 3, heard=lambda index, report: told.append((index, report)))
    assert reports[0] and reports[0].committed
    assert (0, reports[0]) in told, "it is told before the others are waited for"
    assert all(report and report.failure is Failure.RANK_STALLED for report in reports[1:])


def test_a_rank_that_has_handed_its_rows_over_drops_nothing_when_it_is_stopped(
    tmp_path: Path, engine: Shares, table: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    sinks: dict[int, Sink] = {}
    preflight, publish = Sink.seal, Committer.publish
    monkeypatch.setattr(Sink, "seal", lambda s: sinks.setdefault(s._identity.rank, s) and preflight(s))

    def stopped(self: Committer, record: Any) -> None:
        sinks[1].abort()
        sinks[2].abort()
        publish(self, record)

    monkeypatch.setattr(Committer, "publish", stopped)
    assert all(report and report.committed for report in run(table(), 3))
    assert result(tmp_path).height == 290


def test_a_commit_that_is_refused_leaves_nothing_of_any_rank(
    tmp_path: Path, engine: Shares, table: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, faster = Sink.commit, table()

    def late(self: Sink, *given: Any) -> Any:
        monkeypatch.setattr(Sink, "commit", commit)
        assert all(report and report.committed for report in run(faster, 3))
        return commit(self, *given)

    monkeypatch.setattr(Sink, "commit", late)
    assert one_failure(run(table(), 3)).failure is Failure.OUTPUT_EXISTS
    assert leftovers(tmp_path) == [], "there will be no attempt that takes it away"


EXPECT = [
    {"rows": "== 290"}, {"unique": ["v"]}, {"notNull": ["k", "v"]}, {"sql": "SELECT sum(v) = 44805 FROM result"}
]  # fmt: skip


@pytest.mark.parametrize("by", [[], ["k"]])
def test_index_0_judges_what_all_ranks_have_staged(
    tmp_path: Path, engine: Shares, table: Callable[..., Plan], by: list[str]
) -> None:
    reports = run(table(output={"uri": f"file://{tmp_path}/out", "partitionBy": by, "expect": EXPECT}), 3)
    told = {report.committed.expectations for report in reports if report and report.committed}
    assert told == {"4 hold: rows == 290 (290); unique [v]; notNull [k, v]; sql SELECT sum(v) = 44805 FROM result"}, (
        reports
    )
    assert result(tmp_path).height == 290
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("by", [[], ["k"]])
def test_a_result_of_ranks_that_is_not_as_expected_leaves_nothing_of_any_rank(
    tmp_path: Path, engine: Shares, table: Callable[..., Plan], by: list[str]
) -> None:
    """No rank has a key twice: only all of them together do."""
    query = "SELECT k, v, v // 3 AS third, CASE WHEN v > 298 THEN NULL ELSE v END AS n FROM t WHERE v >= 10"
    expect = [
        {"rows": "< 290"},
        {"unique": ["third"]},
        {"notNull": ["n"]},
        *EXPECT,
        {"sql": "SELECT max(v) < 9 FROM result"},
    ]
    made = table(query, output={"uri": f"file://{tmp_path}/out", "partitionBy": by, "expect": expect})
    report = one_failure(run(made, 3))
    assert report.failure is Failure.EXPECTATION_FAILED
    assert report.message == (
        "4 of 8 expectations do not hold, and nothing was published: "
        "output.expect[0] (rows < 290): the result has 290 rows; "
        "output.expect[1] (unique [third]): 97 keys are there more than once, in 290 of 290 rows; "
        "third = 4 in 3 of them; output.expect[2] (notNull [n]): n is null in 1 of 290 rows; "
        "output.expect[7] (sql SELECT max(v) < 9 FROM result): it returned false: 299 < 9"
    )
    assert list((tmp_path / "out").rglob("*.parquet")) == []
    assert leftovers(tmp_path) == [], "there will be no attempt that takes it away"


def test_rows_that_a_rank_did_not_keep_are_missed(
    tmp_path: Path, engine: Shares, table: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = Keeper.finish
    monkeypatch.setattr(Keeper, "finish", lambda self: (finish(self)[0][1:], {}))
    made = table(output={"uri": f"file://{tmp_path}/out", "expect": [{"unique": ["v"]}]})
    report = one_failure(run(made, 3))
    assert report.failure is Failure.INTERNAL_ERROR and "of 290" not in report.message
    assert "rows were kept to be checked, and 290 were staged" in report.message
    assert not (tmp_path / "out/_commits").exists()


def test_words_at_the_gate_fit_through_a_supervisor() -> None:
    frames = [pl.LazyFrame({f"{'ä' * 200}{n}": [n], "k": [1]}) for n in range(60)]
    joined = frames[0]
    for frame in frames[1:]:
        joined = joined.join(frame, on="k")
    word = Word(plan=fingerprint(joined)).to_json()
    assert len(json.dumps(word)) < 32 * 1024
    assert len(json.dumps(Word(failure=JobError(Failure.USER_ERROR, "ä" * 100_000)).to_json())) < 32 * 1024


def test_what_the_gates_tell_comes_back_as_it_was() -> None:
    members = [Set(1).member(0)]
    assert agreement.before_run(members[0], Word(plan=fingerprint(pl.LazyFrame({"a": [1]})))) is None
    with pytest.raises(JobError, match="why"):
        agreement.before_run(Set(1).member(0), Word(failure=JobError(Failure.USER_ERROR, "why")))


def test_a_failing_expression_of_a_rank_has_its_place_in_the_authors_text(
    engine: Shares, table: Callable[..., Plan]
) -> None:
    report = one_failure(run(table("SELECT v,\n  CAST(k AS INTEGER) AS n\nFROM t"), 3))
    assert report.failure is Failure.USER_ERROR
    assert report.message is not None
    assert "the query failed: line 2, column 3: the value k" in report.message


def test_all_ranks_read_one_clock(tmp_path: Path, engine: Shares, table: Callable[..., Plan]) -> None:
    reports = run(table("SELECT v, now() AS n, current_date AS d FROM t", now="1994-01-05T23:59:59Z"), 3)
    assert [report and report.failure for report in reports] == [None] * 3
    found = result(tmp_path)
    assert (found["n"].n_unique(), str(found["d"][0])) == (1, "1994-01-05")


@pytest.mark.parametrize("bad", [None, 2])
def test_ranks_share_the_lines_that_a_sample_did_not_show(
    tmp_path: Path, engine: Shares, table: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch, bad: int | None
) -> None:
    monkeypatch.setattr(contents, "BUDGET", 1)
    looked: list[tuple[int, int]] = []

    class Begun:
        """Looks where it is asked for its word, in this process."""

        def __init__(self, task: str) -> None:
            self._task = json.loads(task)
            looked.extend((len(self._task["places"]), at) for _, at in self._task["places"])

        def fault(self) -> JobError | None:
            told = __main__.told(self._task)
            return JobError(Failure(told["failure"]), told["message"]) if told else None

        def end(self) -> None:
            pass

    monkeypatch.setattr(verify, "_Looker", Begun)
    for number in range(3):
        rows = "".join(f"k{row % 4},{row}\n" for row in range(number * 1000, number * 1000 + 1000))
        (tmp_path / f"in/{number}.csv").write_text("k,v\n" + rows + ("k\n" if number == bad else "") + rows)
    uri = f"file://{tmp_path}/in/*.csv"
    monkeypatch.setattr(contents, "HEAD", 512)
    reports = run(table(inputs={"t": uri}), 3)
    assert sorted(looked) == [(1, 0), (1, 1), (1, 2)]
    if bad is None:
        assert [report and report.failure for report in reports] == [None] * 3
        return
    told = one_failure(reports)
    assert told.failure is Failure.INVALID_INPUT
    assert f"{tmp_path}/in/2.csv: line 1002 has 1 field" in told.message
    assert not (tmp_path / "out" / "data").exists()
