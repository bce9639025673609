"""Dates as texts and back: strftime, strptime.

A format is a constant, and each of its directives is translated: what this table does not know is refused. Texts are
read by a regular expression with a group for each directive, as Polars' own reader takes other texts than DuckDB's:
there a day may have one digit, and blanks around the whole are no matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from gpuquery.runner.query.sql.compile.failures import fail_where
from gpuquery.runner.query.sql.functions.calendar import DAY, MICROS, days_from, is_date
from gpuquery.runner.query.sql.functions.regex_syntax import quoted
from gpuquery.runner.query.sql.functions.table import Table
from gpuquery.runner.query.sql.types import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuquery.runner.query.sql.functions.table import FunctionCall

TABLE = Table("Dates as texts")
_WIDE = pl.Int64
_WRITTEN = {
    **{f"%{letter}": f"%{letter}" for letter in "aAwdbBmyYHIpMSjUWuVG%"},
    **{f"%-{letter}": f"%-{letter}" for letter in "dmyHIMSj"},
    "%f": "%6f", "%g": "%3f", "%n": "%9f", "%z": "+00", "%Z": "", "%c": "%Y-%m-%d %H:%M:%S", "%x": "%Y-%m-%d",
    "%X": "%H:%M:%S",
}  # fmt: skip
"""How chrono, which Polars writes dates with, calls DuckDB's directives."""
_YEARS = ("%Y", "%y", "%-y", "%G", "%c", "%x")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def _pieces(text: str, call: FunctionCall, index: int) -> Iterator[str]:
    """Return the directives of a format and the texts between them."""
    at = 0
    while at < len(text):
        if text[at] != "%":
            end = text.find("%", at)
            end = len(text) if end < 0 else end
            yield text[at:end]
            at = end
            continue
        size = 3 if text[at + 1 : at + 2] == "-" else 2
        if len(text) < at + size:
            raise call.refuse(f"the format '{text}' ends within a directive", index)
        yield text[at : at + size]
        at += size


def _unknown(call: FunctionCall, directive: str, index: int) -> Exception:
    return call.refuse(f"{directive} in the format of {call.node.function} is not supported", index)


def _strftime(call: FunctionCall) -> pl.Expr:
    index = 1 if call.values[0].type.kind is not Kind.TEXT else 0
    text, value = call.constant(index), call.values[1 - index]
    pieces = list(_pieces(text, call, index))
    if not pieces:
        raise call.refuse("a format must not be empty", index)
    written = ""
    for piece in pieces:
        if piece.startswith("%") and piece not in _WRITTEN:
            raise _unknown(call, piece, index)
        name = "UTC" if piece == "%Z" and value.type.kind is Kind.TIMESTAMP_TZ else None
        written += name or _WRITTEN.get(piece, piece)
    when = value.expr.cast(pl.Datetime("us")) if value.type.kind is Kind.DATE else value.expr
    if any(piece in _YEARS for piece in pieces):
        bad = ~when.dt.year().is_between(0, 9999)
        when = fail_where(
            when, bad, "the year {} does not have four digits", call.place, when.dt.year().cast(pl.String)
        )
    return when.dt.strftime(written) if written else pl.when(when.is_not_null()).then(pl.lit(""))


class _Field(NamedTuple):
    """How a directive is read: a part of a date, and the most digits that it has (0: letters)."""

    part: str
    digits: int


_READ = {
    "%Y": _Field("year", 4), "%y": _Field("short year", 2), "%-y": _Field("short year", 2), "%m": _Field("month", 2),
    "%-m": _Field("month", 2), "%d": _Field("day", 2), "%-d": _Field("day", 2), "%H": _Field("hour", 2),
    "%-H": _Field("hour", 2), "%I": _Field("half hour", 2), "%-I": _Field("half hour", 2), "%M": _Field("minute", 2),
    "%-M": _Field("minute", 2), "%S": _Field("second", 2), "%-S": _Field("second", 2), "%f": _Field("micros", 6),
    "%b": _Field("name", 0), "%B": _Field("name", 0), "%p": _Field("noon", 0),
}  # fmt: skip
_LONG = "january|february|march|april|may|june|july|august|september|october|november|december"


