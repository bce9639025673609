"""Namespaces: their annotations. Those of finished jobs, which come by thousands, they may be half a minute old."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gpuquery.kube.client import Resource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gpuquery.api.types import GpuQueryJob
    from gpuquery.kube.client import KubeClient

GOOD_FOR_SECONDS = 30.0


@dataclass
class Namespaces:
    """Annotations of namespaces, and when they were read."""

    clock: Callable[[], float] = time.monotonic
    _known: dict[str, tuple[float, Mapping[str, str]]] = field(default_factory=dict)

    async def fresh(self, client: KubeClient, job: GpuQueryJob) -> Mapping[str, str]:
        """Read the annotations of a job's namespace.

        An error ends the look: they may forbid what the operator's own defaults allow.
        """
        namespace = await client.get(Resource.NAMESPACES, "", job.metadata.namespace, metadata_only=True)
        found: Mapping[str, str] = (namespace or {}).get("metadata", {}).get("annotations") or {}
        self._known[job.metadata.namespace] = self.clock(), found
        return found

    async def recent(self, client: KubeClient, job: GpuQueryJob) -> Mapping[str, str]:
        """Return them as they were a short while ago."""
        read, found = self._known.get(job.metadata.namespace, (float("-inf"), {}))
        return found if self.clock() - read < GOOD_FOR_SECONDS else await self.fresh(client, job)
