"""Limits on the size and depth of a statement, so that it is planned quickly or refused, and never ends the process.

DuckDB 2.0 repeats an argument in what some constructs stand for (NULLIF, a simple CASE, lambdas), so their nesting
multiplies; its parser repeats the operand of a simple CASE for each WHEN, before there is a tree to judge.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gpuquery.runner.query.sql.errors import SqlError
from gpuquery.runner.query.sql.front.source import byte_place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuquery.runner.query.sql.front.source import Source
    from gpuquery.runner.query.sql.front.tokens import Token

Json = dict[str, Any]

MAX_BYTES = 1_000_000
"""Of a statement's text."""
MAX_DEPTH = 250
"""Levels of an expression or of sub-queries. Chains of AND and OR are one level, chains of other operators one each."""
MAX_NAME = 256
"""Characters of a name."""
_MAX_PARTS = 8
"""Of a name, as in table.column.field.field."""
_REPEATING = frozenset({"nullif", "split_part", "array_pop_back", "array_pop_front", "array_to_string", "weighted_avg"})
_MAX_REPEATS = 8
_MAX_CASES = 4
_FRAMES = 20 * MAX_DEPTH
"""Of Python's stack: reading one level of a plan takes about eight."""

TOO_DEEP = (
    f"the statement is nested too deeply (the limit is some {MAX_DEPTH} levels): write a long chain of OR as IN (...), "
    "or join a table"
)
TOO_LARGE = "the statement is too large to be planned: write a long chain of OR as IN (...), or join a table"


def check_text(text: str, tokens: list[Token]) -> None:
    """Raise SqlError for a text that is too long, or that the parser would blow up."""
    if len(text.encode()) > MAX_BYTES:
        raise SqlError(f"the query has {len(text.encode())} bytes; the limit is {MAX_BYTES}")
    cases = 0
    for token in tokens:
        if token.lower == "case":
            cases += 1
        elif token.text != "(":
            cases = 0
        if cases > _MAX_CASES:
            place = byte_place(text, token.start, token.end)
            raise SqlError(
                f"more than {_MAX_CASES} CASE expressions are nested directly: use a sub-query for each", place
            )


def check_tree(tree: Json, source: Source) -> None:
    """Raise SqlError for a tree with constructs that multiply, and for names of no sensible length."""
    waiting: list[tuple[Any, int]] = [(tree, 0)]
    while waiting:
        node, level = waiting.pop()
        if isinstance(node, list):
            waiting.extend((item, level) for item in node)
            continue
        if not isinstance(node, dict):
            continue
        if node.get("class") in ("LAMBDA", "BETWEEN") or str(node.get("function_name", "")).lower() in _REPEATING:
            level += 1
            if level > _MAX_REPEATS:
                place = source.place(node["query_location"], node["query_location_length"])
                raise SqlError(f"lambdas, BETWEEN and NULLIF are nested more than {_MAX_REPEATS} levels deep", place)
        if len(node.get("column_names", ())) > _MAX_PARTS or len(node.get("path", ())) > _MAX_PARTS:
            raise SqlError(f"a name has more than {_MAX_PARTS} parts: write table.column")
        for name in (*node.get("column_names", ()), *node.get("path", ()), node.get("alias") or ""):
            if isinstance(name, str) and len(name) > MAX_NAME:
                raise SqlError(f'the name "{name[:40]}..." has more than {MAX_NAME} characters')
        waiting.extend((value, level) for value in node.values())


@contextmanager
def raised_recursion_limit() -> Iterator[None]:
    """Let Python's functions call each other as deeply as a plan may be; they take no room on the machine's stack."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _FRAMES))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
