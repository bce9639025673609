"""Observe: read what exists of a job. The only truth; nothing is remembered between two looks.

Few requests, and fewer the further a job is: two LISTs always, two small GETs while an attempt is slow to start (with
ranks three, and a pod's events, as with certificates of a Dask cluster), a GET of its DaskCluster if it has one,
events only while a Job has no pods, the query's ConfigMap only before an attempt begins. Their number does not depend
on that of the pods.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from gpuquery.api.labels import LABEL_ATTEMPT, LABEL_JOB_UID, LABEL_PREFLIGHT, attempt_name, preflight_name
from gpuquery.api.spec import ConfigMapKeyRef
from gpuquery.api.types import GpuQueryJob
from gpuquery.kube.client import ApiError, KubeClient, Resource
from gpuquery.kube.progress import ProgressReader, Reading
from gpuquery.reconcile import digest, observe_dask, startup
from gpuquery.reconcile.facts import Attempt, Observed, Pod, QueryText, Refusal

log = logging.getLogger(__name__)

LATE = timedelta(seconds=5)
"""Age of an attempt from which on a pod that is still pending is worth a closer look."""


async def observe(client: KubeClient, reader: ProgressReader, job: GpuQueryJob) -> Observed:
    """Read everything that a decision about this job needs."""
    namespace, labels = job.metadata.namespace, f"{LABEL_JOB_UID}={job.metadata.uid}"
    jobs, pods = await asyncio.gather(
        client.list(Resource.BATCH_JOBS, namespace, labels=labels),
        client.list(Resource.PODS, namespace, labels=labels),
    )
    attempts, runs = _numbered(LABEL_ATTEMPT, jobs, pods), _numbered(LABEL_PREFLIGHT, jobs, pods)
    attempts = observe_dask.begun(job, attempts)
    current = attempts[-1] if attempts else None
    reader.forget({pod.uid for attempt in attempts for pod in attempt.pods if not pod.alive})
    if current is None or current.number < (job.status.attempt or 0) or _ended(job, current):
        query, scheduler, checked = await asyncio.gather(
            _query(client, job), observe_dask.scheduler(client, job), _preflight(client, job, runs)
        )
        return replace(checked, attempts=attempts, query=query, scheduler=scheduler)
    current = await observe_dask.with_cluster(client, job, current)
    latest, refusal, reading = await asyncio.gather(
        _with_companions(client, job, current), _refusal(client, job, current), _reading(reader, job, current)
    )
    found = Observed(attempts=(*attempts[:-1], latest), runs=runs, refusal=refusal, reading=reading)
    if job.status.plan and not latest.missing:
        return found
    query, scheduler = await asyncio.gather(_query(client, job), observe_dask.scheduler(client, job))
    return replace(found, query=query, scheduler=scheduler)


def _numbered(label: str, jobs: Sequence[Any], pods: Sequence[Any]) -> tuple[Attempt, ...]:
    """Put together what carries the same number in a label."""
    found: dict[int, Attempt] = {}
    for manifest in jobs:
        number = digest.number(manifest, label)
        found[number] = Attempt(number=number, batch_job=digest.batch_job(manifest))
    for manifest in pods:
        number = digest.number(manifest, label)
        known = found.get(number, Attempt(number=number))
        found[number] = Attempt(number=number, batch_job=known.batch_job, pods=(*known.pods, digest.pod(manifest)))
    return tuple(
        observe_dask.split(
            replace(found[number], pods=tuple(sorted(found[number].pods, key=lambda pod: (pod.index, pod.name))))
        )
        for number in sorted(found)
        if number > 0
    )


async def _preflight(client: KubeClient, job: GpuQueryJob, runs: tuple[Attempt, ...]) -> Observed:
    """Look closer at the run of the preflight that is under way, if one is."""
    last = job.status.preflight_run
    if not runs or job.status.preflight or (last and last.ended and runs[-1].number <= last.id):
        return Observed(runs=runs)
    run, refusal = await asyncio.gather(_with_config_map(client, job, runs[-1]), _refusal(client, job, runs[-1]))
    return Observed(runs=(*runs[:-1], run), refusal=refusal)


def _ended(job: GpuQueryJob, attempt: Attempt) -> bool:
    return any(a.id == attempt.number and a.ended for a in job.status.attempts)


async def _with_companions(client: KubeClient, job: GpuQueryJob, attempt: Attempt) -> Attempt:
    """Look whether Service and ConfigMap of an attempt are there; with ranks NetworkPolicy and Secret too."""
    if not _waits_long(attempt):
        return attempt
    name = attempt_name(job.metadata.name, job.metadata.uid, attempt.number)
    service, config_map = await asyncio.gather(
        _exists(client, job, Resource.SERVICES, name), _exists(client, job, Resource.CONFIG_MAPS, name)
    )
    found = replace(attempt, service=service, config_map=config_map)
    if attempt.batch_job is None or not attempt.batch_job.ranks:
        return await observe_dask.with_certificates(client, job, found)
    policy, missed = await asyncio.gather(
        _exists(client, job, Resource.NETWORK_POLICIES, name), _secret_missed(client, job, attempt, name)
    )
    return replace(found, network_policy=policy, secret=not missed)


async def _secret_missed(client: KubeClient, job: GpuQueryJob, attempt: Attempt, name: str) -> bool:
    """Ask the events of a pod that waits on its node: a kubelet that misses the Secret says so nowhere else."""
    waiting = next((pod for pod in attempt.pods if pod.node and pod.phase == "Pending"), None)
    if waiting is None:
        return False
    events = await client.list(
        Resource.CORE_EVENTS, job.metadata.namespace, fields=f"involvedObject.uid={waiting.uid},reason=FailedMount"
    )
    return any(f'secret "{name}" not found' in (event.get("message") or "") for event in events)


async def _with_config_map(client: KubeClient, job: GpuQueryJob, run: Attempt) -> Attempt:
    """Look whether the ConfigMap of a preflight is there; it has no Service."""
    if not _waits_long(run):
        return run
    name = preflight_name(job.metadata.name, job.metadata.uid, run.number)
    return replace(run, config_map=await _exists(client, job, Resource.CONFIG_MAPS, name))


def _waits_long(attempt: Attempt) -> bool:
    """Whether something may have become of the objects that its pods wait for; a single pod that runs needs none, and a
    set of ranks that has joined.

    They were made before the Job, so only someone else can have removed them: no look while all is fresh.
    """
    batch = attempt.batch_job
    if batch is None or batch.created is None:
        return False
    at_it = [pod for pod in attempt.pods if (pod.at_work and not pod.ready if batch.ranks else pod.phase == "Pending")]
    if attempt.pods and not at_it:
        return False
    return datetime.now(tz=UTC) - batch.created >= LATE


async def _exists(client: KubeClient, job: GpuQueryJob, resource: Resource, name: str) -> bool:
    return await client.get(resource, job.metadata.namespace, name, metadata_only=True) is not None


async def _refusal(client: KubeClient, job: GpuQueryJob, attempt: Attempt) -> Refusal | None:
    """Ask the Job's events why it has no pods: quota and admission speak nowhere else."""
    batch = attempt.batch_job
    if batch is None or attempt.pods or batch.finished or batch.deleting:
        return None
    events = await client.list(
        Resource.CORE_EVENTS, job.metadata.namespace, fields=f"involvedObject.uid={batch.uid},reason=FailedCreate"
    )
    if not events:
        return None
    latest = max(events, key=lambda e: e.get("lastTimestamp") or e.get("eventTime") or "")
    return startup.refusal_of(latest.get("message", ""))


