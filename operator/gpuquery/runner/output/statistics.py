"""What the columns of a file hold, from the file's own footer: exact, typed, and short enough to travel as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuquery.runner.output.record import LeafStatistics
from gpuquery.runner.parquet import footer

if TYPE_CHECKING:
    from gpuquery.runner.output.record import Statistics


def of(meta: bytes, most: int) -> Statistics:
    """Return the statistics of the first `most` columns of values of a file. Raises NotParquetError."""
    found = footer.parse(meta)
    return tuple(_leaf(path, [group.chunks[path] for group in found.groups]) for path in list(found.leaves)[:most])


def _leaf(path: footer.Path, chunks: list[footer.Chunk]) -> LeafStatistics:
    nulls = [chunk.nulls for chunk in chunks]
    return LeafStatistics(
        path=path,
        kind="",
        values=sum(chunk.values for chunk in chunks),
        nulls=None if None in nulls else sum(one or 0 for one in nulls),
        bytes=sum(chunk.compressed for chunk in chunks),
    )
