"""Whether we may write to a table: the protocol's versions, and the features and rules that a writer must respect.

"Requirements for Writers" and "Valid Feature Names in Table Features" in the protocol. What is not named here is not
known, so a table that needs it is not written to.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gpuquery.api.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gpuquery.runner.inputs.tables.delta.actions import Snapshot
    from gpuquery.runner.output.tables.delta.place import Target

KNOWN = frozenset(
    {
        # What these ask of a writer is checked below, or asks nothing of one who only adds and removes whole files.
        "appendOnly", "invariants", "checkConstraints", "generatedColumns", "allowColumnDefaults", "identityColumns",
        "changeDataFeed", "columnMapping", "deletionVectors", "timestampNtz", "domainMetadata", "v2Checkpoint",
        "vacuumProtocolCheck", "inCommitTimestamp", "typeWidening", "typeWidening-preview", "variantType",
        "variantType-preview", "variantShredding", "variantShredding-preview", "checkpointProtection",
    }
)  # fmt: skip
_COPY = "write to a copy of the table without it, or drop it (ALTER TABLE ... DROP FEATURE)"
_WAYS_OUT = {
    "rowTracking": "every row needs an id, which we do not give: set delta.enableRowTracking to false, and drop the "
    "feature",
    "clustering": "its files must be clustered: ALTER TABLE ... CLUSTER BY NONE, and drop the feature",
    "icebergCompatV1": "its files must suit readers of Iceberg too: write to it by output.table, or drop the feature",
    "icebergCompatV2": "its files must suit readers of Iceberg too: write to it by output.table, or drop the feature",
    "catalogManaged": "its catalog alone decides which commits count: write to a table that no catalog manages",
    "catalogOwned": "its catalog alone decides which commits count: write to a table that no catalog manages",
    "catalogOwned-preview": "its catalog alone decides which commits count: write to a table that no catalog manages",
}
_COORDINATOR = "delta.coordinatedCommits.commitCoordinator-preview"
_CONSTRAINT = "delta.constraints."
_RETENTION = "delta.setTransactionRetentionDuration"
_INTERVAL = re.compile(r"(?:interval\s+)?(\d{1,18})\s+(second|minute|hour|day|week)s?", re.ASCII | re.IGNORECASE)
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
_RULES = {
    "delta.invariants": "must satisfy an invariant, which is not checked: drop it, or write to a table without it",
    "delta.generationExpression": "is generated from others, which is not checked: write to a table where it is plain",
    "__CHAR_VARCHAR_TYPE_STRING": "is a char or varchar, whose length is not checked: make it a string (ALTER TABLE "
    "... ALTER COLUMN ... TYPE STRING), or write to a table where it is one",
    "delta.identity.start": "is an identity column, whose numbers its engine gives: write to a table where it is plain",
}
"""Metadata of columns, and what it means."""
MAX_SAID = 5


def check(target: Target, snapshot: Snapshot, *, removes: bool) -> None:
    """Raise UserError that names what the table asks of its writers and we do not do, with the way out.

    `removes` says whether the mode removes rows.
    """
    if said := [*_versions(snapshot), *_properties(snapshot, removes=removes), *_columns(snapshot)]:
        more = f"; and {len(said) - MAX_SAID} more" if len(said) > MAX_SAID else ""
        raise target.refused("; ".join(said[:MAX_SAID]) + more)


def check_age(target: Target, snapshot: Snapshot, created: datetime | None) -> None:
    """Raise UserError if a commit of a job that was created then may be forgotten, so that it might commit twice.

    Readers and checkpoints may leave out an application transaction that is older than the table's property says.
    """
    if not (text := snapshot.configuration.get(_RETENTION)):
        return
    kept = seconds(text, 0)
    if created is None or (datetime.now(UTC) - created).total_seconds() >= kept:
        raise target.refused(
            f"its property {_RETENTION} is {clean(text, 60)!r}, and the job was created longer ago than that, so the "
            "table may have forgotten that it has committed already: look whether its rows are there, set more (such "
            "as 'interval 30 days'), and apply the job anew"
        )


def seconds(interval: str | None, otherwise: int) -> int:
    """Return the length of an interval as a property of a table has it; `otherwise` if that is none or not known."""
    found = _INTERVAL.fullmatch((interval or "").strip())
    return int(found[1]) * _SECONDS[found[2].lower()] if found else otherwise


def times_in_commits(snapshot: Snapshot) -> bool:
    """Whether commits hold their own time, which then must grow from version to version."""
    return "inCommitTimestamp" in _named(snapshot) and _is_on(snapshot, "delta.enableInCommitTimestamps")


def has_ntz(snapshot: Snapshot) -> bool:
    """Whether the table may have timestamps without a time zone."""
    return "timestampNtz" in _named(snapshot)


def _named(snapshot: Snapshot) -> set[str]:
    protocol = snapshot.protocol
    return {*(protocol.get("readerFeatures") or ()), *(protocol.get("writerFeatures") or ())}


def _versions(snapshot: Snapshot) -> Iterator[str]:
    for who, newest in (("Reader", 3), ("Writer", 7)):
        if (version := int(snapshot.protocol.get(f"min{who}Version", 0))) > newest:
            yield (
                f"it needs a {who.lower()} of version {version} of the protocol, and {newest} is the newest that is "
                "known: write to a table in an older version"
            )
    for name in sorted(_named(snapshot) - KNOWN):
        yield f"it has the feature {clean(name, 100)}, which we do not write: {_WAYS_OUT.get(name, _COPY)}"


def _properties(snapshot: Snapshot, *, removes: bool) -> Iterator[str]:
    found = snapshot.configuration
    if coordinator := found.get(_COORDINATOR):
        yield (
            f"its commits are coordinated by {clean(coordinator, 100)}, which alone knows the newest ones: drop the "
            "feature coordinatedCommits"
        )
    if found.get("delta.columnMapping.mode", "none") != "none":
        yield (
            f"its property delta.columnMapping.mode is {clean(found['delta.columnMapping.mode'], 20)}, so its files "
            "name columns otherwise than the table, which we do not write: ALTER TABLE ... SET TBLPROPERTIES "
            "('delta.columnMapping.mode' = 'none'), or write to another table"
        )
    if removes and _is_on(snapshot, "delta.appendOnly"):
        yield "its property delta.appendOnly is true, so nothing may be removed: use mode append"
    for name in found:
        if name.startswith(_CONSTRAINT):
            yield (
                f"it has the CHECK constraint {clean(name.removeprefix(_CONSTRAINT), 100)}, which is not checked: "
                "write to a table without it, and check it by output.expect"
            )
    if str(snapshot.metadata.get("format", {}).get("provider", "parquet")).lower() != "parquet":
        yield "its files are not parquet: write to a table of parquet files"


def _columns(snapshot: Snapshot) -> Iterator[str]:
    for path, one in _fields(json.loads(snapshot.metadata["schemaString"])):
        for name, why in _RULES.items():
            if name in (one.get("metadata") or {}):
                yield f"column {clean(path, 100)!r} {why}"


def _fields(kind: Any, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """All columns and fields of structs, each with its path."""
    if not isinstance(kind, dict):
        return
    for one in kind.get("fields", ()):
        here = f"{path}.{one['name']}".lstrip(".")
        yield here, one
        yield from _fields(one["type"], here)
    for part in ("elementType", "keyType", "valueType"):
        yield from _fields(kind.get(part), path)


def _is_on(snapshot: Snapshot, name: str) -> bool:
    return str(snapshot.configuration.get(name, "false")).lower() == "true"
