"""Casts of constants, done once: a plan writes `CAST(1 AS BIGINT)` wherever types differ."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from gpuquery.runner.query.sql.compile.literal import literal
from gpuquery.runner.query.sql.types import EXACT, Kind, Type

if TYPE_CHECKING:
    from gpuquery.runner.query.sql.compile.values import Value


def folded(value: Value, to: Type) -> Value | None:
    """Return the constant as one of another type; None if the cast is left to the query, with its failures."""
    if value.literal is None:
        return None
    made = _made(value.literal.value, value.type, to)
    return None if made is None else literal(made, to, value.literal.place)


def _made(value: Any, source: Type, to: Type) -> Any:
    exact = source.is_integer or source.kind is Kind.DECIMAL
    if exact and to.is_integer and to.range is not None:
        whole = int(Decimal(value).quantize(Decimal(1), context=EXACT))
        low, high = to.range
        return whole if low <= whole <= high and abs(whole) < 10**38 else None
    if exact and to.kind is Kind.DECIMAL:
        try:
            made = Decimal(value).quantize(Decimal(1).scaleb(-to.scale), context=EXACT)
        except InvalidOperation:
            return None
        return made if made.copy_abs() < Decimal(10) ** (to.precision - to.scale) else None
    if exact and to.kind is Kind.DOUBLE:
        return float(value)
    if source.kind is Kind.DATE and to.kind is Kind.TIMESTAMP:
        return dt.datetime(value.year, value.month, value.day)
    return None
