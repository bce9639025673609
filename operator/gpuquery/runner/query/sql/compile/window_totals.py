"""Aggregates over frames by arithmetic on whole columns.

Whole numbers and decimals have exact running totals, so a frame's sum is the difference of two of them. Anything else
(least, greatest, sums of floating-point numbers, where a difference would lose digits and a NaN spoil all that follows)
is combined from the totals of 1, 2, 4, 8 ... rows: a frame of 13 rows is 1 and 4 and 8 of them. Frames that start with
their partition take a running total of the partition.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.compile.aggregate_functions_basic import MAY_OVERFLOW, UNORDERED, quotient
from gpuquery.runner.query.sql.compile.failures import fail_where, too_large
from gpuquery.runner.query.sql.compile.values import dtype_of
from gpuquery.runner.query.sql.compile.window_frames import constant
from gpuquery.runner.query.sql.plan import FrameUnit
from gpuquery.runner.query.sql.types import Kind, Type

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.runner.query.sql.compile.window_frames import Ordered, Range
    from gpuquery.runner.query.sql.plan import Bound, Frame, WindowCall

_LEVELS = 31
"""Powers of two up to the rows that a frame may have."""
_SMALL = frozenset({Kind.INT8, Kind.INT16, Kind.INT32, Kind.INT64, Kind.UINT8, Kind.UINT16, Kind.UINT32})
_WHOLE = _SMALL | {Kind.BOOLEAN, Kind.DATE, Kind.TIME, Kind.TIMESTAMP, Kind.TIMESTAMP_TZ, Kind.INTERVAL}
"""Kinds whose values are 64-bit numbers in their order."""

Operator = Callable[[pl.Expr, pl.Expr], pl.Expr]
Running = Callable[[pl.Expr], pl.Expr]


@dataclass(frozen=True)
class Rule:
    """How two totals are combined, the total of nothing, and Polars' running total."""

    combine: Operator
    nothing: float
    running: Running


_ADD = Rule(lambda a, b: a + b, 0, lambda expr: expr.cum_sum())
_MULTIPLY = Rule(lambda a, b: a * b, 1, lambda expr: expr.cum_prod())
_LEAST = Rule(pl.min_horizontal, 2**63 - 1, lambda expr: expr.cum_min())
_GREATEST = Rule(pl.max_horizontal, -(2**63), lambda expr: expr.cum_max())


