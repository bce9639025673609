"""Reuse: what `spec.reuse` means. The commit of an earlier job is this job's result, and nothing is run.

Only a pod can find that out: the preflight's own, which then is all that the job ever runs, or index 0 of an attempt,
before its engine starts. It names that job and the commit; a claim, which can make no other job's status wrong. A pod
that finds no such commit says what differs first, and the job goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuquery.api.conditions import ConditionType, find
from gpuquery.api.reasons import Reason
from gpuquery.reconcile.policy.outcome import Committed, committed

if TYPE_CHECKING:
    from gpuquery.api.report import Report
    from gpuquery.api.reuse import ReuseStatus
    from gpuquery.api.types import GpuQueryJob
    from gpuquery.reconcile.observe.model import Attempt
    from gpuquery.reconcile.policy.account import Account, Told

UNCHECKED = "the output holds the result already; nothing more was checked"
"""What `Preflight` says then."""


def completes(job: GpuQueryJob, report: Report | None) -> bool:
    """Whether the report of a preflight's pod says that the job is done."""
    return job.spec.reuse is not None and report is not None and reused(report.reuse)


def end(job: GpuQueryJob, run: Attempt) -> Committed | None:
    """Return the earlier commit that a run of the preflight has found, which ends the job; None: it goes on."""
    pods = (pod for pod in run.pods if pod.exit and completes(job, pod.exit.report))
    return next((found for pod in pods if (found := committed(pod))), None)


def known(job: GpuQueryJob, account: Account) -> ReuseStatus | None:
    """Return what the newest report says about it."""
    if job.spec.reuse is None:
        return None
    fault = account.failed or account.fault
    newest = account.committed.reuse if account.committed else fault.reuse if fault else None
    return newest or job.status.reuse


def condition(job: GpuQueryJob, account: Account) -> Told | None:
    """Return what `Reused` says; None: there is no such condition."""
    if job.spec.reuse is None:
        return None
    told = known(job, account)
    if told is not None and told.reused:
        return "True", Reason.SAME_RESULT, f"{told.commit} was committed by job {told.job}"
    if told is not None:
        than = f" ({told.commit} by job {told.job})" if told.job else ""
        return "False", Reason.NOT_THE_SAME, f"{told.differs or 'nothing can be reused'}{than}"
    before = find(job.status.conditions, ConditionType.REUSED)
    if before is not None and before.status != "Unknown":
        return before.status, before.reason, before.message
    if account.committed is not None:
        return (
            "False",
            Reason.NOT_THE_SAME,
            "the pod told nothing of it: its image is an older one, or the job had committed before",
        )
    return "Unknown", Reason.NOT_STARTED, "nobody has looked yet"


def reused(told: ReuseStatus | None) -> bool:
    """Whether an earlier commit is the result."""
    return told is not None and told.reused
