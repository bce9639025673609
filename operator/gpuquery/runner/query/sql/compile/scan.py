"""Inputs as the plan's relations: the columns that are read, in the form in which their types are held.

What differs from that form is cast above the scan; conditions are compiled over the casts and stand below them, so that
Polars takes them into the scan itself. A condition above a cast column stays above it (Polars 1.44).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.compile.failures import fail_where
from gpuquery.runner.query.sql.compile.values import Compiled, Value, dtype_of
from gpuquery.runner.query.sql.errors import SqlError
from gpuquery.runner.query.sql.types import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpuquery.runner.query.sql.plan import Scan
    from gpuquery.runner.query.sql.types import Type


def scan(
    node: Scan,
    frame: pl.LazyFrame,
    schema: pl.Schema,
    conditions: Sequence[Callable[[Sequence[Value]], pl.Expr]] = (),
) -> Compiled:
    """Compile a scan, and conditions that stand above it, over its columns."""
    names = tuple(field.name for field in node.columns)
    types = tuple(field.type for field in node.columns)
    if missing := [name for name in names if name not in schema]:
        raise SqlError(f'the input "{node.table}" has no column "{missing[0]}"')
    values = [Value(as_plan_type(name, schema[name], kind), kind) for name, kind in zip(names, types, strict=True)]
    for condition in conditions:
        frame = frame.filter(condition(values))
    if not names:  # its rows count
        return Compiled(frame, (), ())
    return Compiled(frame.select(value.expr for value in values), names, types)


def as_plan_type(name: str, dtype: pl.DataType, kind: Type) -> pl.Expr:
    """Return a column of an input in the form in which its type is held."""
    column, wanted = pl.col(name), dtype_of(kind)
    if dtype == wanted:
        return column
    if kind.kind == Kind.TIMESTAMP_TZ and isinstance(dtype, pl.Datetime):
        moment = column if dtype.time_zone == "UTC" else column.dt.convert_time_zone("UTC")
        return moment if dtype.time_unit == "us" else _whole(name, dtype, moment.cast(wanted), kind)
    if isinstance(dtype, pl.Duration):
        return _whole(name, dtype, column.cast(wanted), kind)
    # Wider decimals cannot fail, and Polars pushes a cast that may fail into no scan that has another condition.
    return column.cast(wanted, strict=not isinstance(dtype, pl.Decimal))


def _whole(name: str, dtype: pl.Datetime | pl.Duration, made: pl.Expr, kind: Type) -> pl.Expr:
    """Return microseconds made of nanoseconds, which fail where a part of one would be lost."""
    if dtype.time_unit != "ns":
        return made
    lost = pl.col(name).to_physical() % 1000 != 0
    words = f'column "{name}" has parts of a microsecond, which a {kind} does not hold: use query.python'
    return fail_where(made, lost, words, None)
