"""The log: which versions the table has, who committed them, and what is live.

    _commits/00000000000000000007.json                         the record; exists = committed
    _commits/00000000000000000007.append.1.<uid>.done          a marker; exists = published

The marker's name repeats who committed and how, so one LIST answers "has this job committed before?" for a log of any
length, and only records without a marker, or whose files are to be removed, are ever read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output import genuine
from gpuquery.runner.output.modes import MODES
from gpuquery.runner.output.record import FENCE, MAX_VERSION, CommitRecord, owner_of
from gpuquery.runner.stores.base import COMMITS, Store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.runner.output.record import StagedFile

_DIGITS = 20
_RECORD = ".json"
_MARKER = ".done"
_NAME = re.compile(
    rf"{COMMITS}(?P<version>[0-9]{{{_DIGITS}}})"
    r"(?:\.json|\.(?P<mode>[A-Za-z]+)\.(?P<attempt>[1-9][0-9]{0,8})\.(?P<uid>[^/]+)\.done)"
)
MAX_RECORD_BYTES = 256 << 20
"""Longest record that is read: some six hundred thousand files."""


@dataclass(frozen=True)
class Entry:
    """A version of the log, in short."""

    version: int
    mode: str
    attempt: int
    uid: str
    done: bool

    @property
    def is_fence(self) -> bool:
        """Whether it only keeps old attempts from committing."""
        return self.mode == FENCE

    @property
    def replaces(self) -> bool:
        """Whether no version before it matters for what the table holds."""
        return (mode := MODES.get(self.mode)) is not None and mode.replaces


class Log:
    """The log of one table, as of the last `refresh`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._entries: dict[int, Entry] = {}
        self._records: dict[int, CommitRecord] = {}

    def refresh(self) -> None:
        """Read what is new: one LIST, and a GET for each version that is not published."""
        seen: set[int] = set()
        for item in self._store.list(COMMITS, after=self._known()):
            found = _NAME.fullmatch(item.key)
            if found is None:
                continue  # a report, or nothing of ours
            version = _plausible(item.key, int(found["version"]))
            if found["mode"]:
                self._mark(item.key, Entry(version, found["mode"], int(found["attempt"]), unquote(found["uid"]), True))
            elif item.bytes > MAX_RECORD_BYTES:
                raise genuine.bad(item.key, f"it has {item.bytes} bytes, and the longest record {MAX_RECORD_BYTES}")
            else:
                seen.add(version)
        fresh = sorted(v for v in seen if v not in self._entries)
        for record in self.read(fresh):
            self._entries[record.version] = Entry(
                record.version, record.mode, record.attempt, record.job.uid, record.mode == FENCE
            )

    def entries(self) -> Sequence[Entry]:
        """All versions, oldest first."""
        return [self._entries[v] for v in sorted(self._entries)]

    def tables(self) -> Sequence[Entry]:
        """All versions that say something about data, oldest first."""
        return [entry for entry in self.entries() if not entry.is_fence]

    def find(self, uid: str) -> Entry | None:
        """The one commit of a job, if there is one."""
        return next((entry for entry in self.tables() if entry.uid == uid), None)

    def fenced(self, owner: str) -> int:
        """The newest attempt of a job (by its eight digits) that may not commit any more; 0 if there is none."""
        return max((e.attempt for e in self._entries.values() if e.is_fence and owner_of(e.uid) == owner), default=0)

    def next_version(self) -> int:
        """The version that the next commit would get. Raises UnsafeStore if there are no numbers left."""
        last = max(self._entries, default=0)
        if last + 1 >= MAX_VERSION:
            raise genuine.bad(record_key(last), f"no version can follow {last}, and no table comes so far")
        return last + 1

    def read(self, versions: Sequence[int]) -> Sequence[CommitRecord]:
        """Read records, several at a time; each at most once. Raises UnsafeStore for one that no runner writes."""
        missing = [v for v in versions if v not in self._records]
        for version, body in zip(missing, self._store.parallel(self._fetch, missing), strict=True):
            record = genuine.read_record(record_key(version), body, version, self._store.can_be)
            if (entry := self._entries.get(version)) is not None:
                genuine.check_marker(
                    f"the marker of {record_key(version)}", (entry.mode, entry.attempt, entry.uid), record
                )
            self._records[version] = record
        return [self._records[v] for v in versions]

    def latest(self) -> CommitRecord | None:
        """The newest record that says something about data."""
        tables = self.tables()
        return self.read([tables[-1].version])[0] if tables else None

    def live(self, until: int | None = None) -> Mapping[str, tuple[CommitRecord, StagedFile]]:
        """Files that make up the table now, or at a version, each with the commit that brought it, by their paths
        below data/.

        Nothing before the last overwrite matters.
        """
        tables = [entry for entry in self.tables() if until is None or entry.version <= until]
        start = max((n for n, entry in enumerate(tables) if entry.replaces), default=0)
        files: dict[str, tuple[CommitRecord, StagedFile]] = {}
        for record in self.read([entry.version for entry in tables[start:]]):
            for path in record.remove:
                files.pop(path, None)
            files.update((file.path, (record, file)) for file in record.add)
        return files

    def append(self, record: CommitRecord) -> bool:
        """Commit: True if this record is now the version that it says; False if that version was taken.

        A record that readers would refuse is not written: it would block the table for every later job.
        """
        key, body = record_key(record.version), record.model_dump_json().encode()
        genuine.check_record(key, record, record.version, self._store.can_be)
        if len(body) > MAX_RECORD_BYTES:
            raise JobError(
                Failure.OUTPUT_LIMIT,
                f"the commit's record would have {len(body):,} bytes, and at most {MAX_RECORD_BYTES:,} are read: write "
                f"fewer files than {len(record.add):,}, or replace fewer than {len(record.remove):,}",
            )
        if not self._store.create(key, body):
            return False
        self._entries[record.version] = Entry(
            record.version, record.mode, record.attempt, record.job.uid, record.mode == FENCE
        )
        self._records[record.version] = record
        return True

    def mark_done(self, record: CommitRecord) -> None:
        """Say that a record is published. Safe to repeat."""
        self._store.put(_marker(record), b"")
        self._entries[record.version] = Entry(record.version, record.mode, record.attempt, record.job.uid, True)

    def is_done(self, record: CommitRecord) -> bool:
        """Ask the store whether the record is published."""
        return self._store.size(_marker(record)) is not None

    def _fetch(self, version: int) -> bytes:
        key = record_key(version)
        if (body := self._store.get(key)) is None:
            raise genuine.bad(key, "it is missing, but a marker of its version is there")
        return body

    def _mark(self, key: str, entry: Entry) -> None:
        known = self._entries.get(entry.version)
        if known is not None and replace(known, done=True) != entry:
            raise genuine.bad(key, f"version {entry.version} is attempt {known.attempt} of {known.uid} by another name")
        self._entries[entry.version] = entry

    def _known(self) -> str:
        """The key up to which nothing can be new: everything before it is published."""
        last = ""
        for entry in self.entries():
            if not entry.done:
                break
            last = f"{COMMITS}{entry.version:0{_DIGITS}d}.~"
        return last


def record_key(version: int) -> str:
    """Key of the record of a version."""
    return f"{COMMITS}{version:0{_DIGITS}d}{_RECORD}"


def _plausible(key: str, version: int) -> int:
    if not 1 <= version < MAX_VERSION:
        raise genuine.bad(key, f"version {version} is not a number from 1 to {MAX_VERSION - 1}")
    return version


def _marker(record: CommitRecord) -> str:
    uid = quote(record.job.uid, safe="")
    return f"{COMMITS}{record.version:0{_DIGITS}d}.{record.mode}.{record.attempt}.{uid}{_MARKER}"
