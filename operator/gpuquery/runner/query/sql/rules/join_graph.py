"""A region: neighbouring joins of a plan taken apart, so that they can be put together in another order.

Its leaves are the relations that inner joins combine. Every column of every leaf gets one number for the whole region.
Sides of left, semi, anti, mark and single joins are attachments: for any relations A, B and C, joining C to A and then
attaching B gives what attaching B to A and then joining C gives, as long as C is joined by columns of A.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gpuquery.runner.query.sql.plan import (
    Call,
    Column,
    Expression,
    Filter,
    Join,
    JoinKind,
    Literal,
    Match,
    Project,
    Relation,
)
from gpuquery.runner.query.sql.rules.facts import can_fail
from gpuquery.runner.query.sql.types import BOOLEAN
from gpuquery.runner.query.sql.walk import EQUALITIES, columns_used, conjuncts, renumbered, substituted

if TYPE_CHECKING:
    from collections.abc import Callable

ATTACHED = frozenset({JoinKind.LEFT, JoinKind.SINGLE, JoinKind.SEMI, JoinKind.ANTI, JoinKind.MARK})


@dataclass(frozen=True)
class Leaf:
    """A relation of the region and the number of its first column."""

    relation: Relation
    first: int


@dataclass(frozen=True, eq=False)
class Attachment:
    """A join that adds to rows or leaves some out. Left sides of matches have the region's numbers.

    The condition has the region's numbers too; the right side's columns are numbered from `first` on.
    """

    kind: JoinKind
    right: Relation
    matches: tuple[Match, ...]
    condition: Expression | None
    mark: str
    first: int

    @property
    def needs(self) -> set[int]:
        """Columns of the region that must be there before."""
        own = range(self.first, self.first + len(self.right.fields))
        used = columns_used(*(match.left for match in self.matches), self.condition)
        return used - set(own)

    @property
    def added(self) -> tuple[int, ...]:
        """Numbers of the columns that the rows get by it."""
        match self.kind:
            case JoinKind.SEMI | JoinKind.ANTI:
                return ()
            case JoinKind.MARK:
                return (self.first,)
            case _:
                return tuple(range(self.first, self.first + len(self.right.fields)))


@dataclass
class JoinGraph:
    """Leaves, attachments, and all conditions between them: equalities as matches, the rest as conditions."""

    leaves: list[Leaf] = field(default_factory=list)
    attachments: list[Attachment] = field(default_factory=list)
    equal: list[Match] = field(default_factory=list)
    """Both sides in the region's numbers."""
    conditions: list[Expression] = field(default_factory=list)
    output: list[Expression] = field(default_factory=list)
    """What the relation's columns are."""
    width: int = 0


def is_reorderable(node: Relation) -> bool:
    """Whether a relation is made of joins whose order may change. What may fail keeps its place."""
    match node:
        case Join():
            known = node.kind is JoinKind.INNER or node.kind in ATTACHED
            asked = [node.condition] if node.condition is not None else []
            asked += [side for match in node.matches for side in (match.left, match.right)]
            return known and not node.asof and not any(map(can_fail, asked))
        case Filter():
            return is_reorderable(node.input) and not can_fail(node.condition)
        case Project():
            return _is_choice(node) and is_reorderable(node.input)
        case _:
            return False


def join_graph(node: Relation, inside: Callable[[Relation], Relation]) -> JoinGraph:
    """Return the region that a relation is. `inside` is done to every leaf and attached relation."""
    graph = JoinGraph()
    graph.output = _take(node, graph, inside)
    return graph


def _is_choice(node: Project) -> bool:
    return all(isinstance(item.value, Column | Literal) for item in node.items)


def _take(node: Relation, graph: JoinGraph, inside: Callable[[Relation], Relation]) -> list[Expression]:
    """Add a relation to the region, and return its columns in the region's numbers."""
    if not is_reorderable(node):
        leaf = Leaf(inside(node), graph.width)
        graph.leaves.append(leaf)
        return _numbers(graph, node)
    match node:
        case Filter():
            columns = _take(node.input, graph, inside)
            graph.conditions += [substituted(part, columns) for part in conjuncts(node.condition)]
            return columns
        case Project():
            columns = _take(node.input, graph, inside)
            return [substituted(item.value, columns) for item in node.items]
        case Join(kind=JoinKind.INNER):
            left = _take(node.left, graph, inside)
            right = _take(node.right, graph, inside)
            for match in node.matches:
                one, other = substituted(match.left, left), substituted(match.right, right)
                _compare(Match(one, other, match.operator), graph)
            graph.conditions += [substituted(part, left + right) for part in conjuncts(node.condition)]
            return left + right
        case Join():
            left = _take(node.left, graph, inside)
            return left + _attach(node, left, graph, inside)
        case _:
            raise TypeError(f"a {type(node).__name__} is no region")


def _compare(match: Match, graph: JoinGraph) -> None:
    if match.operator in EQUALITIES and columns_used(match.left) and columns_used(match.right):
        graph.equal.append(match)
    else:
        both = (match.left, match.right)
        graph.conditions.append(Call(type=BOOLEAN, function=match.operator, arguments=both))


def _attach(
    node: Join, left: list[Expression], graph: JoinGraph, inside: Callable[[Relation], Relation]
) -> list[Expression]:
    first, relation = graph.width, inside(node.right)
    right = _numbers(graph, node.right)
    matches = tuple(Match(substituted(m.left, left), m.right, m.operator) for m in node.matches)
    condition = None if node.condition is None else substituted(node.condition, left + right)
    graph.attachments.append(Attachment(node.kind, relation, matches, condition, node.mark, first))
    match node.kind:
        case JoinKind.SEMI | JoinKind.ANTI:
            return []
        case JoinKind.MARK:
            graph.width += not right
            return [Column(type=BOOLEAN, index=first)]
        case _:
            return right


def _numbers(graph: JoinGraph, node: Relation) -> list[Expression]:
    fields = node.fields
    first, graph.width = graph.width, graph.width + len(fields)
    return [Column(type=kind.type, index=first + i) for i, kind in enumerate(fields)]


def attached(left: Relation, places: dict[int, int], attachment: Attachment) -> Join:
    """Return the join that an attachment is, to a left side which has the region's columns at these places."""
    width, first = len(left.fields), attachment.first
    right = {first + i: width + i for i in range(len(attachment.right.fields))}
    matches = tuple(Match(renumbered(m.left, places.__getitem__), m.right, m.operator) for m in attachment.matches)
    condition = attachment.condition and renumbered(attachment.condition, {**places, **right}.__getitem__)
    return Join(left, attachment.right, attachment.kind, matches, condition, attachment.mark)
