"""What an attempt takes over from its preflight: nothing that has changed meanwhile, and nothing of another job."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField

from gpuquery.api.reasons import Failure
from gpuquery.plan.plan import Processes, Purpose
from gpuquery.runner import engines, inputs
from gpuquery.runner.attempt import Attempt
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs import listing
from gpuquery.runner.output.sink import Sink
from gpuquery.runner.preflight import nulls
from gpuquery.runner.progress import Tracker
from gpuquery.runner.query import facts
from gpuquery.runner.sizing import parquet as footers
from tests.support import delta_tables as d
from tests.support import iceberg, rank_threads
from tests.support.runner import plan, result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gpuquery.api.report import Report
    from gpuquery.plan.plan import Plan

resolving = sys.modules["gpuquery.runner.inputs.resolve"]
QUERY = "SELECT sum(k) AS k FROM t"


@dataclass
class Job:
    """A job with a preflight's pod of its own."""

    plan: Plan
    checked: Report
    lines: list[str] = field(default_factory=list)

    def attempt(self, **changes: Any) -> Report:
        """Run an attempt as the operator would plan it."""
        assert self.checked.preflight
        pins = {one.name: one.snapshot for one in self.checked.inputs if one.snapshot}
        known = {"inputs_digest": self.checked.preflight.inputs_digest, "snapshots": pins, **changes}
        tracker = Tracker(lambda _: None, quiet=True)
        tracker.log = self.lines.append  # type: ignore[method-assign]
        return Attempt(self.plan.model_copy(update=known), tracker).run()

    @property
    def anew(self) -> list[str]:
        """What the log says of what was resolved anew."""
        return [line for line in self.lines if "anew" in line]


def checked(folder: Path, given: Any, query: str = QUERY, **changes: Any) -> Job:
    """A job over the input `t` that has passed its preflight."""
    return passed(plan(folder, query, inputs={"t": given}, **changes))


def passed(wanted: Plan) -> Job:
    """A job that has passed its preflight."""
    asking = wanted.model_copy(update={"purpose": Purpose.PREFLIGHT, "leaves_inputs": True})
    report = Attempt(asking, Tracker(lambda _: None, quiet=True)).run()
    assert report.preflight and report.preflight.inputs_digest, report.message
    return Job(wanted, report)


def left(folder: Path, job: Job) -> Path:
    return folder / f"out/_staging/{job.plan.job.uid}/inputs"


def write(folder: Path, name: str, *keys: int) -> None:
    (folder / "in").mkdir(exist_ok=True)
    pq.write_table(pa.table({"k": list(keys)}), folder / f"in/{name}.parquet")


@pytest.fixture
def files(tmp_path: Path) -> str:
    """Two files whose keys add up to 33."""
    write(tmp_path, "a", 1, 2)
    write(tmp_path, "b", 10, 20)
    return f"file://{tmp_path}/in/*.parquet"


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """From its call on, no file may be looked at."""
    looked: list[object] = []

    def refuse(*given: object, **_: object) -> None:
        looked.append(given)
        raise AssertionError("it was looked at again")

    def begin() -> None:
        monkeypatch.setattr(resolving, "_FORMATS", dict.fromkeys(resolving._FORMATS, refuse))
        monkeypatch.setattr(resolving.delta, "resolve", refuse)
        monkeypatch.setattr(footers, "scan_footers", refuse)
        monkeypatch.setattr(nulls, "count", refuse)

    yield begin
    assert looked == []


def test_files_that_have_not_changed_are_not_looked_at_again(
    tmp_path: Path, files: str, unread: Callable[[], None]
) -> None:
    never = {"columns": {"k": {"type": "Int64", "nullable": False}}}
    job = checked(tmp_path, {"uri": files, "schema": never})
    unread()
    report = job.attempt()
    assert report.committed and report.inputs == job.checked.inputs, report.message
    assert result(tmp_path).rows() == [(33,)] and job.anew == []
    assert not left(tmp_path, job).exists(), "a commit clears away what its job has staged"


