"""The shape of files: where they are cut, how their rows are sorted, what their metadata says (`output.files`).

Polars cuts a file by the memory of its rows, and nobody knows before how well they compress. An engine's own files
tell how many rows make up `targetBytes`; elsewhere four bytes in memory are taken for one in the file.

The files of an engine go up as they are, byte by byte, where nothing is asked of them that they may not have. Others
are gathered until they make up a file, and written anew by the CPU of the rank; so is whatever goes into partitions,
for the engines' libraries write none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpuquery.api.files import Files, Statistics
from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs import dtypes
from gpuquery.runner.output import hive

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl

    from gpuquery.api.output import Output

BYTES_PER_FILE = 1 << 30
"""Bytes in memory of a file's rows: a few hundred MB compressed, small enough to be read by many workers."""
MEMORY_PER_BYTE = 4
"""Bytes of rows in memory that are taken for one in the file: lineitem has 4.1 with zstd."""
GATHERED_BYTES = 256 << 20
"""Bytes of an engine's files that are laid out in partitions at once where no `targetBytes` is given."""
TOO_LARGE = 2
"""A file of an engine of that many times the target is cut."""
LEAST_SHARE = 2
"""Files of an engine wait for others until they have this part of the target together: a half."""
_STATISTICS: Mapping[Statistics, Any] = {
    # output.expect counts nulls by them.
    Statistics.NONE: {"min": False, "max": False, "distinct_count": False, "null_count": True},
    Statistics.MIN_MAX: True,
    Statistics.FULL: "full",
}


class Shape:
    """What the files of one output are like. May be used from many threads."""

    def __init__(self, output: Output) -> None:
        self._files = output.files or Files()
        self._partition_by = list(output.partition_by)
        self.partitioned = bool(output.partition_by)
        """Whether the table has partitions, so that each of them gets a file each time that rows go there."""
        self.options: Mapping[str, Any] = {
            "compression": output.compression.value,
            "compression_level": self._files.compression_level,
            "row_group_size": self._files.row_group_rows,
            "statistics": _STATISTICS[self._files.statistics or Statistics.MIN_MAX],
        }
        """What Polars' writers take."""

    def check(self, schema: Mapping[str, pl.DataType]) -> None:
        """Raise UserError if files of this schema cannot be sorted as asked."""
        for name, _ in self._files.order:
            if name not in schema:
                raise _refuse(hive.lacking(name, list(schema)))
            if schema[name].is_nested():
                raise _refuse(
                    f"{name!r} of type {schema[name]}, which has no order: name columns of numbers, texts or times"
                )
            if name in self._partition_by:
                raise _refuse(f"{name!r}, which output.partitionBy makes a folder: leave it out of one of them")

    def sorted(self, lf: pl.LazyFrame) -> pl.LazyFrame:
        """Sort rows as asked."""
        order = self._files.order
        if not order:
            return lf
        down = [one.descending for one in order]
        return lf.sort([dtypes.column(one.name) for one in order], descending=down, nulls_last=down)

    def limits(self, rows_per_file: int | None = None) -> Mapping[str, int | None]:
        """Return where Polars cuts files, for PartitionBy; `rows_per_file` if the caller knows it."""
        memory = self._files.target * MEMORY_PER_BYTE if self._files.target else BYTES_PER_FILE
        return {"max_rows_per_file": rows_per_file, "approximate_bytes_per_file": None if rows_per_file else memory}

    def leaves(self, sizes: Sequence[int]) -> bool:
        """Whether an engine's files of these sizes in bytes go up as they are, if their columns allow it."""
        files = self._files
        asked = files.row_group_rows or files.compression_level or files.sort_by
        if asked or files.statistics not in (None, Statistics.MIN_MAX) or len(sizes) > 1:
            return False
        return files.target is None or sizes[0] < TOO_LARGE * files.target

    def enough(self, sizes: Sequence[int]) -> bool:
        """Whether an engine's files of these sizes in bytes need not wait for more to make up a file."""
        least = self._files.target or (GATHERED_BYTES if self.partitioned or self._files.sort_by else 0)
        return sum(sizes) * LEAST_SHARE >= least

    def rows_per_file(self, rows: int, size: int) -> int | None:
        """Rows that make up a file of the target's size, if `rows` took `size` bytes in an engine's files."""
        target = self._files.target
        if target is None:
            return None
        return -(-rows // max(1, round(size / target)))


def _refuse(what: str) -> JobError:
    return JobError(Failure.USER_ERROR, f"output.files.sortBy names {what}")
