"""A Dask cluster of somebody else's: whose turn it is, and what jobs that died have left on it."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gpuquery.api.reasons import Failure
from gpuquery.runner.dask import remote
from gpuquery.runner.dask.beats import IMPORT_SECONDS
from gpuquery.runner.dask.client import Cluster
from gpuquery.runner.dask.guest import GuestCluster
from gpuquery.runner.dask.pulse import Pulse
from gpuquery.runner.dask.watch import Watch
from gpuquery.runner.errors import JobError
from gpuquery.runner.progress import Tracker
from gpuquery.runner.query.process import Alone
from tests.support.dask_plans import dask_plan
from tests.support.ranks import until

if TYPE_CHECKING:
    from collections.abc import Callable

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
    assert remote.take("one", "ns/a", dask_scheduler=scheduler) == ""
    assert remote.take("two", "ns/b", dask_scheduler=scheduler) == "ns/a"
    assert scheduler.worker_ttl == 1e9, "a query may hold a worker for hours"
    if dies:
        scheduler.lose("one")
    else:
        remote.give("one", dask_scheduler=scheduler)
    assert scheduler.worker_ttl == 300.0 and scheduler.plugins == {}
    assert remote.take("two", "ns/b", dask_scheduler=scheduler) == ""


def test_jobs_get_a_cluster_in_the_order_in_which_they_asked(scheduler: Scheduler) -> None:
    scheduler.clients |= {"three", "four"}

    def asks(client: str) -> str:
        return remote.take(client, f"ns/{client}", dask_scheduler=scheduler)

    assert [asks(client) for client in ("one", "two", "three", "four")] == ["", "ns/one", "ns/one", "ns/one"]
    remote.give("one", dask_scheduler=scheduler)
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
        remote.take(client, f"ns/{client}", dask_scheduler=scheduler)
    remote.give("one", dask_scheduler=scheduler)
    now += 20
    assert remote.take("three", "ns/three", dask_scheduler=scheduler) == "ns/two"
    now += 20
    assert remote.take("three", "ns/three", dask_scheduler=scheduler) == ""
    assert remote.take("two", "ns/two", dask_scheduler=scheduler) == "ns/three"


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

    def settle(self) -> None:
        assert self._told, "workers that are busy do not beat"

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


# --- Workers that hang

LIMIT = 10.0


class Ward:
    """Two workers, `a` and `b`, as the scheduler tells of them each second."""

    def __init__(self, *, imported: tuple[str, ...] = ("a", "b")) -> None:
        self.said: list[str] = []
        self.pulse = Pulse(
            {"a": "warm-a", "b": "warm-b"}, limit=LIMIT, silent=60.0, imported=imported, say=self.said.append
        )
        self.now = 1000.0
        self.clock = 5.0
        """Of the nannies."""
        self.state: dict[str, dict[str, Any]] = {a: {"answers": 0, "error": "", "touched": 0.0} for a in ("a", "b")}

    def after(
        self,
        seconds: float,
        *,
        frozen: str = "",
        mute: str = "",
        client: float = 1.0,
        nanny: float = 1.0,
        error: str = "",
    ) -> tuple[JobError, float] | None:
        """Let time pass, of which each look of the `client` and of a `nanny` takes so much; returns the first fault,
        and when it came."""
        began = self.now
        while self.now < began + seconds:
            self.now += client
            self.clock += nanny
            for address, state in self.state.items():
                if address != frozen:
                    state["touched"] = self.clock
                if address != mute:
                    state |= {"answers": state["answers"] + 1, "now": self.clock, "error": ""}
                else:
                    state["error"] = error
            if fault := self.pulse.told({a: dict(state) for a, state in self.state.items()}, self.now):
                return fault, self.now - began
        return None


def test_a_worker_that_gives_no_sign_of_life_is_named() -> None:
    ward = Ward()
    assert ward.after(1000) is None
    assert ward.said == ["signs of life of 2 Dask workers are heard"]
    found = ward.after(60, frozen="b")
    assert found is not None
    fault, when = found
    assert fault.failure is Failure.RANK_STALLED
    assert "the Dask worker warm-b hangs: it gave no sign of life within 10 s; its cluster is not" in fault.message
    assert LIMIT < when <= LIMIT + 2


def test_one_that_is_at_its_first_imports_may_be_silent_for_longer() -> None:
    ward = Ward(imported=("a",))
    assert ward.after(30) is None
    found = ward.after(300, frozen="b")
    assert found is not None
    assert "within 120 s" in found[0].message
    ward = Ward(imported=("a",))
    assert ward.after(IMPORT_SECONDS + 5) is None
    found = ward.after(300, frozen="b")
    assert found is not None
    assert "within 10 s" in found[0].message, "but not for ever"


@pytest.mark.parametrize("looks", [{"client": 500.0}, {"nanny": 500.0}, {"client": 500.0, "nanny": 500.0}])
def test_who_slept_has_heard_no_silence(looks: dict[str, float]) -> None:
    """The client was stopped, or the nanny, or a machine with both and the worker."""
    ward = Ward()
    assert ward.after(5) is None
    assert ward.after(1, frozen="b", mute="a", **looks) is None
    assert ward.after(1000) is None


@pytest.mark.parametrize(
    ("error", "failure"),
    [("", Failure.RANK_STALLED), ("CommClosedError: in <TCP>: connection refused", Failure.WORKER_LOST)],
)
def test_a_nanny_that_answers_no_more_is_a_fault(error: str, failure: Failure) -> None:
    ward = Ward()
    assert ward.after(5) is None
    assert ward.pulse.attended() == ["a", "b"]
    assert ward.after(50, mute="a", error=error) is None
    assert ward.pulse.attended() == ["b"]
    found = ward.after(60, mute="a", error=error)
    assert found is not None
    assert found[0].failure is failure
    assert "the nanny of the Dask worker warm-a has not answered for 60 s, though" in found[0].message
    assert error in found[0].message


def test_a_nanny_that_never_answered_ends_nothing_and_is_told_once() -> None:
    """Its port may be closed to the scheduler, which nobody but this watch would mind."""
    ward = Ward()
    assert ward.after(500, mute="a", error="OSError: no route") is None
    (line,) = ward.said
    assert "no answer from the nanny of the Dask worker warm-a (OSError: no route)" in line
    assert ward.after(60, mute="a", frozen="b") is not None, "and others are watched"


def test_a_worker_whose_file_cannot_be_seen_is_told_once() -> None:
    ward = Ward()
    told = {a: {"answers": 1, "error": "", "touched": None, "now": 1.0, "why": "No such file"} for a in ("a", "b")}
    assert [ward.pulse.told(told, now) for now in (1.0, 2.0)] == [None, None]
    assert ["warm-a" in ward.said[0], "warm-b" in ward.said[1], len(ward.said)] == [True, True, 2]


class Nanny:
    """What functions in a nanny see of it, and the scheduler's way to it."""

    def __init__(self) -> None:
        self.handlers: dict[str, Callable[..., Any]] = {}
        self.asked: list[str] = []
        self.free = asyncio.Event()
        self.free.set()
        self.lost = 0

    def __getattr__(self, op: str) -> Callable[..., Any]:
        async def ask(**given: Any) -> Any:
            self.asked.append(op)
            await self.free.wait()
            if self.lost:
                self.lost -= 1
                raise OSError("connection reset")
            if op == "run":
                remote.attend(dask_worker=self)
                return {"status": "OK"}
            return self.handlers[op](**given)

        return ask


