"""Deleted rows: positions from delete files and deletion vectors, as one sorted list for the files of a scan.

https://iceberg.apache.org/spec/#row-level-deletes and https://iceberg.apache.org/puffin-spec/#deletion-vector-v1-blob-type
"""

from __future__ import annotations

import base64
import io
import struct
import zlib
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.api.reasons import Failure
from gpuquery.runner import later, stores
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.stores import classify
from gpuquery.runner.inputs.tables.iceberg import files

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.inputs.tables.iceberg.manifests import Entry

THREADS = 8
MOST = 20_000_000
"""Deleted rows of a table that are carried along; a table with more wants to be compacted."""
_MAGIC = b"\xd1\xd3\x39\x64"
_FORMATS = ("PARQUET", "PUFFIN")


def positions(applying: Mapping[str, Sequence[Entry]], access: StoreAccess) -> dict[str, pl.Series]:
    """Return the positions of deleted rows by data file, sorted, each once. Raises JobError.

    `applying` has the deletes that may be about a data file, by its location.
    """
    every = {(one.location, one.offset): one for found in applying.values() for one in found}
    for one in every.values():
        if one.format not in _FORMATS:
            raise JobError(
                Failure.INVALID_INPUT,
                f"{one.location} holds deletes as {one.format}, and only parquet files and deletion vectors are read: "
                "compact the table (rewrite_data_files)",
            )
    if (count := sum(one.rows for one in every.values())) > MOST:
        raise JobError(
            Failure.INVALID_INPUT,
            f"the snapshot has {count:,} deleted rows that are still in its files, and at most {MOST:,} are carried "
            "along: compact the table (rewrite_data_files)",
        )
    tables = {one.location: one for one in every.values() if one.format == "PARQUET"}
    read = dict(zip(tables, later.each(lambda one: _table(one, access), list(tables.values()), THREADS), strict=True))
    vectors = _vectors([one for one in every.values() if one.format == "PUFFIN"], access)
    out: dict[str, pl.Series] = {}
    for path, found in applying.items():
        parts = [
            vectors[one.location, one.offset]
            if one.format == "PUFFIN"
            else read[one.location].get(path, pl.Series(dtype=pl.Int64))
            for one in found
        ]
        if parts and (all_of := pl.concat(parts).unique().sort()).len():
            out[path] = all_of
    return out


def _table(one: Entry, access: StoreAccess) -> dict[str, pl.Series]:
    """Read one file of positional deletes: positions by data file."""
    at = files.source(one.location)
    try:
        frame = pl.scan_parquet(at, glob=False, **stores.scan_arguments(access, files.place(one.location)))
        found = frame.select(pl.col("file_path").cast(pl.String), pl.col("pos").cast(pl.Int64)).collect()
    except BaseException as exc:  # a panic of Polars is no Exception
        if isinstance(exc, KeyboardInterrupt | SystemExit):
            raise
        raise classify(exc, f"reading {one.location}", default=Failure.INVALID_INPUT) from exc
    parts = found.partition_by("file_path", as_dict=True)
    return {str(path): part["pos"] for (path,), part in parts.items()}


def _vectors(entries: Sequence[Entry], access: StoreAccess) -> dict[tuple[str, int | None], pl.Series]:
    """Read deletion vectors, which lie one after the other in a few files."""
    by_file: dict[str, list[Entry]] = {}
    for one in entries:
        if one.offset is None or one.length is None or one.referenced is None:
            raise JobError(
                Failure.INVALID_INPUT,
                f"{one.location}: the manifest does not say where in it a deletion vector lies: compact the table",
            )
        by_file.setdefault(one.location, []).append(one)
    spans = [
        (location, min(e.offset or 0 for e in found), max((e.offset or 0) + (e.length or 0) for e in found))
        for location, found in by_file.items()
    ]
    starts = {location: start for location, start, _ in spans}
    bodies = files.each(spans, access, lambda _, body: body)
    out: dict[tuple[str, int | None], pl.Series] = {}
    for one in entries:
        start = (one.offset or 0) - starts[one.location]
        try:
            out[one.location, one.offset] = vector(bodies[one.location][start : start + (one.length or 0)], one.rows)
        except ValueError as exc:
            raise JobError(
                Failure.INVALID_INPUT, f"{one.location}: its deletion vector at {one.offset} is broken: {exc}"
            ) from None
    return out


def vector(blob: bytes, rows: int) -> pl.Series:
    """Read a blob deletion-vector-v1 of so many positions. Raises ValueError."""
    from pyroaring import BitMap64

    if len(blob) < 12 or blob[4:8] != _MAGIC:
        raise ValueError("it does not begin as one")
    length, (check,) = int.from_bytes(blob[:4], "big"), struct.unpack(">I", blob[-4:])
    body = blob[4:-4]
    if length != len(body) or zlib.crc32(body) != check:
        raise ValueError("its checksum is wrong")
    found = BitMap64.deserialize(body[4:])
    if len(found) != rows:
        raise ValueError(f"it has {len(found):,} positions, and the manifest says {rows:,}")
    return pl.Series(list(found), dtype=pl.Int64)


def pack(sorted_positions: pl.Series) -> str:
    """Write positions down, about a byte each."""
    file = io.BytesIO()
    pl.DataFrame({"p": sorted_positions.diff().fill_null(sorted_positions.first() or 0)}).write_ipc(
        file, compression="zstd"
    )
    return base64.b64encode(file.getvalue()).decode()


def unpack(text: str) -> pl.Series:
    """Read what `pack` wrote."""
    return pl.read_ipc(io.BytesIO(base64.b64decode(text)))["p"].cum_sum()
