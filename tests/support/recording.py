"""An API server in memory that records every write and fails where a test wants it to."""

from __future__ import annotations

import copy
from collections import Counter
from typing import TYPE_CHECKING, Any, TypeVar

from gpuquery.api.labels import LABEL_ATTEMPT, LABEL_JOB_UID, LABEL_PREFLIGHT
from gpuquery.kube.client import BY_KIND, ApiError, KubeClient, Manifest, Resource, StaleError
from gpuquery.reconcile.progress import Key, ProgressReader

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gpuquery.api.report import Report
    from gpuquery.kube.progress import Reading

INDEX = "batch.kubernetes.io/job-completion-index"
T = TypeVar("T")
Place = tuple[Resource, str]


class RecordingClient(KubeClient):
    """Keeps objects by resource and name. Only what the reconciler calls is there."""

    deleted_at = "2026-11-21T12:00:00Z"
    """When a DaskCluster is deleted whose finalizer nobody removes."""

    def __init__(self) -> None:
        self.requests = Counter()
        self.objects: dict[Place, Manifest] = {}
        self.writes: list[str] = []
        self.unknown: set[Resource] = set()
        """Kinds that are not installed."""
        self.fault: Callable[[str], Exception | None] = lambda _: None
        """Called before each write with its name; an exception is raised instead of writing."""
        self._version = 0

    def written(self, what: str, *, after: bool = False) -> None:
        """Record a write, or fail; a fault may strike before the write or after it."""
        if not after:
            self.writes.append(what)
        if error := self.fault(what + (" done" if after else "")):
            raise error

    def put(self, resource: Resource, manifest: Mapping[str, Any]) -> Manifest:
        """Store an object as it is; what there is of that name keeps its UID."""
        self._version += 1
        stored = copy.deepcopy(dict(manifest))
        known = self.objects.get((resource, stored["metadata"]["name"]))
        uid = known["metadata"]["uid"] if known else f"u{self._version}"
        stored["metadata"] = {"uid": uid, **stored["metadata"], "resourceVersion": str(self._version)}
        self.objects[resource, stored["metadata"]["name"]] = stored
        return stored

    async def get(
        self, resource: Resource, namespace: str, name: str, *, metadata_only: bool = False
    ) -> Manifest | None:
        return copy.deepcopy(self.objects.get((resource, name)))

    async def list(
        self, resource: Resource, namespace: str | None, *, labels: str = "", fields: str = "", accept: str = ""
    ) -> list[Manifest]:
        if resource in self.unknown:
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        found = [o for (kind, _), o in self.objects.items() if kind is resource]
        for wanted in filter(None, labels.split(",")):
            key, _, value = wanted.partition("=")
            carried = [(o, o["metadata"].get("labels", {})) for o in found]
            found = [o for o, has in carried if key in has and value in ("", has[key])]
        return copy.deepcopy(found)

    async def digested(
        self,
        resource: Resource,
        namespace: str | None,
        digest: Callable[[Manifest], T],
        *,
        labels: str = "",
        fields: str = "",
        accept: str = "",
    ) -> list[T]:
        return [digest(found) for found in await self.list(resource, namespace, labels=labels, fields=fields)]

    async def create(self, manifest: Mapping[str, Any]) -> Manifest | None:
        name = f"create {manifest['kind']}"
        resource = BY_KIND[manifest["kind"]]
        if resource in self.unknown:
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        self.written(name)
        if (resource, manifest["metadata"]["name"]) in self.objects:
            return None
        about = {**manifest["metadata"], "creationTimestamp": "2026-11-21T12:00:00Z"}
        stored = self.put(resource, {**manifest, "metadata": about})
        self._heeded(resource, copy.deepcopy(stored))
        self.written(name, after=True)
        return stored

    async def apply_status(self, manifest: Mapping[str, Any]) -> Manifest | None:
        self.written("apply status")
        job = self.objects.get((Resource.JOBS, manifest["metadata"]["name"]))
        if job is None or job["metadata"]["uid"] != manifest["metadata"]["uid"]:
            return None
        read, metadata = manifest["metadata"].get("resourceVersion"), job["metadata"]
        if read and read != metadata["resourceVersion"]:
            raise StaleError("the object has been modified")
        self._version += 1
        job["status"], metadata["resourceVersion"] = copy.deepcopy(manifest["status"]), str(self._version)
        self._heeded(Resource.JOBS, copy.deepcopy(job))
        self.written("apply status", after=True)
        return job

    async def merge(self, resource: Resource, namespace: str, name: str, patch: Mapping[str, Any]) -> Manifest | None:
        self.written(f"patch {name}")
        return self.objects.get((resource, name))

    async def create_event(self, event: Mapping[str, Any]) -> bool:
        self.written(f"event {event['reason']}")
        name = event["metadata"]["name"]
        if (Resource.EVENTS, name) in self.objects:
            return False
        self.put(Resource.EVENTS, event)
        self.written(f"event {event['reason']}", after=True)
        return True

    async def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        uid: str | None = None,
        version: str = "",
        propagation: str = "",
    ) -> bool:
        self.written(f"delete {resource.name}" + (f" {propagation}" if propagation else ""))
        found = self.objects.get((resource, name))
        if found and version and version != found["metadata"]["resourceVersion"]:
            return False
        if found and self.heed is not None:
            self.heed.deleted(resource, namespace, name)
        if resource is Resource.DASK_CLUSTERS and found:
            # Its finalizer is that of another operator, which may be away.
            found["metadata"].setdefault("deletionTimestamp", self.deleted_at)
            if propagation == "Foreground":
                found["metadata"]["finalizers"] = ["foregroundDeletion"]
            self.put(resource, found)
            return True
        self.objects.pop((resource, name), None)
        if resource is Resource.BATCH_JOBS and found:
            self._collect(found["metadata"]["uid"])
            numbers = _numbers(found)
            for key, pod in list(self.objects.items()):
                if key[0] is Resource.PODS and _numbers(pod) == numbers:
                    del self.objects[key]
        return found is not None

    def _collect(self, uid: str) -> None:
        """Take what an object that is gone was the owner of, as the garbage collector does."""
        for key, each in list(self.objects.items()):
            if any(owner["uid"] == uid for owner in each["metadata"].get("ownerReferences") or ()):
                del self.objects[key]

    def pod(self, number: int, status: Mapping[str, Any], *, label: str = LABEL_ATTEMPT, index: int = 0) -> None:
        """Let the kubelet say something about a pod of an attempt, or of a run of the preflight."""
        job = next(
            o
            for (kind, _), o in self.objects.items()
            if kind is Resource.BATCH_JOBS and o["metadata"]["labels"].get(label) == str(number)
        )
        labels = {k: job["metadata"]["labels"][k] for k in (label, LABEL_JOB_UID)}
        name = f"{job['metadata']['name']}-{index}-x"
        owner = {"kind": "Job", "name": job["metadata"]["name"], "uid": job["metadata"]["uid"], "controller": True}
        metadata = {
            "name": name, "labels": labels, "annotations": {INDEX: str(index)}, "ownerReferences": [owner],
        }  # fmt: skip
        self.put(Resource.PODS, {"metadata": metadata, "spec": {}, "status": dict(status)})

    def pod_gone(self, name: str) -> None:
        """Let a pod be gone."""
        del self.objects[Resource.PODS, name]

    def dask_pod(self, part: str, status: Mapping[str, Any], *, number: int = 1, name: str = "") -> None:
        """Let the kubelet say something about a pod that dask-kubernetes has made for an attempt."""
        cluster = next(
            o
            for (kind, _), o in self.objects.items()
            if kind is Resource.DASK_CLUSTERS and o["metadata"]["labels"][LABEL_ATTEMPT] == str(number)
        )
        name = name or f"{cluster['metadata']['name']}-{part}-x"
        labels = {**cluster["metadata"]["labels"], **cluster["spec"][part]["metadata"]["labels"]}
        replicas = {
            "kind": "ReplicaSet",
            "name": f"{cluster['metadata']['name']}-{part}-5d8f",
            "uid": "r1",
            "controller": True,
        }
        metadata = {"name": name, "labels": labels, "ownerReferences": [replicas]}
        self.put(Resource.PODS, {"metadata": metadata, "spec": {}, "status": dict(status)})

    def names(self, resource: Resource) -> list[str]:
        """Return the names of all objects of a resource."""
        return sorted(name for kind, name in self.objects if kind is resource)


def _numbers(manifest: Manifest) -> tuple[str | None, str | None]:
    labels = manifest["metadata"]["labels"]
    return labels.get(LABEL_ATTEMPT), labels.get(LABEL_PREFLIGHT)


class NoProgress(ProgressReader):
    """Answers with a reading that the test chooses."""

    def __init__(self, reading: Reading | None = None) -> None:
        self.reading = reading

    def latest(self, job: Key, pod_uid: str, address: str) -> Reading | None:
        return self.reading

    def forget(self, job: Key, pod_uids: set[str]) -> None:
        pass


READY = {
    "phase": "Running",
    "podIP": "10.0.0.9",
    "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-21T12:00:02Z"}],
}


def ended(report: Report | None, code: int) -> dict[str, Any]:
    """Build the status of a pod that has ended."""
    end = {"exitCode": code, "finishedAt": "2026-11-21T12:00:09Z", "message": report.to_line() if report else ""}
    state = [{"name": "runner", "state": {"terminated": end}}]
    return {"phase": "Failed" if code else "Succeeded", "containerStatuses": state}


def busy() -> ApiError:
    """Build the answer of an API server that cannot."""
    return ApiError(503, "ServiceUnavailable", "etcd has no leader")
