"""What the administrator decides for all jobs: the defaults that a spec leaves open."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from gpuquery.api.pods import Resources


class Defaults(BaseModel):
    """Defaults of the operator, from its environment (Helm values)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    runtime_image: str = "gpuquery-runtime:cpu"
    """Image of the engine `cpu`."""
    image_pull_policy: str = "IfNotPresent"
    """Pull policy of images for which the job sets none."""
    image_pull_secrets: tuple[str, ...] = ()
    """Names of Secrets, in the job's namespace, for the registry of the runtime image."""
    resources: Resources = Resources(requests={"cpu": "500m", "memory": "1Gi"}, limits={"memory": "4Gi"})
    """Resources of pods, for every resource that the job does not name."""
    preflight_resources: Resources = Resources(requests={"cpu": "250m", "memory": "512Mi"}, limits={"memory": "2Gi"})
    """Resources of the preflight's own pod: it reads footers and a few row groups, whatever the job asks for."""
    scratch_size: str = "20Gi"
    """Size of the scratch volume, where the job limits no `ephemeral-storage`."""
    priority_class: str | None = None
    """PriorityClass of pods for which the job names none."""
