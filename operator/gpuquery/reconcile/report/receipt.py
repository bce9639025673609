"""The small receipt: what the operator has seen of a job's phases, and what the pod that committed tells.

Only times of the operator's own clock are subtracted from each other. The pod tells one length of time, of the commit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuquery.api.conditions import ConditionType, find
from gpuquery.api.receipt import PhaseSeconds, ReceiptClaim, ReceiptStatus
from gpuquery.plan.plan import DaskWay

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from gpuquery.api.status import AttemptStatus, PreflightRun
    from gpuquery.api.types import GpuQueryJob
    from gpuquery.reconcile.policy.account import Account

NOTHING = ReceiptClaim()


def receipt(job: GpuQueryJob, account: Account, now: datetime) -> ReceiptStatus | None:
    """Return the receipt of a job that has committed and ended; None before that."""
    committed = account.committed
    if committed is None or not account.ended:
        return None
    before = job.status
    plan = account.plan or before.plan
    claim = committed.receipt or NOTHING
    attempt = account.attempt
    gpus = plan.workers if plan and attempt else 0
    earlier = [one for one in before.attempts if attempt is None or one.id != attempt.id]
    run = account.run or before.preflight_run
    seconds = PhaseSeconds(
        queued=_between(_seen(job), _first(run, [*earlier, *([attempt] if attempt else [])])),
        preflight=_between(run.started, run.ended) if run else None,
        wasted=sum(_between(one.started, one.ended) or 0 for one in earlier) if earlier else None,
        **(_of_attempt(attempt, claim, now) if attempt else {}),
    )
    asked = 0 if plan and plan.dask and plan.dask.way == DaskWay.ATTACH else gpus
    held = {name: value * asked for name, value in seconds if name not in WITHOUT_GPU and value is not None}
    return ReceiptStatus(
        query=claim.query,
        key=claim.key,
        image=committed.image,
        gpus=gpus,
        reused=committed.reuse.job if committed.reuse and committed.reuse.reused else "",
        seconds=seconds,
        gpu_seconds=PhaseSeconds(**held) if asked else PhaseSeconds(),
    )


WITHOUT_GPU = frozenset({"queued", "preflight"})
"""Phases in which a job holds no GPU."""


def _of_attempt(attempt: AttemptStatus, claim: ReceiptClaim, now: datetime) -> dict[str, float | None]:
    ended = attempt.ended or now
    ready = attempt.ready or attempt.started
    worked = _between(ready, ended) or 0.0
    committing = None if claim.committing is None else min(round(claim.committing, 1), worked)
    return {
        "starting": _between(attempt.started, ready),
        "running": worked - (committing or 0.0),
        "committing": committing,
    }


def _seen(job: GpuQueryJob) -> datetime | None:
    """When the operator first told of the job: since then it has been so that it has not failed."""
    known = find(job.status.conditions, ConditionType.FAILED)
    return known.last_transition_time if known else None


def _first(run: PreflightRun | None, attempts: Sequence[AttemptStatus]) -> datetime | None:
    started = [one.started for one in attempts] + ([run.started] if run and run.id == 1 else [])
    return min(started, default=None)


def _between(start: datetime | None, end: datetime | None) -> float | None:
    return None if start is None or end is None else max(0.0, (end - start).total_seconds())
