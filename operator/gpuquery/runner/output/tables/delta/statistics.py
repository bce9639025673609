"""Statistics of a file as the log has them: "Per-file Statistics" in the protocol. Readers skip files by them.

Only what is exact is told, so a reader that skips a file never loses a row:

| type | told |
|---|---|
| any | numRecords, and nullCount outside of lists and maps |
| integers, dates | least and greatest value |
| decimals | the same, up to 15 digits: readers parse JSON's numbers as doubles |
| timestamps | the same, if both are whole milliseconds: Spark writes no more, and readers differ about the rest |
| texts | the same, up to 32 characters, as Spark tells them |
| floats | nothing: parquet leaves NaN out, which Spark sorts last |
| booleans, binaries | nothing: nobody tells them |
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.runner.output.record import Bound, StagedFile

MAX_COLUMNS = 32
"""Columns that are told, the first ones: delta.dataSkippingNumIndexedCols, unless the table says otherwise."""
MAX_TEXT = 32
MAX_DIGITS = 15
_EPOCH, _DAY = datetime(1970, 1, 1, tzinfo=UTC), date(1970, 1, 1)
_MILLISECOND = 1000


def text(file: StagedFile, dtypes: Mapping[str, pl.DataType]) -> str:
    """Return the statistics of a file with columns of these types."""
    found: dict[str, Any] = {"numRecords": file.rows}
    for one in file.statistics or ():
        if (dtype := _dtype(one.path, dtypes)) is None:
            continue
        if one.nulls is not None:
            _put(found.setdefault("nullCount", {}), one.path, one.nulls)
        least, most = _value(one.least, dtype), _value(one.most, dtype)
        if least is not None and most is not None:
            _put(found.setdefault("minValues", {}), one.path, least)
            _put(found.setdefault("maxValues", {}), one.path, most)
    return _json(found)


def nulls(file: StagedFile, name: str) -> int | None:
    """Return how many nulls a column has in a file; None if its footer does not tell."""
    return next((one.nulls for one in file.statistics or () if one.path == (name,)), None)


def _dtype(path: Sequence[str], dtypes: Mapping[str, pl.DataType]) -> pl.DataType | None:
    """Return the type of a leaf; None within lists, and for what is no column."""
    dtype: Any = dtypes.get(path[0])
    for name in path[1:]:
        if not isinstance(dtype, pl.Struct):
            return None
        dtype = next((one.dtype for one in dtype.fields if one.name == name), None)
    return None if isinstance(dtype, pl.List | pl.Array | pl.Struct) else dtype


def _value(bound: Bound | None, dtype: pl.DataType) -> Any:
    """Return a bound as the log has it; None if it is not told."""
    if bound is None or not bound.exact:
        return None
    value = bound.value
    match dtype:
        case pl.String() if isinstance(value, str):
            return value if len(value) <= MAX_TEXT else None
        case pl.Decimal() if isinstance(value, str):
            return Decimal(value) if (dtype.precision or 38) <= MAX_DIGITS else None
        case pl.Date() if isinstance(value, int):
            return _day(value)
        case pl.Datetime() if isinstance(value, int):
            return _moment(value, zoned=dtype.time_zone is not None)
        case pl.Int8() | pl.Int16() | pl.Int32() | pl.Int64() if isinstance(value, int):
            return value
    return None


def _day(value: int) -> str | None:
    try:
        return (_DAY + timedelta(days=value)).isoformat()
    except OverflowError:
        return None


def _moment(value: int, *, zoned: bool) -> str | None:
    if value % _MILLISECOND:
        return None
    try:
        made = _EPOCH + timedelta(microseconds=value)
    except OverflowError:
        return None
    return made.replace(tzinfo=None).isoformat(timespec="milliseconds") + ("Z" if zoned else "")


def _put(where: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for name in path[:-1]:
        where = where.setdefault(name, {})
    where[path[-1]] = value


def _json(found: Any) -> str:
    """JSON, with decimals as numbers that keep their places."""
    if isinstance(found, dict):
        return "{" + ",".join(f"{json.dumps(name)}:{_json(value)}" for name, value in found.items()) + "}"
    return str(found) if isinstance(found, Decimal) else json.dumps(found)
