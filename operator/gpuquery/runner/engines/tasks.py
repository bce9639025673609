"""The `tasks` engine of RAPIDS 25.08 to 26.04: cudf-polars' streaming engine by task graphs, on one GPU, or on the
workers of a Dask cluster.

Which executor options stand for that differs by release and is the table's; nothing ever falls back to the CPU
(`raise_on_fail`).
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from gpuquery.api.reasons import Failure
from gpuquery.plan.releases import Way
from gpuquery.runner.engines import Ranks, Writes, telemetry
from gpuquery.runner.engines.dask.owned import commands
from gpuquery.runner.engines.dask.query import DaskQuery, bootstrap
from gpuquery.runner.engines.gpu import cell, faults, gpu_engine
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output.parts import Parts

if TYPE_CHECKING:
    import polars as pl

    from gpuquery.plan.plan import Plan
    from gpuquery.runner.engines.dask.owned.cluster import Arguments


class TasksEngine:
    """One GPU with Polars' `GPUEngine`, or a Dask cluster with one client."""

    name = "tasks"
    arguments: Arguments = staticmethod(commands.cuda_workers)
    """Arguments of `dask` for its workers."""

    def __init__(self) -> None:
        """Raises JobError(InvalidPlan) where the package is not installed."""
        if importlib.util.find_spec("cudf_polars") is None:
            raise JobError(
                Failure.INVALID_PLAN,
                f'engine "{self.name}" needs cudf_polars, which this image lacks: use a runtime.image of a RAPIDS '
                "release, or engine: cpu",
            )
        self._plan: Plan | None = None
        self._ranks: Ranks | None = None
        self._query: DaskQuery | None = None

    def join(self, plan: Plan, ranks: Ranks) -> None:
        """Form the Dask cluster or connect to it, if the plan has one; needs no GPU of its own. Raises JobError."""
        self._plan, self._ranks = plan, ranks
        way = cell(plan).way
        if way is Way.DASK and plan.dask is not None:
            self._query = DaskQuery(plan, ranks, arguments=self.arguments)
            with faults():
                self._query.join()
        elif way is not Way.GPU_ENGINE or ranks.size > 1:
            raise JobError(
                Failure.INVALID_PLAN,
                f'engine "{self.name}" on {ranks.size} processes with cluster {plan.cluster} and RAPIDS release '
                f'"{plan.release}" {"needs a Dask cluster, of which the plan says nothing" if way else "cannot run"}: '
                "use the runtime image of the operator's own version",
            )

    def run(self, frame: pl.LazyFrame, sink: Writes) -> None:
        """Execute the plan; part files go to the sink. Raises JobError for faults of GPU, transport and scratch, else
        what Polars raises."""
        assert self._plan is not None, "join comes first"
        assert self._ranks is not None
        if self._query is not None:
            self._query.run(frame, sink, self._execute)
            return
        folder = sink.scratch() / "result"
        parts = Parts(folder, sink)
        with faults(), telemetry.watching(self._ranks):
            parts.start()
            self._write(frame, str(folder))
            parts.finish()

    def _execute(self, client: Any, frame: pl.LazyFrame, folder: str) -> None:
        """Run it on the cluster of the client, which is the process's default one: cudf-polars looks for that."""
        assert self._plan is not None
        assert self._query is not None
        method = self._plan.executor_options.get("shuffle_method")
        if method == "rapidsmpf" or (method is None and importlib.util.find_spec("rapidsmpf") is not None):
            with self._query.connecting():
                bootstrap(client)
        self._write(frame, folder)

    def _write(self, frame: pl.LazyFrame, folder: str) -> None:
        assert self._plan is not None
        frame.sink_parquet(folder, engine=gpu_engine(self._plan), compression=self._plan.output.compression.value)
