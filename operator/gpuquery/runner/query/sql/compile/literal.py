"""Constants: how Polars is told a value of each type."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl

from gpuquery.runner.query.sql import plan
from gpuquery.runner.query.sql.compile.failures import fail_where
from gpuquery.runner.query.sql.compile.values import Value, dtype_of
from gpuquery.runner.query.sql.errors import SqlError
from gpuquery.runner.query.sql.types import Kind, Type

if TYPE_CHECKING:
    from gpuquery.runner.query.sql.errors import Place

MONTHS = "an interval with months has no fixed length: add it to a date or timestamp; it cannot be stored or compared"
_MICROS_OF_DAY = 86_400_000_000


def literal(value: Any, kind: Type, place: Place | None = None) -> Value:
    """Return a constant of a type. Raises SqlError for one that cannot be held (a HUGEINT of more than 38 digits)."""
    node = plan.Literal(type=kind, value=value, place=place)
    return Value(_expr(value, kind, place), kind, node)


def null(kind: Type) -> Value:
    """Return NULL of a type."""
    return literal(None, kind)


def _expr(value: Any, kind: Type, place: Place | None) -> pl.Expr:
    if value is None:
        return pl.lit(None, dtype=dtype_of(kind))
    match kind.kind:
        case Kind.INTERVAL:
            return _duration(value, place)
        case Kind.INT128 | Kind.DECIMAL:
            return _decimal(value, kind, place)
        case Kind.LIST | Kind.STRUCT:
            return pl.lit(pl.Series("", [value], dtype=dtype_of(kind))).first()
        case Kind.TIMESTAMP_TZ if value.tzinfo is None:
            return pl.lit(value.replace(tzinfo=dt.UTC), dtype=dtype_of(kind))
        case _:
            return pl.lit(value, dtype=dtype_of(kind))


def _decimal(value: Decimal | int, kind: Type, place: Place | None) -> pl.Expr:
    if Decimal(value).copy_abs() >= 10 ** (38 - kind.scale):
        raise SqlError(f"{value} has more than the 38 digits that a number can have here", place)
    return pl.lit(value, dtype=pl.Decimal(38, kind.scale))


def _duration(value: plan.Interval, place: Place | None) -> pl.Expr:
    """Return an interval as a Duration. One with months is a constant only: whoever can use it reads the literal."""
    if value.months:
        return fail_where(pl.lit(None, dtype=pl.Duration("us")), pl.lit(True), MONTHS, place)
    return pl.lit(value.days * _MICROS_OF_DAY + value.micros, dtype=pl.Int64).cast(pl.Duration("us"))
