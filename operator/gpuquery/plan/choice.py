"""What is chosen for a job, for the modules that choose it together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpuquery.api.choices import ClusterChoice, EngineChoice


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What was chosen."""

    engine: EngineChoice
    cluster: ClusterChoice
    release: str = ""
    """RAPIDS release; empty where the engine `cpu` needs none."""
    replicas: int = 1
    gpus: int = 0
    workers: int = 0
    """Dask workers, one for each GPU, where they are not in these pods."""
    why: str
    sizing: str | None = None
    default_changes: str | None = None
