"""Deadlines: how long a job may take in all, and how long an attempt may take to be ready.

Both are computed from times that stand in the status, so a restart of the operator neither extends nor forgets them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from gpuquery.api.reasons import Failure


@dataclass(frozen=True)
class Exceeded:
    """A deadline that has passed."""

    failure: Failure
    message: str


def active(started: datetime | None, seconds: int | None, now: datetime) -> Exceeded | None:
    """Check `activeDeadlineSeconds`, counted from the first attempt's start."""
    due = due_at(started, seconds)
    if due is None or now < due:
        return None
    return Exceeded(
        Failure.DEADLINE_EXCEEDED,
        f"the job did not end within activeDeadlineSeconds ({seconds} s): raise it, or give the pods more resources",
    )


def start(asked: datetime, seconds: int, now: datetime, *, because: str) -> Exceeded | None:
    """Check `startDeadlineSeconds`, counted from the moment when the attempt's pods were asked for.

    `because` says what the attempt was waiting for, in the words of the scheduler or the kubelet.
    """
    if now < asked + timedelta(seconds=seconds):
        return None
    return Exceeded(
        Failure.START_DEADLINE_EXCEEDED,
        f"the pods were not ready within startDeadlineSeconds ({seconds} s): {because}",
    )


def due_at(started: datetime | None, seconds: int | None) -> datetime | None:
    """Return when a deadline passes; None if there is none."""
    return None if started is None or seconds is None else started + timedelta(seconds=seconds)
