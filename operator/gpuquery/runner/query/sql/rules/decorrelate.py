"""Correlated EXISTS and IN without their detour.

DuckDB 2.0 binds a sub-query that compares more than equal values with the outer row in this way: it takes the different
outer values (the domain), joins them with the sub-query's relations, and joins what is left back to the outer rows. A
semi or an anti join can ask the outer row itself: whether some row of the sub-query fulfils the conditions with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuquery.runner.query.sql.plan import (
    Aggregate,
    Call,
    Column,
    Expression,
    Filter,
    Join,
    JoinKind,
    Match,
    Project,
    Reference,
    Relation,
    Sort,
    With,
)
from gpuquery.runner.query.sql.rules.facts import can_fail, with_filters
from gpuquery.runner.query.sql.rules.join_graph import JoinGraph, attached, is_reorderable, join_graph
from gpuquery.runner.query.sql.types import BOOLEAN
from gpuquery.runner.query.sql.walk import (
    EQUALITIES,
    columns_of,
    columns_used,
    conjunction,
    conjuncts,
    on_columns,
    renumbered,
    shifted,
    substituted,
    with_inputs,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Origin = tuple[tuple[int, ...], int, int]
"""The way down to a reference, the number that it has, and the position of a column in it."""


def decorrelated(node: Relation, shared: Mapping[int, Relation] | None = None) -> Relation:
    """Return the relation with semi and anti joins that do without the outer values' domain."""
    shared = shared or {}
    if isinstance(node, With):
        part = decorrelated(node.shared, shared)
        body = decorrelated(node.body, {**shared, node.number: part})
        return with_inputs(node, [part, body])
    node = with_inputs(node, [decorrelated(below, shared) for below in node.inputs])
    if isinstance(node, Join) and node.kind in (JoinKind.SEMI, JoinKind.ANTI) and node.condition is None:
        return _direct(node, shared) or node
    return node


def origin(node: Relation, index: int, way: tuple[int, ...] = ()) -> Origin | None:
    """Return which column of which reference a column is, as it is in every row; None if it may be another value."""
    match node:
        case Reference():
            return way, node.number, index
        case Filter() | Sort():
            return origin(node.input, index, (*way, 0))
        case Project():
            value = node.items[index].value
            return origin(node.input, value.index, (*way, 0)) if isinstance(value, Column) else None
        case Join():
            width = len(node.left.fields)
            if index < width and node.kind not in (JoinKind.RIGHT, JoinKind.FULL):
                return origin(node.left, index, (*way, 0))
            if index >= width and node.kind is JoinKind.INNER:
                return origin(node.right, index - width, (*way, 1))
            return None
        case _:
            return None


@dataclass(frozen=True)
class _Domain:
    """The different values of some columns of a shared relation, as far as they fulfil conditions."""

    number: int
    keys: tuple[int, ...]
    """For each column of the domain the position in the shared relation that it is made of."""
    conditions: tuple[Expression, ...]
    """Over the columns of the domain."""


@dataclass(frozen=True)
class _Side:
    """The right side taken apart: what its columns are, and which numbers the domain's columns have."""

    graph: JoinGraph
    output: Sequence[Expression]
    numbers: range
    domain: _Domain


def _direct(node: Join, shared: Mapping[int, Relation]) -> Relation | None:
    side = _side(node.right, shared)
    if side is None:
        return None
    outer, others = _outer_values(node, side)
    if outer is None:
        return None
    graph, domain = side.graph, set(side.numbers)
    if any(attachment.needs & domain for attachment in graph.attachments):
        return None
    kept: list[Expression] = []
    moved = [shifted(condition, side.numbers.start) for condition in side.domain.conditions]
    for condition in [*graph.conditions, *map(_compared, graph.equal)]:
        (moved if columns_used(condition) & domain else kept).append(condition)
    if any(map(can_fail, kept)):  # the domain may keep rows from them
        return None
    right, places = _without_domain(graph, domain, kept)
    width = len(node.left.fields)

    def value(column: Column) -> Expression:
        """Return a column of the region over both sides of the new join."""
        found = outer.get(column.index)
        return found if found is not None else Column(type=column.type, index=width + places[column.index])

    asked = [on_columns(condition, value) for condition in moved]
    for match in others:
        right_value = on_columns(substituted(match.right, side.output), value)
        asked.append(Call(type=BOOLEAN, function=match.operator, arguments=(match.left, right_value)))
    return Join(node.left, right, node.kind, condition=conjunction(asked))


