"""What an Iceberg table says of itself, for `gpuquery fsck`: the files of all snapshots that have not expired."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from gpuquery.runner import stores
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs.tables.iceberg import files, vending
from gpuquery.runner.output.fsck import Finding, Health, Level
from gpuquery.runner.output.tables import check
from gpuquery.runner.output.tables.check import File, Told
from gpuquery.runner.stores.base import STAGING, leads_out

if TYPE_CHECKING:
    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.inputs.tables.iceberg.catalogs import Catalog

_RESTORE = "restore it from a backup or from older versions of the bucket, or go back to a snapshot that is whole"


def health(catalog: Catalog, access: StoreAccess, *, deep: bool) -> Health:
    """Check a table. Raises JobError."""
    table = catalog.load()
    vending.begin(catalog, table.metadata)
    root = files.place(table.metadata.location).rstrip("/")
    place = stores.locate(root)
    store, _ = stores.of(root).table(place, access, staging=f"{STAGING}fsck/1", stop=threading.Event())
    return check.check(store, _Reading(table, root).told(), deep=deep)


class _Reading:
    def __init__(self, table: Any, root: str) -> None:
        self._table, self._root = table, root
        self._manifests: dict[str, list[Any]] = {}
        self._findings: list[Finding] = []

    def told(self) -> Told:
        metadata = self._table.metadata
        found: dict[str, File] = {}
        seen: list[Any] = []
        outside = 0
        for snapshot in metadata.snapshots:
            named = self._files(snapshot)
            if snapshot.snapshot_id == metadata.current_snapshot_id:
                seen = [one for one in named if one.content.value == 0]
            for one in named:
                at = files.place(one.file_path)
                key = at.removeprefix(f"{self._root}/")
                if key == at or leads_out(key):
                    outside += 1
                    continue
                rows = one.record_count if one.file_format.value.lower() == "parquet" else None
                found[key] = File(key, one.file_size_in_bytes, rows)
        if outside:
            text = f"{outside:,} files are outside of the table's folder, and were not looked for"
            self._findings.append(Finding(Level.NOTE, text))
        return Told(
            len(metadata.snapshots), list(found.values()), frozenset(found), len(seen),
            sum(one.record_count for one in seen), sum(one.file_size_in_bytes for one in seen), self._findings,
        )  # fmt: skip

    def _files(self, snapshot: Any) -> list[Any]:
        """Data files and deletes of a snapshot, as far as its manifests can be read."""
        found = []
        for manifest in self._read(f"the manifest list of snapshot {snapshot.snapshot_id}", snapshot.manifests):
            path = manifest.manifest_path
            if path not in self._manifests:
                entries = self._read(f"the manifest {path}", manifest.fetch_manifest_entry)
                self._manifests[path] = [entry.data_file for entry in entries]
            found += self._manifests[path]
        return found

    def _read(self, what: str, read: Any) -> list[Any]:
        try:
            return list(read(self._table.io))
        except (JobError, ValueError, OSError, EOFError, KeyError) as exc:
            text = exc.message if isinstance(exc, JobError) else f"{type(exc).__name__}: {exc}"
            self._findings.append(Finding(Level.ERROR, f"{what} cannot be read: {text[:300]}", _RESTORE))
            return []
