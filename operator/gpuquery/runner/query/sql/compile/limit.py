"""LIMIT and OFFSET, of rows or of percent, and WITH TIES."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.compile import expression
from gpuquery.runner.query.sql.compile.names import unique_names
from gpuquery.runner.query.sql.compile.sort import ordered
from gpuquery.runner.query.sql.errors import SqlError

if TYPE_CHECKING:
    from gpuquery.runner.query.sql.compile.target import Target
    from gpuquery.runner.query.sql.compile.values import Compiled
    from gpuquery.runner.query.sql.plan import Limit


def limit(node: Limit, below: Compiled, target: Target) -> Compiled:
    """Compile a limit over rows in their order."""
    frame = below.frame
    if node.percent is not None:
        return replace(below, frame=_percent(frame, node.percent, node.offset, target))
    if node.offset:
        frame = frame.slice(node.offset)
    if node.count is not None:
        frame = _with_ties(node, replace(below, frame=frame), target) if node.ties else frame.head(node.count)
    return replace(below, frame=frame)


def _percent(frame: pl.LazyFrame, percent: float, offset: int, target: Target) -> pl.LazyFrame:
    """Return a share of all rows, cut to whole rows, from the offset on (DuckDB 2.0)."""
    if target.gpu:
        raise SqlError("LIMIT in percent needs all rows in one place: give LIMIT a number of rows, or use engine: cpu")
    at = pl.int_range(pl.len(), dtype=pl.Int64)
    count = (pl.len() * (percent / 100)).floor().cast(pl.Int64)
    return frame.filter((at >= offset) & (at < count + offset))


def _with_ties(node: Limit, below: Compiled, target: Target) -> pl.LazyFrame:
    """Return the first rows, and the ones behind that are equal to the last of them by the order's keys."""
    assert node.count is not None
    if node.count == 0:
        return below.frame.head(0)
    values = [expression.expression(key.value, below.values(), target).expr for key in node.ties]
    keys, lasts = unique_names(["key"] * len(values), below.names), unique_names(["last"] * len(values), below.names)
    frame = below.frame.with_columns(value.alias(key) for value, key in zip(values, keys, strict=True))
    last = frame.slice(node.count - 1, 1).select(pl.col(key).alias(name) for key, name in zip(keys, lasts, strict=True))
    tied = frame.join(last, left_on=keys, right_on=lasts, how="semi", nulls_equal=True)
    before = frame.head(node.count).join(last, left_on=keys, right_on=lasts, how="anti", nulls_equal=True)
    both = replace(below, frame=pl.concat([before, tied]))
    return ordered(both, node.ties, target).select(below.names)
