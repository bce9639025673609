"""Texts that are values: which are, and expressions that read them and fail where a value would become another one.

A whole number is one that prints back as it was written: `001`, `+1`, ` 1` and `1e3` are texts. A fraction is a DOUBLE
if all its digits come back from it, so `1.10` is (its value is 1.1) and one of 20 digits is not. Dates are
`2024-02-29`, timestamps `2024-02-29 12:34:56` with a `T` or a blank, up to nine digits of a second, and a zone. A type
that the author declares allows more: an exponent, `NaN`, `inf` and any number of digits for DOUBLE and REAL, `TRUE` for
BOOLEAN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_SHOWN = 80
"""Characters of a value that are shown in an error."""
EXACT_DIGITS = 15
"""Any number of so many decimal digits comes back from a DOUBLE."""
_WHOLE = r"^(0|-?[1-9][0-9]*)$"
_FRACTION = r"^(0|-?[1-9][0-9]*|-?(0|[1-9][0-9]*)\.[0-9]+)$"
_ANY_FRACTION = (
    r"^[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[nN][aA][nN]|[iI][nN][fF]([iI][nN][iI][tT][yY])?)$"
)
_INFINITE = "^[+-]?[iI]"
_DAY = "([1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])-[0-9]{2}-[0-9]{2}"
"""Without a year 0, which PostgreSQL, Python and DuckDB do not have: DuckDB shows it as the year 1 before Christ."""
_CLOCK = "[0-2][0-9]:[0-5][0-9]:[0-5][0-9]"
_PLACES = {"ms": 3, "us": 6, "ns": 9}
_NANO_YEARS = ("1678", "2261")
_UNZONED: Mapping[str, pl.DataType] = {"us": pl.Datetime("us"), "ns": pl.Datetime("ns")}


class Reader(NamedTuple):
    """How texts become values of a type."""

    pattern: str
    """What a text must look like."""
    read: pl.Expr
    """The values of `text`, null where they are none."""
    odd: pl.Expr | None = None
    """TRUE for texts that look right and would become another value."""


def known(dtype: pl.DataType) -> bool:
    """Whether a text can be a value of a type."""
    return (
        dtype.is_integer()
        or dtype.is_float()
        or dtype.is_decimal()
        or isinstance(dtype, (pl.Boolean, pl.String, pl.Date, pl.Datetime, pl.Time))
    )


def readable(text: pl.Expr, dtype: pl.DataType, *, declared: bool) -> pl.Expr:
    """Return TRUE for texts that are values of a type; empty texts and nulls are null of every type."""
    if dtype == pl.String:
        return pl.lit(value=True)
    reader = _reader(text, dtype, declared=declared)
    fits = text.str.contains(reader.pattern) & reader.read.is_not_null()
    if reader.odd is not None:
        fits &= ~reader.odd
    return text.is_null() | (text == "") | fits


def mark(name: str, column: str) -> str:
    """Return what stands before a value that was refused, in the error of Polars: the input's and the column's name."""
    return f"⟪{name}¦{column}⟫"


def values(text: pl.Expr, dtype: pl.DataType, mark: str, *, declared: bool) -> pl.Expr:
    """Return the values of texts; what is none fails while the query runs, with the mark and the text in the error."""
    if dtype == pl.String:
        return text
    reader = _reader(text, dtype, declared=declared)
    good = readable(text, dtype, declared=declared)
    checked = pl.when(~good).then(pl.lit(mark) + text.str.slice(0, MAX_SHOWN)).cast(pl.Int8)
    return pl.when(checked.is_null()).then(reader.read)


def plainly_read(dtype: pl.DataType, *, declared: bool) -> bool:
    """Whether Polars' own reader of CSV gives exactly the values of texts that `readable` has found good."""
    if dtype.is_float():
        return dtype == pl.Float64 and not declared
    if dtype == pl.Datetime:
        return dtype == pl.Datetime("us")
    return dtype not in (pl.Time, pl.Int128, pl.UInt128)


def literal(text: str) -> str:
    """Return the pattern that a text alone matches, for Polars."""
    return "".join(one if one.isalnum() else rf"\x{{{ord(one):x}}}" for one in text)


def candidates() -> list[pl.DataType]:
    """Types that are tried where none is declared, the most particular first; text is what remains."""
    return [
        pl.Boolean(), pl.Int64(), pl.Float64(), pl.Date(),
        *_UNZONED.values(), pl.Datetime("us", "UTC"), pl.Datetime("ns", "UTC"),
    ]  # fmt: skip


