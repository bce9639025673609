"""Queries on Dask clusters in real pods: the attempt's own, one that dask-kubernetes makes of it, one that is warm.

The clusters talk by UCX over TCP. With the real engine they end at the first look for a GPU; with the test engine the
workers are on the CPU and shuffle rows among themselves, and everything goes all the way to the commit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e import sets
from tests.e2e.conftest import HEARTBEAT
from tests.e2e.dask_clusters import WarmCluster, warm
from tests.e2e.jobs import Bench, condition, fresh, true
from tests.e2e.test_worker_set import LONG, cause, now, rows_of, rows_wanted
from tests.support.certificates import Authority
from tools import dask_kubernetes
from tools.kubectl import Cluster, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENGINES = [
    LONG("26.04", "tasks", 4, id="tasks of 26.04"),
    LONG("26.04", "rapidsmpf", 4, id="rapidsmpf of 26.04"),
    LONG("26.10", "rapidsmpf", 4, id="rapidsmpf of 26.10"),
]

BOUND = 4.0 * HEARTBEAT + 60
"""Seconds until a job has ended of which something was lost that cannot tell."""
PATIENCE = 400.0
"""Seconds for a job: a cluster is some twenty processes that import for seconds each."""


def native(bench: Bench, release: str, engine: str, **given: Any) -> sets.Set:
    """Apply a job whose own pods are a Dask cluster."""
    return sets.started(bench, release=release, engine=engine, dask={"backend": "native"}, **given)


def committed(ranks: sets.Set, tables: Any) -> dict[str, Any]:
    """Wait for the commit of a job, and compare its rows; returns the job."""
    job = ranks.bench.ended(ranks.name, timeout=PATIENCE)
    assert true(job, "Complete"), condition(job, "Failed")
    assert rows_of(ranks.bench, ranks.name).equals(rows_wanted(tables)), "no row lost, none doubled"
    assert len(ranks.bench.commits(f"out/{ranks.name}")) == 1
    assert ranks.bench.uploads(f"out/{ranks.name}") == []
    return job


# --- The attempt's own pods


@pytest.mark.parametrize(
    ("release", "engine", "pods"), [pytest.param("26.10", "rapidsmpf", 2, id="two pods of 26.10"), *ENGINES]
)
def test_pods_shuffle_over_ucx_and_commit_once(bench: Bench, tables: Any, release: str, engine: str, pods: int) -> None:
    ranks = native(bench, release, engine, pods=pods)
    job = committed(ranks, tables)
    assert job["status"]["output"]["files"] == 3 * pods, "three files of each worker"
    (attempt,) = job["status"]["attempts"]
    assert attempt.get("ready"), "all workers had joined"


@pytest.mark.parametrize(("release", "engine", "pods"), ENGINES)
def test_the_real_workers_say_that_there_is_no_gpu(bench: Bench, release: str, engine: str, pods: int) -> None:
    ranks = native(bench, release, engine, pods=pods // 2, image="runtime")
    failed = condition(bench.ended(ranks.name, timeout=PATIENCE), "Failed")
    assert failed and failed["reason"] == "NoGpu", failed
    assert bench.commits(f"out/{ranks.name}") == []


@pytest.mark.parametrize(
    ("fault", "reason", "words"),
    [
        pytest.param("1:task:kill", "WorkerLost", "Dask worker", id="a worker killed"),
        LONG("1:task:stop", "RankStalled", "Dask worker", id="a worker frozen"),
        LONG("2:task:disk-full", "ScratchFull", "No space left", id="disk full on a worker"),
        LONG("0:run:kill-scheduler", "WorkerLost", "Dask scheduler", id="the scheduler killed"),
        LONG("0:run:stop-scheduler", "RankStalled", "Dask scheduler", id="the scheduler frozen"),
        LONG("2:run:kill-nanny", "WorkerLost", "Dask workers of this pod", id="a nanny killed"),
        LONG("0:run:kill", "WorkerLost", "SIGKILL", id="the client killed"),
    ],
)
def test_the_first_cause_is_the_jobs(bench: Bench, fault: str, reason: str, words: str) -> None:
    pods = max(2, int(fault[0]) + 1)
    ranks = native(bench, "26.10", "rapidsmpf", pods=pods, env={"TEST_ENGINE_FAULT": fault})
    job = bench.ended(ranks.name, timeout=PATIENCE)
    failed = condition(job, "Failed")
    assert failed and failed["reason"] == reason, failed
    assert words in failed["message"]
    assert bench.commits(f"out/{ranks.name}") == []


@pytest.mark.faults
@pytest.mark.parametrize("index", [0, 1])
def test_a_pod_that_is_gone_ends_the_cluster(bench: Bench, index: int) -> None:
    ranks = native(bench, "26.04", "tasks", env={"TEST_ENGINE_HOLD": "60"})
    ranks.reaches("running")
    since = now()
    ranks.kill_pod(index)
    assert cause(ranks, since, BOUND)["reason"] in ("WorkerLost", "Evicted")


@pytest.mark.faults
def test_a_lost_connection_between_two_pods_ends_the_cluster(bench: Bench) -> None:
    if not bench.cluster.is_one_node:
        pytest.skip("the network of another cluster is not this machine's to cut")
    ranks = native(bench, "26.10", "rapidsmpf", env={"TEST_ENGINE_HOLD": "60"})
    ranks.reaches("running")
    since = now()
    with ranks.cut(1, 2):
        failed = cause(ranks, since, BOUND)
    assert failed["reason"] == "TransportError", failed


# --- A DaskCluster of the attempt


def by_operator(bench: Bench, release: str, engine: str, **given: Any) -> sets.Set:
    """Apply a job whose cluster dask-kubernetes makes."""
    return sets.started(bench, release=release, engine=engine, dask={"backend": "operator"}, **given)


def daskclusters(bench: Bench, name: str) -> list[str]:
    """Return the DaskClusters and their Deployments that there are of a job."""
    kinds = "daskclusters,deployments,daskworkergroups"
    found = bench.cluster.get(kinds, "-n", bench.namespace, "-l", f"gpuquery.io/job={name}")["items"]
    return [f"{each['kind']}/{each['metadata']['name']}" for each in found]


@pytest.mark.parametrize(
    ("release", "engine"),
    [pytest.param("26.04", "tasks", id="tasks of 26.04"), LONG("26.10", "rapidsmpf", id="rapidsmpf of 26.10")],
)
def test_workers_of_a_daskcluster_give_their_rows_and_go_with_the_attempt(
    bench: Bench, tables: Any, release: str, engine: str
) -> None:
    ranks = by_operator(bench, release, engine, pods=2)
    committed(ranks, tables)
    assert daskclusters(bench, ranks.name) == [], "terminal means that nothing of it holds a GPU"


@pytest.mark.faults
def test_real_workers_of_a_daskcluster_say_that_there_is_no_gpu(bench: Bench) -> None:
    ranks = by_operator(bench, "26.10", "rapidsmpf", pods=2, image="runtime")
    failed = condition(bench.ended(ranks.name, timeout=PATIENCE), "Failed")
    assert failed and failed["reason"] == "NoGpu", failed
    assert daskclusters(bench, ranks.name) == []


@pytest.mark.faults
def test_without_its_operator_a_daskcluster_is_given_up_in_time_and_the_reason_says_so(bench: Bench) -> None:
    with dask_kubernetes.without_operator(bench.cluster):
        ranks = by_operator(bench, "26.10", "rapidsmpf", pods=2, startDeadlineSeconds=30)

        def told() -> bool:
            found = condition(bench.get(ranks.name), "ClusterReady")
            return found is not None and found["reason"] == "DaskClusterNotHandled"

        wait_until(told, what="ClusterReady to name the operator")
        failed = condition(bench.ended(ranks.name, timeout=PATIENCE), "Failed")
        assert failed and failed["reason"] == "StartDeadlineExceeded", failed
        assert "dask-kubernetes" in failed["message"]


# --- A cluster that is warm


@pytest.fixture(scope="module")
def shared(cluster: Cluster, operator: None, lake: Any) -> Iterator[WarmCluster]:
    """A warm cluster of two workers in the namespace of the jobs."""
    with warm(cluster, "gpuquery-e2e", workers=2, protocol="ucx", gpus=1, lake=lake) as made:
        yield made


def attached(bench: Bench, dask: dict[str, Any], **given: Any) -> sets.Set:
    """Apply a job that runs on a cluster of somebody else's."""
    return sets.started(bench, pods=2, release="26.10", engine="rapidsmpf", dask=dask, **given)


