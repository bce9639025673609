"""Run: the one machine that follows a run from its first pod to its end, and decides what comes after it.

An attempt is a run, and so is the preflight in a pod of its own. What differs between them is a `RunKind`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Generic

from gpuquery.reconcile.policy import dask, deadline, lingering, startup, suspend
from gpuquery.reconcile.policy.actions import DeleteDask, DeleteRun
from gpuquery.reconcile.policy.case import (
    LOOK_FOR_PODS,
    LOOK_FOR_PROGRESS,
    PHASE_SECONDS,
    Decision,
    UnderWay,
    node_of,
    settling,
)
from gpuquery.reconcile.policy.outcome import Committed, Fault, Record, blamed, firm, recorded
from gpuquery.reconcile.policy.retry import Ended, GiveUp, Retry, Spent, next_attempt
from gpuquery.reconcile.report.status import gave_up

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from gpuquery.plan.plan import Purpose
    from gpuquery.reconcile.observe.model import Attempt
    from gpuquery.reconcile.policy.case import Case
    from gpuquery.reconcile.policy.startup import Blocker
    from gpuquery.reconcile.report.status import Account


@dataclass(frozen=True)
class Due:
    """Nothing is left to wait for: pods of another run may be asked for, and were due at that time."""

    since: datetime


class RunKind(ABC, Generic[Record]):
    """What an attempt and a run of the preflight do not have in common."""

    purpose: ClassVar[Purpose]
    several: ClassVar[str]
    """What several of them are called."""
    last: ClassVar[str]
    """How a sentence about the last one of them begins."""

    @abstractmethod
    def sight(self, case: Case, number: int) -> Attempt:
        """Return what exists of a run; perhaps nothing."""

    @abstractmethod
    def begun(self, run: Attempt, record: Record) -> bool:
        """Whether its pods have begun, so that nothing holds them up and no start deadline counts."""

    @abstractmethod
    def blocker(self, case: Case, run: Attempt, record: Record) -> Blocker | None:
        """Return what holds up a run that has not begun."""

    @abstractmethod
    def starting(self, run: Attempt) -> str:
        """Say what a run that has not begun waits for where nothing holds it up."""

    @abstractmethod
    def judge(self, case: Case, run: Attempt, record: Record) -> Committed | Fault | None:
        """Return how a run ended, by what is left of it; None while it goes on."""

    @abstractmethod
    def goes_on(self, case: Case, run: Attempt, record: Record, blocker: Blocker | None) -> Decision:
        """Tell how a run stands that has not ended, and see that nothing of it is missing."""

    @abstractmethod
    def account(self, case: Case, record: Record, spent: Spent | None = None) -> Account:
        """Return the account of a run, for others to add to."""

    @abstractmethod
    def spent(self, case: Case, record: Record) -> Spent:
        """Return what is known of the runs up to this one."""


ENDS: tuple[Callable[[UnderWay], Fault | None], ...] = (
    suspend.ends,
    startup.hopeless,
    deadline.job_is_late,
    deadline.start_is_late,
)
"""What ends a run by the operator's own word. The first that has something to say is the cause."""


def follow(kind: RunKind[Record], case: Case, record: Record) -> Decision:
    """A run is under way: how does it stand, and has it ended?"""
    run = kind.sight(case, record.id)
    begun = kind.begun(run, record)
    blocker = None if begun else kind.blocker(case, run, record)
    starting = "" if begun else kind.starting(run)
    look = UnderWay(case=case, run=run, record=record, blocker=blocker, starting=starting)
    end = kind.judge(case, run, record) or next((end for policy in ENDS if (end := policy(look)) is not None), None)
    if end is None:
        return kind.goes_on(case, run, record, blocker)
    return _released(kind, case, record, end) if run.released else _release(kind, case, record, end)


def between(kind: RunKind[Record], case: Case, record: Record) -> Decision | Due:
    """A run has failed and ended; the next one may be due."""
    fault = recorded(record)
    spent = kind.spent(case, record)
    straggling = lingering.waits_for(pod for attempt in case.observed.attempts for pod in attempt.all_pods)
    if straggling:
        # The Job controller made it just before it saw its Job go, and the garbage collector takes it; or the Job was
        # deleted without its pods.
        waiting = replace(kind.account(case, record, spent), fault=fault, removing=straggling)
        return Decision(status=case.derive(waiting), requeue_after=LOOK_FOR_PODS)
    match _next(case, record, fault, spent):
        case Retry(at=at) if at <= case.now and case.expired(record) is None:
            return Due(at)
    return _or_again(kind, case, record, fault, spent)


