"""Run: the one machine that follows a run from its first pod to its end, and decides what comes after it.

An attempt is a run, and so is the preflight in a pod of its own: a subclass each says what differs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, Generic

from gpuquery.api.reasons import Reach
from gpuquery.api.timing import OPERATOR_COMMIT_SECONDS, PHASE_SECONDS
from gpuquery.plan.rejected import Rejected
from gpuquery.reconcile.policy import dask, deadline, lingering, startup, suspend
from gpuquery.reconcile.policy.actions import Create, DeleteDask, DeleteRun, MoveDeadline
from gpuquery.reconcile.policy.case import (
    LOOK_FOR_PODS,
    LOOK_FOR_PROGRESS,
    RETRY_REFUSED,
    Answer,
    UnderWay,
)
from gpuquery.reconcile.policy.outcome import Committed, Fault, Record, blamed, ends_all, recorded
from gpuquery.reconcile.policy.retry import Ended, GiveUp, Retry, Spent, given_up, next_attempt
from gpuquery.render.attempt import safety_net

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gpuquery.plan.plan import Plan, Purpose
    from gpuquery.reconcile.observe.model import Attempt
    from gpuquery.reconcile.policy.account import Account
    from gpuquery.reconcile.policy.actions import Action, Manifest
    from gpuquery.reconcile.policy.case import Case
    from gpuquery.reconcile.policy.startup import Blocker


@dataclass(frozen=True)
class Due:
    """Nothing is left to wait for: pods of another run may be asked for, and were due at that time."""

    since: datetime


ENDS: tuple[Callable[[UnderWay], Fault | datetime | None], ...] = (
    suspend.ends,
    startup.hopeless,
    deadline.job_is_late,
    deadline.start_is_late,
)
"""What ends a run by the operator's own word, or will at a certain time. The first one that ends it is the cause."""


