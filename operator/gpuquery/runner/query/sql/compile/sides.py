"""The two sides of a join: equal values as columns of both, and the conditions that are left.

Polars joins columns of one type, each pair once, and either all of a join's NULLs are equal or none.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from gpuquery.runner.query.sql.compile import expression
from gpuquery.runner.query.sql.compile.cast import cast
from gpuquery.runner.query.sql.compile.names import unique_name, unique_names
from gpuquery.runner.query.sql.compile.values import Compiled, Value, dtype_of
from gpuquery.runner.query.sql.errors import SqlError
from gpuquery.runner.query.sql.plan import Call, Expression, Join, JoinKind, Literal, Match
from gpuquery.runner.query.sql.types import BIGINT, BOOLEAN, DOUBLE, HUGEINT, Kind, Type, decimal
from gpuquery.runner.query.sql.walk import columns_used, conjuncts, shifted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.runner.query.sql.compile.target import Target

EQUAL, SAME = "=", "is not distinct from"
_TRUE = Literal(type=BOOLEAN, value=True)
_LEFT_GOES = frozenset({JoinKind.INNER, JoinKind.RIGHT, JoinKind.SEMI})
_RIGHT_GOES = frozenset({JoinKind.INNER, JoinKind.LEFT, JoinKind.SEMI, JoinKind.ANTI, JoinKind.SINGLE})
"""Kinds of joins that drop a side's rows without a match, or only ask for them."""


class Pair(NamedTuple):
    """Columns of the left and the right frame that have to be equal."""

    left: str
    right: str
    null_safe: bool


@dataclass(frozen=True)
class _Parts:
    """The conditions of a join by the sides that they read; `left`, `right` and `keys` each over their own side."""

    keys: list[Match] = field(default_factory=list)
    left: list[Expression] = field(default_factory=list)
    right: list[Expression] = field(default_factory=list)
    rest: list[Expression] = field(default_factory=list)
    """Over the columns of both sides."""


@dataclass(frozen=True)
class JoinSides:
    """Both sides, the right one's columns under names that the left one does not have."""

    left: Compiled
    right: Compiled
    """Their frames may have more columns than their names: the keys."""
    on: tuple[Pair, ...]
    rest: tuple[pl.Expr, ...]
    """Conditions over columns of both sides, which are NULL where they are unknown."""
    target: Target
    hidden: tuple[str, ...]
    """Names of what stands for a side without columns."""

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of both sides."""
        return self.left.names + self.right.names

    @property
    def types(self) -> tuple[Type, ...]:
        """Their types."""
        return self.left.types + self.right.types

    @property
    def taken(self) -> set[str]:
        """All names that are in use."""
        return {*self.names, *self.hidden, *(pair.left for pair in self.on), *(pair.right for pair in self.on)}

    @property
    def left_used(self) -> tuple[str, ...]:
        """The columns of the left frame that decide what matches."""
        return tuple(dict.fromkeys([*(pair.left for pair in self.on), *self._roots(self.left)]))

    @property
    def right_used(self) -> tuple[str, ...]:
        """The columns of the right frame that decide what matches."""
        return tuple(dict.fromkeys([*(pair.right for pair in self.on), *self._roots(self.right)]))

    def _roots(self, side: Compiled) -> list[str]:
        names = set(side.names)
        return [name for one in self.rest for name in one.meta.root_names() if name in names]

    def swapped(self) -> JoinSides:
        """Return the right side as the left one."""
        on = tuple(Pair(pair.right, pair.left, pair.null_safe) for pair in self.on)
        return replace(self, left=self.right, right=self.left, on=on)


def join_sides(node: Join, left: Compiled, right: Compiled, target: Target) -> JoinSides:
    """Compile both sides' keys and the conditions that are left."""
    left_rows, right_rows = unique_names(["row", "row"], {*left.names, *right.names})
    left = left if left.names else Compiled(rows_of(left, left_rows), (), ())
    right = _renamed(right, left.names) if right.names else Compiled(rows_of(right, right_rows), (), ())
    parts = _split(node, len(left.names))
    scope = [*left.values(), *right.values()]
    left, keys_of_left = _reduced(left, parts.left, node.kind in _LEFT_GOES, target)
    right, keys_of_right = _reduced(right, parts.right, node.kind in _RIGHT_GOES, target)
    keys = [
        *parts.keys,
        *(Match(condition, _TRUE) for condition in keys_of_left),
        *(Match(_TRUE, condition) for condition in keys_of_right),
    ]
    rest = tuple(expression.condition(one, scope, target) for one in parts.rest)
    return _keyed(JoinSides(left, right, (), rest, target, (left_rows, right_rows)), keys)


