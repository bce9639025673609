"""What every pod has: processes, a log, an HTTP port, and a report at the end, all in the one thread of a loop."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

from gpuquery.api.text import clean
from gpuquery.api.timing import KILL_SECONDS, LOG_SECONDS
from gpuquery.runner.coordination.loop import listen
from gpuquery.runner.coordination.settings import TICK_OFFSET, until_next
from gpuquery.runner.failures import oom
from gpuquery.runner.pod import report
from gpuquery.runner.pod.http import Server
from gpuquery.runner.pod.relay import Outlet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.runner.coordination.loop import Loop
    from gpuquery.runner.pod.endpoints import Board
    from gpuquery.runner.pod.process import Process

ENDING_TICK = 0.1
"""Seconds between two looks at the clock while processes are being ended."""


class Pod(ABC):
    """The supervisor of one pod."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._outlet = Outlet(loop)
        self._oom_kills = oom.kills()
        self._server: Server | None = None
        self._next = time.monotonic()

    @property
    @abstractmethod
    def processes(self) -> Sequence[Process]:
        """The processes that it has started."""

    @property
    @abstractmethod
    def ending(self) -> bool:
        """Whether processes have been told to end."""

    @abstractmethod
    def start(self, port: int) -> None:
        """Start the processes, then answer on the port: they need not wait for it."""

    @abstractmethod
    def stop(self) -> None:
        """Obey an order to stop."""

    @abstractmethod
    def tick(self, now: float) -> None:
        """Look at the clock."""

    @abstractmethod
    def ended(self, process: Process) -> None:
        """A process has ended."""

    @abstractmethod
    def over(self) -> bool:
        """Whether nothing is left to wait for."""

    @abstractmethod
    def line(self) -> str:
        """Return the report of the pod."""

    @abstractmethod
    def part(self) -> None:
        """Part from others, once the report is written."""

    def pause(self) -> float:
        """Return the seconds to the next look at the clock."""
        return until_next(TICK_OFFSET, time.time())

    def log(self, line: str) -> None:
        """Tell something."""
        self._outlet.log(clean(line))

    def serve(self, board: Board, port: int) -> None:
        """Answer over HTTP. Progress is best effort; the result is not."""
        try:
            self._server = Server(self._loop, listen(port), board.answer)
        except OSError as exc:
            self.log(f"cannot listen on port {port}: {exc.strerror}")

    def run(self, termination_log: Path) -> int:
        """Stay until the end; returns the exit code."""
        while not self.over():
            self._loop.run(self._next - time.monotonic())
            self._reap()
            now = time.monotonic()
            if now >= self._next:
                self.tick(now)
                if self._server is not None:
                    self._server.tick(now)
                self._next = now + self.pause()
            if self.ending:
                self._next = min(self._next, now + ENDING_TICK)
        self._sweep()
        code = report.leave(self.line(), termination_log, self.log)
        self.part()
        self._outlet.drain(LOG_SECONDS)
        return code

    @property
    def oom_killed(self) -> bool:
        """Whether the kernel has killed for memory since the start."""
        return oom.kills() > self._oom_kills

    def _reap(self) -> None:
        """Take the exit codes of processes, and of every orphan that ends up with PID 1."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for process in self.processes:
                if process.pid == pid:
                    process.ended(os.waitstatus_to_exitcode(status))
                    self.ended(process)

    def _sweep(self) -> None:
        """End everything that processes have started and that has outlived them."""
        until = time.monotonic() + KILL_SECONDS
        while (children := _children()) and time.monotonic() < until:
            for pid in children:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            self._reap()
            time.sleep(0.01)


def _children() -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path("/proc/self/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found
