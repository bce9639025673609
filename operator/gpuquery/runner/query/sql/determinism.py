"""What keeps a statement from giving the same rows when it is run again over the same inputs.

Random numbers are refused by the binder. What is left is the current time, and what depends on the order of rows where
the statement does not settle it: then which rows or values come out depends on how the work was shared out. An ORDER BY
settles it if rows that tie by it are the same in all that comes out. An input has no keys that could be known, so its
ORDER BY has to name all columns that matter; a group follows from its keys (dependence.py). Floats that are added are
another matter, as long as nothing is decided by their last digits (digits.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuquery.runner.query.sql.dependence import NUMBERED, Dependence, by_rows, columns, everything
from gpuquery.runner.query.sql.digits import Digits
from gpuquery.runner.query.sql.plan import (
    Aggregate,
    AggregateCall,
    Column,
    Distinct,
    Expression,
    Filter,
    Join,
    JoinKind,
    Limit,
    Project,
    Relation,
    Sort,
    Statement,
    Values,
    Window,
    WindowCall,
)
from gpuquery.runner.query.sql.rules.prune import pruned
from gpuquery.runner.query.sql.walk import columns_used, relations, subexpressions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gpuquery.runner.query.sql.errors import Place
    from gpuquery.runner.query.sql.plan import SortKey

_BY_ORDER = frozenset({"first", "last", "any_value", "list", "array_agg", "string_agg", "group_concat"})
"""Aggregates whose value is that of the rows' order."""
_BESIDE = frozenset({"arg_max", "arg_min", "arg_max_null", "arg_min_null", "arg_max_nulls_last", "arg_min_nulls_last"})
"""Aggregates that take the order from their second argument."""
_ENDS = frozenset({"first_value", "last_value", "nth_value"})
"""Window functions whose value is that of the rows' order."""


class Unsettled(NamedTuple):
    """Why a statement may give other rows the next time, and where that stands."""

    why: str
    place: Place | None = None


class Repeats(NamedTuple):
    """What a second run may change."""

    rows: Unsettled | None
    """Other rows may come out."""
    digits: Unsettled | None
    """Numbers may come out with other last digits."""


def repeats(statement: Statement) -> Repeats:
    """Return the first thing that makes the result depend on an order which the statement does not settle."""
    root = pruned(statement.relation)  # what nobody uses may be in any order
    digits = Digits(root)
    found = next(_Orders(root).found(), None)
    if found is None and digits.decided is not None:
        found = Unsettled(f"{digits.decided.what}, which depend on the order of the rows", digits.decided.place)
    if digits.added is None:
        return Repeats(found, None)
    words = f"{digits.added.what} adds floating-point numbers in any order, so its last digits may differ"
    return Repeats(found, Unsettled(words, digits.added.place))


class _Orders:
    """One walk over a statement, for what its orders leave open."""

    def __init__(self, root: Relation) -> None:
        self._root = root
        self._depends = Dependence(root)

    def found(self) -> Iterator[Unsettled]:
        for node in relations(self._root):
            yield from self._of(node)

    def _of(self, node: Relation) -> Iterator[Unsettled]:
        match node:
            case Limit() if not _takes_all(node) and not (node.ties and node.offset == 0):
                yield from self._of_limit(node.input)
            case Distinct() if node.on:
                given = columns(node.on) | columns(key.value for key in node.order)
                if not self._depends.covers(node.input, given):
                    yield self._open("DISTINCT ON", "takes any row of each group", node.order, (node.input, node.on))
            case Join() if node.asof:
                met = columns(match.right for match in node.matches)
                if node.kind in (JoinKind.INNER, JoinKind.LEFT) and not self._depends.covers(node.right, met):
                    yield Unsettled("ASOF JOIN takes any of the rows that are equally near")
            case Aggregate():
                yield from (found for call in node.calls for found in self._of_aggregate(call, node))
            case Window():
                yield from (found for call in node.calls for found in self._of_window(call, node.input))
            case _:
                return

    def _of_limit(self, node: Relation) -> Iterator[Unsettled]:
        match node:
            case Sort():
                given = columns(key.value for key in node.keys)
                left = everything(node.input) - self._depends.of(node.input, given)
                if not left:
                    return
                if not _orders(node.keys, node.input):
                    yield Unsettled("LIMIT without ORDER BY takes any rows")
                else:
                    name = node.input.fields[min(left)].name
                    place = node.keys[-1].value.place
                    yield Unsettled(f"LIMIT takes any of the rows that tie by ORDER BY: order by {name!r} too", place)
            case Project() | Limit():
                yield from self._of_limit(node.input)
            case Values():
                return
            case _ if not self._depends.covers(node, set()):
                yield Unsettled("LIMIT without ORDER BY takes any rows")
            case _:
                return

    def _of_aggregate(self, call: AggregateCall, node: Aggregate) -> Iterator[Unsettled]:
        same = [key.value for key in node.keys] if node.sets is None else []  # a grouping set may leave keys out
        beside = call.arguments[1:2] if call.function in _BESIDE else ()
        if call.function not in _BY_ORDER and not beside:
            return
        given = columns(same) | columns(beside) | columns(key.value for key in call.order)
        if columns_used(*call.arguments[:1]) <= self._depends.of(node.input, given):
            return
        if beside:
            words = f"{call.function} takes any of the rows that are equally far out"
            yield Unsettled(words, call.place)
        else:
            yield self._open(call.function, "takes the rows in any order", call.order, (node.input, same), call.place)

    def _of_window(self, call: WindowCall, over: Relation) -> Iterator[Unsettled]:
        keys = (*call.order, *call.argument_order)
        beside = call.arguments[1:2] if call.function in _BESIDE else ()
        given = columns((*call.partition, *beside, *(key.value for key in keys)))
        if call.function in NUMBERED or by_rows(call):
            settled = self._depends.covers(over, given)
        elif call.function in _BY_ORDER or call.function in _ENDS or beside:
            settled = columns_used(*call.arguments[:1]) <= self._depends.of(over, given)
        else:
            return
        if not settled:
            what = f"{call.function} OVER (...)"
            yield self._open(what, "takes the rows in any order", keys, (over, call.partition), call.place)

    @staticmethod
    def _open(
        what: str,
        does: str,
        keys: Sequence[SortKey],
        around: tuple[Relation, Sequence[Expression]],
        place: Place | None = None,
    ) -> Unsettled:
        over, group = around
        if not _orders(keys, over, group):
            inside = " in it" if does.endswith("order") and "OVER" not in what else ""
            return Unsettled(f"{what} without ORDER BY{inside} {does}", place)
        return Unsettled(f"{what} takes the rows that tie by its ORDER BY in any order", place)


def _takes_all(node: Limit) -> bool:
    return (node.count is None and node.percent is None and node.offset == 0) or node.count == 0


def _orders(keys: Sequence[SortKey], over: Relation, group: Sequence[Expression] = ()) -> bool:
    """Whether keys put rows of a group into some order: one of them differs from row to row."""
    return any(key.value not in group and not _is_constant(key.value, over) for key in keys)


def _is_constant(value: Expression, over: Relation) -> bool:
    """Whether a value over the rows of a relation is made of constants alone, also those of relations below."""
    return all(
        _is_constant_column(column.index, over) for column in subexpressions(value) if isinstance(column, Column)
    )


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
