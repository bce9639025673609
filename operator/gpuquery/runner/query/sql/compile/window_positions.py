"""Functions that only windows have: ranks, and the value in another row of the partition or of the frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.compile.failures import fail_where
from gpuquery.runner.query.sql.compile.window_frames import FAR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.runner.query.sql.compile.window_frames import Ordered, Range
    from gpuquery.runner.query.sql.plan import WindowCall

RANKS = frozenset({"row_number", "rank", "dense_rank", "percent_rank", "cume_dist", "ntile"})
OFFSETS = frozenset({"lag", "lead"})
VALUES = frozenset({"first_value", "last_value", "nth_value"})


def rank(window: Ordered, call: WindowCall) -> pl.Expr:
    """Return the rank of each row in its partition; rows that are equal by the order are peers."""
    at = window.at
    rows = at.end - at.first
    match call.function:
        case "row_number":
            return at.row - at.first + 1
        case "rank":
            return at.peers - at.first + 1
        case "dense_rank":
            return at.group - at.group.gather(at.first) + 1
        case "percent_rank":
            others = (rows - 1).cast(pl.Float64)
            return pl.when(others > 0).then((at.peers - at.first).cast(pl.Float64) / others).otherwise(0.0)
        case "cume_dist":
            return (at.peers_end - at.first).cast(pl.Float64) / rows.cast(pl.Float64)
        case _:
            return _ntile(window, call)


def _ntile(window: Ordered, call: WindowCall) -> pl.Expr:
    """Return the number of the row's part; the first parts have one row more where the rows do not come out even."""
    at = window.at
    parts = window.sheet.value(call.arguments[0]).expr.cast(pl.Int64)
    shown = parts.cast(pl.String)
    parts = window.sheet.one(fail_where(parts, parts < 1, "ntile needs a positive number; it is {}", call.place, shown))
    row, rows = at.row - at.first, at.end - at.first
    small, more = rows // parts, rows % parts
    large = more * (small + 1)
    return pl.when(row < large).then(row // (small + 1)).otherwise(more + (row - large) // small) + 1


class VisibleRows:
    """The rows that a function sees: all, or with IGNORE NULLS those in which its argument is known."""

    def __init__(self, window: Ordered, value: pl.Expr, *, ignore_nulls: bool) -> None:
        self._known = value.is_not_null() if ignore_nulls else None
        self._at = window.at
        if self._known is not None:
            self._seen = window.sheet.one(self._known.cast(pl.Int64).cum_sum())

    def before(self, row: pl.Expr) -> pl.Expr:
        """Return how many rows are kept before a row number."""
        if self._known is None:
            return row
        return pl.when(row > 0).then(self._seen.gather(pl.when(row > 0).then(row - 1).otherwise(0))).otherwise(0)

    def row(self, number: pl.Expr, when: pl.Expr) -> pl.Expr:
        """Return the row that is kept as the one of a number, counted from 0; NULL where a condition is not TRUE."""
        number = pl.when(when).then(number)
        return number if self._known is None else self._at.row.filter(self._known).gather(number)


def value_in_frame(window: Ordered, call: WindowCall, ranges: Sequence[Range]) -> pl.Expr:
    """Return the first, last or nth value of the frame; NULL where it has no such row."""
    sheet = window.sheet
    value = sheet.one(sheet.value(call.arguments[0]).expr)
    kept = VisibleRows(window, value, ignore_nulls=call.ignore_nulls)
    pieces = [tuple(sheet.add(kept.before(piece.low), kept.before(piece.high))) for piece in ranges]
    found: list[pl.Expr] = []
    if call.function == "last_value":
        found = [kept.row(high - 1, high > low) for low, high in reversed(pieces)]
    else:
        wanted = pl.lit(1, dtype=pl.Int64)
        if call.function == "nth_value":
            wanted = sheet.value(call.arguments[1]).expr.cast(pl.Int64)
        for low, high in pieces:
            found.append(kept.row(low + wanted - 1, (wanted >= 1) & (wanted <= high - low)))
            wanted = pl.when(wanted > 0).then(wanted - (high - low))
    return value.gather(sheet.one(pl.coalesce(found)))


def value_at_offset(window: Ordered, call: WindowCall) -> pl.Expr:
    """Return the value some rows before (`lag`) or after the row; outside of the partition the default.

    Of an unknown offset it is NULL. With IGNORE NULLS only rows with a value are counted, and offset 0 is the row.
    """
    at, sheet = window.at, window.sheet
    value, offset, default = (sheet.value(argument) for argument in call.arguments)
    column = sheet.one(value.expr)
    step = offset.expr.cast(pl.Int64).clip(-FAR, FAR)
    step = sheet.one(-step if call.function == "lag" else step)
    if not call.ignore_nulls:
        found = at.row + step
    else:
        kept = VisibleRows(window, column, ignore_nulls=True)
        before, behind = sheet.add(kept.before(at.row), kept.before(at.row + 1))
        number = pl.when(step < 0).then(before + step).otherwise(behind + step - 1)
        number = sheet.one(number)
        total = column.is_not_null().sum()
        found = pl.when(step == 0).then(at.row).otherwise(kept.row(number, (number >= 0) & (number < total)))
    found = sheet.one(found)
    inside = (found >= at.first) & (found < at.end)
    there = column.gather(pl.when(inside).then(found))
    return pl.when(step.is_null()).then(None).when(inside).then(there).otherwise(default.expr)
