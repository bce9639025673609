"""Numbers: pods, GPUs and engine sizes, from `plan/sizing.py` if the spec leaves them open.

The default of `workers.gpus` is one; only with `workers.replicas: auto` it may be more, up to the operator's limit for
one pod. Partition sizes and reads in flight are set only once the size of the data is known: before that the release's
own defaults are as good as ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpuquery.api.choices import ClusterChoice, EngineChoice
from gpuquery.api.reasons import Failure
from gpuquery.plan import sizing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuquery.api.status import PreflightStatus
    from gpuquery.api.types import GpuQueryJob
    from gpuquery.plan.choice import Choice
    from gpuquery.plan.defaults import Defaults
    from gpuquery.plan.releases import Release
    from gpuquery.plan.select.request import Request

UNKNOWN = "the size of the data is not known: the fewest pods that have more than one GPU together"


def sized(request: Request, cluster: ClusterChoice = ClusterChoice.AUTO) -> sizing.Sizing:
    """Return pods and GPUs for the results of a preflight; with `auto` also the cluster shape."""
    limits = sizing.Limits(
        release=request.row,
        engine=EngineChoice.AUTO,
        cluster=cluster,
        gpu_memory=request.defaults.gpu_memory,
        replicas=request.replicas,
        gpus=request.gpus if request.replicas is None else request.gpus or 1,
        max_replicas=request.bounds.max_replicas,
        max_gpus=request.bounds.gpus,
    )
    return sizing.size(request.found, limits)


def pods(request: Request, cluster: ClusterChoice) -> tuple[int, int, str | None]:
    """Return pods, GPUs in each, and their basis if the data decided."""
    if cluster is ClusterChoice.SINGLE:
        return 1, 1, sized(request, cluster).why if request.found else None
    if request.replicas is not None:
        return request.replicas, request.gpus or 1, None
    if request.found is None:
        gpus = request.gpus or request.bounds.gpus
        return 1 if gpus > 1 else 2, gpus, UNKNOWN
    found = sized(request, cluster)
    return found.replicas, found.gpus, found.why


def pieces(
    job: GpuQueryJob, choice: Choice, defaults: Defaults, found: PreflightStatus | None, release: Release
) -> Mapping[str, Any]:
    """Return the executor options for the sizes, under the release's names; none while the sizes are unknown.

    After an attempt that ran out of GPU memory the next one has half the partition size.
    """
    failed = out_of_memory(job)
    if found is None and not failed:
        return {}
    limits = sizing.Limits(
        release=release,
        engine=choice.engine,
        cluster=choice.cluster,
        gpu_memory=defaults.gpu_memory,
        replicas=choice.workers or choice.replicas,
        gpus=1 if choice.workers else choice.gpus,
        out_of_memory=failed,
    )
    return sizing.options(sizing.size(found, limits), release)


def out_of_memory(job: GpuQueryJob) -> int:
    """Return how many attempts have run out of GPU memory; each halves the partitions of the next."""
    return sum(attempt.reason == Failure.GPU_OUT_OF_MEMORY for attempt in job.status.attempts)
