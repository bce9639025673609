"""Settings of the operator's process, from environment variables that the Helm chart sets.

The variable of a field is `GPUQUERY_` and its name in capitals: `GPUQUERY_RUNTIME_IMAGE`. Lists are separated by
commas, resources are JSON, an empty variable counts as not set.
"""

from __future__ import annotations

import os
import socket
from ipaddress import ip_network
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, Json, field_validator

from gpuquery.api import catalogs, quantity
from gpuquery.api.choices import ClusterChoice, EngineChoice, ReleaseChoice
from gpuquery.api.pods import Resources
from gpuquery.api.timing import LEAST_SILENCE_SECONDS, MOST_SILENCE_SECONDS
from gpuquery.plan import devices
from gpuquery.plan.defaults import Defaults, checked_pattern
from gpuquery.plan.maxima import Maxima
from gpuquery.plan.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "GPUQUERY_"
LISTS = {"namespaces", "runtime_image_pull_secrets", "storage_ports", "closed_addresses", "scrape_namespaces"}


class Settings(BaseModel):
    """What the administrator sets."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    runtime_image: str = Defaults().runtime_image
    """Image of the engine `cpu`, for jobs that name none."""
    runtime_images: dict[ReleaseChoice, str] | Json[dict[ReleaseChoice, str]] = {}
    """Images by RAPIDS release: JSON such as {"26.10": "registry/gpuquery-runtime-26.10-cu12:1.0"}."""
    runtime_image_pattern: str = ""
    """Image of all other RAPIDS releases, with {release} in it."""
    runtime_image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """Pull policy of jobs that set none."""
    runtime_image_pull_secrets: tuple[str, ...] = ()
    """Pull secrets, in the jobs' namespaces, for the runtime image."""
    runtime_priority_class: str | None = None
    """PriorityClass of the pods of jobs that name none."""
    default_resources: Resources | Json[Resources] = Defaults().resources
    """Resources of the pods, for each resource that a job does not name: JSON with requests and limits."""
    preflight_resources: Resources | Json[Resources] = Defaults().preflight_resources
    """Resources of the pods that check queries without a GPU: JSON with requests and limits."""
    scratch_size: str = Defaults().scratch_size
    """Size of the scratch volume of jobs that limit no ephemeral-storage."""
    default_engine: EngineChoice = EngineChoice.AUTO
    """Engine of jobs that leave it open."""
    default_cluster: ClusterChoice = ClusterChoice.AUTO
    """Cluster shape of jobs that leave it open."""
    default_release: ReleaseChoice | None = None
    """RAPIDS release of jobs that leave it open; the newest one that is known, if not set."""
    rapidsmpf_percentage: int = Field(default=0, ge=0, le=100)
    """How many of 100 jobs that leave the engine open, and could run on tasks as well, get rapidsmpf."""
    gpu_resource: str = Field(default=Defaults().gpu_resource, pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$")
    """Extended resource by which pods ask for GPUs."""
    gpu_memory: str = Field(default="80Gi", pattern=quantity.PATTERN)
    """Memory of one GPU, for estimates."""
    default_gpus: int = Field(default=1, ge=1, le=16)
    """GPUs in each pod of a distributed job that does not say how many."""
    max_replicas: int = Field(default=Defaults().max_replicas, ge=1, le=9999)
    """Most pods that are chosen for a job with workers.replicas: auto."""
    shared_memory: str = Field(default=Defaults().shared_memory, pattern=quantity.PATTERN)
    """Size of /dev/shm for each GPU of a distributed job's pod; at most half of the memory limit is used."""
    heartbeat_seconds: float = Field(
        default=Defaults().heartbeat_seconds, ge=LEAST_SILENCE_SECONDS, le=MOST_SILENCE_SECONDS
    )
    """Seconds of silence after which a process or a pod of a set is taken for dead."""
    stall_seconds: float = Field(default=Defaults().stall_seconds, ge=0)
    """Seconds after which a set of ranks is taken for hung if none of them makes progress; 0: never."""
    rdma_resource: str = Field(default="", pattern=r"^([a-z0-9.-]+/[A-Za-z0-9._-]+)?$")
    """Extended resource by which pods get RDMA devices; without it no job may say network: rdma."""
    rdma_count: int = Field(default=1, ge=1, le=64)
    """How many of it each pod gets."""
    limits: Maxima | Json[Maxima] = Maxima()
    """What a job and a namespace may have at most: JSON such as {"podsPerJob": 256}."""
    network_policies: bool = True
    """Whether each job gets a NetworkPolicy for its pods."""
    storage_ports: tuple[Annotated[int, Field(ge=1, le=65535)], ...] = ()
    """TCP ports on which its pods reach other hosts, beside 80, 443 and that of the job's endpoint."""
    closed_addresses: tuple[str, ...] = ()
    """Blocks of addresses that they do not reach, such as 10.0.0.0/24, beside metadata services."""
    scrape_namespaces: tuple[str, ...] = ()
    """Namespaces whose pods may read its metrics."""
    node_metadata: bool = False
    """Whether pods may ask the metadata service of their node, and so have the node's role."""
    catalogs: dict[str, dict[str, str]] | Json[dict[str, dict[str, str]]] = {}
    """Table catalogs by name: JSON such as {"lake": {"uri": "https://catalog", "warehouse": "prod"}}."""
    policy: Policy | Json[Policy] = Policy()
    """What jobs may ask for: JSON with the Helm values below `policy`."""
    dask_operator: bool = False
    """Whether jobs may say dask.backend: operator, for which dask-kubernetes has to be installed."""
    dask_attach: bool = False
    """Whether jobs may name a DaskCluster in dask.clusterRef."""
    namespaces: tuple[str, ...] = ()
    """Namespaces that are watched; none means all."""
    workers: int = Field(default=16, ge=1, le=256)
    """Jobs that are worked on at the same time."""
    resync_seconds: float = Field(default=120, gt=0)
    """How often all jobs are looked at, whether or not an event came."""
    leader_election: bool = True
    """Whether a Lease keeps a second operator waiting. Off only for development."""
    lease_name: str = "gpuquery-operator"
    """Name of the Lease."""
    lease_namespace: str = "default"
    """Namespace of the Lease: the operator's own."""
    identity: str = Field(default_factory=socket.gethostname)
    """Who holds the Lease: the pod's name."""
    context: str | None = None
    """Context of the kubeconfig, outside a cluster."""
    host: str = "0.0.0.0"  # noqa: S104 (a pod's probes come from the kubelet)
    """Address on which probes and metrics are served."""
    probe_port: int = 8080
    """Port of /healthz and /readyz; 0 takes any free one."""
    metrics_port: int = 9090
    """Port of /metrics; 0 takes any free one."""
    log_format: Literal["plain", "json"] = "plain"
    """Form of the log lines."""
    log_level: Literal["debug", "info", "warning"] = "info"
    """Least severity that is logged."""

    @field_validator("runtime_image_pattern")
    @classmethod
    def _has_a_place_for_the_release(cls, pattern: str) -> str:
        return checked_pattern(pattern)

    @field_validator("default_resources", "preflight_resources")
    @classmethod
    def _is_for_pods_without_devices(cls, resources: Resources) -> Resources:
        if strange := devices.strangers({*resources.requests, *resources.limits}):
            raise ValueError(f"{', '.join(strange)} would go to every pod, those on the CPU too: remove it")
        return resources

    @field_validator("catalogs")
    @classmethod
    def _are_catalogs(cls, declared: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
        catalogs.checked(declared)
        return declared

    @field_validator("closed_addresses")
    @classmethod
    def _are_blocks(cls, blocks: tuple[str, ...]) -> tuple[str, ...]:
        for block in blocks:
            if not ip_network(block).prefixlen:
                raise ValueError(f"{block} is every address there is")
        return blocks

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read the settings; an unknown GPUQUERY_ variable is left to others, a bad value is an error."""
        found: dict[str, Any] = {}
        for field in cls.model_fields:
            value = environment.get(PREFIX + field.upper(), "").strip()
            if value:
                found[field] = tuple(filter(None, (v.strip() for v in value.split(",")))) if field in LISTS else value
        return cls.model_validate(found)

    @property
    def defaults(self) -> Defaults:
        """Return the part that jobs are resolved with."""
        return Defaults(
            runtime_image=self.runtime_image,
            runtime_images=dict(self.runtime_images),
            runtime_image_pattern=self.runtime_image_pattern,
            image_pull_policy=self.runtime_image_pull_policy,
            image_pull_secrets=self.runtime_image_pull_secrets,
            resources=self.default_resources,
            preflight_resources=self.preflight_resources,
            scratch_size=self.scratch_size,
            priority_class=self.runtime_priority_class,
            default_engine=self.default_engine,
            default_cluster=self.default_cluster,
            default_release=self.default_release,
            rapidsmpf_percentage=self.rapidsmpf_percentage,
            gpu_resource=self.gpu_resource,
            gpu_memory=int(quantity.amount(self.gpu_memory)),
            gpus=self.default_gpus,
            max_replicas=self.max_replicas,
            shared_memory=self.shared_memory,
            heartbeat_seconds=self.heartbeat_seconds,
            stall_seconds=self.stall_seconds,
            rdma_resource=self.rdma_resource,
            rdma_count=self.rdma_count,
            maxima=self.limits,
            network_policies=self.network_policies,
            storage_ports=self.storage_ports,
            closed_addresses=self.closed_addresses,
            scrape_namespaces=self.scrape_namespaces,
            node_metadata=self.node_metadata,
            catalogs=self.catalogs,
            policy=self.policy,
            dask_operator=self.dask_operator,
            dask_attach=self.dask_attach,
            operator_namespace=self.lease_namespace,
        )
