"""Outcome: how an attempt ended, from what its pods leave behind.

A report that says `committed` wins over everything: the output is there, whatever happened to the pod afterwards. Then
the runner's own word on errors that are the job's own; then what Kubernetes did to the pod; then what is left to guess.

A pod's own word decides neither that its node was taken away nor that another attempt is free: that is for Kubernetes
to say.

Of several pods each tells the first cause that it knows of. One that names a cause is believed before one that was
taken away, and this before one that only misses another: `_weight`. A pod that has done its part is no failure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from gpuquery.api.reasons import Failure, Policy
from gpuquery.api.status import AttemptStatus, OutputStatus, PreflightRun, PreflightStatus
from gpuquery.api.text import clean
from gpuquery.reconcile.policy import kubelet

if TYPE_CHECKING:
    from gpuquery.api.report import Report
    from gpuquery.reconcile.observe.model import Attempt, Pod

SCRATCH_WORDS = ("ephemeral local storage", "EmptyDir volume")
"""How the kubelet's eviction manager begins to tell that a pod used more local storage than it may."""
START_FAILURES = {"StartError", "ContainerCannotRun"}
PYTHON_FAILED = 1
"""Exit code of Python where it does not find a module, or an old one fails: the supervisor tells all other ends."""
KILLED = {137: "SIGKILL", 143: "SIGTERM"}


@dataclass(frozen=True)
class Committed:
    """The output is committed and published."""

    output: OutputStatus
    message: str = ""
    warnings: tuple[str, ...] = ()
    found: PreflightStatus | None = None
    """What the checks before the engine found out."""


@dataclass(frozen=True)
class Fault:
    """The attempt failed."""

    failure: Failure
    message: str
    exit_code: int | None = None
    node: str | None = None
    finding: bool = False
    """Whether the checks before the engine found it: the query cannot run, whoever tries."""


def judge(attempt: Attempt, record: AttemptStatus) -> Committed | Fault | None:
    """Return how the attempt ended; None while it goes on.

    `record` is what the status says of it: a cause that was recorded is the first cause, and stays.
    """
    for pod in attempt.pods:
        if pod.exit and pod.exit.report and (output := pod.exit.report.committed):
            report = pod.exit.report
            return Committed(output, report.message, report.warnings, report.preflight)
    if record.reason is not None:
        return recorded(record)
    found = [(pod, fault) for pod in attempt.pods if not _done(pod, attempt) and (fault := of_pod(pod))]
    taken = suspended(attempt) if record.ready is not None else None
    if taken and not any(firm(fault) for _, fault in found):
        return taken
    if not found:
        return vanished(attempt)
    teller, fault = min(found, key=lambda pair: (_weight(*pair), _ended(pair[0]), pair[0].index))
    # All pods of a set tell of one pod: it is its node that matters. If a query would fail anywhere, no words name it.
    first = teller.exit.report.pod if teller.exit and teller.exit.report else ""
    named = next((pod for pod in attempt.pods if pod.name in fault.message), None) or next(
        (pod for pod in attempt.pods if pod.name == first), None
    )
    return replace(fault, node=named.node) if named and named.node else fault


def _done(pod: Pod, attempt: Attempt) -> bool:
    """Whether a pod of a set has done its part; index 0, which commits, has done it only by a report that says so."""
    end = pod.exit
    return attempt.wanted > 1 and pod.index > 0 and end is not None and end.code == 0 and not _failed(end.report)


def _failed(report: Report | None) -> bool:
    return report is not None and report.failure is not None


def ends_all(pod: Pod) -> bool:
    """Whether the end of a pod's container ends the attempt: it failed, or it was the one that commits."""
    end = pod.exit
    return end is not None and (end.code != 0 or pod.index == 0 or _failed(end.report))


def firm(fault: Fault) -> bool:
    """Whether no other pod of the set can know of an earlier cause."""
    return fault.failure not in (*_MISSES_OTHERS, Failure.EVICTED)


_MISSES_OTHERS = (Failure.WORKER_LOST, Failure.RANK_STALLED, Failure.TRANSPORT_ERROR)
"""Failures that a rank tells of others: a pod that ended by itself may say why."""


def _weight(pod: Pod, fault: Fault) -> int:
    """Order faults of one attempt by how far back they reach; the least is the cause."""
    if firm(fault):
        return 0
    if fault.failure is Failure.EVICTED:
        return 1
    return 2 if pod.exit is None or pod.exit.report is None else 3


def _ended(pod: Pod) -> float:
    return pod.exit.seen.timestamp() if pod.exit and pod.exit.seen else 0.0


