"""A process of the query: its GPU, its output, its heartbeat, its report, and its end with all that it has started."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from gpuquery.api.timing import IMPORT_SECONDS, START_SECONDS, TICK_SECONDS
from gpuquery.runner.coordination.settings import FD_VARIABLE
from gpuquery.runner.coordination.wire import MAX_FRAME, Message, WireError, dumps, message
from gpuquery.runner.pod.log import Forwarder, Log

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from gpuquery.runner.coordination.settings import Settings

DEVICES_VARIABLE = "CUDA_VISIBLE_DEVICES"
_AT_ONCE = 64
"""Messages that are taken before others are served."""
_MOST_LEFT = 256
"""Times that at the end: more than the socket holds, and an end to what an orphan may go on to send."""
_MAX_UNSENT = 64 * 2**20


class DevicesError(Exception):
    """The pod does not have the GPUs that the plan asks for."""


def device(number: int, environment: Mapping[str, str]) -> str:
    """Return the pod's GPU of that number as CUDA_VISIBLE_DEVICES has it; raises DevicesError.

    Without the variable a container sees exactly the GPUs that the device plugin gave it, numbered from 0; with it (set
    by another plugin, or in the pod's template) only those that it lists, by number or UUID.
    """
    listed = environment.get(DEVICES_VARIABLE, "").strip()
    if not listed:
        return str(number)
    devices = [part.strip() for part in listed.split(",")]
    if number >= len(devices):
        raise DevicesError(f'{DEVICES_VARIABLE} is "{listed}": the plan asks for GPU {number} too, counted from 0')
    return devices[number]


class Process:
    """One process in a group of its own, and a socket to it. Its report goes into memory that outlives it.

    One of several sends heartbeats, and its output is forwarded without ever waiting. The only process of an attempt
    sends its progress alone. Its standard output is the pod's own, so only its standard error is kept for the report,
    and it waits for the reader of the log.
    """

    def __init__(
        self,
        settings: Settings,
        number: int,
        loop: asyncio.AbstractEventLoop,
        log: Log,
        take: Callable[[Process, Message], None],
    ) -> None:
        """Start it. `--report` names its report by way of this process: the query may close what it has not opened."""
        self.index = settings.own[number]
        self.status: int | None = None
        """Its exit code, once it has ended; negative: the signal that it died of."""
        self.phase = ""
        """What it does, as it told last; empty until it has come as far as the query."""
        self.joined = False
        self.leaving = False
        """Whether it has said that it ends."""
        self.waiting: set[str] = set()
        """Barriers that it waits at."""
        self.heard: float | None = None
        self._settings = settings
        self._loop = loop
        self._take = take
        self._counter: object = None
        self._started = time.monotonic()
        self._frozen: float | None = None
        self._unsent: deque[bytes] = deque()
        self._unsent_bytes = 0
        self._read_of_report = 0
        self._last_beat = b""
        self._report = os.memfd_create("report")
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [
            *(sys.executable, "-m", settings.program, "--plan", str(settings.plan)),
            *("--report", f"/proc/{os.getpid()}/fd/{self._report}"),
        ]
        environment = dict(settings.environment)
        if settings.alone:
            command += ["--progress-fd", str(theirs.fileno())]
        else:
            environment[FD_VARIABLE] = str(theirs.fileno())
        if settings.gpus:
            seen = range(settings.gpus) if settings.whole else [number]
            environment[DEVICES_VARIABLE] = ",".join(device(one, settings.environment) for one in seen)
        output, pipe = os.pipe()
        with theirs:
            self._process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=None if settings.alone else pipe,
                stderr=pipe, pass_fds=(theirs.fileno(),), process_group=0,
            )  # fmt: skip
        os.close(pipe)
        self._forwarder = Forwarder(loop, output, log, waits=settings.alone)
        self._socket.setblocking(False)
        loop.add_reader(self._socket, self._read)
        if not settings.alone:
            self.send({"kind": "you", "index": self.index, "size": settings.size})

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it has not been reaped."""
        return self.status is None

    def send(self, told: Message) -> None:
        """Send it a message, now or when it takes it."""
        data = dumps(told)
        if self._unsent_bytes + len(data) <= _MAX_UNSENT:
            self._unsent.append(data)
            self._unsent_bytes += len(data)
            self._write()

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
        self._forwarder.close()
        for _ in range(_MOST_LEFT):
            if not self._read():
                break
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()

    def tail(self) -> list[str]:
        """Return the last lines that it printed."""
        return self._forwarder.tail()

    def report_line(self) -> str:
        """Return the last report that it has left whole, as it stands; empty if there is none."""
        return last_report(self._report)

    def report(self) -> Mapping[str, Any] | None:
        """Return the last report that it has left whole."""
        line = self.report_line()
        return json.loads(line) if line else None

    def new_report(self) -> Mapping[str, Any] | None:
        """Return its report if it has left one since the last call."""
        size = os.fstat(self._report).st_size
        if size == self._read_of_report:
            return None
        self._read_of_report = size
        return self.report()

    def beat(self, counter: object) -> bool:
        """Take a heartbeat with its counter of progress; returns whether that is another one than before."""
        further, self._counter = counter != self._counter, counter
        return further

    def forgive(self, seconds: float) -> None:
        """The supervisor was paused for so long: extend the deadlines by it."""
        self._started += seconds
        if self.heard is not None:
            self.heard += seconds
        if self._frozen is not None:
            self._frozen += seconds

    def ails(self, now: float) -> str:
        """Return what is wrong with it, though it lives; empty if nothing is. The only process sends no heartbeats."""
        if self._settings.alone:
            return ""
        silence = now - (self._started if self.heard is None else self.heard)
        limit = self._settings.silence
        if self.leaving or self.heard is None or not self.joined:
            # The heartbeat's thread may not be there; but a process that is stopped is seen from outside.
            if self._stopped(now) > limit - TICK_SECONDS:
                return f"it was stopped by a signal {limit:g} s ago"
            limit = START_SECONDS if self.heard is None else IMPORT_SECONDS
        if silence > limit:
            since = "its start" if self.heard is None else "the last one"
            return f"it gave no sign of life within {limit:g} s of {since}"
        return ""

    def _stopped(self, now: float) -> float:
        state = ""
        with contextlib.suppress(OSError), open(f"/proc/{self.pid}/stat") as file:
            state = file.read().rpartition(")")[2].split()[0]
        if state not in ("T", "t"):
            self._frozen = None
            return 0.0
        self._frozen = now if self._frozen is None else self._frozen
        return now - self._frozen

    def _read(self) -> bool:
        """Take what has come; returns whether there may be more."""
        for _ in range(_AT_ONCE):
            try:
                data = self._socket.recv(MAX_FRAME + 1)
            except BlockingIOError:
                return False
            except OSError:
                data = b""
            if not data:
                # It is about to end, or has closed what it should not: its exit code or its silence will tell.
                self._loop.remove_reader(self._socket)
                return False
            self.heard = time.monotonic()
            if data != self._last_beat:  # else it lives, and is where it was
                with contextlib.suppress(WireError):
                    self._take(self, self._message(data))
        return True

    def _message(self, data: bytes) -> Message:
        """Read what it sent; raises WireError. The query may write there, too."""
        if self._settings.alone:
            return {"kind": "progress", "progress": progress(data)}
        told = message(data)
        self._last_beat = data if told["kind"] == "beat" else self._last_beat
        return told

    def _write(self) -> None:
        try:
            while self._unsent:
                self._socket.send(self._unsent[0])
                self._unsent_bytes -= len(self._unsent.popleft())
        except BlockingIOError:
            self._loop.add_writer(self._socket, self._write)
            return
        except OSError:
            self._unsent.clear()
            self._unsent_bytes = 0
        if self._socket.fileno() >= 0:
            self._loop.remove_writer(self._socket)


def progress(line: bytes) -> Mapping[str, Any]:
    """Read a line of progress, which names a phase; raises WireError."""
    with contextlib.suppress(ValueError, RecursionError):
        told = json.loads(line)
        if isinstance(told, dict) and "phase" in told:
            return told
    raise WireError("no progress")


def last_report(fd: int) -> str:
    """Return the last line that is whole, if that is a report; each is a JSON object, and a dying process may not have
    finished its last one."""
    *lines, _ = os.pread(fd, os.fstat(fd).st_size, 0).decode(errors="replace").split("\n")
    with contextlib.suppress(ValueError):
        return lines[-1] if lines and isinstance(json.loads(lines[-1]), dict) else ""
    return ""
