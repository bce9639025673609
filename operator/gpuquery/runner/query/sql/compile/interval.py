"""Dates, times and intervals: what `+`, `-`, `*` and `/` mean for them.

An interval of months is a constant, or is added at once as a number of each row, and clips at the end of the month (31
January + 1 month is the last of February); months come first, then days, then the rest. Any other interval is a length,
and held as one: a day has 24 hours, as no time zone but UTC is known. cudf adds no microseconds to days, so days are
counted as whole numbers.
"""

from __future__ import annotations

import datetime as dt
import math
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql import plan
from gpuquery.runner.query.sql.compile.cast import cast
from gpuquery.runner.query.sql.compile.convert import CastContext, Conversion
from gpuquery.runner.query.sql.compile.failures import fail_where
from gpuquery.runner.query.sql.compile.literal import literal
from gpuquery.runner.query.sql.compile.months import constant_plus_months, plus_months
from gpuquery.runner.query.sql.compile.once import once
from gpuquery.runner.query.sql.compile.values import Value, dtype_of
from gpuquery.runner.query.sql.errors import Place, SqlError
from gpuquery.runner.query.sql.plan import Interval
from gpuquery.runner.query.sql.types import DATE, INTERVAL, TIMESTAMPS, Kind, Type

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpuquery.runner.query.sql.compile.target import Target

DAY = 86_400_000_000
_DAYS_OF_MONTH = 30
_MOMENTS = TIMESTAMPS | {Kind.DATE}
_MONTHS = {"to_months": 1, "to_quarters": 3, "to_years": 12, "to_decades": 120, "to_centuries": 1200}
_FARTHEST = 12 * 200_000
_INT32 = (-(2**31), 2**31 - 1)


def arithmetic(operator: str, arguments: Sequence[Value], kind: Type, place: Place | None, target: Target) -> Value:
    """Return the result of an operator where an argument is a date, a timestamp, a time or an interval."""
    if len(arguments) == 1:
        return _negated(arguments[0])
    left, right = arguments
    if operator in ("+", "*") and _rank(left) < _rank(right):
        left, right = right, left
    match left.type.kind, operator, right.type.kind:
        case (Kind.DATE, "+" | "-", _) if right.type.is_integer:
            return Value(_days(operator, left.expr, right.expr, CastContext(_FAR, place, target)), DATE)
        case Kind.DATE, "-", Kind.DATE:
            return Value(left.expr.cast(pl.Int32).cast(pl.Int64) - right.expr.cast(pl.Int32).cast(pl.Int64), kind)
        case Kind.DATE, "+", Kind.TIME:
            micros = right.expr.cast(pl.Int64) // 1000
            return Value((_ticks(left.expr, pl.Int32) * DAY + micros).cast(pl.Datetime("us")), kind)
        case (a, "-", b) if a in TIMESTAMPS and b in TIMESTAMPS:
            return Value((left.expr - right.expr).cast(pl.Duration("us")), kind)
        case (a, "+" | "-", Kind.INTERVAL) if a in _MOMENTS:
            return _moved(operator, left, right, kind, CastContext("", place, target))
        case Kind.TIME, "+" | "-", Kind.INTERVAL:
            return Value(_turned(operator, left.expr, right), kind)
        case Kind.INTERVAL, "+" | "-", Kind.INTERVAL:
            return _combined(operator, left, right)
        case (Kind.INTERVAL, "*" | "/", b) if right.type.is_number:
            return _scaled(operator, left, right, CastContext("division by zero", place, target))
        case _:
            raise SqlError(f"{operator} is not supported for {left.type} and {right.type}", place)


def months_call(node: plan.Call) -> tuple[plan.Expression, plan.Expression, int] | None:
    """Return a moment, a number and the months that it counts, for `moment + to_months(number)` and its like."""
    match node.function, node.arguments:
        case "+", [plan.Call(function=name, arguments=[number]), moment] if name in _MONTHS:
            return _counted(moment, number, _MONTHS[name])
        case ("+" | "-") as sign, [moment, plan.Call(function=name, arguments=[number])] if name in _MONTHS:
            return _counted(moment, number, _MONTHS[name] if sign == "+" else -_MONTHS[name])
        case _:
            return None


