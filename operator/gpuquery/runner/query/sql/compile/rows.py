"""Rows that the text holds (VALUES, and the one row below a SELECT without FROM) as a table in memory."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl

from gpuquery.runner.query.sql.compile import expression
from gpuquery.runner.query.sql.compile.literal import null
from gpuquery.runner.query.sql.compile.names import unique_names
from gpuquery.runner.query.sql.compile.values import Compiled, Value, dtype_of
from gpuquery.runner.query.sql.plan import Interval, Literal
from gpuquery.runner.query.sql.types import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.runner.query.sql.compile.target import Target
    from gpuquery.runner.query.sql.plan import Values
    from gpuquery.runner.query.sql.types import Type

ROW = "row"
"""The column of a table whose rows alone count."""
MAX_COMPUTED_ROWS = 100
"""Rows that are computed where a table in memory will not do."""


def values(node: Values, frames: Mapping[str, pl.LazyFrame], target: Target) -> Compiled:
    """Compile rows of the text: constants to one table, anything else to a row of expressions each.

    Of a table in memory each rank of a GPU engine reads all rows. There a few rows are computed from the number of rows
    of an input, which is one row of all ranks together.
    """
    types = tuple(field.type for field in node.columns)
    names = unique_names(field.name for field in node.columns)
    shared = target.gpu and target.distributed and bool(frames) and len(node.rows) <= MAX_COMPUTED_ROWS
    one = frames[min(frames)].select(pl.len().alias(ROW)) if shared else pl.LazyFrame({ROW: [0]})
    cells = [[expression.expression(cell, (), target) for cell in row] for row in node.rows]
    if not shared and not names:
        return Compiled(pl.LazyFrame({ROW: [0] * len(cells)}), (), ())
    if not shared and all(_plain(cell.literal) for row in cells for cell in row):
        columns = [
            pl.Series(name, [_python(row[i].literal) for row in cells], dtype=dtype_of(kind))
            for i, (name, kind) in enumerate(zip(names, types, strict=True))
        ]
        return Compiled(pl.LazyFrame(columns), names, types)
    rows = [_row(one, row, names, types) for row in cells]
    # Of a limit of 0 Polars would make an empty table in memory.
    nothing = one.filter(pl.col(ROW) < 0)
    frame = pl.concat(rows) if rows else _row(nothing, [null(kind) for kind in types], names, types)
    return Compiled(frame, names, types)


def _row(one: pl.LazyFrame, cells: Sequence[Value], names: Sequence[str], types: Sequence[Type]) -> pl.LazyFrame:
    made = [cell.expr.cast(dtype_of(kind)).alias(n) for cell, n, kind in zip(cells, names, types, strict=True)]
    return one.with_columns(made).select(names) if made else one


def _plain(literal: Literal | None) -> bool:
    """Whether a cell is a constant that can stand in a table as it is."""
    return literal is not None and literal.type.kind not in (Kind.LIST, Kind.STRUCT)


def _python(literal: Literal | None) -> Any:
    match literal.value if literal else None:
        case Interval(_, days, micros):
            return dt.timedelta(days=days, microseconds=micros)
        case int() as number if literal and literal.type.kind in (Kind.INT128, Kind.DECIMAL):
            return Decimal(number)
        case dt.datetime() as moment if literal and literal.type.kind == Kind.TIMESTAMP_TZ and moment.tzinfo is None:
            return moment.replace(tzinfo=dt.UTC)
        case value:
            return value
