"""From a bound query to Polars' lazy plan, with Polars' errors told in the author's lines and columns.

Polars names a column, a function or a place in the text that it was given; the author wrote another text (parameters
were still names in it) and wants the place there, and the names that would have been right.
"""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING

import polars as pl
from sqlglot import exp
from sqlglot.tokenizer_core import TokenType

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError, first_paragraph
from gpuquery.runner.query.polars_sql.tree import BoundQuery, Statement, place, suggestion
from gpuquery.runner.query.text import Text, invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_COLUMN = (
    re.compile(r'unable to find column "(?P<name>(?:[^"\\]|\\.)*)"'),
    re.compile(r"no (?:table or struct )?column named '(?P<name>.*?)' found(?: in table '(?P<table>.*?)')?"),
    re.compile(r"^(?P<name>[^\s:]+)$"),
)
_FUNCTION = re.compile(r"unsupported function '(?P<name>[^']+)'")
_PLACE = re.compile(r"^sql parser error: (?P<what>.*?) at Line: (?P<line>\d+), Column: (?P<column>\d+)", re.DOTALL)
_SPAN = re.compile(r"Span\(Location\((?P<line>\d+),(?P<column>\d+)\)")
_TREE = re.compile(r"([A-Z]\w*)(?: \{|\()")
"""Where Polars begins to print its own syntax tree."""
_PARTS = {"year", "quarter", "month", "week", "day", "hour", "minute", "second"}
MAX_KNOWN = 40


def plan(bound: BoundQuery, frames: Mapping[str, pl.LazyFrame]) -> pl.LazyFrame:
    """Return the lazy result, its schema resolved; raises JobError(InvalidQuery)."""
    try:
        with warnings.catch_warnings():
            # Polars 1.44 deprecates `DATE '...'`, which is good SQL and works; its author can do nothing about it.
            warnings.filterwarnings("ignore", message="Casting from String", category=DeprecationWarning)
            result = pl.SQLContext(frames=dict(frames), eager=False).execute(bound.text, eager=False)
            result.collect_schema()
    except pl.exceptions.PolarsError as exc:
        raise _explained(bound, exc, frames) from None
    return result


def _explained(bound: BoundQuery, exc: pl.exceptions.PolarsError, frames: Mapping[str, pl.LazyFrame]) -> JobError:
    text = first_paragraph(exc)
    statement = bound.statement
    if found := _PLACE.search(text):
        return invalid(f"{_place(bound, found)}: Polars' SQL cannot read this: {found['what']}")
    if found := _SPAN.search(text):
        return invalid(f"{_place(bound, found)}: Polars cannot plan the query: {_without_tree(text)}")
    if found := _FUNCTION.search(text):
        where = _place_of_function(statement, found["name"])
        hint = f": write EXTRACT({found['name'].upper()} FROM ...)" if found["name"].lower() in _PARTS else ""
        return invalid(f'{where}Polars\' SQL has no function "{found["name"]}"{hint}')
    if isinstance(exc, pl.exceptions.ColumnNotFoundError) or "column named" in text:
        for pattern in _COLUMN:
            if found := pattern.search(text):
                return _unknown_column(statement, found, text, frames)
    return JobError(Failure.INVALID_QUERY, f"Polars cannot plan the query: {text}")


def _place(bound: BoundQuery, found: re.Match[str]) -> str:
    """The place in the author's text of a line and a column of the bound one."""
    offset = Text(bound.text).offset(int(found["line"]), int(found["column"]))
    return bound.statement.source.at(bound.source_offset(offset))


def _without_tree(text: str) -> str:
    found = _TREE.search(text)
    return text[: found.end(1)] if found else text


def _unknown_column(
    statement: Statement, found: re.Match[str], text: str, frames: Mapping[str, pl.LazyFrame]
) -> JobError:
    name = found["name"].replace('\\"', '"')
    table = found.groupdict().get("table")
    nodes = [c for c in statement.tree.find_all(exp.Column) if name in (c.name, c.table)]
    if table is not None:
        nodes = [c for c in nodes if c.table == table] or nodes
    where = f"{statement.source.at(min(place(n) for n in nodes))}: " if nodes else ""
    known = _listed(text) or _columns(statement, table, frames)
    of = f' of "{table}"' if table else ""
    shown = ", ".join(known[:MAX_KNOWN]) + (", ..." if len(known) > MAX_KNOWN else "")
    return invalid(f'{where}no column "{name}"{of} (known: {shown or "none"}){suggestion(name, known)}')


def _listed(text: str) -> list[str]:
    listed = re.search(r"valid columns: \[(.*)\]", text, re.DOTALL)
    return [m.replace('\\"', '"') for m in re.findall(r'"((?:[^"\\]|\\.)*)"', listed[1])] if listed else []


def _columns(statement: Statement, table: str | None, frames: Mapping[str, pl.LazyFrame]) -> list[str]:
    """Columns of one table (or of all that the query reads), as `table.column` where there are several."""
    tables: Iterable[exp.Table] = statement.tree.find_all(exp.Table)
    read = {t.alias_or_name: t.name for t in tables if t.name in frames and table in (None, t.alias_or_name)}
    prefix = len(read) > 1
    return [f"{a}.{c}" if prefix else c for a, t in read.items() for c in frames[t].collect_schema().names()]


def _place_of_function(statement: Statement, name: str) -> str:
    for token, after in zip(statement.tokens, statement.tokens[1:], strict=False):
        if token.text.lower() == name.lower() and after.token_type is TokenType.L_PAREN:
            return f"{statement.source.at(token.start)}: "
    return ""
