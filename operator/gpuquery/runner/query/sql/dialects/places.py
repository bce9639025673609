"""Where in the author's text a piece of the written text comes from.

sqlglot knows where names, literals and functions stand; here every node gets the span of all that is below it, and the
writer puts marks around what it writes for such a node. Marks are single characters of a private plane of Unicode,
taken out again when the text is finished, so that no step of the writing can split one.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlglot import exp
from sqlglot.tokenizer_core import TokenType

from gpuquery.runner.query.sql.errors import Place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlglot.tokenizer_core import Token

SPAN = "author"
"""Key of a node's meta data that holds its Place."""
_OPEN, _CLOSE = 0xF0000, 0x100000
_ROOM = 0xFFFD
_CASTS = frozenset({"CAST", "TRY_CAST", "SAFE_CAST", "EXTRACT", "TRIM", "SUBSTRING", "POSITION", "EXISTS"})


def annotate(tree: exp.Expr, tokens: Sequence[Token]) -> None:
    """Write into each node of a parsed tree where it stands in the text."""
    brackets = _brackets(tokens)
    starts = [token.start for token in tokens]
    for node in reversed(list(tree.walk())):  # children before their parents
        if isinstance(node, exp.DataType):
            # What a type has where nothing is written was read from another text: its places are in that.
            for part in node.walk():
                part.meta.pop(SPAN, None)
            continue
        inner = [child.meta[SPAN] for child in node.iter_expressions() if SPAN in child.meta]
        begins, ends = [p.start for p in inner], [p.end for p in inner]
        if "start" in node.meta:
            first = bisect.bisect_left(starts, int(node.meta["start"]))
            begins.append(int(node.meta["start"]))
            ends.append(int(node.meta["end"]) + 1)
            if first + 1 in brackets and not isinstance(node, exp.Identifier | exp.Literal):
                ends.append(tokens[brackets[first + 1]].end + 1)
        if not begins:
            continue
        span = Place(min(begins), max(ends))
        if isinstance(node, exp.Func | exp.SubqueryPredicate) and "start" not in node.meta:
            span = _with_its_brackets(span, tokens, starts, brackets)
        node.meta[SPAN] = span


def _brackets(tokens: Sequence[Token]) -> dict[int, int]:
    """Return the index of the closing token of each opening one."""
    found: dict[int, int] = {}
    waiting: list[int] = []
    for index, token in enumerate(tokens):
        if token.token_type is TokenType.L_PAREN:
            waiting.append(index)
        elif token.token_type is TokenType.R_PAREN and waiting:
            found[waiting.pop()] = index
    return found


def _with_its_brackets(span: Place, tokens: Sequence[Token], starts: list[int], brackets: dict[int, int]) -> Place:
    """Return CAST(x AS INT) for the place of `x AS INT`."""
    first = bisect.bisect_left(starts, span.start)
    for opening in range(first - 1, max(first - 6, 0), -1):
        if opening in brackets and tokens[opening - 1].text.upper() in _CASTS:
            return Place(tokens[opening - 1].start, max(span.end, tokens[brackets[opening]].end + 1))
    return span


def place(node: exp.Expr | None) -> Place | None:
    """Return where a node, or the nearest one around it, stands in the author's text."""
    while node is not None:
        if found := node.meta.get(SPAN):
            return found if isinstance(found, Place) else None
        node = node.parent
    return None


class Marker:
    """Gives marks to places while a text is written."""

    def __init__(self) -> None:
        self._places: list[Place] = []

    def marked(self, text: str, span: Place) -> str:
        """Return a text between two marks."""
        if len(self._places) >= _ROOM:
            return text
        self._places.append(span)
        number = len(self._places) - 1
        return f"{chr(_OPEN + number)}{text}{chr(_CLOSE + number)}"

    def read(self, text: str) -> tuple[str, tuple[Mark, ...]]:
        """Return the text without marks, and what they said."""
        out: list[str] = []
        begun: dict[int, int] = {}
        marks: list[Mark] = []
        length = 0
        for character in text:
            code = ord(character)
            if _OPEN <= code < _OPEN + _ROOM:
                begun[code - _OPEN] = length
            elif _CLOSE <= code < _CLOSE + _ROOM:
                number = code - _CLOSE
                marks.append(Mark(Place(begun.get(number, length), length), self._places[number]))
            else:
                out.append(character)
                length += 1
        return "".join(out), tuple(marks)


def is_free_of_marks(text: str) -> bool:
    """Whether a text holds no character of those that marks are."""
    return not any(ord(character) >= _OPEN for character in text)


@dataclass(frozen=True)
class Mark:
    """A stretch of the written text, and where it comes from."""

    written: Place
    author: Place


def author_place(marks: Sequence[Mark], written: Place | None) -> Place | None:
    """Return the author's place of a place in the written text: of the smallest piece that holds all of it."""
    if written is None:
        return None
    around = [m for m in marks if m.written.start <= written.start and written.end <= m.written.end]
    if not around:
        around = [m for m in marks if m.written.start <= written.start < m.written.end]
    if not around:
        return None
    return min(around, key=lambda m: (m.written.end - m.written.start, m.author.end - m.author.start)).author
