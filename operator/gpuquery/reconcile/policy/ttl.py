"""TTL: when a finished job is deleted, with its pods; the output stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuquery.api.conditions import is_terminal
from gpuquery.reconcile.policy import deadline
from gpuquery.reconcile.policy.actions import DeleteJob
from gpuquery.reconcile.policy.case import Answer

if TYPE_CHECKING:
    from gpuquery.reconcile.policy.case import Case


def finished(case: Case) -> Answer | None:
    """A job that has ended stays as it is, until its time to live has passed or its namespace has too many of them."""
    status = case.job.status
    if not is_terminal(status.conditions):
        return None
    due = deadline.due_at(status.completion_time, case.job.spec.ttl_seconds_after_finished)
    if case.observed.kept or (due is not None and case.now >= due):
        return Answer(actions=(DeleteJob(),))
    return Answer(again=case.wake(due))
