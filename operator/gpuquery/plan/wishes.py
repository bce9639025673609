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

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuquery.api.choices import ClusterChoice, EngineChoice, NetworkChoice, ReleaseChoice
from gpuquery.api.combinations import GPU_ENGINES, listed
from gpuquery.api.labels import ANNOTATION_CLUSTER, ANNOTATION_ENGINE, ANNOTATION_RELEASE
from gpuquery.api.reasons import Failure
from gpuquery.plan import releases
from gpuquery.plan.defaults import NEWEST, Defaults
from gpuquery.plan.rejected import Rejected, invalid, together

if TYPE_CHECKING:
    from collections.abc import Mapping
    from enum import StrEnum

    from gpuquery.api.dask import DaskSpec
    from gpuquery.api.status import PreflightStatus
    from gpuquery.api.types import GpuQueryJob

DEFAULT = "default"
"""Where a value comes from that nobody has set."""
ENGINE_VARIABLES = ("RUNTIME", "ENGINE")
CLUSTER_VARIABLES = ("CLUSTER", "SCHEDULER")
"""Variables that choose, each with the historic one behind it."""


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
    network: str
    """How ranks are to exchange rows; `auto` asks for nothing."""
    claims: bool
    """Whether the pods claim devices."""
    dask: DaskSpec | None = None
    """What is asked of a Dask cluster."""
    image: str | None
    found: PreflightStatus | None
    """What the query reads and holds; None while that is not known."""

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
            or self.network != NetworkChoice.AUTO
            or self.claims
            or self.dask is not None
            or (self.named_release and self.engine.value != EngineChoice.CPU)
        )


def wishes_of(job: GpuQueryJob, defaults: Defaults) -> Wishes | Rejected:
    """Collect what a job asks for; refuses an unreadable annotation or variable."""
    spec = job.spec
    environ = _from_environment(job)
    places: dict[str, tuple[Wish | Rejected, ...]] = {
        "engine": (
            _said(spec.engine, "spec.engine"),
            environ if isinstance(environ, Rejected) else environ[0],
            _annotation(job, defaults, ANNOTATION_ENGINE, EngineChoice),
            Wish(_unless_auto(defaults.default_engine), "the operator's default"),
        ),
        "cluster": (
            _said(spec.shape, "spec.scheduler" if spec.scheduler else "spec.cluster"),
            environ if isinstance(environ, Rejected) else environ[1],
            _annotation(job, defaults, ANNOTATION_CLUSTER, ClusterChoice),
            Wish(_unless_auto(defaults.default_cluster), "the operator's default"),
        ),
        "release": (
            _said(spec.runtime.release, "spec.runtime.release"),
            _annotation(job, defaults, ANNOTATION_RELEASE, ReleaseChoice),
            Wish(defaults.default_release, "the operator's default"),
            Wish(NEWEST, DEFAULT),
        ),
    }
    found = {name: _first(said) for name, said in places.items()}
    # What a variable says is read even where the object says more: it reaches the query's process all the same.
    wrong = together(*(one for one in (environ, *found.values()) if isinstance(one, Rejected)))
    if wrong is not None:
        return wrong
    first = {name: one for name, one in found.items() if isinstance(one, Wish)}
    cluster = first["cluster"]
    if spec.dask is not None and cluster.value != ClusterChoice.DISTRIBUTED:
        if cluster.firm and cluster.value is not None:
            return invalid(
                f'dask is set, and {cluster.source} is "{cluster.value}", which is one process: remove one of them'
            )
        first["cluster"] = Wish(ClusterChoice.DISTRIBUTED, "spec.dask", firm=True)
    return Wishes(
        engine=first["engine"],
        cluster=first["cluster"],
        release=first["release"],
        replicas=int(spec.workers.replicas) if spec.workers.replicas != "auto" else None,
        gpus=spec.workers.gpus,
        options=bool(spec.executor_options),
        network=spec.network,
        claims=bool(spec.template.spec.resource_claims),
        dask=spec.dask,
        image=spec.runtime.image,
        found=sizes_of(job),
    )


def sizes_of(job: GpuQueryJob) -> PreflightStatus | None:
    """Return what a preflight found, if it could tell sizes."""
    found = job.status.preflight
    return found if found is not None and (found.basis or found.input_bytes) else None


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


def environment(job: GpuQueryJob) -> Mapping[str, str]:
    """Return the variables that the pod template sets."""
    return {variable.name: variable.value for variable in job.spec.template.spec.env}


def _from_environment(job: GpuQueryJob) -> tuple[Wish, Wish] | Rejected:
    """Read engine and cluster from the pod template."""
    env = environment(job)
    engine, cluster, problems = releases.environment_choice(env)
    wrong = together(*map(invalid, problems))
    if wrong is not None:
        return wrong

    def wish(value: str, names: tuple[str, ...]) -> Wish:
        source = next((name for field in names if (name := f"CUDF_POLARS__EXECUTOR__{field}") in env), "")
        return Wish(_unless_auto(value), f"{source} of template.spec.env", firm=True)

    return wish(engine, ENGINE_VARIABLES), wish(cluster, CLUSTER_VARIABLES)


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
