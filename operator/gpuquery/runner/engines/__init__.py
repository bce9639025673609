"""Engines: what can run a lazy plan, found by the entry point group `gpuquery.engines`.

An image has the engines that are installed in it; the plan names one. Another distribution can bring its own: it is
found by its entry point, and nothing here knows its name.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Protocol, cast

import polars as pl

from gpuquery.api.reasons import Failure
from gpuquery.runner.errors import JobError

GROUP = "gpuquery.engines"


class Writes(Protocol):
    """The part of the sink that an engine uses."""

    def write(self, lf: pl.LazyFrame, /) -> None:
        """Run the plan and stage its rows."""
        ...


class Engine(Protocol):
    """Runs a lazy plan on this pod's hardware."""

    name: str

    def run(self, frame: pl.LazyFrame, sink: Writes) -> None:
        """Execute the plan and hand its rows to the sink; raises what Polars raises."""
        ...


def find(name: str) -> Engine:
    """Return the engine of that name; raises JobError(InvalidPlan) that names what this image has."""
    installed: dict[str, EntryPoint] = {e.name: e for e in entry_points(group=GROUP)}
    if name not in installed:
        raise JobError(
            Failure.INVALID_PLAN,
            f'engine "{name}" is not in this image (it has: {", ".join(sorted(installed)) or "none"}): '
            "choose another engine or another runtime.image",
        )
    return cast(Engine, installed[name].load()())
