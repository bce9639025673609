"""What tells that a job has committed to a table: a property of its snapshot.

A property can go with its snapshot, when the table's snapshots expire. So an attempt that is about to ask for a commit
leaves how far the table has come by then. Its snapshot can only be the one with the next number, for no catalog takes
one whose number was given already (https://iceberg.apache.org/spec/#sequence-numbers). A later attempt that finds no
mark knows that nothing was committed if that number is still free, or if its snapshot is there and is another's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from gpuquery.api.reasons import Failure
from gpuquery.api.schema import Lenient
from gpuquery.api.text import clean
from gpuquery.runner.failures.errors import JobError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyiceberg.manifest import DataFile

    from gpuquery.plan.plan import JobRef

NUMBER = re.compile("[1-9][0-9]{0,8}")
"""An attempt."""
UID, JOB, ATTEMPT = "gpuquery.job-uid", "gpuquery.job", "gpuquery.attempt"
REWRITTEN = "gpuquery.rewritten-"
"""Beginning of what tells how much of what a snapshot adds was there before: `data-files`, `records`, `files-size`."""


class Base(Lenient):
    """How far a table had come when an attempt last asked for its commit."""

    table: str
    """UUID of the table."""
    sequence: int
    """Number of its last snapshot."""


@dataclass(frozen=True)
class Landed:
    """The snapshot of a job."""

    snapshot_id: int
    attempt: int
    summary: Mapping[str, str]


def properties(job: JobRef, attempt: int) -> dict[str, str]:
    """Return what marks a snapshot as a job's."""
    return {UID: job.uid, JOB: f"{job.namespace}/{job.name}", ATTEMPT: str(attempt), "engine-name": "gpuquery"}


def rewritten(files: Sequence[DataFile]) -> dict[str, str]:
    """Return what tells of files that were written anew; nothing if there are none."""
    if not files:
        return {}
    rows, size = sum(one.record_count for one in files), sum(one.file_size_in_bytes for one in files)
    told = {"data-files": len(files), "records": rows, "files-size": size}
    return {f"{REWRITTEN}{what}": str(number) for what, number in told.items()}


def find(metadata: Any, job: JobRef) -> Landed | None:
    """Return the job's snapshot, on whatever branch it is. Raises UnsafeStore for a mark that no runner has made.

    It may be that of a later attempt, if this one was given up for dead.
    """
    for one in metadata.snapshots:
        marks = one.summary.additional_properties if one.summary is not None else {}
        if marks.get(UID) != job.uid:
            continue
        owner, number = marks.get(JOB, ""), marks.get(ATTEMPT, "")
        if owner != f"{job.namespace}/{job.name}" or not NUMBER.fullmatch(number):
            raise JobError(
                Failure.UNSAFE_STORE,
                f"snapshot {one.snapshot_id} has this job's UID as {UID}, but {JOB} is {clean(owner, 200)!r} and "
                f"{ATTEMPT} is {clean(number, 20)!r}: no GpuQuery runner has made it. Find out who did; nothing was "
                "committed",
            )
        return Landed(one.snapshot_id, int(number), marks)
    return None


def base(metadata: Any) -> Base:
    """Return how far a table has come."""
    return Base(table=str(metadata.table_uuid), sequence=metadata.last_sequence_number)


def read(key: str, body: bytes) -> Base:
    """Read what an attempt has left. Raises UnsafeStore."""
    try:
        return Base.model_validate_json(body)
    except ValidationError as exc:
        text = f"{key} is not what a runner leaves there ({exc.errors()[0]['msg']}): find out who wrote it"
        raise JobError(Failure.UNSAFE_STORE, text) from None


def doubt(metadata: Any, since: Base) -> str:
    """Say why a missing mark is no proof that nothing was committed since; empty if it is."""
    if str(metadata.table_uuid) != since.table:
        return "the table was dropped and made anew since"
    number = since.sequence + 1
    there = metadata.last_sequence_number < number or any(one.sequence_number == number for one in metadata.snapshots)
    return "" if there else f"snapshot number {number}, which was made since, has expired"
