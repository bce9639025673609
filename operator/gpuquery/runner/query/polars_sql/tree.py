"""SQL: judge the query by its tree, then bind the parameters at their places in the author's own text.

The tree decides everything: that there is one SELECT, which tables it reads, where parameters stand and whether each
has a value of a fitting kind. But it is not printed again: a generator rewrites what it does not mean to (names of
functions, intervals, casts), and Polars would run another query than the one that was written. Instead every `:name`
is replaced by a typed literal at the place where its token stands, and comments are blanked out. A literal is built
from the value by the rules of its type, strings with doubled quotes, so no value can end it; dates and timestamps are
casts from whole numbers, because Polars 1.44 deprecates the cast from a string and a plain string would not be a date
in `SELECT :since`.
"""

from __future__ import annotations

import datetime as dt
import difflib
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType

from gpuquery.runner.query.polars_sql.text import parse, tokenize
from gpuquery.runner.query.text import Text, invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gpuquery.runner.query.params import Value

MAX_DEPTH = 1500
"""Levels of an expression, e.g. terms of one chain of ORs. Polars 1.44 plans 1,000 in a second, 2,000 in half a minute,
and overflows a thread's usual stack at 5,000."""
_EPOCH = dt.date(1970, 1, 1)
_ROOTS = (exp.Select, exp.SetOperation, exp.Subquery, exp.Values)
_STATEMENTS_INSIDE = (exp.DML, exp.DDL, exp.Into, exp.Command, exp.Copy, exp.Drop)
_NAME_PLACES = (exp.Table, exp.TableAlias, exp.Dot, exp.Column, exp.Identifier, exp.Ordered, exp.Group)


@dataclass(frozen=True)
class Statement:
    """One parsed query that reads nothing but declared inputs."""

    source: Text
    tree: exp.Expr
    tokens: tuple[Token, ...]

    @property
    def placeholders(self) -> list[exp.Placeholder]:
        """The `:name`s in the order of the text."""
        return sorted(self.tree.find_all(exp.Placeholder), key=lambda p: int(p.meta["start"]))


@dataclass(frozen=True)
class BoundQuery:
    """A statement, its values, and the text that Polars runs."""

    statement: Statement
    values: Mapping[str, Value]
    text: str
    shifts: tuple[tuple[int, int], ...]
    """(offset in `text`, offset in the source) after each literal that was put in."""

    def source_offset(self, offset: int) -> int:
        """Return the place in the author's text of a place in the bound one."""
        bound, original = next((s for s in reversed(self.shifts) if s[0] <= offset), (0, 0))
        return original + offset - bound


def read(text: str, *, inputs: Iterable[str]) -> Statement:
    """Parse and judge a query; raises JobError(InvalidQuery) with line, column and the known names."""
    source = Text(text)
    tokens = tokenize(source)
    trees = [tree for tree in parse(source, tokens) if tree is not None]
    if len(trees) > 1:
        after = next(i for i, t in enumerate(tokens) if t.token_type is TokenType.SEMICOLON)
        raise invalid(f"{source.at(tokens[after + 1].start)}: a second statement begins; a query is one statement")
    if not trees or not isinstance(trees[0], _ROOTS) or (inner := trees[0].find(*_STATEMENTS_INSIDE)):
        bad = inner if trees and isinstance(trees[0], _ROOTS) else None
        offset = place(bad) if bad is not None else tokens[0].start
        word = bad.key.upper() if bad is not None else tokens[0].text.upper()
        raise invalid(f"{source.at(offset)}: {word} is refused: a query is one SELECT statement")
    statement = Statement(source, trees[0], tuple(tokens))
    _check_depth(statement)
    _check_tables(statement, sorted(set(inputs)))
    _check_places(statement)
    return statement


