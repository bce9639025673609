"""The body of a commit: one line of JSON for each action ("Actions" in the protocol)."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from gpuquery.runner.output.tables.delta import statistics, types
from gpuquery.runner.output.tables.delta.state import APP, APP_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gpuquery.plan.plan import JobRef
    from gpuquery.runner.inputs.tables.delta.actions import Added, Snapshot
    from gpuquery.runner.output.record import StagedFile
    from gpuquery.runner.output.tables.delta.schema import Layout

BELOW = "data/"
"""Folder of the data files that we write. Files of other writers are beside it, so that ours can be listed apart."""
_SAFE = "/-_.!~*'()=:@&+$,;"
"""What a path of a URI may have as it is (RFC 2396)."""


@dataclass(frozen=True)
class Commit:
    """What is committed: who, what, and when (milliseconds since 1970)."""

    job: JobRef
    attempt: int
    mode: str
    """In Delta's words."""
    files: Sequence[StagedFile]
    removed: Sequence[Added]
    layout: Layout
    grows: bool
    """Whether it adds columns."""
    time: int
    expectations: str = ""
    """Those that hold, in a few words."""


def app_id(job: JobRef) -> str:
    """Return the id of a job's application transaction, by which everyone sees that it has committed."""
    return f"{APP}{job.namespace}/{job.name}/{job.uid}"


def body(commit: Commit, snapshot: Snapshot | None, clock: int | None) -> bytes:
    """Return a commit that follows on a version, or makes a new table.

    `clock` is what the commit says about its own time; None if it says nothing.
    """
    actions: list[Mapping[str, Any]] = [{"commitInfo": _info(commit, snapshot, clock)}]
    if snapshot is None:
        actions.append({"protocol": _protocol(commit.layout)})
    if snapshot is None or commit.grows:
        actions.append({"metaData": _metadata(commit, snapshot)})
    actions.append({"txn": {"appId": app_id(commit.job), "version": APP_VERSION, "lastUpdated": commit.time}})
    return "".join(f"{dumped(one)}\n" for one in [*actions, *_files(commit)]).encode()


def _files(commit: Commit) -> Iterable[Mapping[str, Any]]:
    for one in commit.removed:
        yield {"remove": remove(one, commit.time)}
    for file in commit.files:
        yield {
            "add": {
                "path": quote(BELOW + file.path, safe=_SAFE),
                "partitionValues": dict(file.values),
                "size": file.bytes,
                "modificationTime": commit.time,
                "dataChange": True,
                "stats": statistics.text(file, commit.layout.dtypes),
            }
        }


def remove(one: Added, time: int) -> dict[str, Any]:
    """Return what removes a file."""
    made: dict[str, Any] = {
        "path": one.path, "deletionTimestamp": time, "dataChange": True, "extendedFileMetadata": one.bytes is not None,
        "partitionValues": dict(one.values),
    }  # fmt: skip
    if one.bytes is not None:
        made["size"] = one.bytes
    return made | vector(one)


def vector(one: Added) -> dict[str, Any]:
    """Return what an action says of a file's deletion vector; nothing if it has none."""
    if (found := one.vector) is None:
        return {}
    told = {
        "storageType": found.storage, "pathOrInlineDv": found.where, "sizeInBytes": found.bytes,
        "cardinality": found.rows, **({} if found.offset is None else {"offset": found.offset}),
    }  # fmt: skip
    return {"deletionVector": told}


def _info(commit: Commit, snapshot: Snapshot | None, clock: int | None) -> dict[str, Any]:
    rows, size = sum(file.rows for file in commit.files), sum(file.bytes for file in commit.files)
    made: dict[str, Any] = {} if clock is None else {"inCommitTimestamp": clock}
    return made | {
        "timestamp": commit.time,
        "operation": "WRITE",
        "operationParameters": {"mode": commit.mode, "partitionBy": json.dumps(list(commit.layout.partition_by))},
        "operationMetrics": {
            "numFiles": str(len(commit.files)), "numOutputRows": str(rows), "numOutputBytes": str(size),
            "numRemovedFiles": str(len(commit.removed)),
        },
        **({} if snapshot is None else {"readVersion": snapshot.version}),
        "isolationLevel": "Serializable",
        "isBlindAppend": not commit.removed,
        "engineInfo": "GpuQuery",
        "txnId": commit.job.uid,
        "gpuquery.job-uid": commit.job.uid,
        "gpuquery.job": f"{commit.job.namespace}/{commit.job.name}",
        "gpuquery.attempt": str(commit.attempt),
        **({"gpuquery.expectations": commit.expectations} if commit.expectations else {}),
    }  # fmt: skip


def _protocol(layout: Layout) -> dict[str, Any]:
    if types.NTZ in {name for one in layout.fields for name in types.names(one["type"])}:
        named = ["timestampNtz"]
        return {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": named, "writerFeatures": named}
    return {"minReaderVersion": 1, "minWriterVersion": 2}


def _metadata(commit: Commit, snapshot: Snapshot | None) -> dict[str, Any]:
    found: Mapping[str, Any] = snapshot.metadata if snapshot else {}
    known = {
        "id": str(uuid.uuid4()),
        "format": {"provider": "parquet", "options": {}},
        "configuration": {},
        "createdTime": commit.time,
    }
    kept = {name: value for name, value in found.items() if value is not None and name != "format"}
    mine = {"schemaString": commit.layout.text(), "partitionColumns": list(commit.layout.partition_by)}
    return known | kept | mine


def dumped(action: Mapping[str, Any]) -> str:
    """Return the line of an action."""
    return json.dumps(action, ensure_ascii=False, separators=(",", ":"))
