"""Commitment: what is known about a job's commit.

The operator has no credentials and cannot look. A report that claims the commit is final. Progress is a hint: it may
say that files are being published, but until a report says so it is not known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuquery.api.reasons import Failure, Reason

if TYPE_CHECKING:
    from gpuquery.api.status import Condition, OutputStatus

Told = tuple[str, Reason, str]
"""Status, reason and message of a condition."""

BEFORE = frozenset(
    {
        Failure.INVALID_QUERY, Failure.INVALID_COMBINATION, Failure.RELEASE_MISMATCH, Failure.UNSUPPORTED_QUERY,
        Failure.SCHEMA_MISMATCH, Failure.INVALID_INPUT, Failure.USER_ERROR, Failure.OUTPUT_EXISTS, Failure.OUTPUT_LIMIT,
    }
)  # fmt: skip
"""Failures that a runner meets before its commit, and none that it meets after it."""


def commitment(
    known: Condition | None, *, hinted: bool, committed: OutputStatus | None, failure: Failure | None, ended: bool
) -> Told:
    """Return what `OutputCommitted` says.

    `known` is what it said before, `hinted` whether progress reports a commit now, `failure` the class with which the
    attempt failed, `ended` whether the job has ended.
    """
    if committed is not None:
        return "True", Reason.COMMITTED, _sentence(committed)
    if known is not None and known.status == "True":
        return "True", Reason.COMMITTED, known.message
    if not hinted and (known is None or known.status == "False"):
        return "False", Reason.NOT_COMMITTED, "nothing was committed by this job"
    if failure in BEFORE:
        words = f"a pod told of a commit while it ran, but it failed with {failure}, which comes before any commit"
        return "False", Reason.NOT_COMMITTED, words
    if ended:
        words = (
            "a pod told of a commit while it ran, and no report confirms or denies it: look into the table's log "
            "(_commits in a folder)"
        )
        return "Unknown", Reason.UNCONFIRMED, words
    return (
        "Unknown",
        Reason.UNCONFIRMED,
        "a pod tells that it has committed and is publishing; no report confirms it yet",
    )


def unseen(known: Condition | None) -> Told:
    """Return what `OutputCommitted` says of a job that has ended without the operator being able to look at it."""
    if known is not None and known.status == "True":
        return "True", Reason.COMMITTED, known.message
    words = "the operator could not look at the job as it ended: look into the table's log (_commits in a folder)"
    return "Unknown", Reason.UNCONFIRMED, words


def _sentence(output: OutputStatus) -> str:
    place = f"{output.uri} at {output.location}" if output.location else output.uri
    return (
        f"{output.commit} of {place}: {output.rows} rows in {output.files} files, "
        f"{output.bytes} bytes, {output.partitions} partitions"
    )
