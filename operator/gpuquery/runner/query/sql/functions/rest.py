"""Structs, the greatest and the least of values, failures on purpose, templates."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.compile.cast import cast
from gpuquery.runner.query.sql.compile.compare import balanced
from gpuquery.runner.query.sql.compile.failures import fail_where
from gpuquery.runner.query.sql.compile.once import once
from gpuquery.runner.query.sql.functions.table import Table
from gpuquery.runner.query.sql.types import TEXT, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuquery.runner.query.sql.functions.table import Asked

TABLE = Table("Structs and conditions")

# Structs


def _field(asked: Asked) -> pl.Expr:
    wanted, fields = asked.constant(1), [name for name, _ in asked.values[0].type.fields]
    if isinstance(wanted, int):
        if not 1 <= wanted <= len(fields):
            raise asked.refuse(f"the struct has {len(fields)} fields, and none at {wanted}", 1)
        return asked.exprs[0].struct.field(fields[wanted - 1])
    found = [name for name in fields if name == wanted] or [n for n in fields if n.lower() == wanted.lower()]
    if not found:
        raise asked.refuse(f"the struct has no field {wanted}; it has {', '.join(fields)}", 1)
    return asked.exprs[0].struct.field(found[0])


def _packed(asked: Asked, exprs: list[pl.Expr]) -> pl.Expr:
    names = [name for name, _ in asked.type.fields]
    if len(set(names)) < len(names):
        raise asked.refuse("a row without names of its own cannot be held: write {'a': x, 'b': y}")
    named = zip(asked.type.fields, exprs, strict=True)
    return pl.struct([expr.alias(name) for (name, _), expr in named]).cast(asked.dtype)


def _insert(asked: Asked) -> pl.Expr:
    held = asked.exprs[0]
    return _packed(asked, [*(held.struct.field(name) for name, _ in asked.values[0].type.fields), *asked.exprs[1:]])


def _merged(asked: Asked) -> pl.Expr:
    parts = [v.expr.struct.field(name) for v in asked.values for name, _ in v.type.fields]
    return _packed(asked, parts)


def _keys(asked: Asked) -> pl.Expr:
    names = pl.lit([name for name, _ in asked.values[0].type.fields], dtype=asked.dtype)
    return pl.when(asked.exprs[0].is_not_null()).then(names)


TABLE.asked(
    "struct_extract", "STRUCT, 'VARCHAR|INTEGER -> ANY", build=_field, aliases="struct_extract_at",
    does="A field of a struct by its name or position: `s.name`, `s['name']`, `s[1]`.",
)  # fmt: skip
TABLE.asked(
    "struct_pack", "ANY, ... -> STRUCT", sees_null=True, aliases="row", build=lambda asked: _packed(asked, asked.exprs),
    does="A struct: `{'name': a, 'other': b}`.",
)  # fmt: skip
TABLE.asked(
    "struct_insert", "STRUCT, ANY, ... -> STRUCT", build=_insert, sees_null=True,
    does="The struct with more fields: `struct_insert(s, name := a)`.",
)  # fmt: skip
TABLE.asked(
    "struct_concat", "STRUCT, ... -> STRUCT", does="The fields of all structs in one.", build=_merged, sees_null=True
)
TABLE.asked("struct_keys", "STRUCT -> VARCHAR[]", does="The names of the fields.", build=_keys)

# The greatest and the least


def _extreme(*, greatest: bool) -> Callable[[Asked], pl.Expr]:
    def build(asked: Asked) -> pl.Expr:
        """Choose by comparison: to Polars' own maximum NaN is nothing, to SQL it is the greatest number."""
        if asked.type.kind in (Kind.LIST, Kind.STRUCT):
            raise asked.refuse(f"{asked.node.function} is not supported for {asked.type}")
        values = [
            cast(value, asked.type, place=asked.place_of(index), target=asked.target).expr
            for index, value in enumerate(asked.values)
        ]
        return balanced(values, lambda best, value: once(asked.target, better, best, value))

    def better(best: pl.Expr, value: pl.Expr) -> pl.Expr:
        chosen = value > best if greatest else value < best
        return pl.when(chosen | best.is_null()).then(value).otherwise(best)

    return build


TABLE.asked(
    "greatest", "ANY, ... -> ANY", does="The greatest value; NULLs are left out.", build=_extreme(greatest=True),
    sees_null=True,
)  # fmt: skip
TABLE.asked(
    "least", "ANY, ... -> ANY", does="The least value; NULLs are left out.", build=_extreme(greatest=False),
    sees_null=True,
)  # fmt: skip

# Failures


def _error(asked: Asked) -> pl.Expr:
    text = asked.exprs[0]
    return fail_where(pl.lit(None, dtype=asked.dtype), text.is_not_null(), "{}", asked.place, text)


TABLE.asked("error", "VARCHAR -> NULL", does="Fails with the text; for a branch of CASE.", build=_error)

# Templates

_BRACES = re.compile(r"\{\{|\}\}|\{(\d*)\}|[{}]")
_PERCENT = re.compile(r"%%|%[sd]|%")


def _value(asked: Asked, index: int, mark: str) -> pl.Expr:
    """Return an argument as text. Other kinds are written in a way of its own by each library."""
    value = asked.values[index]
    text, number = value.type.kind is Kind.TEXT, value.type.is_integer
    if not (text or number) or (mark == "%d" and text) or (mark == "%s" and number):
        raise asked.refuse(f"{value.type} has no place at {mark} of {asked.node.function}: cast it", index)
    return cast(value, TEXT, place=asked.place_of(index), target=asked.target).expr


def _filled(asked: Asked, marks: re.Pattern[str]) -> pl.Expr:
    """Put values in the places of a template, which is a constant."""
    template, parts, at, counted = asked.constant(0), list[pl.Expr](), 0, 0
    for mark in marks.finditer(template):
        parts.append(pl.lit(template[at : mark.start()]))
        at = mark.end()
        if mark[0] in ("{{", "}}", "%%"):
            parts.append(pl.lit(mark[0][0]))
            continue
        if mark[0] in ("{", "}", "%"):
            raise asked.refuse(f"{asked.node.function} knows {{}} and {{1}}, or %s and %d, in its template only", 0)
        number = int(mark[1]) if marks is _BRACES and mark[1] else counted
        counted += 1
        if number + 1 >= len(asked.values):
            raise asked.refuse(f"the template of {asked.node.function} has more places than there are values", 0)
        parts.append(_value(asked, number + 1, mark[0]))
    return pl.concat_str([*parts, pl.lit(template[at:])])


TABLE.asked(
    "format", "'VARCHAR, [ANY], ... -> VARCHAR", build=lambda asked: _filled(asked, _BRACES),
    does="The template with values in the places of `{}` or `{0}`; values are texts and whole numbers.",
)  # fmt: skip
TABLE.asked(
    "printf", "'VARCHAR, [ANY], ... -> VARCHAR", build=lambda asked: _filled(asked, _PERCENT),
    does="The template with values in the places of `%s` and `%d`; values are texts and whole numbers.",
)  # fmt: skip
