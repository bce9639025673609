"""Any aggregate over any frame: the rows of each frame side by side, grouped by the row that they are the frame of.

This is exact for every function, with DISTINCT and ORDER BY, and takes time and memory of rows times frame: it is for
what no arithmetic on whole columns gives (`window_totals`), such as a running median. Frames that have more than `MOST`
rows together fail while the query runs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.compile.aggregate_functions import aggregate
from gpuquery.runner.query.sql.compile.failures import fail_where
from gpuquery.runner.query.sql.compile.values import Value
from gpuquery.runner.query.sql.compile.window_frames import ranges
from gpuquery.runner.query.sql.errors import SqlError
from gpuquery.runner.query.sql.plan import AggregateCall, Column, SortKey
from gpuquery.runner.query.sql.types import BIGINT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.runner.query.sql.compile.window_frames import Ordered
    from gpuquery.runner.query.sql.compile.window_sheet import Sheet
    from gpuquery.runner.query.sql.errors import Place
    from gpuquery.runner.query.sql.plan import WindowCall

MAX_FRAME_ROWS = 100_000_000
"""Rows of all frames together: some gigabytes."""
INDIFFERENT = frozenset({"count", "sum", "avg", "min", "max", "bool_and", "bool_or"})
"""Functions to which the order of the rows is nothing; there are more, which may take their rows in order."""


def call_of(call: WindowCall) -> AggregateCall:
    """Return a call of a window as one of a group."""
    return AggregateCall(
        type=call.type,
        place=call.place,
        function=call.function,
        arguments=call.arguments,
        distinct=call.distinct,
        filter=call.filter,
        order=call.argument_order,
    )


class Inputs:
    """What a call reads, as columns of a sheet."""

    def __init__(self, sheet: Sheet, call: WindowCall) -> None:
        self.call = call_of(call)
        self.target = sheet.target
        self.arguments = [sheet.value(argument) for argument in call.arguments]
        self.order = [(sheet.value(key.value), key) for key in call.argument_order]
        self.filter = None if call.filter is None else sheet.condition(call.filter)

    def expression(self, order: Sequence[tuple[Value, SortKey]] = ()) -> pl.Expr:
        """Return the aggregate, for a group; `order` comes behind the call's own."""
        call = replace(self.call, order=(*self.call.order, *(key for _, key in order)))
        return aggregate(call, self.arguments, [*self.order, *order], self.filter, self.target)

    def columns(self) -> list[pl.Expr]:
        """Return the columns that the aggregate reads."""
        read = [value.expr for value in self.arguments if value.literal is None]
        read += [value.expr for value, _ in self.order if value.literal is None]
        return [*read, *([] if self.filter is None else [self.filter])]


@dataclass(frozen=True)
class FrameAggregate:
    """The values of a call for rows with a frame that is not empty, by the row's identity; what it is of no rows."""

    frame: pl.LazyFrame
    column: str
    nothing: object

    def joined(self, frame: pl.LazyFrame, identity: str) -> pl.LazyFrame:
        """Return a frame with the column."""
        joined = frame.join(self.frame, on=identity, how="left")
        return joined if self.nothing is None else joined.with_columns(pl.col(self.column).fill_null(self.nothing))


def over_rows(window: Ordered, call: WindowCall, identity: str, made: str) -> FrameAggregate:
    """Return an aggregate over the rows of each frame, as a column `made`; `identity` is one of the sheet."""
    sheet, row = window.sheet, window.at.row
    if call.frame is None:
        raise SqlError(f"{call.function} needs a frame", call.place)
    pieces = ranges(window, call.frame)
    inputs = Inputs(sheet, call)
    total = pl.sum_horizontal(piece.length for piece in pieces).sum()
    words = f"{call.function} over these frames has to see {{}} rows, more than {MAX_FRAME_ROWS}: use a narrower frame"
    checked = [
        fail_where(piece.low, total > MAX_FRAME_ROWS, words, _place(call), total.cast(pl.String)) for piece in pieces
    ]
    lists = [pl.int_ranges(low, piece.high) for low, piece in zip(checked, pieces, strict=True)]
    rows = sheet.one(pl.concat_list(lists))
    member = sheet.name()
    # one place where the rows are sorted: the order of ties must be the same on both sides of the join
    sheet.frame = sheet.frame.cache()
    read = {expr.meta.output_name(): expr for expr in inputs.columns()}
    values = sheet.frame.select(row.alias(member), *read.values())
    pairs = sheet.frame.filter(rows.list.len() > 0).select(identity, rows.alias(member))
    pairs = pairs.explode(member, empty_as_null=False).join(values, on=member)
    order: tuple[tuple[Value, SortKey], ...] = ()
    if call.function not in INDIFFERENT:
        order = ((Value(pl.col(member), BIGINT), SortKey(Column(type=BIGINT, index=0))),)
    expr = inputs.expression(order)
    nothing = pl.DataFrame(schema=values.collect_schema()).select(expr).item()  # of a count 0, of most others NULL
    return FrameAggregate(pairs.group_by(identity).agg(expr.alias(made)), made, nothing)


def _place(call: WindowCall) -> Place | None:
    """Return the call's place, or that of its first argument: calls of windows may have none."""
    places = [call.place, *(argument.place for argument in call.arguments)]
    return next((place for place in places if place), None)
