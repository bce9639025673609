"""TTL: when a finished job is deleted, with its pods; the output stays."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from gpuquery.api.conditions import is_terminal
from gpuquery.reconcile.policy.actions import DeleteJob
from gpuquery.reconcile.policy.case import Answer

if TYPE_CHECKING:
    from gpuquery.reconcile.policy.case import Case


@dataclass(frozen=True)
class Keep:
    """The job stays; `until` is None if it stays for good."""

    until: datetime | None = None


@dataclass(frozen=True)
class Expired:
    """The job has to be deleted."""


def after_finish(completed: datetime | None, seconds: int | None, now: datetime) -> Keep | Expired:
    """Decide about a finished job by `ttlSecondsAfterFinished`."""
    if seconds is None or completed is None:
        return Keep()
    due = completed + timedelta(seconds=seconds)
    return Expired() if now >= due else Keep(until=due)


def finished(case: Case) -> Answer | None:
    """A job that has ended stays as it is, until its time to live has passed or its namespace has too many of them."""
    status = case.job.status
    if not is_terminal(status.conditions):
        return None
    if case.observed.kept:
        return Answer(actions=(DeleteJob(),))
    match after_finish(status.completion_time, case.job.spec.ttl_seconds_after_finished, case.now):
        case Expired():
            return Answer(actions=(DeleteJob(),))
        case Keep(until=until):
            return Answer(again=case.wake(until))
