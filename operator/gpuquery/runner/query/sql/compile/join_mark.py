"""MARK joins: is there a match? TRUE, FALSE or unknown, as IN, ANY and ALL over sub-queries have it.

Unknown is what has no match and a NULL in the way: `1 IN (2, NULL)`, and `NULL IN (...)` of any row.
"""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.compile.names import unique_name, unique_names
from gpuquery.runner.query.sql.compile.pairs import candidate_pairs, cross_join, join_on_keys, renamed, with_flag
from gpuquery.runner.query.sql.compile.sides import JoinSides, rows_of
from gpuquery.runner.query.sql.compile.values import Compiled
from gpuquery.runner.query.sql.types import BOOLEAN

if TYPE_CHECKING:
    from gpuquery.runner.query.sql.plan import Join

_TRUE, _UNKNOWN = 2, 1
"""Verdicts on a left value, of which the highest counts."""


def mark(node: Join, sides: JoinSides) -> Compiled:
    """Compile a MARK join of two sides that are not swapped."""
    name = unique_name(node.mark, sides.taken)
    strict = [pair for pair in sides.on if not pair.null_safe]
    if sides.rest or len(strict) > 1:
        frame, value = _judged(sides)
    elif strict:
        frame, value = _one_key(sides)
    else:
        frame, value = _exists(sides)
    frame = frame.select(*sides.left.names, value.alias(name))
    return Compiled(frame, (*sides.left.names, name), (*sides.left.types, BOOLEAN))


def _exists(sides: JoinSides) -> tuple[pl.LazyFrame, pl.Expr]:
    """Answer without unknowns: nothing is compared, or NULLs are equal."""
    keys = [pair.right for pair in sides.on]
    if keys:
        right, flag = with_flag(sides, sides.right.frame.select(keys).unique(), "found")
        frame = join_on_keys(sides, sides.left.frame, right, "left")
    else:
        flag = unique_name("found", sides.taken)
        right = rows_of(sides.right, flag).head(1)
        frame = cross_join(sides, sides.left.frame, right, "left")
    return frame, pl.col(flag).is_not_null()


def _one_key(sides: JoinSides) -> tuple[pl.LazyFrame, pl.Expr]:
    """Answer for one key whose NULLs are unknown; the other keys tell groups of rows to be looked at apart."""
    key = next(pair for pair in sides.on if not pair.null_safe)
    group = [pair for pair in sides.on if pair.null_safe]
    right = sides.right.frame.select(list(dict.fromkeys(pair.right for pair in sides.on)))
    hits, flag = with_flag(sides, right.unique().filter(pl.col(key.right).is_not_null()), "found")
    frame = join_on_keys(sides, sides.left.frame, hits, "left")
    rows, nulls, *tags = unique_names(["rows", "nulls", *(pair.right for pair in group)], {*sides.taken, flag})
    facts = [pl.len().alias(rows), pl.col(key.right).null_count().alias(nulls)]
    if group:
        about = right.group_by(pl.col(pair.right).alias(tag) for pair, tag in zip(group, tags, strict=True)).agg(facts)
        keys = [pair.left for pair in group]
        frame = frame.join(about, left_on=keys, right_on=tags, how="left", nulls_equal=True, coalesce=False)
    else:
        frame = cross_join(sides, frame, right.select(facts), "inner")
    unknown = (pl.col(nulls) > 0) | (pl.col(key.left).is_null() & (pl.col(rows) > 0))
    null = pl.lit(None, dtype=pl.Boolean)
    return frame, pl.when(pl.col(flag).is_not_null()).then(True).when(unknown).then(null).otherwise(False)


def _judged(sides: JoinSides) -> tuple[pl.LazyFrame, pl.Expr]:
    """Answer for anything else, by a verdict on each different left value."""
    keys = list(sides.left_used)
    verdict, *tags = unique_names(["verdict", *keys], sides.taken)
    strict = [pair for pair in sides.on if not pair.null_safe]
    met = reduce(and_, sides.rest, pl.lit(True))
    judged = [(candidate_pairs(sides), met)]
    if strict:  # where a key is NULL nothing is equal, but something may be unknown
        loose = replace(sides, on=tuple(pair for pair in sides.on if pair.null_safe))
        here = pl.any_horizontal(pl.col(pair.left).is_null() for pair in strict)
        there = pl.any_horizontal(pl.col(pair.right).is_null() for pair in strict)
        base = sides.left.frame.select(keys).unique()
        other = sides.right.frame.select(sides.right_used).unique()
        equal = reduce(and_, (pl.col(pair.left) == pl.col(pair.right) for pair in strict))
        judged.append((join_on_keys(loose, base.filter(here), other, "inner"), equal & met))
        judged.append((join_on_keys(loose, base.filter(~here), other.filter(there), "inner"), equal & met))
    about = pl.concat(
        frame.select(*renamed(keys, tags), _verdict(condition).alias(verdict)).filter(pl.col(verdict) > 0)
        for frame, condition in judged
    )
    about = about.group_by(tags).agg(pl.col(verdict).max())
    frame = sides.left.frame.join(about, left_on=keys, right_on=tags, how="left", nulls_equal=True, coalesce=False)
    known = pl.when(pl.col(verdict) == _TRUE).then(True)
    return frame, known.when(pl.col(verdict) == _UNKNOWN).then(pl.lit(None, dtype=pl.Boolean)).otherwise(False)


def _verdict(condition: pl.Expr) -> pl.Expr:
    true = pl.lit(_TRUE, dtype=pl.Int8)
    unknown = pl.lit(_UNKNOWN, dtype=pl.Int8)
    return pl.when(condition).then(true).when(condition.is_null()).then(unknown).otherwise(pl.lit(0, dtype=pl.Int8))
