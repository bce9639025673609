"""Whatever is observed, in whatever order: the promises about Complete and Failed hold."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpuquery.api.conditions import TERMINAL, ConditionType, State, is_terminal, is_true
from gpuquery.api.reasons import Failure, Reason
from gpuquery.api.report import Phase, Progress
from gpuquery.api.types import GpuQueryJob
from gpuquery.kube.progress import Reading
from gpuquery.reconcile.case import Decision
from gpuquery.reconcile.facts import Attempt, Observed, Pod, Refusal, Waiting
from tests.support.kube_objects import COMMITTED, at, batch, ended, failed_report, job, pod, running, step

exits = st.sampled_from([0, 1, 137, 143])
reports = st.sampled_from([None, COMMITTED, *(failed_report(f) for f in Failure)])
taken_away = st.none() | st.just("x")
pods = st.one_of(
    st.builds(lambda code, report, taken: ended(code, report, disruption=taken), exits, reports, taken_away),
    st.builds(lambda taken: running(disruption=taken), taken_away),
    st.sampled_from([
        pod(),
        pod(unschedulable="no node"),
        pod(waiting=Waiting(reason="InvalidImageName", message="bad")),
        pod(waiting=Waiting(reason="ErrImagePull", message="none")),
        pod(phase="Failed"),
        pod(phase="Failed", reason="Evicted", message="The node was low on resource: memory."),
        running(exit=ended(0, COMMITTED).exit),
        pod(phase="Unknown"),
    ]),
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
specs = st.fixed_dictionaries(
    {"backoffLimit": st.integers(0, 2), "startDeadlineSeconds": st.sampled_from([20, 600])},
    optional={"activeDeadlineSeconds": st.sampled_from([30, 1000])},
)


def look(subject: GpuQueryJob, sight: tuple[object, ...], now: int) -> tuple[GpuQueryJob, Decision, tuple[Pod, ...]]:
    """Show the job a sight of its current attempt."""
    seen_pods, batch_job, reading, refusal, _ = sight
    number = subject.status.attempt or 0
    attempts: tuple[Attempt, ...] = ()
    if number and (seen_pods or batch_job):
        attempts = (Attempt(number=number, batch_job=batch_job, pods=tuple(seen_pods)),)  # type: ignore[arg-type]
    observed = Observed(attempts=attempts, reading=reading, refusal=refusal)  # type: ignore[arg-type]
    after, decision = step(subject, observed, seconds=now)
    return after, decision, attempts[0].alive if attempts else ()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(specs, st.lists(sights, min_size=1, max_size=10))
def test_the_terminal_rules_hold(spec: dict[str, int], history: list[tuple[object, ...]]) -> None:
    subject, now = job(**spec), 0
    for sight in history:
        before = subject
        now += sight[4]  # type: ignore[operator]
        subject, decision, alive = look(subject, sight, now)
        conditions = subject.status.conditions
        true = [kind for kind in TERMINAL if is_true(conditions, kind)]
        assert len(true) <= 1, "never both"
        if is_terminal(before.status.conditions):
            assert subject.status == before.status and not decision.apply, "never back, and nothing new"
        elif true:
            assert not alive, "never while a pod lives"
            assert subject.status.completion_time is not None
        assert subject.status.state != State.COMPLETE or true == [ConditionType.COMPLETE]
        assert subject.status.state != State.FAILED or true == [ConditionType.FAILED]
        if is_true(before.status.conditions, ConditionType.OUTPUT_COMMITTED):
            assert is_true(conditions, ConditionType.OUTPUT_COMMITTED), "a commit is never taken back"
        if decision.apply and any(o["kind"] == "Job" for o in decision.apply):
            assert not alive, "a new attempt never runs beside the old one"
        for condition in conditions:
            assert condition.reason, f"{condition.type} gives no reason"
            assert condition.status == "True" or condition.message, f"{condition.type} gives no message"
        assert is_terminal(conditions) or decision.requeue_after is not None, "an unfinished job is looked at again"
