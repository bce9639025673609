"""The client: the set as a process of the query sees it. It talks to its supervisor over a socket that it inherits.

Heartbeats come from a thread of their own. When the supervisor is gone this process ends at once: nothing would end it,
or take its GPU from it, later.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, NoReturn

from gpuquery.api.reasons import Failure
from gpuquery.runner.coordination.settings import BEAT_OFFSET, FD_VARIABLE, until_next
from gpuquery.runner.coordination.wire import MAX_FRAME, MAX_VALUE, Message, dumps, message
from gpuquery.runner.failures.errors import JobError

if TYPE_CHECKING:
    from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1
_SLACK_SECONDS = 20.0
"""How much longer than the coordinator a process waits at a barrier before it gives up."""
_GREETING_SECONDS = 30.0


class Client:
    """The other processes, as this one sees them; implements `engines.Ranks`. Methods may be called in any thread."""

    def __init__(self, sock: socket.socket, index: int, size: int) -> None:
        self.index = index
        self.size = size
        self._socket = sock
        self._condition = threading.Condition()
        self._barriers: dict[str, _Barrier] = {}
        self._counter = 0
        self._unsent: bytes | None = None
        self._closed = threading.Event()

    @classmethod
    def inherited(cls) -> Client | None:
        """Return the client of this process; None if no supervisor of a set has started it."""
        number = os.environ.pop(FD_VARIABLE, "")  # not for the processes that this one starts
        if not number:
            return None
        sock = socket.socket(fileno=int(number))
        sock.set_inheritable(False)
        # Should this process be deaf when its supervisor dies, the kernel ends it.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        sock.settimeout(_GREETING_SECONDS)
        try:
            data = sock.recv(MAX_FRAME + 1)
        except OSError:
            data = b""
        if not data:
            _die()
        sock.settimeout(None)
        you = message(data)
        client = cls(sock, you["index"], you["size"])
        threading.Thread(target=client._listen, name="ranks", daemon=True).start()
        threading.Thread(target=client._live, name="heartbeat", daemon=True).start()
        return client

    def gate(self, name: str, value: Any = None, *, seconds: float) -> Sequence[Any]:
        """Wait until every process has come to the barrier of this name; returns their values (JSON), by index.

        Each name serves once; a value has at most 32 KiB. Raises JobError(RankStalled) that names who is missing after
        `seconds`. If any process fails meanwhile, the supervisor ends this one; the call does not return.
        """
        if (size := len(dumps(value))) > MAX_VALUE:
            raise ValueError(f'the value for barrier "{name}" has {size} bytes, more than {MAX_VALUE}')
        barrier = _Barrier(self.size)
        with self._condition:
            if name in self._barriers:
                raise ValueError(f'barrier "{name}" serves once, and was passed already')
            self._barriers[name] = barrier
        self._send({"kind": "barrier", "name": name, "value": value, "seconds": seconds})
        deadline = time.monotonic() + seconds + _SLACK_SECONDS
        with self._condition:
            while not barrier.answered:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise JobError(Failure.RANK_STALLED, f'nobody answered at "{name}" within {seconds:g} s')
                self._condition.wait(min(left, 3600.0))
        if barrier.stalled:
            raise JobError(Failure.RANK_STALLED, barrier.stalled)
        return barrier.values

    def note(self, **facts: Any) -> None:
        """Tell facts (JSON) about this process: `rank=3, gpu="GPU-..."`; the last word on each counts."""
        self._send({"kind": "note", "facts": facts})

    def joined(self) -> None:
        """This process can exchange rows with the others."""
        self._send({"kind": "joined"})

    def progress(self, line: bytes) -> None:
        """Tell how far the query has come: one line of JSON, as `/v1/progress` has it. Never waits."""
        self._unsent = dumps({"kind": "progress", "progress": json.loads(line)})
        self._send_progress()

    def advance(self) -> None:
        """Count a step of progress. When no process of the set has made one for long, all of them hang."""
        self._counter += 1

    def close(self) -> None:
        """Say that this process ends now, with whatever it reports."""
        if not self._closed.is_set():
            self._closed.set()
            with contextlib.suppress(OSError):
                self._socket.send(dumps({"kind": "bye"}), socket.MSG_DONTWAIT)

    def _send(self, message: Message) -> None:
        try:
            self._socket.send(dumps(message))
        except OSError:
            self._lost()

    def _send_progress(self) -> None:
        data = self._unsent
        if data is None:
            return
        try:
            self._socket.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return  # again with the next sign of life
        except OSError:
            self._lost()
        if self._unsent is data:
            self._unsent = None

    def _live(self) -> None:
        while True:
            with contextlib.suppress(BlockingIOError):
                try:
                    self._socket.send(dumps({"kind": "beat", "counter": self._counter}), socket.MSG_DONTWAIT)
                except BlockingIOError:
                    raise
                except OSError:
                    self._lost()
            self._send_progress()
            if self._closed.wait(until_next(BEAT_OFFSET, time.time())):
                return

    def _listen(self) -> None:
        while True:
            try:
                data = self._socket.recv(MAX_FRAME + 1)
            except OSError:
                data = b""
            if not data:
                self._lost()
                return
            told = message(data)
            with self._condition:
                barrier = self._barriers.get(told.get("name", ""))
                if barrier is not None:
                    barrier.take(told)
                    self._condition.notify_all()

    def _lost(self) -> None:
        if not self._closed.is_set():
            _die()


class _Barrier:
    """A barrier that this process has come to."""

    def __init__(self, size: int) -> None:
        self.answered = False
        self.stalled = ""
        self.values: list[Any] = []
        self._size = size

    def take(self, told: Message) -> None:
        """Take an answer, or a part of one."""
        if self.answered:
            return
        if told["kind"] == "stalled":
            self.answered, self.stalled = True, str(told["message"])
        elif told["kind"] == "open":
            # Parts come in order; an answer that was broken off begins again.
            self.values = [*self.values[: told["from"]], *told["values"]]
            self.answered = len(self.values) >= self._size


def _die() -> NoReturn:
    """End at once, with all that this process has started."""
    with contextlib.suppress(OSError):
        os.write(2, b"the supervisor is gone: ending\n")
    if os.getpgrp() == os.getpid():
        with contextlib.suppress(OSError):
            os.killpg(0, signal.SIGKILL)
    os._exit(1)
