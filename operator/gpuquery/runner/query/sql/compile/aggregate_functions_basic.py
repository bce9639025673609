"""Counts, sums, averages, the least and the greatest value, and any value of a group."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.compile.aggregate_functions_group import GPU_RELEASES, Functions, Group, null_if_empty
from gpuquery.runner.query.sql.compile.failures import fail_where, too_large
from gpuquery.runner.query.sql.compile.values import dtype_of
from gpuquery.runner.query.sql.types import Kind, Type

if TYPE_CHECKING:
    from gpuquery.runner.query.sql.compile.target import Target

UNORDERED = frozenset({Kind.LIST, Kind.STRUCT})
MAY_OVERFLOW = 27
"""Digits from which on a sum of fewer than 10^11 decimals may need more than 38."""
_SCALE = 18
"""Places up to which a count times the power of ten fits into 128 bits."""


def _count(group: Group) -> pl.Expr:
    if not group.arguments:
        return pl.len() if group.filter is None else pl.when(group.filter).then(pl.lit(1, dtype=pl.Int8)).count()
    return distinct(group) if group.call.distinct else group.masked.count()


def distinct(group: Group) -> pl.Expr:
    """Return how many different values there are."""
    if group.type.kind is Kind.STRUCT:
        group.on_cpu("DISTINCT rows")
    if not group.target.full_groups:  # cudf-polars 26.04 leaves no NULLs out before it counts
        nulls = group.masked.is_null().cast(pl.Int8).max().cast(pl.Int64)
        return group.masked.n_unique().cast(pl.Int64) - nulls
    return group.masked.drop_nulls().n_unique()


def of_constant(group: Group) -> pl.Expr:
    """Return a function of one and the same value in all rows; cudf-polars cannot make a column of a constant here."""
    name, value = group.call.function, group.arguments[0]
    rows = pl.len() if group.filter is None else pl.when(group.filter).then(pl.lit(1, dtype=pl.Int8)).count()
    known = pl.lit(0) if value.literal is not None and value.literal.value is None else rows
    if name == "count":
        return known.clip(upper_bound=1) if group.call.distinct else known
    if name in ("min", "max", "any_value", "first", "last", "bool_and", "bool_or", "avg"):
        return pl.when(rows > 0).then(value.expr)
    if name != "sum" or group.call.distinct or not value.type.is_number:
        group.on_cpu("a constant")
    dtype = dtype_of(group.call.type)
    return pl.when(known > 0).then(value.expr.cast(dtype) * known.cast(pl.Int64).cast(dtype))


def exact_sum(group: Group) -> pl.Expr:
    """Return the sum of whole numbers or decimals, 0 where nothing counts. One of more than 38 digits fails.

    Polars 1.44: a sum of decimals in a group wraps at 128 bits, unless the streaming engine groups by itself. libcudf's
    wraps always.
    """
    if _narrow(group.type):
        return group.known.cast(pl.Int64).sum()
    scale = group.type.scale
    values = group.known.cast(pl.Decimal(38, scale))
    total = values.sum()
    if group.type.kind is not Kind.INT128 and (group.streams or group.type.precision <= MAY_OVERFLOW):
        return total
    rough = values.cast(pl.Float64).sum().abs()
    if group.target.gpu:
        bad = rough >= 10.0 ** (38 - scale)
    else:
        # rough tells whether 128 bits were enough, up to 1.7e38; if they were, the digits can be looked at
        bad = (rough >= 1.5 * 10.0 ** (38 - scale)) | (total.to_physical().abs() >= pl.lit(10**38, dtype=pl.Int128))
    return fail_where(total, bad, too_large(f"the {group.call.function}"), group.call.place)


def _narrow(kind: Type) -> bool:
    """Return whether 64 bits hold the sum of as many values as there can be rows."""
    return kind.range is not None and kind.range[1] < 2**32


def _sum(group: Group) -> pl.Expr:
    if group.type.is_float:
        return null_if_empty(group, group.known.cast(pl.Float64).sum())
    if group.type.kind is Kind.BOOLEAN:
        return null_if_empty(group, group.known.sum().cast(pl.Int64))
    return null_if_empty(group, exact_sum(group).cast(dtype_of(group.call.type)))


def _avg(group: Group) -> pl.Expr:
    if group.type.is_float:
        return group.known.cast(pl.Float64).mean()
    if not group.type.is_number:
        return _middle(group)
    return quotient(exact_sum(group), group.known.count(), group.type, group.target)


def _middle(group: Group) -> pl.Expr:
    """Return the average of dates, times or lengths of time, to the nearest unit, half towards zero.

    DuckDB 2.0 does so for moments, and cuts those before 1970. For lengths of time it is one microsecond more if
    anything is left, which is not followed.
    """
    group.on_cpu()
    units = group.known.cast(dtype_of(group.call.type)).to_physical().cast(pl.Int128)
    count = pl.when(group.known.count() > 0).then(group.known.count().cast(pl.Int128))
    total = units.sum()
    nearest = (2 * total + count - 1) // (2 * count)
    return pl.when(total < 0).then(0 - (0 - total) // count).otherwise(nearest).cast(pl.Int64)


def quotient(total: pl.Expr, count: pl.Expr, kind: Type, target: Target) -> pl.Expr:
    """Return an exact sum of values of a type, as `exact_sum` makes it, divided by their number; NULL for no values.

    DuckDB 2.0 divides the sum's digits, as a whole number, by the count times the power of ten. Numbers of up to 32
    bits are divided as DOUBLE, others with 64 bits of precision: the whole part and the rest together come to the same.
    """
    divisor = pl.when(count > 0).then(count.cast(pl.Int64))
    if _narrow(kind) or target.gpu or kind.scale > _SCALE:
        # cudf-polars has no 128-bit integers: the last digit of a quotient of two decimals may differ there
        return total.cast(pl.Float64) / divisor.cast(pl.Float64)
    digits = total.to_physical()
    units = divisor.cast(pl.Int128) * pl.lit(10**kind.scale, dtype=pl.Int128)
    exact = digits.cast(pl.Float64) / units.cast(pl.Float64)
    rest = digits % units
    parts = ((digits - rest) // units).cast(pl.Float64) + rest.cast(pl.Float64) / units.cast(pl.Float64)
    return pl.when(digits.abs() < 2**53).then(exact).otherwise(parts)


def _min(group: Group) -> pl.Expr:
    _ordered(group)
    if len(group.arguments) > 1:
        return top(group, group.known, descending=False)
    if group.type.kind is Kind.BOOLEAN:
        return _bool_and(group)
    if group.type.is_float and group.target.gpu:
        # cudf-polars 26.10 takes NaNs for NULLs here
        return null_if_empty(group, group.masked.min().fill_null(float("nan")))
    # Polars: NaNs are left out, unless there is nothing else
    return group.masked.min()


def _max(group: Group) -> pl.Expr:
    _ordered(group)
    if len(group.arguments) > 1:
        return top(group, group.known, descending=True)
    if group.type.kind is Kind.BOOLEAN:
        return _bool_or(group)
    return greatest(group.masked, group.type)


def greatest(values: pl.Expr, kind: Type) -> pl.Expr:
    """Return the greatest value of a column; NaN is above all others.

    Polars 1.44: its streaming engine's nan_max() of nothing but -inf is the least finite number.
    """
    if not kind.is_float:
        return values.max()
    found = values.is_nan().cast(pl.Int8).max()
    return pl.when(found > 0).then(pl.lit(float("nan"), dtype=dtype_of(kind))).otherwise(values.max())


def top(group: Group, values: pl.Expr, *, descending: bool) -> pl.Expr:
    """Return a list of the least or greatest values, as many as the last argument says; NULL where there is none."""
    group.on_cpu("a number of values")
    number = group.constant(len(group.arguments) - 1, "the number of values")
    found = values.drop_nulls().sort(descending=descending).head(int(number))
    return pl.when(found.len() > 0).then(found.implode())


def _ordered(group: Group) -> None:
    if group.type.kind in UNORDERED:
        words = f"{group.call.function} of {group.type} is not supported: compare a part of it"
        raise group.refuse(words)


def _any_value(group: Group) -> pl.Expr:
    if group.order and group.target.gpu:
        if group.filter is not None or not group.target.full_groups:
            group.on_cpu("ORDER BY")
        value = group.spread(group.arguments[0])
        keys, down, last = group.keys()
        return value.sort_by([value.is_null(), *keys], descending=[False, *down], nulls_last=[False, *last]).first()
    if group.order:
        return group.rows(group.spread(group.arguments[0]).is_not_null())[0].first()
    if not group.target.gpu:
        return group.masked.drop_nulls().first()
    if group.type.kind is Kind.BOOLEAN:
        return _bool_or(group)
    if group.type.kind in UNORDERED:
        group.on_cpu(str(group.type))
    # cudf-polars knows the first row, with its NULL, and the least value, which is the same on every rank
    return group.masked.min()


def _end(group: Group) -> pl.Expr:
    if group.filter is not None or group.call.distinct:
        group.on_cpu("FILTER" if group.filter is not None else "DISTINCT")
    if group.order and not group.target.full_groups:
        group.on_cpu("ORDER BY")
    return group.rows()[0]


def _bool_and(group: Group) -> pl.Expr:
    return group.masked.cast(pl.Int8).min() == 1


def _bool_or(group: Group) -> pl.Expr:
    return group.masked.cast(pl.Int8).max() == 1


def _count_if(group: Group) -> pl.Expr:
    return null_if_empty(group, (group.known.cast(pl.Int64) if group.target.gpu else group.known).sum().cast(pl.Int64))


def _product(group: Group) -> pl.Expr:
    if not group.target.full_groups:
        group.on_cpu()
    return null_if_empty(group, group.known.cast(pl.Float64).product())


TABLE = Functions("Aggregates")
_add = TABLE.add
_add("count", "[ANY] -> BIGINT", does="How many values are not NULL; of `*`, how many rows.", build=_count)
_add(
    "sum",
    "INTEGER|BOOLEAN -> HUGEINT",
    "DECIMAL -> DECIMAL",
    "FLOAT -> DOUBLE",
    does="The sum, exact at any width; beyond 38 digits it fails.",
    build=_sum,
    aliases="sum_no_overflow",
    some=GPU_RELEASES,
)
_add(
    "avg",
    "NUMBER|DATE|TIMESTAMP|TIME|INTERVAL -> ANY",
    does="The average: of numbers a DOUBLE.",
    build=_avg,
    aliases="mean",
    some=GPU_RELEASES,
)
_add(
    "min",
    "ANY -> ANY",
    "ANY, 'INTEGER -> LIST",
    does="The least value, or a list of so many.",
    build=_min,
    some=GPU_RELEASES,
)
_add(
    "max",
    "ANY -> ANY",
    "ANY, 'INTEGER -> LIST",
    does="The greatest value, or a list of so many.",
    build=_max,
    some=GPU_RELEASES,
)
_add("any_value", "ANY -> ANY", does="The first value that is not NULL.", build=_any_value, some=GPU_RELEASES)
_add(
    "first",
    "ANY -> ANY",
    does="The value in the first row, also NULL.",
    build=lambda group: _end(group).first(),
    aliases="arbitrary",
    some=GPU_RELEASES,
)
_add(
    "last",
    "ANY -> ANY",
    does="The value in the last row, also NULL.",
    build=lambda group: _end(group).last(),
    some=GPU_RELEASES,
)
_add("bool_and", "BOOLEAN -> BOOLEAN", does="Whether all values are TRUE.", build=_bool_and)
_add("bool_or", "BOOLEAN -> BOOLEAN", does="Whether a value is TRUE.", build=_bool_or)
_add("count_if", "BOOLEAN -> HUGEINT", does="How many values are TRUE.", build=_count_if, aliases="countif")
_add("product", "NUMBER -> DOUBLE", does="The product.", build=_product, none="26.04")
_add("kahan_sum", "NUMBER -> DOUBLE", does="The sum as DOUBLE.", build=_sum, aliases="fsum sumkahan")
_add("favg", "NUMBER -> DOUBLE", does="The average as DOUBLE.", build=_avg)
TABLE.by_name["sum_no_overflow"] = _sum
