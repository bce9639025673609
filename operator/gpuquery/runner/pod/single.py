"""A pod whose process is the only one of its attempt, or of a preflight.

The process tells of its progress through a pipe, and is looked at from outside. What it reports stands as it is;
whatever it leaves unsaid is said here.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import signal
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gpuquery.api.reasons import Failure
from gpuquery.api.timing import KILL_SECONDS, POD_COMMIT_SECONDS
from gpuquery.runner import signs
from gpuquery.runner.coordination.causes import Fault
from gpuquery.runner.failures import obituary
from gpuquery.runner.pod import report, stall
from gpuquery.runner.pod.endpoints import Board
from gpuquery.runner.pod.pod import Pod
from gpuquery.runner.pod.process import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from gpuquery.runner.coordination.loop import Loop
    from gpuquery.runner.pod.relay import Outlet

STACKS_SIGNAL = signal.SIGUSR1
"""At which the query process writes the stacks of its threads into its log."""
STACKS_SECONDS = 0.5
MAX_LINE = 64 * 1024
"""Bytes of the longest line of progress; a longer one is no progress."""
_READ = 64 * 1024
_OWN_LINE = re.compile(r'File "(query\.py)", line (\d+) in (\S+)')


@dataclass(frozen=True)
class Job:
    """What the supervisor has to know of the plan."""

    plan: Path
    program: str
    """Module that the process runs."""
    environment: Mapping[str, str] = field(repr=False)
    python: bool = False
    """Whether the query is the author's own code."""
    guest: bool = False
    """Whether it runs on a cluster elsewhere, so that being up is not being ready."""
    stall: float = 0.0
    """Seconds without any work after which it is taken for hung; 0: never."""


def read(plan: Mapping[str, Any], path: Path, environment: Mapping[str, str], *, program: str) -> Job:
    """Read the plan as far as the supervisor needs it."""
    return Job(
        path,
        program,
        environment,
        python=plan.get("language") == "python",
        guest=isinstance(plan.get("dask"), dict) and plan.get("purpose", "query") == "query",
        stall=float(plan.get("stallSeconds") or 0),
    )


class Single(Process):
    """The query process, and the pipe through which it tells of its progress."""

    alone = True

    def __init__(self, job: Job, loop: Loop, outlet: Outlet, put: Callable[[bytes], None]) -> None:
        """Start it; `put` takes each line of its progress."""
        self._loop = loop
        self._put = put
        self._rest = b""
        self._progress, theirs = os.pipe()
        command = [sys.executable, "-m", job.program, "--plan", str(job.plan), "--progress-fd", str(theirs)]
        super().__init__(command, loop, outlet, environment=job.environment, pass_fds=(theirs,))
        os.close(theirs)
        os.set_blocking(self._progress, False)
        loop.watch(self._progress, selectors.EVENT_READ, self._ready)

    def ended(self, status: int) -> None:
        """Take its exit code, and what it said last."""
        super().ended(status)
        while self._progress >= 0 and self._read():
            pass

    def _ready(self, _events: int) -> None:
        self._read()

    def _read(self) -> bool:
        """Take what has come; returns whether there may be more."""
        try:
            data = os.read(self._progress, _READ)
        except BlockingIOError:
            return False
        if not data:
            self._loop.forget(self._progress)
            os.close(self._progress)
            self._progress = -1
            return False
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[-MAX_LINE:]
        for line in lines:
            # The query may write there, too.
            with contextlib.suppress(ValueError, LookupError, TypeError, RecursionError):
                self.phase = str(json.loads(line)["phase"])
                self._put(line + b"\n")
        return True


