"""Choose: engine, cluster, release, pods and GPUs of a job, with the reason in one sentence.

The order in which it is decided, and what it falls back to:

1. `cpu`, where that is asked for; and where nothing asks for a GPU and an input is CSV or NDJSON, there is no image of
   the release, no job may have a GPU, or the data is too small for one (`plan/guide.py`). A job that asks for a GPU
   never falls back to the CPU.
2. The cluster: as asked; else `distributed` for more than one GPU and `single` for one; else by the size of the data;
   else `single`.
3. The engine: as asked; else the one of `tasks` and `rapidsmpf` that the release runs on this cluster. Where it runs
   both, `tasks`, but for the jobs that the roll-out sends to `rapidsmpf`, which it never does where only `tasks` is
   known to write every row once.
4. Where the release runs neither on a cluster that was not asked for, the other cluster. It does not run what the
   preflight found to be on one partition, where every GPU would write that.

What was asked for is never changed: it is refused. What `status.plan` tells was decided, and stays for all attempts of
the job; before a preflight of its own has ended nothing stands there, for the sizes may change it.
"""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import TYPE_CHECKING

from gpuquery.api.choices import ClusterChoice, EngineChoice
from gpuquery.api.combinations import GPU_ENGINES
from gpuquery.plan import combination, dask, footprint, numbers, releases
from gpuquery.plan.choice import Choice
from gpuquery.plan.formats import is_text
from gpuquery.plan.guide import advise, amount
from gpuquery.plan.maxima import GPUS
from gpuquery.plan.plan import DaskWay
from gpuquery.plan.rejected import Rejected, together
from gpuquery.plan.wishes import Wish, Wishes, wishes_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuquery.api.types import GpuQueryJob
    from gpuquery.plan.defaults import Defaults

CPU, TASKS, RAPIDSMPF = EngineChoice.CPU, EngineChoice.TASKS, EngineChoice.RAPIDSMPF
SINGLE, DISTRIBUTED = ClusterChoice.SINGLE, ClusterChoice.DISTRIBUTED


def choose(job: GpuQueryJob, defaults: Defaults, *, local: bool = False) -> Choice | Rejected:
    """Choose for a job. `local`: it runs on this machine, where no image matters."""
    told = job.status.plan
    if told is not None:
        return Choice(
            engine=EngineChoice(told.engine),
            cluster=ClusterChoice(told.cluster),
            release=told.release or "",
            replicas=told.replicas,
            gpus=told.gpus,
            workers=told.dask.workers if told.dask and told.dask.way != DaskWay.NATIVE else 0,
            why=told.why,
            sizing=told.sizing,
            default_changes=told.default_changes,
        )
    asked = wishes_of(job, defaults)
    if isinstance(asked, Rejected):
        return asked
    because = _because_cpu(job, asked, defaults, local=local)
    if because is not None:
        return _on_cpu(job, asked, defaults, because, local=local)
    return _on_gpus(job, asked, defaults if local else footprint.within(job, defaults), local=local)


def _because_cpu(job: GpuQueryJob, asked: Wishes, defaults: Defaults, *, local: bool) -> str | None:
    """Return why the job runs on the CPU; None if it does not."""
    if asked.engine.value == CPU:
        # A default does not stand against a job that asks for a GPU in some other field.
        return f"engine {_by(asked.engine)}" if asked.engine.firm or not asked.gpu else None
    if asked.gpus == 0:
        return "workers.gpus is 0"
    if asked.gpu or asked.engine.value is not None:
        return None
    if local:
        return "no engine was asked for"
    if text := next((item for item in job.spec.inputs if is_text(item)), None):
        return f'input "{text.name}" is text, which no GPU engine reads from a store'
    if asked.image is not None:
        return "nothing says which RAPIDS release runtime.image holds"
    if defaults.image_of(str(asked.release.value)) is None:
        if not defaults.runtime_images and not defaults.runtime_image_pattern:
            return "nothing asks for a GPU, and no GPU image is set up here"
        return f"nothing asks for a GPU, and {combination.released(asked.release)}, has no runtime image here"
    if footprint.allowed(GPUS, job, defaults) == 0:
        return "nothing asks for a GPU, and no job may have one here"
    if asked.found is not None and not advise(asked.found.input_bytes).gpu:
        return f"{amount(asked.found.input_bytes)} in memory are too little for a GPU"
    return None


