"""Look: observe what exists of a job. Decisions go by this alone; nothing that was decided is remembered.

Batch Jobs, pods and DaskClusters come from memory (children.py), or from two LISTs in pages and a GET if the memory may
be behind. Few requests are left: a small GET while an attempt is slow to start (with ranks three, and a pod's events,
as with certificates of a Dask cluster), events while a Job has no pods, and the query's ConfigMap before an attempt
begins.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from gpuquery.api.labels import (
    LABEL_ATTEMPT,
    LABEL_DASK,
    LABEL_JOB_UID,
    LABEL_PREFLIGHT,
    attempt_name,
    policy_name,
    preflight_name,
)
from gpuquery.kube.client import KubeClient, Resource
from gpuquery.reconcile.observe import dask, ownership, parse
from gpuquery.reconcile.observe.children import Family, job_child, pod_child
from gpuquery.reconcile.observe.model import Attempt, BatchJob, Observed, Pod, QueryText, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gpuquery.api.types import GpuQueryJob
    from gpuquery.kube.progress import Reading
    from gpuquery.reconcile.observe.children import Children
    from gpuquery.reconcile.progress import ProgressReader

log = logging.getLogger(__name__)

LATE = timedelta(seconds=5)
"""Age of an attempt from which on a pod that is still pending is worth a closer look."""


async def observe(
    client: KubeClient, reader: ProgressReader, job: GpuQueryJob, now: datetime, children: Children | None = None
) -> Observed:
    """Read everything that a decision about this job needs."""
    namespace = job.metadata.namespace
    known = children.of((namespace, job.metadata.name), job.metadata.uid) if children is not None else None
    # That something is gone is never concluded from a memory.
    if known is None or not _under_way(job) <= {child.about["metadata"]["name"] for child in known.jobs}:
        known = await _asked(client, job)
    attempts = dask.begun(job, _numbered(job, LABEL_ATTEMPT, known))
    runs = _numbered(job, LABEL_PREFLIGHT, known)
    current = attempts[-1] if attempts else None
    reader.forget(
        (namespace, job.metadata.name), {pod.uid for attempt in attempts for pod in attempt.pods if not pod.alive}
    )
    if current is None or current.number < (job.status.attempt or 0) or _ended(job, current):
        query, scheduler, checked = await asyncio.gather(
            _query(client, job), dask.scheduler(client, job), _preflight(client, job, runs, now)
        )
        return replace(checked, attempts=attempts, query=query, scheduler=scheduler)
    current = await dask.with_cluster(client, job, current, known.clusters)
    latest, refusal = await asyncio.gather(
        _with_companions(client, job, current, LABEL_ATTEMPT, now), _refusal(client, job, current)
    )
    reading = _reading(reader, job, current)
    found = Observed(attempts=(*attempts[:-1], latest), runs=runs, refusal=refusal, reading=reading)
    if job.status.plan and not latest.missing:
        return found
    query, scheduler = await asyncio.gather(_query(client, job), dask.scheduler(client, job))
    return replace(found, query=query, scheduler=scheduler)


def _under_way(job: GpuQueryJob) -> set[str]:
    """Return the names of the batch Jobs that are there, by what the status tells."""
    status, about = job.status, (job.metadata.name, job.metadata.uid)
    found = {attempt_name(*about, each.id) for each in status.attempts if each.ended is None}
    run = status.preflight_run
    if run is not None and run.ended is None and status.preflight is None:
        found.add(preflight_name(*about, run.id))
    return found


NAMES: Mapping[str, Callable[[str, str, int], str]] = {LABEL_ATTEMPT: attempt_name, LABEL_PREFLIGHT: preflight_name}
"""By the label that numbers them: how all that belongs to an attempt, or to a run of the preflight, is called."""


async def _asked(client: KubeClient, job: GpuQueryJob) -> Family:
    """Ask the API server for the batch Jobs and the pods of a job."""
    namespace, labels = job.metadata.namespace, f"{LABEL_JOB_UID}={job.metadata.uid}"
    jobs, pods = await asyncio.gather(
        client.digested(Resource.BATCH_JOBS, namespace, job_child, labels=labels),
        client.digested(Resource.PODS, namespace, pod_child, labels=labels),
    )
    return Family(tuple(jobs), tuple(pods))


def _numbered(job: GpuQueryJob, label: str, family: Family) -> tuple[Attempt, ...]:
    """Put together what carries the same number in a label, and is the job's own."""
    found: dict[int, Attempt] = {}
    strangers = set()
    for child in family.jobs:
        number = parse.number(child.about, label)
        if ownership.belongs(child.about, job.metadata.uid):
            found[number] = Attempt(number=number, batch_job=child.fact)
        else:
            strangers.add(child.about["metadata"]["uid"])
    pods: dict[int, list[Pod]] = {}
    for each in family.pods:
        number = parse.number(each.about, label)
        batch = found[number].batch_job if number in found else None
        name = NAMES[label](job.metadata.name, job.metadata.uid, number)
        if LABEL_DASK in each.labels:
            own = ownership.of_cluster(each.about, name)
        else:
            own = ownership.of_job(each.about, name, batch.uid if batch else "", frozenset(strangers))
        if own and each.fact is not None:
            pods.setdefault(number, []).append(each.fact)
    for number, own_pods in pods.items():
        known = found.get(number, Attempt(number=number))
        found[number] = replace(known, pods=tuple(sorted(own_pods, key=lambda pod: (pod.index, pod.name))))
    return tuple(dask.split(found[number]) for number in sorted(found) if number > 0)


