"""The ends of many parquet files, where their metadata lies: one request a file, two for one with long metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuquery.runner.parquet.footer import TAIL, NotParquetError, metadata_size
from gpuquery.runner.stores.base import Part, Readable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def each_tail(
    paths: Sequence[str], sizes: Mapping[str, int], files: Readable, then: Callable[[str, bytes], None]
) -> None:
    """Hand the end of each file to `then` as it comes, with all metadata if it is a parquet file."""
    long: list[Part] = []

    def take(part: Part, tail: bytes) -> None:
        try:
            missing = metadata_size(tail) - len(tail)
        except NotParquetError:
            missing = 0
        if missing > 0 and part.start:
            long.append(Part(part.path, max(0, part.start - missing), part.end))
        else:
            then(part.path, tail)

    files.read([Part(path, max(0, sizes[path] - TAIL), sizes[path]) for path in paths], take)
    files.read(long, lambda part, tail: then(part.path, tail))
