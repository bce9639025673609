"""What the GPU engines have in common: Dask clusters, Polars' `GPUEngine`, options of the executor, classified faults.

Nothing ever falls back to the CPU (`raise_on_fail`).
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import polars as pl

from gpuquery.api.reasons import Failure
from gpuquery.plan.releases import RELEASES, Cell
from gpuquery.runner.engines import Ranks, Writes, telemetry
from gpuquery.runner.engines.dask.owned import commands
from gpuquery.runner.engines.dask.query import DaskQuery
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.native import classify_engine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gpuquery.plan.plan import Plan
    from gpuquery.plan.releases import Way
    from gpuquery.runner.engines.dask.owned.cluster import Arguments

_KVIKIO_ENUMS = {"kvikio_remote_io_backend": "RemoteIOBackend", "kvikio_reactor_dispatch": "RemoteReactorDispatch"}
_TURNED_OFF = ("dynamic_planning", "join_filter_pushdown")
"""Options for which None is no default but "off"."""


class GpuEngine(ABC):
    """An engine of cudf-polars. `join` comes first; both belong on one thread, for the library's engine does."""

    name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    on_dask: ClassVar[tuple[Way, ...]]
    """How a release may run it for its workers to be those of a Dask cluster."""
    arguments: Arguments = staticmethod(commands.cuda_workers)
    """Arguments of `dask` for workers of its own."""

    _plan: Plan
    _ranks: Ranks

    def __init__(self) -> None:
        """Raises JobError(InvalidPlan) where the packages are not installed."""
        missing = [package for package in self.packages if importlib.util.find_spec(package) is None]
        if missing:
            raise JobError(
                Failure.INVALID_PLAN,
                f'engine "{self.name}" needs {" and ".join(missing)}, which this image lacks: use a runtime.image of a '
                "RAPIDS release, or engine: cpu",
            )
        self._query: DaskQuery | None = None

    def join(self, plan: Plan, ranks: Ranks) -> None:
        """Meet the other ranks, or the Dask cluster; needs no GPU. Raises JobError."""
        self._plan, self._ranks = plan, ranks
        with faults():
            if plan.dask is not None and cell(plan).way in self.on_dask:
                self._query = DaskQuery(plan, ranks, arguments=self.arguments)
                self._query.join()
            else:
                self._meet(plan, ranks)

    def run(self, frame: pl.LazyFrame, sink: Writes) -> None:
        """Execute the plan; its part files go to the sink. Raises JobError for faults of GPU, transport and scratch,
        else what Polars raises."""
        if self._query is not None:
            self._query.run(frame, sink, self._execute)
            return
        with faults(), telemetry.watching(self._ranks):
            self._run(frame, sink)

    @abstractmethod
    def _meet(self, plan: Plan, ranks: Ranks) -> None:
        """Meet the other ranks, where no Dask is."""

    @abstractmethod
    def _run(self, frame: pl.LazyFrame, sink: Writes) -> None:
        """Execute the plan, where no Dask is."""

    @abstractmethod
    def _execute(self, client: Any, frame: pl.LazyFrame, folder: str) -> None:
        """Execute it on a Dask cluster, whose client is the default one of this process."""


@contextlib.contextmanager
def faults() -> Iterator[None]:
    """Give faults of GPU, transport and scratch their class; what is of another kind passes."""
    try:
        yield
    except JobError:
        raise
    except BaseException as exc:  # a panic of Polars is no Exception
        if error := classify_engine(exc):
            raise error from exc
        raise


def cell(plan: Plan) -> Cell:
    """Return what the release can do with the plan's engine and cluster; raises JobError(InvalidPlan)."""
    release = RELEASES.get(plan.release)
    if release is None:
        raise JobError(
            Failure.INVALID_PLAN,
            f'release "{plan.release}" is not known to this image: it knows {", ".join(RELEASES)}',
        )
    return release.cells[plan.engine, plan.cluster]


def gpu_engine(plan: Plan) -> pl.GPUEngine:
    """Up to 26.04 the options say whether it is one GPU, or the workers of the process's default Dask client."""
    options = {**(cell(plan).options or {}), **executor(plan.executor_options), "sink_to_directory": True}
    return pl.GPUEngine(executor="streaming", raise_on_fail=True, executor_options=options)


def executor(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plan's executor options in the types that the engine class takes."""
    return {name: _typed(name, value) for name, value in options.items() if value is not None or name in _TURNED_OFF}


def _typed(name: str, value: Any) -> Any:
    """The engine class of 26.10 compares these with members of KvikIO's enumerations, and takes a text for neither."""
    if name in _KVIKIO_ENUMS and isinstance(value, str):
        return getattr(importlib.import_module("kvikio"), _KVIKIO_ENUMS[name])[value]
    return value
