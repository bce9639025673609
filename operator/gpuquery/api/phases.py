"""Phases of an attempt. They stand alone because the supervisor of a pod compares them, and loads no models for it."""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    """What index 0 of an attempt is doing, as `/v1/progress` tells it."""

    PLANNING = "planning"
    RUNNING = "running"
    COMMITTING = "committing"
    PUBLISHING = "publishing"
    DONE = "done"
