"""Whatever is observed, in whatever order: the promises about Complete and Failed hold."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from gpuquery.api.conditions import TERMINAL, ConditionType, State, find, is_terminal, is_true
from gpuquery.api.labels import LABEL_ATTEMPT, LABEL_PREFLIGHT
from gpuquery.api.reasons import Failure, Reason
from gpuquery.api.report import Phase, Progress
from gpuquery.kube.progress import Reading
from gpuquery.reconcile.observe.model import Attempt, Observed, Pod, Refusal, Waiting
from tests.support.examples import examples
from tests.support.kube_objects import (
    CHECKED,
    COMMITTED,
    at,
    batch,
    check,
    dropped,
    ended,
    failed_report,
    job,
    pod,
    running,
    step,
)

if TYPE_CHECKING:
    from gpuquery.api.types import GpuQueryJob
    from gpuquery.reconcile.decide.job import Decision

exits = st.sampled_from([0, 1, 137, 143])
failed_reports = [failed_report(f) for f in Failure]
reports = st.sampled_from([None, COMMITTED, *failed_reports])
taken_away = st.none() | st.just("x")
WAYPOINTS = [
    pod(),
    pod(unschedulable="no node"),
    pod(waiting=Waiting(reason="InvalidImageName", message="bad")),
    pod(waiting=Waiting(reason="ErrImagePull", message="none")),
    pod(phase="Failed"),
    pod(phase="Failed", reason="Evicted", message="The node was low on resource: memory."),
    pod(phase="Unknown"),
]
pods = st.one_of(
    st.builds(lambda code, report, taken: ended(code, report, disruption=taken), exits, reports, taken_away),
    st.builds(lambda taken: running(disruption=taken), taken_away),
    st.sampled_from([*WAYPOINTS, running(exit=ended(0, COMMITTED).exit)]),
)
checks = st.one_of(
    # Half of the preflights pass, lest hardly any job gets beyond them.
    st.just(ended(0, CHECKED)),
    st.builds(
        lambda code, report, taken: ended(code, report, disruption=taken),
        exits, st.sampled_from([None, CHECKED, *failed_reports]), taken_away,
    ),
    st.builds(lambda taken: running(disruption=taken), taken_away),
    st.sampled_from([*WAYPOINTS, running(exit=ended(0, CHECKED).exit), running(exit=ended(1).exit)]),
)  # fmt: skip
jobs = st.builds(
    lambda finished, deleting: batch(finished=finished, deleting=deleting),
    st.sampled_from([None, None, "Complete", "Failed"]),
    st.booleans(),
)
readings = st.builds(
    lambda phase, good: Reading(at=at(0), progress=Progress(phase=phase) if good else None, error="" if good else "x"),
    st.sampled_from(list(Phase)),
    st.booleans(),
)
refusals = st.sampled_from([None, None, Refusal(reason=Reason.QUOTA_EXCEEDED, message="exceeded quota")])
sights = st.tuples(
    st.lists(pods, max_size=2), st.none() | jobs, st.none() | readings, refusals, st.integers(0, 120)
)  # fmt: skip
checked_sights = st.tuples(
    st.lists(checks, max_size=1), st.none() | jobs, st.lists(checks, max_size=1), st.booleans(), sights
)
"""Pods and Job of the preflight's last run, pods of the run before it, whether a run is there that the status does not
know, and what there is of the attempt."""
specs = st.fixed_dictionaries(
    {"backoffLimit": st.integers(0, 2), "startDeadlineSeconds": st.sampled_from([20, 600])},
    optional={"activeDeadlineSeconds": st.sampled_from([30, 1000])},
)
checked_specs = st.one_of(
    st.builds(lambda spec: {**spec, "preflight": "always"}, specs),
    st.builds(lambda spec: {**spec, "dryRun": True}, specs),
    st.builds(
        lambda spec: {**spec, "engine": "rapidsmpf", "runtime": {"release": "26.10", "image": "gpu:test"}}, specs
    ),
)


def look(
    subject: GpuQueryJob, sight: tuple[object, ...], now: int, runs: tuple[Attempt, ...] = ()
) -> tuple[GpuQueryJob, Decision, tuple[Pod, ...]]:
    """Show the job a sight of its current attempt."""
    seen_pods, batch_job, reading, refusal, _ = sight
    number = subject.status.attempt or 0
    attempts: tuple[Attempt, ...] = ()
    if number and (seen_pods or batch_job):
        attempts = (Attempt(number=number, batch_job=batch_job, pods=tuple(seen_pods)),)  # type: ignore[arg-type]
    observed = Observed(attempts=attempts, runs=runs, reading=reading, refusal=refusal)  # type: ignore[arg-type]
    after, decision = step(subject, observed, seconds=now)
    return after, decision, attempts[0].alive if attempts else ()


def runs_of(subject: GpuQueryJob, sight: tuple[object, ...]) -> tuple[Attempt, ...]:
    """Return what there is of the preflight."""
    last_pods, last_job, earlier_pods, unknown, _ = sight
    known = subject.status.preflight_run
    number = (known.id if known else 0) + bool(unknown and subject.status.attempt is None)
    runs: list[Attempt] = []
    if number > 1 and earlier_pods:
        runs.append(check(*earlier_pods, number=number - 1, batch_job=None))  # type: ignore[misc]
    if number and (last_pods or last_job):
        runs.append(check(*last_pods, number=number, batch_job=last_job))  # type: ignore[misc]
    return tuple(runs)


def promises(before: GpuQueryJob, subject: GpuQueryJob, decision: Decision, alive: tuple[Pod, ...]) -> None:
    """What holds for every job after every look."""
    conditions = subject.status.conditions
    true = [kind for kind in TERMINAL if is_true(conditions, kind)]
    assert len(true) <= 1, "never both"
    if is_terminal(before.status.conditions):
        assert subject.status == before.status and not decision.creates, "never back, and nothing new"
    elif true:
        assert not alive, "never while a pod lives"
        assert subject.status.completion_time is not None
    assert subject.status.state != State.COMPLETE or true == [ConditionType.COMPLETE]
    assert subject.status.state != State.FAILED or true == [ConditionType.FAILED]
    if is_true(before.status.conditions, ConditionType.OUTPUT_COMMITTED):
        assert is_true(conditions, ConditionType.OUTPUT_COMMITTED), "a commit is never taken back"
    for condition in conditions:
        assert condition.reason, f"{condition.type} gives no reason"
        assert condition.status == "True" or condition.message, f"{condition.type} gives no message"
    assert is_terminal(conditions) or decision.requeue_after is not None, "an unfinished job is looked at again"


@examples(150)
@given(specs, st.lists(sights, min_size=1, max_size=10))
def test_the_terminal_rules_hold(spec: dict[str, int], history: list[tuple[object, ...]]) -> None:
    subject, now = job(**spec), 0
    for sight in history:
        before = subject
        now += sight[4]  # type: ignore[operator]
        subject, decision, alive = look(subject, sight, now)
        promises(before, subject, decision, alive)
        if decision.creates and any(o["kind"] == "Job" for o in decision.creates):
            assert not alive, "a new attempt never runs beside the old one"


def asked_for(decision: Decision, label: str) -> bool:
    """Whether pods are asked for that carry a label."""
    return any(o["kind"] == "Job" and label in o["metadata"]["labels"] for o in decision.creates)


@examples(300)
@given(checked_specs, st.lists(checked_sights, min_size=1, max_size=12))
def test_they_hold_with_a_preflight_and_no_attempt_comes_before_it_has_passed(
    spec: dict[str, object], history: list[tuple[object, ...]]
) -> None:
    subject, now = job(**spec), 0
    for sight in history:
        before, of_attempt = subject, sight[4]
        now += of_attempt[4]  # type: ignore[index]
        runs = runs_of(subject, sight)
        subject, decision, alive = look(subject, of_attempt, now, runs)  # type: ignore[arg-type]
        checking = tuple(pod for run in runs for pod in run.alive)
        promises(before, subject, decision, (*alive, *checking))
        passed, was = subject.status.preflight, find(before.status.conditions, ConditionType.PREFLIGHT)
        told = find(subject.status.conditions, ConditionType.PREFLIGHT)
        if "nvidia.com/gpu" in json.dumps(decision.creates):
            assert passed is not None, "no GPU before"
        if asked_for(decision, LABEL_ATTEMPT):
            assert passed is not None and is_true(subject.status.conditions, ConditionType.PREFLIGHT), "not before"
            assert "dryRun" not in spec, "a dry run asks for no pods but the preflight's"
            assert not alive and not any(pod.at_work for pod in checking), "never beside others"
        if asked_for(decision, LABEL_PREFLIGHT):
            assert passed is None and subject.status.attempt is None, "nothing is checked twice"
            assert not any(pod.at_work for pod in checking), "one run at a time"
        if before.status.preflight is not None:
            assert passed == before.status.preflight, "what was found out stays"
        if was and told and was.status != "Unknown":
            assert told.status == was.status, "passed or not, for good"
        if told and told.status == "False":
            assert subject.status.attempt is None and not asked_for(decision, LABEL_ATTEMPT)
        reported = {r.number for r in runs if any(p.exit and p.exit.report == CHECKED for p in r.pods)}
        known = before.status.preflight_run
        if reported & set(dropped(decision)) and not (known and known.reason):
            assert subject.status.preflight is not None, "a report goes only once it is written down"


@examples(200)
@given(checked_specs | specs, st.lists(st.tuples(checked_sights, st.booleans()), min_size=1, max_size=12))
def test_they_hold_for_a_job_that_is_suspended_and_resumed_at_any_time(
    spec: dict[str, object], history: list[tuple[tuple[object, ...], bool]]
) -> None:
    subject, now = job(**spec), 0
    for sight, suspend in history:
        subject = subject.model_copy(update={"spec": subject.spec.model_copy(update={"suspend": suspend})})
        before, of_attempt = subject, sight[4]
        now += of_attempt[4]  # type: ignore[index]
        runs = runs_of(subject, sight)
        subject, decision, alive = look(subject, of_attempt, now, runs)  # type: ignore[arg-type]
        alive = (*alive, *(pod for run in runs for pod in run.alive))
        promises(before, subject, decision, alive)
        if is_terminal(subject.status.conditions):
            continue
        rests = is_true(subject.status.conditions, ConditionType.SUSPENDED)
        if suspend:
            assert not any(o["kind"] == "Job" for o in decision.creates), "nothing begins"
            assert not (rests and alive and decision.status), "it does not say so while a pod lives"
            assert subject.status.failure != Failure.SUSPENDED, "it is no failure"
        if rests and decision.status:
            assert suspend and subject.status.state == State.SUSPENDED and subject.status.start_time is None
        spent = (subject.status.counted_failures or 0) - (before.status.counted_failures or 0)
        last = subject.status.attempts[-1:]
        assert not (spent and last and last[0].reason == Failure.SUSPENDED), "a suspension spends no budget"