@dataclass(frozen=True)
class Run(ABC, Generic[Record]):
    """A run: what the status says of it, and what exists of it (perhaps nothing)."""

    case: Case
    record: Record
    seen: Attempt

    purpose: ClassVar[Purpose]
    several: ClassVar[str]
    """What several of them are called."""
    last: ClassVar[str]
    """How a sentence about the last one of them begins."""

    @property
    @abstractmethod
    def begun(self) -> bool:
        """Whether its pods have begun, so that nothing holds them up and no start deadline counts."""

    @property
    @abstractmethod
    def spent(self) -> Spent:
        """What is known of the runs up to this one."""

    @abstractmethod
    def blocker(self) -> Blocker | None:
        """Return what holds up a run that has not begun."""

    @abstractmethod
    def starting(self) -> str:
        """Say what a run that has not begun waits for where nothing holds it up."""

    @abstractmethod
    def judge(self) -> Committed | Fault | None:
        """Return how it ended, by what is left of it; None while it goes on."""

    @abstractmethod
    def account(self, spent: Spent | None = None) -> Account:
        """Return the account of it, for others to add to."""

    @abstractmethod
    def under_way(self, blocker: Blocker | None) -> Account:
        """Return the account while it goes on."""

    @abstractmethod
    def looks(self, blocker: Blocker | None) -> Iterator[datetime]:
        """Yield when to look at it again while it goes on."""

    @abstractmethod
    def plan(self) -> Plan | Rejected:
        """Resolve the job for it."""

    @abstractmethod
    def objects(self, plan: Plan) -> tuple[Manifest, ...]:
        """Return all that it is made of."""

    def follow(self) -> Answer:
        """It is under way: how does it stand, and has it ended?"""
        blocker = None if self.begun else self.blocker()
        starting = "" if self.begun else self.starting()
        look = UnderWay(case=self.case, run=self.seen, record=self.record, blocker=blocker, starting=starting)
        verdicts = [ends(look) for ends in ENDS]
        end = self.judge() or next((each for each in verdicts if isinstance(each, Fault)), None)
        if end is not None:
            return self._released(end) if self.seen.released else self._release(end)
        due = (each for each in verdicts if isinstance(each, datetime))
        return Answer(
            self.under_way(blocker),
            (*self._repairs(), *self._safety_net(), *self.case.earlier(self.record.id)),
            again=self.case.wake(*due, *self.looks(blocker)),
        )

    def between(self) -> Answer | Due:
        """It has failed and ended; the next one may be due."""
        fault, spent = recorded(self.record), self.spent
        straggling = lingering.waits_for(pod for attempt in self.case.observed.attempts for pod in attempt.all_pods)
        if straggling:
            # The Job controller made it just before it saw its Job go, and the garbage collector takes it; or the Job
            # was deleted without its pods.
            return Answer(replace(self.account(spent), fault=fault, removing=straggling), again=LOOK_FOR_PODS)
        match self._next(self._ended(fault, spent)):
            case Retry(at=at) if at <= self.case.now and self.case.expired(self.record) is None:
                return Due(at)
        return self._or_again(fault, spent)

    def _release(self, end: Committed | Fault) -> Answer:
        """The outcome is known, but pods are alive or may still come: see that they go, and remember the cause."""
        run, job = self.seen, self.seen.batch_job
        if settling(run, self.case.now):
            known = run.wanted == 1 or self.record.reason is not None
            if known or isinstance(end, Committed) or end.failure.reach is not Reach.CAUSE:
                return Answer(again=PHASE_SECONDS)
            # If the other pods are deleted meanwhile, their reports go with them.
            return Answer(replace(self._blamed(end).account(), fault=end), again=PHASE_SECONDS)
        gone: tuple[DeleteDask, ...] = dask.removal(run)
        removing = "; ".join(filter(None, (lingering.waits_for(run.all_pods), *(part.told for part in gone))))
        if isinstance(end, Committed):
            # The last rank is about to leave. Its Job stays: with it the report would go.
            return Answer(replace(self.account(), committed=end, removing=removing), gone, again=LOOK_FOR_PODS)
        # A pod that Kubernetes takes away goes by itself, and may still commit within its grace period.
        taken = job is not None and job.suspended is not None
        slow = not run.pods or any(pod.disruption is None and not taken for pod in run.alive)
        release: bool = job is not None and not job.deleting and slow
        return Answer(
            replace(self._blamed(end).account(), fault=end, removing=removing),
            (*((DeleteRun(self.purpose, self.record.id),) if release else ()), *gone),
            again=LOOK_FOR_PROGRESS,
        )

    def _blamed(self, fault: Fault) -> Run[Record]:
        return replace(self, record=blamed(self.record, fault))

    def _released(self, end: Committed | Fault) -> Answer:
        """It has ended and nothing of it is alive: complete, failed, or another run to come."""
        known = {"node": self.record.node or self.seen.node, "ended": self.case.now}
        if isinstance(end, Committed):
            done = self.record.model_copy(update={**known, "reason": None, "message": None, "exit_code": 0})
            return Answer(replace(replace(self, record=done).account(), committed=end, ended=True), again=0)
        over = replace(self, record=self.record.model_copy(update=known))
        return over._blamed(end)._or_again(end, self.spent.after(end.failure))

    def _or_again(self, fault: Fault, spent: Spent) -> Answer:
        """Tell that it has failed and ended, and what follows: the job's end, or another run in a while."""
        account = replace(self.account(spent), fault=fault, ended=True)
        last = self._ended(fault, spent)
        match self._next(last):
            case GiveUp(reason=reason):
                failed = given_up(reason, fault, last, self.several)
                return Answer(replace(account, failed=failed), again=0)
            case Retry() if self.case.job.spec.suspend:
                return suspend.settled(self.case, account)
            case Retry(at=at):
                if late := self.case.expired(self.record):
                    failed = Fault(late.failure, f"{late.message} {self.last} {fault.failure}: {fault.message}")
                    return Answer(replace(account, failed=failed), again=0)
                wake = self.case.wake(at, self.case.deadline_of(self.record))
                return Answer(replace(account, retry_at=at), again=wake)

    def _ended(self, fault: Fault, spent: Spent) -> Ended:
        assert self.record.ended is not None  # the callers checked
        return Ended(self.record.id, fault.failure, self.record.ended, spent)

    def _next(self, last: Ended) -> Retry | GiveUp:
        return next_attempt(last, self.case.job.spec.backoff_limit, self.case.job.metadata.uid)

    def _repairs(self) -> tuple[Create, ...]:
        """Make anew what a run that has not begun is missing: someone deleted it, or the operator died midway."""
        missing = self.seen.missing
        if self.begun or not missing or self.seen.batch_job is None or isinstance(plan := self.plan(), Rejected):
            return ()
        return create(tuple(each for each in self.objects(plan) if each["kind"] in missing))

    def _safety_net(self) -> tuple[Action, ...]:
        """Move the deadline of the batch Job, if it is not the one that the job has now."""
        job, wanted = self.seen.batch_job, safety_net(self.case.job)
        if job is None or job.finished or job.deleting or job.deadline == wanted:
            return ()
        return (MoveDeadline(job.name, wanted),)


def create(objects: tuple[Manifest, ...]) -> tuple[Create, ...]:
    """Return the action that makes these objects; none if there are none."""
    return (Create(objects),) if objects else ()


def refused(case: Case, account: Account, asked: datetime) -> Answer:
    """The API server refuses to create the objects of a run, which were due at `asked`."""
    blocker = account.blocker
    assert blocker is not None
    late = deadline.start(asked, case.job.spec.start_deadline_seconds, case.now, because=blocker.message)
    if fault := Fault(blocker.failure, blocker.message) if blocker.failure else late:
        return Answer(replace(account, failed=fault, ended=True), again=0)
    return Answer(account, again=case.again(RETRY_REFUSED, asked))


def settling(run: Attempt, now: datetime) -> bool:
    """Whether containers have ended so recently that the phases of their pods may still follow, or in a set the other
    pods, whose reports may say more.
    """
    ended = [pod for pod in run.alive if pod.exit]
    others = len(ended) < len(run.alive)
    if others:
        # They have as long from the first end that ends the attempt.
        ended = [pod for pod in run.pods if ends_all(pod)]
    moments = [pod.exit.seen for pod in ended if pod.exit and pod.exit.seen]
    first = others and any(pod.index == 0 and pod.exit is None for pod in run.alive)
    seconds = OPERATOR_COMMIT_SECONDS if first and run.wanted > 1 else PHASE_SECONDS
    since = min(moments, default=None) if others else max(moments, default=None)
    return since is not None and now - since < timedelta(seconds=seconds)
