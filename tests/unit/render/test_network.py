"""Whom the pods of a job reach, and who reaches them."""

from __future__ import annotations

from typing import Any

import pytest

from gpuquery.api.labels import LABEL_JOB_UID, PROGRESS_PORT
from gpuquery.plan.defaults import Defaults
from gpuquery.plan.plan import Plan
from gpuquery.plan.resolve import resolve
from gpuquery.render.attempt import attempt_objects, policies
from gpuquery.render.preflight import preflight_objects
from tests.support.kube_objects import UID, job

Json = dict[str, Any]

GPUS = Defaults(
    runtime_image="runtime:test", runtime_image_pattern="rt:{release}", operator_namespace="gpuquery-system"
)
OWN = {"podSelector": {"matchLabels": {LABEL_JOB_UID: UID}}}
PODS = {"namespaceSelector": {}}
KINDS: list[Any] = [
    pytest.param({"engine": "cpu"}, id="one process on the CPU"),
    pytest.param({"engine": "rapidsmpf", "cluster": "single", "workers": {"gpus": 1}}, id="one GPU"),
    pytest.param({"engine": "rapidsmpf", "workers": {"replicas": 2, "gpus": 4}}, id="a set of ranks"),
    pytest.param({"engine": "tasks", "runtime": {"release": "26.02"}, "dask": {}}, id="Dask in its own pods"),
    pytest.param(
        {"engine": "rapidsmpf", "dask": {"schedulerAddress": "tcp://warm:8786"}}, id="a Dask cluster's client"
    ),
]


def policy(defaults: Defaults = GPUS, **spec: Any) -> Json:
    (found,) = policies(job(**spec), defaults)
    rules: Json = found["spec"]
    return rules


def ports(rule: Json) -> set[int]:
    return {port["port"] for port in rule["ports"]}


@pytest.mark.parametrize("spec", KINDS)
def test_every_pod_of_every_kind_of_job_is_bound_before_it_is_made(spec: Json) -> None:
    subject = job(**spec)
    plan = resolve(subject, GPUS)
    assert isinstance(plan, Plan), plan
    attempts = [attempt_objects(plan.model_copy(update={"attempt": number}), subject, GPUS) for number in (1, 2)]
    made = [*attempts, preflight_objects(plan, subject, GPUS, 1)]
    first = {str(objects[0]) for objects in made}
    assert len(first) == 1, "one policy holds for attempts and preflights"
    chosen = made[0][0]["spec"]["podSelector"]["matchLabels"]
    for objects in made:
        assert [o["kind"] for o in objects[:2]] == ["NetworkPolicy", "Job"]
        assert chosen.items() <= objects[1]["spec"]["template"]["metadata"]["labels"].items()


def test_both_directions_are_closed_but_for_the_jobs_own_pods() -> None:
    found = policy()
    assert found["podSelector"] == OWN["podSelector"] and set(found["policyTypes"]) == {"Ingress", "Egress"}
    assert {"from": [OWN]} in found["ingress"], "all ports: UCX listens on random ones"
    assert {"to": [OWN]} in found["egress"]


