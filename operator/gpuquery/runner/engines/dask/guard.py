"""Guard: calls with a time limit, ended early by the first fault of a process or connection that they depend on.

A call of the library may never end, or only long after a process has died. So it runs in a thread, which is left behind
when a fault is known. A fault that may be the consequence of another one waits for a moment: if the process that had
the other one reports it first, the supervisor ends this process meanwhile.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar, cast

from gpuquery.api.first_cause import FirstCause
from gpuquery.api.reasons import Failure
from gpuquery.api.timing import DASK_HOLD_SECONDS, NAMED_SECONDS
from gpuquery.runner import later
from gpuquery.runner.failures.dask import lost
from gpuquery.runner.failures.errors import JobError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Guard:
    """Runs calls, and takes faults. Methods may be called in any thread."""

    def __init__(self, *, hold: float = DASK_HOLD_SECONDS) -> None:
        self._hold = hold
        self._changed = threading.Condition()
        self._causes: FirstCause[BaseException] = FirstCause()
        self.closed = False
        """Whether it takes no more faults."""

    def fail(self, fault: BaseException) -> None:
        """Take a fault; the first one counts."""
        with self._changed:
            if not self.closed:
                self._causes.decide(fault)
                self._changed.notify_all()

    def suspect(self, fault: JobError) -> None:
        """Take a fault that may be the consequence of another one."""
        with self._changed:
            if not self.closed:
                self._causes.hold(fault, until=time.monotonic() + self._hold)
                self._changed.notify_all()

    def close(self) -> None:
        """Take no more faults: the end of processes is expected from now on."""
        with self._changed:
            self.closed = True

    def check(self) -> None:
        """Raise the fault, if there is one."""
        with self._changed:
            if self._causes.decided is not None:
                raise self._causes.decided

    def call(self, what: str, call: Callable[[], T], *, seconds: float | None = None) -> T:
        """Return what a call returns, or raise what it raises, or the first fault meanwhile.

        JobError(RankStalled) that says `what` took longer than `seconds`.
        """
        done: dict[str, Any] = {}

        def run() -> None:
            try:
                result = call()
            except BaseException as exc:  # a panic of Polars is no Exception
                done["raised"] = exc
            else:
                done["result"] = result
            with self._changed:
                self._changed.notify_all()

        later.start(threading.Thread(target=run, name=what, daemon=True))
        deadline = None if seconds is None else time.monotonic() + seconds
        raised: FirstCause[BaseException] = FirstCause()
        with self._changed:
            while True:
                now = time.monotonic()
                if (fault := self._causes.due(now)) is not None:
                    raise fault
                if "result" in done:
                    return cast("T", done["result"])
                if "raised" in done and not raised.suspected:
                    consequence = lost(done["raised"])
                    if consequence is None:
                        raise done["raised"]
                    consequence.__cause__ = done["raised"]
                    raised.hold(consequence, until=now + max(self._hold, NAMED_SECONDS))
                if (fault := raised.due(now)) is not None:
                    raise fault
                if deadline is not None and now >= deadline:
                    raise JobError(Failure.RANK_STALLED, f"{what} took longer than {seconds:g} s")
                self._changed.wait(0.2 if self._causes.suspected or raised.suspected else 1.0)
