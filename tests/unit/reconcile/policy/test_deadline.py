"""Deadlines and the TTL, at their edges."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gpuquery.api.reasons import Failure
from gpuquery.api.status import Condition, GpuQueryJobStatus
from gpuquery.reconcile.observe.model import Observed
from gpuquery.reconcile.policy import deadline, ttl
from gpuquery.reconcile.policy.actions import DeleteJob
from gpuquery.reconcile.policy.case import Answer, Case
from tests.support.kube_objects import DEFAULTS, NOW, at, job

if TYPE_CHECKING:
    from datetime import datetime


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
    ("seconds", "missed", "limit"),
    [
        pytest.param(600, None, 600, id="a pod on its way is waited for"),
        pytest.param(600, at(1), 121, id="a missing Secret holds a node's resources for two minutes"),
        pytest.param(600, at(300), 420, id="counted from when it was missed, however long there was no node before"),
        pytest.param(30, at(1), 30, id="or for less, if the job says so"),
        pytest.param(350, at(300), 350, id="so that the start deadline holds all the same"),
    ],
)
def test_how_long_an_attempt_may_take_to_start(seconds: int, missed: datetime | None, limit: int) -> None:
    assert deadline.start_due(NOW, seconds, missed) == at(limit)
    assert deadline.start(NOW, seconds, at(limit - 1), because="x", secret_missed=missed) is None
    late = deadline.start(NOW, seconds, at(limit), because="x", secret_missed=missed)
    assert late and late.failure is Failure.START_DEADLINE_EXCEEDED
    assert ("120 s without a Secret" in late.message) is ("create the Secret" in late.message) is (limit < seconds)
    assert (f"startDeadlineSeconds ({seconds} s)" in late.message) is (limit == seconds)


@pytest.mark.parametrize(
    ("seconds", "now", "want"),
    [
        pytest.param(None, at(1e9), Answer(), id="without a TTL a job stays for good"),
        pytest.param(60, at(59), Answer(again=1), id="before the TTL it stays until then"),
        pytest.param(60, at(60), Answer(actions=(DeleteJob(),)), id="at the TTL it goes"),
        pytest.param(0, NOW, Answer(actions=(DeleteJob(),)), id="a TTL of zero means at once"),
    ],
)
def test_when_a_finished_job_goes(seconds: int | None, now: datetime, want: Answer) -> None:
    over = (Condition(type="Complete", status="True", reason="Completed"),)
    status = GpuQueryJobStatus(conditions=over, completion_time=NOW)
    subject = job(status=status, ttlSecondsAfterFinished=seconds)
    assert ttl.finished(Case(job=subject, observed=Observed(), defaults=DEFAULTS, now=now)) == want
