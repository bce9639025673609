"""Maxima of a namespace on a real API server: what is refused, who waits for whom, and which finished jobs go.

None of these jobs has a pod, so each test takes seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.jobs import condition, fresh, true
from tests.support.job_tables import job
from tools.kubectl import Cluster, wait_until

MISSING = {"configMapKeyRef": {"name": "to-come", "key": "q.sql"}}
BAD = {"query": {"sql": "SELECT 1 AS a"}, "inputs": [], "output": {"uri": "file:///nowhere"}}
Namespaced = Callable[..., "Tenant"]


class Tenant:
    """A namespace with annotations, and the jobs in it."""

    def __init__(self, cluster: Cluster, **annotations: int) -> None:
        self.cluster, self.name = cluster, fresh("limits")
        noted = {f"gpuquery.io/{key.replace('_', '-')}": str(value) for key, value in annotations.items()}
        about = {"name": self.name, "annotations": noted}
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": about})

    def apply(self, name: str, **spec: Any) -> None:
        self.cluster.apply(job(name, **{"query": MISSING, **spec}), namespace=self.name)

    def accepted(self, name: str) -> tuple[str, str]:
        """Status and reason of the job's condition Accepted."""
        found = condition(self.cluster.get("gqj", name, "-n", self.name), "Accepted") or {}
        return found.get("status", ""), found.get("reason", "")

    def comes_to(self, name: str, status: str, reason: str) -> None:
        wait_until(lambda: self.accepted(name) == (status, reason), what=f"{name} to be {status}/{reason}")

    def failed(self, name: str, **spec: Any) -> dict[str, Any]:
        """Apply a job that is refused, and return its condition."""
        self.apply(name, **spec)

        def refused() -> dict[str, Any] | None:
            return condition(found, "Failed") if true(found := self.job(name), "Failed") else None

        told: dict[str, Any] = wait_until(refused, what=f"{name} to be refused")
        return told

    def job(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.cluster.get("gqj", name, "-n", self.name)
        return found

    def names(self) -> set[str]:
        return {found["metadata"]["name"] for found in self.cluster.get("gqj", "-n", self.name)["items"]}


@pytest.fixture
def tenant(cluster: Cluster, operator: None) -> Iterator[Namespaced]:
    """Makes a namespace that is gone afterwards."""
    made: list[Tenant] = []

    def make(**annotations: int) -> Tenant:
        made.append(Tenant(cluster, **annotations))
        return made[-1]

    yield make
    for one in made:
        cluster.run("delete", "namespace", one.name, "--wait=false")


def test_jobs_over_the_maximum_wait_and_begin_in_the_order_of_their_creation(tenant: Namespaced) -> None:
    here = tenant(max_live_jobs=1)
    here.apply("first")
    here.comes_to("first", "False", "Pending")
    for name in ("second", "third"):
        time.sleep(1)  # objects say in which second they were created, and no more
        here.apply(name)
        here.comes_to(name, "Unknown", "TooManyJobs")
    here.cluster.run("delete", "gqj", "first", "-n", here.name)
    here.comes_to("second", "False", "Pending")
    assert here.accepted("third") == ("Unknown", "TooManyJobs")


def test_the_oldest_finished_jobs_over_the_limit_are_deleted_and_an_event_says_so(tenant: Namespaced) -> None:
    here = tenant(max_finished_jobs=1)
    here.failed("old", **BAD)
    here.failed("new", **BAD)
    here.failed("newest", **BAD)
    wait_until(lambda: here.names() == {"newest"}, what="the older ones to go")
    told = here.cluster.get("events", "-n", here.name, "--field-selector", "reason=HistoryLimit")["items"]
    assert {event["regarding" if "regarding" in event else "involvedObject"]["name"] for event in told} == {
        "old",
        "new",
    }


def test_more_pods_than_the_namespace_allows_are_refused_at_once_with_everything_else(tenant: Namespaced) -> None:
    here = tenant(max_pods=2, max_gpus=4)
    workers = {"replicas": 4, "gpus": 2, "resources": {"limits": {"example.com/fpga": 1}}}
    spec = {"engine": "rapidsmpf", "cluster": "distributed", "workers": workers, "output": {"uri": "file:///x"}}
    runtime = {"release": "26.10", "image": "mine:1"}
    told = here.failed("large", query={"sql": "SELECT 1 AS a"}, runtime=runtime, **spec)
    for words in ("4 problems", "file:///x", "at most 2 pods", "at most 4 GPUs", "names example.com/fpga", here.name):
        assert words in told["message"]


def test_a_cpu_job_gets_no_gpu_by_a_resource(tenant: Namespaced) -> None:
    workers = {"resources": {"limits": {"nvidia.com/gpu": 8}}}
    told = tenant().failed("sly", query={"sql": "SELECT 1 AS a"}, engine="cpu", workers=workers)
    assert "workers.resources.limits names nvidia.com/gpu, and the query runs on the CPU" in told["message"]
