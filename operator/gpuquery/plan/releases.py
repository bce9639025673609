"""What each RAPIDS release can do: data, and the questions that are asked of it.

A combination of engine and cluster that a release accepts but runs wrongly (on one GPU, or with rows written twice) is
no cell of ours: the table says what gives right results, not what raises no error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gpuquery.api.choices import ClusterChoice, EngineChoice


class Way(StrEnum):
    """How the processes of a cluster are driven."""

    GPU_ENGINE = "GPUEngine"
    """One process; Polars' `collect` and `sink_*` with `pl.GPUEngine`."""
    DASK = "Dask"
    """A Dask cluster of GPU workers with one client."""
    SPMD = "SPMD"
    """One rank for each GPU, which all run the same query."""


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
class Option:
    """One option of the streaming executor, as one release knows it."""

    name: str
    kind: OptionKind
    default: Any = None
    """None where it depends on the GPU or on other options; `about` says how."""
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()
    engines: frozenset[EngineChoice] = frozenset({EngineChoice.TASKS, EngineChoice.RAPIDSMPF})
    clusters: frozenset[ClusterChoice] = frozenset({ClusterChoice.SINGLE, ClusterChoice.DISTRIBUTED})
    about: str = ""
    """What it does, in one sentence."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One engine on one cluster shape in one release."""

    way: Way | None
    """None: it cannot be run, or not with a right result; `because` says why."""
    because: str = ""
    replicated_safe: bool = True
    """Whether a result that every rank holds in full (a global aggregate) is written once."""
    options: Mapping[str, Any] | None = None
    """Executor options by which the release is told to run this cell; None where they are an engine class."""


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
    defects: tuple[str, ...] = ()
    """What is known to go wrong in it, with the upstream reference."""


RELEASES: Mapping[str, Release] = {}
"""Every release that is known, oldest first."""
