"""MARK joins: is there a match? TRUE, FALSE or unknown, as IN, ANY and ALL over sub-queries have it.

Unknown is what has no match and a NULL in the way: `1 IN (2, NULL)`, and `NULL IN (...)` of any row.
"""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.compile.names import apart, fresh
from gpuquery.runner.query.sql.compile.pairs import joined, pairs, tagged, unconditional, with_flag
from gpuquery.runner.query.sql.compile.sides import Sides, rows_of
from gpuquery.runner.query.sql.compile.values import Compiled
from gpuquery.runner.query.sql.types import BOOLEAN

if TYPE_CHECKING:
    from gpuquery.runner.query.sql.plan import Join

_TRUE, _UNKNOWN = 2, 1
"""Verdicts on a left value, of which the highest counts."""


def mark(node: Join, found: Sides) -> Compiled:
    """Compile a MARK join of two sides that are not swapped."""
    name = fresh(node.mark, found.taken)
    strict = [pair for pair in found.on if not pair.null_safe]
    if found.rest or len(strict) > 1:
        frame, value = _judged(found)
    elif strict:
        frame, value = _one_key(found)
    else:
        frame, value = _exists(found)
    frame = frame.select(*found.left.names, value.alias(name))
    return Compiled(frame, (*found.left.names, name), (*found.left.types, BOOLEAN))


def _exists(found: Sides) -> tuple[pl.LazyFrame, pl.Expr]:
    """Answer without unknowns: nothing is compared, or NULLs are equal."""
    keys = [pair.right for pair in found.on]
    if keys:
        right, flag = with_flag(found, found.right.frame.select(keys).unique(), "found")
        frame = joined(found, found.left.frame, right, "left")
    else:
        flag = fresh("found", found.taken)
        right = rows_of(found.right, flag).head(1)
        frame = unconditional(found, found.left.frame, right, "left")
    return frame, pl.col(flag).is_not_null()


def _one_key(found: Sides) -> tuple[pl.LazyFrame, pl.Expr]:
    """Answer for one key whose NULLs are unknown; the other keys tell groups of rows to be looked at apart."""
    key = next(pair for pair in found.on if not pair.null_safe)
    group = [pair for pair in found.on if pair.null_safe]
    right = found.right.frame.select(list(dict.fromkeys(pair.right for pair in found.on)))
    hits, flag = with_flag(found, right.unique().filter(pl.col(key.right).is_not_null()), "found")
    frame = joined(found, found.left.frame, hits, "left")
    rows, nulls, *tags = apart(["rows", "nulls", *(pair.right for pair in group)], {*found.taken, flag})
    facts = [pl.len().alias(rows), pl.col(key.right).null_count().alias(nulls)]
    if group:
        about = right.group_by(pl.col(pair.right).alias(tag) for pair, tag in zip(group, tags, strict=True)).agg(facts)
        keys = [pair.left for pair in group]
        frame = frame.join(about, left_on=keys, right_on=tags, how="left", nulls_equal=True, coalesce=False)
    else:
        frame = unconditional(found, frame, right.select(facts), "inner")
    unknown = (pl.col(nulls) > 0) | (pl.col(key.left).is_null() & (pl.col(rows) > 0))
    null = pl.lit(None, dtype=pl.Boolean)
    return frame, pl.when(pl.col(flag).is_not_null()).then(True).when(unknown).then(null).otherwise(False)


def _judged(found: Sides) -> tuple[pl.LazyFrame, pl.Expr]:
    """Answer for anything else, by a verdict on each different left value."""
    keys = list(found.left_used)
    verdict, *tags = apart(["verdict", *keys], found.taken)
    strict = [pair for pair in found.on if not pair.null_safe]
    met = reduce(and_, found.rest, pl.lit(True))
    judged = [(pairs(found), met)]
    if strict:  # where a key is NULL nothing is equal, but something may be unknown
        loose = replace(found, on=tuple(pair for pair in found.on if pair.null_safe))
        here = pl.any_horizontal(pl.col(pair.left).is_null() for pair in strict)
        there = pl.any_horizontal(pl.col(pair.right).is_null() for pair in strict)
        base = found.left.frame.select(keys).unique()
        other = found.right.frame.select(found.right_used).unique()
        equal = reduce(and_, (pl.col(pair.left) == pl.col(pair.right) for pair in strict))
        judged.append((joined(loose, base.filter(here), other, "inner"), equal & met))
        judged.append((joined(loose, base.filter(~here), other.filter(there), "inner"), equal & met))
    about = pl.concat(
        frame.select(*tagged(keys, tags), _verdict(condition).alias(verdict)).filter(pl.col(verdict) > 0)
        for frame, condition in judged
    )
    about = about.group_by(tags).agg(pl.col(verdict).max())
    frame = found.left.frame.join(about, left_on=keys, right_on=tags, how="left", nulls_equal=True, coalesce=False)
    known = pl.when(pl.col(verdict) == _TRUE).then(True)
    return frame, known.when(pl.col(verdict) == _UNKNOWN).then(pl.lit(None, dtype=pl.Boolean)).otherwise(False)


def _verdict(condition: pl.Expr) -> pl.Expr:
    true = pl.lit(_TRUE, dtype=pl.Int8)
    unknown = pl.lit(_UNKNOWN, dtype=pl.Int8)
    return pl.when(condition).then(true).when(condition.is_null()).then(unknown).otherwise(pl.lit(0, dtype=pl.Int8))
