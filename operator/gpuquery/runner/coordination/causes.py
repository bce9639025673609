"""Causes: the faults of an attempt that the pods of a set report to the coordinator, and which was the first.

A fault in the exchange of rows may follow from the death of a process, so it is held for a moment. A pod that does not
hear another may be cut off, or the other dead: that is decided when the coordinator hears from the other again, or does
not. Pure: time is an argument.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gpuquery.api.first_cause import FirstCause
from gpuquery.api.reasons import Failure, Policy, Reach
from gpuquery.api.timing import HOLD_SECONDS
from gpuquery.runner.coordination.wire import Message, WireError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_MESSAGE = 3000
"""Characters of a fault's message."""
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
            values = {name: fields[name] for name in cls._fields if name != "failure"}
            assert all(isinstance(values[name], str) for name in ("message", "pod", "place"))
            assert all(values[name] is None or type(values[name]) is int for name in ("process", "code"))
            assert isinstance(values["details"], dict)
            return cls(failure, **values)
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


class Causes(FirstCause[Fault]):
    """The faults of an attempt, in the order in which the coordinator receives them."""

    def __init__(self) -> None:
        super().__init__()
        self._suspicions: dict[int, Fault] = {}

    def add(self, fault: Fault, now: float) -> None:
        """Take a fault."""
        if fault.failure.reach is Reach.CONSEQUENCE:
            self.hold(fault, until=now + HOLD_SECONDS)
        else:
            self.decide(fault)

    def suspect(self, pod: int, fault: Fault) -> None:
        """Note that another pod does not hear this one; `fault` is what that means if this one lives."""
        self._suspicions.setdefault(pod, fault)

    def heard(self, pod: int) -> None:
        """Note that a pod lives: a pod that does not hear it is cut off from it."""
        fault = self._suspicions.pop(pod, None)
        if fault is not None:
            self.decide(fault)