def test_two_jobs_run_on_a_warm_cluster_after_each_other_and_leave_it_as_it_was(
    bench: Bench, tables: Any, shared: WarmCluster
) -> None:
    before = shared.workers()
    first = attached(bench, {"clusterRef": {"name": shared.name}}, env={"TEST_ENGINE_HOLD": "15"})
    first.reaches("running")
    second = attached(bench, {"schedulerAddress": shared.address})
    wait_until(second.pods, what="the pod of the second job")
    for ranks in (first, second):
        committed(ranks, tables)
    ends = [bench.get(ranks.name)["status"]["completionTime"] for ranks in (first, second)]
    assert ends[0] <= ends[1]
    assert shared.workers() == before
    assert daskclusters(bench, first.name) == []


@pytest.mark.faults
def test_a_worker_of_a_warm_cluster_that_is_lost_ends_the_job(bench: Bench, cluster: Cluster) -> None:
    with warm(cluster, bench.namespace, workers=2, protocol="tcp", gpus=1, lake=bench.lake) as made:
        ranks = attached(bench, {"clusterRef": {"name": made.name}}, env={"TEST_ENGINE_HOLD": "60"})
        ranks.reaches("running")
        since = now()
        made.kill("worker")
        assert cause(ranks, since, BOUND)["reason"] == "WorkerLost"


