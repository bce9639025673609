"""The `cpu` engine: Polars' own streaming engine, in this one process."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

    from gpuquery.plan.plan import Plan
    from gpuquery.runner.engines import Ranks, Writes


class CpuEngine:
    """Polars' streaming engine; the sink runs the plan as it writes, so nothing is held but what is in flight."""

    name = "cpu"

    def join(self, plan: Plan, ranks: Ranks) -> None:
        """Meet nobody: it runs in one process."""

    def run(self, frame: pl.LazyFrame, sink: Writes) -> None:
        """Execute the plan while it is written."""
        sink.write(frame)
