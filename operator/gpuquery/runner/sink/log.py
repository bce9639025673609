"""The log: which versions the table has, who committed them, and what is live.

    _commits/00000000000000000007.json                         the record; exists = committed
    _commits/00000000000000000007.append.1.<uid>.done          a marker; exists = published

The marker's name repeats who committed and how, so one LIST answers "has this job committed before?" for a log of any
length, and only records without a marker, or whose files are to be removed, are ever read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote

from gpuquery.api.spec import OutputMode
from gpuquery.runner.sink.record import FENCE, CommitRecord, owner_of, read_record
from gpuquery.runner.sink.store import COMMITS, Store

_DIGITS = 20
_RECORD = ".json"
_MARKER = ".done"


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
            name = item.key.removeprefix(COMMITS)
            version = name[:_DIGITS]
            if not version.isdigit():
                continue
            if name.endswith(_MARKER):
                mode, attempt, uid = name[_DIGITS + 1 :].removesuffix(_MARKER).split(".", 2)
                self._entries[int(version)] = Entry(int(version), mode, int(attempt), unquote(uid), True)
            elif name == version + _RECORD:
                seen.add(int(version))
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
        """The version that the next commit would get."""
        return max(self._entries, default=0) + 1

    def read(self, versions: Sequence[int]) -> Sequence[CommitRecord]:
        """Read records, several at a time; each at most once."""
        missing = [v for v in versions if v not in self._records]
        for version, body in zip(missing, self._store.parallel(self._fetch, missing), strict=True):
            self._records[version] = read_record(_key(version), body)
        return [self._records[v] for v in versions]

    def latest(self) -> CommitRecord | None:
        """The newest record that says something about data."""
        tables = self.tables()
        return self.read([tables[-1].version])[0] if tables else None

    def live(self) -> Sequence[str]:
        """Paths below data/ that make up the table now. Nothing before the last overwrite matters."""
        tables = self.tables()
        start = max((n for n, entry in enumerate(tables) if entry.mode == OutputMode.OVERWRITE), default=0)
        files: dict[str, None] = {}
        for record in self.read([entry.version for entry in tables[start:]]):
            for path in record.remove:
                files.pop(path, None)
            files.update(dict.fromkeys(file.path for file in record.add))
        return list(files)

    def append(self, record: CommitRecord) -> bool:
        """Commit: True if this record is now the version that it says; False if that version was taken."""
        return self._store.create(_key(record.version), record.model_dump_json().encode())

    def mark_done(self, record: CommitRecord) -> None:
        """Say that a record is published. Safe to repeat."""
        self._store.put(_marker(record), b"")
        self._entries[record.version] = Entry(record.version, record.mode, record.attempt, record.job.uid, True)

    def is_done(self, record: CommitRecord) -> bool:
        """Whether somebody has published the record: asks the store."""
        return self._store.size(_marker(record)) is not None

    def _fetch(self, version: int) -> bytes:
        return self._store.get(_key(version)) or b""

    def _known(self) -> str:
        """The key up to which nothing can be new: everything before it is published."""
        last = ""
        for entry in self.entries():
            if not entry.done:
                break
            last = f"{COMMITS}{entry.version:0{_DIGITS}d}.~"
        return last


def _key(version: int) -> str:
    return f"{COMMITS}{version:0{_DIGITS}d}{_RECORD}"


def _marker(record: CommitRecord) -> str:
    uid = quote(record.job.uid, safe="")
    return f"{COMMITS}{record.version:0{_DIGITS}d}.{record.mode}.{record.attempt}.{uid}{_MARKER}"
