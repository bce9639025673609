"""The parts of a Dask cluster that need no Dask: words, ends, watches, signs of life, versions, files."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from gpuquery.api.reasons import Failure
from gpuquery.api.report import Phase
from gpuquery.plan.plan import Dask, Plan
from gpuquery.runner.board import Board
from gpuquery.runner.dask import beats, commands, faults, nanny, parts, remote, versions
from gpuquery.runner.dask.client import Cluster
from gpuquery.runner.dask.fetch import Fetch
from gpuquery.runner.dask.watch import Watch
from gpuquery.runner.errors import JobError
from gpuquery.runner.progress import Tracker
from tests.support.ranks import until
from tests.support.runner import plan


def dask_plan(engine: str = "tasks", release: str = "26.04", replicas: int = 2, **dask: Any) -> Plan:
    document = {"way": "native", "workers": 4, "protocol": "ucx", **dask}
    return plan(
        "file:///nowhere", "SELECT 1", engine=engine, cluster="distributed", release=release, replicas=replicas, gpus=2,
        processes="pods", dask=document,
    )  # fmt: skip


def workers(of: Plan, memory: int = 0) -> commands.Workers:
    assert of.dask is not None
    return commands.Workers(of, of.dask, "ucx://10.0.0.1:8786", "job-1-0", "/scratch/x", memory)


def has(words: list[str], *wanted: str) -> bool:
    return any(tuple(words[n : n + len(wanted)]) == wanted for n in range(len(words)))


# --- Words


@pytest.mark.parametrize(
    ("engine", "release", "options", "wanted", "unwanted"),
    [
        pytest.param("tasks", "25.08", {}, ["--rmm-async"], ["--rmm-pool-size"], id="tasks takes memory by the driver"),
        pytest.param("rapidsmpf", "26.04", {}, ["--rmm-async"], [], id="and so does rapidsmpf while it brings none"),
        pytest.param("rapidsmpf", "26.06", {}, [], ["--rmm-async"], id="an engine class brings its own"),
        pytest.param("rapidsmpf", "26.10", {}, [], ["--rmm-async"], id="and in later releases too"),
        pytest.param(
            "tasks",
            "26.04",
            {"rmm-pool-size": "0.8"},
            ["--rmm-pool-size", "0.8"],
            ["--rmm-async"],
            id="a pool is enough",
        ),
        pytest.param("tasks", "26.04", {"rmm-async": False}, ["--no-rmm-async"], [], id="no may be said"),
        pytest.param("tasks", "26.04", {"enable-nvlink": False}, ["--disable-nvlink"], [], id="in dask-cuda's words"),
    ],
)
def test_how_workers_take_gpu_memory(
    engine: str, release: str, options: dict[str, Any], wanted: list[str], unwanted: list[str]
) -> None:
    words = commands.cuda_workers(workers(dask_plan(engine, release, options=options)))
    assert words[:2] == ["cuda", "worker"]
    assert not wanted or has(words, *wanted)
    assert not [word for word in unwanted if word in words]


def test_a_pod_s_memory_is_shared_by_its_workers() -> None:
    assert has(commands.cuda_workers(workers(dask_plan(), 64 << 30)), "--memory-limit", str(32 << 30))
    assert has(commands.cuda_workers(workers(dask_plan())), "--memory-limit", "auto")
    given = commands.cuda_workers(workers(dask_plan(options={"memory-limit": "10GB"}), 64 << 30))
    assert has(given, "--memory-limit", "10GB")
    assert given.count("--memory-limit") == 1


def test_the_dashboard_is_hidden_unless_it_is_asked_for() -> None:
    assert has(commands.scheduler(Dask(workers=1), "10.0.0.1", "f"), "--dashboard-address", "127.0.0.1:0")
    assert has(commands.scheduler(Dask(workers=1, dashboard=True), "10.0.0.1", "f"), "--dashboard-address", ":8787")


def test_no_variable_of_a_job_makes_dask_restart_workers() -> None:
    given = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "1s", "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "7s"}
    environment = commands.environment(given)
    assert environment["DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL"] == "None"
    assert environment["DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT"] == "7s", "others may be set"


# --- Ends


NVML = "pynvml.NVMLError_LibraryNotFound: NVML Shared Library Not Found"


@pytest.mark.parametrize(
    ("status", "tail", "oom", "failure", "words"),
    [
        pytest.param(1, [NVML], False, Failure.NO_GPU, "NVML Shared Library", id="no driver"),
        pytest.param(-9, ["fine"], False, Failure.WORKER_LOST, "died of signal 9 (SIGKILL)", id="killed"),
        pytest.param(-9, ["fine"], True, Failure.HOST_OUT_OF_MEMORY, "more memory", id="killed by the kernel"),
        pytest.param(
            70, [f"{nanny.ENDED}pod-1-0: signal 9 (SIGKILL)"], False, Failure.WORKER_LOST,
            "the Dask worker pod-1-0 died of signal 9", id="a worker killed",
        ),
        pytest.param(
            70, [f"{nanny.ENDED}pod-1-0: signal 9 (SIGKILL)"], True, Failure.HOST_OUT_OF_MEMORY,
            "the Dask worker pod-1-0", id="a worker killed by the kernel",
        ),
        pytest.param(
            70, ["MemoryError: std::bad_alloc: out_of_memory: CUDA error", f"{nanny.ENDED}pod-1: exit code 1"], False,
            Failure.GPU_OUT_OF_MEMORY, "the Dask worker pod-1 ended with exit code 1", id="a pool that does not fit",
        ),
        pytest.param(
            70, ["what(): ucxx::Error", "CommClosedError: Connection reset by remote peer",
                 f"{nanny.ENDED}pod-1: exit code 1"], False,
            Failure.WORKER_LOST, "its last lines", id="what it says of another's end is no cause",
        ),
        pytest.param(
            70, ["terminate called after throwing an instance of 'ucxx::UnreachableError'",
                 f"{nanny.ENDED}pod-1: signal 6 (SIGABRT)"], False,
            Failure.TRANSPORT_ERROR, "by its own native code", id="unless it ends itself for that",
        ),
        pytest.param(1, ["OSError: No space left on device"], False, Failure.SCRATCH_FULL, "space", id="disk"),
    ],
)  # fmt: skip
def test_why_a_process_of_dask_ended(status: int, tail: list[str], oom: bool, failure: Failure, words: str) -> None:
    found = faults.ended("the Dask workers of this pod", status, tail, oom_killed=oom)
    assert found.failure is failure
    assert words in found.message


@pytest.mark.parametrize("code", [-9, -6, 1, 0, -64])
def test_a_nanny_s_line_is_read_as_it_is_written(code: int) -> None:
    found = faults.ended("x", 70, [f"{nanny.ENDED}a: b: {nanny.told(code)}"], oom_killed=False)
    assert "the Dask worker a: b" in found.message
    assert nanny.told(code) in found.message


NANNY = """
import os, signal, subprocess, sys, time, types
from gpuquery.runner.dask import beats, nanny

