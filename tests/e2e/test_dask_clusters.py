"""The real operator of dask-kubernetes, as the other tests use it: warm, bereft, paused, and away."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from tests.e2e.dask_clusters import CUDA, RELEASE, WarmCluster, document, warm
from tests.e2e.jobs import fresh
from tools import dask_kubernetes, demo
from tools.kubectl import Cluster, wait_until

NAMESPACE = "dask-e2e"


@pytest.fixture(scope="module")
def there(cluster: Cluster, dask_operator: None) -> Iterator[Cluster]:
    """The cluster, with a namespace for DaskClusters of these tests."""
    demo.ensure_namespace(cluster, NAMESPACE)
    yield cluster
    cluster.run("delete", "daskclusters", "--all", "-n", NAMESPACE, "--wait=false")
    dask_kubernetes.release_finalizers(cluster)
    cluster.run("delete", "namespace", NAMESPACE, timeout=300)


def made(cluster: Cluster, name: str) -> list[str]:
    """Return the kinds of what the operator has made for a DaskCluster."""
    found = cluster.get("deployments,services", "-n", NAMESPACE, "-l", f"dask.org/cluster-name={name}")
    return [each["kind"] for each in found["items"]]


def replaced(one: WarmCluster, component: str, killed: str) -> bool:
    """Whether there are as many pods as before, and none has the address of the one that was killed."""
    addresses = [pod["status"].get("podIP") for pod in one.pods(component)]
    return None not in addresses and killed not in addresses and len(addresses) == (2 if component == "worker" else 1)


def applied(cluster: Cluster) -> str:
    """Apply a DaskCluster of one worker, and wait for nothing."""
    name = fresh("cold")
    image = cluster.image(f"test-engine-{RELEASE}-cu{CUDA}")
    cluster.apply(document(name, image, workers=1, protocol="tcp"), namespace=NAMESPACE)
    return name


def as_long_as_a_deployment_takes(cluster: Cluster) -> None:
    """Wait until a Deployment of one's own has its pod: by then an operator would have begun."""
    name = fresh("clock")
    pod = document(name, "none.invalid/none", workers=1, protocol="tcp")["spec"]["worker"]["spec"]
    labels = {"app": name}
    spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}
    cluster.apply(
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}, namespace=NAMESPACE
    )
    selector = ("-n", NAMESPACE, "-l", f"app={name}")
    wait_until(lambda: cluster.get("pods", *selector)["items"], timeout=60, what="the pod of a Deployment")
    cluster.run("delete", "deployment", name, "-n", NAMESPACE)


@pytest.mark.parametrize("protocol", ["tcp", "ucx"])
def test_a_lost_worker_and_a_lost_scheduler_are_replaced(there: Cluster, protocol: str) -> None:
    with warm(there, NAMESPACE, workers=2, protocol=protocol) as one:
        before = one.wait(2)
        assert all(each.startswith(f"{protocol}://") for each in before), before
        for component in ("worker", "scheduler"):
            address = one.kill(component)
            lost = frozenset(each for each in before if f"//{address}:" in each)
            wait_until(partial(replaced, one, component, address), timeout=90, what=f"another {component}")
            before = one.wait(2, without=lost)
    assert made(there, one.name) == []


def test_a_paused_operator_makes_nothing_until_it_goes_on_and_is_not_restarted(there: Cluster) -> None:
    with dask_kubernetes.paused(there):
        name = applied(there)
        as_long_as_a_deployment_takes(there)
        assert made(there, name) == []
    wait_until(lambda: len(made(there, name)) == 3, timeout=90, what="scheduler, Service and worker")
    (pod,) = dask_kubernetes.pods(there)
    status = there.get("pod", pod, "-n", dask_kubernetes.SYSTEM)["status"]["containerStatuses"][0]
    assert status["restartCount"] == 0


def test_without_an_operator_nothing_is_made_and_what_is_there_does_not_go(there: Cluster) -> None:
    kept = applied(there)
    wait_until(lambda: len(made(there, kept)) == 3, timeout=90, what="scheduler, Service and worker")
    with dask_kubernetes.without_operator(there):
        late = applied(there)
        there.run("delete", "daskcluster", kept, "-n", NAMESPACE, "--wait=false")
        as_long_as_a_deployment_takes(there)
        assert made(there, late) == []
        assert len(made(there, kept)) == 3, "a finalizer keeps it, and it its pods"
        dask_kubernetes.release_finalizers(there)
        wait_until(lambda: not made(there, kept), timeout=90, what="the garbage collector")
    wait_until(lambda: len(made(there, late)) == 3, timeout=90, what="what was applied meanwhile")