def hears(protocol: str, act: Callable[[Nanny, Callable[[], Any]], Any], file: Path) -> None:
    """Run with a scheduler that hears one worker `w`, and knows one `x` without a nanny."""

    async def run() -> None:
        nanny = Nanny()
        address = f"{protocol}://nanny"
        scheduler = types.SimpleNamespace(
            workers={"w": types.SimpleNamespace(nanny=address), "x": types.SimpleNamespace(nanny=None)},
            rpc={address: nanny}.__getitem__, handlers={},
        )  # fmt: skip
        assert remote.listen({"w": str(file), "x": str(file)}, b"", dask_scheduler=scheduler) == ["x"]

        async def heard() -> Any:
            told = scheduler.handlers["gpuquery_heard"]()
            for _ in range(5):
                await asyncio.sleep(0)
            return told["w"]

        await act(nanny, heard)

    asyncio.run(run())


def test_a_nanny_is_asked_one_question_at_a_time_and_never_given_up(tmp_path: Path) -> None:
    file = tmp_path / "beat"
    file.touch()

    async def act(nanny: Nanny, heard: Callable[[], Any]) -> None:
        assert (await heard())["answers"] == 0, "the scheduler does not wait for it"
        assert (await heard())["answers"] == 1
        assert (await heard())["touched"] == file.stat().st_mtime
        assert nanny.asked == ["run", *["gpuquery_touched"] * 3], "what is sent leaves a line in its log"
        nanny.free.clear()
        for _ in range(10):
            await heard()
        assert len(nanny.asked) == 5
        nanny.free.set()
        await heard()
        assert (await heard())["answers"] > 3

    hears("ucx", act, file)


