"""Retry as a table: which failures deserve another attempt, and when."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gpuquery.api.reasons import Failure
from gpuquery.reconcile.retry import GiveUp, Retry, RetrySpec, backoff, next_attempt
from tests.support.kube_objects import NOW, failures

USER, LOST, EVICTED = Failure.USER_ERROR, Failure.WORKER_LOST, Failure.EVICTED
EXHAUSTED = GiveUp(Failure.BACKOFF_LIMIT_EXCEEDED)


def again(pause: timedelta = timedelta()) -> Retry:
    return Retry(at=NOW + pause)


@pytest.mark.parametrize(
    ("history", "counted", "limit", "want"),
    [
        pytest.param([USER], 0, 2, GiveUp(USER), id="a wrong query is never run twice"),
        pytest.param([LOST], 1, 2, again(backoff(1, "")), id="a lost worker is followed by another attempt"),
        pytest.param([LOST] * 2, 2, 2, again(backoff(2, "")), id="the pause grows"),
        pytest.param([LOST] * 3, 3, 2, EXHAUSTED, id="the budget ends"),
        pytest.param([LOST], 1, 0, GiveUp(LOST), id="where no retry was allowed the failure itself is the reason"),
        pytest.param([EVICTED], 0, 0, again(), id="an eviction is retried at once, without any budget"),
        pytest.param([EVICTED] * 2, 0, 0, again(backoff(1, "")), id="evictions in a row wait"),
        pytest.param([EVICTED] * 9, 0, 0, again(backoff(8, "")), id="preemption never exhausts a job"),
        pytest.param([LOST, EVICTED], 1, 1, again(), id="an eviction between two losses spends nothing"),
        pytest.param([EVICTED] * 5 + [LOST], 1, 1, again(backoff(1, "")), id="evictions before a loss do not count"),
    ],
)
def test_next_attempt(history: list[Failure], counted: int, limit: int, want: Retry | GiveUp) -> None:
    assert next_attempt(failures(*history), RetrySpec(limit, counted)) == want


def test_an_attempt_that_was_lost_while_publishing_is_always_followed_by_one_that_finishes() -> None:
    assert next_attempt(failures(LOST), RetrySpec(0, 1, committed=True)) == again()


def test_attempts_that_cannot_finish_publishing_wait_ever_longer() -> None:
    history, spec = failures(LOST, LOST, Failure.STORAGE_UNAVAILABLE), RetrySpec(0, 3, committed=True)
    assert next_attempt(history, spec) == again(backoff(2, ""))


def test_a_committed_output_does_not_excuse_a_wrong_query() -> None:
    assert next_attempt(failures(USER), RetrySpec(0, 0, committed=True)) == GiveUp(USER)


def test_every_failure_class_has_a_policy_that_ends() -> None:
    for failure in Failure:
        outcome = next_attempt(failures(failure), RetrySpec(backoff_limit=1, counted=2))
        assert isinstance(outcome, GiveUp) or failure is EVICTED, failure


def test_pauses_double_up_to_five_minutes_and_differ_by_job() -> None:
    pauses = [backoff(n, "some-uid") for n in range(1, 30)]
    assert timedelta(seconds=5) <= pauses[0] <= timedelta(seconds=6)
    assert max(pauses) <= timedelta(seconds=360)
    assert len({backoff(9, f"uid-{n}") for n in range(50)}) > 10


def test_an_attempt_that_has_not_failed_cannot_be_judged() -> None:
    attempt = failures(LOST)[0].model_copy(update={"ended": None})
    with pytest.raises(ValueError, match="attempt 1 has not failed"):
        next_attempt([attempt], RetrySpec(1, 0))
