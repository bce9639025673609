"""Dask clusters with the packages of a release: schedulers, workers and connections are real, rows are on the CPU.

A run takes a dozen processes that import for seconds each, so every test here is slow on a small machine: `make
test-releases` runs one of each kind, `make test-dask-faults` the others.
"""

from __future__ import annotations

import signal
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from gpuquery.api.reasons import Failure
from gpuquery.plan.dask import flags
from gpuquery.plan.releases import RELEASES
from tests.releases.dask_jobs import KINDS, LAST, LONG, RAPIDSMPF, TASKS, WANTED, attached, each, rows, stub
from tests.releases.environments import python_of
from tests.support.certificates import Authority, client, servers
from tests.support.dask_pods import Pods, dask
from tests.support.engine_ranks import TEST_ENGINE, environment
from tests.support.ranks import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.dask_cluster import Warm

pytestmark = [pytest.mark.releases, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.mark.parametrize(("release", "engine"), each([TASKS, ("26.04", "rapidsmpf"), RAPIDSMPF]))
def test_three_pods_shuffle_over_ucx_and_commit(start: Callable[..., Pods], release: str, engine: str) -> None:
    """The time limit that a job sets for workers that do not beat is not the one that counts."""
    env = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "5s", "TEST_ENGINE_HOLD": "15"}
    pods = start(release, engine, env=env)
    ends = pods.ends()
    assert [code for code, _ in ends] == [0, 0, 0], pods.logs()
    assert ends[0][1].committed is not None
    assert rows(pods) == WANTED
    assert ends[0][1].committed.files == 9, "each of three workers wrote three files"
    assert f"{RELEASES[release].dask.protocol}://" in pods.log(0)
    assert pods.left() == []


@pytest.mark.parametrize(("method", "connected"), [("rapidsmpf", 3), ("tasks", 0)])
@pytest.mark.parametrize(("release", "engine"), each(of="tasks"))
def test_rapidsmpf_connects_the_workers_where_it_shuffles(
    start: Callable[..., Pods], release: str, engine: str, method: str, connected: int
) -> None:
    """By a communicator of its own, which is real, its buffers of GPU memory are not; the rows go over Dask."""
    pods = start(release, engine, executorOptions={"shuffle_method": method})
    assert [code for code, _ in pods.ends()] == [0, 0, 0], pods.logs()
    assert f"workers connected by rapidsmpf: {connected} of 3" in pods.log(0)
    assert rows(pods) == WANTED
    assert pods.left() == []


class Fault(NamedTuple):
    """What is asked of the test engine, and what is to be told of it."""

    asked: str
    failure: Failure
    words: str
    pod: str = ""


LOST, STALLED = Failure.WORKER_LOST, Failure.RANK_STALLED
FAULTS = {
    "worker killed": Fault("1:task:kill", LOST, "the Dask worker pod-1 died of signal 9", "pod-1"),
    "worker frozen": Fault("1:task:stop", STALLED, "the Dask worker with process id", "pod-1"),
    "worker in native code": Fault("1:task:spin-in-native", STALLED, "the Dask worker with", "pod-1"),
    "disk full on a worker": Fault("2:task:disk-full", Failure.SCRATCH_FULL, "No space left"),
    "scheduler killed": Fault("0:run:kill-scheduler", LOST, "Dask scheduler died of signal 9", "pod-0"),
    "scheduler frozen": Fault("0:run:stop-scheduler", STALLED, "the Dask scheduler", "pod-0"),
    "nanny killed": Fault("2:run:kill-nanny", LOST, "the Dask workers of this pod died of", "pod-2"),
    "client killed": Fault("0:run:kill", LOST, "died of signal 9", "pod-0"),
}


SHORT = {(*TASKS, "worker killed"), (*RAPIDSMPF, "worker frozen")}


def faults() -> Iterator[Any]:
    """Every fault with both engines, and one with every other release."""
    for name, fault in FAULTS.items():
        for kind in KINDS:
            if kind not in (TASKS, RAPIDSMPF) and name != "worker killed":
                continue
            made = pytest.param if (*kind, name) in SHORT else LONG
            yield made(*kind, fault, id=f"{'-'.join(kind)}-{name}")


