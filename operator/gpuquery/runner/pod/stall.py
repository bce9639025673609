"""Stall: whether the only process of a query, and whatever it has started, has stopped to do anything.

Several processes send their progress, for one sees nothing of the others. The only one is looked at from outside: if it
uses next to no processor time (`BUSY`), moves nothing from or to disks and next to nothing over the network
(`signs.ENOUGH`), it waits for something that does not come. One that computes for ever does work;
`activeDeadlineSeconds` ends it.
"""

from __future__ import annotations

import contextlib
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gpuquery.runner import signs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.runner.pod.process import Process

LOOKS = 10
"""How often it is looked at within the limit."""
LONGEST_PAUSE = 5.0
BUSY = 0.02
"""Share of one processor that tells of work: its threads wake up now and then to see whether they are needed."""
STACKS_SIGNAL = signal.SIGUSR1
"""At which the query process writes the stacks of its threads into its log."""
STACKS_SECONDS = 0.5
_OWN_LINE = re.compile(r'File "(query\.py)", line (\d+) in (\S+)')


class Counts(NamedTuple):
    """What the kernel has counted so far."""

    cpu: float
    disk: int
    network: int


class Stall:
    """Counts the seconds without work. Pure: counts and time are arguments."""

    def __init__(self, limit: float, counts: Counts | None, now: float) -> None:
        self._limit = limit
        self._counts = counts
        self._now = now
        self.idle = 0.0

    def look(self, counts: Counts | None, now: float) -> bool:
        """Take the counts of a moment, None where they cannot be read; returns whether the limit is reached."""
        before, self._counts = self._counts, counts
        seconds, self._now = now - self._now, now
        if before is None or counts is None or self._worked(before, counts, seconds):
            self.idle = 0.0
        else:
            # A late look: the supervisor was paused, and perhaps the query too.
            self.idle += min(seconds, 2 * self.pause)
        return self.idle >= self._limit

    @property
    def pause(self) -> float:
        """Seconds from one look to the next."""
        return min(LONGEST_PAUSE, self._limit / LOOKS)

    @staticmethod
    def _worked(before: Counts, after: Counts, seconds: float) -> bool:
        # A process that has ended takes its counts along: less than before is a sign of life, too.
        cpu, disk, network = (abs(now - then) for now, then in zip(after, before, strict=True))
        return cpu > BUSY * seconds or disk > 0 or network > signs.ENOUGH * seconds


def counts(leader: int, root: Path = Path("/proc")) -> Counts | None:
    """Return what the kernel has counted of a process group; None where that cannot be read."""
    with contextlib.suppress(OSError, ValueError, LookupError):
        cpu, disk = 0.0, 0
        for proc in signs.group(leader, root):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                cpu += signs.cpu_seconds(proc)
                disk += signs.disk_bytes(proc)
        return Counts(cpu, disk, signs.network_bytes(root / str(leader)))
    return None


class Hung:
    """A process that has done nothing for too long: it shows where it is, and is then told to stop."""

    def __init__(self, process: Process, limit: float, now: float) -> None:
        self.message = (
            f"the query process has done nothing for {limit:g} s: it used at most {BUSY * 100:g} % of a processor, "
            f"moved no bytes from or to disks, and at most {signs.ENOUGH >> 10} KiB/s over the network "
            "(workers.stallSeconds)"
        )
        if process.phase:  # from here on it writes its stacks at this signal
            process.signal(STACKS_SIGNAL)
        self.stop_at = now + (STACKS_SECONDS if process.phase else 0)


def where(tail: Sequence[str]) -> str:
    """Say at which of the author's lines a process was that has written the stacks of its threads."""
    found = next((place for line in tail if (place := _OWN_LINE.search(line))), None)
    return f"; it is at {found[1]} line {found[2]}, in {found[3]}" if found else "; the pod's log has its stacks"
