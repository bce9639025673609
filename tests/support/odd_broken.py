"""Parquet files that no reader should take for good, made by hand: their pages or metadata say what cannot be."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.support import odd_parquet as odd
from tests.support.odd_files import DECIMALS, LOOSE, big, scaled
from tests.support.odd_parquet import Chunk, Node, Page, integers, levels, texts
from tests.support.tiny_parquet import fields, zigzag

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def one_column(
    physical: int, *pages: Page, repetition: int = odd.REQUIRED, rows: int = 2, **changes: Any
) -> Callable[[Path], None]:
    """A file of one column `a` with these pages."""
    kinds = {"length", "converted", "more"} & set(changes)
    node = Node("a", physical, repetition, **{kind: changes.pop(kind) for kind in kinds})
    return lambda path: odd.write(path, [node], [(rows, [Chunk(("a",), physical, pages, **changes)])])


def repeated_levels(*repetitions: int) -> Callable[[Path], None]:
    """A list with these repetition levels and as many definition levels as there should be."""
    page = Page(levels(*repetitions) + levels(2, 2, 2) + integers(1, 2, 3), 3)
    node = Node("a", None, odd.OPTIONAL, (Node("element", odd.INT32, odd.REPEATED),), odd.LIST)
    return lambda path: odd.write(path, [node], [(2, [Chunk(("a", "element"), odd.INT32, (page,))])])


def nulls_in_a_required_column() -> Callable[[Path], None]:
    """The header of a page of version 2 tells of a null where none can be."""
    header = fields(
        (1, 5, zigzag(2)), (2, 5, zigzag(1)), (3, 5, zigzag(2)), (4, 5, zigzag(0)), (5, 5, zigzag(0)),
        (6, 5, zigzag(0)),
        (7, 2, b""),
    )  # fmt: skip
    return one_column(odd.INT32, Page(integers(1), 2, kind=3, header=header))


def torn_checksum(path: Path) -> None:
    """A bit of a page is another one, and its checksum tells."""
    pq.write_table(pa.table({"a": [1, 2, 3]}), path, write_page_checksum=True, **LOOSE)
    data = bytearray(path.read_bytes())
    data[data.index(struct.pack("<3q", 1, 2, 3))] = 9
    path.write_bytes(data)


def encoded(number: int) -> Callable[[Path], None]:
    """A page of an encoding that is newer than the reader."""
    return one_column(odd.FLOAT, Page(b"\0" * 16, 2, number))


BROKEN: dict[str, Callable[[Path], None]] = {
    "a physical type that there is not": one_column(-7, Page(integers(1, 2), 2)),
    "a dictionary of fewer than no values": one_column(
        odd.INT32, Page(integers(1), -1, kind=2), Page(odd.indexes(1, 0, 0), 2, odd.RLE_DICTIONARY)
    ),
    "a dictionary of texts in a column of fixed length": one_column(
        odd.FIXED, Page(texts("abc", "defgh"), 2, kind=2), Page(odd.indexes(1, 0, 1), 2, odd.RLE_DICTIONARY), length=3
    ),
    "a dictionary that ends too early": one_column(
        odd.BYTES, Page(texts("abc", "defgh")[:-3], 2, kind=2), Page(odd.indexes(1, 0, 1), 2, odd.RLE_DICTIONARY)
    ),
    "an index beyond the dictionary": one_column(
        odd.INT32, Page(integers(1), 1, kind=2), Page(odd.indexes(2, 0, 3), 2, odd.RLE_DICTIONARY)
    ),
    "too few repetition levels": repeated_levels(0, 1),
    "repetition levels that begin within a row": repeated_levels(1, 1, 0),
    "fewer definition levels than values": one_column(
        odd.INT32, Page(levels(1) + integers(1), 3), repetition=odd.OPTIONAL, rows=3
    ),
    "fewer values than the page claims": one_column(odd.INT32, Page(integers(1), 2)),
    "nulls in a column that has none": nulls_in_a_required_column(),
    "columns of several sizes": lambda path: odd.write(
        path,
        [Node("a", odd.INT32), Node("b", odd.INT32)],
        [
            (
                2,
                [
                    Chunk(("a",), odd.INT32, (Page(integers(1, 2), 2),)),
                    Chunk(("b",), odd.INT32, (Page(integers(1), 1),)),
                ],
            )
        ],
    ),
    "pages with fewer rows than their row group": one_column(odd.INT32, Page(integers(1, 2), 2), rows=3, values=3),
    "a page that claims to have less than no bytes": one_column(odd.INT32, Page(integers(1, 2), 2, size=-8)),
    "texts that are no UTF-8": one_column(odd.BYTES, Page(texts(b"\xff\xfe", b"a"), 2), converted=odd.UTF8),
    "the encoding ALP": encoded(10),
    "an encoding of the future": encoded(40),
    "decimals of more bytes than their digits need": one_column(
        odd.BYTES, Page(texts(*(big(v, 20) for v in DECIMALS)), 3), rows=3, converted=odd.DECIMAL, more=scaled(2, 5)
    ),
    "INT_8 beyond eight bits": one_column(odd.INT32, Page(integers(1, 300), 2), converted=15),
    "a torn page with its checksum": torn_checksum,
    "an index of the width 0": one_column(
        odd.INT32, Page(integers(7), 1, kind=2), Page(b"\x00" + bytes([2 << 1]), 2, odd.RLE_DICTIONARY)
    ),
}
"""Most are damaged; of some a reader may make sense."""
