"""Apply: carry a decision out. Every step may be repeated; a step that was done already costs nothing or is refused.

The order makes a crash harmless: first the objects, then the status that names them, then events, and deletions last,
so that a cause is stored before its effect can be seen.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, assert_never

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
from gpuquery.kube.client import BY_KIND, FOREGROUND, ApiError, KubeClient, Manifest, Resource, UnreachableError
from gpuquery.plan.plan import DaskWay, Purpose
from gpuquery.reconcile.observe import ownership
from gpuquery.reconcile.observe.model import Refusal
from gpuquery.reconcile.observe.parse import refusal_of
from gpuquery.reconcile.policy.actions import Create, DeleteDask, DeleteJob, DeleteRun, ForgetAttempt, MoveDeadline
from gpuquery.reconcile.report.events import manifest, notes
from gpuquery.reconcile.report.smaller import smaller
from gpuquery.render.ranks import TO_COME

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from gpuquery.api.status import GpuQueryJobStatus
    from gpuquery.api.types import GpuQueryJob
    from gpuquery.reconcile.policy.account import Note
    from gpuquery.reconcile.policy.actions import Action

COMPANIONS = ("Service", "Secret", "ConfigMap")
"""Kinds that a batch Job owns."""
UNKNOWN_FIELD = re.compile(r'unknown field "(spec\.template\.spec\.[^"]+)"')
"""What the API server says about fields that it does not know. The pods' template of a Job stands where that of a
GpuQueryJob does."""

log = logging.getLogger(__name__)


async def create(client: KubeClient, objects: tuple[Manifest, ...]) -> Refusal | None:
    """Make what a run is missing; returns the API server's refusal, if there is one.

    First comes what no pod may be without (the NetworkPolicy) and what takes GPUs (a DaskCluster), then the Job, then
    the objects that the Job owns: no pod starts before its ConfigMap exists.
    """

    def of(*kinds: str) -> list[Manifest]:
        return [each for each in objects if each["kind"] in kinds]

    jobs, clusters, companions = of("Job"), of(DASK_KIND), of(*COMPANIONS)
    job: Manifest | None = None
    try:
        if jobs and (taken := await _taken(client, companions)):
            return _others(*taken)
        for policy in of("NetworkPolicy"):
            if await _made(client, policy) is None:
                return _others(policy)
        for cluster in clusters:
            if (refusal := await _dask_cluster(client, cluster)) is not None:
                return refusal
        for each in jobs:
            try:
                job = await _made(client, each)
            except ApiError as error:
                if _refusal(error) is not None:
                    await _drop(client, clusters)  # workers would hold GPUs without an attempt
                raise
            if job is None:
                return _others(each)
        refusal = await _companions(client, companions, job) if companions else None
        if refusal is not None and refusal.undone:
            await _drop(client, clusters)
        return refusal
    except ApiError as error:
        if (refusal := _refusal(error)) is None:
            raise
        return refusal


async def _drop(client: KubeClient, clusters: Sequence[Manifest]) -> None:
    for cluster in clusters:
        metadata = cluster["metadata"]
        await delete_whole(client, Resource.DASK_CLUSTERS, metadata["namespace"], metadata["name"])


async def delete_whole(client: KubeClient, resource: Resource, namespace: str, name: str, uid: str = "") -> None:
    """Delete an object in the foreground: the garbage collector takes what it owns first, even while its finalizer
    waits for an operator that is away.
    """
    how = {"uid": uid} if uid else {}
    await client.delete(resource, namespace, name, propagation="Foreground", **how)


async def _taken(client: KubeClient, companions: Sequence[Manifest]) -> list[Manifest]:
    """Return those whose names others have taken: the pods would run another's plan. Secrets may not be read."""
    visible = [each for each in companions if each["kind"] != "Secret"]
    about = [(BY_KIND[each["kind"]], each["metadata"]) for each in visible]
    found = await asyncio.gather(*(client.get(r, m["namespace"], m["name"], metadata_only=True) for r, m in about))
    return [each for each, there in zip(visible, found, strict=True) if there and not _of_its_job(there)]


def _of_its_job(manifest: Manifest) -> bool:
    """Whether an object belongs to a Job of its own name; by UID that is looked at once the Job is made."""
    owner = ownership.controller(manifest)
    return owner.get("kind") == "Job" and owner.get("name") == manifest["metadata"]["name"]


