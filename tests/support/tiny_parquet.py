"""Parquet files that no library here writes: logical types of the future, INTERVAL, encrypted columns.

One row group of INT32 or FIXED_LEN_BYTE_ARRAY columns, one PLAIN page each, no nulls. The metadata is Thrift's compact
protocol. https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

INT32, FIXED = 1, 7


@dataclass(frozen=True)
class Column:
    """A column: its values as they stand in the page."""

    name: str
    values: Sequence[bytes]
    physical: int = INT32
    length: int = 0
    converted: int | None = None
    logical: int | None = None
    """Field of the union LogicalType, with an empty struct."""


def integers(name: str, *values: int, logical: int | None = None) -> Column:
    """A column of 32-bit integers."""
    return Column(name, [struct.pack("<i", value) for value in values], logical=logical)


def write(path: Path, *columns: Column, footer: bytes = b"PAR1") -> None:
    """Write a file of these columns."""
    rows = len(columns[0].values)
    out, chunks = b"PAR1", []
    for column in columns:
        body = b"".join(column.values)
        head = fields(*((field, 5, zigzag(value)) for field, value in ((1, rows), (2, 0), (3, 3), (4, 3))))
        page = fields((1, 5, zigzag(0)), (2, 5, zigzag(len(body))), (3, 5, zigzag(len(body))), (5, 12, head))
        start, out = len(out), out + page + body
        meta = fields(
            (1, 5, zigzag(column.physical)), (2, 9, b"\x15" + zigzag(0)),
            (3, 9, b"\x18" + text(column.name)), (4, 5, zigzag(0)), (5, 6, zigzag(rows)),
            (6, 6, zigzag(len(out) - start)), (7, 6, zigzag(len(out) - start)), (9, 6, zigzag(start)),
        )  # fmt: skip
        chunks.append(fields((2, 6, zigzag(start)), (3, 12, meta)))
    group = fields((1, 9, structs(chunks)), (2, 6, zigzag(len(out))), (3, 6, zigzag(rows)))
    root = fields((4, 8, text("m")), (5, 5, zigzag(len(columns))))
    schema = structs([root, *map(_element, columns)])
    made = fields((1, 5, zigzag(1)), (2, 9, schema), (3, 6, zigzag(rows)), (4, 9, structs([group])))
    path.write_bytes(out + made + struct.pack("<I", len(made)) + footer)


def _element(column: Column) -> bytes:
    told = [(1, 5, zigzag(column.physical))]
    if column.length:
        told.append((2, 5, zigzag(column.length)))
    told += [(3, 5, zigzag(0)), (4, 8, text(column.name))]
    if column.converted is not None:
        told.append((6, 5, zigzag(column.converted)))
    if column.logical is not None:
        told.append((10, 12, fields((column.logical, 12, b"\0"))))
    return fields(*told)


def fields(*given: tuple[int, int, bytes]) -> bytes:
    """A struct of fields, each with its number, its kind and its bytes."""
    out, last = b"", 0
    for field, kind, body in sorted(given):
        step = field - last
        out += (bytes([step << 4 | kind]) if step < 16 else bytes([kind]) + zigzag(field)) + body
        last = field
    return out + b"\0"


def structs(items: Sequence[bytes]) -> bytes:
    """A list of structs."""
    head = bytes([len(items) << 4 | 12]) if len(items) < 15 else b"\xfc" + varint(len(items))
    return head + b"".join(items)


def text(value: str) -> bytes:
    """A text behind its length."""
    return varint(len(value.encode())) + value.encode()


def zigzag(value: int) -> bytes:
    """An integer."""
    return varint(value << 1 if value >= 0 else (-value << 1) - 1)


def varint(value: int) -> bytes:
    """An integer that is not negative."""
    out = []
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
