"""Text: rows and bytes of CSV and NDJSON files, from their sizes and the first MiB of two of them."""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from gpuquery.runner.sizing import widths
from gpuquery.runner.sizing.parquet import Table, evenly
from gpuquery.runner.stores.base import Part, Readable

if TYPE_CHECKING:
    from gpuquery.runner.sizing.reads import Scan

HEAD = 1 << 20
"""Bytes at the beginning of a file that are read."""
HEADS = 2
"""Readable whose beginning is read."""
GUESSED_RATIO = 4.0
"""How much larger a compressed file is taken to be where its beginning cannot be decompressed."""
_DEFLATED = (b"\x1f\x8b", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
_ANY_HEADER = 47
"""Tells zlib to take gzip's and its own header."""
_ZSTD = b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True)
class _Head:
    """The beginning of a file, in whole lines."""

    lines: bytes
    stored: float
    """Bytes of the file that hold these lines."""


def size(scan: Scan, files: Readable) -> Table:
    """Estimate a scan of CSV or NDJSON files. Raises JobError where they cannot be read."""
    sizes = files.sizes(scan.paths)
    total = sum(sizes.values())
    # Empty files tell nothing.
    some = evenly([path for path in scan.paths if sizes[path]], HEADS)
    parts = [Part(path, 0, min(HEAD, sizes[path])) for path in some]
    heads = files.read(parts, lambda part, data: _head(data, complete=part.end == sizes[part.path]))
    known = [head for head in heads if head is not None]
    frames = [frame for head in known if (frame := _parse(scan, head.lines)) is not None]
    notes = ["the first MiB of each file" if len(some) == len(scan.paths) else f"the first MiB of {len(some)} files"]
    by_column = {name: _width(name, dtype, frames) for name, dtype in scan.columns.items()}
    if len(frames) == len(heads):
        rows = sum(frame.height for frame in frames)
    elif len(known) == len(heads):
        rows = sum(head.lines.count(b"\n") for head in known)
        notes = ["the number of lines in " + notes[0]]
    else:
        return _guessed(scan, total, by_column)
    read = round(rows / max(1.0, sum(head.stored for head in known)) * total)
    kept = read if scan.rows is None else min(read, scan.rows)
    return Table(len(scan.paths), read, kept, by_column, total, tuple(notes))


def _guessed(scan: Scan, total: int, by_column: dict[str, float]) -> Table:
    """For a compression that cannot be undone here: rows from the width of the columns that are read."""
    rows = round(total * GUESSED_RATIO / max(1.0, sum(by_column.values())))
    note = f"a guess: the files are taken to be compressed to a {1 / GUESSED_RATIO:.0%}"
    return Table(len(scan.paths), rows, rows, by_column, total, (note,))


def _head(data: bytes, *, complete: bool) -> _Head | None:
    stored = len(data)
    plain = data
    if data[:2] in _DEFLATED:
        try:
            plain = zlib.decompressobj(_ANY_HEADER).decompress(data, 64 * HEAD)
        except zlib.error:
            return None
        complete = complete and len(plain) < 64 * HEAD
    elif data[:4] == _ZSTD:
        return None
    end = len(plain) if complete else plain.rfind(b"\n") + 1
    return _Head(plain[:end], stored * end / max(1, len(plain)))


def _parse(scan: Scan, lines: bytes) -> pl.DataFrame | None:
    """Read lines with the scan's own options, CSV as texts; None if that fails."""
    try:
        if scan.format == "ndjson":
            return pl.read_ndjson(io.BytesIO(lines)) if lines.strip() else pl.DataFrame()
        return pl.read_csv(io.BytesIO(lines), **_csv_options(scan.options)) if lines else pl.DataFrame()
    except BaseException as exc:  # a panic of Polars is no Exception
        if isinstance(exc, (KeyboardInterrupt, SystemExit)):
            raise
        return None


def _csv_options(options: Any) -> dict[str, Any]:
    parse = options.get("parse_options") or {}
    quote = parse.get("quote_char", ord('"'))
    return {
        "separator": chr(parse.get("separator", ord(","))),
        "quote_char": None if quote is None else chr(quote),
        "has_header": options.get("has_header", True),
        "skip_rows": options.get("skip_rows", 0),
        "infer_schema": False,
        "truncate_ragged_lines": True,
        "ignore_errors": True,
    }


def _width(name: str, dtype: pl.DataType, frames: list[pl.DataFrame]) -> float:
    if (width := widths.fixed(dtype)) is not None:
        return width
    seen = [frame[name] for frame in frames if name in frame.columns]
    rows = sum(len(series) for series in seen)
    return sum(map(widths.sampled, seen)) / rows if rows else widths.guess(dtype)
