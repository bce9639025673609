"""SINGLE joins: a sub-query that is used as a value has one row for each row around it, or none.

A second one fails. Where the plan itself tells that there is none, the join is compiled as a left join (`unique`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.compile.failures import fail_where
from gpuquery.runner.query.sql.compile.names import unique_name
from gpuquery.runner.query.sql.compile.pairs import cross_join, join_on, matching_left_values, select_columns
from gpuquery.runner.query.sql.compile.sides import JoinSides, Pair
from gpuquery.runner.query.sql.compile.values import Compiled, dtype_of
from gpuquery.runner.query.sql.types import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.runner.query.sql.compile.target import Target
    from gpuquery.runner.query.sql.types import Type

SECOND_ROW = "a sub-query that is used as a value has more than one row: aggregate it, or add LIMIT 1"


def single(sides: JoinSides) -> Compiled:
    """Compile a SINGLE join of two sides that are not swapped."""
    if not sides.on and not sides.rest:
        return Compiled(select_columns(_only(sides), sides.names), sides.names, sides.types)
    if sides.rest:
        pairs, keys, tags = matching_left_values(sides, sides.right.names)
        on = tuple(Pair(key, tag, True) for key, tag in zip(keys, tags, strict=True))
        sides = replace(sides, right=replace(sides.right, frame=pairs), on=on, rest=())
    keys = [pair.right for pair in sides.on]
    count, values = _counted(sides, keys)
    right = sides.right.frame.group_by(keys).agg(values)
    frame = join_on(sides.on, sides.left.frame, right, "left").filter(_once(count))
    return Compiled(select_columns(frame, sides.names), sides.names, sides.types)


def _only(sides: JoinSides) -> pl.LazyFrame:
    """Join the one row of the right side, or NULLs in its place."""
    count, values = _counted(sides, ())
    right = sides.right.frame.select(values).filter(_once(count))
    return cross_join(sides, sides.left.frame, right, "inner")


def _counted(sides: JoinSides, keys: Sequence[str]) -> tuple[str, list[pl.Expr]]:
    """Return what makes one row of equal keys, and the name of its count of rows."""
    count = unique_name("rows", sides.taken)
    columns = zip(sides.right.names, sides.right.types, strict=True)
    values = [_value(name, kind, sides.target) for name, kind in columns if name not in keys]
    return count, [*values, pl.len().alias(count)]


def _value(name: str, kind: Type, target: Target) -> pl.Expr:
    """Return the value of the one row. cudf-polars 26.10 runs `first` on one partition."""
    if not target.gpu or kind.kind in (Kind.LIST, Kind.STRUCT):
        return pl.col(name).first()
    # Of one number the mean is the number, and NaN stays NaN, which a maximum on a GPU leaves out.
    return pl.col(name).mean().cast(dtype_of(kind)) if kind.is_float else pl.col(name).max()


def _once(count: str) -> pl.Expr:
    return fail_where(pl.lit(True), pl.col(count) > 1, SECOND_ROW)
