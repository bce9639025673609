"""Preflight: the run that checks the query in a pod of its own, before a GPU is asked for.

It ends with what it found out, with a finding that ends the job, or without either (its pod was lost, the store did not
answer): then another run follows, by the rules of run.py. What it found out is copied into the status once; from then
on the status is the truth, and nothing is checked twice.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from gpuquery.api.conditions import is_terminal
from gpuquery.api.reasons import Failure
from gpuquery.api.status import PreflightRun
from gpuquery.api.timing import PHASE_SECONDS
from gpuquery.plan.checks import Place, place
from gpuquery.plan.plan import Plan, Purpose
from gpuquery.plan.resolve import digest, plan_status
from gpuquery.reconcile.decide.run import Due, Run, create, refused, settling
from gpuquery.reconcile.observe.model import Attempt, Observed
from gpuquery.reconcile.policy import lingering, reuse, startup
from gpuquery.reconcile.policy.account import Account
from gpuquery.reconcile.policy.actions import DeleteRun, created
from gpuquery.reconcile.policy.case import LOOK_FOR_PODS, Answer, Case
from gpuquery.reconcile.policy.outcome import Committed, Fault, of_pod, recorded, vanished
from gpuquery.reconcile.policy.retry import Spent
from gpuquery.render.preflight import preflight_objects

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuquery.api.report import Report
    from gpuquery.api.status import PreflightStatus
    from gpuquery.api.types import GpuQueryJob
    from gpuquery.plan.resolve import Rejected
    from gpuquery.reconcile.policy.actions import Manifest
    from gpuquery.reconcile.policy.startup import Blocker

LOOK_FOR_REPORT = 30.0
"""Seconds until a pod at work is looked at again; its end is told by the watch."""


def with_found(job: GpuQueryJob, observed: Observed, now: datetime) -> GpuQueryJob:
    """Return the job with what a preflight's pod has found out, if the status does not hold it yet.

    So it makes no difference whether the operator died before or after it wrote that down.
    """
    status = job.status
    if status.preflight is not None or is_terminal(status.conditions) or not observed.runs:
        return job
    run = observed.runs[-1]
    record = _record(run, status.preflight_run, now)
    if record is None or record.id != run.number or record.reason is not None or (report := _found(run)) is None:
        return job
    if reuse.completes(job, report):
        return job  # no attempt follows
    over = record.model_copy(update={"ended": now, "exit_code": 0, "node": run.node})
    known = {"preflight": report.preflight, "preflight_run": over, "inputs": report.inputs or status.inputs}
    told = {"reuse": report.reuse} if job.spec.reuse is not None else {}
    return job.model_copy(update={"status": status.model_copy(update={**known, **told})})


def follow(case: Case) -> Answer | Due:
    """Before the first attempt: how does the preflight stand, if there is one?"""
    status, begun = case.job.status, case.due_since
    known = status.preflight_run
    if status.preflight is not None:
        return Due(known.ended if known and known.ended else begun)
    number = max(known.id if known else 0, *(run.number for run in case.observed.runs), 0)
    seen = case.observed.run(number)
    record = _record(seen, known, case.now) if number else None
    if record is None:
        return Due(begun)
    run = _Preflight(case, record, seen)
    return run.follow() if record.ended is None else run.between()


def due(case: Case, plan: Plan) -> bool:
    """Whether the query has to be checked in a pod of its own before this plan is carried out."""
    return case.job.status.preflight is None and place(case.job.spec, plan) is Place.OWN_POD


def begin(case: Case, plan: Plan, asked: datetime) -> Answer:
    """Ask for the pod of a run, which was due at `asked`; earlier ones have ended."""
    account = Account(plan=plan_status(plan, case.job, case.defaults), checking=True)
    if (refusal := case.observed.refusal) is not None:
        return refused(case, replace(account, blocker=startup.blocker(Attempt(number=1), refusal)), asked)
    record = _following(case.job.status.preflight_run, case.now, digest(plan))
    objects = preflight_objects(plan, case.job, case.defaults, record.id)
    earlier = _drop(*range(max(1, record.id - 1), record.id))
    return Answer(replace(account, run=record), (*create(objects), *earlier), again=LOOK_FOR_PODS)


def guarded(case: Case, answer: Answer, *, stored: PreflightStatus | None) -> Answer:
    """Hold back what must not happen while a preflight's pod lives, and delete the runs that are no longer needed.

    No job ends, or is suspended, while a pod of it is alive, and no pod is asked for while a preflight is still at
    work: a straggler, which the Job controller made just before it saw its Job go, is taken by the garbage collector.
    `stored` is what the stored status says was found: a run is deleted only after that, as its report goes with it.
    """
    account, status, checks = answer.account, case.job.status, case.observed.runs
    pods = [pod for run in checks for pod in run.pods]
    ends = account is not None and (account.over or account.stopped)
    asks = any(manifest["kind"] == "Job" for manifest in created(answer.actions))
    if (ends and any(pod.alive for pod in pods)) or (asks and any(pod.at_work for pod in pods)):
        soon = any(settling(run, case.now) for run in checks)
        stuck = () if soon else (run.number for run in checks if run.alive and _has_job(run))
        waiting = Account(
            plan=status.plan, checking=True, removing=lingering.waits_for(pods), suspending=case.job.spec.suspend
        )
        passed = not soon and status.preflight is not None and status.attempt is None
        return Answer(waiting if passed else None, _drop(*stuck), again=PHASE_SECONDS if soon else LOOK_FOR_PODS)
    told = account and (status.preflight or (account.committed and account.committed.found))
    if not (stored or told) or case.job.spec.dry_run:
        return answer
    left = _drop(*(run.number for run in checks if _has_job(run)))
    return replace(answer, actions=(*answer.actions, *left))


def _drop(*numbers: int) -> tuple[DeleteRun, ...]:
    """Delete the batch Jobs of these runs."""
    return tuple(DeleteRun(Purpose.PREFLIGHT, number) for number in numbers)


def _has_job(run: Attempt) -> bool:
    return run.batch_job is not None and not run.batch_job.deleting


def _found(run: Attempt) -> Report | None:
    reports = (pod.exit.report for pod in run.pods if pod.exit)
    return next((report for report in reports if report and report.preflight), None)


def _record(run: Attempt, known: PreflightRun | None, now: datetime) -> PreflightRun | None:
    """Return what the status says of a run; if the operator died before it could tell, what its Job says."""
    if known is not None and known.id >= run.number:
        return known
    if run.batch_job is None and not run.pods:
        return None
    return _following(known, now, known.query_digest if known else None).model_copy(update={"id": run.number})


def _following(last: PreflightRun | None, now: datetime, query_digest: str | None) -> PreflightRun:
    """Return the record of the run after this one."""
    last = last or PreflightRun(id=0, started=now)
    return PreflightRun(
        id=last.id + 1, started=now, counted_failures=last.counted_failures, suspended=last.suspended,
        query_digest=query_digest,
    )  # fmt: skip


class _Preflight(Run[PreflightRun]):
    purpose = Purpose.PREFLIGHT
    several = "runs of the preflight"
    last = "The preflight:"

    @property
    def begun(self) -> bool:
        return any(pod.phase != "Pending" for pod in self.seen.pods)

    @property
    def spent(self) -> Spent:
        return Spent(self.record.counted_failures, self.record.suspended)

    def blocker(self) -> Blocker | None:
        return startup.blocker(self.seen, self.case.observed.refusal)

    def starting(self) -> str:
        return "they were still starting"

    def judge(self) -> Committed | Fault | None:
        """A cause that was recorded is the first cause, and stays; a run that has passed is not judged."""
        if (done := reuse.end(self.case.job, self.seen)) is not None:
            return done
        if self.record.reason is not None:
            return recorded(self.record)
        fault = next((fault for pod in self.seen.pods if (fault := of_pod(pod))), None)
        if fault is None:
            return vanished(self.seen, "preflight")
        if fault.failure is Failure.HOST_OUT_OF_MEMORY:
            # What `workers.resources` says is for the query's own pods.
            limit = next((pod.memory_limit for pod in self.seen.pods if pod.memory_limit), "that of its node")
            way_out = "preflight: never leaves it out; the administrator can give it more (runtime.preflightResources)"
            return replace(fault, message=f"the preflight needed more than its memory limit ({limit}): {way_out}")
        return fault

    def account(self, spent: Spent | None = None) -> Account:
        plan, record = self.plan(), self.record
        planned = plan_status(plan, self.case.job, self.case.defaults) if isinstance(plan, Plan) else None
        if record.query_digest is None and planned is not None:
            record = record.model_copy(update={"query_digest": planned.query_digest})
        if spent is not None:
            record = record.model_copy(update={"counted_failures": spent.counted, "suspended": spent.suspended})
        return Account(plan=planned, checking=True, run=record)

    def under_way(self, blocker: Blocker | None) -> Account:
        return replace(self.account(), blocker=blocker)

    def looks(self, blocker: Blocker | None) -> Iterator[datetime]:
        pause = LOOK_FOR_REPORT if self.seen.pods else self.case.again(LOOK_FOR_PODS, self.record.started)
        yield self.case.now + timedelta(seconds=pause)

    def plan(self) -> Plan | Rejected:
        return self.case.plan(1)

    def objects(self, plan: Plan) -> tuple[Manifest, ...]:
        return preflight_objects(plan, self.case.job, self.case.defaults, self.record.id)