def _on_cpu(job: GpuQueryJob, asked: Wishes, defaults: Defaults, because: str, *, local: bool) -> Choice | Rejected:
    release = str(job.spec.runtime.release or "")
    missing = not local and asked.image is None and defaults.image_of(release) is None
    rejected = together(combination.without_gpu(asked), combination.no_image(asked, defaults) if missing else None)
    if rejected:
        return rejected
    on = f" on {release}" if release else ""
    return Choice(engine=CPU, cluster=SINGLE, release=release, why=f"cpu x single{on}, 1 pod, no GPU: {because}")


def _on_gpus(job: GpuQueryJob, asked: Wishes, defaults: Defaults, *, local: bool) -> Choice | Rejected:
    name = str(asked.release.value)
    release = releases.find(name)
    found = None if release is None else next(_runnable(job, asked, defaults, release), None)
    missing = not local and asked.image is None and defaults.image_of(name) is None
    wrong = [combination.with_gpu(asked)]
    if release is None:
        wrong.append(combination.unknown_release(asked))
    elif found is None:
        wrong.append(combination.refused(asked, release))
    elif missing:
        wrong.append(combination.no_image(asked, defaults))
    rejected = together(*wrong)
    if rejected is not None:
        return rejected
    assert release is not None  # else it is refused, as what it cannot run
    assert found is not None
    return _numbered(asked, defaults, replace(found, release=name), release)


def _runnable(job: GpuQueryJob, asked: Wishes, defaults: Defaults, release: releases.Release) -> Iterator[Choice]:
    """Yield what the release can run of what was asked for, the best first; `why` is the reason alone."""
    for cluster, because_cluster in _clusters(asked, defaults, release):
        for engine, because_engine in _engines(job, asked, defaults, release, cluster):
            if combination.runs(release, engine, cluster) and not _doubled(asked, release, engine, cluster):
                why = "; ".join(filter(None, (because_engine, because_cluster, f"release {_by(asked.release)}")))
                yield Choice(engine=engine, cluster=cluster, why=why)


def _doubled(asked: Wishes, release: releases.Release, engine: EngineChoice, cluster: ClusterChoice) -> bool:
    """Whether rows would come out once for each GPU; where the job itself asks for several, its preflight refuses."""
    found = asked.found is not None and asked.found.one_partition
    return (
        found and cluster is DISTRIBUTED and not asked.cluster.firm and not combination.safe(release, engine, cluster)
    )


def _clusters(asked: Wishes, defaults: Defaults, release: releases.Release) -> Iterator[tuple[ClusterChoice, str]]:
    """Yield the cluster shapes in order of preference, with the reason for each."""
    wish = asked.cluster
    if wish.firm and wish.value is not None:
        yield ClusterChoice(wish.value), f"cluster {_by(wish)}"
        return
    replicas, gpus = asked.replicas or 1, asked.gpus or 1
    if replicas * gpus > 1:
        words = f"{replicas} x {gpus} GPUs" if asked.replicas else f"{gpus} GPUs in each pod"
        yield DISTRIBUTED, f"distributed for {words}{_unheeded(wish, DISTRIBUTED)}"
        return
    if asked.replicas == 1:
        yield SINGLE, f"single for one GPU{_unheeded(wish, SINGLE)}"
        return
    if wish.value is not None:
        yield ClusterChoice(wish.value), f"cluster {_by(wish)}"
    elif asked.found is not None:
        cluster = numbers.sized(asked, defaults, release).cluster
        yield cluster, f"{cluster} for {amount(max(asked.found.input_bytes, asked.found.peak_bytes))} in memory"
    else:
        yield SINGLE, "single as long as the size of the data is not known"
    # What stands above may not run in this release; nobody asked for it.
    one = asked.found is not None and asked.found.one_partition
    yield SINGLE, "single, as several GPUs would each write it" if one else "single, as this release runs no other"
    yield DISTRIBUTED, "distributed, as this release runs no other"


