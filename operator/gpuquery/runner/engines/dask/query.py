"""A query on a Dask cluster, for the engines that can run on one."""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from gpuquery.api.reasons import Failure
from gpuquery.plan.plan import DaskWay, Plan
from gpuquery.runner.engines.dask import injected
from gpuquery.runner.engines.dask.external.cluster import ExternalCluster
from gpuquery.runner.engines.dask.owned import commands
from gpuquery.runner.engines.dask.owned.cluster import Arguments, OwnedCluster
from gpuquery.runner.failures.dask import lost
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.native import classify_engine
from gpuquery.runner.failures.stores import classify, redact

if TYPE_CHECKING:
    import polars as pl

    from gpuquery.runner.engines import Ranks, Writes

CONNECT_SECONDS = 300.0
"""Time for the workers to connect to each other, which on external clusters includes their first imports and CUDA."""
Run = Callable[[Any, "pl.LazyFrame", str], None]
"""Runs a frame by a `distributed.Client`; the workers write part files into the folder of that name."""
Execute = Callable[[Any, str], None]
"""Runs the query in the same way."""


class DaskQuery:
    """One process of a query on a Dask cluster: of a pod that has workers, or the client of a cluster elsewhere."""

    def __init__(self, plan: Plan, ranks: Ranks, *, arguments: Arguments = commands.cuda_workers) -> None:
        """`arguments` are those of `dask` for workers of its own."""
        assert plan.dask is not None
        self._way = plan.dask.way
        self.cluster = (
            OwnedCluster(plan, ranks, arguments) if self._way is DaskWay.NATIVE else ExternalCluster(plan, ranks)
        )

    @contextlib.contextmanager
    def connecting(self, *, seconds: float = CONNECT_SECONDS) -> Iterator[None]:
        """End the query if this takes longer: the library connects the workers without a time limit."""
        late = JobError(
            Failure.TRANSPORT_ERROR,
            f"the Dask workers did not connect among each other within {seconds:g} s: look at the network between "
            "their nodes, at NetworkPolicies of their pods, and at spec.network",
        )
        timer = threading.Timer(seconds, self.cluster.guard.fail, [late])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def bootstrap(self, client: Any) -> None:
        """Connect the workers by rapidsmpf (25.08 to 26.04), with the RAPIDSMPF_* of this process.

        The library would do so by itself, and would not notice that it failed: it waits for its futures and asks none
        of them how it went.
        """
        with self.connecting():
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

    def join(self) -> None:
        """Form the cluster or connect to it; returns when all workers are there. Raises JobError."""
        self.cluster.join()

    def run(self, frame: pl.LazyFrame, sink: Writes, run: Run) -> None:
        """Run the query, and hand its files to the sink; raises JobError, or what Polars raises."""

        def execute(client: Any, folder: str) -> None:
            try:
                run(client, frame, folder)
            except JobError:
                raise
            except BaseException as exc:  # a panic of Polars is no Exception
                # A connection that broke says next to nothing: the guard finds out who was lost.
                if lost(exc) is None:
                    if self._way is DaskWay.ATTACH:
                        _refuse_workers_rights(exc)
                    if error := classify_engine(exc):
                        # Not from its cause, whose words would be taken for this pod's: it may have been in any.
                        raise JobError(error.failure, f"on the Dask cluster: {error.message}") from None
                raise

        self.cluster.run(execute, sink)


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
