"""Choose: engine, cluster, release, pods and GPUs of a job, with the reason in one sentence.

The order of decisions, with fallbacks:

1. `cpu` if requested; and if nothing asks for a GPU and an input is CSV or NDJSON, there is no image of the release,
   jobs may not have GPUs, or the data is too small for one (`plan/guide.py`). A job that asks for a GPU never falls
   back to the CPU.
2. The cluster: as requested; else `distributed` for more than one GPU and `single` for one; else by the size of the
   data; else `single`.
3. The engine: as requested; else the one that the release runs on this cluster. If it runs several, the first of the
   table (`tasks` before `rapidsmpf`), except for jobs that the roll-out moves to `rapidsmpf`; it moves none if only the
   first is known to write every row once.
4. If the release runs no engine on a cluster that was not requested, the other cluster, unless the preflight found a
   result on one partition that every GPU would write.

A request is never changed, only refused. `status.plan` is a decision for all attempts of the job. It is empty until a
separate preflight has ended, because the sizes may change it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gpuquery.api.choices import ClusterChoice, EngineChoice
from gpuquery.plan import footprint, numbers
from gpuquery.plan.choice import Choice
from gpuquery.plan.dask import layout
from gpuquery.plan.formats import is_text
from gpuquery.plan.guide import advise, amount
from gpuquery.plan.maxima import GPUS
from gpuquery.plan.plan import DaskWay
from gpuquery.plan.rejected import Rejected, together
from gpuquery.plan.select import explain
from gpuquery.plan.select.candidates import candidates
from gpuquery.plan.select.request import Request, request_of

if TYPE_CHECKING:
    from gpuquery.api.status import PlanStatus
    from gpuquery.api.types import GpuQueryJob
    from gpuquery.plan.defaults import Defaults


def choose(job: GpuQueryJob, defaults: Defaults, *, local: bool = False) -> Choice | Rejected:
    """Choose for a job. `local`: it runs on this machine, without an image."""
    if job.status.plan is not None:
        return _decided(job.status.plan)
    request = request_of(job, defaults, local=local)
    if isinstance(request, Rejected):
        return request
    because = _because_cpu(request)
    return _on_gpus(request) if because is None else _on_cpu(request, because)


def _decided(planned: PlanStatus) -> Choice:
    """Return an earlier choice."""
    return Choice(
        engine=EngineChoice(planned.engine),
        cluster=ClusterChoice(planned.cluster),
        release=planned.release or "",
        replicas=planned.replicas,
        gpus=planned.gpus,
        workers=planned.dask.workers if planned.dask and planned.dask.way != DaskWay.NATIVE else 0,
        why=planned.why,
        sizing=planned.sizing,
        default_changes=planned.default_changes,
    )


def _because_cpu(request: Request) -> str | None:
    """Return why the job runs on the CPU; None if it does not."""
    if request.cpu:
        return f"engine {explain.by(request.engine)}"
    if request.gpus == 0:
        return "workers.gpus is 0"
    if request.gpu or request.engine.value is not None:
        return None
    if request.local:
        return "no engine was asked for"
    if text := next((item for item in request.job.spec.inputs if is_text(item)), None):
        return f'input "{text.name}" is text, which no GPU engine reads from a store'
    if request.image is not None:
        return "nothing says which RAPIDS release runtime.image holds"
    if request.lacks_image(str(request.release.value)):
        if not request.defaults.runtime_images and not request.defaults.runtime_image_pattern:
            return "nothing asks for a GPU, and no GPU image is set up here"
        return f"nothing asks for a GPU, and {explain.released(request.release)}, has no runtime image here"
    if footprint.allowed(GPUS, request.job, request.defaults) == 0:
        return "nothing asks for a GPU, and no job may have one here"
    if request.found is not None and not advise(request.found.input_bytes).gpu:
        return f"{amount(request.found.input_bytes)} in memory is too little for a GPU"
    return None


def _on_cpu(request: Request, because: str) -> Choice | Rejected:
    release = str(request.job.spec.runtime.release or "")
    missing = explain.no_image(request) if request.lacks_image(release) else None
    if rejected := together(explain.without_gpu(request), missing):
        return rejected
    on = f" on {release}" if release else ""
    why = f"cpu x single{on}, 1 pod, no GPU: {because}"
    return Choice(engine=EngineChoice.CPU, cluster=ClusterChoice.SINGLE, release=release, why=why)


def _on_gpus(request: Request) -> Choice | Rejected:
    if request.known is None:
        wrong = explain.unknown_release(request)
    elif (best := next(candidates(request), None)) is None:
        wrong = explain.refused(request)
    elif request.lacks_image(best.release):
        wrong = explain.no_image(request)
    else:
        return explain.with_gpu(request) or _numbered(request, best)
    rejected = together(explain.with_gpu(request), wrong)
    assert rejected is not None
    return rejected


def _numbered(request: Request, best: Choice) -> Choice:
    """Fill in pods, GPUs and the sentence."""
    replicas, gpus, sizing = numbers.pods(request, best.cluster)
    workers = 0
    if request.dask is not None and (way := layout.way_of(request.dask)) is not DaskWay.NATIVE:
        # The client is a separate pod: in every release the process that asks for a result needs a GPU.
        workers, replicas, gpus = replicas * gpus, 1, 1
        if way is DaskWay.ATTACH:
            workers, sizing = (request.replicas or 1) * (request.gpus or 1), None
    choice = replace(best, replicas=replicas, gpus=gpus, workers=workers, sizing=sizing)
    return replace(
        choice,
        why=f"{explain.head(request, choice)}: {choice.why}",
        default_changes=explain.later(request, choice),
    )
