"""Row count of a parquet file from its last bytes, without a parquet library and without reading the file back.

A parquet file ends with its metadata (Thrift, compact protocol), the metadata's length in four bytes, and "PAR1". In
the metadata, `num_rows` is field 3, after the version (1) and the schema (2).
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

from __future__ import annotations

import struct

from gpuquery.runner.parquet import thrift

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
    meta = tail[len(tail) - size : -TRAILER]
    try:
        return thrift.integer(meta, thrift.begin_of(meta, _NUM_ROWS))
    except ValueError as exc:
        raise NotParquetError(f"the metadata has no row count: {exc}") from None
