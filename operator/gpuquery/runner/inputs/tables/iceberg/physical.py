"""What the columns of a parquet file are: as they are called in messages, and what Polars reads them as.

https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift (SchemaElement, LogicalType)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from gpuquery.runner.parquet.elements import Element

_UNITS = {1: "ms", 2: "us", 3: "ns"}
_CONVERTED_INTEGERS = {
    11: pl.UInt8(), 12: pl.UInt16(), 13: pl.UInt32(), 14: pl.UInt64(),
    15: pl.Int8(), 16: pl.Int16(), 17: pl.Int32(), 18: pl.Int64(),
}  # fmt: skip
_INTEGERS = {
    (8, True): pl.Int8(), (16, True): pl.Int16(), (32, True): pl.Int32(), (64, True): pl.Int64(),
    (8, False): pl.UInt8(), (16, False): pl.UInt16(), (32, False): pl.UInt32(), (64, False): pl.UInt64(),
}  # fmt: skip
NAMES = ("BOOLEAN", "INT32", "INT64", "INT96", "FLOAT", "DOUBLE", "BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY")


def said(one: Element) -> str:
    """Return the type, for messages."""
    if one.physical is None:
        return "a group"
    read = dtype_of(one)
    return f"{NAMES[one.physical]}{f' ({read})' if read is not None else ''}"


def is_list(one: Element) -> bool:
    """Whether it is a group of the logical type LIST."""
    return one.physical is None and (one.logical == "LIST" or one.converted == 3)


def is_map(one: Element) -> bool:
    """Whether it is a group of the logical type MAP."""
    return one.physical is None and (one.logical == "MAP" or one.converted in (1, 2))


def dtype_of(one: Element) -> pl.DataType | None:
    """Return what Polars reads a primitive field as; None where that is not known to keep every value."""
    match one.physical:
        case 0:
            return pl.Boolean()
        case 1 | 2:
            return _integer(one)
        case 4:
            return pl.Float32()
        case 5:
            return pl.Float64()
        case 6 | 7 if one.logical == "DECIMAL":
            return pl.Decimal(one.precision, one.scale)
        case 6 if one.logical in ("STRING", "ENUM", "JSON") or one.converted == 0:
            return pl.String()
        case 6 if not one.logical and one.converted is None:
            return pl.Binary()
        case 7 if one.logical in ("", "UUID") and one.converted is None:
            return pl.Binary()
    return None


def _integer(one: Element) -> pl.DataType | None:
    if one.logical == "DECIMAL":
        return pl.Decimal(one.precision, one.scale)
    if one.logical == "DATE" or one.converted == 6:
        return pl.Date()
    if one.logical == "TIME" or one.converted in (7, 8):
        return pl.Time()
    if one.logical == "TIMESTAMP":
        unit = _UNITS[next(iter(one.arguments[2]))]
        return pl.Datetime(unit, "UTC" if one.arguments[1] else None)  # type: ignore[arg-type]
    if one.converted in (9, 10):
        return pl.Datetime("ms" if one.converted == 9 else "us")
    if one.logical == "INTEGER":
        return _INTEGERS.get((one.arguments[1], one.arguments[2]))
    if one.converted in _CONVERTED_INTEGERS:
        return _CONVERTED_INTEGERS[one.converted]
    plain: pl.DataType = pl.Int32() if one.physical == 1 else pl.Int64()
    return plain if not one.logical else None
