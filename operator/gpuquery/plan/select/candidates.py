"""Candidates: the ways in which a release can run a request, the best first, each with its reason."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from gpuquery.api.choices import GPU_ENGINES, ClusterChoice, EngineChoice
from gpuquery.plan import numbers
from gpuquery.plan.choice import Choice
from gpuquery.plan.guide import amount
from gpuquery.plan.select.explain import by, unheeded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuquery.api.types import GpuQueryJob
    from gpuquery.plan.select.request import Request

RAPIDSMPF = EngineChoice.RAPIDSMPF
SINGLE, DISTRIBUTED = ClusterChoice.SINGLE, ClusterChoice.DISTRIBUTED


def candidates(request: Request) -> Iterator[Choice]:
    """Yield the candidates of a known release, the best first, with the reason in `why`, still without pods and
    GPUs."""
    for cluster, because_cluster in _clusters(request):
        for engine, because_engine in _engines(request, cluster):
            if request.row.runs(engine, cluster) and not _doubled(request, engine, cluster):
                why = "; ".join(filter(None, (because_engine, because_cluster, f"release {by(request.release)}")))
                yield Choice(engine=engine, cluster=cluster, release=request.row.name, why=why)


def _doubled(request: Request, engine: EngineChoice, cluster: ClusterChoice) -> bool:
    """Whether each GPU would write all rows; if the job itself asks for several GPUs, its preflight refuses it."""
    found = request.found is not None and request.found.one_partition
    asked = request.cluster.explicit
    return found and cluster is DISTRIBUTED and not asked and not request.row.writes_once(engine, cluster)


def _clusters(request: Request) -> Iterator[tuple[ClusterChoice, str]]:
    """Yield the cluster shapes in order of preference, with the reason for each."""
    requested = request.cluster
    if requested.explicit and requested.value is not None:
        yield ClusterChoice(requested.value), f"cluster {by(requested)}"
        return
    replicas, gpus = request.replicas or 1, request.gpus or 1
    if replicas * gpus > 1:
        words = f"{replicas} x {gpus} GPUs" if request.replicas else f"{gpus} GPUs in each pod"
        yield DISTRIBUTED, f"distributed for {words}{unheeded(requested, DISTRIBUTED)}"
        return
    if request.replicas == 1:
        yield SINGLE, f"single for one GPU{unheeded(requested, SINGLE)}"
        return
    if requested.value is not None:
        yield ClusterChoice(requested.value), f"cluster {by(requested)}"
    elif request.found is not None:
        cluster = numbers.sized(request).cluster
        yield cluster, f"{cluster} for {amount(max(request.found.input_bytes, request.found.peak_bytes))} in memory"
    else:
        yield SINGLE, "single as long as the size of the data is not known"
    # The release may not run the shape above, which the job did not ask for.
    one = request.found is not None and request.found.one_partition
    yield SINGLE, "single, as several GPUs would each write it" if one else "single, as this release runs no other"
    yield DISTRIBUTED, "distributed, as this release runs no other"


def _engines(request: Request, cluster: ClusterChoice) -> Iterator[tuple[EngineChoice, str]]:
    """Yield the engines in order of preference, with the reason for each."""
    requested = request.engine
    if requested.value in GPU_ENGINES:
        yield EngineChoice(requested.value), f"engine {by(requested)}"
        if requested.explicit:
            return
    release = request.row
    can = [engine for engine in GPU_ENGINES if release.runs(engine, cluster)]
    if len(can) == 1:
        yield can[0], f"{can[0]} is what RAPIDS {release.name} runs as {cluster}{unheeded(requested, can[0])}"
    elif can:
        usual, percentage = can[0], request.defaults.rapidsmpf_percentage
        as_safe = release.writes_once(RAPIDSMPF, cluster) or not release.writes_once(usual, cluster)
        if RAPIDSMPF in can[1:] and as_safe and lot(request.job) < percentage:
            yield RAPIDSMPF, f"rapidsmpf by the roll-out, which has {percentage} % of the jobs"
        yield usual, f"{usual} is what RAPIDS {release.name} means by auto"


def lot(job: GpuQueryJob) -> int:
    """Return the job's place in the roll-out, from 0 to 99, which is fixed by namespace and name."""
    return zlib.crc32(f"{job.metadata.namespace}/{job.metadata.name}".encode()) % 100
