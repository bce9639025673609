"""Marks: `x IN (SELECT ...)` and EXISTS, when nothing but a filter asks for them, are semi and anti joins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuquery.runner.query.sql.plan import Call, Column, Expression, Item, Join, JoinKind, Literal, Project
from gpuquery.runner.query.sql.types import BOOLEAN
from gpuquery.runner.query.sql.walk import identity_items

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.runner.query.sql.plan import Relation
    from gpuquery.runner.query.sql.rules.facts import Facts


def semi_or_anti_join(node: Join, conditions: Sequence[Expression], facts: Facts) -> Relation | None:
    """Return a semi or an anti join and its known mark, if the conditions above a MARK join ask for one value of it.

    An anti join is right only where the mark is never NULL: `x NOT IN (...)` is NULL, not TRUE, for a row without a
    match if x or any of the values is NULL.
    """
    mark = len(node.left.fields)
    for condition in conditions:
        if _is_mark(condition, mark):
            return _known(node, JoinKind.SEMI, value=True)
        if _is_not_mark(condition, mark) and mark_is_never_null(node, facts):
            return _known(node, JoinKind.ANTI, value=False)
    return None


def mark_is_never_null(node: Join, facts: Facts) -> bool:
    """Whether a MARK join's mark is never NULL."""
    if node.condition is not None:
        return False
    return all(
        match.operator in ("is distinct from", "is not distinct from")
        or (facts.is_never_null(match.left, node.left) and facts.is_never_null(match.right, node.right))
        for match in node.matches
    )


def _is_mark(node: Expression, mark: int) -> bool:
    return isinstance(node, Column) and node.index == mark


def _is_not_mark(node: Expression, mark: int) -> bool:
    return isinstance(node, Call) and node.function == "not" and _is_mark(node.arguments[0], mark)


def _known(node: Join, kind: JoinKind, *, value: bool) -> Relation:
    new = Join(node.left, node.right, kind, node.matches, node.condition)
    return Project(new, (*identity_items(node.left), Item(Literal(type=BOOLEAN, value=value), node.mark)))
