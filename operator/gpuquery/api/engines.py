"""Engines and releases. Generated from plan/releases/table.py by `make generate`. Do not edit."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class EngineChoice(StrEnum):
    """Execution models."""

    AUTO = "auto"
    TASKS = "tasks"
    RAPIDSMPF = "rapidsmpf"
    CPU = "cpu"


class ReleaseChoice(StrEnum):
    """RAPIDS releases, oldest first."""

    R25_08 = "25.08"
    R25_10 = "25.10"
    R25_12 = "25.12"
    R26_02 = "26.02"
    R26_04 = "26.04"
    R26_06 = "26.06"
    R26_08 = "26.08"
    R26_10 = "26.10"


RUN_BY: Mapping[EngineChoice, tuple[ReleaseChoice, ...]] = {
    EngineChoice.TASKS: (
        ReleaseChoice.R25_08,
        ReleaseChoice.R25_10,
        ReleaseChoice.R25_12,
        ReleaseChoice.R26_02,
        ReleaseChoice.R26_04,
    ),
    EngineChoice.RAPIDSMPF: (
        ReleaseChoice.R26_04,
        ReleaseChoice.R26_06,
        ReleaseChoice.R26_08,
        ReleaseChoice.R26_10,
    ),
}
"""Releases that run a GPU engine with a right result on some cluster shape, oldest first. Where a release runs several
engines, `auto` means the first of them."""
GPU_ENGINES = tuple(RUN_BY)
"""All engines but the one that needs no GPU."""
