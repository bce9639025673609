"""A case: one job as it stands, and the form of an answer. What all deciding shares."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from gpuquery.api.conditions import ConditionType, find
from gpuquery.api.reasons import Failure
from gpuquery.plan.plan import Plan
from gpuquery.plan.resolve import Rejected, digest, resolve
from gpuquery.reconcile.policy import deadline
from gpuquery.reconcile.policy.actions import Create, ForgetAttempt, MoveDeadline
from gpuquery.reconcile.policy.outcome import Fault, ends_all
from gpuquery.reconcile.policy.pause import pause
from gpuquery.reconcile.report.status import Account, derive
from gpuquery.render.attempt import safety_net

if TYPE_CHECKING:
    from gpuquery.api.status import AttemptStatus, GpuQueryJobStatus, PreflightRun
    from gpuquery.api.types import GpuQueryJob
    from gpuquery.plan.defaults import Defaults
    from gpuquery.reconcile.observe.model import Attempt, Observed
    from gpuquery.reconcile.policy.actions import Action, Manifest
    from gpuquery.reconcile.policy.startup import Blocker

LOOK_FOR_PODS = 1.0
"""Seconds until a Job without pods is looked at again: only its events tell why, and nobody watches them."""
LOOK_FOR_PROGRESS = 5.0
LOOK_WHILE_RUNNING = 120.0
"""Seconds until a job that runs is looked at again: only so that its progress goes on being read (WANTED_SECONDS)."""
LOOK_FOR_QUERY = 5.0
LOOK_FOR_TURN = 600.0
"""Seconds until a job that waits for others is looked at again; the end of one of them is told by the watch."""
RETRY_REFUSED = 10.0
COMMIT_SECONDS = 35.0
"""How long index 0 of a set is left alone after another pod has failed: its supervisor gives a commit that has begun
30 s, and ends everything else at once."""
PHASE_SECONDS = 10.0
"""How long the kubelet is given to tell a pod's phase after its container has ended: usually about one second, but
several on a node whose CPU is taken. Who is less patient deletes pods whose log somebody wants to read."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What has to be done, and when to look again.

    What is to be created comes before the status write and its events, all other actions after them, in their order: a
    deletion comes last because the status must know the cause before its effect can be seen.
    """

    status: GpuQueryJobStatus | None = None
    """The whole status; None leaves it alone."""
    actions: tuple[Action, ...] = ()
    requeue_after: float | None = None

    @property
    def creates(self) -> tuple[Manifest, ...]:
        """The objects to create."""
        return tuple(each for action in self.actions if isinstance(action, Create) for each in action.objects)


def reject(case: Case, rejected: Rejected) -> Decision:
    """The job cannot be run, whoever tries."""
    fault = Fault(rejected.reason, rejected.message)
    # A job that was accepted once stays so: what changed since is why it failed.
    accepted = case.job.status.plan is not None
    account = Account(plan=case.job.status.plan, failed=fault, ended=True) if accepted else Account(rejected=fault)
    return Decision(status=case.derive(account), requeue_after=0)


def unfit(case: Case) -> Decision | None:
    """Refuse what cannot be run, as far as that shows before anything is read for the job."""
    if case.job.spec.query.config_map_key_ref is None and isinstance(plan := case.plan(1), Rejected):
        return reject(case, plan)
    return None


def create(objects: tuple[Manifest, ...]) -> tuple[Create, ...]:
    """Return the action that makes these objects; none if there are none."""
    return (Create(objects),) if objects else ()


@dataclass(frozen=True, kw_only=True)
class Case:
    """One job, as it stands."""

    job: GpuQueryJob
    observed: Observed
    defaults: Defaults
    now: datetime

    def plan(self, attempt: int) -> Plan | Rejected:
        """Resolve the job; all attempts run the query's text that was accepted, or checked."""
        text = self.observed.query.text if self.observed.query else None
        address = self.observed.scheduler.address if self.observed.scheduler else ""
        plan = resolve(self.job, self.defaults, text, attempt=attempt, scheduler=address)
        accepted, checked = self.job.status.plan, self.job.status.preflight_run
        known = accepted.query_digest if accepted else checked.query_digest if checked else None
        if isinstance(plan, Plan) and known and digest(plan) != known:
            ref = self.job.spec.query.config_map_key_ref
            where = f"ConfigMap {ref.name!r}, key {ref.key!r}" if ref else "the query"
            return Rejected(
                Failure.INVALID_QUERY,
                f"{where} was changed after the job was accepted; all attempts of a job run the same text: apply a new "
                "job",
            )
        return plan

    def derive(self, account: Account) -> GpuQueryJobStatus:
        """Return the status for an account of this case."""
        return derive(self.job, account, self.now)

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
        """Since when nobody but the job itself keeps it from beginning: since the operator first told of it, or the
        end of its wait for other jobs, or since it was resumed, which is when its condition Accepted is no longer
        Unknown.
        """
        accepted = find(self.job.status.conditions, ConditionType.ACCEPTED)
        if accepted is None or accepted.status == "Unknown":
            return self.now
        return accepted.last_transition_time or self.now

    def deadline_of(self, record: AttemptStatus | PreflightRun) -> datetime | None:
        """Return when the job must have ended, whose last run this is."""
        return deadline.due_at(self._start(record), self.job.spec.active_deadline_seconds)

    def expired(self, record: AttemptStatus | PreflightRun) -> deadline.Exceeded | None:
        """Return that this moment has passed, if it has."""
        return deadline.active(self._start(record), self.job.spec.active_deadline_seconds, self.now)

    def _start(self, record: AttemptStatus | PreflightRun) -> datetime | None:
        """Return when the job has begun; where nobody could tell so yet, it begins with this run.

        After it was suspended it begins anew, with the first run that comes then.
        """
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


