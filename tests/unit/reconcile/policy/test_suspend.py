"""`spec.suspend`, in every phase of a job's life."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gpuquery.api.conditions import find, is_true
from gpuquery.api.labels import LABEL_ATTEMPT, LABEL_PREFLIGHT
from gpuquery.api.reasons import Event, Failure, Reason
from gpuquery.api.report import Phase, Progress
from gpuquery.api.timing import OPERATOR_COMMIT_SECONDS
from gpuquery.kube.progress import Reading
from gpuquery.reconcile.observe.head import sight_of
from gpuquery.reconcile.observe.model import Observed, QueryText, Refusal
from gpuquery.reconcile.policy.retry import FREE_LIMIT
from gpuquery.reconcile.report import failing
from gpuquery.reconcile.report.events import notes
from tests.support.kube_objects import (
    CHECKED,
    COMMITTED,
    FOUND,
    at,
    attempt,
    batch,
    check,
    checking,
    condition,
    dropped,
    ended,
    failed_report,
    job,
    pod,
    running,
    seen,
    step,
    stopped,
    told,
)

if TYPE_CHECKING:
    from gpuquery.api.types import GpuQueryJob
    from gpuquery.reconcile.decide.job import Decision


def suspended(subject: GpuQueryJob, suspend: bool = True) -> GpuQueryJob:
    """The same job after somebody has edited it."""
    return subject.model_copy(update={"spec": subject.spec.model_copy(update={"suspend": suspend})})


def resumed(subject: GpuQueryJob) -> GpuQueryJob:
    return suspended(subject, False)


def reading(phase: Phase, seconds: float = 1) -> Reading:
    return Reading(at=at(seconds), progress=Progress(phase=phase))


def running_job(**spec: Any) -> GpuQueryJob:
    """A job whose query has run since second 1."""
    subject = step(job(**spec))[0]
    return step(subject, seen(attempt(running()), reading=reading(Phase.RUNNING)), seconds=1)[0]


def at_rest(**spec: Any) -> GpuQueryJob:
    """A job that was suspended while its query ran, and of which nothing is left since second 5."""
    releasing, _ = step(suspended(running_job(**spec)), seen(attempt(running())), seconds=4)
    return step(releasing, GONE, seconds=5)[0]


def asked(decision: Decision) -> dict[str, str]:
    """The labels that number what is created."""
    labels: dict[str, str] = {}
    for each in decision.creates:
        labels |= {k: v for k, v in each["metadata"]["labels"].items() if k in (LABEL_ATTEMPT, LABEL_PREFLIGHT)}
    return labels


def events(before: GpuQueryJob, after: GpuQueryJob) -> list[Event]:
    return [note.event for note in notes(before.status, after.status)]


def is_at_rest(subject: GpuQueryJob) -> None:
    """What holds of every job that is suspended."""
    status = subject.status
    assert told(subject, "Suspended") == ("True", Reason.JOB_SUSPENDED) and status.state == "Suspended"
    assert told(subject, "Accepted") == ("Unknown", Reason.JOB_SUSPENDED)
    assert told(subject, "ClusterReady") == told(subject, "Running") == ("False", Reason.JOB_SUSPENDED)
    assert told(subject, "Complete") == told(subject, "Failed") == ("False", Reason.IN_PROGRESS)
    assert status.start_time is None and status.failure is None and status.progress is None


# Phases: (the job before, what there is of it while its pods go, what there is afterwards, what begins when resumed).

CHECKING = step(job(preflight="always"))[0]
PASSED_AT = checking(check(ended(0, CHECKED, finished=at(3))))
STARTING = step(job())[0]
LOST = seen(attempt(ended(137)))
GONE = seen()
BEGUN: list[Any] = [
    pytest.param(CHECKING, checking(check()), checking(), {LABEL_PREFLIGHT: "2"}, id="the preflight has no pod yet"),
    pytest.param(CHECKING, checking(check(running())), checking(), {LABEL_PREFLIGHT: "2"}, id="the preflight checks"),
    pytest.param(STARTING, seen(attempt()), GONE, {LABEL_ATTEMPT: "2"}, id="the attempt has no pod yet"),
    pytest.param(STARTING, seen(attempt(pod())), GONE, {LABEL_ATTEMPT: "2"}, id="its pods start"),
    pytest.param(running_job(), seen(attempt(running())), GONE, {LABEL_ATTEMPT: "2"}, id="the query runs"),
]


@pytest.mark.parametrize(("subject", "under_way", "over", "again"), BEGUN)
def test_what_is_under_way_is_released_and_begins_anew_without_spending_budget(
    subject: GpuQueryJob, under_way: Observed, over: Observed, again: dict[str, str]
) -> None:
    releasing, decision = step(suspended(subject), under_way, seconds=20)
    assert told(releasing, "Suspended") == ("Unknown", Reason.RELEASING)
    assert releasing.status.state == "Suspended" and releasing.status.failure is None
    assert stopped(decision) + dropped(decision) == (1,) and not decision.creates, "its pods go"
    assert told(releasing, "Failed") == ("False", Reason.IN_PROGRESS)
    still, decision = step(releasing, under_way, seconds=21)
    assert still.status == releasing.status and not decision.creates
    rest, decision = step(still, over, seconds=25)
    is_at_rest(rest)
    assert rest.status.plan == subject.status.plan, "what a preflight has begun with decides nothing"
    assert not decision.creates and decision.requeue_after == 0, "others may have its place"
    assert events(subject, releasing) == [] and events(still, rest) == [Event.SUSPENDED]
    later, decision = step(rest, over, seconds=1e6)
    assert later.status == rest.status and not decision.actions and (decision.requeue_after or 0) > 60, (
        "no deadline runs, however long it takes"
    )
    back, decision = step(resumed(later), over, seconds=1e6)
    assert asked(decision) == again
    assert told(back, "Suspended") == ("False", Reason.JOB_RESUMED) and told(back, "Accepted")[0] == "True"
    assert back.status.start_time == at(1e6) and (back.status.counted_failures or 0) == 0
    assert Event.RESUMED in events(later, back) and Event.ATTEMPT_FAILED not in events(later, back)
    assert [(a.id, a.reason) for a in back.status.attempts[:-1]] in ([], [(1, Failure.SUSPENDED)]), "history is kept"


def test_a_job_that_is_created_suspended_asks_for_nothing_until_it_is_resumed() -> None:
    subject, decision = step(job(suspend=True))
    is_at_rest(subject)
    assert not decision.actions and subject.status.plan is None
    back, decision = step(resumed(subject), seconds=1e6)
    assert asked(decision) == {LABEL_ATTEMPT: "1"} and back.status.start_time == at(1e6)
    assert events(subject, back) == [Event.PLANNED, Event.ATTEMPT_STARTED, Event.RESUMED]


def test_what_cannot_be_run_is_refused_even_while_it_is_suspended() -> None:
    subject, _ = step(job(engine="tasks", suspend=True))
    assert told(subject, "Failed") == ("True", Failure.INVALID_COMBINATION)
    assert find(subject.status.conditions, "Suspended") is None


def test_a_query_that_is_not_there_yet_keeps_no_job_from_being_suspended() -> None:
    subject = job(query={"configMapKeyRef": {"name": "queries", "key": "q.sql"}}, suspend=True)
    missing = Observed(query=QueryText(missing="no such ConfigMap"))
    is_at_rest(step(subject, missing)[0])


def test_what_the_preflight_has_found_out_is_kept_and_not_checked_again() -> None:
    rest, decision = step(suspended(CHECKING), PASSED_AT, seconds=4)
    is_at_rest(rest)
    assert rest.status.preflight == FOUND and told(rest, "Preflight") == ("True", Reason.PASSED)
    assert not decision.creates and dropped(decision) == (1,)
    _, decision = step(resumed(rest), checking(), seconds=99)
    assert asked(decision) == {LABEL_ATTEMPT: "1"}


def test_a_job_is_not_suspended_while_the_pod_of_its_preflight_lives() -> None:
    lingers = checking(check(running(exit=ended(0, CHECKED, finished=at(3)).exit)))
    subject, decision = step(suspended(CHECKING), lingers, seconds=60)
    assert told(subject, "Suspended") == ("Unknown", Reason.RELEASING) and dropped(decision) == (1,)


def test_a_dry_run_that_has_passed_is_complete_although_it_is_suspended() -> None:
    subject, _ = step(suspended(step(job(dryRun=True))[0]), PASSED_AT, seconds=4)
    assert told(subject, "Complete") == ("True", Reason.DRY_RUN)


def test_between_two_attempts_the_pause_ends_at_once_and_the_failure_still_counts() -> None:
    subject, _ = step(running_job(backoffLimit=1), LOST, seconds=10)
    assert subject.status.state == "Retrying"
    rest, decision = step(suspended(subject), LOST, seconds=11)
    is_at_rest(rest)
    assert not decision.creates and rest.status.counted_failures == 1
    back, decision = step(resumed(rest), LOST, seconds=500)
    assert asked(decision) == {LABEL_ATTEMPT: "2"} and back.status.attempt == 2
    number_two = seen(attempt(ended(137), number=2, batch_job=batch(name="revenue-0a1b2-2")))
    over, _ = step(back, number_two, seconds=510)
    assert told(over, "Failed") == ("True", Failure.BACKOFF_LIMIT_EXCEEDED)


def test_an_attempt_that_fails_by_itself_as_the_job_is_suspended_has_failed() -> None:
    wrong = seen(attempt(ended(1, failed_report(Failure.USER_ERROR))))
    subject, _ = step(suspended(running_job()), wrong, seconds=5)
    assert told(subject, "Failed") == ("True", Failure.USER_ERROR)
    rest, _ = step(suspended(running_job()), LOST, seconds=5)
    is_at_rest(rest)
    assert rest.status.attempts[0].reason == Failure.WORKER_LOST, "the first cause is told"


def test_a_job_that_has_ended_is_left_alone() -> None:
    subject, _ = step(running_job(), seen(attempt(ended(0, COMMITTED))), seconds=9)
    after, decision = step(suspended(subject), GONE, seconds=10)
    assert after.status == subject.status and not decision.actions


# A commit that has begun is finished.


@pytest.mark.parametrize("phase", [Phase.COMMITTING, Phase.PUBLISHING, Phase.DONE])
def test_a_commit_that_has_begun_is_finished_and_the_job_is_complete(phase: Phase) -> None:
    sight = seen(attempt(running()), reading=reading(phase, 10))
    subject, decision = step(suspended(running_job()), sight, seconds=10)
    assert told(subject, "Suspended") == ("Unknown", Reason.RELEASING) and not stopped(decision)
    assert "commit" in condition(subject, "Suspended").message
    assert 0 < (decision.requeue_after or 0) <= OPERATOR_COMMIT_SECONDS
    over, _ = step(subject, seen(attempt(ended(0, COMMITTED))), seconds=12)
    assert told(over, "Complete") == ("True", Reason.COMPLETED)
    assert told(over, "Suspended") == ("False", Reason.ENDED) and len(over.status.attempts) == 1


def test_a_commit_is_watched_closely_however_long_the_query_has_run() -> None:
    _, decision = step(suspended(running_job()), seen(attempt(running()), reading=reading(Phase.COMMITTING, 9e4)),
                       seconds=9e4)  # fmt: skip
    assert decision.requeue_after == OPERATOR_COMMIT_SECONDS


def test_a_pod_that_tells_of_a_commit_for_ever_is_taken_away_all_the_same() -> None:
    sight = seen(attempt(running()), reading=reading(Phase.COMMITTING, 10))
    subject, _ = step(suspended(running_job()), sight, seconds=10)
    early, decision = step(subject, sight, seconds=9 + OPERATOR_COMMIT_SECONDS)
    assert not stopped(decision)
    _, decision = step(early, sight, seconds=10 + OPERATOR_COMMIT_SECONDS)
    assert stopped(decision) == (1,)


def test_a_commit_that_nobody_knew_of_wins_over_the_suspension() -> None:
    releasing, _ = step(suspended(running_job()), seen(attempt(running())), seconds=10)
    over, _ = step(releasing, seen(attempt(ended(0, COMMITTED), batch_job=None)), seconds=12)
    assert told(over, "Complete")[0] == "True" and over.status.attempts[0].reason is None


# Deadlines and counts.


def test_the_deadline_of_the_job_begins_anew_when_it_is_resumed() -> None:
    subject = running_job(activeDeadlineSeconds=30)
    releasing, _ = step(suspended(subject), seen(attempt(running())), seconds=25)
    releasing, _ = step(releasing, seen(attempt(running())), seconds=40)
    assert told(releasing, "Failed")[0] == "False", "it does not run while the pods go"
    rest, _ = step(releasing, GONE, seconds=45)
    back, _ = step(resumed(rest), GONE, seconds=1000)
    second = seen(attempt(running(), number=2, batch_job=batch(name="revenue-0a1b2-2")))
    going, _ = step(back, second, seconds=1029)
    assert told(going, "Failed")[0] == "False"
    late, decision = step(going, second, seconds=1030)
    assert stopped(decision) == (2,) and told(late, "Failed") == ("False", Reason.RELEASING)


def test_a_start_that_is_refused_has_its_whole_start_deadline_after_the_resumption() -> None:
    full = Observed(refusal=Refusal(reason=Reason.QUOTA_EXCEEDED, message="exceeded quota"))
    rest = at_rest(startDeadlineSeconds=60)
    back, _ = step(resumed(rest), full, seconds=1000)
    assert told(back, "Suspended")[0] == "False" and told(back, "ClusterReady") == ("False", Reason.QUOTA_EXCEEDED)
    back, _ = step(back, full, seconds=1059)
    assert told(back, "Failed")[0] == "False"
    assert told(step(back, full, seconds=1060)[0], "Failed") == ("True", Failure.START_DEADLINE_EXCEEDED)


@pytest.mark.parametrize("spec", [{}, {"preflight": "always"}], ids=["attempts", "runs of the preflight"])
def test_a_job_may_be_suspended_as_often_as_one_likes(spec: dict[str, Any]) -> None:
    subject, now = step(job(backoffLimit=0, **spec))[0], 10
    for number in range(1, FREE_LIMIT + 3):
        alive = checking(check(number=number)) if spec else seen(attempt(number=number))
        releasing, _ = step(suspended(subject), alive, seconds=now)
        subject, _ = step(releasing, GONE, seconds=now)
        is_at_rest(subject)
        subject, decision = step(resumed(subject), GONE, seconds=now + 1)
        assert set(asked(decision).values()) == {str(number + 1)}, "at once, without a pause"
        now += 10
    run = subject.status.preflight_run
    assert (run.suspended if run else subject.status.suspended_attempts) == FREE_LIMIT + 2
    wrong = ended(137) if not run else ended(1, failed_report(Failure.WORKER_LOST))
    number = FREE_LIMIT + 3
    lost = checking(check(wrong, number=number)) if run else seen(attempt(wrong, number=number))
    over, _ = step(subject, lost, seconds=now)
    assert told(over, "Failed") == ("True", Failure.WORKER_LOST), "no retry was allowed, and none was spent"


def test_who_resumes_before_the_pods_are_gone_gets_another_attempt_once_they_are() -> None:
    releasing, _ = step(suspended(running_job()), seen(attempt(running())), seconds=10)
    going, decision = step(resumed(releasing), seen(attempt(running())), seconds=11)
    assert told(going, "Suspended") == ("False", Reason.JOB_RESUMED) and not decision.creates
    over, _ = step(going, GONE, seconds=15)
    _, decision = step(over, GONE, seconds=15)
    assert asked(decision) == {LABEL_ATTEMPT: "2"}


def test_an_operator_that_died_before_it_told_of_the_attempt_ends_it_all_the_same() -> None:
    subject, decision = step(job(suspend=True), seen(attempt(pod())), seconds=3)
    assert stopped(decision) == (1,) and subject.status.attempt == 1
    is_at_rest(step(subject, GONE, seconds=4)[0])


def test_looks_that_fail_end_no_job_that_is_suspended() -> None:
    rest = at_rest(activeDeadlineSeconds=30, startDeadlineSeconds=30)
    known = rest.model_copy(update={"status": failing.told(rest, "why", at(6))})
    assert failing.overdue(known, "why", at(1e6)) is None and failing.due(known, at(7)) is None
    assert is_true(known.status.conditions, "Suspended")


# Its place in the namespace.


def sights(subject: GpuQueryJob) -> tuple[bool, bool]:
    """Whether a job holds a place, and whether it neither holds one nor waits for one."""
    found = sight_of(subject.model_dump(mode="json", by_alias=True, exclude_none=True))
    return found.begun, found.suspended


def test_a_job_holds_its_place_until_nothing_of_it_runs_and_has_none_until_it_is_resumed() -> None:
    assert sights(job(suspend=True)) == (False, True)
    subject = suspended(running_job())
    assert sights(subject) == (True, False)
    subject, _ = step(subject, seen(attempt(running())), seconds=10)
    assert sights(subject) == (True, False), "its pods are alive"
    subject, _ = step(subject, GONE, seconds=11)
    assert sights(subject) == (False, True)
    assert sights(resumed(subject)) == (False, False), "it waits for its turn"
    assert sights(step(resumed(subject), GONE, seconds=12)[0]) == (True, False)
