"""The observed model: all that decisions see of pods, Jobs and events.

It has no time of another machine. `seen` is when this operator first saw a fact, by its own clock (sightings.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuquery.api.reasons import Failure, Reason

if TYPE_CHECKING:
    from datetime import datetime

    from gpuquery.api.report import Report
    from gpuquery.kube.progress import Reading


NOT_MOUNTED = "FailedMount"
"""Reason of the kubelet's event about a volume; where it was asked for, it stands as that for which a pod waits."""
CONFIG_REASONS = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", NOT_MOUNTED}
NO_SECRET = re.compile(r"secret .*not found|find key .* in secret|non-existent secret key", re.IGNORECASE)
"""A kubelet's words for a Secret, or a key of one, that is not there. It names Secrets that it cannot read, too."""
OVER = ("Succeeded", "Failed")
"""Phases of a pod that has ended."""


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """Why the kubelet does not start the container: its reason and message."""

    reason: str
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class Exit:
    """How the container ended."""

    code: int
    reason: str = ""
    seen: datetime | None = None
    """When this operator first saw it; None: before it can remember."""
    report: Report | None = None
    """What it claims, as far as it is believed."""
    wrong: str = ""
    """What is wrong with a report that is not believed, and so is none."""
    words: str = ""
    """The last words of a container, as they are."""


@dataclass(frozen=True, kw_only=True)
class Pod:
    """A pod of an attempt or of a preflight."""

    name: str
    uid: str = ""
    index: int = 0
    """Its place in the set."""
    phase: str = "Pending"
    ready: bool = False
    node: str | None = None
    address: str | None = None
    unschedulable: str | None = None
    """Why the scheduler finds no node."""
    waiting: Waiting | None = None
    exit: Exit | None = None
    disruption: str | None = None
    """Who took the node away, by the condition DisruptionTarget."""
    reason: str = ""
    """Reason of the pod's own status: Evicted, NodeLost, OutOfcpu ..."""
    message: str = ""
    memory_limit: str | None = None
    image: str = ""
    """Digest of its image, as the kubelet says."""
    asks: str = ""
    """What it asks its node for."""
    part: str = ""
    """Of a Dask cluster: scheduler or worker."""
    restarts: int = 0
    """How often its container was started again."""
    last: Exit | None = None
    """How the container before this one ended, where it was started again."""
    seen: datetime | None = None
    """When this operator first saw it; None: before it can remember."""
    over_seen: datetime | None = None
    """When it first saw a final phase: the kubelet reports no end of a container that it evicted."""
    secret_missed: datetime | None = None
    """When it first saw that it misses a Secret."""

    @property
    def alive(self) -> bool:
        """Whether it may still run: a pod that is being deleted does, until its phase says otherwise."""
        return self.phase not in OVER

    @property
    def at_work(self) -> bool:
        """Whether something of it may still run: its phase follows the end of its container by about a second."""
        return self.alive and self.exit is None

    @property
    def misses_secret(self) -> bool:
        """Whether it waits on its node for a Secret."""
        held = self.waiting
        return held is not None and held.reason in CONFIG_REASONS and NO_SECRET.search(held.message) is not None


@dataclass(frozen=True, kw_only=True)
class BatchJob:
    """The batch Job of an attempt."""

    name: str
    uid: str = ""
    deleting: bool = False
    suspended: str | None = None
    """Set if it is suspended and has no pods: by whom, or empty if that is not known."""
    completions: int = 1
    ranks: bool = False
    """Whether its pods are a set of ranks: with a token, and with a NetworkPolicy where these are wanted."""
    deadline: int | None = None
    finished: str | None = None
    """Complete or Failed, once the Job controller says so."""
    reason: str = ""
    """Why it failed, in the Job controller's word."""


