"""Decide: from a job and what exists of it to what has to be done. Pure: no clock, no I/O.

Reads from the beginning of a job's life to its end: finished? not begun? an attempt under way? between two attempts?
What comes before the first attempt, the preflight, has its own file.
Each answer is computed anew from what exists, so it does not matter which events were seen, or by which operator.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from gpuquery.api.conditions import is_terminal
from gpuquery.api.reasons import Failure, Policy, Reason
from gpuquery.api.status import AttemptStatus
from gpuquery.build.attempt import attempt_objects
from gpuquery.plan.options import halved_partitions
from gpuquery.plan.plan import Plan, Purpose
from gpuquery.plan.resolve import Rejected, plan_status
from gpuquery.reconcile import contradiction, dask, deadline, lingering, preflight, startup, ttl, undone
from gpuquery.reconcile.actions import DeleteJob, DeleteRun, ForgetAttempt
from gpuquery.reconcile.believed import believed
from gpuquery.reconcile.case import (
    LOOK_FOR_PODS,
    LOOK_FOR_PROGRESS,
    LOOK_FOR_QUERY,
    LOOK_FOR_TURN,
    PHASE_SECONDS,
    Case,
    Decision,
    create,
    net,
    node_of,
    overdue,
    refused,
    settling,
    start_due,
)
from gpuquery.reconcile.facts import Attempt, Observed
from gpuquery.reconcile.outcome import Committed, Fault, blamed, firm, judge, recorded
from gpuquery.reconcile.pause import pause
from gpuquery.reconcile.retry import Ended, GiveUp, Retry, next_attempt
from gpuquery.reconcile.status import Account, gave_up

if TYPE_CHECKING:
    from gpuquery.api.types import GpuQueryJob
    from gpuquery.plan.defaults import Defaults
    from gpuquery.reconcile.actions import Manifest
    from gpuquery.reconcile.admission import Wait


def decide(job: GpuQueryJob, observed: Observed, defaults: Defaults, now: datetime) -> Decision:
    """Return what has to be done about a job."""
    now = now.replace(microsecond=0)
    if contradiction.contradiction(job.status):
        if (settled := contradiction.settled(job.status, now)) is not None:
            return Decision(status=settled, requeue_after=0)
        job = contradiction.reopened(job)
    observed = believed(job, observed)
    known = preflight.with_found(job, observed, now)
    case = Case(job=known, observed=observed, defaults=defaults, now=now)
    return preflight.guarded(case, _decide(case), told=job.status.preflight)


def _decide(case: Case) -> Decision:
    job, observed = case.job, case.observed
    if is_terminal(job.status.conditions):
        return _finished(case)
    if observed.wait is not None:
        return _await_turn(case, observed.wait)
    if undone.leaving(job, observed):
        return Decision(requeue_after=LOOK_FOR_PODS)
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
    if case.observed.kept:
        return Decision(actions=(DeleteJob(),))
    match ttl.after_finish(status.completion_time, case.job.spec.ttl_seconds_after_finished, case.now):
        case ttl.Expired():
            return Decision(actions=(DeleteJob(),))
        case ttl.Keep(until=until):
            return Decision(requeue_after=case.wake(until))


def _await_turn(case: Case, wait: Wait) -> Decision:
    """Other jobs of the namespace come first; what cannot be run whenever its turn comes is refused now."""
    if case.job.spec.query.config_map_key_ref is None and isinstance(plan := case.plan(1), Rejected):
        return _reject(case, plan)
    account = Account(pending=wait.message, queued=True)
    return Decision(status=case.derive(account), requeue_after=LOOK_FOR_TURN)


def _begin(case: Case, number: int, asked: datetime) -> Decision:
    """Ask for the pods of an attempt, which were due at `asked`; earlier ones have ended."""
    job = case.job
    missing = case.observed.query.missing if case.observed.query else ""
    late = deadline.start(asked, job.spec.start_deadline_seconds, case.now, because=missing)
    if missing:
        if late or number > 1:
            return _reject(case, Rejected(Failure.INVALID_QUERY, missing))
        again = case.again(LOOK_FOR_QUERY, asked)
        return Decision(status=case.derive(Account(pending=missing)), requeue_after=again)
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
    # The last one's batch Job may be gone already, and what it owned not be collected yet.
    left = {*case.earlier(number), *map(ForgetAttempt, range(max(1, number - 1), number))}
    return Decision(
        actions=(
            *create(attempt_objects(plan, job, case.defaults)),
            *sorted(left, key=lambda each: each.number),
        ),
        status=case.derive(Account(plan=told, attempt=record, pods=startup.asked(plan))),
        requeue_after=LOOK_FOR_PODS,
    )


def _await_cluster(case: Case, number: int, asked: datetime, unusable: Rejected | str) -> Decision:
    """The Dask cluster that the job names cannot be used, or not yet: somebody else brings it up."""
    if isinstance(unusable, Rejected):
        return _reject(case, unusable)
    seconds = case.job.spec.start_deadline_seconds
    if deadline.start(asked, seconds, case.now, because=unusable):
        words = f"{unusable}; still so after startDeadlineSeconds ({seconds} s)"
        return _reject(case, Rejected(Failure.CLUSTER_UNAVAILABLE, words))
    # Between two attempts the status tells why there is to be another one.
    status = case.derive(Account(pending=unusable)) if number == 1 and case.job.status.plan is None else None
    return Decision(status=status, requeue_after=case.again(LOOK_FOR_QUERY, asked))


def _reject(case: Case, rejected: Rejected) -> Decision:
    fault = Fault(rejected.reason, rejected.message)
    # A job that was accepted once stays so: what changed since is why it failed.
    accepted = case.job.status.plan is not None
    account = Account(plan=case.job.status.plan, failed=fault, ended=True) if accepted else Account(rejected=fault)
    return Decision(status=case.derive(account), requeue_after=0)


def _record(attempt: Attempt, known: AttemptStatus | None, now: datetime) -> AttemptStatus:
    """Return what the status says of an attempt, with what became known since; its times are the operator's own."""
    record = known or AttemptStatus(id=attempt.number, started=now)
    # They may have been ready for so short a time that nobody saw it.
    joined = attempt.dask is None and any(
        pod.exit and pod.exit.report and pod.exit.report.joined for pod in attempt.pods
    )
    if record.ready is not None or not (attempt.ready or joined):
        return record
    # The node is told along with it: a write for the node alone would be one more for every job.
    return record.model_copy(update={"node": record.node or node_of(attempt), "ready": now})


