"""The real operator of dask-kubernetes, as the other tests use it: warm, bereft, paused, and away.

And what becomes of a job's DaskCluster, whose workers would hold GPUs, when that operator is away or fails.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.e2e.dask_clusters import CUDA, RELEASE, WarmCluster, document, warm
from tests.e2e.jobs import Bench, condition, fresh, true
from tests.e2e.test_dask import PATIENCE, by_operator, daskclusters
from tools import dask_kubernetes, demo
from tools.kubectl import Cluster, KubectlError, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e import sets

NAMESPACE = "dask-e2e"
GONE_SECONDS = 60
"""A pod has half a minute to end, and workers at a query take it."""


@pytest.fixture(scope="module")
def there(cluster: Cluster, operator: None) -> Iterator[Cluster]:
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
    wait_until(lambda: cluster.get("pods", *selector)["items"], what="the pod of a Deployment")
    cluster.run("delete", "deployment", name, "-n", NAMESPACE)


@pytest.mark.faults
@pytest.mark.parametrize("protocol", ["tcp", "ucx"])
def test_a_lost_worker_and_a_lost_scheduler_are_replaced(there: Cluster, protocol: str) -> None:
    with warm(there, NAMESPACE, workers=2, protocol=protocol) as one:
        before = one.wait(2)
        assert all(each.startswith(f"{protocol}://") for each in before), before
        for component in ("worker", "scheduler"):
            address = one.kill(component)
            lost = frozenset(each for each in before if f"//{address}:" in each)
            wait_until(partial(replaced, one, component, address), what=f"another {component}")
            before = one.wait(2, without=lost)
    assert made(there, one.name) == []


@pytest.mark.faults
def test_a_paused_operator_makes_nothing_until_it_goes_on_and_is_not_restarted(there: Cluster) -> None:
    with dask_kubernetes.paused(there):
        name = applied(there)
        as_long_as_a_deployment_takes(there)
        assert made(there, name) == []
    wait_until(lambda: len(made(there, name)) == 3, what="scheduler, Service and worker")
    (pod,) = dask_kubernetes.pods(there)
    status = there.get("pod", pod, "-n", dask_kubernetes.SYSTEM)["status"]["containerStatuses"][0]
    assert status["restartCount"] == 0


@pytest.mark.faults
def test_without_an_operator_nothing_is_made_and_what_is_there_does_not_go(there: Cluster) -> None:
    kept = applied(there)
    wait_until(lambda: len(made(there, kept)) == 3, what="scheduler, Service and worker")
    with dask_kubernetes.without_operator(there):
        late = applied(there)
        there.run("delete", "daskcluster", kept, "-n", NAMESPACE, "--wait=false")
        as_long_as_a_deployment_takes(there)
        assert made(there, late) == []
        assert len(made(there, kept)) == 3, "a finalizer keeps it, and it its pods"
        dask_kubernetes.release_finalizers(there)
        wait_until(lambda: not made(there, kept), what="the garbage collector")
    wait_until(lambda: len(made(there, late)) == 3, what="what was applied meanwhile")


# --- A job's DaskCluster


def at_work(bench: Bench, name: str) -> list[str]:
    """Return what of a job's DaskCluster has pods, or makes some; and the pods."""
    kinds = "daskworkergroups,deployments,replicasets,pods"
    found = bench.cluster.get(kinds, "-n", bench.namespace, "-l", f"gpuquery.io/job={name}")["items"]
    return [f"{each['kind']}/{each['metadata']['name']}" for each in found]


def started(bench: Bench, hold: int) -> sets.Set:
    """Return a job on a DaskCluster of its own whose query runs."""
    ranks = by_operator(bench, "26.10", "rapidsmpf", pods=2, env={"TEST_ENGINE_HOLD": str(hold)})
    ranks.reaches("running")
    return ranks


