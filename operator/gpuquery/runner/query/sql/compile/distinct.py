"""DISTINCT, and DISTINCT ON: the first row of each group in an order."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gpuquery.runner.query.sql.compile import expression
from gpuquery.runner.query.sql.compile.groups import distinct_rows
from gpuquery.runner.query.sql.compile.names import unique_name
from gpuquery.runner.query.sql.compile.sort import ordered

if TYPE_CHECKING:
    from gpuquery.runner.query.sql.compile.target import Target
    from gpuquery.runner.query.sql.compile.values import Compiled
    from gpuquery.runner.query.sql.plan import Distinct


def distinct(node: Distinct, below: Compiled, target: Target) -> Compiled:
    """Compile different rows."""
    if not below.names:
        return replace(below, frame=below.frame.head(1))
    if not node.on:
        return replace(below, frame=distinct_rows(below.frame.select(below.names), below.names, below.types, target))
    keys: list[str] = []
    frame = ordered(below, node.order, target)
    for one in node.on:
        value = expression.expression(one, below.values(), target)
        if value.expr.meta.is_column():
            keys.append(value.expr.meta.output_name())
            continue
        keys.append(unique_name("key", {*below.names, *keys}))
        frame = frame.with_columns(value.expr.alias(keys[-1]))
    # Without an order any row will do, but it has to be the same one for all columns.
    frame = frame.unique(subset=keys, keep="first" if node.order else "any", maintain_order=bool(node.order))
    return replace(below, frame=frame.select(below.names))
