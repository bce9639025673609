"""Reading an option's value: from YAML, where a number is a number, or from an environment variable, which is text.

An invalid value raises `OptionError`, whose text has the error and, after a colon, the way out.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from gpuquery.plan.releases.model import Option, OptionKind

_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_TRUE = ("1", "true", "yes", "y")
_FALSE = ("0", "false", "no", "n")
MOST = 2**63 - 1
"""The largest number in any release."""
EXAMPLE = "write a whole number of bytes, or a text such as 1.5GB or 512MiB"


class OptionError(Exception):
    """A value that an option does not accept."""

    def __init__(self, text: str, path: str = "") -> None:
        super().__init__(text)
        self.path = path
        """Where in the value, such as `.sample_chunk_count`; empty for the value itself."""
        self.value: Any = None
        """The value at that place; only with a path."""


def shown(value: Any) -> str:
    """Return a value as YAML would have it, shortened."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def size(text: str) -> int:
    """Return the bytes of a text such as 1.5GB, 512MiB, 512Mi or 2000; raise `OptionError` for anything else."""
    found = _SIZE.fullmatch(text)
    unit = found[2] if found else "?"
    # 10 m is ten thousandths in Kubernetes, so a unit without B must be written as in Kubernetes.
    known = re.fullmatch(r"(?i:[kmgt]i?b|b)|[kMGT]?|[KMGT]i", unit)
    if found is None or known is None:
        raise OptionError(f"is not a size: {EXAMPLE}")
    letter = unit[:1].lower() if unit.lower() != "b" else ""
    amount = Decimal(found[1]) * Decimal(1024 if "i" in unit.lower() else 1000) ** _POWERS[letter]
    if amount != amount.to_integral_value():
        raise OptionError(f"is not a whole number of bytes: {EXAMPLE}")
    return int(amount)


def read(option: Option, value: Any) -> Any:
    """Return a value from YAML in the release's form."""
    if value is None:
        if option.nullable or option.can_be_off:
            return None
        raise OptionError("is not allowed: leave it out")
    number: float
    match option.kind:
        case OptionKind.BYTES:
            number = size(value) if isinstance(value, str) else _whole(value, f"is not a size: {EXAMPLE}")
        case OptionKind.COUNT:
            number = _whole(value, "is not a whole number: write digits without quotes")
        case OptionKind.FRACTION:
            number = _fraction(value)
        case OptionKind.BOOLEAN:
            if not isinstance(value, bool):
                raise OptionError("is neither true nor false: write true or false without quotes")
            return value
        case OptionKind.CHOICE:
            return _choice(option, value)
        case OptionKind.MAPPING:
            return _mapping(option, value)
    return _in_range(option, number)


def read_text(option: Option, text: str) -> Any:
    """Return a value from an environment variable, as the release reads it."""
    if option.nullable and text.lower() in ("none", "null"):
        return None
    if option.any_text_is_true:
        if text.lower() in _TRUE:
            return True
        raise OptionError("is true to this release, as every text is: leave it out for false, or write true")
    match option.kind:
        case OptionKind.BYTES | OptionKind.COUNT:
            try:
                number = int(text)
            except ValueError:
                raise OptionError(
                    "is not a whole number, and the release reads only those here: write digits"
                ) from None
            return _in_range(option, number)
        case OptionKind.FRACTION:
            try:
                number_ = float(text)
            except ValueError:
                raise OptionError("is not a number from 0 to 1: write one such as 0.5") from None
            return _in_range(option, _fraction(number_))
        case OptionKind.BOOLEAN:
            return _flag(text)
        case OptionKind.CHOICE:
            return _choice(option, text)
        case OptionKind.MAPPING if option.can_be_off:
            return {} if _flag(text) else None
        case OptionKind.MAPPING:
            return _json(option, text)


def _json(option: Option, text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        raise OptionError("is not JSON: write an object such as " + _example(option)) from None
    return _mapping(option, value)


def _flag(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise OptionError("is neither true nor false: write true or false")


def _whole(value: Any, otherwise: str) -> int:
    """Accept 2.0 as 2, because JSON does not distinguish them."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:  # inf // 1 is NaN
        raise OptionError(otherwise)
    return int(value)


def _fraction(value: Any) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or (isinstance(value, float) and not math.isfinite(value)):
        raise OptionError("is not a number from 0 to 1: write one such as 0.5")
    return float(max(-MOST, min(value, MOST)))  # a whole number may be too large for a float


def _in_range(option: Option, number: float) -> float:
    low = (option.least is not None and number < option.least) or (option.above is not None and number <= option.above)
    if low or (option.most is not None and number > option.most):
        raise OptionError(f"is out of range: {limits(option)}")
    if number > MOST:
        raise OptionError("is out of range: use a smaller " + ("size" if option.kind is OptionKind.BYTES else "number"))
    return number


def limits(option: Option) -> str:
    """Name the accepted values."""
    if option.kind is OptionKind.CHOICE:
        return f"use {', '.join(option.choices[:-1])} or {option.choices[-1]}"
    parts = [
        f"more than {option.above:g}" if option.above is not None else "",
        f"at least {option.least:g}" if option.least is not None else "",
        f"at most {option.most:g}" if option.most is not None else "",
    ]
    return "use " + " and ".join(part for part in parts if part)


def _choice(option: Option, value: Any) -> str:
    for choice in option.choices:
        if isinstance(value, str) and value.lower() == choice.lower():
            return choice
    refused = [refusal for refusal in option.refusals if refusal.value == value]
    raise OptionError(refused[0].because if refused else f"is not known: {limits(option)}")


def _example(option: Option) -> str:
    key, inner = next(iter(option.fields.items()))
    return shown({"column" if key == "*" else key: 0.5 if inner.default is None else inner.default})


def _mapping(option: Option, value: Any) -> Any:
    if option.can_be_off and isinstance(value, bool):
        return {} if value else None
    if option.bare and not isinstance(value, Mapping):
        return {key: read(inner, value) for key, inner in option.fields.items()}
    if not isinstance(value, Mapping):
        choice = "true, false or " if option.can_be_off else ""
        raise OptionError(f"is not a mapping: write {choice}one such as {_example(option)}")
    found = {}
    for key, item in value.items():
        inner = option.fields.get(key) or option.fields.get("*")
        try:
            if inner is None:
                raise OptionError(f"is set, but {option.name} has no such value: use {', '.join(option.fields)}")
            found[key] = read(inner, item)
        except OptionError as wrong:
            wrong.path, wrong.value = f".{key}", item
            raise
    return found
