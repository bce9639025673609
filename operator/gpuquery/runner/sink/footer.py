"""Row count of a parquet file from its last bytes, without a parquet library and without reading the file back.

A parquet file ends with its metadata (Thrift, compact protocol), the metadata's length in four bytes, and "PAR1". In
the metadata, `num_rows` is field 3, after the version (1) and the schema (2), which are skipped.
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

from __future__ import annotations

import struct

MAGIC = b"PAR1"
TRAILER = 8
_NUM_ROWS = 3


class NotParquetError(ValueError):
    """The bytes do not end as a parquet file ends."""


class TooLargeError(NotParquetError):
    """The metadata begins before the bytes that are at hand."""


def metadata_size(tail: bytes) -> int:
    """How many bytes at the end of the file are metadata, its length and the magic."""
    if len(tail) < TRAILER or tail[-4:] != MAGIC:
        raise NotParquetError("the file does not end with PAR1")
    return int(struct.unpack("<I", tail[-TRAILER:-4])[0]) + TRAILER


def row_count(tail: bytes) -> int:
    """Rows of the file that ends with `tail`; `tail` must hold all metadata (`metadata_size`)."""
    size = metadata_size(tail)
    if size > len(tail):
        raise TooLargeError(f"the metadata has {size} bytes, but only the last {len(tail)} are at hand")
    reader = _Thrift(tail[len(tail) - size : -TRAILER])
    try:
        return reader.find_i64(_NUM_ROWS)
    except IndexError as exc:
        raise NotParquetError("the metadata ends too early") from exc


class _Thrift:
    """Just enough of Thrift's compact protocol to skip to one field."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def find_i64(self, wanted: int) -> int:
        field = 0
        while header := self._byte():
            field = field + (header >> 4) if header >> 4 else self._zigzag()
            if field == wanted:
                return self._zigzag()
            self._skip(header & 15)
        raise NotParquetError(f"the metadata has no field {wanted}")

    def _byte(self) -> int:
        value = self._data[self._at]
        self._at += 1
        return value

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _skip(self, kind: int) -> None:
        match kind:
            case 1 | 2:  # a boolean field has its value in its header
                pass
            case 3:
                self._at += 1
            case 4 | 5 | 6:
                self._varint()
            case 7:
                self._at += 8
            case 8:
                length = self._varint()
                self._at += length
            case 9 | 10:
                self._skip_list()
            case 11:
                self._skip_map()
            case 12:
                while header := self._byte():
                    if not header >> 4:
                        self._zigzag()
                    self._skip(header & 15)
            case _:
                raise NotParquetError(f"unknown Thrift type {kind}")

    def _skip_list(self) -> None:
        header = self._byte()
        count = header >> 4 if header >> 4 < 15 else self._varint()
        for _ in range(count):
            self._skip_element(header & 15)

    def _skip_map(self) -> None:
        if count := self._varint():
            kinds = self._byte()
            for _ in range(count):
                self._skip_element(kinds >> 4)
                self._skip_element(kinds & 15)

    def _skip_element(self, kind: int) -> None:
        if kind in (1, 2):  # in a collection, a boolean takes a byte
            self._at += 1
        else:
            self._skip(kind)
