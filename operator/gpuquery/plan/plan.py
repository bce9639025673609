"""The resolved plan: everything that a pod of an attempt must know, in one versioned JSON document.

The operator writes it once, into the attempt's ConfigMap. The runner decides nothing, and refuses a version that it
does not know. The plan has no secrets: pods get credentials as variables, and certificates as files, from the job's
Secrets.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from gpuquery.api.choices import ClusterChoice, Dialect, EngineChoice, NetworkChoice
from gpuquery.api.output import Output
from gpuquery.api.pods import AzStorage, GsStorage
from gpuquery.api.reuse import Reuse
from gpuquery.api.schema import Model
from gpuquery.api.spec import Input, Parameter
from gpuquery.api.timing import LEAST_SILENCE_SECONDS

PLAN_VERSION: Literal[1] = 1
DEFAULT_REGION = "us-east-1"
"""For S3 servers other than AWS: they ignore the region, but signatures need one."""


class Language(StrEnum):
    """Language of the query's text."""

    SQL = "sql"
    PYTHON = "python"


class Purpose(StrEnum):
    """What the pod is for."""

    QUERY = "query"
    """Run the query and commit its result."""
    PREFLIGHT = "preflight"
    """Check everything that can be checked without a GPU, report it, and end."""


class Processes(StrEnum):
    """Which processes an attempt runs."""

    ONE = "one"
    """One process in one pod runs the query."""
    RANKS = "ranks"
    """One process for each GPU of each pod; all run the same query and exchange rows."""
    PODS = "pods"
    """One process in each pod, which runs the pod's part of a Dask cluster; the process of index 0 is the client."""


class DaskWay(StrEnum):
    """Who owns the Dask cluster that runs the query."""

    NATIVE = "native"
    """The attempt's own pods: index 0 runs the scheduler and the client, every pod workers for its GPUs."""
    OPERATOR = "operator"
    """A DaskCluster of this attempt, which dask-kubernetes creates; the attempt's only pod is the client."""
    ATTACH = "attach"
    """An external cluster; the attempt's only pod is the client."""


class Dask(Model):
    """The Dask cluster of a plan whose engine runs on one."""

    way: DaskWay = DaskWay.NATIVE
    """Its owner."""
    workers: int
    """Dask workers that must join before the query starts, one for each GPU; with `attach` the minimum."""
    protocol: str = "ucx"
    """Protocol between workers and scheduler: ucx, ucxx (25.08 only), tcp or tls."""
    scheduler: str = ""
    """Address of the scheduler, such as ucx://q1-scheduler.ns.svc:8786; empty with `native`."""
    tls_secret: str | None = None
    """Name of the Secret with the client's certificates, mounted at TLS_DIRECTORY; None: those of its image, if any.
    Only with `attach`."""
    dashboard: bool = False
    """Whether the scheduler serves its dashboard on port 8787; only with `native`."""
    options: Mapping[str, Any] = {}
    """Flags of `dask cuda worker` by their names without leading dashes, complete and valid for the release:
    `{"rmm-pool-size": "0.8", "device-memory-limit": "0.8"}`; with `native` and `operator`."""


Network = NetworkChoice
"""How ranks exchange rows between pods: the value of `spec.network`."""


class JobRef(Model):
    """Which job the plan belongs to."""

    namespace: str
    """Its namespace."""
    name: str
    """Its name."""
    uid: str
    """Its UID: the key of its one commit."""


class StoreAccess(Model):
    """Where the stores and the catalogs are. No credentials.

    What is not set is left out of the plan, so a job that reads `s3://` alone has the plan that it always had.
    """

    endpoint: str | None = None
    """URL of an S3 server other than AWS."""
    region: str | None = None
    """Region of the buckets of S3."""
    path_style: bool = False
    """Whether the bucket of S3 is in the path."""
    requester_pays: bool | None = None
    """Whether requests to S3 say that whoever sends them pays."""
    sse_kms_key_id: str | None = None
    """The key by which S3 encrypts what is written."""
    gs: GsStorage | None = None
    """Only for `gs://`."""
    az: AzStorage | None = None
    """Only for `az://` and `abfss://`."""
    allow_http: bool | None = None
    """Whether inputs may be `http://`."""
    catalogs: Mapping[str, Mapping[str, str]] | None = None
    """Options of the job's catalogs that the administrator has declared, by name."""


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
    """How ranks exchange rows; unused with one process."""
    heartbeat_seconds: float = LEAST_SILENCE_SECONDS
    """Heartbeat timeout in seconds, after which a rank or a pod of ranks counts as dead."""
    stall_seconds: float = 0
    """Seconds after which a query without progress in any process counts as hung; 0: never."""
    image: str | None = None
    """Image of its pods, as their template names it; None outside of Kubernetes."""
    release: str = ""
    """RAPIDS release that the image must have, such as 26.10; empty with the engine cpu, unless the job names one."""
    purpose: Purpose = Purpose.QUERY
    """Whether the pod runs the query, or only checks it."""
    executor_options: Mapping[str, Any] = {}
    """Options of the engine, complete and valid for the release, under the release's own names."""
    asked_options: Mapping[str, Any] | None = None
    """Those that the job names itself, for its receipt."""
    gpu_memory: int = 0
    """Bytes of memory of one GPU, for estimates; 0 with the engine cpu."""
    language: Language
    """Language of the query."""
    query: str
    """Text of the query."""
    dialect: Dialect = Dialect.POLARS
    """SQL dialect of the text; unused with Python. A plan without it was made when Polars' was the only one."""
    now: datetime | None = None
    """Value of `now()` and `current_date` in SQL: the creation time of the job, so the same for its preflight, all
    attempts and all ranks. None in a plan of Polars' SQL, which has neither."""
    inputs: tuple[Input, ...] = ()
    """Tables that it can read; `format` is never `auto` here."""
    snapshots: Mapping[str, str] = {}
    """Snapshots of tables that the preflight or an earlier attempt has chosen, by name of the input."""
    inputs_digest: str | None = None
    """SHA-256 of the resolved inputs that the preflight has left in the output's store; None: they are not there."""
    leaves_inputs: bool | None = None
    """Whether this preflight leaves them: an attempt follows it."""
    parameters: Mapping[str, Parameter] = {}
    """Values to bind."""
    output: Output
    """Where the result goes."""
    reuse: Reuse | None = None
    """When an earlier commit counts as the result; None: never."""
    store: StoreAccess = StoreAccess()
    """Where the object store is."""
    dask: Dask | None = None
    """The Dask cluster that runs the query; None without Dask."""

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
