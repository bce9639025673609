"""Phases of an attempt, in a separate module because the supervisor of a pod uses them without loading models."""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    """What index 0 of an attempt is doing, as `/v1/progress` reports it."""

    PLANNING = "planning"
    RUNNING = "running"
    COMMITTING = "committing"
    PUBLISHING = "publishing"
    DONE = "done"
