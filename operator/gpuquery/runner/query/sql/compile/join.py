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
from gpuquery.runner.query.sql.compile.pairs import joined, matching, picked
from gpuquery.runner.query.sql.compile.sides import Sides, sides
from gpuquery.runner.query.sql.compile.values import Compiled, dtype_of
from gpuquery.runner.query.sql.plan import Join, JoinKind

if TYPE_CHECKING:
    from gpuquery.runner.query.sql.compile.target import Target


def join(node: Join, left: Compiled, right: Compiled, target: Target) -> Compiled:
    """Compile a join of two compiled sides."""
    if node.asof:
        return asof(node, left, right, target)
    found = sides(node, left, right, target)
    match node.kind:
        case JoinKind.INNER:
            return Compiled(picked(inner(found), found.names), found.names, found.types)
        case JoinKind.LEFT:
            return Compiled(picked(outer(found), found.names), found.names, found.types)
        case JoinKind.RIGHT:
            return Compiled(picked(outer(found.swapped()), found.names), found.names, found.types)
        case JoinKind.FULL:
            return Compiled(picked(full(found), found.names), found.names, found.types)
        case JoinKind.SEMI | JoinKind.ANTI:
            return Compiled(picked(filtering(found, node.kind), left.names), left.names, left.types)
        case JoinKind.MARK:
            return mark(node, found)
        case JoinKind.SINGLE:
            return single(found)


def inner(found: Sides) -> pl.LazyFrame:
    """Return the pairs of rows that match."""
    frame = joined(found, found.left.frame, found.right.frame, "inner")
    for condition in found.rest:
        frame = frame.filter(condition)
    return frame


def outer(found: Sides) -> pl.LazyFrame:
    """Return the pairs of rows that match, and the rows of the left side that match none."""
    if not found.rest:
        return joined(found, found.left.frame, found.right.frame, "left")
    pairs, keys, tags = matching(found, found.right.names)
    return found.left.frame.join(pairs, left_on=keys, right_on=tags, how="left", nulls_equal=True, coalesce=False)


def full(found: Sides) -> pl.LazyFrame:
    """Return the pairs of rows that match, and the rows of both sides that match none."""
    kinds = {pair.null_safe for pair in found.on}
    if not found.rest and len(kinds) == 1:
        return joined(found, found.left.frame, found.right.frame, "full")
    alone = filtering(found.swapped(), JoinKind.ANTI)
    nulls = [
        pl.lit(None, dtype=dtype_of(kind)).alias(n) for n, kind in zip(found.left.names, found.left.types, strict=True)
    ]
    matched = picked(outer(found), found.names)
    return pl.concat([matched, alone.with_columns(nulls).select(found.names)])


def filtering(found: Sides, kind: JoinKind) -> pl.LazyFrame:
    """Return the rows of the left side that have a match (SEMI), or that have none (ANTI)."""
    how: Literal["semi", "anti"] = "semi" if kind == JoinKind.SEMI else "anti"
    if not found.rest:
        return joined(found, found.left.frame, found.right.frame, how)
    pairs, keys, tags = matching(found, ())
    return found.left.frame.join(pairs, left_on=keys, right_on=tags, how=how, nulls_equal=True)
