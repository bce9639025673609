"""Writes field ids into the footer of a parquet file, by which table formats find columns.

Polars sets them only in newer versions and libcudf only through cudf's own writer, so they are put into the bytes that
any writer has made. Nothing else in a file depends on the length of its schema: all offsets count from its beginning.
The Arrow schema that a writer has left goes: it knows no ids, and Polars and pyarrow believe it rather than the file's.
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift (SchemaElement)
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from gpuquery.runner.parquet import footer, thrift
from gpuquery.runner.parquet.footer import NotParquetError

if TYPE_CHECKING:
    from collections.abc import Mapping

Path = tuple[str, ...]
_SCHEMA, _KEY_VALUES = 2, 5
_NAME, _CHILDREN, _FIELD_ID = 4, 5, 9
_KEY, _ARROW = 1, b"ARROW:schema"
_I32, _STRUCT = 5, 12


def with_ids(tail: bytes, ids: Mapping[Path, int]) -> bytes:
    """Return the end of a file with field ids in it; `tail` holds all metadata.

    `ids` has them by path in the file's schema: `("a",)`, or `("l", "list", "element")`. Other fields get none, and
    ids that are there are replaced. Raises NotParquetError.
    """
    meta = footer.metadata(tail)
    try:
        begin = thrift.begin_of(meta, _SCHEMA)
        count, at = thrift.head(meta, begin)
        made = [meta[:at]]
        stack: list[tuple[Path, int]] = []
        for _ in range(count):
            fields, end = thrift.rest(meta, at, 0)
            while stack and stack[-1][1] == 0:
                stack.pop()
            here: Path = ()
            if stack:
                path, left = stack[-1]
                stack[-1] = (path, left - 1)
                here = (*path, fields[_NAME].decode())
            if children := fields.get(_CHILDREN):
                stack.append((here, children))
            made.append(_element(meta[at:end], ids.get(here) if here else None))
            at = end
        new = b"".join([*made, _without_arrow(meta, at)])
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as exc:
        raise NotParquetError(f"the metadata is not that of a parquet file: {exc}") from None
    before = tail[: len(tail) - len(meta) - footer.TRAILER]
    return before + new + struct.pack("<I", len(new)) + footer.MAGIC


def _without_arrow(meta: bytes, begin: int) -> bytes:
    """Return the metadata from a place on, without the Arrow schema."""
    try:
        at = thrift.begin_of(meta, _KEY_VALUES)
    except ValueError:
        return meta[begin:]
    count, end = thrift.head(meta, at)
    kept = []
    for _ in range(count):
        start = end
        fields, end = thrift.rest(meta, start, 0)
        if fields.get(_KEY) != _ARROW:
            kept.append(meta[start:end])
    size = len(kept)
    head = bytes([size << 4 | _STRUCT]) if size < 15 else bytes([0xF0 | _STRUCT]) + thrift.varint(size)
    return meta[begin:at] + head + b"".join(kept) + meta[end:]


def _element(body: bytes, number: int | None) -> bytes:
    """Write one SchemaElement anew: its fields stand in order, each with its distance from the one before."""
    out, written, seen, pending = bytearray(), 0, 0, number

    def put(field: int, kind: int, value: bytes) -> None:
        nonlocal written
        out.append((field - written) << 4 | kind)
        out.extend(value)
        written = field

    at = 0
    while header := body[at]:
        if header < 16:
            raise ValueError("a field of the schema is out of order")
        seen += header >> 4
        end = thrift.skip(body, at + 1, header & 15)
        if pending is not None and seen >= _FIELD_ID:
            put(_FIELD_ID, _I32, thrift.varint(pending << 1))
            pending = None
        if seen != _FIELD_ID:
            put(seen, header & 15, body[at + 1 : end])
        at = end
    if pending is not None:
        put(_FIELD_ID, _I32, thrift.varint(pending << 1))
    return bytes(out) + b"\0"