async def _companions(client: KubeClient, companions: Sequence[Manifest], made: Manifest | None) -> Refusal | None:
    """Make the objects that a Job owns. The garbage collector deletes them with it, so the operator needs no right to
    delete Secrets, ConfigMaps or Services.

    `made` is the Job, if it was made just now. It is deleted again if one of these names is taken, as its pods would
    run another's plan, or if one is refused, as its pods would only wait.
    """
    about = companions[0]["metadata"]
    namespace, name = about["namespace"], about["name"]
    job = made or await client.get(Resource.BATCH_JOBS, namespace, name, metadata_only=True)
    if job is None or job["metadata"].get("deletionTimestamp"):
        return None  # deleted meanwhile; the next look sees it
    uid = job["metadata"]["uid"]
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": uid, "controller": True}
    owned = [{**each, "metadata": {**each["metadata"], "ownerReferences": [owner]}} for each in companions]
    try:
        found = await asyncio.gather(*(_made(client, each) for each in owned))
    except ApiError as error:
        if (refusal := _refusal(error)) is None:
            raise
        if made is None:
            return refusal
    else:
        if not (others := [each for each, ours in zip(owned, found, strict=True) if ours is None]):
            return None
        refusal = _others(*others)
    await client.delete(Resource.BATCH_JOBS, namespace, name, uid=uid)
    return replace(refusal, undone=True)


async def _made(client: KubeClient, manifest: Manifest) -> Manifest | None:
    """Make an object and return it as stored; None if its name is taken by an object of another owner.

    A Secret that exists is kept: the operator may not read it, and running pods know each other by its token.
    """
    secret = manifest["kind"] == "Secret"
    if stored := await client.create(_drawn(manifest) if secret else manifest):
        return stored
    if secret:
        return manifest
    metadata = manifest["metadata"]
    resource = BY_KIND[manifest["kind"]]
    found = await client.get(resource, metadata["namespace"], metadata["name"], metadata_only=True)
    ours = found is not None and ownership.belongs(found, ownership.controller(manifest)["uid"])
    return found if ours else None


def _others(*manifests: Manifest) -> Refusal:
    """Return the refusal of a name that is taken."""
    kinds = " and a ".join(each["kind"] for each in manifests)
    return Refusal(
        reason=Reason.NAME_TAKEN,
        message=f"there is a {kinds} named {manifests[0]['metadata']['name']} that is not this job's: delete it, or "
        "give the job another name",
    )


def _refusal(error: ApiError) -> Refusal | None:
    """Return why the API server refuses an object; None where it failed in another way."""
    if error.status == 403 or _unfit(error):
        return refusal_of(_in_short(error.message), permanent=error.status != 403)
    return None


def _in_short(message: str) -> str:
    """Name the fields that the API server does not know, as they are called in the job."""
    unknown = UNKNOWN_FIELD.findall(message)
    named = ", ".join(unknown)
    return f"the API server knows no field {named}: correct it in a new job" if named else message


async def _dask_cluster(client: KubeClient, manifest: Manifest) -> Refusal | None:
    """Make a DaskCluster. One of that name is judged later, unless it is being deleted."""
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
    """Fill in the token of a Secret: 32 random bytes as hexadecimal digits."""
    data = {key: secrets.token_hex(32) if value == TO_COME else value for key, value in manifest["stringData"].items()}
    return {**manifest, "stringData": data}


async def write_status(client: KubeClient, job: GpuQueryJob, status: GpuQueryJobStatus | None) -> bool:
    """Write the status if it changed; True if it was written. If it is refused, a smaller one is written."""
    if status is None or status == job.status:
        return False
    whole = _serialized(status)
    try:
        return await client.apply_status(_with_status(job, whole)) is not None
    except ApiError as error:
        if not _unfit(error):
            raise
        refusal = error
    for less in smaller(whole, refusal.message):
        if less == _serialized(job.status):
            return False  # already stored
        try:
            written = await client.apply_status(_with_status(job, less)) is not None
        except ApiError as error:
            if not _unfit(error):
                raise
        else:
            log.warning("%s/%s: its status was told in a smaller one: %s", *_key(job), refusal)
            return written
    raise refusal


def _unfit(error: ApiError) -> bool:
    """Whether the API server refuses an object for what it is, so that trying again cannot help."""
    return error.status in (400, 413, 422) or (error.status >= 500 and "too large" in error.message)


def _key(job: GpuQueryJob) -> tuple[str, str]:
    return job.metadata.namespace, job.metadata.name


def _with_status(job: GpuQueryJob, status: Manifest) -> Manifest:
    # The status is derived from that version: if the job has changed since, it is derived anew (StaleError). This also
    # keeps it off another job of the same name; an apply of a status ignores the UID.
    version = {"resourceVersion": job.metadata.resource_version} if job.metadata.resource_version else {}
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": job.metadata.name,
            "namespace": job.metadata.namespace,
            "uid": job.metadata.uid,
            **version,
        },
        "status": status,
    }


