"""Lines of NDJSON, one object each, taken apart by Python's json.

An object is a tuple of its pairs, so that a key that stands twice is seen. Numbers that need care are of classes of
their own.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl

from gpuquery.runner.inputs.formats.contents import RefusedError, invalid_byte
from gpuquery.runner.inputs.formats.ndjson.nodes import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST = 80
_CAREFUL = re.compile(r"[0-9.]{16}|[eE][+-]?[0-9]{3}|\\[uU][dD][89a-fA-F]")
"""What a line has if a number in it may have more digits than a DOUBLE, or a text half a character."""
_DIGITS = bytes(ord("0") if chr(at) in "0123456789." else at for at in range(256))
_SIGNS = (b"0" * 16, *(letter + sign + b"000" for letter in (b"e", b"E") for sign in (b"", b"+", b"-")))
_EXACT_WHOLE = 2**53
_LOWEST, _HIGHEST = -(2**127), 2**128 - 1
"""Whole numbers that Polars takes for JSON."""


class Wide(int):
    """A whole number beyond 2^53."""


class Unsigned(int):
    """One beyond 2^63, which UInt64 holds."""


class Huge(int):
    """One beyond 64 bits."""


class Long(str):
    """The text of a fraction that a DOUBLE does not hold."""


KINDS: dict[type, Kind] = {
    bool: Kind.BOOLEAN, int: Kind.WHOLE, Wide: Kind.WIDE, Unsigned: Kind.UNSIGNED, Huge: Kind.HUGE,
    float: Kind.FRACTION, Long: Kind.LONG, str: Kind.TEXT, list: Kind.LIST, tuple: Kind.OBJECT,
}  # fmt: skip


def native(wanted: pl.DataType) -> frozenset[type]:
    """Return the classes of values that Polars reads as a type without a text between."""
    match wanted:
        case pl.Boolean():
            return frozenset({bool})
        case pl.Int64():
            return frozenset({int, Wide})
        case pl.UInt64():
            return frozenset({Unsigned})
        case pl.Float64() | pl.Float32():
            return frozenset({int, Wide, Unsigned, Huge, float, Long})
        case _:
            return frozenset()


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON")


def _whole(text: str) -> int:
    value = int(text)
    if -_EXACT_WHOLE <= value <= _EXACT_WHOLE:
        return value
    if -(2**63) <= value < 2**63:
        return Wide(value)
    if not _LOWEST <= value <= _HIGHEST:
        raise _beyond(text)
    return Unsigned(value) if 0 <= value < 2**64 else Huge(value)


def _fraction(text: str) -> float | Long:
    value = float(text)
    if abs(value) == float("inf"):
        raise _beyond(text)
    return value if Decimal(repr(value)) == Decimal(text) else Long(text)


def _beyond(text: str) -> RefusedError:
    """Return the refusal of a number for which Polars takes the whole line for no JSON, whatever is read of it."""
    return RefusedError(f"has the number {text[:_LONGEST]}, which no type holds, not even a DOUBLE: write it as text")


_QUICK = json.JSONDecoder(object_pairs_hook=tuple, parse_constant=_constant)
_CARE = json.JSONDecoder(object_pairs_hook=tuple, parse_constant=_constant, parse_int=_whole, parse_float=_fraction)

_SCAN: Callable[[str, int], tuple[Any, int]] = vars(_QUICK)["scan_once"]


def split(data: bytes, line: int | None) -> list[str]:
    """Return the lines of a piece. Raises RefusedError."""
    if (bad := invalid_byte(data)) is not None:
        raise RefusedError(
            f"{place(data, line, bad)} is not UTF-8 (byte 0x{data[bad]:02x}), and only UTF-8 is read: convert it (for "
            "example iconv -f ISO-8859-1 -t UTF-8)"
        )
    return data.decode().split("\n")


def place(data: bytes, line: int | None, at: int) -> str:
    """Name the line of an offset."""
    before = data.count(b"\n", 0, at)
    return "a line in its middle" if line is None else f"line {line + before}"


def needs_care(data: bytes) -> bool:
    """Whether some line of a block may have to be read with care. Much faster than a pattern."""
    bare = data.translate(_DIGITS)
    return any(sign in bare for sign in _SIGNS) or b"\\ud" in data or b"\\uD" in data


def pairs(text: str, *, care: bool) -> tuple[tuple[str, Any], ...] | None:
    """Return the keys and values of a line; None for one of blanks. Raises RefusedError without the line's number."""
    if text.startswith("\ufeff"):
        raise RefusedError("begins with a byte order mark, which JSON has not: remove it (tail -c +4)")
    careful = care and _CAREFUL.search(text) is not None
    try:
        if careful:
            found = _CARE.decode(text)
            _check_texts(found)
        else:
            found, end = _SCAN(text, 0) if text[:1] == "{" else (None, -1)
            if end != len(text):  # there may be blanks around it
                found = _QUICK.decode(text)
    except (ValueError, RecursionError, StopIteration) as exc:
        if not text.strip():
            return None
        what = getattr(exc, "msg", None) or str(exc) or "nested too deeply"
        raise RefusedError(f"is no JSON ({what}): {text[:_LONGEST]!r}") from None
    if type(found) is not tuple:
        kind = "an array" if type(found) is list else "a single value"
        raise RefusedError(f"has {kind} and no object: write one object a line (jq -c '.[]' takes an array apart)")
    return found


def _check_texts(value: Any) -> None:
    """Raise ValueError for half a character: UTF-8 has none."""
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, (list, tuple)):
        for one in value:
            _check_texts(one)
