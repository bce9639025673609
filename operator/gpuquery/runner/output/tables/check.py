"""Checks that the files that a Delta or Iceberg table names are there, as long as the table says, with as many rows.

Nothing is repaired: a commit of such a table leaves nothing half done, and what no version names is seen by no reader.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuquery.api.text import clean
from gpuquery.runner.output.fsck import MOST_NAMED, Finding, Health, Level
from gpuquery.runner.output.record import parse_part
from gpuquery.runner.output.tables.permit import NAME
from gpuquery.runner.parquet import footer
from gpuquery.runner.stores.base import DATA, STAGING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gpuquery.runner.stores.base import Store

_RESTORE = "restore it from a backup or from older versions of the bucket, or write its rows anew"


@dataclass(frozen=True)
class File:
    """What a table says of one of its files."""

    key: str
    """Below the table's folder."""
    bytes: int | None = None
    rows: int | None = None
    """None if the table does not say, or if it is no parquet file."""


@dataclass(frozen=True)
class Told:
    """What a table says of itself."""

    versions: int
    live: Sequence[File]
    """All files that have to be there."""
    known: frozenset[str]
    """Keys of all files that any version names that can still be seen."""
    files: int
    """Data files of what readers see by default, as the next two."""
    rows: int
    bytes: int
    findings: Sequence[Finding] = ()
    """What is wrong with its metadata."""


def check(store: Store, told: Told, *, deep: bool) -> Health:
    """Compare a table with its folder; with `deep` all files are read, one at a time. Raises JobError."""
    there = {item.key: item.bytes for folder in (DATA, STAGING) for item in store.list(folder)}
    # Other writers have files elsewhere in the folder, and one may be younger than the listing.
    apart = [file.key for file in told.live if file.key not in there]
    there |= {key: size for key, size in zip(apart, store.parallel(store.size, apart), strict=True) if size is not None}
    findings = [*told.findings, *_missing(told, there)]
    for file in told.live if deep else ():
        if there.get(file.key) == file.bytes and file.rows is not None and (wrong := _read(store, file)):
            findings.append(Finding(Level.ERROR, f"{clean(file.key, 300)} {wrong}", _RESTORE))
    findings += _left(told, there)
    return Health(told.versions, told.files, told.rows, told.bytes, 0, findings)


def _missing(told: Told, there: Mapping[str, int]) -> Iterator[Finding]:
    for file in told.live:
        size = there.get(file.key)
        if size is None or (file.bytes is not None and size != file.bytes):
            state = "is missing" if size is None else f"has {size:,} bytes, and the table says {file.bytes:,}"
            rows = "" if file.rows is None else f"; it had {file.rows:,} rows"
            yield Finding(Level.ERROR, f"{clean(file.key, 300)} {state}{rows}", _RESTORE)


def _left(told: Told, there: Mapping[str, int]) -> Iterator[Finding]:
    """What jobs have left, which no reader sees."""
    if left := sorted(key for key in there if key.startswith(DATA) and key not in told.known and parse_part(key)):
        more = f" and {len(left) - MOST_NAMED:,} more" if len(left) > MOST_NAMED else ""
        text = f"no version names {clean(', '.join(left[:MOST_NAMED]), 600)}{more}: of jobs that run now, or that died"
        yield Finding(Level.NOTE, text, "the next job that writes here removes those of jobs that died a day ago")
    if permits := [key for key in there if key.startswith(STAGING) and key.endswith(f"/{NAME}")]:
        text = f"{len(permits):,} permits are below {STAGING}, of jobs that run now, or that have not committed"
        yield Finding(Level.NOTE, text)


def _read(store: Store, file: File) -> str:
    """Read a whole file; returns what is wrong with it."""
    body = store.get(file.key)
    if body is None or len(body) != file.bytes:
        return "was changed while it was checked"
    try:
        rows = footer.row_count(body)
    except footer.NotParquetError as exc:
        return f"is no whole parquet file: {exc}"
    return "" if rows == file.rows else f"has {rows:,} rows, and the table says {file.rows:,}"
