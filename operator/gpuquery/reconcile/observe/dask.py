"""Observe, as far as Dask clusters go: the DaskCluster of an attempt, and the one that a job names.

The DaskCluster of an attempt comes from memory (children.py), and from a GET where it is not known there.
Its DaskWorkerGroups are listed while it goes. Its pods come with those of the job, whose labels they carry. Nothing is
asked for a job without such a cluster.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gpuquery.api.dask import DaskBackend
from gpuquery.api.labels import (
    CA_KEY,
    DASK_PORT,
    LABEL_ATTEMPT,
    LABEL_DASK,
    LABEL_DASK_CLUSTER,
    LABEL_JOB_UID,
    attempt_name,
    scheduler_name,
)
from gpuquery.kube.client import ApiError, KubeClient, Resource
from gpuquery.plan.dask.flags import TLS_FILES
from gpuquery.plan.dask.layout import address_of
from gpuquery.reconcile.observe import ownership, parse
from gpuquery.reconcile.observe.model import NOT_MOUNTED, Attempt, DaskCluster, Scheduler, Waiting, nothing_of
from gpuquery.render.pod import CA_VOLUME, TLS_VOLUME

if TYPE_CHECKING:
    from gpuquery.api.types import GpuQueryJob
    from gpuquery.reconcile.observe.children import Child

Json = Mapping[str, Any]

OWN_PART = "dask.org/component"
PROTOCOL = re.compile(r"--protocol[= ]([a-z]+)")
TLS_FLAG = re.compile(r"--tls-(ca-file|cert|key)(?![-\w])")
HOST = re.compile(r"--host[= ]([a-z]+)://")
SCHEME = "DASK_DISTRIBUTED__COMM__DEFAULT_SCHEME"
REQUIRED = "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION"
"""What says the protocol of a scheduler (`cli/dask_scheduler.py` and `address_from_user_args` of distributed 2025.7 to
2026.7): the first counts, then what asks for TLS."""
CREATING = "ContainerCreating"
"""What a kubelet says of a container whose volumes or image it has not got together yet."""
UNMOUNTED = re.compile(rf'MountVolume\.SetUp failed for volume "({TLS_VOLUME}|{CA_VOLUME})" : (.+)')
MOUNTED = frozenset({"Pulling", "Pulled", "Created", "Started"})
"""Reasons of events that come once all volumes are mounted."""
KEYS = "{}, {} and {}".format(*TLS_FILES)


def wanted(job: GpuQueryJob) -> bool:
    """Whether each attempt of a job has a DaskCluster."""
    return job.spec.dask is not None and job.spec.dask.backend is DaskBackend.OPERATOR


def split(attempt: Attempt) -> Attempt:
    """Tell the pods that dask-kubernetes has made for an attempt from those of its Job."""
    made = tuple(pod for pod in attempt.pods if pod.part)
    if not made:
        return attempt
    own = tuple(pod for pod in attempt.pods if not pod.part)
    return replace(attempt, pods=own, dask=DaskCluster(name="", pods=made))


def begun(job: GpuQueryJob, attempts: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
    """Return the attempts that have begun, those of which nothing is left but a DaskCluster too.

    A DaskCluster is made before its Job: if the operator died in between, the attempt has not begun, and begins anew.
    """
    if not wanted(job):
        return attempts
    number = job.status.attempt or 0
    found = tuple(a for a in attempts if a.batch_job or a.pods or a.number <= number)
    if number and all(a.number != number for a in found):
        found = (*found, nothing_of(number))
    return tuple(sorted(found, key=lambda attempt: attempt.number))


async def with_cluster(
    client: KubeClient, job: GpuQueryJob, attempt: Attempt, known: Sequence[Child[DaskCluster]] = ()
) -> Attempt:
    """Look at the DaskCluster of an attempt; the API server is asked for one that is not among the `known`."""
    if not wanted(job):
        return attempt
    namespace, name = job.metadata.namespace, attempt_name(job.metadata.name, job.metadata.uid, attempt.number)
    planned = job.status.plan.workers if job.status.plan else 0
    remembered = ((each.fact, each.about) for each in known if each.about["metadata"]["name"] == name)
    fact, manifest = next(remembered, (None, None)) if planned else (None, None)
    if fact is None and (manifest := await client.get(Resource.DASK_CLUSTERS, namespace, name)):
        fact = parse.dask_cluster(manifest)
    fact = fact or DaskCluster(name=name, there=False)
    found = replace(
        fact,
        workers=planned or fact.workers,
        ours=manifest is None or ownership.belongs(manifest, job.metadata.uid),
        pods=attempt.dask.pods if attempt.dask else (),
    )
    if not found.there or found.deleting:
        labels = f"{LABEL_JOB_UID}={job.metadata.uid},{LABEL_ATTEMPT}={attempt.number}"
        groups = await _worker_groups(client, namespace, labels, name)
        untied = tuple(group for group, owned in groups.items() if not owned)
        found = replace(found, groups=tuple(groups), untied=untied)
    return replace(attempt, dask=found)


async def _worker_groups(client: KubeClient, namespace: str, labels: str, cluster: str) -> dict[str, bool]:
    """Return the names of the DaskWorkerGroups that were made for a DaskCluster, and whether they go without more ado.

    They are found by labels of ours, which dask-kubernetes copied.
    """
    try:
        found = await client.list(Resource.DASK_WORKER_GROUPS, namespace, labels=f"{labels},{LABEL_DASK}")
    except ApiError as error:
        if error.status == 404:  # dask-kubernetes was removed, and all objects of its kinds with it
            return {}
        raise
    own = (each["metadata"] for each in found if ownership.of_group(each, cluster))
    about = sorted(own, key=lambda metadata: str(metadata["name"]))
    return {meta["name"]: bool(meta.get("ownerReferences") or meta.get("deletionTimestamp")) for meta in about}


async def scheduler(client: KubeClient, job: GpuQueryJob) -> Scheduler | None:
    """Look where the scheduler of `dask.clusterRef` is, and whether it has workers; None where none is named."""
    if job.spec.dask is None or job.spec.dask.cluster_ref is None:
        return None
    namespace, name = job.metadata.namespace, job.spec.dask.cluster_ref.name
    where = f'dask.clusterRef.name is "{name}", and'
    try:
        manifest = await client.get(Resource.DASK_CLUSTERS, namespace, name)
        if manifest is None:
            # Where its kind is not known either, nothing will come of waiting.
            await client.list_metadata(Resource.DASK_CLUSTERS, namespace)
            return Scheduler(missing=f'{where} namespace "{namespace}" has no such DaskCluster: create it')
    except ApiError as error:
        if error.status == 403:
            # Where it was not switched on, the job is refused for that instead.
            return Scheduler(
                missing=f"{where} this operator may not read DaskClusters here: its role lacks what the Helm value "
                "dask.attach.enabled gives, as after an upgrade of half a release"
            )
        if error.status != 404:
            raise
        return Scheduler(
            unfit=f"{where} this cluster has no DaskClusters (kubernetes.dask.org/v1): install dask-kubernetes, or "
            "name a scheduler in dask.schedulerAddress"
        )
    if manifest["metadata"].get("deletionTimestamp"):
        return Scheduler(missing=f"{where} this DaskCluster is being deleted: create it anew, or name another")
    if LABEL_JOB_UID in (manifest["metadata"].get("labels") or {}):
        return Scheduler(unfit=f"{where} this DaskCluster belongs to a job's attempt and goes with it: name another")
    service, pods = await asyncio.gather(
        client.get(Resource.SERVICES, namespace, scheduler_name(name)),
        client.list(Resource.PODS, namespace, labels=f"{LABEL_DASK_CLUSTER}={name}"),
    )
    if service is None or not any(_part(pod) == "scheduler" and parse.pod(pod).ready for pod in pods):
        return Scheduler(
            missing=f"{where} its scheduler is not ready: see the pods with the label {LABEL_DASK_CLUSTER}={name}"
        )
    address = address_of(name, namespace, _protocol(manifest), _port(service))
    working = (pod for pod in pods if _part(pod) == "worker" and parse.pod(pod).alive)
    return Scheduler(address=address, workers=tuple(_limits(pod) for pod in working))


async def with_certificates(client: KubeClient, job: GpuQueryJob, attempt: Attempt) -> Attempt:
    """Ask the events of a pod that waits on its node whether it lacks the Secret of `dask.tlsSecretName`, the ConfigMap
    of `storage.caConfigMapName`, or a key.

    The kubelet says of a volume that cannot be mounted nowhere else. It pulls the image once all are.
    """
    secret = job.spec.dask.tls_secret_name if job.spec.dask else None
    authorities = job.spec.storage.ca_config_map_name
    pod = next((pod for pod in attempt.pods if pod.node and pod.waiting and pod.waiting.reason == CREATING), None)
    if (secret is None and authorities is None) or pod is None:
        return attempt
    events = await client.list(Resource.CORE_EVENTS, job.metadata.namespace, fields=f"involvedObject.uid={pod.uid}")
    words = [event.get("message") or "" for event in parse.in_order(events)]
    told = [found.groups() for text in words if (found := UNMOUNTED.search(text))]
    if not told or any(event.get("reason") in MOUNTED for event in events):
        return attempt
    volume, why = told[-1]
    message = (
        f'dask.tlsSecretName is "{secret}", which must be a Secret with {KEYS}: {why}'
        if volume == TLS_VOLUME
        else f'storage.caConfigMapName is "{authorities}", which must be a ConfigMap with {CA_KEY}: {why}'
    )
    held = replace(pod, waiting=Waiting(reason=NOT_MOUNTED, message=message))
    return replace(attempt, pods=tuple(held if each is pod else each for each in attempt.pods))


def _part(pod: Json) -> str:
    part: str = (pod["metadata"].get("labels") or {}).get(OWN_PART, "")
    return part


def _limits(pod: Json) -> frozenset[str]:
    containers: Sequence[Json] = pod.get("spec", {}).get("containers") or ()
    return frozenset(name for each in containers for name in (each.get("resources", {}).get("limits") or {}))


def _port(service: Json) -> int:
    ports = {port.get("name", ""): port["port"] for port in service.get("spec", {}).get("ports") or ()}
    return int(ports.get("tcp-comm", DASK_PORT))


def _protocol(manifest: Json) -> str:
    """Return what a DaskCluster's scheduler speaks.

    The object has no field for it: its command has, or a variable, or what its workers are told of it (the image may
    say it too).
    """
    spec = manifest.get("spec", {})
    containers = _containers(spec.get("scheduler", {}))
    words = " ".join(
        str(word) for each in containers for word in (*(each.get("command") or ()), *(each.get("args") or ()))
    )
    if found := PROTOCOL.search(words):
        return found[1]
    if TLS_FLAG.search(words) or _variable(containers, REQUIRED).lower() in ("true", "1"):
        return "tls"
    if found := HOST.search(words):
        return found[1]
    address = _variable(containers, SCHEME) or _variable(_containers(spec.get("worker", {})), "DASK_SCHEDULER_ADDRESS")
    return address.partition("://")[0] or "tcp"


def _containers(part: Json) -> Sequence[Json]:
    found: Sequence[Json] = part.get("spec", {}).get("containers") or ()
    return found


def _variable(containers: Sequence[Json], name: str) -> str:
    variables = (variable for each in containers for variable in each.get("env") or ())
    return next((str(variable.get("value") or "") for variable in variables if variable.get("name") == name), "")
