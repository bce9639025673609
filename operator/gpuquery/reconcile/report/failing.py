"""Failing: the status of a job whose reconciliation fails, whatever the error is. Pure.

The user sees the error in the job's status, and deadlines still hold. Nothing is known of the pods then, so
`startDeadlineSeconds` counts from when the error was first shown, unless they are known to be ready;
`activeDeadlineSeconds` counts as always.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuquery.api.conditions import MAX_MESSAGE, TERMINAL, ConditionType, State, find, is_true, merged
from gpuquery.api.reasons import Failure, Reason
from gpuquery.api.status import AttemptStatus, Condition, GpuQueryJobStatus
from gpuquery.api.text import clean
from gpuquery.kube.client import ApiError, UnreachableError
from gpuquery.reconcile.policy import deadline
from gpuquery.reconcile.report.commitment import unseen

if TYPE_CHECKING:
    from datetime import datetime

    from gpuquery.api.types import GpuQueryJob

TOLD_FROM, BUSY_FROM = 2, 5
"""Failed looks in a row after which they are shown: a single one is mostly a hiccup, and so are a few of a busy API
server."""
BUSY = (429, 503, 504)
MAX_WHY = 1000
LOOK_FOR_END = 5.0


def told_from(error: Exception) -> int:
    """Return how many looks in a row must have failed before the error is shown."""
    busy = isinstance(error, UnreachableError) or (isinstance(error, ApiError) and error.status in BUSY)
    return BUSY_FROM if busy else TOLD_FROM


def in_words(error: Exception) -> str:
    """Return the error in one line."""
    printable = "".join(c if c.isprintable() else " " for c in str(error))
    return clean(f"{type(error).__name__}: {' '.join(printable.split())}", MAX_WHY)


def told(job: GpuQueryJob, why: str, now: datetime) -> GpuQueryJobStatus:
    """Return the status of a job that cannot be observed."""
    message = f"the operator cannot go on with this job; it tries again, and deadlines hold: {why}"
    wanted = {"ClusterReady": ("Unknown", Reason.OPERATOR_ERROR, message)}
    if not job.status.conditions:
        # The first status: a user who waits for an end sees that there is none yet.
        wanted |= dict.fromkeys(TERMINAL, ("False", Reason.IN_PROGRESS, "the job has not ended"))
    status = _with(job, now, **wanted)
    return status if status.state else status.model_copy(update={"state": State.PENDING})


def overdue(job: GpuQueryJob, why: str, now: datetime) -> deadline.Exceeded | None:
    """Return the deadline that has passed, if one has."""
    status, spec = job.status, job.spec
    if is_true(status.conditions, ConditionType.SUSPENDED):
        return None
    late = deadline.active(status.start_time or _since(status, now), spec.active_deadline_seconds, now)
    if late is None and not _runs(status):
        late = deadline.start(_since(status, now), spec.start_deadline_seconds, now, because="it is not known why")
    if late is None:
        return None
    tail = "the operator could not go on with this job, so whether it has committed its output is for the table"
    return deadline.Exceeded(late.failure, f"{late.message}; {tail} to say: {why}")


def due(job: GpuQueryJob, now: datetime) -> float | None:
    """Return the seconds until the next deadline."""
    status, spec = job.status, job.spec
    if is_true(status.conditions, ConditionType.SUSPENDED):
        return None
    moments = [deadline.due_at(status.start_time or _since(status, now), spec.active_deadline_seconds)]
    if not _runs(status):
        moments.append(deadline.due_at(_since(status, now), spec.start_deadline_seconds))
    left = [(moment - now).total_seconds() for moment in moments if moment is not None and moment > now]
    return min(left, default=None)


def releasing(job: GpuQueryJob, late: deadline.Exceeded, now: datetime) -> GpuQueryJobStatus:
    """Return the status of a job that a deadline ends while one of its pods is still alive."""
    return _with(job, now, Failed=("False", Reason.RELEASING, f"{late.failure}: {late.message}"))


def ended(job: GpuQueryJob, late: deadline.Exceeded, now: datetime) -> GpuQueryJobStatus:
    """Return the status of a job that a deadline has ended, once no pod is alive."""
    over = ("False", Reason.ENDED, "the job has ended")
    failed, words = ("True", late.failure, late.message), ("False", Reason.FAILED, "the job failed")
    committed = unseen(find(job.status.conditions, ConditionType.OUTPUT_COMMITTED))
    told = {"ClusterReady": over, "Running": over, "OutputCommitted": committed, "Complete": words, "Failed": failed}
    status = _with(job, now, **told)
    return status.model_copy(
        update={
            "state": State.FAILED,
            "failure": late.failure,
            "attempts": tuple(_closed(each, late.failure, late.message, now) for each in status.attempts),
            "completion_time": now,
        }
    )


def _closed(record: AttemptStatus, failure: Failure, message: str, now: datetime) -> AttemptStatus:
    if record.ended is not None:
        return record
    known = {"reason": record.reason or failure, "message": record.message or message}
    return record.model_copy(update={"ended": now, **known})


def _runs(status: GpuQueryJobStatus) -> bool:
    """Whether the pods of the last attempt were ready, and it is not known to have ended."""
    record = next((each for each in status.attempts if each.id == status.attempt), None)
    return record is not None and record.ready is not None and record.ended is None


def _since(status: GpuQueryJobStatus, now: datetime) -> datetime:
    """Return since when the status shows that looks fail; a look that succeeds removes that."""
    found = find(status.conditions, ConditionType.CLUSTER_READY)
    if found is None or found.reason != Reason.OPERATOR_ERROR:
        return now
    return found.last_transition_time or now


def _with(job: GpuQueryJob, now: datetime, **conditions: tuple[str, str, str]) -> GpuQueryJobStatus:
    """Return the status with some conditions replaced, and all else as it is."""
    wanted = []
    for kind in ConditionType:
        known = find(job.status.conditions, kind)
        if kind in conditions:
            status, reason, message = conditions[kind]
            known = Condition(
                type=kind, status=status, reason=reason, message=message[:MAX_MESSAGE],
                observed_generation=job.metadata.generation,
            )  # fmt: skip
        if known is not None:
            wanted.append(known)
    found = merged(job.status.conditions, wanted, now=now.replace(microsecond=0))
    return job.status.model_copy(update={"conditions": found, "observed_generation": job.metadata.generation})
