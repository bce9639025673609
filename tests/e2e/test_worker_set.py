"""A set of ranks in real pods of a real runtime image: it forms, commits, and ends with the first cause of a failure.

No GPU is needed: the communicator is UCXX over TCP. With the real engine a set ends at its first CUDA call; with the
test engine, which computes on the CPU, it goes all the way to the commit.
"""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import polars as pl
import pytest

from gpuquery.api.labels import PROGRESS_PORT, RENDEZVOUS_PORT
from tests.e2e import sets
from tests.e2e.conftest import HEARTBEAT
from tests.e2e.jobs import Bench, condition, true
from tests.support.faultproxy import Action, FaultProxy, Rule
from tools.kubectl import wait_until

if TYPE_CHECKING:
    from pathlib import Path

LONG = partial(pytest.param, marks=pytest.mark.faults)
"""What `make test-faults` runs and `make test` does not."""
END_SECONDS = 4 * HEARTBEAT + 36
"""Far above what the end of a set takes, far below what one that hangs would take."""


def rows_wanted(tables: Path) -> pl.DataFrame:
    """What the query of the sets gives."""
    lines = pl.scan_parquet(tables / "lineitem" / "*.parquet")
    kept = lines.filter(pl.col("l_quantity") > 25).select("l_orderkey", "l_linenumber", "l_quantity")
    return kept.sort("l_orderkey", "l_linenumber").collect()


def rows_of(bench: Bench, name: str) -> pl.DataFrame:
    """What a job has committed."""
    keys = [key for key in bench.keys(f"out/{name}/data/") if key.endswith(".parquet")]
    bodies = [bench.lake.client().get_object(Bucket="lake", Key=key)["Body"].read() for key in keys]
    return pl.concat([pl.read_parquet(body) for body in bodies]).sort("l_orderkey", "l_linenumber")


def cause(ranks: sets.Set, since: datetime, seconds: float = END_SECONDS) -> dict[str, str]:
    """Wait for the end of a set that something was done to; returns its Failed condition."""
    job = ranks.bench.ended(ranks.name, timeout=seconds + 30)
    assert datetime.now(UTC) - since < timedelta(seconds=seconds), "the set ended in bounded time"
    failed = condition(job, "Failed")
    assert failed and failed["status"] == "True", job["status"]
    assert ranks.bench.commits(f"out/{ranks.name}") == []
    return failed


def now() -> datetime:
    """This moment."""
    return datetime.now(UTC)


@pytest.mark.parametrize("pods", [LONG(2), 3, LONG(8)])
def test_a_set_of_the_real_engine_forms_and_says_that_there_is_no_gpu(bench: Bench, pods: int) -> None:
    ranks = sets.started(bench, pods=pods, image="runtime")
    job = bench.ended(ranks.name)
    failed = condition(job, "Failed")
    assert failed and failed["reason"] == "NoGpu", job["status"]
    assert ranks.name in failed["message"], "the pod is named"
    (attempt,) = job["status"]["attempts"]
    assert attempt.get("ready"), "the communicator was formed and its barrier passed"


def test_the_gpus_of_one_pod_are_ranks_too(bench: Bench, tables: Path) -> None:
    ranks = sets.started(bench, pods=1, gpus=3)
    job = bench.ended(ranks.name)
    assert true(job, "Complete"), condition(job, "Failed")
    assert rows_of(bench, ranks.name).equals(rows_wanted(tables))


def test_a_set_commits_once_what_its_ranks_have_written(bench: Bench, tables: Path) -> None:
    ranks = sets.started(bench, pods=3, env={"TEST_ENGINE_PAUSE": "1.5"})
    found = ranks.reaches("running")
    assert (found["ranks"], found["joined"]) == (3, 3)
    job = bench.ended(ranks.name)
    assert true(job, "Complete"), condition(job, "Failed")
    (attempt,) = job["status"]["attempts"]
    assert attempt.get("ready"), "the set was told as ready"
    wanted = rows_wanted(tables)
    assert rows_of(bench, ranks.name).equals(wanted), "no row lost, none doubled"
    output = job["status"]["output"]
    assert (output["rows"], output["files"]) == (wanted.height, 9), "three files of each rank"
    assert len(bench.commits(f"out/{ranks.name}")) == 1
    assert bench.uploads(f"out/{ranks.name}") == []
    assert bench.warnings(ranks.name) == [], "no probe fails in a healthy life"


@pytest.mark.faults
def test_partitions_are_written_by_all_ranks(bench: Bench) -> None:
    sql = "SELECT l_returnflag, l_orderkey, l_linenumber, l_quantity FROM lineitem"
    ranks = sets.started(bench, pods=2, sql=sql, output={"partitionBy": ["l_returnflag"]})
    job = bench.ended(ranks.name)
    assert true(job, "Complete"), condition(job, "Failed")
    assert job["status"]["output"]["partitions"] == 3
    of_ranks = {key.rpartition("/")[2].split("-")[3] for key in bench.keys(f"out/{ranks.name}/data/")}
    assert len(of_ranks) == 2, "files of both ranks"


