"""Comparisons of nanoseconds with constants that they do not reach: 9999-12-31, "for ever", beside pandas' timestamps.

A TIMESTAMP_NS is within 1677 and 2262, and the binder casts the constant to it. Such a cast would fail, though the
answer is known: every moment there is comes before, or behind. `a = a` stands for what is TRUE of every value, and
`a <> a` for what is FALSE of every one; both are NULL of NULL.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import replace
from typing import Any

from gpuquery.runner.query.sql import plan
from gpuquery.runner.query.sql.types import BOOLEAN, Kind
from gpuquery.runner.query.sql.walk import FLIPPED

FIRST = dt.datetime(1677, 9, 21, 0, 12, 43, 145225)
LAST = dt.datetime(2262, 4, 11, 23, 47, 16, 854775)
_BELOW = frozenset({"<", "<="})
_ABOVE = frozenset({">", ">="})
_SAME = frozenset({"=", "<>", "is distinct from", "is not distinct from"})
_TEXT = re.compile(r"\s*(\d{4})-(\d{1,2})-(\d{1,2})(?:[ T](\d{1,2}):(\d{2})(?::(\d{2})(?:\.\d*)?)?)?\s*")


def without_unreachable_constants(node: plan.Call) -> plan.Expression:
    """Return a comparison or an `in` without constants that nanoseconds do not reach; all others as they are."""
    if node.function == "in":
        return _member(node)
    if len(node.arguments) != 2 or node.function not in _BELOW | _ABOVE | _SAME:
        return node
    (left, right), name = node.arguments, node.function
    if _side(left):
        left, right, name = right, left, FLIPPED.get(name, name)
    side = _side(right)
    if not side:
        return node
    if name in ("is distinct from", "is not distinct from"):
        return plan.Literal(type=BOOLEAN, place=node.place, value=name == "is distinct from")
    holds = name == "<>" or name in (_BELOW if side > 0 else _ABOVE)
    return _of_all(node, left, holds=holds)


def _member(node: plan.Call) -> plan.Expression:
    value, *candidates = node.arguments
    near = [candidate for candidate in candidates if not _side(candidate)]
    if len(near) == len(candidates):
        return node
    return replace(node, arguments=(value, *near)) if near else _of_all(node, value, holds=False)


def _of_all(node: plan.Call, value: plan.Expression, *, holds: bool) -> plan.Call:
    return replace(node, function="=" if holds else "<>", arguments=(value, value))


def _side(node: plan.Expression) -> int:
    """Return 1 for a constant behind all nanoseconds, -1 for one before them, 0 for everything else."""
    if node.type.kind is not Kind.TIMESTAMP or node.type.unit != "ns":
        return 0
    if isinstance(node, plan.Cast) and not node.null_on_failure:
        node = node.input
    moment = _moment(node.value) if isinstance(node, plan.Literal) else None
    return 0 if moment is None else (moment > LAST) - (moment < FIRST)


def _moment(value: Any) -> dt.datetime | None:
    """Return the moment of a constant; None for a text that no reader takes for one, which fails elsewhere."""
    if isinstance(value, dt.datetime):
        return value.replace(tzinfo=None)
    if isinstance(value, dt.date):
        return dt.datetime(value.year, value.month, value.day)
    if not isinstance(value, str) or not (found := _TEXT.fullmatch(value)):
        return None
    try:
        return dt.datetime(*(int(part or 0) for part in found.groups()))  # type: ignore[arg-type]
    except ValueError:
        return None
