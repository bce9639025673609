"""Progress: what the attempt is doing and how much it has written, told to whoever listens and to the log."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from gpuquery.api.report import MAX_WAITS_FOR, Phase, Progress

Listener = Callable[[Progress], None]
INTERVAL = 0.5
"""Seconds between two reports of the counters; a new phase is told at once."""


class Tracker:
    """The progress of one attempt; its methods may be called from any thread."""

    def __init__(self, listener: Listener, *, quiet: bool = False) -> None:
        self._listener = listener
        self._quiet = quiet
        self._lock = threading.Lock()
        self._progress = Progress(phase=Phase.PLANNING)
        self._told = 0.0
        self._started = time.monotonic()

    @property
    def phase(self) -> Phase:
        """What the attempt is doing."""
        return self._progress.phase

    def enter(self, phase: Phase, detail: str = "") -> None:
        """Begin a phase."""
        with self._lock:
            self._progress = self._progress.model_copy(update={"phase": phase})
            self._tell(time.monotonic())
        self.log(f"{phase.value}{': ' if detail else ''}{detail}")

    def joined(self) -> None:
        """The cluster is complete that runs the query."""
        with self._lock:
            self._progress = self._progress.model_copy(update={"joined": self._progress.ranks})
            self._tell(time.monotonic())

    def waits(self, why: str) -> None:
        """Something keeps the query from beginning; nothing does any more where it is empty."""
        with self._lock:
            self._progress = self._progress.model_copy(update={"waits_for": why[:MAX_WAITS_FOR]})
            self._tell(time.monotonic())

    def wrote(self, files: int, rows: int, size: int) -> None:
        """Take the sink's counters: files, rows and bytes since the attempt began."""
        with self._lock:
            self._progress = self._progress.model_copy(update={"files": files, "rows": rows, "bytes": size})
            now = time.monotonic()
            if now - self._told >= INTERVAL:
                self._tell(now)

    def log(self, line: str) -> None:
        """Write one line to the log."""
        if not self._quiet:
            moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            print(f"{moment} +{time.monotonic() - self._started:.1f}s {line}", file=sys.stderr, flush=True)

    def _tell(self, now: float) -> None:
        self._told = now
        self._listener(self._progress)
