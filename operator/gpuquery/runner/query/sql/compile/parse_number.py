"""Text read as numbers, exactly.

DuckDB 2.0 reads blanks around a number, a sign, `.5` and `5.`, exponents, `1_000`, and for whole numbers `0x1F` and
`0b11`; more places than the type has are rounded half away from zero. Polars reads less, and rounds half to even: so
what it reads without rounding is left to it, and only other texts are taken apart by rules of our own.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.compile.once import once
from gpuquery.runner.query.sql.compile.target import CPU
from gpuquery.runner.query.sql.compile.values import dtype_of
from gpuquery.runner.query.sql.types import Kind, Type

if TYPE_CHECKING:
    from collections.abc import Callable

BLANKS = " \t\n\v\f\r"
_DIGITS = 38
_NUMBER = r"^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,4}))?$"
_UNDERSCORES = r"^[+-]?(\d+(_\d+)*)?(\.(\d+(_\d+)*)?)?([eE][+-]?\d+(_\d+)*)?$"
_FARTHEST = 100
_INTEGER, _SHORT = 20, 20
ANY = r"^\s*[+-]?[0-9.][0-9a-fA-FxX._+-]*\s*$"
PLAIN = r"^\s*[+-]?[0-9]+\s*$"
PLAIN_FLOATING = r"^\s*[+-]?[0-9.]+([eE][+-]?[0-9]+)?\s*$"


def integer(text: pl.Expr, to: Type) -> pl.Expr:
    """Return whole numbers of a type; NULL for what is none, or does not fit."""

    def other(bare: pl.Expr) -> pl.Expr:
        rounded = _near(bare, _INTEGER, 0).cast(dtype_of(to), strict=False)
        return pl.coalesce(rounded, _radix(bare, to))

    return _read(text, text.cast(dtype_of(to), strict=False), other)


def plain_integer(text: pl.Expr, to: Type) -> pl.Expr:
    """Return whole numbers, read on GPUs: digits and a sign. cudf wraps what has too many, which a DOUBLE tells."""
    bare = text.str.strip_chars(BLANKS)
    wide = pl.UInt64 if to.kind is Kind.UINT64 else pl.Int64
    exact, nearly = bare.cast(wide, strict=False), bare.cast(pl.Float64, strict=False)
    low, high = to.range or (0, 0)
    fits = ((exact.cast(pl.Float64) - nearly).abs() < 2.0**62) & (exact >= low) & (exact <= high)
    return pl.when(fits).then(exact).cast(dtype_of(to))


def plain_floating(text: pl.Expr, to: Type) -> pl.Expr:
    """Return floating-point numbers, read on GPUs: without underscores."""
    return text.str.strip_chars(BLANKS).cast(dtype_of(to), strict=False)


def decimal(text: pl.Expr, to: Type) -> pl.Expr:
    """Return decimals of a type, or HUGEINTs; NULL for what is none, or does not fit."""
    precision = to.precision or _DIGITS
    if precision < _INTEGER:
        short = pl.when(text.str.len_bytes() <= _SHORT).then(text)
        whole = precision - to.scale
        made = _read(text, _at(short, whole, to.scale), lambda bare: _near(bare, whole, to.scale))
    else:
        exact = text.str.contains(rf"^[+-]?\d+(\.\d{{0,{to.scale}}})?$")
        plain = pl.when(exact).then(text).cast(pl.Decimal(_DIGITS, to.scale), strict=False)
        made = _read(text, plain, lambda bare: _long(bare, to))
    if precision < _DIGITS:
        made = made.cast(pl.Decimal(precision, to.scale), strict=False).cast(pl.Decimal(_DIGITS, to.scale))
    return made


def floating(text: pl.Expr, to: Type) -> pl.Expr:
    """Return DOUBLEs or REALs; NULL for what is none. A number too large for the type is infinite, as in DuckDB."""
    return _read(text, text.cast(dtype_of(to), strict=False), lambda bare: bare.cast(dtype_of(to), strict=False))


def _read(text: pl.Expr, plain: pl.Expr, other: Callable[[pl.Expr], pl.Expr]) -> pl.Expr:
    """Return the plain numbers, and what the other way reads of texts that are none."""

    def both(text: pl.Expr, plain: pl.Expr) -> pl.Expr:
        bare = pl.when(plain.is_null()).then(text).str.strip_chars(BLANKS)
        return plain.fill_null(once(CPU, other, once(CPU, _stripped, bare)))

    return once(CPU, both, text, plain)


def _long(bare: pl.Expr, to: Type) -> pl.Expr:
    made = _rounded(bare, to.scale)
    return pl.coalesce(made, _radix(bare, to)) if to.kind is Kind.INT128 else made


def _stripped(bare: pl.Expr) -> pl.Expr:
    """Return texts without underscores between digits."""
    return pl.when(bare.str.contains(_UNDERSCORES)).then(bare.str.replace_all("_", "", literal=True)).otherwise(bare)


def _near(text: pl.Expr, whole: int, scale: int) -> pl.Expr:
    """Return decimals of so many digits before the point, rounded half away from zero; for up to 20 digits in all.

    Of the places that Polars would round the rest is cut, as it does not change the first that we round. A number with
    an exponent must be short for that reason: its digits then end before those that Polars rounds.
    """
    cut = text.str.replace(rf"^([+-]?\d*\.\d{{{_places(whole)}}})\d+$", "$1")
    far = text.str.contains(r"[eE]") & (text.str.len_bytes() > _SHORT)
    return _at(pl.when(~far).then(cut), whole, scale)


def _at(text: pl.Expr, whole: int, scale: int) -> pl.Expr:
    """Round what Polars reads. Its `round` panics where it carries to a 39th digit, so none is that long."""
    places = _places(whole)
    limit = pl.lit(Decimal(10) ** whole, dtype=pl.Decimal(_DIGITS, places))

    def inside(held: pl.Expr) -> pl.Expr:
        return pl.when((held < limit) & (held > -limit)).then(held)

    held = once(CPU, inside, text.cast(pl.Decimal(_DIGITS, places), strict=False))
    return held.round(scale, mode="half_away_from_zero").cast(pl.Decimal(_DIGITS, scale))


def _places(whole: int) -> int:
    return _DIGITS - 1 - whole


def _rounded(text: pl.Expr, scale: int) -> pl.Expr:
    """Return numbers as decimals of so many places, rounded half away from zero by their digits."""
    part = text.str.extract_groups(_NUMBER).struct
    sign, whole = part.field("1"), part.field("2")
    fraction = part.field("3").fill_null("")
    digits = whole + fraction
    exponent = part.field("4").cast(pl.Int32).fill_null(0)
    kept = whole.str.len_bytes().cast(pl.Int32) + exponent + scale
    fits = (digits.str.len_bytes() > 0) & (kept <= _FARTHEST)
    length = pl.max_horizontal(kept, pl.lit(0, dtype=pl.Int32))
    held = digits.str.slice(0, length).str.pad_end(_FARTHEST, "0").str.slice(0, length)
    up = pl.when(kept >= 0).then(digits.str.slice(length, 1)).otherwise(pl.lit("0")) >= "5"
    number = (pl.lit("0" * (scale + 1)) + held).str.strip_chars_start("0").str.zfill(scale + 1)
    dotted = number if scale == 0 else number.str.head(-scale) + pl.lit(".") + number.str.tail(scale)
    size = dotted.cast(pl.Decimal(_DIGITS, scale), strict=False)
    last = pl.when(up).then(pl.lit(1)).otherwise(pl.lit(0)).cast(pl.Decimal(_DIGITS, 0)) * _last(scale)
    total = size.cast(pl.Decimal(_DIGITS, scale)) + last
    return pl.when(fits).then(pl.when(sign == "-").then(-total).otherwise(total))


def _last(scale: int) -> pl.Expr:
    text = "1" if scale == 0 else "0." + "0" * (scale - 1) + "1"
    return pl.lit(text).cast(pl.Decimal(_DIGITS, scale))


def _radix(text: pl.Expr, to: Type) -> pl.Expr:
    """Return whole numbers written to the base of 16 or 2."""
    sixteen = text.str.extract(r"^0[xX]([0-9a-fA-F]{1,15})$").str.to_integer(base=16, strict=False)
    two = text.str.extract(r"^0[bB]([01]{1,62})$").str.to_integer(base=2, strict=False)
    return pl.coalesce(sixteen, two).cast(dtype_of(to), strict=False)
