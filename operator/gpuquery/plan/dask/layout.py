"""Dask: which plans run on a Dask cluster, who owns it, and what such a plan cannot have. Pure.

A query runs on Dask if the release has no other way to use several GPUs (`Way.DASK` of the release table), or if
`spec.dask` asks for it. The client needs a GPU in every release, because Polars' callback asks for the device: a native
client uses those of index 0, any other is a pod with its own GPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gpuquery.api.choices import ClusterChoice
from gpuquery.api.dask import DaskBackend, DaskSpec
from gpuquery.api.labels import DASK_PORT, attempt_name, scheduler_name
from gpuquery.plan import releases
from gpuquery.plan.dask import flags
from gpuquery.plan.plan import Dask, DaskWay
from gpuquery.plan.rejected import Rejected, invalid, together

if TYPE_CHECKING:
    from gpuquery.api.types import GpuQueryJob
    from gpuquery.plan.choice import Choice
    from gpuquery.plan.defaults import Defaults

ANY: Any = None
_TERM: Mapping[str, Any] = {"labelSelector": ANY, "namespaceSelector": ANY, "namespaces": ANY, "topologyKey": ANY}
_NEAR = {
    "requiredDuringSchedulingIgnoredDuringExecution": [_TERM],
    "preferredDuringSchedulingIgnoredDuringExecution": [{"podAffinityTerm": _TERM, "weight": ANY}],
}
KEPT: Mapping[str, Any] = {
    "topologySpreadConstraints": [
        {"labelSelector": ANY, "maxSkew": ANY, "topologyKey": ANY, "whenUnsatisfiable": ANY}
    ],
    "tolerations": [{"effect": ANY, "key": ANY, "operator": ANY, "tolerationSeconds": ANY, "value": ANY}],
    "affinity": {"nodeAffinity": ANY, "podAffinity": _NEAR, "podAntiAffinity": _NEAR},
}  # fmt: skip
"""The fields of a pod template that the API server keeps in a DaskCluster: its schema is that of pods of Kubernetes
1.21 (daskcluster.yaml of dask-kubernetes 2026.3.0), and unknown fields are silently dropped."""


def way_of(asked: DaskSpec | None) -> DaskWay:
    """Return who owns the requested Dask cluster; by default the job."""
    if asked is None:
        return DaskWay.NATIVE
    if asked.attaches:
        return DaskWay.ATTACH
    return DaskWay.OPERATOR if asked.backend is DaskBackend.OPERATOR else DaskWay.NATIVE


def on_dask(release: releases.Release, choice: Choice, asked: DaskSpec | None) -> bool:
    """Whether a query runs on a Dask cluster."""
    if choice.cluster is not ClusterChoice.DISTRIBUTED:
        return False
    cell = release.cells.get((choice.engine, choice.cluster))
    if cell is None or cell.way is None:
        return False
    return cell.way is releases.Way.DASK or asked is not None


def told(asked: DaskSpec | None, workers: int) -> str:
    """Describe the Dask cluster, for the sentence of a plan."""
    several = f"{workers} GPU worker{'s' if workers != 1 else ''}"
    match way_of(asked):
        case DaskWay.NATIVE:
            return " as a Dask cluster"
        case DaskWay.OPERATOR:
            return f" for the client, and a DaskCluster of {several}"
        case DaskWay.ATTACH if asked and asked.cluster_ref:
            return f" for the client of DaskCluster {asked.cluster_ref.name}, with at least {several}"
        case _:
            where = asked.scheduler_address if asked else ""
            return f" for the client of {where}, with at least {several}"


def cluster_of(job: GpuQueryJob, choice: Choice, *, attempt: int, scheduler: str) -> Dask | Rejected | None:
    """Return the Dask cluster of an attempt; None without Dask. `scheduler`: address of the scheduler of
    `clusterRef`."""
    release = releases.find(choice.release) if choice.release else None
    if release is None or not on_dask(release, choice, job.spec.dask):
        return None
    asked = job.spec.dask or DaskSpec()
    way = way_of(asked)
    protocol = release.dask.protocol
    if way is DaskWay.ATTACH:
        address = asked.scheduler_address or scheduler or _by_default(job, asked)
        spoken, secret = address.partition("://")[0], asked.tls_secret_name
        if secret is not None and spoken != "tls":
            # Also for an accepted job: it asked for TLS, and must not connect without it.
            return invalid(
                f'dask.tlsSecretName is "{secret}", and the scheduler of {_named(asked)} uses {spoken}, not tls, '
                "according to the commands and variables of its object: start its scheduler and workers with "
                "--protocol tls, or remove dask.tlsSecretName"
            )
        return Dask(way=way, workers=choice.workers, protocol=spoken, scheduler=address, tls_secret=secret)
    options, problems = flags.checked(asked.worker_options, release)
    # An accepted job keeps its plan, even if this operator's table differs.
    if problems and job.status.plan is None:
        return together(*map(invalid, problems))
    name = attempt_name(job.metadata.name, job.metadata.uid, attempt)
    made = way is DaskWay.OPERATOR
    return Dask(
        way=way,
        workers=choice.workers if made else choice.replicas * choice.gpus,
        protocol=protocol,
        scheduler=address_of(name, job.metadata.namespace, protocol) if made else "",
        dashboard=asked.dashboard,
        options=flags.complete(options, release),
    )


def address_of(cluster: str, namespace: str, protocol: str, port: int = DASK_PORT) -> str:
    """Return the address of a DaskCluster's scheduler, relative to the cluster's own domain."""
    return f"{protocol}://{scheduler_name(cluster)}.{namespace}.svc:{port}"


def _by_default(job: GpuQueryJob, asked: DaskSpec) -> str:
    name = asked.cluster_ref.name if asked.cluster_ref else ""
    return address_of(name, job.metadata.namespace, "tls" if asked.tls_secret_name else "tcp")


def _named(asked: DaskSpec) -> str:
    return f"DaskCluster {asked.cluster_ref.name}" if asked.cluster_ref else f"{asked.scheduler_address}"


def refused(job: GpuQueryJob, choice: Choice, defaults: Defaults) -> Rejected | None:
    """Refuse a Dask cluster that the chosen plan or this operator does not support."""
    asked = job.spec.dask
    return together(*map(invalid, _refused(job, asked, choice, defaults))) if asked is not None else None


def _refused(job: GpuQueryJob, asked: DaskSpec, choice: Choice, defaults: Defaults) -> Iterator[str]:
    if asked.backend is DaskBackend.OPERATOR:
        if not defaults.dask_operator:
            yield (
                'dask.backend is "operator", and this operator does not create DaskClusters: use backend "native", or '
                "ask the administrator to install dask-kubernetes and to set the Helm value dask.operator.enabled"
            )
        if (account := job.spec.storage.service_account_name) is not None:
            yield (
                f'storage.serviceAccountName is "{account}", and dask.backend is "operator": the GPU reader in the '
                "workers of a DaskCluster takes credentials only from variables, and nothing there turns an identity "
                'into variables: use storage.secretName, or dask.backend "native"'
            )
        for dropped in _dropped(job.spec.template.spec.model_dump(mode="json", by_alias=True, exclude_none=True)):
            yield (
                f'template.spec.{dropped} is set, and dask.backend is "operator": a DaskCluster has only '
                'the pod fields of Kubernetes 1.21 and would silently drop it: remove it, or use dask.backend "native"'
            )
    if asked.cluster_ref is not None and not defaults.dask_attach:
        yield (
            f'dask.clusterRef.name is "{asked.cluster_ref.name}", and this operator reads no DaskClusters: name its '
            "scheduler in dask.schedulerAddress, or ask the administrator to set the Helm value dask.attach.enabled"
        )
    if asked.tls_secret_name is not None:
        ours = {*flags.TLS_FILES.values(), *flags.TLS_ONLY}
        if own := next((variable.name for variable in job.spec.template.spec.env if variable.name in ours), None):
            yield (
                f'dask.tlsSecretName is "{asked.tls_secret_name}", and sets {own}, as template.spec.env does: remove '
                "one of the two"
            )
    release = releases.find(choice.release)
    known = release.dask.protocol if release is not None else "ucx"
    if known != "ucx" and (asked.scheduler_address or "").startswith("ucx:"):
        yield (
            f'dask.schedulerAddress is "{asked.scheduler_address}", and RAPIDS {choice.release} knows UCXX only as '
            f"{known}://: write {known}://, or use a later runtime.release"
        )


def _dropped(template: Mapping[str, Any]) -> Iterator[str]:
    """Yield the fields of a pod template that a DaskCluster drops."""
    for name, known in KEPT.items():
        yield from (f"{name}{path}" for path in _unknown(template.get(name), known))


def _unknown(value: Any, known: Any) -> Iterator[str]:
    if isinstance(known, Sequence) and isinstance(value, Sequence) and not isinstance(value, str):
        for index, item in enumerate(value):
            yield from (f"[{index}]{path}" for path in _unknown(item, known[0]))
    elif isinstance(known, Mapping) and isinstance(value, Mapping):
        for key, inner in value.items():
            if key not in known:
                yield f".{key}"
            elif known[key] is not ANY:
                yield from (f".{key}{path}" for path in _unknown(inner, known[key]))