@pytest.mark.parametrize(("release", "engine", "fault"), list(faults()))
def test_the_first_cause_is_told_and_nothing_is_left(
    start: Callable[..., Pods], release: str, engine: str, fault: Fault
) -> None:
    pods = start(release, engine, env={"TEST_ENGINE_FAULT": fault.asked})
    ends = pods.ends()
    assert [code for code, _ in ends] == [1, 1, 1], pods.logs()
    for _, report in ends:
        assert report.failure is fault.failure, f"{report}\n{pods.logs()}"
        assert fault.words in report.message, report.message
        assert not fault.pod or report.pod == fault.pod, report
    assert not (pods.folder / "out" / "data").exists() or not list((pods.folder / "out" / "data").rglob("*.parquet"))
    assert pods.left() == []


@pytest.mark.parametrize(("release", "engine"), each())
def test_real_workers_without_a_driver_end_in_no_gpu(start: Callable[..., Pods], release: str, engine: str) -> None:
    known = RELEASES[release]
    asked = dask(protocol=known.dask.protocol, options=flags.complete({}, known))
    pods = start(release, engine, own=True, gpus=1, dask=asked)
    for code, report in pods.ends():
        assert code == 1
        assert report.failure is Failure.NO_GPU, pods.logs()
        assert "the Dask workers of this pod ended with exit code 1" in report.message
    assert pods.left() == []


# --- A cluster that is there already


@pytest.mark.parametrize(("release", "engine"), each([RAPIDSMPF], among=[TASKS, RAPIDSMPF]))
def test_two_jobs_use_a_warm_cluster_after_each_other(
    start: Callable[..., Pods], warm: Callable[..., Warm], release: str, engine: str
) -> None:
    cluster = warm(release, protocol="ucx", **stub(release))
    waits = cluster.folder / "the-second-waits"
    held = {"TEST_ENGINE_HOLD": "20", "TEST_ENGINE_UNTIL": str(waits)}
    first = start(release, engine, name="first", env=held, **attached(cluster))
    first.wait_for("running: engine")
    second = start(release, engine, name="second", job=named("second"), **attached(cluster))
    second.wait_for("is used by the job default/job: waiting for it")
    waits.touch()
    for pods in (first, second):
        code, report = pods.end(0)
        assert code == 0, f"{report}\n{pods.logs()}\n{cluster.log()[-4000:]}"
        assert rows(pods) == WANTED
    ended = [pods.end(0)[1].finished for pods in (first, second)]
    assert ended[0] < ended[1]
    assert cluster.files() == []


HOLD = """
import os, sys, time, distributed

def hold(file, over):
    open(file, "w").close()
    while not os.path.exists(over):
        time.sleep(0.1)

client = distributed.Client(sys.argv[1])
client.wait_for_workers(2)
client.run(hold, sys.argv[2], sys.argv[3])
"""


@LAST
@pytest.mark.faults
def test_a_query_that_outlives_its_client_does_not_fail_the_next_job(
    start: Callable[..., Pods], warm: Callable[..., Warm], tmp_path: Path
) -> None:
    """Whoever kills the client leaves the workers at its work, in which they answer nobody."""
    cluster = warm("26.10", protocol="ucx")
    at_work, over = tmp_path / "at-work", tmp_path / "over"
    client = subprocess.Popen(
        [python_of("26.10"), "-c", HOLD, cluster.address, str(at_work), str(over)],
        env=environment(TEST_ENGINE, UCX_TLS="tcp,self"),
    )
    try:
        until(lambda: at_work.exists() or client.poll() is not None, 300, "no worker began")
        assert client.poll() is None, cluster.log()[-4000:]
    finally:
        client.kill()
        client.wait()
    pods = start("26.10", "rapidsmpf", **attached(cluster))
    pods.wait_for("still ran the query of a job that is gone: waiting for them")
    over.touch()
    code, report = pods.end(0)
    assert code == 0, f"{report}\n{pods.logs()}\n{cluster.log()[-4000:]}"
    assert rows(pods) == WANTED


def named(name: str) -> dict[str, str]:
    return {"namespace": "default", "name": name, "uid": "0b5e1f6a-0000-4000-8000-000000000002"}


@LAST
@pytest.mark.faults
def test_a_worker_that_is_lost_ends_the_query_and_not_the_cluster(
    start: Callable[..., Pods], warm: Callable[..., Warm]
) -> None:
    cluster = warm("26.10")
    pods = start("26.10", "rapidsmpf", env={"TEST_ENGINE_HOLD": "600"}, **attached(cluster))
    pods.wait_for("running: engine")
    cluster.kill_worker(1)
    code, report = pods.end(0)
    assert code == 1
    assert report.failure is Failure.WORKER_LOST
    assert "Dask worker warm-1 left the cluster" in report.message or "lost" in report.message


