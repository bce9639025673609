"""What can be chosen: execution models, cluster shapes, RAPIDS releases, and when the preflight runs."""

from __future__ import annotations

from enum import StrEnum

from gpuquery.api.engines import GPU_ENGINES, RUN_BY, EngineChoice, ReleaseChoice

__all__ = [
    "GPU_ENGINES",
    "RUN_BY",
    "ClusterChoice",
    "Dialect",
    "EngineChoice",
    "NetworkChoice",
    "PreflightChoice",
    "ReleaseChoice",
    "SchedulerChoice",
]


class ClusterChoice(StrEnum):
    """Cluster shapes."""

    AUTO = "auto"
    SINGLE = "single"
    DISTRIBUTED = "distributed"


class SchedulerChoice(StrEnum):
    """Cluster shapes under their old names."""

    SYNCHRONOUS = "synchronous"
    DISTRIBUTED = "distributed"

    @property
    def cluster(self) -> ClusterChoice:
        """The same cluster shape."""
        return ClusterChoice.SINGLE if self is SchedulerChoice.SYNCHRONOUS else ClusterChoice.DISTRIBUTED


class Dialect(StrEnum):
    """SQL dialects of queries."""

    DUCKDB = "duckdb"
    POSTGRES = "postgres"
    SPARK = "spark"
    TRINO = "trino"
    SNOWFLAKE = "snowflake"
    BIGQUERY = "bigquery"
    REDSHIFT = "redshift"
    POLARS = "polars"
    """Polars' own SQL, the only one before the others; deprecated."""


class NetworkChoice(StrEnum):
    """How ranks exchange rows between pods."""

    AUTO = "auto"
    """What UCX finds."""
    TCP = "tcp"
    """TCP between pods, NVLink or shared memory within one."""
    RDMA = "rdma"
    """InfiniBand or RoCE between pods."""


class PreflightChoice(StrEnum):
    """When the query is checked in a pod without a GPU before GPUs are requested."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"
