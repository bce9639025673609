"""The administrator's defaults for what a spec leaves open.

The operator's settings apply to all jobs, the annotations of a namespace to its jobs. The job itself wins over both;
`plan/select/request.py` has the full order.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

from gpuquery.api.choices import ClusterChoice, EngineChoice, ReleaseChoice
from gpuquery.api.pods import Resources
from gpuquery.api.timing import LEAST_SILENCE_SECONDS, MOST_SILENCE_SECONDS
from gpuquery.plan.maxima import Maxima
from gpuquery.plan.policy import Policy

RELEASE_FIELD = "{release}"
"""Placeholder for the release in `runtime_image_pattern`."""
NEWEST = max(ReleaseChoice)


def checked_pattern(pattern: str) -> str:
    """Return a pattern for images; raises ValueError if all releases would get the same image."""
    if pattern and RELEASE_FIELD not in pattern:
        raise ValueError(f"has no {RELEASE_FIELD} in it: each release has an image of its own")
    return pattern


class Defaults(BaseModel):
    """Defaults of the operator, from its environment (Helm values)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    runtime_image: str = "gpuquery-runtime:cpu"
    """Image of the engine `cpu`."""
    runtime_images: Mapping[ReleaseChoice, str] = {}
    """Images of RAPIDS releases."""
    runtime_image_pattern: str = ""
    """Image of every release that `runtime_images` does not name, with `{release}` in it; empty: none."""
    image_pull_policy: str = "IfNotPresent"
    """Pull policy of images for which the job sets none."""
    image_pull_secrets: tuple[str, ...] = ()
    """Names of Secrets, in the job's namespace, for the registry of the runtime image."""
    resources: Resources = Resources(requests={"cpu": "500m", "memory": "1Gi"}, limits={"memory": "4Gi"})
    """Resources of pods that the job does not set."""
    preflight_resources: Resources = Resources(requests={"cpu": "250m", "memory": "512Mi"}, limits={"memory": "2Gi"})
    """Resources of the preflight's own pod, whatever the job asks for: it reads footers and a few row groups."""
    scratch_size: str = "20Gi"
    """Size of the scratch volume, if the job has no limit on `ephemeral-storage`."""
    priority_class: str | None = None
    """PriorityClass of pods if the job names none."""
    default_engine: EngineChoice = EngineChoice.AUTO
    """Engine of jobs that leave it open."""
    default_cluster: ClusterChoice = ClusterChoice.AUTO
    """Cluster shape of jobs that leave it open."""
    default_release: ReleaseChoice | None = None
    """RAPIDS release of jobs that leave it open; None is the newest known."""
    rapidsmpf_percentage: int = Field(default=0, ge=0, le=100)
    """How many of 100 jobs that leave the engine open, and could run on `tasks` as well, get `rapidsmpf`."""
    gpu_resource: str = "nvidia.com/gpu"
    """Extended resource with which pods request GPUs."""
    gpu_memory: int = Field(default=80 * 2**30, gt=0)
    """Bytes of memory of one GPU, for estimates."""
    gpus: int = Field(default=1, ge=1, le=16)
    """GPUs in each pod of a distributed job that does not say how many."""
    shared_memory: str = "1Gi"
    """Size of /dev/shm for each GPU of a distributed job's pod."""
    heartbeat_seconds: float = Field(default=LEAST_SILENCE_SECONDS, ge=LEAST_SILENCE_SECONDS, le=MOST_SILENCE_SECONDS)
    """Heartbeat timeout in seconds, after which a process or a pod of a set counts as dead."""
    stall_seconds: float = Field(default=900, ge=0)
    """Seconds after which a query without progress in any process counts as hung; 0: never."""
    rdma_resource: str = ""
    """Extended resource with which pods request RDMA devices; empty: none."""
    rdma_count: int = Field(default=1, ge=1, le=64)
    """Number of RDMA devices of each pod."""
    network_policies: bool = True
    """Whether each job gets a NetworkPolicy for its pods."""
    storage_ports: tuple[int, ...] = ()
    """TCP ports of other hosts that pods may reach, in addition to 80, 443 and the port of the job's endpoint."""
    closed_addresses: tuple[str, ...] = ()
    """Address blocks that pods may not reach, in addition to metadata services."""
    scrape_namespaces: tuple[str, ...] = ()
    """Namespaces whose pods may read their metrics, in addition to the operator."""
    node_metadata: bool = False
    """Whether pods may use the metadata service of their node, and so the node's role."""
    dask_operator: bool = False
    """Whether jobs may have a DaskCluster, created by dask-kubernetes."""
    dask_attach: bool = False
    """Whether jobs may name a DaskCluster of their namespace."""
    operator_namespace: str = "default"
    """Namespace of the operator's pods; empty: all pods with their labels, in any namespace."""
    max_replicas: int = Field(default=16, ge=1, le=9999)
    """Maximum pods that the operator chooses for a job with `workers.replicas: auto`."""
    maxima: Maxima = Maxima()
    """Limits of a job and of a namespace."""
    catalogs: Mapping[str, Mapping[str, str]] = {}
    """Table catalogs that jobs may name: options by pyiceberg's names, and `secretName`."""
    policy: Policy = Policy()
    """What jobs may ask for."""
    annotations: Mapping[str, str] = {}
    """Annotations of the job's namespace."""

    def in_namespace(self, annotations: Mapping[str, str] | None) -> Defaults:
        """Return the defaults of a namespace with these annotations."""
        return self.model_copy(update={"annotations": annotations}) if annotations else self

    def image_of(self, release: str) -> str | None:
        """Return the image of a RAPIDS release, or of the engine `cpu` for none; None if there is no such image."""
        if not release:
            return self.runtime_image
        for name, image in self.runtime_images.items():
            if name == release:
                return image
        return self.runtime_image_pattern.replace(RELEASE_FIELD, release) or None
