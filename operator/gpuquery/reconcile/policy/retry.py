"""Retry: which failures deserve another attempt, and when.

A failure's class decides, never its text, and never what a pod says of itself but what became of it. Attempts whose
node was taken away do not count against the budget: it was taken, not wasted. But each one costs a start, so they wait
ever longer and have a limit of their own. Runs of the preflight follow the same rules.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from gpuquery.api.reasons import Failure, Policy

FIRST_BACKOFF = timedelta(seconds=5)
LONGEST_BACKOFF = timedelta(seconds=300)
FREE_LIMIT = 20
"""Most attempts of one job that may be taken away. With the pauses between them that takes more than an hour of trying:
on nodes that are taken so fast the job will not end, and each attempt holds GPUs in vain."""


@dataclass(frozen=True)
class Ended:
    """An attempt, or a run of the preflight, that has failed and ended."""

    id: int
    failure: Failure
    at: datetime
    """When the operator saw that nothing of it was left."""
    counted: int
    """Failed ones up to this one that count against the limit."""
    suspended: int = 0
    """Those up to this one that were ended by `spec.suspend`."""

    @property
    def failed(self) -> int:
        """How many have failed: all but those that were suspended."""
        return self.id - self.suspended

    @property
    def taken(self) -> int:
        """How many were taken away."""
        return self.failed - self.counted


@dataclass(frozen=True)
class Retry:
    """Another attempt, at that time."""

    at: datetime


@dataclass(frozen=True)
class GiveUp:
    """No further attempt; the reason of the `Failed` condition."""

    reason: Failure


@dataclass(frozen=True)
class Spent:
    """What is known of the runs of a job so far."""

    counted: int = 0
    """Failed ones that count against the limit."""
    suspended: int = 0
    """Those that were ended by `spec.suspend`."""

    def after(self, failure: Failure) -> Spent:
        """Return what it is after one more run, which ended with this."""
        return Spent(
            self.counted + (failure.policy is Policy.BUDGETED), self.suspended + (failure.policy is Policy.RESUMED)
        )


def next_attempt(last: Ended, backoff_limit: int, key: str = "") -> Retry | GiveUp:
    """Decide what follows. `key` spreads the retries of many jobs that failed for one cause: the job's UID."""
    taken = last.taken
    match last.failure.policy:
        case Policy.RESUMED:
            return Retry(at=last.at)
        case Policy.FREE if taken < FREE_LIMIT:
            return Retry(at=last.at + backoff(taken, key))
        case Policy.BUDGETED if last.counted <= backoff_limit:
            return Retry(at=last.at + backoff(last.counted, key))
        case Policy.BUDGETED if backoff_limit:
            return GiveUp(Failure.BACKOFF_LIMIT_EXCEEDED)
        case _:
            # Where no retry was allowed, the limit explains nothing: the failure itself is the reason.
            return GiveUp(last.failure)


def backoff(failures: int, key: str) -> timedelta:
    """Return the pause after that many failures: doubling, up to five minutes, plus up to a fifth by key."""
    pause = min(FIRST_BACKOFF * 2 ** min(failures - 1, 10), LONGEST_BACKOFF)
    spread = zlib.crc32(f"{key}/{failures}".encode()) / 2**32
    return timedelta(seconds=round(pause.total_seconds() * (1 + spread / 5)))
