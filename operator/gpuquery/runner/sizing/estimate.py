"""Estimate: how much a query reads and how much it has to hold, before anything runs.

Nothing of the data is read but footers and small samples, so it takes seconds for any size of input.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner import stores
from gpuquery.runner.sizing import parquet, reads, text, widths, work
from gpuquery.runner.sizing.parquet import Table
from gpuquery.runner.sizing.reads import Scan, View
from gpuquery.runner.stores.base import Sized

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.stores.base import Readable

NOTHING: Mapping[str, int] = MappingProxyType({})
MAX_BASIS = 400
"""Characters of the sentence about what the estimate rests on."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a query reads and holds. Bytes are bytes in memory, in the layout of GPUs, unless said otherwise."""

    files: int
    """Readable that it reads; one that two scans read counts twice."""
    rows: int
    """Rows in them, before any filter."""
    input_bytes: int
    """Bytes of the columns and row groups that the optimized plan reads."""
    stored_bytes: int
    """The same bytes as they lie in the store, encoded and compressed."""
    peak_bytes: int
    """Bytes of the step that holds most; 0 for a plan that only streams."""
    io_bound: bool
    """Whether reading is expected to take longer than computing."""
    basis: str
    """What this rests on, in one sentence."""


def estimate(frame: pl.LazyFrame, store: StoreAccess, known: Mapping[str, int] = NOTHING) -> Estimate:
    """Estimate a lazy result from its optimized plan and the footers of its files.

    `known` has sizes of files, in bytes, by their places as Polars takes them: those are not asked for.
    Opens an event loop of its own, so it must not be called where one runs. Raises JobError where files cannot be read
    (StorageAuth, StorageUnavailable, InvalidInput), and Polars' own errors for a plan that is wrong.
    """
    view = reads.view(frame)
    tables = {
        number: _table(node.detail, number, view, Access(store, known))
        for number, node in enumerate(view.nodes)
        if isinstance(node.detail, Scan)
    }
    volumes = {number: work.Volume(float(table.read), table.widths) for number, table in tables.items()}
    done = work.measure(view.nodes, volumes)
    return Estimate(
        files=sum(table.files for table in tables.values()),
        rows=sum(table.rows for table in tables.values()),
        input_bytes=round(sum(volume.bytes for volume in volumes.values())),
        stored_bytes=sum(table.stored for table in tables.values()),
        peak_bytes=done.peak,
        io_bound=done.io_bound,
        basis=_basis(view, tables, done.steps),
    )


@dataclass(frozen=True)
class Access:
    """How to get at files."""

    store: StoreAccess
    known: Mapping[str, int]

    def files(self) -> Readable:
        """Return the way to files, of one scan: each bucket is opened once."""
        return Sized(stores.Everywhere(self.store), self.known)


def _table(scan: Scan, number: int, view: View, access: Access) -> Table:
    if not scan.paths:
        return Table(0, 0, 0, {name: widths.guess(dtype) for name, dtype in scan.columns.items()}, 0)
    files = access.files()
    match scan.format:
        case "parquet" if scan.columns or not view.coarse:
            return parquet.size(scan, files, access.store)
        case "parquet":
            return _coarse(scan, number, view, access)
        case "csv" | "ndjson":
            return text.size(scan, files)
        case other:
            return Table(len(scan.paths), 0, 0, {}, 0, (f"nothing: {other} is not looked at",))


def _coarse(scan: Scan, number: int, view: View, access: Access) -> Table:
    """Estimate a scan of which only some paths and the number of columns are known: all columns, less their share."""
    path = scan.paths[0]
    reached = stores.scan_arguments(access.store, path)
    columns = pl.scan_parquet(path, **reached, hive_partitioning=False).collect_schema()
    table = parquet.size(replace(scan, columns=dict(columns)), access.files(), access.store)
    seen, more = len(scan.paths), view.unseen.get(number, 0)
    factor, share = (seen + more) / seen, view.shares.get(number, 1.0)
    return Table(
        files=seen + more,
        rows=round(table.rows * factor),
        read=round(table.read * factor),
        widths={name: width * share for name, width in table.widths.items()},
        stored=round(table.stored * factor * share),
        notes=(*table.notes, "a coarse view of the plan"),
    )


def _basis(view: View, tables: Mapping[int, Table], steps: Mapping[str, int]) -> str:
    notes = list(dict.fromkeys(note for table in tables.values() for note in table.notes))
    counted = ", ".join(f"{count} {kind}" for kind, count in sorted(steps.items())) or "no step that holds rows"
    words = f"{', '.join(notes) or 'no files'}; {counted}"
    if view.coarse:
        words = f"coarse, without filters and names of columns, as this Polars does not show its plan; {words}"
    return words if len(words) <= MAX_BASIS else words[: MAX_BASIS - 4] + " ..."
