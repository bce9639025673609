"""A Dask cluster of somebody else's: whose turn it is, and what jobs that died have left on it."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

from gpuquery.runner.dask import remote
from gpuquery.runner.dask.guest import GuestCluster
from gpuquery.runner.progress import Tracker
from gpuquery.runner.query import Alone
from tests.support.dask_plans import dask_plan
from tests.support.ranks import until


class Scheduler:
    """What functions in the scheduler see of it."""

    def __init__(self) -> None:
        self.id = "Scheduler-5ch3d000-1"
        self.clients: set[str] = {"one", "two"}
        self.workers: dict[str, Any] = {}
        self.worker_ttl: float | None = 300.0
        self.plugins: dict[str, Any] = {}

    def add_plugin(self, plugin: Any, *, idempotent: bool) -> None:
        self.plugins.setdefault(plugin.name, plugin)

    def remove_plugin(self, *, name: str) -> None:
        del self.plugins[name]

    def lose(self, client: str) -> None:
        """A client is gone without a word."""
        self.clients.remove(client)
        for plugin in list(self.plugins.values()):
            plugin.remove_client(self, client)


@pytest.fixture
def scheduler(monkeypatch: pytest.MonkeyPatch) -> Scheduler:
    """A scheduler, and as much of Dask as it takes."""
    plugin = types.ModuleType("distributed.diagnostics.plugin")
    monkeypatch.setattr(plugin, "SchedulerPlugin", object, raising=False)
    for name in ("distributed", "distributed.diagnostics"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "distributed.diagnostics.plugin", plugin)
    return Scheduler()


@pytest.mark.parametrize("dies", [True, False])
def test_one_job_has_a_cluster_until_it_gives_it_back_or_dies(scheduler: Scheduler, dies: bool) -> None:
    assert remote.take("one", "ns/a", dask_scheduler=scheduler) == ""
    assert remote.take("two", "ns/b", dask_scheduler=scheduler) == "ns/a"
    assert scheduler.worker_ttl == 1e9, "a query may hold a worker for hours"
    if dies:
        scheduler.lose("one")
    else:
        remote.give("one", dask_scheduler=scheduler)
    assert scheduler.worker_ttl == 300.0 and scheduler.plugins == {}
    assert remote.take("two", "ns/b", dask_scheduler=scheduler) == ""


def test_who_comes_next_takes_down_what_a_client_that_died_has_left(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote.take("one", "ns/a", dask_scheduler=scheduler)
    remote.engaged("one", "engine-1", dask_scheduler=scheduler)
    remote.engaged("two", "engine-2", dask_scheduler=scheduler)
    scheduler.lose("one")
    remote.take("two", "ns/b", dask_scheduler=scheduler)
    found = remote.left([], dask_scheduler=scheduler)
    assert found == ["engine-1"], "only who has the cluster has engines there"
    down: list[str] = []
    library = types.ModuleType("cudf_polars.engine.dask")
    monkeypatch.setattr(library, "_teardown_worker", lambda uid, dask_worker: down.append(uid), raising=False)
    monkeypatch.setitem(sys.modules, "cudf_polars.engine.dask", library)
    worker = types.SimpleNamespace(
        **{"_cudf_polars_mp_context_engine-1": object(), "_cudf_polars_mp_context_x": object()}
    )
    assert remote.dissolve([*found, "engine-0"], dask_worker=worker) == 1
    assert down == ["engine-1"], "neither one that is gone nor one of somebody else's"
    assert remote.left(found, dask_scheduler=scheduler) == []


class Busy:
    """A cluster whose workers answer once somebody has heard why the query waits."""

    def __init__(self, told: list[str]) -> None:
        self.address, self.asked = "tcp://warm:8786", [""]
        self._told = told
        self.taken: list[str] = []

    def scheduler(self, function: Any, *args: Any) -> Any:
        return ["engine-1"]

    def free(self, *, seconds: float) -> None:
        until(lambda: bool(self._told))

    def run(self, function: Any, *args: Any) -> None:
        assert self._told, "they answer no question while they are busy, and it would be one too many"
        self.taken += args[0]


def test_a_query_that_outlives_its_job_is_waited_for_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its workers answer nobody meanwhile; a question with a limit would be a failure of the next job's."""
    monkeypatch.setattr("gpuquery.runner.dask.guest.BUSY_SECONDS", 0.05)
    told: list[str] = []
    tracker = Tracker(lambda progress: told.append(progress.waits_for), quiet=True)
    guest = GuestCluster(dask_plan(way="attach", scheduler="tcp://warm:8786"), Alone(tracker))
    cluster = Busy(told)
    monkeypatch.setattr(guest, "cluster", cluster)
    guest._freed()
    assert cluster.taken == ["engine-1"]
    assert "still ran the query of a job that is gone" in told[0]
    assert told[-1] == "", "and then it begins"