@pytest.mark.parametrize(("protocol", "again"), [("tcp", True), ("ucx", False)])
def test_a_connection_that_broke_is_made_anew_where_that_is_safe(tmp_path: Path, protocol: str, again: bool) -> None:
    file = tmp_path / "beat"
    file.touch()

    async def act(nanny: Nanny, heard: Callable[[], Any]) -> None:
        await heard()
        nanny.lost = 1
        await heard()
        assert (await heard())["error"] == "OSError: connection reset"
        asked = len(nanny.asked)
        await heard()
        assert (len(nanny.asked) > asked) is again
        assert ((await heard())["error"] == "") is again

    hears(protocol, act, file)


def test_a_worker_gives_signs_of_life_until_its_folder_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "BEAT_SECONDS", 0.02)
    told = remote.beat(str(tmp_path), dask_worker=types.SimpleNamespace(address="tcp://10.0.0.1:4000"))
    file = Path(told["file"])
    assert file.parent == tmp_path
    first = file.stat().st_mtime
    until(lambda: file.stat().st_mtime > first, what="it does not beat")
    assert remote.listed(str(tmp_path)) == {}, "it is no part file"
    os.remove(file)
    until(lambda: not [one for one in threading.enumerate() if one.name == "gpuquery beats"], what="it beats for ever")


def test_nannies_of_the_attempt_s_own_cluster_see_to_it_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float] = []
    monkeypatch.setattr(Cluster, "listen", lambda self, folder, *, limit, say: limits.append(limit))
    for way in ("operator", "attach"):
        guest(dask_plan(way=way, scheduler="tcp://warm:8786"))._listen()
    assert limits == [30.0]


@pytest.mark.parametrize(
    ("release", "protocol", "heard"), [("26.04", "ucx", False), ("26.04", "tcp", True), ("26.10", "ucx", True)]
)
def test_a_scheduler_that_would_crash_is_not_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], release: str, protocol: str, heard: bool
) -> None:
    limits: list[float] = []
    monkeypatch.setattr(Cluster, "listen", lambda self, folder, *, limit, say: limits.append(limit))
    guest(dask_plan("rapidsmpf", release, way="attach", scheduler=f"{protocol}://warm:8786"))._listen()
    assert bool(limits) is heard
    assert ("nobody will notice" in capsys.readouterr().err) is not heard


def guest(plan: Plan) -> GuestCluster:
    return GuestCluster(plan, Alone(Tracker(lambda progress: None, quiet=True)))


class Client:
    """A connection, and what was asked by it."""

    id = "me"

    def __init__(self) -> None:
        self.ran: list[tuple[str, list[str], bool]] = []

    def run(self, function: Any, *_: Any, workers: list[str], nanny: bool, on_error: str) -> None:
        self.ran.append((function.__name__, workers, nanny))

    def run_on_scheduler(self, function: Any, *_: Any) -> None:
        self.ran.append((function.__name__, [], False))


