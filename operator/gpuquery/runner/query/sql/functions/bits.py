"""Operations on the bits of whole numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.compile.failures import fail_where
from gpuquery.runner.query.sql.functions.table import Table, null_unless_all_known
from gpuquery.runner.query.sql.types import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuquery.runner.query.sql.functions.table import FunctionCall

TABLE = Table("Bits")
_WIDTHS = {
    Kind.INT8: 8, Kind.UINT8: 8, Kind.INT16: 16, Kind.UINT16: 16, Kind.INT32: 32, Kind.UINT32: 32, Kind.INT64: 64,
    Kind.UINT64: 64,
}  # fmt: skip


def _width(call: FunctionCall) -> int:
    """Return how many bits the numbers have; a HUGEINT has none here, as it is held as a decimal."""
    kind = call.values[0].type
    if kind.kind not in _WIDTHS:
        raise call.refuse(f"{call.node.function} is not supported for {kind}: cast it to BIGINT")
    return _WIDTHS[kind.kind]


def _both(join: Callable[[pl.Expr, pl.Expr], pl.Expr]) -> Callable[[FunctionCall], pl.Expr]:
    def build(call: FunctionCall) -> pl.Expr:
        _width(call)
        return join(*(expr.cast(call.dtype) for expr in call.exprs))

    return build


def _not(call: FunctionCall) -> pl.Expr:
    """Turn all bits: of a number with a sign that is -x - 1, which always fits."""
    _width(call)
    low, high = call.type.range or (0, 0)
    number = call.exprs[0]
    if low == 0:
        return (pl.lit(high, dtype=call.dtype) - number).cast(call.dtype)
    return (pl.lit(-1, dtype=call.dtype) - number).cast(call.dtype)


def _left(call: FunctionCall) -> pl.Expr:
    """Shift to the left. DuckDB refuses negative numbers and shifts, and lost bits; 0 may be shifted anywhere."""
    width = _width(call)
    wide = pl.Int128 if width == 64 else pl.Int64
    number, by = (expr.cast(wide) for expr in call.exprs)
    _, most = call.type.range or (0, 0)
    factor = pl.lit(2, dtype=wide).pow(by.clip(0, width - 1).cast(pl.UInt32))
    shown = pl.concat_str(number.cast(pl.String), pl.lit(" << "), by.cast(pl.String))
    fits = by.is_between(0, width - 1) & (number <= pl.lit(most, dtype=wide) // factor)
    bad = ((number != 0) & ~fits) | (by < 0) | (number < 0)
    number = fail_where(number, bad, f"{{}} does not fit into {call.type}", call.place, shown)
    moved = pl.when(number == 0).then(pl.lit(0, dtype=wide)).otherwise(number * factor)
    return null_unless_all_known(moved, number, by).cast(call.dtype)


def _right(call: FunctionCall) -> pl.Expr:
    width = _width(call)
    number, by = call.exprs[0], call.exprs[1].cast(pl.Int64)
    inside = by.is_between(0, width - 1)
    wide = number.cast(pl.Int128 if width == 64 else pl.Int64)
    factor = pl.lit(2, dtype=pl.Int128 if width == 64 else pl.Int64).pow(by.clip(0, width - 1).cast(pl.UInt32))
    moved = pl.when(inside).then(wide // factor).when(by.is_not_null() & number.is_not_null()).then(0)
    return moved.cast(call.dtype)


def _count(call: FunctionCall) -> pl.Expr:
    number = call.exprs[0]
    if call.values[0].type.kind is Kind.INT128:
        number = number.cast(pl.Int128)
    return number.bitwise_count_ones().cast(call.dtype)


TABLE.add("&", "INTEGER, INTEGER -> INTEGER", does="The bits that both numbers have.", build=_both(pl.Expr.and_))
TABLE.add("|", "INTEGER, INTEGER -> INTEGER", does="The bits that one of them has.", build=_both(pl.Expr.or_))
TABLE.add("xor", "INTEGER, INTEGER -> INTEGER", does="The bits that just one of them has.", build=_both(pl.Expr.xor))
TABLE.add("~", "INTEGER -> INTEGER", does="All bits turned.", build=_not)
TABLE.add("<<", "INTEGER, INTEGER -> INTEGER", does="The bits moved to the left; fails if one is lost.", build=_left)
TABLE.add(">>", "INTEGER, INTEGER -> INTEGER", does="The bits moved to the right.", build=_right)
TABLE.add("bit_count", "INTEGER -> TINYINT", does="How many bits are set.", build=_count)
