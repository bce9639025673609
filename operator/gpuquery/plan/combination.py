"""Combination: why engine, cluster, release, pods and GPUs do not fit together, and what would.

The API server refuses what it can see (`api/combinations.py`); here is what depends on the operator, on defaults or on
the release table. Every message names field, value and way out, and the releases and engines that can.
"""

from __future__ import annotations

from gpuquery.api.choices import ClusterChoice, EngineChoice, NetworkChoice
from gpuquery.api.combinations import GPU_ENGINES, listed
from gpuquery.api.types import GpuQueryJob
from gpuquery.plan import releases
from gpuquery.plan.defaults import Defaults
from gpuquery.plan.rejected import Rejected, invalid
from gpuquery.plan.wishes import Wish, Wishes

WITH_GPU = 'engine "tasks" or "rapidsmpf"'


def runs(release: releases.Release, engine: EngineChoice, cluster: ClusterChoice) -> bool:
    """Whether a release runs an engine on a cluster shape with a right result."""
    cell = release.cells.get((engine, cluster))
    return cell is not None and cell.way is not None


def safe(release: releases.Release, engine: EngineChoice, cluster: ClusterChoice) -> bool:
    """Whether a result that every rank holds in full is written once."""
    cell = release.cells.get((engine, cluster))
    return cell is not None and cell.way is not None and cell.replicated_safe


def without_gpu(asked: Wishes) -> Rejected | None:
    """Refuse what a job on the CPU cannot have."""
    cpu = asked.engine.value == EngineChoice.CPU
    why = f'{of(asked.engine, "engine")} is "cpu"' if cpu else "workers.gpus is 0"
    if asked.cluster.firm and asked.cluster.value == ClusterChoice.DISTRIBUTED:
        return invalid(
            f'{asked.cluster.source} is "distributed", and {why}: without a GPU a query runs in one process: use '
            f'cluster "single", or {WITH_GPU} with workers.gpus of at least 1'
        )
    if (asked.replicas or 1) > 1:
        return invalid(
            f"workers.replicas is {asked.replicas}, and {why}: without a GPU a query runs in one pod: use 1, or "
            f"{WITH_GPU} with workers.gpus of at least 1"
        )
    if (asked.gpus or 0) > 0:
        return invalid(f"workers.gpus is {asked.gpus}, and {why}: remove workers.gpus, or use {WITH_GPU}")
    if asked.engine.value in GPU_ENGINES and asked.engine.firm:
        return invalid(
            f'{asked.engine.source} is "{asked.engine.value}", and {why}: remove workers.gpus, or use engine "cpu"'
        )
    if asked.options:
        return invalid(f"executorOptions are options of a GPU engine, and {why}: remove them, or use {WITH_GPU}")
    if asked.network != NetworkChoice.AUTO:
        return invalid(
            f'network is "{asked.network}", and {why}: without a GPU a query runs in one process: remove network, or '
            f'use {WITH_GPU} with cluster "distributed"'
        )
    if asked.dask is not None:
        return invalid(f"dask asks for a Dask cluster of GPU workers, and {why}: remove dask, or use {WITH_GPU}")
    if asked.claims:
        return invalid(f"template.spec.resourceClaims asks for devices, and {why}: remove it, or use {WITH_GPU}")
    return None


def with_gpu(job: GpuQueryJob, asked: Wishes, defaults: Defaults) -> Rejected | None:
    """Refuse what a job on GPUs cannot have, whatever the release."""
    name = defaults.gpu_resource
    own = job.spec.workers.resources
    if name in own.requests or name in own.limits:
        return invalid(f"workers.resources names {name}: remove it, and say in workers.gpus how many each pod gets")
    if asked.cluster.firm and asked.cluster.value == ClusterChoice.SINGLE:
        for field, number in (("gpus", asked.gpus), ("replicas", asked.replicas)):
            if (number or 1) > 1:
                return invalid(
                    f'workers.{field} is {number}, and {asked.cluster.source} is "single", one process on one GPU: use '
                    '1, or cluster "distributed"'
                )
    return None


def refused(asked: Wishes, release: releases.Release) -> Rejected:
    """Refuse what the release cannot run, and say which releases and engines can."""
    shapes = [ClusterChoice.SINGLE, ClusterChoice.DISTRIBUTED]
    engine, cluster = asked.engine.value, asked.cluster.value
    engines = [EngineChoice(engine)] if engine and asked.engine.firm else list(GPU_ENGINES)
    clusters = [ClusterChoice(cluster)] if cluster and asked.cluster.firm else _possible(asked, shapes)
    words = " or ".join(f'"{engine}"' for engine in engines)
    source = f" ({asked.engine.source})" if asked.engine.firm and engine else ""
    name = f"engine {words}{source} x cluster {' or '.join(clusters)}"
    because = [release.cells[e, c].because for e in engines for c in clusters if (e, c) in release.cells]
    why = "; ".join(dict.fromkeys(text for text in because if text)) or "it has no such engine"
    can = [r for e in engines for c in clusters for r in releases.runnable(e, c)]
    others = [e for e in GPU_ENGINES for c in clusters if e not in engines and runs(release, e, c)]
    elsewhere = [c for c in shapes for e in engines if c not in clusters and runs(release, e, c)]
    ways = []
    if can:
        ways.append(f"one of the releases {listed(sorted(set(can)))} in runtime.release")
    if others:
        ways.append(f'engine "{others[0]}", which {release.name} runs as {" or ".join(clusters)}')
    if elsewhere and asked.replicas in (None, 1) and asked.gpus in (None, 1):
        ways.append(f'cluster "{elsewhere[0]}"')
    if not ways:
        ways.append('engine "cpu"')
    return invalid(
        f"{name} cannot run on RAPIDS {release.name} ({of(asked.release, 'runtime.release')}): {why}: "
        f"use {', or '.join(ways)}"
    )


def no_image(release: str, asked: Wishes, defaults: Defaults) -> Rejected:
    """Refuse a release for which the operator has no image."""
    have = ", ".join(sorted(defaults.runtime_images)) or "none"
    cpu = "" if asked.gpu else ', or use engine "cpu"'
    return invalid(
        f"{of(asked.release, 'runtime.release')} is {release}, and this operator has no runtime image of it (it has: "
        f"{have}): set runtime.image, or ask the administrator to add it to the Helm value runtime.images{cpu}"
    )


def _possible(asked: Wishes, shapes: list[ClusterChoice]) -> list[ClusterChoice]:
    return shapes[1:] if (asked.replicas or 1) * (asked.gpus or 1) > 1 else shapes


def of(wish: Wish, field: str) -> str:
    """Name a field, and where its value comes from if not from the field itself."""
    return wish.source if wish.firm else f"{field}, by {wish.source}"
