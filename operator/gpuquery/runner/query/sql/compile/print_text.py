"""Values written as text, as DuckDB writes them: the fewest digits of a DOUBLE that read back as the same, `true`,
`inf`, `2024-01-31 12:34:56.5`, a decimal with all of its places.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.compile.once import once
from gpuquery.runner.query.sql.compile.target import CPU
from gpuquery.runner.query.sql.types import Kind, Type

if TYPE_CHECKING:
    from collections.abc import Callable


def printer(source: Type) -> Callable[[pl.Expr], pl.Expr] | None:
    """Return what writes values of a type as text; None if they are not written."""
    match source.kind:
        case Kind.BOOLEAN:
            return lambda e: pl.when(e).then(pl.lit("true")).when(~e).then(pl.lit("false"))
        case Kind.DECIMAL | Kind.INT128:
            return lambda e: e.cast(pl.String)
        case _ if source.is_integer:
            return lambda e: e.cast(pl.String)
        case Kind.FLOAT:
            return _real
        case Kind.DOUBLE:
            return lambda e: once(CPU, _floating, e, e.cast(pl.String))
        case Kind.DATE:
            return lambda e: e.dt.strftime("%Y-%m-%d")
        case Kind.TIME:
            return lambda e: e.dt.strftime("%H:%M:%S") + _fraction(e)
        case Kind.TIMESTAMP:
            return lambda e: e.dt.strftime("%Y-%m-%d %H:%M:%S") + _fraction(e, nanos=source.unit == "ns")
        case Kind.TIMESTAMP_TZ:
            return lambda e: e.dt.strftime("%Y-%m-%d %H:%M:%S") + _fraction(e) + pl.lit("+00")
        case _:
            return None


def _fraction(moment: pl.Expr, *, nanos: bool = False) -> pl.Expr:
    """Return the part of a second with its point and without zeros at its end; nothing if it is none."""
    part, digits = (moment.dt.nanosecond(), 9) if nanos else (moment.dt.microsecond(), 6)
    text = pl.lit(".") + part.cast(pl.String).str.zfill(digits).str.strip_chars_end("0")
    return pl.when(part == 0).then(pl.lit("")).otherwise(text)


def _real(value: pl.Expr) -> pl.Expr:
    """Polars begins with exponents at 1e+15 for a REAL; DuckDB at 1e+16 for both."""
    return once(CPU, lambda e, text: _floating(e, once(CPU, _fifteen, text)), value, value.cast(pl.String))


def _fifteen(text: pl.Expr) -> pl.Expr:
    long = pl.when(text.str.ends_with("e+15")).then(text)
    return long.cast(pl.Float64).cast(pl.String).fill_null(text)


def _floating(value: pl.Expr, text: pl.Expr) -> pl.Expr:
    """Polars writes the same digits; the exponent of DuckDB has two digits at least, and begins at 1e-05."""
    small = (value.abs() >= 1e-5) & (value.abs() < 1e-4)
    digits = pl.when(small).then(text).str.replace(r"^(-?)0\.0000(\d)(\d*)$", "$1$2.$3").str.strip_chars_end(".")
    short = pl.when(text.str.contains("e", literal=True)).then(text).str.replace(r"e([+-])(\d)$", "e${1}0$2")
    nan = pl.when(value.is_nan()).then(pl.lit("nan"))
    return pl.coalesce(nan, digits + pl.lit("e-05"), short, text)
