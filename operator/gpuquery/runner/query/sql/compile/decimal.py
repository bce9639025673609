"""Decimals: sums, products and remainders with the plan's places, exactly, or a failure.

Found on Polars 1.44.2: a product has the larger scale of both factors, rounded half to even, so one factor is widened
to the sum of the scales (the intermediate has 256 bits). Both sides are brought to that scale first, and one that does
not fit into 38 digits there becomes NULL silently: such products are made of whole numbers. Overflow of 38 digits
raises for +, - and * of one scale. There is no remainder of decimals.
"""

from __future__ import annotations

from decimal import Context, Decimal
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.compile import division
from gpuquery.runner.query.sql.compile.failures import fail_where, too_large, with_cast_message
from gpuquery.runner.query.sql.compile.once import once
from gpuquery.runner.query.sql.compile.overflow import COMPUTED
from gpuquery.runner.query.sql.errors import SqlError
from gpuquery.runner.query.sql.types import Kind, Type

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.runner.query.sql.compile.convert import CastContext
    from gpuquery.runner.query.sql.compile.values import Value

DIGITS = 38
_INT64_DIGITS = 18
_WRAPS = 1.5e38
"""Less than what 128 bits hold, and more than 38 digits."""
_EXACT = Context(prec=DIGITS)


def integer_digits(kind: Type) -> int:
    """Return how many digits stand before the point of a number at most."""
    if kind.kind is Kind.INT128:
        return DIGITS
    return len(str(kind.range[1])) if kind.range is not None else kind.precision - kind.scale


def result_digits(operator: str, left: Type, right: Type) -> int:
    """Return how many digits stand before the point of a sum, difference or product at most."""
    return (
        integer_digits(left) + integer_digits(right)
        if operator == "*"
        else max(integer_digits(left), integer_digits(right)) + 1
    )


def total(operator: str, left: Value, right: Value, kind: Type, context: CastContext) -> pl.Expr:
    """Return the sum or difference; the plan has given both sides its scale."""
    dtype = pl.Decimal(DIGITS, kind.scale)
    a, b = left.expr.cast(dtype), right.expr.cast(dtype)
    before = result_digits(operator, left.type, right.type)
    if context.target.gpu:
        size = COMPUTED[operator](a.cast(pl.Float64), b.cast(pl.Float64))
        return _checked(COMPUTED[operator](a, b), kind.scale, [(size, before, kind.scale)], context)
    return COMPUTED[operator](a if before + kind.scale <= DIGITS else with_cast_message(a, "", context.place), b)


def product(left: Value, right: Value, kind: Type, context: CastContext) -> pl.Expr:
    """Return the product, whose scale is the sum of both scales."""
    scale = left.type.scale + right.type.scale
    before = result_digits("*", left.type, right.type)
    narrow, other = sorted((left, right), key=lambda value: -value.type.scale)
    a, b = narrow.expr, other.expr
    if context.target.gpu:  # cudf-polars makes the product with the sum of the scales that it is given, in 128 bits
        x, y = a.cast(pl.Float64), b.cast(pl.Float64)
        sizes = [(x * y, before, scale + other.type.scale), (x, integer_digits(narrow.type), scale)]
        return _checked(a.cast(pl.Decimal(DIGITS, scale)) * b, scale, sizes, context)
    if before + scale <= DIGITS:
        return a.cast(pl.Decimal(DIGITS, scale)) * b
    if scale == 0 or max(integer_digits(left.type), integer_digits(right.type)) + scale <= DIGITS:
        return with_cast_message(a.cast(pl.Decimal(DIGITS, scale)), "", context.place) * b
    made = with_cast_message(_whole(left.expr), "", context.place) * _whole(right.expr)
    return once(context.target, lambda whole: with_scale(whole.to_physical(), scale), made)


def quotient_or_remainder(operator: str, left: Value, right: Value, kind: Type, context: CastContext) -> pl.Expr:
    """Return the quotient of HUGEINTs, or the remainder, of numbers that the plan has given one scale."""
    if operator not in ("//", "%") or (operator == "//" and kind.kind is not Kind.INT128):
        raise SqlError(f"{operator} is not supported for {left.type} and {right.type}", context.place)
    if 0 < kind.precision <= _INT64_DIGITS:
        made = division.quotient_or_remainder(
            operator, context, _count(left.expr, kind.scale), _count(right.expr, kind.scale)
        )
        return made.cast(pl.Decimal(DIGITS, 0)) * last_place(kind.scale)
    if context.target.gpu:
        raise SqlError(f"{operator} of {kind} is not supported on GPUs: cast to fewer digits", context.place)
    made = division.quotient_or_remainder(operator, context, left.expr.to_physical(), right.expr.to_physical())
    return once(context.target, lambda whole: with_scale(whole, kind.scale), made)


def last_place(scale: int) -> pl.Expr:
    """Return 1 of the last of so many places: times a whole number it moves the point.

    On the CPU the whole number must have at most 38 digits less those places, or the product is NULL.
    """
    return pl.lit(Decimal(1).scaleb(-scale), dtype=pl.Decimal(DIGITS, scale))


def _count(value: pl.Expr, scale: int) -> pl.Expr:
    """Return a decimal of at most 18 digits as the number of its last places."""
    return (value * pl.lit(Decimal(10) ** scale, dtype=pl.Decimal(DIGITS, 0))).cast(pl.Int64)


def _whole(value: pl.Expr) -> pl.Expr:
    """Return a decimal without its point."""
    return value.to_physical().cast(pl.Decimal(DIGITS, 0))


def rounded(value: pl.Expr, scale: int, to: int) -> pl.Expr:
    """Return a decimal of 38 digits with fewer places, rounded half away from zero.

    Polars 1.44's `round` panics where the last digit that it carries is the 39th.
    """
    one = 10 ** (scale - to)
    whole = value.to_physical()
    size = (whole.abs() + one // 2) // one
    return with_scale(pl.when(whole < 0).then(0 - size).otherwise(size), to)


def with_scale(whole: pl.Expr, scale: int) -> pl.Expr:
    """Return whole numbers of 128 bits with the point put in: by way of text, as no cast of Polars does it."""
    if scale == 0:
        return whole.cast(pl.Decimal(DIGITS, 0))
    text = whole.cast(pl.String).str.zfill(scale + 2)
    return (text.str.head(-scale) + pl.lit(".") + text.str.tail(scale)).cast(pl.Decimal(DIGITS, scale))


def _checked(made: pl.Expr, scale: int, sizes: Sequence[tuple[pl.Expr, int, int]], context: CastContext) -> pl.Expr:
    """Return a result of decimals on GPUs, whose 128 bits wrap, where DOUBLEs beside it tell that they have not.

    `sizes` are what is computed on the way: each as a DOUBLE, with the digits that it has before the point at most, and
    the places behind it in which it is computed.
    """
    wide = [(size, places) for size, before, places in sizes if before + places > DIGITS]
    if not wide:
        return made
    result_digits = pl.lit(Decimal(10**DIGITS - 1).scaleb(-scale, _EXACT), dtype=pl.Decimal(DIGITS, scale))
    bad = (made > result_digits) | (made < 0 - result_digits)
    for size, places in wide:
        bad = bad | (size.abs() >= _WRAPS / 10.0**places)
    return fail_where(made, bad, too_large("a result"), context.place)
