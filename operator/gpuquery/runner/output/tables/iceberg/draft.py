"""A snapshot that is not committed yet: its manifests, and what the catalog is asked to do.

The manifests are written here, and not by a transaction of pyiceberg. It keeps what it retries to itself, deletes
manifests when it believes that a commit has failed, and cannot drop single files of a table without partitions.
Files of deletes stay: they apply to older rows only, so what is new is never touched.
https://iceberg.apache.org/spec/#snapshots
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyiceberg.manifest import (
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    write_manifest,
    write_manifest_list,
)
from pyiceberg.table.locations import SimpleLocationProvider
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRefType
from pyiceberg.table.snapshots import Operation, Snapshot, Summary, UpdateMetrics, update_snapshot_summaries
from pyiceberg.table.update import AddSnapshotUpdate, AssertRefSnapshotId, AssertTableUUID, SetSnapshotRefUpdate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pyiceberg.manifest import DataFile

    from gpuquery.runner.output.tables.iceberg.file_io import StoreIO

THREADS = 16
_CODEC: Any = "gzip"
"""Of manifests, whatever `write.avro.compression-codec` says: every reader knows it, and not all that Spark takes is
written here."""


@dataclass(frozen=True)
class Draft:
    """What a commit asks for."""

    snapshot_id: int
    requirements: tuple[Any, ...]
    updates: tuple[Any, ...]
    files: Sequence[str]
    """Places of the files that were written for it: nobody needs them if it is refused."""
    summary: Mapping[str, str]
    branch: str
    follows: int | None
    """The snapshot before it; None: it is the first."""
    sequence: int
    """Its number in the table."""

    def is_outdated(self, metadata: Any) -> bool:
        """Whether no catalog can carry it out any more, not even a delivery of the request that is still under way."""
        now = head(metadata, self.branch)
        return (None if now is None else now.snapshot_id) != self.follows


@dataclass(frozen=True)
class Change:
    """What a commit does to a branch of a table."""

    branch: str
    added: Mapping[int, Sequence[DataFile]]
    """New data files, by partition spec."""
    removes: Callable[[DataFile, int], bool] | None
    """Which data files go; None: none."""
    properties: Mapping[str, str]
    """For the snapshot's summary."""
    written: Sequence[str] = ()
    """Places of those of `added` that were written for this very commit."""


def head(metadata: Any, branch: str) -> Any:
    """Return the snapshot that a commit to a branch follows; None if there is none.

    A branch that does not exist begins at the table's current snapshot, as with Iceberg's own writers.
    """
    found = metadata.snapshot_by_name(branch)
    return found if found is not None else metadata.current_snapshot()


def draft(metadata: Any, change: Change, file_io: StoreIO) -> Draft:
    """Write the manifests of a snapshot that follows a branch's present one. Raises JobError.

    `metadata` has the schema that the snapshot has.
    """
    return _Drafting(metadata, change, file_io).made()


