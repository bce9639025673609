"""Apply: carry a decision out. Every step may be repeated; a step that was done already costs nothing or is refused.

The order is what makes a crash harmless: first the objects, then the status that speaks of them, then events, and
deletions last, so that nobody can see an effect whose cause is not written down.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Sequence
from datetime import datetime

from gpuquery.api.choices import ClusterChoice
from gpuquery.api.labels import (
    API_VERSION,
    DASK_KIND,
    KIND,
    LABEL_JOB,
    LABEL_JOB_UID,
    attempt_name,
    preflight_name,
)
from gpuquery.api.reasons import Failure, Reason
from gpuquery.api.status import GpuQueryJobStatus
from gpuquery.api.types import GpuQueryJob
from gpuquery.build.ranks import TO_COME
from gpuquery.kube.client import FOREGROUND, ApiError, KubeClient, Manifest, Resource, UnreachableError
from gpuquery.plan.plan import DaskWay
from gpuquery.reconcile.case import Decision
from gpuquery.reconcile.events import manifest, notes
from gpuquery.reconcile.facts import Refusal
from gpuquery.reconcile.startup import refusal_of

log = logging.getLogger(__name__)


async def create(client: KubeClient, objects: tuple[Manifest, ...]) -> Refusal | None:
    """Create what is missing of an attempt; returns why the API server refuses it, if it does.

    The Job comes last: a pod whose ConfigMap is not there yet waits for the kubelet's next try.
    """
    jobs = [o for o in objects if o["kind"] == "Job"]
    clusters = [o for o in objects if o["kind"] == DASK_KIND]
    companions = [o for o in objects if o["kind"] not in ("Job", DASK_KIND)]
    try:
        await asyncio.gather(*(_companion(client, o) for o in companions))
        for cluster in clusters:
            if (refusal := await _dask_cluster(client, cluster)) is not None:
                return refusal
        return await _jobs(client, jobs, clusters)
    except ApiError as error:
        if (refusal := _refusal(error)) is None:
            raise
        return refusal


async def _jobs(client: KubeClient, jobs: Sequence[Manifest], clusters: Sequence[Manifest]) -> Refusal | None:
    """Make the Job. Where it is refused its DaskCluster goes again: workers would hold GPUs without an attempt."""
    try:
        for job in jobs:
            await client.apply(job)
    except ApiError as error:
        if (refusal := _refusal(error)) is None:
            raise
        for cluster in clusters:
            metadata = cluster["metadata"]
            await client.delete(
                Resource.DASK_CLUSTERS, metadata["namespace"], metadata["name"], propagation="Foreground"
            )
        return refusal
    return None


def _refusal(error: ApiError) -> Refusal | None:
    """Return why the API server refuses an object; None where it failed in another way."""
    if error.status in (400, 403, 422):
        return refusal_of(error.message, permanent=error.status != 403)
    return None


async def _companion(client: KubeClient, manifest: Manifest) -> None:
    """Make an object that pods need before their Job is made.

    A Secret's token is drawn here, and only if there is none: the operator may not read Secrets, and pods that run know
    each other by the token that is there.

    A ConfigMap may be there from a try before: an operator of other defaults or of another version wrote it, and then a
    quota refused the Job. No pod has read it, for there was none; so it is replaced, since it cannot be changed.
    """
    if manifest["kind"] == "Secret":
        await client.create(_drawn(manifest))
        return
    try:
        await client.apply(manifest)
    except ApiError as error:
        if manifest["kind"] != "ConfigMap" or error.status != 422 or "immutable" not in error.message:
            raise
        metadata = manifest["metadata"]
        await client.delete(Resource.CONFIG_MAPS, metadata["namespace"], metadata["name"])
        await client.apply(manifest)


async def _dask_cluster(client: KubeClient, manifest: Manifest) -> Refusal | None:
    """Make a DaskCluster; one of that name is left as it is, and looked at later, unless it is about to go. Without
    its kind there is no GPU to ask for, so this comes before the Job.
    """
    metadata = manifest["metadata"]
    try:
        if await client.create(manifest):
            return None
        found = await client.get(Resource.DASK_CLUSTERS, metadata["namespace"], metadata["name"])
        if found is not None and found["metadata"].get("deletionTimestamp"):
            return Refusal(
                reason=Reason.CREATION_REFUSED,
                message=f"the DaskCluster {metadata['name']} of an earlier try is still being deleted: is the operator "
                "of dask-kubernetes running?",
            )
    except ApiError as error:
        if error.status != 404:
            raise
        return Refusal(
            reason=Reason.CREATION_REFUSED,
            message='dask.backend is "operator", and this cluster has no DaskClusters (kubernetes.dask.org/v1): '
            'install dask-kubernetes, or use dask.backend "native"',
            permanent=True,
            failure=Failure.CLUSTER_UNAVAILABLE,
        )
    return None


def _drawn(manifest: Manifest) -> Manifest:
    """Fill in what of a Secret is to come: 32 random bytes as hexadecimal digits."""
    data = {key: secrets.token_hex(32) if value == TO_COME else value for key, value in manifest["stringData"].items()}
    return {**manifest, "stringData": data}


async def write_status(client: KubeClient, job: GpuQueryJob, status: GpuQueryJobStatus | None) -> bool:
    """Write the status if it changed; True if it was written."""
    if status is None or status == job.status:
        return False
    written = await client.apply_status(
        {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {
                "name": job.metadata.name,
                "namespace": job.metadata.namespace,
                # Without it a status could land on another job of the same name.
                "uid": job.metadata.uid,
            },
            "status": _told(status),
        }
    )
    return written is not None


def _told(status: GpuQueryJobStatus) -> Manifest:
    """Serialise a status; what is empty is left out, and a server-side apply removes what is left out."""
    dumped = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {key: value for key, value in dumped.items() if value != []}


async def tell(
    client: KubeClient, job: GpuQueryJob, status: GpuQueryJobStatus, *, instance: str, now: datetime
) -> None:
    """Post the events of a status that was written. They are a courtesy: one that cannot be posted stops nothing."""
    for note in notes(job.status, status):
        try:
            await client.create_event(manifest(job, note, instance=instance, now=now))
        except (ApiError, UnreachableError) as error:
            log.warning("event %s of %s/%s: %s", note.event, job.metadata.namespace, job.metadata.name, error)


async def remove(client: KubeClient, job: GpuQueryJob, decision: Decision) -> None:
    """Delete what has to go."""
    namespace = job.metadata.namespace
    if decision.net is not None:
        name, deadline = decision.net
        await client.merge(Resource.BATCH_JOBS, namespace, name, {"spec": {"activeDeadlineSeconds": deadline}})
    if decision.release is not None:
        await client.delete(Resource.BATCH_JOBS, namespace, _name(job, decision.release))
    if decision.dask is not None:
        # In the foreground: the garbage collector takes what the cluster owns, even while its finalizer waits for an
        # operator that is away.
        if decision.dask.uid:
            how = {"uid": decision.dask.uid, "propagation": "Foreground"}
            await client.delete(Resource.DASK_CLUSTERS, namespace, decision.dask.name, **how)
        for group in decision.dask.groups:
            await client.delete(Resource.DASK_WORKER_GROUPS, namespace, group, propagation="Foreground")
    for number in decision.forget:
        # The Job last: as long as it is there, an interrupted clean-up is taken up again.
        for resource in (*_companions(job), Resource.BATCH_JOBS):
            await client.delete(resource, namespace, _name(job, number))
    for run in decision.drop:
        name = preflight_name(job.metadata.name, job.metadata.uid, run)
        for resource in (Resource.CONFIG_MAPS, Resource.BATCH_JOBS):
            await client.delete(resource, namespace, name)
    if decision.delete_job:
        await client.delete(Resource.JOBS, namespace, job.metadata.name, uid=job.metadata.uid)


async def sweep(client: KubeClient, namespace: str, name: str, uid: str = "") -> None:
    """See that the Dask workers of jobs of a name that were deleted go; `uid` is that of the job that has it now.

    Their DaskClusters are deleted with them, by the garbage collector, but in the background: it takes what such an
    object owns only once it is gone, and its finalizer waits for the operator of dask-kubernetes. Deleted once more in
    the foreground, what it owns goes first. A DaskWorkerGroup that was never tied to its DaskCluster (see
    reconcile/dask.py) would stay for ever.
    """
    for cluster in await client.list(Resource.DASK_CLUSTERS, namespace, labels=f"{LABEL_JOB}={name}"):
        metadata = cluster["metadata"]
        own = uid and metadata["labels"].get(LABEL_JOB_UID) == uid
        if not own and FOREGROUND not in (metadata.get("finalizers") or ()):
            how = {"uid": metadata["uid"], "propagation": "Foreground"}
            await client.delete(Resource.DASK_CLUSTERS, namespace, metadata["name"], **how)
    for group in await client.list(Resource.DASK_WORKER_GROUPS, namespace, labels=f"{LABEL_JOB}={name}"):
        metadata = group["metadata"]
        own = uid and metadata["labels"].get(LABEL_JOB_UID) == uid
        if not own and not metadata.get("ownerReferences") and not metadata.get("deletionTimestamp"):
            how = {"uid": metadata["uid"], "propagation": "Foreground"}
            await client.delete(Resource.DASK_WORKER_GROUPS, namespace, metadata["name"], **how)


def _companions(job: GpuQueryJob) -> tuple[Resource, ...]:
    """Return of which kinds an attempt has objects beside its Job; its plan is told before there is any to delete."""
    told = job.status.plan
    if told is None or told.cluster != ClusterChoice.DISTRIBUTED:
        return (Resource.SERVICES, Resource.CONFIG_MAPS)
    way = told.dask.way if told.dask else DaskWay.NATIVE
    if way == DaskWay.NATIVE:
        return (Resource.SERVICES, Resource.CONFIG_MAPS, Resource.SECRETS, Resource.NETWORK_POLICIES)
    more = (Resource.NETWORK_POLICIES, Resource.DASK_CLUSTERS) if way == DaskWay.OPERATOR else ()
    return (Resource.SERVICES, Resource.CONFIG_MAPS, *more)


def _name(job: GpuQueryJob, attempt: int) -> str:
    return attempt_name(job.metadata.name, job.metadata.uid, attempt)