@dataclass(frozen=True, kw_only=True)
class DaskCluster:
    """The DaskCluster of an attempt, and what dask-kubernetes has made of it."""

    name: str
    uid: str = ""
    workers: int = 0
    """How many it is to have."""
    there: bool = True
    """Whether the object exists."""
    ours: bool = True
    """Whether it was made for this job."""
    deleting: bool = False
    deleting_seen: datetime | None = None
    """When this operator first saw that it is being deleted."""
    collecting: bool = False
    """Whether the garbage collector has still to take what it owns, down to the pods."""
    pods: tuple[Pod, ...] = ()
    """Scheduler and workers."""
    groups: tuple[str, ...] = ()
    """The DaskWorkerGroups of its workers; read only once the object is being deleted or gone."""
    untied: tuple[str, ...] = ()
    """Those without an owner: the garbage collector leaves them."""

    @property
    def alive(self) -> tuple[Pod, ...]:
        """The pods that may still run."""
        return tuple(pod for pod in self.pods if pod.alive)

    @property
    def released(self) -> bool:
        """Whether nothing of it runs and nothing can start any more."""
        over = not self.there or not self.ours or self.deleting
        return over and not self.collecting and not self.alive and not self.groups

    def at_work(self, part: str) -> tuple[Pod, ...]:
        """Return the pods of a part that run; of the scheduler, if it answers."""
        running = (pod for pod in self.pods if pod.part == part and pod.phase == "Running" and pod.waiting is None)
        return tuple(pod for pod in running if pod.ready or part == "worker")

    @property
    def ready(self) -> bool:
        """Whether its scheduler answers and all of its workers run."""
        return bool(self.at_work("scheduler")) and len(self.at_work("worker")) >= self.workers


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What exists of one attempt, and is its own: objects of others that carry its labels or its name are not here."""

    number: int
    batch_job: BatchJob | None = None
    pods: tuple[Pod, ...] = ()
    absent: frozenset[str] = frozenset()
    """Kinds of the objects beside its Job that are not there; of a Secret, as a kubelet says."""
    dask: DaskCluster | None = None
    """Its DaskCluster, if it has one."""

    @property
    def missing(self) -> frozenset[str]:
        """The same, with its DaskCluster."""
        gone = self.dask is not None and not self.dask.there
        return self.absent | {"DaskCluster"} if gone else self.absent

    @property
    def wanted(self) -> int:
        """How many pods it has when all are there."""
        return self.batch_job.completions if self.batch_job else 1

    @property
    def alive(self) -> tuple[Pod, ...]:
        """The pods of its Job that may still run."""
        return tuple(pod for pod in self.pods if pod.alive)

    @property
    def node(self) -> str | None:
        """The node of its first pod that has one."""
        return next((pod.node for pod in self.pods if pod.node), None)

    @property
    def all_pods(self) -> tuple[Pod, ...]:
        """Its pods, those of its DaskCluster too."""
        return (*self.pods, *self.dask.pods) if self.dask else self.pods

    @property
    def released(self) -> bool:
        """Whether nothing of it runs and nothing can start any more."""
        if self.alive or (self.dask is not None and not self.dask.released):
            return False
        job = self.batch_job
        # With backoffLimit 0 an ended pod is never replaced, so once each index had its pod none can come.
        return job is None or job.finished is not None or len(self.pods) >= job.completions

    @property
    def ready(self) -> bool:
        """Whether all its pods are ready, and its DaskCluster is."""
        return sum(pod.ready for pod in self.pods) >= self.wanted and (self.dask is None or self.dask.ready)


def nothing_of(number: int) -> Attempt:
    """Return an attempt, or a run of the preflight, that left nothing."""
    return Attempt(number=number, absent=frozenset({"Service", "ConfigMap"}))


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """The API server refuses to create something of an attempt."""

    reason: Reason
    message: str
    permanent: bool = False
    """Whether asking again cannot help: the object itself is invalid."""
    failure: Failure = Failure.TEMPLATE_REJECTED
    """The class of a permanent one."""
    undone: bool = False
    """Whether a Job that had been made already went again for it."""


@dataclass(frozen=True, kw_only=True)
class QueryText:
    """What the ConfigMap of `query.configMapKeyRef` holds; `text` is None while it is missing."""

    text: str | None = None
    missing: str = ""


@dataclass(frozen=True, kw_only=True)
class Scheduler:
    """Where the scheduler of `dask.clusterRef` is, or why the cluster cannot be used."""

    address: str = ""
    missing: str = ""
    """What is not there yet."""
    unfit: str = ""
    """Why it will never do."""
    workers: tuple[frozenset[str], ...] = ()
    """Of each of its workers' pods the resources that are limited."""


@dataclass(frozen=True)
class Wait:
    """The job has to wait for others of its namespace to end."""

    message: str


@dataclass(frozen=True, kw_only=True)
class Observed:
    """Everything that was observed of a job's children."""

    attempts: tuple[Attempt, ...] = ()
    runs: tuple[Attempt, ...] = ()
    """Runs of the preflight's own pod, by number: made of the same things as an attempt."""
    query: QueryText | None = None
    scheduler: Scheduler | None = None
    """Of `dask.clusterRef`, before an attempt begins."""
    refusal: Refusal | None = None
    reading: Reading | None = None
    wait: Wait | None = None
    """For other jobs of the namespace, before the job has begun."""
    kept: int = 0
    """How many finished jobs the namespace keeps, if this one is too many."""

    def attempt(self, number: int) -> Attempt:
        """Return what exists of an attempt; perhaps nothing."""
        return next((a for a in self.attempts if a.number == number), None) or nothing_of(number)

    def run(self, number: int) -> Attempt:
        """Return what exists of a run of the preflight; perhaps nothing."""
        return next((r for r in self.runs if r.number == number), None) or nothing_of(number)

    @property
    def latest(self) -> int:
        """Number of the latest attempt that left an object; 0 if none did."""
        return max((a.number for a in self.attempts), default=0)