@pytest.mark.parametrize(("idle", "asked"), [(True, ("removed", ["a", "b"], False)), (False, ("removed", ["b"], True))])
def test_workers_that_may_hang_are_asked_nothing(idle: bool, asked: tuple[str, list[str], bool]) -> None:
    """A scheduler that gave up a question over UCX was seen to crash."""
    ours = guest(dask_plan(way="attach", scheduler="tcp://warm:8786"))
    client, ward = Client(), Ward()
    ward.after(5)
    ward.after(10, mute="a")
    ours.cluster.client, ours.cluster.workers = client, {"a": "warm-a", "b": "warm-b"}
    ours.cluster._pulse = ward.pulse
    ours._tidy(idle=idle)
    assert client.ran == [asked, ("give", [], False)]


def test_what_nannies_tell_ends_the_query(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpuquery.runner.dask.client.LOOK_SECONDS", 0.01)
    cluster = Cluster(Watch(hold=0), heartbeat=6)
    cluster.workers = {"a": "warm-a", "b": "warm-b"}
    ward = Ward()
    told = {a: {"answers": n, "error": "", "touched": 1.0, "now": float(n)} for n, a in enumerate(("a", "b"), 1)}

    async def heard() -> Any:
        for state in told.values():
            state |= {"answers": state["answers"] + 1, "now": state["now"] + 1}
        told["a"]["touched"] += 1
        return told

    async def identity(n_workers: int) -> Any:
        return {"workers": {address: {"name": name} for address, name in cluster.workers.items()}}

    scheduler = types.SimpleNamespace(gpuquery_heard=heard, identity=identity)
    cluster.client = types.SimpleNamespace(
        scheduler=scheduler, sync=lambda call, **_: asyncio.run(call()), status="running"
    )
    cluster._pulse = ward.pulse
    cluster.guard()
    try:
        with pytest.raises(JobError, match="the Dask worker warm-b hangs"):
            cluster.watch.call("the query", threading.Event().wait, seconds=30)
    finally:
        cluster.leave()


def test_a_query_waits_for_one_more_heartbeat_of_each_worker() -> None:
    """Else a worker may be held while it connects for its first, which crashes schedulers over UCX."""
    cluster = Cluster(Watch(hold=0), heartbeat=6)
    cluster.workers = {"a": "warm-a", "b": "warm-b"}
    told = [{"a": 1.0, "b": 1.0, "gone": 1.0}, {"a": 2.0, "b": 1.0}, {"a": 2.0, "b": 1.5}, {}]

    async def identity(n_workers: int) -> Any:
        return {"workers": {address: {"last_seen": when} for address, when in told.pop(0).items()}}

    scheduler = types.SimpleNamespace(identity=identity)
    cluster.client = types.SimpleNamespace(scheduler=scheduler, sync=lambda call: asyncio.run(call()))
    cluster.settle(seconds=30)
    assert told == [{}], "one did not beat, or was asked after it had"


class Told(Cluster):
    """A cluster of which one worker has no nanny."""

    def run(self, function: Any, *args: Any, workers: Any = None, seconds: Any = None) -> dict[str, Any]:
        return {address: {"file": f"/f/{address}", "imported": True} for address in self.workers}

    def scheduler(self, function: Any, *args: Any, seconds: Any = None) -> Any:
        assert args == ({"a": "/f/a", "b": "/f/b"}, b"attend")
        return ["b"]


def test_workers_without_a_nanny_are_told_and_the_others_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    pickled = types.ModuleType("distributed.protocol.pickle")
    monkeypatch.setattr(pickled, "dumps", lambda function: function.__name__.encode(), raising=False)
    for name in ("distributed", "distributed.protocol"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "distributed.protocol.pickle", pickled)
    cluster = Told(Watch(hold=0), heartbeat=6)
    cluster.workers = {"a": "warm-a", "b": "warm-b"}
    said: list[str] = []
    cluster.listen("/f", limit=LIMIT, say=said.append)
    (line,) = said
    assert "Dask worker warm-b of the cluster at" in line and "no nanny" in line
    assert cluster._pulse is not None
    states = {"a": {"answers": 1, "error": "", "touched": 1.0, "now": 1.0}}
    assert cluster._pulse.told(states, 1.0) is None
    assert cluster.attended() == ["a"]
