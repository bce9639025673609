"""Status: what the user is told, derived from one account of how things stand.

`Account` is filled by the decision; everything here follows from it and from the status before, which gives the
transition times and what must never be taken back.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gpuquery.api.choices import ClusterChoice
from gpuquery.api.conditions import MAX_MESSAGE, ConditionType, State, find, is_true, merged
from gpuquery.api.reasons import Policy, Reason
from gpuquery.api.report import Phase
from gpuquery.api.status import (
    MAX_ATTEMPTS_SHOWN,
    AttemptStatus,
    Condition,
    GpuQueryJobStatus,
    InputStatus,
    ProgressStatus,
)
from gpuquery.api.text import clean, cleaned
from gpuquery.api.timing import PULSE_SECONDS
from gpuquery.kube.progress import EVERY_SECONDS
from gpuquery.plan.checks import Place, place
from gpuquery.reconcile.policy import reuse, suspend
from gpuquery.reconcile.report.commitment import commitment
from gpuquery.reconcile.report.findings import summary
from gpuquery.reconcile.report.receipt import receipt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from gpuquery.api.types import GpuQueryJob
    from gpuquery.reconcile.policy.account import Account, Told
    from gpuquery.reconcile.policy.outcome import Fault
    from gpuquery.reconcile.policy.startup import Blocker

PUBLISHED = {Phase.PUBLISHING, Phase.DONE}
"""Phases in which the commit record exists, if the pod tells the truth."""
CHECKED = {Phase.RUNNING, Phase.COMMITTING, *PUBLISHED}
"""Phases that come after the checks in the query's own pod."""


def derive(job: GpuQueryJob, account: Account, now: datetime) -> GpuQueryJobStatus:
    """Return the whole status for an account."""
    before = job.status
    if account.fault and account.fault.failure.policy is Policy.RESUMED:
        # This is no failure.
        account = replace(account, fault=None, suspending=True)
    told = ((kind, said) for kind, says in CONDITIONS.items() if (said := says(job, account)))
    wanted = [
        Condition(type=kind, status=status, reason=reason, message=clean(message, MAX_MESSAGE),
                  observed_generation=job.metadata.generation)
        for kind, (status, reason, message) in told
    ]  # fmt: skip
    conditions = merged(before.conditions, wanted, now=now)
    attempt, committed = account.attempt, account.committed if account.ended else None
    fault, spent = account.failed or account.fault, account.spent
    # A plan that is only provisional is told along with why the job has failed.
    plan = account.plan if account.failed or account.committed or not account.checking else None
    status = GpuQueryJobStatus(
        observed_generation=job.metadata.generation,
        state=_state(conditions, account),
        failure=fault.failure if fault else None,
        conditions=conditions,
        plan=before.plan if account.checking and before.plan else plan or before.plan,
        preflight=before.preflight or (committed.found if committed else None),
        preflight_run=account.run or before.preflight_run,
        attempt=attempt.id if attempt else before.attempt,
        attempts=with_attempt(before.attempts, attempt),
        counted_failures=spent.counted if spent else before.counted_failures,
        suspended_attempts=(spent.suspended if spent else 0) or before.suspended_attempts,
        progress=_progress(account, before),
        output=committed.output if committed else before.output,
        reuse=reuse.known(job, account),
        receipt=receipt(job, account, now) or before.receipt,
        inputs=_inputs(job, account, committed.inputs if committed else fault.inputs if fault else ()),
        warnings=committed.warnings if committed else _warned(account) or before.warnings,
        start_time=_start_time(account, before, conditions),
        completion_time=now if account.over else None,
    )
    return _shown(status)


def _inputs(job: GpuQueryJob, account: Account, reported: Sequence[InputStatus]) -> tuple[InputStatus, ...]:
    """What was read of each input: by the report, else by the progress, which tells of tables alone."""
    if not reported and account.reading and account.reading.progress:
        reported = account.reading.progress.inputs
    known = {one.name: one for one in (*job.status.inputs, *reported)}
    return tuple(known[item.name] for item in job.spec.inputs if item.name in known)


