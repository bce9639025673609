"""Comparisons, and membership in a list of candidates.

Both sides of a comparison have one type in a plan, but for decimals of different scales, which are brought to one.
Polars' NaN is SQL's: equal to itself, greater than every other number. Text compares by its bytes in both. Within a
list or a record NULL is equal to NULL and greater than every value, as in DuckDB.
"""

from __future__ import annotations

import functools
import operator
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.compile.cast import cast
from gpuquery.runner.query.sql.compile.once import once
from gpuquery.runner.query.sql.compile.values import Value, dtype_of
from gpuquery.runner.query.sql.errors import Place, SqlError
from gpuquery.runner.query.sql.types import BOOLEAN, DOUBLE, HUGEINT, INTEGERS, Kind, Type, decimal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpuquery.runner.query.sql.compile.target import Target

COMPARISONS: dict[str, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "is distinct from": lambda a, b: a.ne_missing(b),
    "is not distinct from": lambda a, b: a.eq_missing(b),
}
_ORDER = frozenset({"<", "<=", ">", ">="})
_EQUALITY = frozenset({"is distinct from", "is not distinct from"})
_MEMBERS = (INTEGERS - {Kind.INT128}) | {Kind.TEXT, Kind.DATE}


def comparison(name: str, left: Value, right: Value, target: Target, place: Place | None = None) -> Value:
    """Return whether two values compare so: NULL if one of them is NULL, but for the two of `distinct`."""
    a, b = with_common_type(left, right, target)
    if target.gpu and a.type.kind is Kind.LIST:
        raise SqlError("lists cannot be compared on GPUs: use engine: cpu", place)
    if a.type.kind is Kind.STRUCT and b.type.kind is Kind.STRUCT:
        return Value(once(target, lambda x, y: _records(name, x, y, a.type, place), a.expr, b.expr), BOOLEAN)
    return Value(_compared(name, a.expr, b.expr, a.type, place), BOOLEAN)


def is_in(value: Value, candidates: Sequence[Value], target: Target) -> Value:
    """Return whether a value is one of the candidates: NULL if that is unknown, as one of them is NULL."""
    known = [c for c in candidates if c.literal is None or c.literal.value is not None]
    # Polars 1.44 does not spread the is_in of a constant over the rows when it streams
    listed = value.type.kind in _MEMBERS and len(known) > 1 and value.expr.meta.root_names()
    if listed and all(c.literal is not None for c in known):
        constants = [cast(c, value.type, target=target) for c in known]
        if all(c.literal is not None for c in constants):
            items = [c.literal.value for c in constants if c.literal is not None]
            found = value.expr.is_in(pl.Series("", items, dtype=dtype_of(value.type)).implode())
            return Value(_unless_null(found, known, candidates), BOOLEAN)
    parts = [comparison("=", value, candidate, target).expr for candidate in known]
    found = balanced_tree(parts, operator.or_) if parts else pl.lit(None, dtype=pl.Boolean)
    return Value(_unless_null(found, known, candidates), BOOLEAN)


def balanced_tree(parts: Sequence[pl.Expr], join: Callable[[pl.Expr, pl.Expr], pl.Expr]) -> pl.Expr:
    """Join many expressions to a tree of little depth: Polars walks expressions by recursion."""
    level = list(parts)
    while len(level) > 1:
        level = [functools.reduce(join, level[at : at + 2]) for at in range(0, len(level), 2)]
    return level[0]


def with_common_type(left: Value, right: Value, target: Target) -> tuple[Value, Value]:
    """Return two values as ones that Polars compares exactly."""
    if left.type == right.type:
        return left, right
    common = _common(left.type, right.type)
    return (left, right) if common is None else (cast(left, common, target=target), cast(right, common, target=target))


def _common(a: Type, b: Type) -> Type | None:
    if a.kind is Kind.NULL or b.kind is Kind.NULL:
        return a if b.kind is Kind.NULL else b
    if a.is_number and b.is_number:
        if a.is_float or b.is_float:
            return DOUBLE
        if Kind.DECIMAL in (a.kind, b.kind):
            return decimal(38, max(a.scale, b.scale))
        return HUGEINT
    if a.kind is Kind.DATE:
        return b
    return a if b.kind is Kind.DATE else None


def _unless_null(found: pl.Expr, known: Sequence[Value], candidates: Sequence[Value]) -> pl.Expr:
    return found if len(known) == len(candidates) else found | pl.lit(None, dtype=pl.Boolean)


def _compared(name: str, a: pl.Expr, b: pl.Expr, kind: Type, place: Place | None) -> pl.Expr:
    if kind.kind is Kind.LIST and name in _ORDER:
        raise SqlError("lists can be compared only by = and <>: compare their elements or their lengths", place)
    return COMPARISONS[name](a, b)


def _records(name: str, a: pl.Expr, b: pl.Expr, kind: Type, place: Place | None) -> pl.Expr:
    """Compare field by field."""
    pairs = [(a.struct.field(field), b.struct.field(field), inner) for field, inner in kind.fields]
    same = balanced_tree([_same(x, y, inner, place) for x, y, inner in pairs], operator.and_)
    both = a.is_not_null() & b.is_not_null()
    if name in _EQUALITY:
        with_common_type = pl.when(both).then(same).otherwise(a.is_null() & b.is_null())
        return with_common_type if name == "is not distinct from" else ~with_common_type
    if name in _ORDER:
        return pl.when(both).then(_ordered(name, pairs, place))
    return pl.when(both).then(same if name == "=" else ~same)


def _same(a: pl.Expr, b: pl.Expr, kind: Type, place: Place | None) -> pl.Expr:
    name = "is not distinct from"
    return _records(name, a, b, kind, place) if kind.kind is Kind.STRUCT else COMPARISONS[name](a, b)


def _ordered(name: str, pairs: Sequence[tuple[pl.Expr, pl.Expr, Type]], place: Place | None) -> pl.Expr:
    """Decide by the first fields that differ, of which NULL is the greatest."""
    found = pl.lit(value=name in ("<=", ">="))
    for a, b, kind in reversed(pairs):
        if kind.kind is Kind.STRUCT:
            raise SqlError("structs within structs can be compared only by = and <>", place)
        less = _compared("<", a, b, kind, place).fill_null(a.is_not_null())
        found = pl.when(~_same(a, b, kind, place)).then(less if name in ("<", "<=") else ~less).otherwise(found)
    return found
