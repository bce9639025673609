"""Constants: what can be computed before the query runs is computed, conditions that cannot be TRUE are FALSE."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING

from gpuquery.runner.query.sql.plan import Call, Case, Cast, Expression, Filter, Join, JoinKind, Literal
from gpuquery.runner.query.sql.rules import constants
from gpuquery.runner.query.sql.rules.constants import COMPARE, boolean
from gpuquery.runner.query.sql.rules.or_factor import factored
from gpuquery.runner.query.sql.types import BOOLEAN, DATE, TIMESTAMP
from gpuquery.runner.query.sql.walk import (
    FALSE,
    FLIPPED,
    conjunction,
    conjuncts,
    disjunction,
    disjuncts,
    is_never_true,
    is_true,
    rebuilt,
    transformed,
    unique,
    with_expressions,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.runner.query.sql.plan import Relation

_OPPOSITES = {"=": "<>", "<": ">=", "<=": ">", "is null": "is not null", "is distinct from": "is not distinct from"}
_OPPOSITES |= {opposite: function for function, opposite in _OPPOSITES.items()}


def folded(node: Relation) -> Relation:
    """Return the relation with every expression in it simplified."""
    return rebuilt(node, _folded)


def _folded(node: Relation) -> Relation:
    match node:
        case Filter():
            condition = simplified_predicate(node.condition)
            return node if condition is node.condition else replace(node, condition=condition)
        case Join(condition=Expression() as condition) if node.kind is not JoinKind.MARK:
            matches = with_expressions(replace(node, condition=None), simplified)
            return replace(matches, condition=simplified_predicate(condition))  # type: ignore[call-arg]
        case _:
            return with_expressions(node, simplified)


def simplified(node: Expression) -> Expression:
    """Return an expression that has the same value for every row."""
    return transformed(node, _step)


def simplified_predicate(node: Expression) -> Expression:
    """Return a condition that is TRUE for the same rows; where it was NULL it may be FALSE."""
    return _as_predicate(simplified(node))


def _as_predicate(node: Expression) -> Expression:
    if is_never_true(node):
        return FALSE
    if not isinstance(node, Call):
        return node
    if node.function == "and":
        parts = unique([part for argument in node.arguments for part in conjuncts(_as_predicate(argument))])
        if any(is_never_true(part) for part in parts) or _contradict(parts):
            return FALSE
        return node if _same(parts, node.arguments) else conjunction(parts)
    if node.function == "or":
        parts = [part for argument in node.arguments if not is_never_true(part := _as_predicate(argument))]
        if any(is_true(part) for part in parts):
            return boolean(True, node)
        return node if _same(parts, node.arguments) else disjunction(parts)
    return node


def _same(parts: Sequence[Expression], others: Sequence[Expression]) -> bool:
    return len(parts) == len(others) and all(a is b for a, b in zip(parts, others, strict=True))


def _contradict(parts: Sequence[Expression]) -> bool:
    """Whether one condition gives a value a constant that another one excludes: x = 's' AND x = 'c'."""
    fixed: dict[Expression, Literal] = {}
    for part in parts:
        match part:
            case Call(function="=", arguments=(value, Literal() as constant)):
                fixed.setdefault(value, constant)
    for part in parts:
        match part:
            case Call(function=function, arguments=(value, Literal() as other)) if function in COMPARE and fixed:
                known = fixed.get(value)
                if known and constants.comparable(known, other) and not COMPARE[function](known.value, other.value):
                    return True
            case Call(function="in", arguments=(value, *others)) if value in fixed:
                if all(constants.comparable(fixed[value], other) for other in others) and fixed[value] not in others:
                    return True
    return False


def _step(node: Expression) -> Expression:
    match node:
        case Cast():
            return constants.cast(node)
        case Case():
            return _case(node)
        case Call():
            return _call(node)
        case _:
            return node


def _case(node: Case) -> Expression:
    branches: list[tuple[Expression, Expression]] = []
    for condition, value in node.branches:
        if is_true(condition):
            return replace(node, branches=tuple(branches), otherwise=value) if branches else _typed(value, node)
        if not is_never_true(condition):
            branches.append((condition, value))
    if not branches:
        return _typed(node.otherwise, node)
    return node if len(branches) == len(node.branches) else replace(node, branches=tuple(branches))


def _typed(value: Expression, node: Case) -> Expression:
    return value if value.type == node.type else Cast(type=node.type, input=value, place=node.place)


def _call(node: Call) -> Expression:
    match node.function:
        case "and":
            return _and(node)
        case "or":
            return _or(node)
        case "not":
            return _not(node)
        case "is null" | "is not null" if isinstance(node.arguments[0], Literal):
            return boolean((node.arguments[0].value is None) == (node.function == "is null"), node)
        case "is distinct from" | "is not distinct from":
            return _null_safe(node)
        case "in":
            return _in(node)
        case "coalesce":
            return _coalesce(node)
        case function if function in COMPARE:
            return _comparison(node)
        case _:
            return constants.calculated(node)


def _and(node: Call) -> Expression:
    parts = conjuncts(node)
    if any(isinstance(part, Literal) and part.value is False for part in parts):
        return boolean(False, node)
    parts = unique(parts)
    return node if _same(parts, node.arguments) else conjunction(parts)


def _or(node: Call) -> Expression:
    parts = disjuncts(node)
    if any(is_true(part) for part in parts):
        return boolean(True, node)
    parts = unique([part for part in parts if not (isinstance(part, Literal) and part.value is False)])
    return node if _same(parts, node.arguments) and factored(node) is node else factored(disjunction(parts))


def _not(node: Call) -> Expression:
    (value,) = node.arguments
    match value:
        case Literal():
            return boolean(None if value.value is None else not value.value, node)
        case Call(function="not", arguments=(inner,)):
            return inner
        case Call(function=function) if function in _OPPOSITES:
            return replace(value, function=_OPPOSITES[function])
        case Call(function="and" | "or" as function):
            parts = [_not(replace(node, arguments=(part,))) for part in value.arguments]
            return replace(value, function="or" if function == "and" else "and", arguments=tuple(parts))
        case _:
            return node


def _null_safe(node: Call) -> Expression:
    left, right = node.arguments
    same = node.function == "is not distinct from"
    if isinstance(left, Literal) and left.value is None:
        left, right = right, left
    if isinstance(right, Literal) and right.value is None:
        function = "is null" if same else "is not null"
        return _call(Call(type=BOOLEAN, function=function, arguments=(left,), place=node.place))
    if constants.comparable(left, right):
        return boolean((left.value == right.value) == same, node)  # type: ignore[attr-defined]
    return node


def _in(node: Call) -> Expression:
    value, *candidates = node.arguments
    if len(candidates) == 1:
        return _comparison(replace(node, function="=", arguments=(value, candidates[0])))
    if all(constants.comparable(value, candidate) for candidate in candidates):
        return boolean(value in candidates, node)
    return node


def _coalesce(node: Call) -> Expression:
    parts: list[Expression] = []
    for part in node.arguments:
        if isinstance(part, Literal):
            if part.value is None:
                continue
            parts.append(part)
            break
        parts.append(part)
    if not parts:
        return node.arguments[0]
    if len(parts) == 1 and parts[0].type == node.type:
        return parts[0]
    return node if len(parts) == len(node.arguments) else replace(node, arguments=tuple(parts))


def _comparison(node: Call) -> Expression:
    left, right = node.arguments
    if any(isinstance(side, Literal) and side.value is None for side in (left, right)):
        return boolean(None, node)
    if constants.comparable(left, right):
        return boolean(COMPARE[node.function](left.value, right.value), node)  # type: ignore[attr-defined]
    if isinstance(left, Literal) and not isinstance(right, Literal):
        function = FLIPPED.get(node.function, node.function)
        return _comparison(replace(node, function=function, arguments=(right, left)))
    if isinstance(left, Cast) and isinstance(right, Literal):
        return _unwrapped(node, left, right)
    return node


def _unwrapped(node: Call, left: Cast, right: Literal) -> Expression:
    """Compare the value itself where only its cast is compared with a constant: footers have bounds of the value."""
    inner = left.input
    if left.type == TIMESTAMP and inner.type == DATE:
        day = right.value.date()
        if right.value == dt.datetime(day.year, day.month, day.day):
            return replace(node, arguments=(inner, Literal(type=DATE, value=day, place=right.place)))
        functions = {"<": "<=", "<=": "<=", ">": ">", ">=": ">"}
        if node.function in functions:
            constant = Literal(type=DATE, value=day, place=right.place)
            return replace(node, function=functions[node.function], arguments=(inner, constant))
        return node
    wide, narrow = left.type.range, inner.type.range
    if wide and narrow and wide[0] <= narrow[0] and narrow[1] <= wide[1] and narrow[0] <= right.value <= narrow[1]:
        return replace(node, arguments=(inner, replace(right, type=inner.type)))
    return node
