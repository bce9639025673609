"""Dask: what becomes of an attempt whose Dask workers are not its Job's own pods.

A DaskCluster made for an attempt is judged by its pods: its own status says "Running" of one whose image cannot be
pulled. dask-kubernetes starts ended containers again and again; to a query a worker that was started again is lost.

A DaskCluster that is deleted in the foreground takes all with it that it owns, by Kubernetes' garbage collector alone:
its finalizer holds up nobody but itself. Not so its DaskWorkerGroup where dask-kubernetes has not tied it to it:
`daskworkergroup_create` of 2026.3.0 makes the group its cluster's only after it was created, and if the API server
refuses that once, makes its Deployments all the same; when it comes to it again, a minute later, the cluster may be
gone, and the workers stay for ever.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from gpuquery.api.conditions import ConditionType, find
from gpuquery.api.first_cause import FirstCause, order
from gpuquery.api.reasons import Failure, Reach, Reason
from gpuquery.api.timing import OPERATOR_COMMIT_SECONDS
from gpuquery.plan.rejected import Rejected
from gpuquery.reconcile.policy.actions import DeleteDask
from gpuquery.reconcile.policy.outcome import OUT_OF_MEMORY, Committed, Fault, by_kubernetes, out_of_memory
from gpuquery.reconcile.policy.startup import SLOW_SECONDS, Blocker, count, last_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuquery.api.status import AttemptStatus
    from gpuquery.reconcile.observe.model import Attempt, DaskCluster, Pod, Scheduler
    from gpuquery.reconcile.policy.case import Case


def unusable(case: Case) -> Rejected | str | None:
    """Return why the cluster of `dask.clusterRef` will never do, or what it still lacks; None if it will do."""
    asked, found = case.job.spec.dask, case.observed.scheduler
    if asked is None or asked.cluster_ref is None or found is None or not case.defaults.dask_attach:
        return None  # refused elsewhere
    if found.missing or found.unfit:
        return Rejected(Failure.CLUSTER_UNAVAILABLE, found.unfit) if found.unfit else found.missing
    return _without_gpus(found, asked.cluster_ref.name, case.defaults.gpu_resource)


def _without_gpus(found: Scheduler, name: str, resource: str) -> Rejected | str | None:
    where = f'dask.clusterRef.name is "{name}", and this DaskCluster'
    if not found.workers:
        return f"{where} has no worker yet: scale it up"
    vendor = resource.partition("/")[0] + "/"
    # A share of a GPU (MIG) has a resource of its own.
    if any(limit.startswith(vendor) for limits in found.workers for limit in limits):
        return None
    many = len(found.workers)
    return Rejected(
        Failure.CLUSTER_UNAVAILABLE,
        f"{where} has {many} worker{'s' if many > 1 else ''}, none with a GPU ({resource}): name a cluster of GPU "
        'workers, or use dask.backend "native"',
    )


def blocker(attempt: Attempt, record: AttemptStatus, now: datetime) -> Blocker | None:
    """Return what holds a DaskCluster up of which no pod says anything."""
    cluster = attempt.dask
    if cluster is None or not cluster.there or now < record.started + timedelta(seconds=SLOW_SECONDS):
        return None
    made = {part: sum(pod.part == part for pod in cluster.pods) for part in ("scheduler", "worker")}
    if made["scheduler"] and made["worker"] >= cluster.workers:
        return None
    what = f"pods of {count(made['worker'], cluster.workers, 'workers')}" if made["scheduler"] else "no scheduler"
    look = (
        "see the events of its ReplicaSets, and the log of the operator"
        if made["scheduler"]
        else "is its operator running, and does it serve this namespace?"
    )
    return Blocker(
        Reason.DASK_CLUSTER_NOT_HANDLED, f"dask-kubernetes has made {what} for DaskCluster {cluster.name}: {look}"
    )


def in_use(case: Case, attempt: Attempt) -> Blocker | None:
    """Return what the client of a cluster of somebody else's waits for, in its own words."""
    asked, reading = case.job.spec.dask, case.observed.reading
    if asked is None or not asked.attaches or attempt.ready:
        return None
    if reading is not None and reading.progress is not None:
        words = reading.progress.waits_for
        return Blocker(Reason.DASK_CLUSTER_IN_USE, words) if words else None
    # It is asked every few seconds only, and what it said then still holds.
    known = find(case.job.status.conditions, ConditionType.CLUSTER_READY)
    same = known is not None and known.reason == Reason.DASK_CLUSTER_IN_USE and bool(attempt.alive)
    return Blocker(Reason.DASK_CLUSTER_IN_USE, known.message) if known and same else None


