"""ASOF joins: to each row of the left side the nearest one that fulfils the last match, an inequality.

On the CPU moments and whole numbers go through Polars' own join, which runs along both sides in their order. Anything
else, and every GPU target (cudf-polars 26.10 has no such join), pairs the different left values with their candidates
and keeps the nearest. Of right rows that are equally near any one is taken, as in DuckDB.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from gpuquery.runner.query.sql.compile import expression
from gpuquery.runner.query.sql.compile.aggregate_functions_basic import greatest
from gpuquery.runner.query.sql.compile.compare import comparison
from gpuquery.runner.query.sql.compile.names import unique_names
from gpuquery.runner.query.sql.compile.pairs import join_on, join_on_keys, select_columns, with_flag
from gpuquery.runner.query.sql.compile.sides import JoinSides, Pair, column, common, join_sides
from gpuquery.runner.query.sql.compile.values import Compiled, Value, dtype_of
from gpuquery.runner.query.sql.errors import SqlError
from gpuquery.runner.query.sql.plan import JoinKind
from gpuquery.runner.query.sql.types import TIMESTAMPS, Kind

if TYPE_CHECKING:
    from gpuquery.runner.query.sql import plan
    from gpuquery.runner.query.sql.compile.target import Target
    from gpuquery.runner.query.sql.types import Type

_ALONG = TIMESTAMPS | {Kind.DATE}
"""Types, beside whole numbers, that Polars' own join takes."""


def asof(node: plan.Join, left: Compiled, right: Compiled, target: Target) -> Compiled:
    """Compile an ASOF join; its last match is the inequality."""
    if node.kind not in (JoinKind.INNER, JoinKind.LEFT) or node.condition is not None:
        raise SqlError(f"an ASOF {node.kind} JOIN like this is not supported: use ASOF JOIN or ASOF LEFT JOIN")
    *equal, nearest = node.matches
    sides, near = _with_nearest(join_sides(replace(node, matches=tuple(equal)), left, right, target), nearest)
    if near.kind.is_float and target.gpu:
        raise SqlError("an ASOF JOIN by a floating-point number does not run on GPUs: cast it, or use engine: cpu")
    along = near.kind.is_integer or near.kind.kind in _ALONG
    native = along and not target.gpu and not any(pair.null_safe for pair in sides.on)
    frame = (_walked if native else _paired)(sides, near, node.kind)
    return Compiled(select_columns(frame, sides.names), sides.names, sides.types)


class _Near(NamedTuple):
    """The inequality: columns of both frames, which have one type."""

    left: str
    right: str
    operator: str
    kind: Type

    @property
    def before(self) -> bool:
        """Whether the nearest row is the one with the greatest value."""
        return self.operator in (">", ">=")


def _with_nearest(sides: JoinSides, nearest: plan.Match) -> tuple[JoinSides, _Near]:
    here, there = common(
        expression.expression(nearest.left, sides.left.values(), sides.target),
        expression.expression(nearest.right, sides.right.values(), sides.target),
    )
    taken = sides.taken
    left, one = column(sides.left, here, taken)
    right, other = column(sides.right, there, taken)
    if nearest.operator not in (">", ">=", "<", "<="):
        raise SqlError("an ASOF JOIN needs an inequality (>, >=, < or <=) as its last condition")
    return replace(sides, left=left, right=right), _Near(one, other, nearest.operator, here.type)


def _walked(sides: JoinSides, near: _Near, kind: JoinKind) -> pl.LazyFrame:
    lefts, rights = [pair.left for pair in sides.on], [pair.right for pair in sides.on]
    void = pl.any_horizontal(pl.col(name).is_null() for name in [*lefts, near.left])
    right, flag = with_flag(sides, sides.right.frame.drop_nulls([*rights, near.right]), "found")
    copies = list(
        unique_names(rights, {*sides.taken, near.left, near.right, flag})
    )  # the join drops the columns of `by`
    right = right.with_columns(pl.col(name).alias(copy) for name, copy in zip(rights, copies, strict=True))
    by: dict[str, Any] = {"by_left": lefts, "by_right": copies} if lefts else {}
    frame = (
        sides.left.frame.filter(~void)
        .sort(near.left)
        .join_asof(
            right.sort(near.right),
            left_on=near.left,
            right_on=near.right,
            strategy="backward" if near.before else "forward",
            allow_exact_matches=near.operator in (">=", "<="),
            coalesce=False,
            check_sortedness=False,
            **by,
        )
    )
    if kind == JoinKind.INNER:
        return frame.filter(pl.col(flag).is_not_null())
    columns = zip(sides.right.names, sides.right.types, strict=True)
    nulls = [pl.lit(None, dtype=dtype_of(one)).alias(name) for name, one in columns]
    alone = sides.left.frame.filter(void).with_columns(nulls)
    return pl.concat([select_columns(frame, sides.names), select_columns(alone, sides.names)])


def _paired(sides: JoinSides, near: _Near, kind: JoinKind) -> pl.LazyFrame:
    lefts, rights = [pair.left for pair in sides.on], [pair.right for pair in sides.on]
    keys = list(dict.fromkeys([*lefts, near.left]))
    best, *tags = unique_names(["best", *keys], {*sides.taken, near.left, near.right})
    base = sides.left.frame.select(pl.col(key).alias(tag) for key, tag in zip(keys, tags, strict=True)).unique()
    tag_of = dict(zip(keys, tags, strict=True))
    on = tuple(Pair(tag_of[pair.left], pair.right, pair.null_safe) for pair in sides.on)
    candidates = sides.right.frame.select(list(dict.fromkeys([*rights, near.right]))).unique()
    here, there = (Value(pl.col(name), near.kind) for name in (tag_of[near.left], near.right))
    paired = replace(sides, on=on)
    fits = comparison(near.operator, here, there, sides.target).expr
    pairs = join_on_keys(paired, base, candidates, "inner").filter(fits)
    chosen = pairs.group_by(tags).agg(_best(near).alias(best))
    rows = sides.right.frame.unique(subset=list(dict.fromkeys([*rights, near.right])), keep="any")
    nearest = join_on([*on, Pair(best, near.right, False)], chosen, rows, "inner")
    how: Any = "inner" if kind == JoinKind.INNER else "left"
    return sides.left.frame.join(nearest, left_on=keys, right_on=tags, how=how, nulls_equal=True, coalesce=False)


def _best(near: _Near) -> pl.Expr:
    value = pl.col(near.right)
    return greatest(value, near.kind) if near.before else value.min()
