"""EXISTS with one inequality needs no pairs: some y of the group is greater than x if the greatest is.

The right side of such a semi or anti join becomes one row for each value of its keys, with the least and the greatest
value; `<>` needs both, as some y is not x unless all are. TPC-H 21 and TPC-DS 16 and 94 are of this kind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuquery.runner.query.sql.plan import (
    Aggregate,
    AggregateCall,
    Call,
    Column,
    Expression,
    Filter,
    Item,
    Join,
    JoinKind,
    Match,
    Project,
    Relation,
)
from gpuquery.runner.query.sql.rules.pushdown import as_match
from gpuquery.runner.query.sql.types import BOOLEAN, FLOATS, Kind
from gpuquery.runner.query.sql.walk import EQUALITIES, TRUE, conjuncts, disjunction, identity_items, rebuilt

if TYPE_CHECKING:
    from gpuquery.runner.query.sql.rules.facts import Facts

_ENDS = {"<": ("max",), "<=": ("max",), ">": ("min",), ">=": ("min",), "<>": ("min", "max")}
_UNORDERED = FLOATS | {Kind.LIST, Kind.STRUCT, Kind.INTERVAL, Kind.NULL}
"""NaN is no bound as others are, and the rest has no least value."""


def semi_joins_by_min_max(node: Relation, facts: Facts) -> Relation:
    """Return the relation with semi and anti joins that have one inequality as joins with the ends of each group."""
    return rebuilt(node, lambda below: _by_bounds(below, facts))


def _by_bounds(node: Relation, facts: Facts) -> Relation:
    if not isinstance(node, Join) or node.kind not in (JoinKind.SEMI, JoinKind.ANTI):
        return node
    split = _split(node)
    if split is None:
        return node
    keys, other = split
    operator = other.operator
    if operator == "is distinct from":
        # a NULL among the right values differs from any x, and is no least or greatest value
        if not facts.is_never_null(other.right, node.right):
            return node
        operator = "<>"
    if operator not in _ENDS or other.right.type.kind in _UNORDERED:
        return node
    return _joined(node, keys, other, operator)


def _split(node: Join) -> tuple[list[Match], Match] | None:
    """Return the equalities of a join and the one inequality, if that is what it has."""
    width = len(node.left.fields)
    matches: list[Match] = list(node.matches)
    for condition in conjuncts(node.condition):
        found = as_match(condition, width)
        if found is None:
            return None
        matches.append(found)
    others = [match for match in matches if match.operator not in EQUALITIES]
    return ([match for match in matches if match.operator in EQUALITIES], others[0]) if len(others) == 1 else None


def _name(value: Expression, below: Relation) -> str:
    return below.fields[value.index].name if isinstance(value, Column) else "key"


def _joined(node: Join, keys: list[Match], other: Match, operator: str) -> Relation:
    ends = _ENDS[operator]
    calls = tuple(AggregateCall(type=other.right.type, function=end, arguments=(other.right,)) for end in ends)
    groups = Aggregate(node.right, tuple(Item(m.right, _name(m.right, node.right)) for m in keys), calls)
    matches = tuple(Match(m.left, Column(type=m.right.type, index=i), m.operator) for i, m in enumerate(keys))
    width = len(node.left.fields)
    first = width + len(keys)
    predicate: Expression = disjunction(
        [
            Call(
                type=BOOLEAN,
                function=other.operator,
                arguments=(other.left, Column(type=other.right.type, index=first + i)),
            )
            for i in range(len(ends))
        ]
    )
    anti = node.kind is JoinKind.ANTI
    if anti:
        predicate = Call(type=BOOLEAN, function="is distinct from", arguments=(predicate, TRUE))
    kind = JoinKind.LEFT if anti and keys else JoinKind.INNER
    joined = Filter(Join(node.left, groups, kind, matches), predicate)
    return Project(joined, identity_items(node.left))
