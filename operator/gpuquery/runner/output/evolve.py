"""Evolution: whether a result's columns fit those of the table, and what the table's columns are then.

With `schemaEvolution: widen` a result may have columns that the table lacks, which are null in the files that are
there, and other types, if one type holds the values of both exactly. Files keep the types that they were written with:
readers bring them to those of the newest record. Our own inputs do so by the same rules (inputs/formats/parquet/widen).
Partition columns and nested types stay as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.inputs import dtypes
from gpuquery.runner.inputs.formats.parquet import widen as types
from gpuquery.runner.output.record import Column

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


def fitted(
    table: Sequence[Column], result: Sequence[Column], partition_by: Collection[str], *, widen: bool
) -> tuple[Sequence[Column], Sequence[str]]:
    """Return the columns of the table with the result, in the table's order, and how the result does not fit."""
    have = {column.name: column.type for column in table}
    want = {column.name: column.type for column in result}
    found = dict(have)
    differences = []
    for name in sorted(have.keys() | want.keys()):
        mine, theirs = want.get(name), have.get(name)
        if mine == theirs:
            continue
        wider = _wider(theirs, mine) if widen and mine and name not in partition_by else None
        if wider is None:
            differences.append(f"{name} is {mine or 'missing'} in the result and {theirs or 'missing'} in the table")
        else:
            found[name] = wider
    order = [*have, *(column.name for column in result if column.name not in have)]
    return [Column(name=name, type=found[name]) for name in order if name in found], differences


def way_out(table: Sequence[Column], result: Sequence[Column], *, widen: bool) -> str:
    """Say what to do about differences."""
    cast = "cast the columns in the query, or use mode overwrite"
    if widen:
        return f"{cast}: schemaEvolution: widen adds columns and widens numbers, and no more"
    could = not fitted(table, result, (), widen=True)[1]
    return f"{cast}{', or schemaEvolution: widen, by which the table takes these columns' if could else ''}"


def dtype(text: str) -> pl.DataType | None:
    """Return the type of a column of a record; None if this release of Polars has no such type."""
    try:
        found = dtypes.parse(text)
    except dtypes.UnknownTypeError:
        return None
    return found if isinstance(found, pl.DataType) else found()


def _wider(have: str | None, want: str) -> str | None:
    """Return the type that holds the values of both; None if there is none that every reader widens to."""
    if have is None:
        return want
    a, b = dtype(have), dtype(want)
    if a is None or b is None or not (a.is_numeric() and b.is_numeric()):
        return None
    found = types.common(a, b)
    return None if found is None else str(found)
