"""The pointer: what the table is, in one small object that any program can read.

    _current.json                               the live version: its files with rows and bytes, its columns
    _commits/00000000000000000007.files.json    the files, if there are more than the pointer takes

Whoever publishes a version moves the pointer once all files of that version are visible, and before any is deleted that
it replaces. The pointer only ever goes forward: it is written over just what was read (`Store.update`), so that a slow
publisher never puts an older version over a newer one. The log alone decides. A pointer that cannot be right is made
anew from it by the next publisher. One that is, but names other files than the log, is built upon until the next
overwrite: to read all records again for each commit would cost too much. `gpuquery fsck` finds it, and mends it.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from gpuquery.api.reasons import Failure
from gpuquery.api.schema import Lenient
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output.genuine import is_part
from gpuquery.runner.output.log import MAX_RECORD_BYTES
from gpuquery.runner.output.record import Column, Count, Text
from gpuquery.runner.stores.base import COMMITS, DATA

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpuquery.runner.output.log import Log
    from gpuquery.runner.output.record import CommitRecord
    from gpuquery.runner.stores.base import Store

_LOG = logging.getLogger(__name__)

POINTER = "_current.json"
MOST_BYTES = 16 << 20
"""Longest pointer that is read. A runner writes some two megabytes at most."""
INLINE = 1000
"""Files that the pointer itself names; more are in a list of their own."""
KEPT = 10
"""Lists of older versions that stay, for who has read the pointer a while ago."""


class LiveFile(Lenient):
    """A file of the table."""

    path: Text
    """Its path below the table's folder, percent-encoded as the object's key is."""
    rows: Count
    bytes: Count


class Pointer(Lenient):
    """The table at its live version."""

    format: Literal[1] = 1
    version: Count
    committed: datetime
    """When the version was committed."""
    columns: tuple[Column, ...]
    """All columns of the table with their Polars types, those of folders too."""
    partition_by: tuple[str, ...] = ()
    """Columns that are folders."""
    rows: Count
    bytes: Count
    count: Count
    """Files."""
    files: tuple[LiveFile, ...] | None = None
    """All files; None if they are in `list`."""
    list: Text | None = None
    """Key of the list of all files, if there are more than 1,000."""
    lists: Annotated[tuple[Count, ...], Field(max_length=KEPT + 1)] = ()
    """Versions whose lists are still there."""


_FILES = TypeAdapter(tuple[LiveFile, ...])


def read(store: Store) -> Pointer | None:
    """Return the pointer; None if there is none that can be read."""
    return _parsed(_get(store, POINTER, MOST_BYTES))


def files(store: Store, pointer: Pointer) -> tuple[LiveFile, ...] | None:
    """Return the files that a pointer names; None if they are not what it says, or are gone."""
    found = pointer.files
    if found is None and pointer.list == list_key(pointer.version):
        try:
            found = _FILES.validate_json(_get(store, pointer.list, MAX_RECORD_BYTES) or b"")
        except ValidationError:
            return None
    if found is None or _sums(found) != (pointer.count, pointer.rows, pointer.bytes):
        return None
    if len({one.path for one in found}) < len(found):
        return None
    return found if all(one.path.startswith(DATA) and is_part(one.path.removeprefix(DATA)) for one in found) else None


def list_key(version: int) -> str:
    """Key of the list of a version's files."""
    return f"{COMMITS}{version:020d}.files.json"


def advance(store: Store, log: Log, version: int) -> None:
    """Move the pointer to a version whose files are visible, or to a newer one that is published."""
    wanted = max([version, *(entry.version for entry in log.tables() if entry.done)])

    def forward(body: bytes | None) -> bytes | None:
        before = _parsed(body)
        if before is not None and not _knows(log, before.version):
            log.refresh()
        if before is not None and not _knows(log, before.version):
            before = None  # no version is as the pointer says: somebody has forged it, or taken that version back
        if before is not None and before.version >= wanted:
            return None
        return _write(store, log, wanted, before)

    _update(store, forward)


