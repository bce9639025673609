"""What keeps a statement from giving the same rows when it is run again over the same inputs.

Random numbers are refused by the binder. What is left is the current time, and what depends on the order of rows where
the statement gives them none: then which rows or values come out depends on how the work was shared out. Rows that tie
by an ORDER BY are not looked for: only the data can tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuquery.runner.query.sql.plan import (
    Aggregate,
    AggregateCall,
    Distinct,
    FrameUnit,
    Limit,
    Project,
    Relation,
    Sort,
    Statement,
    Values,
    Window,
    WindowCall,
)
from gpuquery.runner.query.sql.walk import relations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuquery.runner.query.sql.errors import Place

_BY_ORDER = frozenset({"first", "last", "any_value", "list", "array_agg", "string_agg", "group_concat"})
"""Aggregates whose value is that of the rows' order."""
_POSITIONS = frozenset({"row_number", "ntile", "lag", "lead", "first_value", "last_value", "nth_value", "fill"})
"""Window functions whose value is that of the rows' order."""


class Unsettled(NamedTuple):
    """Why a statement may give other rows the next time, and where that stands."""

    why: str
    place: Place | None = None


def unsettled(statement: Statement) -> Unsettled | None:
    """Return the first thing that makes the result depend on an order which the statement does not give."""
    return next((found for node in relations(statement.relation) for found in _of(node)), None)


def _of(node: Relation) -> Iterator[Unsettled]:
    match node:
        case Limit() if not _takes_all(node) and not _is_ordered(node.input):
            yield Unsettled("LIMIT without ORDER BY takes any rows")
        case Distinct() if node.on and not node.order:
            yield Unsettled("DISTINCT ON without ORDER BY takes any row of each group")
        case Aggregate():
            yield from (found for call in node.calls for found in _of_aggregate(call))
        case Window():
            yield from (found for call in node.calls for found in _of_window(call))
        case _:
            return


def _takes_all(node: Limit) -> bool:
    return (node.count is None and node.percent is None and node.offset == 0) or node.count == 0


def _is_ordered(node: Relation) -> bool:
    """Whether rows come in an order, or there is at most one."""
    match node:
        case Sort():
            return True
        case Project() | Limit():
            return _is_ordered(node.input)
        case Aggregate():
            return not node.keys and node.sets is None
        case Values():
            return True
        case _:
            return False


def _of_aggregate(call: AggregateCall) -> Iterator[Unsettled]:
    if call.function in _BY_ORDER and not call.order:
        yield Unsettled(f"{call.function} without ORDER BY in it takes the rows in any order", call.place)


def _of_window(call: WindowCall) -> Iterator[Unsettled]:
    if call.order or call.argument_order:
        return
    whole = call.frame is None or (call.frame.start.unbounded and call.frame.end.unbounded)
    by_rows = call.frame is not None and call.frame.unit is FrameUnit.ROWS and not whole
    if call.function in _POSITIONS or call.function in _BY_ORDER or by_rows:
        yield Unsettled(f"{call.function} OVER (...) without ORDER BY takes the rows in any order", call.place)
