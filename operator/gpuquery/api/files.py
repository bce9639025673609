"""How the files of a result are made: `spec.output.files`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, NamedTuple

from pydantic import Field

from gpuquery.api import quantity
from gpuquery.api.schema import Model, Rule

MAX_SORT_COLUMNS = 8
TARGET = r"^([1-9][0-9]{0,3}(Mi|M)|[1-9](Gi|G))$"
"""From 1M to 9Gi: S3 puts no larger file together from the pieces that are sent."""
_DIRECTIONS = {"asc": False, "desc": True}


class Statistics(StrEnum):
    """What the metadata of a file tells of each column."""

    NONE = "none"
    MIN_MAX = "minMax"
    FULL = "full"


class SortColumn(NamedTuple):
    """A column of `sortBy`."""

    name: str
    descending: bool


class Files(Model):
    """Size, order and metadata of the files."""

    target_bytes: Annotated[str, Field(max_length=8, pattern=TARGET)] | None = None
    """The size that files should have in the store, from `1M` to `9Gi`, such as `256Mi`. Larger results are cut, and
    the small files that a GPU engine makes are joined, within a rank. It is a target and no limit: where files are cut
    is decided by their rows in memory, before they are compressed. Without it, files are cut at about 1 GiB of rows in
    memory, and those of an engine stay as they are."""
    row_group_rows: Annotated[int, Field(ge=1_000, le=10_000_000)] | None = None
    """Rows in each row group of a file: smaller ones let readers skip more, larger ones are read faster as a whole.
    Default: about 262,144."""
    compression_level: Annotated[int, Field(ge=1, le=22)] | None = None
    """Level of `zstd` (1 to 22) or `gzip` (1 to 9): higher ones make smaller files and take longer."""
    statistics: Statistics | None = None
    """`minMax` (the default) writes the number of nulls and the least and the greatest value of each column of each row
    group, by which readers skip; `full` the number of distinct values too; `none` only the number of nulls."""
    sort_by: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=262)], ...], Field(max_length=MAX_SORT_COLUMNS)
    ] = ()
    """Columns by which the rows of each file are sorted: `ts`, or `ts desc`. Nulls come first, with `desc` last. The
    engine cpu sorts the whole result in memory; the other engines leave it to the CPU, for as many rows at a time as
    make up a file."""

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.sortBy) || self.sortBy.all(x, self.sortBy.exists_one(y, x == y))",
            lambda self: len(set(self.sort_by)) == len(self.sort_by),
            "sortBy names a column twice",
            field_path=".sortBy",
        ),
    )

    @property
    def target(self) -> int | None:
        """`target_bytes` as a number."""
        return int(quantity.amount(self.target_bytes)) if self.target_bytes else None

    @property
    def order(self) -> list[SortColumn]:
        """`sort_by`, taken apart. A last word `asc` or `desc` is a direction, whatever stands before it."""
        found = []
        for text in self.sort_by:
            name, _, word = text.rpartition(" ")
            direction = _DIRECTIONS.get(word) if name else None
            found.append(SortColumn(text, False) if direction is None else SortColumn(name, direction))
        return found
