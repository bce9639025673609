"""UNNEST: one row for each element; of several lists the shorter ones are filled with NULL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.compile import expression
from gpuquery.runner.query.sql.compile.explode import exploded
from gpuquery.runner.query.sql.compile.names import unique_names
from gpuquery.runner.query.sql.compile.values import Compiled, Value, dtype_of
from gpuquery.runner.query.sql.errors import SqlError
from gpuquery.runner.query.sql.types import Kind

if TYPE_CHECKING:
    from gpuquery.runner.query.sql.compile.target import Target
    from gpuquery.runner.query.sql.plan import Unnest


def unnest(node: Unnest, below: Compiled, target: Target) -> Compiled:
    """Compile lists into rows."""
    if target.gpu:  # cudf-polars 26.10 makes a row of an empty list, and cannot ask for the length of one
        release = f"RAPIDS {target.release}"
        raise SqlError(f"UNNEST does not run on GPUs with {release}: use engine: cpu", node.lists[0].value.place)
    width = len(below.names)
    names = unique_names([*below.names, *(field.name for field in node.fields[width:])])
    types = tuple(field.type for field in node.fields)
    made = names[width:]
    frame = below.frame
    lists = [expression.expression(item.value, below.values(), target) for item in node.lists]
    for one, name in zip(lists, made, strict=True):
        frame = frame.with_columns(_list(one).alias(name))
    sizes = [pl.col(name).list.len() for name in made]
    longest = pl.max_horizontal(sizes) if len(sizes) > 1 else sizes[0]
    frame = frame.filter(longest > 0)
    if len(made) > 1:
        at = pl.int_ranges(0, longest.cast(pl.Int64))
        frame = frame.with_columns(pl.col(name).list.gather(at, null_on_oob=True) for name in made)
    return Compiled(exploded(frame, made).select(names), names, types)


def _list(value: Value) -> pl.Expr:
    """Return a list, empty where there is none."""
    dtype = dtype_of(value.type) if value.type.kind == Kind.LIST else pl.List(pl.Null)
    empty = pl.lit(pl.Series("", [[]], dtype=dtype))
    return empty if value.type.kind == Kind.NULL else pl.coalesce(value.expr, empty)
