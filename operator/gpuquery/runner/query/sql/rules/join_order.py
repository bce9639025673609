"""The order of joins: of all pairs of relations, the one whose join has the fewest rows comes first (greedy).

Greedy operator ordering (Fegaras, 1998) makes bushy trees in a time that is quadratic in the number of relations. A
cross product comes when nothing else is left. Without statistics all inputs have the same size, and conditions still
count.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gpuquery.runner.query.sql.plan import (
    Call,
    Column,
    Expression,
    Item,
    Join,
    JoinKind,
    Match,
    Project,
    Relation,
    With,
)
from gpuquery.runner.query.sql.rules.estimate import Estimate, Estimates, pair_rows
from gpuquery.runner.query.sql.rules.facts import with_filters
from gpuquery.runner.query.sql.rules.join_graph import Attachment, JoinGraph, Leaf, attached, is_reorderable, join_graph
from gpuquery.runner.query.sql.types import BOOLEAN
from gpuquery.runner.query.sql.walk import columns_used, renumbered, unique, with_inputs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.runner.query.sql.rules.facts import Facts

_REDUCING = (JoinKind.SEMI, JoinKind.ANTI)


def ordered(node: Relation, facts: Facts, estimates: Estimates) -> Relation:
    """Return the relation with its joins in a cheaper order."""

    def inside(below: Relation) -> Relation:
        return ordered(below, facts, estimates)

    if is_reorderable(node):
        graph = join_graph(node, inside)
        return _projected(node, _Order(graph, facts, estimates).join_all(), graph.output)
    if isinstance(node, With):
        shared = inside(node.shared)
        estimates.share(node.number, shared)
        facts.share(node.number, shared)
        return with_inputs(node, [shared, inside(node.body)])
    return with_inputs(node, [inside(below) for below in node.inputs])


@dataclass(frozen=True, eq=False)
class _Part:
    """A relation that is joined already, and where it has which columns of the region."""

    relation: Relation
    places: dict[int, int]

    def has(self, columns: set[int]) -> bool:
        return columns <= self.places.keys()

    def with_own_positions(self, node: Expression) -> Expression:
        return renumbered(node, self.places.__getitem__)


@dataclass(frozen=True, eq=False)
class _Edge:
    """An equality between two sets of columns."""

    match: Match
    left: frozenset[int]
    right: frozenset[int]

    def between(self, one: _Part, other: _Part) -> tuple[Expression, Expression] | None:
        """Return what is equal, over the columns of the one and the other part."""
        if one.has(set(self.left)) and other.has(set(self.right)):
            return one.with_own_positions(self.match.left), other.with_own_positions(self.match.right)
        if one.has(set(self.right)) and other.has(set(self.left)):
            return one.with_own_positions(self.match.right), other.with_own_positions(self.match.left)
        return None


class _Order:
    """One region while it is put together."""

    def __init__(self, graph: JoinGraph, facts: Facts, estimates: Estimates) -> None:
        self._facts = facts
        self._estimates = estimates
        self._conditions = [(condition, columns_used(condition)) for condition in unique(graph.conditions)]
        self._attachments = list(graph.attachments)
        self._edges, self._classes = _edges(graph.equal)
        self._pairs: dict[tuple[int, int], tuple[float, bool]] = {}
        self._reduced: dict[tuple[int, int], float] = {}
        self._seen: list[_Part] = []
        """Parts stay here, as what is remembered of them is found by their identity."""
        self._parts = [self._leaf(leaf) for leaf in graph.leaves]

    def join_all(self) -> _Part:
        """Return everything, joined."""
        self._parts = [self._with_conditions(part) for part in self._parts]
        while len(self._parts) > 1 or self._attachments:
            self._join_cheapest()
        return self._parts[0]

    def _join_cheapest(self) -> None:
        """Do the cheapest join."""
        best: tuple[float, _Part, _Part | Attachment] | None = None
        for i, one in enumerate(self._parts):
            for other in self._parts[i + 1 :]:
                rows, linked = self._pair(one, other)
                if linked and (best is None or rows < best[0]):
                    best = rows, one, other
            for attachment in self._attachments:
                if attachment.kind in _REDUCING and one.has(attachment.needs):
                    rows = self._rows_after(one, attachment)
                    if best is None or rows < best[0]:
                        best = rows, one, attachment
        if best is None:
            best = self._next_attachment() or self._smallest_cross_product()
        _, one, partner = best
        new = self._attach(one, partner) if isinstance(partner, Attachment) else self._join(one, partner)
        gone = (one, partner)
        self._parts = [new if part is one else part for part in self._parts if part is one or part not in gone]

    def _pair(self, one: _Part, other: _Part) -> tuple[float, bool]:
        """Return the rows of a join of two parts, and whether anything but the product links them."""
        key = id(one), id(other)
        if key not in self._pairs:
            self._seen += [one, other]
            self._pairs[key] = self._estimate_pair(one, other)
        return self._pairs[key]

    def _rows_after(self, part: _Part, attachment: Attachment) -> float:
        """Return the rows of a part that a semi or an anti join leaves."""
        key = id(part), id(attachment)
        if key not in self._reduced:
            self._seen.append(part)
            self._reduced[key] = self._estimates.rows(attached(part.relation, part.places, attachment))
        return self._reduced[key]

    def _estimate_pair(self, one: _Part, other: _Part) -> tuple[float, bool]:
        keys = [(match.left, match.right) for match in self._matches(one, other)]
        left, right = self._guess(one), self._guess(other)
        if keys:
            return max(1.0, pair_rows(left, right, keys)), True
        rows = left.rows * right.rows
        small = self._facts.is_one_row(one.relation) or self._facts.is_one_row(other.relation)
        both = one.places.keys() | other.places.keys()
        links = any(used <= both for _, used in self._conditions)
        return rows * (0.3 if links else 1.0), small and links

    def _guess(self, part: _Part) -> Estimate:
        return self._estimates.of(part.relation)

    def _matches(self, one: _Part, other: _Part) -> list[Match]:
        """Return what is equal between two parts: one column of each class, and every other equality."""
        found = []
        for members in self._classes:
            left = next((column for column in members if column.index in one.places), None)
            right = next((column for column in members if column.index in other.places), None)
            if left is not None and right is not None:
                found.append(Match(one.with_own_positions(left), other.with_own_positions(right)))
        for edge in self._edges:
            pair = edge.between(one, other)
            if pair is not None:
                found.append(Match(*pair, edge.match.operator))
        return list(dict.fromkeys(found))

    def _join(self, one: _Part, other: _Part) -> _Part:
        matches = self._matches(one, other)
        width = len(one.relation.fields)
        places = {**one.places, **{column: width + place for column, place in other.places.items()}}
        self._edges = [edge for edge in self._edges if edge.between(one, other) is None]
        return self._with_conditions(_Part(Join(one.relation, other.relation, matches=tuple(matches)), places))

    def _attach(self, part: _Part, attachment: Attachment) -> _Part:
        self._attachments.remove(attachment)
        width = len(part.relation.fields)
        places = {**part.places, **{column: width + i for i, column in enumerate(attachment.added)}}
        new = _Part(attached(part.relation, part.places, attachment), places)
        return self._with_conditions(self._with_equal(new, set(attachment.added)))

    def _next_attachment(self) -> tuple[float, _Part, Attachment] | None:
        """Return an attachment that may come now: one whose columns others wait for, or any if all is joined."""
        ready = [
            (self._estimates.rows(part.relation), part, attachment)
            for attachment in self._attachments
            for part in self._parts
            if part.has(attachment.needs)
        ]
        classes = ({column.index for column in members} for members in self._classes)
        edges = (edge.left | edge.right for edge in self._edges)
        wanted = set().union(*classes, *edges, *(used for _, used in self._conditions))
        waited = [found for found in ready if wanted & set(found[2].added)]
        if len(self._parts) == 1:
            return (waited or ready)[0]
        return waited[0] if waited else None

    def _smallest_cross_product(self) -> tuple[float, _Part, _Part]:
        """Return the smallest cross product, one that a condition thins out before others."""
        pairs = [
            (self._pair(one, other)[0], one, other)
            for i, one in enumerate(self._parts)
            for other in self._parts[i + 1 :]
        ]
        return min(pairs, key=lambda pair: pair[0])

    def _leaf(self, leaf: Leaf) -> _Part:
        """Return a leaf in which all columns of one class are equal."""
        part = _Part(leaf.relation, {leaf.first + i: i for i in range(len(leaf.relation.fields))})
        return self._with_equal(part, set(part.places))

    def _with_equal(self, part: _Part, new: set[int]) -> _Part:
        """Return a part that has got new columns, in which all columns of one class are equal."""
        conditions: list[Expression] = []
        for members in self._classes:
            here = [column for column in members if column.index in part.places]
            here.sort(key=lambda column: column.index in new)
            several = [part.with_own_positions(column) for column in here]
            conditions += [
                Call(type=BOOLEAN, function="=", arguments=(several[0], other))
                for column, other in zip(here[1:], several[1:], strict=True)
                if column.index in new
            ]
        return replace(part, relation=with_filters(part.relation, conditions))

    def _with_conditions(self, part: _Part) -> _Part:
        """Return a part filtered by everything that can be told by its columns."""
        now = [part.with_own_positions(condition) for condition, used in self._conditions if part.has(used)]
        self._conditions = [(condition, used) for condition, used in self._conditions if not part.has(used)]
        for edge in [edge for edge in self._edges if part.has(set(edge.left | edge.right))]:
            sides = (part.with_own_positions(edge.match.left), part.with_own_positions(edge.match.right))
            now.append(Call(type=BOOLEAN, function=edge.match.operator, arguments=sides))
            self._edges.remove(edge)
        return replace(part, relation=with_filters(part.relation, now)) if now else part


def _edges(equal: Sequence[Match]) -> tuple[list[_Edge], list[list[Column]]]:
    """Return classes of columns that are all equal, and the equalities that are not between two columns."""
    edges: list[_Edge] = []
    classes: list[dict[int, Column]] = []
    for match in equal:
        left, right = match.left, match.right
        plain = match.operator == "=" and isinstance(left, Column) and isinstance(right, Column)
        if plain and left.type == right.type:
            assert isinstance(left, Column)
            assert isinstance(right, Column)
            met = [members for members in classes if left.index in members or right.index in members]
            merged = {left.index: left, right.index: right}
            for members in met:
                merged = {**members, **merged}
            classes = [members for members in classes if members not in met] + [merged]
        else:
            edges.append(_Edge(match, frozenset(columns_used(left)), frozenset(columns_used(right))))
    return edges, [list(members.values()) for members in classes]


def _projected(node: Relation, part: _Part, output: Sequence[Expression]) -> Relation:
    """Return the columns that the relation had, in their order."""
    values = [part.with_own_positions(value) for value in output]
    same = len(values) == len(part.relation.fields)
    if same and all(isinstance(value, Column) and value.index == i for i, value in enumerate(values)):
        return part.relation
    named = zip(values, node.fields, strict=True)
    return Project(part.relation, tuple(Item(value, field.name) for value, field in named))
