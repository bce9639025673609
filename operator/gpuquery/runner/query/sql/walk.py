"""Walks over plans: the parts of a node, the node with other parts, and columns under new numbers.

A node whose parts do not change is returned itself, so that `is` tells whether a rule has done anything: comparing
plans by value would cost more than the rules.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from gpuquery.runner.query.sql.plan import (
    Aggregate,
    AggregateCall,
    Bound,
    Call,
    Case,
    Cast,
    Column,
    Distinct,
    Expression,
    Filter,
    Frame,
    Item,
    Join,
    Lambda,
    Limit,
    Literal,
    Match,
    Parameter,
    Project,
    Recursive,
    Relation,
    SetOperation,
    Sort,
    SortKey,
    Unnest,
    Values,
    Window,
    WindowCall,
    With,
)
from gpuquery.runner.query.sql.types import BOOLEAN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    Change = Callable[[Expression], Expression]

N = TypeVar("N")

TRUE = Literal(type=BOOLEAN, value=True)
FALSE = Literal(type=BOOLEAN, value=False)
EQUALITIES = frozenset({"=", "is not distinct from"})
FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
"""The comparison with its sides swapped; every other one is its own."""


# Expressions


def operands(node: Expression) -> tuple[Expression, ...]:
    """Return the expressions directly within one."""
    match node:
        case Call():
            return node.arguments
        case Cast():
            return (node.input,)
        case Case():
            return (*(part for branch in node.branches for part in branch), node.otherwise)
        case Lambda():
            return (node.body,)
        case AggregateCall():
            return (*node.arguments, *_optional(node.filter), *_values(node.order))
        case WindowCall():
            bounds = (node.frame.start.offset, node.frame.end.offset) if node.frame else ()
            keys = (*_values(node.order), *_values(node.argument_order))
            return (*node.arguments, *node.partition, *keys, *_optional(node.filter, *bounds))
        case _:
            return ()


def with_operands(node: Expression, change: Change) -> Expression:
    """Return the expression with each part directly within it changed."""
    match node:
        case Column() | Literal() | Parameter():
            return node
        case Call():
            arguments = _each(node.arguments, change)
            return node if arguments is node.arguments else replace(node, arguments=arguments)
        case Cast():
            new = change(node.input)
            return node if new is node.input else replace(node, input=new)
        case Case():
            flat = _each(operands(node), change)
            if all(a is b for a, b in zip(flat, operands(node), strict=True)):
                return node
            branches = tuple(zip(flat[:-1:2], flat[1:-1:2], strict=True))
            return replace(node, branches=branches, otherwise=flat[-1])
        case Lambda():
            body = change(node.body)
            return node if body is node.body else replace(node, body=body)
        case AggregateCall():
            found: dict[str, Any] = {
                "arguments": _each(node.arguments, change),
                "filter": node.filter and change(node.filter),
                "order": with_keys(node.order, change),
            }
            return _replaced(node, found)
        case WindowCall():
            return _replaced(node, _of_window(node, change))
        case _:
            raise TypeError(f"no expression is known as {type(node).__name__}")


def transformed(node: Expression, change: Change) -> Expression:
    """Return the expression with `change` done to every part of it, the innermost first."""
    return change(with_operands(node, lambda part: transformed(part, change)))


def on_columns(node: Expression, change: Callable[[Column], Expression]) -> Expression:
    """Return the expression with each column of the relation below replaced."""
    if isinstance(node, Column):
        return change(node)
    return with_operands(node, lambda part: on_columns(part, change))


def substituted(node: Expression, values: Sequence[Expression]) -> Expression:
    """Return the expression with the value at its position in place of each column, as through a projection."""
    return on_columns(node, lambda column: values[column.index])


def renumbered(node: Expression, numbers: Callable[[int], int]) -> Expression:
    """Return the expression with other positions of its columns."""

    def change(column: Column) -> Expression:
        index = numbers(column.index)
        return column if index == column.index else replace(column, index=index)

    return on_columns(node, change)


def shifted(node: Expression, by: int) -> Expression:
    """Return the expression with positions moved, as for the right side of a join."""
    return node if by == 0 else renumbered(node, lambda index: index + by)


def subexpressions(node: Expression) -> Iterator[Expression]:
    """Yield the expression and everything in it."""
    yield node
    for part in operands(node):
        yield from subexpressions(part)


def columns_used(*nodes: Expression | None) -> set[int]:
    """Return the positions of all columns in the expressions."""
    return {
        part.index for node in nodes if node is not None for part in subexpressions(node) if isinstance(part, Column)
    }


def conjuncts(node: Expression | None) -> list[Expression]:
    """Return the conditions that must all be TRUE for the condition to be TRUE."""
    if node is None:
        return []
    if isinstance(node, Call) and node.function == "and":
        return [part for argument in node.arguments for part in conjuncts(argument)]
    return [] if is_true(node) else [node]


def disjuncts(node: Expression) -> list[Expression]:
    """Return the conditions of which one must be TRUE for the condition to be TRUE."""
    if isinstance(node, Call) and node.function == "or":
        return [part for argument in node.arguments for part in disjuncts(argument)]
    return [node]


def conjunction(nodes: Sequence[Expression]) -> Expression:
    """Return one condition for all of them."""
    return _joined("and", nodes) if nodes else TRUE


def disjunction(nodes: Sequence[Expression]) -> Expression:
    """Return one condition for any of them."""
    return _joined("or", nodes) if nodes else FALSE


def is_true(node: Expression) -> bool:
    """Whether it is the constant TRUE."""
    return isinstance(node, Literal) and node.value is True


def is_value(node: Expression) -> bool:
    """Whether it is a constant other than NULL."""
    return isinstance(node, Literal) and node.value is not None


def is_never_true(node: Expression) -> bool:
    """Whether it is the constant FALSE or NULL."""
    return isinstance(node, Literal) and (node.value is False or node.value is None)


def unique(nodes: Iterable[Expression]) -> list[Expression]:
    """Return the expressions without repetitions, in their order."""
    return list(dict.fromkeys(nodes))


def columns_of(relation: Relation) -> list[Column]:
    """Return a relation's columns as expressions over it."""
    return [Column(type=field.type, index=index) for index, field in enumerate(relation.fields)]


