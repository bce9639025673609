"""Observe: read what exists of a job and is its own. The only truth; what is decided is remembered nowhere.

Batch Jobs, pods and DaskClusters come from memory (children.py), and from two LISTs and a GET where that
cannot be relied on. Few requests are left, and fewer the further a job is: a small GET while an attempt is slow to
start (with ranks three, and a pod's events, as with certificates of a Dask cluster), events only while a Job has no
pods, the query's ConfigMap only before an attempt begins. A LIST comes in pages, by their bytes, so that of
large sets takes several. Labels find objects; whose they are their owner says (ownership.py).
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
from gpuquery.reconcile.observe.model import Attempt, Observed, Pod, QueryText, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gpuquery.api.spec import ConfigMapKeyRef
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
    family = known if known is not None and _under_way(job) <= _names(known) else await _asked(client, job)
    attempts = _numbered(job, LABEL_ATTEMPT, family)
    runs = _numbered(job, LABEL_PREFLIGHT, family)
    attempts = dask.begun(job, attempts)
    current = attempts[-1] if attempts else None
    reader.forget(
        (namespace, job.metadata.name), {pod.uid for attempt in attempts for pod in attempt.pods if not pod.alive}
    )
    if current is None or current.number < (job.status.attempt or 0) or _ended(job, current):
        query, scheduler, checked = await asyncio.gather(
            _query(client, job), dask.scheduler(client, job), _preflight(client, job, runs, now)
        )
        return replace(checked, attempts=attempts, query=query, scheduler=scheduler)
    current = await dask.with_cluster(client, job, current, family.clusters)
    latest, refusal = await asyncio.gather(_with_companions(client, job, current, now), _refusal(client, job, current))
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


def _names(family: Family) -> set[str]:
    return {child.about["metadata"]["name"] for child in family.jobs}


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
    waiting = _with_config_map(client, job, runs[-1], now)
    run, refusal = await asyncio.gather(waiting, _refusal(client, job, runs[-1]))
    return Observed(runs=(*runs[:-1], run), refusal=refusal)


def _ended(job: GpuQueryJob, attempt: Attempt) -> bool:
    return any(a.id == attempt.number and a.ended for a in job.status.attempts)


async def _with_companions(client: KubeClient, job: GpuQueryJob, attempt: Attempt, now: datetime) -> Attempt:
    """Look whether the ConfigMap of an attempt is there; with ranks Service, NetworkPolicy and Secret too."""
    asked = next((a.started for a in job.status.attempts if a.id == attempt.number), None)
    if not _waits_long(attempt, asked, now):
        return attempt
    name = attempt_name(job.metadata.name, job.metadata.uid, attempt.number)
    found = replace(attempt, config_map=await _exists(client, job, Resource.CONFIG_MAPS, name, attempt))
    if attempt.batch_job is None or not attempt.batch_job.ranks:
        return await dask.with_certificates(client, job, found)
    own = policy_name(job.metadata.name, job.metadata.uid)
    service, policy, missed = await asyncio.gather(
        _exists(client, job, Resource.SERVICES, name, attempt),
        _exists(client, job, Resource.NETWORK_POLICIES, own, attempt),
        _secret_missed(client, job, attempt, name),
    )
    return replace(found, service=service, network_policy=policy, secret=not missed)


async def _secret_missed(client: KubeClient, job: GpuQueryJob, attempt: Attempt, name: str) -> bool:
    """Ask the events of a pod that waits on its node: a kubelet that misses the Secret says so nowhere else."""
    waiting = next((pod for pod in attempt.pods if pod.node and pod.phase == "Pending"), None)
    if waiting is None:
        return False
    events = await client.list(
        Resource.CORE_EVENTS, job.metadata.namespace, fields=f"involvedObject.uid={waiting.uid},reason=FailedMount"
    )
    return any(f'secret "{name}" not found' in (event.get("message") or "") for event in events)


async def _with_config_map(client: KubeClient, job: GpuQueryJob, run: Attempt, now: datetime) -> Attempt:
    """Look whether the ConfigMap of a preflight is there; it has no Service."""
    last = job.status.preflight_run
    if not _waits_long(run, last.started if last and last.id == run.number else None, now):
        return run
    name = preflight_name(job.metadata.name, job.metadata.uid, run.number)
    return replace(run, config_map=await _exists(client, job, Resource.CONFIG_MAPS, name, run))


def _waits_long(attempt: Attempt, asked: datetime | None, now: datetime) -> bool:
    """Whether something may have become of the objects that its pods wait for; a single pod that runs needs none, and a
    set of ranks that has joined.

    Only someone else can have removed them: no look while all is fresh. `asked` is when its pods were asked for; where
    the status does not say so yet, whoever asked for them did not come to the end of it.
    """
    batch = attempt.batch_job
    if batch is None:
        return False
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
    """Return what index 0 said of how far it is; the client of a cluster of somebody else's also what it waits for."""
    first = _first_rank(attempt.pods)
    if first is None or first.address is None:
        return None
    waits = job.spec.dask is not None and job.spec.dask.attaches and first.phase == "Running"
    if not attempt.ready and not waits:
        return None
    return reader.latest((job.metadata.namespace, job.metadata.name), first.uid, first.address)


def _first_rank(pods: Sequence[Pod]) -> Pod | None:
    return next((pod for pod in pods if pod.alive and pod.index == 0), None)


async def namespace_annotations(client: KubeClient, job: GpuQueryJob) -> Mapping[str, str] | None:
    """Read what the job's namespace says about defaults, maxima and bounds.

    Whoever may not read them may not guess either: they may forbid what the operator's own defaults allow.
    """
    namespace = await client.get(Resource.NAMESPACES, "", job.metadata.namespace, metadata_only=True)
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
