"""Outcome: how an attempt ended, from what its pods leave behind.

A report that says `committed` wins: the output is there, whatever happened to the pod afterwards. Then comes the
runner's report of an error of the job's own, then what Kubernetes did to the pod, then the pod's exit code.

A report cannot say that a node was taken away, nor that another attempt is free: only Kubernetes can.

Each of several pods reports the first cause that it knows; `api.first_cause` picks one. A pod that has done its part
has not failed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from signal import Signals
from typing import TYPE_CHECKING, TypeVar

from gpuquery.api.first_cause import order
from gpuquery.api.reasons import Failure, Policy, Reach
from gpuquery.api.status import AttemptStatus, InputStatus, OutputStatus, PreflightRun, PreflightStatus
from gpuquery.api.text import clean
from gpuquery.reconcile.policy import kubelet

if TYPE_CHECKING:
    from gpuquery.api.receipt import ReceiptClaim
    from gpuquery.api.report import Report
    from gpuquery.api.reuse import ReuseStatus
    from gpuquery.reconcile.observe.model import Attempt, Pod

SCRATCH_WORDS = ("ephemeral local storage", "EmptyDir volume")
"""In the message of the kubelet's eviction manager for a pod that used more local storage than it may."""
OUT_OF_MEMORY = "OOMKilled"
START_FAILURES = {"StartError", "ContainerCannotRun"}
PYTHON_FAILED = 1
"""Exit code of Python that does not find a module, or finds an old one; the supervisor reports all other ends."""
KILLED = {128 + signal: signal.name for signal in (Signals.SIGKILL, Signals.SIGTERM)}


@dataclass(frozen=True)
class Committed:
    """The output is committed and published."""

    output: OutputStatus
    message: str = ""
    warnings: tuple[str, ...] = ()
    found: PreflightStatus | None = None
    """What the checks before the engine found out."""
    inputs: tuple[InputStatus, ...] = ()
    """What was read."""
    receipt: ReceiptClaim | None = None
    """What the pod tells for the receipt."""
    image: str = ""
    """Digest of the pod's image."""
    reuse: ReuseStatus | None = None
    """With `spec.reuse`: whether it is the commit of an earlier job."""


@dataclass(frozen=True)
class Fault:
    """The attempt failed."""

    failure: Failure
    message: str
    exit_code: int | None = None
    node: str | None = None
    inputs: tuple[InputStatus, ...] = ()
    """What was to be read, as far as the pod has told."""
    finding: bool = False
    """Whether the checks before the engine found it: the query can never run."""
    reuse: ReuseStatus | None = None
    """With `spec.reuse`: why no earlier commit was reused."""


def judge(attempt: Attempt, record: AttemptStatus) -> Committed | Fault | None:
    """Return how the attempt ended; None while it goes on.

    `record` is what the status says of it: a cause that was recorded is the first cause, and stays.
    """
    end = _end(attempt, record)
    if not isinstance(end, Fault) or end.inputs:
        return end
    reports = (pod.exit.report for pod in attempt.pods if pod.exit)
    # Of a set only index 0 knows, and another pod may tell the cause.
    return replace(end, inputs=next((report.inputs for report in reports if report and report.inputs), ()))


def _end(attempt: Attempt, record: AttemptStatus) -> Committed | Fault | None:
    for pod in attempt.pods:
        if (done := committed(pod)) is not None:
            return done
    if record.reason is not None:
        return recorded(record)
    found = [(pod, fault) for pod in attempt.pods if not _done(pod, attempt) and (fault := of_pod(pod))]
    taken = suspended(attempt) if record.ready is not None else None
    if taken and not any(fault.failure.reach is Reach.CAUSE for _, fault in found):
        return taken
    if not found:
        return vanished(attempt)
    teller, fault = min(found, key=lambda pair: _order(*pair))
    # All pods of a set report the same pod, and its node matters. An error of the query itself names no pod.
    first = teller.exit.report.pod if teller.exit and teller.exit.report else ""
    named = next((pod for pod in attempt.pods if pod.name in fault.message), None) or next(
        (pod for pod in attempt.pods if pod.name == first), None
    )
    return replace(fault, node=named.node) if named and named.node else fault


def committed(pod: Pod) -> Committed | None:
    """Return the commit that a pod has reported, if it has."""
    report = pod.exit.report if pod.exit else None
    if report is None or report.committed is None:
        return None
    return Committed(
        report.committed, report.message, report.warnings, report.preflight, report.inputs, report.receipt, pod.image,
        report.reuse,
    )  # fmt: skip


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


def _order(pod: Pod, fault: Fault) -> tuple[int, float, int]:
    end = pod.exit
    at = end.seen.timestamp() if end and end.seen else 0.0
    return order(fault.failure, at=at, index=pod.index, reported=end is not None and end.report is not None)


def of_pod(pod: Pod) -> Fault | None:
    """Return how a pod failed; None if it goes on."""
    found = _class_of(pod)
    if found is None:
        return None
    failure, message = found
    report = pod.exit.report if pod.exit else None
    finding = report is not None and report.failure is failure and report.query_started is None
    return Fault(
        failure,
        message,
        pod.exit.code if pod.exit else None,
        pod.node,
        report.inputs if report else (),
        finding and failure.policy is Policy.NEVER,
        report.reuse if report else None,
    )


def _class_of(pod: Pod) -> tuple[Failure, str] | None:
    report = pod.exit.report if pod.exit else None
    if report and report.failure and report.failure.policy is Policy.NEVER:
        return report.failure, says(pod, report)
    found = by_kubernetes(pod)
    return found if found or pod.alive else _of_exit(pod, report)


def by_kubernetes(pod: Pod) -> tuple[Failure, str] | None:
    """Return class and words of what Kubernetes did to a pod."""
    if pod.reason == "Evicted" and any(word in pod.message for word in SCRATCH_WORDS):
        return Failure.SCRATCH_FULL, f"{pod.message} Raise the limit of ephemeral-storage in workers.resources."
    if pod.disruption is not None:
        return Failure.EVICTED, f"pod {pod.name} on node {pod.node} was taken away: {pod.disruption}"
    return None if pod.alive or pod.exit is not None else kubelet.ended_before_it_ran(pod)


def out_of_memory(pod: Pod, what: str) -> tuple[Failure, str]:
    """Return class and words of a container that the kernel has killed for memory."""
    return Failure.HOST_OUT_OF_MEMORY, (
        f"{what} used more than its memory limit ({pod.memory_limit or 'that of its node'}): raise memory in "
        "workers.resources, or read less"
    )


def _of_exit(pod: Pod, report: Report | None) -> tuple[Failure, str]:
    end = pod.exit
    assert end is not None  # the caller checked
    if end.reason == OUT_OF_MEMORY:
        return out_of_memory(pod, f"pod {pod.name}")
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
    """Return the fault of an attempt whose batch Job was suspended after its pods had begun; they are taken away."""
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
    """Return the fault of an attempt that no pod reports on; None if pods are still to come."""
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
