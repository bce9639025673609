"""Refusals: what was refused a moment ago is not asked for again at once.

Each try makes a Job and deletes it again (policy/undone.py), so that each look would lead to another.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuquery.reconcile.observe.model import Refusal

HOLDS_SECONDS = 9.0
"""How long a refusal holds that cost a Job: a little less than the first pause after one (case.RETRY_REFUSED)."""
FINAL_SECONDS = 600.0
"""How long one holds that asking again cannot help: the pods of that Job are gone by then, and the job may end."""


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
