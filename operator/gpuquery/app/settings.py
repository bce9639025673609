"""Settings of the operator's process, from environment variables that the Helm chart sets.

The variable of a field is `GPUQUERY_` and its name in capitals: `GPUQUERY_RUNTIME_IMAGE`. Lists are separated by
commas, resources are JSON, an empty variable counts as not set.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, Json

from gpuquery.api.pods import Resources
from gpuquery.plan.defaults import Defaults

PREFIX = "GPUQUERY_"
LISTS = {"namespaces", "runtime_image_pull_secrets"}


class Settings(BaseModel):
    """What the administrator sets."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    runtime_image: str = Defaults().runtime_image
    """Image of the pods of jobs that name none."""
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
            image_pull_policy=self.runtime_image_pull_policy,
            image_pull_secrets=self.runtime_image_pull_secrets,
            resources=self.default_resources,
            preflight_resources=self.preflight_resources,
            scratch_size=self.scratch_size,
            priority_class=self.runtime_priority_class,
        )
