"""What an expression may refer to, and in which rows it counts."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql import plan
from gpuquery.runner.query.sql.compile.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from gpuquery.runner.query.sql.compile.target import Target

_INPUT, _RESULT, _CHOSEN = "given", "result", "chosen"


@dataclass(frozen=True)
class Scope:
    """Columns and parameters, by position, and the rows in which the value is used (None: all of them)."""

    target: Target
    column: Callable[[int], Value]
    """A column of the relation below."""
    parameter: Callable[[int, int], Value]
    """A parameter of a lambda: how many lambdas out it stands, and its position."""
    chosen: pl.Expr | None = None

    def within(self, chosen: pl.Expr) -> Scope:
        """Return the scope of a part whose value counts in some rows only: in others it sees nothing but NULL."""
        return replace(
            self,
            column=lambda index: _hidden(self.column(index), chosen),
            parameter=lambda depth, index: _hidden(self.parameter(depth, index), chosen),
            chosen=chosen if self.chosen is None else self.chosen & chosen,
        )

    def read(self, node: plan.Column | plan.Parameter) -> Value:
        """Return the value of a column or a parameter."""
        return self.column(node.index) if isinstance(node, plan.Column) else self.parameter(node.depth, node.index)


Walk = Generator["tuple[plan.Expression, Scope]", Value, Value]
"""Compiles one expression: it asks for its parts, each in a scope, and returns its value."""


@dataclass(frozen=True)
class LetBinding:
    """A value that parts of an expression depend on, computed once, and their scope in which it stands.

    On the CPU value and columns become fields of a struct, for the reason that `once` tells; on GPUs they are written
    out.
    """

    value: pl.Expr
    scope: Scope
    fields: tuple[pl.Expr, ...] = ()

    def result(self, expr: pl.Expr) -> pl.Expr:
        """Return what an expression over the scope is, outside of it."""
        if not self.fields:
            return expr
        return pl.struct(*self.fields).struct.with_fields(expr.alias(_RESULT)).struct.field(_RESULT)


def let(value: pl.Expr, parts: Sequence[plan.Expression], scope: Scope) -> LetBinding:
    """Return a value, and the scope in which parts of the expression that depend on it are compiled."""
    if scope.target.gpu:
        return LetBinding(value, scope)
    free = list(dict.fromkeys(node for part in parts for node in outside(part)))
    names = {node: f"{type(node).__name__} {at}" for at, node in enumerate(free)}
    values = {node: scope.read(node) for node in free}
    fields = [v.expr.alias(names[node]) for node, v in values.items() if v.literal is None]
    inside = {n: v if v.literal is not None else Value(pl.field(names[n]), v.type) for n, v in values.items()}
    chosen = None if scope.chosen is None else pl.field(_CHOSEN)
    if scope.chosen is not None:
        fields.append(scope.chosen.alias(_CHOSEN))
    made = _scope(inside, scope.target, chosen)
    return LetBinding(pl.field(_INPUT), made, (value.alias(_INPUT), *fields))


def _scope(inside: Mapping[plan.Column | plan.Parameter, Value], target: Target, chosen: pl.Expr | None) -> Scope:
    columns = {node.index: value for node, value in inside.items() if isinstance(node, plan.Column)}
    parameters = {(n.depth, n.index): value for n, value in inside.items() if isinstance(n, plan.Parameter)}
    return Scope(target, columns.__getitem__, lambda depth, index: parameters[depth, index], chosen)


def outside(node: plan.Expression) -> list[plan.Column | plan.Parameter]:
    """Return what an expression refers to: columns, and parameters of lambdas around it, seen from where it stands."""
    found: dict[plan.Column | plan.Parameter, None] = {}
    for part, level in _levels(node):
        if isinstance(part, plan.Column):
            found[part] = None
        elif isinstance(part, plan.Parameter) and part.depth >= level:
            found[plan.Parameter(type=part.type, index=part.index, depth=part.depth - level)] = None
    return list(found)


def parts(node: plan.Expression) -> Iterator[plan.Expression]:
    """Go through an expression and everything in it."""
    return (part for part, _ in _levels(node))


def _levels(node: plan.Expression) -> Iterator[tuple[plan.Expression, int]]:
    """Go through an expression; the number counts the lambdas within it that are around a part."""
    waiting = [(node, 0)]
    while waiting:
        part, level = waiting.pop()
        yield part, level
        match part:
            case plan.Call():
                waiting += [(argument, level) for argument in part.arguments]
            case plan.Cast():
                waiting.append((part.input, level))
            case plan.Case():
                waiting += [(e, level) for branch in part.branches for e in branch] + [(part.otherwise, level)]
            case plan.Lambda():
                waiting.append((part.body, level + 1))


def _hidden(value: Value, chosen: pl.Expr) -> Value:
    return value if value.literal is not None else Value(pl.when(chosen).then(value.expr), value.type)
