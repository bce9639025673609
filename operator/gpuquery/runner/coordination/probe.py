"""The probe: two pods may have lost the way to each other though index 0 hears both, which then looks like a stop.

So when a heartbeat or the progress of the set is late, index 0 has the others look for each other. Of two pods the one
of the higher index calls, at the listener of the other, and hangs up once it is welcome. Who does not answer is called
again until he does: index 0 may have seen progress meanwhile, and one call that failed tells of no cut.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from gpuquery.api.timing import EARLY_SECONDS
from gpuquery.runner.coordination.dial import Answer, dial
from gpuquery.runner.coordination.handshake import Hello, nonce

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gpuquery.runner.coordination.loop import Link, Loop
    from gpuquery.runner.coordination.settings import Settings

MAX_DIALS = 16
"""Calls at a time."""


class _Peer:
    """Another pod."""

    def __init__(self, address: tuple[str, int, str]) -> None:
        self.address = address
        self.missed: float | None = None
        """Since when it does not answer."""
        self.why = ""
        self.told = False


class Probe:
    """The peers of this pod. Its methods are called in the loop's thread."""

    def __init__(
        self, settings: Settings, loop: Loop, incarnation: str, unheard: Callable[[int, int, str], None]
    ) -> None:
        self._settings = settings
        self._loop = loop
        self._incarnation = incarnation
        self._unheard = unheard
        self._peers: dict[int, _Peer] = {}
        self._waiting: deque[int] = deque()
        self._dialling: set[int] = set()
        self._closed = False

    def meet(self, peers: Mapping[int, tuple[str, int, str]]) -> None:
        """Take address, port and incarnation of all pods but index 0; once."""
        self._peers = self._peers or {i: _Peer(peer) for i, peer in peers.items() if i != self._settings.index}

    def admit(self, hello: Hello, link: Link, _address: str) -> str | None:
        """Answer a peer that holds the token; returns why not, else None. It may have heard from index 0 earlier."""
        peer = self._peers.get(hello.caller)
        if not self._settings.index < hello.caller < self._settings.pods:
            return f"index {hello.caller} does not call index {self._settings.index}"
        if peer is not None and peer.address[2] != hello.incarnation:
            return f"index {hello.caller} is not who index 0 knows"
        link.send({"kind": "welcome"})
        link.close()
        return None

    def ask(self) -> None:
        """Look for all that this pod calls, but for those that it is looking for already."""
        self._seek([index for index in self._peers if index < self._settings.index])

    def tick(self, now: float) -> None:
        """Look again for those that have not answered, and tell of those that have not for too long."""
        self._seek([index for index, peer in self._peers.items() if peer.missed is not None and not peer.told])
        for index, peer in self._peers.items():
            if peer.missed is not None and peer.why and not peer.told:
                seconds = now - peer.missed
                if seconds >= self._settings.silence - EARLY_SECONDS:
                    peer.told = True
                    self._unheard(self._settings.index, index, f"{peer.why} for {seconds:.0f} s")

    def forgive(self, seconds: float) -> None:
        """Nobody was at work here for so long: what was not heard may have been said."""
        for peer in self._peers.values():
            if peer.missed is not None:
                peer.missed += seconds

    def close(self) -> None:
        """Look for nobody any more: this pod is done."""
        self._closed = True
        self._waiting.clear()

    def _seek(self, indexes: Sequence[int]) -> None:
        sought = self._dialling.union(self._waiting)
        self._waiting.extend(index for index in indexes if index not in sought)
        self._call()

    def _call(self) -> None:
        while self._waiting and len(self._dialling) < MAX_DIALS:
            self._dial(self._waiting.popleft())

    def _dial(self, index: int) -> None:
        peer, settings, began = self._peers[index], self._settings, time.monotonic()
        self._dialling.add(index)
        hello = Hello("peer", settings.index, index, self._incarnation, nonce(), settings.pod, settings.port)

        def done(answer: Answer) -> None:
            self._dialling.discard(index)
            if answer.sock is not None:
                answer.sock.close()
            if answer.sock is not None and answer.incarnation == peer.address[2]:
                peer.missed, peer.why = None, ""
            else:
                peer.missed = began if peer.missed is None else peer.missed
                peer.why = answer.why or "another supervisor answers there"
            if not self._closed:
                self._call()

        dial(self._loop, (peer.address[0], peer.address[1]), hello, settings.token, done)
