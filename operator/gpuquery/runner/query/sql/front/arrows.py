"""Lambdas in the arrow syntax of DuckDB before 1.3, Spark, Trino and Snowflake: `x -> x + 1`, `(x, i) -> x`.

DuckDB 2.0 parses only `lambda x, i: x`, so they are rewritten to that. A `->` before a string is JSON's, and stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuquery.runner.query.sql.front.source import Replacement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.runner.query.sql.front.tokens import Token


def replacements(tokens: Sequence[Token]) -> list[Replacement]:
    """Return the replacements for the parameters and arrows of lambdas."""
    found = []
    for i, token in enumerate(tokens):
        if token.text != "->" or i + 1 == len(tokens) or tokens[i + 1].text.startswith("'"):
            continue
        first = _first_parameter(tokens, i)
        if first is not None and first and tokens[first - 1].text in ("(", ","):
            names = ", ".join(t.text for t in tokens[first:i] if t.word)
            found.append(Replacement(tokens[first].start, token.end, f"lambda {names}:"))
    return found


def _first_parameter(tokens: Sequence[Token], arrow: int) -> int | None:
    """Return where the parameters before an arrow begin; None if they are none."""
    at = arrow - 1
    if at >= 0 and tokens[at].word:
        return at if _is_name(tokens[at]) else None
    if at < 0 or tokens[at].text != ")":
        return None
    for k in range(at - 1, -1, -1):
        if tokens[k].text == "(":
            return k if k < at - 1 else None
        if not (_is_name(tokens[k]) if tokens[k].word else tokens[k].text == ","):
            return None
    return None


def _is_name(token: Token) -> bool:
    return token.text.isidentifier() or token.text.startswith('"')
