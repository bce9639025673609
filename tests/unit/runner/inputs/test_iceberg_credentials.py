"""How catalogs are opened: client credentials, tokens that expire, signed requests; and what a wrong secret is told."""

import hashlib
import hmac
import re
from urllib.parse import parse_qsl, quote, urlsplit

import pyarrow as pa
import pytest
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField

from gpuquery.api.catalogs import variable
from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs.tables.iceberg import catalogs
from tests.support import iceberg

SECRET = "hush-hush-secret"


@pytest.fixture
def lake(tmp_path):
    with iceberg.served(tmp_path) as served:
        served.table(Schema(NestedField(1, "n", LongType()))).append(pa.table({"n": [1]}))
        yield served


@pytest.fixture
def oauth(lake, monkeypatch):
    """The catalog asks for tokens that its own server issues; the job has the right secret."""
    lake.oauth = iceberg.OAuth("my-id", SECRET)
    monkeypatch.setenv(variable("lake", "credential"), f"my-id:{SECRET}")
    return lake.oauth


def refusal(lake):
    with pytest.raises(JobError) as caught:
        lake.resolve()
    return caught.value


def test_client_credentials_buy_a_token_with_the_scope_that_is_asked_for(lake, oauth, monkeypatch):
    assert lake.read().height == 1
    want = {"grant_type": "client_credentials", "client_id": "my-id", "client_secret": SECRET}
    assert oauth.forms[-1] == {**want, "scope": "catalog"}
    for key in ("scope", "audience", "resource"):
        monkeypatch.setenv(variable("lake", key), f"the-{key}")
    assert lake.read().height == 1
    assert oauth.forms[-1] == {**want, "scope": "the-scope", "audience": "the-audience", "resource": "the-resource"}


def test_tokens_come_from_the_server_that_is_named(lake, oauth, tmp_path, monkeypatch):
    (tmp_path / "other").mkdir()
    with iceberg.served(tmp_path / "other") as elsewhere:
        elsewhere.oauth, lake.oauth.secret = oauth, "another"
        monkeypatch.setenv(variable("lake", "oauth2-server-uri"), f"{elsewhere.uri}/tokens")
        assert refusal(lake).failure is Failure.STORAGE_AUTH
        oauth.secret = SECRET
        assert lake.read().height == 1
    assert set(elsewhere.asked) == {"/tokens"}
    assert not any("oauth" in path for path in lake.asked)


def test_a_token_that_expires_on_the_way_is_asked_for_again(lake, oauth):
    oauth.lasts = 1
    assert lake.read().height == 1
    assert len(oauth.forms) >= 2


def test_a_token_that_expires_between_two_loads_of_one_process_is_asked_for_again(lake, oauth):
    catalog = catalogs.Catalog(catalogs.Asked.of(iceberg.item_of()), lake.access)
    catalog.load()
    bought = len(oauth.forms)
    catalog.load()
    assert len(oauth.forms) == bought, "it is still good"
    oauth.left.clear()
    catalog.load()
    assert len(oauth.forms) == bought + 1


@pytest.mark.parametrize(
    "secret",
    ["my-id:wrong-hush", "other:wrong-hush", "wrong-hush"],
    ids=["another secret", "another client", "no client"],
)
def test_a_wrong_secret_is_told_by_the_name_of_the_catalog_alone(lake, oauth, monkeypatch, secret):
    monkeypatch.setenv(variable("lake", "credential"), secret)
    error = refusal(lake)
    assert error.failure is Failure.STORAGE_AUTH
    assert 'check the credentials of catalog "lake"' in error.message and "invalid_client" in error.message
    assert "hush" not in error.message


def test_a_token_without_a_secret_is_not_renewed_and_its_end_is_told(lake, monkeypatch):
    lake.oauth = iceberg.OAuth("my-id", SECRET)
    lake.oauth.left["given-token"] = 1
    monkeypatch.setenv(variable("lake", "token"), "given-token")
    error = refusal(lake)
    assert error.failure is Failure.STORAGE_AUTH
    assert "the token has expired" in error.message and 'catalog "lake"' in error.message
    assert "given-token" not in error.message and lake.oauth.forms == []


def signature(path, headers, secret, scope, signed):
    """The signature of a GET, by https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html."""
    parts = urlsplit(path)
    query = sorted((quote(k, safe="-_.~"), quote(v, safe="-_.~")) for k, v in parse_qsl(parts.query))
    lower = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
    canonical = [
        "GET", quote(parts.path, safe="/-_.~"), "&".join(f"{k}={v}" for k, v in query),
        "".join(f"{name}:{lower[name]}\n" for name in signed), ";".join(signed), hashlib.sha256(b"").hexdigest(),
    ]  # fmt: skip
    told = hashlib.sha256("\n".join(canonical).encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", lower["x-amz-date"], "/".join(scope), told])
    key = f"AWS4{secret}".encode()
    for part in scope:
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def test_requests_are_signed_with_the_keys_of_the_job(lake, monkeypatch):
    for name, value in {
        variable("lake", "rest.sigv4-enabled"): "true", variable("lake", "rest.signing-region"): "eu-west-1",
        variable("lake", "rest.signing-name"): "glue", variable("lake", "warehouse"): "s3://a b/c",
        "AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": "session",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    assert lake.read().height == 1
    assert any("warehouse" in path for path, _ in lake.requests)
    for path, headers in lake.requests:
        found = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=AKIATEST/(\d{8}/eu-west-1/glue/aws4_request), "
            r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})",
            headers["Authorization"],
        )
        assert found, headers["Authorization"]
        signed = found[2].split(";")
        assert {"host", "x-amz-date", "x-amz-security-token"} <= set(signed)
        assert {name.lower(): value for name, value in headers.items()}["x-amz-security-token"] == "session"
        assert signature(path, headers, SECRET, found[1].split("/"), signed) == found[3]


def test_a_signature_without_keys_is_told_with_the_way_out(lake, monkeypatch, tmp_path):
    monkeypatch.setenv(variable("lake", "rest.sigv4-enabled"), "true")
    monkeypatch.setenv(variable("lake", "rest.signing-region"), "eu-west-1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    error = refusal(lake)
    assert error.failure is Failure.STORAGE_AUTH
    assert "storage.secretName" in error.message and 'catalog "lake"' in error.message
