"""Casts between DATE, TIME and timestamps. A timestamp with time zone is a point in time, and its zone is UTC.

A timestamp of fewer digits is rounded half away from 1970, as DuckDB 2.0 does it; so is one of nanoseconds whose day or
time of day is taken, to microseconds.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import polars as pl

from gpuquery.runner.query.sql.compile.convert import Conversion, identity
from gpuquery.runner.query.sql.compile.values import dtype_of
from gpuquery.runner.query.sql.types import TIMESTAMP, TIMESTAMPS, Kind, Type

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuquery.runner.query.sql.compile.target import Target

_NANOS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_HELD = {"s": "ms"}
_FIRST, _LAST = dt.datetime(1677, 9, 22), dt.datetime(2262, 4, 11)


def time(source: Type, to: Type, target: Target) -> Conversion | None:
    """Return the conversion between two types of dates and times; None if SQL has none."""
    match source.kind, to.kind:
        case (Kind.DATE, b) if b in TIMESTAMPS:
            return _moment(Type(Kind.TIMESTAMP), to, lambda e: e.cast(pl.Datetime("us")))
        case (a, Kind.DATE) if a in TIMESTAMPS:
            return Conversion(finish=lambda e: day(*_micros(e, source), target))
        case (a, Kind.TIME) if a in TIMESTAMPS:
            return Conversion(finish=lambda e: _micros(e, source)[0].dt.time())
        case Kind.TIMESTAMP_TZ, Kind.TIMESTAMP:
            return _moment(Type(Kind.TIMESTAMP), to, lambda e: e.cast(pl.Int64).cast(pl.Datetime("us")))
        case (a, b) if a in TIMESTAMPS and b in TIMESTAMPS:
            return _moment(source, to, identity)
        case _:
            return None


def _micros(moment: pl.Expr, kind: Type) -> tuple[pl.Expr, Type]:
    """Return a timestamp with no more than microseconds, and its type."""
    return (rounded(moment.cast(pl.Int64), "us", "ns"), TIMESTAMP) if kind.unit == "ns" else (moment, kind)


def day(moment: pl.Expr, kind: Type, target: Target) -> pl.Expr:
    """Return the days of timestamps. cudf-polars 26.04 has no `dt.date`."""
    if not target.gpu:
        return moment.dt.date()
    ticks = 10**9 * 86_400 // _NANOS[_HELD.get(kind.unit, kind.unit)]
    return (moment.cast(pl.Int64) // ticks).cast(pl.Int32).cast(pl.Date)


def _moment(source: Type, to: Type, before: Callable[[pl.Expr], pl.Expr]) -> Conversion:
    """Return the conversion of a timestamp of some unit to another one, of which a zone is UTC."""
    if to.unit == "ns" and source.unit != "ns":
        return Conversion(
            prepare=before, refused=lambda e: (e < _FIRST) | (e > _LAST), finish=lambda e: e.cast(pl.Datetime("ns"))
        )
    factor = _NANOS[to.unit] // _NANOS[source.unit]

    def finish(moment: pl.Expr) -> pl.Expr:
        moment = before(moment)
        if factor > 1:
            moment = rounded(moment.cast(pl.Int64), to.unit, _HELD.get(source.unit, source.unit))
        if to.kind is Kind.TIMESTAMP_TZ and source.kind is Kind.TIMESTAMP:
            return moment.cast(pl.Datetime("us")).cast(pl.Int64).cast(pl.Datetime("us", "UTC"))
        return moment.cast(dtype_of(to))

    return Conversion(finish=finish)


def rounded(ticks: pl.Expr, unit: str, counted: str = "us") -> pl.Expr:
    """Return timestamps of a unit, of ticks of a finer one since 1970."""
    factor = _NANOS[unit] // _NANOS[counted]
    size = (ticks.abs() + factor // 2) // factor
    units = pl.when(ticks < 0).then(0 - size).otherwise(size)
    held: Any = _HELD.get(unit, unit)
    return (units * 1000 if unit == "s" else units).cast(pl.Datetime(held))
