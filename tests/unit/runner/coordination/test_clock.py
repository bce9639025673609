"""A whole set on a clock that the tests turn: real coordinator and agents, and links that break, hang or are cut."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from gpuquery.api.reasons import Failure
from gpuquery.runner.coordination import agent as agents
from gpuquery.runner.coordination.agent import Agent
from gpuquery.runner.coordination.coordinator import Coordinator
from gpuquery.runner.coordination.dial import Answer
from gpuquery.runner.coordination.membership import Membership
from gpuquery.runner.coordination.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gpuquery.runner.coordination.causes import Fault
    from gpuquery.runner.coordination.handshake import Hello

SILENCE = 6.0
IN_TIME = SILENCE + 2.5
"""Seconds after which every pod has ended: the limit, and two ticks of supervisors that learn from each other."""


class End:
    """One end of a link."""

    def __init__(self, world: World, pod: int) -> None:
        self.world, self.pod = world, pod
        self.other: End = self
        self.closed, self.flushed = False, True
        self.on_message: Callable[[dict[str, Any]], None] = lambda _: None
        self.on_close: Callable[[str], None] = lambda _: None

    def start(self) -> None:
        """Messages come by themselves here."""

    def send(self, message: dict[str, Any]) -> None:
        if not self.closed and self.world.way(self.pod, self.other.pod):
            self.world.sent.append((self.other, message))

    def close(self) -> None:
        self.closed = True
        self.other.broke("it closed the connection")

    def broke(self, why: str) -> None:
        if not self.closed and self.world.way(self.pod, self.other.pod):
            self.closed = True
            self.on_close(why)


class Own:
    """The pod that a coordinator or an agent speaks for."""

    def __init__(self) -> None:
        self.cause: Fault | None = None
        self.ended = 0.0
        self.answers: list[dict[str, Any]] = []
        self.asked = 0

    def answered(self, message: dict[str, Any]) -> None:
        self.answers.append(message)

    def end(self, cause: Fault) -> None:
        self.cause, self.ended = cause, time.monotonic()

    def peers(self, peers: object) -> None:
        """They are met."""

    def probe(self) -> None:
        self.asked += 1

    def log(self, line: str) -> None:
        """Nothing reads it."""


class World:
    """Three pods."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
        self.now, self.sent = 1000.0, list[tuple[End, dict[str, Any]]]()
        self.dead, self.frozen, self.cut = set[int](), set[int](), set[int]()
        self.moving = {0, 1, 2}
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(agents, "dial", self.dial)
        monkeypatch.setattr(agents, "spawn", self.spawn)
        self.links: list[End] = []
        self.own = [Own() for _ in range(3)]
        self.pods: list[Coordinator | Agent] = []
        for index in range(3):
            settings = Settings(folder, index, 3, 1, f"pod-{index}", ("pod-0", 1), b"", silence=SILENCE, **changes)
            membership, own = Membership(settings), self.own[index]
            pod = Agent(settings, membership, own, str(index)) if index else Coordinator(settings, membership, own)
            self.pods.append(pod)
        self.run(2)
        for index, pod in enumerate(self.pods):
            pod.joined(index)
            pod.progress(index, {"phase": "running"})
        self.run(1)

    def way(self, a: int, b: int) -> bool:
        """Whether anything gets from one pod to the other; a frozen one takes nothing, but its kernel does."""
        return not self.cut & {a, b} and not self.dead & {a, b}

    async def dial(self, _address: object, hello: Hello, _token: bytes) -> Answer:
        if not self.way(hello.caller, 0) or 0 in self.frozen:
            return Answer(None, why="pod-0: timed out")
        here, there = End(self, hello.caller), End(self, 0)
        here.other, there.other = there, here
        self.links += [here, there]
        coordinator = self.pods[0]
        refused = coordinator.admit(hello, there, "10.0.0.1")  # type: ignore[arg-type]
        return Answer(here, "zero") if refused is None else Answer(None, "zero", refused, final=True)  # type: ignore[arg-type]

    def spawn(self, work: Any) -> None:
        with pytest.raises(StopIteration):
            work.send(None)

    def works(self, index: int) -> bool:
        return index not in self.dead | self.frozen

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now += 0.5
            for index, pod in enumerate(self.pods):
                if self.works(index):
                    if index in self.moving:
                        pod.moved()
                    pod.tick(self.now)
            waiting, self.sent = self.sent, []
            for end, message in waiting:
                if not self.works(end.pod):
                    self.sent += [(end, message)] if end.pod in self.frozen else []
                elif not end.closed:
                    end.on_message(message)

    def kill(self, index: int) -> None:
        """A pod is gone, and its kernel says so to those that it was connected to."""
        for end in [end for end in self.links if end.pod == index and not end.closed]:
            end.other.broke("Connection reset by peer")
        self.dead.add(index)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., World]:
    return lambda **changes: World(tmp_path, monkeypatch, **changes)


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("how", ["killed", "frozen", "cut"])
def test_a_pod_that_is_lost_ends_all_others_in_time(world: Callable[..., World], how: str, index: int) -> None:
    one = world()
    began = one.now
    if how == "killed":
        one.kill(index)
    else:
        (one.frozen if how == "frozen" else one.cut).add(index)
    one.run(IN_TIME)
    for other in {0, 1, 2} - {index}:
        cause = one.own[other].cause
        assert cause is not None and cause.failure is Failure.WORKER_LOST, other
        # Where index 0 is cut off, it misses the others too.
        mine = how == "cut" and index == 0
        assert mine or ("index 0 is lost" if index == 0 else "pod pod-1 (index 1) is lost") in cause.message
        assert SILENCE - 1 < one.own[other].ended - began <= IN_TIME
    if how == "cut":
        lost = one.own[index].cause
        assert lost is not None and "lost" in lost.message, "one that is cut off ends as well"


