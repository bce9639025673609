"""The probe of a set: whether two pods that index 0 hears reach each other."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from gpuquery.runner.coordination import handshake
from gpuquery.runner.coordination import probe as probes
from gpuquery.runner.coordination.dial import Answer
from gpuquery.runner.coordination.link import Link, listen
from gpuquery.runner.coordination.listener import Identity, Listener
from gpuquery.runner.coordination.probe import Probe
from gpuquery.runner.coordination.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TOKEN = b"k" * 32
Told = list[tuple[int, int, str]]


def looking(folder: Path, peers: dict[int, tuple[str, int, str]], index: int = 2) -> tuple[Probe, Told]:
    """The probe of a pod, and what it reports."""
    told: Told = []
    settings = Settings(folder, index, 4, 1, f"pod-{index}", ("", 0), TOKEN, silence=6.0)
    probe = Probe(settings, "two", lambda *words: told.append(words))
    probe.meet(peers)
    return probe, told


async def until(over: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not over():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


class Answering:
    """Pod 1: its listener, its probe, and who came."""

    def __init__(self, folder: Path, incarnation: str = "one") -> None:
        self.came: list[str] = []
        self.sock = listen(0)
        self.port: int = self.sock.getsockname()[1]
        self.probe, _ = looking(folder, {2: ("", 0, "two"), 3: ("", 0, "three")}, index=1)
        self.listener = Listener(Identity(1, incarnation, TOKEN), self.admit, lambda _: None)

    def admit(self, hello: handshake.Hello, link: Link, address: str) -> str | None:
        self.came.append(hello.pod)
        return self.probe.admit(hello, link, address)

    async def open(self) -> Answering:
        await self.listener.open(self.sock)
        return self

    def close(self) -> None:
        self.listener.close()
        self.probe.close()


def test_a_pod_connects_to_those_of_lower_index_once_and_they_answer_over_that(tmp_path: Path) -> None:
    async def story() -> None:
        pod = await Answering(tmp_path).open()
        probe, told = looking(tmp_path, {1: ("127.0.0.1", pod.port, "one"), 3: ("127.0.0.1", 1, "three")})
        await until(lambda: probe._peers[1].link)
        for _ in range(2):
            probe.ask()
            probe.ask()  # which comes while it waits for the answer
            await until(lambda: probe._peers[1].missed is None)
        probe.tick(time.monotonic() + 60)
        assert told == []
        assert pod.came == ["pod-2"], "it is called once, and pod 3 is the one to call"
        pod.close()

    asyncio.run(story())


def test_an_open_connection_that_answers_is_trusted_where_new_ones_are_stopped(tmp_path: Path) -> None:
    async def story() -> None:
        pod = await Answering(tmp_path).open()
        probe, told = looking(tmp_path, {1: ("127.0.0.1", pod.port, "one")})
        await until(lambda: probe._peers[1].link)
        pod.listener.close()  # as a network policy does that is made later
        probe.ask()
        probe.tick(time.monotonic() + probes.AGAIN_SECONDS)
        await until(lambda: probe._peers[1].missed is None and not probe._dialling)
        probe.tick(time.monotonic() + 60)
        assert told == []
        pod.close()

    asyncio.run(story())


def test_a_peer_whose_open_connection_is_dead_is_called_anew(tmp_path: Path) -> None:
    async def story() -> None:
        pod = await Answering(tmp_path).open()
        probe, told = looking(tmp_path, {1: ("127.0.0.1", pod.port, "one")})
        await until(lambda: probe._peers[1].link)
        pod.probe._callers[2].on_message = lambda _: None  # nothing comes back
        probe.ask()
        probe.tick(time.monotonic() + probes.AGAIN_SECONDS)
        await until(lambda: probe._peers[1].missed is None)
        probe.tick(time.monotonic() + 60)
        assert (told, pod.came) == ([], ["pod-2", "pod-2"])
        pod.close()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("what", "want"),
    [
        pytest.param("closed", "Connection refused", id="no listener"),
        pytest.param("another", "another supervisor answers there", id="another supervisor"),
        pytest.param("deaf", "it does not answer", id="a pod that is frozen"),
    ],
)
def test_a_peer_that_does_not_answer_is_told_of_after_the_limit_and_once(tmp_path: Path, what: str, want: str) -> None:
    async def story() -> None:
        pod = Answering(tmp_path)
        if what == "closed":
            pod.sock.close()
        elif what == "another":
            await pod.open()
        probe, told = looking(tmp_path, {1: ("127.0.0.1", pod.port, "expected")})
        began = time.monotonic()
        probe.ask()
        if what != "deaf":
            await until(lambda: not probe._dialling)
        probe.tick(began + 4)
        assert told == [], "it may answer the next time"
        probe.forgive(30)
        probe.tick(began + 30)
        assert told == [], "this pod was asleep"
        probe.tick(began + 37)
        probe.tick(began + 38)
        (reporter, peer, why), *more = told
        assert (reporter, peer, more) == (2, 1, [])
        assert want in why
        probe.close()
        pod.close()

    asyncio.run(story())


@pytest.mark.parametrize("asked_again", [True, False])
def test_a_peer_that_does_not_answer_once_is_called_again_and_then_missed_no_more(
    tmp_path: Path, asked_again: bool
) -> None:
    """Index 0 may have seen progress meanwhile, and ask no more."""

    async def story() -> None:
        pod = await Answering(tmp_path).open()
        probe, told = looking(tmp_path, {1: ("127.0.0.1", 1, "one")})
        probe.ask()
        await until(lambda: not probe._dialling)
        probe._peers[1].address = ("127.0.0.1", pod.port, "one")
        if asked_again:
            probe.ask()
        else:
            probe.tick(time.monotonic() + probes.AGAIN_SECONDS)
        await until(lambda: pod.came and not probe._dialling)
        probe.tick(time.monotonic() + 60)
        assert told == []
        assert pod.came == ["pod-2"], "who has answered is not called again"
        pod.close()

    asyncio.run(story())


def test_no_more_calls_go_on_at_a_time_than_there_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        calls: list[asyncio.Future[Answer]] = []

        async def dial(*_: Any) -> Answer:
            calls.append(asyncio.get_running_loop().create_future())
            return await calls[-1]

        monkeypatch.setattr(probes, "dial", dial)
        probe = Probe(Settings(tmp_path, 40, 41, 1, "pod-40", ("", 0), TOKEN), "me", lambda *_: None)
        probe.meet({index: ("10.0.0.1", 1, str(index)) for index in range(1, 41)})
        probe.ask()
        await asyncio.sleep(0)
        assert len(calls) == probes.MAX_DIALS
        calls[0].set_result(Answer(None, why="no"))
        await until(lambda: len(calls) == probes.MAX_DIALS + 1)
        probe.close()
        calls[1].set_result(Answer(None, why="no"))
        await asyncio.sleep(0.05)
        assert len(calls) == probes.MAX_DIALS + 1, "a pod that is done looks for nobody"

    asyncio.run(story())


class Played:
    """A link to a caller that is not there."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message["kind"])

    def start(self) -> None:
        """Nothing comes."""

    def close(self) -> None:
        """It is closed."""


@pytest.mark.parametrize(
    ("hello", "why"),
    [
        pytest.param({"caller": 1}, "does not call", id="the lower one does not call"),
        pytest.param({"caller": 9}, "does not call", id="an index that is not of the set"),
        pytest.param({"incarnation": "another"}, "is not who index 0 knows", id="another supervisor"),
        pytest.param({}, None, id="the peer"),
    ],
)
def test_who_is_answered(tmp_path: Path, hello: dict[str, object], why: str | None) -> None:
    async def story() -> None:
        probe, _ = looking(tmp_path, {1: ("127.0.0.1", 1, "one"), 3: ("", 0, "three")})
        caller = handshake.Hello("peer", 3, 2, "three", handshake.nonce(), "pod-3", 8081)._replace(**hello)  # type: ignore[arg-type]
        link = Played()
        refused = probe.admit(caller, link, "")  # type: ignore[arg-type]
        assert (refused is None) if why is None else (refused is not None and why in refused)
        assert link.sent == (["welcome"] if why is None else [])
        probe.close()

    asyncio.run(story())
