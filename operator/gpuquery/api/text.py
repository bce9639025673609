"""Text: how words that somebody else wrote are shown, in a status, an event, a log and a terminal.

Whoever reads them has to see what is there, and nothing that is not. An escape sequence paints over what stands before
it, a bidi mark turns it round, and a line of its own that says `State: Complete` is taken for a field. So what cannot
be seen is shown by its number, as JSON writes it, and no line but the first begins at the margin.
"""

from __future__ import annotations

import unicodedata
from typing import Any

MARK = "  | "
"""How the second line and those after it begin."""
CUT = " ..."
"""What stands in place of the rest."""
_TAB = "    "
_UNSEEN = frozenset(
    map(
        chr,
        (
            0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), 0x2800, 0x3164, *range(0xFE00, 0xFE0E),
            0xFFA0, *range(0xE0100, 0xE01F0),
        ),
    )
)  # fmt: skip
"""Letters and marks that are not there to the eye, though Unicode does not count them among the control and format
characters. The two that choose between a text and a picture (U+FE0E, U+FE0F) are no such ones."""


def clean(text: str, limit: int | None = None) -> str:
    """Return a text in which everything can be seen, of at most `limit` characters. What is clean stays as it is."""
    cut = limit is not None and len(text) > limit
    if limit is not None and cut:
        text = text[:limit]
    if not (text.isascii() and text.isprintable()):
        lines = text.replace("\r\n", "\n").replace("\r", "\n").strip("\n").split("\n")
        shown = ["".join(map(_shown, line)) for line in lines]
        text = "\n".join([shown[0], *(line if line.startswith(MARK) else MARK + line for line in shown[1:])])
    if limit is None or not (cut or len(text) > limit):
        return text
    return text[: max(0, limit - len(CUT))].rstrip("\n") + CUT[:limit]


def cleaned(value: Any) -> Any:
    """Return what JSON can hold with all its texts clean."""
    match value:
        case str():
            return clean(str(value))
        case dict():
            return {key: cleaned(item) for key, item in value.items()}
        case list() | tuple():
            return type(value)(cleaned(item) for item in value)
        case _:
            return value


def _shown(character: str) -> str:
    if character.isprintable() and character not in _UNSEEN:
        return character
    if character == "\t":
        return _TAB
    if unicodedata.category(character) == "Zs":
        return " "
    number = ord(character)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
