"""Rules: pure functions from a plan to a cheaper one that means the same. Each is a file with a table of examples."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gpuquery.runner.query.sql.rules.decorrelate import decorrelated
from gpuquery.runner.query.sql.rules.eager_aggregation import with_eager_aggregation
from gpuquery.runner.query.sql.rules.empty import without_empty
from gpuquery.runner.query.sql.rules.estimate import Estimates
from gpuquery.runner.query.sql.rules.facts import Facts
from gpuquery.runner.query.sql.rules.fold import folded
from gpuquery.runner.query.sql.rules.join_order import ordered
from gpuquery.runner.query.sql.rules.prune import merged, pruned
from gpuquery.runner.query.sql.rules.pushdown import pushed_down
from gpuquery.runner.query.sql.rules.semi_bounds import semi_joins_by_min_max
from gpuquery.runner.query.sql.rules.shared import inlined
from gpuquery.runner.query.sql.rules.statistics import ColumnFacts, Statistics, TableFacts

if TYPE_CHECKING:
    from gpuquery.runner.query.sql.plan import Statement

__all__ = ["ColumnFacts", "Statistics", "TableFacts", "improved"]


def improved(statement: Statement, statistics: Statistics | None) -> Statement:
    """Return a statement with the same result that is cheaper to run.

    Each rule runs a fixed number of times, so that this always ends. Without statistics it is as right, and sensible.
    """
    facts = Facts(statistics)
    node = pushed_down(inlined(folded(statement.relation)), facts)
    direct = inlined(decorrelated(node), reads=True)
    if direct is not node:
        node = pushed_down(direct, facts)
    node = semi_joins_by_min_max(merged(without_empty(node)), facts)
    estimates = Estimates(statistics)
    node = ordered(node, facts, estimates)
    if statistics is not None:
        node = with_eager_aggregation(pruned(node), estimates)
    return replace(statement, relation=pruned(node))
