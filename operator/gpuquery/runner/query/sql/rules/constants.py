"""What SQL says of constants: casts, comparisons and arithmetic whose result is known before the query runs.

Only what is exact and the same everywhere is here. Everything else, all failures among it, is left to the query.
"""

from __future__ import annotations

import calendar
import datetime as dt
import math
import operator
import re
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from gpuquery.runner.query.sql.plan import Call, Cast, Expression, Interval, Literal
from gpuquery.runner.query.sql.types import BOOLEAN, DATE, EXACT, Kind, Type

if TYPE_CHECKING:
    from collections.abc import Callable

COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_CALCULATE: dict[str, Callable[[Any, Any], Any]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}


def boolean(value: bool | None, node: Expression) -> Literal:
    """Return TRUE, FALSE or NULL in place of a condition."""
    return Literal(type=BOOLEAN, value=value, place=node.place)


def cast(node: Cast) -> Expression:
    """Return the cast of a constant as a constant, if it is one of these."""
    if not isinstance(node.input, Literal):
        return node
    if node.input.value is None:
        return Literal(type=node.type, value=None, place=node.place)
    made = _made(node.input.value, node.input.type, node.type)
    return node if made is None else Literal(type=node.type, value=made, place=node.place)


def _made(value: Any, source: Type, to: Type) -> Any:
    if source.kind is Kind.TEXT and to.kind is Kind.DATE and _DAY.fullmatch(value):
        try:
            return dt.date.fromisoformat(value)
        except ValueError:
            return None
    if source.kind is Kind.DATE and to.kind is Kind.TIMESTAMP and to.unit != "ns":
        return dt.datetime(value.year, value.month, value.day)
    if not (source.is_integer or source.kind is Kind.DECIMAL):
        return None
    if to.range is not None:
        whole = int(Decimal(value).quantize(Decimal(1), context=EXACT))
        return whole if to.range[0] <= whole <= to.range[1] else None
    if to.kind is Kind.DECIMAL:
        return _fitted(Decimal(value), to)
    return float(value) if to.kind is Kind.DOUBLE else None


def _fitted(value: Decimal, to: Type) -> Decimal | None:
    """Return a number with the places of a DECIMAL, if it has room there."""
    try:
        made = value.quantize(Decimal(1).scaleb(-to.scale), context=EXACT)
    except InvalidOperation:
        return None
    return made if made.copy_abs() < Decimal(10) ** (to.precision - to.scale) else None


def comparable(left: Expression, right: Expression) -> bool:
    """Whether Python orders these two constants as SQL does."""
    if not (isinstance(left, Literal) and isinstance(right, Literal)) or left.type != right.type:
        return False
    one, other = left.value, right.value
    if one is None or other is None or type(one) is not type(other):
        return False
    if isinstance(one, float):
        return not (math.isnan(one) or math.isnan(other))
    return isinstance(one, bool | int | Decimal | str | dt.date)


def calculated(node: Call) -> Expression:
    """Return `+`, `-` or `*` of two constants as a constant, if its type has room for it."""
    if node.function not in _CALCULATE or len(node.arguments) != 2:
        return node
    left, right = node.arguments
    if not (isinstance(left, Literal) and isinstance(right, Literal)) or left.value is None or right.value is None:
        return node
    made = _number(node, left, right) if left.type.is_number and right.type.is_number else _moment(node, left, right)
    return node if made is None else Literal(type=node.type, value=made, place=node.place)


def _number(node: Call, left: Literal, right: Literal) -> Any:
    if left.type.is_float or right.type.is_float or node.type.is_float:
        return None
    value = Decimal(left.value), Decimal(right.value)
    made = {"+": EXACT.add, "-": EXACT.subtract, "*": EXACT.multiply}[node.function](*value)
    if node.type.range is not None:
        return int(made) if made == int(made) and node.type.range[0] <= made <= node.type.range[1] else None
    if node.type.kind is not Kind.DECIMAL:
        return None
    fitted = _fitted(made, node.type)
    return fitted if fitted == made else None


def _moment(node: Call, left: Literal, right: Literal) -> Any:
    """Dates and days, dates or timestamps and intervals. The sum of a date and an interval is a timestamp."""
    if node.function == "*":
        return None
    if node.function == "+" and isinstance(left.value, Interval):
        left, right = right, left
    sign = -1 if node.function == "-" else 1
    moment, step = left.value, right.value
    try:
        if left.type == DATE and node.type == DATE and right.type.is_integer:
            return moment + dt.timedelta(days=sign * step)
        if isinstance(step, Interval) and node.type.kind is Kind.TIMESTAMP and node.type.unit == "us":
            return _moved(moment, step, sign)
    except (OverflowError, ValueError):
        return None
    return None


def _moved(moment: dt.date, step: Interval, sign: int) -> dt.datetime:
    """Months first, clipped to the end of the month, then days, then time."""
    at = moment if isinstance(moment, dt.datetime) else dt.datetime(moment.year, moment.month, moment.day)
    month = at.year * 12 + at.month - 1 + sign * step.months
    year, month = month // 12, month % 12 + 1
    at = at.replace(year=year, month=month, day=min(at.day, calendar.monthrange(year, month)[1]))
    return at + sign * dt.timedelta(days=step.days, microseconds=step.micros)
