"""Operations on the bits of whole numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.compile.failures import fail_where
from gpuquery.runner.query.sql.functions.table import Table, known
from gpuquery.runner.query.sql.types import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuquery.runner.query.sql.functions.table import Asked

TABLE = Table("Bits")
_WIDTHS = {
    Kind.INT8: 8, Kind.UINT8: 8, Kind.INT16: 16, Kind.UINT16: 16, Kind.INT32: 32, Kind.UINT32: 32, Kind.INT64: 64,
    Kind.UINT64: 64,
}  # fmt: skip


def _width(asked: Asked) -> int:
    """Return how many bits the numbers have; a HUGEINT has none here, as it is held as a decimal."""
    kind = asked.values[0].type
    if kind.kind not in _WIDTHS:
        raise asked.refuse(f"{asked.node.function} is not supported for {kind}: cast it to BIGINT")
    return _WIDTHS[kind.kind]


def _both(join: Callable[[pl.Expr, pl.Expr], pl.Expr]) -> Callable[[Asked], pl.Expr]:
    def build(asked: Asked) -> pl.Expr:
        _width(asked)
        return join(*(expr.cast(asked.dtype) for expr in asked.exprs))

    return build


def _not(asked: Asked) -> pl.Expr:
    """Turn all bits: of a number with a sign that is -x - 1, which always fits."""
    _width(asked)
    low, high = asked.type.range or (0, 0)
    number = asked.exprs[0]
    if low == 0:
        return (pl.lit(high, dtype=asked.dtype) - number).cast(asked.dtype)
    return (pl.lit(-1, dtype=asked.dtype) - number).cast(asked.dtype)


def _left(asked: Asked) -> pl.Expr:
    """Shift to the left. DuckDB refuses negative numbers and shifts, and lost bits; 0 may be shifted anywhere."""
    width = _width(asked)
    wide = pl.Int128 if width == 64 else pl.Int64
    number, by = (expr.cast(wide) for expr in asked.exprs)
    _, most = asked.type.range or (0, 0)
    factor = pl.lit(2, dtype=wide).pow(by.clip(0, width - 1).cast(pl.UInt32))
    shown = pl.concat_str(number.cast(pl.String), pl.lit(" << "), by.cast(pl.String))
    fits = by.is_between(0, width - 1) & (number <= pl.lit(most, dtype=wide) // factor)
    bad = ((number != 0) & ~fits) | (by < 0) | (number < 0)
    number = fail_where(number, bad, f"{{}} does not fit into {asked.type}", asked.place, shown)
    moved = pl.when(number == 0).then(pl.lit(0, dtype=wide)).otherwise(number * factor)
    return known(moved, number, by).cast(asked.dtype)


def _right(asked: Asked) -> pl.Expr:
    width = _width(asked)
    number, by = asked.exprs[0], asked.exprs[1].cast(pl.Int64)
    inside = by.is_between(0, width - 1)
    wide = number.cast(pl.Int128 if width == 64 else pl.Int64)
    factor = pl.lit(2, dtype=pl.Int128 if width == 64 else pl.Int64).pow(by.clip(0, width - 1).cast(pl.UInt32))
    moved = pl.when(inside).then(wide // factor).when(by.is_not_null() & number.is_not_null()).then(0)
    return moved.cast(asked.dtype)


def _count(asked: Asked) -> pl.Expr:
    number = asked.exprs[0]
    if asked.values[0].type.kind is Kind.INT128:
        number = number.cast(pl.Int128)
    return number.bitwise_count_ones().cast(asked.dtype)


TABLE.asked("&", "INTEGER, INTEGER -> INTEGER", does="The bits that both numbers have.", build=_both(pl.Expr.and_))
TABLE.asked("|", "INTEGER, INTEGER -> INTEGER", does="The bits that one of them has.", build=_both(pl.Expr.or_))
TABLE.asked("xor", "INTEGER, INTEGER -> INTEGER", does="The bits that just one of them has.", build=_both(pl.Expr.xor))
TABLE.asked("~", "INTEGER -> INTEGER", does="All bits turned.", build=_not)
TABLE.asked("<<", "INTEGER, INTEGER -> INTEGER", does="The bits moved to the left; fails if one is lost.", build=_left)
TABLE.asked(">>", "INTEGER, INTEGER -> INTEGER", does="The bits moved to the right.", build=_right)
TABLE.asked("bit_count", "INTEGER -> TINYINT", does="How many bits are set.", build=_count)
