"""`output.overwriteWhere`: a predicate over the partition columns, which says what a commit replaces.

It goes through our own planner like a query, so it means what it would mean in the query. A partition for which it is
NULL is not replaced. It reads partition columns alone, so it decides about whole files, and exactly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from gpuquery.api.choices import Dialect
from gpuquery.api.reasons import Failure
from gpuquery.api.text import clean
from gpuquery.plan.plan import Language
from gpuquery.runner.failures.errors import JobError, first_paragraph
from gpuquery.runner.output.tables.delta import values
from gpuquery.runner.query import params
from gpuquery.runner.query.sql import plan as nodes
from gpuquery.runner.query.sql.compile import statement as compiler
from gpuquery.runner.query.sql.compile.target import CPU
from gpuquery.runner.query.sql.prepare import Prepared
from gpuquery.runner.query.sql.types import BOOLEAN
from gpuquery.runner.query.sql.walk import relations

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.plan.plan import Plan

TABLE = "result"
_WAY_OUT = "write one like day >= DATE '2026-01-01'"
PLACE = "output.overwriteWhere"
_NUMBER, _HOLDS = "gpuquery_number", "gpuquery_holds"


class Where:
    """A predicate."""

    def __init__(self, plan: Plan, text: str) -> None:
        """Raise JobError(InvalidQuery) for what is no predicate."""
        self._now = plan.now
        ours = plan.language is Language.SQL and plan.dialect is not Dialect.POLARS
        self._dialect = (plan.dialect if ours else Dialect.DUCKDB).value
        used = {name: one for name, one in plan.parameters.items() if f":{name}" in text or f"${name}" in text}
        self._values = params.values(used)
        self.text = text
        self._prepare()

    def bind(self, keys: Mapping[str, pl.DataType]) -> None:
        """Plan it over the partition columns. Raises JobError(InvalidQuery) if it reads others or is no predicate."""
        self._planned(pl.LazyFrame(schema={_NUMBER: pl.Int64(), **keys}), keys)

    def holds(self, partitions: Sequence[Mapping[str, str | None]], keys: Mapping[str, pl.DataType]) -> list[bool]:
        """Whether it is true for each partition, whose values are texts of the log."""
        frame = values.columns(partitions, keys).with_row_index(_NUMBER).cast({_NUMBER: pl.Int64})
        planned = self._planned(frame.lazy(), keys)
        try:
            found = dict(planned.collect().iter_rows())
        except (Exception, pl.exceptions.PanicException) as exc:
            raise self.refused(f"it failed: {clean(first_paragraph(exc), 300)}", Failure.USER_ERROR) from exc
        return [found[number] is True for number in range(len(partitions))]

    def refused(self, text: str, failure: Failure = Failure.INVALID_QUERY) -> JobError:
        """Return the failure that names the predicate."""
        return JobError(failure, f"{PLACE}: {text}")

    def _prepare(self) -> Prepared:
        text = f"SELECT {_NUMBER}, (\n{self.text}\n) AS {_HOLDS} FROM {TABLE}"  # noqa: S608
        try:
            return Prepared(text, dialect=self._dialect, inputs=[TABLE], values=self._values)
        except JobError as exc:
            raise self.refused(exc.message, exc.failure) from None

    def _planned(self, frame: pl.LazyFrame, keys: Mapping[str, pl.DataType]) -> pl.LazyFrame:
        if self._now is None:
            raise JobError(Failure.INVALID_PLAN, "the plan does not say when its job was created: apply the job again")
        prepared = self._prepare()
        frames = {TABLE: frame}
        try:
            bound = prepared.bound(prepared.schemas(frames), self._now).relation
            statement = prepared.plan(frames, now=self._now, target=CPU).statement
        except JobError as exc:
            named = ", ".join(keys) or "none"
            raise self.refused(f"{exc.message}; it can read the partition columns ({named}) and nothing else") from None
        if not all(isinstance(one, nodes.Scan | nodes.Project) for one in relations(bound)):
            raise self.refused(f"it is no predicate over the columns of one row: {_WAY_OUT}")
        if (found := bound.fields[-1].type) != BOOLEAN:
            raise self.refused(f"it is {found}, and must be a BOOLEAN: {_WAY_OUT}")
        return compiler.compiled(statement, frames, CPU)