@pytest.mark.alone
def test_a_job_that_is_deleted_takes_its_workers_with_it_though_the_operator_of_dask_is_away(bench: Bench) -> None:
    ranks = started(bench, hold=300)
    (name,) = (each for each in daskclusters(bench, ranks.name) if each.startswith("DaskCluster/"))
    with dask_kubernetes.without_operator(bench.cluster):
        bench.cluster.run("delete", "gqj", ranks.name, "-n", bench.namespace)
        wait_until(lambda: not at_work(bench, ranks.name), timeout=GONE_SECONDS, what=f"what {name} has made to go")
        assert daskclusters(bench, ranks.name) == [name], "its finalizer keeps it, and it keeps nothing"
    wait_until(lambda: not daskclusters(bench, ranks.name), what=f"{name} to go")


@pytest.mark.faults
def test_a_job_ends_with_all_its_workers_though_the_operator_of_dask_is_away(bench: Bench) -> None:
    ranks = started(bench, hold=60)
    with dask_kubernetes.without_operator(bench.cluster):
        ended = bench.ended(ranks.name, timeout=PATIENCE)
        assert true(ended, "Complete"), condition(ended, "Failed")
        kept = [each for each in at_work(bench, ranks.name) if "Pod/" not in each]
        assert kept == [], "terminal means that nothing of it can start any more"


def never_adopted(group: str) -> list[dict[str, object]]:
    """Return objects by which the API server refuses to give any DaskWorkerGroup of a job an owner."""
    rule = {
        "apiGroups": ["kubernetes.dask.org"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
        "resources": ["daskworkergroups"],
    }  # fmt: skip
    of_jobs = {"matchExpressions": [{"key": "gpuquery.io/job", "operator": "Exists"}]}
    about = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": group}}
    return [
        {
            **about,
            "kind": "ValidatingAdmissionPolicy",
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {"resourceRules": [rule], "objectSelector": of_jobs},
                "validations": [{"expression": "!has(object.metadata.ownerReferences)", "message": group}],
            },
        },
        {
            **about,
            "kind": "ValidatingAdmissionPolicyBinding",
            "spec": {"policyName": group, "validationActions": ["Deny"]},
        },
    ]


def refused(bench: Bench, why: str) -> bool:
    """Whether a DaskWorkerGroup with an owner is refused by now; none is made to find out."""
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "none", "uid": "0b5e1f6a-0000-4000-8000-000000000001"}
    worker = document("none", "none.invalid/none", workers=1, protocol="tcp")["spec"]["worker"]
    group = {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskWorkerGroup",
        "metadata": {
            "name": fresh("never"), "namespace": bench.namespace, "labels": {"gpuquery.io/job": "none"},
            "ownerReferences": [owner],
        },
        "spec": {"cluster": "none", "worker": worker},
    }  # fmt: skip
    try:
        bench.cluster.run("create", "--dry-run=server", "-f", "-", stdin=json.dumps(group))
    except KubectlError as error:
        if "never-adopted" not in str(error):
            raise
        return why in str(error)  # that of the test before is in force for a little longer than it exists
    return False


@pytest.mark.faults
@pytest.mark.parametrize("end", ["the job ends", "the job is deleted"])
def test_workers_that_dask_kubernetes_did_not_tie_to_their_cluster_go_with_the_job(bench: Bench, end: str) -> None:
    """One refusal of the API server is enough: their group has no owner from then on, and nobody takes it away."""
    policy = fresh("never-adopted")
    bench.cluster.apply(*never_adopted(policy))
    try:
        wait_until(lambda: refused(bench, policy), what="the policy to be in force")
        ranks = started(bench, hold=30 if end == "the job ends" else 300)
        groups = bench.cluster.get("daskworkergroups", "-n", bench.namespace, "-l", f"gpuquery.io/job={ranks.name}")
        assert [each["metadata"].get("ownerReferences") for each in groups["items"]] == [None]
        if end == "the job ends":
            ended = bench.ended(ranks.name, timeout=PATIENCE)
            assert true(ended, "Complete"), condition(ended, "Failed")
        else:
            bench.cluster.run("delete", "gqj", ranks.name, "-n", bench.namespace)
        wait_until(lambda: not daskclusters(bench, ranks.name), timeout=GONE_SECONDS, what="the workers to go")
    finally:
        kinds = ["validatingadmissionpolicybinding", "validatingadmissionpolicy"]
        for kind in kinds:
            bench.cluster.run("delete", kind, policy, "--ignore-not-found")
