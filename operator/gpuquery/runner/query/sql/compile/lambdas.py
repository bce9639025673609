"""Functions with a lambda, whose body may also use columns of the row that holds the list.

Polars computes a body over the elements of a list, and lets it see nothing else. So the columns travel in the list: it
becomes a list of records, of an element each, with one record more in front that holds the columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql import plan
from gpuquery.runner.query.sql.compile.scope import Scope
from gpuquery.runner.query.sql.compile.values import Value, dtype_of
from gpuquery.runner.query.sql.errors import SqlError
from gpuquery.runner.query.sql.functions.known import unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.runner.query.sql.compile.target import Target
    from gpuquery.runner.query.sql.types import Type

_ELEMENT = "element"
FUNCTIONS = frozenset({"list_transform", "list_filter"})


@dataclass(frozen=True)
class Elements:
    """A list whose elements a body is computed over: as it is, or with values of the row in front."""

    items: pl.Expr
    element: pl.Expr
    number: pl.Expr
    """The element's place in the list, from 1."""
    outer: tuple[pl.Expr, ...] = ()

    def evaluated(self, body: pl.Expr) -> pl.Expr:
        """Return the list of what the body is for each element."""
        each = pl.when(self.number >= 0).then(body)
        return self.items.list.eval(each)

    def kept(self, body: pl.Expr) -> pl.Expr:
        """Return the list of the elements for which the body is TRUE."""
        return self.items.list.eval(self.element.filter(pl.when(self.number >= 0).then(body)))


def elements(value: Value, outer: Sequence[Value]) -> Elements:
    """Return a list's elements together with values of the row."""
    number = pl.int_range(1, pl.len() + 1)
    if not outer or value.type.item is None:
        return Elements(value.expr, pl.element(), number)
    kinds = [value.type.item, *(v.type for v in outer)]
    names = [_ELEMENT, *(f"outer {i}" for i in range(len(outer)))]
    nothing = [pl.lit(None, dtype=dtype_of(kind)).alias(name) for kind, name in zip(kinds, names, strict=True)]
    held = [v.expr.alias(name) for v, name in zip(outer, names[1:], strict=True)]
    front = pl.concat_list(pl.struct(nothing[0], *held))
    each = value.expr.list.eval(pl.struct(pl.element().alias(_ELEMENT), *nothing[1:]))
    return Elements(
        pl.concat_list(front, each),
        pl.element().struct.field(_ELEMENT).slice(1),
        pl.int_range(1, pl.len()),
        tuple(pl.element().struct.field(name).first() for name in names[1:]),
    )


def scope(made: Elements, node: plan.Lambda, outer: Sequence[plan.Column | plan.Parameter], around: Scope) -> Scope:
    """Return the scope of a lambda's body."""
    own = parameters(made, node.parameters)
    held = {part: Value(expr, part.type) for part, expr in zip(outer, made.outer, strict=True)}
    columns = {part.index: value for part, value in held.items() if isinstance(part, plan.Column)}
    others = {(p.depth, p.index): value for p, value in held.items() if isinstance(p, plan.Parameter)}
    return Scope(
        around.target, columns.__getitem__, lambda depth, index: others[depth - 1, index] if depth else own[index]
    )


def applied(node: plan.Call, made: Elements, body: Value) -> Value:
    """Return a call with a lambda whose body uses values of the row."""
    found = made.kept(body.expr) if node.function == "list_filter" else made.evaluated(body.expr)
    return Value(found, node.type)


def parted(node: plan.Call, target: Target) -> tuple[plan.Expression, plan.Lambda]:
    """Return the list and the lambda of a call. Raises SqlError for a function or a target that cannot."""
    if target.gpu:
        raise SqlError(f"{node.function} with a lambda does not run on GPUs: use engine: cpu", node.place)
    match node.arguments:
        case [items, plan.Lambda() as function] if node.function in FUNCTIONS:
            return items, function
        case _:
            raise unknown(node.function, FUNCTIONS, node.place)


def parameters(made: Elements, kinds: Sequence[Type]) -> list[Value]:
    """Return a lambda's parameters: the element, and its place in the list."""
    numbers = made.number.cast(pl.Int64)
    return [Value(expr, kind) for expr, kind in zip((made.element, numbers), kinds, strict=False)]
