"""Begin: which run is under way, and what must be there before the pods of another one are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuquery.api.conditions import ConditionType, is_true
from gpuquery.api.reasons import Failure, Reason
from gpuquery.api.status import AttemptStatus
from gpuquery.plan.options import halved_partitions
from gpuquery.plan.resolve import Rejected, plan_status
from gpuquery.reconcile.decide import attempt as attempts
from gpuquery.reconcile.decide import preflight
from gpuquery.reconcile.decide.run import Due, create, refused
from gpuquery.reconcile.observe.model import Attempt
from gpuquery.reconcile.policy import dask, deadline, startup
from gpuquery.reconcile.policy.account import Account, Hold
from gpuquery.reconcile.policy.actions import ForgetAttempt
from gpuquery.reconcile.policy.case import LOOK_FOR_PODS, LOOK_FOR_QUERY, Answer, Case, reject
from gpuquery.render.attempt import attempt_objects

if TYPE_CHECKING:
    from datetime import datetime


def follow(case: Case) -> Answer:
    """The current run goes on, or has ended and another one is due; before the first attempt comes the preflight."""
    number = max(case.job.status.attempt or 0, case.observed.latest)
    found = attempts.follow(case, number) if number else preflight.follow(case)
    if not isinstance(found, Due):
        return found
    # A job that was resumed was due no earlier than that.
    return begin(case, number + 1, max(found.since, case.due_since))


def begin(case: Case, number: int, asked: datetime) -> Answer:
    """Ask for the pods of an attempt, which were due at `asked`; earlier ones have ended."""
    job = case.job
    if missing := case.observed.query.missing if case.observed.query else "":
        if number > 1 or deadline.start(asked, job.spec.start_deadline_seconds, case.now, because=missing):
            return reject(case, Rejected(Failure.INVALID_QUERY, missing))
        return Answer(_awaiting(missing), again=case.again(LOOK_FOR_QUERY, asked))
    if (unusable := dask.unusable(case)) is not None:
        return _await_cluster(case, number, asked, unusable)
    plan = case.plan(number)
    if isinstance(plan, Rejected):
        return reject(case, plan)
    if number == 1 and preflight.due(case, plan):
        return preflight.begin(case, plan, asked)
    planned = plan_status(plan, job, case.defaults)
    if job.spec.dry_run:
        return Answer(Account(plan=planned, dry_run=True, ended=True), again=0)
    if (refusal := case.observed.refusal) is not None:
        return refused(case, Account(plan=planned, blocker=startup.blocker(Attempt(number=number), refusal)), asked)
    record = AttemptStatus(id=number, started=case.now, partition_bytes=halved_partitions(job, plan))
    # The last one's batch Job may be gone already, and what it owned not be collected yet.
    left = {*case.earlier(number), *map(ForgetAttempt, range(max(1, number - 1), number))}
    return Answer(
        Account(plan=planned, attempt=record, pods=startup.asked(plan)),
        (*create(attempt_objects(plan, job, case.defaults)), *sorted(left, key=lambda each: each.number)),
        again=LOOK_FOR_PODS,
    )


def _awaiting(what: str) -> Account:
    return Account(hold=Hold(accepted="False", reason=Reason.PENDING, message=what))


def _await_cluster(case: Case, number: int, asked: datetime, unusable: Rejected | str) -> Answer:
    """The Dask cluster that the job names cannot be used, or not yet."""
    if isinstance(unusable, Rejected):
        return reject(case, unusable)
    seconds = case.job.spec.start_deadline_seconds
    if deadline.start(asked, seconds, case.now, because=unusable):
        words = f"{unusable}; still so after startDeadlineSeconds ({seconds} s)"
        return reject(case, Rejected(Failure.CLUSTER_UNAVAILABLE, words))
    # Between two attempts the status tells why there is to be another one.
    first = number == 1 and case.job.status.plan is None
    resumed = is_true(case.job.status.conditions, ConditionType.SUSPENDED)
    return Answer(_awaiting(unusable) if first or resumed else None, again=case.again(LOOK_FOR_QUERY, asked))