KILLS = [
    pytest.param(1, "SIGKILL", "WorkerLost", id="a rank killed"),
    LONG(0, "SIGKILL", "WorkerLost", id="the rank of index 0 killed"),
    LONG(2, "SIGSTOP", "RankStalled", id="a rank frozen"),
]


@pytest.mark.parametrize(("index", "signal", "reason"), KILLS)
def test_a_rank_that_dies_or_freezes_while_the_query_runs_ends_the_set_with_that_cause(
    bench: Bench, index: int, signal: str, reason: str
) -> None:
    ranks = sets.started(bench, env=sets.SLOW)
    ranks.reaches("running", files=1)
    pod = ranks.pod(index)
    ranks.signal_ranks(index, signal)
    failed = cause(ranks, now())
    assert failed["reason"] == reason, failed
    assert pod in failed["message"], "the first cause names its pod"


@pytest.mark.faults
def test_a_rank_that_dies_while_the_set_forms_ends_it(bench: Bench) -> None:
    ranks = sets.started(bench, env={"TEST_ENGINE_FAULT": "1:join:hang"})
    wait_until(lambda: (ranks.progress() or {}).get("phase") == "planning", what="index 0 to answer")
    pod, since = ranks.pod(1), now()
    ranks.signal_ranks(1, "SIGKILL")
    failed = cause(ranks, since)
    assert failed["reason"] == "WorkerLost", failed
    assert pod in failed["message"]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        LONG("1:run:abort", "WorkerLost"),
        LONG("2:write:exit", "InternalError"),
        LONG("1:write:spin-in-native", "RankStalled"),
        LONG("0:end:disk-full", "ScratchFull"),
        LONG("2:write:oom", "HostOutOfMemory"),
    ],
)
def test_the_class_of_a_ranks_end_is_that_of_the_job(bench: Bench, fault: str, reason: str) -> None:
    ranks = sets.started(bench, env={"TEST_ENGINE_FAULT": fault})
    failed = cause(ranks, now() + timedelta(seconds=60))
    assert failed["reason"] == reason, failed


@pytest.mark.faults
def test_ranks_that_wait_for_each_other_are_ended_with_their_heartbeats_going_on(bench: Bench) -> None:
    """One rank never comes to a barrier of the library, which knows no time limit; every process lives."""
    ranks = sets.started(bench, env={"TEST_ENGINE_FAULT": "1:run:hang"}, stall=15)
    ranks.reaches("running")
    since = now()
    failed = cause(ranks, since)
    assert failed["reason"] == "RankStalled", failed
    assert "no process has made progress for 15 s: 3 of 3 processes" in failed["message"]


@pytest.mark.faults
@pytest.mark.parametrize("index", [0, 1])
def test_a_supervisor_that_is_frozen_ends_the_set(bench: Bench, index: int) -> None:
    """Its ranks run on, and Kubernetes sees nothing: as on a node that is cut off.

    Index 0 is given the time of a commit that it may be at, and Kubernetes' own until a pod is killed.
    """
    if not bench.cluster.is_one_node:
        pytest.skip("the processes of another cluster are not this machine's")
    ranks = sets.started(bench, env=sets.SLOW)
    ranks.reaches("running", files=1)
    pod, since = ranks.pod(index), now()
    ranks.freeze_supervisor(index)
    failed = cause(ranks, since, END_SECONDS if index else 2 * END_SECONDS)
    assert failed["reason"] == "WorkerLost", failed
    assert pod in failed["message"] or (index == 0 and "index 0" in failed["message"]), failed


@pytest.mark.faults
@pytest.mark.parametrize("index", [0, 1])
def test_a_pod_that_is_gone_ends_the_set(bench: Bench, index: int) -> None:
    ranks = sets.started(bench, env=sets.SLOW)
    ranks.reaches("running", files=1)
    since = now()
    ranks.kill_pod(index)
    assert cause(ranks, since)["reason"] in ("WorkerLost", "Evicted")


@pytest.mark.faults
@pytest.mark.parametrize(("one", "other", "reason"), [(0, 1, "WorkerLost"), (1, 2, "TransportError")])
def test_a_cut_between_two_pods_ends_the_set(bench: Bench, one: int, other: int, reason: str) -> None:
    if not bench.cluster.is_one_node:
        pytest.skip("the network of another cluster is not this machine's to cut")
    ranks = sets.started(bench, env=sets.SLOW)
    ranks.reaches("running", files=1)
    both, since = (ranks.pod(one), ranks.pod(other)), now()
    with ranks.cut(one, other):
        failed = cause(ranks, since)
    assert failed["reason"] == reason, failed
    named = [pod in failed["message"] for pod in both]
    # Without the coordinator between them, each side takes the other for lost, and one of them is told.
    assert all(named) or (one == 0 and (any(named) or "index 0" in failed["message"])), failed


