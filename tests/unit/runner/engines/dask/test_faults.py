"""Faults of a Dask cluster: workers that hang, calls that a fault ends, heartbeats."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from gpuquery.api.reasons import Failure
from gpuquery.runner.engines.dask.guard import Guard
from gpuquery.runner.engines.dask.preloads import heartbeat, nanny
from gpuquery.runner.engines.dask.query import DaskQuery
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.main import Alone
from gpuquery.runner.progress import Tracker
from tests.support.dask_plans import dask_plan
from tests.support.ranks import until

if TYPE_CHECKING:
    from pathlib import Path

# --- Nannies


NANNY = """
import os, signal, subprocess, sys, time, types
from gpuquery.runner.engines.dask.preloads import heartbeat, nanny

old = os.path.join(os.environ[heartbeat.FOLDER_VARIABLE], f"worker.{os.getpid()}")
os.makedirs(os.path.dirname(old))
open(old, "w").close()
os.utime(old, (1, 1))  # of a container before this one
status = types.SimpleNamespace(name="running")
nanny.dask_setup(types.SimpleNamespace(_on_worker_exit_sync=print, status=status, name="w"))
code = "import time; from gpuquery.runner.engines.dask.preloads.heartbeat import start; start('worker'); time.sleep(60)"
worker = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
file, beaten = os.path.join(os.environ[heartbeat.FOLDER_VARIABLE], f"worker.{worker.pid}"), set()
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
    given[heartbeat.FOLDER_VARIABLE] = str(tmp_path / "beats")
    done = subprocess.run(
        [sys.executable, "-c", NANNY], env=given, capture_output=True, text=True, timeout=50, check=False
    )
    alive, pid = done.stdout.split()
    os.kill(int(pid), signal.SIGKILL)
    assert (alive, done.returncode) == ("alive", nanny.STATUS), done.stderr
    assert f"the Dask worker with process id {pid} hangs: it gave no sign of life within 2.5 s" in done.stderr


class CommClosedError(OSError):
    """As distributed has one."""


# --- Guards


def test_a_call_returns_or_raises_what_it_does() -> None:
    guard = Guard()
    assert guard.call("it", lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        guard.call("it", lambda: 1 // 0)


def test_a_fault_ends_a_call_that_never_ends() -> None:
    guard = Guard()
    threading.Timer(0.1, guard.fail, [JobError(Failure.WORKER_LOST, "gone")]).start()
    with pytest.raises(JobError, match="gone"):
        guard.call("it", threading.Event().wait)


def test_a_call_that_takes_too_long_says_what_it_was() -> None:
    with pytest.raises(JobError, match=r"the thing took longer than 0\.1 s"):
        Guard().call("the thing", threading.Event().wait, seconds=0.1)


def test_a_consequence_gives_way_to_a_cause_that_is_told_later() -> None:
    guard = Guard(hold=60)

    def broken() -> None:
        threading.Timer(0.2, guard.fail, [JobError(Failure.HOST_OUT_OF_MEMORY, "the cause")]).start()
        raise CommClosedError

    with pytest.raises(JobError, match="the cause"):
        guard.call("it", broken)


def test_a_consequence_that_nobody_explains_is_told_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpuquery.runner.engines.dask.guard.NAMED_SECONDS", 0.1)

    def broken() -> None:
        raise CommClosedError("closed")

    with pytest.raises(JobError, match="CommClosedError: closed") as told:
        Guard(hold=0).call("it", broken)
    assert isinstance(told.value.__cause__, CommClosedError)


def test_a_suspicion_becomes_a_fault_when_nobody_knows_better() -> None:
    guard = Guard(hold=0.1)
    guard.suspect(JobError(Failure.WORKER_LOST, "it left"))
    with pytest.raises(JobError, match="it left"):
        guard.call("it", threading.Event().wait)


def test_nothing_is_a_fault_once_the_end_is_expected() -> None:
    guard = Guard()
    guard.close()
    guard.fail(JobError(Failure.WORKER_LOST, "gone"))
    assert guard.call("it", lambda: 7) == 7


# --- Heartbeats


BEATING = (
    "import sys, time; from gpuquery.runner.engines.dask.preloads import heartbeat; "
    "heartbeat.start('worker'); print(1, flush=True); {}"
)


def beating(folder: Path, then: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", BEATING.format(then)], stdout=subprocess.PIPE, text=True,
        env=os.environ | {heartbeat.FOLDER_VARIABLE: str(folder)},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


def test_a_process_that_beats_is_alive_and_one_that_ended_is_not_missed(tmp_path: Path) -> None:
    process = beating(tmp_path, "time.sleep(600)")
    listener = heartbeat.Listener(tmp_path)
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
    listener = heartbeat.Listener(tmp_path)
    try:
        found = until(lambda: listener.silent(4, time.monotonic()), what="it was not missed")
        assert found == f"the Dask worker with process id {process.pid}"
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        pytest.param(
            OSError("Generic S3 error: 403 Forbidden: InvalidAccessKeyId: AKIA0123456789ABCDEF"),
            r"of their own pods \(AWS_\*\), not with the job's",
            id="by the store",
        ),
        pytest.param(
            PermissionError(errno.EACCES, "Permission denied", "/scratch/part.000000.parquet"),
            r"part.000000.parquet'.* as the user of their own pods, .* --local-directory",
            id="by a file system",
        ),
    ],
)
def test_who_is_refused_on_a_cluster_of_others_is_told_whose_rights_count(refusal: OSError, words: str) -> None:
    class Elsewhere:
        def run(self, execute: Any, _sink: Any) -> None:
            execute(None, "folder")

    def refused(*_: Any) -> None:
        raise refusal

    def run(way: str) -> None:
        query = DaskQuery(dask_plan(way=way, scheduler="tcp://warm:8786"), Alone(Tracker(lambda _: None)))
        query.cluster = Elsewhere()  # type: ignore[assignment]
        query.run(pl.LazyFrame(), None, refused)  # type: ignore[arg-type]

    with pytest.raises(JobError, match=words) as raised:
        run("attach")
    assert raised.value.failure is Failure.STORAGE_AUTH
    assert ("AWS_" in raised.value.message) == (refusal.errno is None)
    with pytest.raises(type(refusal)):
        run("operator")  # whose pods have the job's
