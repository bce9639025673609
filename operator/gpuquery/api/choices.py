"""What can be chosen: execution models, cluster shapes, and when the preflight runs."""

from __future__ import annotations

from enum import StrEnum


class EngineChoice(StrEnum):
    """Execution models."""

    AUTO = "auto"
    TASKS = "tasks"
    """Task graphs, on one GPU or on a Dask cluster."""
    RAPIDSMPF = "rapidsmpf"
    """Asynchronous coroutine networks, on one GPU or on a set of ranks."""
    CPU = "cpu"
    """Polars' own streaming engine; no GPU."""


class ClusterChoice(StrEnum):
    """Cluster shapes."""

    AUTO = "auto"
    SINGLE = "single"
    DISTRIBUTED = "distributed"


class SchedulerChoice(StrEnum):
    """Cluster shapes under their historic name."""

    SYNCHRONOUS = "synchronous"
    DISTRIBUTED = "distributed"


class PreflightChoice(StrEnum):
    """When the query is checked in a pod without GPU before GPUs are asked for."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"
