"""Builders of jobs and observations, so that a test shows only what it is about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from gpuquery.api.conditions import find
from gpuquery.api.report import Report
from gpuquery.api.status import AttemptStatus, Condition, GpuQueryJobStatus, OutputStatus, PreflightStatus
from gpuquery.api.types import GpuQueryJob
from gpuquery.plan.defaults import Defaults
from gpuquery.plan.plan import Purpose
from gpuquery.reconcile.decide.job import decide
from gpuquery.reconcile.observe.model import Attempt, BatchJob, Exit, Observed, Pod
from gpuquery.reconcile.policy.actions import DeleteRun, ForgetAttempt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.api.reasons import Failure
    from gpuquery.reconcile.decide.job import Decision

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
UID = "0a1b2c3d-0000-4000-8000-000000000001"
DEFAULTS = Defaults(runtime_image="runtime:test")
OUTPUT = OutputStatus(uri="s3://lake/out/data/", version=1, files=2, rows=3, bytes=4, partitions=0)
COMMITTED = Report(committed=OUTPUT)
FOUND = PreflightStatus(polars="1.44.2", files=12, rows=6_000_000, input_bytes=893_000_000, peak_bytes=1_200_000_000)
CHECKED = Report(preflight=FOUND)


def at(seconds: float) -> datetime:
    """Return a moment that many seconds after NOW."""
    return NOW + timedelta(seconds=seconds)


PYTHON = {"python": "def query(inputs, params): ..."}
"""A query that every release may run, which is not so of SQL."""


def job(*, status: GpuQueryJobStatus | None = None, metadata: dict[str, Any] | None = None, **spec: Any) -> GpuQueryJob:
    """Build a job that was created now."""
    body = {"query": {"sql": "SELECT 1 AS a"}, "output": {"uri": "s3://lake/out"}, **spec}
    about = {"name": "revenue", "namespace": "marts", "uid": UID, "creationTimestamp": NOW, **(metadata or {})}
    found = GpuQueryJob.model_validate({"metadata": about, "spec": body})
    return found.model_copy(update={"status": status}) if status else found


def failed_report(failure: Failure, message: str = "why") -> Report:
    """Build the report of an attempt that failed."""
    return Report(failure=failure, message=message)


def ended(code: int = 1, report: Report | None = None, **how: Any) -> Pod:
    """Build a pod whose container has ended."""
    end = Exit(code=code, reason=how.pop("exit_reason", ""), seen=how.pop("finished", NOW), report=report)
    return pod(phase="Succeeded" if code == 0 else "Failed", exit=end, **how)


def pod(**facts: Any) -> Pod:
    """Build a pod."""
    return Pod(**{"name": "revenue-0a1b2-1-0-x", "uid": "p1", "node": "node-1", **facts})


def running(**facts: Any) -> Pod:
    """Build a pod that is ready."""
    return pod(**{"phase": "Running", "ready": True, "address": "10.0.0.9", **facts})


def batch(**facts: Any) -> BatchJob:
    """Build the batch Job of an attempt."""
    return BatchJob(**{"name": "revenue-0a1b2-1", "uid": "b1", **facts})


def attempt(*pods: Pod, number: int = 1, **facts: Any) -> Attempt:
    """Build an attempt with its batch Job."""
    return Attempt(**{"number": number, "batch_job": batch(), "pods": pods, **facts})


def check(*pods: Pod, number: int = 1, **facts: Any) -> Attempt:
    """Build a run of the preflight with its batch Job."""
    made = batch(name=f"revenue-0a1b2-p{number}", uid=f"c{number}")
    return Attempt(**{"number": number, "batch_job": made, "pods": pods, **facts})


def checking(*runs: Attempt, **facts: Any) -> Observed:
    """Build an observation of runs of the preflight, before the first attempt."""
    return Observed(runs=runs, **facts)


def seen(*attempts: Attempt, **facts: Any) -> Observed:
    """Build an observation."""
    return Observed(attempts=attempts, **facts)


def step(
    subject: GpuQueryJob, observed: Observed | None = None, *, seconds: float = 0, defaults: Defaults = DEFAULTS
) -> tuple[GpuQueryJob, Decision]:
    """Decide, and return the job with the status that was decided."""
    decision = decide(subject, observed or seen(), defaults, at(seconds))
    status = decision.status or subject.status
    stored = GpuQueryJobStatus.model_validate_json(status.model_dump_json(by_alias=True, exclude_none=True))
    return subject.model_copy(update={"status": stored}), decision


def stopped(decision: Decision) -> tuple[int, ...]:
    """Return the attempts whose batch Job is deleted, so that their pods go."""
    return _deleted(decision, Purpose.QUERY)


def dropped(decision: Decision) -> tuple[int, ...]:
    """Return the runs of the preflight whose batch Job is deleted."""
    return _deleted(decision, Purpose.PREFLIGHT)


def forgotten(decision: Decision) -> tuple[int, ...]:
    """Return the attempts of which nothing is to stay."""
    return tuple(each.number for each in decision.actions if isinstance(each, ForgetAttempt))


def _deleted(decision: Decision, purpose: Purpose) -> tuple[int, ...]:
    deletions = (each for each in decision.actions if isinstance(each, DeleteRun))
    return tuple(each.number for each in deletions if each.purpose is purpose)


def started(**spec: Any) -> GpuQueryJob:
    """Build a job whose first attempt was asked for."""
    return step(job(**spec))[0]


def condition(subject: GpuQueryJob, kind: str) -> Condition:
    """Return a condition that must be there."""
    found = find(subject.status.conditions, kind)
    assert found is not None, kind
    return found


def told(subject: GpuQueryJob, kind: str) -> tuple[str, str]:
    """Return status and reason of a condition."""
    found = condition(subject, kind)
    return found.status, found.reason


def failure(reason: Failure, *, id: int = 1, seconds: float = 0) -> AttemptStatus:
    """Build an attempt that failed and ended."""
    return AttemptStatus(id=id, started=NOW, ended=at(seconds), reason=str(reason), message="why")


def failures(*reasons: Failure) -> Sequence[AttemptStatus]:
    """Build a history of failed attempts."""
    return [failure(reason, id=n) for n, reason in enumerate(reasons, start=1)]
