"""UNION, INTERSECT and EXCEPT, with and without ALL: rows are equal column by column, NULL to NULL."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Literal

import polars as pl

from gpuquery.runner.query.sql.compile.explode import exploded
from gpuquery.runner.query.sql.compile.groups import GroupKey, distinct_rows, group_rows
from gpuquery.runner.query.sql.compile.names import unique_names
from gpuquery.runner.query.sql.compile.target import CPU
from gpuquery.runner.query.sql.compile.values import Compiled, dtype_of
from gpuquery.runner.query.sql.errors import SqlError
from gpuquery.runner.query.sql.plan import SetKind, SetOperation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.runner.query.sql.compile.target import Target


def set_operation(node: SetOperation, sides: Sequence[Compiled], target: Target) -> Compiled:
    """Compile a set operation; the columns are called as the first side's."""
    names = unique_names(field.name for field in node.fields)
    types = tuple(field.type for field in node.fields)
    frames = [_like(side, names, [dtype_of(kind) for kind in types]) for side in sides]
    if node.kind == SetKind.UNION:
        frame = pl.concat(frames)
        return Compiled(frame if node.all else distinct_rows(frame, names, types, target), names, types)
    if node.all and target.gpu:
        raise SqlError(
            f"{node.kind} ALL counts equal rows, which GPU engines do not support: leave ALL out, or use engine: cpu"
        )

    def combined(left: pl.LazyFrame, right: pl.LazyFrame) -> pl.LazyFrame:
        keys = [GroupKey(name, name, kind) for name, kind in zip(names, types, strict=True)]
        return _counted(node.kind, left, right, keys) if node.all else _matched(node.kind, left, right, keys, target)

    return Compiled(reduce(combined, frames), names, types)


def _like(side: Compiled, names: Sequence[str], dtypes: Sequence[pl.DataType]) -> pl.LazyFrame:
    """Return a side with the columns of the first one."""
    pairs = zip(side.values(), dtypes, strict=True)
    exprs = [value.expr if dtype_of(value.type) == dtype else value.expr.cast(dtype) for value, dtype in pairs]
    return side.frame.select(expr.alias(name) for expr, name in zip(exprs, names, strict=True))


def _matched(
    kind: SetKind, left: pl.LazyFrame, right: pl.LazyFrame, keys: Sequence[GroupKey], target: Target
) -> pl.LazyFrame:
    how: Literal["semi", "anti"] = "semi" if kind == SetKind.INTERSECT else "anti"
    names = [key.name for key in keys]
    return group_rows(left, keys, [], target).join(right, on=names, how=how, nulls_equal=True)


def _counted(kind: SetKind, left: pl.LazyFrame, right: pl.LazyFrame, keys: Sequence[GroupKey]) -> pl.LazyFrame:
    """Keep the smaller of both counts of equal rows, or their difference."""
    names = [key.name for key in keys]
    here, there, *tags = unique_names(["here", "there", *names], names)
    counted = group_rows(left, keys, [pl.len().cast(pl.Int64).alias(here)], CPU)
    others = [pl.col(name).alias(tag) for name, tag in zip(names, tags, strict=True)]
    other = right.group_by(others).agg(pl.len().cast(pl.Int64).alias(there))
    both = counted.join(other, left_on=names, right_on=tags, how="left", nulls_equal=True, coalesce=False)
    a, b = pl.col(here), pl.col(there).fill_null(0)
    times = pl.min_horizontal(a, b) if kind == SetKind.INTERSECT else a - b
    repeated = both.with_columns(times.alias(here)).filter(a > 0)
    return exploded(repeated.with_columns(pl.int_ranges(0, a).alias(here)), [here]).select(names)
