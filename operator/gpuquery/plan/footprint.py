"""Footprint: how many pods and GPUs a plan holds at a time, and whether its namespace allows that.

Pods of a DaskCluster count, because they are created for the job. Pods of an external cluster do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuquery.api.reasons import Failure
from gpuquery.plan.dask import layout
from gpuquery.plan.maxima import GPUS, PODS, Maximum, maximum
from gpuquery.plan.plan import DaskWay
from gpuquery.plan.rejected import Rejected, invalid, together

if TYPE_CHECKING:
    from gpuquery.api.types import GpuQueryJob
    from gpuquery.plan.choice import Choice
    from gpuquery.plan.defaults import Defaults

CLIENT = 1
"""The pod, with one GPU, of a client whose workers are in other pods."""
SCHEDULER = 1


@dataclass(frozen=True)
class Footprint:
    """Total pods and GPUs."""

    pods: int
    gpus: int


def footprint(job: GpuQueryJob, choice: Choice) -> Footprint:
    """Return the footprint of a choice."""
    pods, gpus = choice.replicas, choice.replicas * choice.gpus
    if choice.workers and layout.way_of(job.spec.dask) is DaskWay.OPERATOR:
        return Footprint(pods + SCHEDULER + choice.workers, gpus + choice.workers)
    return Footprint(pods, gpus)


def refused(job: GpuQueryJob, choice: Choice, defaults: Defaults) -> Rejected | None:
    """Refuse more pods or GPUs than a job may have."""
    held, workers = footprint(job, choice), job.spec.workers
    replicas = f"workers.replicas is {workers.replicas}" if workers.replicas != "auto" else 'workers.replicas is "auto"'
    beside = " (with client and scheduler)" if choice.workers and held.pods > choice.replicas else ""
    each = f" and workers.gpus is {workers.gpus}" if workers.gpus is not None else ""
    return together(
        _over(job, defaults, PODS, held.pods, f"{replicas}, {_count(held.pods, 'pod')}{beside} in all", "pod"),
        _over(job, defaults, GPUS, held.gpus, f"{replicas}{each}, {_count(held.gpus, 'GPU')}{beside} in all", "GPU"),
    )


def within(job: GpuQueryJob, defaults: Defaults) -> Defaults:
    """Return defaults, reduced so that the operator's choice stays within the job's limits."""
    pods, gpus = allowed(PODS, job, defaults), allowed(GPUS, job, defaults)
    if layout.way_of(job.spec.dask) is DaskWay.OPERATOR:
        pods, gpus = pods - CLIENT - SCHEDULER, gpus - CLIENT
    in_each = job.spec.workers.gpus or max(1, min(defaults.gpus, gpus))
    replicas = max(1, min(defaults.max_replicas, pods, gpus // in_each))
    return defaults.model_copy(update={"max_replicas": replicas, "gpus": in_each})


def allowed(name: str, job: GpuQueryJob, defaults: Defaults) -> int:
    """Return a limit by its name; the operator's own if the namespace's is invalid."""
    found = maximum(name, defaults.maxima, defaults.annotations, job.metadata.namespace)
    own: int = getattr(defaults.maxima, name)
    return found.value if isinstance(found, Maximum) else own


def _over(job: GpuQueryJob, defaults: Defaults, name: str, held: int, cause: str, unit: str) -> Rejected | None:
    limit = maximum(name, defaults.maxima, defaults.annotations, job.metadata.namespace)
    if isinstance(limit, str):
        return invalid(limit)
    if held <= limit.value:
        return None
    less = f"ask for {_count(limit.value, unit)} or fewer" if limit.value else 'use engine "cpu"'
    return Rejected(
        Failure.LIMIT_EXCEEDED,
        f"{cause}, and a job may have at most {_count(limit.value, unit)} here: {less}, or ask the administrator to "
        f"raise {limit.raised_by}",
    )


def _count(number: int, unit: str) -> str:
    return f"{number:,} {unit}{'' if number == 1 else 's'}"
