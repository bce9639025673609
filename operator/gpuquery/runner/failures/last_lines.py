"""Last lines: what a process printed before it ended, kept for its obituary while its log goes on."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque

KEPT_LINES = 50
MAX_LINE = 16 * 1024
_READ = 64 * 1024
_STACKS = b"Fatal Python error"
"""How faulthandler begins."""


class LastLines:
    """The last lines of a process."""

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque(maxlen=KEPT_LINES)
        self._rest = b""
        self._fatal = False

    def take(self, data: bytes) -> bytes:
        """Take a piece of the output; returns the whole lines up to its end, for the log."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_LINE:
            lines, self._rest = [*lines, self._rest], b""
        for line in lines:
            self._keep(line)
        return b"".join(line + b"\n" for line in lines)

    def end(self) -> bytes:
        """Return what stands behind the last line break, as a line; the output has ended."""
        rest, self._rest = self._rest, b""
        if not rest:
            return b""
        self._keep(rest)
        return rest + b"\n"

    def told(self) -> list[str]:
        """Return them."""
        return [line.decode(errors="replace") for line in [*self._lines, *([self._rest] if self._rest else [])]]

    def _keep(self, line: bytes) -> None:
        # What follows is the stack of every thread and the list of all modules, hundreds of lines. The last words of
        # native code stand before it.
        if not self._fatal:
            self._lines.append(line[:MAX_LINE])
        self._fatal = self._fatal or line.startswith(_STACKS)


class Passing:
    """Passes the output of a process on to this one's standard error, in a thread, and keeps its last lines."""

    def __init__(self, fd: int, name: str) -> None:
        """Begin; the descriptor is closed when the output has ended."""
        self._fd = fd
        self._lines = LastLines()
        self._thread = threading.Thread(target=self._pass, name=name, daemon=True)
        self._thread.start()

    def tail(self) -> list[str]:
        """Return the last lines so far."""
        return self._lines.told()

    def join(self, seconds: float) -> None:
        """Wait for the end of the output: what the process has started may keep it open."""
        self._thread.join(seconds)

    def _pass(self) -> None:
        data = b"-"
        while data:
            data = b""
            with contextlib.suppress(OSError):
                data = os.read(self._fd, _READ)
            lines = self._lines.take(data) if data else self._lines.end()
            while lines:
                try:
                    lines = lines[os.write(2, lines) :]
                except OSError:  # nobody reads it
                    break
        os.close(self._fd)
