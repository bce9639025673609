"""A Dask cluster of somebody else's: whose turn it is, and what jobs that died have left on it."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import types
from typing import TYPE_CHECKING, Any

import pytest

from gpuquery.api.reasons import Failure
from gpuquery.runner.engines.dask import injected
from gpuquery.runner.engines.dask.client import Cluster
from gpuquery.runner.engines.dask.external.cluster import ExternalCluster
from gpuquery.runner.engines.dask.guard import Guard
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.main import Alone
from gpuquery.runner.progress import Tracker
from tests.support.dask_plans import dask_plan
from tests.support.ranks import until

if TYPE_CHECKING:
    from gpuquery.plan.plan import Plan


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
    assert injected.take("one", "ns/a", dask_scheduler=scheduler) == ""
    assert injected.take("two", "ns/b", dask_scheduler=scheduler) == "ns/a"
    assert scheduler.worker_ttl == 300.0, "the limits of a cluster are not ours to set"
    if dies:
        scheduler.lose("one")
    else:
        injected.give("one", dask_scheduler=scheduler)
    assert scheduler.plugins == {}
    assert injected.take("two", "ns/b", dask_scheduler=scheduler) == ""


def test_jobs_get_a_cluster_in_the_order_in_which_they_asked(scheduler: Scheduler) -> None:
    scheduler.clients |= {"three", "four"}

    def asks(client: str) -> str:
        return injected.take(client, f"ns/{client}", dask_scheduler=scheduler)

    assert [asks(client) for client in ("one", "two", "three", "four")] == ["", "ns/one", "ns/one", "ns/one"]
    injected.give("one", dask_scheduler=scheduler)
    assert [asks(client) for client in ("four", "three", "one", "two")] == ["ns/two", "ns/two", "ns/two", ""]
    scheduler.lose("three")
    scheduler.lose("two")
    assert [asks(client) for client in ("one", "four")] == ["ns/four", ""], "one that left is waited for by nobody"


def test_a_job_that_asks_no_more_holds_up_nobody(scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection may be there yet: its process is stopped."""
    scheduler.clients.add("three")
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for client in ("one", "two", "three"):
        injected.take(client, f"ns/{client}", dask_scheduler=scheduler)
    injected.give("one", dask_scheduler=scheduler)
    now += 20
    assert injected.take("three", "ns/three", dask_scheduler=scheduler) == "ns/two"
    now += 20
    assert injected.take("three", "ns/three", dask_scheduler=scheduler) == ""
    assert injected.take("two", "ns/two", dask_scheduler=scheduler) == "ns/three"


