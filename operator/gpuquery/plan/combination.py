"""Combination: why engine, cluster, release, pods and GPUs do not fit together, and what would.

The API server refuses what it can see (`api/combinations.py`); here is what depends on the operator, on defaults or on
the release table. Every message names field, value and way out, and the releases and engines that can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuquery.api.choices import ClusterChoice, EngineChoice, NetworkChoice
from gpuquery.api.combinations import GPU_ENGINES, listed
from gpuquery.api.reasons import Failure
from gpuquery.plan import releases
from gpuquery.plan.rejected import Rejected, invalid, together
from gpuquery.plan.wishes import DEFAULT, Wish, Wishes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuquery.plan.choice import Choice
    from gpuquery.plan.defaults import Defaults

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
    """Refuse what a job on the CPU cannot have, all of it at once."""
    return together(*map(invalid, _without_gpu(asked)))


def _without_gpu(asked: Wishes) -> Iterator[str]:
    cpu = asked.engine.value == EngineChoice.CPU
    why = f'{of(asked.engine, "engine")} is "cpu"' if cpu else "workers.gpus is 0"
    if asked.cluster.firm and asked.cluster.value == ClusterChoice.DISTRIBUTED and asked.dask is None:
        yield (
            f'{asked.cluster.source} is "distributed", and {why}: without a GPU a query runs in one process: use '
            f'cluster "single", or {WITH_GPU} with workers.gpus of at least 1'
        )
    if (asked.replicas or 1) > 1:
        yield (
            f"workers.replicas is {asked.replicas}, and {why}: without a GPU a query runs in one pod: use 1, or "
            f"{WITH_GPU} with workers.gpus of at least 1"
        )
    if (asked.gpus or 0) > 0:
        yield f"workers.gpus is {asked.gpus}, and {why}: remove workers.gpus, or use {WITH_GPU}"
    if asked.engine.value in GPU_ENGINES and asked.engine.firm:
        yield f'{asked.engine.source} is "{asked.engine.value}", and {why}: remove workers.gpus, or use engine "cpu"'
    if asked.options:
        yield f"executorOptions are options of a GPU engine, and {why}: remove them, or use {WITH_GPU}"
    if asked.network != NetworkChoice.AUTO:
        yield (
            f'network is "{asked.network}", and {why}: without a GPU a query runs in one process: remove network, or '
            f'use {WITH_GPU} with cluster "distributed"'
        )
    if asked.dask is not None:
        yield f"dask asks for a Dask cluster of GPU workers, and {why}: remove dask, or use {WITH_GPU}"
    if asked.claims:
        yield f"template.spec.resourceClaims asks for devices, and {why}: remove it, or use {WITH_GPU}"


def with_gpu(asked: Wishes) -> Rejected | None:
    """Refuse what a job on GPUs cannot have, whatever the release."""
    if not (asked.cluster.firm and asked.cluster.value == ClusterChoice.SINGLE):
        return None
    return together(*(
        invalid(
            f'workers.{field} is {number}, and {asked.cluster.source} is "single", one process on one GPU: use 1, or '
            'cluster "distributed"'
        )
        for field, number in (("gpus", asked.gpus), ("replicas", asked.replicas))
        if (number or 1) > 1
    ))  # fmt: skip


def unknown_release(asked: Wishes) -> Rejected:
    """Refuse a release that is in no table of this operator."""
    return Rejected(
        Failure.UNKNOWN_RELEASE,
        f"{released(asked.release)}, is not known to this operator, which knows {', '.join(releases.names())}: choose "
        "one of them in runtime.release, or install a newer operator",
    )


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
    return invalid(f"{name} cannot run on {released(asked.release)}: {why}: use {', or '.join(ways)}")


def sql(choice: Choice, *, own_image: bool) -> Rejected | None:
    """Refuse SQL where the chosen release gives other values than SQL says. Of an image of one's own its pod judges."""
    release = releases.find(choice.release)
    if release is None:
        return None
    name = f"RAPIDS release {release.name}"
    if choice.engine in GPU_ENGINES and release.sql_unlike:
        return invalid(
            f"query.sql cannot run on GPUs with {name}: {release.sql_unlike}: use one of the releases "
            f"{listed(releases.sql_on_gpus())} in runtime.release, or query.python"
        )
    if choice.engine == EngineChoice.CPU and not own_image and release.name not in releases.sql_on_cpu():
        return invalid(
            f'query.sql with engine "cpu" cannot run on {name}, whose Polars ({release.polars}) gives other values '
            f"than SQL says: leave runtime.release out, or use {listed(releases.sql_on_cpu())}"
        )
    return None


def no_image(asked: Wishes, defaults: Defaults) -> Rejected:
    """Refuse a release for which the operator has no image."""
    have = ", ".join(sorted(defaults.runtime_images)) or "none"
    cpu = "" if asked.gpu else ', or use engine "cpu"'
    return invalid(
        f"{released(asked.release)}, has no runtime image here (releases that have one: {have}): set runtime.image, or "
        f"ask the administrator to add it to the Helm value runtime.images{cpu}"
    )


def _possible(asked: Wishes, shapes: list[ClusterChoice]) -> list[ClusterChoice]:
    return shapes[1:] if (asked.replicas or 1) * (asked.gpus or 1) > 1 else shapes


def of(wish: Wish, field: str) -> str:
    """Name a field, and where its value comes from if not from the field itself."""
    return wish.source if wish.firm else f"{field} (by {wish.source})"


def released(wish: Wish) -> str:
    """Name the release, and in a clause that a comma has to end, who says so."""
    if wish.firm:
        return f"RAPIDS release {wish.value}, as {wish.source} says"
    return f"RAPIDS release {wish.value}, {'the default' if wish.source == DEFAULT else f'by {wish.source}'}"
