"""Retry as a table: which failures deserve another attempt, and when."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gpuquery.api.reasons import Failure, Policy
from gpuquery.reconcile.policy.retry import FREE_LIMIT, Ended, GiveUp, Retry, Spent, backoff, next_attempt
from tests.support.kube_objects import NOW

USER, LOST, EVICTED, REFUSED = Failure.USER_ERROR, Failure.WORKER_LOST, Failure.EVICTED, Failure.POD_REFUSED
SUSPENDED = Failure.SUSPENDED
EXHAUSTED = GiveUp(Failure.BACKOFF_LIMIT_EXCEEDED)


def again(pause: timedelta) -> Retry:
    return Retry(at=NOW + pause)


@pytest.mark.parametrize(
    ("failure", "number", "counted", "limit", "want"),
    [
        pytest.param(USER, 1, 0, 2, GiveUp(USER), id="a wrong query is never run twice"),
        pytest.param(LOST, 1, 1, 2, again(backoff(1, "")), id="a lost worker is followed by another attempt"),
        pytest.param(LOST, 2, 2, 2, again(backoff(2, "")), id="the pause grows"),
        pytest.param(LOST, 3, 3, 2, EXHAUSTED, id="the budget ends"),
        pytest.param(LOST, 1, 1, 0, GiveUp(LOST), id="where no retry was allowed the failure itself is the reason"),
        pytest.param(REFUSED, 1, 1, 0, GiveUp(REFUSED), id="a refusal of the kubelet spends the budget"),
        pytest.param(EVICTED, 1, 0, 0, again(backoff(1, "")), id="an eviction waits, and spends no budget"),
        pytest.param(EVICTED, 2, 0, 0, again(backoff(2, "")), id="evictions wait ever longer"),
        pytest.param(EVICTED, 2, 1, 1, again(backoff(1, "")), id="an eviction after a loss spends nothing"),
        pytest.param(LOST, 6, 1, 1, again(backoff(1, "")), id="evictions before a loss do not count"),
        pytest.param(EVICTED, FREE_LIMIT - 1, 0, 0, again(backoff(FREE_LIMIT - 1, "")), id="the last that is free"),
        pytest.param(EVICTED, FREE_LIMIT, 0, 9, GiveUp(EVICTED), id="not even evictions go on for ever"),
        pytest.param(EVICTED, FREE_LIMIT + 3, 3, 9, GiveUp(EVICTED), id="losses in between do not move that limit"),
    ],
)
def test_next_attempt(failure: Failure, number: int, counted: int, limit: int, want: Retry | GiveUp) -> None:
    assert next_attempt(Ended(number, failure, NOW, Spent(counted)), limit) == want


def test_a_suspension_is_followed_at_once_and_is_counted_nowhere() -> None:
    assert next_attempt(Ended(40, SUSPENDED, NOW, Spent(0, 40)), 0) == Retry(at=NOW)
    assert next_attempt(Ended(41, EVICTED, NOW, Spent(0, 40)), 0) == again(backoff(1, ""))
    assert next_attempt(Ended(41, LOST, NOW, Spent(1, 40)), 1) == again(backoff(1, ""))


def test_every_failure_class_but_a_suspension_has_a_policy_that_ends() -> None:
    for failure in set(Failure) - {SUSPENDED}:
        free = failure.policy is Policy.FREE
        last = Ended(FREE_LIMIT if free else 2, failure, NOW, Spent(0 if free else 2))
        assert isinstance(next_attempt(last, 1), GiveUp), failure


def test_pauses_double_up_to_five_minutes_and_differ_by_job() -> None:
    pauses = [backoff(n, "some-uid") for n in range(1, 30)]
    assert timedelta(seconds=5) <= pauses[0] <= timedelta(seconds=6)
    assert max(pauses) <= timedelta(seconds=360)
    assert len({backoff(9, f"uid-{n}") for n in range(50)}) > 10
