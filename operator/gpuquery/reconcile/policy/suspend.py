"""Suspend: what `spec.suspend` means, which is what it means for a batch Job.

True: what is under way is ended, all pods go, and the history stays. No deadline runs, and the job holds no place in
its namespace. False again: the job waits for its turn, and another run begins. What was ended counts against nothing.

A commit that has begun is finished. Only progress shows it, and that is a hint: the job is given no more time than a
supervisor gives a commit. A pod finishes an unseen commit in its grace period; if its report is lost, the attempt after
the resumption finds the commit and only reports it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from gpuquery.api.conditions import ConditionType, State, find, is_true
from gpuquery.api.reasons import Event, Failure, Reason
from gpuquery.api.report import Phase
from gpuquery.api.timing import OPERATOR_COMMIT_SECONDS
from gpuquery.reconcile.policy.account import Account, Hold, Note
from gpuquery.reconcile.policy.case import Answer, unfit
from gpuquery.reconcile.policy.outcome import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuquery.api.status import GpuQueryJobStatus
    from gpuquery.api.types import GpuQueryJob
    from gpuquery.reconcile.policy.account import Told
    from gpuquery.reconcile.policy.case import Case, UnderWay

COMMITS = {Phase.COMMITTING, Phase.PUBLISHING, Phase.DONE}
"""Phases in which a commit has begun."""
LOOK_AGAIN = 600.0
"""Seconds until a suspended job is looked at again; that it is resumed, the watch tells."""
QUIET = (Reason.JOB_SUSPENDED, "the job is suspended, and nothing of it runs")
HOLD = Hold(reason=QUIET[0], message=QUIET[1], after=QUIET, state=State.SUSPENDED)


def stay(case: Case) -> Answer | None:
    """Nothing of a suspended job is under way: nothing begins until it is resumed."""
    if not case.job.spec.suspend or _under_way(case):
        return None
    if case.job.status.plan is None and (refused := unfit(case)) is not None:
        return refused
    return settled(case, Account(plan=case.job.status.plan))


def settled(case: Case, account: Account) -> Answer:
    """The job is suspended, and nothing of it runs; `account` is that of the last run."""
    # The next look finds that it holds no place any longer.
    known = is_true(case.job.status.conditions, ConditionType.SUSPENDED)
    # The plan of a preflight is provisional: what it would have found out may change it.
    plan = None if account.checking else account.plan
    account = replace(account, plan=plan, fault=None, checking=False, ended=True, hold=HOLD)
    return Answer(account, again=LOOK_AGAIN if known else 0)


def ends(look: UnderWay) -> Fault | datetime | None:
    """End the run of a job that is suspended; while it commits, not before a certain time."""
    case, now = look.case, look.case.now
    if not case.job.spec.suspend:
        return None
    progress = case.observed.reading.progress if case.observed.reading else None
    if progress is not None and progress.phase in COMMITS:
        known = find(case.job.status.conditions, ConditionType.SUSPENDED)
        noticed = known.last_transition_time if known and known.status == "Unknown" else None
        until = (noticed or now) + timedelta(seconds=OPERATOR_COMMIT_SECONDS)
        if now < until:
            return until
    return Fault(Failure.SUSPENDED, "the job was suspended (spec.suspend) while this was under way")


def condition(job: GpuQueryJob, account: Account) -> Told | None:
    """Return what `Suspended` says; None: the job never was."""
    known = find(job.status.conditions, ConditionType.SUSPENDED)
    if account.hold is HOLD:
        return "True", Reason.JOB_SUSPENDED, f"{QUIET[1]}: it is resumed by spec.suspend: false"
    if account.over:
        return None if known is None else ("False", Reason.ENDED, "the job has ended")
    if job.spec.suspend and (account.suspending or account.fault):
        return "Unknown", Reason.RELEASING, account.with_removal("the pods of the job are being removed")
    if job.spec.suspend:
        return "Unknown", Reason.RELEASING, "the commit of the job, which has begun, is finished first"
    return None if known is None else ("False", Reason.JOB_RESUMED, "the job was resumed")


def notes(before: GpuQueryJobStatus, after: GpuQueryJobStatus) -> Iterator[Note]:
    """Yield the event of a job that was suspended or resumed."""
    was, now = (find(status.conditions, ConditionType.SUSPENDED) for status in (before, after))
    if now is None or (was is not None and was.status == now.status):
        return
    # The time makes each suspension an event of its own.
    since = f" (since {now.last_transition_time:%Y-%m-%d %H:%M:%SZ})" if now.last_transition_time else ""
    if now.status == "True":
        yield Note(Event.SUSPENDED, now.message + since)
    elif now.reason == Reason.JOB_RESUMED:
        yield Note(Event.RESUMED, now.message + since)


def _under_way(case: Case) -> bool:
    """Whether something of the job is alive, or was asked for and has not been seen to have ended."""
    status, observed = case.job.status, case.observed
    if any(pod.alive for attempt in observed.attempts for pod in attempt.all_pods):
        return True
    number = max(status.attempt or 0, observed.latest)
    if number:
        record = next((each for each in status.attempts if each.id == number), None)
        return record is None or record.ended is None or record.reason is None
    if status.preflight is not None:
        return case.job.spec.dry_run  # nothing else was to be done
    run = status.preflight_run
    latest = max((each.number for each in observed.runs), default=0)
    return latest > (run.id if run else 0) or (run is not None and run.ended is None)
