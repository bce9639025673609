"""Reasons, failure classes and events: every word that a user meets in a status or an event, once.

A failure's class, never its text, decides what happens next; the class carries the policy.
"""

from __future__ import annotations

from enum import StrEnum


class Policy(StrEnum):
    """What a failure of some class means for the next attempt."""

    NEVER = "Never"
    """The same attempt would fail again: no retry."""
    BUDGETED = "Budgeted"
    """May pass: retried with backoff, up to `spec.backoffLimit`."""
    FREE = "Free"
    """Not the job's fault (its node was taken away): retried without spending the budget."""


class Failure(StrEnum):
    """Why an attempt failed; also the reason of the `Failed` condition."""

    INVALID_QUERY = "InvalidQuery"
    INVALID_INPUT = "InvalidInput"
    USER_ERROR = "UserError"
    OUTPUT_EXISTS = "OutputExists"
    STORAGE_AUTH = "StorageAuth"
    STORAGE_UNAVAILABLE = "StorageUnavailable"
    UNSAFE_STORE = "UnsafeStore"
    OUTPUT_LIMIT = "OutputLimit"
    """The result breaks a limit of the store or of the file system: a key too long, too many partitions."""
    HOST_OUT_OF_MEMORY = "HostOutOfMemory"
    GPU_OUT_OF_MEMORY = "GpuOutOfMemory"
    SCRATCH_FULL = "ScratchFull"
    WORKER_LOST = "WorkerLost"
    EVICTED = "Evicted"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    INVALID_PLAN = "InvalidPlan"
    """The runtime image does not know this plan version: image and operator do not fit together."""
    START_DEADLINE_EXCEEDED = "StartDeadlineExceeded"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    BACKOFF_LIMIT_EXCEEDED = "BackoffLimitExceeded"
    TEMPLATE_REJECTED = "TemplateRejected"
    INTERNAL_ERROR = "InternalError"

    @property
    def policy(self) -> Policy:
        """Whether another attempt may be made after a failure of this class."""
        return _POLICIES.get(self, Policy.NEVER)


_POLICIES = {
    Failure.STORAGE_UNAVAILABLE: Policy.BUDGETED,
    Failure.HOST_OUT_OF_MEMORY: Policy.BUDGETED,
    Failure.GPU_OUT_OF_MEMORY: Policy.BUDGETED,
    Failure.SCRATCH_FULL: Policy.BUDGETED,
    Failure.WORKER_LOST: Policy.BUDGETED,
    Failure.INTERNAL_ERROR: Policy.BUDGETED,
    Failure.EVICTED: Policy.FREE,
}


class Reason(StrEnum):
    """Reasons of conditions that are not failures."""

    RESOLVED = "Resolved"
    PENDING = "Pending"
    STARTING = "Starting"
    UNSCHEDULABLE = "Unschedulable"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    QUOTA_EXCEEDED = "QuotaExceeded"
    CREATION_REFUSED = "CreationRefused"
    """The API server refuses the attempt's pods for another reason than quota (pod security, an admission webhook)."""
    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105
    CONTAINER_CANNOT_START = "ContainerCannotStart"
    ALL_RANKS_JOINED = "AllRanksJoined"
    NOT_STARTED = "NotStarted"
    QUERY_RUNNING = "QueryRunning"
    PROGRESS_UNREADABLE = "ProgressUnreadable"
    RETRYING = "Retrying"
    RELEASING = "Releasing"
    """The outcome is known, but pods of the job are still alive."""
    ENDED = "Ended"
    COMMITTED = "Committed"
    NOT_COMMITTED = "NotCommitted"
    IN_PROGRESS = "InProgress"
    COMPLETED = "Completed"
    FAILED = "Failed"


class Event(StrEnum):
    """Reasons of the events that the operator posts on a GpuQueryJob."""

    PLANNED = "Planned"
    REJECTED = "Rejected"
    ATTEMPT_STARTED = "AttemptStarted"
    ATTEMPT_FAILED = "AttemptFailed"
    OUTPUT_COMMITTED = "OutputCommitted"
    QUERY_WARNING = "QueryWarning"
    CANNOT_START = "CannotStart"
    COMPLETE = "Complete"
    FAILED = "Failed"
