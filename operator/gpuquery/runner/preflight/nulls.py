"""Nulls in columns that must not have any: from the footers of parquet files, which hold a count for each row group.

Where a file's footer has no such count (statistics were left out, a nested column, a column of key=value folders, CSV),
the column is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner import stores
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.parquet.footer import Footer, NotParquetError, metadata, parse
from gpuquery.runner.stores.tails import each_tail

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.inputs import Resolved

_FILE = "gpuquery file"


@dataclass(frozen=True)
class Nulls:
    """Nulls of one column."""

    count: int
    file: str = ""
    """The first file that has one, if that can be told."""


def count(given: Resolved, columns: Sequence[str], store: StoreAccess) -> dict[str, Nulls]:
    """Count the nulls of columns; those without any are left out. Raises JobError or what Polars raises."""
    told: Mapping[str, Nulls | None] = {}
    if given.reading.kind == "parquet":
        told = _by_footers(given, columns, store)
    counts = {name: nulls for name in columns if (nulls := told.get(name)) is not None}
    if unknown := [name for name in columns if name not in counts]:
        counts |= _by_reading(given, unknown, store)
    return {name: counts[name] for name in columns if counts[name].count}


def _by_footers(given: Resolved, columns: Sequence[str], store: StoreAccess) -> dict[str, Nulls | None]:
    """Nulls by column, None for a column that some file says nothing of."""
    paths = [file.uri for file in given.files]
    if not paths:
        return {}
    sizes = {file.uri: file.bytes for file in given.files}
    found: dict[str, dict[str, int | None]] = {}

    def take(path: str, tail: bytes) -> None:
        try:
            footer = parse(metadata(tail))
        except NotParquetError:
            return  # it is counted as unknown, and reading it says what is wrong
        found[path] = {name: _of_column(footer, name) for name in columns}

    each_tail(paths, sizes, stores.Everywhere(store), take)
    return {name: _summed(name, paths, found) for name in columns}


def _of_column(footer: Footer, column: str) -> int | None:
    total = 0
    for group in footer.groups:
        chunks = group.under(column)
        # A nested column has a chunk for each leaf, and a null there need not be one of the column.
        if len(chunks) != 1 or (column,) not in group.chunks or chunks[0].nulls is None:
            return None
        total += chunks[0].nulls
    return total


def _summed(column: str, paths: Sequence[str], found: Mapping[str, Mapping[str, int | None]]) -> Nulls | None:
    total, first = 0, ""
    for path in paths:
        nulls = found.get(path, {}).get(column)
        if nulls is None:
            return None
        total += nulls
        first = first or (path if nulls else "")
    return Nulls(total, first)


def _by_reading(given: Resolved, columns: Sequence[str], store: StoreAccess) -> dict[str, Nulls]:
    frame = given.frame(store)
    counts = frame.select(pl.col(columns).null_count()).collect(engine="streaming").row(0, named=True)
    return {name: Nulls(nulls, _first_file(given, name, store) if nulls else "") for name, nulls in counts.items()}


def _first_file(given: Resolved, column: str, store: StoreAccess) -> str:
    try:
        frame = given.frame(store, places=_FILE)
        found = frame.filter(pl.col(column).is_null()).select(_FILE).head(1).collect(engine="streaming")
    except (JobError, Exception, pl.exceptions.PanicException):
        return ""
    return str(found.item()) if found.height else ""