def refused(case: Case, account: Account, asked: datetime) -> Decision:
    """The API server refuses to create the objects of an attempt or of a preflight, which were due at `asked`."""
    blocker = account.blocker
    assert blocker is not None
    seconds = case.job.spec.start_deadline_seconds
    fault = Fault(blocker.failure, blocker.message) if blocker.failure else None
    if late := deadline.start(asked, seconds, case.now, because=blocker.message):
        fault = fault or Fault(late.failure, late.message)
    if fault:
        return Decision(status=case.derive(replace(account, failed=fault, ended=True)), requeue_after=0)
    return Decision(status=case.derive(account), requeue_after=case.again(RETRY_REFUSED, asked))


def start_due(case: Case, asked: datetime, blocker: Blocker | None) -> datetime:
    """Return when the pods that were asked for at `asked` have to be ready."""
    missed = blocker.secret_missed if blocker else None
    return deadline.start_due(asked, case.job.spec.start_deadline_seconds, missed)


def net(case: Case, attempt: Attempt) -> tuple[MoveDeadline, ...]:
    """Move the deadline of the batch Job, if this safety net hangs elsewhere than it should."""
    job = attempt.batch_job
    wanted = safety_net(case.job)
    if job is None or job.finished or job.deleting or job.deadline == wanted:
        return ()
    return (MoveDeadline(job.name, wanted),)


def settling(attempt: Attempt, now: datetime) -> bool:
    """Whether containers were just now seen to have ended, so that the rest will follow by itself.

    That is the phases of their pods; and in a set the other pods, whose reports may say more.
    """
    told = [pod for pod in attempt.alive if pod.exit]
    if len(told) < len(attempt.alive):
        # Others still run: they have as long from the first end that ends the attempt.
        told = [pod for pod in attempt.pods if pod.exit and ends_all(pod)]
        moments = [pod.exit.seen for pod in told if pod.exit and pod.exit.seen]
        first = any(pod.index == 0 and pod.exit is None for pod in attempt.alive)
        seconds = COMMIT_SECONDS if first and attempt.wanted > 1 else PHASE_SECONDS
        return bool(moments) and now - min(moments) < timedelta(seconds=seconds)
    moments = [pod.exit.seen for pod in told if pod.exit and pod.exit.seen]
    return bool(moments) and now - max(moments) < timedelta(seconds=PHASE_SECONDS)


def node_of(attempt: Attempt) -> str | None:
    """Return the node of the first pod that has one."""
    return next((pod.node for pod in attempt.pods if pod.node), None)
