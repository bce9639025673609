"""Parquet: rows and bytes of what a scan reads, from footers and from a sample of what footers cannot tell.

`total_uncompressed_size` is no size in memory: with a dictionary it is 20 to 100 times too small (TPC-H lineitem at
scale factor 1: 377 MB in the footers, 893 MB in Polars). So numbers count by rows times width. Texts count by the size
statistics of the footer (parquet-format 2.10) where all have them, else like nested columns: a row group or two are
decoded and their bytes per row are taken for all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.api.reasons import Failure
from gpuquery.runner import stores
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.stores import classify
from gpuquery.runner.parquet import footer
from gpuquery.runner.parquet.footer import Footer, NotParquetError, RowGroup
from gpuquery.runner.sizing import skip, widths
from gpuquery.runner.stores.tails import each_tail

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.sizing.reads import Scan
    from gpuquery.runner.stores.base import Readable

ALL_FILES = 2000
"""Up to so many files, every footer is read."""
SAMPLED_FILES = 32
"""Of more files, this many footers are read; of any number, so many are read in full."""
DETAIL_BYTES = 8 << 20
"""Metadata that is read in full, in bytes: about a second's work."""
SAMPLE_BYTES = 64 << 20
"""Bytes of row groups, as they lie in the file, that are read to be decoded."""
SAMPLE_ROWS = 250_000


@dataclass(frozen=True)
class Table:
    """What a scan reads."""

    files: int
    rows: int
    """Rows in all files."""
    read: int
    """Rows of the row groups that the filter does not surely leave out."""
    widths: dict[str, float]
    """Bytes of one row in memory, by column."""
    stored: int
    """Bytes of the files, or of the columns in them where the footers tell."""
    notes: tuple[str, ...] = ()
    """What the numbers rest on."""


@dataclass(frozen=True)
class Scanned:
    """Footers of the files of a scan."""

    paths: Sequence[str]
    """Readable whose footers were read."""
    rows: Sequence[int]
    """Rows of each."""
    details: dict[int, Footer] = field(default_factory=dict)
    """Footers that were read in full, by number of the file."""
    groups: Sequence[RowGroup] = ()
    """Row groups of the other files, with the columns that were asked for."""


def size(scan: Scan, files: Readable, access: StoreAccess) -> Table:
    """Estimate a scan of parquet files. Raises JobError where they cannot be read."""
    chosen = scan.paths if len(scan.paths) <= ALL_FILES else evenly(scan.paths, SAMPLED_FILES)
    sizes = files.sizes(scan.paths)
    found = scan_footers(chosen, sizes, files, columns={test.column for test in scan.tests})
    rows = sum(found.rows)
    kept = rows - _skipped(scan, found)
    notes = [f"footers of {len(chosen):,} of {len(scan.paths):,} files" if len(chosen) < len(scan.paths) else "footers"]
    if len(chosen) < len(scan.paths):
        factor = sum(sizes.values()) / max(1, sum(sizes[path] for path in chosen))
        rows, kept = round(rows * factor), round(kept * factor)
    columns = {name: dtype for name, dtype in scan.columns.items() if name not in scan.invented}
    by_column, sampled = _widths(columns, found, access)
    if sampled:
        notes.append(sampled)
    if kept < rows:
        notes.append(f"{1 - kept / rows:.0%} of the rows left out by statistics")
    by_column |= {name: widths.guess(scan.columns[name]) for name in scan.invented if name in scan.columns}
    read = kept if scan.rows is None else min(kept, scan.rows)
    stored = _stored(columns, found, sum(sizes.values()), read / rows if rows else 0)
    return Table(len(scan.paths), rows, read, by_column, stored, tuple(notes))


