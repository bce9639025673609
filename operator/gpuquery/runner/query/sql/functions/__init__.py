"""Functions of SQL: a closed table of names, types and what Polars, on a CPU or on GPUs, computes for them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import polars as pl

from gpuquery.runner.query.sql.compile.literal import literal, null
from gpuquery.runner.query.sql.compile.once import once
from gpuquery.runner.query.sql.compile.values import Value
from gpuquery.runner.query.sql.functions import (
    bits,
    codes,
    dates,
    formats,
    letters,
    list_numbers,
    lists,
    moments,
    numbers,
    patterns,
    regex,
    rest,
    rounding,
    spans,
    text,
)
from gpuquery.runner.query.sql.functions.known import unknown
from gpuquery.runner.query.sql.functions.table import FunctionCall, Row, Signature
from gpuquery.runner.query.sql.plan import Lambda

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.runner.query.sql.compile.target import Target
    from gpuquery.runner.query.sql.plan import Call, Expression

_MODULES = (
    text, letters, patterns, regex, codes, numbers, rounding, bits, dates, spans, moments, formats, lists,
    list_numbers, rest,
)  # fmt: skip
ROWS: tuple[Row, ...] = tuple(row for module in _MODULES for row in module.TABLE.rows)
_BY_NAME = {name: row for row in ROWS for name in (row.name, *row.aliases)}


def compile_call(node: Call, arguments: Sequence[Value], target: Target) -> Value:
    """Compile a call of a function whose arguments are compiled.

    For a lambda the argument is its body over `pl.element()`, of the body's type. SqlError: there is no such function,
    not with such arguments, or not on this target.
    """
    row = _BY_NAME.get(node.function)
    if row is None:
        raise unknown(node.function, _BY_NAME, node.place)
    call = FunctionCall(node, tuple(arguments), target)
    _check(row, call)
    if not row.sees_null and any(value.literal is not None and value.literal.value is None for value in arguments):
        return null(node.type)
    if row.name == "list_value" and all(value.literal is not None for value in arguments):
        items = [value.literal.value for value in arguments if value.literal is not None]
        return literal(items, node.type, node.place)
    return _built(row, call)


def _built(row: Row, call: FunctionCall) -> Value:
    """Build a call. An argument that is more than a column, and is used more than once, is computed once."""
    made = row.build(call)
    if isinstance(made, Value):
        return made
    several = [at for at, value in enumerate(call.values) if not _is_simple(call.node.arguments[at], value)]
    if call.target.gpu or not several:
        return Value(made, call.type)
    marked = _with(call, several, [pl.col(f"argument {at}") for at in several])
    names = cast("pl.Expr", row.build(marked)).meta.root_names()
    if all(names.count(f"argument {at}") <= 1 for at in several):
        return Value(made, call.type)

    def formula(*exprs: pl.Expr) -> pl.Expr:
        return cast("pl.Expr", row.build(_with(call, range(len(exprs)), exprs)))

    if any(isinstance(argument, Lambda) for argument in call.node.arguments):
        return Value(made, call.type)
    return Value(once(call.target, formula, *call.exprs), call.type)


def _is_simple(node: Expression, value: Value) -> bool:
    return value.literal is not None or isinstance(node, Lambda) or value.expr.meta.is_column()


def _with(call: FunctionCall, places: Sequence[int], exprs: Sequence[pl.Expr]) -> FunctionCall:
    values = list(call.values)
    for at, expr in zip(places, exprs, strict=True):
        values[at] = replace(values[at], expr=expr)
    return replace(call, values=tuple(values))


def _check(row: Row, call: FunctionCall) -> None:
    """Refuse arguments that no signature takes, and a release that lacks the function."""
    types = [node.type if isinstance(node, Lambda) else value.type for node, value in call.arguments]
    fitting = [signature for signature in map(Signature.of, row.signatures) if signature.takes(types)]
    if not fitting:
        given = ", ".join(map(str, types))
        known = " or ".join(f"{row.name}({text.partition(' ->')[0]})" for text in row.signatures)
        raise call.refuse(f"{row.name}({given}) is not supported; known is {known.replace(chr(39), '')}")
    for index, parameters in enumerate(zip(*(s.expected(len(types)) for s in fitting), strict=True)):
        if all(parameter.constant for parameter in parameters):
            call.constant(index)
    if call.target.release in row.lacks:
        raise call.refuse(f"{row.name} cannot run on GPUs with RAPIDS {call.target.release}: use engine: cpu")
