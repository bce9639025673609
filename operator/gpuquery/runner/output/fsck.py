"""Checks of a table: whether log and files are what runners have written; and repairs of what is safe to repair.

Five things are safe. To finish a version that is committed and not published, which every writer does. To delete a
file that a published version has replaced. To make the pointer anew from the log. To remove the kept rows of a failed
job whose time is over. And, only when asked for by its
number, to take back the newest version if it can never be published, because the bytes of some of its files are gone,
and nothing that was there before has been deleted for it: files are replaced only once all new ones are visible, and
nothing is built on it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from gpuquery.api.output import OutputMode
from gpuquery.api.reasons import Failure
from gpuquery.plan.plan import JobRef
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output import keep_failed, pointer
from gpuquery.runner.output.commit import Committer
from gpuquery.runner.output.log import Log, record_key
from gpuquery.runner.output.record import FENCE, CommitRecord, parse_part
from gpuquery.runner.output.upload import PIECE, SMALL_PIECE
from gpuquery.runner.parquet import footer
from gpuquery.runner.stores.base import COMMITS, DATA, Dangling, Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gpuquery.runner.output.record import StagedFile

TRIES = 5
"""Listings of the files, until one shows what the log tells: no job must commit meanwhile."""
MOST_NAMED = 3
"""Files that one finding names."""
_MD5_DIGITS = 32


class Level(StrEnum):
    """How grave a finding is."""

    ERROR = "error"
    """Readers get other rows than were committed, or no job can write to the table."""
    WARNING = "warning"
    """The next job that writes mends it, or readers may take what is no part of the table for one."""
    NOTE = "note"
    """Nothing is wrong."""


@dataclass(frozen=True)
class Finding:
    """What is wrong, and how to mend it."""

    level: Level
    what: str
    way: str = ""
    """The way out."""


@dataclass(frozen=True)
class Health:
    """A table, and what was found."""

    versions: int
    """Commits that changed data."""
    files: int
    rows: int
    bytes: int
    compared: int
    """Files whose bytes were read and compared with the checksums of their uploads."""
    findings: Sequence[Finding]

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return all(one.level is Level.NOTE for one in self.findings)


def check(store: Store, *, deep: bool = False) -> Health:
    """Check a table; with `deep` all of its bytes are read, one file at a time, and held in memory.

    Raises JobError: UnsafeStore for an entry of the log that no runner writes.
    """
    return _Check(store).run(deep=deep)


def repair(store: Store) -> None:
    """Publish what is committed, delete what published versions have replaced, and mend the pointer.

    Safe to repeat, and beside writers. Raises JobError(StorageUnavailable) if a version cannot be published.
    """
    mender = Committer(store, JobRef(namespace="", name="fsck", uid="fsck"), 1, OutputMode.APPEND)
    mender.log.refresh()
    mender.settle()
    found = _Check(store)
    store.delete([DATA + path for path in found.replaced()])
    pointer.renew(store, found.log)
    keep_failed.sweep(store)


def void(store: Store, version: int) -> None:
    """Take back a version that is committed and can never be published. Safe to repeat, but not beside a writer.

    Raises JobError(InvalidPlan) for any other version, with the reason.
    """
    found = _Check(store)
    record = found.unpublished().get(version)
    if record is None or not found.lost(record):
        why = "it is published" if record is None else "none of its bytes are missing: `--repair` publishes it"
        if version not in {entry.version for entry in found.log.tables()}:
            why = "the table has no such version"
        raise JobError(Failure.INVALID_PLAN, f"version {version} cannot be taken back: {why}")
    if gone := found.gone(record):
        why = (
            f"{_some(gone)}, which it replaces, {_are(gone)} deleted already, so its files hold the only rows there are"
        )
        raise JobError(Failure.INVALID_PLAN, f"version {version} cannot be taken back: {why}")
    store.delete([DATA + file.path for file in record.add])
    store.parallel(lambda file: store.abort(DATA + file.path, file.upload_id), record.add)
    # Last: a crash before this leaves a version that can be taken back again.
    store.delete([record_key(version)])
    if any(entry.version > version for entry in found.log.entries()):  # only fences are: a hole would stay
        fence = CommitRecord(
            version=version, job=record.job, attempt=record.attempt, mode=FENCE, created=datetime.now(UTC)
        )
        if found.log.append(fence):
            found.log.mark_done(fence)
    store.delete([pointer.POINTER])  # it may name that version
    now = Log(store)
    now.refresh()
    pointer.renew(store, now)


class _Check:
    """The log and the listings of a table, as of one moment."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.log = Log(store)
        self.log.refresh()
        for _ in range(TRIES):
            before = self.log.entries()
            # First, because an upload becomes a file.
            self._uploads: Sequence[Dangling] = list(store.dangling())
            self._sizes: Mapping[str, int] = {
                item.key.removeprefix(DATA): item.bytes for item in store.list(DATA) if not item.key.endswith("/")
            }
            self._pointer = pointer.read(store)
            self.log.refresh()
            if self.log.entries() == before:
                break
        else:
            raise JobError(
                Failure.STORAGE_UNAVAILABLE,
                f"jobs have committed while the files were listed, {TRIES} times: check the table when fewer write",
            )
        self._live = self.log.live()

    def run(self, *, deep: bool) -> Health:
        """Make all checks."""
        findings = [
            *self._of_log(), *self._of_versions(), *self._of_live(), *self._of_others(), *self._of_pointer(),
            *self._of_uploads(), *self._of_failed(),
        ]  # fmt: skip
        compared = 0
        for path, (record, file) in self._live.items() if deep else ():
            if self._sizes.get(path) == file.bytes:
                has_sum, wrong = self._read(file)
                compared += has_sum
                if wrong and self._still_live(path):
                    findings.append(Finding(Level.ERROR, f"{_name(path, record)} {wrong}", _RESTORE))
        return Health(
            versions=len(self.log.tables()),
            files=len(self._live),
            rows=sum(file.rows for _, file in self._live.values()),
            bytes=sum(file.bytes for _, file in self._live.values()),
            compared=compared,
            findings=findings,
        )

    def unpublished(self) -> Mapping[int, CommitRecord]:
        """Versions that are committed, and not published."""
        versions = [entry.version for entry in self.log.tables() if not entry.done]
        return dict(zip(versions, self.log.read(versions), strict=True))

    def lost(self, record: CommitRecord) -> Sequence[StagedFile]:
        """Files of a version that are neither visible nor uploads."""
        there = {upload.upload_id: upload.pieces for upload in self._uploads}

        def whole(file: StagedFile) -> bool:
            return file.upload_id in there and there[file.upload_id] in (None, len(file.pieces))

        return [file for file in record.add if self._sizes.get(file.path) != file.bytes and not whole(file)]

    def gone(self, record: CommitRecord) -> Sequence[str]:
        """Files that a version replaces and that are deleted already: that begins when all of its own are visible."""
        return [path for path in record.remove if path not in self._sizes]

    def replaced(self) -> Mapping[str, int]:
        """Files that are there although a published version has replaced them, with that version."""
        others = self._others()
        records = self.log.read([entry.version for entry in self.log.tables() if entry.done]) if others else ()
        removed = {path: record.version for record in records for path in record.remove}
        return {path: removed[path] for path in others if path in removed}

    def _others(self) -> Sequence[str]:
        """Files below data/ that are no part of the table."""
        known = {*self._live, *(file.path for record in self.unpublished().values() for file in record.add)}
        # An unpublished overwrite replaces files that are there until it is published.
        known |= {path for record in self.unpublished().values() for path in record.remove}
        return sorted(path for path in self._sizes if path not in known)

    def _of_log(self) -> Iterator[Finding]:
        records = {item.key for item in self._store.list(COMMITS)}
        numbers = [entry.version for entry in self.log.entries()]
        for version in sorted(set(range(1, max(numbers, default=0))) - set(numbers)):
            yield Finding(Level.WARNING, f"version {version} has no record: somebody has deleted it, or taken it back")
        for version in numbers:
            if record_key(version) not in records:
                text = f"{record_key(version)} is missing, but the marker of its version is there"
                yield Finding(Level.ERROR, text, "restore it from a backup, or from older versions of the bucket")

    def _of_versions(self) -> Iterator[Finding]:
        for version, record in self.unpublished().items():
            who = f"version {version}, committed by job {record.job.namespace}/{record.job.name}"
            if lost := self.lost(record):
                text = f"{who}, can never be published: the bytes of {_some([file.path for file in lost])} are gone"
                back = f"`--void {version}` takes it back; then run that job again"
                yield Finding(Level.ERROR, text, _RESTORE_THESE if self.gone(record) else back)
            else:
                there = sum(self._sizes.get(file.path) == file.bytes for file in record.add)
                text = f"{who}, is not published: {there} of its {len(record.add)} files are visible"
                yield Finding(Level.WARNING, text, "`--repair`, or the next job that writes here, publishes it")

    def _of_live(self) -> Iterator[Finding]:
        waiting = self.unpublished()
        for path, (record, file) in self._live.items():
            size = self._sizes.get(path)
            if record.version not in waiting and size != file.bytes:
                state = "is missing" if size is None else f"has {size:,} bytes, and {file.bytes:,} were written"
                yield Finding(Level.ERROR, f"{_name(path, record)} {state}; it had {file.rows:,} rows", _RESTORE)

    def _of_others(self) -> Iterator[Finding]:
        replaced = self.replaced()
        for path, version in replaced.items():
            text = f"{DATA}{path} is still there, although version {version} has replaced it: readers see its rows"
            yield Finding(Level.ERROR, text, "`--repair` deletes it")
        left = [path for path in self._others() if path not in replaced]
        if ours := [path for path in left if parse_part(path)]:
            text = f"{_some(ours)} of this table's folder {_are(ours)} in no version: readers see their rows"
            yield Finding(Level.ERROR, text, "find out whose they are, and move them out of the folder")
        if strange := [path for path in left if not parse_part(path) and path.rpartition("/")[2][0] not in "_."]:
            text = (
                f"{_some(strange)} {_are(strange)} not written by GpuQuery, and some readers read what lies there as "
                "part of the table"
            )
            yield Finding(Level.WARNING, text, "move them out of the folder")

    def _of_pointer(self) -> Iterator[Finding]:
        published = [entry.version for entry in self.log.tables() if entry.done]
        told = self._pointer
        if told is None:
            if published:
                text = f"{pointer.POINTER} is missing, or cannot be read: who reads the table by it finds nothing"
                yield Finding(Level.WARNING, text, _REPOINT)
            return
        if told.version < max(published, default=0) or told.version not in {e.version for e in self.log.tables()}:
            text = f"{pointer.POINTER} names version {told.version}, and {max(published, default=0)} is published"
            yield Finding(Level.WARNING, f"{text}: who reads the table by it reads another one", _REPOINT)
        elif pointer.files(self._store, told) != pointer.live(self.log, told.version):
            text = f"{pointer.POINTER} names other files than the log tells of version {told.version}"
            yield Finding(Level.ERROR, f"{text}: who reads the table by it reads other rows", _REMAKE)

    def _of_uploads(self) -> Iterator[Finding]:
        wanted = {file.upload_id for record in self.unpublished().values() for file in record.add}
        if idle := [upload for upload in self._uploads if upload.upload_id not in wanted]:
            oldest = datetime.fromtimestamp(min(upload.begun for upload in idle), UTC)
            yield Finding(
                Level.NOTE,
                f"{len(idle)} uploads are not committed, the oldest since {oldest:%Y-%m-%d %H:%M} UTC: of jobs that "
                "run now, or that were killed",
                "the next job that writes here drops those that are older than a day",
            )

    def _of_failed(self) -> Iterator[Finding]:
        for left in keep_failed.found(self._store):
            many = "file" if len(left.files) == 1 else "files"
            text = f"{left.folder} has {len(left.files):,} {many} of a job whose result was not as expected"
            if left.until is None:
                yield Finding(Level.NOTE, f"{text}, and nothing says for how long", "delete them if nobody needs them")
                continue
            until = datetime.fromtimestamp(left.until, UTC)
            way = "`--repair`, or the next job that writes here, removes them" if left.over else ""
            was = "were" if left.over else "are"
            yield Finding(Level.NOTE, f"{text}: they {was} kept until {until:%Y-%m-%d %H:%M} UTC", way)

    def _still_live(self, path: str) -> bool:
        """Whether no job has replaced a file meanwhile: to read all files takes long."""
        self.log.refresh()
        return path in self.log.live()

    def _read(self, file: StagedFile) -> tuple[bool, str]:
        """Read a whole file; returns whether its upload has a checksum, and what is wrong with it, if anything is."""
        body = self._store.get(DATA + file.path)
        if body is None or len(body) != file.bytes:
            return False, "was changed while it was checked"
        try:
            rows = footer.row_count(body)
        except footer.NotParquetError as exc:
            return False, f"is no whole parquet file: {exc}"
        if rows != file.rows:
            return False, f"has {rows:,} rows, and {file.rows:,} were written"
        same = _same(body, [tag.strip('"') for tag in file.pieces])
        if same is False and not self._store.has_sums(DATA + file.path):
            return False, ""
        return same is not None, "has other bytes than were uploaded" if same is False else ""


