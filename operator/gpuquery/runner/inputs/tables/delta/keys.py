"""Partition values, which a log has as texts: "Partition Value Serialization" in the protocol."""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation, localcontext
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Callable

_RANGES: dict[type[pl.DataType], int] = {pl.Int8: 8, pl.Int16: 16, pl.Int32: 32, pl.Int64: 64}
_INTEGER = re.compile(r"[+-]?\d{1,40}", re.ASCII)
_FLOAT = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?inf(?:inity)?|nan", re.ASCII | re.IGNORECASE)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_TIME = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2})?)(?:\.(\d{1,6})0{0,3})?)?(Z|[+-]\d{2}:?\d{2})?", re.ASCII
)
_ESCAPED = re.compile(r"(?:\\u00[0-9A-Fa-f]{2})+", re.ASCII)
_BOOLEANS = {"true": True, "false": False}


def value(text: str | None, dtype: pl.DataType) -> Any:
    """Return the Python value of a text; an empty one is null. Raises ValueError for what is no such value."""
    if text is None or text == "":
        return None
    try:
        return _reader(dtype)(text)
    except (InvalidOperation, OverflowError, KeyError) as exc:
        raise ValueError(str(exc)) from None


def is_local(text: str | None) -> bool:
    """Whether a text is a timestamp without a time zone, so that its writer's would have to be known."""
    found = _TIME.fullmatch(text or "")
    return found is not None and found[4] is None


def literal(text: str | None, dtype: pl.DataType) -> pl.Expr:
    """Return the value as an expression of the column's type."""
    return pl.lit(value(text, dtype), dtype=dtype)


def _reader(dtype: pl.DataType) -> Callable[[str], Any]:
    if (bits := _RANGES.get(type(dtype))) is not None:
        return lambda text: _integer(text, bits)
    match dtype:
        case pl.String():
            return str
        case pl.Float32() | pl.Float64():
            return _float
        case pl.Decimal():
            return lambda text: _decimal(text, dtype.precision or 38, dtype.scale)
        case pl.Boolean():
            return lambda text: _BOOLEANS[text.lower()]
        case pl.Date():
            return lambda text: date.fromisoformat(_checked(text, _DAY))
        case pl.Datetime():
            return lambda text: _time(text, zoned=dtype.time_zone is not None)
        case pl.Binary():
            return _bytes
    raise ValueError(f"{dtype} is no type of a partition column")


def _checked(text: str, pattern: re.Pattern[str]) -> str:
    if not pattern.fullmatch(text):
        raise ValueError(text)
    return text


def _bytes(text: str) -> bytes:
    r"""Read `\u0001\u00ff`, as the protocol and delta-rs write bytes; Spark writes them as a text.

    Of other characters nobody says which bytes they stand for.
    """
    return bytes.fromhex(text.replace("\\u00", "")) if _ESCAPED.fullmatch(text) else text.encode("ascii")


def _integer(text: str, bits: int) -> int:
    found = int(_checked(text, _INTEGER))
    if not -(1 << (bits - 1)) <= found < 1 << (bits - 1):
        raise ValueError(text)
    return found


def _float(text: str) -> float:
    found = float(_checked(text, _FLOAT))
    if math.isinf(found) and "inf" not in text.lower():
        raise ValueError(text)
    return found


def _decimal(text: str, precision: int, scale: int) -> Decimal:
    found = Decimal(_checked(text, _FLOAT))
    with localcontext() as context:
        context.prec = 100
        exact = found.quantize(Decimal(1).scaleb(-scale))
    if exact != found or abs(exact) >= Decimal(10) ** (precision - scale):
        raise ValueError(text)
    return exact


def _time(text: str, *, zoned: bool) -> datetime:
    found = _TIME.fullmatch(text)
    if not found or (found[4] and not zoned):
        raise ValueError(text)
    made = datetime.fromisoformat(f"{found[1]}T{found[2] or '00:00'}{found[4] or ''}")
    made = made.replace(microsecond=int((found[3] or "0").ljust(6, "0")))
    if not zoned:
        return made
    return made.replace(tzinfo=UTC) if made.tzinfo is None else made.astimezone(UTC)