def _engines(
    job: GpuQueryJob, asked: Wishes, defaults: Defaults, release: releases.Release, cluster: ClusterChoice
) -> Iterator[tuple[EngineChoice, str]]:
    """Yield the engines in order of preference, with the reason for each."""
    wish = asked.engine
    if wish.value in GPU_ENGINES:
        yield EngineChoice(wish.value), f"engine {_by(wish)}"
        if wish.firm:
            return
    can = [engine for engine in GPU_ENGINES if combination.runs(release, engine, cluster)]
    if len(can) == 1:
        yield can[0], f"{can[0]} is what RAPIDS {release.name} runs as {cluster}{_unheeded(wish, can[0])}"
        return
    percentage = defaults.rapidsmpf_percentage
    as_safe = combination.safe(release, RAPIDSMPF, cluster) or not combination.safe(release, TASKS, cluster)
    if as_safe and lot(job) < percentage:
        yield RAPIDSMPF, f"rapidsmpf by the roll-out, which has {percentage} % of the jobs"
    yield TASKS, f"tasks is what RAPIDS {release.name} means by auto"


def lot(job: GpuQueryJob) -> int:
    """Return the job's place in the roll-out, from 0 to 99: always the same for one namespace and name."""
    return zlib.crc32(f"{job.metadata.namespace}/{job.metadata.name}".encode()) % 100


def _numbered(asked: Wishes, defaults: Defaults, choice: Choice, release: releases.Release) -> Choice:
    """Fill in pods and GPUs, and write the sentence."""
    replicas, gpus, sizing = numbers.pods(asked, defaults, release, choice.cluster)
    workers = 0
    if asked.dask is not None and (way := dask.way_of(asked.dask)) is not DaskWay.NATIVE:
        # The client is a pod of its own: in every release the process that asks for a result needs a GPU.
        workers, replicas, gpus = replicas * gpus, 1, 1
        if way is DaskWay.ATTACH:
            workers, sizing = (asked.replicas or 1) * (asked.gpus or 1), None
    pods = "1 pod" if replicas == 1 else f"{replicas} pods"
    head = f"{choice.engine} x {choice.cluster} on {choice.release}, {pods} x {gpus} GPU{'s' if gpus > 1 else ''}"
    if dask.on_dask(release, choice, asked.dask):
        head += dask.told(asked.dask, workers)
    return replace(
        choice,
        replicas=replicas,
        gpus=gpus,
        workers=workers,
        sizing=sizing,
        why=f"{head}: {choice.why}",
        default_changes=_changes(asked, choice, release),
    )


def _changes(asked: Wishes, choice: Choice, release: releases.Release) -> str | None:
    """Return what a later release does otherwise, where nobody has chosen the engine."""
    if asked.engine.value in GPU_ENGINES:
        return None
    names = releases.names()
    for name in names[names.index(release.name) + 1 :]:
        later = releases.find(name)
        if later is not None and not combination.runs(later, choice.engine, choice.cluster):
            others = [e for e in GPU_ENGINES if combination.runs(later, e, choice.cluster)]
            if others:
                return (
                    f'engine was left open, and RAPIDS {release.name} means "{choice.engine}" by it; from {name} on it '
                    f'means "{others[0]}": set engine: {choice.engine} and runtime.release: "{release.name}" to stay, '
                    f"or engine: {others[0]} with a release that has it to move on"
                )
    return None


def _by(wish: Wish) -> str:
    if not wish.source.startswith("spec."):
        return f"by {wish.source}"
    return "as the spec asks"


def _unheeded(wish: Wish, chosen: str) -> str:
    """Say that a default did not fit."""
    return "" if wish.value is None or wish.value == chosen else f", where {wish.value} (by {wish.source}) does not fit"
