"""Aggregates in two steps: rows of one side of a join are summed up before it, where that makes far fewer of many.

They agree in the keys of the join and of the groups (TPC-DS 4, 11, 74; "eager aggregation", Yan and Larson, 1995).

Sums, counts, least and greatest values can be made of those of parts, and averages of whole numbers of up to 32 bits,
whose sums are exact in 64. Sums of such numbers are left alone, as a result's type depends on how one is summed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from gpuquery.runner.query.sql.plan import (
    Aggregate,
    AggregateCall,
    Call,
    Case,
    Cast,
    Column,
    Expression,
    Item,
    Join,
    JoinKind,
    Literal,
    Match,
    Project,
    Relation,
    With,
)
from gpuquery.runner.query.sql.rules.facts import can_fail
from gpuquery.runner.query.sql.types import BIGINT, DOUBLE, HUGEINT, Kind
from gpuquery.runner.query.sql.walk import columns_used, renumbered, substituted, with_inputs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpuquery.runner.query.sql.rules.estimate import Estimates

MIN_REDUCTION = 4.0
"""The first step must make so many times fewer rows."""
MIN_ROWS = 100_000.0
"""Of so many rows at least; fewer are no work."""
_SUMMED = frozenset({Kind.DECIMAL, Kind.FLOAT, Kind.DOUBLE})
_AVERAGED = frozenset({Kind.INT8, Kind.INT16, Kind.INT32, Kind.UINT8, Kind.UINT16, Kind.UINT32})


def with_eager_aggregation(node: Relation, estimates: Estimates) -> Relation:
    """Return the relation with aggregates in two steps where that pays."""
    if isinstance(node, With):
        shared = with_eager_aggregation(node.shared, estimates)
        estimates.share(node.number, shared)
        return with_inputs(node, [shared, with_eager_aggregation(node.body, estimates)])
    node = with_inputs(node, [with_eager_aggregation(below, estimates) for below in node.inputs])
    if not isinstance(node, Aggregate) or not node.keys or not all(map(_can_be_parted, node.calls)):
        return node
    if node.sets is not None and len(node.sets) > 1:  # the compiler makes all sets of the groups by all keys
        return node
    return _eager(node, estimates) or node


def _can_be_parted(call: AggregateCall) -> bool:
    if call.distinct or call.order or can_fail(call):
        return False
    match call.function:
        case "count":
            return len(call.arguments) <= 1
        case "min" | "max":
            return len(call.arguments) == 1
        case "sum":
            return call.arguments[0].type.kind in _SUMMED
        case "avg":
            return call.arguments[0].type.kind in _AVERAGED
        case _:
            return False


@dataclass(frozen=True)
class _FinalCall:
    """A call of the second step over a column that the first one makes, within the author's CASE if there is one."""

    function: str
    part: Column
    case: Case | None = None
    """Its conditions are about the other side of a join; its first value stands for the part."""

    def call(self, at: Callable[[int], int]) -> AggregateCall:
        """Return the call, with the columns of the conditions renumbered."""
        value: Expression = self.part
        if self.case is not None:
            condition = renumbered(self.case.branches[0][0], at)
            otherwise = replace(self.case.otherwise, type=self.part.type)
            value = replace(self.case, type=self.part.type, branches=((condition, self.part),), otherwise=otherwise)
        return AggregateCall(type=self.part.type, function=self.function, arguments=(value,))


@dataclass
class _TwoSteps:
    """The calls of both steps, and how the results are made of those of the second one."""

    offset: int
    """Where the calls of the first step begin among the columns that the second one sees."""
    first: list[AggregateCall] = field(default_factory=list)
    second: list[_FinalCall] = field(default_factory=list)
    results: list[Expression] = field(default_factory=list)
    """Over the calls of the second step, numbered from 0 on."""

    def add(self, call: AggregateCall, case: Case | None = None) -> Column:
        """Add one part of a call."""
        part = Column(type=call.type, index=self.offset + len(self.first))
        self.first.append(call)
        self.second.append(_FinalCall("sum" if call.function == "count" else call.function, part, case))
        return Column(type=call.type, index=len(self.second) - 1)

    def take(self, call: AggregateCall) -> None:
        """Add a call that is made of its parts."""
        match call.function:
            case "count":
                found = self.add(call)
                none = Literal(type=BIGINT, value=0)
                self.results.append(Call(type=BIGINT, function="coalesce", arguments=(found, none)))
            case "avg":
                total = self.add(replace(call, type=HUGEINT, function="sum"))
                number = self.add(replace(call, type=BIGINT, function="count"))
                sides = (Cast(type=DOUBLE, input=total), Cast(type=DOUBLE, input=number))
                self.results.append(Call(type=DOUBLE, function="/", arguments=sides, place=call.place))
            case _:
                self.results.append(self.add(call))


