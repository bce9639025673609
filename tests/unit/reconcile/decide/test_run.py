"""What an attempt and a run of the preflight have in common: one machine follows both, so one table tests both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from gpuquery.api.reasons import Event, Failure, Reason
from gpuquery.reconcile.observe.model import Attempt, Observed, Refusal, Waiting
from gpuquery.reconcile.policy.actions import MoveDeadline
from gpuquery.reconcile.policy.case import LOOK_FOR_PODS
from gpuquery.reconcile.report.events import notes
from tests.support.kube_objects import (
    at,
    attempt,
    batch,
    check,
    condition,
    dropped,
    ended,
    failed_report,
    job,
    pod,
    running,
    step,
    stopped,
    told,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuquery.api.types import GpuQueryJob
    from gpuquery.reconcile.decide.job import Decision

NO_NODE = "0/1 nodes are available: Insufficient cpu"
GONE = Observed()


@dataclass(frozen=True)
class Kind:
    """Where tests have to tell one kind of run from the other."""

    spec: dict[str, Any]
    make: Callable[..., Attempt]
    where: str
    """The field of what is observed."""
    kind: str
    """The condition that tells what holds a run up."""
    status: str
    """Its status then."""
    name: str
    taken: Callable[[Decision], tuple[int, ...]]

    def begun(self, **spec: Any) -> GpuQueryJob:
        """A job whose run was asked for."""
        return step(job(**self.spec, **spec))[0]

    def seen(self, *pods: Any, refusal: Refusal | None = None, **facts: Any) -> Observed:
        """What there is of its first run."""
        run: Any = {self.where: (self.make(*pods, **facts),)}
        return Observed(refusal=refusal, **run)

    def lost(self) -> Observed:
        """A run that has ended without a word about the query."""
        return self.seen(ended(1, failed_report(Failure.WORKER_LOST, "reset by peer"), finished=at(0)))

    def held(self, subject: GpuQueryJob, reason: Reason) -> bool:
        return told(subject, self.kind) == (self.status, reason)


KINDS = pytest.mark.parametrize(
    "kind",
    [
        pytest.param(Kind({}, attempt, "attempts", "ClusterReady", "False", "revenue-0a1b2-1", stopped), id="attempt"),
        pytest.param(
            Kind({"preflight": "always"}, check, "runs", "Preflight", "Unknown", "revenue-0a1b2-p1", dropped),
            id="preflight",
        ),
    ],
)


@KINDS
def test_a_pod_that_cannot_start_says_why_and_ends_at_the_start_deadline(kind: Kind) -> None:
    stuck = kind.seen(pod(node=None, unschedulable=NO_NODE))
    before = kind.begun(startDeadlineSeconds=15)
    subject, decision = step(before, stuck, seconds=1)
    assert kind.held(subject, Reason.UNSCHEDULABLE) and decision.requeue_after == 14
    assert [note.event for note in notes(before.status, subject.status)] == [Event.CANNOT_START]
    subject, decision = step(subject, stuck, seconds=15)
    assert kind.taken(decision) == (1,) and told(subject, "Failed") == ("False", Reason.RELEASING)
    assert kind.held(subject, Reason.RELEASING)
    subject, decision = step(subject, GONE, seconds=16)
    assert told(subject, "Failed") == ("True", Failure.START_DEADLINE_EXCEEDED) and not decision.creates
    assert NO_NODE in condition(subject, "Failed").message


@KINDS
def test_a_run_without_pods_is_released_before_the_job_fails_lest_pods_come_later(kind: Kind) -> None:
    subject, decision = step(kind.begun(startDeadlineSeconds=5), kind.seen(), seconds=6)
    assert kind.taken(decision) == (1,) and told(subject, "Failed")[0] == "False"


@KINDS
def test_an_image_name_that_is_none_fails_within_seconds(kind: Kind) -> None:
    wrong = kind.seen(pod(waiting=Waiting(reason="InvalidImageName", message='"not a name"')))
    subject, decision = step(kind.begun(), wrong, seconds=1)
    assert kind.taken(decision) == (1,)
    subject, _ = step(subject, GONE, seconds=2)
    assert told(subject, "Failed") == ("True", Failure.IMAGE_PULL_FAILED)


@KINDS
def test_the_deadline_of_the_job_deletes_the_pods_first_and_fails_after(kind: Kind) -> None:
    subject, decision = step(kind.begun(activeDeadlineSeconds=8), kind.seen(running()), seconds=4)
    assert decision.requeue_after == 4
    subject, decision = step(subject, kind.seen(running()), seconds=8)
    assert kind.taken(decision) == (1,) and told(subject, "Failed") == ("False", Reason.RELEASING)
    subject, _ = step(subject, kind.seen(running(), batch_job=None), seconds=9)
    assert told(subject, "Failed")[0] == "False", "the pod still runs"
    subject, _ = step(subject, GONE, seconds=12)
    assert told(subject, "Failed") == ("True", Failure.DEADLINE_EXCEEDED)


@KINDS
def test_the_deadline_ends_the_wait_for_another_run(kind: Kind) -> None:
    subject, decision = step(kind.begun(activeDeadlineSeconds=3), kind.lost(), seconds=1)
    assert decision.requeue_after and decision.requeue_after <= 2
    subject, _ = step(subject, kind.lost(), seconds=3)
    assert told(subject, "Failed") == ("True", Failure.DEADLINE_EXCEEDED)
    assert "WorkerLost" in condition(subject, "Failed").message


@KINDS
def test_a_changed_deadline_moves_the_safety_net_of_the_batch_job(kind: Kind) -> None:
    subject = kind.begun(activeDeadlineSeconds=100)
    moved = step(subject, kind.seen(running(), batch_job=batch(name=kind.name, deadline=70)), seconds=1)[1]
    assert moved.actions == (MoveDeadline(kind.name, 160),)
    fits = kind.seen(running(), batch_job=batch(name=kind.name, deadline=160))
    assert step(subject, fits, seconds=1)[1].actions == ()


@KINDS
def test_a_refused_pod_shows_the_quota_and_the_job_goes_on_waiting(kind: Kind) -> None:
    full = Refusal(reason=Reason.QUOTA_EXCEEDED, message="exceeded quota: pods")
    subject, decision = step(kind.begun(), kind.seen(refusal=full), seconds=2)
    assert kind.held(subject, Reason.QUOTA_EXCEEDED)
    assert decision.requeue_after == LOOK_FOR_PODS and not kind.taken(decision)
    subject, _ = step(subject, kind.seen(running()), seconds=30)
    assert not kind.held(subject, Reason.QUOTA_EXCEEDED)


@KINDS
def test_a_refused_batch_job_is_asked_for_again_until_the_start_deadline(kind: Kind) -> None:
    full = Observed(refusal=Refusal(reason=Reason.QUOTA_EXCEEDED, message="exceeded quota: jobs"))
    subject, decision = step(job(startDeadlineSeconds=60, **kind.spec), full)
    assert not decision.creates and decision.requeue_after == 10
    assert kind.held(subject, Reason.QUOTA_EXCEEDED)
    assert subject.status.attempt is None and subject.status.preflight_run is None
    assert subject.status.state == ("Preflight" if kind.spec else "Accepted")
    assert step(subject, GONE, seconds=10)[1].creates, "it is tried again"
    subject, _ = step(subject, full, seconds=60)
    assert told(subject, "Failed") == ("True", Failure.START_DEADLINE_EXCEEDED)


@KINDS
def test_an_invalid_template_ends_the_job_with_the_api_servers_words(kind: Kind) -> None:
    words = "Job is invalid: spec.template.spec.tolerations[0].effect"
    refusal = Refusal(reason=Reason.CREATION_REFUSED, message=words, permanent=True)
    subject, _ = step(job(**kind.spec), Observed(refusal=refusal))
    assert told(subject, "Failed") == ("True", Failure.TEMPLATE_REJECTED)
    assert condition(subject, "Failed").message == words
