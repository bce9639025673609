"""Which rows a frame holds: one to three ranges of row numbers for each row, after EXCLUDE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.compile.expression import expression
from gpuquery.runner.query.sql.compile.failures import fail_where
from gpuquery.runner.query.sql.errors import SqlError
from gpuquery.runner.query.sql.plan import Call, Cast, Exclude, Frame, FrameUnit, Interval, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.runner.query.sql.compile.window_sheet import Positions, Sheet
    from gpuquery.runner.query.sql.plan import Bound, Expression, SortKey

_NEGATIVE = "the distance of a frame's bound must not be negative or NULL; found {}"
FAR = 2**40
"""Rows: more than a partition has, and little enough to be added to a row's number."""


@dataclass(frozen=True)
class Range:
    """The rows from `low` to before `high`, columns of row numbers in the partition; `low` is at most `high`."""

    low: pl.Expr
    high: pl.Expr
    from_first: bool = False
    """Whether `low` is the partition's first row, for every row."""
    to_end: bool = False
    """Whether `high` is the partition's end, for every row."""

    @property
    def length(self) -> pl.Expr:
        """How many rows it holds."""
        return self.high - self.low


@dataclass(frozen=True)
class Ordered:
    """A sorted sheet, where its rows stand, and the order."""

    sheet: Sheet
    at: Positions
    order: Sequence[SortKey]


def ranges(window: Ordered, frame: Frame) -> list[Range]:
    """Return the ranges that make up the frame of each row, in their order; they do not overlap."""
    low = _start(window, frame)
    high = _end(window, frame)
    at, sheet = window.at, window.sheet
    low = sheet.one(low.clip(at.first, at.end)) if low is not at.first else low
    high = sheet.one(pl.max_horizontal(high.clip(at.first, at.end), low))
    is_whole_partition = Range(low, high, from_first=frame.start.unbounded, to_end=frame.end.unbounded)
    match frame.exclude:
        case Exclude.NO_OTHERS:
            return [is_whole_partition]
        case Exclude.CURRENT_ROW:
            return _around(sheet, is_whole_partition, at.row, at.row + 1)
        case Exclude.GROUP:
            return _around(sheet, is_whole_partition, at.peers, at.peers_end)
        case Exclude.TIES:
            before, after = _around(sheet, is_whole_partition, at.peers, at.peers_end)
            inside = (at.row >= low) & (at.row < high)
            return [before, Range(at.row, sheet.one(at.row + inside.cast(pl.Int64))), after]


def _around(sheet: Sheet, is_whole_partition: Range, out: pl.Expr, out_end: pl.Expr) -> list[Range]:
    """Return a range without the rows from `out` to before `out_end`."""
    before = pl.min_horizontal(is_whole_partition.high, pl.max_horizontal(is_whole_partition.low, out))
    after = pl.max_horizontal(is_whole_partition.low, pl.min_horizontal(is_whole_partition.high, out_end))
    before, after = sheet.add(before, after)
    return [
        Range(is_whole_partition.low, before, from_first=is_whole_partition.from_first),
        Range(after, is_whole_partition.high, to_end=is_whole_partition.to_end),
    ]


def _start(window: Ordered, frame: Frame) -> pl.Expr:
    bound, at = frame.start, window.at
    if bound.unbounded:
        return at.first
    if bound.offset is None:
        return at.row if frame.unit is FrameUnit.ROWS else at.peers
    match frame.unit:
        case FrameUnit.ROWS:
            return at.row + _distance(window, bound)
        case FrameUnit.GROUPS:
            return _group(window, at.group + _distance(window, bound))
        case FrameUnit.RANGE:
            return pl.when(_known(window)).then(_reached(window, bound, start=True)).otherwise(at.peers)


def _end(window: Ordered, frame: Frame) -> pl.Expr:
    bound, at = frame.end, window.at
    if bound.unbounded:
        return at.end
    if bound.offset is None:
        return at.row + 1 if frame.unit is FrameUnit.ROWS else at.peers_end
    match frame.unit:
        case FrameUnit.ROWS:
            return at.row + _distance(window, bound) + 1
        case FrameUnit.GROUPS:
            return _group(window, at.group + _distance(window, bound) + 1)
        case FrameUnit.RANGE:
            return pl.when(_known(window)).then(_reached(window, bound, start=False)).otherwise(at.peers_end)


