"""Startup: why an attempt is not ready, in the words of what holds it up: the API server (quota, admission), the
scheduler or the kubelet. The first one in that order that says something is the cause.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gpuquery.api.reasons import Failure, Reason
from gpuquery.plan.plan import DaskWay, Plan
from gpuquery.reconcile.observe.model import CONFIG_REASONS, Attempt, DaskCluster, Pod, Refusal, Waiting
from gpuquery.reconcile.policy.lingering import where
from gpuquery.reconcile.policy.outcome import Fault

if TYPE_CHECKING:
    from datetime import datetime

    from gpuquery.reconcile.policy.case import UnderWay

IMAGE_REASONS = {
    "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable",
    "InvalidImageName", "SignatureValidationFailed",
}  # fmt: skip
SLOW_SECONDS = 10
"""Age of an attempt from which on the pods of a set that are ready are counted, and those that hold up the others are
named. Most sets are complete by then, and each count would be a write of the status."""
NAMED = 3
"""Most pods that a message names."""
STEPS = 4
"""In how many steps the readiness of a large set is told."""
OURS = "gpuquery: "
"""How lines begin that the nanny's preload writes into the log of a Dask worker (engines/dask/preloads/nanny.py)."""
CRASH_LOOP = "CrashLoopBackOff"
NO_GPU = ("NVMLError", "cudaErrorNoDevice", "cudaErrorInsufficientDriver")
"""Words of a Dask worker that finds no GPU, or no driver: pynvml's and CUDA's own."""


@dataclass(frozen=True)
class Blocker:
    """What holds an attempt up."""

    reason: Reason
    message: str
    failure: Failure | None = None
    """Set if waiting cannot help: the attempt fails at once."""
    vague: bool = False
    """Whether a message that was seen before says more: a kubelet that backs off no longer says why."""
    secret_missed: datetime | None = None
    """Since when a pod misses a Secret, where that is what holds it up."""


def blocker(attempt: Attempt, refusal: Refusal | None) -> Blocker | None:
    """Return what holds the attempt up; None if it is simply on its way."""
    if (held := suspended(attempt)) is not None:
        return held
    if refusal is not None:
        return Blocker(refusal.reason, refusal.message, refusal.failure if refusal.permanent else None)
    found = [(pod, held) for pod in attempt.all_pods if pod.alive and (held := _of_pod(pod))]
    if not found:
        return None
    # What cannot get better is told first, whichever pod it holds up.
    pod, held = min(found, key=lambda pair: pair[1].failure is None)
    alone = attempt.wanted == 1 and attempt.dask is None
    return held if alone else replace(held, message=f"pod {pod.name}: {held.message}")


def hopeless(look: UnderWay) -> Fault | None:
    """What holds a run up can never get better."""
    held = look.blocker
    return Fault(held.failure, held.message) if held and held.failure else None


def suspended(attempt: Attempt) -> Blocker | None:
    """Return that the batch Job is suspended, if it is: it has no pods until it is resumed."""
    job = attempt.batch_job
    if job is None or job.suspended is None or job.finished:
        return None
    by = f" (by {job.suspended})" if job.suspended else ""
    return Blocker(
        Reason.SUSPENDED, f"the Job {job.name} is suspended{by} and gets no pods until it is resumed (spec.suspend)"
    )


