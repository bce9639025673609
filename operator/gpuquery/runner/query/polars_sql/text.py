"""The text of a SQL query: its tokens, where they stand, and what Polars' tokenizer would read differently.

Two parsers see a query: sqlglot, by whose tree it is judged, and Polars' own, which runs it. They must not read the
same text differently, or a file function could hide in what the judge takes for a string. So whatever one of them
treats in its own way (comments, dollar quotes, `E'...'`, back ticks) is blanked out or refused, and what is left are
plain words, numbers, operators, `'strings'` and `"names"` with doubled quotes, which both read alike.

The dialect is sqlglot's PostgreSQL, the nearest to Polars' SQL (`::`, `~*`, `DISTINCT ON`, `^@`), plus Polars' `//`
and `XOR`, and placeholders that remember their place.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from sqlglot import exp
from sqlglot.dialects.postgres import Postgres
from sqlglot.errors import ParseError, SqlglotError, TokenError
from sqlglot.parsers.postgres import PostgresParser
from sqlglot.tokenizer_core import Token, TokenType

from gpuquery.runner.query.text import Text, invalid

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
FILE_FUNCTION = re.compile(r"(read|scan)_[a-z0-9_]+\Z", re.IGNORECASE)
_QUOTED = {TokenType.STRING: "'", TokenType.IDENTIFIER: '"'}
_FOREIGN = re.compile(r"""['"`$\\?]""")


def _placeholder(parser: Any) -> exp.Placeholder | None:
    """`:name`, any word, keywords too; remembers the place of colon and name in the text."""
    colon, name = parser._prev, parser._curr
    if name is None or name.start != colon.end + 1 or not NAME.match(name.text) or name.token_type in _QUOTED:
        return None
    parser._advance()
    node = exp.Placeholder(this=name.text)
    node.meta.update(start=colon.start, end=name.end)
    return node


class _Parser(PostgresParser):
    DISJUNCTION: ClassVar = {**PostgresParser.DISJUNCTION, TokenType.XOR: exp.Xor}
    PLACEHOLDER_PARSERS: ClassVar = {**PostgresParser.PLACEHOLDER_PARSERS, TokenType.COLON: _placeholder}


class PolarsSql(Postgres):
    """What Polars' SQL adds to PostgreSQL's."""

    class Tokenizer(Postgres.Tokenizer):
        """`//` and `XOR`."""

        KEYWORDS: ClassVar = {**Postgres.Tokenizer.KEYWORDS, "//": TokenType.DIV, "XOR": TokenType.XOR}

    Parser = _Parser


def tokenize(source: Text) -> list[Token]:
    """Split into tokens and refuse what Polars' tokenizer reads otherwise; raises JobError(InvalidQuery)."""
    try:
        tokens = PolarsSql().tokenize(source.text)
    except TokenError as exc:
        found = re.search(r"Missing (.+) from (\d+):", f"{exc.__cause__ or exc}")
        what = f"line {found[2]} opens a {found[1]} that is never closed" if found else "a comment is never closed"
        raise invalid(f"SQL does not parse: {what}") from None
    if not tokens:
        raise invalid("the query is empty")
    following: list[Token | None] = [*tokens[1:], None]
    for token, after in zip(tokens, following, strict=True):
        _check(source, token, after)
    return tokens


def parse(source: Text, tokens: list[Token]) -> list[exp.Expr | None]:
    """Parse the tokens into one tree per statement; raises JobError(InvalidQuery) with the place."""
    try:
        return PolarsSql().parser().parse(tokens, source.text)
    except ParseError as exc:
        raise invalid(_parse_message(source, exc)) from None
    except RecursionError:
        raise invalid("SQL does not parse: it is nested too deeply") from None
    except SqlglotError as exc:
        raise invalid(f"SQL does not parse: {exc}") from None


def _parse_message(source: Text, exc: ParseError) -> str:
    first = exc.errors[0] if exc.errors else {}
    near = first.get("highlight") or ""
    # sqlglot counts to the end of the token.
    offset = source.offset(first.get("line") or 1, (first.get("col") or 1) - max(len(near), 1) + 1)
    what = (first.get("description") or str(exc)).removesuffix(".").lower()
    return f"SQL does not parse at {source.at(offset)}, near {near[:40]!r}: {what}"


def _check(source: Text, token: Token, after: Token | None) -> None:
    raw = source.text[token.start : token.end + 1]
    quote = _QUOTED.get(token.token_type)
    if quote is not None:
        if not raw.startswith(quote):  # the rest of SHOW, SET, EXPLAIN ..., which sqlglot does not parse
            raise invalid(f"{source.at(token.start)}: a query is one SELECT statement; it begins otherwise")
        if raw != quote + token.text.replace(quote, quote * 2) + quote:
            raise invalid(f"{source.at(token.start)}: write this string or name in plain {quote}quotes{quote}")
    elif token.token_type not in (TokenType.HEX_STRING, TokenType.BIT_STRING):
        if token.text == "?" or raw.startswith(("$", "@")):
            raise invalid(f"{source.at(token.start)}: {raw[:20]!r} is not known: parameters are written :name")
        if _FOREIGN.search(raw):
            raise invalid(f"{source.at(token.start)}: {raw[:20]!r}: write strings as 'text' and names as \"name\"")
        if after is not None and after.start == token.end + 1 and after.token_type in _QUOTED and raw[-1:].isalnum():
            # N'..', R'..', q'[..]': some tokenizers take the letter for a part of the string.
            raise invalid(f"{source.at(token.start)}: a blank is missing between {raw[-20:]!r} and the quote after it")
    if after is not None and after.token_type is TokenType.L_PAREN and FILE_FUNCTION.match(token.text):
        raise invalid(
            f"{source.at(token.start)}: {token.text}() is refused: a query reads only the job's inputs; "
            "declare the files under spec.inputs"
        )
