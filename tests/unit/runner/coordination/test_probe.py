"""The probe of a set: whether two pods that index 0 hears reach each other."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest

from gpuquery.runner.coordination import handshake
from gpuquery.runner.coordination import probe as probes
from gpuquery.runner.coordination.listener import Identity, Listener
from gpuquery.runner.coordination.loop import Link, Loop, listen
from gpuquery.runner.coordination.probe import Probe
from gpuquery.runner.coordination.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TOKEN = b"k" * 32
Told = list[tuple[int, int, str]]


def looking(folder: Path, loop: Loop, peers: dict[int, tuple[str, int, str]], index: int = 2) -> tuple[Probe, Told]:
    """The probe of a pod, and what it tells."""
    told: Told = []
    probe = Probe(
        Settings(folder, index, 4, 1, f"pod-{index}", ("", 0), TOKEN, silence=6.0),
        loop, "two", lambda *words: told.append(words),
    )  # fmt: skip
    probe.meet(peers)
    return probe, told


def run(loop: Loop, over: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not over():
        assert time.monotonic() < deadline, "it did not happen"
        loop.run(0.05)


def answering(loop: Loop, folder: Path, incarnation: str) -> tuple[Listener, int, list[str]]:
    """The listener of pod 1, its port, and who came."""
    sock, came = listen(0), []
    other, _ = looking(folder, loop, {2: ("", 0, "two"), 3: ("", 0, "three")}, index=1)

    def admit(hello: handshake.Hello, link: Link, address: str) -> str | None:
        came.append(hello.pod)
        return other.admit(hello, link, address)

    return Listener(loop, sock, Identity(1, incarnation, TOKEN), admit, lambda _: None), sock.getsockname()[1], came


def test_a_peer_that_answers_is_not_missed(tmp_path: Path) -> None:
    loop = Loop()
    listener, port, came = answering(loop, tmp_path, "one")
    probe, told = looking(tmp_path, loop, {1: ("127.0.0.1", port, "one"), 3: ("127.0.0.1", 1, "three")})
    probe.ask()
    probe.ask()  # which comes while it is looking
    run(loop, lambda: came and not probe._dialling)
    probe.tick(time.monotonic() + 60)
    assert told == []
    assert came == ["pod-2"], "it is called once, and pod 3 is the one to call"
    listener.close()


@pytest.mark.parametrize("what", ["nobody listens", "another supervisor"])
def test_a_peer_that_does_not_answer_is_told_of_after_the_limit_and_once(tmp_path: Path, what: str) -> None:
    loop = Loop()
    listener, port, _ = answering(loop, tmp_path, "one")
    if what == "nobody listens":
        listener.close()
    probe, told = looking(tmp_path, loop, {1: ("127.0.0.1", port, "another")})
    began = time.monotonic()
    probe.ask()
    run(loop, lambda: not probe._dialling)
    probe.tick(began + 4)
    assert told == [], "it may answer the next time"
    probe.forgive(30)
    probe.tick(began + 30)
    assert told == [], "this pod was asleep"
    probe.tick(began + 37)
    probe.tick(began + 38)
    (reporter, pod, why), *more = told
    assert (reporter, pod, more) == (2, 1, [])
    assert ("Connection refused" if what == "nobody listens" else "another supervisor answers there") in why
    listener.close()


def test_a_peer_that_answers_again_is_missed_no_more(tmp_path: Path) -> None:
    loop = Loop()
    listener, port, came = answering(loop, tmp_path, "one")
    probe, told = looking(tmp_path, loop, {1: ("127.0.0.1", 1, "one")})
    probe.ask()
    run(loop, lambda: not probe._dialling)
    probe._peers[1].address = ("127.0.0.1", port, "one")
    probe.ask()
    run(loop, lambda: came and not probe._dialling)
    probe.tick(time.monotonic() + 60)
    assert told == []
    listener.close()


def test_a_peer_that_does_not_answer_once_is_called_again_though_nobody_asks(tmp_path: Path) -> None:
    loop = Loop()
    listener, port, came = answering(loop, tmp_path, "one")
    probe, told = looking(tmp_path, loop, {1: ("127.0.0.1", 1, "one")})
    probe.ask()
    run(loop, lambda: not probe._dialling)
    probe._peers[1].address = ("127.0.0.1", port, "one")
    probe.tick(time.monotonic())  # index 0 has seen progress since, and asks no more
    run(loop, lambda: came and not probe._dialling)
    probe.tick(time.monotonic() + 60)
    assert told == []
    assert came == ["pod-2"], "who has answered is not called again"
    listener.close()


def test_no_more_calls_go_on_at_a_time_than_there_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Callable[[object], None]] = []
    monkeypatch.setattr(probes, "dial", lambda *words: done.append(words[-1]))
    peers = {index: ("10.0.0.1", 1, str(index)) for index in range(1, 41)}
    settings = Settings(tmp_path, 40, 41, 1, "pod-40", ("", 0), TOKEN)
    probe = Probe(settings, Loop(), "me", lambda *_: None)
    probe.meet(peers)
    probe.ask()
    assert len(done) == probes.MAX_DIALS
    done[0](probes.Answer(None, why="no"))
    assert len(done) == probes.MAX_DIALS + 1
    probe.close()
    done[1](probes.Answer(None, why="no"))
    assert len(done) == probes.MAX_DIALS + 1, "a pod that is done looks for nobody"


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
    loop = Loop()
    probe, _ = looking(tmp_path, loop, {1: ("", 0, "one"), 3: ("", 0, "three")})
    ours, theirs = socket.socketpair()
    with theirs:
        caller = handshake.Hello("peer", 3, 2, "three", handshake.nonce(), "pod-3", 8081)._replace(**hello)  # type: ignore[arg-type]
        link = Link(loop, ours)
        refused = probe.admit(caller, link, "")
        assert (refused is None) if why is None else (refused is not None and why in refused)
        link.close()
        assert (b"welcome" in theirs.recv(4096)) is (why is None)
