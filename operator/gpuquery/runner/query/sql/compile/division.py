"""Division of whole numbers, cut toward zero, and what it leaves; a division by zero fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.compile.failures import fail_where
from gpuquery.runner.query.sql.compile.once import once

if TYPE_CHECKING:
    from gpuquery.runner.query.sql.compile.convert import CastContext
    from gpuquery.runner.query.sql.errors import Place

DIVISION_BY_ZERO = "division by zero"
_FAR = "the quotient of the smallest number and -1 does not fit"


def quotient_or_remainder(
    operator: str, context: CastContext, left: pl.Expr, right: pl.Expr, lowest: int | None = None
) -> pl.Expr:
    """Return `//` or `%` of whole numbers that are wide enough for every result.

    `lowest` is the smallest number of their width, if it is one of their values: its negative has no room then.
    """

    def formula(a: pl.Expr, b: pl.Expr) -> pl.Expr:
        b = divisor(a, b, context.place)
        if operator == "%":
            return _rest(a, b if lowest is None else pl.when(b == -1).then(1).otherwise(b))
        made = _quotient(a, b)
        return made if lowest is None else fail_where(made, (a == lowest) & (b == -1), _FAR, context.place)

    return once(context.target, formula, left, right)


def divisor(left: pl.Expr, right: pl.Expr, place: Place | None) -> pl.Expr:
    """Return the right side, and fail where it is zero; nothing is divided where the left side is NULL."""
    return fail_where(right, (right == 0) & left.is_not_null(), DIVISION_BY_ZERO, place)


def _quotient(a: pl.Expr, b: pl.Expr) -> pl.Expr:
    """Return a / b of whole numbers cut toward zero; Polars takes the floor."""
    return a // b + pl.when(_apart(a, b)).then(1).otherwise(0)


def _rest(a: pl.Expr, b: pl.Expr) -> pl.Expr:
    """Return what is left of a behind the quotient, with the sign of a; in Polars it has that of b."""
    return a % b - pl.when(_apart(a, b)).then(b).otherwise(0)


def _apart(a: pl.Expr, b: pl.Expr) -> pl.Expr:
    return (a % b != 0) & ((a < 0) != (b < 0))
