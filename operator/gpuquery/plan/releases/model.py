"""The types of the table of RAPIDS releases."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from gpuquery.api import choices
from gpuquery.api.choices import ClusterChoice, EngineChoice

if TYPE_CHECKING:
    from collections.abc import Mapping

GPU_ENGINES = frozenset(choices.GPU_ENGINES)
CLUSTERS = frozenset({ClusterChoice.SINGLE, ClusterChoice.DISTRIBUTED})


class Way(StrEnum):
    """How the processes of a cluster are driven."""

    POLARS = "Polars"
    """One process with Polars' own streaming engine; no GPU."""
    GPU_ENGINE = "GPUEngine"
    """One process; Polars' `collect` and `sink_*` with `pl.GPUEngine`."""
    DASK = "Dask"
    """A Dask cluster of GPU workers with one client."""
    SPMD = "SPMD"
    """One rank for each GPU, which all run the same query; on a single GPU, one rank."""


class OptionKind(StrEnum):
    """Type of an option's value."""

    BYTES = "bytes"
    """A whole number of bytes, or a text such as 1.5GB or 512MiB."""
    COUNT = "count"
    FRACTION = "fraction"
    """A number from 0 to 1."""
    BOOLEAN = "boolean"
    CHOICE = "choice"
    MAPPING = "mapping"


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A value that an option does not accept with some engine on some cluster."""

    value: Any
    because: str
    """The error and, after a colon, the way out."""
    engines: frozenset[EngineChoice] = GPU_ENGINES
    clusters: frozenset[ClusterChoice] = CLUSTERS


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option of the streaming executor, as one release knows it."""

    name: str
    kind: OptionKind
    default: Any = None
    """None if it depends on the GPU or on other options; `about` says how. Of a mapping that can be turned off: true or
    false; its values have their own defaults."""
    least: float | None = None
    most: float | None = None
    above: float | None = None
    """Values must be greater than this."""
    choices: tuple[str, ...] = ()
    engines: frozenset[EngineChoice] = GPU_ENGINES
    clusters: frozenset[ClusterChoice] = CLUSTERS
    about: str = ""
    """What it does, in one sentence."""
    fields: Mapping[str, Option] = field(default_factory=dict)
    """Values of a mapping, by key; `*` stands for any key."""
    can_be_off: bool = False
    """A mapping that `false` (or null) turns off, as None in the release."""
    bare: bool = False
    """A mapping for which one bare value stands for all its fields."""
    nullable: bool = False
    """Whether null means the default."""
    refusals: tuple[Refusal, ...] = ()
    instead: str = ""
    """Not empty: the release accepts the option but ignores it; this is what to do instead."""
    unchecked: bool = False
    """The release accepts values of a wrong type, and fails later or does something else."""
    any_text_is_true: bool = False
    """The release reads every text in the environment as true, even `0`."""


@dataclass(frozen=True, kw_only=True)
class Partitions:
    """Default bytes of a partition (`cudf_polars/utils/config.py`)."""

    share: float
    """Share of a GPU's memory, if a cell does not have its own."""
    least: int | None
    """Minimum bytes; None if the release has none."""
    most: int
    """Maximum bytes."""


@dataclass(frozen=True, kw_only=True)
class DaskFacts:
    """How its Dask-CUDA and UCXX differ from those of other releases."""

    protocol: str = "ucx"
    """Scheme of UCXX addresses. distributed-ucxx of 25.08 registers only ucxx://; from 25.10 on it is ucx://, and
    ucxx:// is the old name."""
    without: frozenset[str] = frozenset()
    """Flags of `dask cuda worker` that other releases have and this one lacks."""
    own_resource: bool = False
    """Whether DaskEngine runs the query. It gives each worker its own memory resource (`cudf_polars/engine/dask.py`,
    rmm.mr.set_current_device_resource), and a pool would be reserved in addition. Otherwise the query uses the worker's
    resource, and without one each allocation goes to the driver."""


@dataclass(frozen=True, kw_only=True)
class SqlOnGpus:
    """How its cudf-polars runs the expressions and plans of SQL."""

    full_groups: bool
    """Whether it supports the same as 26.10 within groups and partitions: an order, a shift, a product, and a count of
    distinct values without NULLs."""
    sorts: bool
    """Whether engine rapidsmpf splits a sort among partitions."""
    windows: bool
    """Whether windows with PARTITION BY are split among them."""
    aggregates: frozenset[str]
    """Aggregate functions that are computed in parts, one for each partition."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One engine on one cluster shape in one release."""

    way: Way | None
    """None: it cannot run, or not with a right result; `because` says why."""
    because: str = ""
    replicated_safe: bool = True
    """Whether a result that every rank holds in full (a global aggregate) is written once."""
    options: Mapping[str, Any] | None = None
    """Executor options that select this cell in the release; None if an engine class does."""
    collects: bool = True
    """Whether the release can return a result at all (`collect`)."""
    sinks: bool = True
    """Whether the release can write a result itself, as files in a folder."""
    packages: tuple[str, ...] = ()
    """Packages that a cell needs in addition to cudf-polars and Dask, without their CUDA suffixes. cudf-polars itself
    requires rapidsmpf only from 26.06 on."""
    partition_share: float | None = None
    """Share of a GPU's memory for a partition; None: that of the release."""
    unverified: str = ""
    """The part of this cell that only a GPU can verify."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """One RAPIDS release."""

    name: str
    """Such as 26.10."""
    version: str
    """Version of cudf-polars that was checked."""
    polars: str
    """Range of Polars versions that it accepts."""
    cuda: tuple[int, ...]
    """CUDA major versions with wheels."""
    python: tuple[str, str]
    """First and last Python version with wheels."""
    cells: Mapping[tuple[EngineChoice, ClusterChoice], Cell]
    options: Mapping[str, Option]
    partitions: Partitions
    dask: DaskFacts
    sql: SqlOnGpus
    defects: tuple[str, ...] = ()
    """Known defects, with upstream references."""
    pins: Mapping[str, str] = field(default_factory=dict)
    """Versions of the other packages of the release, by distribution without its CUDA suffix."""
    undeclared: tuple[str, ...] = ()
    """Packages that it needs but does not require, which an image must add."""
    sql_unlike: str = ""
    """How it silently deviates from SQL on GPUs; empty: no known deviation."""
    takes_ca: bool = True
    """Whether its GPU readers take certificate authorities from the environment; KvikIO of others looks only where its
    libcurl was built to look (rapidsai/kvikio#817)."""
    words: Mapping[str, str] = field(default_factory=dict)
    """Its names of concepts: `engine` and `cluster` are executor options, `package`, `SPMD` and `Dask` are Python
    names. Concepts that it lacks are left out."""

    def runs(self, engine: EngineChoice, cluster: ClusterChoice) -> bool:
        """Whether it runs an engine on a cluster shape with a right result."""
        cell = self.cells.get((engine, cluster))
        return cell is not None and cell.way is not None

    def writes_once(self, engine: EngineChoice, cluster: ClusterChoice) -> bool:
        """Whether it runs an engine on a cluster shape and writes a replicated result only once."""
        cell = self.cells.get((engine, cluster))
        return cell is not None and cell.way is not None and cell.replicated_safe
