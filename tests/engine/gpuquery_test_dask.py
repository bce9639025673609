"""What the test engines do with a Dask cluster: the query's rows, shuffled between workers, on the CPU.

The part that runs in workers finds this module in its image. Each worker takes its share of the rows and sends hash
partitions of them straight to the other workers, over the protocol of the cluster; then each writes what it got.
"""

from __future__ import annotations

import importlib
import io
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import gpuquery_test_faults as faults
import polars as pl

from gpuquery.runner.engines.dask import injected
from gpuquery.runner.engines.dask.owned import commands
from gpuquery.runner.engines.dask.owned.cluster import OwnedCluster
from gpuquery.runner.engines.tasks import TasksEngine

if TYPE_CHECKING:
    from gpuquery.plan.plan import Plan
    from gpuquery.runner.engines import Ranks, Writes


def compute(client: Any, frame: pl.LazyFrame, folder: str, *, numbered: bool) -> None:
    """Compute and write `part.<number>.parquet`, or with `numbered` ranks `part.<rank>.<number>.parquet`."""
    faults.reached("write", 0)
    workers = sorted(client.run(os.getpid))
    if seconds := float(os.environ.get("TEST_ENGINE_HOLD") or 0):
        file = os.environ.get("TEST_ENGINE_UNTIL")
        hold: Any = (until, seconds, file) if file else (time.sleep, seconds)
        if numbered:
            client.run(*hold)  # as rapidsmpf does: the event loop of every worker stands still
        else:
            client.gather([client.submit(*hold, workers=[each], pure=False) for each in workers])
    plan, size = frame.serialize(), len(workers)
    shares = [
        client.submit(share, plan, number, size, workers=[worker], pure=False, key=f"share-{number}")
        for number, worker in enumerate(workers)
    ]
    sent = [
        [client.submit(partition, shares[n], to, size, workers=[worker], pure=False) for to in range(size)]
        for n, worker in enumerate(workers)
    ]
    written = [
        client.submit(
            write, folder, number if numbered else None, number, *[one[number] for one in sent], workers=[worker],
            pure=False,
        )
        for number, worker in enumerate(workers)
    ]  # fmt: skip
    client.gather(written)
    faults.reached("end", 0)


def until(seconds: float, file: str) -> None:
    """Sleep, and then wait for a file."""
    time.sleep(seconds)
    while not Path(file).exists():
        time.sleep(0.1)


def share(plan: bytes, number: int, size: int) -> pl.DataFrame:
    """Every n-th row."""
    rows = pl.LazyFrame.deserialize(io.BytesIO(plan)).collect()
    return rows.gather_every(size, number)


def partition(rows: pl.DataFrame, to: int, size: int) -> bytes:
    """The rows whose hash falls to a worker, on their way to it."""
    out = io.BytesIO()
    rows.filter(rows.hash_rows(seed=0) % size == to).write_ipc(out)
    return out.getvalue()


def write(folder: str, rank: int | None, number: int, *parts: bytes) -> int:
    """Write them in several files; returns how many rows they have."""
    rows = pl.concat([pl.read_ipc(io.BytesIO(part)) for part in parts])
    Path(folder).mkdir(parents=True, exist_ok=True)
    count = int(os.environ.get("TEST_ENGINE_PARTS") or 3)
    length = -(-max(rows.height, 1) // count)
    for part in range(count):
        time.sleep(float(os.environ.get("TEST_ENGINE_PAUSE") or 0))
        name = f"part.{number * count + part}" if rank is None else f"part.{rank}.{part:06d}"
        rows.slice(part * length, length).write_parquet(f"{folder}/{name}.parquet")
        if part == 0 and (index := os.environ.get("JOB_COMPLETION_INDEX")):
            faults.reached("task", int(index))
    return rows.height


SETUPS = ("dask_worker_local_setup", "dask_worker_setup", "rmpf_worker_setup")
"""What rapidsmpf's module for Dask runs in each worker beside the communicator: in 26.04, before it, and in 25.08."""


def set_up(dask_worker: Any, *, options: Any) -> None:
    """In place of that: what the communicator needs, and none of the buffers, which are of a GPU."""
    if not hasattr(dask_worker, "_rapidsmpf_worker_context"):  # in 25.08 it is there already
        statistics = importlib.import_module("rapidsmpf.statistics").Statistics(enable=False)
        comm = getattr(dask_worker, "_rapidsmpf_comm", None)  # in 26.04 it comes later
        dask_worker._rapidsmpf_worker_context = SimpleNamespace(comm=comm, options=options, statistics=statistics)


def without_buffers() -> None:
    """Have rapidsmpf connect workers that have no GPU."""
    module = importlib.import_module("rapidsmpf.integrations.dask.core")
    setattr(module, next(name for name in SETUPS if hasattr(module, name)), set_up)


def reached(engine: Any, phase: str, index: int) -> None:
    """Do what TEST_ENGINE_FAULT asks of this process, which may be to its scheduler or its workers."""
    cluster = getattr(getattr(engine, "_query", None), "cluster", None)
    pids = (
        {"scheduler": cluster.heartbeats.pids("scheduler"), "nanny": cluster.children[-1:]}
        if isinstance(cluster, OwnedCluster)
        else {"scheduler": [], "nanny": []}
    )
    faults.reached(
        phase,
        index,
        more={
            "kill-scheduler": lambda: [os.kill(pid, signal.SIGKILL) for pid in pids["scheduler"]],
            "stop-scheduler": lambda: [os.kill(pid, signal.SIGSTOP) for pid in pids["scheduler"]],
            "kill-nanny": lambda: [os.kill(pid, signal.SIGKILL) for pid in pids["nanny"]],
        },
    )


class TestTasks(TasksEngine):
    """The engine tasks, without a GPU."""

    __test__ = False  # no class of tests
    arguments = staticmethod(commands.cpu_workers)

    def join(self, plan: Plan, ranks: Ranks) -> None:
        """Join as the real engine does."""
        self._index = ranks.index
        reached(self, "join", self._index)
        super().join(plan, ranks)
        reached(self, "joined", self._index)

    def run(self, frame: pl.LazyFrame, sink: Writes) -> None:
        """Run as the real engine does on a cluster; on one GPU, by Polars."""
        reached(self, "run", self._index)
        if self._query is None:
            sink.write(frame)
        else:
            super().run(frame, sink)

    def _execute(self, client: Any, frame: pl.LazyFrame, folder: str) -> None:
        """As the real engine does where the plan names a shuffle: one is rapidsmpf's, whose communicator is real."""
        self._client = client
        assert self._plan is not None
        if self._plan.executor_options.get("shuffle_method") is None:
            self._write(frame, folder)
            return
        without_buffers()
        super()._execute(client, frame, folder)
        found = client.run(injected.connected).values()
        print(f"workers connected by rapidsmpf: {sum(found)} of {len(found)}", flush=True)

    def _write(self, frame: pl.LazyFrame, folder: str) -> None:
        compute(self._client, frame, folder, numbered=False)
