"""Groups of equal rows, and different rows, with keys as they stand in one row of each group.

Polars 1.44 writes the -0.0 of a key as 0.0 where there are several keys. They are equal in SQL, but no value of an
input changes because its row is grouped, so floating-point keys are taken from a row of the group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from gpuquery.runner.query.sql.compile.names import unique_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.runner.query.sql.compile.target import Target
    from gpuquery.runner.query.sql.types import Type


class GroupKey(NamedTuple):
    """A column of the frame, the name that it gets, and its type."""

    column: str
    name: str
    type: Type


def group_rows(frame: pl.LazyFrame, keys: Sequence[GroupKey], calls: Sequence[pl.Expr], target: Target) -> pl.LazyFrame:
    """Return one row for each group: the keys, then the calls, which have names."""
    by = [pl.col(key.column).alias(key.name) for key in keys]
    exact = [] if target.gpu or len(keys) < 2 else [key for key in keys if _has_floats(key.type)]
    if not exact:
        return frame.group_by(by).agg(calls) if calls else frame.select(by).unique()
    tags = unique_names(
        ["key"] * len(exact), {*(key.name for key in keys), *(call.meta.output_name() for call in calls)}
    )
    kept = [pl.col(key.column).first().alias(tag) for key, tag in zip(exact, tags, strict=True)]
    found = frame.group_by(by).agg(*kept, *calls)
    return found.with_columns(pl.col(tag).alias(key.name) for key, tag in zip(exact, tags, strict=True)).drop(tags)


def distinct_rows(frame: pl.LazyFrame, names: Sequence[str], types: Sequence[Type], target: Target) -> pl.LazyFrame:
    """Return the different rows of a frame that has these columns and no others."""
    return group_rows(frame, [GroupKey(name, name, kind) for name, kind in zip(names, types, strict=True)], [], target)


def _has_floats(kind: Type) -> bool:
    inside = [field for _, field in kind.fields] if kind.item is None else [kind.item]
    return kind.is_float or any(map(_has_floats, inside))