@pytest.mark.parametrize(
    ("change", "total", "words"),
    [
        pytest.param(lambda at: write(at, "c", 100), 133, "in/c.parquet has come", id="a file has come"),
        pytest.param(lambda at: (at / "in/a.parquet").unlink(), 30, "in/a.parquet is gone", id="a file is gone"),
        pytest.param(lambda at: write(at, "a", 1, 2, 3), 36, "in/a.parquet has changed", id="a file has grown"),
        pytest.param(lambda at: write(at, "a", 2, 2), 34, "in/a.parquet has changed", id="a file was replaced"),
        pytest.param(
            lambda at: [write(at, name, 5) for name in "abc"], 15, "a.parquet has changed, and 2 more files differ",
            id="several",
        ),
    ],
)  # fmt: skip
def test_an_input_of_which_a_file_has_changed_is_resolved_anew_with_one_line_in_the_log(
    tmp_path: Path, files: str, change: Callable[[Path], None], total: int, words: str
) -> None:
    job = checked(tmp_path, files)
    change(tmp_path)
    report = job.attempt()
    assert report.committed, report.message
    assert result(tmp_path).rows() == [(total,)]
    (line,) = job.anew
    assert line.startswith('input "t" is not as the preflight has left it, and is resolved anew: ') and words in line
    assert report.inputs[0].digest != job.checked.inputs[0].digest


def test_a_file_that_has_got_another_type_is_found_though_the_preflight_has_passed(tmp_path: Path, files: str) -> None:
    job = checked(tmp_path, files)
    pq.write_table(pa.table({"k": ["x"]}), tmp_path / "in/b.parquet")
    report = job.attempt()
    assert report.failure is Failure.INVALID_INPUT and "b.parquet" in report.message
    assert report.query_started is None


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        pytest.param(lambda file: file.unlink(), "not there any more", id="it is gone"),
        pytest.param(lambda file: file.write_text("{}"), "not there any more", id="it is another one"),
        pytest.param(lambda file: file.write_bytes(b""), "not there any more", id="it is empty"),
    ],
)
def test_what_is_missing_or_damaged_is_no_failure(
    tmp_path: Path, files: str, damage: Callable[[Path], None], words: str
) -> None:
    job = checked(tmp_path, files)
    damage(left(tmp_path, job))
    assert job.attempt().committed
    assert result(tmp_path).rows() == [(33,)]
    (line,) = job.anew
    assert words in line


@pytest.mark.parametrize("text", ['{"t": {"kind": "orc"}}', "{}", "[]", "null", '{"t": 7}'])
def test_what_another_release_has_left_is_no_failure_either(tmp_path: Path, files: str, text: str) -> None:
    job = checked(tmp_path, files)
    text = f"Polars {pl.__version__}\n{text}"
    left(tmp_path, job).write_text(text)
    assert job.attempt(inputs_digest=hashlib.sha256(text.encode()).hexdigest()).committed
    (line,) = job.anew
    assert "cannot be read" in line


def test_what_another_polars_has_left_is_not_taken_over(tmp_path: Path, files: str) -> None:
    job = checked(tmp_path, files)
    text = left(tmp_path, job).read_text().replace(f"Polars {pl.__version__}\n", "Polars 1.0.0\n")
    left(tmp_path, job).write_text(text)
    assert job.attempt(inputs_digest=hashlib.sha256(text.encode()).hexdigest()).committed
    (line,) = job.anew
    assert f"are not those of Polars {pl.__version__}" in line


