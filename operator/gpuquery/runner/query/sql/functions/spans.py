"""Units of time: the start of the unit around a moment, how many lie between two, buckets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.functions.calendar import (
    DAY,
    MICROS,
    as_date,
    cut,
    days_from,
    days_in_month,
    days_of,
    micros_of,
)
from gpuquery.runner.query.sql.functions.dates import part_of
from gpuquery.runner.query.sql.functions.table import Table
from gpuquery.runner.query.sql.types import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuquery.runner.query.sql.compile.values import Value
    from gpuquery.runner.query.sql.functions.table import FunctionCall

TABLE = Table("Spans of time")
_WIDE = pl.Int64
_EVERY = {
    "microsecond": "1us", "millisecond": "1ms", "second": "1s", "epoch": "1s", "minute": "1m", "hour": "1h",
    "day": "1d", "dayofweek": "1d", "isodow": "1d", "dayofyear": "1d", "julian": "1d", "week": "1w", "yearweek": "1w",
    "month": "1mo", "quarter": "1q", "year": "1y",
}  # fmt: skip
_YEARS = {"decade": 10, "century": 100, "millennium": 1000}
_DAYS = ("day", "dayofweek", "isodow", "dayofyear", "julian")
_MONTHS = {"month": 1, "quarter": 3, "year": 12, "isoyear": 12, "decade": 120, "century": 1200, "millennium": 12000}
_SAME = {"epoch": "second", "yearweek": "week"} | dict.fromkeys(_DAYS, "day")
_MONDAY, _FIRST = 10_959, 360
"""Where buckets start (DuckDB 2.0): 2000-01-03, in days since 1970-01-01; 2000-01-01, in months since then."""

# The start of the unit


def _monday(days: pl.Expr) -> pl.Expr:
    """Return the Monday of a week: 1970-01-01 was a Thursday."""
    return days - (days + 3) % 7


def _first(months: int) -> Callable[[Value], pl.Expr]:
    def build(value: Value) -> pl.Expr:
        year, month = _year_month(value)
        return days_from(year, (month - 1) // months * months + 1, pl.lit(1, _WIDE))

    return build


_STARTS: dict[str, Callable[[Value], pl.Expr]] = {
    "week": lambda value: _monday(days_of(value.expr, value.type)),
    "yearweek": lambda value: _monday(days_of(value.expr, value.type)),
    "month": _first(1),
    "quarter": _first(3),
    "year": _first(12),
}
"""Days since 1970-01-01 for the units that cudf-polars does not truncate to."""


def _date_trunc(call: FunctionCall) -> pl.Expr:
    part = part_of(call, (*_EVERY, *_YEARS, "isoyear"))
    value = call.values[1]
    if call.target.gpu and part in _STARTS:
        return as_date(_STARTS[part](value)).cast(call.dtype)
    if part in _EVERY:
        whole = value.type.kind is Kind.DATE and MICROS.get(_SAME.get(part, part), 2 * DAY) <= DAY
        return (value.expr if whole else value.expr.dt.truncate(_EVERY[part])).cast(call.dtype)
    if part == "isoyear":
        fourth = days_from(value.expr.dt.iso_year().cast(_WIDE), pl.lit(1, _WIDE), pl.lit(4, _WIDE))
        return as_date(_monday(fourth)).cast(call.dtype)
    year = cut(value.expr.dt.year().cast(_WIDE), _YEARS[part]) * _YEARS[part]
    return as_date(days_from(year, pl.lit(1, _WIDE), pl.lit(1, _WIDE))).cast(call.dtype)


TABLE.add(
    "date_trunc", "'VARCHAR, DATE|TIMESTAMP -> TIMESTAMP", aliases="datetrunc", build=_date_trunc,
    does="The start of the unit ('month', 'week', 'hour', ...) around a date or time. Weeks begin on Monday.",
)  # fmt: skip

# Between two moments


def _year_month(value: Value) -> tuple[pl.Expr, pl.Expr]:
    return value.expr.dt.year().cast(_WIDE), value.expr.dt.month().cast(_WIDE)


def _index(part: str, value: Value) -> pl.Expr:
    """Return the number of the unit that a moment lies in."""
    if part in MICROS and part not in ("day", "week"):
        return micros_of(value.expr, value.type) // MICROS[part]
    if part == "isoyear":
        return value.expr.dt.iso_year().cast(_WIDE)
    year, month = _year_month(value)
    if part in ("month", "quarter"):
        return year * (12 // _MONTHS[part]) + (month - 1) // _MONTHS[part]
    return cut(year, _MONTHS[part] // 12)


def _check_time(call: FunctionCall, part: str) -> None:
    if call.values[1].type.kind is Kind.TIME and (part not in MICROS or part in ("day", "week")):
        raise call.refuse(f"a time has no {part}", 0)


def _date_diff(call: FunctionCall) -> pl.Expr:
    """Count the starts of units between two moments. Weeks are seven days (DuckDB 2.0), and begin with the first."""
    part = part_of(call, tuple(part for part in (*_EVERY, *_YEARS, "isoyear")))
    part = _SAME.get(part, part)
    first, second = call.values[1:]
    _check_time(call, part)
    if part in ("day", "week"):
        days = days_of(second.expr, second.type) - days_of(first.expr, first.type)
        return cut(days, 7) if part == "week" else days
    return _index(part, second) - _index(part, first)


def _months_between(start: Value, end: Value) -> pl.Expr:
    """Count whole months from a moment to a later one; from the last of a month to the last of a shorter one is one."""
    (first_year, first_month), (last_year, last_month) = _year_month(start), _year_month(end)
    first_day, last_day = start.expr.dt.day().cast(_WIDE), end.expr.dt.day().cast(_WIDE)
    of_last = days_in_month(last_year, last_month)
    first_day = pl.when((last_day == of_last) & (first_day > of_last)).then(of_last).otherwise(first_day)
    first_time, last_time = (
        micros_of(value.expr, value.type) - days_of(value.expr, value.type) * DAY for value in (start, end)
    )
    short = (last_day < first_day) | ((last_day == first_day) & (last_time < first_time))
    return (last_year - first_year) * 12 + last_month - first_month - short.cast(_WIDE)


def _date_sub(call: FunctionCall) -> pl.Expr:
    """Count whole units between two moments."""
    part = part_of(call, (*_EVERY, *_YEARS, "isoyear"))
    part = _SAME.get(part, part)
    first, second = call.values[1:]
    start, end = micros_of(first.expr, first.type), micros_of(second.expr, second.type)
    _check_time(call, part)
    if part in MICROS:
        return cut(end - start, MICROS[part])
    forward, back = _months_between(first, second), 0 - _months_between(second, first)
    return cut(pl.when(start <= end).then(forward).otherwise(back), _MONTHS[part])


TABLE.add(
    "date_diff", "'VARCHAR, DATE|TIMESTAMP|TIME, DATE|TIMESTAMP|TIME -> BIGINT", aliases="datediff", build=_date_diff,
    does="How many starts of a unit lie between two dates: 1 month from 31 January to 1 February.",
)  # fmt: skip
TABLE.add(
    "date_sub", "'VARCHAR, DATE|TIMESTAMP|TIME, DATE|TIMESTAMP|TIME -> BIGINT", aliases="datesub", build=_date_sub,
    does="How many whole units lie between two dates.",
)  # fmt: skip

# Buckets


def _time_bucket(call: FunctionCall) -> pl.Expr:
    width = call.constant(0)
    months, micros = width[0], width[1] * DAY + width[2]
    value = call.values[1]
    if (months and micros) or (months or micros) <= 0:
        raise call.refuse("time_bucket takes an interval of months, or of days and times, above 0", 0)
    if months:
        if len(call.values) > 2:
            raise call.refuse("time_bucket takes no origin for months", 2)
        year, month = _year_month(value)
        number = year * 12 + month - 1 - (1970 * 12 + _FIRST)
        first: pl.Expr = number // months * months + (1970 * 12 + _FIRST)
        return as_date(days_from(first // 12, first % 12 + 1, pl.lit(1, _WIDE))).cast(call.dtype)
    origin = pl.lit(0 if value.type.kind is Kind.TIME else _MONDAY * DAY, _WIDE)
    if len(call.values) > 2:
        other = call.values[2]
        moved = micros_of(other.expr, other.type)
        origin = origin + moved if other.type.kind is Kind.INTERVAL else moved
    start: pl.Expr = (micros_of(value.expr, value.type) - origin) // micros * micros + origin
    match value.type.kind:
        case Kind.DATE:
            return as_date(start // DAY)
        case Kind.TIME:
            return (start * 1000).cast(pl.Time)
        case _:
            return start.cast(pl.Datetime("us")).cast(call.dtype)


TABLE.add(
    "time_bucket", "'INTERVAL, DATE|TIMESTAMP|TIME, [DATE|TIMESTAMP|TIME|INTERVAL] -> TIMESTAMP", build=_time_bucket,
    does="The start of the bucket of a width around a moment. Buckets are counted from 2000-01-03, of months from "
    "2000-01-01, or from the third argument.",
)  # fmt: skip
