"""Where the query is checked before its engine starts: in a pod of its own, in the query's pod, or nowhere. Pure.

A pod of its own costs one pod start and saves GPUs from being held by a query that cannot run; it also finds out the
sizes, where these decide how many GPUs are asked for.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from gpuquery.api.choices import ClusterChoice, EngineChoice, PreflightChoice, SchedulerChoice

if TYPE_CHECKING:
    from gpuquery.api.spec import GpuQueryJobSpec
    from gpuquery.api.status import PlanStatus
    from gpuquery.plan.plan import Plan


class Place(StrEnum):
    """Where the checks run."""

    OWN_POD = "OwnPod"
    """In a pod without GPU, before any GPU is asked for."""
    QUERY_POD = "QueryPod"
    """In index 0 of the attempt, before the engine starts."""
    NOWHERE = "Nowhere"


def place(spec: GpuQueryJobSpec, plan: Plan | PlanStatus) -> Place:
    """Return where the query is checked; `plan` is what is known of the plan without its sizes."""
    if spec.dry_run or spec.preflight is PreflightChoice.ALWAYS:
        return Place.OWN_POD
    if spec.preflight is PreflightChoice.NEVER:
        return Place.NOWHERE
    if plan.engine == EngineChoice.CPU:
        return Place.QUERY_POD
    # Somebody else's Dask cluster holds its GPUs anyway.
    many = plan.workers > 1 and not (spec.dask and spec.dask.attaches)
    return Place.OWN_POD if many or sizes_decide(spec) else Place.QUERY_POD


def sizes_decide(spec: GpuQueryJobSpec) -> bool:
    """Whether the size of the data decides how many GPUs a job gets, or whether it gets any.

    `cluster: single` is at most one GPU, so `replicas: auto` leaves nothing open there; with a number of pods nothing
    is open in `cluster: auto` either, because `gpus` left out is one. A Dask cluster that runs has the GPUs it has.
    """
    if spec.dask and spec.dask.attaches:
        return False
    single = spec.cluster is ClusterChoice.SINGLE or spec.scheduler is SchedulerChoice.SYNCHRONOUS
    how_many = spec.workers.replicas == "auto" and not single
    any_at_all = spec.engine is EngineChoice.AUTO and spec.workers.gpus is None and spec.dask is None
    return how_many or any_at_all
