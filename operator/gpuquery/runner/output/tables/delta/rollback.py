"""Rollback of a Delta table: one commit that names the files of an earlier version, as RESTORE of other engines does.

Files that came later are removed, and those that are gone since are added again, each after a look whether it is still
in the store. Application transactions stay, so a job whose rows go this way does not run again. Columns, features and
properties stay as they are.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from gpuquery.api.reasons import Failure
from gpuquery.api.text import clean
from gpuquery.runner.inputs.tables.delta import actions, log, vectors
from gpuquery.runner.output.tables.delta import features, lines
from gpuquery.runner.output.tables.delta.commit import PATIENCE
from gpuquery.runner.output.tables.delta.state import State
from gpuquery.runner.stores.base import leads_out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.runner.failures.errors import JobError
    from gpuquery.runner.inputs.tables.delta.actions import Added, Snapshot
    from gpuquery.runner.output.tables.delta.place import Target

_ABSOLUTE = re.compile(r"/|[A-Za-z][A-Za-z0-9+.-]*:")
_RESTORE = "RESTORE in Spark, or DeltaTable(uri).restore({to}) in Python, takes them back too"


@dataclass(frozen=True)
class Restored:
    """What became of a table."""

    version: int
    restores: int
    added: int
    """Files that are there again."""
    removed: int


def rollback(target: Target, to: int) -> Restored:
    """Make a table what it was at a version. Raises JobError: InvalidPlan where there is no way back, UserError."""
    found = log.listed(target, until=-1)
    if not found.oldest <= to <= found.newest:
        raise _no_way(target, to, f"versions {found.oldest} to {found.newest} can be read")
    then = actions.replayed(target, log.segment(target, found, to))
    state = State(target)
    state.load()
    deadline = time.monotonic() + PATIENCE
    while True:
        assert state.snapshot is not None
        body, made = _entry(target, state, then)
        if state.commit(body) or target.store.get(log.commit_key(made.version)) == body:
            return made
        if time.monotonic() > deadline:
            raise target.refused("other writers are faster, again and again: try it when fewer write")


def _entry(target: Target, state: State, then: Snapshot) -> tuple[bytes, Restored]:
    """Build the next version from what is there now."""
    now = state.snapshot
    assert now is not None
    features.check(target, now, removes=True)
    _check_same(target, then, now)
    again = [one for key, one in then.files.items() if key not in now.files]
    later = [one for key, one in now.files.items() if key not in then.files]
    if not again and not later:
        raise _no_way(target, then.version, "that is what the table is now")
    _check_there(target, then.version, again)
    at = time.time_ns() // 1_000_000
    clock = {"inCommitTimestamp": max(at, state.clock + 1)} if features.times_in_commits(now) else {}
    info = {
        **clock,
        "timestamp": at,
        "operation": "RESTORE",
        "operationParameters": {"version": then.version, "timestamp": None},
        "operationMetrics": {
            "numRestoredFiles": str(len(again)), "restoredFilesSize": str(_bytes(again)),
            "numRemovedFiles": str(len(later)), "removedFilesSize": str(_bytes(later)),
            "numOfFilesAfterRestore": str(len(then.files)), "tableSizeAfterRestore": str(_bytes(then.files.values())),
        },
        "readVersion": now.version,
        "isolationLevel": "Serializable",
        "isBlindAppend": False,
        "engineInfo": "GpuQuery",
        "txnId": str(uuid.uuid4()),
    }  # fmt: skip
    found: list[dict[str, Any]] = [{"commitInfo": info}]
    found += [{"remove": lines.remove(one, at)} for one in later]
    found += [{"add": _add(one, at)} for one in again]
    body = "".join(f"{lines.dumped(one)}\n" for one in found).encode()
    return body, Restored(now.version + 1, then.version, len(again), len(later))


def _add(one: Added, time: int) -> dict[str, Any]:
    made = {
        "path": one.path, "partitionValues": dict(one.values), "size": one.bytes, "modificationTime": time,
        "dataChange": True,
    }  # fmt: skip
    if one.statistics is not None:
        made["stats"] = one.statistics
    return made | lines.vector(one)


def _check_same(target: Target, then: Snapshot, now: Snapshot) -> None:
    """Raise UserError if the columns, the partitions or the features are others than at that version."""
    for what, of in (("columns", _columns), ("features", _features)):
        if of(then) != of(now):
            way = _RESTORE.format(to=then.version)
            raise _no_way(target, then.version, f"its {what} have changed since, and they stay as they are: {way}")


def _columns(snapshot: Snapshot) -> Any:
    return json.loads(snapshot.metadata["schemaString"]), list(snapshot.metadata.get("partitionColumns") or ())


def _features(snapshot: Snapshot) -> Any:
    told = snapshot.protocol
    named = [sorted(told.get(f"{who}Features") or ()) for who in ("reader", "writer")]
    return told.get("minReaderVersion"), told.get("minWriterVersion"), named


def _check_there(target: Target, to: int, wanted: Sequence[Added]) -> None:
    """Raise InvalidPlan that names a file that is gone, or that nobody can look for here."""
    sizes = target.store.parallel(lambda one: target.store.size(_key(target, to, one.path)), wanted)
    for one, size in zip(wanted, sizes, strict=True):
        if size is None or size != one.bytes:
            what = "is gone, as VACUUM removes what no version of the last days needs" if size is None else (
                f"has {size:,} bytes, and {one.bytes or 0:,} were written"
            )  # fmt: skip
            raise _gone(target, to, f"{clean(one.path, 200)}, {what}")
    places = {_vector_key(target, to, one) for one in wanted if one.vector is not None} - {""}
    for place in sorted(places):
        if target.store.size(place) is None:
            raise _gone(target, to, f"{place}, a deletion vector, is gone")


def _vector_key(target: Target, to: int, one: Added) -> str:
    """Key of the file with a deletion vector; empty if it is in the log."""
    assert one.vector is not None
    if one.vector.storage == "i":
        return ""
    if one.vector.storage != "u":
        raise _gone(target, to, f"the deletion vector of {clean(one.path, 200)} is outside of the table")
    try:
        return _key(target, to, vectors.path(one.vector.where))
    except vectors.BrokenVectorError as exc:
        raise _gone(target, to, f"the deletion vector of {clean(one.path, 200)}: {exc}") from None


def _key(target: Target, to: int, path: str) -> str:
    key = unquote(path)
    if _ABSOLUTE.match(path) or leads_out(key):
        raise _gone(target, to, f"{clean(path, 200)} is outside of the table's folder, where nobody looks here")
    return key


def _gone(target: Target, to: int, what: str) -> JobError:
    way = "write that data again by a job with mode overwrite, or restore the file from older versions of the bucket"
    return _no_way(target, to, f"{what}: {way}")


def _no_way(target: Target, to: int, why: str) -> JobError:
    return target.refused(f"there is no way back to version {to}: {why}", Failure.INVALID_PLAN)


def _bytes(found: Any) -> int:
    return sum(one.bytes or 0 for one in found)