def renew(store: Store, log: Log) -> None:
    """Make the pointer anew from the log alone: back too, but only from a version that is not in the log."""

    def anew(body: bytes | None) -> bytes | None:
        log.refresh()
        published = [entry.version for entry in log.tables() if entry.done]
        before = _parsed(body)
        if not published or (before and before.version > published[-1] and _knows(log, before.version)):
            return None
        made = _write(store, log, published[-1], None)
        return None if before == _parsed(made) else made

    _update(store, anew)


def _update(store: Store, change: Callable[[bytes | None], bytes | None]) -> None:
    try:
        if (store.size(POINTER) or 0) > MOST_BYTES:
            store.delete([POINTER])  # no runner has written it, and it may not fit into memory
        store.update(POINTER, change)
    except JobError as exc:
        if exc.failure not in (Failure.UNSAFE_STORE, Failure.STORAGE_AUTH):
            raise
        # The table is whole without it, and nobody may write it here.
        _LOG.warning("the pointer %s is not moved: %s", POINTER, exc.message)


def _write(store: Store, log: Log, version: int, before: Pointer | None) -> bytes:
    """Return the pointer to a version; writes its list, where it needs one."""
    found = _live(store, log, version, before)
    (record,) = log.read([version])
    lists = () if before is None else before.lists
    if long := len(found) > INLINE:
        store.put(list_key(version), _FILES.dump_json(found))
        store.delete([list_key(old) for old in lists[:-KEPT]])
        lists = (*(old for old in lists[-KEPT:] if old != version), version)
    count, rows, size = _sums(found)
    pointer = Pointer(
        version=version,
        committed=record.created,
        columns=record.columns,
        partition_by=record.partition_by,
        rows=rows,
        bytes=size,
        count=count,
        files=None if long else found,
        list=list_key(version) if long else None,
        lists=lists,
    )
    return pointer.model_dump_json(by_alias=True, exclude_none=True).encode()


def _live(store: Store, log: Log, version: int, before: Pointer | None) -> tuple[LiveFile, ...]:
    """Return the files of a version, by those of the pointer before and what has been committed since."""
    since = [entry for entry in log.tables() if entry.version <= version]
    start = max((n for n, entry in enumerate(since) if entry.replaces), default=0)
    known = None if before is None or before.version < since[start].version else files(store, before)
    if before is None or known is None:
        return live(log, version)
    found = {one.path: one for one in known}
    for record in log.read([entry.version for entry in since if entry.version > before.version]):
        _apply(found, record)
    return tuple(found[path] for path in sorted(found))


def live(log: Log, version: int) -> tuple[LiveFile, ...]:
    """Return the files of a version as the log tells them, sorted by their paths."""
    staged = [file for _, file in log.live(version).values()]
    found = [LiveFile(path=DATA + file.path, rows=file.rows, bytes=file.bytes) for file in staged]
    return tuple(sorted(found, key=lambda one: one.path))


def _apply(found: dict[str, LiveFile], record: CommitRecord) -> None:
    for path in record.remove:
        found.pop(DATA + path, None)
    for file in record.add:
        found[DATA + file.path] = LiveFile(path=DATA + file.path, rows=file.rows, bytes=file.bytes)


def _get(store: Store, key: str, most: int) -> bytes | None:
    """Read an object that others can write; None if it is longer than any runner makes it."""
    return store.get(key) if (store.size(key) or 0) <= most else None


def _parsed(body: bytes | None) -> Pointer | None:
    try:
        return None if body is None else Pointer.model_validate_json(body)
    except ValidationError:
        return None


def _knows(log: Log, version: int) -> bool:
    return any(entry.version == version for entry in log.tables())


def _sums(found: Sequence[LiveFile]) -> tuple[int, int, int]:
    return len(found), sum(one.rows for one in found), sum(one.bytes for one in found)
