"""Windows in the form that cudf-polars translates: functions over the rows of a partition, ordered by one number.

cudf-polars 26.10 shares the rows among its partitions by the keys of `over(...)`, and knows aggregates, ranks, running
sums and shifts there. It has no running least or greatest value, and no frame whose bounds depend on a value: those are
refused here, and run on the CPU (`window_totals`, `window_rows`).
"""

from __future__ import annotations

from functools import cached_property, reduce
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.compile.aggregate_functions_basic import UNORDERED, quotient
from gpuquery.runner.query.sql.compile.failures import fail_where
from gpuquery.runner.query.sql.compile.values import Value, dtype_of
from gpuquery.runner.query.sql.compile.window_frames import FAR, constant, is_whole_partition
from gpuquery.runner.query.sql.compile.window_rows import INDIFFERENT, Inputs
from gpuquery.runner.query.sql.compile.window_sheet import checked
from gpuquery.runner.query.sql.compile.window_totals import is_supported
from gpuquery.runner.query.sql.errors import SqlError
from gpuquery.runner.query.sql.plan import Exclude, FrameUnit
from gpuquery.runner.query.sql.types import Kind, Type

if TYPE_CHECKING:
    from gpuquery.runner.query.sql.compile.window_sheet import Sheet
    from gpuquery.runner.query.sql.plan import Bound, Frame, WindowCall

WIDEST = 64
"""Rows of a frame that is put together from that many shifted columns."""
_NARROW = frozenset({Kind.INT8, Kind.INT16, Kind.INT32, Kind.UINT8, Kind.UINT16, Kind.UINT32, Kind.BOOLEAN})
_WHOLE = INDIFFERENT | {"any_value", "count_if", "stddev_samp", "stddev_pop", "var_samp", "var_pop", "sem"}
"""Functions that are translated within a partition."""
_RANKS = frozenset({"row_number", "rank", "dense_rank", "percent_rank", "cume_dist", "ntile"})


class Partition:
    """The rows of a sheet by partition and order."""

    def __init__(self, sheet: Sheet, call: WindowCall) -> None:
        self.sheet = sheet
        self.call = call
        checked(call.order)
        self.one = sheet.one(pl.lit(1, dtype=pl.Int64))
        self.keys = [sheet.key(node) for node in call.partition] or [self.one]

    @cached_property
    def rows(self) -> pl.Expr:
        """How many rows the partition has."""
        return self.sheet.one(self.one.sum().over(self.keys))

    @cached_property
    def number(self) -> pl.Expr:
        """The order as one number, equal for peers."""
        number: pl.Expr | None = None
        for key in self.call.order:
            value = self.sheet.key(key.value)
            ranked = value.rank("dense", descending=key.descending).over(self.keys).cast(pl.Int64)
            place = pl.lit(0, dtype=pl.Int64) if key.nulls_first else self.rows + 1
            ranked = self.sheet.one(ranked)
            rank = self.sheet.one(pl.when(ranked.is_null()).then(place).otherwise(ranked))
            if number is None:
                number = rank
                continue
            # ranks are at most the rows and one, so two of them make one number of 64 bits
            both = self.sheet.one(number * (self.rows + 2) + rank)
            number = self.sheet.one(both.rank("dense").over(self.keys).cast(pl.Int64))
        return self.one if number is None else number

    @cached_property
    def row(self) -> pl.Expr:
        """The number of the row in the order, from 1; peers stand in any order, but each at one place."""
        if not self.call.order:
            return self.sheet.one(self.one.cum_sum().over(self.keys))
        return self.sheet.one(self.number.rank("ordinal").over(self.keys).cast(pl.Int64))

    @cached_property
    def last_peer(self) -> pl.Expr:
        """The number of the last row that is equal to this one by the order."""
        return self.sheet.one(self.row.max().over([*self.keys, self.number]))

    @cached_property
    def first_peer(self) -> pl.Expr:
        """The number of the first row that is equal to this one by the order."""
        return self.sheet.one(self.row.min().over([*self.keys, self.number]))

    def shifted(self, value: pl.Expr, rows: int) -> pl.Expr:
        """Return the value so many rows behind, NULL outside of the partition."""
        if rows == 0:
            return value
        if abs(rows) >= FAR:
            return self.sheet.one(pl.when(self.one < 0).then(value))
        if not self.sheet.target.full_groups:  # no shift within a partition
            raise self.refuse("over this frame" if self.call.frame else "over a partition")
        return self.sheet.one(value.shift(-rows).over(self.keys, order_by=self.row))

    def picked(self, value: pl.Expr, kind: Type, chosen: pl.Expr, *, peers: bool = False) -> pl.Expr:
        """Return the value in the one row of the partition, or of the peers, for which a condition holds."""
        keys = [*self.keys, self.number] if peers else self.keys
        if kind.kind in UNORDERED:
            raise self.refuse(f"of {kind}")
        if kind.kind is Kind.BOOLEAN:
            value = value.cast(pl.Int8)
        alone = self.sheet.one(pl.when(chosen).then(value))
        if kind.is_float:  # libcudf leaves NaNs out of the greatest value, and out of no sum
            found, known = self.sheet.add(alone.sum().over(keys), alone.count().over(keys))
            return pl.when(known > 0).then(found)
        found = self.sheet.one(alone.max().over(keys))
        return found == 1 if kind.kind is Kind.BOOLEAN else found

    def refuse(self, what: str) -> SqlError:
        """Return the refusal of the call."""
        return SqlError(
            f"{self.call.function} {what} does not run on GPUs with RAPIDS {self.sheet.target.release}: "
            'use engine "cpu"',
            self.call.place,
        )


