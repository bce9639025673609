"""Engines: what can run a lazy plan, found by the entry point group `gpuquery.engines`.

An image has the engines that are installed in it; the plan names one. Another distribution can bring its own: it is
found by its entry point, and nothing here knows its name.
"""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Protocol, cast

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import polars as pl

    from gpuquery.plan.plan import Plan

GROUP = "gpuquery.engines"
OWN = "gpuquery"
"""The distribution whose engines give way to others of the same name."""


class Writes(Protocol):
    """The part of the sink that an engine uses."""

    def write(self, lf: pl.LazyFrame, /) -> None:
        """Run the plan on Polars' own engine and stage its rows."""
        ...

    def scratch(self) -> Path:
        """Return an empty folder on this pod's scratch volume, for parquet files under way."""
        ...

    def add(self, file: Path, /) -> None:
        """Stage the rows of a whole parquet file in `scratch()`, and remove it when its bytes are in the store. May be
        called while the engine writes the next ones; waits when too much is under way."""
        ...


class Ranks(Protocol):
    """The processes that run one query together, as one of them sees them."""

    index: int
    """Number of this process, from 0: pods in the order of their index, the GPUs of one pod side by side. It decides
    who commits and what files are called; a communicator may number its ranks in another order."""
    size: int
    """How many there are."""

    def gate(self, name: str, value: Any = None, *, seconds: float) -> Sequence[Any]:
        """Wait until every process has come to the gate of this name; returns their values (JSON), by index.

        Each name serves once. Raises JobError(RankStalled) that names who is missing after `seconds`. If any process
        fails meanwhile, the supervisor ends this one; the call does not return.
        """
        ...

    def note(self, **facts: Any) -> None:
        """Tell facts (JSON) about this process for progress and the final report: `rank=3, gpu="GPU-..."`."""
        ...

    def advance(self) -> None:
        """Tell that this process has come further: it works, and does not only wait. What goes to the sink tells so by
        itself. When no process has for `stallSeconds` of the plan, the attempt ends with RankStalled."""
        ...


class Alone:
    """The only process."""

    index = 0
    size = 1

    def gate(self, name: str, value: Any = None, *, seconds: float) -> Sequence[Any]:
        """Return at once."""
        return [value]

    def note(self, **facts: Any) -> None:
        """Tell nobody."""

    def advance(self) -> None:
        """Tell nobody."""


class Engine(Protocol):
    """Runs a lazy plan on this pod's hardware."""

    name: str

    def join(self, plan: Plan, ranks: Ranks) -> None:
        """Meet the other ranks: when it returns, all of them can exchange rows. Called once, before `run`, in the same
        thread. Raises JobError."""
        ...

    def run(self, frame: pl.LazyFrame, sink: Writes) -> None:
        """Execute the plan and hand its rows to the sink; raises what Polars raises.

        Every rank hands over its own share; together they are the result, with no row twice.
        """
        ...


def find(name: str) -> Engine:
    """Return the engine of that name; one that another distribution brings goes before GpuQuery's own.

    Raises JobError(InvalidPlan) that names what this image has, or the distributions that bring it twice.
    """
    installed: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=GROUP):
        installed.setdefault(point.name, []).append(point)
    if name not in installed:
        raise JobError(
            Failure.INVALID_PLAN,
            f'engine "{name}" is not in this image (it has: {", ".join(sorted(installed)) or "none"}): '
            "choose another engine or another runtime.image",
        )
    own = [point for point in installed[name] if _distribution(point) == OWN]
    # One distribution may be found on two paths.
    foreign = {_distribution(point): point for point in installed[name] if _distribution(point) != OWN}
    if len(foreign) > 1:
        raise JobError(
            Failure.INVALID_PLAN,
            f'engine "{name}" is brought by {" and by ".join(sorted(foreign))}, and only one of them can run: remove '
            "the others from runtime.image",
        )
    chosen = next(iter(foreign.values())) if foreign else own[0]
    return cast("Engine", chosen.load()())


def _distribution(point: EntryPoint) -> str:
    return re.sub(r"[-_.]+", "-", point.dist.name).lower() if point.dist is not None else "?"
