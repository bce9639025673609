"""The query of a plan, in SQL or Python, in two steps: first the checks that need no data, then the lazy plan."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from gpuquery.api.choices import Dialect, EngineChoice
from gpuquery.api.reasons import Failure
from gpuquery.plan.plan import Language, Plan
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.query import params

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import polars as pl

    from gpuquery.runner.inputs import Resolved
    from gpuquery.runner.query.sql.compile.target import Target
    from gpuquery.runner.query.sql.explanation import Explanation
    from gpuquery.runner.query.sql.rules import Statistics

NONE: Mapping[str, Resolved] = MappingProxyType({})
POLARS_DEPRECATED = (
    "query.dialect polars is deprecated and will be removed in the next release: Polars' SQL loses decimal "
    "places, wraps sums "
    "of 32-bit columns and drops conditions of correlated sub-queries without a word; leave dialect out (docs/sql.md)"
)
DECLARE = "declare reuse.deterministic: true"
PYTHON_UNCHECKED = "Python code is not looked into"
POLARS_UNCHECKED = "Polars' own SQL is not looked into: leave query.dialect out"


@dataclass(frozen=True)
class Planned:
    """The lazy result and what the author should know about it."""

    frame: pl.LazyFrame
    warnings: tuple[str, ...] = ()
    plan: str = ""
    """The plan of SQL as text; empty for other languages."""
    alone: tuple[str, ...] = ()
    """Parts that run on one partition whatever the number of GPUs, by the table of releases."""
    statistics: Statistics | None = None
    """What is known of the inputs, where it was asked for."""
    varies: str = ""
    """What another run over the same inputs may change: rows, or last digits; empty: nothing."""


class Query(Protocol):
    """A query that has passed the checks that need no data."""

    def plan(self, frames: Mapping[str, pl.LazyFrame], inputs: Mapping[str, Resolved] = NONE) -> Planned:
        """Return the lazy result over the inputs' frames; raises JobError(InvalidQuery or UserError)."""
        ...

    def failed(self, exc: BaseException) -> str | None:
        """Return the author's message for a failure of the running query; None if there is nothing to add to it."""
        ...

    @property
    def normal(self) -> str:
        """The text in normal form: what does not change its meaning does not count."""
        ...

    def unsettled(
        self, frames: Mapping[str, pl.LazyFrame], inputs: Mapping[str, Resolved] = NONE, *, declared: bool = False
    ) -> str:
        """Return why the query may give other rows when it is run again; empty if it cannot.

        With `declared`, its author says that it cannot; then it may still ask for the current time.
        """
        ...


def prepare(plan: Plan) -> Query:
    """Check text and parameters; reads nothing. Raises JobError(InvalidQuery or UserError)."""
    values = params.values(plan.parameters)
    # Each language imports its own half: sqlglot alone takes a quarter of a second.
    if plan.language is Language.PYTHON:
        return _Python(plan.query, values)
    return _Polars(plan, values) if plan.dialect is Dialect.POLARS else Sql(plan, values)


def check(plan: Plan) -> None:
    """Check text and parameters and run nothing, not even the top level of a Python query.

    For machines that judge a query without being the place where it may run. Raises as `prepare` does.
    """
    if plan.language is Language.PYTHON:
        from gpuquery.runner.query import python_query

        params.values(plan.parameters)
        python_query.parsed(plan.query)
    else:
        prepare(plan)


def unrun(plan: Plan) -> Query | None:
    """Return what `prepare` returns, but only check Python code, and return None for it. Raises as `check` does."""
    if plan.language is Language.PYTHON:
        check(plan)
        return None
    return prepare(plan)


