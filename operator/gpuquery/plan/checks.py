"""Where the query is checked before its engine starts: in a separate pod, in the query's pod, or nowhere. Pure.

A separate pod costs one pod start, and avoids holding GPUs for a query that cannot run. It also finds the sizes if they
decide how many GPUs to request.
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
    """In a pod without a GPU, before any GPU is requested."""
    QUERY_POD = "QueryPod"
    """In index 0 of the attempt, before the engine starts."""
    NOWHERE = "Nowhere"


def place(spec: GpuQueryJobSpec, plan: Plan | PlanStatus) -> Place:
    """Return where the query is checked; `plan` may lack its sizes."""
    if spec.dry_run or spec.preflight is PreflightChoice.ALWAYS:
        return Place.OWN_POD
    if spec.preflight is PreflightChoice.NEVER:
        return Place.NOWHERE
    if plan.engine == EngineChoice.CPU:
        return Place.QUERY_POD
    # An external Dask cluster holds its GPUs anyway.
    many = plan.workers > 1 and not (spec.dask and spec.dask.attaches)
    return Place.OWN_POD if many or sizes_decide(spec) else Place.QUERY_POD


def sizes_decide(spec: GpuQueryJobSpec) -> bool:
    """Whether the size of the data decides how many GPUs a job gets, or whether it gets any.

    `cluster: single` is at most one GPU, so `replicas: auto` leaves nothing open. With a number of pods `cluster: auto`
    leaves nothing open either, because the default of `gpus` is one. The GPUs of an external Dask cluster are given.
    """
    if spec.dask and spec.dask.attaches:
        return False
    single = spec.cluster is ClusterChoice.SINGLE or spec.scheduler is SchedulerChoice.SYNCHRONOUS
    how_many = spec.workers.replicas == "auto" and not single
    any_at_all = spec.engine is EngineChoice.AUTO and spec.workers.gpus is None and spec.dask is None
    return how_many or any_at_all
