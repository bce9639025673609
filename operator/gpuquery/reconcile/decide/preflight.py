"""Preflight: the life of the pod that checks the query before a GPU is asked for.

It comes before the first attempt and is none. A run ends with what it found out, with a finding that ends the job, or
without either (its pod was lost, the store did not answer): then another run follows, by the rules of run.py. What it
found out is copied into the status once; from then on the status is the truth, and nothing is checked twice.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from gpuquery.api.conditions import TERMINAL, ConditionType, is_terminal, is_true
from gpuquery.api.reasons import Failure
from gpuquery.api.status import PlanStatus, PreflightRun, PreflightStatus
from gpuquery.plan.checks import Place, place
from gpuquery.plan.plan import Plan, Purpose
from gpuquery.plan.resolve import digest, plan_status
from gpuquery.reconcile.decide import run as runs
from gpuquery.reconcile.decide.run import Due, RunKind
from gpuquery.reconcile.observe.model import Attempt, Observed
from gpuquery.reconcile.policy import lingering, startup
from gpuquery.reconcile.policy.actions import DeleteRun
from gpuquery.reconcile.policy.case import (
    LOOK_FOR_PODS,
    PHASE_SECONDS,
    Case,
    Decision,
    create,
    net,
    node_of,
    refused,
    settling,
    start_due,
)
from gpuquery.reconcile.policy.outcome import Fault, of_pod, recorded, vanished
from gpuquery.reconcile.policy.retry import Spent
from gpuquery.reconcile.report.status import Account
from gpuquery.render.preflight import preflight_objects

if TYPE_CHECKING:
    from gpuquery.api.types import GpuQueryJob
    from gpuquery.reconcile.policy.actions import Manifest
    from gpuquery.reconcile.policy.startup import Blocker

AT_REST = (*TERMINAL, ConditionType.SUSPENDED)
"""Conditions that say that nothing of a job runs."""
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
    if record is None or record.id != run.number or record.reason is not None or (found := _found(run)) is None:
        return job
    over = record.model_copy(update={"ended": now, "exit_code": 0, "node": node_of(run)})
    return job.model_copy(update={"status": status.model_copy(update={"preflight": found, "preflight_run": over})})


def follow(case: Case) -> Decision | Due:
    """Before the first attempt: how does the preflight stand, if there is one?"""
    status = case.job.status
    known = status.preflight_run
    number = max(known.id if known else 0, *(run.number for run in case.observed.runs), 0)
    begun = case.due_since
    if status.preflight is not None:
        return Due(known.ended if known and known.ended else begun)
    record = _record(case.observed.run(number), known, case.now) if number else None
    if record is None:
        return Due(begun)
    if record.ended is not None:
        return runs.between(PREFLIGHT, case, record)
    return runs.follow(PREFLIGHT, case, record)


def due(case: Case, plan: Plan) -> bool:
    """Whether the query has to be checked in a pod of its own before this plan is carried out."""
    return case.job.status.preflight is None and place(case.job.spec, plan) is Place.OWN_POD


def begin(case: Case, plan: Plan, asked: datetime) -> Decision:
    """Ask for the pod of a run, which was due at `asked`; earlier ones have ended."""
    last = case.job.status.preflight_run
    told = plan_status(plan, case.job, case.defaults)
    if (refusal := case.observed.refusal) is not None:
        blocker = startup.blocker(Attempt(number=1), refusal)
        return refused(case, Account(provisional=told, checking=True, blocker=blocker), asked)
    record = PreflightRun(
        id=last.id + 1 if last else 1,
        started=case.now,
        counted_failures=last.counted_failures if last else 0,
        suspended=last.suspended if last else 0,
        query_digest=digest(plan),
    )
    return Decision(
        actions=(
            *create(preflight_objects(plan, case.job, case.defaults, record.id)),
            *_drop(*range(max(1, record.id - 1), record.id)),
        ),
        status=case.derive(Account(provisional=told, checking=True, run=record)),
        requeue_after=LOOK_FOR_PODS,
    )


def complete(case: Case, told: PlanStatus) -> Decision:
    """A dry run ends with its preflight."""
    return Decision(status=case.derive(Account(plan=told, dry_run=True, ended=True)), requeue_after=0)


def guarded(case: Case, decision: Decision, *, told: PreflightStatus | None) -> Decision:
    """Hold back what must not happen while a preflight's pod lives, and take away runs that are no longer needed.

    No job ends, or is suspended, while a pod of it is alive, and no pod is asked for while a preflight is still at
    work: a straggler, which the Job controller made just before it saw its Job go, is taken by the garbage collector.
    `told` is what the stored status holds of the preflight: its pod goes only once that was written, for its report
    goes with it.
    """
    checks = case.observed.runs
    pods = [pod for run in checks for pod in run.pods]
    ends = decision.status is not None and any(is_true(decision.status.conditions, kind) for kind in AT_REST)
    asks = any(manifest["kind"] == "Job" for manifest in decision.creates)
    if (ends and any(pod.alive for pod in pods)) or (asks and any(pod.at_work for pod in pods)):
        soon = any(settling(run, case.now) for run in checks)
        stuck = () if soon else tuple(run.number for run in checks if run.alive and _has_job(run))
        waiting = Account(plan=case.job.status.plan, checking=True, removing=lingering.waits_for(pods))
        waiting = replace(waiting, suspending=case.job.spec.suspend)
        passed = not soon and case.job.status.preflight is not None and case.job.status.attempt is None
        return Decision(
            status=case.derive(waiting) if passed else None,
            actions=_drop(*stuck),
            requeue_after=PHASE_SECONDS if soon else LOOK_FOR_PODS,
        )
    written = told or (decision.status.preflight if decision.status else None)
    if written is None or case.job.spec.dry_run:
        return decision
    left = tuple(run.number for run in checks if _has_job(run))
    return replace(decision, actions=(*decision.actions, *_drop(*left)))


def _drop(*numbers: int) -> tuple[DeleteRun, ...]:
    """Delete the batch Jobs of these runs."""
    return tuple(DeleteRun(Purpose.PREFLIGHT, number) for number in numbers)


def _found(run: Attempt) -> PreflightStatus | None:
    reports = (pod.exit.report for pod in run.pods if pod.exit)
    return next((report.preflight for report in reports if report and report.preflight), None)


def _record(run: Attempt, known: PreflightRun | None, now: datetime) -> PreflightRun | None:
    """Return what the status says of a run; if the operator died before it could tell, what its Job says."""
    if known is not None and known.id >= run.number:
        return known
    if run.batch_job is None and not run.pods:
        return None
    before = known or PreflightRun(id=0, started=now)
    return PreflightRun(
        id=run.number,
        started=now,
        counted_failures=before.counted_failures,
        suspended=before.suspended,
        query_digest=before.query_digest,
    )


class _Preflight(RunKind[PreflightRun]):
    purpose = Purpose.PREFLIGHT
    several = "runs of the preflight"
    last = "The preflight:"

    def sight(self, case: Case, number: int) -> Attempt:
        return case.observed.run(number)

    def begun(self, run: Attempt, record: PreflightRun) -> bool:
        return any(pod.phase != "Pending" for pod in run.pods)

    def blocker(self, case: Case, run: Attempt, record: PreflightRun) -> Blocker | None:
        return startup.blocker(run, case.observed.refusal)

    def starting(self, run: Attempt) -> str:
        return "they were still starting"

    def judge(self, case: Case, run: Attempt, record: PreflightRun) -> Fault | None:
        """A cause that was recorded is the first cause, and stays; a run that has passed is not judged."""
        if record.reason is not None:
            return recorded(record)
        faults = [fault for pod in run.pods if (fault := of_pod(pod))]
        if not faults:
            return vanished(run, "preflight")
        fault = faults[0]
        if fault.failure is Failure.HOST_OUT_OF_MEMORY:
            # What `workers.resources` says is for the query's own pods.
            limit = next((pod.memory_limit for pod in run.pods if pod.memory_limit), "that of its node")
            way_out = "preflight: never leaves it out; the administrator can give it more (runtime.preflightResources)"
            return replace(fault, message=f"the preflight needed more than its memory limit ({limit}): {way_out}")
        return fault

    def account(self, case: Case, record: PreflightRun, spent: Spent | None = None) -> Account:
        provisional = _provisional(case)
        if record.query_digest is None and provisional is not None:
            record = record.model_copy(update={"query_digest": provisional.query_digest})
        if spent is not None:
            record = record.model_copy(update={"counted_failures": spent.counted, "suspended": spent.suspended})
        return Account(provisional=provisional, checking=True, run=record)

    def spent(self, case: Case, record: PreflightRun) -> Spent:
        return Spent(record.counted_failures, record.suspended)

    def goes_on(self, case: Case, run: Attempt, record: PreflightRun, blocker: Blocker | None) -> Decision:
        begin_by = None if self.begun(run, record) else start_due(case, record.started, blocker)
        pause = LOOK_FOR_REPORT if run.pods else case.again(LOOK_FOR_PODS, record.started)
        return Decision(
            status=case.derive(replace(self.account(case, record), blocker=blocker)),
            actions=(*create(_repairs(case, run)), *net(case, run)),
            requeue_after=case.wake(case.deadline_of(record), begin_by, case.now + timedelta(seconds=pause)),
        )


PREFLIGHT = _Preflight()


def _repairs(case: Case, run: Attempt) -> tuple[Manifest, ...]:
    """Return the ConfigMap anew while the pod still waits for it: someone deleted it."""
    if run.config_map or run.batch_job is None:
        return ()
    plan = case.plan(1)
    if not isinstance(plan, Plan):
        return ()
    return tuple(o for o in preflight_objects(plan, case.job, case.defaults, run.number) if o["kind"] == "ConfigMap")


def _provisional(case: Case) -> PlanStatus | None:
    plan = case.plan(1)
    return plan_status(plan, case.job, case.defaults) if isinstance(plan, Plan) else None


def _has_job(run: Attempt) -> bool:
    return run.batch_job is not None and not run.batch_job.deleting
