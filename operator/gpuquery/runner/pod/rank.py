"""A rank process of this pod: how it is started, watched and ended."""

from __future__ import annotations

import contextlib
import selectors
import socket
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from gpuquery.api.timing import IMPORT_SECONDS, START_SECONDS, TICK_SECONDS
from gpuquery.runner.coordination.settings import FD_VARIABLE
from gpuquery.runner.coordination.wire import MAX_FRAME, Message, WireError, dumps, message
from gpuquery.runner.pod.process import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gpuquery.runner.coordination.loop import Loop
    from gpuquery.runner.coordination.settings import Settings
    from gpuquery.runner.pod.relay import Outlet

DEVICES_VARIABLE = "CUDA_VISIBLE_DEVICES"
_AT_ONCE = 64
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


class Rank(Process):
    """One process, and its socket."""

    def __init__(self, settings: Settings, number: int, loop: Loop, outlet: Outlet, take: Callable[[Rank, Message], None]) -> None:  # fmt: skip # noqa: E501
        """Start it."""
        self.index = settings.own[number]
        self.joined = False
        self.leaving = False
        """Whether it has said that it ends."""
        self.waiting: set[str] = set()
        """Gates that it waits at."""
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
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = {**settings.environment, FD_VARIABLE: str(theirs.fileno())}
        if settings.gpus:
            seen = range(settings.gpus) if settings.whole else [number]
            environment[DEVICES_VARIABLE] = ",".join(device(one, settings.environment) for one in seen)
        command = [sys.executable, "-m", settings.program, "--plan", str(settings.plan)]
        with theirs:
            super().__init__(command, loop, outlet, environment=environment, pass_fds=(theirs.fileno(),))
        self._socket.setblocking(False)
        loop.watch(self._socket, selectors.EVENT_READ, self._ready)
        self.send({"kind": "you", "index": self.index, "size": settings.size})

    def send(self, told: Message) -> None:
        """Tell it something, now or when it takes it."""
        data = dumps(told)
        if self._unsent_bytes + len(data) <= _MAX_UNSENT:
            self._unsent.append(data)
            self._unsent_bytes += len(data)
            self._write()

    def new_report(self) -> Mapping[str, Any] | None:
        """Return its report if it has left one since this was asked last."""
        size = self.report_size
        if size == self._read_of_report:
            return None
        self._read_of_report = size
        return self.report()

    def ended(self, status: int) -> None:
        """Take its exit code, and what it said last."""
        super().ended(status)
        self._ready(selectors.EVENT_READ)
        self._loop.forget(self._socket)
        self._socket.close()

    def beat(self, counter: object) -> bool:
        """Take a sign of life, and how far it has come; returns whether that is further than before."""
        further, self._counter = counter != self._counter, counter
        return further

    def forgive(self, seconds: float) -> None:
        """Nobody was at work here for so long: what was not heard may have been said."""
        self._started += seconds
        if self.heard is not None:
            self.heard += seconds
        if self._frozen is not None:
            self._frozen += seconds

    def ails(self, now: float) -> str:
        """Return what is wrong with it, though it lives; empty if nothing is."""
        silence = now - (self._started if self.heard is None else self.heard)
        limit = self._settings.silence
        if self.leaving or self.heard is None or not self.joined:
            # No thread need be there to tell; but a process that is stopped is seen from outside.
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

    def _ready(self, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._write()
        if not events & selectors.EVENT_READ:
            return
        for _ in range(_AT_ONCE):
            try:
                data = self._socket.recv(MAX_FRAME + 1)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                # It is about to end, or has closed what it should not: its exit code or its silence will tell.
                self._loop.forget(self._socket)
                return
            self.heard = time.monotonic()
            if data == self._last_beat:
                continue  # it lives, and is where it was
            with contextlib.suppress(WireError):
                told = message(data)
                self._last_beat = data if told["kind"] == "beat" else self._last_beat
                self._take(self, told)

    def _write(self) -> None:
        events = selectors.EVENT_READ
        while self._unsent:
            try:
                self._socket.send(self._unsent[0])
            except BlockingIOError:
                events |= selectors.EVENT_WRITE
                break
            except OSError:
                self._unsent.clear()
                self._unsent_bytes = 0
                return
            self._unsent_bytes -= len(self._unsent.popleft())
        if self._socket.fileno() >= 0:
            self._loop.watch(self._socket, events, self._ready)
