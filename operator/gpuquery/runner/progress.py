"""Progress: what the attempt is doing and how much it has written, told to whoever listens and to the log."""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from gpuquery.api.report import MAX_PROGRESS_WARNINGS, MAX_WAITS_FOR, Phase, Progress
from gpuquery.api.status import InputStatus
from gpuquery.api.text import clean

T = TypeVar("T")
Listener = Callable[[Progress], None]
MAX_WARNINGS_BYTES = 1500
"""Bytes of warnings in a report of progress, of which 16,384 are read."""
MAX_INPUTS_BYTES = 11_000
"""Bytes of tables in it: 64 with names of usual length."""
INTERVAL = 0.5
"""Seconds between two reports of the counters; a new phase is told at once."""


class Tracker:
    """The progress of one attempt; its methods may be called from any thread."""

    def __init__(self, listener: Listener, *, quiet: bool = False) -> None:
        self._listener = listener
        self.quiet = quiet
        """Whether it writes no log: in a process that runs other things, too."""
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

    def pulse(self, read: int, expected: int | None, cpu: int) -> None:
        """Take what tells of work before rows do: bytes read, how many there are, seconds of processor time."""
        percent = min(99, 100 * read // expected) if expected else None
        update = {"read_bytes": read, "expected_bytes": expected, "cpu_seconds": cpu, "percent": percent}
        with self._lock:
            self._progress = self._progress.model_copy(update=update)
            self._tell(time.monotonic())

    def warned(self, warnings: Sequence[str]) -> None:
        """Tell warnings as soon as they are known: those that there is room for."""
        told = _fitting(warnings[:MAX_PROGRESS_WARNINGS], MAX_WARNINGS_BYTES, json.dumps)
        with self._lock:
            self._progress = self._progress.model_copy(update={"warnings": told})
            self._tell(time.monotonic())

    def resolved(self, inputs: Sequence[InputStatus]) -> None:
        """Tell which snapshots of tables are read: whatever ends this process, a retry reads them again."""
        told = _fitting([one for one in inputs if one.snapshot], MAX_INPUTS_BYTES, InputStatus.model_dump_json)
        if told:
            with self._lock:
                self._progress = self._progress.model_copy(update={"inputs": told})
                self._tell(time.monotonic())

    def tell_log(self) -> None:
        """Write into the log how far it is."""
        now = self._progress
        of = f" of about {_size(now.expected_bytes)} ({now.percent} %)" if now.expected_bytes else ""
        self.log(
            f"{now.phase.value}: {_size(now.read_bytes)}{of} read, {now.rows} rows written, {now.cpu_seconds} s of "
            "processor time"
        )

    def log(self, line: str) -> None:
        """Write one line to the log."""
        line = clean(line)
        if not self.quiet:
            moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            # The query may have closed it, and the result does not depend on who reads the log.
            with contextlib.suppress(OSError, ValueError):
                print(f"{moment} +{time.monotonic() - self._started:.1f}s {line}", file=sys.stderr, flush=True)

    def _tell(self, now: float) -> None:
        self._told = now
        self._listener(self._progress)


def _fitting(items: Sequence[T], room: int, written: Callable[[T], str]) -> tuple[T, ...]:
    """Return the first items, as far as they fit into `room` bytes as they are written."""
    sums = itertools.accumulate(len(written(item).encode()) for item in items)
    return tuple(itertools.compress(items, (size <= room for size in sums)))


def _size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
