"""What the statistics of footers say of all values of a column, where a right result depends on it."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import polars as pl

from gpuquery.api.reasons import Failure
from gpuquery.runner import stores
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs import keys
from gpuquery.runner.parquet import footer
from gpuquery.runner.parquet.footer import NotParquetError
from gpuquery.runner.stores.tails import each_tail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.api.spec import Input
    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.inputs.base import File
    from gpuquery.runner.parquet.footer import Chunk

_TICKS = {"ms": 10**3, "us": 10**6, "ns": 10**9}
_INT64 = 2
_BYTES = 6


def out_of_range(
    name: str, of: pl.DataType, to: pl.DataType, files: Sequence[File], access: StoreAccess
) -> File | None:
    """Return the first file whose values of a column may not fit into a finer unit; None if all surely do."""
    if not isinstance(of, pl.Datetime | pl.Duration) or not isinstance(to, pl.Datetime | pl.Duration):
        return files[0]  # in lists and structs: the footers say nothing of it
    factor = _TICKS[to.time_unit] // _TICKS[of.time_unit]
    last = (2**63 - 1) // factor

    def fits(chunk: Chunk, physical: int) -> bool:
        if chunk.nulls == chunk.values:
            return True
        if physical != _INT64 or chunk.least is None or chunk.most is None:
            return False
        low, high = (struct.unpack("<q", bound)[0] for bound in (chunk.least, chunk.most))
        return bool(-last <= low and high <= last)

    bad: list[str] = []

    def take(uri: str, tail: bytes) -> None:
        if not all(fits(chunk, physical) for chunk, physical in _chunks(tail, name) or ()):
            bad.append(uri)

    _each(files, access, take)
    return next((file for file in files if file.uri in bad), None)


def check_keys(item: Input, name: str, dtype: pl.DataType, files: Sequence[File], access: StoreAccess) -> None:
    """See that a column that is both in the files and in the names of their folders has the same values in both.

    Raises InvalidInput where the footers do not show it, and for a file that lacks the column, which would be null
    there. The column is then read from the files, whose type `dtype` is: bytes of statistics are values of no other.
    """
    by_uri = {file.uri: dict(file.keys)[name] for file in files}
    bad: list[str] = []

    def take(uri: str, tail: bytes) -> None:
        chunks = _chunks(tail, name)
        if chunks is None or not all(_only(chunk, physical, by_uri[uri], dtype) for chunk, physical in chunks):
            bad.append(uri)

    _each(files, access, take)
    if first := next((file for file in files if file.uri in bad), None):
        raise JobError(
            Failure.INVALID_INPUT,
            f'input "{item.name}": "{name}" is a column of the files and a key of their folders, and the statistics of '
            f"{first.uri} do not show that both have the same value: set hivePartitioned: false to read the column of "
            "the files",
        )


def _only(chunk: Chunk, physical: int, text: str | None, dtype: pl.DataType) -> bool:
    """Whether the footer shows that a chunk holds the value of the folder and nothing else."""
    if text is None:
        return chunk.nulls == chunk.values
    if chunk.nulls != 0 or chunk.least is None or chunk.least != chunk.most:
        return chunk.values == 0
    if isinstance(dtype, pl.String | pl.Categorical | pl.Enum | pl.Binary):
        return physical == _BYTES and chunk.least == text.encode()
    if not (dtype.is_integer() or isinstance(dtype, pl.Date)) or physical not in (1, _INT64):
        return False
    try:
        found: Any = keys.value(text, dtype)
    except ValueError:
        return False
    stored = int.from_bytes(chunk.least, "little", signed=not dtype.is_unsigned_integer())
    return bool(stored == (found.toordinal() - 719163 if isinstance(dtype, pl.Date) else found))


def _chunks(tail: bytes, name: str) -> list[tuple[Chunk, int]] | None:
    """Return the chunks of a column with its physical type; None if there is no plain column of this name."""
    try:
        found = footer.parse(footer.metadata(tail))
    except NotParquetError:
        return []  # the look at the schema has named it
    leaf = found.leaves.get((name,))
    if leaf is None:
        return None
    return [(group.chunks[name,], leaf.physical) for group in found.groups if (name,) in group.chunks]


def _each(files: Sequence[File], access: StoreAccess, take: Any) -> None:
    each_tail([f.uri for f in files], {f.uri: f.bytes for f in files}, stores.Everywhere(access), take)
