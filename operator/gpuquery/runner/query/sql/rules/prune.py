"""Columns that nobody uses are not computed, carried or read; projections over projections become one.

A walk from the top tells each relation which of its columns are needed. It returns the relation without the others, and
where the needed ones stand then. A relation keeps one column at least, as its rows count even where no column does.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gpuquery.runner.query.sql.plan import (
    Aggregate,
    Column,
    Distinct,
    Expression,
    Filter,
    Item,
    Join,
    JoinKind,
    Limit,
    Literal,
    Match,
    Project,
    Recursive,
    Reference,
    Relation,
    Scan,
    SetKind,
    SetOperation,
    Sort,
    Unnest,
    Values,
    Window,
    With,
)
from gpuquery.runner.query.sql.rules.facts import is_volatile
from gpuquery.runner.query.sql.types import Kind
from gpuquery.runner.query.sql.walk import (
    columns_used,
    identity_items,
    own_expressions,
    rebuilt,
    renumbered,
    subexpressions,
    substituted,
    with_expressions,
    with_inputs,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Pruned = tuple[Relation, dict[int, int]]
"""A relation, and where in it the needed columns stand."""
_WIDE = frozenset({Kind.TEXT, Kind.BINARY, Kind.LIST, Kind.STRUCT})


def pruned(node: Relation) -> Relation:
    """Return the relation, with the same columns, without what it does not need."""
    new, places = _Prune().of(node, set(range(len(node.fields))))
    return merged(_projected(new, places, node))


def merged(node: Relation) -> Relation:
    """Return the relation with projections over projections as one, and without those that change nothing."""
    return rebuilt(node, _merged)


def _merged(node: Relation) -> Relation:
    if not isinstance(node, Project):
        return node
    if _is_same(node):
        return node.input
    below = node.input
    if not isinstance(below, Project):
        return node
    values = [item.value for item in below.items]
    uses = [part.index for item in node.items for part in subexpressions(item.value) if isinstance(part, Column)]
    for i, value in enumerate(values):
        if not isinstance(value, Column | Literal) and (uses.count(i) > 1 or is_volatile(value)):
            return node
    items = tuple(Item(substituted(item.value, values), item.name) for item in node.items)
    return _merged(Project(below.input, items))


def _is_same(node: Project) -> bool:
    """Whether a projection gives the columns below as they are; their names may differ."""
    columns = (item.value.index if isinstance(item.value, Column) else -1 for item in node.items)
    return list(columns) == list(range(len(node.input.fields)))


def _projected(node: Relation, places: dict[int, int], old: Relation) -> Relation:
    """Return a pruned relation with the columns that the old one had, in their order."""
    items = [Item(Column(type=f.type, index=places[i]), f.name) for i, f in enumerate(old.fields)]
    return Project(node, tuple(items))


def _new_positions(indexes: Iterable[int]) -> dict[int, int]:
    return {index: place for place, index in enumerate(sorted(indexes))}


def _cheapest_column(node: Relation) -> int:
    """Return the column that is the cheapest to keep."""
    return min(range(len(node.fields)), key=lambda i: node.fields[i].type.kind in _WIDE)


class _Prune:
    """One walk. It knows which columns of the shared relations are needed by the references that it has seen."""

    def __init__(self) -> None:
        self._needed: dict[int, set[int]] = {}

    def of(self, node: Relation, needed: set[int]) -> Pruned:  # noqa: PLR0912
        """Return the relation without columns that are not needed."""
        if not needed and node.fields:
            needed = {_cheapest_column(node)}
        match node:
            case Scan() | Values():
                return self._leaf(node, needed)
            case Reference():
                self._needed.setdefault(node.number, set()).update(needed)
                items = identity_items(node)
                return Project(node, tuple(items[i] for i in sorted(needed))), _new_positions(needed)
            case Project():
                return self._project(node, needed)
            case Filter() | Sort() | Limit():
                return self._row_filter_or_order(node, needed)
            case Distinct() if node.on:
                return self._row_filter_or_order(node, needed)
            case Join():
                return self._join(node, needed)
            case Aggregate():
                return self._aggregate(node, needed)
            case Window():
                return self._window(node, needed)
            case Unnest():
                return self._unnest(node, needed)
            case SetOperation() if node.kind is SetKind.UNION and node.all:
                return self._union(node, needed)
            case With():
                return self._with(node, needed)
            case _:
                return self._whole(node)

    def _whole(self, node: Relation) -> Pruned:
        """Keep all columns: they decide what the rows are."""
        every = range(len(node.fields))
        inputs = []
        for below in node.inputs:
            inputs.append(_projected(*self.of(below, set(every)), below))
        if isinstance(node, Recursive):
            self._needed.pop(node.number, None)
        return with_inputs(node, inputs), {i: i for i in every}

    def _leaf(self, node: Scan | Values, needed: set[int]) -> Pruned:
        places = _new_positions(needed)
        columns = tuple(node.columns[i] for i in places)
        if len(columns) == len(node.columns):
            return node, places
        if isinstance(node, Values):
            return Values(tuple(tuple(row[i] for i in places) for row in node.rows), columns), places
        return replace(node, columns=columns), places

    def _project(self, node: Project, needed: set[int]) -> Pruned:
        places = _new_positions(needed)
        items = [node.items[i] for i in places]
        below, moved = self.of(node.input, columns_used(*(item.value for item in items)))
        new = tuple(Item(renumbered(item.value, moved.__getitem__), item.name) for item in items)
        return Project(below, new), places

    def _row_filter_or_order(self, node: Relation, needed: set[int]) -> Pruned:
        """Relations that leave out or order rows by some columns."""
        used = columns_used(*own_expressions(node))
        below, places = self.of(node.inputs[0], needed | used)
        new = with_expressions(node, lambda value: renumbered(value, places.__getitem__))
        return with_inputs(new, [below]), places

    def _join(self, node: Join, needed: set[int]) -> Pruned:
        width = len(node.left.fields)
        both = columns_used(node.condition)
        if node.kind is not JoinKind.MARK and node.kind not in (JoinKind.SEMI, JoinKind.ANTI):
            both |= needed
        left = {i for i in both | needed if i < width} | columns_used(*(m.left for m in node.matches))
        right = {i - width for i in both if i >= width} | columns_used(*(m.right for m in node.matches))
        one, here = self.of(node.left, left)
        other, there = self.of(node.right, right)
        places = {**here, **{width + i: len(one.fields) + place for i, place in there.items()}}
        matches = tuple(
            Match(renumbered(m.left, here.__getitem__), renumbered(m.right, there.__getitem__), m.operator)
            for m in node.matches
        )
        condition = node.condition and renumbered(node.condition, places.__getitem__)
        new = replace(node, left=one, right=other, matches=matches, condition=condition)
        if node.kind is JoinKind.MARK:
            places[width] = len(one.fields)
        return new, places

    def _aggregate(self, node: Aggregate, needed: set[int]) -> Pruned:
        """Keys stay, as they make the groups."""
        first = len(node.keys)
        last = first + len(node.calls)
        calls = sorted(i for i in needed if first <= i < last)
        groupings = sorted(i for i in needed if i >= last)
        chosen = [node.calls[i - first] for i in calls]
        used = columns_used(*(key.value for key in node.keys), *chosen)
        below, moved = self.of(node.input, used)
        kept = [*calls, *groupings]
        new = replace(
            node,
            input=below,
            calls=tuple(chosen),
            groupings=tuple(node.groupings[i - last] for i in groupings),
            names=tuple(node.names[i - first] for i in kept) if node.names else (),
        )
        places = {i: place for place, i in enumerate([*range(first), *kept])}
        return with_expressions(new, lambda value: renumbered(value, moved.__getitem__)), places

    def _window(self, node: Window, needed: set[int]) -> Pruned:
        width = len(node.input.fields)
        calls = sorted(i for i in needed if i >= width)
        chosen = [node.calls[i - width] for i in calls]
        below, moved = self.of(node.input, {i for i in needed if i < width} | columns_used(*chosen))
        if not chosen:
            return below, moved
        names = tuple(node.names[i - width] for i in calls) if node.names else ()
        new = replace(node, input=below, calls=tuple(chosen), names=names)
        places = {**moved, **{i: len(below.fields) + place for place, i in enumerate(calls)}}
        return with_expressions(new, lambda value: renumbered(value, moved.__getitem__)), places

    def _unnest(self, node: Unnest, needed: set[int]) -> Pruned:
        """Lists stay, as they make the rows."""
        width = len(node.input.fields)
        used = columns_used(*(item.value for item in node.lists))
        below, moved = self.of(node.input, {i for i in needed if i < width} | used)
        new = with_expressions(replace(node, input=below), lambda value: renumbered(value, moved.__getitem__))
        return new, {**moved, **{width + i: len(below.fields) + i for i in range(len(node.lists))}}

    def _union(self, node: SetOperation, needed: set[int]) -> Pruned:
        places = _new_positions(needed)
        sides = []
        for side in node.sides:
            below, moved = self.of(side, needed)
            sides.append(_in_order(below, [moved[i] for i in places]))
        return replace(node, sides=tuple(sides)), places

    def _with(self, node: With, needed: set[int]) -> Pruned:
        body, places = self.of(node.body, needed)
        used = self._needed.pop(node.number, set())
        if not used:
            return body, places
        shared, moved = self.of(node.shared, used)
        body = rebuilt(body, lambda below: _referring(below, node.number, shared, moved))
        return replace(node, shared=shared, body=body), places


def _in_order(node: Relation, places: Sequence[int]) -> Relation:
    if list(places) == list(range(len(node.fields))):
        return node
    fields = node.fields
    return Project(node, tuple(Item(Column(type=fields[i].type, index=i), fields[i].name) for i in places))


def _referring(node: Relation, number: int, shared: Relation, moved: dict[int, int]) -> Relation:
    """Return the projection over a reference, which stands over each one now, over the columns that are left."""
    if not (isinstance(node, Project) and isinstance(node.input, Reference) and node.input.number == number):
        return node
    reference = Reference(number, shared.fields)

    def at(value: Expression) -> Expression:
        return renumbered(value, moved.__getitem__)

    return Project(reference, tuple(Item(at(item.value), item.name) for item in node.items))