def test_a_frozen_pod_that_runs_again_learns_what_it_has_missed(world: Callable[..., World]) -> None:
    one = world()
    one.frozen.add(1)
    one.run(IN_TIME)
    one.pods[1].forgive(IN_TIME)
    one.frozen.clear()
    one.run(2)
    cause = one.own[1].cause
    assert cause is not None and "pod pod-1 (index 1) is lost" in cause.message


def test_a_connection_that_breaks_again_and_again_costs_nothing(world: Callable[..., World]) -> None:
    one = world()
    for step in range(40):
        for end in [end for end in one.links if end.pod and not end.closed]:
            end.closed = end.other.closed = True
            end.other.on_close("reset")
            end.on_close("reset")
        if step == 20:
            for index, pod in enumerate(one.pods):
                pod.barrier(index, "plan", index, 60)
        one.run(1)
    one.run(2)
    assert [own.cause for own in one.own] == [None] * 3
    for own in one.own:
        assert own.answers and {tuple(answer["values"]) for answer in own.answers} == {(0, 1, 2)}


def test_a_set_that_is_paused_as_a_whole_goes_on(world: Callable[..., World]) -> None:
    one = world()
    one.now += 300
    for pod in one.pods:
        pod.forgive(300)
    one.run(10)
    assert [own.cause for own in one.own] == [None] * 3


def test_one_that_moves_keeps_those_alive_that_wait_for_it_and_is_named_once_it_hangs(
    world: Callable[..., World],
) -> None:
    one = world(stall=3.0)
    for index in (0, 2):
        one.pods[index].barrier(index, "staged", None, 600)
    one.moving = {1}
    one.run(20)
    assert one.own[0].cause is None, "others waited longer than the limit"
    one.moving = set()
    one.run(5)
    cause = one.own[0].cause
    assert cause is not None and cause.failure is Failure.RANK_STALLED
    assert "for 3 s: 1 of 3 processes run the query" in cause.message
    assert ": pod pod-1, GPU 0" in cause.message


def test_pods_ask_each_other_while_nothing_moves(world: Callable[..., World]) -> None:
    one = world()
    assert [own.asked for own in one.own] == [0, 0, 0]
    one.moving = set()
    one.run(SILENCE)
    asked = [own.asked for own in one.own]
    assert asked[0] == 0 and asked[1] == asked[2] > 0, "index 0 hears them all"
    one.moving = {0}
    one.run(1)
    asked = [own.asked for own in one.own]
    one.run(SILENCE)
    assert [own.asked for own in one.own] == asked