def _release(kind: RunKind[Record], case: Case, record: Record, end: Committed | Fault) -> Decision:
    """The outcome is known, but pods are alive or may still come: see that they go, and remember the cause."""
    run = kind.sight(case, record.id)
    job = run.batch_job
    account = kind.account(case, record)
    if settling(run, case.now):
        if run.wanted == 1 or record.reason is not None or isinstance(end, Committed) or not firm(end):
            return Decision(requeue_after=PHASE_SECONDS)
        # Whoever deletes the other pods meanwhile takes their reports with them.
        account = kind.account(case, blamed(record, end))
        return Decision(status=case.derive(replace(account, fault=end)), requeue_after=PHASE_SECONDS)
    gone: tuple[DeleteDask, ...] = dask.removal(run)
    removing = "; ".join(filter(None, (lingering.waits_for(run.all_pods), *(part.told for part in gone))))
    if isinstance(end, Committed):
        # The last rank is about to leave. Its Job stays: with it the report would go.
        account = replace(account, committed=end, removing=removing)
        return Decision(status=case.derive(account), actions=gone, requeue_after=LOOK_FOR_PODS)
    # A pod that Kubernetes takes away goes by itself, and may still commit within its grace period.
    taken = job is not None and job.suspended is not None
    slow = not run.pods or any(pod.disruption is None and not taken for pod in run.alive)
    release: bool = job is not None and not job.deleting and slow
    account = kind.account(case, blamed(record, end))
    return Decision(
        status=case.derive(replace(account, fault=end, removing=removing)),
        actions=(*((DeleteRun(kind.purpose, record.id),) if release else ()), *gone),
        requeue_after=LOOK_FOR_PROGRESS,
    )


def _released(kind: RunKind[Record], case: Case, record: Record, end: Committed | Fault) -> Decision:
    """The run has ended and nothing of it is alive: complete, failed, or another run to come."""
    run = kind.sight(case, record.id)
    record = record.model_copy(update={"node": record.node or node_of(run), "ended": case.now})
    spent = kind.spent(case, record)
    if isinstance(end, Committed):
        done = record.model_copy(update={"reason": None, "message": None, "exit_code": 0})
        account = replace(kind.account(case, done), committed=end, ended=True)
        return Decision(status=case.derive(account), requeue_after=0)
    return _or_again(kind, case, blamed(record, end), end, spent.after(end.failure))


def _or_again(kind: RunKind[Record], case: Case, record: Record, fault: Fault, spent: Spent) -> Decision:
    """Tell a run that has failed and ended, and what follows: the job's end, or another run in a while."""
    account = replace(kind.account(case, record, spent), fault=fault, ended=True)
    match _next(case, record, fault, spent):
        case GiveUp(reason=reason):
            failed = gave_up(fault, reason, _last(record, fault, spent), kind.several)
            return Decision(status=case.derive(replace(account, failed=failed)), requeue_after=0)
        case Retry() if case.job.spec.suspend:
            return suspend.settled(case, account)
        case Retry(at=at):
            if late := case.expired(record):
                failed = Fault(late.failure, f"{late.message} {kind.last} {fault.failure}: {fault.message}")
                return Decision(status=case.derive(replace(account, failed=failed)), requeue_after=0)
            wake = case.wake(at, case.deadline_of(record))
            return Decision(status=case.derive(replace(account, retry_at=at)), requeue_after=wake)


def _next(case: Case, record: Record, fault: Fault, spent: Spent) -> Retry | GiveUp:
    return next_attempt(_last(record, fault, spent), case.job.spec.backoff_limit, case.job.metadata.uid)


def _last(record: Record, fault: Fault, spent: Spent) -> Ended:
    """Return a run that has failed and ended as the retry policy sees it."""
    assert record.ended is not None  # the callers checked
    return Ended(record.id, fault.failure, record.ended, spent.counted, spent.suspended)
