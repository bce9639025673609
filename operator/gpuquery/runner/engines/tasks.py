"""The engine `tasks` of RAPIDS 25.08 to 26.04: cudf-polars' streaming engine by task graphs, on one GPU, or on the
workers of a Dask cluster.

Which executor options stand for that differs by release and is the table's.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from gpuquery.api.reasons import Failure
from gpuquery.plan.releases import Way
from gpuquery.runner.engines.gpu import GpuEngine, cell, gpu_engine
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output.parts import Parts

if TYPE_CHECKING:
    import polars as pl

    from gpuquery.plan.plan import Plan
    from gpuquery.runner.engines import Ranks, Writes


class TasksEngine(GpuEngine):
    """One GPU with Polars' `GPUEngine`, or a Dask cluster with one client."""

    name = "tasks"
    packages = ("cudf_polars",)
    on_dask = (Way.DASK,)

    def _meet(self, plan: Plan, ranks: Ranks) -> None:
        way = cell(plan).way
        if way is not Way.GPU_ENGINE or ranks.size > 1:
            raise JobError(
                Failure.INVALID_PLAN,
                f'engine "{self.name}" on {ranks.size} processes with cluster {plan.cluster} and RAPIDS release '
                f'"{plan.release}" {"needs a Dask cluster, of which the plan says nothing" if way else "cannot run"}: '
                "use the runtime image of the operator's own version",
            )

    def _run(self, frame: pl.LazyFrame, sink: Writes) -> None:
        folder = sink.scratch() / "result"
        parts = Parts(folder, sink)
        parts.start()
        self._write(frame, str(folder))
        parts.finish()

    def _execute(self, client: Any, frame: pl.LazyFrame, folder: str) -> None:
        method = self._plan.executor_options.get("shuffle_method")
        if method == "rapidsmpf" or (method is None and importlib.util.find_spec("rapidsmpf") is not None):
            assert self._query is not None
            self._query.bootstrap(client)
        self._write(frame, folder)

    def _write(self, frame: pl.LazyFrame, folder: str) -> None:
        frame.sink_parquet(folder, engine=gpu_engine(self._plan), compression=self._plan.output.compression.value)
