"""Links: frames over asyncio's streams, from one supervisor to another, or to a stranger who may be one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING, Any

from gpuquery.runner.coordination.wire import HEADER, MAX_FRAME, Message, WireError, frame, length, message

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

MAX_UNSENT = 64 * 2**20
"""Send-buffer limit in bytes; a slower peer is disconnected."""
BACKLOG = 1024
"""Connections that wait to be accepted: all pods of a set may come at once."""
_tasks: set[asyncio.Task[None]] = set()


def listen(port: int) -> socket.socket:
    """Open the port on all addresses; raises OSError."""
    if socket.has_dualstack_ipv6():
        with contextlib.suppress(OSError):  # the kernel may have IPv6 without any address
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG)
    return socket.create_server(("", port), backlog=BACKLOG)


def reason(exc: OSError) -> str:
    """Return the kernel's words for an error; asyncio has its own."""
    known = exc.errno is not None and not isinstance(exc, socket.gaierror)
    return os.strerror(exc.errno) if known else exc.strerror or str(exc)  # type: ignore[arg-type]


def spawn(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine beside the others; an error that it raises goes to the loop's exception handler at once."""
    task = asyncio.get_running_loop().create_task(work)
    _tasks.add(task)
    task.add_done_callback(_done)


def _done(task: asyncio.Task[None]) -> None:
    _tasks.discard(task)
    if not task.cancelled() and (exc := task.exception()) is not None:
        task.get_loop().call_exception_handler({"message": "a task failed", "exception": exc})


class Link:
    """A connection that carries frames both ways."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.on_message: Callable[[Message], None] = lambda _: None
        self.on_close: Callable[[str], None] = lambda _: None
        """Gets the reason; not called after `close`."""
        self.closed = False
        self._reader, self._writer = reader, writer

    def start(self) -> None:
        """Begin to pass messages on."""
        spawn(self._pass_on())

    async def receive(self, limit: int = MAX_FRAME) -> Message:
        """Return the next message; raises WireError, or OSError where the connection has ended."""
        try:
            size = length(await self._reader.readexactly(HEADER), limit)
            return message(await self._reader.readexactly(size))
        except asyncio.IncompleteReadError:
            raise ConnectionError("it closed the connection") from None

    def send(self, told: Message) -> None:
        """Send a message, now or as soon as the other end takes it."""
        if not self.closed:
            self._writer.write(frame(told))
            if self._writer.transport.get_write_buffer_size() > MAX_UNSENT:
                self._end("it does not read what it is sent")

    @property
    def flushed(self) -> bool:
        """Whether nothing waits to be sent, or can be any more."""
        return self.closed or not self._writer.transport.get_write_buffer_size()

    @property
    def address(self) -> str:
        """Where the other end is."""
        peer = self._writer.get_extra_info("peername") or ("an unknown address",)
        return str(peer[0]).removeprefix("::ffff:")

    def close(self) -> None:
        """End it without a word."""
        self.closed = True
        self._writer.close()

    async def _pass_on(self) -> None:
        try:
            while not self.closed:
                told = await self.receive()
                if not self.closed:
                    self.on_message(told)
        except WireError as exc:
            self._end(f"it sent {exc}")
        except OSError as exc:
            self._end(reason(exc))

    def _end(self, why: str) -> None:
        if not self.closed:
            self.closed = True
            self._writer.transport.abort()
            self.on_close(why)
