"""Structs, the greatest and the least of values, failures on purpose, templates."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.compile.cast import cast
from gpuquery.runner.query.sql.compile.compare import balanced_tree
from gpuquery.runner.query.sql.compile.failures import fail_where
from gpuquery.runner.query.sql.compile.once import once
from gpuquery.runner.query.sql.functions.table import Table
from gpuquery.runner.query.sql.types import TEXT, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuquery.runner.query.sql.functions.table import FunctionCall

TABLE = Table("Structs and conditions")

# Structs


def _field(call: FunctionCall) -> pl.Expr:
    wanted, fields = call.constant(1), [name for name, _ in call.values[0].type.fields]
    if isinstance(wanted, int):
        if not 1 <= wanted <= len(fields):
            raise call.refuse(f"the struct has {len(fields)} fields, and none at {wanted}", 1)
        return call.exprs[0].struct.field(fields[wanted - 1])
    found = [name for name in fields if name == wanted] or [n for n in fields if n.lower() == wanted.lower()]
    if not found:
        raise call.refuse(f"the struct has no field {wanted}; it has {', '.join(fields)}", 1)
    return call.exprs[0].struct.field(found[0])


def _packed(call: FunctionCall, exprs: list[pl.Expr]) -> pl.Expr:
    names = [name for name, _ in call.type.fields]
    if len(set(names)) < len(names):
        raise call.refuse("a row without field names is not supported: write {'a': x, 'b': y}")
    named = zip(call.type.fields, exprs, strict=True)
    return pl.struct([expr.alias(name) for (name, _), expr in named]).cast(call.dtype)


def _insert(call: FunctionCall) -> pl.Expr:
    held = call.exprs[0]
    return _packed(call, [*(held.struct.field(name) for name, _ in call.values[0].type.fields), *call.exprs[1:]])


def _merged(call: FunctionCall) -> pl.Expr:
    parts = [v.expr.struct.field(name) for v in call.values for name, _ in v.type.fields]
    return _packed(call, parts)


def _keys(call: FunctionCall) -> pl.Expr:
    names = pl.lit([name for name, _ in call.values[0].type.fields], dtype=call.dtype)
    return pl.when(call.exprs[0].is_not_null()).then(names)


TABLE.add(
    "struct_extract", "STRUCT, 'VARCHAR|INTEGER -> ANY", build=_field, aliases="struct_extract_at",
    does="A field of a struct by its name or position: `s.name`, `s['name']`, `s[1]`.",
)  # fmt: skip
TABLE.add(
    "struct_pack", "ANY, ... -> STRUCT", sees_null=True, aliases="row", build=lambda call: _packed(call, call.exprs),
    does="A struct: `{'name': a, 'other': b}`.",
)  # fmt: skip
TABLE.add(
    "struct_insert", "STRUCT, ANY, ... -> STRUCT", build=_insert, sees_null=True,
    does="The struct with more fields: `struct_insert(s, name := a)`.",
)  # fmt: skip
TABLE.add(
    "struct_concat", "STRUCT, ... -> STRUCT", does="The fields of all structs in one.", build=_merged, sees_null=True
)
TABLE.add("struct_keys", "STRUCT -> VARCHAR[]", does="The names of the fields.", build=_keys)

# The greatest and the least


def _extreme(*, greatest: bool) -> Callable[[FunctionCall], pl.Expr]:
    def build(call: FunctionCall) -> pl.Expr:
        """Choose by comparison: to Polars' own maximum NaN is nothing, to SQL it is the greatest number."""
        if call.type.kind in (Kind.LIST, Kind.STRUCT):
            raise call.refuse(f"{call.node.function} is not supported for {call.type}")
        values = [
            cast(value, call.type, place=call.place_of(index), target=call.target).expr
            for index, value in enumerate(call.values)
        ]
        return balanced_tree(values, lambda best, value: once(call.target, better, best, value))

    def better(best: pl.Expr, value: pl.Expr) -> pl.Expr:
        chosen = value > best if greatest else value < best
        return pl.when(chosen | best.is_null()).then(value).otherwise(best)

    return build


TABLE.add(
    "greatest", "ANY, ... -> ANY", does="The greatest value; NULLs are left out.", build=_extreme(greatest=True),
    sees_null=True,
)  # fmt: skip
TABLE.add(
    "least", "ANY, ... -> ANY", does="The least value; NULLs are left out.", build=_extreme(greatest=False),
    sees_null=True,
)  # fmt: skip

# Failures


def _error(call: FunctionCall) -> pl.Expr:
    text = call.exprs[0]
    return fail_where(pl.lit(None, dtype=call.dtype), text.is_not_null(), "{}", call.place, text)


TABLE.add("error", "VARCHAR -> NULL", does="Fails with the text; for a branch of CASE.", build=_error)

# Templates

_BRACES = re.compile(r"\{\{|\}\}|\{(\d*)\}|[{}]")
_PERCENT = re.compile(r"%%|%[sd]|%")


def _value(call: FunctionCall, index: int, mark: str) -> pl.Expr:
    """Return an argument as text. Other kinds are written in a way of its own by each library."""
    value = call.values[index]
    text, number = value.type.kind is Kind.TEXT, value.type.is_integer
    if not (text or number) or (mark == "%d" and text) or (mark == "%s" and number):
        raise call.refuse(f"{value.type} has no place at {mark} of {call.node.function}: cast it", index)
    return cast(value, TEXT, place=call.place_of(index), target=call.target).expr


def _filled(call: FunctionCall, marks: re.Pattern[str]) -> pl.Expr:
    """Put values in the places of a template, which is a constant."""
    template, parts, at, counted = call.constant(0), list[pl.Expr](), 0, 0
    for mark in marks.finditer(template):
        parts.append(pl.lit(template[at : mark.start()]))
        at = mark.end()
        if mark[0] in ("{{", "}}", "%%"):
            parts.append(pl.lit(mark[0][0]))
            continue
        if mark[0] in ("{", "}", "%"):
            raise call.refuse(f"{call.node.function} knows {{}} and {{1}}, or %s and %d, in its template only", 0)
        number = int(mark[1]) if marks is _BRACES and mark[1] else counted
        counted += 1
        if number + 1 >= len(call.values):
            raise call.refuse(f"the template of {call.node.function} has more placeholders than values", 0)
        parts.append(_value(call, number + 1, mark[0]))
    return pl.concat_str([*parts, pl.lit(template[at:])])


TABLE.add(
    "format", "'VARCHAR, [ANY], ... -> VARCHAR", build=lambda call: _filled(call, _BRACES),
    does="The template with values in the places of `{}` or `{0}`; values are texts and whole numbers.",
)  # fmt: skip
TABLE.add(
    "printf", "'VARCHAR, [ANY], ... -> VARCHAR", build=lambda call: _filled(call, _PERCENT),
    does="The template with values in the places of `%s` and `%d`; values are texts and whole numbers.",
)  # fmt: skip
