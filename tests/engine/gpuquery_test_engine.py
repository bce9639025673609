"""An engine named rapidsmpf that joins as the real one does and computes on the CPU; README.md tells its variables."""

from __future__ import annotations

import importlib
import os
import time
from typing import TYPE_CHECKING, Any

import gpuquery_test_dask as on_dask
import gpuquery_test_faults as asked

from gpuquery.runner.engines.dask.owned import commands
from gpuquery.runner.engines.gpu import faults
from gpuquery.runner.engines.rapidsmpf import RapidsmpfEngine
from gpuquery.runner.output.parts import Parts

if TYPE_CHECKING:
    import polars as pl

    from gpuquery.plan.plan import Plan
    from gpuquery.runner.engines import Ranks, Writes


class TestEngine(RapidsmpfEngine):
    """One rank of the real communicator, or one part of a real Dask cluster, without a GPU."""

    __test__ = False  # no class of tests
    arguments = staticmethod(commands.cpu_workers)

    def join(self, plan: Plan, ranks: Ranks) -> None:
        """Join as the real engine does."""
        self._index = ranks.index
        on_dask.reached(self, "join", self._index)
        super().join(plan, ranks)
        on_dask.reached(self, "joined", self._index)

    def run(self, frame: pl.LazyFrame, sink: Writes) -> None:
        """Compute everything, and hand over the rows that fall to this rank."""
        assert self._ranks is not None
        if self._query is not None:
            on_dask.reached(self, "run", self._index)
            super().run(frame, sink)
            return
        with faults():
            asked.reached("run", self._index)
            self._barrier()
            rows = frame.collect(engine="streaming")
            share = rows.filter(rows.hash_rows(seed=0) % self._ranks.size == self._ranks.index)
            folder = sink.scratch() / "result"
            parts = Parts(folder, sink)
            folder.mkdir()
            parts.start()
            count = int(os.environ.get("TEST_ENGINE_PARTS") or 3)
            length = -(-max(share.height, 1) // count)
            for number in range(count):
                time.sleep(float(os.environ.get("TEST_ENGINE_PAUSE") or 0))
                # As the real one names them, and under its final name from the first byte on.
                share.slice(number * length, length).write_parquet(folder / f"part.{self._index}.{number:06d}.parquet")
                if number == 0:
                    asked.reached("write", self._index)
            asked.reached("end", self._index)
            self._barrier()
            parts.finish()

    def _execute(self, client: Any, frame: pl.LazyFrame, folder: str) -> None:
        on_dask.compute(client, frame, folder, numbered=True)

    def _barrier(self) -> None:
        """The library's own: without a time limit, and deaf to signals."""
        if self._comm is not None and self._comm.nranks > 1:
            importlib.import_module("rapidsmpf.communicator.ucxx").barrier(self._comm)
