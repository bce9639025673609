"""Dates, times and intervals that are made of numbers, names of days, time zones."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

import polars as pl

from gpuquery.runner.query.sql.compile.failures import fail_where
from gpuquery.runner.query.sql.compile.literal import literal
from gpuquery.runner.query.sql.compile.values import Value
from gpuquery.runner.query.sql.functions.calendar import DAY, MICROS, as_date, days_from, days_in_month, is_date
from gpuquery.runner.query.sql.functions.table import Table
from gpuquery.runner.query.sql.plan import Interval
from gpuquery.runner.query.sql.types import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuquery.runner.query.sql.functions.table import FunctionCall

TABLE = Table("Making dates")
_WIDE = pl.Int64
_FARTHEST = 9.0e12
"""Seconds, below the last ones of a timestamp: 2**63 microseconds."""

_WITHOUT_RULES = frozenset({"UTC", "GMT", "ETC/UTC", "ETC/GMT", "ZULU"})
_LAST_RULES = 2100
"""Polars 1.44 knows when clocks are put forward until 2099, and then leaves them as they are."""

# From numbers


def _shown(*parts: pl.Expr) -> pl.Expr:
    return pl.concat_str([part.cast(pl.String) for part in parts], separator="-")


def _day(call: FunctionCall) -> pl.Expr:
    """Return the days since 1970-01-01 of year, month and day."""
    year, month, day = (expr.cast(_WIDE) for expr in call.exprs[:3])
    year = fail_where(year, ~is_date(year, month, day), "{} is not a valid date", call.place, _shown(year, month, day))
    return days_from(year, month, day)


def _make_date(call: FunctionCall) -> pl.Expr:
    return as_date(call.exprs[0] if len(call.values) == 1 else _day(call))


def _clock(call: FunctionCall, hour: pl.Expr, minute: pl.Expr, second: pl.Expr) -> pl.Expr:
    """Return the microseconds since midnight."""
    hour, minute = hour.cast(_WIDE), minute.cast(_WIDE)
    micros = (second * 1e6).round(mode="half_away_from_zero")
    # 24:00:00 is a time, and the next day's midnight; a second of 60 is the next minute's first.
    inside = hour.is_between(0, 23) & minute.is_between(0, 59) & (second >= 0) & (second < 60.0000005)
    last = (hour == 24) & (minute == 0) & (second == 0)
    shown = pl.concat_str([hour.cast(pl.String), minute.cast(pl.String), second.cast(pl.String)], separator=":")
    hour = fail_where(hour, ~(inside | last), "{} is not a valid time", call.place, shown)
    return hour * MICROS["hour"] + minute * MICROS["minute"] + micros.cast(_WIDE)


def _make_time(call: FunctionCall) -> pl.Expr:
    micros = _clock(call, *call.exprs)
    micros = fail_where(micros, micros >= DAY, "24:00:00 is out of range for a TIME", call.place)
    return (micros * 1000).cast(pl.Time)


def _make_timestamp(call: FunctionCall) -> pl.Expr:
    if len(call.values) == 1:
        return call.exprs[0].cast(_WIDE).cast(pl.Datetime("us"))
    return (_day(call) * DAY + _clock(call, *call.exprs[3:])).cast(pl.Datetime("us"))


def _to_timestamp(call: FunctionCall) -> pl.Expr:
    seconds = call.exprs[0].cast(pl.Float64)
    bad = ~(seconds.abs() < _FARTHEST)
    shown = seconds.cast(pl.String)
    seconds = fail_where(seconds, bad, "{} seconds are out of range for a timestamp", call.place, shown)
    micros = (seconds * 1e6).round(mode="half_away_from_zero")
    return micros.cast(_WIDE).cast(pl.Datetime("us", "UTC"))


TABLE.add(
    "make_date", "INTEGER, INTEGER, INTEGER -> DATE", "INTEGER -> DATE", build=_make_date,
    does="The date of year, month and day, or of days since 1970-01-01.",
)  # fmt: skip
TABLE.add("make_time", "INTEGER, INTEGER, FLOAT -> TIME", does="The time of hour, minute, second.", build=_make_time)
TABLE.add(
    "make_timestamp", "INTEGER, INTEGER, INTEGER, INTEGER, INTEGER, FLOAT -> TIMESTAMP", "INTEGER -> TIMESTAMP",
    build=_make_timestamp, does="The timestamp of year to second, or of microseconds since 1970-01-01.",
)  # fmt: skip
TABLE.add(
    "make_timestamp_ms", "INTEGER -> TIMESTAMP", does="The timestamp of milliseconds since 1970-01-01.",
    build=lambda call: (call.exprs[0].cast(_WIDE) * 1000).cast(pl.Datetime("us")).cast(call.dtype),
)  # fmt: skip
TABLE.add(
    "make_timestamp_ns", "INTEGER -> TIMESTAMP", does="The timestamp of nanoseconds since 1970-01-01.",
    build=lambda call: call.exprs[0].cast(_WIDE).cast(pl.Datetime("ns")).cast(call.dtype),
)  # fmt: skip
TABLE.add(
    "to_timestamp", "FLOAT -> TIMESTAMP WITH TIME ZONE", does="The moment of seconds since 1970-01-01.",
    build=_to_timestamp,
)  # fmt: skip

# Of a month and a week


def _last_day(call: FunctionCall) -> pl.Expr:
    when = call.exprs[0]
    year, month = when.dt.year().cast(_WIDE), when.dt.month().cast(_WIDE)
    return as_date(days_from(year, month, days_in_month(year, month)))


def _name(names: str, number: Callable[[pl.Expr], pl.Expr]) -> Callable[[pl.Expr], pl.Expr]:
    def build(when: pl.Expr) -> pl.Expr:
        first, *others = names.split()
        found: Any = pl.when(number(when) == 1).then(pl.lit(first))
        for index, name in enumerate(others, start=2):
            found = found.when(number(when) == index).then(pl.lit(name))
        return cast("pl.Expr", found)

    return build


_DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday"
_MONTHS = "January February March April May June July August September October November December"
TABLE.add("last_day", "DATE|TIMESTAMP -> DATE", does="The last day of the month.", build=_last_day)
TABLE.add_expr(
    "dayname", "DATE|TIMESTAMP -> VARCHAR", does="The English name of the day of the week.",
    build=_name(_DAYS, lambda when: when.dt.weekday()),
)  # fmt: skip
TABLE.add_expr(
    "monthname", "DATE|TIMESTAMP -> VARCHAR", does="The English name of the month.",
    build=_name(_MONTHS, lambda when: when.dt.month()),
)  # fmt: skip

# Intervals


def _interval(call: FunctionCall, months: int, micros: int) -> Value:
    """Return an interval of so many units. One with months has no length, so the number has to be a constant."""
    if call.is_constant(0):
        count = call.constant(0)
        days, rest = divmod(round(count * micros), DAY) if micros % DAY == 0 else (0, round(count * micros))
        return literal(Interval(count * months, days, rest), call.type, call.place)
    if months:
        raise call.refuse(f"the number of {call.node.function} must be a constant: months differ in length", 0)
    number = call.exprs[0]
    if call.values[0].type.is_float:
        number = (number * micros).round(mode="half_away_from_zero")
        return Value(number.cast(_WIDE).cast(pl.Duration("us")), call.type)
    return Value((number.cast(_WIDE) * micros).cast(pl.Duration("us")), call.type)


for _unit, _months, _micros, _takes in (
    ("microseconds", 0, 1, "INTEGER"),
    ("milliseconds", 0, MICROS["millisecond"], "FLOAT"),
    ("seconds", 0, MICROS["second"], "FLOAT"),
    ("minutes", 0, MICROS["minute"], "INTEGER"),
    ("hours", 0, MICROS["hour"], "INTEGER"),
    ("days", 0, DAY, "INTEGER"),
    ("weeks", 0, 7 * DAY, "INTEGER"),
    ("months", 1, 0, "'INTEGER"),
    ("quarters", 3, 0, "'INTEGER"),
    ("years", 12, 0, "'INTEGER"),
    ("decades", 120, 0, "'INTEGER"),
    ("centuries", 1200, 0, "'INTEGER"),
    ("millennia", 12_000, 0, "'INTEGER"),
):
    TABLE.add(
        f"to_{_unit}", f"{_takes} -> INTERVAL", does=f"An interval of so many {_unit}.",
        build=partial(_interval, months=_months, micros=_micros),
    )  # fmt: skip

# Time zones


def _timezone(call: FunctionCall) -> pl.Expr:
    """Return the moment that a clock in a zone shows, or what it shows at a moment.

    What a clock shows twice is the later moment; what it never shows is read as if it had not yet been put forward.
    Both are ICU's rules, as in DuckDB.
    """
    if len(call.values) == 1:
        return pl.when(call.exprs[0].is_not_null()).then(pl.lit(0, _WIDE))
    zone, when = call.constant(0), call.exprs[1]
    try:
        pl.select(pl.lit(0).cast(pl.Datetime("us", "UTC")).dt.convert_time_zone(zone))
    except pl.exceptions.PolarsError:
        raise call.refuse(f"'{zone}' is not a time zone; write a name such as 'Europe/Berlin'", 0) from None
    if zone.upper() not in _WITHOUT_RULES:
        bad = when.dt.year() >= _LAST_RULES
        when = fail_where(when, bad, f"the rules of {zone} are not known beyond {_LAST_RULES - 1}", call.place)
    if call.values[1].type.kind is Kind.TIMESTAMP_TZ:
        return when.dt.convert_time_zone(zone).dt.replace_time_zone(None)

    def there(local: pl.Expr) -> pl.Expr:
        found = local.dt.replace_time_zone(zone, ambiguous="latest", non_existent="null")
        return found.dt.convert_time_zone("UTC")

    earlier = there(when - pl.duration(hours=3, time_unit="us")) + pl.duration(hours=3, time_unit="us")
    return pl.coalesce(there(when), earlier)


TABLE.add(
    "timezone", "'VARCHAR, TIMESTAMP -> TIMESTAMP", "TIMESTAMP -> BIGINT", build=_timezone,
    does="`a AT TIME ZONE 'Europe/Berlin'`: the moment of a local time, or the local time of a moment.",
)  # fmt: skip
