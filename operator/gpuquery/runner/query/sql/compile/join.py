"""Joins: what a match is, and what each kind of join keeps.

Where more than equal keys decides, the *different* left values that the conditions read are paired with the right side,
the conditions filter the pairs, and what is left is joined back by equality in which NULL is equal to NULL. That needs
no numbers of rows, which a GPU engine would put on one partition for.

A GPU target has no cross joins: cudf-polars runs one on one partition, and 26.10 fails on the `join_where` that Polars
makes of a cross join with a filter. There the sides are joined on a constant key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import polars as pl

from gpuquery.runner.query.sql.compile.join_asof import asof
from gpuquery.runner.query.sql.compile.join_mark import mark
from gpuquery.runner.query.sql.compile.join_single import single
from gpuquery.runner.query.sql.compile.pairs import join_on_keys, matching_left_values, select_columns
from gpuquery.runner.query.sql.compile.sides import JoinSides, join_sides
from gpuquery.runner.query.sql.compile.values import Compiled, dtype_of
from gpuquery.runner.query.sql.plan import Join, JoinKind

if TYPE_CHECKING:
    from gpuquery.runner.query.sql.compile.target import Target


def join(node: Join, left: Compiled, right: Compiled, target: Target) -> Compiled:
    """Compile a join of two compiled sides."""
    if node.asof:
        return asof(node, left, right, target)
    sides = join_sides(node, left, right, target)
    match node.kind:
        case JoinKind.INNER:
            return Compiled(select_columns(inner(sides), sides.names), sides.names, sides.types)
        case JoinKind.LEFT:
            return Compiled(select_columns(outer(sides), sides.names), sides.names, sides.types)
        case JoinKind.RIGHT:
            return Compiled(select_columns(outer(sides.swapped()), sides.names), sides.names, sides.types)
        case JoinKind.FULL:
            return Compiled(select_columns(full(sides), sides.names), sides.names, sides.types)
        case JoinKind.SEMI | JoinKind.ANTI:
            return Compiled(select_columns(filtering(sides, node.kind), left.names), left.names, left.types)
        case JoinKind.MARK:
            return mark(node, sides)
        case JoinKind.SINGLE:
            return single(sides)


def inner(sides: JoinSides) -> pl.LazyFrame:
    """Return the pairs of rows that match."""
    frame = join_on_keys(sides, sides.left.frame, sides.right.frame, "inner")
    for condition in sides.rest:
        frame = frame.filter(condition)
    return frame


def outer(sides: JoinSides) -> pl.LazyFrame:
    """Return the pairs of rows that match, and the rows of the left side that match none."""
    if not sides.rest:
        return join_on_keys(sides, sides.left.frame, sides.right.frame, "left")
    pairs, keys, tags = matching_left_values(sides, sides.right.names)
    return sides.left.frame.join(pairs, left_on=keys, right_on=tags, how="left", nulls_equal=True, coalesce=False)


def full(sides: JoinSides) -> pl.LazyFrame:
    """Return the pairs of rows that match, and the rows of both sides that match none."""
    kinds = {pair.null_safe for pair in sides.on}
    if not sides.rest and len(kinds) == 1:
        return join_on_keys(sides, sides.left.frame, sides.right.frame, "full")
    alone = filtering(sides.swapped(), JoinKind.ANTI)
    nulls = [
        pl.lit(None, dtype=dtype_of(kind)).alias(n) for n, kind in zip(sides.left.names, sides.left.types, strict=True)
    ]
    matched = select_columns(outer(sides), sides.names)
    return pl.concat([matched, alone.with_columns(nulls).select(sides.names)])


def filtering(sides: JoinSides, kind: JoinKind) -> pl.LazyFrame:
    """Return the rows of the left side that have a match (SEMI), or that have none (ANTI)."""
    how: Literal["semi", "anti"] = "semi" if kind == JoinKind.SEMI else "anti"
    if not sides.rest:
        return join_on_keys(sides, sides.left.frame, sides.right.frame, how)
    pairs, keys, tags = matching_left_values(sides, ())
    return sides.left.frame.join(pairs, left_on=keys, right_on=tags, how=how, nulls_equal=True)