def identity_items(relation: Relation) -> tuple[Item, ...]:
    """Return items that give a relation's columns as they are."""
    return tuple(Item(Column(type=f.type, index=i), f.name) for i, f in enumerate(relation.fields))


def _joined(function: str, nodes: Sequence[Expression]) -> Expression:
    return nodes[0] if len(nodes) == 1 else Call(type=BOOLEAN, function=function, arguments=tuple(nodes))


def _optional(*nodes: Expression | None) -> tuple[Expression, ...]:
    return tuple(node for node in nodes if node is not None)


def _values(keys: tuple[SortKey, ...]) -> tuple[Expression, ...]:
    return tuple(key.value for key in keys)


def _each(nodes: tuple[Expression, ...], change: Change) -> tuple[Expression, ...]:
    new = tuple([change(node) for node in nodes])
    return nodes if all(a is b for a, b in zip(nodes, new, strict=True)) else new


def with_keys(keys: tuple[SortKey, ...], change: Change) -> tuple[SortKey, ...]:
    """Return the keys of an order with their values changed."""
    new = _each(_values(keys), change)
    if all(key.value is value for key, value in zip(keys, new, strict=True)):
        return keys
    return tuple(replace(key, value=value) for key, value in zip(keys, new, strict=True))


def _replaced(node: N, found: dict[str, Any]) -> N:
    changed = {name: value for name, value in found.items() if value is not getattr(node, name)}
    return replace(node, **changed) if changed else node  # type: ignore[type-var]


def _of_window(node: WindowCall, change: Change) -> dict[str, Any]:
    return {
        "arguments": _each(node.arguments, change),
        "partition": _each(node.partition, change),
        "order": with_keys(node.order, change),
        "frame": node.frame and _framed(node.frame, change),
        "filter": node.filter and change(node.filter),
        "argument_order": with_keys(node.argument_order, change),
    }


