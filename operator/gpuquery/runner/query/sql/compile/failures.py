"""Failures while a query runs: how an expression says what was wrong, where in the text, and with which value.

Polars has no expression that fails with words of ours. A strict cast fails, and its error names the column and the
values that it refused: so a value is given a name that holds the place and the words (`named`) before a cast that may
refuse it, and any other condition writes its words into a text which a cast to a number refuses (`fail_where`). Both
are seen in Polars 1.38 to 1.44, in memory and streaming. cudf-polars' errors hold neither names nor values.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from gpuquery.runner.query.sql.compile.values import Value
from gpuquery.runner.query.sql.errors import Place
from gpuquery.runner.query.sql.types import Kind, Type

if TYPE_CHECKING:
    from collections.abc import Iterator

VALUE = "{}"
"""Stands in a message for the value that was refused, where that is known."""
_OPEN, _BAR, _CLOSE = "⟪", "¦", "⟫"
_MARK = re.compile(f"{_OPEN}(-?\\d+){_BAR}(-?\\d+){_BAR}([^{_CLOSE}]*){_CLOSE}")
_REFUSED = re.compile(
    r"failed in column '(?P<name>.*?)' for \d+ out of \d+ values: \[(?P<values>.*?)\](?:\n|$|\"\)\))", re.DOTALL
)
_ESCAPED = re.compile(r"\\+([\"n])")
_OVERFLOW = re.compile(r"overflow in decimal [a-z]+ for (?P<values>[^\n]+)")
_SUM_OVERFLOW = re.compile(r"overflow in decimal addition in (cum_)?sum")
_LONGEST = 80


class _Mark(NamedTuple):
    message: str
    place: Place | None


def with_cast_message(expr: pl.Expr, message: str, place: Place | None) -> pl.Expr:
    """Return the same values, which a strict cast behind this refuses with the message, at the place.

    A struct of one field is made and taken apart again: names within an expression are lost in Polars' plan otherwise.
    """
    mark = _written(message, place)
    return pl.struct(expr.alias(mark)).struct.field(mark)


def fail_where(
    value: Value | pl.Expr, bad: pl.Expr, message: str, place: Place | None = None, shown: pl.Expr | None = None
) -> pl.Expr:
    """Return the values, and fail if the condition is TRUE for a row. `shown` is a text to stand for {} in the message.

    The message must not hold the characters that enclose a mark; what an author wrote belongs into `shown`.
    """
    expr = value.expr if isinstance(value, Value) else value
    words = pl.lit(_written(message, place))
    if shown is not None:
        words = words + pl.when(bad).then(shown.str.slice(0, _LONGEST))
    checked = pl.when(bad).then(words).cast(pl.Int8)
    return pl.when(checked.is_null()).then(expr)


def too_large(what: str, kind: Type | None = None) -> str:
    """Return the message of a result that is too large for its type (None: for the 38 digits of any decimal)."""
    if kind is None or kind.kind in (Kind.DECIMAL, Kind.INT128):
        return f"overflow: {what} does not fit into 38 digits: cast to a DECIMAL with fewer places, or to DOUBLE"
    wider = "DECIMAL(38, 0)" if kind.kind in (Kind.INT64, Kind.UINT64) else "BIGINT"
    return f"overflow: {what} does not fit into {kind}: cast what it is computed from to {wider}"


def decoded_failure(exc: BaseException) -> tuple[str, Place | None] | None:
    """Return the message and the place of a failure that `named` or `fail_where` made; None for any other error."""
    for error in _chain(exc):
        text = _text(error)
        if refused := _REFUSED.search(text):
            first = _first(refused["values"])
            if mark := _read(refused["name"]):
                return mark.message.replace(VALUE, first), mark.place
            if mark := _read(refused["values"]):
                shown = refused["values"].partition(_CLOSE)[2].split(f'", "{_OPEN}', maxsplit=1)[0]
                return mark.message.replace(VALUE, shown.removesuffix('"')), mark.place
        if found := _OVERFLOW.search(text):
            mark = _outermost(text)
            return too_large(found["values"].strip()), mark.place if mark else None
        if _SUM_OVERFLOW.search(text):
            return too_large("a sum"), None
    return None


def _text(error: BaseException) -> str:
    """Return what an error says. Polars 1.44 panics where a test of one column fails while parquet is read.

    The panic's text holds the error as Rust prints it, with characters escaped as often as it went through threads.
    """
    text = str(error)
    if not isinstance(error, pl.exceptions.PanicException):
        return text
    return _ESCAPED.sub(lambda found: "\n" if found[1] == "n" else '"', text)


def _written(message: str, place: Place | None) -> str:
    start, end = (place.start, place.end) if place else (-1, -1)
    return f"{_OPEN}{start}{_BAR}{end}{_BAR}{message}{_CLOSE}"


def _read(text: str) -> _Mark | None:
    found = _MARK.search(text)
    if found is None:
        return None
    start, end = int(found[1]), int(found[2])
    return _Mark(found[3], Place(start, end) if start >= 0 else None)


def _first(values: str) -> str:
    """Return the first of the values that Polars lists. It prints text within quotes, and escapes none in it."""
    if values.startswith('"'):
        value = values[1:].split('", "', maxsplit=1)[0].removesuffix('"')
    else:
        value = values.split(", ", maxsplit=1)[0].removesuffix('"')
    return value if len(value) <= _LONGEST else value[:_LONGEST] + "..."


def _outermost(text: str) -> _Mark | None:
    """Return the mark of the left side of the operation that failed: the expression that Polars prints first."""
    _, _, printed = text.partition("in the following expression:\n")
    line = printed.partition("\n")[0].strip()
    depth, found = 0, None
    for at, character in enumerate(line):
        if character in "[(":
            depth += 1
        elif character in "])":
            depth -= 1
            if depth == 1 and line.startswith(")", at) and found is None:
                marks = list(_MARK.finditer(line[: at + 1]))
                found = marks[-1] if marks else None
    return _read(found[0]) if found else None


def _chain(exc: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = exc
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__
