"""Pairs of rows: equality joins of two sides, products of all rows, and which left values match."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from gpuquery.runner.query.sql.compile.names import unique_name, unique_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gpuquery.runner.query.sql.compile.sides import JoinSides, Pair

    How = Literal["inner", "left", "full", "semi", "anti"]


def join_on_keys(sides: JoinSides, left: pl.LazyFrame, right: pl.LazyFrame, how: How) -> pl.LazyFrame:
    """Join frames that have the columns of both sides' keys; the other conditions are not looked at."""
    return join_on(sides.on, left, right, how) if sides.on else cross_join(sides, left, right, how)


def join_on(on: Sequence[Pair], left: pl.LazyFrame, right: pl.LazyFrame, how: How) -> pl.LazyFrame:
    """Join by equality. A full join takes pairs that are all null-safe, or none of them."""
    nulls = any(pair.null_safe for pair in on)
    if nulls and how != "full":
        strict = [pl.col(pair.right).is_not_null() for pair in on if not pair.null_safe]
        right = right.filter(strict) if strict else right
    options: dict[str, Any] = {} if how in ("semi", "anti") else {"coalesce": False}
    keys = [pair.left for pair in on], [pair.right for pair in on]
    return left.join(right, left_on=keys[0], right_on=keys[1], how=how, nulls_equal=nulls, **options)


def cross_join(sides: JoinSides, left: pl.LazyFrame, right: pl.LazyFrame, how: How) -> pl.LazyFrame:
    """Join every row with every row: the product, or whether the other side has a row at all."""
    if how == "inner" and not sides.target.gpu:
        return left.join(right, how="cross")
    one, other = unique_names(["one", "one"], sides.taken)
    left = left.with_columns(pl.lit(1, dtype=pl.Int8).alias(one))
    right = right.with_columns(pl.lit(1, dtype=pl.Int8).alias(other))
    if how in ("semi", "anti"):
        return left.join(right.select(other).head(1), left_on=one, right_on=other, how=how)
    return left.join(right, left_on=one, right_on=other, how=how, coalesce=False)


def matching_left_values(sides: JoinSides, keep: Sequence[str]) -> tuple[pl.LazyFrame, list[str], list[str]]:
    """Return what the different left values match: those values under other names, and columns of the right side.

    Second and third: the left side's columns and their names there. Without columns to keep, each value comes once.
    """
    keys = list(sides.left_used)
    tags = list(unique_names(keys, sides.taken))
    frame = candidate_pairs(sides, keep)
    for condition in sides.rest:
        frame = frame.filter(condition)
    frame = frame.select(*renamed(keys, tags), *keep)
    return frame if keep else frame.unique(), keys, tags


def candidate_pairs(sides: JoinSides, keep: Iterable[str] = ()) -> pl.LazyFrame:
    """Return the different left values with the rows of the right side that have equal keys."""
    base = sides.left.frame.select(sides.left_used).unique()
    other = sides.right.frame.select(list(dict.fromkeys([*sides.right_used, *keep])))
    return join_on_keys(sides, base, other if keep else other.unique(), "inner")


def renamed(keys: Iterable[str], tags: Iterable[str]) -> list[pl.Expr]:
    """Return columns under other names."""
    return [pl.col(key).alias(tag) for key, tag in zip(keys, tags, strict=True)]


def select_columns(frame: pl.LazyFrame, names: Sequence[str]) -> pl.LazyFrame:
    """Return the columns of these names alone; of a relation without columns the frame as it is."""
    return frame.select(names) if names else frame


def with_flag(sides: JoinSides, frame: pl.LazyFrame, name: str) -> tuple[pl.LazyFrame, str]:
    """Return the frame with a column that is TRUE in all rows, under a name like the given one."""
    flag = unique_name(name, sides.taken)
    return frame.with_columns(pl.lit(True).alias(flag)), flag
