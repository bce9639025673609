"""Attempt: the run that computes the query and commits its output."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from gpuquery.api.reasons import Reason
from gpuquery.api.status import AttemptStatus
from gpuquery.plan.plan import Plan, Purpose
from gpuquery.plan.resolve import Rejected, plan_status
from gpuquery.reconcile import dask, startup, suspend
from gpuquery.reconcile import run as runs
from gpuquery.reconcile.case import (
    LOOK_FOR_PODS,
    LOOK_FOR_QUERY,
    LOOK_WHILE_RUNNING,
    Case,
    Decision,
    create,
    net,
    node_of,
    start_due,
)
from gpuquery.reconcile.outcome import Committed, Fault, judge
from gpuquery.reconcile.retry import Spent
from gpuquery.reconcile.run import Due, RunKind
from gpuquery.reconcile.status import Account
from gpuquery.render.attempt import attempt_objects

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuquery.reconcile.actions import Manifest
    from gpuquery.reconcile.facts import Attempt
    from gpuquery.reconcile.startup import Blocker


def follow(case: Case, number: int) -> Decision | Due:
    """How does the last attempt stand?"""
    status = case.job.status
    record = next((a for a in status.attempts if a.id == number), None)
    if record is None or record.ended is None:
        return runs.follow(ATTEMPT, case, _record(case.observed.attempt(number), record, case.now))
    if record.reason is None and status.output is not None:
        # It had ended well, and only its conditions were written over.
        committed = Committed(status.output, warnings=status.warnings)
        return Decision(status=case.derive(Account(plan=status.plan, committed=committed, ended=True)), requeue_after=0)
    return runs.between(ATTEMPT, case, record)


class _Attempt(RunKind[AttemptStatus]):
    purpose = Purpose.QUERY
    several = "attempts"
    last = "The last attempt:"

    def sight(self, case: Case, number: int) -> Attempt:
        return case.observed.attempt(number)

    def begun(self, run: Attempt, record: AttemptStatus) -> bool:
        return record.ready is not None

    def blocker(self, case: Case, run: Attempt, record: AttemptStatus) -> Blocker | None:
        return startup.blocker(run, case.observed.refusal) or dask.blocker(case, run, record)

    def starting(self, run: Attempt) -> str:
        return startup.laggards(run)

    def judge(self, case: Case, run: Attempt, record: AttemptStatus) -> Committed | Fault | None:
        return dask.judge(run, record, judge(run, record), case.now)

    def account(self, case: Case, record: AttemptStatus, spent: Spent | None = None) -> Account:
        account = Account(plan=_plan_told(case, record.id), attempt=record)
        if spent is None:
            return account
        return replace(account, counted_failures=spent.counted, suspended_attempts=spent.suspended)

    def spent(self, case: Case, record: AttemptStatus) -> Spent:
        return Spent(case.job.status.counted_failures or 0, case.job.status.suspended_attempts or 0)

    def goes_on(self, case: Case, run: Attempt, record: AttemptStatus, blocker: Blocker | None) -> Decision:
        starting = record.ready is None
        young = starting and case.now < _slow(record)
        account = replace(
            self.account(case, record),
            pods=startup.awaited(run) if young else startup.ready(run, slow=starting),
            ready=run.ready,
            blocker=blocker,
            reading=None if starting else case.observed.reading,
        )
        return Decision(
            status=case.derive(account),
            actions=(
                *(create(_repairs(case, run)) if starting else ()),
                *net(case, run),
                *case.earlier(record.id),
            ),
            requeue_after=case.wake(case.deadline_of(record), *_looks(case, run, record, blocker)),
        )


ATTEMPT = _Attempt()


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


def _slow(record: AttemptStatus) -> datetime:
    """Return from when on an attempt that is not ready is slow."""
    return record.started + timedelta(seconds=startup.SLOW_SECONDS)


def _looks(case: Case, run: Attempt, record: AttemptStatus, blocker: Blocker | None) -> Iterator[datetime]:
    """Yield when to look again at an attempt that goes on."""
    yield from dask.looks(case, run, record)
    if record.ready is not None:
        # Watches tell of its pods, and whoever reads its progress of news, at once.
        yield case.now + timedelta(seconds=LOOK_WHILE_RUNNING)
        if (until := suspend.look_until(case)) is not None:
            yield until
        return
    yield start_due(case, record.started, blocker)
    if not run.pods:
        # Whoever resumes a Job that is suspended changes it, and the watch tells.
        held = blocker is not None and blocker.reason is Reason.SUSPENDED
        first = LOOK_FOR_QUERY if held else LOOK_FOR_PODS
        yield case.now + timedelta(seconds=case.again(first, record.started))
    elif (run.wanted > 1 or run.dask is not None) and case.now < _slow(record):
        yield _slow(record)


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
