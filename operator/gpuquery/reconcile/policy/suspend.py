"""Suspend: what `spec.suspend` means, which is what it means for a batch Job.

True: what is under way is ended, all pods go, and the history stays. No deadline runs, and the job holds no place in
its namespace. False again: the job waits for its turn, and another run begins. What was ended counts against nothing.

A commit that has begun is finished. Only progress tells of it, and that is a hint: the job is left alone no longer than
a supervisor would go on with a commit. One of which nothing was known is finished by the pod in its grace period;
should the report be lost with the pod, the attempt after the resumption finds the commit and only reports it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from gpuquery.api.conditions import ConditionType, find, is_true
from gpuquery.api.reasons import Failure
from gpuquery.api.report import Phase
from gpuquery.reconcile.policy.case import COMMIT_SECONDS, Decision, unfit
from gpuquery.reconcile.policy.outcome import Fault
from gpuquery.reconcile.report.status import PUBLISHED, Account

if TYPE_CHECKING:
    from gpuquery.reconcile.policy.case import Case, UnderWay

COMMITS = {Phase.COMMITTING, *PUBLISHED}
"""Phases in which a commit has begun."""
LOOK_AGAIN = 600.0
"""Seconds until a suspended job is looked at again; that it is resumed, the watch tells."""


def stay(case: Case) -> Decision | None:
    """Nothing of a suspended job is under way: nothing begins until it is resumed."""
    if not case.job.spec.suspend or _under_way(case):
        return None
    if case.job.status.plan is None and (refused := unfit(case)) is not None:
        return refused
    return settled(case, Account(plan=case.job.status.plan))


def settled(case: Case, account: Account) -> Decision:
    """The job is suspended, and nothing of it is left; `account` tells of the last run."""
    account = replace(account, fault=None, checking=False, ended=True, suspended=True)
    # The next look finds that it holds no place any longer.
    known = is_true(case.job.status.conditions, ConditionType.SUSPENDED)
    return Decision(status=case.derive(account), requeue_after=LOOK_AGAIN if known else 0)


def ends(look: UnderWay) -> Fault | None:
    """End the run of a job that is suspended, unless it commits."""
    if not look.case.job.spec.suspend or look_until(look.case) is not None:
        return None
    return Fault(Failure.SUSPENDED, "the job was suspended (spec.suspend) while this was under way")


def look_until(case: Case) -> datetime | None:
    """Return until when a suspended job may go on with its commit; None if it may not."""
    progress = case.observed.reading.progress if case.observed.reading else None
    if not case.job.spec.suspend or progress is None or progress.phase not in COMMITS:
        return None
    known = find(case.job.status.conditions, ConditionType.SUSPENDED)
    noticed = known.last_transition_time if known and known.status == "Unknown" else None
    until = (noticed or case.now) + timedelta(seconds=COMMIT_SECONDS)
    return until if case.now < until else None


def _under_way(case: Case) -> bool:
    """Whether something of the job is alive, or was asked for and has not been seen to have ended."""
    status, observed = case.job.status, case.observed
    if any(attempt.all_pods and any(pod.alive for pod in attempt.all_pods) for attempt in observed.attempts):
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