async def _reading(reader: ProgressReader, job: GpuQueryJob, attempt: Attempt) -> Reading | None:
    """Ask index 0 how far it is; the client of a cluster of somebody else's also what it waits for."""
    first = _first_rank(attempt.pods)
    if first is None or first.address is None:
        return None
    waits = job.spec.dask is not None and job.spec.dask.attaches and first.phase == "Running"
    if not attempt.ready and not waits:
        return None
    return await reader.read(first.uid, first.address)


def _first_rank(pods: Sequence[Pod]) -> Pod | None:
    return next((pod for pod in pods if pod.alive and pod.index == 0), None)


async def namespace_annotations(client: KubeClient, job: GpuQueryJob) -> Mapping[str, str] | None:
    """Read what the job's namespace says about defaults; only for a job that has no plan yet."""
    if job.status.plan is not None:
        return None
    try:
        namespace = await client.get(Resource.NAMESPACES, "", job.metadata.namespace, metadata_only=True)
    except ApiError as error:
        if error.status != 403:
            raise
        # Roles of an older chart: its namespaces had no annotations that mattered.
        log.warning("namespace %s: its default-* annotations are not readable: %s", job.metadata.namespace, error)
        return None
    found: Mapping[str, str] | None = (namespace or {}).get("metadata", {}).get("annotations")
    return found


async def _query(client: KubeClient, job: GpuQueryJob) -> QueryText | None:
    ref = job.spec.query.config_map_key_ref
    return None if ref is None else await read_query(client, job.metadata.namespace, ref)


async def read_query(client: KubeClient, namespace: str, ref: ConfigMapKeyRef) -> QueryText:
    """Read the query's text from its ConfigMap, or say what is missing."""
    config_map = await client.get(Resource.CONFIG_MAPS, namespace, ref.name)
    if config_map is None:
        return QueryText(missing=f"query.configMapKeyRef: namespace {namespace!r} has no ConfigMap {ref.name!r}")
    data = config_map.get("data") or {}
    if ref.key not in data:
        keys = ", ".join(sorted(data)) or "no text at all"
        return QueryText(missing=f"query.configMapKeyRef: ConfigMap {ref.name!r} has no key {ref.key!r}, only {keys}")
    return QueryText(text=data[ref.key])