def evenly(paths: Sequence[str], count: int) -> list[str]:
    """Take `count` items at equal distances, the first and the last among them."""
    if len(paths) <= count:
        return list(paths)
    return [paths[number * (len(paths) - 1) // (count - 1)] for number in range(count)]


def scan_footers(
    paths: Sequence[str], sizes: Mapping[str, int], files: Readable, *, columns: Collection[str] = ()
) -> Scanned:
    """Read the footers of files: row counts of all, some in full, and of the others the bounds of some columns."""
    counter = footer.RowCounter()
    numbers = {path: number for number, path in enumerate(paths)}
    in_full = set(evenly(paths, SAMPLED_FILES))
    rows, groups = [0] * len(paths), list[RowGroup]()
    details: dict[int, Footer] = {}
    budget = DETAIL_BYTES

    def take(path: str, tail: bytes) -> None:
        nonlocal budget
        number = numbers[path]
        try:
            meta = footer.metadata(tail)
            rows[number] = counter.count(meta)
            some = footer.pick(meta, columns, rows[number]) if columns and path not in in_full else []
            if (path in in_full or some is None) and (len(meta) <= budget or not details):
                budget -= len(meta)
                details[number] = footer.parse(meta)
            else:
                groups.extend(some or ())
        except NotParquetError as exc:
            raise JobError(Failure.INVALID_INPUT, f"{path} is no parquet file: {exc}") from exc

    each_tail(paths, sizes, files, take)
    return Scanned(paths, rows, details, groups)


def _skipped(scan: Scan, found: Scanned) -> int:
    """Rows of row groups that the filter surely leaves out; where nothing is known about them, none."""
    if not scan.tests or not found.details:
        return 0
    # Readable of one table have the same types, or Polars refuses to read them together.
    leaves = next(iter(found.details.values())).leaves
    groups = chain(found.groups, *(footer.groups for footer in found.details.values()))
    out = 0
    for group in groups:
        if skip.surely_empty(group, scan.tests, scan.columns, leaves):
            out += group.rows
    return out


def _widths(columns: dict[str, pl.DataType], found: Scanned, access: StoreAccess) -> tuple[dict[str, float], str]:
    """Bytes of one row by column, and what of them rests on a sample."""
    out: dict[str, float] = {}
    groups = [group for footer in found.details.values() for group in footer.groups if group.rows]
    open_questions = []
    for name, dtype in columns.items():
        if (width := widths.fixed(dtype)) is not None:
            out[name] = width
        elif not any(group.under(name) for group in groups):  # a folder's name, or no rows at all
            out[name] = widths.guess(dtype)
        elif widths.is_text(dtype) and (chars := _chars(name, groups)) is not None:
            out[name] = widths.text(chars)
        else:
            open_questions.append(name)
    if not open_questions:
        return out, ""
    return _decoded(open_questions, out, found, access)


def _chars(name: str, groups: Sequence[RowGroup]) -> float | None:
    """Bytes of a row's text on average, if every row group tells."""
    total = 0
    for group in groups:
        for chunk in group.under(name):
            if chunk.chars is None:
                return None
            total += chunk.chars
    return total / sum(group.rows for group in groups)


def _decoded(
    names: list[str], out: dict[str, float], found: Scanned, access: StoreAccess
) -> tuple[dict[str, float], str]:
    """Decode a row group or two of the columns that are left."""
    frames = []
    budget = SAMPLE_BYTES
    for path, offset, group in _samples(found):
        cost = sum(chunk.compressed for name in names for chunk in group.under(name))
        if cost <= budget:
            budget -= cost
            frames.append(decode(path, names, (offset, min(group.rows, SAMPLE_ROWS)), access))
    rows = sum(frame.height for frame in frames)
    if not rows:  # every row group is too large to be looked at
        groups = [group for footer in found.details.values() for group in footer.groups]
        total = max(1, sum(group.rows for group in groups))
        for name in names:
            bytes_ = sum(chunk.uncompressed for group in groups for chunk in group.under(name))
            out[name] = max(widths.UNKNOWN, bytes_ / total)
        return out, f"encoded sizes of {_some(names)}, whose row groups are too large for a sample"
    for name in names:
        out[name] = sum(widths.sampled(frame[name]) for frame in frames) / rows
    return out, f"{rows:,} decoded rows of {_some(names)}"


def _samples(found: Scanned) -> list[tuple[str, int, RowGroup]]:
    """The middle row group of the first file, and the last of the last: rows at both ends may be unlike the others."""
    numbers = [number for number, footer in sorted(found.details.items()) if footer.rows]
    out: list[tuple[str, int, RowGroup]] = []
    for number, share in ((numbers[:1], 0.5), (numbers[-1:], 1.0)):
        for one in number:
            groups = found.details[one].groups
            at = min(int(len(groups) * share), len(groups) - 1)
            item = (found.paths[one], sum(group.rows for group in groups[:at]), groups[at])
            if item not in out:
                out.append(item)
    return out


def decode(path: str, names: Sequence[str], rows: tuple[int, int], access: StoreAccess) -> pl.DataFrame:
    """Read some columns of some rows (offset, count) of one file. Raises JobError."""
    try:
        frame = pl.scan_parquet(path, **stores.scan_arguments(access, path), hive_partitioning=False)
        return frame.slice(*rows).select(names).collect()
    except BaseException as exc:  # a panic of Polars is no Exception
        if isinstance(exc, (KeyboardInterrupt, SystemExit)):
            raise
        raise classify(exc, f"reading {path}") from exc


def _stored(columns: dict[str, pl.DataType], found: Scanned, everything: int, share: float) -> int:
    """Bytes that have to come from the store: the share of the columns and of the rows in the files."""
    mine = theirs = 0
    for one in found.details.values():
        for group in one.groups:
            for path, chunk in group.chunks.items():
                theirs += chunk.compressed
                mine += chunk.compressed if path[0] in columns else 0
    return round(everything * share * (mine / theirs if theirs else 1))


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more columns" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
