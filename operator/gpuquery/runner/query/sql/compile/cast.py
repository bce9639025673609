"""Casts: a value as another type, by SQL's rules.

Numbers are rounded and must fit; what has no counterpart fails, or is NULL where TRY_CAST was written. On the CPU
Polars' strict cast refuses a value. cudf-polars' casts of numbers never refuse: there the range is compared before.
"""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from gpuquery.runner.query.sql.compile import cast_constant, cast_number, cast_text, cast_time
from gpuquery.runner.query.sql.compile.convert import CastContext, Conversion
from gpuquery.runner.query.sql.compile.failures import VALUE, fail_where
from gpuquery.runner.query.sql.compile.literal import null
from gpuquery.runner.query.sql.compile.once import once
from gpuquery.runner.query.sql.compile.target import CPU, Target
from gpuquery.runner.query.sql.compile.values import Value, dtype_of
from gpuquery.runner.query.sql.errors import Place, SqlError
from gpuquery.runner.query.sql.types import NUMBERS, TIMESTAMPS, Kind, Type

_NUMBERS = NUMBERS | {Kind.BOOLEAN}
_TIMES = TIMESTAMPS | {Kind.DATE, Kind.TIME}


def cast(
    value: Value, to: Type, *, null_on_failure: bool = False, place: Place | None = None, target: Target = CPU
) -> Value:
    """Return the value as another type. Raises SqlError where the types have no cast, or it is not compiled."""
    if value.type == to:
        return value
    if value.literal is not None and value.literal.value is None:
        return null(to)
    if value.type.kind is Kind.NULL:  # a column of nothing, or an error() that has yet to fail
        return Value(value.expr.cast(dtype_of(to)), to)
    if (constant := cast_constant.folded(value, to)) is not None:
        return constant
    context = CastContext("", place, target, null_on_failure=null_on_failure)
    return Value(_converted(value.expr, value.type, to, context), to)


def _converted(expr: pl.Expr, source: Type, to: Type, context: CastContext) -> pl.Expr:
    if source == to:
        return expr
    if source.kind is Kind.NULL:
        return expr.cast(dtype_of(to))
    if context.target.gpu and {Kind.LIST, Kind.TIME} & {source.kind, to.kind}:
        raise _refused(source, to, context)
    if source.kind is Kind.LIST and to.kind is Kind.LIST and source.item and to.item:
        return expr.list.eval(_converted(pl.element(), source.item, to.item, context))
    if source.kind is Kind.STRUCT and to.kind is Kind.STRUCT and len(source.fields) == len(to.fields):
        return _record(expr, source, to, context)
    fits = "is not a valid" if source.kind is Kind.TEXT else "does not fit into"
    context = replace(context, message=f"the value {VALUE} {fits} {to}")
    if source.kind is Kind.TEXT:
        formula = cast_text.parsed(to, context.target)
        if formula is not None:
            return context.read(_readable(expr, to, context), formula)
    elif to.kind is Kind.TEXT:
        formula = cast_text.printed(source, context.target)
        if formula is not None:
            return once(context.target, formula, expr)
    elif (conversion := _between(source, to, context.target)) is not None:
        return context.converted(expr, conversion)
    raise _refused(source, to, context)


def _readable(text: pl.Expr, to: Type, context: CastContext) -> pl.Expr:
    """Return text for TRY_CAST on GPUs, which fails where only the CPU reads it."""
    patterns = cast_text.unread(to) if context.target.gpu and context.null_on_failure else None
    if patterns is None:
        return text
    known, plain = patterns
    bad = text.str.contains(known) & ~text.str.contains(plain)
    return fail_where(text, bad, f"text is a {to} in a form that GPUs do not read: use engine: cpu", context.place)


def _refused(source: Type, to: Type, context: CastContext) -> SqlError:
    on = " on GPUs: use engine: cpu" if context.target.gpu else ""
    return SqlError(f"there is no cast from {source} to {to}{on}", context.place)


def _record(expr: pl.Expr, source: Type, to: Type, context: CastContext) -> pl.Expr:
    """Convert field by field, in their order; a record that is NULL stays NULL."""
    fields = [
        _converted(expr.struct.field(name), kind, wanted, context).alias(new)
        for (name, kind), (new, wanted) in zip(source.fields, to.fields, strict=True)
    ]
    return pl.when(expr.is_not_null()).then(pl.struct(fields))


def _between(source: Type, to: Type, target: Target) -> Conversion | None:
    if source.kind in _NUMBERS and to.kind in _NUMBERS:
        return cast_number.number(source, to, target)
    if source.kind in _TIMES and to.kind in _TIMES:
        return cast_time.time(source, to, target)
    return None