def _start_time(account: Account, before: GpuQueryJobStatus, conditions: Sequence[Condition]) -> datetime | None:
    """When the first pod was asked for: since the job was resumed, if it was suspended, as for a batch Job."""
    if account.stopped:
        return None
    if before.start_time is not None:
        return before.start_time
    first = account.run or before.preflight_run or account.attempt
    resumed = find(conditions, ConditionType.SUSPENDED)
    if resumed is None or resumed.last_transition_time is None:
        return first.started if first else None
    return next(
        (each.started for each in (first, account.attempt) if each and each.started >= resumed.last_transition_time),
        None,
    )


def _shown(status: GpuQueryJobStatus) -> GpuQueryJobStatus:
    """Return a status without invisible characters, wherever its texts come from."""
    texts = status.model_dump()
    seen = cleaned(texts)
    return status if seen == texts else GpuQueryJobStatus.model_validate(seen)


def _warned(account: Account) -> tuple[str, ...]:
    """What the running query warns of, which its report repeats."""
    return account.reading.progress.warnings if account.reading and account.reading.progress else ()


def with_attempt(attempts: Sequence[AttemptStatus], attempt: AttemptStatus | None) -> tuple[AttemptStatus, ...]:
    """Return the attempts with one added or replaced; the last ten."""
    if attempt is None:
        return tuple(attempts)
    return (*(a for a in attempts if a.id != attempt.id), attempt)[-MAX_ATTEMPTS_SHOWN:]


def _accepted(job: GpuQueryJob, account: Account) -> Told:
    if account.hold:
        return account.hold.accepted, account.hold.reason, account.hold.message
    if account.plan is not None:
        return "True", Reason.RESOLVED, account.plan.told
    known = find(job.status.conditions, ConditionType.ACCEPTED)
    return "True", Reason.RESOLVED, known.message if known and known.status == "True" else ""


def _preflight(job: GpuQueryJob, account: Account) -> Told:
    """True and False are final, and a check that goes on is Unknown. Only a True that came from progress is taken back
    if the report says that the query cannot run.
    """
    before, committed = job.status, account.committed
    found = before.preflight or (committed.found if committed else None)
    if committed is not None and reuse.reused(committed.reuse) and account.checking:
        return "True", Reason.PASSED, reuse.UNCHECKED
    if found is not None:
        return "True", Reason.PASSED, summary(found)
    known = find(before.conditions, ConditionType.PREFLIGHT)
    fault = account.failed or account.fault
    if fault is not None and fault.finding:
        return "False", fault.failure, fault.message
    if known and known.status != "Unknown":
        return known.status, known.reason, known.message
    if account.hold:
        return "Unknown", *account.hold.after
    if account.checking:
        return "Unknown", *_checking(account, before)
    plan = account.plan or before.plan
    if plan is None:
        return "Unknown", Reason.NOT_STARTED, "the job is not accepted"
    match place(job.spec, plan):
        case Place.NOWHERE:
            return (
                "Unknown",
                Reason.SKIPPED,
                "preflight is never: the query was not checked before its pods were asked for",
            )
        case Place.QUERY_POD:
            progress = account.reading.progress if account.reading else None
            if committed or (progress and progress.phase in CHECKED):
                return "True", Reason.PASSED, "the query's own pod found nothing wrong before the engine started"
            return "Unknown", Reason.IN_POD, "the query is checked in its own pod before the engine starts"
        case Place.OWN_POD:
            return "Unknown", Reason.CHECKING, "what the preflight found out was lost with its pod"


def _checking(account: Account, before: GpuQueryJobStatus) -> tuple[str, str]:
    """Reason and message of a preflight that has not come to an end."""
    fault = account.failed or account.fault
    if account.failed:
        return account.failed.failure, account.failed.message
    if account.suspending:
        return Reason.RELEASING, account.with_removal(
            "the job is being suspended; the preflight's pod is being removed"
        )
    if fault and account.retry_at:
        return Reason.RETRYING, _again(fault, account.retry_at)
    if fault:
        return Reason.RELEASING, account.with_removal(
            f"the preflight failed ({fault.failure}); its pod is being removed"
        )
    if account.blocker:
        return account.blocker.reason, _blocked(account.blocker, find(before.conditions, ConditionType.PREFLIGHT))
    return Reason.CHECKING, "a pod without GPU checks the query"


def _again(fault: Fault, at: datetime) -> str:
    return f"{fault.failure}: {fault.message}; the preflight runs again at {at:%H:%M:%SZ}"


