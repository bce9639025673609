"""The mesh: every pod hears every other one, so that a cut between two of them is noticed though index 0 sees both.

Of two pods the one of the higher index calls, over the door of the other. Nothing but signs of life goes over these
connections; index 0 has its own to everybody.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gpuquery.runner.ranks.dial import Answer, dial
from gpuquery.runner.ranks.loop import TICK, Link, Loop
from gpuquery.runner.ranks.proof import Hello, nonce

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gpuquery.runner.ranks.settings import Settings
    from gpuquery.runner.ranks.wire import Message

PING_SECONDS = 2.0
"""Between two signs of life to a peer."""
EARLY_SECONDS = 1.0
"""How much sooner than elsewhere silence is told: the hub waits for a word of the pod that is not heard."""
AGAIN_SECONDS = 0.5
MAX_DIALS = 16
"""Calls at a time."""


class _Peer:
    """Another pod."""

    def __init__(self, address: tuple[str, int, str]) -> None:
        self.address = address
        self.link: Link | None = None
        self.heard = time.monotonic()
        self.dialling = False
        self.again = 0.0
        self.why = "it does not answer"
        self.parted = False
        self.told = False


class Mesh:
    """The peers of this pod. Its methods are called in the loop's thread."""

    def __init__(
        self, settings: Settings, loop: Loop, incarnation: str, unheard: Callable[[int, int, str], None]
    ) -> None:
        self._settings = settings
        self._loop = loop
        self._incarnation = incarnation
        self._unheard = unheard
        self._peers: dict[int, _Peer] = {}
        self._pinged = 0.0
        self._early: dict[int, tuple[Hello, Link]] = {}
        self._closed = False

    def meet(self, peers: Mapping[int, tuple[str, int, str]]) -> None:
        """Take address, port and incarnation of all pods but index 0; once."""
        if self._peers or self._settings.index == 0:
            return
        self._peers = {index: _Peer(peer) for index, peer in peers.items() if index != self._settings.index}
        for hello, link in list(self._early.values()):
            if (why := self.admit(hello, link, "")) is not None:
                link.send({"kind": "refused", "why": why})
                link.close()
        self._early = {}

    def admit(self, hello: Hello, link: Link, _address: str) -> str | None:
        """Take a peer that holds the token; returns why not, else None."""
        if not self._peers:
            # It has heard from the hub earlier than this pod.
            if (before := self._early.pop(hello.caller, None)) is not None:
                before[1].close()
            if not self._settings.index < hello.caller < self._settings.pods:
                return f"index {hello.caller} does not call index {self._settings.index}"
            self._early[hello.caller] = hello, link
            return None
        peer = self._peers.get(hello.caller)
        if peer is None or peer.address[2] != hello.incarnation or hello.caller < self._settings.index:
            return f"index {hello.caller} is not who index 0 knows"
        link.send({"kind": "welcome"})
        self._connect(peer, link)
        return None

    def tick(self, now: float) -> None:
        """Look at the clock."""
        if self._closed:
            return
        ping = now - self._pinged >= PING_SECONDS - TICK / 2
        if ping:
            self._pinged = now
        dials = sum(peer.dialling for peer in self._peers.values())
        for index, peer in self._peers.items():
            if peer.parted:
                continue
            if peer.link is not None:
                if ping:
                    peer.link.send({"kind": "beat"})
            elif index < self._settings.index and not peer.dialling and now >= peer.again and dials < MAX_DIALS:
                dials += 1
                self._dial(index, peer)
            if now - peer.heard > self._settings.silence - EARLY_SECONDS and not peer.told:
                peer.told = True
                self._unheard(self._settings.index, index, f"{peer.why} for {now - peer.heard:.0f} s")

    def forgive(self, seconds: float) -> None:
        """Nobody was at work here for so long: what was not heard may have been said."""
        for peer in self._peers.values():
            peer.heard += seconds

    def close(self) -> None:
        """Part from all, and say so: this pod is done."""
        self._closed = True
        for peer in self._peers.values():
            link = peer.link
            if link is not None:
                link.send({"kind": "bye"})  # which learns that the other one has gone already, and then has no link
                link.close()

    def _dial(self, index: int, peer: _Peer) -> None:
        peer.dialling = True
        settings = self._settings
        hello = Hello("peer", settings.index, index, self._incarnation, nonce(), settings.pod, settings.port)

        def done(answer: Answer) -> None:
            peer.dialling = False
            peer.again = time.monotonic() + AGAIN_SECONDS
            if answer.sock is None:
                peer.why = answer.why
            elif self._closed or answer.incarnation != peer.address[2]:
                answer.sock.close()
                peer.why = "another supervisor answers there"
            else:
                self._connect(peer, Link(self._loop, answer.sock))

        dial(self._loop, (peer.address[0], peer.address[1]), hello, settings.token, done)

    def _connect(self, peer: _Peer, link: Link) -> None:
        if peer.link is not None:
            peer.link.close()
        peer.link, peer.heard, peer.why = link, time.monotonic(), "it is silent"

        def take(message: Message) -> None:
            peer.heard = time.monotonic()
            if message["kind"] == "bye":
                peer.parted = True

        def broke(why: str) -> None:
            peer.link, peer.why = None, why

        link.on_message, link.on_close = take, broke
        link.send({"kind": "beat"})
