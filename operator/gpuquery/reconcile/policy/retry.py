"""Retry: which failures deserve another attempt, and when.

A failure's class decides, never its text, and never what a pod says about itself. Attempts whose node was taken away do
not count against the budget. But each one costs a start, so they wait ever longer and have a limit of their own. Runs
of the preflight follow the same rules.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from gpuquery.api.reasons import Failure, Policy
from gpuquery.reconcile.policy.outcome import Fault

FIRST_BACKOFF = timedelta(seconds=5)
LONGEST_BACKOFF = timedelta(seconds=300)
FREE_LIMIT = 20
"""How many attempts of one job may be taken away before it fails; with pauses that takes more than an hour. If nodes go
that fast the job will never finish, and each attempt only ties up GPUs."""


@dataclass(frozen=True)
class Spent:
    """What is known of the runs of a job so far."""

    counted: int = 0
    """Failed ones that count against the limit."""
    suspended: int = 0
    """Those that were ended by `spec.suspend`."""

    def after(self, failure: Failure) -> Spent:
        """Return the totals after one more run, which ended with this failure."""
        return Spent(
            self.counted + (failure.policy is Policy.BUDGETED), self.suspended + (failure.policy is Policy.RESUMED)
        )


@dataclass(frozen=True)
class Ended:
    """An attempt, or a run of the preflight, that has failed and ended."""

    id: int
    failure: Failure
    at: datetime
    """When the operator saw that nothing of it was left."""
    spent: Spent
    """What all up to this one have cost."""

    @property
    def failed(self) -> int:
        """How many have failed: all but those that were suspended."""
        return self.id - self.spent.suspended

    @property
    def taken(self) -> int:
        """How many were taken away."""
        return self.failed - self.spent.counted


@dataclass(frozen=True)
class Retry:
    """Another attempt, at that time."""

    at: datetime


@dataclass(frozen=True)
class GiveUp:
    """No further attempt; the reason of the `Failed` condition."""

    reason: Failure


def next_attempt(last: Ended, backoff_limit: int, key: str = "") -> Retry | GiveUp:
    """Decide what follows. `key` spreads the retries of many jobs that failed for one cause: the job's UID."""
    taken = last.taken
    match last.failure.policy:
        case Policy.RESUMED:
            return Retry(at=last.at)
        case Policy.FREE if taken < FREE_LIMIT:
            return Retry(at=last.at + backoff(taken, key))
        case Policy.BUDGETED if last.spent.counted <= backoff_limit:
            return Retry(at=last.at + backoff(last.spent.counted, key))
        case Policy.BUDGETED if backoff_limit:
            return GiveUp(Failure.BACKOFF_LIMIT_EXCEEDED)
        case _:
            # If no retries were allowed, reaching the limit explains nothing: the failure itself is the reason.
            return GiveUp(last.failure)


def given_up(reason: Failure, fault: Fault, last: Ended, several: str) -> Fault:
    """Say why the job failed, with the fault of its last run; `several` is what its runs are called."""
    if reason.policy is Policy.FREE:
        words = f"{last.taken} {several} were taken away, which is the limit; the last one: {fault.message}"
        return replace(fault, message=words)
    if reason is fault.failure:
        return fault
    return Fault(reason, f"{last.failed} {several} failed; the last one: {fault.failure}: {fault.message}")


def backoff(failures: int, key: str) -> timedelta:
    """Return the pause after that many failures: doubling, up to five minutes, plus up to a fifth by key."""
    pause = min(FIRST_BACKOFF * 2 ** min(failures - 1, 10), LONGEST_BACKOFF)
    spread = zlib.crc32(f"{key}/{failures}".encode()) / 2**32
    return timedelta(seconds=round(pause.total_seconds() * (1 + spread / 5)))
