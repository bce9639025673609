"""Gates: points that no process passes before all have come, where each leaves a value for all.

Pure: time is an argument. A gate that somebody does not reach in time is closed for good, for everybody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_GATES = 1024
"""An attempt needs a handful; more are a defect of whoever makes their names."""
MAX_NAME = 128
"""Characters of the longest name."""


class GateError(Exception):
    """Such a gate cannot be."""


class Gate:
    """One gate."""

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.closed = False
        """Whether somebody came too late."""
        self.deadline = float("inf")
        self.seconds = 0.0
        """How long the one who made the deadline was going to wait."""
        self._size = size
        self._values: dict[int, Any] = {}

    @property
    def open(self) -> bool:
        """Whether all have come in time."""
        return not self.closed and len(self._values) == self._size

    @property
    def values(self) -> Sequence[Any]:
        """What they brought, by index; None for those who have not come."""
        return [self._values.get(index) for index in range(self._size)]

    @property
    def missing(self) -> Sequence[int]:
        """Who has not come."""
        return [index for index in range(self._size) if index not in self._values]

    def arrive(self, index: int, value: Any, seconds: float, now: float) -> bool:
        """Take the value of one; returns whether that has opened the gate.

        Who comes again is who lost the answer: the first value stays.
        """
        if index in self._values or self.closed:
            return False
        self._values[index] = value
        if now + seconds < self.deadline:
            self.deadline, self.seconds = now + seconds, seconds
        return self.open


class Gates:
    """All gates of an attempt; those that were passed are kept, for who lost the answer."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._gates: dict[str, Gate] = {}

    def arrive(self, name: str, index: int, value: Any, *, seconds: float, now: float) -> tuple[Gate, bool]:
        """Note that a process has come, to wait for `seconds`; returns the gate as it is now, and whether it has just
        opened. Raises GateError.

        What is late at this very moment is seen by `expire` alone, so that nobody passes a gate that others were told
        is closed.
        """
        if not 0 <= index < self._size:
            raise GateError(f"process {index} of {self._size} came to a gate")
        gate = self._gates.get(name)
        if gate is None:
            if len(self._gates) >= MAX_GATES or not 0 < len(name) <= MAX_NAME:
                raise GateError(f"gate {name[:MAX_NAME]!r} is one too many, or has no fit name")
            gate = self._gates[name] = Gate(name, self._size)
        return gate, gate.arrive(index, value, seconds, now)

    @property
    def pending(self) -> Gate | None:
        """The gate at which somebody waits; the last one, if there are more."""
        return next((g for g in reversed(self._gates.values()) if not g.closed and not g.open), None)

    def expire(self, now: float) -> Sequence[Gate]:
        """Close the gates whose time is over; returns those that were not closed before."""
        late = [g for g in self._gates.values() if not g.closed and not g.open and g.deadline <= now]
        for gate in late:
            gate.closed = True
        return late

    def forgive(self, seconds: float) -> None:
        """Give all that wait more time: nobody was at work here to let them pass."""
        for gate in self._gates.values():
            gate.deadline += seconds
