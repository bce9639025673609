"""Parquet files that no library here writes any more, or yet: old forms of lists and maps, odd pages, odd metadata.

Everything is spelled out: the tree of the schema, and for each column chunk its pages as they stand in the file. The
metadata is Thrift's compact protocol. https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.support.tiny_parquet import fields, structs, text, zigzag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

INT32, INT64, INT96, FLOAT, DOUBLE, BYTES, FIXED = 1, 2, 3, 4, 5, 6, 7
REQUIRED, OPTIONAL, REPEATED = 0, 1, 2
PLAIN, PLAIN_DICTIONARY, RLE, RLE_DICTIONARY = 0, 2, 3, 8
SNAPPY, GZIP, LZ4, LZ4_RAW = 1, 2, 5, 7
UTF8, MAP, MAP_KEY_VALUE, LIST, DECIMAL = 0, 1, 2, 3, 5
Fields = tuple[tuple[int, int, bytes], ...]


@dataclass(frozen=True)
class Node:
    """An element of the schema."""

    name: str
    physical: int | None = None
    repetition: int = REQUIRED
    children: tuple[Node, ...] = ()
    converted: int | None = None
    more: Fields = ()
    """Further fields of SchemaElement, from 7 on (scale, precision, field id, logical type)."""
    length: int = 0


@dataclass(frozen=True)
class Page:
    """A page: its levels and values as they stand there before they are compressed."""

    body: bytes
    values: int
    encoding: int = PLAIN
    kind: int = 0
    """0: data; 2: dictionary; 3: data of version 2, with its own header."""
    size: int | None = None
    """What the header claims as the size before compression."""
    header: bytes | None = None
    """The header of the kind, if it is not the usual one."""


@dataclass(frozen=True)
class Chunk:
    """A column chunk."""

    path: tuple[str, ...]
    physical: int
    pages: tuple[Page, ...]
    codec: int = 0
    packed: Callable[[bytes], bytes] = field(default=lambda body: body)
    values: int | None = None
    """What the metadata claims; else those of the pages."""
    more: Fields = ()
    """Further fields of ColumnMetaData, from 12 on (statistics)."""
    named: bool = True
    """Whether it has its path."""
    offset_of_dictionary: int | None = None
    """What the metadata says in place of where the dictionary begins."""


def integers(*values: int) -> bytes:
    """Integers of 32 bits."""
    return struct.pack(f"<{len(values)}i", *values)


def texts(*values: str | bytes) -> bytes:
    """Texts, each behind its length."""
    encoded = [value.encode() if isinstance(value, str) else value for value in values]
    return b"".join(struct.pack("<I", len(value)) + value for value in encoded)


def levels(*values: int) -> bytes:
    """Levels of up to eight bits as runs of one, behind the length of all."""
    body = b"".join(bytes([1 << 1, value]) for value in values)
    return struct.pack("<I", len(body)) + body


def indexes(width: int, *values: int) -> bytes:
    """Indexes into a dictionary."""
    return bytes([width]) + b"".join(bytes([1 << 1, value]) for value in values)


def write(path: Path, nodes: Sequence[Node], groups: Sequence[tuple[int, Sequence[Chunk]]], more: Fields = ()) -> None:
    """Write a file: for each row group its rows and its chunks. `more`: further fields of FileMetaData, from 5 on."""
    out, made = b"PAR1", []
    for rows, chunks in groups:
        told = []
        for chunk in chunks:
            start, first, raw = len(out), 0, 0
            for page in chunk.pages:
                head, body = _page(chunk, page)
                first = first or (len(out) if page.kind != 2 else 0)
                out += head + body
                raw += len(head) + len(page.body)
            told.append(_chunk(chunk, start, first, len(out) - start, raw))
        made.append(fields((1, 9, structs(told)), (2, 6, zigzag(len(out))), (3, 6, zigzag(rows))))
    root = fields((4, 8, text("m")), (5, 5, zigzag(len(nodes))))
    schema = structs([root, *(one for node in nodes for one in _elements(node))])
    total = sum(rows for rows, _ in groups)
    meta = fields((1, 5, zigzag(1)), (2, 9, schema), (3, 6, zigzag(total)), (4, 9, structs(made)), *more)
    path.write_bytes(out + meta + struct.pack("<I", len(meta)) + b"PAR1")


def _page(chunk: Chunk, page: Page) -> tuple[bytes, bytes]:
    body = page.body if page.kind == 3 else chunk.packed(page.body)
    numbers = {0: (page.values, page.encoding, RLE, RLE), 2: (page.values, page.encoding)}.get(page.kind, ())
    own = page.header or fields(*((n + 1, 5, zigzag(value)) for n, value in enumerate(numbers)))
    size = len(page.body) if page.size is None else page.size
    return fields(
        (1, 5, zigzag(page.kind)), (2, 5, zigzag(size)), (3, 5, zigzag(len(body))),
        ({0: 5, 2: 7, 3: 8}[page.kind], 12, own),
    ), body  # fmt: skip


def _chunk(chunk: Chunk, start: int, first: int, size: int, raw: int) -> bytes:
    encodings = sorted({page.encoding for page in chunk.pages} | {RLE})
    values = sum(page.values for page in chunk.pages if page.kind != 2) if chunk.values is None else chunk.values
    names = bytes([len(chunk.path) << 4 | 8]) + b"".join(text(name) for name in chunk.path)
    dictionary = start if first > start else None
    if chunk.offset_of_dictionary is not None:
        dictionary, first = chunk.offset_of_dictionary, start
    meta = fields(
        (1, 5, zigzag(chunk.physical)), (2, 9, bytes([len(encodings) << 4 | 5]) + b"".join(map(zigzag, encodings))),
        *(((3, 9, names),) if chunk.named else ()), (4, 5, zigzag(chunk.codec)), (5, 6, zigzag(values)),
        (6, 6, zigzag(raw)), (7, 6, zigzag(size)), (9, 6, zigzag(first)),
        *(((11, 6, zigzag(dictionary)),) if dictionary is not None else ()), *chunk.more,
    )  # fmt: skip
    return fields((2, 6, zigzag(start)), (3, 12, meta))


def _elements(node: Node) -> Iterator[bytes]:
    yield fields(
        *(((1, 5, zigzag(node.physical)),) if node.physical is not None else ()),
        *(((2, 5, zigzag(node.length)),) if node.length else ()), (3, 5, zigzag(node.repetition)),
        (4, 8, text(node.name)),
        *(((5, 5, zigzag(len(node.children))),) if node.children else ()),
        *(((6, 5, zigzag(node.converted)),) if node.converted is not None else ()), *node.more,
    )  # fmt: skip
    for child in node.children:
        yield from _elements(child)