def _follow(case: Case, record: AttemptStatus) -> Decision:
    """An attempt is under way: how does it stand, and has it ended?"""
    attempt = case.observed.attempt(record.id)
    blocker = None
    if record.ready is None:
        blocker = startup.blocker(attempt, case.observed.refusal) or dask.blocker(attempt, record, case.now)
        blocker = blocker or dask.in_use(case, attempt)
    end = judge(attempt, record) or dask.lost(attempt, record, case.now)
    if end is None:
        awaited = "" if record.ready else startup.laggards(attempt)
        end = overdue(case, record.started, blocker, starting=awaited)
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
    moments = [case.deadline, None if record.ready else start_due(case, record.started, blocker)]
    if record.ready is not None:
        # Whoever reads its progress tells of news at once.
        moments.append(
            case.now + timedelta(seconds=pause(LOOK_FOR_PROGRESS, (case.now - record.ready).total_seconds()))
        )
    elif not attempt.pods:
        # Whoever resumes a Job that is suspended changes it, and the watch tells.
        held = blocker is not None and blocker.reason is Reason.SUSPENDED
        first = LOOK_FOR_QUERY if held else LOOK_FOR_PODS
        moments.append(case.now + timedelta(seconds=case.again(first, record.started)))
    elif case.job.spec.dask is not None and case.job.spec.dask.attaches:
        # It may begin to wait for another job.
        moments.append(case.now + timedelta(seconds=case.again(LOOK_FOR_PROGRESS, record.started)))
    elif (attempt.wanted > 1 or attempt.dask is not None) and case.now < slow:
        moments.append(slow)
    return Decision(
        status=status,
        actions=(
            *(create(_repairs(case, attempt)) if record.ready is None else ()),
            *net(case, attempt),
            *case.earlier(record.id),
        ),
        requeue_after=case.wake(*moments),
    )


def _plan_told(case: Case, number: int) -> Any:
    """The plan as it was told; only if the operator died before it could tell it is it resolved again."""
    if case.job.status.plan is not None:
        return case.job.status.plan
    plan = case.plan(number)
    return plan_status(plan, case.job, case.defaults) if isinstance(plan, Plan) else None


