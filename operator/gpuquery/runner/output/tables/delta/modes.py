"""Modes: which files of the table a commit removes, given what the result brings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from gpuquery.api.reasons import Failure
from gpuquery.api.text import clean
from gpuquery.runner.output.tables.delta import values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.runner.inputs.tables.delta.actions import Added, Snapshot
    from gpuquery.runner.output.tables.delta.place import Target
    from gpuquery.runner.output.tables.delta.schema import Layout
    from gpuquery.runner.output.tables.delta.where import Where

MAX_SAID = 5
Partition = Mapping[str, str | None]
"""The partition values of a file, as the log has them."""


class Mode(Protocol):
    """One value of `output.mode`."""

    word: str
    """As the log's own record of the commit names it, in Delta's words."""
    removes: bool = False
    """Whether it may remove rows."""

    def check(self, target: Target, snapshot: Snapshot | None, layout: Layout) -> None:
        """Raise JobError if a result of this layout may not be committed to the table."""
        return

    def removed(self, snapshot: Snapshot, layout: Layout, brought: Sequence[Partition]) -> list[Added]:
        """Return the files to remove; `brought` are the partitions of the result's files."""
        return []


class Append(Mode):
    """Adds the result to what is there."""

    word = "Append"


class ErrorIfExists(Mode):
    """Makes a new table."""

    word = "ErrorIfExists"

    def check(self, target: Target, snapshot: Snapshot | None, layout: Layout) -> None:
        """Raise OutputExists if there is one."""
        if snapshot is not None:
            raise target.refused(
                f"it is there already, in version {snapshot.version}; use mode append or overwrite, or another "
                "output.uri",
                Failure.OUTPUT_EXISTS,
            )


class Overwrite(Mode):
    """Replaces all that is there."""

    word = "Overwrite"
    removes = True

    def removed(self, snapshot: Snapshot, layout: Layout, brought: Sequence[Partition]) -> list[Added]:
        """Remove all."""
        return list(snapshot.files.values())


class OverwritePartitions(Mode):
    """Replaces the partitions for which the result has rows."""

    word = "Overwrite"
    removes = True

    def check(self, target: Target, snapshot: Snapshot | None, layout: Layout) -> None:
        """Raise UserError for a table without partitions."""
        if not layout.partition_by:
            raise target.refused(
                "output.mode is overwritePartitions, and the table has no partitions: use mode overwrite, or name "
                "columns in output.partitionBy"
            )

    def removed(self, snapshot: Snapshot, layout: Layout, brought: Sequence[Partition]) -> list[Added]:
        """Remove the files of these partitions, however their writers have written the values."""
        mine = {values.key(one, layout.keys) for one in brought}
        return [one for one in snapshot.files.values() if values.key(one.values, layout.keys) in mine]


@dataclass(frozen=True)
class OverwriteWhere(Mode):
    """Replaces the partitions that satisfy a predicate; the result has rows in no others."""

    where: Where
    word = "Overwrite"
    removes = True

    def check(self, target: Target, snapshot: Snapshot | None, layout: Layout) -> None:
        """Raise InvalidQuery if the predicate is none over the partition columns."""
        self.where.bind(layout.keys)

    def removed(self, snapshot: Snapshot, layout: Layout, brought: Sequence[Partition]) -> list[Added]:
        """Remove the files of the partitions that satisfy it. Raises UserError if the result has others."""
        holds = self.where.holds(brought, layout.keys)
        if others := [one for one, held in zip(brought, holds, strict=True) if not held]:
            shown = "; ".join(
                ", ".join(f"{name} = {'NULL' if text is None else clean(text, 60)}" for name, text in one.items())
                for one in others[:MAX_SAID]
            )
            raise self.where.refused(
                f"the result has rows in {len(others)} partitions that do not satisfy it, such as {shown}: filter them "
                "out in the query, or widen the predicate",
                Failure.USER_ERROR,
            )
        files = list(snapshot.files.values())
        there = self.where.holds([one.values for one in files], layout.keys)
        return [one for one, held in zip(files, there, strict=True) if held]
