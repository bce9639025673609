"""Casts between numbers of all kinds, and BOOLEAN.

To fewer places a decimal is rounded half away from zero, as in DuckDB and PostgreSQL; a DOUBLE to a whole number half
to even, as both do. What does not fit afterwards is refused.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.compile.convert import Conversion, identity
from gpuquery.runner.query.sql.compile.decimal import DIGITS, integer_digits, last_place, rounded, with_scale
from gpuquery.runner.query.sql.compile.values import dtype_of
from gpuquery.runner.query.sql.types import EXACT, Kind, Type

if TYPE_CHECKING:
    from collections.abc import Callable

    from polars._typing import RoundMode

    from gpuquery.runner.query.sql.compile.target import Target


def number(source: Type, to: Type, target: Target) -> Conversion:
    """Return the conversion between two types of numbers, one of which may be BOOLEAN."""
    if to.kind is Kind.BOOLEAN:
        return Conversion(finish=lambda e: e != 0)
    if source.kind is Kind.BOOLEAN:
        return (
            _to_decimal(Type(Kind.INT8), to, lambda e: e.cast(pl.Int8), target)
            if _held(to)
            else Conversion(finish=lambda e: e.cast(dtype_of(to)))
        )
    if to.is_float:
        return _to_float(source, to)
    if source.is_float:
        return _float_to_decimal(to, target) if _held(to) else _float_to_integer(to)
    return _to_decimal(source, to, identity, target) if _held(to) else _to_integer(source, to, target)


def _held(kind: Type) -> bool:
    """Whether a type is held as a decimal."""
    return kind.kind in (Kind.DECIMAL, Kind.INT128)


def rescaled(source: Type, to: int, target: Target) -> Callable[[pl.Expr], pl.Expr]:
    """Return how a decimal gets another number of places: more by zeros, fewer by rounding half away from zero."""
    if to >= source.scale:
        return lambda e: e.cast(pl.Decimal(DIGITS, to))
    if source.precision == DIGITS and not target.gpu:
        return lambda e: rounded(e, source.scale, to)
    return lambda e: (
        e.cast(pl.Decimal(DIGITS, source.scale)).round(to, mode="half_away_from_zero").cast(pl.Decimal(DIGITS, to))
    )


def _to_float(source: Type, to: Type) -> Conversion:
    if source.kind is Kind.DOUBLE and to.kind is Kind.FLOAT:
        return Conversion(
            refused=lambda e: e.is_finite() & e.cast(pl.Float32).is_infinite(), finish=lambda e: e.cast(pl.Float32)
        )
    return Conversion(finish=lambda e: e.cast(dtype_of(to)))


def _float_to_integer(to: Type) -> Conversion:
    low, high = to.range or (0, 0)
    return Conversion(
        prepare=lambda e: e.round(0, mode="half_to_even"), through=dtype_of(to), bounds=(float(low), _at_most(high))
    )


def _float_to_decimal(to: Type, target: Target) -> Conversion:
    """Multiply, round half away from zero, and divide, as DuckDB does: the digits come out the same."""
    precision = to.precision or DIGITS
    mode: RoundMode = "half_to_even" if to.kind is Kind.INT128 else "half_away_from_zero"

    def finish(whole: pl.Expr) -> pl.Expr:
        if precision + to.scale > DIGITS and not target.gpu:
            return with_scale(whole.to_physical(), to.scale)
        return whole.cast(pl.Decimal(DIGITS, 0)) * last_place(to.scale)

    return Conversion(
        prepare=lambda e: (e.cast(pl.Float64) * 10.0**to.scale).round(0, mode=mode),
        through=pl.Decimal(precision, 0),
        bounds=(-(10.0**precision) * (1 - 2e-16), 10.0**precision * (1 - 2e-16)),
        finish=finish,
        tells_input=True,
    )


def _at_most(high: int) -> float:
    """Return the largest DOUBLE that is not greater than a whole number."""
    value = float(high)
    return value if int(value) <= high else float(2 ** (high.bit_length() - 53) * (2**53 - 1))


def _to_integer(source: Type, to: Type, target: Target) -> Conversion:
    low, high = to.range or (0, 0)
    if source.is_integer and source.range is not None and low <= source.range[0] and source.range[1] <= high:
        return Conversion(finish=lambda e: e.cast(dtype_of(to)))
    prepare = rescaled(source, 0, target) if source.kind is Kind.DECIMAL else identity
    if source.kind is Kind.DECIMAL and integer_digits(source) < len(str(high)) - 1 and low < 0:
        return Conversion(prepare=prepare, finish=lambda e: e.cast(dtype_of(to)))
    return Conversion(prepare=prepare, through=dtype_of(to), bounds=(low, high))


def _to_decimal(source: Type, to: Type, before: Callable[[pl.Expr], pl.Expr], target: Target) -> Conversion:
    """Return the conversion of an exact number; a HUGEINT has no more than the 38 digits that are held."""
    scale = source.scale
    precision = to.precision or DIGITS
    exact = before if _held(source) else lambda e: before(e).cast(pl.Decimal(DIGITS, 0))
    rescale = rescaled(source, to.scale, target)
    if integer_digits(source) + (to.scale < scale) <= precision - to.scale:
        return Conversion(prepare=exact, finish=rescale)
    limit = Decimal(10) ** (precision - to.scale)
    least = pl.lit(EXACT.subtract(limit, Decimal(1).scaleb(-to.scale)))
    prepare = (lambda e: rescale(exact(e))) if to.scale < scale else exact
    return Conversion(
        prepare=prepare,
        through=pl.Decimal(precision, to.scale),
        bounds=(-least, least),
        finish=lambda e: e.cast(dtype_of(to)),
    )
