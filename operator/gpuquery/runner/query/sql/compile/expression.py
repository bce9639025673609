"""From an expression of a plan to a Polars expression: columns, constants, casts, operators and CASE.

Functions are looked up in their own room. Expressions may be as deep as DuckDB's binder lets them (1,000 levels), so
they are walked with a stack of their own, and chains of AND and OR become trees of little depth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from gpuquery.runner.query.sql import functions, plan
from gpuquery.runner.query.sql.compile import arithmetic, choice, far, interval, lambdas
from gpuquery.runner.query.sql.compile.cast import cast
from gpuquery.runner.query.sql.compile.compare import COMPARISONS, comparison, is_in
from gpuquery.runner.query.sql.compile.fallible import RISKY
from gpuquery.runner.query.sql.compile.literal import literal
from gpuquery.runner.query.sql.compile.scope import Scope, Walk, outside
from gpuquery.runner.query.sql.compile.values import Value
from gpuquery.runner.query.sql.errors import SqlError
from gpuquery.runner.query.sql.types import BOOLEAN, TIMESTAMPS, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.runner.query.sql.compile.target import Target

_ARITHMETIC = frozenset({"+", "-", "*", "/", "//", "%"})
_MOMENTS = TIMESTAMPS | {Kind.DATE, Kind.TIME, Kind.INTERVAL}


def expression(
    node: plan.Expression, scope: Sequence[Value], target: Target, parameters: Sequence[Sequence[Value]] = ()
) -> Value:
    """Return the compiled expression over the columns of the relation below, by position.

    `parameters` are those of the lambdas around it, the innermost first. Raises SqlError for what is not compiled.
    """
    stack = [_compiled(node, Scope(target, scope.__getitem__, lambda depth, index: parameters[depth][index]))]
    answer: Any = None
    while True:
        try:
            asked, within = stack[-1].send(answer)
        except StopIteration as done:
            stack.pop()
            value: Value = done.value
            if not stack:
                return value
            answer = value
        else:
            stack.append(_compiled(asked, within))
            answer = None


def condition(node: plan.Expression, scope: Sequence[Value], target: Target) -> pl.Expr:
    """Return a condition for a filter: rows for which it is not TRUE are left out."""
    return cast(expression(node, scope, target), BOOLEAN, place=node.place, target=target).expr


def _compiled(node: plan.Expression, scope: Scope) -> Walk:
    match node:
        case plan.Column() | plan.Parameter():
            return scope.read(node)
        case plan.Literal():
            return literal(node.value, node.type, node.place)
        case plan.Cast():
            value = yield node.input, scope
            return _cast(value, node, scope)
        case plan.Case():
            return (yield from choice.case(node, scope))
        case plan.Call(function="coalesce"):
            return (yield from choice.coalesce(node, scope))
        case plan.Call(function=name) if name in choice.LOGIC:
            return (yield from choice.logic(node, scope))
        case plan.Call() if any(isinstance(argument, plan.Lambda) for argument in node.arguments):
            return (yield from _lambda(node, scope))
        case plan.Call() if (parts := interval.months_call(node)) and not isinstance(parts[1], plan.Literal):
            moment = yield parts[0], scope
            number = yield parts[1], scope
            return interval.plus_counted_months(moment, number, parts[2], node, scope.target)
        case plan.Call():
            return (yield from _call(node, scope))
        case _:
            raise SqlError("this expression is not supported as a value of one row", node.place)


def _call(node: plan.Call, scope: Scope) -> Walk:
    near = far.without_unreachable_constants(node)
    if near is not node:
        return (yield near, scope)
    arguments: list[Value] = []
    for argument in node.arguments:
        value = yield argument, scope
        arguments.append(value)
    if scope.chosen is not None and node.function in RISKY and all(a.literal is not None for a in arguments):
        # Constants have no columns that rows with another choice would not see.
        arguments = [Value(pl.when(scope.chosen).then(a.expr), a.type) for a in arguments]
    return _applied(node, arguments, scope.target)


def _cast(value: Value, node: plan.Cast, scope: Scope) -> Value:
    made = cast(value, node.type, null_on_failure=node.null_on_failure, place=node.place, target=scope.target)
    if made.literal is None and value.literal is not None and scope.chosen is not None:
        hidden = Value(pl.when(scope.chosen).then(value.expr), value.type)
        return cast(hidden, node.type, null_on_failure=node.null_on_failure, place=node.place, target=scope.target)
    return made


def _lambda(node: plan.Call, scope: Scope) -> Walk:
    items, function = lambdas.parted(node, scope.target)
    value = yield items, scope
    outer = outside(function)
    made = lambdas.elements(value, [scope.read(part) for part in outer])
    body = yield function.body, lambdas.scope(made, function, outer, scope)
    if outer:
        return lambdas.applied(node, made, body)
    return functions.compile_call(node, [value, Value(body.expr, function.type)], scope.target)


def _applied(node: plan.Call, arguments: list[Value], target: Target) -> Value:
    match node.function, arguments:
        case "not", [value]:
            return Value(~cast(value, BOOLEAN, target=target).expr, BOOLEAN)
        case "is null", [value]:
            return Value(value.expr.is_null(), BOOLEAN)
        case "is not null", [value]:
            return Value(value.expr.is_not_null(), BOOLEAN)
        case "in", [value, *candidates]:
            return is_in(value, candidates, target)
        case name, [left, right] if name in COMPARISONS:
            return comparison(name, left, right, target, node.place)
        case name, _ if name in _ARITHMETIC and any(a.type.kind in _MOMENTS for a in arguments):
            return interval.arithmetic(name, arguments, node.type, node.place, target)
        case name, _ if name in _ARITHMETIC:
            return arithmetic.arithmetic(name, arguments, node.type, node.place, target)
        case "normalized_interval", [value]:
            return interval.normalized(value)
        case "||", [left, right] if node.type.kind is Kind.TEXT:
            return Value(left.expr + right.expr, node.type)
        case _:
            return functions.compile_call(node, arguments, target)
