"""Undone: an attempt, or a run of the preflight, that was taken back before any status told of it.

Its Job is made first, and what belongs to it as the Job's own. Where that is refused the Job goes again: nothing
has begun, so nothing is counted. And what was refused a moment ago is not asked for again at once: the Job that comes
and goes would have each look followed by another.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from gpuquery.reconcile.policy.case import LOOK_FOR_PODS, Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuquery.api.types import GpuQueryJob
    from gpuquery.reconcile.observe.model import Attempt, Observed, Refusal
    from gpuquery.reconcile.policy.case import Case

HOLDS_SECONDS = 9.0
"""How long a refusal holds that cost a Job: a little less than the first pause after one (case.RETRY_REFUSED)."""
FINAL_SECONDS = 600.0
"""How long one holds that asking again cannot help: the pods of that Job are gone by then, and the job may end."""


def await_leaving(case: Case) -> Answer | None:
    """What was taken back has to be gone before anything else begins."""
    return Answer(again=LOOK_FOR_PODS) if leaving(case.job, case.observed) else None


def leaving(job: GpuQueryJob, observed: Observed) -> bool:
    """Whether something of which no status tells is on its way out: the next one has to wait for that."""
    return any(map(_leaves, untold(job, observed)))


def untold(job: GpuQueryJob, observed: Observed) -> tuple[Attempt, ...]:
    """Return the attempts and runs of the preflight of which no status tells."""
    run = job.status.preflight_run
    attempts = (a for a in observed.attempts if a.number > (job.status.attempt or 0))
    runs = (r for r in observed.runs if r.number > (run.id if run else 0))
    return *attempts, *runs


def _leaves(attempt: Attempt) -> bool:
    if attempt.batch_job is not None:
        return attempt.batch_job.deleting
    return attempt.dask is None and bool(attempt.alive)


class Refusals:
    """The refusals of a moment ago that cost a Job; what is kept here may be lost without harm."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._held: dict[tuple[str, str], tuple[float, Refusal]] = {}

    def recent(self, key: tuple[str, str]) -> Refusal | None:
        """Return the refusal that still holds for a job."""
        at, refusal = self._held.get(key, (0.0, None))
        if refusal is None:
            return None
        if self._clock() - at >= (FINAL_SECONDS if refusal.permanent else HOLDS_SECONDS):
            del self._held[key]
            return None
        return refusal

    def noted(self, key: tuple[str, str], refusal: Refusal | None) -> Refusal | None:
        """Remember the answer to what was asked for just now; returns it as it counts for now.

        A pod of the Job that has gone may still be alive, so nothing ends for it yet.
        """
        if refusal is None or not refusal.undone:
            self._held.pop(key, None)
            return refusal
        self._held[key] = self._clock(), refusal
        return replace(refusal, permanent=False)

    def forget(self, key: tuple[str, str]) -> None:
        """Drop a job that is gone."""
        self._held.pop(key, None)