_REMAKE = "`--repair` makes it anew; jobs that append take over what it names"
_REPOINT = "`--repair` makes it anew; so does the next job that commits here"
_RESTORE = "restore it from a backup or from older versions of the bucket, or write the table anew (mode overwrite)"
_RESTORE_THESE = "restore them from a backup or from older versions of the bucket, and `--repair` publishes it"


def _same(body: bytes, tags: Sequence[str]) -> bool | None:
    """Whether the bytes are those of which the store has said these tags; None where tags are no checksums.

    S3 says the MD5 of each piece, unless `Store.has_sums` denies it. All pieces but the last are of one size.
    """
    if any(len(tag) != _MD5_DIGITS or not set(tag) <= set("0123456789abcdef") for tag in tags):
        return None
    whole = len(tags) - 1
    sizes = [size for size in (PIECE, SMALL_PIECE) if whole * size < len(body)]
    return any(_sums(memoryview(body), size, whole) == list(tags) for size in sizes)


def _sums(body: memoryview, size: int, whole: int) -> Sequence[str]:
    """Return the MD5 of so many pieces of a size, and of the rest."""
    pieces = [*(body[number * size : (number + 1) * size] for number in range(whole)), body[whole * size :]]
    return [hashlib.md5(piece, usedforsecurity=False).hexdigest() for piece in pieces]


def _name(path: str, record: CommitRecord) -> str:
    return f"{DATA}{path} of version {record.version}"


def _some(paths: Sequence[str]) -> str:
    named = ", ".join(DATA + path for path in paths[:MOST_NAMED])
    return named + (f" and {len(paths) - MOST_NAMED} more" if len(paths) > MOST_NAMED else "")


def _are(paths: Sequence[str]) -> str:
    return "is" if len(paths) == 1 else "are"
