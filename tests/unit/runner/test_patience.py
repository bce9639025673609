"""Retrying until a deadline: what ends it, and with which exception."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from gpuquery.runner import patience

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made; time passes by them alone."""
    pauses: list[float] = []

    class Event(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            pauses.append(timeout or 0.0)
            return self.is_set()

    monkeypatch.setattr(patience.threading, "Event", Event)
    monkeypatch.setattr(patience.time, "monotonic", lambda: sum(pauses))
    return pauses


def failing(times: int) -> Callable[[], int]:
    left = [OSError(f"try {number}") for number in range(1, times + 1)]

    def call() -> int:
        if left:
            raise left.pop(0)
        return 42

    return call


def test_it_calls_again_after_growing_pauses_until_it_succeeds(clock: list[float]) -> None:
    assert patience.until(failing(12), seconds=300, again=lambda exc: isinstance(exc, OSError)) == 42
    assert len(clock) == 12
    assert 0.05 <= clock[0] <= 0.1
    assert max(clock) <= patience.LONGEST_PAUSE


def test_the_time_ends_it_with_the_last_exception_and_not_a_number_of_tries(clock: list[float]) -> None:
    with pytest.raises(OSError, match=r"try \d+"):
        patience.until(failing(10_000), seconds=60, again=lambda _: True)
    assert 50 <= sum(clock) <= 60


def test_it_is_called_as_often_as_asked_for_even_if_each_call_takes_all_the_time(clock: list[float]) -> None:
    assert patience.until(failing(3), seconds=0, tries=4, again=lambda _: True) == 42
    with pytest.raises(OSError, match="try 4"):
        patience.until(failing(9), seconds=0, tries=4, again=lambda _: True)


def test_what_will_be_the_same_next_time_is_raised_at_once(clock: list[float]) -> None:
    with pytest.raises(OSError, match="try 1"):
        patience.until(failing(2), seconds=60, again=lambda exc: isinstance(exc, ValueError))
    assert clock == []


def test_being_stopped_ends_the_wait_and_names_the_cause() -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(patience.StoppedError) as caught:
        patience.until(failing(1), seconds=60, again=lambda _: True, stop=stop)
    assert str(caught.value.__cause__) == "try 1"
