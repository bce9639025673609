"""A web server on asyncio's streams: http.server would need a thread for each caller."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from gpuquery.runner.coordination.link import spawn

if TYPE_CHECKING:
    import socket

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


async def serve(sock: socket.socket, answer: Answer) -> asyncio.Server:
    """Answer GET on a listening socket."""
    callers: dict[asyncio.StreamWriter, None] = {}

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(callers) >= MAX_CALLERS:
            oldest = next(iter(callers))
            del callers[oldest]  # at once: many may come before its own task hears of it
            oldest.transport.abort()
        callers[writer] = None
        try:
            async with asyncio.timeout(SECONDS):
                writer.write(_response(await reader.readuntil(b"\r\n\r\n"), answer))
                writer.close()
                await writer.wait_closed()
        except (OSError, EOFError, asyncio.LimitOverrunError):
            writer.transport.abort()
        finally:
            callers.pop(writer, None)

    return await asyncio.start_server(lambda *stream: spawn(take(*stream)), sock=sock, limit=MAX_REQUEST)


def _response(request: bytes, answer: Answer) -> bytes:
    method, _, rest = request.partition(b" ")
    if method == b"GET":
        try:
            status, kind, body = answer(rest.split(b" ", 1)[0].decode("latin-1"))
        except Exception as exc:  # what the query tells of itself may be anything, and must not end its supervisor
            status, kind, body = 500, "text/plain", f"{type(exc).__name__}\n".encode()
    else:
        status, kind, body = 405, "text/plain", b"GET only\n"
    head = (
        f"HTTP/1.1 {status} {_REASONS.get(status, '')}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
