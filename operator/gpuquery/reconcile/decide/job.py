"""Decide: from a job and what exists of it to what has to be done. Pure: no clock, no I/O.

It is a list of policies. Each has a file and a table test, so a new one is one more line. run.py follows a run, attempt
or preflight, and has the list of what can end one. Each answer is computed anew from what exists, so it does not matter
which events were seen, or by which operator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuquery.reconcile.decide import begin, preflight
from gpuquery.reconcile.observe import contradiction
from gpuquery.reconcile.observe.believed import believed
from gpuquery.reconcile.policy import admission, suspend, ttl, undone
from gpuquery.reconcile.policy.actions import created
from gpuquery.reconcile.policy.case import Answer, Case
from gpuquery.reconcile.report.status import derive

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from gpuquery.api.status import GpuQueryJobStatus
    from gpuquery.api.types import GpuQueryJob
    from gpuquery.plan.defaults import Defaults
    from gpuquery.reconcile.observe.model import Observed
    from gpuquery.reconcile.policy.actions import Action, Manifest

POLICIES: tuple[Callable[[Case], Answer | None], ...] = (
    ttl.finished,
    suspend.stay,
    admission.await_turn,
    undone.await_leaving,
    begin.follow,
)
"""The life of a job, from its end to its beginning. The first that has something to say decides."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What has to be done, and when to look again.

    What is to be created comes before the status write and its events, all other actions after them, in their order: a
    deletion comes last because the status must know the cause before its effect can be seen.
    """

    status: GpuQueryJobStatus | None = None
    """The whole status; None leaves it alone."""
    actions: tuple[Action, ...] = ()
    requeue_after: float | None = None

    @property
    def creates(self) -> tuple[Manifest, ...]:
        """The objects to create."""
        return created(self.actions)


def decide(job: GpuQueryJob, observed: Observed, defaults: Defaults, now: datetime) -> Decision:
    """Return what has to be done about a job."""
    now = now.replace(microsecond=0)
    if contradiction.contradiction(job.status):
        if (settled := contradiction.settled(job.status, now)) is not None:
            return Decision(status=settled, requeue_after=0)
        job = contradiction.reopened(job)
    observed = believed(job, observed)
    known = preflight.with_found(job, observed, now)
    case = Case(job=known, observed=observed, defaults=defaults, now=now)
    answer = next(answer for policy in POLICIES if (answer := policy(case)) is not None)
    answer = preflight.guarded(case, answer, stored=job.status.preflight)
    status = derive(known, answer.account, now) if answer.account else None
    return Decision(status=status, actions=answer.actions, requeue_after=answer.again)
