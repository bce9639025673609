"""Constant folding of casts: dates and intervals in quotes, small integers for wide columns.

DuckDB's bound plan has casts around them. They are folded here by DuckDB's own rules, so that a wrong one is reported
with its place before anything runs, and rules see a number where the author wrote one.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb

from gpuquery.runner.query.sql.errors import SqlError
from gpuquery.runner.query.sql.front.duckjson_types import duck_name
from gpuquery.runner.query.sql.plan import Call, Cast, Expression, Interval, Literal
from gpuquery.runner.query.sql.types import DOUBLE, EXACT, INTERVAL, Kind, Type, list_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gpuquery.runner.query.sql.errors import Place

_FROM_TEXT = frozenset(
    {
        *(Kind.BOOLEAN, Kind.INT8, Kind.INT16, Kind.INT32, Kind.INT64, Kind.INT128, Kind.UINT8, Kind.UINT16),
        *(Kind.UINT32, Kind.UINT64, Kind.FLOAT, Kind.DOUBLE, Kind.DECIMAL, Kind.DATE, Kind.TIME, Kind.TIMESTAMP),
        *(Kind.TIMESTAMP_TZ, Kind.INTERVAL, Kind.BINARY),
    }
)
_MOMENTS = {Kind.DATE: dt.date, Kind.TIME: dt.time, Kind.TIMESTAMP: dt.datetime, Kind.TIMESTAMP_TZ: dt.datetime}
_EXACT = 2**53
"""Whole numbers up to here are exact as DOUBLE."""
_PLACES = 22
"""Powers of ten up to here are exact as DOUBLE, so that DuckDB's division by one is rounded once, as Python's."""
_INTERVAL = """SELECT date_part('year', i) * 12 + date_part('month', i), date_part('day', i),
    date_part('hour', i) * 3600000000 + date_part('minute', i) * 60000000 + date_part('microsecond', i)
    FROM (SELECT CAST($1 AS INTERVAL) AS i)"""
_HOUR = 3_600_000_000
_PER_UNIT = {
    "to_millennia": Interval(12_000, 0, 0),
    "to_centuries": Interval(1_200, 0, 0),
    "to_decades": Interval(120, 0, 0),
    "to_years": Interval(12, 0, 0),
    "to_quarters": Interval(3, 0, 0),
    "to_months": Interval(1, 0, 0),
    "to_weeks": Interval(0, 7, 0),
    "to_days": Interval(0, 1, 0),
    "to_hours": Interval(0, 0, _HOUR),
    "to_minutes": Interval(0, 0, _HOUR // 60),
    "to_seconds": Interval(0, 0, 1_000_000),
    "to_milliseconds": Interval(0, 0, 1_000),
    "to_microseconds": Interval(0, 0, 1),
}


@dataclass(frozen=True)
class ConstantFolder:
    """Folds casts of constants; the connection converts text by DuckDB's rules."""

    session: duckdb.DuckDBPyConnection

    def folded(self, node: Expression) -> Expression:
        """Return an expression, or the constant that it is; raises SqlError for a constant that has no such value."""
        match node:
            case Cast(input=Literal() as value):
                return self._cast(node, value)
            case Call(function=unit, arguments=(Literal() as count,)) if unit in _PER_UNIT:
                return _interval(node, unit, count)
            case Call(function="trunc", arguments=(Literal(type=kind, value=float() as number),)) if kind == DOUBLE:
                return Literal(type=DOUBLE, value=float(math.trunc(number)), place=node.place)
            case _:
                return node

    def _cast(self, node: Cast, value: Literal) -> Expression:
        to, raw = node.type, value.value
        if raw is None:
            return Literal(type=to, value=None, place=node.place)
        if value.type.kind is Kind.TEXT and to.kind in _FROM_TEXT and to.unit != "ns":
            return Literal(type=to, value=self._read(node, str(raw)), place=node.place)
        if value.type.kind is Kind.DOUBLE and to.kind is Kind.INT32 and raw.is_integer() and _fits(int(raw), to):
            return Literal(type=to, value=int(raw), place=node.place)
        if value.type.kind is Kind.DATE and to.kind in (Kind.TIMESTAMP, Kind.TIMESTAMP_TZ):
            zone = dt.UTC if to.kind is Kind.TIMESTAMP_TZ else None
            return Literal(type=to, value=dt.datetime.combine(raw, dt.time(), zone), place=node.place)
        if isinstance(raw, int | Decimal) and not isinstance(raw, bool):
            number = _number(raw, to)
            return node if number is None else Literal(type=to, value=number, place=node.place)
        return node

    def _read(self, node: Cast, text: str) -> Any:
        """Return what a text is as another type; None where TRY_CAST gives it."""
        to = node.type
        if (plain := _plain(text, to)) is not None:
            return plain
        asked = _INTERVAL if to == INTERVAL else f"SELECT CAST($1 AS {duck_name(to)})"
        try:
            if to.kind in _MOMENTS and _SHORT_YEAR.match(text):  # DuckDB reads the year 24, PostgreSQL 2024
                raise duckdb.ConversionException
            row = self.session.execute(asked, [text]).fetchone()
        except duckdb.Error:
            if node.null_on_failure:
                return None
            shown = text if len(text) <= 60 else text[:60] + "..."
            raise SqlError(f"'{shown}' is not a valid {to}{_HOW.get(to.kind, '')}", node.place) from None
        assert row is not None
        if to == INTERVAL:
            return Interval(*(int(part) for part in row))
        return _moment(row[0], to, text, node.place) if to.kind in _MOMENTS else row[0]