def _repairs(case: Case, attempt: Attempt) -> tuple[Manifest, ...]:
    """Return anew what an attempt that still starts is missing: someone deleted it, or the operator died midway."""
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
    removing = "; ".join(filter(None, (lingering.waits_for(attempt.all_pods), *(part.told for part in gone))))
    if isinstance(end, Committed):
        # The last rank is about to leave. Its Job stays: with it the report would go.
        account = Account(plan=case.job.status.plan, attempt=record, committed=end, removing=removing)
        return Decision(status=case.derive(account), actions=gone, requeue_after=LOOK_FOR_PODS)
    # A pod that Kubernetes takes away goes by itself, and may still commit within its grace period.
    taken = job is not None and job.suspended is not None
    slow = not attempt.pods or any(pod.disruption is None and not taken for pod in attempt.alive)
    release = job is not None and not job.deleting and slow
    account = Account(plan=case.job.status.plan, attempt=blamed(record, end), fault=end, removing=removing)
    return Decision(
        status=case.derive(account),
        actions=(*((DeleteRun(Purpose.QUERY, record.id),) if release else ()), *gone),
        requeue_after=LOOK_FOR_PROGRESS,
    )


def _released(case: Case, record: AttemptStatus, end: Committed | Fault) -> Decision:
    """The attempt has ended and nothing of it is alive: complete, failed, or another attempt to come."""
    attempt = case.observed.attempt(record.id)
    record = record.model_copy(update={"node": record.node or node_of(attempt), "ended": case.now})
    plan = _plan_told(case, record.id)
    if isinstance(end, Committed):
        done = record.model_copy(update={"reason": None, "message": None, "exit_code": 0})
        account = Account(plan=plan, attempt=done, committed=end, ended=True)
        return Decision(status=case.derive(account), requeue_after=0)
    failed = blamed(record, end)
    counted = (case.job.status.counted_failures or 0) + (end.failure.policy is Policy.BUDGETED)
    account = Account(plan=plan, attempt=failed, fault=end, ended=True, counted_failures=counted)
    return _or_again(case, account, failed)


def _between(case: Case, record: AttemptStatus) -> Decision:
    """An attempt has failed and ended; the next one may be due."""
    status = case.job.status
    if record.reason is None and status.output is not None:
        # It had ended well, and only its conditions were written over.
        committed = Committed(status.output, warnings=status.warnings)
        return Decision(status=case.derive(Account(plan=status.plan, committed=committed, ended=True)), requeue_after=0)
    fault = recorded(record)
    account = Account(
        plan=status.plan, attempt=record, fault=fault, ended=True, counted_failures=status.counted_failures
    )
    straggling = lingering.waits_for(pod for attempt in case.observed.attempts for pod in attempt.all_pods)
    if straggling:
        # The Job controller made it just before it saw its Job go, and the garbage collector takes it; or the Job was
        # deleted without its pods.
        waiting = replace(account, ended=False, removing=straggling)
        return Decision(status=case.derive(waiting), requeue_after=LOOK_FOR_PODS)
    return _or_again(case, account, record)


def _or_again(case: Case, account: Account, record: AttemptStatus) -> Decision:
    """Apply the retry policy and the deadline to an attempt that has failed and ended."""
    job, fault = case.job, account.fault
    assert fault is not None  # the callers checked
    assert record.ended is not None
    last = Ended(record.id, fault.failure, record.ended, account.counted_failures or 0)
    match next_attempt(last, job.spec.backoff_limit, job.metadata.uid):
        case GiveUp(reason=reason):
            failed = gave_up(fault, reason, last)
            return Decision(status=case.derive(replace(account, failed=failed)), requeue_after=0)
        case Retry(at=at):
            late = deadline.active(job.status.start_time, job.spec.active_deadline_seconds, case.now)
            if late:
                failed = Fault(late.failure, f"{late.message} The last attempt: {fault.failure}: {fault.message}")
                return Decision(status=case.derive(replace(account, failed=failed)), requeue_after=0)
            told = any(a.id == record.id and a.ended for a in job.status.attempts)
            if told and at <= case.now:
                return _begin(case, record.id + 1, at)
            return Decision(
                status=case.derive(replace(account, retry_at=at)), requeue_after=case.wake(at, case.deadline)
            )
