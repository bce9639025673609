"""Decide: from a job and what exists of it to what has to be done. Pure: no clock, no I/O.

Reads from the beginning of a job's life to its end: finished? not begun? an attempt under way? between two attempts?
What comes before the first attempt, the preflight, has its own file.
Each answer is computed anew from what exists, so it does not matter which events were seen, or by which operator.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from gpuquery.api.conditions import ConditionType, is_terminal, is_true
from gpuquery.api.reasons import Failure, Policy
from gpuquery.api.status import AttemptStatus
from gpuquery.api.types import GpuQueryJob
from gpuquery.build.attempt import attempt_objects
from gpuquery.plan.defaults import Defaults
from gpuquery.plan.options import halved_partitions
from gpuquery.plan.plan import Plan
from gpuquery.plan.resolve import Rejected, plan_status
from gpuquery.reconcile import dask, deadline, preflight, startup, ttl
from gpuquery.reconcile.case import (
    LOOK_FOR_PODS,
    LOOK_FOR_PROGRESS,
    LOOK_FOR_QUERY,
    PHASE_SECONDS,
    Case,
    Decision,
    Manifest,
    ended_at,
    net,
    node_of,
    refused,
    settling,
)
from gpuquery.reconcile.facts import Attempt, Observed
from gpuquery.reconcile.outcome import Committed, Fault, blamed, firm, judge, recorded
from gpuquery.reconcile.retry import GiveUp, Retry, RetrySpec, next_attempt
from gpuquery.reconcile.status import Account, gave_up, is_committed, with_attempt


def decide(job: GpuQueryJob, observed: Observed, defaults: Defaults, now: datetime) -> Decision:
    """Return what has to be done about a job."""
    known = preflight.with_found(job, observed)
    case = Case(job=known, observed=observed, defaults=defaults, now=now.replace(microsecond=0))
    return preflight.guarded(case, _decide(case), told=job.status.preflight)


def _decide(case: Case) -> Decision:
    job, observed = case.job, case.observed
    if is_terminal(job.status.conditions):
        return _finished(case)
    number = max(job.status.attempt or 0, observed.latest)
    if number == 0:
        checked = preflight.follow(case)
        return checked if isinstance(checked, Decision) else _begin(case, 1, checked.since)
    record = next((a for a in job.status.attempts if a.id == number), None)
    if record is not None and record.ended is not None:
        return _between(case, record)
    return _follow(case, _record(observed.attempt(number), record, case.now))


def _finished(case: Case) -> Decision:
    status = case.job.status
    match ttl.after_finish(status.completion_time, case.job.spec.ttl_seconds_after_finished, case.now):
        case ttl.Expired():
            return Decision(delete_job=True)
        case ttl.Keep(until=until):
            return Decision(requeue_after=case.wake(until))


def _begin(case: Case, number: int, asked: datetime) -> Decision:
    """Ask for the pods of an attempt, which were due at `asked`; earlier ones have ended."""
    job = case.job
    missing = case.observed.query.missing if case.observed.query else ""
    late = deadline.start(asked, job.spec.start_deadline_seconds, case.now, because=missing)
    if missing:
        if late or number > 1:
            return _reject(case, Rejected(Failure.INVALID_QUERY, missing))
        return Decision(status=case.derive(Account(pending=missing)), requeue_after=LOOK_FOR_QUERY)
    if (unusable := dask.unusable(case)) is not None:
        return _await_cluster(case, number, asked, unusable)
    plan = case.plan(number)
    if isinstance(plan, Rejected):
        return _reject(case, plan)
    if number == 1 and preflight.due(case, plan):
        return preflight.begin(case, plan, asked)
    told = plan_status(plan, job, case.defaults)
    if job.spec.dry_run:
        return preflight.complete(case, told)
    if (refusal := case.observed.refusal) is not None:
        blocker = startup.blocker(Attempt(number=number), refusal)
        return refused(case, Account(plan=told, blocker=blocker), asked)
    record = AttemptStatus(id=number, started=case.now, partition_bytes=halved_partitions(job, plan))
    return Decision(
        apply=attempt_objects(plan, job, case.defaults),
        # The last one's batch Job may be gone already, and its ConfigMap and Service still be there.
        forget=tuple(sorted({*case.earlier(number), *range(max(1, number - 1), number)})),
        status=case.derive(Account(plan=told, attempt=record, pods=startup.asked(plan))),
        requeue_after=LOOK_FOR_PODS,
    )


def _await_cluster(case: Case, number: int, asked: datetime, unusable: Rejected | str) -> Decision:
    """The Dask cluster that the job names cannot be used, or not yet: somebody else brings it up."""
    if isinstance(unusable, Rejected):
        return _reject(case, unusable)
    seconds = case.job.spec.start_deadline_seconds
    if deadline.start(asked, seconds, case.now, because=unusable):
        words = f"{unusable}; so it was for startDeadlineSeconds ({seconds} s)"
        return _reject(case, Rejected(Failure.CLUSTER_UNAVAILABLE, words))
    # Between two attempts the status tells why there is to be another one.
    status = case.derive(Account(pending=unusable)) if number == 1 and case.job.status.plan is None else None
    return Decision(status=status, requeue_after=LOOK_FOR_QUERY)


def _reject(case: Case, rejected: Rejected) -> Decision:
    fault = Fault(rejected.reason, rejected.message)
    # A job that was accepted once stays so: what changed since is why it failed.
    accepted = case.job.status.plan is not None
    account = Account(plan=case.job.status.plan, failed=fault, ended=True) if accepted else Account(rejected=fault)
    return Decision(status=case.derive(account), requeue_after=0)


def _record(attempt: Attempt, known: AttemptStatus | None, now: datetime) -> AttemptStatus:
    """Return what the status says of an attempt, with what became known since."""
    created = attempt.batch_job.created if attempt.batch_job else None
    record = known or AttemptStatus(id=attempt.number, started=created or now)
    if record.ready is not None:
        return record
    joined = [pod.exit.report.joined for pod in attempt.pods if pod.exit and pod.exit.report and pod.exit.report.joined]
    if attempt.ready:
        ready = max((pod.ready_since or now for pod in attempt.all_pods if pod.alive), default=now)
    elif joined and attempt.dask is None:
        # They were ready for so short a time that nobody saw it.
        ready = max(joined).replace(microsecond=0)
    else:
        return record
    # The node is told along with it: a write for the node alone would be one more for every job.
    return record.model_copy(update={"node": record.node or node_of(attempt), "ready": ready})


def _follow(case: Case, record: AttemptStatus) -> Decision:
    """An attempt is under way: how does it stand, and has it ended?"""
    attempt = case.observed.attempt(record.id)
    blocker = None
    if record.ready is None:
        blocker = startup.blocker(attempt, case.observed.refusal) or dask.blocker(attempt, record, case.now)
        blocker = blocker or dask.in_use(case, attempt)
    end = judge(attempt, record) or dask.lost(attempt, record, case.now) or _overdue(case, record, blocker)
    end = dask.explained(attempt, record, end)
    if end is not None:
        return _released(case, record, end) if attempt.released else _release(case, record, end)
    slow = record.started + timedelta(seconds=startup.SLOW_SECONDS)
    starting = record.ready is None
    young = starting and case.now < slow
    account = Account(
        plan=_plan_told(case, record.id),
        attempt=record,
        pods=startup.awaited(attempt) if young else startup.ready(attempt, slow=starting),
        ready=attempt.ready,
        blocker=blocker,
        reading=case.observed.reading if record.ready is not None else None,
    )
    status = case.derive(account)
    start_due = None if record.ready else deadline.due_at(record.started, case.job.spec.start_deadline_seconds)
    moments = [case.deadline, start_due]
    if record.ready is not None:
        told = is_true(status.conditions, ConditionType.RUNNING)
        moments.append(case.now + timedelta(seconds=LOOK_FOR_PROGRESS if told else LOOK_FOR_PODS))
    elif not attempt.pods:
        moments.append(case.now + timedelta(seconds=LOOK_FOR_PODS))
    elif case.job.spec.dask is not None and case.job.spec.dask.attaches:
        moments.append(case.now + timedelta(seconds=LOOK_FOR_PROGRESS))  # it may begin to wait for another job
    elif (attempt.wanted > 1 or attempt.dask is not None) and case.now < slow:
        moments.append(slow)
    return Decision(
        status=status,
        apply=_repairs(case, attempt) if record.ready is None else (),
        forget=case.earlier(record.id),
        net=net(case, attempt),
        requeue_after=case.wake(*moments),
    )


def _plan_told(case: Case, number: int) -> Any:
    """The plan as it was told; only if the operator died before it could tell it is it resolved again."""
    if case.job.status.plan is not None:
        return case.job.status.plan
    plan = case.plan(number)
    return plan_status(plan, case.job, case.defaults) if isinstance(plan, Plan) else None


def _overdue(case: Case, record: AttemptStatus, blocker: startup.Blocker | None) -> Fault | None:
    spec = case.job.spec
    if blocker and blocker.failure:
        return Fault(blocker.failure, blocker.message)
    late = deadline.active(case.job.status.start_time or record.started, spec.active_deadline_seconds, case.now)
    if late is None and record.ready is None:
        because = (
            f"{blocker.reason}: {blocker.message}" if blocker else startup.laggards(case.observed.attempt(record.id))
        )
        late = deadline.start(record.started, spec.start_deadline_seconds, case.now, because=because)
    return Fault(late.failure, late.message) if late else None


def _repairs(case: Case, attempt: Attempt) -> tuple[Manifest, ...]:
    """Make anew what an attempt that still starts is missing: someone deleted it, or the operator died midway."""
    kinds = attempt.missing
    if not kinds or attempt.batch_job is None:
        return ()
    plan = case.plan(attempt.number)
    if isinstance(plan, Rejected):
        return ()
    return tuple(o for o in attempt_objects(plan, case.job, case.defaults) if o["kind"] in kinds)


def _release(case: Case, record: AttemptStatus, end: Committed | Fault) -> Decision:
    """The outcome is known, but pods are alive: see that they go, and remember the cause."""
    attempt = case.observed.attempt(record.id)
    job = attempt.batch_job
    if settling(attempt, case.now):
        if attempt.wanted == 1 or record.reason is not None or isinstance(end, Committed) or not firm(end):
            return Decision(requeue_after=PHASE_SECONDS)
        # Whoever deletes the other pods meanwhile takes their reports with them.
        account = Account(plan=case.job.status.plan, attempt=blamed(record, end), fault=end)
        return Decision(status=case.derive(account), requeue_after=PHASE_SECONDS)
    gone = dask.removal(attempt)
    removing = gone.told if gone else ""
    if isinstance(end, Committed):
        # The last rank is about to leave. Its Job stays: with it the report would go.
        account = Account(plan=case.job.status.plan, attempt=record, committed=end, removing=removing)
        return Decision(status=case.derive(account), dask=gone, requeue_after=LOOK_FOR_PODS)
    # A pod that Kubernetes takes away goes by itself, and may still commit within its grace period.
    lingering = not attempt.pods or any(pod.disruption is None for pod in attempt.alive)
    release = job is not None and not job.deleting and lingering
    account = Account(plan=case.job.status.plan, attempt=blamed(record, end), fault=end, removing=removing)
    return Decision(
        status=case.derive(account),
        release=record.id if release else None,
        dask=gone,
        requeue_after=LOOK_FOR_PROGRESS,
    )


def _released(case: Case, record: AttemptStatus, end: Committed | Fault) -> Decision:
    """The attempt has ended and nothing of it is alive: complete, failed, or another attempt to come."""
    attempt = case.observed.attempt(record.id)
    ended = ended_at(attempt, case.now)
    record = record.model_copy(update={"node": record.node or node_of(attempt)})
    plan = _plan_told(case, record.id)
    if isinstance(end, Committed):
        done = record.model_copy(update={"ended": ended, "reason": None, "message": None, "exit_code": 0})
        account = Account(plan=plan, attempt=done, committed=end, ended=True)
        return Decision(status=case.derive(account), requeue_after=0)
    failed = blamed(record, end).model_copy(update={"ended": ended})
    counted = (case.job.status.counted_failures or 0) + (end.failure.policy is Policy.BUDGETED)
    account = Account(plan=plan, attempt=failed, fault=end, ended=True, counted_failures=counted)
    return _or_again(case, account, with_attempt(case.job.status.attempts, failed))


def _between(case: Case, record: AttemptStatus) -> Decision:
    """An attempt has failed and ended; the next one may be due."""
    if any(pod.alive for attempt in case.observed.attempts for pod in attempt.all_pods):
        # A straggler: the Job controller made it just before it saw its Job go. The garbage collector takes it.
        return Decision(requeue_after=LOOK_FOR_PODS)
    status = case.job.status
    fault = recorded(record)
    account = Account(
        plan=status.plan, attempt=record, fault=fault, ended=True, counted_failures=status.counted_failures
    )
    return _or_again(case, account, status.attempts)


def _or_again(case: Case, account: Account, attempts: Iterable[AttemptStatus]) -> Decision:
    """Apply the retry policy and the deadline to an attempt that has failed and ended."""
    job, fault = case.job, account.fault
    assert fault is not None
    spec = RetrySpec(
        backoff_limit=job.spec.backoff_limit,
        counted=account.counted_failures or 0,
        committed=is_committed(job.status, None),
        key=job.metadata.uid,
    )
    history = tuple(attempts)
    match next_attempt(history, spec):
        case GiveUp(reason=reason):
            failed = gave_up(fault, reason, history[-1].id)
            return Decision(status=case.derive(replace(account, failed=failed)), requeue_after=0)
        case Retry(at=at):
            late = deadline.active(job.status.start_time, job.spec.active_deadline_seconds, case.now)
            if late:
                failed = Fault(late.failure, f"{late.message} The last attempt: {fault.failure}: {fault.message}")
                return Decision(status=case.derive(replace(account, failed=failed)), requeue_after=0)
            told = any(a.id == history[-1].id and a.ended for a in job.status.attempts)
            if told and at <= case.now:
                return _begin(case, history[-1].id + 1, at)
            return Decision(
                status=case.derive(replace(account, retry_at=at)), requeue_after=case.wake(at, case.deadline)
            )
