"""Queries on a Dask cluster, for the engines that can run on one: the plan's cluster, and this process's part in it."""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import polars as pl

from gpuquery.api.choices import EngineChoice
from gpuquery.api.reasons import Failure
from gpuquery.plan.plan import DaskWay, Plan
from gpuquery.plan.releases import RELEASES, Cell
from gpuquery.runner.engines.dask import commands, injected, parts
from gpuquery.runner.engines.dask.external import GuestCluster
from gpuquery.runner.engines.dask.owned import NativeCluster, Words
from gpuquery.runner.engines.rapidsmpf_options import executor
from gpuquery.runner.failures.dask import lost
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.native import classify_engine
from gpuquery.runner.failures.stores import classify, redact

if TYPE_CHECKING:
    from gpuquery.runner.engines import Ranks, Writes
    from gpuquery.runner.engines.dask.watch import Watch

CONNECT_SECONDS = 300.0
"""Time for the workers to connect among each other, which on others' clusters includes their first imports and CUDA."""
Run = Callable[[Any, pl.LazyFrame, str], None]
"""Runs a frame by a `distributed.Client`; the workers write part files into the folder of that name."""


class DaskQuery:
    """One process of a query on a Dask cluster: of a pod that has workers, or the client of a cluster elsewhere."""

    def __init__(self, plan: Plan, ranks: Ranks, *, words: Words = commands.cuda_workers) -> None:
        """`words` are those of `dask` for workers of its own."""
        assert plan.dask is not None
        self._plan = plan
        self.native = NativeCluster(plan, ranks, words=words) if plan.dask.way is DaskWay.NATIVE else None
        """Set where the attempt's own pods are the cluster."""
        self.guest = GuestCluster(plan, ranks) if self.native is None else None
        """Set where it is elsewhere."""

    @property
    def watch(self) -> Watch:
        """What ends the query when something of its cluster fails."""
        cluster = self.native or self.guest
        assert cluster is not None
        return cluster.watch

    @contextlib.contextmanager
    def connecting(self, *, seconds: float = CONNECT_SECONDS) -> Iterator[None]:
        """End the query if the library takes longer for this: to connect the workers has no time limit of its own."""
        late = JobError(
            Failure.TRANSPORT_ERROR,
            f"the Dask workers did not connect among each other within {seconds:g} s: look at the network between "
            "their nodes, at NetworkPolicies of their pods, and at spec.network",
        )
        timer = threading.Timer(seconds, self.watch.fail, [late])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def join(self) -> None:
        """Meet the cluster; returns when all workers are there. Raises JobError."""
        if self.native is not None:
            self.native.join()
        elif self.guest is not None:
            self.guest.join(graphs=self._plan.engine == EngineChoice.TASKS)

    def run(self, frame: pl.LazyFrame, sink: Writes, run: Run) -> None:
        """Run the query, and hand its files to the sink; raises JobError, or what Polars raises."""
        streaming = parts.each_once(self._plan)

        def execute(client: Any, folder: str) -> None:
            try:
                run(client, frame, folder)
            except JobError:
                raise
            except BaseException as exc:  # a panic of Polars is no Exception
                # A connection that broke says next to nothing: who was lost is found out by those who wait for this.
                if lost(exc) is None and self._plan.dask and self._plan.dask.way is DaskWay.ATTACH:
                    _refuse_workers_rights(exc)
                if lost(exc) is None and (error := classify_engine(exc)):
                    # Not from its cause, whose words would be taken for this pod's: it may have been in any.
                    raise JobError(error.failure, f"on the Dask cluster: {error.message}") from None
                raise

        if self.native is not None:
            self.native.run(execute, sink, streaming=streaming)
        elif self.guest is not None:
            # A worker's event loop answers nobody while rapidsmpf runs a query in it.
            self.guest.run(execute, sink, streaming=streaming and self._plan.engine == EngineChoice.TASKS)


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


def _refuse_workers_rights(exc: BaseException) -> None:
    """Raise JobError(StorageAuth) if the store, or a file system, has refused workers of a cluster that is not ours."""
    error = classify(exc)
    if error.failure is not Failure.STORAGE_AUTH:
        return
    if isinstance(exc, OSError) and exc.errno is not None:  # a store's answer has no number
        way_out = (
            "the workers of the Dask cluster read and write files as the user of their own pods, not as the job's: "
            "look at the rights of that user, on their --local-directory too"
        )
    else:
        way_out = (
            "the workers of the Dask cluster read the inputs with credentials and endpoint of their own pods (AWS_*), "
            "not with the job's: look at the environment of those pods"
        )
    raise JobError(Failure.STORAGE_AUTH, f"{redact(str(exc))}: {way_out}") from None


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


def bootstrap(client: Any) -> None:
    """Connect the workers by rapidsmpf (25.08 to 26.04), with the RAPIDSMPF_* of this process.

    The library would do so by itself, and would not notice that it failed: it waits for its futures and asks none of
    them how it went.
    """
    config = importlib.import_module("rapidsmpf.config")
    module = importlib.import_module("rapidsmpf.integrations.dask")
    options = config.Options(config.get_environment_variables())
    options.insert_if_absent({"dask_statistics": "true"})
    module.bootstrap_dask_cluster(client, options=options)
    missing = [address for address, there in client.run(injected.connected).items() if not there]
    if missing:
        raise JobError(
            Failure.TRANSPORT_ERROR,
            f"rapidsmpf could not connect the Dask workers: {', '.join(sorted(missing)[:4])} have no communicator: "
            "look at their log, at the network between the nodes, and at spec.network",
        )
