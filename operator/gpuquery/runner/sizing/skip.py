"""Skip: which row groups a filter surely leaves out, by the bounds of their columns.

Only what is certain counts: integers, days, moments, decimals and texts, compared with a constant of the same kind.
Floating point is left alone (NaN stands in no bound), and so are unsigned integers and everything without bounds.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any

import polars as pl

from gpuquery.runner.parquet.footer import BYTE_ARRAY, Chunk, Leaf, Path, RowGroup

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.runner.sizing.reads import Schema, Test

INT32, INT64, FIXED_LEN_BYTE_ARRAY = 1, 2, 7
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = {"ms": timedelta(milliseconds=1), "us": timedelta(microseconds=1)}


def surely_empty(group: RowGroup, tests: Sequence[Test], columns: Schema, leaves: Mapping[Path, Leaf]) -> bool:
    """Whether no row of the row group can pass all tests."""
    for test in tests:
        path = (test.column,)
        chunk, leaf, dtype = group.chunks.get(path), leaves.get(path), columns.get(test.column)
        if chunk and leaf and dtype is not None and _fails(test, chunk, leaf, dtype):
            return True
    return False


def _fails(test: Test, chunk: Chunk, leaf: Leaf, dtype: pl.DataType) -> bool:
    value = _constant(test, dtype)
    if value is None:
        return False
    least = None if chunk.least is None else bound(chunk.least, leaf, dtype)
    most = None if chunk.most is None else bound(chunk.most, leaf, dtype)
    match test.comparison:
        case "==":
            return (least is not None and value < least) or (most is not None and value > most)
        case "<":
            return least is not None and least >= value
        case "<=":
            return least is not None and least > value
        case ">":
            return most is not None and most <= value
        case ">=":
            return most is not None and most < value
    return False


def _constant(test: Test, dtype: pl.DataType) -> Any:
    """The constant in the form of `_bound`; None if it cannot be compared with certainty."""
    value = test.value
    if dtype.is_signed_integer():
        return value if type(value) is int else None
    if dtype == pl.String:
        return value.encode() if isinstance(value, str) else None
    if dtype == pl.Date:
        return (value - date(1970, 1, 1)).days if type(value) is date else None
    if isinstance(dtype, pl.Decimal):
        return value if isinstance(value, Decimal) else None
    if isinstance(dtype, pl.Datetime) and dtype == test.dtype and dtype.time_zone is None:
        unit = _UNITS.get(dtype.time_unit)
        return (value.replace(tzinfo=UTC) - _EPOCH) // unit if unit and isinstance(value, datetime) else None
    return None


def bound(raw: bytes, leaf: Leaf, dtype: pl.DataType) -> Any:
    """Return a bound that a footer holds: of a text its bytes, of a day its number; None where it says nothing."""
    if dtype == pl.String:
        return raw if leaf.physical == BYTE_ARRAY else None
    if not leaf.signed:
        return None
    if leaf.physical in (INT32, INT64):
        number = int.from_bytes(raw, "little", signed=True)
    elif leaf.physical == FIXED_LEN_BYTE_ARRAY and isinstance(dtype, pl.Decimal):
        number = int.from_bytes(raw, "big", signed=True)
    else:
        return None
    return Decimal(number).scaleb(-leaf.scale, Context(prec=100)) if isinstance(dtype, pl.Decimal) else number
