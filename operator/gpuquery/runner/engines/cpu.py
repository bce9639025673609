"""The `cpu` engine: Polars' own streaming engine, in this one process."""

from __future__ import annotations

import polars as pl

from gpuquery.runner.engines import Writes


class CpuEngine:
    """Polars' streaming engine; the sink runs the plan as it writes, so nothing is held but what is in flight."""

    name = "cpu"

    def run(self, frame: pl.LazyFrame, sink: Writes) -> None:
        """Execute the plan while it is written."""
        sink.write(frame)