def place(node: exp.Expr | None) -> int:
    """Return the offset at which a node of the tree begins in the text; 0 if nothing in it has a place."""
    starts = [int(n.meta["start"]) for n in node.walk() if "start" in n.meta] if node is not None else []
    return min(starts, default=0)


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean "orders"?` or nothing."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f'; did you mean "{near[0]}"?' if near else ""


def _check_depth(statement: Statement) -> None:
    waiting = [(statement.tree, 1)]
    while waiting:
        node, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise invalid(
                f"{statement.source.at(place(node))}: an expression has more than {MAX_DEPTH} levels, the limit: "
                "write a long chain of OR as IN (...), or join a table"
            )
        waiting.extend((child, depth + 1) for child in node.iter_expressions())


def _check_tables(statement: Statement, inputs: list[str]) -> None:
    known = {*inputs, *(cte.alias for cte in statement.tree.find_all(exp.CTE))}
    for table in statement.tree.find_all(exp.Table):
        where = statement.source.at(place(table))
        if not isinstance(table.this, exp.Identifier):
            raise invalid(
                f"{where}: the table function {table.this.sql()[:60]} is refused: a query reads only the job's inputs"
            )
        if table.args.get("db") or table.args.get("catalog"):
            raise invalid(f"{where}: {table.sql()} is refused: tables have no database or schema, only a name")
        if table.name not in known:
            names = ", ".join(inputs) or "none"
            raise invalid(
                f'{where}: table "{table.name}" is not an input of the job (known: {names})'
                + suggestion(table.name, known)
            )


def _check_places(statement: Statement) -> None:
    for node in statement.placeholders:
        if isinstance(node.parent, _NAME_PLACES) or (isinstance(node.parent, exp.Alias) and node.arg_key == "alias"):
            raise invalid(
                f"{statement.source.at(place(node))}: parameter :{node.name} stands for a name; it can only be a value"
            )


def bind(statement: Statement, values: Mapping[str, Value]) -> BoundQuery:
    """Put the values in; raises JobError(InvalidQuery) for an unbound, an unused or a misplaced parameter."""
    literals: dict[int, tuple[int, str]] = {}
    for node in statement.placeholders:
        where = statement.source.at(place(node))
        value = values.get(node.name)
        if value is None:
            names = ", ".join(sorted(values)) or "none"
            raise invalid(f"{where}: parameter :{node.name} has no value (spec.parameters: {names})")
        _check_list(node, value, where)
        literals[int(node.meta["start"])] = (int(node.meta["end"]), _literal(node, value, where))
    used = {node.name for node in statement.placeholders}
    if unused := sorted(set(values) - used):
        raise invalid(f'parameter "{unused[0]}" is not used by the query: remove it or write :{unused[0]}')
    text, shifts = _spliced(statement, literals)
    return BoundQuery(statement, values, text, shifts)


def _check_list(node: exp.Placeholder, value: Value, where: str) -> None:
    in_list = isinstance(node.parent, exp.In) and node.arg_key in ("field", "expressions", "unnest")
    if value.is_list and not in_list:
        raise invalid(f"{where}: parameter :{value.name} is {value.described}, which stands only in IN :{value.name}")
    if not value.is_list and in_list and node.arg_key == "field":
        raise invalid(
            f"{where}: IN :{value.name} needs a list, but the parameter is {value.described}: "
            f"use strings or integers, or write = :{value.name}"
        )


def _literal(node: exp.Placeholder, value: Value, where: str) -> str:
    if value.is_list:
        items = ", ".join(_item(item) for item in value.python)
        return f"({items})" if node.arg_key == "field" else items
    if isinstance(value.python, dt.datetime) and value.python.tzinfo is not None:
        raise invalid(
            f"{where}: parameter :{value.name} is a timestamp with an offset, which Polars' SQL does not have: "
            "write it without, in the time zone of the column"
        )
    return _scalar(value.python)


def _item(value: object) -> str:
    """One value of a list. Polars before 1.40 takes no parentheses there, and between commas a sign needs none."""
    return str(value) if type(value) is int and value > -(2**63) else _scalar(value)


def _scalar(value: object) -> str:
    match value:
        case None:
            return "NULL"
        case bool():
            return "TRUE" if value else "FALSE"
        case int() if value == -(2**63):
            return f"({value + 1} - 1)"  # Polars reads the sign and the digits apart, and these digits are one too many
        case int():
            return str(value) if value >= 0 else f"({value})"
        case float():
            # Polars' SQL has no literals with an exponent.
            return f"({value!r})" if "e" not in repr(value) else f"CAST('{value!r}' AS DOUBLE)"
        case Decimal():
            scale = max(0, -int(value.as_tuple().exponent))
            digits = max(len(value.as_tuple().digits), scale)
            return f"CAST('{value:f}' AS DECIMAL({digits}, {scale}))"
        case dt.datetime():
            micros = (value - dt.datetime(1970, 1, 1)) // dt.timedelta(microseconds=1)
            return f"CAST(({micros}) AS TIMESTAMP)"
        case dt.date():
            return f"CAST(({(value - _EPOCH).days}) AS DATE)"
        case _:
            return "'" + str(value).replace("'", "''") + "'"


def _spliced(statement: Statement, literals: Mapping[int, tuple[int, str]]) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Copy the tokens, blanks for all between them, and the literals at their places."""
    source = statement.source.text
    parts: list[str] = []
    shifts: list[tuple[int, int]] = []
    length = done = 0

    def put(piece: str) -> None:
        nonlocal length
        parts.append(piece)
        length += len(piece)

    for token in statement.tokens:
        if token.start < done:
            continue  # the name of a parameter: its colon was replaced together with it
        put("".join("\n" if c == "\n" else " " for c in source[done : token.start]))
        if found := literals.get(token.start):
            end, literal = found
            put(f" {literal} ")
            shifts.append((length, end + 1))
        elif token.token_type is TokenType.SEMICOLON:
            end = token.end
            put(" ")
        else:
            end = token.end
            put(source[token.start : end + 1])
        done = end + 1
    return "".join(parts), tuple(shifts)
