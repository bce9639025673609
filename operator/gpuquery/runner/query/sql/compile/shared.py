"""Shared relations (WITH, and what DuckDB shares itself): one compiled frame that stands in several places.

On CPUs Polars keeps it apart and runs it once; the rules have pushed down already what all places ask for. Polars
1.44 finds equal parts by itself only as long as their filters are equal: TPC-DS 4 takes four times as long so. Nothing
must be pushed down into what is kept: with filters pushed into a cached scan Polars panics ("expected filter").

For GPUs it is copied into every place, and Polars finds equal parts again when it optimizes. Chains of relations that
use one another twice grow to 2^n copies: beyond a size a relation is kept apart there, too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql import plan
from gpuquery.runner.query.sql.errors import SqlError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuquery.runner.query.sql.compile.target import Target
    from gpuquery.runner.query.sql.compile.values import Compiled

MAX_COPIED_NODES = 2_000
"""Nodes of copies of one relation, from which on it is kept apart. TPC-DS has fewer than 200; Polars takes about 0.1 s
for 800 of them, and 4 s for 12,000."""
MAX_NODES = 500_000
"""Polars reads even what is kept apart once for each copy when it begins to plan, here for about ten seconds."""


def node_count(node: plan.Relation, sizes: Mapping[int, int]) -> int:
    """Return how many nodes a relation has with all copies, given those of the relations around it, by number."""
    match node:
        case plan.Reference():
            return sizes.get(node.number, 1)
        case plan.With():
            return node_count(node.body, {**sizes, node.number: node_count(node.shared, sizes)})
        case _:
            return 1 + sum(node_count(below, sizes) for below in node.inputs)


def reference_count(node: plan.Relation, number: int) -> int:
    """Return how often a shared relation is referred to."""
    if isinstance(node, plan.Reference):
        return int(node.number == number)
    return sum(reference_count(below, number) for below in node.inputs)


def shared(found: Compiled, copies: int, name: str, target: Target) -> Compiled:
    """Return a relation to stand in several places, which have so many nodes altogether."""
    if copies > MAX_NODES:
        raise SqlError(
            f'the CTEs of WITH use one another so often that "{name}" expands to {copies} steps: write what is used '
            "repeatedly to a table with a job of its own, and declare that table in inputs"
        )
    if (target.gpu and copies <= MAX_COPIED_NODES) or not found.names:
        return found
    same = [pl.coalesce(name, name) for name in found.names]
    return replace(found, frame=found.frame.cache().with_columns(same))
