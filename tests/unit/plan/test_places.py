"""Places: which URIs and endpoints a job may name, for a pod and for a process on one's own machine."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gpuquery.api.reasons import Failure
from gpuquery.api.stores import KEYS, hands_out_roles
from gpuquery.plan.plan import Plan, StoreAccess
from gpuquery.plan.policy import Policy, violations
from gpuquery.plan.resolve import Rejected, plan_json, resolve
from gpuquery.render.network import network_policy
from tests.support.kube_objects import DEFAULTS, job

LAKE = {"name": "lake", "mountPath": "/mnt/lake", "persistentVolumeClaim": {"claimName": "lake"}}
MOUNTED = {"spec": {"volumes": [LAKE]}}
ABFSS = "abfss://lake@sales01.dfs.core.windows.net/orders/"


def reading(uri: str, **spec: Any) -> Plan | Rejected:
    return resolve(job(inputs=[{"name": "orders", "uri": uri, "format": "parquet"}], **spec), DEFAULTS)


TAKEN = [
    pytest.param("gs://lake/orders/", {}, id="a bucket of Google"),
    pytest.param(ABFSS, {}, id="a data lake of Azure, whose URI names the account"),
    pytest.param("az://lake/orders/", {"storage": {"az": {"account": "sales01"}}}, id="a container of an account"),
    pytest.param("https://data.example.com/orders.parquet", {}, id="a file of a web server"),
    pytest.param("http://files.lake.svc/o.parquet", {"storage": {"allowHttp": True}}, id="one without TLS, as wanted"),
    pytest.param("file:///mnt/lake/orders/", {"template": MOUNTED}, id="a folder of a claim"),
    pytest.param("file:///mnt/lake/*/o.parquet", {"template": MOUNTED}, id="a glob in a claim"),
]


@pytest.mark.parametrize(("uri", "spec"), TAKEN)
def test_a_job_reads(uri: str, spec: dict[str, Any]) -> None:
    found = reading(uri, **spec)
    assert isinstance(found, Plan), found


REFUSED = [
    pytest.param("file:///mnt/lake/o.parquet", {}, "(none): mount a claim that holds it", id="nothing is mounted"),
    pytest.param("file:///mnt/lake2/o.parquet", {"template": MOUNTED}, "(/mnt/lake)", id="a folder beside the claim's"),
    pytest.param("file:///mnt/la*/o.parquet", {"template": MOUNTED}, "lies below no mountPath", id="a glob around it"),
    pytest.param("file:///mnt/lake/../x.parquet", {"template": MOUNTED}, "lies below no mountPath", id="out of it"),
    pytest.param("file:///etc/passwd", {"template": MOUNTED}, "lies below no mountPath", id="a file of the image"),
    pytest.param("az://lake/orders/", {}, "set storage.az.account", id="no account"),
    pytest.param("http://h/o.parquet", {}, "write https://, or set storage.allowHttp: true", id="without TLS"),
    pytest.param("https://h/orders/", {}, "does not list its files: name each file in uris", id="a folder of the web"),
    pytest.param("https://h/*.parquet", {}, "does not list its files", id="a glob of the web"),
    pytest.param("https://h", {}, "does not list its files", id="a host"),
    pytest.param("https://h/o.parquet?sig=topsecret", {}, "is 'https://h/o.parquet' with a query", id="a signed URL"),
    pytest.param("https://169.254.169.254/latest", {}, "is a metadata service", id="a metadata service"),
    pytest.param("https://metadata.google.internal/x", {}, "is a metadata service", id="one by its name"),
]


@pytest.mark.parametrize(("uri", "spec", "words"), REFUSED)
def test_a_job_is_refused_with_the_field_and_the_way_out(uri: str, spec: dict[str, Any], words: str) -> None:
    found = reading(uri, **spec)
    assert isinstance(found, Rejected) and found.reason == Failure.INVALID_INPUT, found
    assert found.message.startswith("inputs[orders].uri is ") and words in found.message
    assert "topsecret" not in found.message


@pytest.mark.parametrize("field", ["storage.endpoint", "storage.gs.endpoint", "storage.az.endpoint"])
def test_no_endpoint_is_a_metadata_service(field: str) -> None:
    value: Any = "http://169.254.169.254/x"
    for part in reversed(field.split(".")[1:]):
        value = {part: value}
    found = resolve(job(storage=value), DEFAULTS)
    assert isinstance(found, Rejected) and found.reason == Failure.INVALID_ENDPOINT and found.message.startswith(field)


def test_on_ones_own_machine_files_need_no_claim() -> None:
    subject = job(inputs=[{"name": "t", "uri": "file:///d/t.parquet"}], output={"uri": "file:///out"})
    assert isinstance(resolve(subject, DEFAULTS, local=True), Plan)


@pytest.mark.parametrize(
    ("host", "closed"),
    [
        ("169.254.169.254", True), ("169.254.170.23", True), ("2852039166", True), ("0xa9fea9fe", True),
        ("0251.0376.0251.0376", True), ("[fe80::1%eth0]", True), ("::ffff:a9fe:a9fe", True), ("fd00:ec2::254", True),
        ("METADATA.google.internal.", True), ("168.63.129.16", True), ("100.100.100.200", True), ("metadata", False),
        ("10.0.0.1", False), ("127.0.0.1", False), ("lake", False), ("fd00::1", False), ("metadata.example.com", False),
        ("169.254.example.com", False), ("", False),
    ],
)  # fmt: skip
def test_every_spelling_of_a_metadata_service_is_known(host: str, closed: bool) -> None:
    assert hands_out_roles(host) is closed


def test_the_plan_of_a_job_of_s3_alone_is_what_it_was() -> None:
    found = resolve(job(storage={"endpoint": "http://lake:8333"}), DEFAULTS)
    assert isinstance(found, Plan)
    told = json.loads(plan_json(found))["store"]
    assert set(told) & {"gs", "az", "allowHttp"} == set()
    assert {name: told[name] for name in ("endpoint", "region", "pathStyle")} == {
        "endpoint": "http://lake:8333",
        "region": "us-east-1",
        "pathStyle": True,
    }


def test_a_plan_says_where_every_store_is_and_holds_no_secret() -> None:
    storage = {
        "secretName": "lake", "gs": {"anonymous": True}, "allowHttp": True,
        "az": {"account": "sales01", "endpoint": "http://azurite:10000/sales01"},
    }  # fmt: skip
    found = resolve(job(storage=storage), DEFAULTS)
    assert isinstance(found, Plan)
    text = plan_json(found)
    assert StoreAccess.model_validate(json.loads(text)["store"]) == found.store
    assert found.store.gs is not None and found.store.az is not None and found.store.allow_http
    assert not any(key in text for key in KEYS) and '"lake"' not in json.dumps(json.loads(text)["store"])


def test_a_job_writes_to_every_store_that_its_account_is_known_of() -> None:
    for uri in ("gs://lake/out", "abfss://lake@sales01.dfs.core.windows.net/out"):
        assert isinstance(resolve(job(output={"uri": uri}), DEFAULTS), Plan)
    refused = resolve(job(output={"uri": "az://lake/out"}), DEFAULTS)
    assert isinstance(refused, Rejected) and "output.uri is 'az://lake/out'" in refused.message
    assert "set storage.az.account" in refused.message
    assert isinstance(
        resolve(job(output={"uri": "az://lake/out"}, storage={"az": {"account": "sales01"}}), DEFAULTS), Plan
    )


def bounded(uri: str, *patterns: str, **storage: Any) -> str:
    spec = job(inputs=[{"name": "orders", "uri": uri, "format": "parquet"}], storage=storage).spec
    return "; ".join(violations(spec, Policy(endpoints=("https://s3.amazonaws.com", *patterns))))


def test_the_administrators_bounds_hold_for_the_servers_of_every_store() -> None:
    assert 'storage.gs.endpoint, left out, is "https://storage.googleapis.com"' in bounded("gs://lake/x")
    assert 'storage.gs.endpoint is "http://gcs:4443"' in bounded("gs://lake/x", gs={"endpoint": "http://gcs:4443"})
    assert 'is "https://sales01.blob.core.windows.net"' in bounded(ABFSS)
    assert 'is "https://other.blob.core.windows.net"' in bounded("az://cc/x", az={"account": "other"})
    assert 'inputs[orders] is "https://evil.example.com"' in bounded("https://evil.example.com/x.parquet")
    written = violations(job(output={"uri": "gs://lake/out"}).spec, Policy(endpoints=("https://s3.amazonaws.com",)))
    assert 'storage.gs.endpoint, left out, is "https://storage.googleapis.com"' in "; ".join(written)
    assert bounded(ABFSS, "https://sales01.blob.core.windows.net") == ""
    assert bounded("https://data.example.com/x.parquet", "https://data.example.com") == ""


@pytest.mark.parametrize(
    ("uri", "server"),
    [
        pytest.param("gs://out/x", "https://storage.googleapis.com", id="Google"),
        pytest.param(ABFSS, "https://sales01.blob.core.windows.net", id="Azure"),
    ],
)
def test_the_administrators_bounds_hold_for_the_server_that_is_written_to(uri: str, server: str) -> None:
    spec = job(output={"uri": uri.removesuffix("/*.parquet")}).spec
    (told,) = violations(spec, Policy(endpoints=("https://s3.amazonaws.com",)))
    assert f'is "{server}", which is not allowed here' in told
    assert violations(spec, Policy(endpoints=("https://s3.amazonaws.com", server))) == ()


def test_the_administrators_bounds_hold_for_claims() -> None:
    spec = job(template=MOUNTED).spec
    (told,) = violations(spec, Policy(claims=("data-*",)))
    assert told.startswith('template.spec.volumes[0].persistentVolumeClaim.claimName is "lake", which is not allowed')
    assert "policy.claims" in told and violations(spec, Policy(claims=("la*",))) == ()


def test_ports_of_endpoints_and_of_web_servers_are_open() -> None:
    storage = {"gs": {"endpoint": "http://gcs:4443"}, "az": {"account": "a12", "endpoint": "http://azurite:10000/a12"}}
    subject = job(inputs=[{"name": "o", "uri": "https://h:8443/o.parquet"}], storage=storage)
    made = network_policy(subject, DEFAULTS, {})
    open_ports = {port["port"] for rule in made["spec"]["egress"] for port in rule.get("ports", ())}
    assert {80, 443, 4443, 10000, 8443} <= open_ports