def _serialized(status: GpuQueryJobStatus) -> Manifest:
    """Serialise a status without what is empty; a server-side apply removes what is left out."""
    dumped = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {key: value for key, value in dumped.items() if value != []}


async def tell(
    client: KubeClient, job: GpuQueryJob, status: GpuQueryJobStatus, *, instance: str, now: datetime
) -> None:
    """Post the events of a status that was written."""
    for note in notes(job.status, status):
        await post(client, job, note, instance=instance, now=now)


async def post(client: KubeClient, job: GpuQueryJob, note: Note, *, instance: str, now: datetime) -> None:
    """Post one event. One that cannot be posted stops nothing."""
    try:
        await client.create_event(manifest(job, note, instance=instance, now=now))
    except (ApiError, UnreachableError) as error:
        log.warning("event %s of %s/%s: %s", note.event, job.metadata.namespace, job.metadata.name, error)


async def _take(client: KubeClient, resource: Resource, namespace: str, name: str, owner: str) -> None:
    """Delete an object of that name if its controller has the UID `owner`."""
    found = await client.get(resource, namespace, name, metadata_only=True)
    if found is not None and ownership.belongs(found, owner):
        await client.delete(resource, namespace, name, uid=found["metadata"]["uid"])


async def carry_out(client: KubeClient, job: GpuQueryJob, actions: Sequence[Action]) -> None:
    """Do what comes after the status write, one action after the other."""
    for action in actions:
        await _carry_out(client, job, action)


async def _carry_out(client: KubeClient, job: GpuQueryJob, action: Action) -> None:
    namespace, owner = job.metadata.namespace, job.metadata.uid
    match action:
        case Create():
            pass  # came before the status
        case MoveDeadline(batch_job=name, seconds=seconds):
            await client.merge(Resource.BATCH_JOBS, namespace, name, {"spec": {"activeDeadlineSeconds": seconds}})
        case DeleteRun(purpose=purpose, number=number):
            named = attempt_name if purpose is Purpose.QUERY else preflight_name
            await _take(client, Resource.BATCH_JOBS, namespace, named(job.metadata.name, owner, number), owner)
        case DeleteDask(name=name, uid=uid, groups=groups):
            if uid:
                await delete_whole(client, Resource.DASK_CLUSTERS, namespace, name, uid)
            for group in groups:
                await delete_whole(client, Resource.DASK_WORKER_GROUPS, namespace, group)
        case ForgetAttempt(number=number):
            name = attempt_name(job.metadata.name, owner, number)
            # The Job last: as long as it is there, an interrupted clean-up is taken up again.
            if _on_dask_kubernetes(job):
                await _take(client, Resource.DASK_CLUSTERS, namespace, name, owner)
            await _take(client, Resource.BATCH_JOBS, namespace, name, owner)
        case DeleteJob():
            # Its TTL may have been raised since it was read.
            version = job.metadata.resource_version
            await client.delete(Resource.JOBS, namespace, job.metadata.name, uid=owner, version=version)
        case _:
            assert_never(action)


async def sweep(client: KubeClient, namespace: str, name: str, uid: str = "") -> None:
    """Delete the Dask workers that deleted jobs of this name have left; `uid` is that of the job that has it now.

    The garbage collector deletes their DaskClusters in the background: what these own goes only after them, and their
    finalizer waits for the operator of dask-kubernetes. Deleted again in the foreground, what they own goes first. A
    DaskWorkerGroup that was never tied to its DaskCluster (policy/dask.py) would stay for ever.
    """
    for cluster in await client.list(Resource.DASK_CLUSTERS, namespace, labels=f"{LABEL_JOB}={name}"):
        metadata, owner = cluster["metadata"], ownership.controller(cluster)
        others = owner.get("kind") != KIND or owner.get("name") != name or owner.get("uid") == uid
        if not others and FOREGROUND not in (metadata.get("finalizers") or ()):
            await delete_whole(client, Resource.DASK_CLUSTERS, namespace, metadata["name"], metadata["uid"])
    for group in await client.list(Resource.DASK_WORKER_GROUPS, namespace, labels=f"{LABEL_JOB}={name}"):
        metadata = group["metadata"]
        own = uid and metadata["labels"].get(LABEL_JOB_UID) == uid
        if not own and ownership.untied(group) and not metadata.get("deletionTimestamp"):
            await delete_whole(client, Resource.DASK_WORKER_GROUPS, namespace, metadata["name"], metadata["uid"])


def _on_dask_kubernetes(job: GpuQueryJob) -> bool:
    """Whether attempts have a DaskCluster; the status has the plan before there is one to delete."""
    planned = job.status.plan
    return planned is not None and planned.dask is not None and planned.dask.way == DaskWay.OPERATOR
