"""Texts as values of a type: exactly, or not at all.

A text is a value if it is one way to write it and nothing of it is lost: `1.50` is a Decimal(4, 1) no more than `007.5`
is an integer.
"""

from __future__ import annotations

import datetime as dt
import math
import re
import struct
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Callable

_INTEGER = re.compile(r"-?[0-9]+")
_FLOAT = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|NaN|[+-]?inf", re.ASCII)
_DECIMAL = re.compile(r"-?\d+(\.\d+)?", re.ASCII)
_MOMENT = re.compile(r"(\d{4}-\d{2}-\d{2})[ T](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?", re.ASCII)
_TIME = re.compile(r"(\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?", re.ASCII)
_BOOLEANS = {"true": True, "false": False}
_EPOCH = dt.datetime(1970, 1, 1)
_PER_SECOND = {"ms": 10**3, "us": 10**6, "ns": 10**9}


def parsed(text: str, dtype: pl.DataType) -> Any:
    """Return the value of a text. Raises ValueError that says why it is none.

    Timestamps, times and durations are counts of their unit (nanoseconds for times) since 1970 or midnight, for Python
    holds no nanoseconds; `series` makes values of them.
    """
    if isinstance(dtype, pl.String | pl.Categorical | pl.Enum):
        return text
    if dtype.is_integer():
        return _integer(text, dtype)
    for kind, read in _READERS:
        if isinstance(dtype, kind):
            return read(text, dtype)
    raise ValueError("no folder can hold values of this type")


def literal(value: Any, dtype: pl.DataType) -> pl.Expr:
    """Return a value of `parsed` (or None) as a constant.

    No series of one value: Polars 1.44 takes two of them for one expression, whatever their types, if both are null.
    """
    if value is not None and isinstance(dtype, pl.Datetime | pl.Time):
        return pl.lit(value, dtype=pl.Int64).cast(dtype)
    return pl.lit(value, dtype=dtype)


def series(name: str, values: list[Any], dtype: pl.DataType) -> pl.Series:
    """Return values of `parsed` (or None) as a column."""
    if isinstance(dtype, pl.Datetime | pl.Time):
        return pl.Series(name, values, dtype=pl.Int64).cast(dtype)
    return pl.Series(name, values, dtype=dtype)


def _integer(text: str, dtype: pl.DataType) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError("it has other characters than digits")
    signed, bits = dtype.is_signed_integer(), int(re.sub(r"\D", "", str(dtype)))
    number = int(text)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if signed else (0, 2**bits)
    if not low <= number < high:
        raise ValueError("it is out of range")
    return number


def _float(text: str, dtype: pl.DataType) -> float:
    if not _FLOAT.fullmatch(text):
        raise ValueError("it is no number")
    found = float(text)
    if math.isinf(found) and not text.endswith("inf"):
        raise ValueError("it is out of range")
    try:
        return _single(text, found) if isinstance(dtype, pl.Float32) else found
    except OverflowError:
        raise ValueError("it is out of range") from None


def _single(text: str, double: float) -> float:
    """Return the nearest Float32 of a text, as Polars finds it; that of the nearest double may be another one."""

    def rounded(value: float) -> float:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])

    if not math.isfinite(double):
        return rounded(double)
    below, above = (rounded(math.nextafter(double, end)) for end in (-math.inf, math.inf))
    if below == above:
        return rounded(double)
    beyond = Fraction(text) - (Fraction(below) + Fraction(above)) / 2
    return (below if beyond < 0 else above) if beyond else rounded(double)


def _boolean(text: str, _: pl.DataType) -> bool:
    if text not in _BOOLEANS:
        raise ValueError("it is neither true nor false")
    return _BOOLEANS[text]


def _date(text: str, _: pl.DataType) -> dt.date:
    found = dt.date.fromisoformat(text)
    if found.isoformat() != text:
        raise ValueError("a date is written 2024-01-31")
    return found


def _decimal(text: str, dtype: pl.DataType) -> Decimal:
    assert isinstance(dtype, pl.Decimal)
    if not _DECIMAL.fullmatch(text):
        raise ValueError("it is no decimal")
    try:
        found = Decimal(text)
    except InvalidOperation:
        raise ValueError("it is no decimal") from None
    _sign, digits, exponent = found.as_tuple()
    places = -int(exponent)
    if places > dtype.scale or len(digits) - places > (dtype.precision or 38) - dtype.scale:
        raise ValueError("it has too many digits")
    return found


def _moment(text: str, dtype: pl.DataType) -> int:
    assert isinstance(dtype, pl.Datetime)
    if dtype.time_zone not in (None, "UTC"):
        raise ValueError("folders hold no timestamps of a time zone")
    found = _MOMENT.fullmatch(text.removesuffix("+00:00").removesuffix("Z") if dtype.time_zone else text)
    if not found:
        raise ValueError("a timestamp is written 2024-01-31 10:00:00")
    since = dt.datetime.fromisoformat(f"{found[1]} {found[2]}") - _EPOCH
    unit = _PER_SECOND[dtype.time_unit]
    count = (since.days * 86_400 + since.seconds) * unit + _fraction(found[3], unit)
    if not -(2**63) <= count < 2**63:
        raise ValueError("it is out of range")
    return count


def _time(text: str, _: pl.DataType) -> int:
    found = _TIME.fullmatch(text)
    if not found:
        raise ValueError("a time is written 10:00:00")
    at = dt.time.fromisoformat(found[1])
    return (at.hour * 3600 + at.minute * 60 + at.second) * 10**9 + _fraction(found[2], 10**9)


def _fraction(digits: str | None, unit: int) -> int:
    nanos = int((digits or "0").ljust(9, "0"))
    if nanos % (10**9 // unit):
        raise ValueError("it has more digits than its type")
    return nanos // (10**9 // unit)


_READERS: tuple[tuple[Any, Callable[[str, pl.DataType], Any]], ...] = (
    (pl.Float32 | pl.Float64, _float), (pl.Boolean, _boolean), (pl.Date, _date), (pl.Decimal, _decimal),
    (pl.Datetime, _moment), (pl.Time, _time),
)  # fmt: skip