@dataclass(frozen=True)
class FramedCall:
    """A call over frames: its argument in the rows that count, NULL in the others, and the frames."""

    window: Ordered
    node: WindowCall
    frame: Frame
    ranges: Sequence[Range]
    value: pl.Expr | None
    type: Type
    counts: pl.Expr
    """Whether a row counts: FILTER holds and the argument is known."""

    def exact_sum(self, values: pl.Expr) -> pl.Expr:
        """Return the sum of exact numbers without NULLs, by differences of running totals."""
        total = self.window.sheet.one(values.cum_sum())

        def until(row: pl.Expr) -> pl.Expr:
            before = pl.when(row > 0).then(row - 1).otherwise(0)
            return pl.when(row > 0).then(total.gather(before)).otherwise(0)

        return reduce(_ADD.combine, [until(piece.high) - until(piece.low) for piece in self.ranges])

    def count(self) -> pl.Expr:
        """Return how many rows count."""
        return self.window.sheet.one(self.exact_sum(self.counts.cast(pl.Int64)))

    def combine_by(self, values: pl.Expr, rule: Rule) -> pl.Expr:
        """Return the total of values without NULLs by a rule."""
        column = self.window.sheet.one(values)
        return reduce(rule.combine, [self._piece(column, piece, rule) for piece in self.ranges])

    def _piece(self, values: pl.Expr, piece: Range, rule: Rule) -> pl.Expr:
        sheet, first = self.window.sheet, self.window.at.first
        if not piece.from_first and not piece.to_end:
            return self._by_powers(values, piece, rule)
        # Polars 1.44: `cum_sum(reverse=True)` of decimals gives the totals in the wrong order
        running = rule.running(values) if piece.from_first else rule.running(values.reverse()).reverse()
        running = sheet.one(running.over(first))
        row = piece.high - 1 if piece.from_first else piece.low
        filled = piece.length > 0
        there = running.gather(pl.when(filled).then(row).otherwise(0))
        return sheet.one(pl.when(filled).then(there).otherwise(rule.nothing))

    def _by_powers(self, values: pl.Expr, piece: Range, rule: Rule) -> pl.Expr:
        sheet, end = self.window.sheet, self.window.at.end
        length, row = sheet.add(piece.length, piece.low)
        total = pl.when(row < 0).then(values).otherwise(rule.nothing)
        for level in range(_levels(self.frame)):
            size = 2**level
            taken = (length // size) % 2 == 1
            there = values.gather(pl.when(taken).then(row).otherwise(0))
            # not `shift`: Polars 1.44's streaming engine takes long for a shift by more rows than there are
            whole = self.window.at.row + 2 * size <= end
            behind = values.gather(pl.when(whole).then(self.window.at.row + size).otherwise(0))
            total, row, values = sheet.add(
                pl.when(taken).then(rule.combine(total, there)).otherwise(total),
                pl.when(taken).then(row + size).otherwise(row),
                pl.when(whole).then(rule.combine(values, behind)).otherwise(rule.nothing),
            )
        return total


def _levels(frame: Frame) -> int:
    """Return how many powers of two the longest frame needs."""
    bounds = (frame.start, frame.end)
    if frame.unit is not FrameUnit.ROWS or any(bound.unbounded for bound in bounds):
        return _LEVELS
    start, end = (_constant(bound) for bound in bounds)
    if start is None or end is None:
        return _LEVELS
    return min(_LEVELS, max(1, end - start + 1).bit_length())


def _constant(bound: Bound) -> int | None:
    step = 0 if bound.offset is None else constant(bound.offset)
    return step if step is None or bound.following else -step


def _count(call: FramedCall) -> pl.Expr:
    if call.value is None and call.node.filter is None:
        return reduce(_ADD.combine, [piece.length for piece in call.ranges])
    return call.count()


def _count_if(call: FramedCall) -> pl.Expr:
    assert call.value is not None
    return pl.when(call.count() > 0).then(
        call.exact_sum((call.counts & call.value).fill_null(value=False).cast(pl.Int64))
    )


def _total(call: FramedCall) -> pl.Expr:
    """Return the sum of the values that count; 0 where none does."""
    assert call.value is not None
    if call.type.is_float:
        return call.combine_by(call.value.cast(pl.Float64).fill_null(0.0), _ADD)
    if call.type.kind is Kind.BOOLEAN or call.type.kind in _SMALL - {Kind.INT64}:
        return call.exact_sum(call.value.cast(pl.Int64).fill_null(0))
    if call.type.precision > MAY_OVERFLOW or call.type.kind is Kind.INT128:
        return _wide(call)
    return call.exact_sum(call.value.cast(pl.Decimal(38, call.type.scale)).fill_null(0))


def _wide(call: FramedCall) -> pl.Expr:
    """Return the sum of decimals that may need more than 38 digits, and fail where it does.

    Polars fails at that too, but without words of ours; so what is certainly too much is looked for before.
    """
    assert call.value is not None
    values = call.window.sheet.one(call.value.cast(pl.Decimal(38, call.type.scale)).fill_null(0))
    rough = values.cast(pl.Float64).cum_sum().over(call.window.at.first).abs()
    bad = call.window.sheet.one(rough >= 1.001 * 10.0 ** (38 - call.type.scale))
    if not any(piece.from_first or piece.to_end for piece in call.ranges):
        return call.combine_by(values, _ADD)
    words = too_large(f"the {call.node.function}")
    return call.combine_by(fail_where(values, bad, words, call.node.place), _ADD)


def _sum(call: FramedCall) -> pl.Expr:
    return pl.when(call.count() > 0).then(_total(call).cast(dtype_of(call.node.type)))


def _avg(call: FramedCall) -> pl.Expr:
    if call.type.is_float:
        return _total(call) / pl.when(call.count() > 0).then(call.count()).cast(pl.Float64)
    return quotient(_total(call), call.count(), call.type, call.window.sheet.target)


def _product(call: FramedCall) -> pl.Expr:
    assert call.value is not None
    return pl.when(call.count() > 0).then(call.combine_by(call.value.cast(pl.Float64).fill_null(1.0), _MULTIPLY))


def _extreme(call: FramedCall, rule: Rule) -> pl.Expr:
    """Return the least or greatest value: by numbers that have the values' order, as texts and NaNs are in it too."""
    assert call.value is not None
    dtype = dtype_of(call.type)
    if call.type.kind in _WHOLE:
        numbers = call.value.to_physical().cast(pl.Int64)
    else:
        numbers = call.value.rank("dense").cast(pl.Int64) - 1
    found = call.combine_by(numbers.fill_null(pl.lit(int(rule.nothing), dtype=pl.Int64)), rule)
    found = pl.when(call.count() > 0).then(found)
    if call.type.kind is Kind.BOOLEAN:
        return found == 1
    if call.type.kind in _WHOLE:
        return found.cast(dtype)
    return call.value.drop_nulls().unique().sort().gather(found)


def is_supported(call: WindowCall) -> bool:
    """Return whether a call is a total that is computed here."""
    kinds = [argument.type for argument in call.arguments]
    if call.function not in TOTALS or call.distinct or len(kinds) > 1:
        return False
    if call.function in ("sum", "avg", "sum_no_overflow", "product"):
        return all(kind.is_number or kind.kind is Kind.BOOLEAN for kind in kinds)
    return all(kind.kind not in UNORDERED for kind in kinds) or call.function == "count"


TOTALS: dict[str, Callable[[FramedCall], pl.Expr]] = {
    "count": _count,
    "count_if": _count_if,
    "sum": _sum,
    "sum_no_overflow": _sum,
    "avg": _avg,
    "product": _product,
    **dict.fromkeys(("min", "bool_and"), lambda call: _extreme(call, _LEAST)),
    **dict.fromkeys(("max", "bool_or"), lambda call: _extreme(call, _GREATEST)),
}
