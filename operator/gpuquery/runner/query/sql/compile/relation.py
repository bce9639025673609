"""From a relation of the plan to a LazyFrame, node by node.

A relation without columns has rows all the same: its frame has columns of any kind, of which the rows alone count.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from gpuquery.runner.query.sql import plan
from gpuquery.runner.query.sql.compile import expression
from gpuquery.runner.query.sql.compile.aggregate import aggregate
from gpuquery.runner.query.sql.compile.aggregate_distinct import without_distinct
from gpuquery.runner.query.sql.compile.distinct import distinct
from gpuquery.runner.query.sql.compile.join import join
from gpuquery.runner.query.sql.compile.limit import limit
from gpuquery.runner.query.sql.compile.names import unique_names
from gpuquery.runner.query.sql.compile.recursive import recursive
from gpuquery.runner.query.sql.compile.rows import values
from gpuquery.runner.query.sql.compile.scan import scan
from gpuquery.runner.query.sql.compile.setop import set_operation
from gpuquery.runner.query.sql.compile.shared import node_count, reference_count, shared
from gpuquery.runner.query.sql.compile.sort import sort
from gpuquery.runner.query.sql.compile.unique import cheaper_join
from gpuquery.runner.query.sql.compile.unnest import unnest
from gpuquery.runner.query.sql.compile.values import Compiled, Value
from gpuquery.runner.query.sql.errors import SqlError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import polars as pl

    from gpuquery.runner.query.sql.compile.target import Target


def relation(node: plan.Relation, frames: Mapping[str, pl.LazyFrame], target: Target) -> Compiled:
    """Compile a relation over the inputs' frames. Raises SqlError for what the target cannot do."""
    return Compiler(frames, target).compiled(node)


@dataclass(frozen=True)
class Compiler:
    """What all nodes of one plan are compiled with."""

    frames: Mapping[str, pl.LazyFrame]
    target: Target
    shared: Mapping[int, Compiled] = field(default_factory=dict)
    """Relations that a With around the node shares, by number."""
    nodes: Mapping[int, plan.Relation] = field(default_factory=dict)
    """The same as they stand in the plan."""
    sizes: Mapping[int, int] = field(default_factory=dict)
    """How many nodes each use of them has."""
    schemas: dict[str, pl.Schema] = field(default_factory=dict)
    """Of the inputs that were scanned, as asking for one reads footers."""

    def compiled(self, node: plan.Relation) -> Compiled:
        """Compile a relation."""
        match node:
            case plan.Scan():
                return self._scan(node, [])
            case plan.Filter():
                return self._filter(node)
            case plan.With():
                return self._with(node)
            case plan.Reference():
                return self._reference(node)
            case plan.Recursive():
                return recursive(node, self.compiled(node.base), self._step(node), self.target)
            case plan.Aggregate() if self.target.gpu and (plain := without_distinct(node)) is not None:
                return self.compiled(plain)
        return self._over(node, [self.compiled(below) for below in node.inputs])

    def _over(self, node: plan.Relation, below: Sequence[Compiled]) -> Compiled:
        match node:
            case plan.Values():
                return values(node, self.frames, self.target)
            case plan.Project():
                return project(node, below[0], self.target)
            case plan.Join():
                return join(cheaper_join(node, self.nodes), below[0], below[1], self.target)
            case plan.Aggregate():
                return aggregate(node, below[0], self.target)
            case plan.Window():
                from gpuquery.runner.query.sql.compile.window import window

                return window(node, below[0], self.target)
            case plan.Sort():
                return sort(node, below[0], self.target)
            case plan.Limit():
                return limit(node, below[0], self.target)
            case plan.Distinct():
                return distinct(node, below[0], self.target)
            case plan.SetOperation():
                return set_operation(node, below, self.target)
            case plan.Unnest():
                return unnest(node, below[0], self.target)
            case _:
                raise SqlError(f"{type(node).__name__} cannot be compiled")

    def _scan(self, node: plan.Scan, conditions: Sequence[Callable[[Sequence[Value]], pl.Expr]]) -> Compiled:
        frame = self.frames[node.table]
        if node.table not in self.schemas:
            self.schemas[node.table] = frame.collect_schema()
        return scan(node, frame, self.schemas[node.table], conditions)

    def _filter(self, node: plan.Filter) -> Compiled:
        nodes: list[plan.Expression] = []
        below: plan.Relation = node
        while isinstance(below, plan.Filter):
            nodes.insert(0, below.condition)
            below = below.input
        conditions = [self._condition(one) for one in nodes]
        if isinstance(below, plan.Scan):
            return self._scan(below, conditions)
        found = self.compiled(below)
        frame = found.frame
        for condition in conditions:
            frame = frame.filter(condition(found.values()))
        return replace(found, frame=frame)

    def _condition(self, node: plan.Expression) -> Callable[[Sequence[Value]], pl.Expr]:
        return lambda scope: expression.condition(node, scope, self.target)

    def _with(self, node: plan.With) -> Compiled:
        copied = node_count(node.shared, self.sizes)
        copies = copied * reference_count(node.body, node.number)
        found = shared(self.compiled(node.shared), copies, node.name, self.target)
        inner = replace(
            self,
            shared={**self.shared, node.number: found},
            nodes={**self.nodes, node.number: node.shared},
            sizes={**self.sizes, node.number: copied},
        )
        return inner.compiled(node.body)

    def _reference(self, node: plan.Reference) -> Compiled:
        if node.number not in self.shared:
            raise SqlError("a CTE of the statement is referenced outside its scope")
        return self.shared[node.number]

    def _step(self, node: plan.Recursive) -> Callable[[Compiled], Compiled]:
        def step(found: Compiled) -> Compiled:
            return replace(self, shared={**self.shared, node.number: found}).compiled(node.step)

        return step


def project(node: plan.Project, below: Compiled, target: Target) -> Compiled:
    """Compile computed columns, one row for each row below."""
    scope = below.values()
    found = [expression.expression(item.value, scope, target) for item in node.items]
    names = unique_names(item.name for item in node.items)
    return selected(below, names, found)


def selected(below: Compiled, names: Sequence[str], values: Sequence[Value]) -> Compiled:
    """Return values over a relation's columns, under names, with as many rows as the relation has."""
    columns = [value.expr.alias(name) for name, value in zip(names, values, strict=True)]
    types = tuple(value.type for value in values)
    if not columns:
        return Compiled(below.frame, (), ())
    if any(value.expr.meta.root_names() for value in values):
        return Compiled(below.frame.select(columns), tuple(names), types)
    # Polars gives one row for a selection of constants alone.
    return Compiled(below.frame.with_columns(columns).select(names), tuple(names), types)
