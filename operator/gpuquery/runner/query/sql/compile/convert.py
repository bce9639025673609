"""One conversion of values, and what becomes of a value that has no counterpart: it fails, or it becomes NULL.

There are two forms. In a `Conversion` a cast in the middle refuses: the value is used once, and Polars' own error tells
it. In `Way.read` a formula gives NULL for what it cannot read, and a check behind it fails.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import polars as pl

from gpuquery.runner.query.sql.compile.failures import fail_where, with_cast_message
from gpuquery.runner.query.sql.compile.once import once

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuquery.runner.query.sql.compile.target import Target
    from gpuquery.runner.query.sql.errors import Place


def identity(expr: pl.Expr) -> pl.Expr:
    """Return the values as they are."""
    return expr


@dataclass(frozen=True)
class Conversion:
    """How values of one type become values of another: prepare, a cast that may refuse, finish."""

    prepare: Callable[[pl.Expr], pl.Expr] = identity
    through: Any = None
    """The dtype whose cast refuses what has no counterpart; None: every value has one."""
    bounds: tuple[Any, Any] | None = None
    """The smallest and the largest prepared number that fits: cudf's casts do not look."""
    refused: Callable[[pl.Expr], pl.Expr] | None = None
    """A condition for prepared values that have no counterpart, where no cast tells it."""
    finish: Callable[[pl.Expr], pl.Expr] = identity
    tells_input: bool = False
    """Whether a failure tells the value as it was before: the prepared one would say nothing to the author."""


@dataclass(frozen=True)
class CastContext:
    """What becomes of a value that has no counterpart: a failure with this message, at this place, or NULL."""

    message: str
    place: Place | None
    target: Target
    null_on_failure: bool = False

    def converted(self, expr: pl.Expr, conversion: Conversion) -> pl.Expr:
        """Return the converted values."""
        if conversion.tells_input and not self.target.gpu:
            quiet = replace(self, null_on_failure=True)
            told = replace(conversion, tells_input=False)
            return self.read(expr, lambda value: quiet.converted(value, told))
        expr = conversion.prepare(expr)
        if conversion.through is not None:
            expr = self._through(expr, conversion)
        if conversion.refused is not None:
            return once(self.target, lambda e: self._unless(e, conversion), expr)
        return conversion.finish(expr)

    def _unless(self, expr: pl.Expr, conversion: Conversion) -> pl.Expr:
        assert conversion.refused is not None
        bad, made = conversion.refused(expr), conversion.finish(expr)
        if self.null_on_failure:
            return pl.when(~bad).then(made)
        return fail_where(made, bad, self.message, self.place, None if self.target.gpu else expr.cast(pl.String))

    def read(self, expr: pl.Expr, formula: Callable[[pl.Expr], pl.Expr]) -> pl.Expr:
        """Return what the formula makes of values, such as texts; it is NULL for one that it cannot read."""

        def checked(value: pl.Expr) -> pl.Expr:
            found = formula(value)
            if self.null_on_failure:
                return found
            return once(self.target, self._known, found, value)

        return once(self.target, checked, expr)

    def _known(self, made: pl.Expr, value: pl.Expr) -> pl.Expr:
        bad = value.is_not_null() & made.is_null()
        return fail_where(made, bad, self.message, self.place, value.cast(pl.String))

    def _through(self, expr: pl.Expr, conversion: Conversion) -> pl.Expr:
        if self.target.gpu and conversion.bounds is not None:
            low, high = conversion.bounds
            fits = (expr >= low) & (expr <= high)
            if self.null_on_failure:
                return pl.when(fits).then(expr).cast(conversion.through, strict=False)
            return fail_where(expr, ~fits, self.message, self.place).cast(conversion.through)
        if self.null_on_failure:
            return expr.cast(conversion.through, strict=False)
        return with_cast_message(expr, self.message, self.place).cast(conversion.through)
