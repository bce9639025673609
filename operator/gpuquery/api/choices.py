"""What can be chosen: execution models, cluster shapes, RAPIDS releases, and when the preflight runs."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


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

    @property
    def cluster(self) -> ClusterChoice:
        """The cluster shape that it means."""
        return ClusterChoice.SINGLE if self is SchedulerChoice.SYNCHRONOUS else ClusterChoice.DISTRIBUTED


class Dialect(StrEnum):
    """Dialects of SQL that a query may be written in."""

    DUCKDB = "duckdb"
    POSTGRES = "postgres"
    SPARK = "spark"
    TRINO = "trino"
    SNOWFLAKE = "snowflake"
    BIGQUERY = "bigquery"
    REDSHIFT = "redshift"
    POLARS = "polars"
    """Polars' own SQL, as the only one there was before the others; deprecated."""


class ReleaseChoice(StrEnum):
    """RAPIDS releases, oldest first: those of the release table, which a test compares."""

    R25_08 = "25.08"
    R25_10 = "25.10"
    R25_12 = "25.12"
    R26_02 = "26.02"
    R26_04 = "26.04"
    R26_06 = "26.06"
    R26_08 = "26.08"
    R26_10 = "26.10"


RUN_BY: Mapping[EngineChoice, tuple[ReleaseChoice, ...]] = {
    EngineChoice.TASKS: tuple(r for r in ReleaseChoice if r <= ReleaseChoice.R26_04),
    EngineChoice.RAPIDSMPF: tuple(r for r in ReleaseChoice if r >= ReleaseChoice.R26_04),
}
"""Releases that run a GPU engine with a right result on some cluster shape. A part of the release table that the API
server checks too, so it stands here; a test holds the two equal. Where a release runs several engines, `auto` means the
one that stands first."""
GPU_ENGINES = tuple(RUN_BY)
"""All engines but the one that needs no GPU."""


class NetworkChoice(StrEnum):
    """How ranks exchange rows between pods."""

    AUTO = "auto"
    """What UCX finds."""
    TCP = "tcp"
    """TCP between pods, NVLink or shared memory within one."""
    RDMA = "rdma"
    """InfiniBand or RoCE between pods."""


class PreflightChoice(StrEnum):
    """When the query is checked in a pod without GPU before GPUs are asked for."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"