old = os.path.join(os.environ[beats.FOLDER_VARIABLE], f"worker.{os.getpid()}")
os.makedirs(os.path.dirname(old))
open(old, "w").close()
os.utime(old, (1, 1))  # of a container before this one
status = types.SimpleNamespace(name="running")
nanny.dask_setup(types.SimpleNamespace(_on_worker_exit_sync=print, status=status, name="w"))
code = "import time; from gpuquery.runner.dask import beats; beats.start('worker'); time.sleep(60)"
worker = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
file, beaten = os.path.join(os.environ[beats.FOLDER_VARIABLE], f"worker.{worker.pid}"), set()
while len(beaten) < 5:  # longer than the limit
    if os.path.exists(file):
        beaten.add(os.stat(file).st_mtime)
    time.sleep(0.1)
print("alive", flush=True)
os.kill(worker.pid, signal.SIGSTOP)
print(worker.pid, flush=True)
time.sleep(60)
"""


def test_a_nanny_that_nobody_watches_ends_with_a_worker_that_hangs(tmp_path: Path) -> None:
    given = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), nanny.LIMIT_VARIABLE: "2.5"}
    given[beats.FOLDER_VARIABLE] = str(tmp_path / "beats")
    done = subprocess.run(
        [sys.executable, "-c", NANNY], env=given, capture_output=True, text=True, timeout=50, check=False
    )
    alive, pid = done.stdout.split()
    os.kill(int(pid), signal.SIGKILL)
    assert (alive, done.returncode) == ("alive", nanny.STATUS), done.stderr
    assert f"the Dask worker with process id {pid} hangs: it gave no sign of life within 2.5 s" in done.stderr


class CommClosedError(OSError):
    """As distributed has one."""


def test_what_tells_of_a_lost_process() -> None:
    try:
        try:
            raise CommClosedError("in <UCX> connection closed")
        except OSError as exc:
            raise RuntimeError("the query failed") from exc
    except RuntimeError as exc:
        found = faults.lost(exc)
    assert found is not None
    assert found.failure is Failure.WORKER_LOST
    assert faults.lost(ValueError("no")) is None


# --- Watches


def test_a_call_returns_or_raises_what_it_does() -> None:
    watch = Watch()
    assert watch.call("it", lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        watch.call("it", lambda: 1 // 0)


def test_a_fault_ends_a_call_that_never_ends() -> None:
    watch = Watch()
    threading.Timer(0.1, watch.fail, [JobError(Failure.WORKER_LOST, "gone")]).start()
    with pytest.raises(JobError, match="gone"):
        watch.call("it", threading.Event().wait)


def test_a_call_that_takes_too_long_says_what_it_was() -> None:
    with pytest.raises(JobError, match=r"the thing took longer than 0\.1 s"):
        Watch().call("the thing", threading.Event().wait, seconds=0.1)


def test_a_consequence_gives_way_to_a_cause_that_is_told_later() -> None:
    watch = Watch(hold=60)

    def broken() -> None:
        threading.Timer(0.2, watch.fail, [JobError(Failure.HOST_OUT_OF_MEMORY, "the cause")]).start()
        raise CommClosedError

    with pytest.raises(JobError, match="the cause"):
        watch.call("it", broken)


def test_a_consequence_that_nobody_explains_is_told_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpuquery.runner.dask.watch.NAMED_SECONDS", 0.1)

    def broken() -> None:
        raise CommClosedError("closed")

    with pytest.raises(JobError, match="CommClosedError: closed") as told:
        Watch(hold=0).call("it", broken)
    assert isinstance(told.value.__cause__, CommClosedError)


def test_a_suspicion_becomes_a_fault_when_nobody_knows_better() -> None:
    watch = Watch(hold=0.1)
    watch.suspect(JobError(Failure.WORKER_LOST, "it left"))
    with pytest.raises(JobError, match="it left"):
        watch.call("it", threading.Event().wait)


def test_nothing_is_a_fault_once_the_end_is_expected() -> None:
    watch = Watch()
    watch.close()
    watch.fail(JobError(Failure.WORKER_LOST, "gone"))
    assert watch.call("it", lambda: 7) == 7


# --- Signs of life


BEATING = "import sys, time; from gpuquery.runner.dask import beats; beats.start('worker'); print(1, flush=True); {}"


def beating(folder: Path, then: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", BEATING.format(then)], stdout=subprocess.PIPE, text=True,
        env=os.environ | {beats.FOLDER_VARIABLE: str(folder)},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


def test_a_process_that_beats_is_alive_and_one_that_ended_is_not_missed(tmp_path: Path) -> None:
    process = beating(tmp_path, "time.sleep(600)")
    listener = beats.Listener(tmp_path)
    try:
        assert listener.pids("worker") == [process.pid]
        first = (tmp_path / f"worker.{process.pid}").stat().st_mtime
        until(lambda: (tmp_path / f"worker.{process.pid}").stat().st_mtime > first, what="it does not beat")
        assert listener.silent(30, time.monotonic()) == ""
    finally:
        process.kill()
        process.wait()
    assert listener.silent(0, time.monotonic() + 1000) == ""
    assert listener.pids("worker") == []


def test_native_code_that_holds_the_interpreter_is_heard_as_silence(tmp_path: Path) -> None:
    process = beating(tmp_path, "__import__('ctypes').PyDLL(None).pause()")
    listener = beats.Listener(tmp_path)
    try:
        found = until(lambda: listener.silent(4, time.monotonic()), what="it was not missed")
        assert found == f"the Dask worker with process id {process.pid}"
    finally:
        process.kill()
        process.wait()


# --- Versions


MINE = {"python": "3.11", "dask": "2026.7.1", "distributed": "2026.7.1", "cudf-polars": "26.10.2", "polars": "1.44.2"}


def test_the_same_versions_pass() -> None:
    versions.refuse(MINE, {"the scheduler": MINE, "the worker a": dict(MINE)}, versions.ALL)


@pytest.mark.parametrize(
    ("name", "theirs", "words"),
    [
        (
            "polars",
            "1.38.1",
            "the worker a of the Dask cluster has polars 1.38.1, and the job's image has polars 1.44.2",
        ),
        ("cudf-polars", None, "the worker a of the Dask cluster has no cudf-polars"),
    ],
)
def test_another_version_is_refused_with_both_sides_named(name: str, theirs: str | None, words: str) -> None:
    other = {key: value for key, value in (MINE | {name: theirs}).items() if value}
    with pytest.raises(JobError) as told:
        versions.refuse(MINE, {"the worker a": other, "the worker b": MINE}, versions.ALL)
    assert told.value.failure is Failure.RELEASE_MISMATCH
    assert words in told.value.message


# --- Files


def test_only_a_whole_file_counts_as_whole(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    pl.DataFrame({"x": range(1000)}).write_parquet(file)
    assert remote.whole(str(file))
    for cut in (1, 8, 100):
        half = tmp_path / "half.parquet"
        half.write_bytes(file.read_bytes()[:-cut])
        assert not remote.whole(str(half))


def test_what_dead_attempts_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    """Another cluster may keep its files in the same place: on a volume that both use, or on one machine."""
    for name in (
        "gpuquery-5ch3d-old-1",
        "mine",
        "gpuquery-5ch3d-new-1",
        "gpuquery-0ther-job-1",
        "gpuquery-0ther-dead-1",
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").touch()
    days_ago = time.time() - 8 * 86_400
    os.utime(tmp_path / "gpuquery-0ther-dead-1", (days_ago, days_ago))
    remote.prepare(str(tmp_path), "gpuquery-5ch3d-new-1")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [
        "gpuquery-0ther-job-1",
        "gpuquery-5ch3d-new-1",
        "mine",
    ]


class Local(Cluster):
    """Workers that are this process: `a` and `b` see the same folder."""

    def __init__(self, folders: dict[str, str]) -> None:
        super().__init__(Watch(hold=0))
        self.workers = dict.fromkeys(folders, "worker")
        self._folders = folders

    def run(self, function: Any, *args: Any, workers: Any = None, seconds: Any = None) -> dict[str, Any]:
        found = {}
        for address in workers or self.workers:
            here = [str(arg).replace("@", self._folders[address]) if isinstance(arg, str) else arg for arg in args]
            found[address] = function(*here)
        return found


class Keeps:
    """A sink."""

    def __init__(self) -> None:
        self.added: dict[str, bytes] = {}

    def write(self, lf: pl.LazyFrame, /) -> None:
        raise AssertionError

    def scratch(self) -> Path:
        raise AssertionError

    def add(self, file: Path, /) -> None:
        assert file.name not in self.added
        self.added[file.name] = file.read_bytes()
        file.unlink()


def written(folder: Path, *names: str) -> dict[str, bytes]:
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        pl.DataFrame({"x": range(number * 1000 + 5)}).write_parquet(folder / name)
    return {name: (folder / name).read_bytes() for name in names}


def test_files_are_fetched_once_each_in_pieces_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpuquery.runner.dask.fetch.PIECE", 100)
    one, two, here = tmp_path / "one", tmp_path / "two", tmp_path / "here"
    here.mkdir()
    wanted = written(one, "part.0.000000.parquet", "part.0.000001.parquet") | written(two, "part.1.000000.parquet")
    sink = Keeps()
    fetch = Fetch(Local({"a": str(one), "b": str(one), "c": str(two)}), "@", here, sink)
    fetch.finish()
    fetch.check()
    assert sink.added == wanted
    assert not sum(file.stat().st_size for folder in (one, two) for file in folder.iterdir())


def test_files_are_fetched_while_others_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpuquery.runner.dask.fetch.POLL_SECONDS", 0.02)
    one, here = tmp_path / "one", tmp_path / "here"
    here.mkdir()
    wanted = written(one, "part.0.parquet", "part.1.parquet")
    (one / "part.1.parquet").write_bytes(wanted["part.1.parquet"][:-3])
    sink = Keeps()
    fetch = Fetch(Local({"a": str(one)}), "@", here, sink)
    fetch.start()
    until(lambda: "part.0.parquet" in sink.added)
    assert "part.1.parquet" not in sink.added
    (one / "part.1.parquet").write_bytes(wanted["part.1.parquet"])
    fetch.finish()
    fetch.check()
    assert sink.added == wanted


def lose(file: str) -> None:
    (left,) = Path(file).parent.glob(f"{Path(file).name}.*.fetched")
    left.unlink()


def lengthen(file: str) -> None:
    (left,) = Path(file).parent.glob(f"{Path(file).name}.*.fetched")
    left.rename(f"{file}.7.fetched")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(lambda f: Path(f).write_bytes(b"x"), "was written more than once", id="written again"),
        pytest.param(lambda f: Path(f.replace("1.p", "2.p")).touch(), "1 of 4 did not come whole (part.0.000002.par",
                     id="written after all were fetched"),
        pytest.param(lengthen, "did not come whole (part.0.000001.parquet)", id="of another size"),
        pytest.param(lose, "part.0.000001.parquet came, and no worker knows of it", id="not known any more"),
        pytest.param(lambda f: shutil.rmtree(Path(f).parent), "the folder of the worker worker is gone", id="all gone"),
    ],
)  # fmt: skip
def test_nothing_is_committed_of_files_that_are_not_those_that_were_written(
    tmp_path: Path, change: Callable[[str], Any], words: str
) -> None:
    one, two, here = tmp_path / "one", tmp_path / "two", tmp_path / "here"
    here.mkdir()
    written(one, "part.0.000000.parquet", "part.0.000001.parquet")
    written(two, "part.1.000000.parquet")
    fetch = Fetch(Local({"a": str(one), "b": str(two)}), "@", here, Keeps())
    fetch.finish()
    fetch.check()
    change(str(one / "part.0.000001.parquet"))
    with pytest.raises(JobError) as told:
        fetch.check()
    assert told.value.failure is Failure.WORKER_LOST
    assert words in told.value.message


def test_files_that_went_elsewhere_than_to_the_sink_are_missed(tmp_path: Path) -> None:
    one, here = tmp_path / "one", tmp_path / "here"
    here.mkdir()
    wanted = written(one, "part.0.000000.parquet", "part.0.000001.parquet")
    sink = Keeps()
    fetch = Fetch(Local({"a": str(one)}), "@", here, sink)
    fetch.all()
    parts.Handing(here, fetch.sink, Watch(hold=0), streaming=False).finish()
    fetch.check()
    assert sink.added == wanted
    other = Fetch(Local({"a": str(one)}), "@", here, sink)
    with pytest.raises(JobError, match="2 of 2 did not come whole"):
        other.check()


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["part.0.000001.parquet", "part.1.000000.parquet"], "later ones than part.0.000000.parquet, which no worker"),
        (["part.0.parquet", "part.2.parquet"], "later ones than part.1.parquet"),
        (["part.00.parquet", "part.09.parquet", "part.10.parquet"], "part.01.parquet, part.02.parquet, part.03"),
    ],
)
def test_a_file_that_vanished_before_it_was_seen_is_missed(tmp_path: Path, names: list[str], words: str) -> None:
    one, here = tmp_path / "one", tmp_path / "here"
    here.mkdir()
    written(one, *names)
    fetch = Fetch(Local({"a": str(one)}), "@", here, Keeps())
    fetch.finish()
    with pytest.raises(JobError) as told:
        fetch.check()
    assert words in told.value.message


def test_a_file_that_shrinks_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, here = tmp_path / "one", tmp_path / "here"
    here.mkdir()
    written(one, "part.0.parquet")
    monkeypatch.setattr(remote, "piece", lambda *_: b"")
    with pytest.raises(JobError, match=r"part\.0\.parquet of the Dask worker worker had \d+ bytes and gave 0"):
        Fetch(Local({"a": str(one)}), "@", here, Keeps()).finish()


def test_rows_that_all_ranks_wrote_are_refused(tmp_path: Path) -> None:
    rows = pl.DataFrame({"x": [1, 2, 3]})
    for rank in (0, 1):
        rows.write_parquet(tmp_path / f"part.{rank}.000000.parquet")
    with pytest.raises(JobError, match="all 2 ranks wrote the same 3 rows"):
        parts.refuse_doubled(parts.written(tmp_path), "26.06")
    pl.DataFrame({"x": [7]}).write_parquet(tmp_path / "part.1.000001.parquet")
    parts.refuse_doubled(parts.written(tmp_path), "26.06")


def test_which_releases_write_such_rows_once() -> None:
    assert parts.each_once(dask_plan("tasks", "25.08"))
    assert not parts.each_once(dask_plan("rapidsmpf", "26.04"))
    assert not parts.each_once(dask_plan("rapidsmpf", "26.08"))
    assert parts.each_once(dask_plan("rapidsmpf", "26.10"))


# --- One process in each pod


def settings(tmp_path: Path, **environment: str) -> Any:
    from gpuquery.runner.ranks import settings

    (tmp_path / "token").write_text("7c" * 32)
    given = {"JOB_COMPLETION_INDEX": "1", "GPUQUERY_HUB": "x-0.x", "GPUQUERY_TOKEN_FILE": str(tmp_path / "token")}
    document = {"replicas": 3, "gpus": 2, "processes": "pods"}
    return settings.read(document, tmp_path / "plan", {**given, **environment}, program="p", port=1)


def test_a_pod_of_a_dask_cluster_has_one_process_with_all_gpus(tmp_path: Path) -> None:
    found = settings(tmp_path)
    assert (found.per_pod, found.size, list(found.own)) == (1, 3, [1])
    assert found.place(1, {1: "job-1-1"}) == "pod job-1-1", "no GPU is to blame in particular"
    assert found.device(1) is None


# --- The way to a cluster elsewhere


def test_nobody_connects_before_the_schedulers_name_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """UCXX that has once met a name without an address hangs in every later try."""
    asked: list[str] = []

    def known(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(f"{host}:{port}")
        if len(asked) < 2:
            raise OSError("Name or service not known")
        return [()]

    def client(address: str, **_: Any) -> str:
        assert len(asked) == 2, "the name was not known yet"
        return f"client of {address}"

    distributed, config = types.ModuleType("distributed"), types.SimpleNamespace(set=lambda _: None)
    monkeypatch.setattr(distributed, "Client", client, raising=False)
    monkeypatch.setitem(sys.modules, "distributed", distributed)
    monkeypatch.setitem(sys.modules, "dask", types.SimpleNamespace(config=config))
    monkeypatch.setattr(remote, "register", lambda: None)
    monkeypatch.setattr("gpuquery.runner.dask.client.socket.getaddrinfo", known)
    cluster = Cluster(Watch(hold=0.0))
    cluster.connect("ucx://warm-scheduler.data.svc:8786", seconds=30)
    assert asked == ["warm-scheduler.data.svc:8786"] * 2
    assert cluster.client == "client of ucx://warm-scheduler.data.svc:8786"


def test_a_name_that_is_never_known_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", types.ModuleType("distributed"))
    monkeypatch.setitem(sys.modules, "dask", types.SimpleNamespace(config=types.SimpleNamespace(set=lambda _: None)))
    monkeypatch.setattr(remote, "register", lambda: None)
    with pytest.raises(
        JobError, match=r"tcp://nowhere\.invalid:8786 does not answer within 1 s: .*not known"
    ) as raised:
        Cluster(Watch(hold=0.0)).connect("tcp://nowhere.invalid:8786", seconds=1)
    assert raised.value.failure is Failure.WORKER_LOST


@pytest.mark.parametrize(
    ("address", "raised", "words"),
    [
        pytest.param("tls://h:8786", TypeError("TLS expects a `ssl_context`"), "DASK_DISTRIBUTED__COMM__TLS__CA_FILE",
                     id="no certificates"),
        pytest.param("ucx://h:8786", ValueError("unknown address scheme 'ucx'"), "tcp, ucx or ucxx as the release does",
                     id="a protocol under another name"),
    ],
)  # fmt: skip
def test_what_no_try_can_mend_is_refused_for_good(
    monkeypatch: pytest.MonkeyPatch, address: str, raised: Exception, words: str
) -> None:
    def client(*_: Any, **__: Any) -> None:
        raise raised

    distributed = types.ModuleType("distributed")
    monkeypatch.setattr(distributed, "Client", client, raising=False)
    monkeypatch.setitem(sys.modules, "distributed", distributed)
    monkeypatch.setitem(sys.modules, "dask", types.SimpleNamespace(config=types.SimpleNamespace(set=lambda _: None)))
    monkeypatch.setattr(remote, "register", lambda: None)
    monkeypatch.setattr("gpuquery.runner.dask.client.socket.getaddrinfo", lambda *_, **__: [()])
    with pytest.raises(JobError, match=words) as found:
        Cluster(Watch(hold=0.0)).connect(address, seconds=30)
    assert found.value.failure is Failure.INVALID_COMBINATION, "which is not tried again"


def test_the_client_of_a_cluster_elsewhere_is_ready_once_that_is_complete() -> None:
    board = Board(guest=True)
    tracker = Tracker(lambda progress: board.put(progress.model_dump_json(by_alias=True).encode()), quiet=True)
    assert board.answer("/readyz")[0] == 503
    tracker.enter(Phase.PLANNING)
    assert board.answer("/readyz")[0] == 503
    assert b"Dask cluster" in board.answer("/readyz")[2]
    tracker.joined()
    assert board.answer("/readyz")[0] == 200
