"""Deadlines: how long a job may take in all, and how long an attempt may take to be ready.

Both are computed from times in the status, so a restart of the operator neither extends nor forgets them. Only how long
a Secret has been missed counts anew after a restart, within the same deadlines.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from gpuquery.api.reasons import Failure
from gpuquery.reconcile.policy.outcome import Fault

if TYPE_CHECKING:
    from gpuquery.reconcile.policy.case import UnderWay

SECRET_SECONDS = 120
"""How long pods wait for a Secret that they miss, at most: time enough for one that is made along with the job."""


Exceeded = Fault
"""A deadline that has passed."""


def active(started: datetime | None, seconds: int | None, now: datetime) -> Exceeded | None:
    """Check `activeDeadlineSeconds`, counted from the first attempt's start."""
    due = due_at(started, seconds)
    if due is None or now < due:
        return None
    return Exceeded(
        Failure.DEADLINE_EXCEEDED,
        f"the job did not end within activeDeadlineSeconds ({seconds} s): raise it, or give the pods more resources",
    )


def start(
    asked: datetime, seconds: int, now: datetime, *, because: str, secret_missed: datetime | None = None
) -> Exceeded | None:
    """Check `startDeadlineSeconds`, counted from the moment when the attempt's pods were asked for.

    `because` says what the attempt was waiting for, in the words of the scheduler or the kubelet, and `secret_missed`
    since when that is a Secret.
    """
    due = start_due(asked, seconds, secret_missed)
    if now < due:
        return None
    if due < asked + timedelta(seconds=seconds):
        return Exceeded(
            Failure.START_DEADLINE_EXCEEDED,
            f"the pods were given up after {SECRET_SECONDS} s without a Secret, since they keep their nodes' resources "
            f"from others while they wait: {because}: create the Secret, then the job again",
        )
    return Exceeded(
        Failure.START_DEADLINE_EXCEEDED,
        f"the pods were not ready within startDeadlineSeconds ({seconds} s): {because}",
    )


def start_due(asked: datetime, seconds: int, secret_missed: datetime | None) -> datetime:
    """Return when an attempt has to be ready.

    A pod that waits for a Secret holds its node's resources, and the operator may not look for the Secret beforehand.
    One that waits for a node holds nothing, and that time does not count.
    """
    due = asked + timedelta(seconds=seconds)
    return due if secret_missed is None else min(due, secret_missed + timedelta(seconds=SECRET_SECONDS))


def due_at(started: datetime | None, seconds: int | None) -> datetime | None:
    """Return when a deadline passes; None if there is none."""
    return None if started is None or seconds is None else started + timedelta(seconds=seconds)


def job_is_late(look: UnderWay) -> Fault | datetime | None:
    """The whole job has taken too long, or will have at a certain time."""
    return look.case.expired(look.record) or look.case.deadline_of(look.record)


def start_is_late(look: UnderWay) -> Fault | datetime | None:
    """The pods of a run have taken too long to start, or will have at a certain time."""
    if not look.starting:
        return None
    held, asked, seconds = look.blocker, look.record.started, look.case.job.spec.start_deadline_seconds
    because = f"{held.reason}: {held.message}" if held else look.starting
    missed = held.secret_missed if held else None
    late = start(asked, seconds, look.case.now, because=because, secret_missed=missed)
    return late or start_due(asked, seconds, missed)
