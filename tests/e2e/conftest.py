"""The cluster, the store and the operator of the end-to-end tests.

They run on the one-node cluster of `make cluster-up`, or on the cluster named by CONTEXT. Where there is none they
fail: a green run means that a real API server, kubelet and object store were there.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.jobs import Begun, Bench, fresh
from tests.support.faultproxy import FaultProxy, in_front_of
from tools import dask_kubernetes, demo
from tools import lake as lakes
from tools.kubectl import Cluster, chosen_cluster, wait_until
from tools.lake import PORT

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    Once = Callable[[str, Callable[[Path], None]], Path]

NAMESPACE = "gpuquery-e2e"
SCALE = 0.05
HEARTBEAT = 12
"""Seconds: a Dask cluster is some twenty processes that import, and on two cores they hold each other up."""
CATALOG, WAREHOUSE = f"http://lake-catalog.{NAMESPACE}.svc", "s3://analytics"
"""SeaweedFS' Iceberg catalog, which test_catalogs.py gives a Service, and its bucket of tables."""
VALUES = (
    "dask.operator.enabled=true",
    "dask.attach.enabled=true",
    f"catalogs.warehouse.uri={CATALOG}",
    f"catalogs.warehouse.warehouse={WAREHOUSE}",
    "catalogs.warehouse.secretName=lake-oauth",
    f"gpu.heartbeatSeconds={HEARTBEAT}",
    # So small that several jobs run at once on a node of two cores, where most of them only wait.
    "runtime.resources.requests.cpu=200m",
    "runtime.preflightResources.requests.cpu=100m",
)
"""Values of the chart that all tests share: none has to install the operator anew for its own."""
LONGEST = (
    *("test_dask", "test_worker_set", "test_preflight", "test_inputs", "test_docs_commands"),
    *("test_release_cells", "test_truth", "test_bad_input"),
)
"""The modules that take longest: where several processes share the lane, each begins with one of them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in this folder as e2e, and begin with the longest modules."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(900))
    rank = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(LONGEST)))


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Do a named thing once in a run, with a folder: the first process to ask does it, the others wait for it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def do(name: str, work: Callable[[Path], None]) -> Path:
        folder, done = shared / f"once-{name}", shared / f"once-{name}.done"
        with (shared / f"once-{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                folder.mkdir(exist_ok=True)
                work(folder)
                done.touch()
        return folder

    return do


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The chosen cluster."""
    return chosen_cluster()


def install(cluster: Cluster, *values: str) -> None:
    """Install the operator of this checkout for all namespaces, as the tests have it; with those values beside."""
    demo.install(cluster, *VALUES, *values)


@pytest.fixture(scope="session")
def operator(cluster: Cluster, once: Once) -> None:
    """The operator of the run, and that of dask-kubernetes; a test that changes one of them brings it back."""
    once("dask-operator", lambda _: dask_kubernetes.install(cluster))
    once("operator", lambda _: install(cluster))


@pytest.fixture(scope="session")
def lake(cluster: Cluster, once: Once) -> Iterator[lakes.Lake]:
    """The object store, with TPC-H tables in it."""

    def deploy(_: Path) -> None:
        demo.ensure_namespace(cluster, NAMESPACE)
        lakes.deploy(cluster, NAMESPACE)

    once("lake", deploy)
    with lakes.connected(cluster, NAMESPACE) as lake:
        yield lake


@pytest.fixture(scope="session")
def tables(lake: lakes.Lake, once: Once) -> Path:
    """The TPC-H tables, on this machine and in the store: the folder with `<table>/*.parquet`."""

    def make(folder: Path) -> None:
        demo.generate(SCALE, folder)
        demo.upload(lake, folder)

    return once("tpch", make)


@pytest.fixture(scope="session")
def everything(operator: None, tables: Path) -> None:
    """Operator, store and data."""


@pytest.fixture(scope="session")
def all_applied(cluster: Cluster) -> Iterator[set[str]]:
    """The names of all jobs of the run, of which nothing may have come back at its end."""
    names: set[str] = set()
    yield names
    gone(cluster, names)


