"""Columns of parquet files that Polars does not read exactly, or not at all.

What is behind it, by type: docs/inputs.md has the table. A type that is not in it is read as it is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.parquet.elements import INT96, misread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.runner.parquet.elements import Element

_KNOWN = frozenset(
    {"", "STRING", "MAP", "LIST", "ENUM", "DECIMAL", "DATE", "TIME", "TIMESTAMP", "INTEGER", "UNKNOWN", "JSON", "BSON",
     "UUID", "FLOAT16"}
)  # fmt: skip
_TEXTS = frozenset({"JSON", "ENUM"})
_WAYS_OUT: Mapping[str, str] = {
    "INTERVAL": "write it as an integer or as two timestamps",
    "VARIANT": "write its parts as columns of their own",
    "GEOMETRY": "write it as WKB in a column of bytes",
    "GEOGRAPHY": "write it as WKB in a column of bytes",
}
MAX_DIGITS = 38
SECONDS = (
    "has times of day in whole seconds (Arrow's time32[s]), which Polars takes for other times: write time32[ms], or a "
    "file without Arrow schema"
)
_ZONE = re.compile(r"unable to parse time zone: '([^']*)'")


def refusal(column: Element, dtype: pl.DataType | None = None, *, encrypted: bool = False) -> str | None:
    """Return why a column is not read, and what to do about it, said of the column; None if it is read exactly.

    `dtype` is what Polars takes it for.
    """
    if encrypted:
        return "is encrypted, which is not read here: write it without encryption"
    if why := misread(column):
        return f"{why}, which is not read here: write it again with a present writer (as a list of three levels)"
    for leaf in column.leaves():
        if leaf.logical == "DECIMAL" and leaf.precision > MAX_DIGITS:
            return f"is a decimal of {leaf.precision} digits, and at most {MAX_DIGITS} are read: write it as text"
        if leaf.physical == INT96 and leaf is not column:
            return "has INT96 timestamps within lists or structs, which are not read here: write TIMESTAMP_MICROS"
        if leaf.logical == "FLOAT16" and dtype is not None and not _has_halves(dtype):
            return "is a float16, which Polars takes for bytes in a file without Arrow schema: write it as float32"
    for element in _all(column):
        if element.logical not in _KNOWN:
            way = _WAYS_OUT.get(element.logical, "write the file without this column")
            kind = "logical type " + element.logical if element.logical.startswith("field") else element.logical
            return f"has the type {kind} of parquet, which is not read here: {way}"
    return None


def odd_zone(columns: Sequence[Element], text: str) -> str:
    """Say which columns can have the time zone that Polars does not know by what it raised; empty for another error."""
    found = _ZONE.search(text)
    if not found:
        return ""
    names = [f'"{c.name}"' for c in columns if any(leaf.logical == "TIMESTAMP" for leaf in c.leaves())]
    which = f"column {names[0]}" if len(names) == 1 else f"one of the columns {', '.join(names)}"
    return f"{which} has the time zone {found[1]!r}, which the time zone database does not have: write it in UTC"


def exact(column: Element, dtype: pl.DataType) -> pl.DataType:
    """Return the type as which a column's values are read: half floats as floats, JSON and ENUM as the texts they are.

    No reader but Polars and pyarrow knows half floats, and SQL has no type for them. A column of type UNKNOWN has only
    nulls.
    """
    if column.logical == "UNKNOWN":
        return pl.Null()
    if _has_halves(dtype) and not column.children:
        return pl.Float32()
    if column.logical == "DATE" and isinstance(dtype, pl.Datetime):
        return pl.Date()  # Arrow's date64, which only Polars takes for moments
    return pl.String() if column.logical in _TEXTS and isinstance(dtype, pl.Binary) else dtype


def _has_halves(dtype: pl.DataType) -> bool:
    return "Float16" in str(dtype)


def _all(column: Element) -> list[Element]:
    return [column, *(one for child in column.children for one in _all(child))]
