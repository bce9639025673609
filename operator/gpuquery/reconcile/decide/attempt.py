"""Attempt: the run that computes the query and commits its output."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from gpuquery.api.reasons import Reason
from gpuquery.api.status import AttemptStatus
from gpuquery.plan.plan import Plan, Purpose
from gpuquery.plan.resolve import Rejected, plan_status
from gpuquery.reconcile.decide.run import Due, Run
from gpuquery.reconcile.policy import dask, startup
from gpuquery.reconcile.policy.account import Account
from gpuquery.reconcile.policy.case import (
    LOOK_FOR_PODS,
    LOOK_FOR_QUERY,
    LOOK_WHILE_RUNNING,
    Answer,
    Case,
)
from gpuquery.reconcile.policy.outcome import Committed, Fault, judge
from gpuquery.reconcile.policy.retry import Spent
from gpuquery.render.attempt import attempt_objects

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuquery.reconcile.observe.model import Attempt
    from gpuquery.reconcile.policy.actions import Manifest
    from gpuquery.reconcile.policy.startup import Blocker


def follow(case: Case, number: int) -> Answer | Due:
    """How does the last attempt stand?"""
    status, seen = case.job.status, case.observed.attempt(number)
    record = next((a for a in status.attempts if a.id == number), None)
    if record is None or record.ended is None:
        return _Attempt(case, _record(seen, record, case.now), seen).follow()
    if record.reason is None and status.output is not None:
        # It had ended well, and only its conditions were written over.
        committed = Committed(status.output, warnings=status.warnings)
        return Answer(Account(plan=status.plan, committed=committed, ended=True), again=0)
    return _Attempt(case, record, seen).between()


class _Attempt(Run[AttemptStatus]):
    purpose = Purpose.QUERY
    several = "attempts"
    last = "The last attempt:"

    @property
    def begun(self) -> bool:
        return self.record.ready is not None

    @property
    def spent(self) -> Spent:
        status = self.case.job.status
        return Spent(status.counted_failures or 0, status.suspended_attempts or 0)

    def blocker(self) -> Blocker | None:
        case, run = self.case, self.seen
        return startup.blocker(run, case.observed.refusal) or dask.blocker(case, run, self.record)

    def starting(self) -> str:
        return startup.laggards(self.seen)

    def judge(self) -> Committed | Fault | None:
        run, record = self.seen, self.record
        return dask.judge(run, record, judge(run, record), self.case.now)

    def account(self, spent: Spent | None = None) -> Account:
        return Account(plan=self._plan_told(), attempt=self.record, spent=spent)

    def under_way(self, blocker: Blocker | None) -> Account:
        run, starting = self.seen, not self.begun
        young = starting and self.case.now < self._slow
        pods = startup.awaited(run) if young else startup.ready(run, slow=starting)
        reading = None if starting else self.case.observed.reading
        return replace(self.account(), pods=pods, ready=run.ready, blocker=blocker, reading=reading)

    def looks(self, blocker: Blocker | None) -> Iterator[datetime]:
        case, run, started = self.case, self.seen, self.record.started
        yield from dask.looks(case, run, self.record)
        if self.begun:
            # A change of its pods or of its progress leads to a look at once.
            yield case.now + timedelta(seconds=LOOK_WHILE_RUNNING)
        elif not run.pods:
            # The watch reports when a suspended Job is resumed.
            held = blocker is not None and blocker.reason is Reason.SUSPENDED
            yield case.now + timedelta(seconds=case.again(LOOK_FOR_QUERY if held else LOOK_FOR_PODS, started))
        elif (run.wanted > 1 or run.dask is not None) and case.now < self._slow:
            yield self._slow

    def plan(self) -> Plan | Rejected:
        return self.case.plan(self.record.id)

    def objects(self, plan: Plan) -> tuple[Manifest, ...]:
        return attempt_objects(plan, self.case.job, self.case.defaults)

    @property
    def _slow(self) -> datetime:
        """From when on it is slow if it is not ready."""
        return self.record.started + timedelta(seconds=startup.SLOW_SECONDS)

    def _plan_told(self) -> Any:
        """The plan as it was told; only if the operator died before it could tell it is it resolved again."""
        if (planned := self.case.job.status.plan) is not None:
            return planned
        plan = self.plan()
        return plan_status(plan, self.case.job, self.case.defaults) if isinstance(plan, Plan) else None


def _record(attempt: Attempt, known: AttemptStatus | None, now: datetime) -> AttemptStatus:
    """Return what the status says of an attempt, with what became known since; its times are the operator's own."""
    record = known or AttemptStatus(id=attempt.number, started=now)
    # They may have been ready for too short a time to be seen.
    joined = attempt.dask is None and any(
        pod.exit and pod.exit.report and pod.exit.report.joined for pod in attempt.pods
    )
    if record.ready is not None or not (attempt.ready or joined):
        return record
    # The node is told along with it: a write for the node alone would be one more for every job.
    return record.model_copy(update={"node": record.node or attempt.node, "ready": now})