def _cluster_ready(job: GpuQueryJob, account: Account) -> Told:
    before = job.status
    if (quiet := _not_under_way(account)) is not None:
        return quiet
    if account.blocker:
        known = find(before.conditions, ConditionType.CLUSTER_READY)
        return "False", account.blocker.reason, _blocked(account.blocker, known)
    if account.ready:
        plan = account.plan or before.plan
        alone = plan is not None and plan.cluster == ClusterChoice.SINGLE
        return "True", Reason.POD_READY if alone else Reason.ALL_RANKS_JOINED, account.pods
    return "False", Reason.STARTING, account.pods


def _blocked(blocker: Blocker, known: Condition | None) -> str:
    if blocker.vague and known and known.reason == blocker.reason:
        return known.message
    return blocker.message


def _running(job: GpuQueryJob, account: Account) -> Told:
    before = job.status
    if (quiet := _not_under_way(account)) is not None:
        return quiet
    was = find(before.conditions, ConditionType.RUNNING)
    joined = account.attempt is not None and account.attempt.ready is not None
    if not joined:
        return "False", Reason.NOT_STARTED, "the pods are not ready yet"
    if account.reading and account.reading.progress:
        return "True", Reason.QUERY_RUNNING, "the query runs"
    if account.reading:
        return "Unknown", Reason.PROGRESS_UNREADABLE, "the pods are ready, but their progress cannot be read"
    same = before.attempt == (account.attempt.id if account.attempt else None)
    if same and was and was.status != "False":
        return was.status, was.reason, was.message
    return "False", Reason.NOT_STARTED, "the pods are ready; their progress was not read yet"


def _not_under_way(account: Account) -> Told | None:
    """What ClusterReady and Running say alike when no attempt is under way."""
    if account.hold:
        return "False", *account.hold.after
    if account.committed or account.failed or account.dry_run:
        if account.ended:
            return "False", Reason.ENDED, "the job has ended"
        return "False", Reason.RELEASING, account.with_removal("the outcome is known; pods are still being removed")
    if account.checking:
        return "False", Reason.NOT_STARTED, account.with_removal("the preflight comes first")
    if account.suspending:
        return "False", Reason.RELEASING, account.with_removal("the job is being suspended; its pods are being removed")
    if account.fault and not account.ended:
        failed = f"the attempt failed ({account.fault.failure}); its pods are being removed"
        return "False", Reason.RELEASING, account.with_removal(failed)
    if account.fault:
        number = account.attempt.id if account.attempt else 0
        return "False", Reason.RETRYING, f"attempt {number} failed ({account.fault.failure}); another will follow"
    return None


def _output_committed(job: GpuQueryJob, account: Account) -> Told:
    if account.dry_run:
        return "False", Reason.NOT_COMMITTED, "dryRun: nothing was to be written"
    progress = account.reading.progress if account.reading else None
    fault = account.fault or (None if account.hold else account.failed)
    return commitment(
        find(job.status.conditions, ConditionType.OUTPUT_COMMITTED),
        hinted=progress is not None and progress.phase in PUBLISHED,
        committed=account.committed.output if account.committed else None,
        failure=fault.failure if fault else None,
        ended=account.failed is not None,
    )


def _complete(job: GpuQueryJob, account: Account) -> Told:
    if account.dry_run:
        before = job.status
        parts = [account.plan.why if account.plan else "", summary(before.preflight) if before.preflight else ""]
        return "True", Reason.DRY_RUN, "; ".join(["dryRun", *filter(None, parts)])
    if account.failed:
        return "False", Reason.FAILED, "the job failed"
    if account.committed and account.ended:
        by = f" by job {told.job}" if (told := account.committed.reuse) and told.reused else ""
        words, said = f"the output is committed{by}, all pods have ended", account.committed.message
        return "True", Reason.COMPLETED, f"{words}; the pod says: {said}" if said else words
    if account.committed:
        return "False", Reason.RELEASING, account.with_removal("the output is committed; a pod is still alive")
    return "False", Reason.IN_PROGRESS, "the job has not ended"


