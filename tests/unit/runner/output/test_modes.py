"""What each mode of an output makes of the table that is there."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, get_args

import pytest

from gpuquery.api.output import OutputMode
from gpuquery.api.reasons import Failure
from gpuquery.plan.plan import JobRef
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output.hive import NULL
from gpuquery.runner.output.modes import MODES, Result
from gpuquery.runner.output.record import Column, CommitRecord, StagedFile

if TYPE_CHECKING:
    from collections.abc import Sequence

COLUMNS = (Column(name="v", type="Int64"),)


def file(path: str, rows: int) -> StagedFile:
    return StagedFile(path=path, upload_id="u", pieces=("1",), bytes=rows, rows=rows)


FULL, EMPTY = file("full", 3), file("empty", 0)


class Log:
    """A log as modes see it."""

    def __init__(
        self,
        live: Sequence[str] = (),
        placeholder: str | None = None,
        columns: Sequence[Column] = COLUMNS,
        by: Sequence[str] = (),
    ) -> None:
        self._live, self._placeholder, self._columns, self._by = live, placeholder, tuple(columns), tuple(by)

    def live(self) -> Sequence[str]:
        return self._live

    def latest(self) -> CommitRecord | None:
        if not self._live:
            return None
        job, now = JobRef(namespace="ns", name="other", uid="uid"), datetime.now(UTC)
        return CommitRecord(version=7, job=job, attempt=1, mode="append", columns=self._columns,
                            partition_by=self._by, placeholder=self._placeholder, created=now)  # fmt: skip


NEW, OLD, BARE = Log(), Log(["old"]), Log(["bare"], "bare")
CHANGES = [
    pytest.param("append", NEW, [FULL, EMPTY], ([FULL], (), None), id="a new table has the files with rows"),
    pytest.param("append", NEW, [EMPTY], ([EMPTY], (), "empty"), id="a new table without rows has a placeholder"),
    pytest.param("append", OLD, [FULL], ([FULL], (), None), id="append keeps what is there"),
    pytest.param("append", OLD, [EMPTY], ((), (), None), id="nothing is appended to a table with rows"),
    pytest.param("append", BARE, [FULL], ([FULL], ("bare",), None), id="rows take the place of the placeholder"),
    pytest.param("append", BARE, [EMPTY], ((), (), "bare"), id="the placeholder stays while there are no rows"),
    pytest.param("overwrite", OLD, [FULL], ([FULL], ["old"], None), id="overwrite removes what is live"),
    pytest.param("overwrite", OLD, [EMPTY], ([EMPTY], ["old"], "empty"), id="overwrite with nothing empties the table"),
    pytest.param("errorIfExists", NEW, [FULL], ([FULL], (), None), id="errorIfExists makes a table"),
]  # fmt: skip


@pytest.mark.parametrize(("mode", "log", "files", "want"), CHANGES)
def test_what_a_commit_changes(mode: str, log: Any, files: list[StagedFile], want: tuple[Any, ...]) -> None:
    MODES[mode].check(log)
    change = MODES[mode].change(log, Result(files, COLUMNS))
    assert (change.add, change.remove, change.placeholder) == want


FOLDERS = [
    pytest.param("String", ["k=a/1", "k=b/2"], ["k=a/9"], ["k=a/1"], id="only the partition with rows is replaced"),
    pytest.param("String", ["k=a/1", "k=a/2"], ["k=a/8", "k=a/9"], ["k=a/1", "k=a/2"], id="with all of its files"),
    pytest.param("String", ["k=a/1"], ["k=b/9"], [], id="a new partition is added"),
    pytest.param("String", [f"k={NULL}/1", "k=/2", "k=a/3"], [f"k={NULL}/9"], [f"k={NULL}/1"], id="null is one too"),
    pytest.param("String", ["k=1/1", "k=1.0/2"], ["k=1/9"], ["k=1/1"], id="texts that look like numbers are texts"),
    pytest.param("Float64", ["k=-0.0/1", "k=1e20/2"], ["k=0.0/8", "k=100000000000000000000.0/9"],
                 ["k=-0.0/1", "k=1e20/2"], id="a float is one partition however it is written"),
    pytest.param("Float64", ["k=NaN/1", f"k={NULL}/2"], ["k=NaN/9"], ["k=NaN/1"], id="NaN is a partition and no null"),
    pytest.param("Float64", ["k=1e%2B20/1", "k=1e19/2"], ["k=1e20/9"], ["k=1e%2B20/1"], id="a float may be encoded"),
    pytest.param("Float64", ["k=/1", "k=x/2", "k=1.0/3"], ["k=1.0/9"], ["k=1.0/3"], id="what is no float stays"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "live", "new", "removed"), FOLDERS)
def test_which_partitions_are_replaced(kind: str, live: list[str], new: list[str], removed: list[str]) -> None:
    columns = (Column(name="k", type=kind), *COLUMNS)
    result = Result([file(path, 1) for path in new], columns, ("k",))
    log: Any = Log(live, columns=columns, by=("k",))
    change = MODES["overwritePartitions"].change(log, result)
    assert (change.add, change.remove) == (result.files, removed)


def test_a_result_without_rows_replaces_no_partition() -> None:
    columns = (Column(name="k", type="String"), *COLUMNS)
    log: Any = Log(["k=a/1"], columns=columns, by=("k",))
    change = MODES["overwritePartitions"].change(log, Result([EMPTY], columns, ("k",)))
    assert not change.add
    assert not change.remove


def test_partitions_are_replaced_only_in_a_table_that_has_some() -> None:
    with pytest.raises(JobError, match=r"partitionBy names no columns: .* or use mode overwrite") as caught:
        MODES["overwritePartitions"].change(OLD, Result([FULL], COLUMNS))  # type: ignore[arg-type]
    assert caught.value.failure is Failure.USER_ERROR


def typed(**columns: str) -> tuple[Column, ...]:
    return tuple(Column(name=name, type=kind) for name, kind in columns.items())


WIDER = [
    pytest.param({"a": "Int32"}, {"a": "Int64"}, {"a": "Int64"}, id="wider integers"),
    pytest.param({"a": "Int64"}, {"a": "Int32"}, {"a": "Int64"}, id="narrower integers"),
    pytest.param({"a": "UInt32"}, {"a": "Int32"}, {"a": "Int64"}, id="with a sign and without"),
    pytest.param({"a": "Float32"}, {"a": "Float64"}, {"a": "Float64"}, id="doubles"),
    pytest.param({"a": "Int16"}, {"a": "Float32"}, {"a": "Float64"}, id="integers that a double holds"),
    pytest.param({"a": "Decimal(precision=10, scale=2)"}, {"a": "Decimal(precision=12, scale=4)"},
                 {"a": "Decimal(precision=12, scale=4)"}, id="more digits"),
    pytest.param({"a": "Int64", "b": "String"}, {"c": "Date", "b": "String", "a": "Int64"},
                 {"a": "Int64", "b": "String", "c": "Date"}, id="a new column comes last"),
]  # fmt: skip


@pytest.mark.parametrize(("have", "want", "then"), WIDER)
def test_what_a_table_becomes_with_schema_evolution(
    have: dict[str, str], want: dict[str, str], then: dict[str, str]
) -> None:
    log: Any = Log(["old"], columns=typed(**have))
    change = MODES["append"].change(log, Result([FULL], typed(**want), widen=True))
    assert change.columns == list(typed(**then))
    with pytest.raises(JobError, match="or schemaEvolution: widen"):
        MODES["append"].change(log, Result([FULL], typed(**want)))


REFUSED = [
    pytest.param({"a": "Int64", "b": "Int64"}, {"a": "Int64"}, "b is missing in the result and Int64 in the table",
                 id="a column that lacks"),
    pytest.param({"a": "String"}, {"a": "Int64"}, "a is Int64 in the result and String in the table", id="texts"),
    pytest.param({"a": "UInt64"}, {"a": "Int64"}, "a is Int64 in the result", id="no integer holds both"),
    pytest.param({"a": "Int64"}, {"a": "Float64"}, "a is Float64 in the result", id="a double does not hold it"),
    pytest.param({"a": "Date"}, {"a": "Datetime(time_unit='us', time_zone=None)"}, "a is Datetime", id="days"),
    pytest.param({"a": "List(Int32)"}, {"a": "List(Int64)"}, "a is List", id="nested types"),
    pytest.param({"k": "Int32", "a": "Int8"}, {"k": "Int64", "a": "Int8"}, "k is Int64", id="a partition column"),
]  # fmt: skip


@pytest.mark.parametrize(("have", "want", "text"), REFUSED)
def test_what_no_schema_evolution_takes(have: dict[str, str], want: dict[str, str], text: str) -> None:
    by = ("k",) if "k" in have else ()
    log: Any = Log(["old"], columns=typed(**have), by=by)
    with pytest.raises(JobError, match=text) as caught:
        MODES["append"].change(log, Result([FULL], typed(**want), by, widen=True))
    assert "or schemaEvolution: widen" not in caught.value.message


def test_a_table_that_exists_is_an_error_in_one_mode_only() -> None:
    MODES["append"].check(OLD)  # type: ignore[arg-type]
    MODES["overwrite"].check(OLD)  # type: ignore[arg-type]
    with pytest.raises(JobError) as caught:
        MODES["errorIfExists"].check(OLD)  # type: ignore[arg-type]
    assert caught.value.failure is Failure.OUTPUT_EXISTS


def test_only_what_is_appended_must_fit_the_table() -> None:
    other = Result([FULL], (Column(name="w", type="String"),))
    MODES["overwrite"].change(OLD, other)  # type: ignore[arg-type]
    with pytest.raises(JobError, match="does not fit the table's version 7"):
        MODES["append"].change(OLD, other)  # type: ignore[arg-type]


def test_every_mode_of_the_object_is_one_here_and_one_of_the_record() -> None:
    assert set(MODES) == set(OutputMode)
    assert {*MODES, "fence", "rollback"} == set(get_args(CommitRecord.model_fields["mode"].annotation))
