"""ORDER BY: NULLs where the key says, NaN greatest, text by its bytes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gpuquery.runner.query.sql.compile import expression
from gpuquery.runner.query.sql.compile.names import unique_names
from gpuquery.runner.query.sql.errors import SqlError
from gpuquery.runner.query.sql.types import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from gpuquery.runner.query.sql.compile.target import Target
    from gpuquery.runner.query.sql.compile.values import Compiled
    from gpuquery.runner.query.sql.plan import Sort, SortKey

_NESTED = frozenset({Kind.LIST, Kind.STRUCT})


def sort(node: Sort, below: Compiled, target: Target) -> Compiled:
    """Compile an order of all rows."""
    return replace(below, frame=ordered(below, node.keys, target))


def ordered(below: Compiled, keys: Sequence[SortKey], target: Target) -> pl.LazyFrame:
    """Return a relation's frame in an order; on the CPU rows that are equal by the keys keep the order that they had.

    Keys become columns first: cudf-polars sorts by anything else on one partition. A stable sort goes through slower
    shuffles there (26.04).
    """
    found = [(expression.expression(key.value, below.values(), target), key) for key in keys]
    for value, key in found:
        if value.type.kind in _NESTED:  # Polars 1.44 sorts NULLs within lists first, DuckDB 2.0 last
            raise SqlError(f"ORDER BY of {value.type} is not supported: order by its parts", key.value.place)
    found = [(value, key) for value, key in found if value.expr.meta.root_names()]
    if not found:
        return below.frame
    names = [value.expr.meta.output_name() if value.expr.meta.is_column() else None for value, _ in found]
    made = iter(unique_names(["key" for name in names if name is None], below.names))
    by = [next(made) if name is None else name for name in names]
    columns = [v.expr.alias(new) for (v, _), old, new in zip(found, names, by, strict=True) if old is None]
    frame = (below.frame.with_columns(columns) if columns else below.frame).sort(
        by,
        descending=[key.descending for _, key in found],
        nulls_last=[not key.nulls_first for _, key in found],
        maintain_order=not target.gpu,
    )
    return frame.select(below.names) if columns and below.names else frame
