"""Statistics of the inputs for the SQL planner: row counts and column bounds, where parquet footers have them.

What is not available is left out: a plan is correct without it. Bounds are given only where every row group of every
file has them, because rules rely on them.
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl

from gpuquery.runner import later, stores
from gpuquery.runner.query.sql.rules.statistics import ColumnFacts, Statistics, TableFacts
from gpuquery.runner.sizing import parquet, skip

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.inputs import Resolved
    from gpuquery.runner.parquet.footer import Footer

MAX_FILES = 64
"""How many footers of an input are read. Of more files, a sample of this size is read, and bounds are left out."""
THREADS = 8
_EPOCH = date(1970, 1, 1)


def known(inputs: Mapping[str, Resolved], store: StoreAccess) -> Statistics:
    """Return what is known about the inputs. Never raises: an input that cannot be read has no facts."""

    def told(given: Resolved) -> TableFacts:
        try:
            return _facts(given, store) if given.facts is None else _of_json(given.facts)
        except BaseException as exc:  # a panic of Polars is no Exception
            if isinstance(exc, KeyboardInterrupt | SystemExit):
                raise
            return TableFacts()

    found = later.each(told, list(inputs.values()), THREADS)
    return Statistics(dict(zip(inputs, found, strict=True)))


def to_json(facts: TableFacts) -> dict[str, Any]:
    """Write facts down: what `Resolved.facts` holds."""
    columns = {
        name: [_written(one.low), _written(one.high), one.nulls, one.distinct] for name, one in facts.columns.items()
    }
    return {"rows": facts.rows, "columns": columns}


def _of_json(value: Mapping[str, Any]) -> TableFacts:
    columns = {
        name: ColumnFacts(_read(low), _read(high), nulls, distinct)
        for name, (low, high, nulls, distinct) in value["columns"].items()
    }
    return TableFacts(value["rows"], columns)


def _written(bound: int | Decimal | date | None) -> Any:
    match bound:
        case date():
            return {"date": bound.isoformat()}
        case Decimal():
            return {"decimal": str(bound)}
    return bound


def _read(text: Any) -> Any:
    match text:
        case {"date": day}:
            return date.fromisoformat(day)
        case {"decimal": digits}:
            return Decimal(digits)
    return text


def _facts(given: Resolved, store: StoreAccess) -> TableFacts:
    sizes = {file.uri: file.bytes for file in given.files}
    paths = list(sizes)
    if given.reading.kind != "parquet" or not paths:
        return TableFacts()
    chosen = parquet.evenly(paths, MAX_FILES)
    found = parquet.scan_footers(chosen, sizes, stores.Everywhere(store))
    rows = round(sum(found.rows) * len(paths) / len(chosen))
    if len(found.details) < len(paths):
        return TableFacts(rows)
    footers = list(found.details.values())
    columns = {name: facts for name, dtype in given.schema.items() if (facts := _column(name, dtype, footers))}
    return TableFacts(rows, columns)


def _column(name: str, dtype: pl.DataType, footers: Sequence[Footer]) -> ColumnFacts | None:
    lows: list[Any] = []
    highs: list[Any] = []
    nulls = 0
    for footer in footers:
        leaf = footer.leaves.get((name,))
        if leaf is None:
            return None
        for group in footer.groups:
            chunk = group.chunks.get((name,))
            if chunk is None or chunk.nulls is None:
                return None
            nulls += chunk.nulls
            if chunk.nulls == chunk.values:
                continue
            if chunk.least is None or chunk.most is None:
                return None
            lows.append(_value(skip.bound(chunk.least, leaf, dtype), dtype))
            highs.append(_value(skip.bound(chunk.most, leaf, dtype), dtype))
    if None in lows or None in highs:
        return ColumnFacts(nulls=nulls)
    return ColumnFacts(min(lows, default=None), max(highs, default=None), nulls)


def _value(bound: Any, dtype: pl.DataType) -> Any:
    """Return a bound as a SQL value; None for types whose bounds are not exact: text is truncated, NaN is left out."""
    if dtype.is_signed_integer() and type(bound) is int:
        return bound
    if dtype == pl.Date and type(bound) is int:
        return _EPOCH + timedelta(days=bound)
    return bound if isinstance(dtype, pl.Decimal) and isinstance(bound, Decimal) else None
