"""Sums, differences and products of whole numbers on GPUs, where they wrap and nothing is wider than 64 bits.

The same formula is computed in DOUBLE beside them. A result that has wrapped is 2^64 or more away from the truth, and
the DOUBLE is not: where they differ by more than 2^62 the result is wrong. The check stands where a formula of `+`, `-`
and `*` ends, and not within, so that it grows no faster than its text; what leaves the range in between and comes back
is right.
"""

from __future__ import annotations

import operator as op
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.compile.failures import fail_where, too_large, with_cast_message
from gpuquery.runner.query.sql.compile.values import Unchecked, Value, dtype_of
from gpuquery.runner.query.sql.types import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuquery.runner.query.sql.errors import Place
    from gpuquery.runner.query.sql.types import Type

COMPUTED: dict[str, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {"+": op.add, "-": op.sub, "*": op.mul}
_APART = 2.0**62


def checked(operator: str, left: Value, right: Value, kind: Type, place: Place | None) -> Value:
    """Return the result of `+`, `-` or `*`, which fails where it does not fit into its type."""
    wide = pl.UInt64 if kind.kind is Kind.UINT64 else pl.Int64
    (a, nearly_a), (b, nearly_b) = _parts(left, wide), _parts(right, wide)
    exact, nearly = unfused(operator, a, b), unfused(operator, nearly_a, nearly_b)
    wrapped = exact.cast(pl.Float64)
    bad = (wrapped > nearly + _APART) | (wrapped < nearly - _APART)
    if kind.kind not in (Kind.INT64, Kind.UINT64) and kind.range is not None:
        bad = bad | (exact < kind.range[0]) | (exact > kind.range[1])
    expr = fail_where(exact, bad, too_large("a result", kind), place).cast(dtype_of(kind))
    return Value(expr, kind, unchecked=Unchecked(exact, nearly))


def unfused(operator: str, left: pl.Expr, right: pl.Expr) -> pl.Expr:
    """Return the result for GPUs: Polars 1.38 makes one step of a product and a sum, which cudf-polars 26.04 lacks."""
    made = COMPUTED[operator](left, right)
    return with_cast_message(made, "", None) if operator == "*" else made


def _parts(value: Value, wide: type[pl.Int64 | pl.UInt64]) -> Unchecked:
    return value.unchecked or Unchecked(value.expr.cast(wide), value.expr.cast(pl.Float64))
