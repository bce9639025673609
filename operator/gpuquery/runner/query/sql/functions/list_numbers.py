"""Aggregates of a list's elements, vectors, and what a lambda does with each element."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.compile.failures import fail_where
from gpuquery.runner.query.sql.functions.lists import size
from gpuquery.runner.query.sql.functions.table import Table, null_unless_all_known
from gpuquery.runner.query.sql.types import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuquery.runner.query.sql.functions.table import FunctionCall

TABLE = Table("Elements of lists")

# Aggregates


def _there(items: pl.Expr) -> pl.Expr:
    return items.list.drop_nulls()


def _unless_empty(found: pl.Expr, items: pl.Expr) -> pl.Expr:
    return pl.when(size(items) > 0).then(found)


def _sum(call: FunctionCall) -> pl.Expr:
    """Add elements up, whole numbers and decimals with 38 digits."""
    items, item = _there(call.exprs[0]), call.values[0].type.item
    number = pl.element().cast(pl.Int32) if item is not None and item.kind is Kind.BOOLEAN else pl.element()
    return _unless_empty(items.list.eval(number.cast(call.dtype)).list.sum(), items)


def _avg(call: FunctionCall) -> pl.Expr:
    items, item = _there(call.exprs[0]), call.values[0].type.item
    assert item is not None
    exact = pl.Decimal(38, item.scale) if not item.is_float else pl.Float64
    total = items.list.eval(pl.element().cast(exact)).list.sum().cast(pl.Float64)
    return _unless_empty(total / size(items), items)


def _least(call: FunctionCall) -> pl.Expr:
    return _there(call.exprs[0]).list.sort().list.first()


def _greatest(call: FunctionCall) -> pl.Expr:
    """Sort: to Polars' maximum NaN is nothing, to SQL it is the greatest number."""
    return _there(call.exprs[0]).list.sort().list.last()


def _product(call: FunctionCall) -> pl.Expr:
    items = _there(call.exprs[0])
    return _unless_empty(items.list.eval(pl.element().cast(pl.Float64).product()).list.first(), items)


def _spread(name: str, ddof: int) -> Callable[[FunctionCall], pl.Expr]:
    def build(call: FunctionCall) -> pl.Expr:
        items = _there(call.exprs[0]).list.eval(pl.element().cast(pl.Float64))
        return getattr(items.list, name)(ddof=ddof)  # type: ignore[no-any-return]

    return build


def _median(call: FunctionCall) -> pl.Expr:
    item = call.values[0].type.item
    if item is None or not item.is_number:
        raise call.refuse("the median of a list is for numbers")
    return _there(call.exprs[0]).list.eval(pl.element().cast(pl.Float64)).list.median()


def _string_agg(call: FunctionCall) -> pl.Expr:
    items = _there(call.exprs[0])
    return _unless_empty(items.list.join(call.constant(2) if len(call.values) > 2 else ","), items)


def _bits(name: str) -> Callable[[FunctionCall], pl.Expr]:
    def build(call: FunctionCall) -> pl.Expr:
        items = _there(call.exprs[0])
        return _unless_empty(items.list.eval(getattr(pl.element(), name)()).list.first(), items).cast(call.dtype)

    return build


AGGREGATES: dict[str, Callable[[FunctionCall], pl.Expr]] = {
    "sum": _sum,
    "avg": _avg,
    "mean": _avg,
    "min": _least,
    "max": _greatest,
    "count": lambda call: size(_there(call.exprs[0])),
    "first": lambda call: call.exprs[0].list.first(),
    "last": lambda call: call.exprs[0].list.last(),
    "any_value": lambda call: _there(call.exprs[0]).list.first(),
    "product": _product,
    "median": _median,
    "stddev_samp": _spread("std", 1),
    "stddev": _spread("std", 1),
    "stddev_pop": _spread("std", 0),
    "var_samp": _spread("var", 1),
    "variance": _spread("var", 1),
    "var_pop": _spread("var", 0),
    "bool_and": lambda call: _unless_empty(_there(call.exprs[0]).list.all(), _there(call.exprs[0])),
    "bool_or": lambda call: _unless_empty(_there(call.exprs[0]).list.any(), _there(call.exprs[0])),
    "bit_and": _bits("bitwise_and"),
    "bit_or": _bits("bitwise_or"),
    "bit_xor": _bits("bitwise_xor"),
    "string_agg": _string_agg,
}


