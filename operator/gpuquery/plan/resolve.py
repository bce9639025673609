"""Resolve: what a spec means, once, before anything is created.

Pure. The query's text is an argument, because it may come from a ConfigMap. An error here affects every attempt, so a
rejection ends the job. `plan/select/choose.py` chooses engine and GPUs once: `status.plan` holds for all attempts, even
if the defaults change.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from gpuquery.api.choices import Dialect
from gpuquery.api.reasons import Failure
from gpuquery.api.spec import (
    MAX_CONFIGMAP_QUERY,
    Input,
    InputFormat,
)
from gpuquery.api.status import DaskStatus, PlanStatus
from gpuquery.plan import catalogs, devices, footprint, places, policy, ranks
from gpuquery.plan.choice import Choice
from gpuquery.plan.dask import layout
from gpuquery.plan.formats import format_of
from gpuquery.plan.options import executor_options
from gpuquery.plan.plan import DEFAULT_REGION, Dask, DaskWay, JobRef, Language, Plan, StoreAccess
from gpuquery.plan.rejected import Rejected, together
from gpuquery.plan.select import explain
from gpuquery.plan.select.choose import choose

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuquery.api.pods import Storage
    from gpuquery.api.types import GpuQueryJob
    from gpuquery.plan.defaults import Defaults

__all__ = [
    "Rejected", "digest", "image_of", "plan_json", "plan_status", "query_of", "resolve", "store_access",
]  # fmt: skip

MAX_PLAN_BYTES = 1_040_000
"""Bytes of plan.json; the API server accepts 1,048,576 bytes of data in a ConfigMap."""


def resolve(
    job: GpuQueryJob,
    defaults: Defaults,
    query_text: str | None = None,
    *,
    attempt: int = 1,
    scheduler: str = "",
    local: bool = False,
) -> Plan | Rejected:
    """Resolve a job to the plan of an attempt.

    `query_text` is the text of `query.configMapKeyRef`; `scheduler` is the scheduler's address of `dask.clusterRef`, by
    default the one that dask-kubernetes uses. `local` allows `file://`, which has no meaning in a pod, and needs no
    image. `job.status` has earlier decisions and the results of a preflight.
    """
    query, choice = query_of(job, query_text), choose(job, defaults, local=local)
    found: list[object] = [query, *places.refused(job, local=local), choice]
    cluster: Dask | Rejected | None = None
    options: Mapping[str, Any] | Rejected = {}
    if not local and _is_new(job):
        found.append(policy.refused(job, defaults.policy, defaults.annotations, defaults.catalogs))
    if isinstance(choice, Choice):
        cluster = layout.cluster_of(job, choice, attempt=attempt, scheduler=scheduler)
        options = executor_options(job, choice, defaults)
        found += [_unfit(job, choice, defaults, local=local), cluster, options]
        if isinstance(query, tuple) and query[0] is Language.SQL and _dialect(job) is not Dialect.POLARS:
            found.append(explain.sql(choice, own_image=local or job.spec.runtime.image is not None))
        if any(one.sql for one in job.spec.output.expect or ()):
            found.append(explain.expectations(choice, own_image=local or job.spec.runtime.image is not None))
    rejected = together(*(one for one in found if isinstance(one, Rejected)))
    if rejected is not None:
        return rejected
    assert isinstance(choice, Choice)  # else it was refused, as were the others
    assert not isinstance(query, Rejected)
    assert not isinstance(cluster, Rejected)
    assert not isinstance(options, Rejected)
    plan = _plan(job, choice, defaults, query, attempt).model_copy(
        update={"dask": cluster, "executor_options": options}
    )
    if local:
        return plan
    plan = plan.model_copy(update={"image": image_of(job, defaults, plan)})
    return _too_large(plan) or plan


def _plan(job: GpuQueryJob, choice: Choice, defaults: Defaults, query: tuple[Language, str], attempt: int) -> Plan:
    """Return the plan without engine options and Dask cluster."""
    spec, (language, text) = job.spec, query
    processes = ranks.processes(choice, spec.dask)
    # Its parts were validated as parts of the job: validating a plan of 64 inputs again takes longer than all the rest.
    return Plan.model_construct(
        job=JobRef(namespace=job.metadata.namespace, name=job.metadata.name, uid=job.metadata.uid),
        attempt=attempt,
        engine=choice.engine,
        cluster=choice.cluster,
        replicas=choice.replicas,
        gpus=choice.gpus,
        processes=processes,
        network=spec.network,
        heartbeat_seconds=defaults.heartbeat_seconds,
        stall_seconds=ranks.stall_seconds(job, processes, defaults),
        release=choice.release,
        gpu_memory=defaults.gpu_memory if choice.gpus else 0,
        asked_options=spec.executor_options or None,
        language=language,
        query=text,
        dialect=_dialect(job),
        now=job.metadata.creation_timestamp,
        inputs=tuple(_input(item) for item in spec.inputs),
        snapshots={one.name: one.snapshot for one in job.status.inputs if one.snapshot},
        inputs_digest=job.status.preflight.inputs_digest if job.status.preflight else None,
        parameters=spec.parameters,
        output=spec.output,
        reuse=None if spec.dry_run else spec.reuse,
        store=store_access(spec.storage, catalogs.declared(spec, defaults.catalogs)),
    )


def _unfit(job: GpuQueryJob, choice: Choice, defaults: Defaults, *, local: bool) -> Rejected | None:
    """Return what the chosen plan, this operator or this namespace does not support."""
    checks = [] if local else [ranks.refused]
    if _is_new(job):
        checks += [layout.refused] if local else [layout.refused, devices.refused, footprint.refused]
    return together(*(check(job, choice, defaults) for check in checks))


def _is_new(job: GpuQueryJob) -> bool:
    """Whether the administrator's limits apply: an accepted job keeps what it has."""
    return job.status.plan is None


