"""What breaks in the pods of a Dask cluster that are not the job's own: in those of its DaskCluster, or of a warm one.

Each time the job ends in bounded time with what was first, and keeps nothing: neither a commit nor a pod.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gpuquery.api.labels import CONTAINER, LABEL_DASK, SCRATCH_DIRECTORY
from tests.e2e.dask_clusters import SIGNAL_CHILDREN, warm
from tests.e2e.jobs import Bench, condition
from tests.e2e.test_dask import PATIENCE, attached, by_operator, committed, daskclusters
from tests.e2e.test_worker_set import cause, now
from tools.kubectl import Cluster, wait_until

if TYPE_CHECKING:
    from tests.e2e import sets

pytestmark = pytest.mark.faults

HOLD = {"TEST_ENGINE_HOLD": "300"}
"""For so many seconds the workers answer nobody, as in a query of rapidsmpf: longer than any fault here takes."""
SECONDS = 150
"""Far above what the end of a job takes whose client misses a process: at most a minute until it does, half a minute
for the client to say so, and half a minute for pods to end."""
FILL = """
import os, sys
with open(sys.argv[1] + "/filler", "wb") as file:
    os.posix_fallocate(file.fileno(), 0, int(sys.argv[2]))
"""
NO_INTERPRETER = {"DASK_DISTRIBUTED__NANNY__PRE_SPAWN_ENVIRON": "{'PYTHONHOME': '/nowhere'}"}
"""A variable by which every process that a nanny starts ends at once; nothing else looks at it."""


def pods(ranks: sets.Set, part: str) -> list[str]:
    """Return the names of the pods that dask-kubernetes has made for a job: `scheduler` or `worker`."""
    found = ranks.bench.pods(ranks.name)
    return sorted(p["metadata"]["name"] for p in found if p["metadata"]["labels"].get(LABEL_DASK) == part)


def run_in(ranks: sets.Set, pod: str, code: str, *words: str) -> None:
    """Run Python in the container of such a pod."""
    ranks.bench.cluster.run(
        "exec", "-n", ranks.bench.namespace, pod, "-c", CONTAINER, "--", "python", "-c", code, *words
    )


def running(bench: Bench, **given: Any) -> sets.Set:
    """Return a job on a DaskCluster of its own whose query runs."""
    ranks = by_operator(bench, "26.10", "rapidsmpf", **{"pods": 2, "env": HOLD, **given})
    ranks.reaches("running")
    return ranks


# --- A DaskCluster of the attempt


@pytest.mark.parametrize("part", ["scheduler", "worker"])
def test_a_pod_of_its_daskcluster_that_is_killed_ends_the_attempt(bench: Bench, part: str) -> None:
    ranks = running(bench)
    since = now()
    target = ["pod", "-n", bench.namespace, pods(ranks, part)[0]]
    bench.cluster.run("delete", *target, "--force", "--grace-period=0", "--wait=false")
    failed = cause(ranks, since, SECONDS)
    assert failed["reason"] == "WorkerLost", failed
    assert daskclusters(bench, ranks.name) == []


def test_a_worker_of_its_daskcluster_that_is_frozen_is_ended_by_its_nanny_and_ends_the_attempt(bench: Bench) -> None:
    ranks = running(bench)
    since = now()
    run_in(ranks, pods(ranks, "worker")[0], SIGNAL_CHILDREN, "SIGSTOP")
    failed = cause(ranks, since, 120 + SECONDS)
    assert failed["reason"] in ("WorkerLost", "RankStalled"), failed
    assert daskclusters(bench, ranks.name) == []


def test_the_client_of_a_daskcluster_that_is_killed_takes_the_cluster_with_it(bench: Bench) -> None:
    ranks = running(bench)
    since = now()
    ranks.kill_pod(0)
    failed = cause(ranks, since, SECONDS)
    assert failed["reason"] in ("WorkerLost", "Evicted"), failed
    assert daskclusters(bench, ranks.name) == []


def test_a_worker_of_its_daskcluster_whose_disk_is_full_is_named_though_its_pod_is_gone(bench: Bench) -> None:
    resources = {
        "requests": {"cpu": "50m", "memory": "256Mi", "ephemeral-storage": "64Mi"},
        "limits": {"cpu": "2", "memory": "2Gi", "ephemeral-storage": "256Mi"},
    }
    ranks = running(bench, workers={"replicas": 2, "gpus": 1, "resources": resources})
    since, worker = now(), pods(ranks, "worker")[0]
    run_in(ranks, worker, FILL, SCRATCH_DIRECTORY, str(512 << 20))
    failed = cause(ranks, since, 120 + SECONDS)  # the kubelet looks at volumes once a minute
    assert failed["reason"] == "ScratchFull", failed
    assert "ephemeral-storage" in failed["message"]
    assert daskclusters(bench, ranks.name) == []


def test_workers_of_its_daskcluster_that_end_at_once_each_time_are_told_of_and_given_up_in_time(bench: Bench) -> None:
    ranks = by_operator(bench, "26.10", "rapidsmpf", pods=2, env=NO_INTERPRETER, startDeadlineSeconds=180)

    def told() -> bool:
        found = condition(bench.get(ranks.name), "ClusterReady")
        return found is not None and found["reason"] == "ContainerCannotStart" and "Dask worker" in found["message"]

    wait_until(told, timeout=175, what="ClusterReady to say what the workers end of")
    failed = condition(bench.ended(ranks.name, timeout=PATIENCE), "Failed")
    assert failed and failed["reason"] == "StartDeadlineExceeded", failed
    assert bench.commits(f"out/{ranks.name}") == []
    assert daskclusters(bench, ranks.name) == []


# --- A cluster that is warm


def test_the_scheduler_of_a_warm_cluster_that_is_killed_ends_the_job(bench: Bench, cluster: Cluster) -> None:
    with warm(cluster, bench.namespace, workers=2, protocol="tcp", gpus=1, lake=bench.lake) as made:
        ranks = attached(bench, {"clusterRef": {"name": made.name}}, env=HOLD)
        ranks.reaches("running")
        since = now()
        made.kill("scheduler")
        assert cause(ranks, since, SECONDS)["reason"] == "WorkerLost"


def test_a_warm_cluster_whose_client_was_killed_serves_the_next_job(
    bench: Bench, cluster: Cluster, tables: Any
) -> None:
    with warm(cluster, bench.namespace, workers=2, protocol="ucx", gpus=1, lake=bench.lake) as made:
        before = made.workers()
        ranks = attached(bench, {"clusterRef": {"name": made.name}}, env={"TEST_ENGINE_HOLD": "45"})
        ranks.reaches("running")
        since = now()
        ranks.kill_pod(0)
        failed = cause(ranks, since, SECONDS)
        assert failed["reason"] in ("WorkerLost", "Evicted"), failed
        committed(attached(bench, {"clusterRef": {"name": made.name}}), tables)
        assert made.workers() == before


def test_a_full_disk_on_a_worker_of_a_warm_cluster_is_told_and_leaves_the_worker_alone(
    bench: Bench, cluster: Cluster
) -> None:
    broken = {"TEST_ENGINE_FAULT": "0:task:disk-full", "JOB_COMPLETION_INDEX": "0"}
    with warm(cluster, bench.namespace, workers=2, protocol="tcp", gpus=1, lake=bench.lake, env=broken) as made:
        before = made.workers()
        ranks = attached(bench, {"clusterRef": {"name": made.name}})
        failed = condition(bench.ended(ranks.name, timeout=PATIENCE), "Failed")
        assert failed and failed["reason"] == "ScratchFull", failed
        assert "No space left" in failed["message"]
        assert bench.commits(f"out/{ranks.name}") == []
        assert made.workers() == before


def test_workers_of_a_warm_cluster_that_end_at_once_each_time_are_missed_by_name_of_the_cluster(
    bench: Bench, cluster: Cluster
) -> None:
    with warm(
        cluster, bench.namespace, workers=2, protocol="tcp", gpus=1, lake=bench.lake, env=NO_INTERPRETER, wait=False
    ) as made:
        wait_until(lambda: made.workers() == frozenset(), what=f"the scheduler of {made.name}")
        ranks = attached(bench, {"clusterRef": {"name": made.name}}, startDeadlineSeconds=180)
        failed = condition(bench.ended(ranks.name, timeout=PATIENCE), "Failed")
        assert failed and failed["reason"] == "WorkerLost", failed
        assert made.name in failed["message"] and "0 workers" in failed["message"]
