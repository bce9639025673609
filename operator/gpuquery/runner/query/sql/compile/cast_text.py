"""Casts between text and every other type: which text is read as what, and how values are written.

What is read does not depend on a locale, nor on other rows, and a column is read as a constant is, which DuckDB 2.0
reads: its forms of numbers, dates and times, and its words for BOOLEAN (PostgreSQL has `on` and `off` besides).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.compile import parse_number, parse_time, print_text
from gpuquery.runner.query.sql.types import Kind, Type

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuquery.runner.query.sql.compile.target import Target

_TRUE = ("t", "true", "y", "yes", "1")
_FALSE = ("f", "false", "n", "no", "0")


def parsed(to: Type, target: Target) -> Callable[[pl.Expr], pl.Expr] | None:
    """Return what reads text as another type, NULL where it cannot; None if no text is read as that type."""
    if target.gpu:
        return _parsed_on_gpus(to)
    match to.kind:
        case Kind.BOOLEAN:
            return _boolean
        case Kind.DECIMAL | Kind.INT128:
            return lambda text: parse_number.decimal(text, to)
        case _ if to.is_integer:
            return lambda text: parse_number.integer(text, to)
        case _ if to.is_float:
            return lambda text: parse_number.floating(text, to)
        case Kind.DATE:
            return parse_time.date
        case Kind.TIME:
            return parse_time.time
        case Kind.TIMESTAMP | Kind.TIMESTAMP_TZ:
            return lambda text: parse_time.timestamp(text, to)
        case _:
            return None


def _parsed_on_gpus(to: Type) -> Callable[[pl.Expr], pl.Expr] | None:
    """Return the same for GPUs, where only the plainest form of a number or a date is read."""
    if to.is_integer and to.kind is not Kind.INT128:
        return lambda text: parse_number.plain_integer(text, to)
    match to.kind:
        case Kind.BOOLEAN:
            return _boolean
        case Kind.FLOAT | Kind.DOUBLE:
            return lambda text: parse_number.plain_floating(text, to)
        case Kind.DATE | Kind.TIMESTAMP:
            return lambda text: parse_time.plain(text, to)
        case _:
            return None


def unread(to: Type) -> tuple[str, str] | None:
    """Return what is read on the CPU alone: the pattern that such text has, and the one of text that GPUs read too.

    What GPUs do not read must not become NULL, as TRY_CAST makes of it: it fails.
    """
    if to.is_integer:
        return parse_number.ANY, parse_number.PLAIN
    if to.is_float:
        return parse_number.ANY, parse_number.PLAIN_FLOATING
    return (parse_time.ANY, parse_time.PLAIN) if to.kind in (Kind.DATE, Kind.TIMESTAMP) else None


def printed(source: Type, target: Target) -> Callable[[pl.Expr], pl.Expr] | None:
    """Return what writes values of a type as text; None if they are not written.

    cudf writes no decimals and no times, and writes floating-point numbers in a form of its own.
    """
    if target.gpu and (source.is_float or source.kind in (Kind.DECIMAL, Kind.INT128, Kind.TIME)):
        return None
    return print_text.printer(source)


def _boolean(text: pl.Expr) -> pl.Expr:
    word = text.str.to_lowercase()
    yes, no = (word.is_in(pl.Series("", words).implode()) for words in (_TRUE, _FALSE))
    return pl.when(yes).then(pl.lit(value=True)).when(no).then(pl.lit(value=False))