def _aggregate(call: FunctionCall) -> pl.Expr:
    name = call.constant(1)
    build = AGGREGATES.get(name)
    if build is None:
        raise call.refuse(f"lists have no aggregate '{name}'; known are {', '.join(sorted(AGGREGATES))}", 1)
    return build(call).cast(call.dtype)


TABLE.add(
    "list_aggregate", "LIST, 'VARCHAR, ['ANY] -> ANY", build=_aggregate,
    aliases="list_aggr array_aggr array_aggregate aggregate",
    does="An aggregate of a list's elements by its name, such as 'sum': see list_sum and its relatives.",
)  # fmt: skip

# Vectors


def _vectors(call: FunctionCall) -> tuple[pl.Expr, pl.Expr]:
    """Return two lists of numbers as DOUBLE; they must have one length and no NULL."""
    name = call.node.function
    a, b = (expr.cast(pl.List(pl.Float64)) for expr in call.exprs)
    a = fail_where(a, size(a) != size(b), f"the lists of {name} have different lengths", call.place)
    for part in (a, b):
        a = fail_where(a, part.list.contains(pl.lit(None, pl.Float64)), f"a list of {name} contains NULL", call.place)
    return a, b


def _dot(a: pl.Expr, b: pl.Expr) -> pl.Expr:
    return (a * b).list.sum()


def _vector(build: Callable[[pl.Expr, pl.Expr], pl.Expr]) -> Callable[[FunctionCall], pl.Expr]:
    def of(call: FunctionCall) -> pl.Expr:
        if call.type.kind is Kind.FLOAT:
            raise call.refuse(f"{call.node.function} is for lists of DOUBLE: cast them")
        a, b = _vectors(call)
        return null_unless_all_known(build(a, b), a, b)

    return of


def _cosine(a: pl.Expr, b: pl.Expr) -> pl.Expr:
    found = _dot(a, b) / (_dot(a, a) * _dot(b, b)).sqrt()
    # To Polars NaN, which two vectors of zeros have, is greater than 1.
    return pl.when(found.is_nan()).then(found).when(found > 1).then(1.0).when(found < -1).then(-1.0).otherwise(found)


for _name, _aliases, _does, _build in (
    ("list_inner_product", "list_dot_product array_inner_product array_dot_product", "The inner product.", _dot),
    (
        "list_negative_inner_product", "list_negative_dot_product", "The inner product with the other sign.",
        lambda a, b: 0 - _dot(a, b),
    ),
    ("list_distance", "<->", "The Euclidean distance.", lambda a, b: _dot(a - b, a - b).sqrt()),
    ("list_cosine_similarity", "", "The cosine of the angle between them.", _cosine),
    ("list_cosine_distance", "<=>", "1 less the cosine of the angle between them.", lambda a, b: 1 - _cosine(a, b)),
):  # fmt: skip
    TABLE.add(
        _name, "LIST, LIST -> DOUBLE", does=f"{_does[:-1]} of two vectors.", build=_vector(_build), aliases=_aliases
    )

# Lambdas


def _body(call: FunctionCall) -> pl.Expr:
    """Return the body of the lambda over `pl.element()`, one value for each element even where it is a constant."""
    element = pl.element()
    return pl.when(element.is_null() | element.is_not_null()).then(call.exprs[1])


def _transform(call: FunctionCall) -> pl.Expr:
    return call.exprs[0].list.eval(_body(call)).cast(call.dtype)


def _filter(call: FunctionCall) -> pl.Expr:
    return call.exprs[0].list.eval(pl.element().filter(_body(call)))


TABLE.add(
    "list_transform", "LIST, LAMBDA -> LIST", build=_transform, aliases="list_apply array_transform array_apply apply",
    does="What a lambda makes of each element: `list_transform(a, lambda x: x + 1)`, `[x + 1 FOR x IN a]`. "
    "It may use columns of the row.",
)  # fmt: skip
TABLE.add(
    "list_filter", "LIST, LAMBDA -> LIST", build=_filter, aliases="array_filter filter",
    does="The elements for which a lambda is TRUE: `list_filter(a, lambda x: x > 1)`. It may use columns of the row.",
)  # fmt: skip