def _failed(_: GpuQueryJob, account: Account) -> Told:
    if account.failed:
        return "True", account.failed.failure, account.failed.message
    if account.dry_run or (account.committed and account.ended):
        return "False", Reason.COMPLETED, "the job is complete"
    if account.fault and not account.ended:
        return "False", Reason.RELEASING, account.with_removal(f"{account.fault.failure}: {account.fault.message}")
    if account.fault and account.retry_at and account.checking:
        return "False", Reason.RETRYING, _again(account.fault, account.retry_at)
    if account.fault and account.retry_at:
        at = account.retry_at.strftime("%H:%M:%SZ")
        return "False", Reason.RETRYING, f"{account.fault.failure}: {account.fault.message}; next attempt at {at}"
    return "False", Reason.IN_PROGRESS, "the job has not ended"


def _progress(account: Account, before: GpuQueryJobStatus) -> ProgressStatus | None:
    if account.stopped or (account.attempt is not None and account.attempt.id != before.attempt):
        return None
    was = before.progress
    if account.over and account.committed and was:
        # The last reading may be older than the last file; the report counts what was committed.
        out = account.committed.output
        final = {"phase": Phase.DONE, "percent": 100, "files": out.files, "rows": out.rows, "bytes": out.bytes}
        return was.model_copy(update=final)
    reading = account.reading
    if reading is None or reading.progress is None:
        return was
    seen = reading.progress
    now = ProgressStatus(
        phase=seen.phase, percent=seen.percent, files=seen.files, rows=seen.rows, bytes=seen.bytes,
        ranks=seen.ranks if seen.ranks > 1 else None, spilled_bytes=seen.spilled_bytes or None,
        read_bytes=seen.read_bytes or None, expected_bytes=seen.expected_bytes, cpu_seconds=seen.cpu_seconds or None,
        gpu_memory_peak=seen.gpu_memory_peak or None, gpu_utilization=seen.gpu_utilization, updated_at=reading.at,
    )  # fmt: skip
    if was is None or was.updated_at is None or was.phase != now.phase:
        return now
    same = was.model_copy(update={"updated_at": None}) == now.model_copy(update={"updated_at": None})
    pause = PULSE_SECONDS if was.model_copy(update=_pulse(now)) == now else EVERY_SECONDS
    early = (reading.at - was.updated_at).total_seconds() < pause
    return was if same or early else now


def _pulse(progress: ProgressStatus) -> dict[str, Any]:
    """What grows all the while: a sign of life."""
    return {name: getattr(progress, name) for name in ("read_bytes", "cpu_seconds", "updated_at")}


def _state(conditions: Sequence[Condition], account: Account) -> State:
    """Derive the one word from the conditions; the first that fits, from the end of a job's life to its beginning."""
    if is_true(conditions, ConditionType.FAILED):
        return State.FAILED
    if is_true(conditions, ConditionType.COMPLETE):
        return State.COMPLETE
    if account.suspending or account.stopped:
        return State.SUSPENDED
    if account.checking:
        return State.PREFLIGHT
    if account.fault:
        if account.fault.failure.policy is not Policy.NEVER:
            return State.RETRYING
        return State.RUNNING if account.attempt and account.attempt.ready else State.STARTING
    committed = find(conditions, ConditionType.OUTPUT_COMMITTED)
    if committed and committed.status != "False":
        return State.FINISHING
    running = find(conditions, ConditionType.RUNNING)
    if running and running.status != "False":
        return State.RUNNING
    if is_true(conditions, ConditionType.CLUSTER_READY):
        return State.READY
    if account.attempt is not None:
        return State.STARTING
    return State.ACCEPTED if is_true(conditions, ConditionType.ACCEPTED) else State.PENDING


CONDITIONS: Mapping[ConditionType, Callable[[GpuQueryJob, Account], Told | None]] = {
    ConditionType.ACCEPTED: _accepted,
    ConditionType.SUSPENDED: suspend.condition,
    ConditionType.PREFLIGHT: _preflight,
    ConditionType.REUSED: reuse.condition,
    ConditionType.CLUSTER_READY: _cluster_ready,
    ConditionType.RUNNING: _running,
    ConditionType.OUTPUT_COMMITTED: _output_committed,
    ConditionType.COMPLETE: _complete,
    ConditionType.FAILED: _failed,
}
"""What each condition says, in the order in which a user reads them; None: it is not there."""
