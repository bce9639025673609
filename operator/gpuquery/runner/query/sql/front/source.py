"""The author's text and the text that is bound instead, with parameters replaced; offsets map back to the author's.

DuckDB counts bytes of UTF-8, places count characters. Values never become text: `:name` is replaced by a call that
reads a variable of the connection, and variables are set from typed values.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuquery.runner.query.sql.errors import Place

if TYPE_CHECKING:
    from collections.abc import Sequence

INVALID_INDEX = 2**64 - 1
"""DuckDB's number for no value."""


def byte_place(text: str, start: int, end: int) -> Place:
    """Return the place of a range of bytes of a text."""
    raw = text.encode()
    return Place(len(raw[:start].decode()), len(raw[:end].decode()))


@dataclass(frozen=True)
class Replacement:
    """A range of the author's text, in bytes, and the text that replaces it for binding."""

    start: int
    end: int
    text: str
    parameter: str | None = None


class Source:
    """The author's text, and the text that is bound."""

    def __init__(self, text: str, replacements: Sequence[Replacement] = ()) -> None:
        self.text = text
        self.replacements = tuple(sorted(replacements, key=lambda r: r.start))
        raw = text.encode()
        pieces: list[bytes] = []
        self._spans: list[tuple[int, int, Replacement]] = []
        length = done = 0
        for item in self.replacements:
            new = item.text.encode()
            pieces += [raw[done : item.start], new]
            length += item.start - done
            self._spans.append((length, length + len(new), item))
            length += len(new)
            done = item.end
        pieces.append(raw[done:])
        self.bound = b"".join(pieces).decode()
        self._ascii = text.isascii()
        self._raw = raw

    def place(self, start: int, length: int = 0) -> Place | None:
        """Return the author's place of a part of the bound text, in bytes; None for DuckDB's number for no place."""
        if start >= INVALID_INDEX:
            return None
        first, last = self._original(start, end=False), self._original(start + length, end=True)
        return Place(self._characters(first), self._characters(max(first, last)))

    def parameter(self, start: int) -> str | None:
        """Return the name of the parameter that stands at an offset of the bound text, if one does."""
        at = bisect_right(self._spans, start, key=lambda span: span[0]) - 1
        if at < 0 or start >= self._spans[at][1]:
            return None
        return self._spans[at][2].parameter

    def _original(self, offset: int, *, end: bool) -> int:
        at = bisect_right(self._spans, offset, key=lambda span: span[0]) - 1
        if at < 0:
            return offset
        _, stop, item = self._spans[at]
        if offset < stop or (end and offset == stop):
            return item.end if end else item.start
        return item.end + offset - stop

    def _characters(self, offset: int) -> int:
        return offset if self._ascii else len(self._raw[:offset].decode(errors="ignore"))