def _counted(
    moment: plan.Expression, number: plan.Expression, months: int
) -> tuple[plan.Expression, plan.Expression, int] | None:
    return (moment, number, months) if moment.type.kind in _MOMENTS else None


def plus_counted_months(moment: Value, number: Value, months: int, node: plan.Call, target: Target) -> Value:
    """Return a moment and as many months later as each row says."""
    moment = cast(moment, node.type, place=node.place, target=target)
    count = number.expr.cast(pl.Int64) * months

    def formula(at: pl.Expr, count: pl.Expr) -> pl.Expr:
        count = fail_where(count, count.abs() > _FARTHEST, _MANY_MONTHS, node.place, count.cast(pl.String))
        if node.type.unit == "ns":
            return _of_nanos(at, lambda micros: plus_months(micros, count, target), CastContext("", node.place, target))
        return plus_months(at, count, target)

    return Value(once(target, formula, moment.expr, count).cast(dtype_of(node.type)), node.type)


def normalized(value: Value) -> Value:
    """Return an interval as what it is compared by: a month has 30 days, as in DuckDB and PostgreSQL."""
    held = constant_interval(value)
    if held is None or not held.months:
        return value
    return literal(Interval(0, held.months * _DAYS_OF_MONTH + held.days, held.micros), INTERVAL)


def constant_interval(value: Value) -> Interval | None:
    """Return the interval if it is a constant."""
    held = value.literal.value if value.literal else None
    return Interval(*held) if held is not None else None


_FAR = "the day {} is out of range"
_MANY_MONTHS = "the interval of {} months is out of range"


def _rank(value: Value) -> int:
    """Return what stands left: a moment, then a date, a time, an interval, a number."""
    order = (Kind.INTERVAL, Kind.TIME, Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMP_TZ)
    return order.index(value.type.kind) if value.type.kind in order else -1


def _ticks(moment: pl.Expr, width: type[pl.Int32 | pl.Int64]) -> pl.Expr:
    return moment.cast(width).cast(pl.Int64)


def _days(operator: str, date: pl.Expr, count: pl.Expr, context: CastContext) -> pl.Expr:
    days, count = _ticks(date, pl.Int32), count.cast(pl.Int64)
    made = days + count if operator == "+" else days - count
    return context.converted(made, Conversion(through=pl.Int32, bounds=_INT32, finish=lambda e: e.cast(pl.Date)))


def _moved(operator: str, moment: Value, by: Value, kind: Type, context: CastContext) -> Value:
    moment = cast(moment, kind, place=context.place, target=context.target)
    interval = constant_interval(by)
    sign = 1 if operator == "+" else -1
    months, micros = (0, None) if interval is None else (sign * interval.months, interval.days * DAY + interval.micros)
    if moment.literal is not None and micros is not None:
        made = _constant(moment.literal.value, months, sign * micros)
        if made is not None:
            return literal(made, kind, context.place)
    if abs(months) > _FARTHEST:
        raise SqlError(_MANY_MONTHS.format(months), context.place)
    length = by.expr if micros is None else pl.lit(micros, dtype=pl.Int64).cast(pl.Duration("us"))

    def formula(at: pl.Expr) -> pl.Expr:
        at = plus_months(at, months, context.target) if months else at
        if micros == 0:
            return at
        return at + length if sign > 0 else at - length

    if kind.unit == "ns":
        return Value(once(context.target, lambda at: _of_nanos(at, formula, context), moment.expr), kind)
    return Value(formula(moment.expr).cast(dtype_of(kind)), kind)


