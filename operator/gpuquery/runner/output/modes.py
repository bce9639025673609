"""Modes: what each makes of the table that is there. All that differs between them stands here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol
from urllib.parse import unquote

from gpuquery.api.output import OutputMode
from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output import evolve
from gpuquery.runner.output.hive import NULL
from gpuquery.runner.output.record import ROLLBACK

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

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
    widen: bool = False
    """Whether it may add columns to the table and widen types (`output.schemaEvolution: widen`)."""

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
    columns: Sequence[Column] | None = None
    """All columns of the table then, where they are not just those of the result."""


class Mode(Protocol):
    """One value of `output.mode`."""

    word: str
    """What the object, the records and the names of markers call it."""
    format: Literal[1, 2] = 1
    """Of its records: 2 if older runners do not know it."""
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

    word: str = OutputMode.APPEND
    extends = True

    def change(self, log: Log, result: Result) -> Change:
        """Add the files with rows; they take the place of a placeholder."""
        if (latest := log.latest()) is None:
            return Change(result.add, (), result.placeholder)
        columns = check_fits(latest, result)
        if any(file.rows for file in result.files):
            return Change(result.add, (latest.placeholder,) if latest.placeholder else (), None, columns)
        return Change((), (), latest.placeholder, columns)


class ErrorIfExists(Append):
    """Makes a new table."""

    word = OutputMode.ERROR_IF_EXISTS
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

    word = OutputMode.OVERWRITE
    replaces = True

    def change(self, log: Log, result: Result) -> Change:
        """Remove every live file."""
        return Change(result.add, list(log.live()), result.placeholder)


class OverwritePartitions(Append):
    """Replaces the partitions in which the result has rows, and keeps all others."""

    word = OutputMode.OVERWRITE_PARTITIONS
    format = 2

    def change(self, log: Log, result: Result) -> Change:
        """Remove the live files of those partitions. A result without rows replaces nothing."""
        if not result.partition_by:
            raise JobError(
                Failure.USER_ERROR,
                "output.mode is overwritePartitions, and output.partitionBy names no columns: name them, or use mode "
                "overwrite, which replaces the whole table",
            )
        change = super().change(log, result)
        floats = {column.name for column in result.columns if column.type.startswith("Float")}
        mine = {_partition(file.path, floats) for file in change.add}
        old = [path for path in log.live() if _partition(path, floats) in mine] if log.latest() else []
        return replace(change, remove=[*change.remove, *old])


class Rollback(Mode):
    """Makes the table what it was at an earlier version, by a new one that takes later files away."""

    word = ROLLBACK
    format = 2

    def __init__(self, to: int) -> None:
        """`to` is a version that is there."""
        self.to = to

    def change(self, log: Log, result: Result) -> Change:
        """Remove what came later. Raises InvalidPlan, naming the version that did it, where older files are deleted."""
        versions = [entry.version for entry in log.tables()]
        if self.to not in versions:
            raise _no_way_back(self.to, "the table has no such version")
        wanted, live = log.live(self.to), log.live()
        for record in log.read([version for version in versions if version > self.to]):
            if lost := [path for path in record.remove if path in wanted]:
                raise _no_way_back(
                    self.to,
                    f"version {record.version} (mode {record.mode}, of job {record.job.namespace}/{record.job.name}) "
                    f"has deleted {len(lost):,} of its {len(wanted):,} files: write that data again by a job with mode "
                    f"{OutputMode.OVERWRITE}, or restore the table from older versions of the bucket",
                )
        then, now = log.read([self.to, versions[-1]])
        later = [path for path in live if path not in wanted]
        if not later and now.columns == then.columns:
            raise _no_way_back(self.to, "that is what the table is now")
        return Change((), later, then.placeholder)


MODES: Mapping[str, Mode] = {
    mode.word: mode for mode in (ErrorIfExists(), Append(), Overwrite(), OverwritePartitions())
}
"""By the word in the object and in the log. In the log there are fences too, which change no data, and rollbacks."""


def check_fits(latest: CommitRecord, result: Result) -> Sequence[Column]:
    """Return the columns of the table with the result. Raises UserError where it would not fit what is there."""
    if tuple(result.partition_by) != latest.partition_by:
        raise JobError(
            Failure.USER_ERROR,
            f"output.partitionBy is [{', '.join(result.partition_by)}], but the table is partitioned by "
            f"[{', '.join(latest.partition_by)}] since version {latest.version}: use the same, or mode overwrite",
        )
    columns, differences = evolve.fitted(latest.columns, result.columns, latest.partition_by, widen=result.widen)
    if differences:
        more = f" and {len(differences) - 5} more" if len(differences) > 5 else ""
        raise JobError(
            Failure.USER_ERROR,
            f"the result does not fit the table's version {latest.version}: {'; '.join(differences[:5])}{more}; "
            f"{evolve.way_out(latest.columns, result.columns, widen=result.widen)}",
        )
    return columns


def _partition(path: str, floats: Collection[str]) -> tuple[str, ...]:
    """The partition of a file. Of a value each way to encode it is one, of a float each way to write it too."""
    folders = [folder.partition("=") for folder in path.split("/")[:-1]]
    return tuple(f"{name}={_plain(value, is_float=name in floats)}" for name, _, value in folders)


def _plain(value: str, *, is_float: bool) -> str:
    if value == NULL:
        return value
    text = unquote(value)
    try:
        return f"{float(text) + 0.0}" if is_float else text
    except ValueError:  # no runner writes it, so it is no partition of a result
        return text


def _no_way_back(version: int, why: str) -> JobError:
    return JobError(Failure.INVALID_PLAN, f"there is no way back to version {version}: {why}; nothing was changed")