def lost(attempt: Attempt, record: AttemptStatus, now: datetime) -> Fault | None:
    """Return what ended an attempt though its own pod goes on.

    The client is given the time to say so itself, or to finish: it may be committing what the workers have done.
    """
    cluster = attempt.dask
    if cluster is None or record.reason is not None:
        return None
    if cluster.there and not cluster.ours:
        return Fault(
            Failure.CLUSTER_UNAVAILABLE,
            f"there is a DaskCluster {cluster.name} that is not this job's: delete it, or give the job another name",
        )
    patience = timedelta(seconds=OPERATOR_COMMIT_SECONDS if record.ready else 0)
    gone = record.ready is not None and not cluster.there
    late_since = cluster.deleting_seen or now
    if gone or (cluster.deleting and now >= late_since + patience):
        return Fault(Failure.WORKER_LOST, f"DaskCluster {cluster.name} was deleted by someone else")
    cause: FirstCause[Fault] = FirstCause()
    # Kubernetes may put another pod in the place of one within the same second.
    for when, fault in sorted(_losses(cluster, record), key=lambda loss: loss[1].failure.reach):
        cause.hold(fault, until=(when + patience).timestamp())
    return cause.due(now.timestamp())


def ends_unless_told(attempt: Attempt, record: AttemptStatus, now: datetime) -> Iterator[datetime]:
    """Yield when an attempt whose pods were ready is lost, unless its client says something before: see `lost`."""
    cluster, patience = attempt.dask, timedelta(seconds=OPERATOR_COMMIT_SECONDS)
    if cluster is None or record.ready is None:
        return
    if cluster.deleting:
        yield (cluster.deleting_seen or now) + patience
    yield from (when + patience for when, _ in _losses(cluster, record))


def explained(attempt: Attempt, record: AttemptStatus, end: Committed | Fault | None) -> Committed | Fault | None:
    """Return the end of an attempt, by what its DaskCluster's pods know of it where the client only misses a worker."""
    if attempt.dask is None or not isinstance(end, Fault) or record.reason is not None:
        return end
    if end.failure.reach is Reach.CAUSE:
        return end
    # A client that misses a worker before all have joined says so within its own time.
    known = [loss for loss in _losses(attempt.dask, record) if loss[1].failure.reach < Reach.LOSS]
    best = min(known, key=lambda loss: order(loss[1].failure, at=loss[0].timestamp()), default=None)
    return replace(best[1], exit_code=end.exit_code) if best else end


def removal(attempt: Attempt) -> tuple[DeleteDask, ...]:
    """Delete the parts of an attempt's DaskCluster that are left, now that the attempt is over."""
    cluster = attempt.dask
    if cluster is None or not cluster.ours:
        return ()
    if cluster.there and not cluster.deleting:
        return (DeleteDask(cluster.name, cluster.uid),)
    if cluster.untied:
        return (DeleteDask(cluster.name, groups=cluster.untied),)
    # Somebody else may have deleted it in the background, which takes nothing as long as its finalizer waits.
    again = cluster.there and not cluster.collecting and (cluster.alive or cluster.groups)
    return (DeleteDask(cluster.name, cluster.uid),) if again else ()


def _losses(cluster: DaskCluster, record: AttemptStatus) -> Iterator[tuple[datetime, Fault]]:
    """Yield what became of pods after all were there, and when that was seen."""
    if record.ready is None:
        return
    for pod in cluster.pods:
        if (when := _ended(pod, record.ready)) is not None:
            yield when, _fault(pod)


def _ended(pod: Pod, ready: datetime) -> datetime | None:
    end = pod.exit or pod.last
    if end is not None and end.seen is not None and end.seen > ready:
        return end.seen
    if pod.over_seen is not None and pod.over_seen > ready:
        return pod.over_seen
    # It stands for one that is gone.
    return pod.seen if pod.seen is not None and pod.seen > ready else None


def _fault(pod: Pod) -> Fault:
    end = pod.exit or pod.last
    what = f"Dask {pod.part} {pod.name}"
    if end is not None and end.reason == OUT_OF_MEMORY:
        return Fault(*out_of_memory(pod, what), node=pod.node)
    if (taken := by_kubernetes(pod)) and taken[0].reach < Reach.LOSS:
        return Fault(*taken, node=pod.node)
    if end is None:
        return Fault(Failure.WORKER_LOST, f"{what} takes the place of a pod that is gone", node=pod.node)
    return Fault(
        Failure.WORKER_LOST, f"{what} ended with exit code {end.code} while the query ran{last_line(end.words)}",
        node=pod.node,
    )  # fmt: skip
