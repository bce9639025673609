"""Rules between engine, cluster, release, pods and GPUs that the API server can check: refused when applied.

What depends on the operator (its defaults, its images, the options of a release) is refused at acceptance instead, by
`plan/select/explain.py`. Both say the field, its value and the way out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuquery.api.choices import GPU_ENGINES, RUN_BY, ClusterChoice, EngineChoice, NetworkChoice
from gpuquery.api.dask import DaskBackend
from gpuquery.api.schema import Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gpuquery.api.spec import GpuQueryJobSpec

_HAS_GPUS = "has(self.workers) && has(self.workers.gpus)"
_MANY_PODS = "has(self.workers) && has(self.workers.replicas) && !(string(self.workers.replicas) in ['auto', '1'])"
_NETWORK = "self.network != 'auto'"
_CLAIMS = "has(self.template) && has(self.template.spec) && has(self.template.spec.resourceClaims)"
_CPU = "self.engine == 'cpu'"
_DASK = "has(self.dask)"
_DASK_OPERATOR = f"({_DASK} && has(self.dask.backend) && self.dask.backend == 'operator')"
_DASK_ATTACH = f"({_DASK} && (has(self.dask.clusterRef) || has(self.dask.schedulerAddress)))"
_SINGLE = "(self.cluster == 'single' || (has(self.scheduler) && self.scheduler == 'synchronous'))"
_DISTRIBUTED = "(self.cluster == 'distributed' || (has(self.scheduler) && self.scheduler == 'distributed'))"


def listed(words: Iterable[str]) -> str:
    """Return words for a sentence: `"a", "b"`."""
    return ", ".join(f'"{word}"' for word in words)


def either(words: Iterable[str]) -> str:
    """Return words for a choice in a sentence: `"a", "b" or "c"`."""
    *most, last = [f'"{word}"' for word in words]
    return f"{', '.join(most)} or {last}" if most else last


WITH_GPU = f"engine {either(GPU_ENGINES)}"
"""The way out of what the engine `cpu` cannot do."""


def _cel(words: Iterable[str]) -> str:
    return "[" + ", ".join(f"'{word}'" for word in words) + "]"


def many_pods(spec: GpuQueryJobSpec) -> bool:
    """Whether more than one pod is asked for by number."""
    return spec.workers.replicas not in ("auto", "1")


def _by_dask_operator(spec: GpuQueryJobSpec) -> bool:
    return spec.dask is not None and spec.dask.backend is DaskBackend.OPERATOR


def _never(expression: str, check: Callable[[GpuQueryJobSpec], bool], message: str, field_path: str) -> Rule:
    """Return the rule that forbids what `expression` and `check` find."""
    return Rule(f"!({expression})", lambda self: not check(self), message, field_path)


def _release(engine: EngineChoice) -> Rule:
    can = RUN_BY[engine]
    others = either(other for other in GPU_ENGINES if other is not engine)
    return _never(
        f"self.engine == '{engine}' && has(self.runtime) && has(self.runtime.release) && "
        f"!(self.runtime.release in {_cel(can)})",
        lambda self: (
            self.engine is engine and self.runtime.release is not None and self.runtime.release not in RUN_BY[engine]
        ),
        f'engine "{engine}" needs a RAPIDS release from {can[0]} to {can[-1]}, not {{runtime.release}}: use engine '
        f"{others}, or a release of that range",
        ".runtime.release",
    )


COMBINATIONS: tuple[Rule, ...] = (
    _never(
        "has(self.scheduler) && self.cluster != 'auto'",
        lambda self: self.scheduler is not None and self.cluster is not ClusterChoice.AUTO,
        'cluster is "{cluster}", and scheduler, its historic name, is "{scheduler}": remove scheduler',
        ".scheduler",
    ),
    _never(
        f"{_CPU} && {_DISTRIBUTED}",
        lambda self: self.engine is EngineChoice.CPU and self.shape is ClusterChoice.DISTRIBUTED,
        f'engine "cpu" is one process and has no cluster "distributed": use cluster "single", or {WITH_GPU}',
        ".engine",
    ),
    _never(
        f"{_CPU} && {_HAS_GPUS} && self.workers.gpus > 0",
        lambda self: self.engine is EngineChoice.CPU and (self.workers.gpus or 0) > 0,
        f'engine "cpu" uses no GPU, and workers.gpus is {{workers.gpus!16}}: remove it, or use {WITH_GPU}',
        ".workers.gpus",
    ),
    _never(
        f"{_CPU} && {_MANY_PODS}",
        lambda self: self.engine is EngineChoice.CPU and many_pods(self),
        f'engine "cpu" runs in one pod, and workers.replicas is {{workers.replicas!any}}: use 1, or {WITH_GPU} with '
        'cluster "distributed"',
        ".workers.replicas",
    ),
    _never(
        f"{_CPU} && has(self.executorOptions)",
        lambda self: self.engine is EngineChoice.CPU and bool(self.executor_options),
        f'engine "cpu" has no executorOptions: remove them, or use {WITH_GPU}',
        ".executorOptions",
    ),
    _never(
        f"{_NETWORK} && {_CPU}",
        lambda self: self.network is not NetworkChoice.AUTO and self.engine is EngineChoice.CPU,
        'network is "{network}", and engine "cpu" is one process, which exchanges no rows: remove network, or use '
        f'{WITH_GPU} with cluster "distributed"',
        ".network",
    ),
    _never(
        f"{_NETWORK} && {_SINGLE}",
        lambda self: self.network is not NetworkChoice.AUTO and self.shape is ClusterChoice.SINGLE,
        'network is "{network}", and cluster "single" is one process, which exchanges no rows: remove network, or use '
        'cluster "distributed"',
        ".network",
    ),
    _never(
        f"{_CPU} && {_CLAIMS} && self.template.spec.resourceClaims.size() > 0",
        lambda self: self.engine is EngineChoice.CPU and bool(self.template.spec.resource_claims),
        f'engine "cpu" uses no device, and template.spec.resourceClaims asks for one: remove it, or use {WITH_GPU}',
        ".template.spec.resourceClaims",
    ),
    _never(
        f"{_SINGLE} && {_HAS_GPUS} && self.workers.gpus > 1",
        lambda self: self.shape is ClusterChoice.SINGLE and (self.workers.gpus or 0) > 1,
        'cluster "single" is one process on one GPU, and workers.gpus is {workers.gpus!16}: use 1, or cluster '
        '"distributed"',
        ".workers.gpus",
    ),
    _never(
        f"{_SINGLE} && {_MANY_PODS}",
        lambda self: self.shape is ClusterChoice.SINGLE and many_pods(self),
        'cluster "single" is one process in one pod, and workers.replicas is {workers.replicas!any}: use 1, or cluster '
        '"distributed"',
        ".workers.replicas",
    ),
    _never(
        f"(self.engine in {_cel(GPU_ENGINES)} || {_DISTRIBUTED} || ({_MANY_PODS}) || {_DASK}) && {_HAS_GPUS} && "
        "self.workers.gpus == 0",
        lambda self: (
            (
                self.engine in GPU_ENGINES
                or self.shape is ClusterChoice.DISTRIBUTED
                or many_pods(self)
                or self.dask is not None
            )
            and self.workers.gpus == 0
        ),
        'workers.gpus is 0, and a GPU engine, cluster "distributed", several pods or a Dask cluster need GPUs: remove '
        'workers.gpus, or use engine "cpu" with cluster "single" and one pod',
        ".workers.gpus",
    ),
    _never(
        f"{_DASK} && {_CPU}",
        lambda self: self.dask is not None and self.engine is EngineChoice.CPU,
        f'dask is set, and engine "cpu" is one process without a cluster: remove dask, or use {WITH_GPU} with cluster '
        '"distributed"',
        ".dask",
    ),
    _never(
        f"{_DASK} && {_SINGLE}",
        lambda self: self.dask is not None and self.shape is ClusterChoice.SINGLE,
        'dask is set, and cluster "single" is one process: remove dask, or use cluster "distributed"',
        ".dask",
    ),
    _never(
        f"{_DASK_OPERATOR} && {_HAS_GPUS} && self.workers.gpus > 1",
        lambda self: _by_dask_operator(self) and (self.workers.gpus or 0) > 1,
        'dask.backend is "operator", whose workers have one GPU in each pod, and workers.gpus is {workers.gpus!16}: '
        'use 1, and as many workers.replicas as the job needs GPUs, or dask.backend "native"',
        ".workers.gpus",
    ),
    _never(
        f"{_DASK_OPERATOR} && {_CLAIMS} && self.template.spec.resourceClaims.size() > 0",
        lambda self: _by_dask_operator(self) and bool(self.template.spec.resource_claims),
        'dask.backend is "operator", and a DaskCluster would silently drop '
        'template.spec.resourceClaims: remove them, or use dask.backend "native"',
        ".template.spec.resourceClaims",
    ),
    _never(
        f"{_NETWORK} && {_DASK_ATTACH}",
        lambda self: self.network is not NetworkChoice.AUTO and self.dask is not None and self.dask.attaches,
        'network is "{network}", and the Dask workers are already running with their own network: remove network, or '
        'use dask.backend "native" or "operator"',
        ".network",
    ),
    _never(
        f"has(self.storage) && has(self.storage.caConfigMapName) && {_DASK_ATTACH}",
        lambda self: self.storage.ca_config_map_name is not None and self.dask is not None and self.dask.attaches,
        'storage.caConfigMapName is "{storage.caConfigMapName}", and the Dask workers are already running '
        "and trust what their own image trusts: have that image trust it, and remove caConfigMapName, or use "
        'dask.backend "native" or "operator"',
        ".storage.caConfigMapName",
    ),
    *map(_release, GPU_ENGINES),
)
"""What must be true of the spec."""
