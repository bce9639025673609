"""Request: what a job asks for (engine, cluster, release, pods, GPUs), and where.

Four places can set it. The first that does wins:

1. the object: `spec.engine`, `spec.cluster` (or `spec.scheduler`), `spec.runtime.release`;
2. the pod template's environment: `CUDF_POLARS__EXECUTOR__RUNTIME` and `...__CLUSTER`, with the historic `...__ENGINE`
   and `...__SCHEDULER`;
3. the namespace's annotations: `gpuquery.io/default-engine`, `-cluster`, `-release`;
4. the operator's settings.

The rest is chosen (`plan/select/choose.py`). The first two are for this job: if they cannot be met, the job is refused.
The other two are defaults for many jobs: a default that does not fit a job is skipped, and the plan says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from gpuquery.api.choices import GPU_ENGINES, ClusterChoice, EngineChoice, NetworkChoice, ReleaseChoice
from gpuquery.api.combinations import listed
from gpuquery.api.labels import ANNOTATION_CLUSTER, ANNOTATION_ENGINE, ANNOTATION_RELEASE
from gpuquery.api.reasons import Failure
from gpuquery.plan import footprint, releases
from gpuquery.plan.defaults import NEWEST, Defaults
from gpuquery.plan.rejected import Rejected, invalid, together

if TYPE_CHECKING:
    from collections.abc import Mapping
    from enum import StrEnum

    from gpuquery.api.dask import DaskSpec
    from gpuquery.api.status import PreflightStatus
    from gpuquery.api.types import GpuQueryJob
    from gpuquery.plan.releases import Release

DEFAULT = "default"
"""Source of a value that nobody has set."""
ENGINE_VARIABLES = ("RUNTIME", "ENGINE")
CLUSTER_VARIABLES = ("CLUSTER", "SCHEDULER")
"""Variables that choose, each followed by its old name."""


@dataclass(frozen=True)
class Said:
    """A value and its source; `value` is None if no place sets it."""

    value: str | None = None
    source: str = ""
    """Where it is set, worded to follow "by" in a sentence."""
    explicit: bool = False
    """Whether it is set for this job, not a default for many."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """Everything that a job asks for, and the defaults."""

    job: GpuQueryJob
    defaults: Defaults
    """The operator's and the namespace's."""
    local: bool
    """Whether it runs on this machine, without an image and without limits."""
    engine: Said
    cluster: Said
    release: Said
    replicas: int | None
    """None: as many as the size of the data needs."""
    gpus: int | None
    options: bool
    """Whether the object sets options of a GPU engine."""
    network: str
    """How ranks should exchange rows; `auto` asks for nothing."""
    claims: bool
    """Whether the pods claim devices."""
    dask: DaskSpec | None = None
    """The requested Dask cluster."""
    image: str | None
    found: PreflightStatus | None
    """What the query reads and holds; None if not known yet."""

    @cached_property
    def known(self) -> Release | None:
        """The requested release; None if the table does not know it."""
        return releases.find(str(self.release.value))

    @property
    def row(self) -> Release:
        """The row of the requested release, which must be known."""
        assert self.known is not None, self.release.value
        return self.known

    @cached_property
    def bounds(self) -> Defaults:
        """The defaults, reduced so that the operator's choice stays within the job's limits."""
        return self.defaults if self.local else footprint.within(self.job, self.defaults)

    @property
    def cpu(self) -> bool:
        """Whether the engine `cpu` is requested; as a default it does not count if the job asks for a GPU elsewhere."""
        return self.engine.value == EngineChoice.CPU and (self.engine.explicit or not self.gpu)

    def lacks_image(self, release: str) -> bool:
        """Whether there is no image for a release, or for the engine `cpu` if it is empty."""
        return not self.local and self.image is None and self.defaults.image_of(release) is None

    @property
    def gpu(self) -> bool:
        """Whether the job itself asks for a GPU, in any field."""
        return (
            (self.engine.explicit and self.engine.value in GPU_ENGINES)
            or (self.cluster.explicit and self.cluster.value == ClusterChoice.DISTRIBUTED)
            or (self.replicas or 1) > 1
            or (self.gpus or 0) > 0
            or self.options
            or self.network != NetworkChoice.AUTO
            or self.claims
            or self.dask is not None
            or (self.release.explicit and self.engine.value != EngineChoice.CPU)
        )


def request_of(job: GpuQueryJob, defaults: Defaults, *, local: bool = False) -> Request | Rejected:
    """Collect what a job asks for; refuses an unreadable annotation or variable."""
    spec = job.spec
    environ = _from_environment(job)
    places: dict[str, tuple[Said | Rejected, ...]] = {
        "engine": (
            _said(spec.engine, "spec.engine"),
            environ if isinstance(environ, Rejected) else environ[0],
            _annotation(job, defaults, ANNOTATION_ENGINE, EngineChoice),
            Said(_unless_auto(defaults.default_engine), "the operator's default"),
        ),
        "cluster": (
            _said(spec.shape, "spec.scheduler" if spec.scheduler else "spec.cluster"),
            environ if isinstance(environ, Rejected) else environ[1],
            _annotation(job, defaults, ANNOTATION_CLUSTER, ClusterChoice),
            Said(_unless_auto(defaults.default_cluster), "the operator's default"),
        ),
        "release": (
            _said(spec.runtime.release, "spec.runtime.release"),
            _annotation(job, defaults, ANNOTATION_RELEASE, ReleaseChoice),
            Said(defaults.default_release, "the operator's default"),
            Said(NEWEST, DEFAULT),
        ),
    }
    found = {name: _first(said) for name, said in places.items()}
    # A variable is checked even if the object overrides it: it still reaches the query's process.
    wrong = together(*(one for one in (environ, *found.values()) if isinstance(one, Rejected)))
    if wrong is not None:
        return wrong
    first = {name: one for name, one in found.items() if isinstance(one, Said)}
    cluster = first["cluster"]
    if spec.dask is not None and cluster.value != ClusterChoice.DISTRIBUTED:
        if cluster.explicit and cluster.value is not None:
            return invalid(
                f'dask is set, and {cluster.source} is "{cluster.value}", which is one process: remove one of them'
            )
        first["cluster"] = Said(ClusterChoice.DISTRIBUTED, "spec.dask", explicit=True)
    return Request(
        job=job,
        defaults=defaults,
        local=local,
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
    """Return the results of a preflight, if they have sizes."""
    found = job.status.preflight
    return found if found is not None and (found.basis or found.input_bytes) else None


def _first(places: tuple[Said | Rejected, ...]) -> Said | Rejected:
    """Return the first place with a value or an error."""
    for one in places:
        if isinstance(one, Rejected) or one.value is not None:
            return one
    return Said()


def _unless_auto(word: str | None) -> str | None:
    return None if word == "auto" else word


def _said(word: StrEnum | None, field: str) -> Said:
    return Said(_unless_auto(word), field, explicit=True)


def environment(job: GpuQueryJob) -> Mapping[str, str]:
    """Return the variables that the pod template sets."""
    return {variable.name: variable.value for variable in job.spec.template.spec.env}


def _from_environment(job: GpuQueryJob) -> tuple[Said, Said] | Rejected:
    """Read engine and cluster from the pod template."""
    env = environment(job)
    engine, cluster, problems = releases.environment_choice(env)
    wrong = together(*map(invalid, problems))
    if wrong is not None:
        return wrong

    def read(value: str, names: tuple[str, ...]) -> Said:
        source = next((name for field in names if (name := f"CUDF_POLARS__EXECUTOR__{field}") in env), "")
        return Said(_unless_auto(value), f"{source} of template.spec.env", explicit=True)

    return read(engine, ENGINE_VARIABLES), read(cluster, CLUSTER_VARIABLES)


def _annotation(job: GpuQueryJob, defaults: Defaults, name: str, kind: type[StrEnum]) -> Said | Rejected:
    value = defaults.annotations.get(name)
    if value is None:
        return Said()
    if value not in set(kind):
        reason = Failure.UNKNOWN_RELEASE if kind is ReleaseChoice else Failure.INVALID_COMBINATION
        field = {EngineChoice: "spec.engine", ClusterChoice: "spec.cluster"}.get(kind, "spec.runtime.release")
        return Rejected(
            reason,
            f'namespace "{job.metadata.namespace}": the annotation {name} is "{value}", which is not one of '
            f"{listed(kind)}: correct it (kubectl annotate --overwrite namespace), or set {field} in the job",
        )
    return Said(_unless_auto(value), f"the annotation {name} of the namespace")
