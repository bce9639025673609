"""Wishes: what is asked of engine, cluster and release, and where it is said.

Four places may say it. The first that does wins:

1. the object: `spec.engine`, `spec.cluster` (or `spec.scheduler`), `spec.runtime.release`;
2. the pod template's environment: `CUDF_POLARS__EXECUTOR__RUNTIME` and `...__CLUSTER`, with the historic `...__ENGINE`
   and `...__SCHEDULER`;
3. the namespace's annotations: `gpuquery.io/default-engine`, `-cluster`, `-release`;
4. the operator's settings.

What nobody says is chosen (`plan/choose.py`). The first two are said for this job: what cannot be had is refused. The
other two are defaults for many jobs: where one does not fit what a job says, it is passed over, and the plan says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from gpuquery.api.choices import ClusterChoice, EngineChoice, ReleaseChoice, SchedulerChoice
from gpuquery.api.combinations import GPU_ENGINES, listed, many_pods
from gpuquery.api.labels import ANNOTATION_CLUSTER, ANNOTATION_ENGINE, ANNOTATION_RELEASE
from gpuquery.api.reasons import Failure
from gpuquery.api.types import GpuQueryJob
from gpuquery.plan.defaults import NEWEST, Defaults
from gpuquery.plan.rejected import Rejected, invalid

PREFIX = "CUDF_POLARS__EXECUTOR__"
ENGINE_VARIABLES = (f"{PREFIX}RUNTIME", f"{PREFIX}ENGINE")
CLUSTER_VARIABLES = (f"{PREFIX}CLUSTER", f"{PREFIX}SCHEDULER")
CHOOSING = frozenset({*ENGINE_VARIABLES, *CLUSTER_VARIABLES})
"""Variables that choose engine or cluster; all others of the prefix are options."""
MEANINGS: Mapping[str, EngineChoice | ClusterChoice] = {
    **{str(engine): engine for engine in GPU_ENGINES},
    **{str(word): word for word in (ClusterChoice.SINGLE, ClusterChoice.DISTRIBUTED)},
    str(SchedulerChoice.SYNCHRONOUS): ClusterChoice.SINGLE,
}

Word = TypeVar("Word", bound=StrEnum)


@dataclass(frozen=True)
class Wish:
    """What one place says; `value` is None where nobody says anything."""

    value: str | None = None
    source: str = ""
    """Where it is said, as it stands in a sentence after "by"."""
    firm: bool = False
    """Whether it is said for this job and not for many."""


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """Everything that a job asks of its plan."""

    engine: Wish
    cluster: Wish
    release: Wish
    replicas: int | None
    """None: as many as the size of the data wants."""
    gpus: int | None
    options: bool
    """Whether the object sets options of a GPU engine."""
    image: str | None
    size: int | None
    """Bytes in memory of what the query reads; None while that is not known."""

    @property
    def named_release(self) -> bool:
        """Whether the object names a release."""
        return self.release.firm

    @property
    def gpu(self) -> bool:
        """Whether the job itself asks for a GPU, by whatever field."""
        return (
            (self.engine.firm and self.engine.value in GPU_ENGINES)
            or (self.cluster.firm and self.cluster.value == ClusterChoice.DISTRIBUTED)
            or (self.replicas or 1) > 1
            or (self.gpus or 0) > 0
            or self.options
            or (self.named_release and self.engine.value != EngineChoice.CPU)
        )


def read(job: GpuQueryJob, defaults: Defaults) -> Wishes | Rejected:
    """Collect what a job asks for; refuses an unreadable annotation or variable."""
    spec = job.spec
    variables = {variable.name: variable.value for variable in spec.template.spec.env}
    places: dict[str, tuple[Wish | Rejected, ...]] = {
        "engine": (
            _said(spec.engine, "spec.engine"),
            _variable(variables, ENGINE_VARIABLES, EngineChoice),
            _annotation(job, defaults, ANNOTATION_ENGINE, EngineChoice),
            Wish(_unless_auto(defaults.default_engine), "the operator's default"),
        ),
        "cluster": (
            _said(spec.shape, "spec.scheduler" if spec.scheduler else "spec.cluster"),
            _variable(variables, CLUSTER_VARIABLES, ClusterChoice),
            _annotation(job, defaults, ANNOTATION_CLUSTER, ClusterChoice),
            Wish(_unless_auto(defaults.default_cluster), "the operator's default"),
        ),
        "release": (
            _said(spec.runtime.release, "spec.runtime.release"),
            _annotation(job, defaults, ANNOTATION_RELEASE, ReleaseChoice),
            Wish(defaults.default_release, "the operator's default"),
            Wish(NEWEST, "default, the newest that is known"),
        ),
    }
    first: dict[str, Wish] = {}
    for name, said in places.items():
        found = _first(said)
        if isinstance(found, Rejected):
            return found
        first[name] = found
    known = job.status.preflight
    size = max(known.input_bytes, known.peak_bytes) if known else 0
    return Wishes(
        engine=first["engine"],
        cluster=first["cluster"],
        release=first["release"],
        replicas=int(spec.workers.replicas) if many_pods(spec) or spec.workers.replicas == "1" else None,
        gpus=spec.workers.gpus,
        options=bool(spec.executor_options),
        image=spec.runtime.image,
        size=size or None,
    )


def _first(said: tuple[Wish | Rejected, ...]) -> Wish | Rejected:
    """Return the first place that says something; what stands behind it is not even read."""
    for wish in said:
        if isinstance(wish, Rejected) or wish.value is not None:
            return wish
    return Wish()


def _unless_auto(word: str | None) -> str | None:
    return None if word == "auto" else word


def _said(word: StrEnum | None, field: str) -> Wish:
    return Wish(_unless_auto(word), field, firm=True)


def _variable(
    variables: Mapping[str, str], names: tuple[str, ...], kind: type[EngineChoice] | type[ClusterChoice]
) -> Wish | Rejected:
    """Read a choice from the pod template; two variables for one choice must agree."""
    found = [(name, variables[name]) for name in names if name in variables]
    meant = {name: MEANINGS.get(value) for name, value in found}
    for name, value in found:
        if not isinstance(meant[name], kind):
            can = [word for word, means in MEANINGS.items() if isinstance(means, kind)]
            return invalid(
                f'template.spec.env: {name} is "{value}", which is none of {listed(can)}: correct it, or remove it and '
                f"set spec.{'engine' if kind is EngineChoice else 'cluster'}"
            )
    if len(set(meant.values())) > 1:
        (one, first), (other, second) = found
        return invalid(f'template.spec.env: {one} is "{first}" and {other} is "{second}": remove {other}')
    return Wish(meant[found[0][0]], found[0][0], firm=True) if found else Wish()


def _annotation(job: GpuQueryJob, defaults: Defaults, name: str, kind: type[StrEnum]) -> Wish | Rejected:
    value = defaults.annotations.get(name)
    if value is None:
        return Wish()
    if value not in set(kind):
        reason = Failure.UNKNOWN_RELEASE if kind is ReleaseChoice else Failure.INVALID_COMBINATION
        field = {EngineChoice: "spec.engine", ClusterChoice: "spec.cluster"}.get(kind, "spec.runtime.release")
        return Rejected(
            reason,
            f'namespace "{job.metadata.namespace}": the annotation {name} is "{value}", which is none of '
            f"{listed(kind)}: correct it (kubectl annotate --overwrite namespace), or set {field} in the job",
        )
    return Wish(_unless_auto(value), f"the annotation {name} of the namespace")


def variables_of(job: GpuQueryJob) -> Iterator[tuple[str, str]]:
    """Yield the variables of the pod template that are options of the executor."""
    for variable in job.spec.template.spec.env:
        if variable.name.startswith(PREFIX) and variable.name not in CHOOSING:
            yield variable.name, variable.value
