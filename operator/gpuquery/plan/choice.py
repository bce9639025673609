"""The choice for a job, shared by the modules that make it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpuquery.api.choices import ClusterChoice, EngineChoice


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The choice."""

    engine: EngineChoice
    cluster: ClusterChoice
    release: str = ""
    """RAPIDS release; empty if the engine `cpu` needs none."""
    replicas: int = 1
    gpus: int = 0
    workers: int = 0
    """Dask workers, one for each GPU, if they are not in these pods."""
    why: str
    sizing: str | None = None
    default_changes: str | None = None
