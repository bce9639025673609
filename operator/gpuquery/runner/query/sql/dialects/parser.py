"""A text as a tree of one dialect: one SELECT, every function still as it was called, every node with its place."""

from __future__ import annotations

import itertools
import re
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import ErrorLevel, ParseError, SqlglotError, TokenError
from sqlglot.tokenizer_core import TokenType

from gpuquery.runner.query.sql.dialects import places
from gpuquery.runner.query.sql.errors import Place, SqlError

if TYPE_CHECKING:
    from sqlglot.parser import Parser
    from sqlglot.tokenizer_core import Token

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
MAX_DEPTH = 1000
_ROOTS = (exp.Select, exp.SetOperation, exp.Subquery, exp.Values)
_STATEMENTS_INSIDE = (exp.DML, exp.DDL, exp.Into, exp.Command, exp.Copy, exp.Drop)
_WITH_A_SYNTAX_OF_THEIR_OWN = (
    "CAST", "TRY_CAST", "SAFE_CAST", "EXTRACT", "TRIM", "POSITION", "SUBSTRING", "OVERLAY",
)  # fmt: skip
"""Functions with words between their arguments; the arguments of all others are a plain list."""

_PLAIN_WORDS = ("CASE", "IF", "ANY", "APPROXIMATE", "SYSDATE")
"""What begins something without brackets."""


_LISTS = {"ARRAY": lambda args: exp.Array(expressions=args)}
"""As a function of no meaning, ARRAY(1, 2)[0] would be read as the list [0]."""


def _placeholder(parser: Any) -> exp.Placeholder | None:
    """`:name`, any word, keywords too."""
    colon, name = parser._prev, parser._curr
    if name is None or name.start != colon.end + 1 or not NAME.match(name.text):
        return None
    parser._advance()
    node = exp.Placeholder(this=name.text)
    node.meta.update(start=colon.start, end=name.end)
    return node


@cache
def _parser(dialect: str) -> type[Parser]:
    """Return the dialect's parser without its ideas of what functions mean."""
    base = Dialect.get_or_raise(dialect).parser_class
    kept = {name: parse for name, parse in base.FUNCTION_PARSERS.items() if name in _WITH_A_SYNTAX_OF_THEIR_OWN}
    plain = {name: parse for name, parse in base.NO_PAREN_FUNCTION_PARSERS.items() if name in _PLAIN_WORDS}
    if "APPROXIMATE" in plain:  # Redshift's APPROXIMATE COUNT(DISTINCT x): the exact number is one as well
        plain["APPROXIMATE"] = lambda parser: parser._parse_function()
    placeholders = {**base.PLACEHOLDER_PARSERS, TokenType.COLON: _placeholder}
    return type(
        f"Plain{base.__name__}",
        (base,),
        {
            "FUNCTIONS": _LISTS if dialect != "bigquery" else {},
            "FUNCTION_PARSERS": kept,
            "NO_PAREN_FUNCTION_PARSERS": plain,
            "PLACEHOLDER_PARSERS": placeholders,
        },
    )


def read(text: str, dialect: str) -> exp.Expr:
    """Parse a text; raises SqlError where it is no single SELECT of this dialect."""
    tokens = _tokens(text, dialect)
    trees = [tree for tree in _parsed(text, tokens, dialect) if tree is not None]
    if len(trees) > 1:
        after = next(i for i, token in enumerate(tokens) if token.token_type is TokenType.SEMICOLON)
        raise SqlError("a second statement begins; a query is one statement", _of(tokens[after + 1]))
    if not trees or not isinstance(trees[0], _ROOTS):
        raise SqlError(f"{tokens[0].text.upper()} is refused: a query is one SELECT statement", _of(tokens[0]))
    tree = trees[0]
    places.annotate(tree, tokens)
    if inner := tree.find(*_STATEMENTS_INSIDE):
        raise SqlError(f"{inner.key.upper()} is refused: a query is one SELECT statement", places.place(inner))
    _check_depth(tree)
    return tree


def _tokens(text: str, dialect: str) -> list[Token]:
    try:
        tokens = Dialect.get_or_raise(dialect).tokenize(text)
    except TokenError as exc:
        found = re.search(r"Missing (.+) from (\d+):", f"{exc.__cause__ or exc}")
        what = f"line {found[2]} opens a {found[1]} that is never closed" if found else "a comment is never closed"
        raise SqlError(f"SQL does not parse: {what}") from None
    if not tokens:
        raise SqlError("the query is empty")
    for token, behind in itertools.pairwise(tokens):
        if token.token_type is TokenType.NUMBER and behind.start == token.end + 1 and behind.text.startswith("_"):
            raise SqlError(
                f"{token.text}{behind.text}: write the digits without underscores here",
                Place(token.start, behind.end + 1),
            )
    return tokens


def _parsed(text: str, tokens: list[Token], dialect: str) -> list[exp.Expr | None]:
    parser = _parser(dialect)(dialect=dialect, error_level=ErrorLevel.IMMEDIATE)
    try:
        return parser.parse(tokens, text)
    except ParseError as exc:
        raise _explained(text, exc) from None
    except RecursionError:
        raise SqlError("SQL does not parse: it is nested too deeply") from None
    except SqlglotError as exc:
        raise SqlError(f"SQL does not parse: {exc}") from None


def _explained(text: str, exc: ParseError) -> SqlError:
    first: Any = exc.errors[0] if exc.errors else {}
    near = first.get("highlight") or ""
    lines = [0, *(m.end() for m in re.finditer("\n", text))]
    line = min(max(first.get("line") or 1, 1), len(lines))
    end = lines[line - 1] + (first.get("col") or 1)  # sqlglot counts to the end of the token
    what = (first.get("description") or str(exc)).removesuffix(".").lower()
    return SqlError(f"SQL does not parse near {near[:40]!r}: {what}", Place(max(end - max(len(near), 1), 0), end))


def _check_depth(tree: exp.Expr) -> None:
    waiting = [(tree, 1)]
    while waiting:
        node, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise SqlError(
                f"an expression has more than {MAX_DEPTH} levels, the limit: write a long chain of OR as IN (...), or "
                "join a table",
                places.place(node),
            )
        waiting.extend((child, depth + 1) for child in node.iter_expressions())


def _of(token: Token) -> Place:
    return Place(token.start, token.end + 1)
