"""Bind a statement: DuckDB resolves its names and types over empty tables, and its bound plan becomes ours.

Nothing of the author's text is executed: it is a value for `json_serialize_sql`, which parses it, and for
`json_serialize_plan`, which binds it. The names of the result come from a relation that is bound and never run.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, TypeVar

import duckdb

from gpuquery.runner.query.sql.errors import SqlError
from gpuquery.runner.query.sql.front import arrows, catalog, growth, keywords, limits, parameters, validate
from gpuquery.runner.query.sql.front.calls import places
from gpuquery.runner.query.sql.front.comparable import written_casts
from gpuquery.runner.query.sql.front.constants import ConstantFolder
from gpuquery.runner.query.sql.front.current_time import CurrentTime, macros
from gpuquery.runner.query.sql.front.duckjson_expressions import Reader
from gpuquery.runner.query.sql.front.duckjson_relations import Relations, UnusableColumnError
from gpuquery.runner.query.sql.front.laterals import without_lateral_joins
from gpuquery.runner.query.sql.front.messages import ErrorTranslator
from gpuquery.runner.query.sql.front.source import Replacement, Source
from gpuquery.runner.query.sql.front.ties import Ties
from gpuquery.runner.query.sql.front.tokens import Token, tokens
from gpuquery.runner.query.sql.plan import Statement

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from gpuquery.runner.query.params import Value
    from gpuquery.runner.query.sql.types import Columns

Json = dict[str, Any]
T = TypeVar("T")

_PLAN = "SELECT json_serialize_plan(?, optimize := false)"
_MACRO = re.compile(r"Macro gq_\w+\(\) ")
_OURS = re.compile(r"\bgq_\w{5,}(?=\()")
"""Macros of a dialect; their names are no shorter than that of COALESCE, so that places stay."""
_VARIABLE = re.compile(r"getvariable\('p(?P<number>\d+)(?P<at>\.\d+)?'\)")


def bind(
    text: str,
    *,
    schemas: Mapping[str, Columns],
    values: Mapping[str, Value],
    now: datetime,
    setup: Sequence[str] = (),
) -> Statement:
    """Return the plan of a statement over the inputs' schemas; raises SqlError with the place in the text.

    `setup` are the settings and macros that DuckDB runs first, for a statement translated from another dialect.
    """
    known = {name: catalog.without_ambiguous_names(columns) for name, columns in schemas.items()}
    return _with_binder(text, known, values, (*setup, *macros(now)), lambda binder: binder.statement(now))


def check(text: str, *, inputs: Collection[str], values: Mapping[str, Value], setup: Sequence[str] = ()) -> Json:
    """Check what needs no schemas: one query, over these inputs, with these parameters; returns its syntax tree.

    Raises SqlError.
    """
    return _with_binder(text, {}, values, setup, lambda binder: binder.validated_tree(inputs))


def _with_binder(
    text: str,
    schemas: Mapping[str, Columns],
    values: Mapping[str, Value],
    setup: Sequence[str],
    ask: Callable[[_Binder], T],
) -> T:
    found = tokens(text)
    limits.check_text(text, found)
    ties = Ties(text)
    # What is put in front of a parameter stands before it in the list.
    replaced = [*ties.replacements(found), *arrows.replacements(found), *parameters.replacements(text, found, values)]
    source = _readable(text, replaced, found, schemas)
    session = catalog.connection(schemas, setup)
    try:
        with limits.raised_recursion_limit():
            return ask(_Binder(session, source, schemas, values, ties))
    except RecursionError:
        raise SqlError(limits.TOO_DEEP) from None
    except duckdb.OutOfMemoryException:
        raise SqlError(limits.TOO_LARGE) from None
    except duckdb.Error:  # an internal error leaves the database unusable
        catalog.drop_databases()
        raise SqlError("the statement cannot be planned: write it in another way") from None
    finally:
        session.close()


def _readable(text: str, replaced: list[Replacement], found: list[Token], schemas: Mapping[str, Columns]) -> Source:
    """Return the text to be bound, with keywords that name columns quoted if the text does not parse otherwise."""
    source = Source(text, replaced)
    columns = {name for table in schemas.values() for name in table} if schemas else None
    quoted = [
        one for one in keywords.replacements(found, columns) if not any(r.start <= one.start < r.end for r in replaced)
    ]
    if not quoted or _reads(source):
        return source
    other = Source(text, [*replaced, *quoted])
    return other if _reads(other) else source


def _reads(source: Source) -> bool:
    try:
        return bool(duckdb.extract_statements(source.bound))
    except duckdb.Error:
        return False


class _Binder:
    def __init__(
        self,
        session: duckdb.DuckDBPyConnection,
        source: Source,
        schemas: Mapping[str, Columns],
        values: Mapping[str, Value],
        ties: Ties,
    ) -> None:
        self.session, self.source, self.schemas, self.values = session, source, schemas, values
        self.ties = ties
        self.errors = ErrorTranslator(source, schemas, values, self.functions)

    def statement(self, now: datetime) -> Statement:
        """Parse, validate and bind the text, and return it as our plan."""
        tree = self.validated_tree(self.schemas)
        parameters.check_counts(tree, self.source, self.values)
        parameters.set_variables(self.session, self.values)
        answer = self.query_duckdb(_PLAN)
        if answer["error"]:
            raise self.errors.error(self.without_macros(answer), tree)
        (plan,) = answer["plans"]
        kinds = {name: value.described for name, value in self.values.items()}
        constants, words = ConstantFolder(self.session), validate.session_words(tree)
        reader = Reader(self.source, CurrentTime(now), constants, written_casts(tree), kinds, places(tree), words)
        try:
            relation = without_lateral_joins(Relations(reader, self.schemas, self.ties).read(plan))
        except UnusableColumnError as exc:
            raise self.errors.unusable(exc, tree) from None
        self.ties.check()
        return Statement(relation, unique([self.as_author_wrote(name) for name in self.names()]))

    def validated_tree(self, inputs: Collection[str]) -> Json:
        """Return the syntax tree; raises SqlError if anything in it is refused."""
        tree = self.query_duckdb("SELECT json_serialize_sql(?)")
        if tree["error"]:
            raise self.unreadable(tree)
        limits.check_tree(tree, self.source)
        validate.check(tree, self.source, inputs)
        growth.check(tree, self.source, {name: len(columns) for name, columns in self.schemas.items()})
        return tree

    def without_macros(self, answer: Json) -> Json:
        """Return the error behind a macro of ours that DuckDB cannot resolve because its argument has no type."""
        if not _MACRO.match(str(answer.get("error_message"))):
            return answer
        plain = _OURS.sub(lambda m: "coalesce".ljust(len(m[0])), self.source.bound)
        other = self.query_duckdb(_PLAN, plain)
        return other if other["error"] and not _MACRO.match(str(other.get("error_message"))) else answer

    def query_duckdb(self, question: str, text: str = "") -> Json:
        """Return DuckDB's JSON for one of our queries about the bound text, or about another text."""
        row = self.session.execute(question, [text or self.source.bound]).fetchone()
        try:
            return dict(json.loads(row[0] if row else ""))
        except json.JSONDecodeError:
            raise SqlError("the statement holds a constant of a type, or of a size, that is not supported") from None

    def names(self) -> list[str]:
        """Return the names of the result's columns. The relation is bound for that, and never run."""
        statements = duckdb.extract_statements(self.source.bound)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise SqlError("a query is one SELECT statement")
        return list(self.session.sql(statements[0]).columns)

    def as_author_wrote(self, name: str) -> str:
        """Return a name as the author would have written it: parameters by their names."""
        if (found := _VARIABLE.fullmatch(name)) and found["at"] is None:
            return self.parameter(found)
        return _VARIABLE.sub(lambda m: ":" + self.parameter(m), name)

    def parameter(self, found: re.Match[str]) -> str:
        """Return the name of the parameter that a variable stands for."""
        return sorted(self.values)[int(found["number"])]

    def unreadable(self, answer: Json) -> SqlError:
        """Return the error for a text that is no SELECT, or no SQL."""
        if answer.get("error_type") != "not implemented":
            return self.errors.error(answer)
        try:
            kinds = [str(s.type).rsplit(".", 1)[-1].upper() for s in duckdb.extract_statements(self.source.bound)]
        except (duckdb.Error, ValueError):  # ValueError: a kind that DuckDB's own Python client does not know
            kinds = []
        word = next((k for k in kinds if k != "SELECT"), "this statement").replace("_", " ")
        if word == "MULTI":
            return SqlError("PIVOT needs the values of its columns: ON column IN ('a', 'b')")
        return SqlError(f"{word} is refused: a query is one SELECT statement")

    def functions(self) -> list[str]:
        """Return the names of DuckDB's functions of values."""
        asked = "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type <> 'table'"
        return [str(name) for (name,) in self.session.execute(asked).fetchall()]


def unique(names: Sequence[str]) -> tuple[str, ...]:
    """Return names of which no two are equal, letters' case aside: a later one gets a number."""
    seen: set[str] = set()
    made = []
    for name in names:
        candidate, number = name, 0
        while candidate.lower() in seen:
            number += 1
            candidate = f"{name}_{number}"
        seen.add(candidate.lower())
        made.append(candidate)
    return tuple(made)
