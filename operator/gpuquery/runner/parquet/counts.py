"""Whether the numbers of rows in a footer agree: of the file, of its row groups, and of their column chunks.

Readers believe the smaller one and leave rows out without a word: Polars and pyarrow read as many rows of a row group
as it claims to have. Thousands of footers are looked at, so where all is in order it is seen by the bytes: each chunk
names its column, in the order of the schema, and its count follows right behind. Any other footer is decoded.
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuquery.runner.parquet import thrift
from gpuquery.runner.parquet.footer import NotParquetError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_SCHEMA, _ROWS, _ROW_GROUPS = 2, 3, 4
_COLUMNS, _GROUP_ROWS = 1, 3
_META_DATA, _NUM_VALUES = 3, 5
_REPEATED = 2
_LIST = 0x19  # a list, as the next field
_LONG = b"\x16"  # an i64, as the next field
_WORD = b"\x15"  # an i32, as the next field


class DamagedError(NotParquetError):
    """The counts of a footer do not agree."""


class Leaf(NamedTuple):
    """A column of values."""

    path: tuple[bytes, ...]
    flat: bool
    """Whether it has one value (or null) in each row: nothing on its path is repeated."""

    @property
    def mark(self) -> bytes:
        """The bytes by which its chunks begin: the path, and the head of the codec behind it."""
        count = len(self.path)
        head = bytes([count << 4 | 8]) if count < 15 else b"\xf8" + thrift.varint(count)
        return b"\x19" + head + b"".join(thrift.varint(len(one)) + one for one in self.path) + _WORD


class Counts:
    """Looks at footers of one schema."""

    def __init__(self, meta: bytes, begin: bytes) -> None:
        """`begin` is what precedes the row count in the metadata. Raises NotParquetError."""
        self._begin = len(begin)
        try:
            self._leaves = tuple(_leaves(thrift.decode(meta)[_SCHEMA]))
        except (AttributeError, KeyError, IndexError, TypeError, ValueError, StopIteration) as exc:
            raise NotParquetError(f"the metadata is not that of a parquet file: {exc}") from None
        self._marks = tuple((leaf.mark, leaf.flat) for leaf in self._leaves)

    def rows(self, meta: bytes) -> int:
        """Return the rows of a file. Raises NotParquetError; DamagedError names the row group and its column."""
        try:
            rows, at = thrift.signed(meta, self._begin)
            if not self._agree(meta, at, rows):
                self._compare(thrift.decode(meta))
        except IndexError:
            raise NotParquetError("the metadata ends too early") from None
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            if isinstance(exc, NotParquetError):
                raise
            raise NotParquetError(f"the metadata is not that of a parquet file: {exc}") from None
        return rows

    def _agree(self, meta: bytes, at: int, rows: int) -> bool:
        """Whether all counts are surely the same; false also where they are not found in the usual places."""
        if meta[at] != _LIST:
            return False
        groups, at = thrift.head(meta, at + 1)
        for _ in range(groups):
            if meta[at] != _LIST:
                return False
            chunks, at = thrift.head(meta, at + 1)
            if chunks != len(self._marks) or not chunks:
                return False
            same = b""
            for mark, flat in self._marks:
                found = meta.find(mark, at)
                at = found + len(mark) + 1  # behind the codec
                if found < 0:
                    return False
                if same and flat:
                    if not meta.startswith(same, at):
                        return False
                    at += len(same)
                    continue
                end = thrift.signed(meta, at + 1)[1]
                if meta[at : at + 1] != _LONG:
                    return False
                same, at = meta[at:end] if flat else same, end
            at = thrift.rest(meta, at, _NUM_VALUES)[1]
            at = thrift.rest(meta, at, _META_DATA)[1]
            group, at = thrift.rest(meta, at, _COLUMNS)
            rows -= group[_GROUP_ROWS]
            if group[_GROUP_ROWS] < 0 or (same and thrift.signed(same, 1)[0] != group[_GROUP_ROWS]):
                return False
        return rows == 0

    def _compare(self, fields: thrift.Fields) -> None:
        for number, group in enumerate(fields[_ROW_GROUPS]):
            rows = group[_GROUP_ROWS]
            if len(group[_COLUMNS]) != len(self._leaves) and rows:
                raise DamagedError(
                    f"row group {number} has {len(group[_COLUMNS])} columns there, and the schema {len(self._leaves)}"
                )
            for leaf, chunk in zip(self._leaves, group[_COLUMNS], strict=False):
                meta = chunk.get(_META_DATA)  # without it, the chunk is encrypted
                if meta is not None and leaf.flat and meta[_NUM_VALUES] != rows:
                    raise DamagedError(
                        f'row group {number} has {rows:,} rows there, and its column "{b".".join(leaf.path).decode()}" '
                        f"{meta[_NUM_VALUES]:,} values"
                    )
        rows = [group[_GROUP_ROWS] for group in fields[_ROW_GROUPS]]
        if sum(rows) != fields[_ROWS] or min(rows, default=0) < 0:
            raise DamagedError(f"the file has {fields[_ROWS]:,} rows there, and its row groups {sum(rows):,}")


def _leaves(elements: Sequence[thrift.Fields]) -> Iterator[Leaf]:
    rest = iter(elements[1:])
    for _ in range(elements[0].get(5) or 0):
        yield from _below((), True, rest)


def _below(path: tuple[bytes, ...], flat: bool, rest: Iterator[thrift.Fields]) -> Iterator[Leaf]:
    element = next(rest, None)
    if element is None:
        raise ValueError("the schema ends too early")
    here, flat = (*path, element[4]), flat and element.get(3) != _REPEATED
    if not element.get(5):
        yield Leaf(here, flat)
    for _ in range(element.get(5) or 0):
        yield from _below(here, flat, rest)
