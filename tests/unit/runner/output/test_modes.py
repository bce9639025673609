"""What each mode of an output makes of the table that is there."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, get_args

import pytest

from gpuquery.api.output import OutputMode
from gpuquery.api.reasons import Failure
from gpuquery.plan.plan import JobRef
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output.modes import MODES, Change, Result
from gpuquery.runner.output.record import Column, CommitRecord, StagedFile

if TYPE_CHECKING:
    from collections.abc import Sequence

COLUMNS = (Column(name="v", type="Int64"),)


def file(path: str, rows: int) -> StagedFile:
    return StagedFile(path=path, upload_id="u", pieces=("1",), bytes=rows, rows=rows)


FULL, EMPTY = file("full", 3), file("empty", 0)


class Log:
    """A log as modes see it."""

    def __init__(self, live: Sequence[str] = (), placeholder: str | None = None) -> None:
        self._live, self._placeholder = live, placeholder

    def live(self) -> Sequence[str]:
        return self._live

    def latest(self) -> CommitRecord | None:
        if not self._live:
            return None
        job, now = JobRef(namespace="ns", name="other", uid="uid"), datetime.now(UTC)
        return CommitRecord(version=7, job=job, attempt=1, mode="append", columns=COLUMNS,
                            placeholder=self._placeholder, created=now)  # fmt: skip


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
    assert MODES[mode].change(log, Result(files, COLUMNS)) == Change(*want)


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
    assert set(MODES) == set(OutputMode) - {OutputMode.OVERWRITE_PARTITIONS}
    assert {*MODES, "fence"} == set(get_args(CommitRecord.model_fields["mode"].annotation))