def test_a_file_whose_version_nobody_tells_is_looked_at_again_though_its_size_is_the_same(
    tmp_path: Path, files: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some web servers send neither ETag nor Last-Modified."""
    listed = listing.listed

    def blind(item: Any, access: Any) -> inputs.Listed:
        found = listed(item, access)
        return replace(found, files=tuple(file._replace(version="") for file in found.files))

    monkeypatch.setattr(listing, "listed", blind)
    job = checked(tmp_path, files, "SELECT count(*) AS n, max(k) AS k FROM t WHERE k < 40")
    before = (tmp_path / "in/b.parquet").stat().st_size
    write(tmp_path, "b", 50, 30)
    assert (tmp_path / "in/b.parquet").stat().st_size == before
    assert job.attempt().committed
    assert result(tmp_path).rows() == [(3, 30)]
    (line,) = job.anew
    assert "tells no version of" in line


def test_a_preflight_that_cannot_leave_anything_passes(
    tmp_path: Path, files: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> str:
        raise JobError(Failure.STORAGE_UNAVAILABLE, "no room")

    monkeypatch.setattr(Sink, "leave", refuse)
    wanted = plan(tmp_path, QUERY, inputs={"t": files}, purpose="preflight", leavesInputs=True)
    report = Attempt(wanted, Tracker(lambda _: None, quiet=True)).run()
    assert report.preflight and report.preflight.inputs_digest is None and report.failure is None


def test_a_passed_over_file_that_came_meanwhile_is_told(tmp_path: Path, files: str) -> None:
    job = checked(tmp_path, {"uri": files.removesuffix("*.parquet"), "hivePartitioned": False})
    (tmp_path / "in/c.orc").write_bytes(b"ORC")
    report = job.attempt()
    assert report.committed and any("c.orc" in text for text in report.warnings), report.warnings


def test_types_that_were_found_in_csv_files_are_those_of_the_preflight(
    tmp_path: Path, unread: Callable[[], None]
) -> None:
    (tmp_path / "t.csv").write_text("k,s\n1,001\n2,002\n")
    job = checked(tmp_path, f"file://{tmp_path}/t.csv", "SELECT k, s FROM t")
    unread()
    assert job.attempt().committed
    assert sorted(result(tmp_path).rows()) == [(1, "001"), (2, "002")] and job.anew == []


def table(path: Path) -> dict[str, Any]:
    d.commit(
        path, 0, d.protocol(), d.metadata([d.field("k", "long")]), d.add(path, "x.parquet", pa.table({"k": [1, 2]}))
    )
    return {"uri": f"file://{path}", "format": "auto", "hivePartitioned": None, "delta": {}}


def test_a_table_is_read_at_the_snapshot_of_the_preflight_and_its_log_is_not_read_again(
    tmp_path: Path, unread: Callable[[], None]
) -> None:
    lake = tmp_path / "lake"
    job = checked(tmp_path, table(lake))
    d.commit(lake, 1, d.add(lake, "y.parquet", pa.table({"k": [30]})))
    unread()
    report = job.attempt()
    assert report.committed and report.inputs == job.checked.inputs
    assert result(tmp_path).rows() == [(3,)] and job.anew == []


@pytest.mark.parametrize("pinned", ["newer", "gone"])
def test_a_table_that_is_not_as_it_was_left_is_resolved_anew_at_the_snapshot_that_the_job_has(
    tmp_path: Path, pinned: str
) -> None:
    lake = tmp_path / "lake"
    job = checked(tmp_path, table(lake))
    d.commit(lake, 1, d.add(lake, "y.parquet", pa.table({"k": [30]})))
    if pinned == "newer":
        assert job.attempt(snapshots={"t": f"delta:{d.ID}@1"}).committed
        assert result(tmp_path).rows() == [(33,)]
    else:
        (lake / "x.parquet").unlink()
        report = job.attempt()
        assert report.failure is Failure.INVALID_INPUT and "x.parquet" in report.message, report.message
    (line,) = job.anew
    assert 'input "t"' in line


def test_a_catalog_is_not_asked_again(tmp_path: Path) -> None:
    with iceberg.served(tmp_path) as lake:
        lake.table(Schema(NestedField(1, "k", LongType()))).append(pa.table({"k": [1, 2]}))
        wanted = plan(tmp_path, QUERY).model_copy(update={"inputs": (iceberg.item_of(),), "store": lake.access})
        job = passed(wanted)
        asked = list(lake.asked)
        lake.status = 503
        report = job.attempt()
        assert report.committed and lake.asked == asked, report.message
    assert result(tmp_path).rows() == [(3,)] and job.anew == []
    assert report.inputs == job.checked.inputs and report.inputs[0].snapshot.startswith("iceberg:")


def test_two_jobs_with_one_output_take_each_its_own(tmp_path: Path, files: str) -> None:
    first = checked(tmp_path, files, output={"uri": f"file://{tmp_path}/out", "mode": "append"})
    write(tmp_path, "c", 100)
    second = checked(tmp_path, files, output={"uri": f"file://{tmp_path}/out", "mode": "append"})
    (tmp_path / "in/c.parquet").unlink()
    assert first.plan.job.uid != second.plan.job.uid
    assert first.attempt().committed and first.anew == []
    assert left(tmp_path, second).exists(), "what another job waits with is left to it"
    assert second.attempt().committed and "c.parquet is gone" in second.anew[0]
    forged = first.attempt(inputs_digest=second.checked.preflight.inputs_digest)  # type: ignore[union-attr]
    assert forged.committed


def test_ranks_get_what_index_0_has_taken_over(
    tmp_path: Path, files: str, unread: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = checked(tmp_path, files, "SELECT k FROM t")
    monkeypatch.setattr(engines, "find", lambda name: shares)
    shares = rank_threads.Shares()
    unread()
    assert job.checked.preflight
    known = {"inputs_digest": job.checked.preflight.inputs_digest, "processes": Processes.RANKS, "replicas": 3}
    reports = rank_threads.run(job.plan.model_copy(update=known), 3)
    assert [report and report.failure for report in reports] == [None] * 3, reports
    assert sorted(result(tmp_path)["k"]) == [1, 2, 10, 20]
    assert rank_threads.leftovers(tmp_path) == []


def test_a_commit_clears_away_what_jobs_that_died_a_day_ago_have_left_and_nothing_else(
    tmp_path: Path, files: str
) -> None:
    staged = tmp_path / "out/_staging"
    kept = ["waits/inputs", "lives/1/rank-00001.lease", "dead/notes.txt", "dead/1/x/inputs"]
    gone = [
        "dead/inputs",
        "dead/1/rank-00000.json",
        "dead/1/rank-00000.inputs",
        "dead/2/rank-00001.lease",
        "dead/1/probe-0123456789abcdef",
    ]
    old = ["lives/inputs", "lives/1/rank-00000.inputs"]  # another rank of it has written its lease since
    for name in (*kept, *gone, *old):
        file = staged / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("[]")
        if not name.startswith("waits") and name != "lives/1/rank-00001.lease":
            os.utime(file, (time.time() - 90_000,) * 2)
    output = {"uri": f"file://{tmp_path}/out", "mode": "append"}
    assert Attempt(plan(tmp_path, QUERY, inputs={"t": files}, output=output), Tracker(lambda _: None)).run().committed
    there = {str(path.relative_to(staged)) for path in staged.rglob("*") if path.is_file()}
    assert there == {*kept, *old}


def test_what_the_planner_knew_comes_back_as_it_was(tmp_path: Path) -> None:
    rows = {
        "k": pa.array([2**62, -1, None]), "d": pa.array([date(1, 1, 1), None, date(9999, 12, 31)]),
        "m": pa.array([Decimal("-0.10"), Decimal("12345678901234567890.25"), None], pa.decimal128(38, 2)),
        "s": pa.array(["a", "b", None]),
    }  # fmt: skip
    pq.write_table(pa.table(rows), tmp_path / "t.parquet")
    wanted = plan(tmp_path, QUERY, inputs={"t": f"file://{tmp_path}/t.parquet"})
    resolved = inputs.resolve(wanted.inputs, wanted.store)
    known = facts.known(resolved, wanted.store).table("t")
    assert known.columns["d"].low == date(1, 1, 1) and known.columns["m"].high == Decimal("12345678901234567890.25")
    text = json.dumps(facts.to_json(known))
    again = facts.known({"t": replace(resolved["t"], facts=json.loads(text))}, wanted.store).table("t")
    assert again == known and repr(again) == repr(known)