def count(ready: int, wanted: int, what: str = "pods ready") -> str:
    """Tell how many pods are ready; of many only about, lest each one that joins cost a write of the status."""
    step = -(-wanted // STEPS)
    if wanted <= STEPS or ready >= wanted:
        return f"{ready} of {wanted} {what}"
    least = ready // step * step
    return f"at least {least} of {wanted} {what}" if least else f"less than {step} of {wanted} {what}"


def ready(attempt: Attempt, *, slow: bool) -> str:
    """Tell how many pods are ready and, if the attempt is slow to start, which few hold up the others."""
    text = count(sum(pod.ready for pod in attempt.pods), attempt.wanted) + _of_cluster(attempt.dask)
    late = [pod for pod in attempt.all_pods if pod.phase == "Pending"]
    if slow and late and len(late) < len(attempt.all_pods) and len(late) <= NAMED:
        text += f"; not running yet: {', '.join(where(pod) for pod in late)}"
    return text


def _of_cluster(cluster: DaskCluster | None) -> str:
    if cluster is None:
        return ""
    there = "ready" if cluster.at_work("scheduler") else "not ready"
    running = count(len(cluster.at_work("worker")), cluster.workers, "Dask workers running")
    return f"; the Dask scheduler is {there}, {running}"


def asked(plan: Plan) -> str:
    """Tell what an attempt waits for that was asked for just now."""
    made = plan.dask is not None and plan.dask.way is DaskWay.OPERATOR
    return _awaited(plan.replicas, plan.workers if made else 0)


def awaited(attempt: Attempt) -> str:
    """Tell what a young attempt waits for: what holds as long as it is not ready, however many of its pods are."""
    return _awaited(attempt.wanted, attempt.dask.workers if attempt.dask else 0)


def _awaited(pods: int, workers: int) -> str:
    if workers:
        return f"waiting for {_several(pods, 'pod')}, the Dask scheduler and {_several(workers, 'Dask worker')}"
    return f"waiting for {pods} pods" if pods > 1 else count(0, pods)


def _several(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"


def laggards(attempt: Attempt) -> str:
    """Tell which pods of a set were not ready, for a deadline that has passed."""
    if attempt.dask is not None:
        return ready(attempt, slow=True)
    late = [pod for pod in attempt.pods if not pod.ready]
    if attempt.wanted == 1 or not late:
        return "they were still starting"
    more = f" and {len(late) - NAMED} more" if len(late) > NAMED else ""
    named = ", ".join(f"{where(pod)}: {pod.waiting.reason if pod.waiting else pod.phase}" for pod in late[:NAMED])
    return f"{attempt.wanted - len(late)} of {attempt.wanted} were; not ready: {named}{more}"


def _of_pod(pod: Pod) -> Blocker | None:
    if pod.unschedulable is not None:
        asks = f"; it asks for {pod.asks} (workers.resources)" if pod.asks else ""
        return Blocker(Reason.UNSCHEDULABLE, pod.unschedulable + asks)
    if pod.part and (held := _crashed(pod)):
        return held
    if pod.waiting is None:
        return None
    waiting = pod.waiting
    if waiting.reason in IMAGE_REASONS:
        # A name that is none stays so; a registry or a tag may come back before the start deadline.
        failure = Failure.IMAGE_PULL_FAILED if waiting.reason == "InvalidImageName" else None
        return Blocker(Reason.IMAGE_PULL_FAILED, _words(waiting), failure, vague=waiting.reason == "ImagePullBackOff")
    if waiting.reason in CONFIG_REASONS:
        if pod.misses_secret:
            return Blocker(Reason.SECRET_NOT_FOUND, _words(waiting), secret_missed=pod.secret_missed)
        return Blocker(Reason.CONTAINER_CANNOT_START, _words(waiting))
    return None


def _crashed(pod: Pod) -> Blocker | None:
    """Return what a pod of a DaskCluster ended of: dask-kubernetes has it started again for ever."""
    end = pod.exit or pod.last
    if end is None:
        return None
    message = f"the container of the Dask {pod.part} ended with exit code {end.code}{last_line(end.words)}"
    if any(word in end.words for word in NO_GPU):
        return Blocker(Reason.CONTAINER_CANNOT_START, message, Failure.NO_GPU)
    again = pod.exit is not None or (pod.waiting is not None and pod.waiting.reason == CRASH_LOOP)
    return Blocker(Reason.CONTAINER_CANNOT_START, message) if again else None


def _words(waiting: Waiting) -> str:
    return waiting.message or waiting.reason


def last_line(words: str) -> str:
    """Return the last line that a container wrote, to be put behind a sentence; one of ours tells more than another."""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    ours = [line.removeprefix(OURS) for line in lines if line.startswith(OURS)]
    return f": {(ours or lines)[-1][:300]}" if lines else ""
