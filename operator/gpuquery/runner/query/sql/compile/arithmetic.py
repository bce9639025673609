"""Operators of numbers, exact by the types of the plan: what does not fit its type fails, and never wraps.

DuckDB 2.0 and PostgreSQL agree on whole numbers and decimals: `//` and `%` cut toward zero, a division by zero fails.
`/` is a DOUBLE, and divides by zero as IEEE 754 says, as in DuckDB (PostgreSQL fails).
"""

from __future__ import annotations

import operator as op
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.compile import decimal, division, failures, overflow
from gpuquery.runner.query.sql.compile.convert import CastContext, Conversion
from gpuquery.runner.query.sql.compile.once import once, once_per_row
from gpuquery.runner.query.sql.compile.remainder import remainder
from gpuquery.runner.query.sql.compile.values import Value, dtype_of
from gpuquery.runner.query.sql.errors import Place, SqlError
from gpuquery.runner.query.sql.types import Kind, Type

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.runner.query.sql.compile.target import Target

_DIVISIONS = ("//", "%")
_WIDE = (Kind.INT64, Kind.UINT64)


def arithmetic(operator: str, arguments: Sequence[Value], kind: Type, place: Place | None, target: Target) -> Value:
    """Return the result of `+`, `-`, `*`, `/`, `//` or `%` of numbers; `kind` is its type in the plan."""
    if len(arguments) == 1:
        return _signed(operator, arguments[0], kind, place, target)
    left, right = arguments
    context = CastContext(failures.too_large("the result {}", kind), place, target)
    if kind.is_float:
        return Value(_floating(operator, left, right, kind, context), kind)
    if kind.kind in (Kind.DECIMAL, Kind.INT128):
        return Value(_decimal(operator, left, right, kind, context), kind)
    if not kind.is_integer:
        raise SqlError(f"{operator} is not supported for {left.type} and {right.type}", place)
    if operator in _DIVISIONS:
        return Value(_divided(operator, left.expr, right.expr, kind, context), kind)
    if target.gpu:
        return overflow.checked(operator, left, right, kind, place)
    wide = pl.Int128 if kind.kind in _WIDE else pl.Int64
    made = overflow.COMPUTED[operator](left.expr.cast(wide), right.expr.cast(wide))
    return Value(context.converted(made, Conversion(through=dtype_of(kind))), kind)


def _signed(operator: str, value: Value, kind: Type, place: Place | None, target: Target) -> Value:
    if operator == "+":
        return value
    if kind.is_float or kind.kind in (Kind.DECIMAL, Kind.INT128):
        return Value(-value.expr, kind)
    zero = Value(pl.lit(0, dtype=dtype_of(kind)), kind)
    return arithmetic("-", [zero, value], kind, place, target)


def _floating(operator: str, x: Value, y: Value, kind: Type, context: CastContext) -> pl.Expr:
    """Compute as IEEE 754 says; `//` of DOUBLE is DuckDB's: a division, which fails for zero."""
    dtype = dtype_of(kind)
    left, right = (v.expr if v.type == kind else v.expr.cast(dtype) for v in (x, y))
    match operator:
        case "/" if right.meta.root_names():
            return left / right
        case "/":  # Polars 1.44 divides by one number as it multiplies with its inverse, which is another result
            return once_per_row(context.target, op.truediv, left, right)
        case "//":
            return once_per_row(context.target, lambda a, b: a / division.divisor(a, b, context.place), left, right)
        case "%":
            return once(context.target, lambda a, b: remainder(a, b, context), left, right).cast(dtype)
        case _ if context.target.gpu:
            return overflow.unfused(operator, left, right)
        case _:
            return overflow.COMPUTED[operator](left, right)


def _decimal(operator: str, left: Value, right: Value, kind: Type, context: CastContext) -> pl.Expr:
    match operator:
        case "*":
            return decimal.product(left, right, kind, context)
        case "+" | "-":
            return decimal.total(operator, left, right, kind, context)
        case _:
            return decimal.quotient_or_remainder(operator, left, right, kind, context)


def _divided(operator: str, left: pl.Expr, right: pl.Expr, kind: Type, context: CastContext) -> pl.Expr:
    wide = dtype_of(kind) if kind.kind in _WIDE else pl.Int64()
    lowest = kind.range[0] if kind.kind is Kind.INT64 and kind.range else None
    made = division.quotient_or_remainder(operator, context, left.cast(wide), right.cast(wide), lowest)
    return context.converted(made, Conversion(through=dtype_of(kind), bounds=kind.range))