AT_WORK = "Run out-of-band function 'sleep'"
"""What a worker logs when the test engine begins to hold it."""


@LAST
@pytest.mark.faults
def test_a_scheduler_that_gives_up_silent_workers_ends_the_query_and_its_limit_is_told(
    start: Callable[..., Pods], warm: Callable[..., Warm]
) -> None:
    """The limit is the cluster's own, and no job changes it."""
    cluster = warm("26.10", preload="cudf_polars", DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL="5s")
    pods = start("26.10", "rapidsmpf", env={"TEST_ENGINE_HOLD": "600"}, **attached(cluster))
    code, report = pods.end(0)
    assert code == 1
    assert report.failure is Failure.WORKER_LOST, f"{report}\n{pods.logs()}\n{cluster.log()[-4000:]}"
    assert "that has not beaten for 5 s" in report.message, report.message
    assert "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL=None" in report.message, report.message


@LAST
@pytest.mark.faults
def test_a_scheduler_of_somebody_else_s_that_is_killed_ends_the_query(
    start: Callable[..., Pods], warm: Callable[..., Warm]
) -> None:
    cluster = warm("26.10")
    pods = start("26.10", "rapidsmpf", env={"TEST_ENGINE_HOLD": "600"}, **attached(cluster))
    cluster.wait_for(AT_WORK, times=2)
    cluster.kill_scheduler()
    code, report = pods.end(0)
    assert code == 1
    assert report.failure is Failure.WORKER_LOST, f"{report}\n{pods.logs()}\n{cluster.log()[-4000:]}"


@LAST
@pytest.mark.faults
@pytest.mark.parametrize("protocol", ["tcp", "ucx", "tls"])
def test_a_worker_of_somebody_else_s_that_hangs_is_left_to_the_limit_of_the_job(
    start: Callable[..., Pods], warm: Callable[..., Warm], tmp_path: Path, protocol: str
) -> None:
    """In a pod activeDeadlineSeconds is a SIGTERM. Once the worker goes on the cluster serves the next job."""
    secret = Authority(tmp_path).signed("dask") if protocol == "tls" else None
    cluster = warm("26.10", protocol=protocol, preload="cudf_polars", **(servers(secret) if secret else {}))
    certificates = client(secret) if secret else {}
    pods = start("26.10", "rapidsmpf", env={"TEST_ENGINE_HOLD": "30", **certificates}, **attached(cluster))
    cluster.wait_for(AT_WORK, times=2)
    cluster.signal_worker(1, signal.SIGSTOP)
    pods.processes[0].terminate()
    code, report = pods.end(0, 60)
    assert code != 0 and "SIGTERM" in report.message, f"{report}\n{pods.logs()}"
    assert cluster.runs()
    cluster.signal_worker(1, signal.SIGCONT)
    after = start("26.10", "rapidsmpf", name="after", job=named("after"), env=certificates, **attached(cluster))
    code, report = after.end(0)
    assert code == 0, f"{report}\n{after.logs()}\n{cluster.log()[-4000:]}"
    assert rows(after) == WANTED
    assert cluster.files() == [], "what the first has left is removed too"


@LAST
@pytest.mark.faults
def test_a_long_query_that_holds_every_event_loop_is_not_ended(
    start: Callable[..., Pods], warm: Callable[..., Warm]
) -> None:
    """Its workers answer no question meanwhile, and nobody's log fills up."""
    cluster = warm("26.10", protocol="ucx", preload="cudf_polars")
    pods = start("26.10", "rapidsmpf", heartbeatSeconds=4.0, env={"TEST_ENGINE_HOLD": "70"}, **attached(cluster))
    code, report = pods.end(0)
    assert code == 0, f"{report}\n{pods.logs()}\n{cluster.log()[-4000:]}"
    assert rows(pods) == WANTED
    assert cluster.log().count("out-of-band") < 100
    assert cluster.files() == []


@LAST
@pytest.mark.faults
def test_another_version_on_the_workers_is_refused(start: Callable[..., Pods], warm: Callable[..., Warm]) -> None:
    python_of("26.10")
    cluster = warm("26.04", **stub("26.04"))
    code, report = start("26.10", "rapidsmpf", **attached(cluster)).end(0)
    assert code == 1
    assert report.failure is Failure.RELEASE_MISMATCH
    assert "has dask 2026.1.1, and the job's image has dask 2026.7.1" in report.message
