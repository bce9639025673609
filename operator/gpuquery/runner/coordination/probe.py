"""The probe: two pods may have lost the way to each other though index 0 hears both, which then looks like a stop.

Each pod opens one connection to every pod of a lower index, and leaves it silent. When a heartbeat or the progress of
the set is late, and twice a minute otherwise, index 0 has the pods ask each other over these. A pod that does not
answer there is called anew, too.
Either answer counts: a network policy may stop new connections alone, and the old ones still carry rows.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from gpuquery.api.timing import EARLY_SECONDS
from gpuquery.runner.coordination.dial import dial
from gpuquery.runner.coordination.handshake import Hello, nonce
from gpuquery.runner.coordination.link import spawn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gpuquery.runner.coordination.link import Link
    from gpuquery.runner.coordination.settings import Settings
    from gpuquery.runner.coordination.wire import Message

AGAIN_SECONDS = 0.8
"""How long a pod may take to answer over an open connection before it is called anew."""
RETRY_SECONDS = 10.0
"""From one call to the next of a pod to which there is no connection, while nothing is late."""
MAX_DIALS = 16
"""Calls at a time."""


class _Peer:
    """A pod of a lower index."""

    def __init__(self, address: tuple[str, int, str]) -> None:
        self.address = address
        self.link: Link | None = None
        self.called = 0.0
        self.missed: float | None = None
        """When it was asked first without having answered since."""
        self.why = "it does not answer"
        self.told = False

    def answered(self) -> None:
        """There is a way."""
        self.missed, self.why = None, "it does not answer"


class Probe:
    """The peers of this pod."""

    def __init__(self, settings: Settings, incarnation: str, unheard: Callable[[int, int, str], None]) -> None:
        self._settings = settings
        self._incarnation = incarnation
        self._unheard = unheard
        self._incarnations: Mapping[int, str] = {}
        self._peers: dict[int, _Peer] = {}
        self._callers: dict[int, Link] = {}
        self._waiting: deque[int] = deque()
        self._dialling: set[int] = set()
        self._closed = False

    def meet(self, peers: Mapping[int, tuple[str, int, str]]) -> None:
        """Take address, port and incarnation of all pods but index 0, and connect to those of lower index; once."""
        if not self._incarnations:
            self._incarnations = {index: peer[2] for index, peer in peers.items()}
            self._peers = {index: _Peer(peer) for index, peer in peers.items() if index < self._settings.index}
            self._call(*self._peers)

    def admit(self, hello: Hello, link: Link, _address: str) -> str | None:
        """Answer a peer that holds the token; returns why not, else None. Index 0 may have told it of us earlier."""
        if not self._settings.index < hello.caller < self._settings.pods:
            return f"index {hello.caller} does not call index {self._settings.index}"
        if self._incarnations.get(hello.caller, hello.incarnation) != hello.incarnation:
            return f"index {hello.caller} is not who index 0 knows"
        if (older := self._callers.get(hello.caller)) is not None:
            older.close()
        self._callers[hello.caller] = link
        link.on_message = lambda _: link.send({"kind": "here"})
        link.send({"kind": "welcome"})
        link.start()
        return None

    def ask(self) -> None:
        """Ask every peer that this pod calls whether there is a way."""
        now = time.monotonic()
        for index, peer in self._peers.items():
            peer.missed = now if peer.missed is None else peer.missed
            if peer.link is not None:
                peer.link.send({"kind": "ask"})
            else:
                self._call(index)

    def tick(self, now: float) -> None:
        """Call those that have not answered, and report those that have not for too long."""
        for index, peer in self._peers.items():
            seconds = now - peer.missed if peer.missed is not None else 0.0
            if seconds >= self._settings.silence - EARLY_SECONDS and not peer.told:
                peer.told = True
                self._unheard(self._settings.index, index, f"{peer.why} for {seconds:.0f} s")
            elif seconds >= AGAIN_SECONDS or (peer.link is None and now - peer.called >= RETRY_SECONDS):
                self._call(index)

    def forgive(self, seconds: float) -> None:
        """This process was paused for so long: extend the deadlines by it."""
        for peer in self._peers.values():
            if peer.missed is not None:
                peer.missed += seconds

    def close(self) -> None:
        """This pod is done."""
        self._closed = True
        self._waiting.clear()
        for link in [*self._callers.values(), *(peer.link for peer in self._peers.values() if peer.link)]:
            link.close()

    def _call(self, *indexes: int) -> None:
        under_way = self._dialling.union(self._waiting)
        self._waiting.extend(index for index in indexes if index not in under_way)
        while self._waiting and len(self._dialling) < MAX_DIALS:
            self._dialling.add(index := self._waiting.popleft())
            spawn(self._dial(index))

    async def _dial(self, index: int) -> None:
        peer, settings = self._peers[index], self._settings
        peer.called = time.monotonic()
        hello = Hello("peer", settings.index, index, self._incarnation, nonce(), settings.pod, settings.port)
        answer = await dial(peer.address[:2], hello, settings.token)
        self._dialling.discard(index)
        if answer.link is not None and (self._closed or answer.incarnation != peer.address[2]):
            answer.link.close()
            peer.why = "another supervisor answers there"
        elif answer.link is not None:
            self._keep(peer, answer.link)
        else:
            peer.why = answer.why
        if not self._closed:
            self._call()

    def _keep(self, peer: _Peer, link: Link) -> None:
        def take(_: Message) -> None:
            peer.answered()

        def broke(why: str) -> None:
            if peer.link is link:
                peer.link, peer.why = None, why

        if peer.link is not None:
            peer.link.close()
        peer.link = link
        link.on_message, link.on_close = take, broke
        link.start()
        peer.answered()
