"""Footers: rows, row groups and column chunks of parquet files, from the last bytes of each.

A parquet file ends with its metadata (Thrift, compact protocol), the metadata's length in four bytes, and "PAR1".
Most files only have to say how many rows they hold. Files of one table begin their metadata with the same bytes (format
version and schema), so the place of the row count is known after the first; only a few files are read in full.
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpuquery.runner.parquet import thrift

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

TAIL = 32 * 1024
"""Bytes that are read from the end of a file; longer metadata costs a second request."""
MAGIC = b"PAR1"
TRAILER = 8

# Field numbers of parquet.thrift.
_SCHEMA, _NUM_ROWS, _ROW_GROUPS = 2, 3, 4
_ROW_COUNT_HEADER = 0x16  # field 3 right after field 2, of type i64
_ONE_BY_ONE = frozenset({0, 3, 4})  # PLAIN values; RLE and BIT_PACKED levels
_REQUIRED = 0  # of FieldRepetitionType
BYTE_ARRAY = 6

Path = tuple[str, ...]


class NotParquetError(ValueError):
    """The bytes do not end as a parquet file ends."""


class TooLargeError(NotParquetError):
    """The metadata begins before the bytes that are at hand."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A column of values, as the schema declares it."""

    physical: int
    """Number of the physical type: 1 INT32, 2 INT64, 6 BYTE_ARRAY, 7 FIXED_LEN_BYTE_ARRAY, ..."""
    converted: int | None
    """Number of the converted type: 0 UTF8, 5 DECIMAL, 6 DATE, ..."""
    scale: int
    """Digits behind the point of a decimal."""
    signed: bool
    """Whether its order is that of signed integers."""
    required: bool = False
    """Whether the schema itself allows no nulls; of a nested column, in this leaf alone."""
    logical: int | None = None
    """Number of the logical type in the union LogicalType: 1 STRING, 5 DECIMAL, 6 DATE, ..."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One column of one row group."""

    values: int
    """Values, nulls included; in lists, those of all rows."""
    compressed: int
    """Bytes in the file."""
    uncompressed: int
    """Bytes before compression, but after encoding: with a dictionary, far fewer than in memory."""
    chars: int | None
    """Bytes of all strings, if the file tells: by its size statistics, or because they stand there one by one."""
    nulls: int | None
    """Nulls, if the file tells."""
    least: bytes | None
    """A lower bound of all values, in parquet's PLAIN encoding, if the file tells."""
    most: bytes | None
    """An upper bound of all values."""
    least_exact: bool | None = None
    """Whether `least` is a value of the chunk; None if the file does not tell."""
    most_exact: bool | None = None
    """Whether `most` is one."""


@dataclass(frozen=True, slots=True)
class RowGroup:
    """Rows that are stored together."""

    rows: int
    chunks: Mapping[Path, Chunk]
    """By path in the schema: `("a",)`, or `("l", "list", "element")`."""

    def under(self, column: str) -> list[Chunk]:
        """All chunks of a column of the table; none if the file does not have it."""
        return [chunk for path, chunk in self.chunks.items() if path[0] == column]


@dataclass(frozen=True, slots=True)
class Footer:
    """What the metadata of one file says."""

    rows: int
    groups: Sequence[RowGroup]
    leaves: Mapping[Path, Leaf]


def metadata_size(tail: bytes) -> int:
    """How many bytes at the end of the file are metadata, its length and the magic. Raises NotParquetError."""
    if len(tail) < TRAILER or tail[-4:] != MAGIC:
        raise NotParquetError("the file does not end with PAR1")
    return int(struct.unpack("<I", tail[-TRAILER:-4])[0]) + TRAILER


def metadata(tail: bytes) -> bytes:
    """Cut the metadata out of the end of a file. Raises NotParquetError; TooLargeError if it begins before."""
    size = metadata_size(tail)
    if size > len(tail):
        raise TooLargeError(f"the metadata has {size} bytes, but only the last {len(tail)} are at hand")
    return tail[len(tail) - size : -TRAILER]


def row_count(tail: bytes) -> int:
    """Rows of the file that ends with `tail`, which holds all metadata. Raises NotParquetError, TooLargeError."""
    meta = metadata(tail)
    try:
        return RowCounter().count(meta)
    except NotParquetError as exc:
        raise NotParquetError(f"the metadata has no row count: {exc}") from None


