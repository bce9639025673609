"""Text read as dates, times and timestamps: the ISO forms that DuckDB and PostgreSQL both read, and no others.

`2024-2-9`, `2024/02/09`, `2024-02-09 12:34[:56[.789]]`, with a `T` between, and behind it `Z`, `UTC` or an offset. Of a
TIMESTAMP an offset is read and ignored, as in both; of one with time zone it counts. Digits below microseconds are cut,
below nanoseconds where the type has those.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.compile.cast_time import rounded
from gpuquery.runner.query.sql.compile.once import once
from gpuquery.runner.query.sql.compile.parse_number import BLANKS
from gpuquery.runner.query.sql.compile.target import CPU
from gpuquery.runner.query.sql.compile.values import dtype_of
from gpuquery.runner.query.sql.types import Kind, Type

if TYPE_CHECKING:
    from collections.abc import Callable

_DAY = r"(\d{4})([-/ ])(\d{1,2})([-/ ])(\d{1,2})"
_CLOCK = r"(\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.(\d*))?)?"
_ZONE = r" ?(Z|z|UTC|utc|[+-]\d{1,2}(?::?\d{2})?)?"
_DATE = rf"^{_DAY}(?:[ T]{_CLOCK}{_ZONE})?$"
_TIME = rf"^{_DAY}(?:[ T]{_CLOCK}(?: ?(?:Z|[+-]\d{{2}}(?::?\d{{2}})?))?)?$"
_OFFSET = r"^([+-])(\d{1,2})(?::?(\d{2}))?$"
ANY = r"^\s*\d{1,4}[-/]\d"
PLAIN = r"^\s*\d{4}-\d{2}-\d{2}( \d{2}:\d{2}:\d{2})?\s*$"
_SECOND = 1_000_000
_DAY_MICROS = 86_400 * _SECOND
_MOST_NANOS = 2**63


def date(text: pl.Expr) -> pl.Expr:
    """Return dates; NULL for what is none. A time behind the date is read, and left away."""
    plain = pl.when(text.str.len_bytes() == len("2024-02-29")).then(text).str.to_date("%Y-%m-%d", strict=False)
    return _read(text, plain, _DATE, _date)


def _read(text: pl.Expr, plain: pl.Expr, pattern: str, other: Callable[[pl.Expr], pl.Expr]) -> pl.Expr:
    """Return the plain ones, and what the parts of other texts say."""

    def both(text: pl.Expr, plain: pl.Expr) -> pl.Expr:
        bare = pl.when(plain.is_null()).then(text).str.strip_chars(BLANKS)
        return plain.fill_null(once(CPU, other, bare.str.extract_groups(pattern)))

    return once(CPU, both, text, plain)


def plain(text: pl.Expr, to: Type) -> pl.Expr:
    """Return dates or timestamps, read on GPUs: `2024-02-29`, or with ` 12:34:56` behind it."""
    bare = text.str.strip_chars(BLANKS)
    day = pl.when(bare.str.contains(r"^\d{4}-\d{2}-\d{2}$")).then(bare)
    moment = pl.when(bare.str.contains(r"^\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}$")).then(bare)
    read = pl.when(day.is_null()).then(moment).otherwise(day + pl.lit(" 00:00:00"))
    found = read.str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False, cache=False)
    days = (found.cast(pl.Int64) // _DAY_MICROS).cast(pl.Int32)
    return days.cast(pl.Date) if to.kind is Kind.DATE else found.cast(dtype_of(to))


def time(text: pl.Expr) -> pl.Expr:
    """Return times of the day; NULL for what is none. A date before the time is read, and alone it is midnight."""
    bare = text.str.strip_chars(BLANKS)
    dated = pl.when(bare.str.contains(r"^\d{1,2}:")).then(pl.lit("2000-01-01 ") + bare).otherwise(bare)
    return once(CPU, _time, dated.str.extract_groups(_TIME))


def timestamp(text: pl.Expr, to: Type) -> pl.Expr:
    """Return timestamps of a type; NULL for what is none."""
    plain = pl.when(text.str.len_bytes() == len("2024-02-29 12:34:56")).then(text)
    read = plain.str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False).cast(pl.Int64)
    since = _read(text, read, _DATE, lambda parts: _since(parts, to))
    if to.kind is Kind.TIMESTAMP_TZ:
        return since.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if to.unit in ("s", "ms"):
        return once(CPU, lambda ticks: rounded(ticks, to.unit), since)
    if to.unit == "ns":
        return once(CPU, _nanos, since, text)
    return since.cast(pl.Datetime("us")).cast(dtype_of(to))


def _nanos(micros: pl.Expr, text: pl.Expr) -> pl.Expr:
    """Return timestamps of nanoseconds, NULL outside of the years that have those."""
    rest = text.str.extract(r"\.\d{6}(\d{1,3})", 1).str.pad_end(3, "0").cast(pl.Int64).fill_null(0)
    within = pl.when(micros.abs() < _MOST_NANOS // 1000).then(micros)
    return (within * 1000 + rest).cast(pl.Datetime("ns"))


def _time(parts: pl.Expr) -> pl.Expr:
    micros = _clock(parts)
    return pl.when((micros < _DAY_MICROS) & _date(parts).is_not_null()).then(micros * 1000).cast(pl.Time)


def _clock(parts: pl.Expr) -> pl.Expr:
    """Return the microseconds since midnight that stand behind a date; 0 if none do."""
    only = parts.struct.field("6").is_null()
    return pl.when(only).then(pl.lit(0, dtype=pl.Int64)).otherwise(_micros(parts))


def _since(parts: pl.Expr, to: Type) -> pl.Expr:
    """Return the microseconds since 1970."""
    since = _date(parts).cast(pl.Int32).cast(pl.Int64) * _DAY_MICROS + _clock(parts)
    return since - _offset(parts.struct.field("10")) if to.kind is Kind.TIMESTAMP_TZ else since


def _date(parts: pl.Expr) -> pl.Expr:
    field = parts.struct.field
    alike = field("2") == field("4")
    iso = field("1") + pl.lit("-") + field("3").str.zfill(2) + pl.lit("-") + field("5").str.zfill(2)
    return pl.when(alike).then(iso).str.to_date("%Y-%m-%d", strict=False)


def _micros(parts: pl.Expr) -> pl.Expr:
    """Return the microseconds since midnight; NULL for a clock that does not exist. 24:00:00 is the day's end."""

    def part(at: int) -> pl.Expr:
        return parts.struct.field(str(5 + at)).cast(pl.Int64)

    hour, minute, second = part(1), part(2), part(3).fill_null(0)
    fraction = parts.struct.field("9").fill_null("").str.slice(0, 6).str.pad_end(6, "0").cast(pl.Int64)
    made = ((hour * 60 + minute) * 60 + second) * _SECOND + fraction
    return pl.when((minute < 60) & (second < 60) & (made <= _DAY_MICROS)).then(made)


def _offset(zone: pl.Expr) -> pl.Expr:
    """Return an offset's microseconds: NULL if there is no such offset, and none is UTC."""
    parts = zone.str.extract_groups(_OFFSET)
    hours = parts.struct.field("2").cast(pl.Int64)
    minutes = parts.struct.field("3").cast(pl.Int64).fill_null(0)
    size = (hours * 60 + minutes) * 60 * _SECOND
    signed = pl.when(parts.struct.field("1") == "-").then(0 - size).otherwise(size)
    return pl.when(hours.is_null()).then(pl.lit(0, dtype=pl.Int64)).otherwise(signed)
