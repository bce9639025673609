"""Days as numbers: the arithmetic of the proleptic Gregorian calendar, in whole numbers only.

Source: Howard Hinnant, "chrono-compatible low-level date algorithms" (days_from_civil).
"""

from __future__ import annotations

import polars as pl

from gpuquery.runner.query.sql.types import Kind, Type

MICROS = {
    "microsecond": 1,
    "millisecond": 1_000,
    "second": 1_000_000,
    "minute": 60_000_000,
    "hour": 3_600_000_000,
    "day": 86_400_000_000,
    "week": 604_800_000_000,
}
DAY = MICROS["day"]


def days_from(year: pl.Expr, month: pl.Expr, day: pl.Expr) -> pl.Expr:
    """Return the days since 1970-01-01 of a date whose parts are whole numbers of 64 bits."""
    shifted = year - (month <= 2).cast(pl.Int64)
    era = shifted // 400
    of_era = shifted - era * 400
    turned = pl.when(month > 2).then(month - 3).otherwise(month + 9)
    day_of_year = (turned * 153 + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + day_of_year - 719_468


def days_in_month(year: pl.Expr, month: pl.Expr) -> pl.Expr:
    """Return how many days a month has."""
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    february = pl.when(leap).then(pl.lit(29, pl.Int64)).otherwise(pl.lit(28, pl.Int64))
    return pl.when(month == 2).then(february).otherwise((month + month // 8) % 2 + 30)


def is_date(year: pl.Expr, month: pl.Expr, day: pl.Expr) -> pl.Expr:
    """Return whether there is such a date."""
    return month.is_between(1, 12) & (day >= 1) & (day <= days_in_month(year, month))


def as_date(days: pl.Expr) -> pl.Expr:
    """Return days since 1970-01-01 as a date."""
    return days.cast(pl.Int32).cast(pl.Date)


def days_of(when: pl.Expr, kind: Type) -> pl.Expr:
    """Return the days since 1970-01-01 of a date or timestamp."""
    date = when if kind.kind is Kind.DATE else when.dt.date()
    return date.cast(pl.Int32).cast(pl.Int64)


def micros_of(when: pl.Expr, kind: Type) -> pl.Expr:
    """Return the microseconds since 1970-01-01 of a date or timestamp, since midnight of a time."""
    match kind.kind:
        case Kind.DATE:
            return when.cast(pl.Int32).cast(pl.Int64) * DAY
        case Kind.TIME:
            return when.cast(pl.Int64) // 1000
        case Kind.INTERVAL:
            return when.cast(pl.Int64)
        case _:
            return when.dt.timestamp("us")


def cut(number: pl.Expr, by: int) -> pl.Expr:
    """Return number / by, cut toward zero."""
    return pl.when(number < 0).then(0 - (0 - number) // by).otherwise(number // by)