def rows_of(side: Compiled, name: str) -> pl.LazyFrame:
    """Return a frame with one constant column and as many rows."""
    return side.frame.with_columns(pl.lit(1, dtype=pl.Int8).alias(name)).select(name)


def _renamed(right: Compiled, taken: Sequence[str]) -> Compiled:
    names = unique_names(right.names, taken)
    if names == right.names:
        return right
    columns = [pl.col(old).alias(new) for old, new in zip(right.names, names, strict=True)]
    return Compiled(right.frame.select(columns), names, right.types)


def _split(node: Join, width: int) -> _Parts:
    parts = _Parts()
    both = [
        Call(type=BOOLEAN, function=match.operator, arguments=(match.left, shifted(match.right, width)))
        for match in node.matches
    ]
    for part in [*both, *conjuncts(node.condition)]:
        at = columns_used(part)
        if not any(index >= width for index in at):
            parts.left.append(part)
        elif not any(index < width for index in at):
            parts.right.append(shifted(part, -width))
        elif (match := _equality(part, width)) is not None:
            parts.keys.append(match)
        else:
            parts.rest.append(part)
    return parts


def _reduced(
    side: Compiled, conditions: list[Expression], goes: bool, target: Target
) -> tuple[Compiled, list[Expression]]:
    """Filter a side of which unmatched rows go; on another side conditions become keys that are equal to TRUE.

    So they fit every kind of join, and keep three values.
    """
    if not goes:
        return side, conditions
    for condition in conditions:
        side = replace(side, frame=side.frame.filter(expression.condition(condition, side.values(), target)))
    return side, []


def _equality(part: Expression, width: int) -> Match | None:
    if not isinstance(part, Call) or part.function not in (EQUAL, SAME):
        return None
    a, b = part.arguments
    for left, right in ((a, b), (b, a)):
        if max(columns_used(left), default=-1) < width and min(columns_used(right), default=width) >= width:
            return Match(left, shifted(right, -width), part.function)
    return None


def _keyed(sides: JoinSides, keys: Sequence[Match]) -> JoinSides:
    """Add the keys that are not columns already; a pair that stands twice counts once."""
    pairs: dict[tuple[str, str], bool] = {}
    left, right = sides.left, sides.right
    taken = sides.taken
    for key in keys:
        a, b = common(
            expression.expression(key.left, left.values(), sides.target),
            expression.expression(key.right, right.values(), sides.target),
        )
        left, one = column(left, a, taken)
        right, other = column(right, b, taken)
        null_safe = key.operator == SAME
        pairs[one, other] = pairs.get((one, other), True) and null_safe
    on = tuple(Pair(one, other, null_safe) for (one, other), null_safe in pairs.items())
    return replace(sides, left=left, right=right, on=on)


def column(side: Compiled, value: Value, taken: set[str]) -> tuple[Compiled, str]:
    """Return the column that holds a value, and the side with it; a constant on both sides is a column too."""
    if value.expr.meta.is_column() and (name := value.expr.meta.output_name()) in side.names:
        return side, name
    name = unique_name("key", taken)
    taken.add(name)
    return replace(side, frame=side.frame.with_columns(value.expr.alias(name))), name


def common(a: Value, b: Value) -> tuple[Value, Value]:
    """Return two values as ones of a type in which they can be equal."""
    if dtype_of(a.type) == dtype_of(b.type):
        return a, b
    kind = _wider(a.type, b.type)
    return cast(a, kind), cast(b, kind)


def _wider(a: Type, b: Type) -> Type:
    if a.is_float or b.is_float:
        return DOUBLE
    if a.is_integer and b.is_integer:
        return HUGEINT if {Kind.INT128, Kind.UINT64} & {a.kind, b.kind} else BIGINT
    if a.is_number and b.is_number:
        return decimal(38, max(a.scale, b.scale))
    if Kind.NULL in (a.kind, b.kind):
        return b if a.kind == Kind.NULL else a
    raise SqlError(f"{a} and {b} cannot be compared in a join: cast one of them")
