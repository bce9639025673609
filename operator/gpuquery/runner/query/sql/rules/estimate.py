"""How many rows a relation has, roughly: from the inputs' rows and the bounds of their columns.

Only the order of joins and `explain` ask. The usual assumptions hold: values are spread evenly, columns do not depend
on one another, and the smaller key set of a join is within the larger one (Selinger et al., 1979).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gpuquery.runner.query.sql.plan import (
    Aggregate,
    Call,
    Cast,
    Column,
    Distinct,
    Expression,
    Filter,
    Join,
    JoinKind,
    Limit,
    Literal,
    Project,
    Recursive,
    Reference,
    Relation,
    Scan,
    SetKind,
    SetOperation,
    Sort,
    Unnest,
    Values,
    Window,
    With,
)
from gpuquery.runner.query.sql.rules.bounds import number
from gpuquery.runner.query.sql.rules.statistics import NONE, Statistics
from gpuquery.runner.query.sql.types import INTEGERS, Kind
from gpuquery.runner.query.sql.walk import FLIPPED, conjuncts, disjuncts

if TYPE_CHECKING:
    from collections.abc import Sequence

ROWS = 1_000_000.0
"""Of an input of which nothing is known."""
_EQUAL, _RANGE, _LIKE, _UNEQUAL, _NULL, _OTHER = 0.1, 0.3, 0.1, 0.9, 0.05, 0.3
"""Shares of the rows that fulfil a condition about a column of which nothing is known."""
_COUNTED = INTEGERS | {Kind.DATE, Kind.DECIMAL, Kind.BOOLEAN}
"""Types of which bounds tell how many values there may be."""


@dataclass(frozen=True)
class ColumnEstimate:
    """The values of a column: at most so many different ones, and their bounds as numbers."""

    distinct: float | None = None
    low: float | None = None
    high: float | None = None
    origin: tuple[int, float] | None = None
    """A number for the relation that it comes from, and how many rows that has: columns of one relation have together
    no more different values than it has rows."""


@dataclass(frozen=True)
class Estimate:
    """The rows of a relation and the spread of each column."""

    rows: float
    columns: tuple[ColumnEstimate, ...]

    def distinct(self, index: int) -> float:
        """Return how many different values a column has at most."""
        found = self.columns[index].distinct
        return max(1.0, self.rows if found is None else min(found, self.rows))


class Estimates:
    """Guesses about relations of one plan, each made once. A relation of a With must be told before its references."""

    def __init__(self, statistics: Statistics | None) -> None:
        self._statistics = statistics or NONE
        self._known: dict[int, tuple[Relation, Estimate]] = {}
        self._shared: dict[int, Estimate] = {}

    def share(self, number: int, shared: Relation) -> None:
        """Remember what the references to a number stand for."""
        self._shared[number] = self.of(shared)

    def rows(self, node: Relation) -> float:
        """Return the rows of a relation."""
        return self.of(node).rows

    def of(self, node: Relation) -> Estimate:
        """Return what is guessed of a relation."""
        known = self._known.get(id(node))
        if known is None:
            known = node, self._guess(node)
            self._known[id(node)] = known
        return known[1]

    def _guess(self, node: Relation) -> Estimate:  # noqa: PLR0912
        match node:
            case Scan():
                return self._scan(node)
            case Values():
                return Estimate(
                    float(len(node.rows)), tuple(ColumnEstimate(float(len(node.rows))) for _ in node.columns)
                )
            case Filter():
                return filtered(self.of(node.input), conjuncts(node.condition))
            case Project():
                below = self.of(node.input)
                return Estimate(below.rows, tuple(_spread(item.value, below) for item in node.items))
            case Join():
                return joined(node, self.of(node.left), self.of(node.right))
            case Aggregate():
                return self._aggregate(node)
            case Window() | Unnest():
                below = self.of(node.input)
                more = len(node.fields) - len(below.columns)
                return Estimate(below.rows, below.columns + (ColumnEstimate(),) * more)
            case Limit():
                below = self.of(node.input)
                return below if node.count is None else replace(below, rows=min(below.rows, float(node.count)))
            case Distinct():
                below = self.of(node.input)
                keys = [_spread(key, below) for key in node.on] or list(below.columns)
                return replace(below, rows=_groups(keys, below.rows))
            case Sort():
                return self.of(node.input)
            case SetOperation():
                return self._set_operation(node)
            case With():
                self.share(node.number, node.shared)
                return self.of(node.body)
            case Recursive():
                base = self.of(node.base)
                self._shared[node.number] = base
                return replace(base, rows=base.rows * 10)
            case Reference():
                return self._shared.get(node.number) or _unknown(len(node.columns))
            case _:
                return _unknown(len(node.fields))

    def _scan(self, node: Scan) -> Estimate:
        facts = self._statistics.table(node.table)
        rows = ROWS if facts.rows is None else float(facts.rows)
        origin = id(node), max(1.0, rows)
        columns = []
        for field in node.columns:
            known = self._statistics.column(node.table, field.name)
            low, high = number(known.low), number(known.high)
            spread = ColumnEstimate(None if known.distinct is None else float(known.distinct), low, high, origin)
            if spread.distinct is None and low is not None and high is not None and field.type.kind in _COUNTED:
                steps = (high - low) * 10.0**field.type.scale + 1
                spread = replace(spread, distinct=min(rows, steps))
            columns.append(spread)
        return Estimate(max(1.0, rows), tuple(columns))

    def _aggregate(self, node: Aggregate) -> Estimate:
        below = self.of(node.input)
        keys = tuple(_spread(item.value, below) for item in node.keys)
        sets = node.sets if node.sets is not None else (tuple(range(len(keys))),)
        rows = sum(_groups([keys[i] for i in chosen], below.rows) for chosen in sets)
        return Estimate(rows, keys + (ColumnEstimate(),) * (len(node.fields) - len(keys)))

    def _set_operation(self, node: SetOperation) -> Estimate:
        sides = [self.of(side) for side in node.sides]
        if node.kind is not SetKind.UNION:
            return replace(sides[0], rows=max(1.0, sides[0].rows * 0.5))
        columns = tuple(_either(spreads) for spreads in zip(*(side.columns for side in sides), strict=True))
        return Estimate(sum(side.rows for side in sides), columns)


def _unknown(width: int) -> Estimate:
    return Estimate(ROWS, (ColumnEstimate(),) * width)


def _spread(node: Expression, below: Estimate) -> ColumnEstimate:
    match node:
        case Column():
            return below.columns[node.index]
        case Literal():
            value = number(node.value)
            return ColumnEstimate(1.0, value, value)
        case Cast() if isinstance(node.input, Column):
            return below.columns[node.input.index]
        case _:
            return ColumnEstimate()


def _either(spreads: Sequence[ColumnEstimate]) -> ColumnEstimate:
    distinct = [s.distinct for s in spreads]
    low, high = [s.low for s in spreads], [s.high for s in spreads]
    return ColumnEstimate(
        sum(d for d in distinct if d is not None) if None not in distinct else None,
        min(v for v in low if v is not None) if None not in low else None,
        max(v for v in high if v is not None) if None not in high else None,
    )


def _groups(keys: Sequence[ColumnEstimate], rows: float) -> float:
    """Return the number of groups: of a column of which nothing is known a tenth of the rows."""
    product, of_origins = 1.0, dict[tuple[int, float], float]()
    for key in keys:
        most = min(rows, key.origin[1]) if key.origin else rows
        values = max(1.0, most / 10 if key.distinct is None else min(key.distinct, most))
        if key.origin is None:
            product *= values
        else:
            of_origins[key.origin] = min(key.origin[1], of_origins.get(key.origin, 1.0) * values)
    return max(1.0, min(rows, product * math.prod(of_origins.values())))


def filtered(below: Estimate, conditions: Sequence[Expression]) -> Estimate:
    """Return what is left after a filter."""
    share, columns = 1.0, list(below.columns)
    for condition in conditions:
        share *= _selectivity(condition, below, columns)
    return _with_fewer_values(Estimate(max(1.0, below.rows * share), tuple(columns)))


def _selectivity(node: Expression, below: Estimate, columns: list[ColumnEstimate]) -> float:  # noqa: PLR0912
    """Return the share of the rows that fulfil a condition; narrow the spread of the column that it is about."""
    match node:
        case Literal():
            return 1.0 if node.value is True else 0.0
        case Call(function="and", arguments=arguments):
            return math.prod(_selectivity(part, below, columns) for part in arguments)
        case Call(function="or"):
            none = math.prod(1.0 - _selectivity(part, below, list(columns)) for part in disjuncts(node))
            return 1.0 - none
        case Call(function="not", arguments=(part,)):
            return 1.0 - _selectivity(part, below, list(columns))
        case Call(function="in", arguments=(value, *candidates)):
            one = _equal(value, columns)
            if isinstance(value, Column):
                columns[value.index] = replace(columns[value.index], distinct=float(len(candidates)))
            return min(0.6, one * len(candidates))
        case Call(function="is null"):
            return _NULL
        case Call(function="is not null"):
            return 1.0 - _NULL
        case Call(function="=" | "is not distinct from", arguments=(left, right)):
            return _equality(left, right, columns)
        case Call(function="<>" | "is distinct from"):
            return _UNEQUAL
        case Call(function="<" | "<=" | ">" | ">=", arguments=(left, right)):
            return _inequality(node.function, left, right, columns)
        case Call(function=function) if "like" in function or function in (
            "contains",
            "starts_with",
            "ends_with",
            "glob",
        ):
            return _LIKE
        case _:
            return _OTHER


def _equal(value: Expression, columns: Sequence[ColumnEstimate]) -> float:
    if isinstance(value, Column):
        found = columns[value.index].distinct
        if found is not None:
            return 1.0 / max(1.0, found)
    return _EQUAL


def _equality(left: Expression, right: Expression, columns: list[ColumnEstimate]) -> float:
    if isinstance(left, Literal):
        left, right = right, left
    share = _equal(left, columns) if isinstance(right, Literal) else min(_equal(left, columns), _equal(right, columns))
    if isinstance(left, Column) and isinstance(right, Literal):
        value = number(right.value)
        known = columns[left.index]
        if value is not None and known.low is not None and known.high is not None:
            share = share if known.low <= value <= known.high else 0.0
        columns[left.index] = replace(known, distinct=1.0, low=value, high=value)
    return share


def _inequality(function: str, left: Expression, right: Expression, columns: list[ColumnEstimate]) -> float:
    if isinstance(left, Literal):
        return _inequality(FLIPPED[function], right, left, columns) if not isinstance(right, Literal) else _RANGE
    value = number(right.value) if isinstance(right, Literal) else None
    if not isinstance(left, Column) or value is None:
        return _RANGE
    known = columns[left.index]
    if known.low is None or known.high is None or known.high <= known.low:
        return _RANGE
    width = known.high - known.low
    upper = function in ("<", "<=")
    share = ((value - known.low) if upper else (known.high - value)) / width
    share = min(1.0, max(0.0, share))
    edge = min(known.high, value) if upper else max(known.low, value)
    distinct = None if known.distinct is None else max(1.0, known.distinct * share)
    low, high = (known.low, edge) if upper else (edge, known.high)
    columns[left.index] = replace(known, distinct=distinct, low=low, high=high)
    return max(share, 1.0 / width if width > 1 else 0.0)


def joined(node: Join, left: Estimate, right: Estimate) -> Estimate:
    """Return what a join gives."""
    keys = [(m.left, m.right) for m in node.matches if m.operator in ("=", "is not distinct from")]
    others = len(node.matches) - len(keys) + len(conjuncts(node.condition))
    pairs = pair_rows(left, right, keys) * _OTHER**others
    match node.kind:
        case JoinKind.INNER:
            return _with_fewer_values(Estimate(max(1.0, pairs), left.columns + right.columns))
        case JoinKind.SEMI:
            return _with_fewer_values(replace(left, rows=max(1.0, left.rows * _matched_fraction(left, right, keys))))
        case JoinKind.ANTI:
            return _with_fewer_values(
                replace(left, rows=max(1.0, left.rows * max(0.1, 1 - _matched_fraction(left, right, keys))))
            )
        case JoinKind.MARK:
            return Estimate(left.rows, (*left.columns, ColumnEstimate(2.0)))
        case JoinKind.SINGLE:
            return Estimate(left.rows, left.columns + right.columns)
        case JoinKind.LEFT:
            return Estimate(max(left.rows, pairs), left.columns + right.columns)
        case JoinKind.RIGHT:
            return Estimate(max(right.rows, pairs), left.columns + right.columns)
        case _:
            return Estimate(max(left.rows, right.rows, pairs), left.columns + right.columns)


def _with_fewer_values(guess: Estimate) -> Estimate:
    rows = guess.rows
    kept = tuple([_less(column, rows) for column in guess.columns])
    return Estimate(rows, kept)


def _less(column: ColumnEstimate, rows: float) -> ColumnEstimate:
    distinct, origin = column.distinct, column.origin
    if (distinct is None or distinct <= rows) and (origin is None or origin[1] <= rows):
        return column
    distinct = None if distinct is None else min(distinct, rows)
    return replace(column, distinct=distinct, origin=origin and (origin[0], min(origin[1], rows)))


def pair_rows(left: Estimate, right: Estimate, keys: Sequence[tuple[Expression, Expression]]) -> float:
    """Return how many pairs of rows have equal keys: all pairs, less by the larger number of different keys."""
    if not keys:
        return left.rows * right.rows
    return left.rows * right.rows / max(_keys(left, [k for k, _ in keys]), _keys(right, [k for _, k in keys]))


def _keys(guess: Estimate, keys: Sequence[Expression]) -> float:
    return max(1.0, min(guess.rows, math.prod(_distinct(key, guess) for key in keys)))


def _distinct(key: Expression, guess: Estimate) -> float:
    found = _spread(key, guess).distinct
    return guess.rows if found is None else max(1.0, found)


def _matched_fraction(left: Estimate, right: Estimate, keys: Sequence[tuple[Expression, Expression]]) -> float:
    if not keys:
        return 0.5
    return min(1.0, _keys(right, [k for _, k in keys]) / _keys(left, [k for k, _ in keys]))
