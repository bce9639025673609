"""Statistics of a file as the log has them: "Per-file Statistics" in the protocol. Readers skip files by them.

A bound that is missing is no bound, but pyarrow's dataset of delta-rs (`to_pyarrow_dataset`, 1.6.6) takes it for
`column >= null` as soon as another column has one, and loses all rows. So bounds are told for all columns, or for none:

| type | bounds |
|---|---|
| integers, dates, booleans | the least and the greatest value |
| decimals | the same, up to 15 digits: readers parse JSON's numbers as doubles |
| timestamps | whole milliseconds around them, which is what Spark writes |
| texts | the same; of a long one a beginning, raised for the upper bound |
| floats | none: parquet leaves NaN out of account, which Spark sorts last |
| binaries, lists, maps | not told of any, and not missed by any reader |

Nulls are told of all columns outside of lists. Of a struct that holds nothing, the bounds are `{}`.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gpuquery.runner.output.record import Bound, LeafStatistics, StagedFile

Path = tuple[str, ...]
MOST = 64
"""Columns of values of a file whose statistics are known, from the first on."""
MAX_DIGITS = 15
_EPOCH, _DAY = datetime(1970, 1, 1, tzinfo=UTC), date(1970, 1, 1)
_MILLISECOND = 1000
_BOUNDLESS = (pl.Binary, pl.List, pl.Array)


def text(file: StagedFile, dtypes: Mapping[str, pl.DataType]) -> str:
    """Return the statistics of a file in a table with columns of these types."""
    found: dict[str, Any] = {"numRecords": file.rows}
    told = {one.path: one for one in file.statistics or ()}
    if told:
        inside, whole = {path[0] for path in told}, len(told) < MOST
        nulls, least, most = {}, {}, {}
        for path, dtype in _leaves(dtypes):
            if path[0] in file.values:
                continue
            if whole and path[0] not in inside:  # the file lacks the column
                nulls[path] = file.rows
            elif (one := told.get(path)) is not None and one.nulls is not None:
                nulls[path] = one.nulls
            if isinstance(dtype, _BOUNDLESS):
                continue
            if nulls.get(path) != file.rows:
                least[path], most[path] = _bounds(told.get(path), dtype)
            elif above := path[:-1]:  # `column >= null` for a struct too, if it has no bounds of its own
                least[above], most[above] = {}, {}
        found["nullCount"] = _nested(nulls)
        if all(bound is not None for bound in (*least.values(), *most.values())):
            found |= {"minValues": _nested(least), "maxValues": _nested(most)}
    return _json(found)


def nulls(file: StagedFile, name: str) -> int | None:
    """Return how many nulls a column has in a file; None if its footer does not tell."""
    return next((one.nulls for one in file.statistics or () if one.path == (name,)), None)


def _leaves(dtypes: Mapping[str, Any], above: Path = ()) -> Iterator[tuple[Path, pl.DataType]]:
    """Yield the columns of values outside of lists; a list is one."""
    for name, dtype in dtypes.items():
        if isinstance(dtype, pl.Struct):
            yield from _leaves({one.name: one.dtype for one in dtype.fields}, (*above, name))
        elif not isinstance(dtype, pl.List | pl.Array):
            yield (*above, name), dtype


def _bounds(one: LeafStatistics | None, dtype: pl.DataType) -> tuple[Any, Any]:
    if one is None or one.least is None or one.most is None:
        return None, None
    return _value(one.least, dtype, up=False), _value(one.most, dtype, up=True)


def _value(bound: Bound, dtype: pl.DataType, *, up: bool) -> Any:
    """Return a bound as the log has it; None if it cannot be told."""
    value = bound.value
    match dtype:
        case pl.String() if isinstance(value, str):
            return value
        case pl.Boolean() if isinstance(value, bool):
            return value
        case pl.Decimal() if isinstance(value, str):
            return Decimal(value) if (dtype.precision or 38) <= MAX_DIGITS else None
        case pl.Date() if isinstance(value, int):
            return _day(value)
        case pl.Datetime() if isinstance(value, int):
            whole = -(-value // _MILLISECOND) if up else value // _MILLISECOND
            return _moment(whole * _MILLISECOND, zoned=dtype.time_zone is not None)
        case pl.Int8() | pl.Int16() | pl.Int32() | pl.Int64() if isinstance(value, int):
            return value
    return None


def _day(value: int) -> str | None:
    try:
        return (_DAY + timedelta(days=value)).isoformat()
    except OverflowError:
        return None


def _moment(value: int, *, zoned: bool) -> str | None:
    try:
        made = _EPOCH + timedelta(microseconds=value)
    except OverflowError:
        return None
    return made.replace(tzinfo=None).isoformat(timespec="milliseconds") + ("Z" if zoned else "")


def _nested(found: Mapping[Path, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for path, value in found.items():
        where = made
        for name in path[:-1]:
            where = where.setdefault(name, {})
        where.setdefault(path[-1], value)
    return made


def _json(found: Any) -> str:
    """JSON, with decimals as numbers that keep their places, and no escapes but those that JSON needs.

    delta-rs 1.6.6 reads the escaped surrogates of characters such as U+20BB7 as another character.
    """
    if isinstance(found, dict):
        return "{" + ",".join(f"{_json(name)}:{_json(value)}" for name, value in found.items()) + "}"
    return str(found) if isinstance(found, Decimal) else json.dumps(found, ensure_ascii=False)