class SinglePod(Pod):
    """The supervisor of such a pod."""

    def __init__(self, job: Job, loop: Loop) -> None:
        super().__init__(loop)
        self._job = job
        self._board = Board(guest=job.guest)
        self._process: Single | None = None
        self._stall: stall.Stall | None = None
        self._hung = ""
        """Why it is ended, if it hangs."""
        self._stop_at = self._kill_at = float("inf")
        self._stopped = self._killed = False

    @property
    def processes(self) -> Sequence[Process]:
        """The only one."""
        return [self._process] if self._process is not None else []

    @property
    def ending(self) -> bool:
        """Whether it has been told to end, or is about to be."""
        return self._stopped or bool(self._hung)

    def start(self, port: int) -> None:
        """Start the process, then answer."""
        self._process = Single(self._job, self._loop, self._outlet, self._board.put)
        self.serve(self._board, port)
        if self._job.stall:
            self._stall = stall.Stall(self._job.stall, stall.counts(self._process.pid), time.monotonic())

    def pause(self) -> float:
        """Return the seconds to the next look at the clock: the end of the process is heard at once."""
        return stall.LONGEST_PAUSE if self._stall is None else self._stall.pause

    def tick(self, now: float) -> None:
        """Look whether it works, or has to end now."""
        process = self._process
        if process is None or not process.alive:
            return
        if self._stall is not None and not self.ending and self._stall.look(stall.counts(process.pid), now):
            self._hangs(process, now)
        if now >= self._stop_at:
            self.stop()
        if now >= self._kill_at:
            self._killed = True
            process.signal(signal.SIGKILL)

    def stop(self) -> None:
        """Pass SIGTERM on, and see to it that the process ends before the pod is killed."""
        if self._stopped or self._process is None or not self._process.alive:
            return
        self._stopped = True
        self.log(
            f"{'it hangs' if self._hung else 'SIGTERM'}: the query has {POD_COMMIT_SECONDS} s to withdraw or to "
            "finish its commit"
        )
        self._kill_at = time.monotonic() + POD_COMMIT_SECONDS
        self._process.signal(signal.SIGTERM)

    def ended(self, process: Process) -> None:
        """Nothing is left to do but to report."""

    def part(self) -> None:
        """There is nobody else."""

    def over(self) -> bool:
        """Whether it has ended, or the kernel holds it."""
        process = self._process
        return process is None or not process.alive or time.monotonic() > self._kill_at + KILL_SECONDS

    def line(self) -> str:
        """Return its own report, or say what became of it."""
        process = self._process
        assert process is not None  # it was started
        line = process.report_line()
        if self._hung and (not line or json.loads(line).get("failure") == Failure.WORKER_LOST):
            return self._failed(Failure.RANK_STALLED, self._hung + _where(process.tail()))
        if not line:
            return self._failed(*self._obituary(process))
        if process.status is not None and process.status < 0:
            self.log(f"the query process died of {obituary.signal_name(process.status)} after it had told how it ends")
        return line

    def _hangs(self, process: Process, now: float) -> None:
        """It has done nothing for so long: have it show where it is, and then end it."""
        self._hung = (
            f"the query process has done nothing for {self._job.stall:g} s: it used at most {stall.BUSY * 100:g} % "
            f"of a processor, moved no bytes from or to disks, and at most {signs.ENOUGH >> 10} KiB/s over the network "
            "(workers.stallSeconds)"
        )
        self.log(self._hung)
        if process.phase:  # from here on it writes its stacks at this signal
            process.signal(STACKS_SIGNAL)
        self._stop_at = now + (STACKS_SECONDS if process.phase else 0)

    def _obituary(self, process: Process) -> tuple[Failure, str]:
        status = -signal.SIGKILL if process.status is None else process.status
        oom_killed = self.oom_killed
        if status < 0 and self._stopped and not oom_killed:
            moment = obituary.MOMENTS.get(process.phase, obituary.UNCOMMITTED)
            return Failure.WORKER_LOST, f"stopped by SIGTERM{' and killed' if self._killed else ''} {moment}"
        return obituary.ended(
            "the query process", status, process.tail(), oom_killed=oom_killed, phase=process.phase,
            python=self._job.python,
        )  # fmt: skip

    def _failed(self, failure: Failure, message: str) -> str:
        self.log(f"failed: {failure.value}: {message}")
        return report.failed(Fault(failure, message))


def _where(tail: Sequence[str]) -> str:
    """Say at which of the author's lines a process was that has written the stacks of its threads."""
    found = next((place for line in tail if (place := _OWN_LINE.search(line))), None)
    return f"; it is at {found[1]} line {found[2]}, in {found[3]}" if found else "; the pod's log has its stacks"
