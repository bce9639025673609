"""The listener: where a supervisor answers others, and whoever else finds the port.

A stranger gets little: a place among a bounded number, small frames, a few seconds, and no word beyond the challenge.
When the places are taken the one who has been there longest goes, since who holds the token needs only milliseconds.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gpuquery.runner.coordination.handshake import (
    HANDSHAKE_FRAME,
    HANDSHAKE_SECONDS,
    Challenge,
    Hello,
    challenge,
    is_call,
)
from gpuquery.runner.coordination.loop import Link, Loop
from gpuquery.runner.coordination.wire import MAX_FRAME, VERSION, Message, WireError

if TYPE_CHECKING:
    import socket

MAX_STRANGERS = 256
"""Connections that have not shown who they are."""
_AT_ONCE = 64
"""Connections that are taken before others are served."""
_LOGGED = 5
"""Strangers of whom the log tells one by one; the rest is counted."""
_SUMMARY_SECONDS = 60.0

Admit = Callable[[Hello, Link, str], str | None]
"""Takes a caller who has proved to hold the token, with his address; returns why not, else None."""


@dataclass(frozen=True)
class Identity:
    """Who answers."""

    index: int
    incarnation: str
    token: bytes = field(repr=False)


class Listener:
    """Lets in who holds the token."""

    def __init__(self, loop: Loop, sock: socket.socket, identity: Identity, admit: Admit, log: Callable[[str], None]) -> None:  # fmt: skip # noqa: E501
        self._loop = loop
        self._sock = sock
        self._identity = identity
        self._admit = admit
        self._log = log
        self._strangers: dict[_Stranger, float] = {}
        self._refused = 0
        self._summary = time.monotonic()
        sock.setblocking(False)
        loop.watch(sock, selectors.EVENT_READ, self._accept)

    @property
    def strangers(self) -> int:
        """How many connections have not shown who they are."""
        return len(self._strangers)

    def tick(self, now: float) -> None:
        """Send away who takes too long."""
        for stranger in [s for s, since in self._strangers.items() if now - since > HANDSHAKE_SECONDS]:
            self.dismiss(stranger, f"it took more than {HANDSHAKE_SECONDS:.0f} s to say who it is")
        if self._refused > _LOGGED and now - self._summary > _SUMMARY_SECONDS:
            self._log(f"{self._refused} connections so far were not of this attempt")
            self._summary = now

    def close(self) -> None:
        """Answer nobody any more."""
        self._loop.forget(self._sock)
        self._sock.close()
        for stranger in list(self._strangers):
            self._leave(stranger)

    def _accept(self, _events: int) -> None:
        for _ in range(_AT_ONCE):
            try:
                sock, address = self._sock.accept()
            except BlockingIOError:
                return
            except OSError:
                # No descriptors are left, or the caller has gone again.
                if self._strangers:
                    self.dismiss(next(iter(self._strangers)), "there was no room")
                return
            if len(self._strangers) >= MAX_STRANGERS:
                self.dismiss(next(iter(self._strangers)), "there was no room")
            link = Link(self._loop, sock, HANDSHAKE_FRAME)
            stranger = _Stranger(self, link, str(address[0]).removeprefix("::ffff:"))
            self._strangers[stranger] = time.monotonic()

    def dismiss(self, stranger: _Stranger, why: str) -> None:
        """End a connection before it is known whose it is."""
        if self._leave(stranger):
            self._refused += 1
            if self._refused <= _LOGGED:
                self._log(f"a connection from {stranger.address} was refused: {why}")

    def _leave(self, stranger: _Stranger) -> bool:
        stranger.link.close()
        return self._strangers.pop(stranger, None) is not None

    def greet(self, stranger: _Stranger, message: Message) -> None:
        """Go on with a handshake; raises WireError."""
        if stranger.hello is None:
            hello = stranger.hello = Hello.read(message)
            stranger.challenge = challenge(self._identity.token, hello, self._identity.incarnation)
            stranger.link.send(stranger.challenge.message())
            return
        assert stranger.challenge is not None  # made with the greeting
        if message["kind"] != "proof" or not is_call(
            self._identity.token, stranger.hello, stranger.challenge, message.get("proof")
        ):
            raise WireError("no proof that it holds the token of this attempt")
        self._let_in(stranger.hello, stranger)

    def _let_in(self, hello: Hello, stranger: _Stranger) -> None:
        link = stranger.link
        self._strangers.pop(stranger, None)
        link.frames.limit = MAX_FRAME
        if hello.version != VERSION:
            refusal: str | None = f"pod {hello.pod} speaks version {hello.version}, this one {VERSION}: use one image"
        elif hello.answerer != self._identity.index:
            refusal = f"this is pod {self._identity.index}, not {hello.answerer}"
        else:
            refusal = self._admit(hello, link, stranger.address)
        if refusal is not None:
            self._log(f"pod {hello.pod} ({stranger.address}) was refused: {refusal}")
            link.send({"kind": "refused", "why": refusal})
            link.close()


class _Stranger:
    """A connection of which it is not known whose it is."""

    def __init__(self, listener: Listener, link: Link, address: str) -> None:
        self.link = link
        self.address = address
        self.hello: Hello | None = None
        self.challenge: Challenge | None = None
        link.on_message = lambda message: listener.greet(self, message)
        link.on_close = lambda why: listener.dismiss(self, why)
