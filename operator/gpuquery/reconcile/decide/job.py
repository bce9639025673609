"""Decide: from a job and what exists of it to what has to be done. Pure: no clock, no I/O.

Reads as a list of policies, each of which has a file and a table of sentences: a new one is one line more. What has to
be done about a run, an attempt or the preflight alike, stands in run.py, with the list of what can end one.
Each answer is computed anew from what exists, so it does not matter which events were seen, or by which operator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuquery.reconcile.decide import begin, preflight
from gpuquery.reconcile.observe import contradiction
from gpuquery.reconcile.observe.believed import believed
from gpuquery.reconcile.policy import admission, suspend, ttl, undone
from gpuquery.reconcile.policy.case import Case, Decision

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from gpuquery.api.types import GpuQueryJob
    from gpuquery.plan.defaults import Defaults
    from gpuquery.reconcile.observe.model import Observed


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
    return preflight.guarded(case, _decide(case), told=job.status.preflight)


POLICIES: tuple[Callable[[Case], Decision | None], ...] = (
    ttl.finished,
    suspend.stay,
    admission.await_turn,
    undone.await_leaving,
    begin.follow,
)
"""The life of a job, from its end to its beginning. The first that has something to say decides."""


def _decide(case: Case) -> Decision:
    return next(decision for policy in POLICIES if (decision := policy(case)) is not None)
