"""The query of a plan, in either language, in two steps: what needs no data first, then the lazy plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import polars as pl

from gpuquery.plan.plan import Language, Plan
from gpuquery.runner import params


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
    # Each language imports its own half: sqlglot alone takes a quarter of a second.
    if plan.language is Language.PYTHON:
        return _Python(plan.query, values)
    return _Sql(plan, values)


def check(plan: Plan) -> None:
    """Check text and parameters and run nothing, not even the top level of a Python query.

    For machines that judge a query without being the place where it may run. Raises as `prepare` does.
    """
    if plan.language is Language.PYTHON:
        from gpuquery.runner import python_query

        params.values(plan.parameters)
        python_query.parsed(plan.query)
    else:
        prepare(plan)


class _Sql:
    def __init__(self, plan: Plan, values: Mapping[str, params.Value]) -> None:
        from gpuquery.runner import sql

        statement = sql.read(plan.query, inputs=[i.name for i in plan.inputs])
        self._bound = sql.bind(statement, values)

    def plan(self, frames: Mapping[str, pl.LazyFrame]) -> Planned:
        from gpuquery.runner import sql_plan, sql_types

        schemas = {name: frame.collect_schema() for name, frame in frames.items()}
        sql_types.check_parameters(self._bound, schemas)
        frame = sql_plan.plan(self._bound, frames)
        return Planned(frame, sql_types.decimal_warnings(self._bound, schemas))


class _Python:
    def __init__(self, source: str, values: Mapping[str, params.Value]) -> None:
        from gpuquery.runner import python_query

        self._compiled = python_query.compiled(source)
        self._values = values

    def plan(self, frames: Mapping[str, pl.LazyFrame]) -> Planned:
        from gpuquery.runner import python_query

        made = python_query.plan(self._compiled, frames, self._values)
        return Planned(made.frame, made.warnings)
