"""The cluster, the store and the operator of the end-to-end tests.

They run on the one-node cluster of `make cluster-up`, or on the cluster named by CONTEXT. Where there is none they
fail: a green run means that a real API server, kubelet and object store were there.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.jobs import Bench
from tests.support.faultproxy import FaultProxy
from tools import dask_kubernetes, demo
from tools import lake as lakes
from tools.kubectl import Cluster, chosen_cluster, wait_until
from tools.lake import PORT

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMESPACE = "gpuquery-e2e"
SCALE = 0.05


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in this folder as e2e."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The chosen cluster."""
    return chosen_cluster()


@pytest.fixture(scope="session")
def operator(cluster: Cluster) -> None:
    """The operator of this checkout, installed by Helm for all namespaces."""
    demo.install(cluster)


@pytest.fixture(scope="session")
def dask_operator(cluster: Cluster) -> None:
    """The real operator of dask-kubernetes, for all namespaces."""
    dask_kubernetes.install(cluster)


@pytest.fixture(scope="session")
def lake(cluster: Cluster) -> Iterator[lakes.Lake]:
    """The object store, with TPC-H tables in it."""
    demo.ensure_namespace(cluster, NAMESPACE)
    lakes.deploy(cluster, NAMESPACE)
    with lakes.connected(cluster, NAMESPACE) as lake:
        yield lake


@pytest.fixture(scope="session")
def tables(lake: lakes.Lake, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The TPC-H tables, on this machine and in the store: the folder with `<table>/*.parquet`."""
    folder = tmp_path_factory.mktemp("tpch")
    demo.generate(SCALE, folder)
    demo.upload(lake, folder)
    return folder


@pytest.fixture(scope="session")
def everything(operator: None, tables: Path) -> None:
    """Operator, store and data."""


@pytest.fixture
def bench(cluster: Cluster, lake: lakes.Lake, everything: None) -> Iterator[Bench]:
    """Where a test runs its jobs; afterwards they are deleted and nothing of them may be left."""
    bench = Bench(cluster, lake, NAMESPACE)
    yield bench
    if bench.names:
        cluster.run("delete", "gqj", "-n", NAMESPACE, "--ignore-not-found", "--wait=false", *bench.names)
        wait_until(lambda: not left(bench), timeout=90, what="the deleted jobs' children to go", every=0.5)


def left(bench: Bench) -> list[str]:
    """Return what is left of the jobs of a test."""
    names = ",".join(bench.names)
    found = bench.cluster.get(
        "jobs,services,configmaps,secrets,networkpolicies,pods",
        "-n",
        bench.namespace,
        "-l",
        f"gpuquery.io/job in ({names})",
    )
    return [f"{o['kind']}/{o['metadata']['name']}" for o in found["items"]]


@pytest.fixture
def proxy(bench: Bench) -> Iterator[FaultProxy]:
    """A proxy in front of the store that pods reach under the node's address."""
    if not bench.cluster.is_one_node:
        pytest.skip("pods of another cluster do not reach a proxy on this machine")
    addresses = bench.cluster.get("nodes")["items"][0]["status"]["addresses"]
    node = next(a["address"] for a in addresses if a["type"] == "InternalIP")
    service = bench.cluster.get("service", "lake", "-n", bench.lake.namespace)
    faulty = FaultProxy(f"{service['spec']['clusterIP']}:{PORT}")
    faulty.start(node)
    yield faulty
    faulty.stop()
