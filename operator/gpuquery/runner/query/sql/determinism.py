"""What keeps a statement from giving the same rows when it is run again over the same inputs.

Random numbers are refused by the binder. What is left is the current time, and what depends on the order of rows where
the statement gives them none: then which rows or values come out depends on how the work was shared out. An ORDER BY of
constants, or of what is the same in the whole group, gives none. Other rows that tie by an ORDER BY are not looked for:
only the data can tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuquery.runner.query.sql.plan import (
    Aggregate,
    AggregateCall,
    Column,
    Distinct,
    Expression,
    Filter,
    FrameUnit,
    Join,
    JoinKind,
    Limit,
    Project,
    Relation,
    Sort,
    SortKey,
    Statement,
    Values,
    Window,
    WindowCall,
)
from gpuquery.runner.query.sql.walk import relations, subexpressions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
        case Distinct() if node.on and not _orders(node.order, node.input, node.on):
            yield Unsettled("DISTINCT ON without ORDER BY takes any row of each group")
        case Aggregate():
            yield from (found for call in node.calls for found in _of_aggregate(call, node))
        case Window():
            yield from (found for call in node.calls for found in _of_window(call, node.input))
        case _:
            return


def _takes_all(node: Limit) -> bool:
    return (node.count is None and node.percent is None and node.offset == 0) or node.count == 0


def _is_ordered(node: Relation) -> bool:
    """Whether rows come in an order, or there is at most one."""
    match node:
        case Sort():
            return _orders(node.keys, node.input)
        case Project() | Limit():
            return _is_ordered(node.input)
        case Aggregate():
            return not node.keys and node.sets is None
        case Values():
            return True
        case _:
            return False


def _orders(keys: Sequence[SortKey], over: Relation, group: Sequence[Expression] = ()) -> bool:
    """Whether keys put the rows of a group into an order: one of them differs from row to row."""
    return any(key.value not in group and not _is_constant(key.value, over) for key in keys)


def _is_constant(value: Expression, over: Relation) -> bool:
    """Whether a value over the rows of a relation is made of constants alone, also those of relations below."""
    columns = (one for one in subexpressions(value) if isinstance(one, Column))
    return all(_is_constant_column(column.index, over) for column in columns)


def _is_constant_column(index: int, node: Relation) -> bool:
    match node:
        case Project():
            return _is_constant(node.items[index].value, node.input)
        case Sort() | Limit() | Filter() | Distinct():
            return _is_constant_column(index, node.input)
        case Window() if index < len(node.input.fields):
            return _is_constant_column(index, node.input)
        case Join() if node.kind in (JoinKind.INNER, JoinKind.SINGLE):
            left = len(node.left.fields)
            side, number = (node.left, index) if index < left else (node.right, index - left)
            return number < len(side.fields) and _is_constant_column(number, side)
        case _:
            return False


def _of_aggregate(call: AggregateCall, node: Aggregate) -> Iterator[Unsettled]:
    same = [key.value for key in node.keys] if node.sets is None else []  # a grouping set may leave keys out
    if call.function in _BY_ORDER and not _orders(call.order, node.input, same):
        yield Unsettled(f"{call.function} without ORDER BY in it takes the rows in any order", call.place)


def _of_window(call: WindowCall, over: Relation) -> Iterator[Unsettled]:
    if _orders((*call.order, *call.argument_order), over, call.partition):
        return
    whole = call.frame is None or (call.frame.start.unbounded and call.frame.end.unbounded)
    by_rows = call.frame is not None and call.frame.unit is FrameUnit.ROWS and not whole
    if call.function in _POSITIONS or call.function in _BY_ORDER or by_rows:
        yield Unsettled(f"{call.function} OVER (...) without ORDER BY takes the rows in any order", call.place)
