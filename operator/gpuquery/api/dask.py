"""What a user can set for the Dask cluster that runs the query: who owns it, and how its workers are started."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import Field

from gpuquery.api.names import ResourceName
from gpuquery.api.schema import Model, Rule

_PORT = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
SCHEDULER_ADDRESS = rf"^(tcp|tls|ucx|ucxx)://([A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\]):{_PORT}$"


class DaskBackend(StrEnum):
    """Who creates the Dask cluster."""

    NATIVE = "native"
    """This operator: scheduler and workers are the job's own pods."""
    OPERATOR = "operator"
    """dask-kubernetes, from the job's own DaskCluster."""


class DaskClusterRef(Model):
    """A DaskCluster of dask-kubernetes in the job's namespace."""

    name: ResourceName
    """Its name. The job only uses it, and never changes, scales or deletes it."""


class DaskSpec(Model):
    """The Dask cluster that runs the query. At most one of `backend`, `clusterRef` and `schedulerAddress`."""

    backend: DaskBackend | None = None
    """Who creates a cluster for this job: `native` is this operator, in the job's own pods; `operator` is
    dask-kubernetes, which must be installed and enabled in this operator. Default: `native`, or the cluster that is
    named."""
    cluster_ref: DaskClusterRef | None = None
    """A running DaskCluster with warm workers. It must have at least `workers.replicas` times `workers.gpus` workers;
    by default, one."""
    scheduler_address: Annotated[str, Field(min_length=1, max_length=300)] | None = None
    """Scheduler of any running Dask cluster of GPU workers: `tcp://warm-scheduler.lake.svc:8786`. The protocol is tcp,
    tls, ucx or ucxx. The number of workers is as for `clusterRef`."""
    tls_secret_name: ResourceName | None = None
    """A Secret in the job's namespace with ca.crt, tls.crt and tls.key, with which the job's pod connects over TLS to
    the scheduler of `clusterRef` or `schedulerAddress`, which must use TLS. Default: certificates in the image, whose
    paths are in DASK_DISTRIBUTED__COMM__TLS__* of `template.spec.env`."""
    dashboard: bool = False
    """Whether the scheduler serves its dashboard at port 8787 of its pod, and the Service has that port. Graphs need
    Bokeh, which GpuQuery's images do not have. Only if the job has its own cluster."""
    worker_options: Annotated[Mapping[str, Any], Field(max_length=32)] = {}
    """Flags of `dask cuda worker` by their names: `{rmm-pool-size: "0.8", device-memory-limit: 60GiB}`. They are
    checked against the release when the job is accepted. Only if the job has its own cluster."""

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "(has(self.backend) ? 1 : 0) + (has(self.clusterRef) ? 1 : 0) + (has(self.schedulerAddress) ? 1 : 0) <= 1",
            lambda self: [self.backend, self.cluster_ref, self.scheduler_address].count(None) >= 2,
            "backend creates a Dask cluster, clusterRef and schedulerAddress each name one: keep one of the three",
        ),
        Rule(
            f"!has(self.schedulerAddress) || self.schedulerAddress.matches('{SCHEDULER_ADDRESS}')".replace(
                "\\", "\\\\"
            ),
            lambda self: self.scheduler_address is None or bool(re.match(SCHEDULER_ADDRESS, self.scheduler_address)),
            'schedulerAddress is "{schedulerAddress}", and an address of a Dask scheduler is tcp://, tls://, ucx:// or '
            "ucxx:// with host and port (up to 65535): write it like tcp://warm-scheduler.lake.svc:8786",
            field_path=".schedulerAddress",
        ),
        Rule(
            "!has(self.tlsSecretName) || has(self.clusterRef) || has(self.schedulerAddress)",
            lambda self: self.tls_secret_name is None or self.attaches,
            'tlsSecretName is "{tlsSecretName}", and the job\'s own cluster uses UCX, which has no TLS: '
            "remove tlsSecretName, or name a running cluster in clusterRef or schedulerAddress",
            field_path=".tlsSecretName",
        ),
        Rule(
            "!has(self.tlsSecretName) || !has(self.schedulerAddress) || self.schedulerAddress.startsWith('tls:')",
            lambda self: (
                self.tls_secret_name is None
                or self.scheduler_address is None
                or self.scheduler_address.startswith("tls:")
            ),
            'tlsSecretName is "{tlsSecretName}", and schedulerAddress is "{schedulerAddress}", which is not a TLS '
            "address: write tls:// if that scheduler uses TLS, or remove tlsSecretName",
            field_path=".tlsSecretName",
        ),
        Rule(
            "!(self.dashboard && (has(self.clusterRef) || has(self.schedulerAddress)))",
            lambda self: not (self.dashboard and self.attaches),
            "dashboard is true, and the cluster is external, so its owner decides on its dashboard: remove dashboard, "
            'or use backend "native" or "operator"',
            field_path=".dashboard",
        ),
        Rule(
            "!(has(self.workerOptions) && (has(self.clusterRef) || has(self.schedulerAddress)))",
            lambda self: not (self.worker_options and self.attaches),
            "workerOptions are flags of workers that the job starts, and those of clusterRef and schedulerAddress are "
            'already running: remove workerOptions, or use backend "native" or "operator"',
            field_path=".workerOptions",
        ),
    )

    @property
    def attaches(self) -> bool:
        """Whether the cluster is an external one."""
        return self.cluster_ref is not None or self.scheduler_address is not None