def implies(some: pl.Series, narrow: pl.DataType, wide: pl.DataType) -> bool:
    """Whether texts that are all values of one type are values of another one, as far as that is seen quickly."""
    if narrow == pl.Int64 and wide == pl.Float64:
        return int(some.str.len_bytes().max() or 0) <= EXACT_DIGITS  # type: ignore[arg-type]
    if isinstance(narrow, pl.Datetime) and isinstance(wide, pl.Datetime) and narrow.time_zone == wide.time_zone:
        first, last = str(some.min()), str(some.max())
        return (narrow.time_unit, wide.time_unit) == ("us", "ns") and first > _NANO_YEARS[0] and last < _NANO_YEARS[1]
    return False


def _reader(text: pl.Expr, dtype: pl.DataType, *, declared: bool) -> Reader:
    if dtype.is_integer():
        return Reader(_WHOLE, text.cast(dtype, strict=False))
    if dtype.is_float():
        return _fraction(text, dtype, declared=declared)
    match dtype:
        case pl.Decimal():
            return Reader(_decimal(dtype.scale), text.cast(dtype, strict=False))
        case pl.Boolean():
            pattern, low = (
                ("^([tT][rR][uU][eE]|[fF][aA][lL][sS][eE])$", text.str.to_lowercase())
                if declared
                else ("^(true|false)$", text)
            )
            return Reader(
                pattern, pl.when(low == "true").then(pl.lit(value=True)).when(low == "false").then(pl.lit(value=False))
            )
        case pl.Date():
            return Reader(f"^{_DAY}$", text.str.to_date("%Y-%m-%d", strict=False, cache=False))
        case pl.Time():
            return Reader(rf"^{_CLOCK}(\.[0-9]{{1,9}})?$", text.str.to_time("%H:%M:%S%.f", strict=False))
        case pl.Datetime():
            return _moment(text, dtype, declared=declared)
    raise TypeError(dtype)


def _fraction(text: pl.Expr, dtype: pl.DataType, *, declared: bool) -> Reader:
    read = text.cast(dtype, strict=False)
    if declared:
        return Reader(_ANY_FRACTION, read, read.is_infinite() & ~text.str.contains(_INFINITE))
    # Few texts are longer, so few are looked at closely.
    long = pl.when(text.str.len_bytes() > EXACT_DIGITS).then(text)
    digits = long.str.strip_chars_start("-0.").str.replace(".", "", literal=True)
    printed = long.cast(pl.Float64, strict=False).cast(pl.String)
    odd = (digits.str.len_bytes() > EXACT_DIGITS) & (printed != long)
    return Reader(_FRACTION, read, odd.fill_null(value=False))


def _decimal(scale: int) -> str:
    return rf"^-?(0|[1-9][0-9]*)(\.[0-9]{{1,{scale}}})?$" if scale else _WHOLE


def _moment(text: pl.Expr, dtype: pl.Datetime, *, declared: bool) -> Reader:
    """Seconds are read by a format that cudf has too; digits behind them are added."""
    digits = _PLACES[dtype.time_unit]
    places = rf"(\.[0-9]{{1,{digits}}})?"
    bare = text.str.replace("T", " ", literal=True)
    zone = "" if dtype.time_zone is None else "(Z|[+-][0-9]{2}:[0-9]{2})" if declared else "Z"
    if zone and declared:
        layout = "%Y-%m-%d %H:%M:%S%.f%:z"
        bare = bare.str.replace("Z", "+00:00", literal=True)
        read = bare.str.to_datetime(layout, time_unit=dtype.time_unit, strict=False, cache=False)
    else:
        seconds = bare.str.slice(0, len("2024-02-29 12:34:56")).str.to_datetime(
            "%Y-%m-%d %H:%M:%S", time_unit=dtype.time_unit, strict=False, cache=False
        )
        behind = bare.str.slice(len("2024-02-29 12:34:56."), digits).str.replace("Z", "", literal=True)
        ticks = behind.str.pad_end(digits, "0").cast(pl.Int64, strict=False)
        read = (seconds.cast(pl.Int64) + ticks).cast(pl.Datetime(dtype.time_unit))
        read = read if dtype.time_zone is None else read.dt.replace_time_zone("UTC")
    if dtype.time_zone not in (None, "UTC"):
        read = read.dt.convert_time_zone(dtype.time_zone)
    odd = None
    if dtype.time_unit == "ns":
        year = text.str.slice(0, 4)
        odd = (year < _NANO_YEARS[0]) | (year > _NANO_YEARS[1])
    return Reader(f"^{_DAY}[T ]{_CLOCK}{places}{zone}$", read, odd)
