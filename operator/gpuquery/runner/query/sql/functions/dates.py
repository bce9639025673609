"""Parts of dates and times. Days are those of the proleptic Gregorian calendar; a time zone's are those of UTC."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.compile.failures import fail_where
from gpuquery.runner.query.sql.functions.calendar import DAY, cut, days_of, micros_of
from gpuquery.runner.query.sql.functions.table import Table, exact_quotient
from gpuquery.runner.query.sql.types import TIMESTAMPS, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuquery.runner.query.sql.functions.table import FunctionCall

TABLE = Table("Parts of dates")
_WIDE = pl.Int64
_JULIAN_1970 = 2_440_588

_PART_NAMES = {
    "year": "yr y years yrs",
    "month": "mon months mons",
    "day": "days d dayofmonth",
    "decade": "dec decades decs",
    "century": "cent centuries c",
    "millennium": "mil millenniums millennia mils millenium",
    "microsecond": "microseconds us usec usecs usecond useconds",
    "millisecond": "milliseconds ms msec msecs msecond mseconds",
    "second": "sec seconds secs s",
    "minute": "min minutes mins m",
    "hour": "hr hours hrs h",
    "epoch": "",
    "dayofweek": "dow weekday",
    "isodow": "",
    "week": "weeks w weekofyear",
    "dayofyear": "doy",
    "quarter": "quarters",
    "yearweek": "",
    "isoyear": "",
    "era": "",
    "julian": "",
}
_PARTS = {word: part for part, words in _PART_NAMES.items() for word in (part, *words.split())}


def part_of(call: FunctionCall, allowed: tuple[str, ...], name: str | None = None) -> str:
    """Return the part of dates that the first argument names; SqlError if there is none, or not here."""
    name = str(call.constant(0)) if name is None else name
    part = _PARTS.get(name.lower())
    if part not in allowed:
        raise call.refuse(f"'{name}' is not a date part of {call.node.function}; known are {', '.join(allowed)}", 0)
    return str(part)


def _year(when: pl.Expr) -> pl.Expr:
    return when.dt.year().cast(_WIDE)


def _steps_of_years(when: pl.Expr, years: int) -> pl.Expr:
    """Return the century or millennium: the first one begins with the year 1, the one before is -1."""
    year = _year(when)
    return pl.when(year > 0).then((year - 1) // years + 1).otherwise(0 - (0 - year) // years - 1)


def _micros(when: pl.Expr) -> pl.Expr:
    """Return the microseconds of the minute."""
    return when.dt.second().cast(_WIDE) * 1_000_000 + when.dt.microsecond().cast(_WIDE)


def _number(name: str) -> Callable[[pl.Expr], pl.Expr]:
    return lambda when: getattr(when.dt, name)().cast(_WIDE)


def _yearweek(when: pl.Expr) -> pl.Expr:
    year, week = when.dt.iso_year().cast(_WIDE), when.dt.week().cast(_WIDE)
    return year * 100 + pl.when(year > 0).then(week).otherwise(0 - week)


OF_DATES: dict[str, tuple[str, Callable[[pl.Expr], pl.Expr]]] = {
    "year": ("The year.", _year),
    "quarter": ("The quarter, 1 to 4.", _number("quarter")),
    "month": ("The month, 1 to 12.", _number("month")),
    "week": ("The ISO week, 1 to 53.", _number("week")),
    "day": ("The day of the month, 1 to 31.", _number("day")),
    "dayofyear": ("The day of the year, 1 to 366.", _number("ordinal_day")),
    "dayofweek": ("The day of the week: 0 is Sunday.", lambda when: when.dt.weekday().cast(_WIDE) % 7),
    "isodow": ("The ISO day of the week: 1 is Monday, 7 Sunday.", _number("weekday")),
    "isoyear": ("The year that the ISO week belongs to.", _number("iso_year")),
    "yearweek": ("The ISO year and week as one number, such as 202601.", _yearweek),
    "decade": ("The year divided by 10.", lambda when: cut(_year(when), 10)),
    "century": ("The century: 21 for 2001 to 2100.", lambda when: _steps_of_years(when, 100)),
    "millennium": ("The millennium: 3 for 2001 to 3000.", lambda when: _steps_of_years(when, 1000)),
    "era": ("1 for years from 1 on, 0 before.", lambda when: (_year(when) > 0).cast(_WIDE)),
}
OF_TIMES: dict[str, tuple[str, Callable[[pl.Expr], pl.Expr]]] = {
    "hour": ("The hour, 0 to 23.", _number("hour")),
    "minute": ("The minute, 0 to 59.", _number("minute")),
    "second": ("The second, 0 to 59, without its parts.", _number("second")),
    "millisecond": ("The milliseconds of the minute.", lambda when: _micros(when) // 1000),
    "microsecond": ("The microseconds of the minute.", _micros),
    "nanosecond": (
        "The nanoseconds of the minute.",
        lambda when: when.dt.second().cast(_WIDE) * 1_000_000_000 + when.dt.nanosecond().cast(_WIDE),
    ),
}
_ALIASES = {"day": "dayofmonth", "week": "weekofyear", "dayofweek": "weekday"}


def _part(name: str, call: FunctionCall, index: int) -> pl.Expr:
    value = call.values[index]
    if name in OF_DATES:
        return OF_DATES[name][1](value.expr)
    if name in OF_TIMES:
        if value.type.kind is Kind.DATE:
            return pl.when(value.expr.is_not_null()).then(pl.lit(0, _WIDE))
        return OF_TIMES[name][1](value.expr)
    return _EXACT[name](call, index)


def _epoch(call: FunctionCall, index: int) -> pl.Expr:
    micros = micros_of(call.exprs[index], call.values[index].type)
    return exact_quotient(micros.cast(pl.Float64), 1e6)


def _julian(call: FunctionCall, index: int) -> pl.Expr:
    value = call.values[index]
    days = days_of(value.expr, value.type)
    whole = (days + _JULIAN_1970).cast(pl.Float64)
    return whole + exact_quotient((micros_of(value.expr, value.type) - days * DAY).cast(pl.Float64), float(DAY))


_EXACT = {"epoch": _epoch, "julian": _julian}


def _named(name: str) -> Callable[[FunctionCall], pl.Expr]:
    return lambda call: _part(name, call, 0)


def _date_part(call: FunctionCall) -> pl.Expr:
    """Return several parts as a struct. DuckDB's binder makes the part's own function of a single constant."""
    names = call.constant(0)
    known = (*OF_DATES, *OF_TIMES, *_EXACT)
    if isinstance(names, str):
        return _part(part_of(call, known), call, 1).cast(call.dtype)
    fields = zip(names, call.type.fields, strict=True)
    made = [_part(part_of(call, known, name), call, 1).alias(field) for name, (field, _) in fields]
    return pl.when(call.exprs[1].is_not_null()).then(pl.struct(made)).cast(call.dtype)


for _name, (_does, _) in OF_DATES.items():
    TABLE.add(_name, "DATE|TIMESTAMP -> BIGINT", does=_does, build=_named(_name), aliases=_ALIASES.get(_name, ""))
for _name, (_does, _) in OF_TIMES.items():
    TABLE.add(_name, "DATE|TIMESTAMP|TIME -> BIGINT", does=_does, build=_named(_name))
TABLE.add(
    "epoch", "DATE|TIMESTAMP|TIME|INTERVAL -> DOUBLE", build=_named("epoch"),
    does="The seconds since 1970-01-01, or of a time or an interval, with their parts.",
)  # fmt: skip
TABLE.add(
    "julian", "DATE|TIMESTAMP -> DOUBLE", does="The Julian day number, with the part of the day.",
    build=_named("julian"),
)  # fmt: skip
TABLE.add(
    "date_part", "'VARCHAR|LIST, DATE|TIMESTAMP|TIME -> BIGINT", aliases="datepart", build=_date_part,
    does="A part of a date by its name: `extract(year FROM a)`; with a list of names a struct.",
)  # fmt: skip


def _since(per: int, times: int) -> Callable[[FunctionCall], pl.Expr]:
    def build(call: FunctionCall) -> pl.Expr:
        value = call.values[0]
        if value.type.is_integer:
            return (value.expr.cast(_WIDE) * 1000).cast(call.dtype)
        if times > 1 and value.type.unit == "ns":
            return value.expr.cast(_WIDE)
        micros = micros_of(value.expr, value.type)
        if times > 1:
            bad = micros.abs() > (2**63 - 1) // times
            return fail_where(micros, bad, "the date is out of range for nanoseconds", call.place) * times
        if per > 1 and value.type.kind in TIMESTAMPS:
            # DuckDB 2.0 rounds timestamps, halves away from zero, and cuts times and intervals.
            return cut(micros + pl.when(micros < 0).then(-per // 2).otherwise(per // 2), per)
        return cut(micros, per)

    return build


TABLE.add(
    "epoch_ms", "DATE|TIMESTAMP|TIME|INTERVAL -> BIGINT", "INTEGER -> TIMESTAMP", build=_since(1000, 1),
    does="The milliseconds since 1970-01-01, or the timestamp of so many.",
)  # fmt: skip
TABLE.add(
    "epoch_us", "DATE|TIMESTAMP|TIME|INTERVAL -> BIGINT", build=_since(1, 1), does="The microseconds since 1970-01-01."
)
TABLE.add(
    "epoch_ns", "DATE|TIMESTAMP|TIME|INTERVAL -> BIGINT", build=_since(1, 1000),
    does="The nanoseconds since 1970-01-01.",
)  # fmt: skip
