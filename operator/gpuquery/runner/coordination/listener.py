"""The listener: where a supervisor answers others, and anyone else who finds the port.

A stranger gets little: a place among a bounded number, small frames, a few seconds, and nothing beyond the challenge.
When the places are taken the oldest stranger goes, since a supervisor that holds the token needs only milliseconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gpuquery.runner.coordination.handshake import HANDSHAKE_FRAME, HANDSHAKE_SECONDS, Hello, challenge, is_call
from gpuquery.runner.coordination.link import BACKLOG, Link, reason, spawn
from gpuquery.runner.coordination.wire import VERSION, WireError

if TYPE_CHECKING:
    import socket

MAX_STRANGERS = 256
"""Connections that have not proved yet who they are."""
_LOGGED = 5
"""Strangers that the log names one by one; the others are counted."""
_SUMMARY_SECONDS = 60.0

Admit = Callable[[Hello, Link, str], str | None]
"""Takes a caller that has proved to hold the token, with its address; returns why it is refused, else None."""


@dataclass(frozen=True)
class Identity:
    """Which supervisor answers."""

    index: int
    incarnation: str
    token: bytes = field(repr=False)


class Listener:
    """Lets callers in that hold the token."""

    def __init__(self, identity: Identity, admit: Admit, log: Callable[[str], None]) -> None:
        self._identity = identity
        self._admit = admit
        self._log = log
        self._server: asyncio.Server | None = None
        self._strangers: dict[Link, None] = {}
        self._refused = 0
        self._summary = time.monotonic()

    async def open(self, sock: socket.socket) -> None:
        """Begin to answer."""
        self._server = await asyncio.start_server(lambda *stream: spawn(self._greet(Link(*stream))), sock=sock)
        sock.listen(BACKLOG)  # asyncio has made it its own, which is also how many it accepts before others are served

    def close(self) -> None:
        """Stop answering."""
        if self._server is not None:
            self._server.close()
        for stranger in list(self._strangers):
            self._leave(stranger)

    @property
    def strangers(self) -> int:
        """How many connections have not proved yet who they are."""
        return len(self._strangers)

    async def _greet(self, link: Link) -> None:
        if len(self._strangers) >= MAX_STRANGERS:
            self._dismiss(next(iter(self._strangers)), "there was no room")
        self._strangers[link] = None
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                hello = await self._proved(link)
        except TimeoutError:
            self._dismiss(link, f"it took more than {HANDSHAKE_SECONDS:.0f} s to say who it is")
        except WireError as exc:
            self._dismiss(link, f"it sent {exc}")
        except OSError as exc:
            self._dismiss(link, reason(exc))
        else:
            if self._strangers.pop(link, link) is None:
                self._let_in(hello, link)

    async def _proved(self, link: Link) -> Hello:
        """Return the greeting of a caller that holds the token; raises WireError or OSError."""
        token = self._identity.token
        hello = Hello.read(await link.receive(HANDSHAKE_FRAME))
        made = challenge(token, hello, self._identity.incarnation)
        link.send(made.message())
        reply = await link.receive(HANDSHAKE_FRAME)
        if reply["kind"] != "proof" or not is_call(token, hello, made, reply.get("proof")):
            raise WireError("no proof that it holds the token of this attempt")
        return hello

    def _let_in(self, hello: Hello, link: Link) -> None:
        if hello.version != VERSION:
            refusal: str | None = f"pod {hello.pod} speaks version {hello.version}, this one {VERSION}: use one image"
        elif hello.answerer != self._identity.index:
            refusal = f"this is pod {self._identity.index}, not {hello.answerer}"
        else:
            refusal = self._admit(hello, link, link.address)
        if refusal is not None:
            self._log(f"pod {hello.pod} ({link.address}) was refused: {refusal}")
            link.send({"kind": "refused", "why": refusal})
            link.close()

    def _dismiss(self, stranger: Link, why: str) -> None:
        """End a connection before it is known whose it is."""
        if not self._leave(stranger):
            return
        self._refused += 1
        now = time.monotonic()
        if self._refused <= _LOGGED:
            self._log(f"a connection from {stranger.address} was refused: {why}")
        elif now - self._summary > _SUMMARY_SECONDS:
            self._log(f"{self._refused} connections so far were not of this attempt")
            self._summary = now

    def _leave(self, stranger: Link) -> bool:
        stranger.close()
        return self._strangers.pop(stranger, stranger) is None
