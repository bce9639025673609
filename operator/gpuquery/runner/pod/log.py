"""The log forwarder: what processes print goes to the pod's log at once, and its last lines are kept for the report.

The supervisor never waits for the reader of the log, nor does a process for which others wait: what is not read in time
is dropped, and counted. A process that is the only one waits for the reader, as it would without a forwarder.
"""

from __future__ import annotations

import os
import select
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gpuquery.runner.failures.last_lines import LastLines

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

MAX_WAITING = 1024 * 1024
"""Limit in bytes of what waits for the reader of the log."""
_PIECE = 4096
"""Bytes that a pipe takes without blocking when poll() calls it writable (PIPE_BUF)."""
_READ = 64 * 1024


class Log:
    """The pod's log."""

    def __init__(self, loop: asyncio.AbstractEventLoop, fd: int = 2) -> None:
        self._loop = loop
        self._fd = fd
        self._waiting = bytearray()
        self._dropped = 0
        self._watched = False
        self._held: list[Callable[[], None]] = []

    def log(self, line: str) -> None:
        """Write a line of the supervisor's own."""
        self.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} supervisor: {line}\n".encode(errors="replace"))

    def write(self, lines: bytes) -> None:
        """Write whole lines."""
        if len(self._waiting) + len(lines) > MAX_WAITING:
            self._dropped += lines.count(b"\n")
            return
        if self._dropped:
            self._waiting += b"(%d lines were dropped: the log was not read in time)\n" % self._dropped
            self._dropped = 0
        self._waiting += lines
        self.flush()

    def hold(self, resume: Callable[[], None]) -> bool:
        """Whether so much waits that no more should come yet; then `resume` is called once there is room again."""
        if len(self._waiting) <= MAX_WAITING // 2:
            return False
        self._held.append(resume)
        return True

    def flush(self) -> None:
        """Write as much as the reader takes now."""
        self._write(0.0)
        if self._held and len(self._waiting) <= MAX_WAITING // 2:
            held, self._held = self._held, []
            for resume in held:
                resume()
        if bool(self._waiting) != self._watched:
            self._watched = not self._watched
            if self._watched:
                self._loop.add_writer(self._fd, self.flush)
            else:
                self._loop.remove_writer(self._fd)

    def drain(self, seconds: float) -> None:
        """Write what is left, and wait so long for the reader: the supervisor is about to end."""
        until = time.monotonic() + seconds
        while self._waiting and (left := until - time.monotonic()) > 0:
            self._write(left)

    def _write(self, seconds: float) -> None:
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        try:
            while self._waiting and poll.poll(1000 * seconds):
                del self._waiting[: os.write(self._fd, self._waiting[:_PIECE])]
        except OSError:  # the log has no reader
            self._waiting.clear()


class Forwarder:
    """The output of one process."""

    def __init__(self, loop: asyncio.AbstractEventLoop, fd: int, log: Log, *, waits: bool = False) -> None:
        """`waits`: rather than lose a line, have the process wait for the reader of the log."""
        self._loop = loop
        self._fd = fd
        self._log = log
        self._waits = waits
        self._lines = LastLines()
        os.set_blocking(fd, False)
        self._watch()

    def tail(self) -> list[str]:
        """Return the last lines."""
        return self._lines.told()

    def close(self) -> None:
        """Take what is left, and no more: a process that has inherited the pipe may keep it open."""
        if self._fd < 0:
            return
        for _ in range(16):
            if not self._read():
                break
        if rest := self._lines.end():
            self._log.write(rest)
        if self._fd >= 0:
            self._end()

    def _watch(self) -> None:
        if self._fd >= 0:
            self._loop.add_reader(self._fd, self._ready)

    def _ready(self) -> None:
        if self._read() and self._waits and self._log.hold(self._watch):
            self._loop.remove_reader(self._fd)

    def _read(self) -> bool:
        try:
            data = os.read(self._fd, _READ) if self._fd >= 0 else b""
        except BlockingIOError:
            return False
        if not data:
            if self._fd >= 0:
                self._end()
            return False
        if lines := self._lines.take(data):
            self._log.write(lines)
        return True

    def _end(self) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        self._fd = -1
