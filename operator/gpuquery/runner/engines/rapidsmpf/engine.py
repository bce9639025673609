"""The engine `rapidsmpf`: cudf-polars' streaming engine, on one GPU or on many, one rank for each.

From 26.06 on every rank makes an `SPMDEngine` of its own communicator and runs the whole query; the library gives each
rank its share of the files, and what every rank holds in full is written by one of them. In 26.04 there is one process
with one GPU and Polars' `GPUEngine`. Where the plan has a Dask cluster, its workers are the ranks: by `DaskEngine`, in
26.04 by `GPUEngine`.
"""

from __future__ import annotations

import contextlib
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuquery.api.reasons import Failure
from gpuquery.plan.plan import DaskWay, Plan
from gpuquery.plan.releases import Way
from gpuquery.runner.engines import replicated, telemetry
from gpuquery.runner.engines.dask import injected
from gpuquery.runner.engines.gpu import GpuEngine, cell, gpu_engine
from gpuquery.runner.engines.rapidsmpf import communicator
from gpuquery.runner.engines.rapidsmpf.options import Settings, settings
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output.parts import Parts

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from gpuquery.runner.engines import Ranks, Writes

AGREE_SECONDS = 7 * 86_400.0
"""Time for the other ranks to finish once this one has, in a release whose results have to be compared: a rank with few
rows may be done hours before the others, and whether these live their heartbeats tell."""


class RapidsmpfEngine(GpuEngine):
    """One rank, or the client of a Dask cluster."""

    name = "rapidsmpf"
    packages = ("cudf_polars", "rapidsmpf")
    on_dask = (Way.DASK, Way.SPMD)
    _settings: Settings | None = None
    _comm: Any = None
    _running: Any = None

    def _meet(self, plan: Plan, ranks: Ranks) -> None:
        """Make the communicator."""
        way = cell(plan).way
        if way is Way.GPU_ENGINE and ranks.size == 1:
            return
        if way is not Way.SPMD:
            raise JobError(
                Failure.INVALID_PLAN,
                f'engine "{self.name}" on {ranks.size} ranks with cluster {plan.cluster} and RAPIDS release '
                f'"{plan.release}" is not driven by ranks: use the runtime image of the operator\'s own version',
            )
        self._settings = settings(plan.executor_options)
        self._comm = communicator.form(ranks, self._settings.rapidsmpf)
        ranks.note(rank=int(self._comm.rank))

    def _run(self, frame: pl.LazyFrame, sink: Writes) -> None:
        if self._settings is None:
            self._run_alone(self._plan, frame, sink)
        else:
            self._run_rank(self._plan, self._ranks, self._settings, frame, sink)

    def _run_rank(self, plan: Plan, ranks: Ranks, settings: Settings, frame: pl.LazyFrame, sink: Writes) -> None:
        spmd = importlib.import_module("cudf_polars.engine.spmd")
        # Kept, and shut down only after a success: after a failure that may wait for ranks that are gone, and the
        # process ends anyway.
        self._running = engine = spmd.SPMDEngine(
            comm=self._comm,
            rapidsmpf_options=settings.rapidsmpf,
            executor_options=dict(settings.executor),
            engine_options=dict(settings.engine),
        )
        handover = Handover(plan, ranks, int(self._comm.rank), sink)
        with handover.listening():
            _write(plan, frame, handover.folder, engine)
        telemetry.note_statistics(ranks, engine.context)
        handover.finish()
        engine.shutdown()

    def _execute(self, client: Any, frame: pl.LazyFrame, folder: str) -> None:
        plan = self._plan
        assert self._query is not None
        if cell(plan).way is Way.DASK:  # 26.04
            self._query.bootstrap(client)
            _write(plan, frame, Path(folder), gpu_engine(plan))
            return
        with self._query.connecting():
            engine = self._running = _dask_engine(plan, client)
        attached = plan.dask is not None and plan.dask.way is DaskWay.ATTACH
        if attached:  # should this process die, who comes next tidies up
            with contextlib.suppress(Exception):
                client.run_on_scheduler(injected.engaged, client.id, engine._dask_context.rapidsmpf_id)
        try:
            _write(plan, frame, Path(folder), engine)
        except BaseException:
            if attached:  # its workers go on without us
                with contextlib.suppress(Exception):
                    engine.shutdown()
            raise
        with contextlib.suppress(Exception):  # the result counts, not what is told of it
            telemetry.note_gathered(self._ranks, engine.gather_statistics())
        engine.shutdown()

    def _run_alone(self, plan: Plan, frame: pl.LazyFrame, sink: Writes) -> None:
        """26.04: nothing is handed over before all is written, in one process with one GPU."""
        folder = _folder(sink)
        _write(plan, frame, folder, gpu_engine(plan))
        for file in sorted(folder.glob("*.parquet")):
            sink.add(file)


class Handover:
    """Gives one rank's part files to the sink, unless another rank gives the same rows."""

    def __init__(self, plan: Plan, ranks: Ranks, rank: int, sink: Writes) -> None:
        """`rank` is the communicator's number of this rank."""
        self.folder = _folder(sink)
        """Where the engine writes."""
        self._release, self._ranks, self._rank = plan.release, ranks, rank
        self._mended = replicated.mended(plan.release)
        self._parts = Parts(self.folder, sink)
        self._started = False
        self._ear = replicated.Ear(self._heard)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Hand over what is whole while the engine writes, as soon as it is known whose rows they are."""
        if self._ranks.size == 1:
            self._start()
            yield
            return
        with self._ear.listening():
            yield

    def finish(self) -> None:
        """Hand over the rest, now that the engine is done. Raises JobError if rows would come out twice."""
        if self._ranks.size > 1 and not self._keeps():
            for file in self._files():
                file.unlink()
            return
        self._start()
        self._parts.finish()

    def _heard(self, duplicated: bool) -> None:
        # In a release that lets every rank write, such rows wait until all ranks have said how many they are.
        if not duplicated or (self._mended and self._rank == 0):
            self._start()

    def _start(self) -> None:
        if not self._started:
            self._started = True
            self._parts.start()

    def _keeps(self) -> bool:
        duplicated = self._ear.duplicated
        self._ranks.note(replicated=duplicated)
        if self._mended:
            if duplicated and self._rank != 0:
                replicated.check_mended(duplicated, self._rank, len(self._files()), self._release)
            return True
        mine = replicated.written(duplicated, [] if self._started else self._files())
        all_written = replicated.read(self._ranks.gate(replicated.GATE, mine.to_json(), seconds=AGREE_SECONDS))
        return replicated.keeps(all_written, self._rank, self._release)

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("*.parquet"))


def _dask_engine(plan: Plan, client: Any) -> Any:
    """26.06 and later. dask-cuda has bound each worker to its GPU, its cores and its memory already."""
    given = settings(plan.executor_options)
    policy = importlib.import_module("cudf_polars.engine.hardware_binding").HardwareBindingPolicy
    return importlib.import_module("cudf_polars.engine.dask").DaskEngine(
        dask_client=client,
        rapidsmpf_options=given.rapidsmpf,
        executor_options=dict(given.executor),
        engine_options={**given.engine, "hardware_binding": policy(enabled=False)},
    )


def _folder(sink: Writes) -> Path:
    """A folder for the library to make: Polars refuses to write to one that exists."""
    return sink.scratch() / "result"


def _write(plan: Plan, frame: pl.LazyFrame, folder: Path, engine: Any) -> None:
    """Run the plan, which writes one file after the other into a folder."""
    frame.sink_parquet(folder, engine=engine, compression=plan.output.compression.value)