class Sql:
    """A statement of SQL by our own planner."""

    def __init__(self, plan: Plan, values: Mapping[str, params.Value]) -> None:
        from gpuquery.runner.query.sql.prepare import Prepared

        self._plan = plan
        names = [item.name for item in plan.inputs]
        self._prepared = Prepared(plan.query, dialect=plan.dialect.value, inputs=names, values=values)

    def plan(self, frames: Mapping[str, pl.LazyFrame], inputs: Mapping[str, Resolved] = NONE) -> Planned:
        """Return the lazy result for the plan's engine and release."""
        from gpuquery.runner.query.sql.compile.partitions import Effect, restrictions
        from gpuquery.runner.query.sql.rules import explain

        plan, target, statistics = self._plan, self._target(), self._statistics(inputs)
        absent = _absent(inputs)
        try:
            made = self._prepared.plan(frames, now=_now(plan), target=target, statistics=statistics, absent=absent)
        except JobError as exc:
            if any(why in exc.message for whys in absent.values() for why in whys.values()):
                raise JobError(
                    Failure.INVALID_INPUT, exc.message
                ) from None  # the statement is right, the files are not
            raise
        found = restrictions(made.statement, target)
        told = {
            effect: tuple(self._prepared.at(r.place) + str(r) for r in found if r.effect is effect) for effect in Effect
        }
        if refused := told[Effect.REFUSED]:
            raise JobError(Failure.UNSUPPORTED_QUERY, "; ".join(refused))
        tree = explain.tree(made.statement, statistics)
        return Planned(made.frame, made.warnings, tree, told[Effect.ONE_PARTITION], statistics, made.varies)

    @property
    def normal(self) -> str:
        """The syntax tree, as text."""
        return self._prepared.normal

    def unsettled(
        self, frames: Mapping[str, pl.LazyFrame], inputs: Mapping[str, Resolved] = NONE, *, declared: bool = False
    ) -> str:
        """Look for the current time, and for what depends on an order of rows that is not given."""
        schemas = self._prepared.schemas(frames, _absent(inputs))
        return self._prepared.unsettled(schemas, _now(self._plan), declared=declared)

    def explain(self, frames: Mapping[str, pl.LazyFrame], inputs: Mapping[str, Resolved]) -> Explanation:
        """Return the plan, and who can run it; raises JobError(InvalidQuery)."""
        from gpuquery.runner.query.sql import explanation, rules

        statistics = self._statistics(inputs)
        bound = self._prepared.bound(self._prepared.schemas(frames, _absent(inputs)), _now(self._plan))
        return explanation.explained(rules.improved(bound, statistics), frames, statistics, self._prepared.at)

    def _target(self) -> Target:
        from gpuquery.runner.query.sql.compile.target import CPU, Target

        plan = self._plan
        return CPU if plan.engine == EngineChoice.CPU else Target(plan.release or None, plan.workers > 1)

    def _statistics(self, inputs: Mapping[str, Resolved]) -> Statistics:
        from gpuquery.runner.query import facts

        return facts.known(inputs, self._plan.store)

    def failed(self, exc: BaseException) -> str | None:
        """Return the message and the place of a failed expression."""
        return self._prepared.failed(exc)


def _absent(inputs: Mapping[str, Resolved]) -> dict[str, Mapping[str, str]]:
    return {name: one.absent for name, one in inputs.items()}


def _unread(text: str, inputs: Mapping[str, Resolved]) -> str:
    """Return why a column that Polars cannot find was not read; empty if no input has it."""
    for name, one in inputs.items():
        for column, why in one.absent.items():
            if f'unable to find column "{column}"' in text:
                return f'input "{name}": column "{column}" {why}'
    return ""


def _left_out(inputs: Mapping[str, Resolved]) -> list[str]:
    """Say which columns are not there: our SQL refuses them where they are named, by `*` too, and other languages do
    not know of them."""
    return [f'input "{name}": column "{c}" {why}' for name, one in inputs.items() for c, why in one.absent.items()]


def _now(plan: Plan) -> datetime:
    if plan.now is None:
        raise JobError(Failure.INVALID_PLAN, "the plan does not say when its job was created: apply the job again")
    return plan.now


class _Polars:
    def __init__(self, plan: Plan, values: Mapping[str, params.Value]) -> None:
        from gpuquery.runner.query.polars_sql import tree

        statement = tree.read(plan.query, inputs=[i.name for i in plan.inputs])
        self._bound = tree.bind(statement, values)

    def plan(self, frames: Mapping[str, pl.LazyFrame], inputs: Mapping[str, Resolved] = NONE) -> Planned:
        from gpuquery.runner.query.polars_sql import plan, types

        schemas = {name: frame.collect_schema() for name, frame in frames.items()}
        types.check_parameters(self._bound, schemas)
        frame = plan.plan(self._bound, frames)
        warnings = (POLARS_DEPRECATED, *types.decimal_warnings(self._bound, schemas), *_left_out(inputs))
        return Planned(frame, warnings, varies=POLARS_UNCHECKED)

    def failed(self, exc: BaseException) -> str | None:
        return None

    @property
    def normal(self) -> str:
        return self._bound.statement.tree.sql(dialect="postgres", comments=False, normalize=False)

    def unsettled(
        self, frames: Mapping[str, pl.LazyFrame], inputs: Mapping[str, Resolved] = NONE, *, declared: bool = False
    ) -> str:
        return "" if declared else POLARS_UNCHECKED


class _Python:
    def __init__(self, source: str, values: Mapping[str, params.Value]) -> None:
        from gpuquery.runner.query import python_query

        self._compiled = python_query.compiled(source)
        self._values = values
        self.normal = "\n".join(source.splitlines())

    def plan(self, frames: Mapping[str, pl.LazyFrame], inputs: Mapping[str, Resolved] = NONE) -> Planned:
        from gpuquery.runner.query import python_query

        try:
            made = python_query.plan(self._compiled, frames, self._values)
        except JobError as exc:
            if why := _unread(exc.message, inputs):
                raise JobError(exc.failure, f"{why}\n{exc.message}") from None
            raise
        return Planned(made.frame, (*made.warnings, *_left_out(inputs)), varies=PYTHON_UNCHECKED)

    def failed(self, exc: BaseException) -> str | None:
        return None

    def unsettled(
        self, frames: Mapping[str, pl.LazyFrame], inputs: Mapping[str, Resolved] = NONE, *, declared: bool = False
    ) -> str:
        return "" if declared else f"{PYTHON_UNCHECKED}: {DECLARE} if it gives the same rows each time"
