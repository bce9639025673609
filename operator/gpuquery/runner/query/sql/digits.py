"""Floating-point numbers whose last digits depend on the order in which they were added, and what is decided by them.

A sum of floats is another one in each order of its rows, and the order is that in which the work was shared out. As
long as such a number only comes out, its last digits may differ, and nothing else does. Where rows are chosen, joined,
grouped or numbered by it, other rows may come out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuquery.runner.query.sql.plan import (
    Aggregate,
    AggregateCall,
    Call,
    Case,
    Cast,
    Column,
    Distinct,
    Expression,
    Filter,
    Join,
    JoinKind,
    Limit,
    Project,
    Recursive,
    Reference,
    Relation,
    SetKind,
    SetOperation,
    Sort,
    Unnest,
    Window,
    WindowCall,
    With,
)
from gpuquery.runner.query.sql.walk import columns_used

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gpuquery.runner.query.sql.errors import Place
    from gpuquery.runner.query.sql.plan import SortKey

_OF_FLOATS = frozenset({"sum", "sum_no_overflow", "avg"})
"""Exact, unless they are of floats."""
_ALWAYS = frozenset(
    {
        "favg", "kahan_sum", "product", "stddev_samp", "stddev_pop", "var_samp", "var_pop", "sem", "skewness",
        "kurtosis", "kurtosis_pop", "covar_pop", "covar_samp", "corr", "entropy", "regr_avgx", "regr_avgy", "regr_sxx",
        "regr_syy", "regr_sxy", "regr_slope", "regr_intercept", "regr_r2",
    }
)  # fmt: skip
"""Computed with floats, whatever they are of."""
_NULL_TESTS = frozenset({"is null", "is not null"})


class Digit(NamedTuple):
    """A function that adds floats, or what is decided by such a number; and where that stands."""

    what: str
    place: Place | None


class Digits:
    """One walk over a statement."""

    def __init__(self, root: Relation) -> None:
        self.decided: Digit | None = None
        """The first thing that is decided by last digits; None: nothing is."""
        self.added: Digit | None = None
        """The first function that adds floats, if the result has such a number; else None."""
        self._first: Digit | None = None
        self._shared: dict[int, set[int]] = {}
        self._seen: dict[int, set[int]] = {}
        if self._of(root):
            self.added = self._first

    def _of(self, node: Relation) -> set[int]:
        """Return the columns of a relation whose last digits may differ."""
        if (known := self._seen.get(id(node))) is None:
            known = self._seen[id(node)] = self._found(node)
        return known

    def _found(self, node: Relation) -> set[int]:
        match node:
            case Project():
                below = self._of(node.input)
                return {i for i, item in enumerate(node.items) if self._carries(item.value, below)}
            case Aggregate() | Window():
                return self._of_calls(node)
            case Join():
                return self._of_join(node)
            case Filter() | Sort() | Limit() | Distinct():
                below = self._of(node.input)
                self._judge(node, below)
                return below
            case SetOperation():
                below = set[int]().union(*[self._of(side) for side in node.sides])
                if below and not (node.kind is SetKind.UNION and node.all):
                    self._decides(f"{node.kind} compares rows")
                return below
            case Unnest():
                below = self._of(node.input)
                width = len(node.input.fields)
                return below | {i for i, one in enumerate(node.lists, width) if columns_used(one.value) & below}
            case With():
                self._shared[node.number] = self._of(node.shared)
                return self._of(node.body)
            case Recursive():
                self._shared[node.number] = base = self._of(node.base)
                return base | self._of(node.step)
            case Reference():
                return set(self._shared.get(node.number, ()))
            case _:
                return set()

    def _judge(self, node: Filter | Sort | Limit | Distinct, below: set[int]) -> None:
        match node:
            case Filter():
                if _tests(node.condition, below):
                    self._decides("a condition", node.condition.place)
            case Distinct() if below:
                used = columns_used(*node.on, *_values(node.order)) if node.on else below
                if used & below:
                    self._decides("DISTINCT compares rows")
            case Limit():
                if (order := _order(node)) is not None and columns_used(*_values(order.keys)) & self._of(order):
                    self._decides("LIMIT cuts", order.keys[0].value.place)
            case _:
                return

    def _of_calls(self, node: Aggregate | Window) -> set[int]:
        below = self._of(node.input)
        calls: Sequence[AggregateCall | WindowCall] = node.calls
        if isinstance(node, Aggregate):
            if columns_used(*(item.value for item in node.keys)) & below:
                self._decides("GROUP BY compares values")
            made, at = set[int](), len(node.keys)
        else:
            made, at = set(below), len(node.input.fields)
        return made | {i for i, call in enumerate(calls, at) if self._of_call(call, below)}

    def _of_call(self, call: AggregateCall | WindowCall, below: set[int]) -> bool:
        keys = [*call.order, *(call.argument_order if isinstance(call, WindowCall) else ())]
        partition = call.partition if isinstance(call, WindowCall) else ()
        beside = call.arguments[1:] if call.function.startswith("arg_") else ()
        decide = columns_used(*partition, *_values(keys), *beside, call.filter) & below
        if decide or (call.distinct and columns_used(*call.arguments) & below):
            self._decides(f"{call.function} compares values", call.place)
        if call.function in _ALWAYS or (call.function in _OF_FLOATS and any(a.type.is_float for a in call.arguments)):
            self._first = self._first or Digit(call.function, call.place)
            return True
        return call.function not in ("count", "regr_count") and bool(columns_used(*call.arguments) & below)

    def _of_join(self, node: Join) -> set[int]:
        left, right, width = self._of(node.left), self._of(node.right), len(node.left.fields)
        both = left | {i + width for i in right}
        matched = any(columns_used(m.left) & left or columns_used(m.right) & right for m in node.matches)
        if matched or columns_used(node.condition) & both:
            self._decides("a join compares values")
        return left if node.kind in (JoinKind.SEMI, JoinKind.ANTI, JoinKind.MARK) else both

    def _carries(self, value: Expression, below: set[int]) -> bool:
        """Whether a value of a row may have other last digits; where it would be quite another one, that is told."""
        if not columns_used(value) & below:
            return False
        if isinstance(value, Column):
            return True
        if _tests(value, below):
            self._decides("a value", value.place)
        return not (isinstance(value, Call) and value.function in _NULL_TESTS)

    def _decides(self, how: str, place: Place | None = None) -> None:
        if self.decided is None and self._first is not None:
            self.decided = Digit(f"{how} by the last digits of {self._first.what}", place or self._first.place)


def _tests(value: Expression, below: set[int]) -> bool:
    """Whether a value is more than a number with other last digits: a condition, a text, a branch that was chosen."""
    if not columns_used(value) & below or isinstance(value, Column):
        return False
    match value:
        case Call() if value.function in _NULL_TESTS:
            return False
        case Call() if value.function in ("and", "or", "not"):
            return any(_tests(part, below) for part in value.arguments)
        case Case():
            return any(_tests(part, below) for branch in value.branches for part in branch) or _tests(
                value.otherwise, below
            )
        case Call() if value.type.is_number:
            return any(_tests(part, below) for part in value.arguments)
        case Cast() if value.type.is_number:
            return _tests(value.input, below)
        case _:
            return True


def _order(node: Limit) -> Sort | None:
    """Return the order in which a LIMIT takes its rows, if it has one."""
    below = node.input
    while isinstance(below, Project | Limit):
        below = below.input
    return below if isinstance(below, Sort) else None


def _values(keys: Sequence[SortKey]) -> Iterator[Expression]:
    return (key.value for key in keys)