@pytest.fixture(scope="module")
def applied(cluster: Cluster, operator: None, all_applied: set[str]) -> Iterator[list[str]]:
    """The names of a module's jobs. At its end they are deleted, and nothing of any of them may be left."""
    names: list[str] = []
    yield names
    delete(cluster, names)
    all_applied.update(names)
    gone(cluster, names)


@pytest.fixture(scope="module")
def together(cluster: Cluster, lake: lakes.Lake, everything: None, applied: list[str]) -> Bench:
    """Where a module applies the jobs of several tests at once; they stay until its end."""
    return Bench(cluster, lake, NAMESPACE, names=applied)


@pytest.fixture(scope="module")
def all_begun(together: Bench, request: pytest.FixtureRequest) -> dict[str, str]:
    """The jobs that the tests of a module begin with, applied at once: their names by the test."""
    jobs: dict[str, dict[str, Any]] = {}
    for item in request.session.items:
        if item.path == request.node.path and (mark := item.get_closest_marker("begins")):
            parameters = item.callspec.params if hasattr(item, "callspec") else {}
            jobs[item.nodeid] = together.job(fresh("begun"), **{**mark.kwargs, **parameters.get("spec", {})})
    together.apply(*jobs.values())
    return {test: job["metadata"]["name"] for test, job in jobs.items()}


@pytest.fixture
def begun(together: Bench, all_begun: dict[str, str], request: pytest.FixtureRequest) -> Begun:
    """The job that this test begins with."""
    return Begun(together, all_begun[request.node.nodeid])


@pytest.fixture
def bench(cluster: Cluster, lake: lakes.Lake, everything: None, applied: list[str]) -> Iterator[Bench]:
    """Where a test runs its jobs; afterwards they are deleted, and the module looks whether they are gone."""
    bench = Bench(cluster, lake, NAMESPACE)
    yield bench
    applied.extend(bench.names)
    delete(cluster, bench.names)


@pytest.fixture
def elsewhere(bench: Bench) -> Iterator[Bench]:
    """A namespace that no other test uses, and that is gone afterwards."""
    there = Bench(bench.cluster, bench.lake, fresh("elsewhere"))
    demo.ensure_namespace(there.cluster, there.namespace)
    there.apply(bench.lake.credentials())
    yield there
    there.cluster.run("delete", "namespace", there.namespace, "--wait=false")


@pytest.fixture
def settled(cluster: Cluster, applied: list[str]) -> None:
    """Nothing is left of the module's tests before this one, with whose jobs the operator would be busy."""
    gone(cluster, applied)


def delete(cluster: Cluster, names: Collection[str]) -> None:
    """Delete jobs, and wait for nothing."""
    if names:
        cluster.run("delete", "gqj", "-n", NAMESPACE, "--ignore-not-found", "--wait=false", *names)


def gone(cluster: Cluster, names: Collection[str]) -> None:
    """Wait until nothing is left of deleted jobs."""
    try:
        wait_until(lambda: not left(cluster, names), what="the deleted jobs' children to go", every=0.5)
    except TimeoutError as error:
        raise AssertionError(f"{error}; left are {', '.join(left(cluster, names))}") from None


def left(cluster: Cluster, names: Collection[str]) -> list[str]:
    """Return what there is of jobs, themselves included."""
    kinds = "gqj,jobs.batch,services,configmaps,secrets,networkpolicies,pods"
    found = cluster.get(kinds, "-n", NAMESPACE)["items"] if names else []
    return [
        f"{each['kind']}/{each['metadata']['name']}"
        for each in found
        if each["metadata"].get("labels", {}).get("gpuquery.io/job") in names
        or (each["kind"] == "GpuQueryJob" and each["metadata"]["name"] in names)
    ]


@pytest.fixture
def proxy(bench: Bench) -> Iterator[FaultProxy]:
    """A proxy in front of the store that pods reach under the node's address."""
    service = bench.cluster.get("service", "lake", "-n", bench.lake.namespace)
    with in_front_of(f"http://{service['spec']['clusterIP']}:{PORT}", host=bench.node) as faulty:
        yield faulty
