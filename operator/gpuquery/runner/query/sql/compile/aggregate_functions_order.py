"""Aggregates by the order of values: quantiles, the most frequent value, the one beside the least or greatest.

Quantiles are DuckDB 2.0's: a continuous one lies between two values and is a DOUBLE for whole numbers; it is cut to
the places of a decimal and rounded to a microsecond. A discrete one is a value, whose place is counted exactly. NaN is
the greatest number.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import polars as pl

from gpuquery.runner.query.sql.compile.aggregate_functions_basic import UNORDERED
from gpuquery.runner.query.sql.compile.aggregate_functions_group import GPU_RELEASES, Functions, Group
from gpuquery.runner.query.sql.compile.values import dtype_of
from gpuquery.runner.query.sql.errors import SqlError
from gpuquery.runner.query.sql.plan import Call, Cast, Literal
from gpuquery.runner.query.sql.types import FLOATS, INTEGERS, Kind, Type

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuquery.runner.query.sql.plan import Expression

_BETWEEN = FLOATS | INTEGERS
_PLACES = 19
"""Places of a decimal up to which they fit into one with as many places again."""


def _median(group: Group) -> pl.Expr:
    group.on_cpu()
    half = Fraction(1, 2)
    if group.type.is_number or group.type.kind in _MOMENTS:
        return _between(group, half)
    return _at(group, half)


_MOMENTS = frozenset({Kind.DATE, Kind.TIME, Kind.TIMESTAMP, Kind.TIMESTAMP_TZ, Kind.INTERVAL})


def _approx_quantile(group: Group) -> pl.Expr:
    """Return the exact quantile, in the type of the values: rounded, where it lies between two whole numbers."""
    return _each(group, lambda at: _between(group, at).round() if group.type.is_integer else _between(group, at))


def _each(group: Group, one: Callable[[Fraction], pl.Expr]) -> pl.Expr:
    """Return one quantile, or a list of them; NULL where nothing counts."""
    group.on_cpu()
    asked = _asked(group, group.call.arguments[1])
    if not isinstance(asked, list):
        return one(_fraction(asked))
    item = group.call.type.item
    assert item is not None
    found = pl.concat_list([one(_fraction(each)).cast(dtype_of(item)) for each in asked])
    return pl.when(group.known.count() > 0).then(found)


def _asked(group: Group, node: Expression) -> Any:
    """Return the fraction, or the list of them, that an argument is."""
    match node:
        case Literal(value=value) if value is not None:
            return list(value) if isinstance(value, list | tuple) else value
        case Cast():
            return _asked(group, node.input)
        case Call(function="list_value"):
            return [_asked(group, item) for item in node.arguments]
        case Call(function="-", arguments=(item,)):
            return -_asked(group, item)
    raise SqlError(f"the fraction of {group.call.function} must be a constant", node.place or group.call.place)


def _fraction(asked: Any) -> Fraction:
    """Return what the author wrote: 0.07 is a decimal, though the plan says DOUBLE."""
    return Fraction(Decimal(repr(asked)) if isinstance(asked, float) else asked)


def _sorted(group: Group, at: Fraction) -> tuple[pl.Expr, pl.Expr]:
    """Return the values that count in their order, from the greatest if the fraction is negative, and their number."""
    if group.type.kind in UNORDERED:
        raise group.refuse(f"{group.call.function} of {group.type} is not supported: use a part of it")
    values = group.known.drop_nulls()
    return values.sort(descending=at < 0), values.len().cast(pl.Int64)


def _at(group: Group, at: Fraction) -> pl.Expr:
    values, count = _sorted(group, at)
    part = abs(at)
    whole, out_of = part.numerator, part.denominator
    index = count - (count.cast(pl.Int128) * (out_of - whole) // out_of).cast(pl.Int64)
    index = pl.max_horizontal(index, 1) - 1
    return values.slice(index, 1).first()


def _between(group: Group, at: Fraction) -> pl.Expr:
    values, count = _sorted(group, at)
    kind = group.type
    place = (count - 1).cast(pl.Float64) * float(abs(at))
    lower = place.floor()
    low = values.slice(pl.max_horizontal(lower.cast(pl.Int64), 0), 1).first()
    high = values.slice(pl.max_horizontal(place.ceil().cast(pl.Int64), 0), 1).first()
    if kind.kind in _BETWEEN:
        low, high = low.cast(pl.Float64), high.cast(pl.Float64)
        return pl.when((place == lower) | (low == high)).then(low).otherwise(low + (high - low) * (place - lower))
    if kind.scale > _PLACES:
        raise group.refuse(f"{group.call.function} of {kind} is not supported: cast it to fewer places")
    held = kind if kind.kind in (Kind.DECIMAL, Kind.INT128) else _result(group)
    low, high = low.cast(dtype_of(held)), high.cast(dtype_of(held))
    one, other = low.to_physical().cast(pl.Float64), high.to_physical().cast(pl.Float64)
    part = (other - one) * (place - lower)
    if held.kind in _MOMENTS:
        digits = low.to_physical().cast(pl.Int128) + (part.abs() + 0.5).floor().cast(pl.Int128) * part.sign().cast(
            pl.Int128
        )
    else:
        digits = (one + part).cast(pl.Int128)
    return pl.when((place == lower) | (low == high)).then(low).otherwise(_held(digits, held))


def _result(group: Group) -> Type:
    item = group.call.type.item
    return item if group.call.type.kind is Kind.LIST and item is not None else group.call.type


def _held(digits: pl.Expr, kind: Type) -> pl.Expr:
    """Return digits, a whole number, as a value of a type: of the last places of a decimal, or of the units of time.

    Polars has no cast that keeps the digits of a decimal: the whole part and the places are taken one by one.
    """
    dtype = dtype_of(kind)
    if not isinstance(dtype, pl.Decimal):
        return digits.cast(pl.Int64).cast(dtype)
    power = pl.lit(10**kind.scale, dtype=pl.Int128)
    size = pl.when(digits < 0).then(0 - digits).otherwise(digits)
    places = (size % power).cast(dtype) * pl.lit(Decimal(1).scaleb(-kind.scale), dtype=dtype)
    held = (size // power).cast(dtype) + places
    return pl.when(digits < 0).then(-held).otherwise(held)


def _mode(group: Group) -> pl.Expr:
    """Return the most frequent value, of several the least: DuckDB takes the one that comes first."""
    group.on_cpu()
    values = group.known.drop_nulls()
    if group.type.kind in UNORDERED:
        raise group.refuse(f"mode of {group.type} is not supported: use a part of it")
    return values.mode().sort().first()


def _arg_max(group: Group) -> pl.Expr:
    return _extreme(group, descending=True)


def _arg_min(group: Group) -> pl.Expr:
    return _extreme(group, descending=False)


def _extreme(group: Group, *, descending: bool) -> pl.Expr:
    """Return the value in the row with the least or greatest other value, or a list of those in so many rows."""
    if group.target.gpu:
        return _extreme_on_gpu(group, descending=descending)
    value, by = (group.spread(argument) for argument in group.arguments[:2])
    known = by.is_not_null()
    if group.call.function.endswith("_nulls_last"):
        known = pl.lit(value=True)
    elif not group.call.function.endswith("_null"):
        known &= value.is_not_null()
    if group.arguments[1].type.kind in UNORDERED:
        raise group.refuse(f"{group.call.function} by {group.arguments[1].type} is not supported: use a part of it")
    value, by, *_ = group.rows(known)
    found = value.sort_by(by, descending=descending, nulls_last=True, maintain_order=True)
    if len(group.arguments) < 3:
        return found.first()
    found = found.head(int(group.constant(2, "the number of values")))
    return pl.when(found.len() > 0).then(found.implode())


def _extreme_on_gpu(group: Group, *, descending: bool) -> pl.Expr:
    """Return it without a filter, which cudf-polars has none of in a group: rows that do not count are NULLs."""
    kind = group.arguments[1].type
    simple = len(group.arguments) == 2 and group.call.function in ("arg_max", "arg_min") and not group.order
    if not simple or group.call.distinct or kind.is_float or kind.kind in UNORDERED or not group.target.full_groups:
        group.on_cpu("these arguments")
    value, by = (group.spread(argument) for argument in group.arguments)
    counts = value.is_not_null() & by.is_not_null()
    if group.filter is not None:
        counts &= group.filter
    by = pl.when(counts).then(by)
    return pl.when(counts).then(value).sort_by(by, descending=descending, nulls_last=True).first()


def _mad(group: Group) -> pl.Expr:
    """Return the median distance from the median."""
    group.on_cpu()
    if not group.type.is_float and not group.type.is_integer:
        raise group.refuse(f"mad of {group.type} is not supported: cast it to DOUBLE")
    values = group.known.cast(pl.Float64).drop_nulls()
    return (values - values.median()).abs().median()


TABLE = Functions("Aggregates by order")
_add = TABLE.add
_LEFT_OUT = "rows in which either is NULL are left out"
_add(
    "arg_max",
    "ANY, ANY, ['INTEGER] -> ANY",
    does=f"The first value in the row in which the second is greatest, or a list of so many; {_LEFT_OUT}.",
    build=_arg_max,
    aliases="argmax max_by",
    none="26.04",
    some="26.10",
)
_add(
    "arg_min",
    "ANY, ANY, ['INTEGER] -> ANY",
    does=f"The first value in the row in which the second is least, or a list of so many; {_LEFT_OUT}.",
    build=_arg_min,
    aliases="argmin min_by",
    none="26.04",
    some="26.10",
)
_add(
    "arg_max_null", "ANY, ANY -> ANY", does="As arg_max, also if the value is NULL.", build=_arg_max, none=GPU_RELEASES
)
_add(
    "arg_min_null", "ANY, ANY -> ANY", does="As arg_min, also if the value is NULL.", build=_arg_min, none=GPU_RELEASES
)
_add(
    "arg_max_nulls_last",
    "ANY, ANY, ['INTEGER] -> ANY",
    does="As arg_max, NULLs last.",
    build=_arg_max,
    none=GPU_RELEASES,
)
_add(
    "arg_min_nulls_last",
    "ANY, ANY, ['INTEGER] -> ANY",
    does="As arg_min, NULLs last.",
    build=_arg_min,
    none=GPU_RELEASES,
)
_add(
    "median",
    "ANY -> ANY",
    does="The value in the middle, of numbers and moments between the middle two.",
    build=_median,
    none=GPU_RELEASES,
)
_add(
    "quantile_cont",
    "NUMBER|DATE|TIME|TIMESTAMP|INTERVAL, 'NUMBER|LIST -> ANY",
    does="The value at a fraction of the values in their order, between the two nearest; also a list of fractions.",
    build=lambda group: _each(group, lambda at: _between(group, at)),
    none=GPU_RELEASES,
)
_add(
    "quantile_disc",
    "ANY, 'NUMBER|LIST -> ANY",
    does="The value at a fraction of the values in their order; also a list of fractions.",
    build=lambda group: _each(group, lambda at: _at(group, at)),
    aliases="quantile",
    none=GPU_RELEASES,
)
_add(
    "approx_quantile",
    "NUMBER|DATE|TIMESTAMP, 'NUMBER|LIST -> ANY",
    does="The exact quantile.",
    build=_approx_quantile,
    none=GPU_RELEASES,
)
_add("mode", "ANY -> ANY", does="The most frequent value, of several the least.", build=_mode, none=GPU_RELEASES)
_add("mad", "INTEGER|FLOAT -> DOUBLE", does="The median distance from the median.", build=_mad, none=GPU_RELEASES)