def over(sheet: Sheet, call: WindowCall) -> pl.Expr:
    """Return a call as an expression over a sheet, for GPUs."""
    rows = Partition(sheet, call)
    if call.argument_order:
        raise rows.refuse("with ORDER BY of its own")
    if call.function in _RANKS:
        return _rank(rows)
    if call.function in ("lag", "lead"):
        return _offset(rows)
    if call.frame is None:
        raise rows.refuse("over a partition")
    if call.function in ("first_value", "last_value", "nth_value"):
        return _value(rows, call.frame)
    if call.function in _WHOLE and is_whole_partition(call.frame, call.order):
        return Inputs(sheet, call).expression().over(rows.keys)
    if call.distinct and call.function in _WHOLE:
        raise rows.refuse("with DISTINCT over this frame")
    if call.function in ("count", "sum", "avg") and is_supported(call):
        return _total(rows, call.frame)
    if call.function in ("min", "max"):
        return _extreme(rows, call.frame)
    raise rows.refuse("over this frame")


def _rank(rows: Partition) -> pl.Expr:
    match rows.call.function:
        case "row_number":
            return rows.row
        case "rank":
            return rows.first_peer if rows.call.order else rows.one
        case "dense_rank":
            return rows.number.rank("dense").over(rows.keys) if rows.call.order else rows.one
        case "percent_rank":
            first = rows.first_peer if rows.call.order else rows.one
            others = (rows.rows - 1).cast(pl.Float64)
            return pl.when(others > 0).then((first - 1).cast(pl.Float64) / others).otherwise(0.0)
        case "cume_dist":
            last = rows.last_peer if rows.call.order else rows.rows
            return last.cast(pl.Float64) / rows.rows.cast(pl.Float64)
    parts = rows.sheet.value(rows.call.arguments[0]).expr.cast(pl.Int64)
    parts = rows.sheet.one(fail_where(parts, parts < 1, "ntile needs a positive number", rows.call.place))
    row = rows.row - 1
    small, more = rows.rows // parts, rows.rows % parts
    large = more * (small + 1)
    return pl.when(row < large).then(row // (small + 1)).otherwise(more + (row - large) // small) + 1


def _offset(rows: Partition) -> pl.Expr:
    call = rows.call
    value, _, default = (rows.sheet.value(argument) for argument in call.arguments)
    step = constant(call.arguments[1])
    if call.ignore_nulls or step is None:
        raise rows.refuse("with IGNORE NULLS" if call.ignore_nulls else "with an offset that is not a constant")
    step = -step if call.function == "lag" else step
    there = rows.shifted(rows.sheet.one(value.expr), step)
    if default.literal is not None and default.literal.value is None:
        return there
    inside = (rows.row + step >= 1) & (rows.row + step <= rows.rows)
    return pl.when(inside).then(there).otherwise(default.expr)


def _value(rows: Partition, frame: Frame) -> pl.Expr:
    call = rows.call
    if call.ignore_nulls or frame.exclude is not Exclude.NO_OTHERS:
        raise rows.refuse("with IGNORE NULLS" if call.ignore_nulls else "with EXCLUDE")
    value = rows.sheet.value(call.arguments[0])
    first, last = _first(rows, frame), _last(rows, frame)
    if call.function == "nth_value":
        nth = constant(call.arguments[1])
        if nth is None or not frame.start.unbounded:
            raise rows.refuse("over this frame")
        found = rows.picked(value.expr, value.type, rows.row == nth)
        return pl.when(last >= nth).then(found)
    if call.function == "first_value" and frame.start.unbounded:
        found = rows.picked(value.expr, value.type, rows.row == 1)
        return pl.when(last >= 1).then(found)
    if call.function == "last_value" and frame.end.unbounded:
        found = rows.picked(value.expr, value.type, rows.row == rows.rows)
        return pl.when(first <= rows.rows).then(found)
    bound = frame.start if call.function == "first_value" else frame.end
    if bound.offset is None and frame.unit is FrameUnit.ROWS:
        return value.expr
    if bound.offset is None:
        edge = first if call.function == "first_value" else last
        return rows.picked(value.expr, value.type, rows.row == edge, peers=True)
    raise rows.refuse("over this frame")


def _first(rows: Partition, frame: Frame) -> pl.Expr:
    """Return the number of the frame's first row; it may lie outside of the partition."""
    if frame.start.unbounded:
        return rows.one
    if frame.start.offset is None:
        return rows.row if frame.unit is FrameUnit.ROWS else rows.first_peer
    return rows.row + _step(rows, frame, frame.start)


def _last(rows: Partition, frame: Frame) -> pl.Expr:
    if frame.end.unbounded:
        return rows.rows
    if frame.end.offset is None:
        return rows.row if frame.unit is FrameUnit.ROWS else rows.last_peer
    return rows.row + _step(rows, frame, frame.end)


def _step(rows: Partition, frame: Frame, bound: Bound) -> int:
    """Return by how many rows a bound is behind the row."""
    if bound.offset is None:
        return 0
    step = constant(bound.offset) if frame.unit is FrameUnit.ROWS else None
    if step is None:
        raise rows.refuse(f"over {frame.unit} with a distance")
    return min(step, FAR) if bound.following else -min(step, FAR)


def _arguments(rows: Partition) -> tuple[Value | None, pl.Expr | None, pl.Expr]:
    """Return the argument, its value in the rows that count (NULL in others), and 1 or 0: whether a row counts."""
    inputs = Inputs(rows.sheet, rows.call)
    value = inputs.arguments[0] if inputs.arguments else None
    test = inputs.filter
    expr = None if value is None else value.expr
    if expr is not None and test is not None:
        expr = pl.when(test).then(expr)
    known = expr.is_not_null() if expr is not None else test
    counts = rows.one if known is None else rows.sheet.one(known.cast(pl.Int64))
    return value, expr, counts


def _total(rows: Partition, frame: Frame) -> pl.Expr:
    value, expr, counts = _arguments(rows)
    count = rows.sheet.one(_added(rows, frame, counts))
    if rows.call.function == "count" or value is None or expr is None:
        return count
    if value.type.is_float:
        total = _floats(rows, frame, rows.sheet.one(expr.cast(pl.Float64).fill_null(0.0)))
        average = total / count.cast(pl.Float64)
    else:
        wide = pl.Int64() if value.type.kind in _NARROW else pl.Decimal(38, value.type.scale)
        total = rows.sheet.one(_added(rows, frame, rows.sheet.one(expr.cast(wide).fill_null(0))))
        average = quotient(total, count, value.type, rows.sheet.target)
    return pl.when(count > 0).then(average if rows.call.function == "avg" else total.cast(dtype_of(rows.call.type)))


def _added(rows: Partition, frame: Frame, values: pl.Expr) -> pl.Expr:
    """Return the sum of exact numbers without NULLs over each frame: a difference of running totals."""
    if frame.exclude is not Exclude.NO_OTHERS:
        raise rows.refuse("with EXCLUDE")
    running = rows.sheet.one(values.cum_sum().over(rows.keys, order_by=rows.row))

    def until(step: int) -> pl.Expr:
        there = rows.shifted(running, step)
        total = rows.sheet.one(values.sum().over(rows.keys))
        target = rows.row + step
        return pl.when(target < 1).then(running - running).when(target > rows.rows).then(total).otherwise(there)

    zero = running - running
    ends, peers = frame.unit is not FrameUnit.ROWS, [*rows.keys, rows.number]
    if frame.end.unbounded:
        upper = values.sum().over(rows.keys)
    elif frame.end.offset is None and ends:
        upper = pl.when(rows.row == rows.last_peer).then(running).otherwise(zero)
        upper = rows.sheet.one(upper).sum().over(peers)
    else:
        upper = until(_step(rows, frame, frame.end))
    if frame.start.unbounded:
        lower = zero
    elif frame.start.offset is None and ends:
        lower = pl.when(rows.row == rows.first_peer).then(running - values).otherwise(zero)
        lower = rows.sheet.one(lower).sum().over(peers)
    else:
        lower = until(_step(rows, frame, frame.start) - 1)
    upper, lower = rows.sheet.add(upper, lower)
    return pl.when(_last(rows, frame) >= _first(rows, frame)).then(upper - lower).otherwise(zero)


def _floats(rows: Partition, frame: Frame, values: pl.Expr) -> pl.Expr:
    """Return the sum of floating-point numbers: a difference of running totals would lose digits."""
    if frame.exclude is not Exclude.NO_OTHERS:
        raise rows.refuse("with EXCLUDE")
    if not frame.start.unbounded:
        return reduce(lambda a, b: a + b, [v.fill_null(0.0) for v in _shifts(rows, frame, values)])
    if frame.end.unbounded:
        return values.sum().over(rows.keys)
    running = rows.sheet.one(values.cum_sum().over(rows.keys, order_by=rows.row))
    if frame.end.offset is not None:
        raise rows.refuse("of floating-point numbers over this frame")
    if frame.unit is FrameUnit.ROWS:
        return running
    return rows.picked(running, Type(Kind.DOUBLE), rows.row == rows.last_peer, peers=True)


def _shifts(rows: Partition, frame: Frame, value: pl.Expr) -> list[pl.Expr]:
    """Return the values of a short frame of ROWS, each as a column; NULL where the frame has no such row."""
    bounded = not frame.start.unbounded and not frame.end.unbounded
    if not bounded or frame.unit is not FrameUnit.ROWS or frame.exclude is not Exclude.NO_OTHERS:
        raise rows.refuse("over this frame")
    steps = range(_step(rows, frame, frame.start), _step(rows, frame, frame.end) + 1)
    if len(steps) > WIDEST:
        raise rows.refuse(f"over a frame of more than {WIDEST} rows")
    return [rows.shifted(value, step) for step in steps] or [pl.when(rows.one < 0).then(value)]


def _extreme(rows: Partition, frame: Frame) -> pl.Expr:
    value, expr, _ = _arguments(rows)
    if value is None or expr is None or value.type.is_float:
        raise rows.refuse("of floating-point numbers over this frame")
    column = rows.sheet.one(expr)
    least = rows.call.function == "min"

    def better(one: pl.Expr, other: pl.Expr) -> pl.Expr:
        wins = other < one if least else other > one
        return pl.when(one.is_null() | wins.fill_null(value=False)).then(other).otherwise(one)

    return reduce(lambda one, other: rows.sheet.one(better(one, other)), _shifts(rows, frame, column))
