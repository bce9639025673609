"""Columns named with a word that is reserved in DuckDB 2.0 and not in PostgreSQL: `SELECT at FROM t`.

DuckDB reads such a name only in quotes. Where a statement cannot be read, they are put around these words at places
where a value or an alias stands, and it is read once more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuquery.runner.query.sql.front.source import Replacement

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from gpuquery.runner.query.sql.front.tokens import Token

WORDS = frozenset({
    "anti", "asof", "at", "by", "columns", "describe", "generated", "glob", "lambda", "map", "pivot", "pivot_longer",
    "pivot_wider", "positional", "qualify", "semi", "show", "struct", "summarize", "try_cast", "tuple", "unpack",
    "unpivot",
})  # fmt: skip
"""Words of `duckdb_keywords()` that are reserved, or names of functions and types only, and that PostgreSQL 17 lets
stand for a column (its Appendix C)."""
_BEFORE_A_VALUE = frozenset({
    "all", "and", "as", "between", "by", "case", "distinct", "else", "having", "ilike", "in", "like", "not", "on",
    "or", "select", "set", "then", "using", "when", "where",
})  # fmt: skip


def replacements(tokens: Sequence[Token], columns: Collection[str] | None) -> list[Replacement]:
    """Return the replacements that quote keywords which name columns; `columns` None: they are not known yet."""
    known = None if columns is None else {name.lower() for name in columns}
    found = []
    for i, token in enumerate(tokens):
        if token.lower not in WORDS or (known is not None and token.lower not in known) or not i:
            continue
        before = tokens[i - 1]
        if before.lower in _BEFORE_A_VALUE or (not before.word and before.text[-1] not in ")]}"):
            found.append(Replacement(token.start, token.end, f'"{token.text}"'))
    return found
