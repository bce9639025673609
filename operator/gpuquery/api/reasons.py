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
    """The query cannot be run as it is: it does not parse, reads what it may not, or a parameter does not fit. Mend the
    query; the message names line and column."""
    INVALID_INPUT = "InvalidInput"
    """An input has no files, cannot be read as its format, or its files do not fit together. The message names them."""
    USER_ERROR = "UserError"
    """The query ran into an error of its own, or its result does not fit the output. Mend the query."""
    OUTPUT_EXISTS = "OutputExists"
    """`mode: errorIfExists`, and the table has a commit. Choose another `output.uri`, `append` or `overwrite`."""
    STORAGE_AUTH = "StorageAuth"
    """The store refuses the credentials, or they may not do what is needed. Check the Secret and the policy."""
    STORAGE_UNAVAILABLE = "StorageUnavailable"
    """The store does not answer, or the bucket does not exist. Check `storage.endpoint` and the bucket's name."""
    UNSAFE_STORE = "UnsafeStore"
    """The store ignores conditional writes, so a commit could not be atomic. Use a store that honours If-None-Match."""
    OUTPUT_LIMIT = "OutputLimit"
    """The result breaks a limit of the store or of the file system: a key too long, too many partitions. Partition by
    another column."""
    HOST_OUT_OF_MEMORY = "HostOutOfMemory"
    """A pod used more memory than its limit. Raise `workers.resources.limits.memory`, or read less."""
    GPU_OUT_OF_MEMORY = "GpuOutOfMemory"
    """A GPU's memory was exceeded. Use more GPUs."""
    SCRATCH_FULL = "ScratchFull"
    """A pod used more local storage than its limit. Raise `ephemeral-storage` in `workers.resources`."""
    WORKER_LOST = "WorkerLost"
    """A pod was killed or deleted by someone, or its process died. See its log and its node."""
    EVICTED = "Evicted"
    """The pod's node was taken away, or the pod was preempted. Nothing to do: such attempts do not count."""
    IMAGE_PULL_FAILED = "ImagePullFailed"
    """The runtime image has no valid name. Correct `runtime.image`."""
    INVALID_PLAN = "InvalidPlan"
    """The runtime image does not know this plan: image and operator do not fit together. Use the image of the
    operator's version."""
    START_DEADLINE_EXCEEDED = "StartDeadlineExceeded"
    """The pods were not ready within `startDeadlineSeconds`. The message says what they waited for."""
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    """The job did not end within `activeDeadlineSeconds`."""
    BACKOFF_LIMIT_EXCEEDED = "BackoffLimitExceeded"
    """Every attempt that `backoffLimit` allows has failed. The message names the last cause."""
    TEMPLATE_REJECTED = "TemplateRejected"
    """The pods are not allowed as they were asked for: a reserved label, or a policy of the cluster."""
    INTERNAL_ERROR = "InternalError"
    """The runner failed in a way that it cannot explain. See the pod's log, and please report it."""

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