class RowCounter:
    """Row counts of many files; quick where their schemas are alike."""

    def __init__(self) -> None:
        self._prefix = b""

    def count(self, meta: bytes) -> int:
        """Rows of the file with this metadata. Raises NotParquetError."""
        try:
            at = len(self._prefix)
            # What precedes is the same, byte by byte, so a parser would be at this place, too.
            if not at or not meta.startswith(self._prefix):
                at = thrift.begin_of(meta, _NUM_ROWS)
                self._prefix = meta[:at] if meta[at - 1] == _ROW_COUNT_HEADER else b""
            return thrift.integer(meta, at)
        except ValueError as exc:
            raise NotParquetError(str(exc)) from None


def parse(meta: bytes) -> Footer:
    """Read everything that sizing needs of a file's metadata. Raises NotParquetError."""
    try:
        fields = thrift.decode(meta)
        leaves = _leaves(fields[_SCHEMA])
        groups = [
            # Without metadata it is encrypted, or in another file.
            RowGroup(group[3], {_path(column[3]): _chunk(column[3]) for column in group[1] if 3 in column})
            for group in fields[_ROW_GROUPS]
        ]
        return Footer(fields[_NUM_ROWS], groups, leaves)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as exc:
        raise NotParquetError(f"the metadata is not that of a parquet file: {exc}") from None


def pick(meta: bytes, columns: Iterable[str], rows: int) -> list[RowGroup] | None:
    """Read the chunks of a few flat columns and nothing else; None if that cannot be trusted.

    A chunk's path in the schema is looked for as bytes, so what lies between costs nothing. A text among the statistics
    could look like one; then the values of all chunks do not add up to the `rows` of the file.
    """
    found: dict[Path, list[Chunk]] = {}
    for name in columns:
        encoded = name.encode()
        if len(encoded) > 127:
            return None
        # Field 3 of ColumnMetaData, right after field 2: a list of one string.
        mark = b"\x19\x18" + bytes([len(encoded)]) + encoded
        chunks, at = [], meta.find(mark)
        while at >= 0:
            try:
                chunks.append(_chunk(thrift.decode(meta, at, after=2)))
            except (KeyError, TypeError, AttributeError, ValueError):
                return None
            at = meta.find(mark, at + len(mark))
        if chunks:
            if sum(chunk.values for chunk in chunks) != rows:
                return None
            found[name,] = chunks
    if len({len(chunks) for chunks in found.values()}) > 1:
        return None
    return [
        RowGroup(group[0].values, dict(zip(found, group, strict=True))) for group in zip(*found.values(), strict=True)
    ]


def _leaves(elements: Sequence[thrift.Fields]) -> dict[Path, Leaf]:
    """Walk the schema, which stands there depth first, each element with the number of its children."""
    out: dict[Path, Leaf] = {}
    stack: list[tuple[Path, int]] = [((), elements[0].get(5, 0))]
    for element in elements[1:]:
        while stack and stack[-1][1] == 0:
            stack.pop()
        path, left = stack[-1]
        stack[-1] = (path, left - 1)
        here = (*path, element[4].decode())
        if children := element.get(5):
            stack.append((here, children))
        else:
            logical = element.get(10) or {}
            integer = logical.get(10) or {}
            converted = element.get(6)
            out[here] = Leaf(
                element.get(1, -1),
                converted,
                element.get(7) or (logical.get(5) or {}).get(1, 0),
                converted not in (11, 12, 13, 14) and integer.get(2, True),  # UINT_8 ... UINT_64
                element.get(3) == _REQUIRED,
                next(iter(logical), None),
            )
    return out


def _path(meta: thrift.Fields) -> Path:
    return tuple(part.decode() for part in meta[3])


def _chunk(meta: thrift.Fields) -> Chunk:
    statistics = meta.get(12) or {}
    # min_value and max_value have the order of the logical type; the older min and max are right for signed numbers
    # only, and are not used.
    return Chunk(
        values=meta[5],
        compressed=meta[7],
        uncompressed=meta[6],
        chars=_chars(meta) if meta.get(1) == BYTE_ARRAY else None,
        nulls=statistics.get(3),
        least=statistics.get(6),
        most=statistics.get(5),
        least_exact=statistics.get(8),
        most_exact=statistics.get(7),
    )


def _chars(meta: thrift.Fields) -> int | None:
    """Bytes of the strings of a chunk, without their lengths."""
    sizes: Any = meta.get(16) or {}
    if (total := sizes.get(1)) is not None:
        return int(total)
    if not _ONE_BY_ONE.issuperset(meta[2]):
        return None
    # Four bytes precede each value that is not null.
    nulls = (meta.get(12) or {}).get(3) or 0
    return int(max(0, meta[6] - 4 * (meta[5] - nulls)))
