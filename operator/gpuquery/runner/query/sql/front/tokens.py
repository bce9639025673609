"""The tokens of a text, as DuckDB's own tokenizer sees them.

What it takes for a string, a quoted name or a comment is exactly what its parser takes for one, so nothing in them is
mistaken for a parameter or a clause.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import duckdb

if TYPE_CHECKING:
    from collections.abc import Iterator


class Token(NamedTuple):
    """A name, a keyword, a constant or an operator, and where it stands, in bytes of UTF-8."""

    start: int
    end: int
    text: str
    word: bool
    """Whether it is anything but an operator."""

    @property
    def lower(self) -> str:
        """The text in lower case, as keywords are compared."""
        return self.text.lower()


def tokens(text: str) -> list[Token]:
    """Return the tokens, without comments."""
    return list(_tokens(text))


def _tokens(text: str) -> Iterator[Token]:
    """DuckDB tells where tokens begin: they end at the next one's beginning, less blanks."""
    raw = text.encode()
    marks = duckdb.tokenize(text)
    ends = [start for start, _ in marks[1:]] + [len(raw)]
    for (start, kind), limit in zip(marks, ends, strict=True):
        if kind == duckdb.token_type.comment:
            continue
        piece = raw[start:limit].decode(errors="ignore").rstrip()
        if kind == duckdb.token_type.operator:
            yield from _split(piece, start)
        else:
            yield Token(start, start + len(piece.encode()), piece, word=True)


def _split(text: str, start: int) -> Iterator[Token]:
    """Operators that DuckDB's tokenizer gives in one piece, as `=:`: a colon or dollar at the end stands alone."""
    if len(text) > 1 and text[-1] in ":$" and text != "::":
        yield Token(start, start + len(text) - 1, text[:-1], word=False)
        start, text = start + len(text) - 1, text[-1]
    yield Token(start, start + len(text), text, word=False)