def test_from_outside_only_the_operator_and_who_scrapes_may_read_progress() -> None:
    _, outside = policy()["ingress"]
    (operator,) = outside["from"]
    assert outside["ports"] == [{"port": PROGRESS_PORT, "protocol": "TCP"}]
    assert operator["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "gpuquery-system"}
    assert operator["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "operator"
    scraped = policy(GPUS.model_copy(update={"scrape_namespaces": ("monitoring",)}))["ingress"][1]
    assert {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}} in scraped["from"]


def test_to_the_outside_only_names_and_storage_are_reached() -> None:
    _, names, storage = policy()["egress"]
    assert ports(names) == {53, 5353} and {p["protocol"] for p in names["ports"]} == {"TCP", "UDP"}
    assert ports(storage) == {80, 443}
    more = GPUS.model_copy(update={"storage_ports": (9000,)})
    _, _, own = policy(more, storage={"endpoint": "http://lake:8333"})["egress"]
    assert ports(own) == {80, 443, 8333, 9000}
    assert PODS in own["to"], "for plugins to which blocks are hosts outside the cluster"


@pytest.mark.parametrize("endpoint", ["http://lake:70000", "http://lake:port", "http://[::1"])
def test_an_endpoint_whose_port_is_none_opens_none_and_stops_nothing(endpoint: str) -> None:
    assert ports(policy(storage={"endpoint": endpoint})["egress"][2]) == {80, 443}


def blocks(defaults: Defaults = GPUS, **spec: Any) -> dict[str, list[str]]:
    """The blocks of addresses that are open, with what is closed in them."""
    found = policy(defaults, **spec)["egress"]
    opened = [to["ipBlock"] for rule in found for to in rule.get("to", ()) if "ipBlock" in to]
    return {block["cidr"]: block.get("except", []) for block in opened}


V4 = ["169.254.0.0/16", "168.63.129.16/32", "100.100.100.200/32"]
V6 = ["fd00:ec2::/32", "fe80::/10"]
NODES = GPUS.model_copy(update={"node_metadata": True})
CLOSED = GPUS.model_copy(update={"closed_addresses": ("10.0.0.0/24", "fd12::/64")})


@pytest.mark.parametrize(
    ("defaults", "storage", "want"),
    [
        pytest.param(GPUS, {"secretName": "x"}, {"0.0.0.0/0": V4, "::/0": V6}, id="with keys no metadata service"),
        pytest.param(GPUS, {}, {"0.0.0.0/0": V4, "::/0": V6}, id="without any identity none either"),
        pytest.param(
            GPUS,
            {"serviceAccountName": "x"},
            {"0.0.0.0/0": V4, "::/0": V6, "169.254.170.23/32": [], "fd00:ec2::23/128": []},
            id="with a ServiceAccount the agent that hands out its own role, and not the node's",
        ),
        pytest.param(
            NODES,
            {},
            {"0.0.0.0/0": [], "::/0": [], "127.0.0.1/32": [], "169.254.169.252/32": []},
            id="all of it where the administrator opens it",
        ),
        pytest.param(
            CLOSED,
            {},
            {"0.0.0.0/0": [*V4, "10.0.0.0/24"], "::/0": [*V6, "fd12::/64"]},
            id="addresses that he closes, such as those of API servers",
        ),
    ],
)
def test_which_addresses_are_reached(defaults: Defaults, storage: Json, want: dict[str, list[str]]) -> None:
    assert blocks(defaults, storage=storage) == want


def test_the_client_of_a_daskcluster_reaches_its_pods_and_they_it() -> None:
    found = policy(dask={"clusterRef": {"name": "warm"}})
    cluster = {"podSelector": {"matchLabels": {"dask.org/cluster-name": "warm"}}}
    assert {"from": [OWN, cluster]} in found["ingress"] and {"to": [OWN, cluster]} in found["egress"]
    assert len(found["egress"]) == 3, "and no more than that"


@pytest.mark.parametrize(
    ("address", "called_back"),
    [
        pytest.param("tcp://warm:8786", False, id="by TCP only the client opens connections"),
        pytest.param("tls://warm:8786", False, id="and by TLS"),
        pytest.param("ucx://warm:8786", True, id="UCX opens one in each direction"),
    ],
)
def test_the_client_of_a_cluster_that_is_an_address_reaches_all_ports_but_no_metadata(
    address: str, called_back: bool
) -> None:
    found = policy(dask={"schedulerAddress": address})
    (everywhere,) = (rule for rule in found["egress"] if "ports" not in rule and PODS in rule["to"])
    assert {"ipBlock": {"cidr": "0.0.0.0/0", "except": V4}} in everywhere["to"]
    assert any("ports" not in rule and PODS in rule["from"] for rule in found["ingress"]) is called_back


def test_policies_can_be_switched_off() -> None:
    assert policies(job(), GPUS.model_copy(update={"network_policies": False})) == ()


def test_pods_reach_the_port_of_a_declared_catalog_that_they_read_from_or_write_to() -> None:
    lake = Defaults(catalogs={"lake": {"uri": "http://catalog.lake.svc:8181"}, "other": {"uri": "http://other:9999"}})
    table = {"name": "t", "table": {"catalog": "lake", "name": "sales.orders"}}
    assert {80, 443, 8181} == ports(policy(lake, engine="cpu", inputs=[table])["egress"][2])
    output = {"table": table["table"]}
    assert {80, 443, 8181} == ports(policy(lake, engine="cpu", output=output)["egress"][2])
    assert {80, 443} == ports(policy(lake, engine="cpu")["egress"][2])
