"""Files as crashes, stores and disks leave them: each is made from a good one by one fault."""

from __future__ import annotations

import gzip
import io
import struct
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = 1000
HTML = b"<html><body><h1>403 Forbidden</h1></body></html>"


def table(first: int = 0) -> pa.Table:
    """Whole numbers, texts of a dictionary, and fractions."""
    numbers = range(first, first + ROWS)
    return pa.table({"a": list(numbers), "s": [f"x{n % 50}" for n in numbers], "f": [n / 3 for n in numbers]})


def parquet(first: int = 0, **options: object) -> bytes:
    """A good parquet file of four row groups."""
    file = io.BytesIO()
    pq.write_table(table(first), file, **{"row_group_size": 250, **options})
    return file.getvalue()


def footer_at(data: bytes) -> int:
    """Where the metadata of a parquet file begins."""
    return len(data) - 8 - int(struct.unpack("<I", data[-8:-4])[0])


def chunk(data: bytes, group: int, column: int) -> pq.ColumnChunkMetaData:
    """What the metadata says of a column chunk."""
    return pq.ParquetFile(io.BytesIO(data)).metadata.row_group(group).column(column)


def changed(data: bytes, at: int, new: bytes) -> bytes:
    """The same with other bytes at a place."""
    return data[:at] + new + data[at + len(new) :]


def cut(data: bytes, to: int) -> bytes:
    """What a writer leaves that is interrupted."""
    return data[:to]


def zeroed(data: bytes) -> bytes:
    """The pages of the numbers of row group 1 are zeros, as after a loss of power."""
    at = chunk(data, 1, 0)
    start = at.dictionary_page_offset or at.data_page_offset
    return changed(data, start, bytes(at.total_compressed_size))


def crashing(data: bytes) -> bytes:
    """The header of a page of texts, in row group 2, claims -251 values: Polars 1.44 aborts the process.

    `memory allocation of 2305843009213693896 bytes failed`
    """
    start = chunk(data, 2, 1).data_page_offset
    at = data.index(b"\x2c\x15\xf4\x03", start, start + 40)  # DataPageHeader, num_values 250 as zigzag
    return changed(data, at + 2, b"\xf5")


def longer_footer(data: bytes) -> bytes:
    """The length of the metadata is absurd."""
    return data[:-8] + struct.pack("<I", 0xFFFFFFF0) + b"PAR1"


def huge_list(data: bytes) -> bytes:
    """The schema claims to have two billion elements."""
    at = footer_at(data)
    # FileMetaData: field 1 (i32), then field 2, a list of structs with its length in the upper half of a byte.
    list_at = data.index(b"\x19", at) + 1
    return data[:list_at] + b"\xfc\xff\xff\xff\xff\x07" + data[list_at + 1 :]


def more_rows(data: bytes) -> bytes:
    """The metadata claims twice the rows of the first row group."""
    at = footer_at(data)
    meta, rows = data[at:-8], b"\x16\xf4\x03"  # i64 250 as zigzag: the values of three columns, then the group's rows
    place = -1
    for _ in range(4):
        place = meta.index(rows, place + 1)
    return data[:at] + changed(meta, place, b"\x16\xe8\x07") + data[-8:]


PARQUET: dict[str, Callable[[bytes], bytes]] = {
    "cut to the magic": lambda data: cut(data, 4),
    "cut in half": lambda data: cut(data, len(data) // 2),
    "cut by one byte": lambda data: cut(data, len(data) - 1),
    "without its footer": lambda data: cut(data, footer_at(data)),
    "a web page": lambda _: HTML,
    "another magic": lambda data: data[:-4] + b"PARX",
    "encrypted": lambda data: data[:-4] + b"PARE",
    "an absurd length of the footer": longer_footer,
    "an absurd list in the footer": huge_list,
    "zeros in a page": zeroed,
    "a page that crashes the reader": crashing,
    "more rows than there are": more_rows,
}
"""Faults of a parquet file by their names."""

CSV_GZ = gzip.compress(b"a,s\n" + b"".join(b"%d,x%d\n" % (n, n) for n in range(ROWS)))
