"""Months added to dates and timestamps. A day that the month does not have becomes its last one.

cudf-polars 26.10 has no `offset_by`: there the day's number is computed from year, month and day (the civil calendar
that has no gap in 1582, as Polars' and DuckDB's).
"""

from __future__ import annotations

import calendar
import datetime as dt
from typing import TYPE_CHECKING, TypeVar

import polars as pl

if TYPE_CHECKING:
    from gpuquery.runner.query.sql.compile.target import Target

_DAY = 86_400_000_000
_Moment = TypeVar("_Moment", dt.date, dt.datetime)


def plus_months(moment: pl.Expr, months: int | pl.Expr, target: Target) -> pl.Expr:
    """Return timestamps so many months later."""
    if isinstance(months, int) and not target.gpu:
        return moment.dt.offset_by(f"{months}mo")
    ticks = moment.cast(pl.Int64)
    rest = ticks % _DAY
    day = (ticks // _DAY).cast(pl.Int32).cast(pl.Date)
    year, month, number = (part.cast(pl.Int64) for part in (day.dt.year(), day.dt.month(), day.dt.day()))
    return (_day(year, month, number, months) * _DAY + rest).cast(pl.Datetime("us"))


def constant_plus_months(moment: _Moment, months: int) -> _Moment | None:
    """Return a moment so many months later; None outside of the years 1 to 9999."""
    year, month = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    if not dt.MINYEAR <= year <= dt.MAXYEAR:
        return None
    last = calendar.monthrange(year, month + 1)[1]
    return moment.replace(year=year, month=month + 1, day=min(moment.day, last))


def _day(year: pl.Expr, month: pl.Expr, day: pl.Expr, months: int | pl.Expr) -> pl.Expr:
    """Return the number of a day since 1970-01-01. The year begins with March, so that its last day is the odd one."""
    total = year * 12 + month - 1 + months
    first, following = _number(total), _number(total + 1)
    last = following - first
    return first + pl.when(day < last).then(day).otherwise(last) - 1


def _number(total: pl.Expr) -> pl.Expr:
    """Return the first day of a month, of months since the year 0."""
    since_march = total - 2
    year, month = since_march // 12, since_march % 12
    return year * 365 + year // 4 - year // 100 + year // 400 + (month * 153 + 2) // 5 - 719_468
