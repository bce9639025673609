"""Text: how texts of others are shown in a status, an event, a log and a terminal.

A reader must see what is there, and nothing else. An escape sequence can overwrite the text before it, a bidirectional
mark can reverse it, and a separate line `State: Complete` looks like a field. So invisible characters are shown by
their numbers, as in JSON, and only the first line begins at the margin.
"""

from __future__ import annotations

import unicodedata
from typing import Any

MARK = "  | "
"""Prefix of the second and later lines."""
CUT = " ..."
"""Replaces the rest of a text that was cut."""
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
"""Invisible letters and marks that Unicode does not count as control or format characters. The two that choose between
text and emoji (U+FE0E, U+FE0F) are not among them."""


def clean(text: str, limit: int | None = None) -> str:
    """Return a text without invisible characters, of at most `limit` characters. Clean text does not change."""
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
    """Return a JSON value with all its texts clean."""
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