class _Drafting:
    def __init__(self, metadata: Any, change: Change, file_io: StoreIO) -> None:
        self._metadata, self._change, self._io = metadata, change, file_io
        # The table's own provider is any callable of Python that one of its properties names.
        self._locations = SimpleLocationProvider(metadata.location, metadata.properties)
        self._parent = head(metadata, change.branch)
        self._id: int = metadata.new_snapshot_id()
        self._mark = uuid.uuid4()
        self._written: list[str] = [*change.written]
        self._counts = UpdateMetrics()
        self._partitions: set[tuple[Any, ...]] = set()
        self._removed = 0

    def made(self) -> Draft:
        metadata, change = self._metadata, self._change
        manifests = self._kept()
        for spec_id, added in change.added.items():
            manifests.insert(0, self._manifest(spec_id, [(ManifestEntryStatus.ADDED, one, None) for one in added]))
            for one in added:
                self._counts.add_file(one)
                self._count_partition(one, spec_id)
        path = self._place(f"snap-{self._id}-0-{self._mark}.avro")
        parent = None if self._parent is None else self._parent.snapshot_id
        sequence = metadata.next_sequence_number()
        listing = write_manifest_list(
            format_version=metadata.format_version,
            output_file=self._io.new_output(path),
            snapshot_id=self._id,
            parent_snapshot_id=parent,
            sequence_number=sequence,
            avro_compression=_CODEC,
        )
        with listing as writer:
            writer.add_manifests(manifests)
        summary = update_snapshot_summaries(
            Summary(Operation.OVERWRITE if self._removed else Operation.APPEND, **self._told(), **change.properties),
            self._totals(),
        )
        snapshot = Snapshot(
            snapshot_id=self._id,
            parent_snapshot_id=parent,
            manifest_list=path,
            sequence_number=sequence,
            summary=summary,
            schema_id=metadata.current_schema_id,
        )
        ref = metadata.refs.get(change.branch)
        known = {} if ref is None else ref.model_dump(exclude={"snapshot_id", "snapshot_ref_type"}, exclude_none=True)
        to = SetSnapshotRefUpdate(ref_name=change.branch, type=SnapshotRefType.BRANCH, snapshot_id=self._id, **known)
        requirements = [
            AssertTableUUID(uuid=metadata.table_uuid),
            AssertRefSnapshotId(ref=change.branch, snapshot_id=None if ref is None else ref.snapshot_id),
        ]
        if ref is None and change.branch != MAIN_BRANCH:
            requirements.append(AssertRefSnapshotId(ref=MAIN_BRANCH, snapshot_id=parent))
        return Draft(
            self._id, tuple(requirements), (AddSnapshotUpdate(snapshot=snapshot), to), tuple(self._written),
            summary.additional_properties, change.branch, parent, sequence,
        )  # fmt: skip

    def _count_partition(self, file: DataFile, spec_id: int) -> None:
        # pyiceberg's own count writes partitions as people read them, and fails at days that Python has no dates for.
        if values := tuple(file.partition[number] for number in range(len(file.partition))):
            self._partitions.add((spec_id, *values))

    def _told(self) -> dict[str, str]:
        """What the summary says of this change."""
        partitions = {"changed-partition-count": str(len(self._partitions))} if self._partitions else {}
        return {**self._counts.to_dict(), **partitions}

    def _totals(self) -> Mapping[str, str] | None:
        """What the snapshot before tells of the whole table, as far as these are numbers; None if there is none."""
        if self._parent is None:
            return None
        told = {} if self._parent.summary is None else self._parent.summary.additional_properties
        numbers = {name: text for name, text in told.items() if text.isascii() and text.isdecimal()}
        return numbers or {"": ""}  # pyiceberg counts from 0 if there is nothing

    def _kept(self) -> list[Any]:
        """Return the manifests of what stays, written anew where files of one go and others stay."""
        if self._parent is None:
            return []
        found = self._parent.manifests(self._io)
        if self._change.removes is None:
            return [one for one in found if one.has_added_files() or one.has_existing_files()]
        data = [one for one in found if one.content == ManifestContent.DATA]
        kept = [one for one in found if one.content != ManifestContent.DATA]
        with ThreadPoolExecutor(THREADS, "manifests") as pool:
            read = list(pool.map(lambda one: one.fetch_manifest_entry(self._io, discard_deleted=True), data))
        gone: dict[int, list[ManifestEntry]] = defaultdict(list)
        for manifest, entries in zip(data, read, strict=True):
            goes = [self._change.removes(entry.data_file, manifest.partition_spec_id) for entry in entries]
            gone[manifest.partition_spec_id] += [entry for entry, out in zip(entries, goes, strict=True) if out]
            stays = [entry for entry, out in zip(entries, goes, strict=True) if not out]
            if stays and len(stays) < len(entries):
                some = [(ManifestEntryStatus.EXISTING, entry.data_file, entry) for entry in stays]
                kept.append(self._manifest(manifest.partition_spec_id, some))
            elif stays:
                kept.append(manifest)
        for spec_id, entries in gone.items():
            if entries:
                self._removed += len(entries)
                some = [(ManifestEntryStatus.DELETED, entry.data_file, entry) for entry in entries]
                kept.append(self._manifest(spec_id, some))
                for entry in entries:
                    self._counts.remove_file(entry.data_file)
                    self._count_partition(entry.data_file, spec_id)
        return kept

    def _manifest(
        self, spec_id: int, entries: Sequence[tuple[ManifestEntryStatus, DataFile, ManifestEntry | None]]
    ) -> Any:
        writer = write_manifest(
            format_version=self._metadata.format_version,
            spec=self._metadata.specs()[spec_id],
            schema=self._schema_of(spec_id),
            output_file=self._io.new_output(self._place(f"{self._mark}-m{len(self._written)}.avro")),
            snapshot_id=self._id,
            avro_compression=_CODEC,
        )
        with writer:
            for status, file, entry in entries:
                writer.add_entry(
                    ManifestEntry.from_args(
                        status=status,
                        snapshot_id=entry.snapshot_id
                        if entry is not None and status == ManifestEntryStatus.EXISTING
                        else self._id,
                        sequence_number=None if entry is None else entry.sequence_number,
                        file_sequence_number=None if entry is None else entry.file_sequence_number,
                        data_file=file,
                    )
                )
        return writer.to_manifest_file()

    def _schema_of(self, spec_id: int) -> Any:
        """The newest schema that has all columns of a partition spec: those of an older one may have been dropped."""
        wanted = {one.source_id for one in self._metadata.specs()[spec_id].fields}
        known = [self._metadata.schema(), *sorted(self._metadata.schemas, key=lambda one: -one.schema_id)]
        return next((one for one in known if wanted <= one.field_ids), known[0])

    def _place(self, name: str) -> str:
        self._written.append(self._locations.new_metadata_location(name))
        return self._written[-1]
