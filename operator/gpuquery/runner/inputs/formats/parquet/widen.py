"""The one type that holds all values of two types exactly, and how values are brought to it.

Only what loses nothing is widened; for everything else there is no common type. Whether moments of a coarser unit fit
into nanoseconds depends on the values: `narrows` says where that has to be looked up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Callable

_SIGNED: dict[int, type[pl.DataType]] = {8: pl.Int8, 16: pl.Int16, 32: pl.Int32, 64: pl.Int64}
_UNSIGNED: dict[int, type[pl.DataType]] = {8: pl.UInt8, 16: pl.UInt16, 32: pl.UInt32, 64: pl.UInt64}
_EXACT_IN_FLOAT64 = 32
"""Bits of the widest integers that Float64 holds exactly."""
_UNITS = ("ms", "us", "ns")
MAX_DIGITS = 38


def common(a: pl.DataType, b: pl.DataType) -> pl.DataType | None:
    """Return the narrowest type that holds all values of both; None if there is none."""
    if a == b:
        return a
    if isinstance(a, pl.Null) or isinstance(b, pl.Null):
        return b if isinstance(a, pl.Null) else a
    for kinds, widened in _WAYS:
        if isinstance(a, kinds) and isinstance(b, kinds):
            return widened(a, b)
    if a.is_integer() and b.is_integer():
        return _integers(a, b)
    if a.is_numeric() and b.is_numeric():
        return _floats(a, b)
    return None


def narrows(a: pl.DataType, to: pl.DataType) -> bool:
    """Whether some value of `a` has no counterpart in the common type `to`: a moment out of its unit's range."""
    if isinstance(a, pl.Datetime | pl.Duration) and isinstance(to, pl.Datetime | pl.Duration):
        return a.time_unit != to.time_unit
    if isinstance(a, pl.List | pl.Array) and isinstance(to, pl.List | pl.Array):
        return narrows(_inner(a), _inner(to))
    if isinstance(a, pl.Struct) and isinstance(to, pl.Struct):
        fields = _fields(to)
        return any(narrows(dtype, fields[name]) for name, dtype in _fields(a).items())
    return False


def brought(expr: pl.Expr, a: pl.DataType, to: pl.DataType) -> pl.Expr:
    """Return values of `a` as values of the wider type `to`."""
    if a == to:
        return expr
    if isinstance(a, pl.Null):
        return pl.lit(None, dtype=to)
    if isinstance(a, pl.Struct) and isinstance(to, pl.Struct):
        return _struct(expr, a, to)
    if isinstance(a, pl.List | pl.Array) and isinstance(to, pl.List) and _nested(a):
        listed = expr.arr.to_list() if isinstance(a, pl.Array) else expr
        return listed.list.eval(brought(pl.element(), _inner(a), _inner(to)))
    return expr.cast(to)


def _nested(a: pl.List | pl.Array) -> bool:
    return isinstance(_inner(a), pl.Struct | pl.List | pl.Array | pl.Null)


def _struct(expr: pl.Expr, a: pl.Struct, to: pl.Struct) -> pl.Expr:
    """Field by field: a cast of structs fills and drops fields by rules that differ between releases of Polars."""
    has = _fields(a)
    parts = [
        (brought(expr.struct.field(name), has[name], dtype) if name in has else pl.lit(None, dtype=dtype)).alias(name)
        for name, dtype in _fields(to).items()
    ]
    return pl.when(expr.is_not_null()).then(pl.struct(parts))


def _integers(a: pl.DataType, b: pl.DataType) -> pl.DataType | None:
    signed = a.is_signed_integer() or b.is_signed_integer()
    if not signed:
        return _UNSIGNED[max(_bits(a), _bits(b))]() if max(_bits(a), _bits(b)) <= 64 else None
    # An unsigned integer takes one bit more as a signed one, which is the next width.
    needed = max(_bits(one) if one.is_signed_integer() else 2 * _bits(one) for one in (a, b))
    return _SIGNED[needed]() if needed <= 64 else None


def _bits(dtype: pl.DataType) -> int:
    return int(str(dtype).lstrip("UInt"))


def _floats(a: pl.DataType, b: pl.DataType) -> pl.DataType | None:
    """Half, single and double floats, and integers that a double holds exactly."""
    for one in (a, b):
        if isinstance(one, pl.Decimal) or (one.is_integer() and _bits(one) > _EXACT_IN_FLOAT64):
            return None
    return pl.Float64()


def _decimals(a: pl.Decimal, b: pl.Decimal) -> pl.DataType | None:
    scale = max(a.scale, b.scale)
    whole = max((one.precision or MAX_DIGITS) - one.scale for one in (a, b))
    return pl.Decimal(whole + scale, scale) if whole + scale <= MAX_DIGITS else None


def _moments(a: Any, b: Any) -> pl.DataType | None:
    """Return the finer unit; a time zone and none are different things, and so are two zones."""
    unit = max(a.time_unit, b.time_unit, key=_UNITS.index)
    if isinstance(a, pl.Duration):
        return pl.Duration(unit) if isinstance(b, pl.Duration) else None
    return pl.Datetime(unit, a.time_zone) if isinstance(b, pl.Datetime) and a.time_zone == b.time_zone else None


def _lists(a: Any, b: Any) -> pl.DataType | None:
    inner = common(_inner(a), _inner(b))
    if inner is None:
        return None
    if isinstance(a, pl.Array) and isinstance(b, pl.Array) and a.shape == b.shape and not _nested(a):
        return pl.Array(inner, a.size)
    return pl.List(inner)


def _structs(a: pl.Struct, b: pl.Struct) -> pl.DataType | None:
    has, other = _fields(a), _fields(b)
    made: dict[str, pl.DataType] = {}
    for name in [*has, *(n for n in other if n not in has)]:
        one = common(has.get(name, pl.Null()), other.get(name, pl.Null()))
        if one is None:
            return None
        made[name] = one
    return pl.Struct(made)


def _texts(_: Any, __: Any) -> pl.DataType:
    return pl.String()


def _inner(dtype: Any) -> pl.DataType:
    inner = dtype.inner
    return inner if isinstance(inner, pl.DataType) else inner()


def _fields(dtype: pl.Struct) -> dict[str, pl.DataType]:
    return {f.name: f.dtype if isinstance(f.dtype, pl.DataType) else f.dtype() for f in dtype.fields}


_WAYS: tuple[tuple[Any, Callable[[Any, Any], pl.DataType | None]], ...] = (
    ((pl.Decimal,), _decimals),
    ((pl.Datetime, pl.Duration), _moments),
    ((pl.String, pl.Categorical, pl.Enum), _texts),
    ((pl.List, pl.Array), _lists),
    ((pl.Struct,), _structs),
)
