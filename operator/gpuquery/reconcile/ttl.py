"""TTL: when a finished job is deleted, with its pods; the output stays."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


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