def _compared(match: Match) -> Expression:
    return Call(type=BOOLEAN, function=match.operator, arguments=(match.left, match.right))


def _side(node: Relation, shared: Mapping[int, Relation]) -> _Side | None:
    """Take the right side apart, if it is made of joins and one of its leaves is a domain."""
    output: list[Expression] = list(columns_of(node))
    while isinstance(node, Project):
        values = [item.value for item in node.items]
        output = [substituted(value, values) for value in output]
        node = node.input
    if not is_reorderable(node):
        return None
    graph = join_graph(node, lambda below: below)
    found = [(leaf, domain) for leaf in graph.leaves if (domain := _domain(leaf.relation, shared)) is not None]
    if len(found) != 1 or len(graph.leaves) < 2:
        return None
    leaf, domain = found[0]
    numbers = range(leaf.first, leaf.first + len(domain.keys))
    return _Side(graph, [substituted(value, graph.output) for value in output], numbers, domain)


def _domain(node: Relation, shared: Mapping[int, Relation]) -> _Domain | None:
    """Return what a relation is if it holds the different values of some columns of a reference."""
    conditions: list[Expression] = []
    while isinstance(node, Filter):
        conditions += conjuncts(node.condition)
        node = node.input
    made = shared.get(node.number) if isinstance(node, Reference) else node
    if not isinstance(made, Aggregate) or made.calls or made.sets is not None or made.groupings:
        return None
    if not all(isinstance(key.value, Column) for key in made.keys):
        return None
    columns = [value.index for key in made.keys if isinstance(value := key.value, Column)]
    below = made.input
    while not isinstance(below, Reference):
        match below:
            case Filter():
                if not columns_used(below.condition) <= set(columns):
                    return None
                conditions += [renumbered(part, columns.index) for part in conjuncts(below.condition)]
            case Project():
                values = [below.items[index].value for index in columns]
                columns = [value.index for value in values if isinstance(value, Column)]
                if len(columns) < len(values):
                    return None
            case _:
                return None
        below = below.input
    return _Domain(below.number, tuple(columns), tuple(conditions))


def _outer_values(node: Join, side: _Side) -> tuple[dict[int, Expression] | None, list[Match]]:
    """Return what the domain's columns are in the outer row, and the matches that are about something else.

    Every outer row must be made of a row that the domain was made of; else its values need not be in it.
    """
    outer: dict[int, Expression] = {}
    others: list[Match] = []
    ways = set()
    for match in node.matches:
        value = substituted(match.right, side.output)
        at = value.index if isinstance(value, Column) else -1
        if (
            match.operator not in EQUALITIES
            or at not in side.numbers
            or at in outer
            or not isinstance(match.left, Column)
        ):
            others.append(match)
            continue
        found = origin(node.left, match.left.index)
        if found is None or found[1:] != (side.domain.number, side.domain.keys[at - side.numbers.start]):
            return None, []
        ways.add(found[0])
        outer[at] = match.left
    if set(outer) != set(side.numbers) or len(ways) != 1:
        return None, []
    return outer, others


def _without_domain(
    graph: JoinGraph, domain: set[int], conditions: Sequence[Expression]
) -> tuple[Relation, dict[int, int]]:
    """Return the other leaves and attachments as one relation, and where it has the region's columns."""
    relation: Relation | None = None
    places: dict[int, int] = {}
    for leaf in graph.leaves:
        if leaf.first in domain:
            continue
        width = 0 if relation is None else len(relation.fields)
        places |= {leaf.first + i: width + i for i in range(len(leaf.relation.fields))}
        relation = leaf.relation if relation is None else Join(relation, leaf.relation)
    assert relation is not None
    for attachment in graph.attachments:
        width = len(relation.fields)
        relation = attached(relation, places, attachment)
        places |= {number: width + i for i, number in enumerate(attachment.added)}
    return with_filters(relation, [renumbered(condition, places.__getitem__) for condition in conditions]), places