async def _preflight(client: KubeClient, job: GpuQueryJob, runs: tuple[Attempt, ...], now: datetime) -> Observed:
    """Look closer at the run of the preflight that is under way, if one is."""
    last = job.status.preflight_run
    if not runs or job.status.preflight or (last and last.ended and runs[-1].number <= last.id):
        return Observed(runs=runs)
    closer = _with_companions(client, job, runs[-1], LABEL_PREFLIGHT, now)
    run, refusal = await asyncio.gather(closer, _refusal(client, job, runs[-1]))
    return Observed(runs=(*runs[:-1], run), refusal=refusal)


def _ended(job: GpuQueryJob, attempt: Attempt) -> bool:
    return any(a.id == attempt.number and a.ended for a in job.status.attempts)


async def _with_companions(
    client: KubeClient, job: GpuQueryJob, attempt: Attempt, label: str, now: datetime
) -> Attempt:
    """Look whether the ConfigMap of an attempt, or of a run of the preflight, is there; with ranks Service,
    NetworkPolicy and Secret too.
    """
    batch, run = attempt.batch_job, job.status.preflight_run
    records = job.status.attempts if label == LABEL_ATTEMPT else (run,) if run else ()
    asked = next((each.started for each in records if each.id == attempt.number), None)
    if batch is None or not _waits_long(attempt, batch, asked, now):
        return attempt
    name = NAMES[label](job.metadata.name, job.metadata.uid, attempt.number)
    looks = {"ConfigMap": _exists(client, job, Resource.CONFIG_MAPS, name, attempt)}
    if batch.ranks:
        own = policy_name(job.metadata.name, job.metadata.uid)
        looks["Service"] = _exists(client, job, Resource.SERVICES, name, attempt)
        looks["NetworkPolicy"] = _exists(client, job, Resource.NETWORK_POLICIES, own, attempt)
        looks["Secret"] = _secret_there(client, job, attempt, name)
    there = zip(looks, await asyncio.gather(*looks.values()), strict=True)
    found = replace(attempt, absent=frozenset(kind for kind, is_there in there if not is_there))
    return await dask.with_certificates(client, job, found)


async def _secret_there(client: KubeClient, job: GpuQueryJob, attempt: Attempt, name: str) -> bool:
    """Ask the events of a pod that waits on its node: a kubelet that misses the Secret says so nowhere else."""
    waiting = next((pod for pod in attempt.pods if pod.node and pod.phase == "Pending"), None)
    if waiting is None:
        return True
    events = await client.list(
        Resource.CORE_EVENTS, job.metadata.namespace, fields=f"involvedObject.uid={waiting.uid},reason=FailedMount"
    )
    return not any(f'secret "{name}" not found' in (event.get("message") or "") for event in events)


def _waits_long(attempt: Attempt, batch: BatchJob, asked: datetime | None, now: datetime) -> bool:
    """Whether its pods have waited so long that the objects they need may be missing.

    A single pod that runs needs none, nor does a set of ranks that has joined. Only others can have removed them, so
    there is no look at first. `asked` is when its pods were asked for; where the status does not say so yet, the
    operator died before it had made all.
    """
    at_it = [pod for pod in attempt.pods if (pod.at_work and not pod.ready if batch.ranks else pod.phase == "Pending")]
    if attempt.pods and not at_it:
        return False
    return asked is None or now - asked >= LATE


async def _exists(client: KubeClient, job: GpuQueryJob, resource: Resource, name: str, attempt: Attempt) -> bool:
    """Whether an object of ours is there; one of its name that is not is found out when ours is to be made anew."""
    found = await client.get(resource, job.metadata.namespace, name, metadata_only=True)
    # What pods need belongs to their Job; a version before gave it to the GpuQueryJob.
    owners = (job.metadata.uid, attempt.batch_job.uid if attempt.batch_job else "")
    return found is not None and any(ownership.belongs(found, owner) for owner in owners)


async def _refusal(client: KubeClient, job: GpuQueryJob, attempt: Attempt) -> Refusal | None:
    """Ask the Job's events why it has no pods: quota and admission speak nowhere else."""
    batch = attempt.batch_job
    if batch is None or attempt.pods or batch.finished or batch.deleting or batch.suspended is not None:
        return None
    events = await client.list(
        Resource.CORE_EVENTS, job.metadata.namespace, fields=f"involvedObject.uid={batch.uid},reason=FailedCreate"
    )
    if not events:
        return None
    return parse.refusal_of(parse.in_order(events)[-1].get("message", ""))


def _reading(reader: ProgressReader, job: GpuQueryJob, attempt: Attempt) -> Reading | None:
    """Return the progress of index 0; before it is ready only if it waits for an external Dask cluster."""
    first = next((pod for pod in attempt.pods if pod.alive and pod.index == 0), None)
    if first is None or first.address is None:
        return None
    waits = job.spec.dask is not None and job.spec.dask.attaches and first.phase == "Running"
    if not attempt.ready and not waits:
        return None
    return reader.latest((job.metadata.namespace, job.metadata.name), first.uid, first.address)


async def _query(client: KubeClient, job: GpuQueryJob) -> QueryText | None:
    """Read the query's text from its ConfigMap, or say what is missing."""
    ref, namespace = job.spec.query.config_map_key_ref, job.metadata.namespace
    if ref is None:
        return None
    config_map = await client.get(Resource.CONFIG_MAPS, namespace, ref.name)
    if config_map is None:
        return QueryText(missing=f"query.configMapKeyRef: namespace {namespace!r} has no ConfigMap {ref.name!r}")
    data = config_map.get("data") or {}
    if ref.key not in data:
        keys = ", ".join(sorted(data)) or "no text at all"
        return QueryText(missing=f"query.configMapKeyRef: ConfigMap {ref.name!r} has no key {ref.key!r}, only {keys}")
    return QueryText(text=data[ref.key])
