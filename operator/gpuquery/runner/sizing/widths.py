"""Widths: bytes of one row of a column in memory, in the layout that GPUs compute on.

libcudf keeps a text as its bytes and a four-byte offset, a boolean as a byte, a decimal of more than 18 digits as 16
bytes (and Polars hands over every decimal so), and one bit for each row that may be null. Polars' `estimated_size()`
counts no offsets of texts and takes a bit for a boolean; otherwise the two agree.
"""

from __future__ import annotations

import polars as pl

VALIDITY = 1 / 8
OFFSET = 4
UNKNOWN = 24.0
"""For a column that neither its type nor a sample tells about: a text of twenty letters."""

_FIXED: dict[type[pl.DataType], float] = {
    pl.Boolean: 1, pl.Int8: 1, pl.UInt8: 1, pl.Int16: 2, pl.UInt16: 2, pl.Int32: 4, pl.UInt32: 4, pl.Float32: 4,
    pl.Date: 4, pl.Categorical: 4, pl.Enum: 4, pl.Int64: 8, pl.UInt64: 8, pl.Float64: 8, pl.Datetime: 8,
    pl.Duration: 8, pl.Time: 8, pl.Decimal: 16, pl.Int128: 16, pl.Null: 0,
}  # fmt: skip


def fixed(dtype: pl.DataType) -> float | None:
    """Bytes of one row where the type alone tells; else None."""
    if isinstance(dtype, pl.Struct):
        parts = [fixed(item.dtype) for item in dtype.fields]  # type: ignore[arg-type]
        return None if None in parts else VALIDITY + sum(part for part in parts if part is not None)
    if isinstance(dtype, pl.Array):
        inner = fixed(dtype.inner)  # type: ignore[arg-type]
        return None if inner is None else VALIDITY + dtype.size * inner
    width = _FIXED.get(type(dtype))
    return None if width is None else width + VALIDITY


def is_text(dtype: pl.DataType) -> bool:
    """Whether a row is one string of bytes."""
    return dtype in (pl.String, pl.Binary)


def text(chars: float) -> float:
    """Bytes of one row of texts that have so many bytes on average."""
    return chars + OFFSET + VALIDITY


def sampled(series: pl.Series) -> float:
    """Bytes of all rows of a sample."""
    if is_text(series.dtype):
        chars = series.bin.size() if series.dtype == pl.Binary else series.str.len_bytes()
        return float(chars.sum() or 0) + len(series) * (OFFSET + VALIDITY)
    return series.estimated_size() + len(series) * VALIDITY


def guess(dtype: pl.DataType) -> float:
    """Bytes of one row of a column without any sample."""
    width = fixed(dtype)
    return UNKNOWN if width is None else width
