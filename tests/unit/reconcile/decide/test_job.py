"""The life of a job, decision by decision."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from gpuquery.api.labels import LABEL_ATTEMPT, PLAN_KEY
from gpuquery.api.reasons import Failure, Reason
from gpuquery.api.report import Phase, Progress, Report
from gpuquery.api.status import InputStatus
from gpuquery.kube.progress import Reading
from gpuquery.reconcile.decide.job import Decision
from gpuquery.reconcile.observe.model import Exit, Observed, QueryText, Refusal, Waiting
from gpuquery.reconcile.policy.actions import DeleteJob
from gpuquery.reconcile.policy.case import LOOK_FOR_PODS, LOOK_WHILE_RUNNING
from gpuquery.reconcile.progress import WANTED_SECONDS
from tests.support.kube_objects import (
    COMMITTED,
    FOUND,
    OUTPUT,
    at,
    attempt,
    batch,
    check,
    checking,
    condition,
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


def reading(phase: Phase = Phase.RUNNING, *, seconds: float = 1, **counts: Any) -> Reading:
    return Reading(at=at(seconds), progress=Progress(phase=phase, **counts))


def kinds(decision: Decision) -> list[str]:
    return [o["kind"] for o in decision.creates]


def under_way(**spec: Any) -> GpuQueryJob:
    """A job whose query runs."""
    return step(started(**spec), seen(attempt(running()), reading=reading()), seconds=1)[0]


def test_a_new_job_gets_its_three_objects_and_one_status() -> None:
    subject, decision = step(job())
    assert kinds(decision) == ["NetworkPolicy", "Job", "ConfigMap"]
    assert subject.status.state == "Starting"
    assert subject.status.plan and subject.status.plan.image == "runtime:test"
    assert told(subject, "Accepted") == ("True", Reason.RESOLVED)
    assert told(subject, "ClusterReady") == ("False", Reason.STARTING)
    assert decision.requeue_after == LOOK_FOR_PODS


def test_a_pod_that_is_ready_makes_one_change_with_progress_in_it() -> None:
    subject = under_way()
    assert subject.status.state == "Running"
    assert told(subject, "ClusterReady") == ("True", Reason.POD_READY)
    assert told(subject, "Running") == ("True", Reason.QUERY_RUNNING)
    assert subject.status.attempts[0].node == "node-1"


def test_a_job_that_merely_runs_is_looked_at_again_before_its_progress_is_forgotten_and_no_sooner() -> None:
    _, decision = step(under_way(), seen(attempt(running()), reading=reading()), seconds=5)
    assert decision.requeue_after == LOOK_WHILE_RUNNING
    assert LOOK_WHILE_RUNNING < WANTED_SECONDS / 2


def test_a_pod_on_its_way_changes_nothing() -> None:
    subject = started()
    for waypoint in (pod(node=None), pod(), pod(phase="Running")):
        after, _ = step(subject, seen(attempt(waypoint)), seconds=2)
        assert after.status == subject.status


def test_a_committed_report_completes_the_job_once_the_pod_has_ended() -> None:
    subject, decision = step(under_way(), seen(attempt(ended(0, COMMITTED, finished=at(9)))), seconds=10)
    assert told(subject, "Complete") == ("True", Reason.COMPLETED)
    assert told(subject, "OutputCommitted") == ("True", Reason.COMMITTED)
    assert told(subject, "Failed")[0] == "False"
    assert subject.status.output == OUTPUT and subject.status.completion_time == at(10)
    assert subject.status.attempts[0].ended == at(10), "when it was seen, whatever the node's clock says"
    assert not forgotten(decision) and not stopped(decision), "the last attempt stays for kubectl logs"


def test_a_complete_jobs_progress_counts_what_was_committed_not_what_was_read_last() -> None:
    subject, _ = step(under_way(), seen(attempt(ended(0, COMMITTED, finished=at(9)))), seconds=10)
    progress = subject.status.progress
    assert progress and (progress.phase, progress.percent) == (Phase.DONE, 100)
    assert (progress.files, progress.rows, progress.bytes) == (OUTPUT.files, OUTPUT.rows, OUTPUT.bytes)


def test_a_job_is_not_complete_while_its_pod_lives_whatever_the_report_says() -> None:
    lingering = running(exit=ended(0, COMMITTED).exit)
    early, decision = step(under_way(), seen(attempt(lingering)), seconds=1)
    assert decision.status is None and decision.requeue_after, "the phase follows in a moment"
    subject, decision = step(early, seen(attempt(lingering)), seconds=30)
    assert told(subject, "Complete") == ("False", Reason.RELEASING)
    assert told(subject, "OutputCommitted")[0] == "True"
    assert subject.status.state == "Finishing"
    assert not stopped(decision), "with the Job the report would go"


def test_a_wrong_query_fails_at_once_with_the_runners_words() -> None:
    report = failed_report(Failure.INVALID_QUERY, "line 1: no table t")
    subject, decision = step(under_way(), seen(attempt(ended(1, report))), seconds=5)
    assert told(subject, "Failed") == ("True", Failure.INVALID_QUERY)
    assert condition(subject, "Failed").message == "line 1: no table t"
    assert subject.status.state == "Failed" and not decision.creates


def lost(number: int, seconds: float = 0) -> Observed:
    gone = ended(137, finished=at(seconds))
    return seen(attempt(gone, number=number, batch_job=batch(name=f"revenue-0a1b2-{number}")))


def test_a_lost_worker_is_followed_by_a_second_attempt_after_its_pause() -> None:
    subject, decision = step(under_way(), lost(1), seconds=10)
    assert subject.status.state == "Retrying" and not decision.creates
    assert told(subject, "ClusterReady") == ("False", Reason.RETRYING)
    assert "WorkerLost" in condition(subject, "Failed").message
    early, decision = step(subject, lost(1), seconds=2)
    assert early.status == subject.status and not decision.creates and (decision.requeue_after or 0) > 1
    again, decision = step(subject, lost(1), seconds=30)
    assert kinds(decision) == ["NetworkPolicy", "Job", "ConfigMap"]
    assert {o["metadata"]["labels"][LABEL_ATTEMPT] for o in decision.creates if o["kind"] != "NetworkPolicy"} == {"2"}
    assert forgotten(decision) == (1,), "what is left of the first attempt goes"
    assert again.status.attempt == 2 and again.status.state == "Starting"
    assert [a.reason for a in again.status.attempts] == ["WorkerLost", None]


TABLES = [{"name": name, "uri": f"s3://lake/{name}", "delta": {}} for name in "tu"]


@pytest.mark.parametrize("by", ["preflight", "attempt", "progress"])
def test_an_attempt_reads_the_snapshot_that_was_chosen_before_it(by: str) -> None:
    read = (InputStatus(name="t", files=2, bytes=9, digest="ab", snapshot="delta:7@3"), InputStatus(name="u", files=1))
    if by == "preflight":
        asked = step(job(preflight="always", inputs=TABLES))[0]
        before, given = asked, checking(check(ended(0, Report(preflight=FOUND, inputs=read))))
    elif by == "attempt":
        report = failed_report(Failure.STORAGE_UNAVAILABLE).model_copy(update={"inputs": read})
        before, given = step(under_way(inputs=TABLES), seen(attempt(ended(1, report))), seconds=10)[0], lost(1)
    else:  # the node dies with its pod, and nothing is left that could report
        run = seen(attempt(running()), reading=reading(seconds=5, inputs=read))
        before, given = step(under_way(inputs=TABLES), run, seconds=5)[0], lost(1)
        before = step(before, given, seconds=10)[0]
    after, decision = step(before, given, seconds=60)
    (plan,) = [json.loads(o["data"][PLAN_KEY]) for o in decision.creates if o["kind"] == "ConfigMap"]
    assert plan["snapshots"] == {"t": "delta:7@3"}
    assert after.status.inputs == read


def test_an_attempt_that_says_nothing_of_its_inputs_leaves_what_is_known() -> None:
    read = (InputStatus(name="t", files=2, bytes=9, digest="ab"),)
    subject = under_way(inputs=TABLES)
    known = subject.model_copy(update={"status": subject.status.model_copy(update={"inputs": read})})
    assert step(known, lost(1), seconds=10)[0].status.inputs == read
    done = (InputStatus(name="t", files=3, bytes=10, digest="cd"),)
    ending = ended(0, COMMITTED.model_copy(update={"inputs": done}), finished=at(9))
    assert step(known, seen(attempt(ending)), seconds=10)[0].status.inputs == done


def test_what_a_pod_claims_to_read_is_kept_for_inputs_of_the_job_alone_and_each_once() -> None:
    forged = [InputStatus(name=name, snapshot=pin) for name, pin in (("x", "a"), ("u", "b"), ("u", "c"))]
    run = seen(attempt(running()), reading=reading(seconds=5, inputs=forged))
    subject = step(under_way(inputs=TABLES), run, seconds=5)[0]
    assert subject.status.inputs == (InputStatus(name="u", snapshot="c"),)
    report = failed_report(Failure.WORKER_LOST).model_copy(update={"inputs": (InputStatus(name="t", snapshot="d"),)})
    after = step(subject, seen(attempt(ended(1, report))), seconds=10)[0]
    assert after.status.inputs == (InputStatus(name="t", snapshot="d"), InputStatus(name="u", snapshot="c"))


def test_a_second_attempt_waits_until_the_first_ones_pods_are_gone() -> None:
    evicted = running(disruption="EvictionByEvictionAPI: drained")
    subject, decision = step(under_way(), seen(attempt(evicted)), seconds=5)
    assert subject.status.attempts[0].reason == "Evicted", "the cause is kept: the pod may be gone when we look again"
    assert told(subject, "Failed") == ("False", Reason.RELEASING)
    assert not decision.creates and not stopped(decision)
    subject, _ = step(subject, seen(attempt(batch_job=batch(finished="Failed"))), seconds=20)
    assert subject.status.attempts[0].ended == at(20)
    early, decision = step(subject, seen(), seconds=22)
    assert early.status == subject.status and not decision.creates, "a node that was taken is not asked again at once"
    subject, decision = step(subject, seen(), seconds=27)
    assert subject.status.attempt == 2 and kinds(decision) == ["NetworkPolicy", "Job", "ConfigMap"]
    assert (subject.status.counted_failures or 0) == 0


def test_the_budget_ends_with_the_count_and_the_last_cause() -> None:
    subject = started(backoffLimit=1)
    subject, _ = step(subject, lost(1), seconds=1)
    subject, _ = step(subject, lost(1), seconds=60)
    subject, _ = step(subject, lost(2, 61), seconds=62)
    assert told(subject, "Failed") == ("True", Failure.BACKOFF_LIMIT_EXCEEDED)
    assert "2 attempts failed" in condition(subject, "Failed").message
    assert "WorkerLost" in condition(subject, "Failed").message


def test_the_budget_is_counted_beyond_the_ten_attempts_that_are_shown() -> None:
    subject, now = started(backoffLimit=14), 1.0
    for number in range(1, 16):
        subject, _ = step(subject, lost(number, now), seconds=now + 1)
        now += 1000
        if number < 15:
            subject, decision = step(subject, lost(number, now), seconds=now)
            assert decision.creates, f"attempt {number + 1} is made"
    assert told(subject, "Failed") == ("True", Failure.BACKOFF_LIMIT_EXCEEDED)
    assert len(subject.status.attempts) == 10 and subject.status.attempt == 15


def test_a_kubelet_that_backs_off_does_not_hide_the_cause_it_gave_before() -> None:
    first = Waiting(reason="ErrImagePull", message="no-such-image: not found")
    then = Waiting(reason="ImagePullBackOff", message="Back-off pulling image")
    subject, _ = step(started(), seen(attempt(pod(waiting=first))), seconds=1)
    after, _ = step(subject, seen(attempt(pod(waiting=then))), seconds=2)
    assert after.status == subject.status


def test_a_commit_in_the_last_moment_wins_over_the_deadline() -> None:
    subject, _ = step(under_way(activeDeadlineSeconds=8), seen(attempt(running())), seconds=8)
    subject, _ = step(subject, seen(attempt(ended(0, COMMITTED), batch_job=None)), seconds=9)
    assert told(subject, "Complete")[0] == "True" and subject.status.attempts[0].reason is None


def test_progress_that_cannot_be_read_changes_only_running() -> None:
    subject = under_way()
    unread = seen(attempt(running()), reading=Reading(at=at(9), error="TimeoutError"))
    after, _ = step(subject, unread, seconds=9)
    assert told(after, "Running") == ("Unknown", Reason.PROGRESS_UNREADABLE)
    assert told(after, "ClusterReady") == told(subject, "ClusterReady")
    assert after.status.progress == subject.status.progress and after.status.state == "Running"
    again, _ = step(after, seen(attempt(running()), reading=reading(seconds=15)), seconds=15)
    assert told(again, "Running") == ("True", Reason.QUERY_RUNNING)


@pytest.mark.parametrize(
    ("seconds", "rows", "written"),
    [
        pytest.param(3, 50, False, id="not within five seconds of the last write"),
        pytest.param(6, 50, True, id="after five seconds"),
        pytest.param(60, 0, False, id="not if nothing moved"),
    ],
)
def test_progress_is_written_at_most_every_five_seconds(seconds: int, rows: int, written: bool) -> None:
    subject = under_way()
    moved = seen(attempt(running()), reading=reading(seconds=1 + seconds, rows=rows))
    after, _ = step(subject, moved, seconds=1 + seconds)
    assert (after.status != subject.status) is written


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        pytest.param(20, False, id="not within half a minute: many jobs have one"),
        pytest.param(31, True, id="after half a minute: a job that is slow is told from one that hangs"),
    ],
)
def test_a_sign_of_life_alone_is_written_every_half_minute(seconds: int, written: bool) -> None:
    subject = under_way()
    alive = reading(seconds=1 + seconds, cpu_seconds=seconds, read_bytes=seconds * 1000)
    after, _ = step(subject, seen(attempt(running()), reading=alive), seconds=1 + seconds)
    assert (after.status != subject.status) is written
    if written:
        progress = after.status.progress
        assert progress and (progress.cpu_seconds, progress.read_bytes) == (seconds, seconds * 1000)
        assert progress.updated_at == at(1 + seconds)


def test_a_warning_is_told_when_it_is_known_and_once() -> None:
    warned = reading(seconds=8, warnings=("a decimal loses digits",))
    subject, _ = step(under_way(), seen(attempt(running()), reading=warned), seconds=8)
    assert subject.status.warnings == ("a decimal loses digits",) and subject.status.state == "Running"
    again, _ = step(subject, seen(attempt(running()), reading=reading(seconds=20)), seconds=20)
    assert again.status.warnings == subject.status.warnings


def test_that_a_pod_publishes_is_a_hint_until_its_report_says_so() -> None:
    subject, _ = step(under_way(), seen(attempt(running()), reading=reading(Phase.PUBLISHING, seconds=8)), seconds=8)
    assert told(subject, "OutputCommitted") == ("Unknown", Reason.UNCONFIRMED)
    assert subject.status.state == "Finishing"
    lost_one, _ = step(subject, lost(1), seconds=10)
    assert told(lost_one, "OutputCommitted")[0] == "Unknown", "the next attempt finds out"
    confirmed, _ = step(subject, seen(attempt(ended(0, COMMITTED))), seconds=10)
    assert told(confirmed, "OutputCommitted") == ("True", Reason.COMMITTED)


def test_a_hint_of_a_commit_is_taken_back_where_the_report_denies_it() -> None:
    subject, _ = step(under_way(), seen(attempt(running()), reading=reading(Phase.PUBLISHING, seconds=8)), seconds=8)
    subject, _ = step(subject, seen(attempt(ended(1, failed_report(Failure.USER_ERROR)))), seconds=10)
    assert told(subject, "Failed") == ("True", Failure.USER_ERROR)
    assert told(subject, "OutputCommitted") == ("False", Reason.NOT_COMMITTED)


def test_checks_that_progress_calls_passed_are_not_where_the_report_denies_it() -> None:
    subject = under_way()
    assert told(subject, "Preflight")[0] == "True"
    subject, _ = step(subject, seen(attempt(ended(1, failed_report(Failure.INVALID_QUERY)))), seconds=10)
    assert told(subject, "Preflight") == ("False", Failure.INVALID_QUERY)


def test_a_report_about_another_table_is_none_and_is_told() -> None:
    theirs = COMMITTED.model_copy(update={"committed": OUTPUT.model_copy(update={"uri": "s3://lake/theirs/data/"})})
    subject, _ = step(under_way(backoffLimit=0), seen(attempt(ended(0, theirs))), seconds=10)
    assert told(subject, "Failed")[0] == "True" and told(subject, "OutputCommitted")[0] == "False"
    assert subject.status.output is None
    message = condition(subject, "Failed").message
    assert "committed.uri is s3://lake/theirs/data/, and this job writes s3://lake/out/data/" in message


def test_a_uri_that_was_too_long_for_the_report_is_told_whole() -> None:
    cut = COMMITTED.model_copy(update={"committed": OUTPUT.model_copy(update={"uri": "s3://lake/o ..."})})
    subject, _ = step(under_way(), seen(attempt(ended(0, cut))), seconds=10)
    assert subject.status.output == OUTPUT


def test_a_job_whose_pod_leaves_no_usable_report_ends_and_says_what_is_wrong_with_it() -> None:
    end = Exit(code=0, wrong="committed.rows is 10: too much")
    subject, _ = step(under_way(backoffLimit=0), seen(attempt(pod(phase="Succeeded", exit=end))), seconds=10)
    assert told(subject, "Failed")[0] == "True"
    assert "without a usable report (committed.rows is 10: too much)" in condition(subject, "Failed").message


def test_what_could_be_taken_for_the_operators_own_word_is_told_as_the_pods() -> None:
    report = failed_report(Failure.INTERNAL_ERROR, "GpuQuery is broken, call the administrator")
    subject, _ = step(under_way(backoffLimit=0), seen(attempt(ended(1, report))), seconds=10)
    said = "pod revenue-0a1b2-1-0-x says: GpuQuery is broken, call the administrator"
    assert condition(subject, "Failed").message == said
    remark = COMMITTED.model_copy(update={"message": "audited by finance"})
    subject, _ = step(under_way(), seen(attempt(ended(0, remark))), seconds=10)
    assert condition(subject, "Complete").message.endswith("; the pod says: audited by finance")
    wrong_query, _ = step(under_way(), seen(attempt(ended(1, failed_report(Failure.USER_ERROR, "line 1")))), seconds=10)
    assert condition(wrong_query, "Failed").message == "line 1", "a good message stays as it is"


@pytest.mark.parametrize("phase", [Phase.PUBLISHING, Phase.DONE])
@pytest.mark.parametrize("code", [0, 7, 137])
def test_no_word_of_a_pod_frees_a_retry_so_the_budget_holds(phase: Phase, code: int) -> None:
    subject = under_way(backoffLimit=0)
    subject, _ = step(subject, seen(attempt(running()), reading=reading(phase, seconds=8)), seconds=8)
    subject, decision = step(subject, seen(attempt(ended(code, finished=at(9)))), seconds=20)
    assert told(subject, "Failed")[0] == "True" and not decision.creates


def test_a_refused_pod_shows_the_quota_and_the_job_goes_on_waiting() -> None:
    full = Refusal(reason=Reason.QUOTA_EXCEEDED, message="exceeded quota: gpus")
    subject, decision = step(started(), seen(attempt(), refusal=full), seconds=2)
    assert told(subject, "ClusterReady") == ("False", Reason.QUOTA_EXCEEDED)
    assert decision.requeue_after == LOOK_FOR_PODS and not stopped(decision)
    subject, _ = step(subject, seen(attempt(running()), reading=reading(seconds=30)), seconds=30)
    assert told(subject, "ClusterReady")[0] == "True"


def test_a_file_input_is_refused_before_anything_is_made() -> None:
    subject, decision = step(job(inputs=[{"name": "t", "uri": "file:///data/t.parquet"}]))
    assert not decision.creates and subject.status.state == "Failed"
    assert told(subject, "Accepted") == ("False", Failure.INVALID_INPUT)
    assert told(subject, "Failed") == ("True", Failure.INVALID_INPUT)
    assert "gpuquery run" in condition(subject, "Failed").message


REF = {"configMapKeyRef": {"name": "queries", "key": "q.sql"}}


def test_a_missing_config_map_is_waited_for_until_the_start_deadline() -> None:
    missing = seen(query=QueryText(missing="namespace 'marts' has no ConfigMap 'queries'"))
    subject, decision = step(job(query=REF, startDeadlineSeconds=30), missing)
    assert told(subject, "Accepted") == ("False", Reason.PENDING) and decision.requeue_after == 5
    assert told(subject, "Failed")[0] == "False"
    there, decision = step(subject, seen(query=QueryText(text="SELECT 1")), seconds=5)
    assert decision.creates and told(there, "Accepted")[0] == "True"
    late, _ = step(subject, missing, seconds=30)
    assert told(late, "Failed") == ("True", Failure.INVALID_QUERY)
    assert "queries" in condition(late, "Failed").message


def test_a_config_map_that_changed_between_attempts_fails_the_job_truthfully() -> None:
    first = seen(query=QueryText(text="SELECT 1"))
    subject, _ = step(job(query=REF), first)
    subject, _ = step(subject, lost(1), seconds=1)
    changed = Observed(attempts=lost(1).attempts, query=QueryText(text="SELECT 2"))
    subject, decision = step(subject, changed, seconds=60)
    assert told(subject, "Failed") == ("True", Failure.INVALID_QUERY) and not decision.creates
    assert "was changed" in condition(subject, "Failed").message
    assert told(subject, "Accepted")[0] == "True", "it was accepted once"


def test_an_operator_that_died_before_its_first_status_write_goes_on_with_the_attempt() -> None:
    subject, decision = step(job(), seen(attempt(pod())), seconds=3)
    assert not decision.creates and subject.status.attempt == 1
    assert subject.status.start_time == at(3), "from when this operator saw it: it shares no clock with the API server"


def test_a_config_map_that_is_missing_is_made_again_while_the_attempt_starts() -> None:
    subject = started()
    assert kinds(step(subject, seen(attempt(pod(), absent=frozenset({"Service"}))), seconds=1)[1]) == [], (
        "one process has no Service"
    )
    assert kinds(step(subject, seen(attempt(absent=frozenset({"ConfigMap"}))), seconds=1)[1]) == ["ConfigMap"]
    assert not step(under_way(), seen(attempt(running())), seconds=2)[1].creates


def test_an_interrupted_clean_up_of_an_earlier_attempt_is_taken_up() -> None:
    subject = under_way()
    both = seen(attempt(ended(137), number=1), attempt(running(), number=2))
    assert forgotten(step(subject, both, seconds=2)[1]) == (1,)


def finished(**spec: Any) -> GpuQueryJob:
    return step(under_way(**spec), seen(attempt(ended(0, COMMITTED))), seconds=10)[0]


def test_a_finished_job_is_left_alone() -> None:
    after, decision = step(finished(), seen(), seconds=1e6)
    assert decision == Decision() and after.status == finished().status


def test_a_finished_job_is_deleted_at_its_ttl() -> None:
    subject = finished(ttlSecondsAfterFinished=60)
    assert step(subject, seconds=11)[1] == Decision(requeue_after=59)
    assert step(subject, seconds=70)[1].actions == (DeleteJob(),)


def test_deciding_twice_on_the_same_sight_changes_nothing() -> None:
    sights = [
        (started(), seen(attempt(pod()))),
        (under_way(), seen(attempt(running()))),
        (finished(), seen(attempt(ended(0, COMMITTED)))),
        (step(under_way(), lost(1), seconds=10)[0], lost(1)),
    ]
    for subject, sight in sights:
        after, decision = step(subject, sight, seconds=3)
        assert after.status == subject.status
        assert not decision.creates and not forgotten(decision) and not stopped(decision)


def test_a_retry_that_is_refused_once_still_has_its_whole_start_deadline() -> None:
    subject, _ = step(under_way(startDeadlineSeconds=10, backoffLimit=9), lost(1), seconds=1)
    full = Observed(attempts=lost(1).attempts, refusal=Refusal(reason=Reason.QUOTA_EXCEEDED, message="full"))
    due = (step(subject, lost(1), seconds=1)[1].requeue_after or 0) + 1
    refused, _ = step(subject, full, seconds=due + 9)
    assert told(refused, "Failed")[0] == "False", "the pause before the retry is no part of the deadline"
    refused, _ = step(subject, full, seconds=due + 10)
    assert told(refused, "Failed") == ("True", Failure.START_DEADLINE_EXCEEDED)


def test_nothing_is_left_of_an_attempt_whose_batch_job_someone_deleted() -> None:
    gone = seen()
    subject, _ = step(under_way(), gone, seconds=2)
    assert told(subject, "ClusterReady") == ("False", Reason.RETRYING)
    assert forgotten(step(subject, gone, seconds=60)[1]) == (1,), "its ConfigMap and Service go"
