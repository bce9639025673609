"""Case: what every policy is given, one job and what was observed of it, and what it answers with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuquery.api.conditions import ConditionType, find
from gpuquery.api.reasons import Failure
from gpuquery.plan.plan import Plan
from gpuquery.plan.resolve import Rejected, digest, resolve
from gpuquery.reconcile.policy import deadline
from gpuquery.reconcile.policy.account import Account, rejected
from gpuquery.reconcile.policy.actions import ForgetAttempt
from gpuquery.reconcile.policy.outcome import Fault

if TYPE_CHECKING:
    from datetime import datetime

    from gpuquery.api.status import AttemptStatus, PreflightRun
    from gpuquery.api.types import GpuQueryJob
    from gpuquery.plan.defaults import Defaults
    from gpuquery.reconcile.observe.model import Attempt, Observed
    from gpuquery.reconcile.policy.actions import Action
    from gpuquery.reconcile.policy.startup import Blocker

LOOK_FOR_PODS = 1.0
"""Seconds until a Job without pods is looked at again: its events say why, and they are not watched."""
LOOK_FOR_PROGRESS = 5.0
LOOK_WHILE_RUNNING = 120.0
"""Seconds until a job that runs is looked at again: only so that its progress goes on being read (WANTED_SECONDS)."""
LOOK_FOR_QUERY = 5.0
LOOK_FOR_TURN = 600.0
"""Seconds until a job that waits for others is looked at again; the end of one of them is told by the watch."""
RETRY_REFUSED = 10.0
SHARE, LONGEST = 0.1, 120.0


def pause(first: float, waited: float) -> float:
    """Return the seconds until the next look at what waits for others: `first`, then a tenth of the time waited so far.

    What has waited for an hour can wait a minute more. A change that a watch reports leads to a look at once.
    """
    return max(first, min(SHARE * waited, LONGEST))


@dataclass(frozen=True)
class Answer:
    """What a policy answers: how things stand (None: the status stays as it is), what to do, and when to look again."""

    account: Account | None = None
    actions: tuple[Action, ...] = ()
    again: float | None = None


def reject(case: Case, why: Rejected) -> Answer:
    """The job cannot be run."""
    fault = Fault(why.reason, why.message)
    # A job that was accepted once stays so: what changed since is why it failed.
    accepted = case.job.status.plan
    return Answer(Account(plan=accepted, failed=fault, ended=True) if accepted else rejected(fault), again=0)


def unfit(case: Case) -> Answer | None:
    """Refuse what cannot be run, as far as that shows before anything is read for the job."""
    if case.job.spec.query.config_map_key_ref is None and isinstance(plan := case.plan(1), Rejected):
        return reject(case, plan)
    return None


@dataclass(frozen=True, kw_only=True)
class Case:
    """One job and what was observed of it."""

    job: GpuQueryJob
    observed: Observed
    defaults: Defaults
    now: datetime

    def plan(self, attempt: int) -> Plan | Rejected:
        """Resolve the job; all attempts run the query's text that was accepted, or checked."""
        text = self.observed.query.text if self.observed.query else None
        address = self.observed.scheduler.address if self.observed.scheduler else ""
        plan = resolve(self.job, self.defaults, text, attempt=attempt, scheduler=address)
        known = self.job.status.plan or self.job.status.preflight_run
        if isinstance(plan, Plan) and known and known.query_digest and digest(plan) != known.query_digest:
            ref = self.job.spec.query.config_map_key_ref
            where = f"ConfigMap {ref.name!r}, key {ref.key!r}" if ref else "the query"
            return Rejected(
                Failure.INVALID_QUERY,
                f"{where} was changed after the job was accepted; all attempts of a job run the same text: apply a new "
                "job",
            )
        return plan

    def wake(self, *moments: datetime | None) -> float | None:
        """Return the seconds until the first of these moments."""
        left = [(moment - self.now).total_seconds() for moment in moments if moment is not None]
        return max(0.05, min(left)) if left else None

    def again(self, first: float, asked: datetime) -> float:
        """Return the seconds until the next look at what has been waiting since `asked`: `first` in the beginning, then
        ever more, but not past the start deadline.
        """
        due = deadline.due_at(asked, self.job.spec.start_deadline_seconds)
        left = (due - self.now).total_seconds() if due else 0
        longest = pause(first, (self.now - asked).total_seconds())
        return min(left, longest) if left > 0 else longest

    def earlier(self, number: int) -> tuple[ForgetAttempt, ...]:
        """Delete the attempts before this one that are still there: only the last one's logs are kept."""
        attempts = self.observed.attempts
        left = (a.number for a in attempts if a.number < number and a.batch_job and not a.batch_job.deleting)
        return tuple(map(ForgetAttempt, left))

    @property
    def due_since(self) -> datetime:
        """Since when no other job, and no suspension, keeps it from beginning: since Accepted is not Unknown."""
        accepted = find(self.job.status.conditions, ConditionType.ACCEPTED)
        if accepted is None or accepted.status == "Unknown":
            return self.now
        return accepted.last_transition_time or self.now

    def deadline_of(self, record: AttemptStatus | PreflightRun) -> datetime | None:
        """Return when the job must have ended, whose last run this is."""
        return deadline.due_at(self._start(record), self.job.spec.active_deadline_seconds)

    def expired(self, record: AttemptStatus | PreflightRun) -> Fault | None:
        """Return that this moment has passed, if it has."""
        return deadline.active(self._start(record), self.job.spec.active_deadline_seconds, self.now)

    def _start(self, record: AttemptStatus | PreflightRun) -> datetime | None:
        """Return when the job began: by its status, or with this run; after a suspension with the next one."""
        status = self.job.status
        if status.start_time is None and record.ended and find(status.conditions, ConditionType.SUSPENDED):
            return None
        return status.start_time or record.started


@dataclass(frozen=True, kw_only=True)
class UnderWay:
    """A run that is under way."""

    case: Case
    run: Attempt
    record: AttemptStatus | PreflightRun
    blocker: Blocker | None
    """What holds its pods up."""
    starting: str
    """What its pods wait for where nothing holds them up; empty: they have begun."""
