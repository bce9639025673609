"""Contradiction: a terminal condition that the rest of the status denies.

Others who may write the subresource can write `Complete`, which ends nothing. The operator writes a terminal condition
together with the completion time, after the end of the last attempt, and `Complete` only with a commit or for a dry
run. A status that does not fit is derived anew from what exists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from gpuquery.api.conditions import TERMINAL, ConditionType, State, find, is_terminal, is_true, merged
from gpuquery.api.reasons import Reason
from gpuquery.api.status import GpuQueryJobStatus

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from gpuquery.api.types import GpuQueryJob

TELLS_OF_END = ("conditions", "completionTime", "attempts")
"""The fields of a status that say whether a job has ended."""


def contradiction(status: GpuQueryJobStatus) -> str:
    """Return what in a status contradicts its terminal condition, in words; empty if nothing does."""
    true = [kind for kind in TERMINAL if is_true(status.conditions, kind)]
    if not true:
        return ""
    if len(true) > 1:
        return "Complete and Failed are both True, which exclude each other"
    beginning = f"{true[0]} is True, but"
    if status.completion_time is None:
        return f"{beginning} completionTime is not set"
    if status.attempts and status.attempts[-1].ended is None:
        return f"{beginning} attempt {status.attempts[-1].id} has not ended"
    if true[0] is ConditionType.COMPLETE and not (_dry_run(status) or _committed(status)):
        return f"{beginning} OutputCommitted is not, and it was no dry run"
    return ""


def has_ended(job: GpuQueryJob) -> bool:
    """Whether a job has ended, and its status says nothing else."""
    return _over(job.status)


def ended_in(status: Mapping[str, Any]) -> bool:
    """The same for a status as the API server has it; one that cannot be read has no end."""
    try:
        known = {field: status[field] for field in TELLS_OF_END if status.get(field) is not None}
        return _over(GpuQueryJobStatus.model_validate(known))
    except ValidationError:
        return False


def _over(status: GpuQueryJobStatus) -> bool:
    return is_terminal(status.conditions) and not contradiction(status)


def settled(status: GpuQueryJobStatus, now: datetime) -> GpuQueryJobStatus | None:
    """Return the status of an ended job that has both terminal conditions, with the one that fits the rest.

    None: the contradiction is another one. A job that has ended is not begun again because its status was changed.
    """
    over = status.completion_time is not None and all(attempt.ended for attempt in status.attempts)
    if not over or not all(is_true(status.conditions, kind) for kind in TERMINAL):
        return None
    complete = _dry_run(status) or (_committed(status) and status.output is not None)
    lost = ConditionType.FAILED if complete else ConditionType.COMPLETE
    outcome = (Reason.COMPLETED, "the job is complete") if complete else (Reason.FAILED, "the job failed")
    failed = find(status.conditions, ConditionType.FAILED)
    wanted = [
        c if c.type != lost else c.model_copy(update={"status": "False", "reason": outcome[0], "message": outcome[1]})
        for c in status.conditions
    ]
    return status.model_copy(
        update={
            "conditions": merged(status.conditions, wanted, now=now),
            "state": State.COMPLETE if complete else State.FAILED,
            "failure": None if complete else (failed.reason if failed else None),
        }
    )


def reopened(job: GpuQueryJob) -> GpuQueryJob:
    """Return the job without the terminal conditions that contradict its status."""
    status = job.status
    conditions = tuple(c for c in status.conditions if c.type not in TERMINAL)
    known = {"conditions": conditions, "completion_time": None}
    return job.model_copy(update={"status": status.model_copy(update=known)})


def _dry_run(status: GpuQueryJobStatus) -> bool:
    complete = find(status.conditions, ConditionType.COMPLETE)
    return complete is not None and complete.reason == Reason.DRY_RUN


def _committed(status: GpuQueryJobStatus) -> bool:
    return is_true(status.conditions, ConditionType.OUTPUT_COMMITTED)
