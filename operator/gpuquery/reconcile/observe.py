"""Observe: read what exists of a job. The only truth; nothing is remembered between two looks.

Few requests, and fewer the further a job is: two LISTs always, two small GETs while an attempt is slow to start,
events only while a Job has no pods, the query's ConfigMap only before an attempt begins.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from gpuquery.api.labels import LABEL_JOB_UID, attempt_name
from gpuquery.api.spec import ConfigMapKeyRef
from gpuquery.api.types import GpuQueryJob
from gpuquery.kube.client import ApiError, KubeClient, Resource
from gpuquery.kube.progress import ProgressReader, Reading
from gpuquery.reconcile import digest, startup
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
    attempts = _attempts(jobs, pods)
    current = attempts[-1] if attempts else None
    reader.forget({pod.uid for attempt in attempts for pod in attempt.pods if not pod.alive})
    if current is None or current.number < (job.status.attempt or 0) or _ended(job, current):
        return Observed(attempts=attempts, query=await _query(client, job))
    latest, refusal, reading = await asyncio.gather(
        _with_companions(client, job, current), _refusal(client, job, current), _reading(reader, current)
    )
    query = None if job.status.plan and latest.service and latest.config_map else await _query(client, job)
    return Observed(attempts=(*attempts[:-1], latest), query=query, refusal=refusal, reading=reading)


def _attempts(jobs: Sequence[Any], pods: Sequence[Any]) -> tuple[Attempt, ...]:
    by_number: dict[int, Attempt] = {}
    for manifest in jobs:
        number = digest.attempt_number(manifest)
        by_number[number] = Attempt(number=number, batch_job=digest.batch_job(manifest))
    for pod in map(digest.pod, pods):
        known = by_number.get(pod.attempt, Attempt(number=pod.attempt))
        by_number[pod.attempt] = Attempt(number=pod.attempt, batch_job=known.batch_job, pods=(*known.pods, pod))
    return tuple(by_number[number] for number in sorted(by_number) if number > 0)


def _ended(job: GpuQueryJob, attempt: Attempt) -> bool:
    return any(a.id == attempt.number and a.ended for a in job.status.attempts)


async def _with_companions(client: KubeClient, job: GpuQueryJob, attempt: Attempt) -> Attempt:
    """Look whether Service and ConfigMap are there; once a pod runs, it needs neither.

    They were made before the Job, so only someone else can have removed them: no look while all is fresh.
    """
    batch = attempt.batch_job
    if batch is None or batch.created is None or any(pod.phase != "Pending" for pod in attempt.pods):
        return attempt
    if datetime.now(tz=UTC) - batch.created < LATE:
        return attempt
    name = attempt_name(job.metadata.name, job.metadata.uid, attempt.number)
    service, config_map = await asyncio.gather(
        client.get(Resource.SERVICES, job.metadata.namespace, name, metadata_only=True),
        client.get(Resource.CONFIG_MAPS, job.metadata.namespace, name, metadata_only=True),
    )
    return Attempt(
        number=attempt.number,
        batch_job=attempt.batch_job,
        pods=attempt.pods,
        service=service is not None,
        config_map=config_map is not None,
    )


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


async def _reading(reader: ProgressReader, attempt: Attempt) -> Reading | None:
    first = _first_rank(attempt.pods)
    if first is None or not attempt.ready or first.address is None:
        return None
    return await reader.read(first.uid, first.address)


def _first_rank(pods: Sequence[Pod]) -> Pod | None:
    # Names are `<attempt>-<index>-<random>`, so index 0 sorts first.
    alive = sorted((pod for pod in pods if pod.alive), key=lambda pod: pod.name)
    return alive[0] if alive else None


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
