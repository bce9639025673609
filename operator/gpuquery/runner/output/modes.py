"""Modes: what each makes of the table that is there. All that differs between them stands here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from gpuquery.api.output import OutputMode
from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.runner.output.log import Log
    from gpuquery.runner.output.record import Column, CommitRecord, ReadInput, StagedFile


@dataclass(frozen=True)
class Result:
    """What an attempt wants to commit."""

    files: Sequence[StagedFile]
    columns: Sequence[Column]
    partition_by: Sequence[str] = ()
    inputs: Sequence[ReadInput] = ()
    expectations: Sequence[str] = ()
    """Those that were checked and hold."""

    @property
    def add(self) -> Sequence[StagedFile]:
        """The files with rows; if there are no rows, one file that holds the table's columns."""
        return [file for file in self.files if file.rows] or list(self.files[:1])

    @property
    def placeholder(self) -> str | None:
        """Path of the file that stands for a result without rows."""
        return self.files[0].path if self.files and not any(file.rows for file in self.files) else None


@dataclass(frozen=True)
class Change:
    """What a commit does to the table's files."""

    add: Sequence[StagedFile]
    remove: Sequence[str]
    """Paths below data/."""
    placeholder: str | None
    """The file without rows that stands for the table, if the table is then empty."""


class Mode(Protocol):
    """One value of `output.mode`."""

    extends: bool = False
    """Whether rows that are there stay, so that the result must have their columns."""
    replaces: bool = False
    """Whether no version before matters for what the table holds."""

    def check(self, log: Log) -> None:
        """Raise JobError if nothing may be committed to this table."""
        return

    def change(self, log: Log, result: Result) -> Change:
        """Return what a commit of the result does. Raises UserError where the result does not fit the table."""


class Append(Mode):
    """Adds the result to what is there."""

    extends = True

    def change(self, log: Log, result: Result) -> Change:
        """Add the files with rows; they take the place of a placeholder."""
        if (latest := log.latest()) is None:
            return Change(result.add, (), result.placeholder)
        check_fits(latest, result)
        if any(file.rows for file in result.files):
            return Change(result.add, (latest.placeholder,) if latest.placeholder else (), None)
        return Change((), (), latest.placeholder)


class ErrorIfExists(Append):
    """Makes a new table."""

    extends = False

    def check(self, log: Log) -> None:
        """Raise OutputExists if there is one."""
        if (latest := log.latest()) is not None:
            raise JobError(
                Failure.OUTPUT_EXISTS,
                f"the output has version {latest.version} already, committed by job {latest.job.namespace}/"
                f"{latest.job.name} at {latest.created:%Y-%m-%d %H:%M:%S} UTC; use mode append or overwrite, or "
                "another output.uri",
            )


class Overwrite(Mode):
    """Replaces all that is there."""

    replaces = True

    def change(self, log: Log, result: Result) -> Change:
        """Remove every live file."""
        return Change(result.add, list(log.live()), result.placeholder)


MODES: Mapping[str, Mode] = {
    OutputMode.ERROR_IF_EXISTS: ErrorIfExists(),
    OutputMode.APPEND: Append(),
    OutputMode.OVERWRITE: Overwrite(),
}
"""By the word in the object and in the log, where there are also fences, which change no data."""


def check_fits(latest: CommitRecord, result: Result) -> None:
    """Raise UserError where appended files would not fit those that are there."""
    if tuple(result.partition_by) != latest.partition_by:
        raise JobError(
            Failure.USER_ERROR,
            f"output.partitionBy is [{', '.join(result.partition_by)}], but the table is partitioned by "
            f"[{', '.join(latest.partition_by)}] since version {latest.version}: use the same, or mode overwrite",
        )
    have = {column.name: column.type for column in latest.columns}
    want = {column.name: column.type for column in result.columns}
    differences = [
        f"{name} is {want.get(name, 'missing')} in the result and {have.get(name, 'missing')} in the table"
        for name in sorted(have.keys() | want.keys())
        if have.get(name) != want.get(name)
    ]
    if differences:
        more = f" and {len(differences) - 5} more" if len(differences) > 5 else ""
        raise JobError(
            Failure.USER_ERROR,
            f"the result does not fit the table's version {latest.version}: {'; '.join(differences[:5])}{more}; cast "
            "the columns in the query, or use mode overwrite",
        )