def of_pod(pod: Pod) -> Fault | None:
    """Return how a pod failed; None if it goes on."""
    found = _class_of(pod)
    if found is None:
        return None
    failure, message = found
    report = pod.exit.report if pod.exit else None
    finding = report is not None and report.failure is failure and report.query_started is None
    return Fault(
        failure, message, pod.exit.code if pod.exit else None, pod.node, finding and failure.policy is Policy.NEVER
    )


def _class_of(pod: Pod) -> tuple[Failure, str] | None:
    report = pod.exit.report if pod.exit else None
    if report and report.failure and report.failure.policy is Policy.NEVER:
        return report.failure, says(pod, report)
    if pod.reason == "Evicted" and any(word in pod.message for word in SCRATCH_WORDS):
        return Failure.SCRATCH_FULL, f"{pod.message} Raise the limit of ephemeral-storage in workers.resources."
    if pod.disruption is not None:
        return Failure.EVICTED, f"pod {pod.name} on node {pod.node} was taken away: {pod.disruption}"
    if pod.alive:
        return None
    return kubelet.ended_before_it_ran(pod) if pod.exit is None else _of_exit(pod, report)


def _of_exit(pod: Pod, report: Report | None) -> tuple[Failure, str]:
    end = pod.exit
    assert end is not None  # the caller checked
    if end.reason == "OOMKilled":
        return Failure.HOST_OUT_OF_MEMORY, (
            f"pod {pod.name} used more than its memory limit ({pod.memory_limit or 'that of its node'}): raise memory "
            "in workers.resources, or read less"
        )
    if report and report.failure:
        return report.failure, says(pod, report)
    if end.reason in START_FAILURES:
        return Failure.INVALID_PLAN, (
            f"the container of pod {pod.name} could not start (exit code {end.code}): the image has no GpuQuery runner"
        )
    if end.code in KILLED:
        return Failure.WORKER_LOST, f"pod {pod.name} on node {pod.node} was ended by {KILLED[end.code]}"
    if end.code == PYTHON_FAILED and not end.words:
        return Failure.INVALID_PLAN, (
            f"the container of pod {pod.name} could not start the GpuQuery runner (exit code {end.code}, no report): "
            f"see `kubectl logs {pod.name}`; leave runtime.image out, or set it to a runtime image of the operator's "
            "version"
        )
    usable = f"usable report ({end.wrong})" if end.wrong else "report"
    return Failure.INTERNAL_ERROR, (
        f"pod {pod.name} ended with exit code {end.code} and without a {usable}: see `kubectl logs {pod.name}`"
    )


def suspended(attempt: Attempt) -> Fault | None:
    """Return what became of an attempt whose batch Job was suspended after its pods had begun; they are taken away."""
    job = attempt.batch_job
    if job is None or job.suspended is None or job.deleting or job.finished:
        return None
    by = f" (by {job.suspended})" if job.suspended else ""
    return Fault(Failure.EVICTED, f"the Job {job.name} was suspended{by} while its pods ran, which ended them")


def says(pod: Pod, report: Report) -> str:
    """Return the words of a pod's report: with who says it, where they could be taken for the operator's own."""
    if report.failure is Failure.INTERNAL_ERROR or not report.message:
        return f"pod {pod.name} says: {report.message or 'nothing'}"
    return report.message


def vanished(attempt: Attempt, what: str = "attempt") -> Fault | None:
    """Return what became of an attempt of which no pod tells anything; None if pods are still to come."""
    job = attempt.batch_job
    if job is None:
        return Fault(Failure.WORKER_LOST, f"the {what}'s Job was deleted by someone else")
    if job.finished == "Complete":
        # It succeeded, but its report is gone with its pod. The next attempt finds the commit and only reports it.
        return Fault(Failure.EVICTED, f"the {what}'s pods were deleted before their report was read")
    if job.finished == "Failed" and job.reason == "DeadlineExceeded":
        return Fault(Failure.DEADLINE_EXCEEDED, "the job did not end within activeDeadlineSeconds")
    if job.finished == "Failed" or job.deleting:
        return Fault(Failure.WORKER_LOST, f"the {what}'s pods were deleted by someone else")
    return None


Record = TypeVar("Record", AttemptStatus, PreflightRun)


def blamed(record: Record, fault: Fault) -> Record:
    """Return the record of an attempt, or of a run of the preflight, with the first cause of its failure in it."""
    return record.model_copy(
        update={
            "reason": str(fault.failure),
            "message": clean(fault.message, 1024),
            "exit_code": fault.exit_code,
            "node": fault.node or record.node,
        }
    )


def recorded(record: AttemptStatus | PreflightRun) -> Fault:
    """Return the cause that a record holds."""
    return Fault(Failure(record.reason or Failure.INTERNAL_ERROR), record.message or "", record.exit_code, record.node)