def test_a_cluster_that_is_not_there_is_named(bench: Bench) -> None:
    ranks = attached(bench, {"clusterRef": {"name": "nowhere"}}, startDeadlineSeconds=8)
    failed = condition(bench.ended(ranks.name, timeout=PATIENCE), "Failed")
    assert failed and failed["reason"] in ("ClusterUnavailable", "StartDeadlineExceeded"), failed
    assert "nowhere" in failed["message"]


def put_secret(bench: Bench, name: str, files: Path) -> None:
    """Make a Secret of the files in a folder, or change it to them."""
    data = {file.name: file.read_text() for file in files.iterdir()}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}
    bench.cluster.apply(secret, namespace=bench.namespace)


@pytest.mark.faults
def test_a_job_brings_its_certificates_to_a_warm_cluster_that_speaks_tls(
    bench: Bench, cluster: Cluster, tables: Any, tmp_path: Path
) -> None:
    """That the cluster does so is read off its object; a Secret that comes late is waited for."""
    authority, name = Authority(tmp_path), fresh("tls")
    put_secret(bench, f"{name}-servers", authority.signed("servers"))
    put_secret(bench, f"{name}-stranger", Authority(tmp_path, "stranger").signed("client"))
    secrets = [f"{name}-servers", f"{name}-stranger", f"{name}-client"]
    try:
        with warm(
            cluster, bench.namespace, workers=2, protocol="tls", gpus=1, lake=bench.lake, secret=secrets[0]
        ) as made:
            asked = {"clusterRef": {"name": made.name}}
            late = attached(bench, {**asked, "tlsSecretName": secrets[2]})

            def told() -> bool:
                found = condition(bench.get(late.name), "ClusterReady")
                return found is not None and found["reason"] == "SecretNotFound" and secrets[2] in found["message"]

            wait_until(told, what="ClusterReady to name the Secret")
            put_secret(bench, secrets[2], authority.signed("client"))
            committed(late, tables)
            stranger = attached(bench, {"schedulerAddress": made.address, "tlsSecretName": secrets[1]})
            failed = condition(bench.ended(stranger.name, timeout=PATIENCE), "Failed")
            assert failed and failed["reason"] == "ClusterUnavailable", failed
            assert "no TLS with the Dask scheduler at" in failed["message"]
            assert bench.commits(f"out/{stranger.name}") == []
    finally:
        cluster.run("delete", "secret", "-n", bench.namespace, "--ignore-not-found", *secrets)
