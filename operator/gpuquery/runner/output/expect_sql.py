"""One SQL expectation: a statement over the one table `result` that returns one boolean.

It goes through our own planner like a query, and is bound to the planned result before the query runs: what is no
single boolean is refused then. Later it runs on Polars over the kept columns. An aggregate over all rows is one pass,
which holds no rows. Any other statement (DISTINCT, GROUP BY, a join, a window) may hold all that it reads, so it is run
only if that is at most MAX_HELD.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.api.choices import Dialect
from gpuquery.api.reasons import Failure
from gpuquery.api.text import clean
from gpuquery.plan.plan import Language
from gpuquery.runner.failures.errors import JobError, first_paragraph
from gpuquery.runner.output import duplicates, scratch
from gpuquery.runner.query import params
from gpuquery.runner.query.sql import plan as nodes
from gpuquery.runner.query.sql.compile import statement as compiler
from gpuquery.runner.query.sql.compile.target import CPU
from gpuquery.runner.query.sql.compile.unique import has_exactly_one_row
from gpuquery.runner.query.sql.errors import SqlError
from gpuquery.runner.query.sql.prepare import Prepared
from gpuquery.runner.query.sql.types import BOOLEAN
from gpuquery.runner.query.sql.walk import relations

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from gpuquery.plan.plan import Plan

TABLE = "result"
MAX_HELD = 1 << 30
"""Bytes in memory of the columns of a statement that may hold rows; it may take a few times as much while it runs."""
MAX_VALUE = 60
_ONE_PASS = frozenset({"count", "count_star", "count_if", "sum", "min", "max", "avg", "bool_and", "bool_or"})
_COMPARES = frozenset({"=", "<>", "<", "<=", ">", ">="})
_WAY_OUT = "write a statement over the table result like SELECT count(*) = 0 FROM result WHERE amount < 0"


class SqlCheck:
    """The statement of `output.expect[index]`. `bind` comes before `judge`."""

    def __init__(self, plan: Plan, text: str, place: str) -> None:
        """Raise JobError(InvalidQuery) for what is no query over `result`. `place` is the field, for messages."""
        self._place = place
        self._now = plan.now
        self._operator = ""
        ours = plan.language is Language.SQL and plan.dialect is not Dialect.POLARS
        dialect = plan.dialect if ours else Dialect.DUCKDB
        # A query must use all of its parameters; an expectation may use some of them.
        used = {name: v for name, v in plan.parameters.items() if re.search(rf"[:$]{re.escape(name)}\b", text)}
        try:
            self._prepared = Prepared(text, dialect=dialect.value, inputs=[TABLE], values=params.values(used))
        except JobError as exc:
            raise self._refused(exc.message, exc.failure) from None
        self.clock = self._prepared.clock
        """The function of the current time that it calls; empty if it calls none."""
        self.columns: Sequence[str] = ()
        """Columns of the result that it reads."""

    def bind(self, schema: pl.Schema) -> None:
        """Plan it over a result of this schema; raises JobError (InvalidQuery) if it is no single boolean."""
        if self._now is None:
            raise JobError(Failure.INVALID_PLAN, "the plan does not say when its job was created: apply the job again")
        frames = {TABLE: pl.LazyFrame(schema=schema)}
        try:
            bound = self._prepared.bound(self._prepared.schemas(frames), self._now).relation
            self._statement = self._prepared.plan(frames, now=self._now, target=CPU).statement
        except JobError as exc:
            raise self._refused(exc.message, exc.failure) from None
        fields = bound.fields
        if len(fields) != 1 or fields[0].type != BOOLEAN:
            found = " and ".join(str(field.type) for field in fields[:5]) + (", ..." if len(fields) > 5 else "")
            raise self._refused(f"it returns {found}, and must return one BOOLEAN: {_WAY_OUT}")
        if not any(isinstance(node, nodes.Scan) for node in relations(bound)):
            raise self._refused(f"it does not read {TABLE}, so it says nothing about it: {_WAY_OUT}")
        if not (_is_one_row(bound) or _is_one_row(self._statement.relation)):
            raise self._refused(f"it may return no row, or several, and must return exactly one: {_WAY_OUT}")
        scans = [node for node in relations(self._statement.relation) if isinstance(node, nodes.Scan)]
        self.columns = list(dict.fromkeys(field.name for scan in scans for field in scan.columns))
        self._holds = not all(_is_one_pass(node) for node in relations(self._statement.relation))

    def judge(self, files: Sequence[Path], schema: Mapping[str, pl.DataType]) -> str:
        """Run it over the kept columns; returns what is wrong, or nothing. Raises JobError(OutputLimit)."""
        if self._holds and (held := duplicates.weight(files, self.columns, MAX_HELD)) > MAX_HELD:
            raise JobError(
                Failure.OUTPUT_LIMIT,
                f"{self._place}: it is not checked: a statement with DISTINCT, GROUP BY, a join or a window may hold "
                f"all that it reads, more than {held / 2**30:.1f} GiB of this result, and at most "
                f"{MAX_HELD / 2**30:.0f} GiB are: write aggregates over all rows, or unique",
            )
        scan = pl.scan_parquet(list(files), glob=False, hive_partitioning=False) if files else None
        frame = pl.LazyFrame(schema=schema) if scan is None else scan
        try:
            row = self._compiled(frame).collect(engine="streaming").row(0)
        except Exception as exc:
            if error := scratch.full(exc):
                raise error from None
            said = self._prepared.failed(exc) or first_paragraph(exc)
            return f"it failed: {clean(said, 300)}"
        if row[0] is True:
            return ""
        sides = f": {_shown(row[1])} {self._operator} {_shown(row[2])}" if len(row) == 3 else ""
        return f"it returned {'NULL' if row[0] is None else 'false'}{sides}"

    def _compiled(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        """Compile it, with the two sides of a comparison for the message where that can be had."""
        statement, frames = self._statement, {TABLE: frame}
        top = statement.relation
        value = top.items[0].value if isinstance(top, nodes.Project) else None
        if isinstance(top, nodes.Project) and isinstance(value, nodes.Call) and value.function in _COMPARES:
            self._operator = value.function
            sides = (nodes.Item(side, name) for side, name in zip(value.arguments, ("l", "r"), strict=True))
            relation = replace(top, items=(nodes.Item(value, "holds"), *sides))
            with contextlib.suppress(SqlError):
                return compiler.compiled(nodes.Statement(relation, ("holds", "l", "r")), frames, CPU)
        return compiler.compiled(statement, frames, CPU)

    def _refused(self, message: str, failure: Failure = Failure.INVALID_QUERY) -> JobError:
        return JobError(failure, f"{self._place}.sql: {message}")


def _shown(value: object) -> str:
    return "NULL" if value is None else clean(str(value), MAX_VALUE)


def _is_one_row(node: nodes.Relation) -> bool:
    match node:
        case nodes.Project() | nodes.Window():
            return _is_one_row(node.input)
        case nodes.Join() if node.kind in (nodes.JoinKind.SINGLE, nodes.JoinKind.MARK):
            return _is_one_row(node.left)
        case nodes.Join() if node.kind is nodes.JoinKind.INNER and not node.matches and node.condition is None:
            return _is_one_row(node.left) and _is_one_row(node.right)
    return has_exactly_one_row(node, {})


def _is_one_pass(node: nodes.Relation) -> bool:
    match node:
        case nodes.Scan() | nodes.Filter() | nodes.Project() | nodes.Values():
            return True
        case nodes.Aggregate(keys=()):
            return all(c.function in _ONE_PASS and not c.distinct and not c.order for c in node.calls)
    return False
