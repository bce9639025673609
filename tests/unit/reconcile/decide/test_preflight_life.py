"""The life of the preflight's own pod, decision by decision."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from gpuquery.api.conditions import is_terminal
from gpuquery.api.labels import LABEL_ATTEMPT, LABEL_PREFLIGHT, PLAN_KEY
from gpuquery.api.reasons import Event, Failure, Policy, Reason
from gpuquery.api.report import Phase, Progress, Report
from gpuquery.api.status import PreflightRun
from gpuquery.kube.progress import Reading
from gpuquery.reconcile.decide.job import Decision
from gpuquery.reconcile.observe.model import Attempt, Observed, QueryText, Refusal, Waiting
from gpuquery.reconcile.policy.actions import DeleteJob
from gpuquery.reconcile.policy.case import LOOK_FOR_PODS
from gpuquery.reconcile.policy.retry import FREE_LIMIT
from gpuquery.reconcile.report.events import notes
from tests.support.kube_objects import (
    CHECKED,
    COMMITTED,
    FOUND,
    NOW,
    at,
    attempt,
    batch,
    check,
    checking,
    condition,
    dropped,
    ended,
    failed_report,
    forgotten,
    job,
    pod,
    running,
    seen,
    started,
    step,
    stopped,
    told,
)

if TYPE_CHECKING:
    from gpuquery.api.types import GpuQueryJob


def asked(**spec: Any) -> GpuQueryJob:
    """A job whose preflight was asked for."""
    return step(job(preflight="always", **spec))[0]


def done(*, seconds: float = 3) -> Observed:
    """A preflight that has passed."""
    return checking(check(ended(0, CHECKED, finished=at(seconds))))


def lost(number: int = 1, seconds: float = 0, failure: Failure = Failure.WORKER_LOST) -> Observed:
    """A preflight that has ended without a word about the query."""
    gone = ended(1, failed_report(failure, "reset by peer"), finished=at(seconds))
    return checking(check(gone, number=number))


def events(before: GpuQueryJob, after: GpuQueryJob) -> list[Event]:
    return [note.event for note in notes(before.status, after.status)]


def labels(decision: Decision, label: str) -> set[str | None]:
    return {o["metadata"]["labels"].get(label) for o in decision.creates if o["kind"] != "NetworkPolicy"}


def test_the_preflight_comes_first_and_is_no_attempt() -> None:
    subject, decision = step(job(preflight="always"))
    assert [o["kind"] for o in decision.creates] == ["NetworkPolicy", "Job", "ConfigMap"]
    assert labels(decision, LABEL_PREFLIGHT) == {"1"} and labels(decision, LABEL_ATTEMPT) == {None}
    assert subject.status.state == "Preflight"
    assert told(subject, "Accepted") == ("True", Reason.RESOLVED)
    assert "cpu" in condition(subject, "Accepted").message, "what is known of the plan is told"
    assert told(subject, "Preflight") == ("Unknown", Reason.CHECKING)
    assert told(subject, "ClusterReady") == ("False", Reason.NOT_STARTED)
    assert subject.status.plan is None, "the plan is told once it is final"
    assert subject.status.attempt is None and subject.status.attempts == ()
    assert subject.status.start_time == at(0)
    assert decision.requeue_after == LOOK_FOR_PODS


def test_why_a_job_has_failed_is_one_word_wherever_it_failed() -> None:
    rejected = step(job(engine="tasks"))[0]
    assert rejected.status.failure == condition(rejected, "Failed").reason == Failure.INVALID_COMBINATION
    refused = step(asked(), checking(check(ended(1, failed_report(Failure.SCHEMA_MISMATCH, "x"), finished=at(0)))))[0]
    assert refused.status.failure == condition(refused, "Failed").reason == Failure.SCHEMA_MISMATCH
    again = step(asked(), lost())[0]
    assert again.status.failure == Failure.WORKER_LOST and told(again, "Failed")[0] == "False", "it runs again"
    assert asked().status.failure is None


def test_it_checks_the_plan_of_the_first_attempt() -> None:
    *_, config_map = step(job(preflight="always"))[1].creates
    plan = json.loads(config_map["data"][PLAN_KEY])
    assert plan["purpose"] == "preflight" and plan["attempt"] == 1


def test_what_it_leaves_is_told_to_every_attempt_and_a_dry_run_leaves_nothing() -> None:
    def planned(decision: Decision) -> Any:
        return next(json.loads(o["data"][PLAN_KEY]) for o in decision.creates if o["kind"] == "ConfigMap")

    checks = planned(step(job(preflight="always"))[1])
    assert checks["leavesInputs"] is True and "inputsDigest" not in checks
    assert "leavesInputs" not in planned(step(job(dryRun=True))[1])
    found = Report(preflight=FOUND.model_copy(update={"inputs_digest": "a1" * 32}))
    subject, decision = step(asked(), checking(check(ended(0, found, finished=at(3)))), seconds=4)
    first = planned(decision)
    assert first["inputsDigest"] == "a1" * 32 and "leavesInputs" not in first
    failed, _ = step(subject, seen(attempt(ended(1, failed_report(Failure.WORKER_LOST)))), seconds=9)
    again = planned(step(failed, seen(Attempt(number=1)), seconds=60)[1])
    assert (again["attempt"], again["inputsDigest"]) == (2, "a1" * 32)
    alone = planned(step(job(preflight="never"))[1])
    assert not {"inputsDigest", "leavesInputs"} & set(alone), "without a preflight the plan is what it was"


def test_a_preflight_on_its_way_or_at_work_changes_nothing() -> None:
    subject = asked()
    for waypoint in (pod(node=None), pod(), pod(phase="Running"), running()):
        after, decision = step(subject, checking(check(waypoint)), seconds=2)
        assert after.status == subject.status and not decision.creates and not dropped(decision)
        assert decision.requeue_after


def test_once_it_has_passed_one_write_tells_the_result_and_the_attempt_is_asked_for() -> None:
    before = asked()
    subject, decision = step(before, done(), seconds=4)
    assert [o["kind"] for o in decision.creates] == ["NetworkPolicy", "Job", "ConfigMap"]
    assert labels(decision, LABEL_ATTEMPT) == {"1"} and dropped(decision) == (1,), "its pod goes at once"
    assert subject.status.preflight == FOUND
    assert told(subject, "Preflight") == ("True", Reason.PASSED)
    assert "12 files, 6,000,000 rows: 893 MB in memory, 1.2 GB at work" in condition(subject, "Preflight").message
    assert subject.status.plan and subject.status.attempt == 1 and subject.status.state == "Starting"
    run = subject.status.preflight_run
    assert run and (run.id, run.ended, run.exit_code, run.node) == (1, at(4), 0, "node-1")
    assert subject.status.start_time == at(0), "the preflight's time counts"
    assert events(before, subject) == [Event.PREFLIGHT_PASSED, Event.PLANNED, Event.ATTEMPT_STARTED]


def test_the_plan_is_made_from_what_was_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from gpuquery.reconcile.policy import case as module

    resolve, sizes = module.resolve, []

    def noted(subject: GpuQueryJob, *args: Any, **how: Any) -> Any:
        sizes.append(subject.status.preflight)
        return resolve(subject, *args, **how)

    monkeypatch.setattr(module, "resolve", noted)
    subject, _ = step(asked(), done(), seconds=4)
    assert set(sizes[-1:]) == {FOUND}
    sizes.clear()
    step(subject, Observed(attempts=(attempt(ended(137)),)), seconds=5)
    again, decision = step(
        step(subject, seen(attempt(ended(137))), seconds=5)[0], seen(attempt(ended(137))), seconds=60
    )
    assert again.status.attempt == 2 and decision.creates
    assert sizes and set(sizes) == {FOUND}, "all attempts are made from the same"


def test_what_passed_is_not_checked_again_whatever_becomes_of_its_job() -> None:
    subject, _ = step(asked(), done(), seconds=4)
    for sight in (checking(), done(), checking(check(batch_job=batch(deleting=True)))):
        observed = Observed(attempts=(attempt(running()),), runs=sight.runs)
        after, decision = step(subject, observed, seconds=6)
        assert not decision.creates and after.status.preflight == FOUND
        assert told(after, "Preflight")[0] == "True"


def test_a_pod_whose_container_has_ended_holds_up_no_attempt() -> None:
    lagging = running(exit=ended(0, CHECKED, finished=at(3)).exit)
    subject, decision = step(asked(), checking(check(lagging)), seconds=3)
    assert subject.status.attempt == 1 and decision.creates


def test_a_finding_fails_the_job_and_no_attempt_was_ever_asked_for() -> None:
    before = asked()
    report = failed_report(Failure.UNSUPPORTED_QUERY, "ewm_mean in SELECT: write it another way")
    subject, decision = step(before, checking(check(ended(1, report, finished=at(3)))), seconds=4)
    assert told(subject, "Failed") == ("True", Failure.UNSUPPORTED_QUERY)
    assert told(subject, "Preflight") == ("False", Failure.UNSUPPORTED_QUERY)
    assert condition(subject, "Preflight").message == condition(subject, "Failed").message == report.message
    assert told(subject, "Accepted")[0] == "True" and subject.status.plan
    assert not decision.creates and not dropped(decision), "its pod stays for kubectl logs"
    assert subject.status.attempt is None and subject.status.completion_time == at(4)
    assert events(before, subject) == [Event.PREFLIGHT_FAILED]


NEVER = [f for f in Failure if f.policy is Policy.NEVER]
AGAIN = [f for f in Failure if f.policy is Policy.BUDGETED]
"""That its node was taken away is not for a pod to say."""


@pytest.mark.parametrize("failure", NEVER)
def test_every_class_that_is_never_retried_ends_the_job_with_itself(failure: Failure) -> None:
    subject, decision = step(asked(), lost(failure=failure), seconds=4)
    assert told(subject, "Failed") == ("True", failure) and not decision.creates


@pytest.mark.parametrize("failure", AGAIN)
def test_every_other_class_is_followed_by_another_run_after_its_pause(failure: Failure) -> None:
    before = asked()
    subject, decision = step(before, lost(failure=failure), seconds=1)
    assert not is_terminal(subject.status.conditions) and not decision.creates
    assert subject.status.state == "Preflight" and told(subject, "Preflight") == ("Unknown", Reason.RETRYING)
    assert events(before, subject) == [Event.PREFLIGHT_FAILED]
    words = condition(subject, "Preflight").message
    assert words.startswith(f"{failure}: ") and "; the preflight runs again at" in words
    again, decision = step(subject, lost(failure=failure), seconds=60)
    assert labels(decision, LABEL_PREFLIGHT) == {"2"} and dropped(decision) == (1,), "nothing stays of the first"
    assert again.status.preflight_run and again.status.preflight_run.id == 2
    assert again.status.attempt is None and (again.status.counted_failures or 0) == 0, "attempts are counted apart"
    assert events(subject, again) == []


def test_a_pause_that_has_not_passed_changes_nothing() -> None:
    subject, _ = step(asked(), lost(), seconds=1)
    after, decision = step(subject, lost(), seconds=2)
    assert after.status == subject.status and not decision.creates and (decision.requeue_after or 0) > 1


def test_the_budget_ends_with_the_last_cause() -> None:
    subject, _ = step(asked(backoffLimit=1), lost(), seconds=1)
    subject, _ = step(subject, lost(), seconds=60)
    before = subject
    subject, decision = step(subject, lost(2, 61), seconds=62)
    assert told(subject, "Failed") == ("True", Failure.BACKOFF_LIMIT_EXCEEDED)
    assert "2 runs of the preflight failed" in condition(subject, "Failed").message
    assert "WorkerLost: reset by peer" in condition(subject, "Failed").message
    assert told(subject, "Preflight") == ("Unknown", Failure.BACKOFF_LIMIT_EXCEEDED), "it was found out about nothing"
    assert events(before, subject) == [Event.FAILED] and not decision.creates


def test_where_no_retry_is_allowed_the_failure_itself_is_the_reason() -> None:
    subject, _ = step(asked(backoffLimit=0), lost(failure=Failure.STORAGE_UNAVAILABLE), seconds=1)
    assert told(subject, "Failed") == ("True", Failure.STORAGE_UNAVAILABLE)


def test_preflights_that_are_taken_away_wait_ever_longer_and_end_like_attempts() -> None:
    run = PreflightRun(id=FREE_LIMIT - 1, started=NOW, ended=NOW, reason="Evicted", message="drained")
    subject = asked()
    subject = subject.model_copy(update={"status": subject.status.model_copy(update={"preflight_run": run})})
    early, decision = step(subject, seconds=60)
    assert not decision.creates and (decision.requeue_after or 0) > 200, "the pause has grown"
    late, decision = step(early, seconds=400)
    assert decision.creates, "another run"
    gone = checking(check(pod(phase="Failed", disruption="DeletionByTaintManager"), number=FREE_LIMIT))
    over, _ = step(late, gone, seconds=401)
    assert told(over, "Failed") == ("True", Failure.EVICTED)
    assert "20 runs of the preflight were taken away" in condition(over, "Failed").message


# What an operator may find when it comes back, or what others may have done to the preflight's objects.


def test_an_operator_that_died_before_its_first_status_write_goes_on_with_the_run() -> None:
    subject, decision = step(job(preflight="always"), checking(check(pod())), seconds=3)
    assert not decision.creates and subject.status.state == "Preflight"
    run = subject.status.preflight_run
    assert run and run.id == 1 and run.started == at(3), "from when this operator saw it"
    assert subject.status.start_time == at(3) and run.query_digest


def test_an_operator_that_died_before_it_told_the_result_asks_for_one_attempt_only() -> None:
    observed = Observed(attempts=(attempt(pod()),), runs=done().runs)
    for subject in (asked(), job(preflight="always")):
        after, decision = step(subject, observed, seconds=5)
        assert not decision.creates and dropped(decision) == (1,)
        assert after.status.preflight == FOUND and after.status.attempt == 1 and after.status.plan


def test_a_report_goes_with_its_pod_only_once_it_is_written_down() -> None:
    settling = running(exit=ended(0, COMMITTED, finished=at(5)).exit)
    observed = Observed(attempts=(attempt(settling),), runs=done().runs)
    after, decision = step(asked(), observed, seconds=5)
    assert decision.status is None and not dropped(decision), "nothing is written, so nothing is deleted"
    assert after.status.preflight is None


def test_a_report_is_written_down_before_a_pod_that_does_not_go_is_taken_away() -> None:
    stays = running(exit=ended(0, CHECKED, finished=at(5)).exit)
    subject = asked(dryRun=True)
    waiting, soon = step(subject, checking(check(stays)), seconds=6)
    assert not dropped(soon) and waiting.status.preflight is None, "its phase follows by itself"
    after, decision = step(subject, checking(check(stays)), seconds=60)
    assert dropped(decision) == (1,) and after.status.preflight == FOUND
    assert not is_terminal(after.status.conditions), "its pod is alive"


def test_the_pod_of_a_finding_is_given_time_to_end_so_that_its_log_stays() -> None:
    report = ended(1, failed_report(Failure.SCHEMA_MISMATCH), finished=at(5)).exit
    subject = asked()
    after, decision = step(subject, checking(check(running(exit=report))), seconds=6)
    assert not dropped(decision) and decision.status is None and after == subject
    assert dropped(step(subject, checking(check(running(exit=report))), seconds=60)[1]) == (1,)


def test_no_run_begins_after_the_deadline_of_the_job() -> None:
    subject = step(asked(activeDeadlineSeconds=20), lost(), seconds=1)[0]
    assert not is_terminal(subject.status.conditions), "another run is to come"
    after, decision = step(subject, lost(), seconds=30)
    assert not decision.creates and told(after, "Failed") == ("True", Failure.DEADLINE_EXCEEDED)


def test_a_second_operator_that_missed_the_status_of_the_second_run_goes_on_with_it() -> None:
    subject, _ = step(asked(), lost(), seconds=1)
    both = checking(*lost().runs, check(pod(), number=2))
    after, decision = step(subject, both, seconds=60)
    run = after.status.preflight_run
    assert run and (run.id, run.counted_failures) == (2, 1) and not decision.creates
    assert run.query_digest == (subject.status.preflight_run and subject.status.preflight_run.query_digest)


def test_a_job_that_someone_deleted_is_another_run_within_the_budget() -> None:
    subject, decision = step(asked(), checking(), seconds=2)
    assert not decision.creates and told(subject, "Preflight") == ("Unknown", Reason.RETRYING)
    assert "the preflight's Job was deleted by someone else" in condition(subject, "Preflight").message
    subject, decision = step(subject, checking(), seconds=60)
    assert labels(decision, LABEL_PREFLIGHT) == {"2"}


def test_a_report_that_went_with_its_pod_is_another_run_without_budget() -> None:
    gone = checking(check(batch_job=batch(finished="Complete")))
    subject, _ = step(asked(backoffLimit=0), gone, seconds=2)
    assert subject.status.preflight_run and subject.status.preflight_run.counted_failures == 0
    assert step(subject, gone, seconds=9)[1].creates


def test_an_exit_without_a_report_is_no_success() -> None:
    subject, _ = step(asked(backoffLimit=0), checking(check(ended(0))), seconds=2)
    assert told(subject, "Failed") == ("True", Failure.INTERNAL_ERROR)


def test_a_config_map_that_someone_deleted_is_made_again_while_the_pod_waits_for_it() -> None:
    sight = checking(check(pod(), absent=frozenset({"ConfigMap"})))
    (made,) = step(asked(), sight, seconds=9)[1].creates
    assert made["kind"] == "ConfigMap" and made["metadata"]["name"] == "revenue-0a1b2-p1"


def test_a_query_that_changed_after_it_was_checked_is_not_run() -> None:
    ref = {"configMapKeyRef": {"name": "queries", "key": "q.sql"}}
    subject, _ = step(job(query=ref, preflight="always"), seen(query=QueryText(text="SELECT 1")))
    changed = Observed(runs=done().runs, query=QueryText(text="SELECT 2"))
    subject, decision = step(subject, changed, seconds=5)
    assert told(subject, "Failed") == ("True", Failure.INVALID_QUERY) and not decision.creates
    assert "was changed" in condition(subject, "Failed").message


def test_a_straggler_is_waited_for_before_another_run() -> None:
    subject, _ = step(asked(), checking(), seconds=1)
    late = checking(check(running(), batch_job=None))
    after, decision = step(subject, late, seconds=60)
    assert after.status == subject.status and not decision.creates and decision.requeue_after == LOOK_FOR_PODS


def test_no_attempt_is_asked_for_beside_a_preflight_at_work() -> None:
    subject, _ = step(asked(), lost(), seconds=1)
    subject, _ = step(subject, lost(), seconds=60)
    both = checking(check(running(), number=1), check(ended(0, CHECKED, finished=at(61)), number=2))
    _, decision = step(subject, both, seconds=62)
    assert not decision.creates and decision.requeue_after


def test_a_run_that_was_given_up_for_lost_has_no_say_any_more() -> None:
    subject, _ = step(asked(), checking(), seconds=1)
    subject, _ = step(subject, checking(), seconds=60)
    assert subject.status.preflight_run and subject.status.preflight_run.id == 2
    after, decision = step(subject, done(), seconds=61)
    assert after.status.preflight is None and after.status.attempt is None and not decision.creates


def test_a_job_does_not_end_while_a_straggler_of_its_preflight_lives() -> None:
    subject, _ = step(asked(), done(), seconds=4)
    straggler = check(running())
    complete = Observed(attempts=(attempt(ended(0, COMMITTED)),), runs=(straggler,))
    after, decision = step(subject, complete, seconds=9)
    assert not is_terminal(after.status.conditions) and dropped(decision) == (1,) and decision.requeue_after
    after, _ = step(subject, Observed(attempts=complete.attempts), seconds=10)
    assert is_terminal(after.status.conditions)


# Deadlines.

NO_NODE = "0/1 nodes are available: Insufficient cpu"


def test_an_image_that_cannot_be_pulled_is_waited_for_until_the_start_deadline() -> None:
    waiting = Waiting(reason="ErrImagePull", message="no-such-image: not found")
    subject, decision = step(asked(startDeadlineSeconds=15), checking(check(pod(waiting=waiting))), seconds=1)
    assert told(subject, "Preflight") == ("Unknown", Reason.IMAGE_PULL_FAILED) and not dropped(decision)
    vague = Waiting(reason="ImagePullBackOff", message="Back-off")
    after, _ = step(subject, checking(check(pod(waiting=vague))), seconds=5)
    assert after.status == subject.status, "a kubelet that backs off does not hide the cause"
    subject, _ = step(subject, checking(check(pod(waiting=vague))), seconds=15)
    subject, _ = step(subject, checking(), seconds=16)
    assert told(subject, "Failed") == ("True", Failure.START_DEADLINE_EXCEEDED)


def test_the_start_deadline_is_over_once_the_pod_has_started() -> None:
    subject, decision = step(asked(startDeadlineSeconds=15), checking(check(running())), seconds=100)
    assert not dropped(decision) and not is_terminal(subject.status.conditions) and decision.requeue_after


def test_each_attempt_has_its_whole_start_deadline_after_a_long_preflight() -> None:
    full = Refusal(reason=Reason.QUOTA_EXCEEDED, message="exceeded quota: gpus")
    subject = asked(startDeadlineSeconds=15)
    refused = Observed(runs=done(seconds=60).runs, refusal=full)
    subject, _ = step(subject, refused, seconds=61)
    assert told(subject, "ClusterReady") == ("False", Reason.QUOTA_EXCEEDED), "not StartDeadlineExceeded"
    assert subject.status.preflight == FOUND and subject.status.attempt is None
    late, _ = step(subject, refused, seconds=76)
    assert told(late, "Failed") == ("True", Failure.START_DEADLINE_EXCEEDED)


def test_a_report_that_comes_after_the_deadline_starts_no_attempt() -> None:
    subject, _ = step(asked(activeDeadlineSeconds=8), checking(check(running())), seconds=8)
    after, decision = step(subject, checking(check(ended(0, CHECKED, finished=at(9)), batch_job=None)), seconds=9)
    assert told(after, "Failed") == ("True", Failure.DEADLINE_EXCEEDED) and not decision.creates


# What the API server refuses.


def test_a_preflight_that_outgrows_its_memory_says_whose_limit_it_is() -> None:
    killed = ended(137, exit_reason="OOMKilled", memory_limit="2Gi")
    subject, _ = step(asked(backoffLimit=0), checking(check(killed)), seconds=1)
    words = condition(subject, "Failed").message
    assert told(subject, "Failed") == ("True", Failure.HOST_OUT_OF_MEMORY)
    assert "2Gi" in words and "preflight: never" in words and "workers.resources" not in words


# A dry run.


def test_a_dry_run_ends_with_its_preflight() -> None:
    before = step(job(dryRun=True))[0]
    assert before.status.state == "Preflight", "a dry run always has a pod of its own"
    subject, decision = step(before, done(), seconds=4)
    assert told(subject, "Complete") == ("True", Reason.DRY_RUN)
    words = condition(subject, "Complete").message
    assert "cpu x single" in words and "893 MB in memory" in words, "the plan and the sizes"
    assert told(subject, "OutputCommitted") == ("False", Reason.NOT_COMMITTED)
    assert told(subject, "Failed") == ("False", Reason.COMPLETED)
    assert told(subject, "ClusterReady") == ("False", Reason.ENDED)
    assert subject.status.state == "Complete" and subject.status.completion_time == at(4)
    assert subject.status.plan and subject.status.output is None and subject.status.attempt is None
    assert not decision.creates and not dropped(decision), "its pod stays for kubectl logs"
    assert events(before, subject) == [Event.PREFLIGHT_PASSED, Event.PLANNED, Event.COMPLETE]


def test_a_dry_run_is_not_complete_while_its_pod_lives() -> None:
    lagging = running(exit=ended(0, CHECKED, finished=at(3)).exit)
    early, decision = step(step(job(dryRun=True))[0], checking(check(lagging)), seconds=3)
    assert not is_terminal(early.status.conditions) and decision.requeue_after and not dropped(decision)
    late, decision = step(early, checking(check(lagging)), seconds=60)
    assert not is_terminal(late.status.conditions) and not decision.creates


def test_a_dry_run_with_a_finding_fails_like_any_other() -> None:
    subject, _ = step(step(job(dryRun=True))[0], lost(failure=Failure.STORAGE_AUTH), seconds=4)
    assert told(subject, "Failed") == ("True", Failure.STORAGE_AUTH)
    assert told(subject, "Complete")[0] == "False"


def test_deadlines_and_ttl_work_for_a_dry_run() -> None:
    subject = step(job(dryRun=True, activeDeadlineSeconds=8, ttlSecondsAfterFinished=60))[0]
    assert dropped(step(subject, checking(check(running())), seconds=8)[1]) == (1,)
    complete, _ = step(subject, done(), seconds=4)
    assert step(complete, seconds=5)[1] == Decision(requeue_after=59)
    assert step(complete, seconds=64)[1].actions == (DeleteJob(),)


# Where the query's own pod does it, or nobody.


def under_way(**spec: Any) -> GpuQueryJob:
    """A job whose query has started, as its own pod tells."""
    reading = Reading(at=at(1), progress=Progress(phase=Phase.RUNNING))
    return step(started(**spec), seen(attempt(running()), reading=reading), seconds=1)[0]


def test_a_small_jobs_own_pod_checks_and_tells_when_it_has_passed() -> None:
    subject = started()
    assert told(subject, "Preflight") == ("Unknown", Reason.IN_POD)
    planning = Reading(at=at(1), progress=Progress(phase=Phase.PLANNING))
    early, _ = step(subject, seen(attempt(running()), reading=planning), seconds=1)
    assert told(early, "Preflight") == ("Unknown", Reason.IN_POD)
    assert told(under_way(), "Preflight") == ("True", Reason.PASSED)
    lost_again, _ = step(under_way(), seen(attempt(ended(137))), seconds=3)
    assert told(lost_again, "Preflight") == ("True", Reason.PASSED), "never taken back"


def test_what_the_querys_own_pod_found_out_stands_in_the_status() -> None:
    both = COMMITTED.model_copy(update={"preflight": FOUND})
    subject, _ = step(under_way(), seen(attempt(ended(0, both))), seconds=9)
    assert subject.status.preflight == FOUND and told(subject, "Preflight") == ("True", Reason.PASSED)
    assert "893 MB" in condition(subject, "Preflight").message
    checked_before, _ = step(asked(), done(), seconds=4)
    other = COMMITTED.model_copy(update={"preflight": FOUND.model_copy(update={"files": 13})})
    subject, _ = step(checked_before, seen(attempt(ended(0, other))), seconds=9)
    assert subject.status.preflight == FOUND, "what the plan was made from stays"


@pytest.mark.parametrize(
    ("report", "want"),
    [
        pytest.param(
            failed_report(Failure.SCHEMA_MISMATCH), ("False", Failure.SCHEMA_MISMATCH), id="before the engine"
        ),
        pytest.param(
            failed_report(Failure.USER_ERROR).model_copy(update={"query_started": at(1)}),
            ("Unknown", Reason.IN_POD),
            id="a query that fails in its engine was no finding",
        ),
    ],
)
def test_a_finding_of_the_querys_own_pod_is_told_too(report: Any, want: tuple[str, str]) -> None:
    subject, _ = step(started(), seen(attempt(ended(1, report))), seconds=2)
    assert told(subject, "Preflight") == want and told(subject, "Failed") == ("True", report.failure)


def test_who_never_wants_a_preflight_is_not_told_that_it_passed() -> None:
    subject = started(preflight="never")
    assert told(subject, "Preflight") == ("Unknown", Reason.SKIPPED) and subject.status.attempt == 1
    subject, _ = step(subject, seen(attempt(ended(0, COMMITTED))), seconds=9)
    assert told(subject, "Complete")[0] == "True" and told(subject, "Preflight") == ("Unknown", Reason.SKIPPED)


def test_a_job_that_was_refused_was_not_checked() -> None:
    subject, _ = step(job(inputs=[{"name": "t", "uri": "file:///data/t.parquet"}]))
    assert told(subject, "Preflight") == ("Unknown", Reason.NOT_STARTED)


SIGHTS: list[tuple[str, GpuQueryJob, Observed]] = [
    ("asked for", asked(), checking(check(pod()))),
    ("at work", asked(), checking(check(running()))),
    ("between two runs", step(asked(), lost(), seconds=1)[0], lost()),
    ("passed", step(asked(), done(), seconds=4)[0], seen(attempt(pod()))),
    ("failed", step(asked(), lost(failure=Failure.INVALID_INPUT), seconds=4)[0], checking()),
    ("dry", step(step(job(dryRun=True))[0], done(), seconds=4)[0], done()),
]


@pytest.mark.parametrize(("subject", "sight"), [pytest.param(s, o, id=name) for name, s, o in SIGHTS])
def test_deciding_twice_on_the_same_sight_changes_nothing(subject: GpuQueryJob, sight: Observed) -> None:
    after, decision = step(subject, sight, seconds=4)
    assert after.status == subject.status
    assert not decision.creates and not forgotten(decision) and not dropped(decision) and not stopped(decision)


def test_a_disruption_is_waited_out_and_spends_no_budget() -> None:
    taken = checking(check(running(disruption="EvictionByEvictionAPI: drained")))
    subject, decision = step(asked(backoffLimit=0), taken, seconds=2)
    assert not dropped(decision), "Kubernetes takes the pod away itself"
    assert subject.status.preflight_run and subject.status.preflight_run.reason == "Evicted", "the cause is kept"
    subject, _ = step(subject, checking(check(batch_job=batch(finished="Failed"))), seconds=20)
    run = subject.status.preflight_run
    assert run and run.ended == at(20) and run.counted_failures == 0
    assert step(subject, checking(), seconds=27)[1].creates
