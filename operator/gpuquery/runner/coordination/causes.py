"""Causes: which of the faults of an attempt was the first.

Where one process dies, others see their connections break, and may say so sooner than the kernel tells of the death: a
fault in the exchange of rows is therefore held for a moment, and gives way to any other that comes meanwhile. A pod
that does not hear another one may have lost the way, or the other its life: that is decided when the coordinator hears
from the other again, or does not. Pure: time is an argument.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gpuquery.api.reasons import Failure, Policy
from gpuquery.runner.coordination.wire import Message, WireError

if TYPE_CHECKING:
    from collections.abc import Mapping

HOLD_SECONDS = 1.5
"""How long a fault that may be the consequence of another waits for that other."""
MAX_MESSAGE = 3000
"""Characters of a fault's message."""
_CONSEQUENCES = (Failure.TRANSPORT_ERROR,)
_DETAILS = ("queryStarted", "joined", "warnings")


class Fault(NamedTuple):
    """What went wrong, and where."""

    failure: Failure
    message: str
    pod: str = ""
    """Name of the pod where it happened."""
    place: str = ""
    """The same for people, with the GPU."""
    process: int | None = None
    """Index of the process that failed, if it was one."""
    code: int | None = None
    """Its exit code; negative: the signal that it died of."""
    details: Mapping[str, Any] = {}
    """What else the report of the process says."""

    def message_of(self) -> Message:
        """Return it as a part of a frame."""
        return {
            **self._asdict(),
            "failure": self.failure.value,
            "message": self.message[:MAX_MESSAGE],
            "details": dict(self.details),
        }

    @classmethod
    def read(cls, fields: object) -> Fault:
        """Read what another supervisor says; raises WireError."""
        try:
            assert isinstance(fields, dict)
            failure = Failure(fields["failure"])
            told = {name: fields[name] for name in cls._fields if name != "failure"}
            assert all(isinstance(told[name], str) for name in ("message", "pod", "place"))
            assert all(told[name] is None or type(told[name]) is int for name in ("process", "code"))
            assert isinstance(told["details"], dict)
            return cls(failure, **told)
        except (AssertionError, KeyError, ValueError):
            raise WireError("no fault") from None

    @classmethod
    def reported(cls, report: Mapping[str, Any], **where: Any) -> Fault:
        """Return the fault that the report of a process tells."""
        try:
            failure = Failure(str(report.get("failure")))
        except ValueError:
            failure = Failure.INTERNAL_ERROR
        details = {key: report[key] for key in _DETAILS if key in report}
        return cls(failure, str(report.get("message", ""))[:MAX_MESSAGE], details=_bounded(details), **where)

    def told(self) -> str:
        """Return the message with the place, unless the query would fail anywhere."""
        return (
            self.message if not self.place or self.failure.policy is Policy.NEVER else f"{self.place}: {self.message}"
        )


def _bounded(details: dict[str, Any]) -> dict[str, Any]:
    warnings = [str(text)[:MAX_MESSAGE] for text in details.get("warnings", ())][:5]
    return {**details, "warnings": warnings} if warnings else details


class Causes:
    """The faults of an attempt, in the order in which the coordinator learns of them."""

    def __init__(self) -> None:
        self.first: Fault | None = None
        """What it was; once decided, it stays."""
        self._held: tuple[Fault, float] | None = None
        self._suspicions: dict[int, Fault] = {}

    @property
    def told(self) -> bool:
        """Whether anything is known to have gone wrong."""
        return self.first is not None or self._held is not None

    def add(self, fault: Fault, now: float) -> None:
        """Take a fault."""
        if self.first is not None:
            return
        if fault.failure not in _CONSEQUENCES:
            self.first = fault
        elif self._held is None:
            self._held = fault, now

    def suspect(self, pod: int, fault: Fault) -> None:
        """Take the word of another pod that it does not hear this one; `fault` is what it means if this one lives."""
        self._suspicions.setdefault(pod, fault)

    def heard(self, pod: int) -> None:
        """Note that a pod lives: who does not hear it has lost the way to it."""
        fault = self._suspicions.pop(pod, None)
        if fault is not None and self.first is None:
            self.first = fault

    def due(self, now: float, *, doubt: bool = False) -> Fault | None:
        """Return the first cause, if it is known by now; with `doubt`, whether a pod is alive, what is held waits."""
        if self.first is None and self._held is not None and not doubt and now - self._held[1] >= HOLD_SECONDS:
            self.first = self._held[0]
        return self.first
