"""Explain: why a choice was made, what a later release does differently, and why a request is refused.

The API server refuses what it can check (`api/combinations.py`); this module refuses what depends on the operator, on
defaults or on the release table. Every message names field, value and way out, and the releases and engines that can
run it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuquery.api.choices import GPU_ENGINES, ClusterChoice, EngineChoice, NetworkChoice
from gpuquery.api.combinations import WITH_GPU, either, listed
from gpuquery.api.reasons import Failure
from gpuquery.plan import releases
from gpuquery.plan.dask import layout
from gpuquery.plan.rejected import Rejected, invalid, together
from gpuquery.plan.select.request import DEFAULT, Request, Said

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuquery.plan.choice import Choice


def by(said: Said) -> str:
    """Say where a value was requested."""
    return "as the spec asks" if said.source.startswith("spec.") else f"by {said.source}"


def unheeded(said: Said, chosen: str) -> str:
    """Say, after a reason, that a default did not fit."""
    return "" if said.value is None or said.value == chosen else f", where {said.value} (by {said.source}) does not fit"


def head(request: Request, choice: Choice) -> str:
    """Describe a plan on GPUs, without the reason."""
    pods = "1 pod" if choice.replicas == 1 else f"{choice.replicas} pods"
    gpus = f"{choice.gpus} GPU{'s' if choice.gpus > 1 else ''}"
    on = layout.told(request.dask, choice.workers) if layout.on_dask(request.row, choice, request.dask) else ""
    return f"{choice.engine} x {choice.cluster} on {choice.release}, {pods} x {gpus}{on}"


def later(request: Request, choice: Choice) -> str | None:
    """Return what a later release does differently, if nobody chose the engine."""
    if request.engine.value in GPU_ENGINES:
        return None
    engine, release, names = choice.engine, choice.release, releases.names()
    for name in names[names.index(release) + 1 :]:
        coming = releases.RELEASES[name]
        if coming.runs(engine, choice.cluster):
            continue
        if other := next((e for e in GPU_ENGINES if coming.runs(e, choice.cluster)), None):
            return (
                f'engine was left open, and RAPIDS {release} means "{engine}" by it; from {name} on it means '
                f'"{other}": set engine: {engine} and runtime.release: "{release}" to stay, or engine: {other} with a '
                "release that has it to move on"
            )
    return None


def without_gpu(request: Request) -> Rejected | None:
    """Refuse everything that a job on the CPU cannot have."""
    return together(*map(invalid, _without_gpu(request)))


def _without_gpu(request: Request) -> Iterator[str]:
    why = f'{of(request.engine, "engine")} is "cpu"' if request.cpu else "workers.gpus is 0"
    if request.cluster.explicit and request.cluster.value == ClusterChoice.DISTRIBUTED and request.dask is None:
        yield (
            f'{request.cluster.source} is "distributed", and {why}: without a GPU a query runs in one process: use '
            f'cluster "single", or {WITH_GPU} with workers.gpus of at least 1'
        )
    if (request.replicas or 1) > 1:
        yield (
            f"workers.replicas is {request.replicas}, and {why}: without a GPU a query runs in one pod: use 1, or "
            f"{WITH_GPU} with workers.gpus of at least 1"
        )
    if (request.gpus or 0) > 0:
        yield f"workers.gpus is {request.gpus}, and {why}: remove workers.gpus, or use {WITH_GPU}"
    if request.engine.value in GPU_ENGINES and request.engine.explicit:
        asked = f'{request.engine.source} is "{request.engine.value}"'
        yield f'{asked}, and {why}: remove workers.gpus, or use engine "cpu"'
    if request.options:
        yield f"executorOptions are options of a GPU engine, and {why}: remove them, or use {WITH_GPU}"
    if request.network != NetworkChoice.AUTO:
        yield (
            f'network is "{request.network}", and {why}: without a GPU a query runs in one process: remove network, or '
            f'use {WITH_GPU} with cluster "distributed"'
        )
    if request.dask is not None:
        yield f"dask asks for a Dask cluster of GPU workers, and {why}: remove dask, or use {WITH_GPU}"
    if request.claims:
        yield f"template.spec.resourceClaims asks for devices, and {why}: remove it, or use {WITH_GPU}"


def with_gpu(request: Request) -> Rejected | None:
    """Refuse what a job on GPUs cannot have in any release."""
    if not (request.cluster.explicit and request.cluster.value == ClusterChoice.SINGLE):
        return None
    return together(*(
        invalid(
            f'workers.{field} is {number}, and {request.cluster.source} is "single", one process on one GPU: use 1, or '
            'cluster "distributed"'
        )
        for field, number in (("gpus", request.gpus), ("replicas", request.replicas))
        if (number or 1) > 1
    ))  # fmt: skip


def unknown_release(request: Request) -> Rejected:
    """Refuse a release that this operator does not know."""
    return Rejected(
        Failure.UNKNOWN_RELEASE,
        f"{released(request.release)}, is not known to this operator, which knows {', '.join(releases.names())}: "
        "choose one of them in runtime.release, or install a newer operator",
    )


def refused(request: Request) -> Rejected:
    """Refuse what the release cannot run, and name the releases and engines that can."""
    release, shapes = request.row, [ClusterChoice.SINGLE, ClusterChoice.DISTRIBUTED]
    engine, cluster = request.engine.value, request.cluster.value
    engines = [EngineChoice(engine)] if engine and request.engine.explicit else list(GPU_ENGINES)
    clusters = [ClusterChoice(cluster)] if cluster and request.cluster.explicit else _possible(request, shapes)
    source = f" ({request.engine.source})" if request.engine.explicit and engine else ""
    name = f"engine {either(engines)}{source} x cluster {' or '.join(clusters)}"
    because = [release.cells[e, c].because for e in engines for c in clusters if (e, c) in release.cells]
    why = "; ".join(dict.fromkeys(text for text in because if text)) or "it has no such engine"
    can = [r for e in engines for c in clusters for r in releases.runnable(e, c)]
    others = [e for e in GPU_ENGINES for c in clusters if e not in engines and release.runs(e, c)]
    elsewhere = [c for c in shapes for e in engines if c not in clusters and release.runs(e, c)]
    ways = []
    if can:
        ways.append(f"one of the releases {listed(sorted(set(can)))} in runtime.release")
    if others:
        ways.append(f'engine "{others[0]}", which {release.name} runs as {" or ".join(clusters)}')
    if elsewhere and request.replicas in (None, 1) and request.gpus in (None, 1):
        ways.append(f'cluster "{elsewhere[0]}"')
    if not ways:
        ways.append('engine "cpu"')
    return invalid(f"{name} cannot run on {released(request.release)}: {why}: use {', or '.join(ways)}")


def sql(choice: Choice, *, own_image: bool) -> Rejected | None:
    """Refuse SQL if the chosen release gives other values than SQL says; with a custom image its pod checks this."""
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


def expectations(choice: Choice, *, own_image: bool) -> Rejected | None:
    """Refuse SQL in `output.expect`, which always runs on the CPU, if the release's Polars gives other values there."""
    release = releases.find(choice.release)
    if release is None or own_image or release.name in releases.sql_on_cpu():
        return None
    return invalid(
        f"output.expect has sql, which cannot run on RAPIDS release {release.name}, whose Polars ({release.polars}) "
        f"gives other values on the CPU than SQL says: use {listed(releases.sql_on_cpu())} in runtime.release, "
        'engine "cpu" without a release, or rows, unique and notNull'
    )


def no_image(request: Request) -> Rejected:
    """Refuse a release for which the operator has no image."""
    have = ", ".join(sorted(request.defaults.runtime_images)) or "none"
    cpu = "" if request.gpu else ', or use engine "cpu"'
    return invalid(
        f"{released(request.release)}, has no runtime image here (releases with one: {have}): set runtime.image, "
        f"or ask the administrator to add it to the Helm value runtime.images{cpu}"
    )


def _possible(request: Request, shapes: list[ClusterChoice]) -> list[ClusterChoice]:
    return shapes[1:] if (request.replicas or 1) * (request.gpus or 1) > 1 else shapes


def of(said: Said, field: str) -> str:
    """Name a field, and the source of its value if that is not the field itself."""
    return said.source if said.explicit else f"{field} (by {said.source})"


def released(said: Said) -> str:
    """Name the release and its source; a comma must follow."""
    if said.explicit:
        return f"RAPIDS release {said.value}, as {said.source} says"
    return f"RAPIDS release {said.value}, {'the default' if said.source == DEFAULT else f'by {said.source}'}"
