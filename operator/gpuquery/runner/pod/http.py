"""A web server in the supervisor's one thread: http.server would load TLS, and take a quarter of its memory again."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpuquery.runner.coordination.loop import Loop

MAX_REQUEST = 8 * 1024
MAX_CALLERS = 64
SECONDS = 10.0
"""How long a caller may take."""
_REASONS = {
    200: "OK",
    404: "Not Found",
    405: "Method Not Allowed",
    500: "Internal Server Error",
    503: "Service Unavailable",
}

Answer = Callable[[str], tuple[int, str, bytes]]
"""Takes a path; returns status, content type and body."""


class Server:
    """Answers GET on a port."""

    def __init__(self, loop: Loop, sock: socket.socket, answer: Answer) -> None:
        self._loop = loop
        self._sock = sock
        self._answer = answer
        self._callers: dict[socket.socket, tuple[float, bytearray]] = {}
        sock.setblocking(False)
        loop.watch(sock, selectors.EVENT_READ, lambda _: self._accept())

    def tick(self, now: float) -> None:
        """Send away who takes too long."""
        for caller in [c for c, (since, _) in self._callers.items() if now - since > SECONDS]:
            self._end(caller)

    def _accept(self) -> None:
        try:
            caller, _ = self._sock.accept()
        except OSError:
            return
        if len(self._callers) >= MAX_CALLERS:
            self._end(next(iter(self._callers)))
        caller.setblocking(False)
        self._callers[caller] = time.monotonic(), bytearray()
        self._loop.watch(caller, selectors.EVENT_READ, lambda _: self._read(caller))

    def _read(self, caller: socket.socket) -> None:
        request = self._callers[caller][1]
        try:
            data = caller.recv(MAX_REQUEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        request += data
        if not data or len(request) > MAX_REQUEST:
            self._end(caller)
        elif b"\r\n\r\n" in request:
            method, _, rest = request.partition(b" ")
            path = rest.split(b" ", 1)[0].decode("latin-1")
            status, kind, body = self._told(path) if method == b"GET" else (405, "text/plain", b"GET only\n")
            head = (
                f"HTTP/1.1 {status} {_REASONS.get(status, '')}\r\nContent-Type: {kind}\r\n"
                f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            )
            self._write(caller, memoryview(head.encode() + body))

    def _told(self, path: str) -> tuple[int, str, bytes]:
        try:
            return self._answer(path)
        except Exception as exc:  # what the query tells of itself may be anything, and must not end its supervisor
            return 500, "text/plain", f"{type(exc).__name__}\n".encode()

    def _write(self, caller: socket.socket, rest: memoryview) -> None:
        try:
            rest = rest[caller.send(rest) :]
        except BlockingIOError:
            pass
        except OSError:
            rest = rest[:0]
        if rest:
            self._loop.watch(caller, selectors.EVENT_WRITE, lambda _: self._write(caller, rest))
        else:
            with contextlib.suppress(OSError):
                caller.shutdown(socket.SHUT_WR)
            self._end(caller)

    def _end(self, caller: socket.socket) -> None:
        if self._callers.pop(caller, None) is not None:
            self._loop.forget(caller)
            caller.close()
