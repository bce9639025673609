"""The conditions of a GpuQueryJob and how one changes: by the Kubernetes API conventions.

`lastTransitionTime` moves only when the status flips; reason and message may change in between.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from gpuquery.api.status import Condition


class ConditionType(StrEnum):
    """The condition types, in the order in which a user reads them."""

    ACCEPTED = "Accepted"
    """The spec was resolved to a plan. Unknown: the job waits for others of its namespace to end, or is suspended."""
    SUSPENDED = "Suspended"
    """`spec.suspend` is true, and nothing of the job runs. Unknown: its pods are being removed, or a commit that has
    begun is finished first. Absent if the job was never suspended."""
    PREFLIGHT = "Preflight"
    """The query was checked without a GPU and can run. False: it cannot, and reason and message say why. Unknown: the
    check is still running, runs later in the query's own pod, or was not requested."""
    REUSED = "Reused"
    """With `spec.reuse`: the output of an earlier job counts as the result, and the message names that job. False: the
    query runs, and the message says what differs. Unknown: nobody has looked yet."""
    CLUSTER_READY = "ClusterReady"
    """All pods of the current attempt are ready. If not, reason and message say what they are waiting for."""
    RUNNING = "Running"
    """The query runs. Unknown: the pods are ready, but their progress cannot be read."""
    OUTPUT_COMMITTED = "OutputCommitted"
    """The commit record exists, according to the report of a pod; then it stays True. Unknown: a pod says so while it
    still publishes, or said so and nobody can confirm it."""
    COMPLETE = "Complete"
    """The output is committed and published, and no pod of the job is alive."""
    FAILED = "Failed"
    """The job will not be retried, and no pod of it is alive. The reason is a failure class."""


TERMINAL = (ConditionType.COMPLETE, ConditionType.FAILED)
MAX_MESSAGE = 4096
"""Maximum characters of a condition's message; the API server allows 32,768."""


class State(StrEnum):
    """`status.state`: one word for the printer column, derived from the conditions."""

    PENDING = "Pending"
    """The query's ConfigMap does not exist yet."""
    ACCEPTED = "Accepted"
    """The spec was resolved."""
    PREFLIGHT = "Preflight"
    """The query is being checked in a pod without a GPU."""
    STARTING = "Starting"
    """Pods were requested, and not all of them are ready."""
    READY = "Ready"
    """All pods are ready."""
    RUNNING = "Running"
    """The query runs."""
    SUSPENDED = "Suspended"
    """Suspended by `spec.suspend`, or about to be."""
    RETRYING = "Retrying"
    """An attempt failed and another follows."""
    FINISHING = "Finishing"
    """The output is committed and is being published, or pods are still alive."""
    COMPLETE = "Complete"
    """Ended with success."""
    FAILED = "Failed"
    """Ended without success; the `Failed` condition says why."""


def find(conditions: Sequence[Condition], kind: str) -> Condition | None:
    """Return the condition of that type, or None."""
    return next((c for c in conditions if c.type == kind), None)


def is_true(conditions: Sequence[Condition], kind: str) -> bool:
    """Whether the condition of that type is there and True."""
    found = find(conditions, kind)
    return found is not None and found.status == "True"


def is_terminal(conditions: Sequence[Condition]) -> bool:
    """Whether the job has ended: exactly one of Complete and Failed is True, forever."""
    return any(is_true(conditions, kind) for kind in TERMINAL)


def merged(before: Sequence[Condition], wanted: Sequence[Condition], *, now: datetime) -> tuple[Condition, ...]:
    """Return `wanted` with the transition times of `before` where the status did not flip."""
    result = []
    for condition in wanted:
        old = find(before, condition.type)
        moved = old is None or old.status != condition.status or old.last_transition_time is None
        since = now if moved or old is None else old.last_transition_time
        result.append(condition.model_copy(update={"last_transition_time": since}))
    return tuple(result)
