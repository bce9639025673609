"""SINGLE joins: a sub-query that is used as a value has one row for each row around it, or none.

A second one fails. Where the plan itself tells that there is none, the join is compiled as a left join (`unique`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.compile.failures import fail_where
from gpuquery.runner.query.sql.compile.names import fresh
from gpuquery.runner.query.sql.compile.pairs import matching, on_pairs, picked, unconditional
from gpuquery.runner.query.sql.compile.sides import Pair, Sides
from gpuquery.runner.query.sql.compile.values import Compiled, dtype_of
from gpuquery.runner.query.sql.types import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.runner.query.sql.compile.target import Target
    from gpuquery.runner.query.sql.types import Type

SECOND_ROW = "a sub-query that is used as a value has more than one row: aggregate it, or add LIMIT 1"


def single(found: Sides) -> Compiled:
    """Compile a SINGLE join of two sides that are not swapped."""
    if not found.on and not found.rest:
        return Compiled(picked(_only(found), found.names), found.names, found.types)
    if found.rest:
        pairs, keys, tags = matching(found, found.right.names)
        on = tuple(Pair(key, tag, True) for key, tag in zip(keys, tags, strict=True))
        found = replace(found, right=replace(found.right, frame=pairs), on=on, rest=())
    keys = [pair.right for pair in found.on]
    count, values = _counted(found, keys)
    right = found.right.frame.group_by(keys).agg(values)
    frame = on_pairs(found.on, found.left.frame, right, "left").filter(_once(count))
    return Compiled(picked(frame, found.names), found.names, found.types)


def _only(found: Sides) -> pl.LazyFrame:
    """Join the one row of the right side, or NULLs in its place."""
    count, values = _counted(found, ())
    right = found.right.frame.select(values).filter(_once(count))
    return unconditional(found, found.left.frame, right, "inner")


def _counted(found: Sides, keys: Sequence[str]) -> tuple[str, list[pl.Expr]]:
    """Return what makes one row of equal keys, and the name of its count of rows."""
    count = fresh("rows", found.taken)
    columns = zip(found.right.names, found.right.types, strict=True)
    values = [_value(name, kind, found.target) for name, kind in columns if name not in keys]
    return count, [*values, pl.len().alias(count)]


def _value(name: str, kind: Type, target: Target) -> pl.Expr:
    """Return the value of the one row. cudf-polars 26.10 runs `first` on one partition."""
    if not target.gpu or kind.kind in (Kind.LIST, Kind.STRUCT):
        return pl.col(name).first()
    # Of one number the mean is the number, and NaN stays NaN, which a maximum on a GPU leaves out.
    return pl.col(name).mean().cast(dtype_of(kind)) if kind.is_float else pl.col(name).max()


def _once(count: str) -> pl.Expr:
    return fail_where(pl.lit(True), pl.col(count) > 1, SECOND_ROW)
