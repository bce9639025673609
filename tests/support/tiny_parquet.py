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
        head = _fields(*((field, 5, _zigzag(value)) for field, value in ((1, rows), (2, 0), (3, 3), (4, 3))))
        page = _fields((1, 5, _zigzag(0)), (2, 5, _zigzag(len(body))), (3, 5, _zigzag(len(body))), (5, 12, head))
        start, out = len(out), out + page + body
        meta = _fields(
            (1, 5, _zigzag(column.physical)), (2, 9, b"\x15" + _zigzag(0)),
            (3, 9, b"\x18" + _text(column.name)), (4, 5, _zigzag(0)), (5, 6, _zigzag(rows)),
            (6, 6, _zigzag(len(out) - start)), (7, 6, _zigzag(len(out) - start)), (9, 6, _zigzag(start)),
        )  # fmt: skip
        chunks.append(_fields((2, 6, _zigzag(start)), (3, 12, meta)))
    group = _fields((1, 9, _list(chunks)), (2, 6, _zigzag(len(out))), (3, 6, _zigzag(rows)))
    root = _fields((4, 8, _text("m")), (5, 5, _zigzag(len(columns))))
    schema = _list([root, *map(_element, columns)])
    made = _fields((1, 5, _zigzag(1)), (2, 9, schema), (3, 6, _zigzag(rows)), (4, 9, _list([group])))
    path.write_bytes(out + made + struct.pack("<I", len(made)) + footer)


def _element(column: Column) -> bytes:
    fields = [(1, 5, _zigzag(column.physical))]
    if column.length:
        fields.append((2, 5, _zigzag(column.length)))
    fields += [(3, 5, _zigzag(0)), (4, 8, _text(column.name))]
    if column.converted is not None:
        fields.append((6, 5, _zigzag(column.converted)))
    if column.logical is not None:
        fields.append((10, 12, _fields((column.logical, 12, b"\0"))))
    return _fields(*fields)


def _fields(*fields: tuple[int, int, bytes]) -> bytes:
    out, last = b"", 0
    for field, kind, body in fields:
        step = field - last
        out += (bytes([step << 4 | kind]) if step < 16 else bytes([kind]) + _zigzag(field)) + body
        last = field
    return out + b"\0"


def _list(items: Sequence[bytes]) -> bytes:
    return bytes([len(items) << 4 | 12]) + b"".join(items)


def _text(value: str) -> bytes:
    return _varint(len(value.encode())) + value.encode()


def _zigzag(value: int) -> bytes:
    return _varint(value << 1 if value >= 0 else (-value << 1) - 1)


def _varint(value: int) -> bytes:
    out = []
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