def _reader(text: str, call: FunctionCall) -> tuple[str, dict[str, int]]:
    """Return the regular expression of a format, and the group of each part of a date."""
    pattern, groups = "", dict[str, int]()
    for short, long in (("%x", "%Y-%m-%d"), ("%X", "%H:%M:%S"), ("%c", "%Y-%m-%d %H:%M:%S")):
        text = text.replace(short, long)
    pieces = list(_pieces(text, call, 1))
    for index, piece in enumerate(pieces):
        if piece == "%%" or not piece.startswith("%"):
            pattern += quoted("%" if piece == "%%" else piece)
            continue
        field = _READ.get(piece)
        if field is None or field.part in groups:
            raise _unknown(call, piece, 1)
        groups[field.part] = len(groups) + 1
        following = _READ.get(pieces[index + 1]) if index + 1 < len(pieces) else None
        least = field.digits if following is not None and following.digits else 1
        words = {"%b": "|".join(_MONTHS), "%B": _LONG, "%p": "am|pm"}
        pattern += f"([0-9]{{{least},{field.digits}}})" if field.digits else f"({words[piece]})"
    return rf"(?i)^\s*{pattern}\s*$", groups


def _strptime(call: FunctionCall, *, fails: bool) -> pl.Expr:
    text, formats = call.exprs[0], call.constant(1)
    found = [_read(text, pattern, call) for pattern in ([formats] if isinstance(formats, str) else formats)]
    moment = found[0] if len(found) == 1 else pl.coalesce(found)
    if fails:
        shown = f"'{{}}' is no date of the format {formats if isinstance(formats, str) else ' or '.join(formats)}"
        moment = fail_where(moment, moment.is_null() & text.is_not_null(), shown, call.place, text)
    return moment.cast(pl.Datetime("us")).cast(call.dtype)


def _read(text: str | pl.Expr, pattern: str, call: FunctionCall) -> pl.Expr:
    """Return the microseconds since 1970-01-01 of a text, NULL if it does not have the format."""
    regex, groups = _reader(pattern, call)
    assert isinstance(text, pl.Expr)

    def part(name: str, default: int) -> pl.Expr:
        if name not in groups:
            return pl.lit(default, _WIDE)
        return text.str.extract(regex, groups[name]).cast(_WIDE)

    def word(name: str) -> pl.Expr:
        return text.str.extract(regex, groups[name]).str.to_lowercase()

    year, month, day = part("year", 1900), part("month", 1), part("day", 1)
    if "short year" in groups:
        short = part("short year", 0)
        year = pl.when(short < 69).then(short + 2000).otherwise(short + 1900)
    if "name" in groups:
        month = word("name").str.slice(0, 3).replace_strict(_MONTHS, range(1, 13), default=None, return_dtype=_WIDE)
    hour = part("hour", 0)
    good = is_date(year, month, day)
    if "half hour" in groups:
        half = part("half hour", 0)
        good = good & half.is_between(1, 12)
        afternoon = (word("noon") == "pm").cast(_WIDE) if "noon" in groups else pl.lit(0, _WIDE)
        hour = half % 12 + afternoon * 12
    minute, second = part("minute", 0), part("second", 0)
    good = good & hour.is_between(0, 23) & minute.is_between(0, 59) & second.is_between(0, 59)
    micros = pl.lit(0, _WIDE)
    if "micros" in groups:
        micros = text.str.extract(regex, groups["micros"]).str.pad_end(6, "0").cast(_WIDE)
    clock = hour * MICROS["hour"] + minute * MICROS["minute"] + second * MICROS["second"] + micros
    return pl.when(text.str.contains(regex) & good).then(days_from(year, month, day) * DAY + clock)


TABLE.add(
    "strftime", "DATE|TIMESTAMP, 'VARCHAR -> VARCHAR", "'VARCHAR, DATE|TIMESTAMP -> VARCHAR", build=_strftime,
    does="A date as a text of a format, such as '%Y-%m-%d'.",
)  # fmt: skip
TABLE.add(
    "strptime", "VARCHAR, 'VARCHAR|LIST -> TIMESTAMP", build=lambda call: _strptime(call, fails=True),
    does="The timestamp that a text of a format is; fails for other texts. Of several formats the first one that fits.",
)  # fmt: skip
TABLE.add(
    "try_strptime", "VARCHAR, 'VARCHAR|LIST -> TIMESTAMP", build=lambda call: _strptime(call, fails=False),
    does="As strptime, but NULL for other texts.",
)  # fmt: skip