def _in_two(
    node: Aggregate, below: Relation, keys: Sequence[Item], parts: _TwoSteps, at: Callable[[int], int] = int
) -> Relation:
    """Return the second step, over the first one, and its results in the aggregate's columns."""
    calls = tuple(one.call(at) for one in parts.second)
    second = replace(node, input=below, keys=tuple(keys), calls=calls, names=())
    first = len(keys)
    results = [renumbered(value, lambda index: index + first) for value in parts.results]
    groupings = range(first + len(parts.second), len(second.fields))
    values = [
        *(Column(type=key.value.type, index=i) for i, key in enumerate(keys)),
        *results,
        *(Column(type=BIGINT, index=i) for i in groupings),
    ]
    named = zip(values, node.fields, strict=True)
    return Project(second, tuple(Item(value, one.name) for value, one in named))


def _eager(node: Aggregate, estimates: Estimates) -> Relation | None:
    """Sum up the one side of the join below that all calls are about, before it is joined."""
    join, values = _joined(node.input)
    if join is None:
        return None
    keys = [substituted(key.value, values) for key in node.keys]
    calls = [replace(call, arguments=tuple(substituted(a, values) for a in call.arguments)) for call in node.calls]
    filters = [call.filter and substituted(call.filter, values) for call in node.calls]
    calls = [replace(call, filter=one) for call, one in zip(calls, filters, strict=True)]
    width, total = len(join.left.fields), len(join.fields)
    for side, inside in ((0, range(width)), (1, range(width, total))):
        if any(columns_used(call) for call in calls) and all(_is_about(call, set(inside)) for call in calls):
            return _summed_first(node, join, side, keys, calls, estimates)
    return None


def _is_about(call: AggregateCall, inside: set[int]) -> bool:
    """Whether a call can be made of sums over these columns alone."""
    if columns_used(call) <= inside:
        return True
    case = _pivot(call)
    if case is None:
        return False
    ((condition, value),) = case.branches
    return columns_used(value) <= inside and not columns_used(condition) & inside


def _pivot(call: AggregateCall) -> Case | None:
    """Return the CASE of a sum over one value in some of the rows: sum(CASE WHEN weekday = 1 THEN price ELSE 0 END)."""
    match call:
        case AggregateCall(function="sum", filter=None, arguments=(Case(branches=((_, value),)) as case,)):
            rest = case.otherwise
            nothing = isinstance(rest, Literal) and (rest.value is None or rest.value == 0)
            return case if nothing and value.type == case.type else None
        case _:
            return None


def _joined(node: Relation) -> tuple[Join | None, list[Expression]]:
    """Return the inner join that an aggregate is over, and what the columns between them are."""
    values: list[Expression] = [Column(type=f.type, index=i) for i, f in enumerate(node.fields)]
    while isinstance(node, Project):
        if not all(isinstance(item.value, Column | Literal) for item in node.items):
            return None, []
        items = [item.value for item in node.items]
        values = [substituted(value, items) for value in values]
        node = node.input
    if not isinstance(node, Join) or node.kind is not JoinKind.INNER or node.asof:
        return None, []
    return (node, values) if node.matches and node.condition is None else (None, [])


def _summed_first(
    node: Aggregate,
    join: Join,
    side: int,
    keys: Sequence[Expression],
    calls: Sequence[AggregateCall],
    estimates: Estimates,
) -> Relation | None:
    below = join.inputs[side]
    start = 0 if side == 0 else len(join.left.fields)
    inside = range(start, start + len(below.fields))
    matched = columns_used(*(match.left if side == 0 else match.right for match in join.matches))
    kept = sorted({i - start for i in columns_used(*keys) if i in inside} | matched)
    parts = _TwoSteps(len(kept) + (0 if side == 0 else len(join.left.fields)))
    for call in calls:
        case = None if columns_used(call) <= set(inside) else _pivot(call)
        if case is None:
            parts.take(_moved(call, -start))
        else:
            parts.results.append(parts.add(_moved(replace(call, arguments=(case.branches[0][1],)), -start), case))
    items = tuple(Item(Column(type=below.fields[i].type, index=i), below.fields[i].name) for i in kept)
    first = Aggregate(below, items, tuple(parts.first))
    rows = estimates.rows(below)
    if rows < MIN_ROWS or estimates.rows(first) * MIN_REDUCTION > rows:
        return None
    place = {old: new for new, old in enumerate(kept)}
    matches = tuple(_match(match, side, place) for match in join.matches)
    made = _eager(first, estimates) or first
    sides = (made, join.right) if side == 0 else (join.left, made)
    new = replace(join, left=sides[0], right=sides[1], matches=matches)
    shift = len(sides[0].fields)
    old = len(join.left.fields)

    def at(index: int) -> int:
        """Return where a column of the old join stands in the new one."""
        if index in inside:
            return place[index - start] + (0 if side == 0 else shift)
        return index if index < old else index - old + shift

    named = zip(keys, node.keys, strict=True)
    return _in_two(node, new, [Item(renumbered(key, at), one.name) for key, one in named], parts, at)


def _moved(call: AggregateCall, by: int) -> AggregateCall:
    found = renumbered(call, lambda index: index + by)
    assert isinstance(found, AggregateCall)
    return found


def _match(match: Match, side: int, place: dict[int, int]) -> Match:
    if side == 0:
        return match._replace(left=renumbered(match.left, place.__getitem__))
    return match._replace(right=renumbered(match.right, place.__getitem__))