def _distance(window: Ordered, bound: Bound) -> pl.Expr:
    """Return how many rows or groups a bound is away; negative: before the row."""
    assert bound.offset is not None
    offset = window.sheet.value(bound.offset)
    checked = _checked(offset.expr.cast(pl.Int64), bound)
    far = checked.clip(upper_bound=FAR)
    return far if bound.following else -far


def _checked(offset: pl.Expr, bound: Bound) -> pl.Expr:
    assert bound.offset is not None
    bad = offset.is_null() | (offset < 0)
    return fail_where(offset, bad, _NEGATIVE, bound.offset.place, offset.cast(pl.String).fill_null("NULL"))


def _group(window: Ordered, number: pl.Expr) -> pl.Expr:
    """Return the row at which a group of peers starts; behind the last one, and before the first, a row outside."""
    at = window.at
    inside = number.clip(1, at.group.max())
    found = at.row.filter(at.starts).gather(inside - 1)
    return pl.when(number < 1).then(0).when(number > at.group.max()).then(pl.len()).otherwise(found)


def _known(window: Ordered) -> pl.Expr:
    return window.sheet.key(window.order[0].value).is_not_null()


def _reached(window: Ordered, bound: Bound, *, start: bool) -> pl.Expr:
    """Return the first row of the partition at or behind a value, or for an end the row behind the last one at it.

    The rows' keys and the values that are looked for are sorted together: the row that stands next to a value is found
    by filling. What is found in another partition is outside of this one, so the ends of partitions need no care.
    """
    at, key, sheet = window.at, window.order[0], window.sheet
    keys, aim = sheet.key(key.value), sheet.one(_aim(window, bound))
    looking = sheet.one(pl.lit(1 if not start else -1, dtype=pl.Int8))
    here = pl.lit(0, dtype=pl.Int8)
    nothing = pl.when(at.row < 0).then(at.row)
    by = [
        at.first.append(at.first),
        keys.append(aim),
        pl.when(at.row >= 0).then(here).append(looking),
    ]
    down, last = [False, key.descending, False], [True, not key.nulls_first, True]

    def merged(rows: pl.Expr, probes: pl.Expr) -> pl.Expr:
        return rows.append(probes).sort_by(by, descending=down, nulls_last=last)

    if start:
        found = merged(at.peers, nothing).backward_fill().fill_null(FAR)
    else:
        found = merged(at.peers_end, nothing).forward_fill().fill_null(0)
    seeker = merged(nothing, at.row)
    return found.filter(seeker.is_not_null()).sort_by(seeker.drop_nulls())


def _aim(window: Ordered, bound: Bound) -> pl.Expr:
    """Return the value at a distance from the row's own, in the direction of the order."""
    key, offset = window.order[0], bound.offset
    assert offset is not None
    _forward(window, bound)
    forward = bound.following != key.descending
    name = "+" if forward else "-"
    call = Call(type=key.value.type, function=name, arguments=(key.value, offset), place=offset.place)
    aim = expression(call, window.sheet.scope, window.sheet.target).expr
    distance = window.sheet.value(offset)
    if distance.literal is not None:
        return aim
    bad = distance.expr.is_null() | (distance.expr < 0)
    if distance.type.is_float:
        bad |= distance.expr.is_nan()
    return fail_where(aim, bad, _NEGATIVE, offset.place, distance.expr.cast(pl.String).fill_null("NULL"))


def _forward(window: Ordered, bound: Bound) -> None:
    """Refuse a distance that is a constant and goes back."""
    assert bound.offset is not None
    literal = window.sheet.value(bound.offset).literal
    if literal is None:
        return
    parts = literal.value if isinstance(literal.value, Interval) else (literal.value,)
    if any(part is None or not part >= 0 for part in parts):
        raise SqlError(_NEGATIVE.partition(";")[0], bound.offset.place)


def is_whole_partition(frame: Frame | None, order: Sequence[SortKey]) -> bool:
    """Return whether a frame is the whole partition, for every row."""
    if frame is None or frame.exclude is not Exclude.NO_OTHERS:
        return False
    peers = frame.unit is not FrameUnit.ROWS and not order
    start = frame.start.unbounded or (peers and frame.start.offset is None)
    end = frame.end.unbounded or (peers and frame.end.offset is None)
    return start and end


def constant(node: Expression) -> int | None:
    """Return the whole number that an expression is, or None."""
    while isinstance(node, Cast):
        node = node.input
    if isinstance(node, Literal) and isinstance(node.value, int) and not isinstance(node.value, bool):
        return node.value
    return None
