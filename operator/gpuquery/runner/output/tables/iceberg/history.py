"""The snapshots of an Iceberg table, on whatever branch, by the table's metadata."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gpuquery.api.output import MAIN_BRANCH
from gpuquery.api.text import clean
from gpuquery.runner.output.tables.iceberg import marks
from gpuquery.runner.output.tables.iceberg.publish import line
from gpuquery.runner.output.tables.versions import Version

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.runner.inputs.tables.iceberg.catalogs import Catalog

_LONGEST = 1 << 44
"""Milliseconds since 1970 that are no time."""


def history(catalog: Catalog, last: int) -> Sequence[Version]:
    """Return the newest snapshots that have not expired, at most so many, newest first. Raises JobError."""
    metadata = catalog.load().metadata
    known: dict[int, list[str]] = defaultdict(list)
    for name in sorted(metadata.refs, key=lambda one: (one != MAIN_BRANCH, one)):
        for snapshot in line(metadata, metadata.refs[name].snapshot_id):
            known[snapshot].append(clean(name, 255))
    newest = sorted(metadata.snapshots, key=lambda one: (-(one.sequence_number or 0), -one.timestamp_ms))
    return [_told(one, tuple(known[one.snapshot_id])) for one in newest[:last]]


def _told(snapshot: Any, branches: tuple[str, ...]) -> Version:
    told = snapshot.summary.additional_properties if snapshot.summary is not None else {}
    at = snapshot.timestamp_ms
    return Version(
        version=str(snapshot.snapshot_id),
        created=datetime.fromtimestamp(at / 1000, UTC) if 0 <= at < _LONGEST else None,
        job=clean(told.get(marks.JOB, ""), 320),
        uid=clean(told.get(marks.UID, ""), 128),
        writer=clean(told.get("engine-name", ""), 60),
        operation=str(snapshot.summary.operation.value) if snapshot.summary is not None else "",
        rows=_number(told, "added-records"),
        files=_number(told, "added-data-files"),
        bytes=_number(told, "added-files-size"),
        replaced=_number(told, "deleted-data-files"),
        branches=branches,
    )


def _number(told: Mapping[str, str], name: str) -> int:
    text = told.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
