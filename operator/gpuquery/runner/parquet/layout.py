"""Layout: where in a parquet file the column chunks of each row group lie.

Shapes and numbers are those of the footer, checked against nothing: a broken file may claim anything.
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuquery.runner.parquet import thrift
from gpuquery.runner.parquet.footer import TAIL, NotParquetError, metadata, metadata_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Field numbers of parquet.thrift.
_ROWS, _ROW_GROUPS = 3, 4
_COLUMNS, _NUM_ROWS = 1, 3
_META_DATA = 3
_PATH, _COMPRESSED, _DATA_PAGE, _DICTIONARY_PAGE = 3, 7, 9, 11


class Group(NamedTuple):
    """A row group."""

    rows: int
    ends: Mapping[str, int]
    """Where the bytes of each column of the table end, by its name."""


def of(size: int, read: Callable[[int, int], bytes]) -> list[Group]:
    """Read the footer of a file of `size` bytes; `read` takes the first byte and the one behind the last.

    Raises NotParquetError.
    """
    tail = read(max(0, size - TAIL), size)
    if (needed := metadata_size(tail)) > len(tail):
        if needed > size:
            raise NotParquetError(f"the footer claims {needed:,} bytes, the file has {size:,}")
        tail = read(size - needed, size)
    try:
        fields = thrift.decode(metadata(tail))
        groups = [Group(group[_NUM_ROWS], _ends(group)) for group in fields[_ROW_GROUPS]]
        if sum(group.rows for group in groups) != fields[_ROWS]:
            raise ValueError("its row groups have not as many rows as it says")
        return groups
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as exc:
        raise NotParquetError(f"the metadata is not that of a parquet file: {exc}") from None


def _ends(group: thrift.Fields) -> dict[str, int]:
    ends: dict[str, int] = {}
    for chunk in group[_COLUMNS]:
        if (meta := chunk.get(_META_DATA)) is not None:  # else it is encrypted, or in another file
            name = meta[_PATH][0].decode()
            start = meta.get(_DICTIONARY_PAGE) or meta[_DATA_PAGE]
            ends[name] = max(ends.get(name, 0), min(start, meta[_DATA_PAGE]) + meta[_COMPRESSED])
    return ends
