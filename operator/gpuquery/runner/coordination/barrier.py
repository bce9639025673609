"""Barriers: points that no process passes before all have come, where each leaves a value for all.

Pure: time is an argument. A barrier that one process does not reach in time is closed for all, and stays so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_BARRIERS = 1024
"""An attempt needs a handful; more are a defect of the code that makes their names."""
MAX_NAME = 128
"""Characters of the longest name."""


class BarrierError(Exception):
    """There can be no such barrier."""


class Barrier:
    """One barrier."""

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.closed = False
        """Whether a process came too late."""
        self.deadline = float("inf")
        self.seconds = 0.0
        """The least time that a process was going to wait."""
        self._size = size
        self._values: dict[int, Any] = {}

    @property
    def open(self) -> bool:
        """Whether all have come in time."""
        return not self.closed and len(self._values) == self._size

    @property
    def values(self) -> Sequence[Any]:
        """The values, by index; None for a process that has not come."""
        return [self._values.get(index) for index in range(self._size)]

    @property
    def missing(self) -> Sequence[int]:
        """Indexes of the processes that have not come."""
        return [index for index in range(self._size) if index not in self._values]

    def arrive(self, index: int, value: Any, seconds: float, now: float) -> bool:
        """Take the value of one; returns whether that has opened the barrier.

        A process that comes again has lost the answer: its first value stays.
        """
        if index in self._values or self.closed:
            return False
        self._values[index] = value
        if now + seconds < self.deadline:
            self.deadline, self.seconds = now + seconds, seconds
        return self.open


class Barriers:
    """All barriers of an attempt; passed ones are kept, for a pod that has lost the answer."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._barriers: dict[str, Barrier] = {}

    def arrive(self, name: str, index: int, value: Any, *, seconds: float, now: float) -> tuple[Barrier, bool]:
        """Note that a process has come, to wait for `seconds`; returns the barrier, and whether it has just opened.

        Raises BarrierError. Only `expire` closes a barrier, so none opens that others were told is closed.
        """
        if not 0 <= index < self._size:
            raise BarrierError(f"process {index} of {self._size} came to a barrier")
        barrier = self._barriers.get(name)
        if barrier is None:
            if len(self._barriers) >= MAX_BARRIERS or not 0 < len(name) <= MAX_NAME:
                raise BarrierError(f"barrier {name[:MAX_NAME]!r} is one too many, or has no fit name")
            barrier = self._barriers[name] = Barrier(name, self._size)
        return barrier, barrier.arrive(index, value, seconds, now)

    @property
    def pending(self) -> Barrier | None:
        """The barrier at which processes wait; the last one, if there are more."""
        return next((b for b in reversed(self._barriers.values()) if not b.closed and not b.open), None)

    def expire(self, now: float) -> Sequence[Barrier]:
        """Close the barriers whose time is over; returns those that were not closed before."""
        late = [b for b in self._barriers.values() if not b.closed and not b.open and b.deadline <= now]
        for barrier in late:
            barrier.closed = True
        return late

    def forgive(self, seconds: float) -> None:
        """The coordinator was paused for so long: extend the deadlines by it."""
        for barrier in self._barriers.values():
            barrier.deadline += seconds
