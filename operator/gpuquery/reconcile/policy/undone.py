"""Undone: a run that was taken back before any status named it.

Its Job is made first, and what belongs to it as the Job's own. Where that is refused the Job is deleted again: nothing
has begun, so nothing is counted (refusals.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuquery.reconcile.policy.case import LOOK_FOR_PODS, Answer

if TYPE_CHECKING:
    from gpuquery.api.types import GpuQueryJob
    from gpuquery.reconcile.observe.model import Attempt, Observed
    from gpuquery.reconcile.policy.case import Case


def await_leaving(case: Case) -> Answer | None:
    """What was taken back has to be gone before anything else begins."""
    leaving = any(map(_leaves, untold(case.job, case.observed)))
    return Answer(again=LOOK_FOR_PODS) if leaving else None


def untold(job: GpuQueryJob, observed: Observed) -> tuple[Attempt, ...]:
    """Return the attempts and runs of the preflight that the status does not name."""
    run = job.status.preflight_run
    attempts = (a for a in observed.attempts if a.number > (job.status.attempt or 0))
    runs = (r for r in observed.runs if r.number > (run.id if run else 0))
    return *attempts, *runs


def _leaves(attempt: Attempt) -> bool:
    if attempt.batch_job is not None:
        return attempt.batch_job.deleting
    return attempt.dask is None and bool(attempt.alive)