def _of_nanos(moment: pl.Expr, formula: Callable[[pl.Expr], pl.Expr], context: CastContext) -> pl.Expr:
    """Return timestamps of nanoseconds, moved by a formula for microseconds: Polars would cut them, or wrap."""
    wide = pl.Int64 if context.target.gpu else pl.Int128
    ticks = moment.cast(pl.Int64)
    moved = formula((ticks // 1000).cast(pl.Datetime("us"))).cast(pl.Int64).cast(wide) * 1000 + ticks % 1000
    context = CastContext("the moment of {} nanoseconds is out of range", context.place, context.target)
    return context.converted(moved, Conversion(through=pl.Int64, finish=lambda e: e.cast(pl.Datetime("ns"))))


def _constant(moment: dt.datetime | None, months: int, micros: int) -> dt.datetime | None:
    try:
        made = None if moment is None else constant_plus_months(moment, months)
        return None if made is None else made + dt.timedelta(microseconds=micros)
    except OverflowError:
        return None


def _turned(operator: str, time: pl.Expr, by: Value) -> pl.Expr:
    """Return a time of the day, which begins again after 24 hours. Months and days do not move it."""
    interval = constant_interval(by)
    micros = by.expr.cast(pl.Int64) if interval is None else pl.lit(interval.micros, dtype=pl.Int64)
    since = time.cast(pl.Int64) // 1000
    return (((since + micros if operator == "+" else since - micros) % DAY) * 1000).cast(pl.Time)


def _negated(value: Value) -> Value:
    interval = constant_interval(value)
    if interval is None:
        return Value(-value.expr, value.type)
    return literal(Interval(-interval.months, -interval.days, -interval.micros), value.type)


def _combined(operator: str, left: Value, right: Value) -> Value:
    a, b = constant_interval(left), constant_interval(right)
    sign = 1 if operator == "+" else -1
    if a is not None and b is not None:
        made = Interval(a.months + sign * b.months, a.days + sign * b.days, a.micros + sign * b.micros)
        return literal(made, left.type)
    return Value(left.expr + right.expr if sign > 0 else left.expr - right.expr, left.type)


def _scaled(operator: str, interval: Value, number: Value, context: CastContext) -> Value:
    """Return an interval times a number, or divided by one: of a constant by its parts, else the length."""
    parts, n = constant_interval(interval), number.literal.value if number.literal else None
    if parts is not None and n is not None:
        if operator == "/" and n == 0:
            raise SqlError(context.message, context.place)
        return literal(_parts(parts, float(n) if operator == "*" else 1 / float(n)), interval.type)
    micros = interval.expr.cast(pl.Int64)
    if number.type.is_integer and operator == "*":
        made = micros.cast(pl.Int128) * number.expr.cast(pl.Int128) if not context.target.gpu else micros * number.expr
        return Value(_length(made, context), interval.type)
    size = number.expr.cast(pl.Float64)
    if operator == "*":
        return Value(
            _length((micros.cast(pl.Float64) * size).round(0, mode="half_away_from_zero"), context), interval.type
        )
    quotient = once(context.target, lambda a, b: pl.when(b != 0).then(a / b), micros.cast(pl.Float64), size)
    return Value(_length(quotient.round(0, mode="half_away_from_zero"), context), interval.type)


def _length(micros: pl.Expr, context: CastContext) -> pl.Expr:
    context = CastContext("the interval of {} microseconds is out of range", context.place, context.target)
    return context.converted(micros, Conversion(through=pl.Int64, finish=lambda e: e.cast(pl.Duration("us"))))


def _parts(parts: Interval, factor: float) -> Interval:
    """What is left of a month goes to days, what is left of a day to the time, as in DuckDB and PostgreSQL."""
    months = parts.months * factor
    days = parts.days * factor + (months - math.trunc(months)) * _DAYS_OF_MONTH
    micros = parts.micros * factor + (days - math.trunc(days)) * DAY
    return Interval(math.trunc(months), math.trunc(days), round(micros))
