"""The meaning of unquoted words, as in kubectl: YAML 1.1 in the form of Go's yaml.v2.

`n`, `on` and `NO` are booleans, `26.10` is the number 26.1, `017` is 15, a date is a text. The tests compare this with
kubectl itself.
"""

from __future__ import annotations

import base64
import binascii
import math
import re

Scalar = str | bool | int | float | None

CORE = "tag:yaml.org,2002:"
_BOOLEANS = {
    word: value
    for value, words in ((True, "y yes true on"), (False, "n no false off"))
    for name in words.split()
    for word in (name, name.capitalize(), name.upper())
}
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_NOT_JSON = frozenset(
    [sign + word for word in (".inf", ".Inf", ".INF") for sign in ("", "+", "-")] + [".nan", ".NaN", ".NAN"]
)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INTEGER = re.compile(
    r"(?P<sign>[-+]?)(0[xX](?P<x>[0-9a-fA-F]+)|0[bB](?P<b>[01]+)|0[oO]?(?P<o>[0-7]+)|(?P<d>0|[1-9][0-9]*))"
)
_BASES = {"x": 16, "b": 2, "o": 8, "d": 10}
_WHOLE_IN_JSON = 1e21
"""From here on Go writes a number with an exponent, which the API server does not accept as an integer."""


def plain(text: str) -> Scalar:
    """Return the value of an unquoted word without a tag; raises ValueError if JSON cannot represent it."""
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if text in _NOT_JSON:
        raise ValueError(f"{text} is no number that a Kubernetes object can hold")
    if text[0] == ".":
        return _float(text) if "_" not in text else text
    if text[0] in "+-0123456789":
        return _number(text.replace("_", ""), text)
    return text


def tagged(text: str, tag: str) -> Scalar:
    """Return the value of a text in quotes or with a tag; raises ValueError if it does not match the tag."""
    kind = tag.removeprefix(CORE)
    match kind:
        case "binary":
            try:
                return base64.b64decode("".join(text.split()), validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                raise ValueError(f"{text!r} is no base64 of a text") from None
        case "int" | "float" | "bool" | "null":
            value = plain(text)
            kinds = {"int": int, "float": (int, float), "bool": bool, "null": type(None)}
            if not isinstance(value, kinds[kind]) or (kind in ("int", "float") and isinstance(value, bool)):  # type: ignore[arg-type]
                raise ValueError(f"{text!r} is no {kind}")
            return value
        case _:
            return text


def key(value: object) -> str:
    """Return the name of a mapping's key; raises ValueError if it cannot be one."""
    match value:
        case str():
            return value
        case bool():
            return str(value).lower()
        case int() if -(2**63) <= value < 2**63:
            return str(value)
        case None:
            raise ValueError("a key is missing")
        case int() | float():
            raise ValueError(f"the number {value}, without quotes, is not a field name: put it in quotes")
        case _:
            raise ValueError("a list or a mapping is no name of a field")


def surprising(text: str, value: Scalar) -> bool:
    """Whether an unquoted word means something other than its text."""
    if isinstance(value, bool):
        return text.lower() != str(value).lower()
    if isinstance(value, int | float):
        return text != str(value)
    return False


def _number(digits: str, text: str) -> Scalar:
    if whole := _INTEGER.fullmatch(digits):
        base, found = next((b, found) for name, b in _BASES.items() if (found := whole[name]) is not None)
        number = int(found, base) * (-1 if whole["sign"] == "-" else 1)
        if -(2**63) <= number < 2**64:
            return number
    return _float(digits, text)


def _float(digits: str, text: str = "") -> Scalar:
    if not _FLOAT.fullmatch(digits):
        return text or digits
    number = float(digits)
    if math.isinf(number):
        return text or digits
    return int(number) if number.is_integer() and abs(number) < _WHOLE_IN_JSON else number