def test_who_comes_next_takes_down_what_a_client_that_died_has_left(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    injected.take("one", "ns/a", dask_scheduler=scheduler)
    injected.engaged("one", "engine-1", dask_scheduler=scheduler)
    injected.engaged("two", "engine-2", dask_scheduler=scheduler)
    scheduler.lose("one")
    injected.take("two", "ns/b", dask_scheduler=scheduler)
    found = injected.left([], dask_scheduler=scheduler)
    assert found == ["engine-1"], "only who has the cluster has engines there"
    down: list[str] = []
    library = types.ModuleType("cudf_polars.engine.dask")
    monkeypatch.setattr(library, "_teardown_worker", lambda uid, dask_worker: down.append(uid), raising=False)
    monkeypatch.setitem(sys.modules, "cudf_polars.engine.dask", library)
    worker = types.SimpleNamespace(
        **{"_cudf_polars_mp_context_engine-1": object(), "_cudf_polars_mp_context_x": object()}
    )
    assert injected.dissolve([*found, "engine-0"], dask_worker=worker) == 1
    assert down == ["engine-1"], "neither one that is gone nor one of somebody else's"
    assert injected.left(found, dask_scheduler=scheduler) == []


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

    def settle(self) -> None:
        assert self._told, "workers that are busy do not beat"

    def run(self, function: Any, *args: Any) -> None:
        assert self._told, "they answer no question while they are busy, and it would be one too many"
        self.taken += args[0]


def test_a_query_that_outlives_its_job_is_waited_for_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its workers answer nobody meanwhile; a question with a limit would be a failure of the next job's."""
    monkeypatch.setattr("gpuquery.runner.engines.dask.external.cluster.BUSY_SECONDS", 0.05)
    told: list[str] = []
    tracker = Tracker(lambda progress: told.append(progress.waits_for), quiet=True)
    external = ExternalCluster(dask_plan(way="attach", scheduler="tcp://warm:8786"), Alone(tracker))
    cluster = Busy(told)
    monkeypatch.setattr(external, "cluster", cluster)
    external._freed()
    assert cluster.taken == ["engine-1"]
    assert "still ran the query of a job that is gone" in told[0]
    assert told[-1] == "", "and then it begins"


# --- The end, and workers that leave


def external(plan: Plan) -> ExternalCluster:
    return ExternalCluster(plan, Alone(Tracker(lambda progress: None, quiet=True)))


class Client:
    """A connection, and what was asked by it."""

    id = "me"

    def __init__(self) -> None:
        self.ran: list[tuple[str, bool]] = []

    def run(self, function: Any, *_: Any, nanny: bool, on_error: str) -> None:
        self.ran.append((function.__name__, nanny))

    def run_on_scheduler(self, function: Any, *_: Any) -> None:
        self.ran.append((function.__name__, False))


@pytest.mark.parametrize(
    ("idle", "protocol", "asked"),
    [
        pytest.param(True, "ucx", [("removed", False)], id="idle workers remove their files"),
        pytest.param(False, "tcp", [("removed", True)], id="for workers that may hang their nannies do"),
        pytest.param(False, "tls", [("removed", True)], id="over TLS too"),
        pytest.param(False, "ucx", [], id="over UCX the next job does"),
    ],
)
def test_whoever_answers_removes_the_files_of_a_query(idle: bool, protocol: str, asked: list[tuple[str, bool]]) -> None:
    """A question that was given up over UCX crashed schedulers."""
    address = f"{protocol}://warm:8786"
    ours = external(dask_plan(way="attach", scheduler=address))
    client = Client()
    ours.cluster.client, ours.cluster.address = client, address
    ours._tidy(idle=idle)
    assert client.ran == [*asked, ("give", False)]


class Leaving(Cluster):
    """A cluster of two workers, of which one leaves once the query runs."""

    def __init__(self, ttl: float | None) -> None:
        super().__init__(Guard(hold=0), heartbeat=6)
        self.address, self.workers, self._ttl = "tcp://warm:8786", {"a": "warm-a", "b": "warm-b"}, ttl
        self.client = types.SimpleNamespace(
            scheduler=types.SimpleNamespace(identity=self._identity), sync=lambda call, *args: asyncio.run(call(*args)),
            status="running",
        )  # fmt: skip

    async def _identity(self, n_workers: int) -> Any:
        return {"workers": {"a": {"name": "warm-a"}}}

    def scheduler(self, function: Any, *args: Any, seconds: Any = None) -> Any:
        return function(*args, dask_scheduler=types.SimpleNamespace(worker_ttl=self._ttl))


@pytest.mark.parametrize(
    ("ttl", "words"),
    [
        pytest.param(
            300.0,
            ": its scheduler gives up a worker that has not beaten for 300 s, and a query may keep it from that: start "
            "the scheduler with DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL=None",
            id="a scheduler that waits for heartbeats",
        ),
        pytest.param(None, "", id="one that does not"),
    ],
)
def test_a_worker_that_leaves_ends_the_query_and_the_limit_of_its_scheduler_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ttl: float | None, words: str
) -> None:
    """The limit is the cluster's: nobody changes it for a job."""
    monkeypatch.setattr("gpuquery.runner.engines.dask.client.LOOK_SECONDS", 0.01)
    ours = external(dask_plan(way="attach", scheduler="tcp://warm:8786"))
    ours.cluster = cluster = Leaving(ttl)
    ours._warn_of_ttl()
    assert capsys.readouterr().err == (f"the Dask cluster at tcp://warm:8786{words}\n" if words else "")
    cluster.watch_workers()
    try:
        with pytest.raises(JobError) as told:
            cluster.guard.call("the query", threading.Event().wait, seconds=30)
    finally:
        cluster.leave()
    assert told.value.failure is Failure.WORKER_LOST
    assert told.value.message == f"Dask worker warm-b left the cluster at tcp://warm:8786{words}"


def test_a_query_waits_for_one_more_heartbeat_of_each_worker() -> None:
    """Else a worker may be held while it connects for its first, which crashes schedulers over UCX."""
    cluster = Cluster(Guard(hold=0), heartbeat=6)
    cluster.workers = {"a": "warm-a", "b": "warm-b"}
    told = [{"a": 1.0, "b": 1.0, "gone": 1.0}, {"a": 2.0, "b": 1.0}, {"a": 2.0, "b": 1.5}, {}]

    async def identity(n_workers: int) -> Any:
        return {"workers": {address: {"last_seen": when} for address, when in told.pop(0).items()}}

    scheduler = types.SimpleNamespace(identity=identity)
    cluster.client = types.SimpleNamespace(scheduler=scheduler, sync=lambda call, *args: asyncio.run(call(*args)))
    cluster.settle(seconds=30)
    assert told == [{}], "one did not beat, or was asked after it had"
