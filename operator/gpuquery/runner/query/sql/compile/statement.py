"""A whole statement: its relation under the author's names, and the types of the result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql import plan
from gpuquery.runner.query.sql.compile.cast import cast
from gpuquery.runner.query.sql.compile.relation import relation
from gpuquery.runner.query.sql.compile.values import dtype_of
from gpuquery.runner.query.sql.types import BIGINT, HUGEINT, INTEGERS, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuquery.runner.query.sql.compile.target import Target
    from gpuquery.runner.query.sql.types import Type

Shared = Mapping[int, plan.Relation]
Origin = tuple[plan.Expression | None, plan.Relation, Shared]
_NARROW = INTEGERS - {Kind.INT64, Kind.UINT64, Kind.INT128}
_CHOOSING = frozenset(
    {
        *("any_value", "arg_max", "arg_min", "coalesce", "first", "first_value", "greatest", "lag", "last"),
        *("last_value", "lead", "least", "max", "min", "nth_value", "nullif"),
    }
)
"""Functions whose result is one of the values that they are given."""


def compiled(statement: plan.Statement, frames: Mapping[str, pl.LazyFrame], target: Target) -> pl.LazyFrame:
    """Compile a statement over the inputs' frames. Raises SqlError for what the target cannot do.

    A HUGEINT of the result that is a sum of whole numbers of at most 32 bits becomes a BIGINT, which needs 2^32 rows to
    overflow, and fails then. Every other one stays DECIMAL(38, 0). A decimal that is an input's, or was cast, has its
    own digits, so that a table to which it is appended goes on with the same type; a computed one has 38.
    """
    found = relation(statement.relation, frames, target)
    values = found.values()
    exprs = []
    for index, value in enumerate(values):
        made = value.expr
        if value.type == HUGEINT and small_sum(statement.relation, index):
            made = cast(value, BIGINT, target=target).expr
        elif (own := _own(value.type)) != dtype_of(value.type) and _within(statement.relation, index, {}):
            made = made.cast(own)
        exprs.append(made)
    return found.frame.select(expr.alias(name) for expr, name in zip(exprs, statement.names, strict=True))


def _own(kind: Type) -> pl.DataType:
    """Return the dtype of a type in which decimals have the digits of their types, and not the 38 of their form."""
    match kind.kind:
        case Kind.DECIMAL:
            return pl.Decimal(kind.precision, kind.scale)
        case Kind.LIST if kind.item is not None:
            return pl.List(_own(kind.item))
        case Kind.STRUCT:
            return pl.Struct({name: _own(field) for name, field in kind.fields})
        case _:
            return dtype_of(kind)


def small_sum(node: plan.Relation, index: int) -> bool:
    """Whether a column is nothing but a sum of whole numbers of at most 32 bits (or NULL)."""
    return all(
        _summed(value) or (isinstance(value, plan.Literal) and value.value is None)
        for value, _, _ in _origins(node, index, {})
    )


def _summed(value: plan.Expression | None) -> bool:
    if not isinstance(value, plan.AggregateCall | plan.WindowCall):
        return False
    return value.function == "sum" and bool(value.arguments) and value.arguments[0].type.kind in _NARROW


def _within(node: plan.Relation, index: int, shared: Shared) -> bool:
    """Whether no value of a decimal column has more digits than its type says."""
    return all(_holds(*origin) for origin in _origins(node, index, shared))


def _holds(value: plan.Expression | None, below: plan.Relation, shared: Shared) -> bool:
    match value:
        case None:
            return isinstance(below, plan.Scan)
        case plan.Literal() | plan.Cast():
            return True
        case plan.Column():
            return _within(below, value.index, shared)
        case plan.Case():
            return all(_holds(one, below, shared) for one in (value.otherwise, *(then for _, then in value.branches)))
        case plan.Call() | plan.AggregateCall() | plan.WindowCall() if value.function in _CHOOSING:
            chosen = [one for one in value.arguments if one.type == value.type]
            return bool(chosen) and all(_holds(one, below, shared) for one in chosen)
        case _:
            return False


def _origins(node: plan.Relation, index: int, shared: Shared) -> Iterator[Origin]:
    """Yield the expressions that a column's values come from, each with the relation that it is over.

    None stands for a column of an input, over its Scan, and for what is not known, over any other relation.
    """
    match node:
        case plan.Aggregate() if index < len(node.keys) + len(node.calls):
            yield from _of([*(key.value for key in node.keys), *node.calls][index], node.input, shared)
        case plan.Window() if index >= len(node.input.fields):
            yield node.calls[index - len(node.input.fields)], node.input, shared
        case plan.Project():
            yield from _of(node.items[index].value, node.input, shared)
        case plan.Values():
            yield from ((row[index], node, shared) for row in node.rows)
        case plan.SetOperation():
            for side in node.sides:
                yield from _origins(side, index, shared)
        case plan.Join() if index < len(node.left.fields):
            yield from _origins(node.left, index, shared)
        case plan.Join() if node.kind is not plan.JoinKind.MARK:
            yield from _origins(node.right, index - len(node.left.fields), shared)
        case plan.With():
            yield from _origins(node.body, index, {**shared, node.number: node.shared})
        case plan.Reference() if node.number in shared:
            yield from _origins(shared[node.number], index, shared)
        case plan.Filter() | plan.Sort() | plan.Limit() | plan.Distinct() | plan.Window():
            yield from _origins(node.input, index, shared)
        case _:
            yield None, node, shared


def _of(value: plan.Expression, below: plan.Relation, shared: Shared) -> Iterator[Origin]:
    if isinstance(value, plan.Column):
        yield from _origins(below, value.index, shared)
    else:
        yield value, below, shared
