"""Statistics of one column and of two.

Moments are taken around the mean, in two passes, so that large values with small differences keep their digits. Where
a statistic is not defined (too few values, or skewness and kurtosis of equal ones) it is NULL; a correlation or slope
that divides by no spread is NaN, as in DuckDB 2.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.compile.aggregate_functions_group import GPU_RELEASES, Function, Functions, Group

if TYPE_CHECKING:
    from collections.abc import Callable


def _spread(*, root: bool, sample: bool) -> Function:
    def build(group: Group) -> pl.Expr:
        values = group.known.cast(pl.Float64)
        degrees = 1 if sample else 0
        found = values.std(ddof=degrees) if root else values.var(ddof=degrees)
        # Polars 1.44: 0 for a constant NULL in a group of one row.
        return found if sample else pl.when(values.count() > 0).then(found)

    return build


def _sem(group: Group) -> pl.Expr:
    values = group.known.cast(pl.Float64)
    return values.std(ddof=0) / values.count().cast(pl.Float64).sqrt()


@dataclass(frozen=True)
class _Moments:
    """The number of values and the means of the powers of their distance from the mean."""

    count: pl.Expr
    second: pl.Expr
    third: pl.Expr
    fourth: pl.Expr


def _moments(group: Group) -> _Moments:
    group.on_cpu()
    values = group.known.cast(pl.Float64).drop_nulls()
    off = values - values.mean()
    count = values.len().cast(pl.Float64)
    square = off * off
    return _Moments(count, square.mean(), (square * off).mean(), (square * square).mean())


def _skewness(group: Group) -> pl.Expr:
    of = _moments(group)
    unbiased = (of.count * (of.count - 1)).sqrt() / (of.count - 2)
    return pl.when((of.count > 2) & (of.second != 0)).then(unbiased * of.third / of.second.sqrt().pow(3))


def _kurtosis(group: Group) -> pl.Expr:
    of = _moments(group)
    n = of.count
    excess = (n + 1) * of.fourth / (of.second * of.second) - 3 * (n - 1)
    return pl.when((n > 3) & (of.second != 0)).then((n - 1) * excess / ((n - 2) * (n - 3)))


def _kurtosis_pop(group: Group) -> pl.Expr:
    of = _moments(group)
    return pl.when((of.count > 1) & (of.second != 0)).then(of.fourth / (of.second * of.second) - 3)


@dataclass(frozen=True)
class _Pairs:
    """Two columns in the rows in which both are known: how many, their means, and sums of products around the means."""

    count: pl.Expr
    y_mean: pl.Expr
    x_mean: pl.Expr
    yy: pl.Expr
    xy: pl.Expr
    xx: pl.Expr

    @classmethod
    def of(cls, group: Group) -> _Pairs:
        """Return those of the two arguments, `y` and `x`."""
        group.on_cpu()
        both = pl.all_horizontal(group.spread(argument).is_not_null() for argument in group.arguments)
        y, x = (values.cast(pl.Float64) for values in group.rows(both))
        y_off, x_off = y - y.mean(), x - x.mean()
        sums = [(one * other).sum() for one, other in ((y_off, y_off), (y_off, x_off), (x_off, x_off))]
        return cls(y.len().cast(pl.Float64), y.mean(), x.mean(), *sums)


def _of_pairs(formula: Callable[[_Pairs], pl.Expr]) -> Function:
    """Return a function of the pairs, NULL where there is none."""

    def build(group: Group) -> pl.Expr:
        pairs = _Pairs.of(group)
        return pl.when(pairs.count > 0).then(formula(pairs))

    return build


def _regr_count(group: Group) -> pl.Expr:
    both = pl.all_horizontal(group.spread(argument).is_not_null() for argument in group.arguments)
    return (both if group.filter is None else both & group.filter).cast(pl.Int64).sum()


def _corr(of: _Pairs) -> pl.Expr:
    return (of.xy / of.count) / ((of.yy / of.count).sqrt() * (of.xx / of.count).sqrt())


def _r2(of: _Pairs) -> pl.Expr:
    return pl.when(of.xx != 0).then(pl.when(of.yy == 0).then(1.0).otherwise(of.xy * of.xy / (of.xx * of.yy)))


def _intercept(of: _Pairs) -> pl.Expr:
    return pl.when(of.xx != 0).then(of.y_mean - of.xy / of.xx * of.x_mean)


TABLE = Functions("Statistics")
_ONE = "NUMBER -> DOUBLE"
_TWO = "NUMBER, NUMBER -> DOUBLE"
_add = TABLE.add
_add(
    "stddev_samp",
    _ONE,
    does="The standard deviation of a sample.",
    build=_spread(root=True, sample=True),
    aliases="stddev",
)
_add("stddev_pop", _ONE, does="The standard deviation.", build=_spread(root=True, sample=False))
_add("var_samp", _ONE, does="The variance of a sample.", build=_spread(root=False, sample=True), aliases="variance")
_add("var_pop", _ONE, does="The variance.", build=_spread(root=False, sample=False))
_add("sem", _ONE, does="The standard error of the mean.", build=_sem)
_add("skewness", _ONE, does="The skewness of a sample.", build=_skewness, none=GPU_RELEASES)
_add("kurtosis", _ONE, does="The excess kurtosis of a sample.", build=_kurtosis, none=GPU_RELEASES)
_add("kurtosis_pop", _ONE, does="The excess kurtosis.", build=_kurtosis_pop, none=GPU_RELEASES)


def _add_pairs(name: str, does: str, formula: Callable[[_Pairs], pl.Expr]) -> None:
    _add(name, _TWO, does=does, build=_of_pairs(formula), none=GPU_RELEASES)


_add_pairs("covar_pop", "The covariance.", lambda of: of.xy / of.count)
_add_pairs("covar_samp", "The covariance of a sample.", lambda of: pl.when(of.count > 1).then(of.xy / (of.count - 1)))
_add_pairs("corr", "The correlation.", _corr)
_add("regr_count", "NUMBER, NUMBER -> UINTEGER", does="How many rows have both values.", build=_regr_count)
_add_pairs("regr_avgx", "The average of the second argument.", lambda of: of.x_mean)
_add_pairs("regr_avgy", "The average of the first argument.", lambda of: of.y_mean)
_add_pairs("regr_sxx", "The sum of squares of the second argument around its mean.", lambda of: of.xx)
_add_pairs("regr_syy", "The sum of squares of the first argument around its mean.", lambda of: of.yy)
_add_pairs("regr_sxy", "The sum of products around the means.", lambda of: of.xy)
_add_pairs("regr_slope", "The slope of the line through (second, first).", lambda of: of.xy / of.xx)
_add_pairs("regr_intercept", "Where that line meets the axis.", _intercept)
_add_pairs("regr_r2", "The square of the correlation.", _r2)