def _plain(text: str, to: Type) -> Any:
    """Return the value of a common spelling without asking DuckDB; None for any other text."""
    try:
        if to.kind is Kind.DATE and _DAY.fullmatch(text):
            return dt.date.fromisoformat(text)
        if to.kind is Kind.TIMESTAMP and to.unit == "us" and _SECOND.fullmatch(text):
            return dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    if to.kind is Kind.INTERVAL and (found := _UNITS.fullmatch(text)):
        months, days, micros = _PER_UNIT[f"to_{found[2]}s"]
        number = int(found[1])
        return Interval(months * number, days * number, micros * number)
    return None


_SHORT_YEAR = re.compile(r"\s*[0-9]{1,3}[-/ ]")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_SECOND = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")
_UNITS = re.compile(r"(-?[0-9]{1,6}) (year|month|week|day|hour|minute|second)s?")
_HOW = {
    Kind.BINARY: ": write it like \\xAA\\x01, other bytes than those of ASCII too",
    Kind.DATE: ": write it like 1994-01-31",
    Kind.TIMESTAMP: ": write it like 1994-01-31 12:00:00",
    Kind.TIMESTAMP_TZ: ": write it like 1994-01-31 12:00:00+00",
    Kind.TIME: ": write it like 12:00:00",
    Kind.INTERVAL: ": write it like 1 month or 3 days",
}


def _moment(value: Any, to: Type, text: str, place: Place | None) -> Any:
    """DuckDB gives infinity as Python's last day, and days before the year 1 and the end of a day as text."""
    if to.kind is Kind.TIME and not isinstance(value, dt.time):
        raise SqlError(f"'{text.strip()}' is not a valid {to}: the day ends at 23:59:59.999999", place)
    if not isinstance(value, _MOMENTS[to.kind]) or "inf" in text.lower():
        raise SqlError(f"'{text.strip()}' as {to} is infinite or not in the years 1 to 9999", place)
    return value.astimezone(dt.UTC) if isinstance(value, dt.datetime) and value.tzinfo is not None else value


def _fits(number: int, to: Type) -> bool:
    low, high = to.range or (0, -1)
    return low <= number <= high


def _number(raw: int | Decimal, to: Type) -> Any:
    """Return the same number as another type; None if that is another number, or is not decided here."""
    if to.is_integer and isinstance(raw, int):
        return raw if _fits(raw, to) else None
    if to.kind is Kind.DOUBLE and isinstance(raw, int):
        return float(raw) if abs(raw) <= _EXACT else None
    if to.kind is Kind.DOUBLE and isinstance(raw, Decimal):
        places = max(0, -int(raw.as_tuple().exponent))
        return float(raw) if abs(raw.scaleb(places, EXACT)) <= _EXACT and places <= _PLACES else None
    if to.kind is Kind.DECIMAL:
        scaled = Decimal(raw).scaleb(to.scale, EXACT)
        if scaled == scaled.to_integral_value() and scaled.copy_abs() < 10**to.precision:
            return Decimal(int(scaled)).scaleb(-to.scale, EXACT)
    return None


def _interval(node: Call, unit: str, count: Literal) -> Expression:
    if count.value is None:
        return Literal(type=INTERVAL, value=None, place=node.place)
    months, days, micros = _PER_UNIT[unit]
    number = count.value
    if isinstance(number, float) and (months or days) and number != math.trunc(number):
        return node
    made = Interval(int(months * number), int(days * number), round(micros * number))
    return Literal(type=INTERVAL, value=made, place=node.place)


def with_stored_arguments(
    function: str, json: dict[str, Any], arguments: tuple[Expression, ...]
) -> tuple[Expression, ...]:
    """Return the arguments of an aggregate, with those that DuckDB keeps elsewhere than among them.

    string_agg without a separator has a comma. A quantile in descending order has a negative fraction: a continuous one
    is the one of 1 - fraction, a discrete one keeps it, as the values are counted from the greatest, but there is no
    negative 0, and the greatest of all is the last in ascending order.
    """
    data = json.get("function_data") or {}
    if function == "string_agg" and len(arguments) == 1:
        return (*arguments, Literal(type=Type(Kind.TEXT), value=data["separator"]))
    if not data.get("desc") or function not in _DESCENDING:
        return arguments
    asked, place = arguments[-1], arguments[-1].place
    number = asked.input if isinstance(asked, Cast) else asked
    if not isinstance(number, Literal):
        raise SqlError("the fraction of a quantile in descending order is a number, or a list of numbers", place)
    made = _DESCENDING[function]
    if isinstance(number.value, list):
        return (*arguments[:-1], replace(number, type=list_of(DOUBLE), value=[made(one) for one in number.value]))
    return (*arguments[:-1], replace(number, type=DOUBLE, value=made(number.value)))


_DESCENDING: Mapping[str, Callable[[Any], float]] = {
    "quantile_cont": lambda fraction: float(1 - abs(Decimal(str(fraction)))),
    "quantile_disc": lambda fraction: float(fraction) or 1.0,
}
"""The fraction of the same quantile in ascending order, or one less than 0 for the values from the greatest."""
