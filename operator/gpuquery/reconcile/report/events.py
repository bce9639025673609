"""Events: what a status write meant, in words for `kubectl describe`.

Computed from the status before and after the write and from nothing else, so a decision that is repeated tells nothing
twice. The name is derived from the content, and the API server refuses a second one of that name.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from gpuquery.api.conditions import ConditionType, find, is_true
from gpuquery.api.labels import API_VERSION, FIELD_MANAGER, KIND
from gpuquery.api.reasons import Event, Failure, Policy, Reason
from gpuquery.api.text import clean
from gpuquery.reconcile.observe.contradiction import contradiction
from gpuquery.reconcile.policy import suspend
from gpuquery.reconcile.policy.account import Note

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from gpuquery.api.status import GpuQueryJobStatus, PlanStatus
    from gpuquery.api.types import GpuQueryJob

MAX_NOTE_BYTES = 1024
BLOCKED = {
    Reason.UNSCHEDULABLE, Reason.IMAGE_PULL_FAILED, Reason.QUOTA_EXCEEDED, Reason.CREATION_REFUSED,
    Reason.SECRET_NOT_FOUND, Reason.CONTAINER_CANNOT_START, Reason.DASK_CLUSTER_NOT_HANDLED,
    Reason.DASK_CLUSTER_IN_USE, Reason.TOO_MANY_JOBS, Reason.OPERATOR_ERROR, Reason.SUSPENDED, Reason.NAME_TAKEN,
}  # fmt: skip


def notes(before: GpuQueryJobStatus, after: GpuQueryJobStatus) -> tuple[Note, ...]:
    """Return the events that belong to a change of the status, in the order in which they happened."""
    return tuple(_notes(before, after))


def pruned(kept: int) -> Note:
    """Return the event of a finished job that is one too many."""
    words = f"{kept:,} finished jobs are kept in this namespace, and as many ended after this one: it is deleted"
    return Note(Event.HISTORY_LIMIT, f"{words}; its output stays")


def _notes(before: GpuQueryJobStatus, after: GpuQueryJobStatus) -> Iterator[Note]:
    if doubt := contradiction(before):
        yield Note(Event.STATUS_CORRECTED, f"{doubt}: the status was derived anew", warning=True)
    yield from _preflight(before, after)
    unchecked = after.preflight_run is not None and after.preflight is None
    if before.plan is None and after.plan is not None and not unchecked:
        yield Note(Event.PLANNED, after.plan.why)
        yield from _plan_warnings(after.plan)
    yield from _attempts(before, after)
    for kind in (ConditionType.ACCEPTED, ConditionType.PREFLIGHT, ConditionType.CLUSTER_READY):
        blocked, known = find(after.conditions, kind), find(before.conditions, kind)
        if blocked and blocked.reason in BLOCKED and (known is None or known.reason != blocked.reason):
            yield Note(Event.CANNOT_START, f"{blocked.reason}: {blocked.message}", warning=True)
    yield from suspend.notes(before, after)
    complete = is_true(after.conditions, ConditionType.COMPLETE)
    committed = find(after.conditions, ConditionType.OUTPUT_COMMITTED)
    already_reported = complete or is_true(before.conditions, ConditionType.OUTPUT_COMMITTED)
    if committed and committed.status == "True" and not already_reported:
        yield Note(Event.OUTPUT_COMMITTED, committed.message)
    yield from _end(before, after)


def _plan_warnings(plan: PlanStatus) -> Iterator[Note]:
    if plan.deprecated:
        yield Note(Event.DEPRECATED, plan.deprecated, warning=True)
    if plan.default_changes:
        yield Note(Event.DEFAULT_CHANGES, plan.default_changes, warning=True)


def _preflight(before: GpuQueryJobStatus, after: GpuQueryJobStatus) -> Iterator[Note]:
    """The end of a run of the preflight's own pod; what the query's own pod finds out is told with its end."""
    run, found = after.preflight_run, find(after.conditions, ConditionType.PREFLIGHT)
    if run is None or run.ended is None or found is None:
        return
    if after.preflight is not None and before.preflight is None:
        yield Note(Event.PREFLIGHT_PASSED, found.message, warning=bool(after.preflight.warnings))
    known = before.preflight_run
    already_reported = (known is not None and known.id == run.id and known.ended) or _quiet(run.reason)
    if (
        run.reason
        and not already_reported
        and not (is_true(after.conditions, ConditionType.FAILED) and found.status != "False")
    ):
        yield Note(Event.PREFLIGHT_FAILED, f"{run.reason}: {run.message}", warning=True)


def _attempts(before: GpuQueryJobStatus, after: GpuQueryJobStatus) -> Iterator[Note]:
    if after.attempt is not None and after.attempt != before.attempt:
        yield Note(Event.ATTEMPT_STARTED, _started(after))
    ended = {a.id for a in before.attempts if a.ended}
    failed = is_true(after.conditions, ConditionType.FAILED)
    for attempt in after.attempts:
        news = attempt.ended and attempt.id not in ended and not failed
        if news and attempt.reason and not _quiet(attempt.reason):
            where = f" on node {attempt.node}" if attempt.node else ""
            text = f"attempt {attempt.id} failed{where}: {attempt.reason}: {attempt.message}"
            yield Note(Event.ATTEMPT_FAILED, text, warning=True)


def _quiet(reason: str | None) -> bool:
    """Whether a policy ended the run on purpose, and has an event of its own."""
    return reason in set(Failure) and Failure(reason).policy is Policy.RESUMED


def _started(status: GpuQueryJobStatus) -> str:
    size = next((a.partition_bytes for a in status.attempts if a.id == status.attempt), None)
    halved = f", with partitions of {size:,} bytes, as the GPU's memory ran out before" if size else ""
    return f"attempt {status.attempt}{halved}"


def _end(before: GpuQueryJobStatus, after: GpuQueryJobStatus) -> Iterator[Note]:
    if after.warnings and after.warnings != before.warnings:
        yield Note(Event.QUERY_WARNING, " ".join(after.warnings), warning=True)
    failed = find(after.conditions, ConditionType.FAILED)
    if failed and failed.status == "True":
        found = find(after.conditions, ConditionType.PREFLIGHT)
        if after.attempt is None and found and found.status == "False":
            return  # PreflightFailed says it
        rejected = after.plan is None and (after.preflight_run is None or after.preflight is not None)
        yield Note(Event.REJECTED if rejected else Event.FAILED, f"{failed.reason}: {failed.message}", warning=True)
    elif is_true(after.conditions, ConditionType.COMPLETE):
        yield Note(Event.COMPLETE, _summary(after))


def _summary(status: GpuQueryJobStatus) -> str:
    if status.attempt is None:
        complete = find(status.conditions, ConditionType.COMPLETE)
        return complete.message if complete else ""
    text = "the output is committed"
    if status.output:
        text = f"{status.output.commit}: {status.output.rows} rows in {status.output.files} files"
    if status.start_time and status.completion_time:
        seconds = (status.completion_time - status.start_time).total_seconds()
        text += f", after {seconds:.0f} s and {status.attempt} attempt{'s' if status.attempt != 1 else ''}"
    return text


def manifest(job: GpuQueryJob, note: Note, *, instance: str, now: datetime) -> dict[str, Any]:
    """Build an event of events.k8s.io/v1."""
    text = clean(note.message).encode()[:MAX_NOTE_BYTES].decode(errors="ignore")
    content = f"{job.metadata.uid}/{note.event}/{text}".encode()
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            "name": f"{job.metadata.name}.{hashlib.sha256(content).hexdigest()[:16]}",
            "namespace": job.metadata.namespace,
        },
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": FIELD_MANAGER,
        "reportingInstance": instance,
        "action": "Reconcile",
        "reason": str(note.event),
        "type": "Warning" if note.warning else "Normal",
        "note": text,
        "regarding": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "name": job.metadata.name,
            "namespace": job.metadata.namespace,
            "uid": job.metadata.uid,
        },
    }
