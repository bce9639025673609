"""The remainder of DOUBLEs, as C's fmod gives it: exact, with the dividend's sign.

Polars' own is a - floor(a / b) * b, whose rounding shows: 5.5 % 0.1 is off by its last digits, and x % inf is NaN. Here
the product is computed in two parts (Dekker's), which is exact while the quotient is below 2^53. Beyond that the query
fails: the remainder of such a division says nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.compile.failures import fail_where
from gpuquery.runner.query.sql.compile.once import once

if TYPE_CHECKING:
    from gpuquery.runner.query.sql.compile.convert import CastContext

_SPLIT = 134217729.0
_MOST = 2.0**53
_SMALL, _LARGE = 2.0**-900, 2.0**970


def remainder(a: pl.Expr, b: pl.Expr, context: CastContext) -> pl.Expr:
    """Return a % b; NaN for a division by zero or of infinity, as in DuckDB and IEEE 754."""
    size, by = a.cast(pl.Float64).abs(), b.cast(pl.Float64).abs()
    odd = (by == 0) | by.is_nan() | size.is_nan() | size.is_infinite()
    whole = pl.when(odd).then(pl.lit(float("nan"))).when(size < by).then(size)
    plain = pl.when(~odd & (size >= by))
    made = once(
        context.target,
        lambda own, x, y: own.fill_null(_reduced(x, y, context)),
        whole,
        plain.then(size),
        plain.then(by),
    )
    return pl.when(a.is_not_null() & b.is_not_null()).then(pl.when(a < 0).then(-made).otherwise(made))


def _reduced(size: pl.Expr, by: pl.Expr, context: CastContext) -> pl.Expr:
    times = (size / by).floor()
    far = (times >= _MOST) | (by < _SMALL) | (size > _LARGE)
    times = fail_where(times, far, "the remainder of numbers this far apart has no exact digits", context.place)
    return once(context.target, _rest, size, by, times)


def _rest(size: pl.Expr, by: pl.Expr, times: pl.Expr) -> pl.Expr:
    product = times * by
    a, b = _halves(times)
    c, d = _halves(by)
    error = ((a * c - product) + a * d + b * c) + b * d
    left = (size - product) - error
    return pl.when(left < 0).then(left + by).when(left >= by).then(left - by).otherwise(left)


def _halves(value: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    scaled = value * _SPLIT
    high = scaled - (scaled - value)
    return high, value - high
