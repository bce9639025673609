"""The chart's life: install, upgrade, namespaced mode, uninstall."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from tests.e2e.conftest import install
from tests.e2e.jobs import Bench, fresh, tpch, true
from tools import demo
from tools import lake as lakes
from tools.kubectl import Cluster, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.alone
CRD = "gpuqueryjobs.gpuquery.io"


@pytest.fixture
def alone(bench: Bench) -> Iterator[Cluster]:
    """The cluster without the session's operator, which comes back afterwards."""
    cluster = bench.cluster
    cluster.run("scale", "deployment", "-n", demo.SYSTEM, "--all", "--replicas=0")
    yield cluster
    install(cluster)
    cluster.run("scale", "deployment", "-n", demo.SYSTEM, "--all", "--replicas=1")
    cluster.run("rollout", "status", "deployment", "-n", demo.SYSTEM, "--timeout=120s", timeout=150)


def test_an_upgrade_changes_settings_and_keeps_jobs(bench: Bench) -> None:
    name = fresh("kept")
    bench.completed(bench.job(name, sql="SELECT 1 AS one FROM nation LIMIT 1", inputs=tpch("nation")))
    before = bench.get(name)
    install(bench.cluster, "resources.limits.memory=384Mi")
    assert bench.get(name) == before, "an upgrade writes nothing to finished jobs"
    deployment = bench.cluster.get("deployment", "-n", demo.SYSTEM)["items"][0]
    assert deployment["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"] == "384Mi"
    install(bench.cluster)


def test_an_upgrade_updates_the_crd(bench: Bench) -> None:
    cluster = bench.cluster
    path = "/spec/versions/0/additionalPrinterColumns"
    cluster.run("patch", "crd", CRD, "--type=json", "-p", f'[{{"op": "replace", "path": "{path}", "value": []}}]')
    install(cluster)
    columns = cluster.get("crd", CRD)["spec"]["versions"][0]["additionalPrinterColumns"]
    assert "State" in [c["name"] for c in columns]


def test_namespaced_mode_serves_its_namespaces_only_and_needs_no_cluster_role(bench: Bench, alone: Cluster) -> None:
    release, home, other = "tenant", fresh("tenant"), fresh("stranger")
    for namespace in (home, other):
        demo.ensure_namespace(alone, namespace)
    try:
        flags = [
            f"image.repository={alone.registry}/gpuquery-operator",
            f"image.tag={alone.tag}",
            f"runtime.image={alone.image('runtime')}",
            f"watchNamespaces={{{home}}}",
            "crds.install=false",
        ]
        sets = [x for f in flags for x in ("--set", f)]
        chart = str(demo.ROOT / "charts" / "gpuquery")
        alone.helm("install", release, chart, "-n", home, "--wait", *sets)
        rendered = yaml.safe_load_all(alone.helm("get", "manifest", release, "-n", home))
        kinds = {d["kind"] for d in rendered if d}
        assert not kinds & {"ClusterRole", "ClusterRoleBinding"}, kinds
        served, unserved = (Bench(alone, bench.lake, n) for n in (home, other))
        for each in (served, unserved):
            alone.apply(bench.lake.credentials(), namespace=each.namespace)
        unserved.apply(unserved.job(fresh("job"), sql="SELECT n_name FROM nation", inputs=tpch("nation")))
        served.completed(served.job(fresh("job"), sql="SELECT n_name FROM nation", inputs=tpch("nation")))
        assert not unserved.get(unserved.names[0])["status"]
        alone.helm("uninstall", release, "-n", home, "--wait")
        assert true(served.get(served.names[0]), "Complete"), "uninstalling keeps the objects"
    finally:
        alone.run("delete", "namespace", home, other, "--ignore-not-found", "--wait=false")


def test_uninstalling_leaves_the_jobs_and_installing_again_takes_them_up(bench: Bench) -> None:
    cluster = bench.cluster
    name = fresh("orphan")
    cluster.helm("uninstall", demo.RELEASE, "-n", demo.SYSTEM, "--wait")
    assert cluster.get("crd", CRD), "the CRD, and with it every job, is kept"
    leftovers = cluster.get("deployments,services,serviceaccounts,roles,rolebindings", "-n", demo.SYSTEM)["items"]
    assert [o["metadata"]["name"] for o in leftovers if "gpuquery" in o["metadata"]["name"]] == []
    bench.apply(bench.job(name, sql="SELECT n_name FROM nation", inputs=tpch("nation")))
    install(cluster)
    assert true(bench.ended(name), "Complete")


def test_the_operator_may_not_read_secrets(bench: Bench) -> None:
    account = bench.cluster.get("serviceaccounts", "-n", demo.SYSTEM, "-l", "app.kubernetes.io/name=gpuquery")["items"][
        0
    ]
    user = f"system:serviceaccount:{demo.SYSTEM}:{account['metadata']['name']}"
    for verb in ("get", "list", "watch"):
        said = bench.cluster.run("auth", "can-i", verb, "secrets", "--as", user, "-n", bench.namespace, check=False)
        assert said.startswith("no"), (verb, said)


def test_the_store_of_the_tests_is_the_real_one(lake: lakes.Lake) -> None:
    """Conditional writes are honoured: without them the commit tests would prove nothing."""
    client = lake.client()
    client.put_object(Bucket="lake", Key="probe/once", Body=b"1")
    with pytest.raises(client.exceptions.ClientError, match="PreconditionFailed"):
        client.put_object(Bucket="lake", Key="probe/once", Body=b"2", IfNoneMatch="*")


def test_the_operator_pod_is_restricted_and_ready(cluster: Cluster, operator: None) -> None:
    def ready() -> bool:
        pods = cluster.get("pods", "-n", demo.SYSTEM, "-l", "app.kubernetes.io/name=gpuquery")["items"]
        return any(
            c["type"] == "Ready" and c["status"] == "True" for p in pods for c in p["status"].get("conditions", [])
        )

    wait_until(ready, what="the operator's readiness")
    cluster.run("label", "namespace", demo.SYSTEM, "pod-security.kubernetes.io/enforce=restricted", "--overwrite")
    cluster.run("rollout", "restart", "deployment", "-n", demo.SYSTEM)
    cluster.run("rollout", "status", "deployment", "-n", demo.SYSTEM, "--timeout=120s", timeout=150)
