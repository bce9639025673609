"""What a plan tells about numbers of rows: which columns differ in every row, and what has one row.

A sub-query that is used as a value has to be looked at for a second row only where neither is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gpuquery.runner.query.sql import plan
from gpuquery.runner.query.sql.plan import JoinKind
from gpuquery.runner.query.sql.walk import EQUALITIES

Shared = Mapping[int, plan.Relation]
"""Shared relations around a node, by number."""
_LEFT_ROWS = frozenset({JoinKind.SEMI, JoinKind.ANTI, JoinKind.MARK, JoinKind.SINGLE})


def cheaper_join(node: plan.Join, shared: Shared) -> plan.Join:
    """Return a join of a kind that costs less where the plan tells that it comes to the same."""
    if node.kind not in (JoinKind.SINGLE, JoinKind.LEFT) or node.asof:
        return node
    if not node.matches and node.condition is None and has_exactly_one_row(node.right, shared):
        return replace(node, kind=JoinKind.INNER)
    return replace(node, kind=JoinKind.LEFT) if is_unique(node.right, _matched(node), shared) else node


def has_exactly_one_row(node: plan.Relation, shared: Shared) -> bool:
    """Whether a relation has exactly one row, whatever there is in the inputs."""
    match node:
        case plan.Aggregate():
            return not node.keys and (node.sets is None or len(node.sets) == 1)
        case plan.Values():
            return len(node.rows) == 1
        case plan.Project() | plan.Sort() | plan.Window() | plan.Distinct():
            return has_exactly_one_row(node.input, shared)
        case plan.Join() if not node.matches and node.condition is None:
            inner = node.kind in (JoinKind.INNER, JoinKind.LEFT)
            return inner and has_exactly_one_row(node.left, shared) and has_exactly_one_row(node.right, shared)
        case plan.With():
            return has_exactly_one_row(node.body, {**shared, node.number: node.shared})
        case plan.Reference():
            return node.number in shared and has_exactly_one_row(shared[node.number], shared)
        case _:
            return False


def is_unique(node: plan.Relation, at: frozenset[int], shared: Shared) -> bool:
    """Whether no two rows are equal at all of these positions; without any, whether there is one row at most."""
    match node:
        case plan.Aggregate():
            return (node.sets is None or len(node.sets) == 1) and set(range(len(node.keys))) <= at
        case plan.Project():
            items = [node.items[index].value for index in at]
            columns = frozenset(item.index for item in items if isinstance(item, plan.Column))
            return is_unique(node.input, columns, shared)
        case plan.Limit() if node.count is not None and node.count <= 1 and not node.ties:
            return True
        case plan.Distinct() if not node.on and set(range(len(node.fields))) <= at:
            return True
        case plan.Filter() | plan.Sort() | plan.Window() | plan.Limit() | plan.Distinct():
            return is_unique(node.input, _first(at, node.input), shared)
        case plan.Values():
            return len(node.rows) <= 1
        case plan.Join():
            return _joined(node, at, shared)
        case plan.With():
            return is_unique(node.body, at, {**shared, node.number: node.shared})
        case plan.Reference():
            return node.number in shared and is_unique(shared[node.number], at, shared)
        case _:
            return False


def _joined(node: plan.Join, at: frozenset[int], shared: Shared) -> bool:
    """Whether each row of the left side differs, and meets one row at most of those that are equal here."""
    if not is_unique(node.left, _first(at, node.left), shared):
        return False
    if node.kind in _LEFT_ROWS or node.asof:
        return True
    width = len(node.left.fields)
    right = frozenset(index - width for index in at if index >= width) | _matched(node)
    return node.kind in (JoinKind.INNER, JoinKind.LEFT) and is_unique(node.right, right, shared)


def _first(at: frozenset[int], node: plan.Relation) -> frozenset[int]:
    return at & frozenset(range(len(node.fields)))


def _matched(node: plan.Join) -> frozenset[int]:
    """Return the columns of the right side that have to be equal to a value of the left side."""
    equal = (match.right for match in node.matches if match.operator in EQUALITIES)
    return frozenset(right.index for right in equal if isinstance(right, plan.Column))
