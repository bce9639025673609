"""Deadlines and the TTL, at their edges."""

from __future__ import annotations

import pytest

from gpuquery.api.reasons import Failure
from gpuquery.reconcile import deadline
from gpuquery.reconcile.ttl import Expired, Keep, after_finish
from tests.support.kube_objects import NOW, at


def test_the_active_deadline_passes_at_its_second_and_not_before() -> None:
    assert deadline.active(NOW, 8, at(7.9)) is None
    late = deadline.active(NOW, 8, at(8))
    assert late and late.failure is Failure.DEADLINE_EXCEEDED and "8 s" in late.message


@pytest.mark.parametrize(("started", "seconds"), [(None, 8), (NOW, None)])
def test_a_job_that_has_not_started_or_has_no_deadline_is_never_late(started: object, seconds: int | None) -> None:
    assert deadline.active(started, seconds, at(1e6)) is None  # type: ignore[arg-type]


def test_the_start_deadline_says_what_it_waited_for() -> None:
    assert deadline.start(NOW, 15, at(14), because="x") is None
    late = deadline.start(NOW, 15, at(15), because="0/1 nodes are available: Insufficient cpu")
    assert late and late.failure is Failure.START_DEADLINE_EXCEEDED
    assert "Insufficient cpu" in late.message and "15 s" in late.message


@pytest.mark.parametrize(
    ("seconds", "now", "want"),
    [
        pytest.param(None, at(1e9), Keep(), id="without a TTL a job stays for good"),
        pytest.param(60, at(59), Keep(until=at(60)), id="before the TTL it stays until then"),
        pytest.param(60, at(60), Expired(), id="at the TTL it goes"),
        pytest.param(0, NOW, Expired(), id="a TTL of zero means at once"),
    ],
)
def test_after_finish(seconds: int | None, now: object, want: Keep | Expired) -> None:
    assert after_finish(NOW, seconds, now) == want  # type: ignore[arg-type]
