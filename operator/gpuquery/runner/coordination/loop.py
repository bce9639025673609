"""The one thread of a supervisor: waits for sockets, pipes, children and the next tick, and for nothing else.

No timer is finer than a tick, so that an idle supervisor wakes up for little else than signs of life.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from gpuquery.runner.coordination.wire import MAX_FRAME, Frames, Message, WireError, frame

MAX_UNSENT = 64 * 2**20
"""Bytes that wait for somebody who does not read; beyond, he is cut off."""
_READ = 256 * 1024

Readable = Callable[[], None]


def listen(port: int) -> socket.socket:
    """Open the port on all addresses; raises OSError."""
    if socket.has_dualstack_ipv6():
        with contextlib.suppress(OSError):  # the kernel may have IPv6 without any address
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024)
    return socket.create_server(("", port), backlog=1024)


class Loop:
    """Calls what belongs to a descriptor when it is ready."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._calls: deque[Callable[[], None]] = deque()
        self._wake, self._woken = socket.socketpair()
        for end in (self._wake, self._woken):
            end.setblocking(False)
        self.watch(self._woken, selectors.EVENT_READ, lambda _: self._drain())

    @property
    def wakeup_fd(self) -> int:
        """Descriptor that `signal.set_wakeup_fd` may write to."""
        return self._wake.fileno()

    def watch(self, file: Any, events: int, callback: Callable[[int], None]) -> None:
        """Call `callback(events)` whenever the file is ready; again, to change the events."""
        try:
            self._selector.modify(file, events, callback)
        except KeyError:
            self._selector.register(file, events, callback)

    def forget(self, file: Any) -> None:
        """Watch it no longer."""
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(file)

    def call(self, callback: Callable[[], None]) -> None:
        """Have something called in this thread; may itself be called in any."""
        self._calls.append(callback)
        with contextlib.suppress(OSError):  # full: it wakes up anyhow
            self._wake.send(b"\0")

    def run(self, seconds: float) -> None:
        """Wait for at most so long, and handle what is ready."""
        for key, events in self._selector.select(max(0.0, seconds)):
            # An earlier one of them may have ended this one, or even have given its number to another.
            if self._selector.get_map().get(key.fd) is key:
                key.data(events)
        while self._calls:
            self._calls.popleft()()

    def _drain(self) -> None:
        with contextlib.suppress(OSError):
            while self._woken.recv(4096):
                pass


class Link:
    """A stream of frames to another supervisor, or to who may be one."""

    def __init__(self, loop: Loop, sock: socket.socket, limit: int = MAX_FRAME) -> None:
        self.on_message: Callable[[Message], None] = lambda _: None
        self.on_close: Callable[[str], None] = lambda _: None
        """Gets the reason; not called after `close`."""
        self.heard = time.monotonic()
        """When something came last."""
        self.frames = Frames(limit)
        self.closed = False
        self._loop = loop
        self._sock = sock
        self._unsent = bytearray()
        sock.setblocking(False)
        with contextlib.suppress(OSError):  # not a TCP socket
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        loop.watch(sock, selectors.EVENT_READ, self._ready)

    @property
    def flushed(self) -> bool:
        """Whether nothing waits to be sent, or can be any more."""
        return self.closed or not self._unsent

    def send(self, message: Message) -> None:
        """Send a message, now or as soon as the other end takes it."""
        if self.closed:
            return
        waiting = bool(self._unsent)
        self._unsent += frame(message)
        if not waiting:
            self._write()
        elif len(self._unsent) > MAX_UNSENT:
            self._end("it does not read what it is sent")

    def close(self) -> None:
        """End it without a word."""
        if not self.closed:
            self.closed = True
            self._loop.forget(self._sock)
            self._sock.close()

    def _ready(self, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._write()
        if events & selectors.EVENT_READ and not self.closed:
            self._read()

    def _read(self) -> None:
        try:
            data = self._sock.recv(_READ)
        except BlockingIOError:
            return
        except OSError as exc:
            self._end(os.strerror(exc.errno) if exc.errno else str(exc))
            return
        if not data:
            self._end("it closed the connection")
            return
        self.heard = time.monotonic()
        try:
            for message in self.frames.feed(data):
                self.on_message(message)
                if self.closed:
                    return
        except WireError as exc:
            self._end(f"it sent {exc}")

    def _write(self) -> None:
        try:
            sent = self._sock.send(self._unsent) if self._unsent else 0
        except BlockingIOError:
            sent = 0
        except OSError as exc:
            self._end(os.strerror(exc.errno) if exc.errno else str(exc))
            return
        del self._unsent[:sent]
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._unsent else 0)
        self._loop.watch(self._sock, events, self._ready)

    def _end(self, why: str) -> None:
        if not self.closed:
            self.close()
            self.on_close(why)
