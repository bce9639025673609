"""Pulse: that a query of one process works, and how far it is, told while it writes nothing.

An aggregation hands over its first row when all is read. Until then only the kernel knows: what came in over the
network or from files, and how long processors were used. How much there is to read, footers say; they are asked for
only once a query is no short one.
"""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from gpuquery.runner import signs, sizing, stores
from gpuquery.runner.later import Later

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from gpuquery.plan.plan import Plan
    from gpuquery.runner.progress import Tracker

EVERY_SECONDS = 2.0
LONG_SECONDS = 5.0
"""Age of a query from which on its footers are worth a look."""
LOG_SECONDS = 60.0
_SELF = Path("/proc/self")


@contextlib.contextmanager
def told(tracker: Tracker, plan: Plan, frame: pl.LazyFrame) -> Iterator[None]:
    """Tell it until the body ends, in a thread of its own; costs the query nothing if it cannot be told."""
    stop = threading.Event()
    remote = any(stores.of(uri).remote for item in plan.inputs for uri in item.places)
    # A clone: not every Polars lets two threads look at one frame.
    thread = threading.Thread(
        target=_tell, args=(tracker, plan, frame.clone(), remote, stop), name="pulse", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()


def _tell(tracker: Tracker, plan: Plan, frame: pl.LazyFrame, remote: bool, stop: threading.Event) -> None:
    began = logged = time.monotonic()
    sizes: Later[int] | None = None
    with contextlib.suppress(OSError, ValueError, LookupError):  # no such counters here
        first = _read(remote)
        while not stop.wait(EVERY_SECONDS):
            now = time.monotonic()
            if remote and sizes is None and now - began >= LONG_SECONDS:
                sizes = Later(lambda: sizing.estimate(frame, plan.store).stored_bytes)
            known = sizes is not None and sizes.over and not sizes.raised
            expected = sizes.result() if sizes is not None and known else None
            tracker.pulse(max(0, _read(remote) - first), expected or None, int(signs.cpu_seconds(_SELF)))
            if now - logged >= LOG_SECONDS:
                logged = now
                tracker.tell_log()


def _read(remote: bool) -> int:
    """Bytes that have come in: over the pod's network where inputs are in a store. Else from disks, which is what the
    page cache did not hold: no share of anything."""
    return signs.network_bytes(_SELF, sent=False) if remote else signs.disk_bytes(_SELF)
