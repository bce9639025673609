"""Children: batch Jobs, pods and DaskClusters of all jobs, from memory: a look at a job asks the API server nothing.

They are kept by a LIST and a WATCH of our own (kube/copy.py) and not by kopf's indices, which still hold what was
deleted while a watch was broken. Of each object only what a decision reads is kept, by the UID of its GpuQueryJob.

A memory lags behind. Four rules make that harmless:

- Nothing is decided on half of it. While a namespace is being listed, or its watch is being opened again, looks wait;
  where that fails, or takes too long, they ask the API server as if there were no memory.
- The operator waits to see its own writes: until the watch has told of what it made or deleted, no look at that job is
  taken; after `PATIENCE_SECONDS` looks ask the API server, until it has.
- The two watches have no common order. Where a Job has ended and a pod of it has not, or is not known, one of them is
  late, so the API server is asked.
- What is made has a fixed name, and what is deleted is named by its UID (reconcile/apply.py).

Authors of pods decide how large they are, and how many. An object whose facts are large, and those of a namespace
beyond the first `MOST_OF_A_NAMESPACE`, are remembered by name alone; a job that has one of these is looked at as
without memory.

DaskClusters are kept where jobs may have them. Their kind may be missing, so nothing waits for them: one that is not
known, or not followed, is asked for by itself (dask.py). Their watch tells the metadata alone.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from gpuquery.api.labels import LABEL_ATTEMPT, LABEL_DASK, LABEL_JOB, LABEL_JOB_UID, LABEL_PREFLIGHT
from gpuquery.kube.ability import Ability
from gpuquery.kube.client import Resource, Scope
from gpuquery.kube.copy import Copy, numbered
from gpuquery.reconcile.observe import ownership, parse
from gpuquery.reconcile.observe.model import BatchJob, DaskCluster, Pod

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from gpuquery.kube.client import KubeClient, Manifest

log = logging.getLogger(__name__)

Key = tuple[str, str]
"""Namespace and name, of a GpuQueryJob or of a child."""

LABELS = (LABEL_JOB, LABEL_JOB_UID, LABEL_ATTEMPT, LABEL_PREFLIGHT, LABEL_DASK, ownership.JOB_NAME, ownership.JOB_UID)
OWNER = ("kind", "name", "uid", "controller")
MOST_OF_A_NAMESPACE = 20_000
"""Objects of a kind of one namespace whose facts are kept: two sets of the largest size, at about 2 kB each."""
LARGEST_FACTS = 16_384
"""Characters of all texts that are kept of one object. The kubelet keeps 4096 of what a container says."""
PATIENCE_SECONDS = 5.0
"""How long a look waits for the watch to tell what the operator did itself."""
LISTING_SECONDS = 30.0
"""How long looks wait for a LIST, or for a watch that is being opened."""
AGAIN_SECONDS = 1.0

WAITED_FOR = (Resource.BATCH_JOBS, Resource.PODS)
"""What looks wait for while it is being listed."""
CALLED = {Resource.BATCH_JOBS: "batch Jobs", Resource.PODS: "pods", Resource.DASK_CLUSTERS: "DaskClusters"}

F = TypeVar("F", bound=Pod | BatchJob | DaskCluster)


@dataclass(frozen=True, slots=True)
class Child(Generic[F]):
    """A batch Job, a pod or a DaskCluster, as far as decisions go by it."""

    version: str
    about: Manifest
    """A manifest with no more than the metadata that says whose it is."""
    fact: F | None
    """None: it is only known that it exists."""

    @property
    def labels(self) -> dict[str, str]:
        """Labels that say whose it is."""
        found: dict[str, str] = self.about["metadata"]["labels"]
        return found


@dataclass(frozen=True, slots=True)
class Family:
    """All children of a job."""

    jobs: tuple[Child[BatchJob], ...]
    pods: tuple[Child[Pod], ...]
    clusters: tuple[Child[DaskCluster], ...] = ()
    """Not all of them have to be known."""


def job_child(manifest: Manifest) -> Child[BatchJob]:
    """Trim a batch Job."""
    return _child(manifest, parse.batch_job, known="spec" in manifest)


def pod_child(manifest: Manifest) -> Child[Pod]:
    """Trim a pod."""
    return _child(manifest, parse.pod, known="spec" in manifest)


def cluster_child(manifest: Manifest) -> Child[DaskCluster]:
    """Trim a DaskCluster, whose metadata is enough."""
    return _child(manifest, parse.dask_cluster, known=bool(ownership.controller(manifest)))


def _child(manifest: Manifest, digested: Callable[[Manifest], F], *, known: bool) -> Child[F]:
    metadata = manifest["metadata"]
    fact = digested(manifest) if known else None
    # Whose it is, is asked for with its facts: what an owner is called is as long as its author likes.
    owner, has = ownership.controller(manifest) if fact else {}, metadata.get("labels") or {}
    about = {
        "name": metadata.get("name", ""),
        "uid": metadata.get("uid", ""),
        "labels": {name: has[name] for name in LABELS if name in has},
        "ownerReferences": [{name: owner[name] for name in OWNER if name in owner}] if owner else [],
    }
    return Child(str(metadata.get("resourceVersion", "")), {"metadata": about}, fact)


def _frugal(child: Child[F]) -> bool:
    """Whether the texts of an object are as short as those that Kubernetes writes."""
    if child.fact is None:
        return True
    fact, owners = child.fact, child.about["metadata"]["ownerReferences"]
    texts = [str(value) for owner in owners for value in owner.values()]
    if isinstance(fact, Pod):
        texts += [fact.message, fact.asks, fact.unschedulable or "", fact.disruption or ""]
        texts += [fact.waiting.message if fact.waiting else "", *(end.words for end in (fact.exit, fact.last) if end)]
    return sum(map(len, texts)) <= LARGEST_FACTS


class _Kept(Generic[F]):
    """The objects of one kind, by the job that they belong to."""

    def __init__(self, digested: Callable[[Manifest], Child[F]], wake: Callable[[Key], None]) -> None:
        self._digested: Callable[[Manifest], Child[F]] = digested
        self._wake = wake
        self._places: dict[Key, str] = {}
        """UID of the GpuQueryJob, by namespace and name of the object."""
        self._of: dict[Key, dict[str, Child[F]]] = {}
        """Objects by name, by namespace and UID of their GpuQueryJob."""
        self._facts: Counter[str] = Counter()
        """Objects by namespace whose facts are kept."""

    def trim(self, manifest: Manifest) -> Child[F]:
        """Trim an object; one that is like no other, or too large, or one too many, to its name."""
        metadata = manifest["metadata"]
        by_name = {"metadata": {key: value for key, value in metadata.items() if key != "ownerReferences"}}
        if "name" not in metadata:  # a bookmark
            return self._digested(by_name)
        try:
            child = self._digested(manifest)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            log.warning("%s: %s: %s", metadata.get("name"), type(error).__name__, error)
            child = self._digested(by_name)
        namespace = metadata.get("namespace", "")
        known = self.get(namespace, metadata.get("name", ""))
        full = self._facts[namespace] >= MOST_OF_A_NAMESPACE and (known is None or known.fact is None)
        return self._digested(by_name) if full or not _frugal(child) else child

    def tell(self, key: Key, child: Child[F] | None, _: bool) -> None:
        """Take a change, and have the job looked at that it belongs to."""
        namespace, name = key
        gone = self._take_out(key)
        if child is not None:
            uid = self._places[key] = child.labels.get(LABEL_JOB_UID, "")
            self._of.setdefault((namespace, uid), {})[name] = child
            self._facts[namespace] += child.fact is not None
        for told in filter(None, (gone, child)):
            if job := told.labels.get(LABEL_JOB):
                self._wake((namespace, job))

    def _take_out(self, key: Key) -> Child[F] | None:
        namespace, name = key
        uid = self._places.pop(key, None)
        if uid is None:
            return None
        family = self._of[namespace, uid]
        child = family.pop(name)
        if not family:
            del self._of[namespace, uid]
        self._facts[namespace] -= child.fact is not None
        if not self._facts[namespace]:
            del self._facts[namespace]
        return child

    def get(self, namespace: str, name: str) -> Child[F] | None:
        """Return an object."""
        uid = self._places.get((namespace, name))
        return None if uid is None else self._of[namespace, uid][name]

    def of(self, namespace: str, uid: str) -> tuple[Child[F], ...]:
        """Return the objects of a job."""
        return tuple(self._of.get((namespace, uid), {}).values())


@dataclass(frozen=True, slots=True)
class _Write:
    """What a watch has yet to tell of an object: the version that was stored (0: none), and whether it goes then."""

    version: int
    goes: bool = False


@dataclass
class _Expected:
    """What the watches have yet to tell of one job, by kind and name of an object."""

    until: float
    writes: dict[tuple[Resource, str], _Write] = field(default_factory=dict)


class Children:
    """The children of all jobs. Not thread-safe: it belongs to one event loop.

    `wake` is called with a job of which a child has changed; `dask` has DaskClusters kept too.
    """

    def __init__(
        self,
        client: KubeClient,
        namespaces: Iterable[str | None],
        wake: Callable[[Key], None],
        *,
        dask: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self.answers: Callable[[Key, str, str], object] | None = None
        """Who is told of a job, the UID and the address of its first pod, once that answers for its progress."""
        self._jobs: _Kept[BatchJob] = _Kept(job_child, wake)
        self._pods: _Kept[Pod] = _Kept(pod_child, wake)
        self._clusters: _Kept[DaskCluster] = _Kept(cluster_child, wake)
        self._kinds: dict[Resource, _Kept[Any]] = {Resource.BATCH_JOBS: self._jobs, Resource.PODS: self._pods}
        if dask:
            self._kinds[Resource.DASK_CLUSTERS] = self._clusters
        self._copies: dict[str | None, dict[Resource, Copy[Child[Any]]]] = {
            namespace: {
                kind: self._copy(client, Scope(kind, namespace, LABEL_JOB_UID, whole=kind in WAITED_FOR))
                for kind in self._kinds
            }
            for namespace in namespaces
        }
        self._expected: dict[Key, _Expected] = {}
        self._asks: set[Key] = set()
        """Jobs of which a write was not seen in time."""

    def _copy(self, client: KubeClient, scope: Scope) -> Copy[Child[Any]]:
        kept, where = self._kinds[scope.resource], f" of namespace {scope.namespace}" if scope.namespace else ""
        ability = Ability(f"list and watch the {CALLED[scope.resource]}{where}")
        tell = self._tell_pod if scope.resource is Resource.PODS else kept.tell
        return Copy(client, scope, trim=kept.trim, tell=tell, ability=ability)

    def _tell_pod(self, key: Key, child: Child[Pod] | None, listed: bool) -> None:
        """Take a change of a pod; its progress is asked for at once, so that one status tells both."""
        self._pods.tell(key, child, listed)
        pod = child.fact if child is not None else None
        if child is None or pod is None or self.answers is None or LABEL_ATTEMPT not in child.labels:
            return
        # Labels are anyone's: of a pod without the name of a job there is nobody to tell.
        job = child.labels.get(LABEL_JOB)
        if job and pod.ready and pod.address and pod.index == 0 and not pod.part:
            self.answers((key[0], job), pod.uid, pod.address)

    def keepers(self) -> list[Coroutine[Any, Any, None]]:
        """Return what keeps the memory, until cancelled."""
        return [copy.keep() for copies in self._copies.values() for copy in copies.values()]

    def _of_namespace(self, namespace: str) -> dict[Resource, Copy[Child[Any]]]:
        return self._copies.get(namespace) or self._copies[None]

    def pause(self, key: Key) -> float | None:
        """Return for how many seconds a look at a job has to wait; None if it can be taken now."""
        copies = self._of_namespace(key[0])
        needed = [copies[kind] for kind in WAITED_FOR]
        if any(copy.behind for copy in needed):
            lost = any(copy.failing or copy.behind > LISTING_SECONDS for copy in needed)
            return None if lost else AGAIN_SECONDS
        expected = self._expected.get(key)
        if expected is None:
            return None
        for (resource, name), write in list(expected.writes.items()):
            if self._seen(copies[resource], resource, (key[0], name), write):
                del expected.writes[resource, name]
        left = expected.until - self._clock()
        if not expected.writes:
            self.forget(key)
        elif left > 0:
            return left
        elif key not in self._asks:
            log.warning("%s/%s: the watch does not tell of %s", *key, ", ".join(name for _, name in expected.writes))
            self._asks.add(key)
        return None

    def _seen(self, copy: Copy[Child[Any]], resource: Resource, child: Key, write: _Write) -> bool:
        if copy.behind:
            return True  # it is asked for
        known = self._kinds[resource].get(*child)
        # What was made may be gone again, but the watch has come as far.
        left = known is None or (isinstance(known.fact, BatchJob | DaskCluster) and known.fact.deleting)
        return copy.version >= write.version and (left or not write.goes)

    def of(self, key: Key, uid: str) -> Family | None:
        """Return the children of a job; None if the API server has to be asked."""
        namespace = key[0]
        copies = self._of_namespace(namespace)
        if any(copies[kind].behind for kind in WAITED_FOR) or key in self._asks:
            return None
        clusters = copies.get(Resource.DASK_CLUSTERS)
        followed = clusters is not None and not clusters.behind
        found = Family(
            self._jobs.of(namespace, uid),
            self._pods.of(namespace, uid),
            self._clusters.of(namespace, uid) if followed else (),
        )
        return None if _doubtful(found) else found

    def stored(self, resource: Resource, manifest: Manifest) -> None:
        """Expect to see an object that was made or changed."""
        metadata = manifest["metadata"]
        job = (metadata.get("labels") or {}).get(LABEL_JOB)
        if resource in self._kinds and job:
            version = numbered(metadata["resourceVersion"])
            self._expect((metadata["namespace"], job), resource, metadata["name"], _Write(version))

    def deleted(self, resource: Resource, namespace: str, name: str) -> None:
        """Expect to see an object go; one that was made a moment ago is still to come first."""
        for key, expected in self._expected.items():
            if key[0] == namespace and (made := expected.writes.get((resource, name))) is not None:
                self._expect(key, resource, name, _Write(made.version, goes=True))
                return
        known = self._kinds[resource].get(namespace, name) if resource in self._kinds else None
        if known is not None and (job := known.labels.get(LABEL_JOB)):
            self._expect((namespace, job), resource, name, _Write(0, goes=True))

    def _expect(self, key: Key, resource: Resource, name: str, write: _Write) -> None:
        expected = self._expected.setdefault(key, _Expected(0))
        expected.until = self._clock() + PATIENCE_SECONDS
        expected.writes[resource, name] = write

    def forget(self, key: Key) -> None:
        """Drop what was expected of a job: all of it was seen, or the job has ended or is gone."""
        self._expected.pop(key, None)
        self._asks.discard(key)


def _doubtful(found: Family) -> bool:
    """Whether something is known by its name alone, or one of the two watches is late: a Job ends after its pods."""
    if any(job.fact is None for job in found.jobs) or any(pod.fact is None for pod in found.pods):
        return True
    over: Counter[str] = Counter(
        ownership.controller(child.about).get("uid", "") for child in found.pods if child.fact and not child.fact.alive
    )
    alive = {ownership.controller(child.about).get("uid") for child in found.pods if child.fact and child.fact.alive}
    finished = [job.fact for job in found.jobs if job.fact and job.fact.finished]
    return any(job.uid in alive or over[job.uid] < job.completions for job in finished)