def query_of(job: GpuQueryJob, text: str | None) -> tuple[Language, str] | Rejected:
    """Return language and text of the query; `text` is the value of the ConfigMap's key."""
    query = job.spec.query
    if query.sql is not None:
        return Language.SQL, query.sql
    if query.python is not None:
        return Language.PYTHON, query.python
    ref = query.config_map_key_ref
    if ref is None or text is None:
        return Rejected(Failure.INVALID_QUERY, "query.configMapKeyRef: its text is missing")
    if (size := len(text.encode())) > MAX_CONFIGMAP_QUERY:
        return Rejected(
            Failure.INVALID_QUERY,
            f"key {ref.key!r} of ConfigMap {ref.name!r} has {size:,} bytes; a query may have at most "
            f"{MAX_CONFIGMAP_QUERY:,}: move data into inputs",
        )
    return Language.SQL if ref.key.endswith(".sql") else Language.PYTHON, text


def _dialect(job: GpuQueryJob) -> Dialect:
    """Return the SQL dialect of a query. A job that was accepted before there was a choice keeps Polars'."""
    planned = job.status.plan
    if planned is not None:
        return Dialect(planned.dialect or Dialect.POLARS)
    return job.spec.query.dialect or Dialect.DUCKDB


def digest(plan: Plan) -> str:
    """Return the SHA-256 of the query's text, which all attempts of a job share."""
    return hashlib.sha256(plan.query.encode()).hexdigest()


def image_of(job: GpuQueryJob, defaults: Defaults, plan: Plan) -> str:
    """Return the runtime image of a plan."""
    planned = job.status.plan
    if planned is not None and (planned.engine, planned.release or "") == (plan.engine, plan.release):
        return planned.image
    return job.spec.runtime.image or defaults.image_of(plan.release) or defaults.runtime_image


def plan_status(plan: Plan, job: GpuQueryJob, defaults: Defaults) -> PlanStatus:
    """Return a plan for the user: what was chosen, and why."""
    choice = _chosen(job, defaults, plan)
    on = f" on {plan.release}" if plan.release else ""
    known = f"{plan.engine} x {plan.cluster}{on}, {plan.replicas} x {plan.gpus} GPUs: as decided before"
    return PlanStatus(
        engine=plan.engine,
        cluster=plan.cluster,
        release=plan.release or None,
        image=image_of(job, defaults, plan),
        replicas=plan.replicas,
        gpus=plan.gpus,
        dask=DaskStatus(way=plan.dask.way, workers=plan.dask.workers) if plan.dask else None,
        sizing=choice.sizing if choice else None,
        why=choice.why if choice else known,
        deprecated=deprecated(job),
        default_changes=choice.default_changes if choice else None,
        query_digest=digest(plan),
        dialect=plan.dialect if plan.language is Language.SQL else None,
    )


def deprecated(job: GpuQueryJob) -> str | None:
    """Return the fields that a later version removes, with their successors."""
    scheduler = job.spec.scheduler
    if scheduler is None:
        return None
    return f"spec.scheduler is deprecated: write cluster: {scheduler.cluster} in place of scheduler: {scheduler}"


def _chosen(job: GpuQueryJob, defaults: Defaults, plan: Plan) -> Choice | None:
    """Return the choice that the plan was made from; None for an older plan, made with other defaults."""
    choice = choose(job, defaults)
    if isinstance(choice, Rejected):
        return None
    elsewhere = plan.dask.workers if plan.dask and plan.dask.way is not DaskWay.NATIVE else 0
    same = (choice.engine, choice.cluster, choice.release, choice.replicas, choice.gpus, choice.workers)
    return choice if same == (plan.engine, plan.cluster, plan.release, plan.replicas, plan.gpus, elsewhere) else None


def store_access(storage: Storage, declared: Mapping[str, Mapping[str, str]] | None = None) -> StoreAccess:
    """Fill in what an endpoint implies: the bucket in the path, and a region; `declared` are the job's catalogs."""
    given = storage.endpoint is not None
    return StoreAccess(
        endpoint=storage.endpoint,
        region=storage.region or (DEFAULT_REGION if given else None),
        path_style=given if storage.path_style is None else storage.path_style,
        catalogs=declared or None,
        requester_pays=storage.requester_pays or None,
        sse_kms_key_id=storage.sse_kms_key_id,
        gs=storage.gs,
        az=storage.az,
        allow_http=storage.allow_http or None,
    )


def _too_large(plan: Plan) -> Rejected | None:
    if (size := len(plan_json(plan).encode())) <= MAX_PLAN_BYTES:
        return None
    return Rejected(
        Failure.INVALID_QUERY,
        f"query and parameters take {size:,} bytes as JSON, where quotes and line ends count twice; at most "
        f"{MAX_PLAN_BYTES:,} fit into the ConfigMap that carries them: move data into inputs",
    )


def plan_json(plan: Plan) -> str:
    """Serialise a plan for the runner."""
    return plan.model_dump_json(by_alias=True, exclude_none=True)


def _input(item: Input) -> Input:
    found: dict[str, object] = {}
    if item.delta is not None or item.table is not None:
        return item
    if item.format is InputFormat.AUTO:
        found["format"] = format_of(item.places[0])
    return item.model_copy(update=found) if found else item
