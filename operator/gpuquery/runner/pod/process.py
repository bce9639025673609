"""A process of the query: its output, its report, and its end with all that it has started."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING, Any

from gpuquery.runner.pod.relay import Outlet, Relay

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.runner.coordination.loop import Loop


class Process:
    """One process in a group of its own; its report goes into memory that outlives it."""

    alone = False
    """Whether nobody waits for it: then its standard output is the pod's own, only what it says to standard error is
    kept for the report, and it waits for who reads the log."""

    def __init__(
        self,
        command: Sequence[str],
        loop: Loop,
        outlet: Outlet,
        *,
        environment: Mapping[str, str],
        pass_fds: Sequence[int] = (),
    ) -> None:
        """Start it. By `--report` it learns where its report goes: by way of this process, for the query may close what
        it has not opened."""
        self.status: int | None = None
        """Its exit code, once it has ended; negative: the signal that it died of."""
        self.phase = ""
        """What it does, as it told last; empty until it has come as far as the query."""
        self._report = os.memfd_create("report")
        output, pipe = os.pipe()
        self._process = subprocess.Popen(
            [*command, "--report", f"/proc/{os.getpid()}/fd/{self._report}"],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=None if self.alone else pipe,
            stderr=pipe,
            pass_fds=pass_fds,
            process_group=0,
        )
        os.close(pipe)
        self._relay = Relay(loop, output, outlet, waits=self.alone)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it has not been reaped."""
        return self.status is None

    def signal(self, number: int) -> None:
        """Send a signal: SIGKILL to it and all that it has started, another one to it alone, which tells those.

        Not by Popen, which would reap it here if it has just ended, and leave nothing to wait for.
        """
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if number == signal.SIGKILL:
                os.killpg(self.pid, number)
            elif self.alive:
                os.kill(self.pid, number)

    def ended(self, status: int) -> None:
        """Take its exit code, end what it has started and left behind, and take what it said last."""
        self.status = self._process.returncode = status
        self.signal(signal.SIGKILL)
        self._relay.close()

    def tail(self) -> list[str]:
        """Return the last lines that it said."""
        return self._relay.tail()

    def report_line(self) -> str:
        """Return the last report that it has left whole, as it stands; empty if there is none."""
        return last_report(self._report)

    def report(self) -> Mapping[str, Any] | None:
        """Return the last report that it has left whole."""
        line = self.report_line()
        return json.loads(line) if line else None

    @property
    def report_size(self) -> int:
        """How many bytes of reports it has left."""
        return os.fstat(self._report).st_size


def last_report(fd: int) -> str:
    """Return the last line that is whole, if that is a report; each is a JSON object, and a dying process may not have
    finished its last one."""
    *lines, _ = os.pread(fd, os.fstat(fd).st_size, 0).decode(errors="replace").split("\n")
    with contextlib.suppress(ValueError):
        return lines[-1] if lines and isinstance(json.loads(lines[-1]), dict) else ""
    return ""
