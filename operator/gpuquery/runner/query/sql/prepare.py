"""The steps of a statement: translate, check, bind, optimize, compile; errors have the author's line and column.

`Prepared` does what needs no data; `Prepared.plan` makes the lazy result once the inputs' schemas are known.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.query.sql.errors import SqlError
from gpuquery.runner.query.sql.types import UnsupportedType
from gpuquery.runner.query.text import Text, invalid

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from datetime import datetime

    import polars as pl

    from gpuquery.runner.query.params import Value
    from gpuquery.runner.query.sql.compile.target import Target
    from gpuquery.runner.query.sql.errors import Place
    from gpuquery.runner.query.sql.plan import Statement
    from gpuquery.runner.query.sql.rules import Statistics
    from gpuquery.runner.query.sql.types import Columns, Type

_ANOTHER_TIME = timedelta(days=4001, hours=5, minutes=7, seconds=11)
CALLS = 10_000
"""Python's recursion limit while a statement is planned."""


@dataclass(frozen=True)
class Result:
    """The lazy result, the plan that it was made from, and what the author should know."""

    frame: pl.LazyFrame
    statement: Statement
    warnings: tuple[str, ...]
    varies: str = ""
    """What another run over the same inputs may change; empty: nothing."""


class Prepared:
    """A statement that has passed the checks that need no data."""

    def __init__(self, text: str, *, dialect: str, inputs: Collection[str], values: Mapping[str, Value]) -> None:
        """Raise JobError(InvalidQuery) for what is no query over these inputs with these parameters."""
        from gpuquery.runner.query.sql import front
        from gpuquery.runner.query.sql.dialects.translation import translated
        from gpuquery.runner.query.sql.front.normal import clock, normal_form

        self._text = Text(text)
        self._values = values
        with self._raising_job_errors():
            self._translation = translated(text, dialect)
            with self._with_author_places():
                tree = front.check(self._translation.text, inputs=inputs, values=values, setup=self._translation.setup)
        self.normal = normal_form(tree)
        """The statement in normal form: white space, comments and the case of keywords do not count."""
        self.clock = clock(tree)
        """The function of the current time that it calls; empty if it calls none."""

    def bound(self, schemas: Mapping[str, Columns], now: datetime) -> Statement:
        """Bind to the inputs' schemas; raises JobError(InvalidQuery)."""
        return self._bound(schemas, now)[0]

    def unsettled(self, schemas: Mapping[str, Columns], now: datetime, *, declared: bool = False) -> str:
        """Return why the statement may give other rows when it is run again, with the place; empty if it cannot.

        With `declared`, its author answers for the order of its rows.
        """
        from gpuquery.runner.query.sql.determinism import repeats

        if self.clock:
            return f"{self.clock} is another value in each job"
        bound = self.bound(schemas, now)
        if bound != self.bound(schemas, now + _ANOTHER_TIME):
            return "it asks for the current time"
        found = None if declared else repeats(bound).rows
        return f"{self.at(found.place)}{found.why}; or declare reuse.deterministic: true" if found else ""

    def _varies(self, bound: Statement) -> str:
        """Return what another run over the same inputs may change: rows, or else last digits; empty: nothing."""
        from gpuquery.runner.query.sql.determinism import repeats

        if self.clock:
            return f"{self.clock} is another value in each job"
        rows, digits = repeats(bound)
        found = rows or digits
        return f"{self.at(found.place)}{found.why}" if found else ""

    def _bound(self, schemas: Mapping[str, Columns], now: datetime) -> tuple[Statement, Mapping[str, Place | None]]:
        """Return the statement, and the warnings about its dialect, each with its place."""
        from gpuquery.runner.query.sql import front
        from gpuquery.runner.query.sql.dialects.semantics_pass import with_dialect_semantics

        made = self._translation
        with self._raising_job_errors():
            with self._with_author_places():
                found = front.bind(made.text, schemas=schemas, values=self._values, now=now, setup=made.setup)
            return with_dialect_semantics(found, made)

    def plan(
        self,
        frames: Mapping[str, pl.LazyFrame],
        *,
        now: datetime,
        target: Target,
        statistics: Statistics | None = None,
        absent: Mapping[str, Mapping[str, str]] | None = None,
    ) -> Result:
        """Return the lazy result over the inputs; raises JobError(InvalidQuery or UnsupportedQuery).

        `absent` are columns of inputs that cannot be read, with the reason.
        """
        from gpuquery.runner.query.sql import remarks, rules
        from gpuquery.runner.query.sql.compile import statement as compiler
        from gpuquery.runner.query.sql.compile.target import CPU

        bound, other = self._bound(self.schemas(frames, absent), now)
        with self._raising_job_errors():
            statement = rules.improved(bound, statistics)
            try:
                frame = compiler.compiled(statement, frames, target)
            except SqlError as exc:
                if target.gpu:
                    compiler.compiled(statement, frames, CPU)  # else it is wrong everywhere
                    raise self._unsupported(exc, target) from None
                raise
        remarks_found = [
            *((place, words) for words, place in other.items()),
            *((r.place, r.message) for r in remarks.find_remarks(bound, statement)),
        ]
        warnings = (f"{self.at(place)}{words}" for place, words in remarks_found)
        return Result(frame, statement, tuple(warnings), self._varies(bound))

    def schemas(
        self, frames: Mapping[str, pl.LazyFrame], absent: Mapping[str, Mapping[str, str]] | None = None
    ) -> dict[str, dict[str, Type | UnsupportedType]]:
        """Return the inputs' types in SQL. A column that has none is refused where a statement uses it."""
        made: dict[str, dict[str, Type | UnsupportedType]] = {}
        for name, frame in frames.items():
            unread = (absent or {}).get(name, {})
            made[name] = {column: _type(dtype) for column, dtype in frame.collect_schema().items()}
            made[name] |= {column: UnsupportedType(why) for column, why in unread.items()}
        return made

    def at(self, place: Place | None) -> str:
        """Return `line 3, column 12: ` of a place; nothing for none."""
        return f"{self._text.at(place.start)}: " if place else ""

    def failed(self, exc: BaseException) -> str | None:
        """Return the author's message for a failure of the running query; None if no expression failed."""
        from gpuquery.runner.query.sql.compile.failures import decoded_failure

        found = decoded_failure(exc)
        return f"{self.at(found[1])}{found[0]}" if found else None

    @contextmanager
    def _raising_job_errors(self) -> Iterator[None]:
        # A level of an expression takes several calls of ours: the front end bounds the levels.
        sys.setrecursionlimit(max(sys.getrecursionlimit(), CALLS))
        try:
            yield
        except SqlError as exc:
            raise self._error(exc) from None
        except RecursionError:
            raise invalid("the statement is nested too deeply: break it up into CTEs") from None

    @contextmanager
    def _with_author_places(self) -> Iterator[None]:
        """Map the place of an error from the translated text to the author's text."""
        try:
            yield
        except SqlError as exc:
            raise SqlError(exc.message, self._translation.author_place(exc.place)) from None

    def _unsupported(self, exc: SqlError, target: Target) -> JobError:
        way_out = "" if "engine" in exc.message else "; choose another runtime.release, or engine: cpu"
        where = f" (RAPIDS {target.release})"
        return JobError(Failure.UNSUPPORTED_QUERY, f"{self.at(exc.place)}{exc.message}{where}{way_out}")

    def _error(self, exc: SqlError) -> JobError:
        return invalid(f"{self.at(exc.place)}{exc.message}")


def _type(dtype: pl.DataType) -> Type | UnsupportedType:
    from gpuquery.runner.query.sql.compile.values import type_of

    try:
        return type_of(dtype)
    except SqlError:
        return UnsupportedType(f"has the type {dtype}, which SQL does not support: cast it in query.python")