def _framed(frame: Frame, change: Change) -> Frame:
    def bound(old: Bound) -> Bound:
        return _replaced(old, {"offset": old.offset and change(old.offset)})

    return _replaced(frame, {"start": bound(frame.start), "end": bound(frame.end)})


# Relations


def with_inputs(node: Relation, inputs: Sequence[Relation]) -> Relation:
    """Return the relation over other inputs, which have the same columns."""
    if all(a is b for a, b in zip(node.inputs, inputs, strict=True)):
        return node
    match node:
        case Join():
            return replace(node, left=inputs[0], right=inputs[1])
        case SetOperation():
            return replace(node, sides=tuple(inputs))
        case With():
            return replace(node, shared=inputs[0], body=inputs[1])
        case Recursive():
            return replace(node, base=inputs[0], step=inputs[1])
        case _:
            return replace(node, input=inputs[0])  # type: ignore[call-arg]


def rebuilt(node: Relation, change: Callable[[Relation], Relation]) -> Relation:
    """Return the relation with `change` done to every relation in it, the lowest first."""
    return change(with_inputs(node, [rebuilt(below, change) for below in node.inputs]))


def relations(node: Relation) -> Iterator[Relation]:
    """Yield the relation and all below it."""
    yield node
    for below in node.inputs:
        yield from relations(below)


def _items(items: tuple[Item, ...], change: Change) -> tuple[Item, ...]:
    old = tuple([item.value for item in items])
    new = _each(old, change)
    return items if new is old else tuple(Item(value, item.name) for value, item in zip(new, items, strict=True))


def _matches(matches: tuple[Match, ...], left: Change, right: Change) -> tuple[Match, ...]:
    new = tuple([Match(left(m.left), right(m.right), m.operator) for m in matches])
    same = all(a.left is b.left and a.right is b.right for a, b in zip(matches, new, strict=True))
    return matches if same else new


def with_expressions(node: Relation, change: Change) -> Relation:
    """Return the relation with every expression that it holds itself changed; columns keep their numbers."""
    match node:
        case Filter():
            return _replaced(node, {"condition": change(node.condition)})
        case Project():
            return _replaced(node, {"items": _items(node.items, change)})
        case Join():
            matches = _matches(node.matches, change, change)
            return _replaced(node, {"matches": matches, "condition": node.condition and change(node.condition)})
        case Aggregate():
            return _replaced(node, {"keys": _items(node.keys, change), "calls": _each(node.calls, change)})
        case Window():
            return _replaced(node, {"calls": _each(node.calls, change)})
        case Sort():
            return _replaced(node, {"keys": with_keys(node.keys, change)})
        case Limit():
            return _replaced(node, {"ties": with_keys(node.ties, change)})
        case Distinct():
            return _replaced(node, {"on": _each(node.on, change), "order": with_keys(node.order, change)})
        case Unnest():
            return _replaced(node, {"lists": _items(node.lists, change)})
        case Values():
            rows = tuple([_each(row, change) for row in node.rows])
            same = all(a is b for a, b in zip(rows, node.rows, strict=True))
            return node if same else replace(node, rows=rows)
        case _:
            return node


def own_expressions(node: Relation) -> tuple[Expression, ...]:
    """Return the expressions over the columns of the one relation below, of relations that have just one."""
    match node:
        case Filter():
            return (node.condition,)
        case Project():
            return tuple(item.value for item in node.items)
        case Aggregate():
            return (*(item.value for item in node.keys), *node.calls)
        case Window():
            return node.calls
        case Sort():
            return _values(node.keys)
        case Limit():
            return _values(node.ties)
        case Distinct():
            return (*node.on, *_values(node.order))
        case Unnest():
            return tuple(item.value for item in node.lists)
        case _:
            return ()


def empty_relation(node: Relation) -> Values:
    """Return a relation with the same columns and no row."""
    return Values(rows=(), columns=node.fields)
