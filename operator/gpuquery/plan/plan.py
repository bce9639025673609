"""The resolved plan: everything that a pod of an attempt has to know, in one versioned JSON document.

The operator writes it once, into the attempt's ConfigMap; the runner decides nothing and refuses a version that it does
not know. It never holds a secret: credentials reach the pods as variables, and certificates as files, of the job's
Secrets.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from gpuquery.api.choices import ClusterChoice, Dialect, EngineChoice, NetworkChoice
from gpuquery.api.schema import Model
from gpuquery.api.spec import Input, Output, Parameter
from gpuquery.api.timing import LEAST_SILENCE_SECONDS

PLAN_VERSION: Literal[1] = 1
DEFAULT_REGION = "us-east-1"
"""What S3 servers other than AWS accept; they ignore the region, but signatures need one."""


class Language(StrEnum):
    """Language of the query's text."""

    SQL = "sql"
    PYTHON = "python"


class Purpose(StrEnum):
    """What the pod is for."""

    QUERY = "query"
    """Run the query and commit its result."""
    PREFLIGHT = "preflight"
    """Check everything that can be known without a GPU, report it, and end."""


class Processes(StrEnum):
    """Which processes an attempt is made of."""

    ONE = "one"
    """One process in one pod runs the query."""
    RANKS = "ranks"
    """One process for each GPU of each pod; all run the same query and exchange rows."""
    PODS = "pods"
    """One process in each pod, which keeps the pod's part of a Dask cluster; that of index 0 is the client."""


class DaskWay(StrEnum):
    """Whose the Dask cluster is that runs the query."""

    NATIVE = "native"
    """The attempt's own pods: index 0 runs the scheduler and the client, every pod workers for its GPUs."""
    OPERATOR = "operator"
    """A DaskCluster of this attempt, which dask-kubernetes makes; the attempt's one pod is the client."""
    ATTACH = "attach"
    """Somebody else's, which is only used; the attempt's one pod is the client."""


class Dask(Model):
    """The Dask cluster of a plan whose engine runs on one."""

    way: DaskWay = DaskWay.NATIVE
    """Whose it is."""
    workers: int
    """Dask workers that must have joined before the query begins, one for each GPU; with `attach` at least so many."""
    protocol: str = "ucx"
    """How they talk with the scheduler and each other: ucx, ucxx (25.08 only), tcp or tls."""
    scheduler: str = ""
    """Address of the scheduler, such as ucx://q1-scheduler.ns.svc:8786; empty with `native`."""
    tls_secret: str | None = None
    """Name of the Secret with the client's certificates, which lie in TLS_DIRECTORY; None: those of its image, if any.
    With `attach` only."""
    dashboard: bool = False
    """Whether the scheduler serves its dashboard on port 8787; with `native` only."""
    options: Mapping[str, Any] = {}
    """Flags of `dask cuda worker` by their names without dashes in front, complete and valid for the release:
    `{"rmm-pool-size": "0.8", "device-memory-limit": "0.8"}`; with `native` and `operator`."""


Network = NetworkChoice
"""How ranks exchange rows between pods: what `spec.network` says."""


class JobRef(Model):
    """Which job the plan belongs to."""

    namespace: str
    """Its namespace."""
    name: str
    """Its name."""
    uid: str
    """Its UID: the key of its one commit."""


class StoreAccess(Model):
    """Where the object store is. No credentials."""

    endpoint: str | None = None
    """URL of an S3 server other than AWS."""
    region: str | None = None
    """Region of the buckets."""
    path_style: bool = False
    """Whether the bucket is in the path."""


class Plan(Model):
    """One attempt, resolved."""

    version: Literal[1] = PLAN_VERSION
    """Version of this document."""
    job: JobRef
    """Which job it belongs to."""
    attempt: int
    """Number of the attempt, from 1."""
    engine: EngineChoice
    """The engine, by the name of its entry point (group `gpuquery.engines`); never `auto`."""
    cluster: ClusterChoice
    """Cluster shape; never `auto`."""
    replicas: int = 1
    """Pods."""
    gpus: int = 0
    """GPUs in each pod."""
    processes: Processes = Processes.ONE
    """Which processes the pods run."""
    network: Network = Network.AUTO
    """How ranks exchange rows; of no meaning with one process."""
    heartbeat_seconds: float = LEAST_SILENCE_SECONDS
    """Seconds after which a rank, or a pod of ranks, that gives no sign of life is taken for dead."""
    stall_seconds: float = 0
    """Seconds after which a query is taken for hung none of whose processes makes progress; 0: never."""
    release: str = ""
    """RAPIDS release that the image must hold, such as 26.10; empty with the engine cpu, unless the job names one."""
    purpose: Purpose = Purpose.QUERY
    """Whether the pod runs the query, or only checks it."""
    executor_options: Mapping[str, Any] = {}
    """Options of the engine, complete and valid for the release, under the release's own names."""
    gpu_memory: int = 0
    """Bytes of memory of one GPU, for estimates; 0 with the engine cpu."""
    language: Language
    """Language of the query."""
    query: str
    """Text of the query."""
    dialect: Dialect = Dialect.POLARS
    """The SQL that the text is; of no meaning with Python. A plan that does not say it was made when Polars' was the
    only one."""
    now: datetime | None = None
    """What `now()` and `current_date` are in SQL: when the job was created, so the same for its preflight, all attempts
    and all ranks. None in a plan of Polars' SQL, which knows neither."""
    inputs: tuple[Input, ...] = ()
    """Tables that it can read; `format` is never `auto` here and `hivePartitioned` never null."""
    parameters: Mapping[str, Parameter] = {}
    """Values to bind."""
    output: Output
    """Where the result goes."""
    store: StoreAccess = StoreAccess()
    """Where the object store is."""
    dask: Dask | None = None
    """The Dask cluster that runs the query; none, where no Dask is."""

    @property
    def workers(self) -> int:
        """GPUs that run the query, wherever they are."""
        return self.dask.workers if self.dask else self.replicas * self.gpus

    @property
    def ranks(self) -> int:
        """Processes that run the query, in all pods together."""
        if self.processes is Processes.PODS:
            return self.replicas
        return self.replicas * max(1, self.gpus) if self.processes is Processes.RANKS else 1
