"""Retry: which failures deserve another attempt, and when.

A failure's class decides, never its text. Preempted attempts do not count: their node was taken, not wasted. And a job
whose output is committed is always tried again, because the next attempt only has to finish publishing.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from gpuquery.api.reasons import Failure, Policy
from gpuquery.api.status import AttemptStatus

FIRST_BACKOFF = timedelta(seconds=5)
LONGEST_BACKOFF = timedelta(seconds=300)


@dataclass(frozen=True)
class RetrySpec:
    """What decides beside the attempts themselves."""

    backoff_limit: int
    counted: int
    """Failed attempts so far that count against the limit, the last one included."""
    committed: bool = False
    """Whether the output is committed, but not yet told to be published."""
    key: str = ""
    """Spreads the retries of many jobs that failed for one cause: the job's UID."""


@dataclass(frozen=True)
class Retry:
    """Another attempt, at that time."""

    at: datetime


@dataclass(frozen=True)
class GiveUp:
    """No further attempt; the reason of the `Failed` condition."""

    reason: Failure


def next_attempt(attempts: Sequence[AttemptStatus], spec: RetrySpec) -> Retry | GiveUp:
    """Decide what follows the last attempt, which has failed and ended."""
    last = attempts[-1]
    if last.reason is None or last.ended is None:
        raise ValueError(f"attempt {last.id} has not failed")
    failure = Failure(last.reason)
    policy = Policy.FREE if spec.committed and failure.policy is not Policy.NEVER else failure.policy
    match policy:
        case Policy.NEVER:
            return GiveUp(failure)
        case Policy.FREE:
            in_a_row = len(attempts) if spec.committed else _free_in_a_row(attempts)
            pause = backoff(in_a_row - 1, spec.key) if in_a_row > 1 else timedelta()
            return Retry(at=last.ended + pause)
        case Policy.BUDGETED if spec.counted <= spec.backoff_limit:
            return Retry(at=last.ended + backoff(spec.counted, spec.key))
        case _:
            # Where no retry was allowed, the limit explains nothing: the failure itself is the reason.
            return GiveUp(Failure.BACKOFF_LIMIT_EXCEEDED if spec.backoff_limit else failure)


def backoff(failures: int, key: str) -> timedelta:
    """Return the pause after that many failures: doubling, up to five minutes, plus up to a fifth by key."""
    pause = min(FIRST_BACKOFF * 2 ** min(failures - 1, 10), LONGEST_BACKOFF)
    spread = zlib.crc32(f"{key}/{failures}".encode()) / 2**32
    return timedelta(seconds=round(pause.total_seconds() * (1 + spread / 5)))


def _free_in_a_row(attempts: Sequence[AttemptStatus]) -> int:
    count = 0
    for attempt in reversed(attempts):
        if attempt.reason is None or Failure(attempt.reason).policy is not Policy.FREE:
            break
        count += 1
    return count
