"""The query of a plan, in either language, in two steps: what needs no data first, then the lazy plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import polars as pl

from gpuquery.plan.plan import Language, Plan
from gpuquery.runner import params, python_query, sql, sql_plan, sql_types


@dataclass(frozen=True)
class Planned:
    """The lazy result and what the author should know about it."""

    frame: pl.LazyFrame
    warnings: tuple[str, ...] = ()


class Query(Protocol):
    """A query that was checked as far as that goes without data."""

    def plan(self, frames: Mapping[str, pl.LazyFrame]) -> Planned:
        """Return the lazy result over the inputs; raises JobError(InvalidQuery or UserError)."""
        ...


def prepare(plan: Plan) -> Query:
    """Check text and parameters; reads nothing. Raises JobError(InvalidQuery or UserError)."""
    values = params.values(plan.parameters)
    if plan.language is Language.PYTHON:
        return _Python(plan.query, values)
    statement = sql.read(plan.query, inputs=[i.name for i in plan.inputs])
    return _Sql(sql.bind(statement, values))


def check(plan: Plan) -> None:
    """Check text and parameters and run nothing, not even the top level of a Python query.

    For machines that judge a query without being the place where it may run. Raises as `prepare` does.
    """
    if plan.language is Language.PYTHON:
        params.values(plan.parameters)
        python_query.parsed(plan.query)
    else:
        prepare(plan)


class _Sql:
    def __init__(self, bound: sql.BoundQuery) -> None:
        self._bound = bound

    def plan(self, frames: Mapping[str, pl.LazyFrame]) -> Planned:
        schemas = {name: frame.collect_schema() for name, frame in frames.items()}
        sql_types.check_parameters(self._bound, schemas)
        frame = sql_plan.plan(self._bound, frames)
        return Planned(frame, sql_types.decimal_warnings(self._bound, schemas))


class _Python:
    def __init__(self, source: str, values: Mapping[str, params.Value]) -> None:
        self._compiled = python_query.compiled(source)
        self._values = values

    def plan(self, frames: Mapping[str, pl.LazyFrame]) -> Planned:
        made = python_query.plan(self._compiled, frames, self._values)
        return Planned(made.frame, made.warnings)