@pytest.mark.faults
def test_the_next_attempt_commits_and_takes_away_what_the_first_has_left(bench: Bench, tables: Path) -> None:
    ranks = sets.started(bench, env={"TEST_ENGINE_PAUSE": "4"}, backoffLimit=1)
    ranks.reaches("running", files=1)
    ranks.signal_ranks(1, "SIGKILL")
    job = bench.ended(ranks.name)
    assert true(job, "Complete"), condition(job, "Failed")
    assert [a.get("reason") for a in job["status"]["attempts"]] == ["WorkerLost", None]
    assert rows_of(bench, ranks.name).equals(rows_wanted(tables))
    assert len(bench.commits(f"out/{ranks.name}")) == 1
    assert bench.uploads(f"out/{ranks.name}") == []
    assert not [item for item in ranks.objects() if item.endswith("-1")], "nothing of the first attempt is left"


@pytest.mark.faults
def test_a_rank_that_dies_while_index_0_commits_does_not_undo_it(bench: Bench, proxy: FaultProxy, tables: Path) -> None:
    proxy.rules.append(Rule(Action.DELAY, method="PUT", target="_commits/", seconds=8.0))
    slow = Bench(bench.cluster, bench.lake, bench.namespace, proxy.endpoint, bench.names)
    ranks = sets.started(slow)
    ranks.reaches("committing")
    ranks.signal_ranks(1, "SIGKILL")
    job = bench.ended(ranks.name)
    assert true(job, "Complete"), condition(job, "Failed")
    assert len(bench.commits(f"out/{ranks.name}")) == 1
    assert rows_of(bench, ranks.name).equals(rows_wanted(tables))


@pytest.mark.faults
def test_strangers_at_the_rendezvous_disturb_nobody(bench: Bench, tables: Path) -> None:
    if not bench.cluster.is_one_node:
        pytest.skip("the pods of another cluster are not reached from here")
    ranks = sets.started(bench, env={"TEST_ENGINE_PAUSE": "2"})
    ranks.reaches("planning")
    target = (ranks.address(0), RENDEZVOUS_PORT)
    half_open = socket.create_connection(target, timeout=5)
    for number in range(300):
        with socket.create_connection(target, timeout=5) as stranger:
            stranger.sendall([b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 4096, b"\0\0\0\2{}"][number % 3])
    job = bench.ended(ranks.name)
    half_open.close()
    assert true(job, "Complete"), condition(job, "Failed")
    assert rows_of(bench, ranks.name).equals(rows_wanted(tables))


@pytest.mark.faults
def test_a_second_supervisor_in_a_pod_joins_nobody(bench: Bench, tables: Path) -> None:
    ranks = sets.started(bench, env={"TEST_ENGINE_PAUSE": "3"})
    ranks.reaches("running")
    twin = bench.cluster.run(
        "exec", "-n", bench.namespace, ranks.pod(1), "-c", "runner", "--",
        "timeout", "20", "python", "-m", "gpuquery.runner.supervisor", "--port", str(PROGRESS_PORT + 100),
        "--set-port", str(RENDEZVOUS_PORT), "--termination-log", "/scratch/twin.json",
        check=False,
    )  # fmt: skip
    job = bench.ended(ranks.name)
    assert true(job, "Complete"), (condition(job, "Failed"), twin)
    assert rows_of(bench, ranks.name).equals(rows_wanted(tables))


@pytest.mark.faults
def test_a_set_of_which_one_pod_finds_no_node_says_so_and_gives_up_in_time(bench: Bench) -> None:
    ranks = sets.started(bench, pods=2, gpus=5, startDeadlineSeconds=25)

    def told() -> bool:
        found = condition(bench.get(ranks.name), "ClusterReady")
        return found is not None and found["reason"] == "Unschedulable"

    wait_until(told, what="ClusterReady to say Unschedulable")
    job = bench.ended(ranks.name)
    failed = condition(job, "Failed")
    assert failed and failed["reason"] == "StartDeadlineExceeded", failed
    assert "nvidia.com/gpu" in failed["message"]


@pytest.mark.faults
def test_a_pod_that_comes_late_is_waited_for(bench: Bench, tables: Path) -> None:
    first = sets.started(bench, pods=1, gpus=6, env={"TEST_ENGINE_PAUSE": "5"})
    first.reaches("running")
    second = sets.started(bench, pods=2, gpus=2)
    late = wait_until(lambda: len(second.pods()) == 2, what="both pods of the second set")
    assert late
    job = bench.ended(second.name)
    assert true(job, "Complete"), condition(job, "Failed")
    assert rows_of(bench, second.name).equals(rows_wanted(tables))
    assert true(bench.ended(first.name), "Complete")
