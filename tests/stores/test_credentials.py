"""With which credentials tables are written to Google's and Azure's stores: the same, in the same order, as they are
read. Who gives out tokens is a server of the test's; the clouds themselves were not asked."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import subprocess
import threading
import time
import urllib.parse
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from gpuquery.api.pods import AzStorage, GsStorage
from gpuquery.api.reasons import Failure
from gpuquery.api.stores import AZ, GS
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner import stores
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.redaction import hidden
from gpuquery.runner.stores import gs_tokens, rest, vended
from gpuquery.runner.stores.az_signing import signed_text
from gpuquery.runner.stores.vended import Lease, Vended
from tests.support.certificates import rsa
from tests.support.recorder import Asked, recording
from tests.support.seaweed import ACCESS_KEY, SECRET_KEY
from tests.support.store_servers import ACCOUNT, ACCOUNT_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gpuquery.runner.stores.base import Store
    from tests.support.recorder import Recorder
    from tests.support.seaweed import Seaweed
    from tests.support.store_servers import Azurite

SECRET = "planted-and-never-to-be-seen-0123456789"
GS_URI, AZ_URI = "gs://lake/out", "abfss://lake@sales.dfs.core.windows.net/out"


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No credentials but those of the test, and not much patience."""
    for name in (*GS.keys, *AZ.keys, *gs_tokens.FILES, "AZURE_FEDERATED_TOKEN_FILE", "IDENTITY_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    for name in (*GS.no_node_role, *AZ.no_node_role):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(rest, "PATIENCE", 0.5)
    yield
    vended.forget()


@pytest.fixture
def cloud() -> Iterator[Recorder]:
    """A store that has nothing, and a server of tokens."""
    numbers = iter(range(1, 100))

    def answer(asked: Asked) -> tuple[int, dict[str, str], bytes]:
        if "token" in urllib.parse.urlsplit(asked.url).path:
            return 200, {}, json.dumps({"access_token": f"{SECRET}-{next(numbers)}", "expires_in": 3600}).encode()
        return (401 if asked.headers.get("authorization") == f"Bearer {SECRET}-1" else 404), {}, b""

    with recording(answer) as made:
        yield made


def opened(uri: str, endpoint: str) -> Store:
    access = StoreAccess(gs=GsStorage(endpoint=endpoint), az=AzStorage(endpoint=f"{endpoint}/sales"))
    place = stores.locate(uri)
    return stores.of(uri).table(place, access, staging="_staging/x/1", stop=threading.Event())[0]


@pytest.mark.parametrize("form", ["pkcs8", "pkcs1"])
def test_openssl_takes_our_signatures(form: str, tmp_path: Path) -> None:
    key = rsa(tmp_path, form)
    assert ("BEGIN RSA" in key) is (form == "pkcs1")
    (tmp_path / "text").write_bytes(b"what is signed")
    (tmp_path / "signature").write_bytes(gs_tokens.sign(b"what is signed", key))
    own = ["openssl", "dgst", "-sha256", "-sign", "key.pem", "text"]
    assert subprocess.run(own, cwd=tmp_path, check=True, capture_output=True).stdout == gs_tokens.sign(
        b"what is signed", key
    )


def test_a_key_that_lacks_a_field_that_readers_need_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cloud: Recorder
) -> None:
    """object_store, which reads inputs, asks for `private_key_id` although a token can be made without it."""
    made = {"client_email": "who@x", "private_key": rsa(tmp_path, "pkcs8")}
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", json.dumps(made))
    with pytest.raises(JobError, match="with client_email, private_key and private_key_id") as caught:
        opened(GS_URI, cloud.root).get("a")
    assert caught.value.failure is Failure.STORAGE_AUTH


@pytest.mark.parametrize(
    "key", ["", "no PEM", "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END", "-----BEGIN PRIVATE KEY-----\n!\n-----END"]
)
def test_what_is_no_key_is_told_without_showing_it(key: str, monkeypatch: pytest.MonkeyPatch, cloud: Recorder) -> None:
    made = {"client_email": "who@x", "private_key": f"{key}{SECRET}", "private_key_id": "7"}
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", json.dumps(made))
    with pytest.raises(JobError, match="key of the service account cannot be used") as caught:
        opened(GS_URI, cloud.root).get("a")
    assert caught.value.failure is Failure.STORAGE_AUTH and SECRET not in str(caught.value)


def test_a_service_account_signs_its_own_token(
    monkeypatch: pytest.MonkeyPatch, cloud: Recorder, tmp_path: Path
) -> None:
    key = {"client_email": "who@x", "private_key": rsa(tmp_path, "pkcs8"), "private_key_id": "7"}
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", json.dumps(key))
    assert opened(GS_URI, cloud.root).get("a b") is None
    (asked,) = cloud.asked
    assert asked.url == "/storage/v1/b/lake/o/out%2Fa%20b?alt=media"
    parts = asked.headers["authorization"].removeprefix("Bearer ").split(".")
    head, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in parts[:2])
    assert head == {"alg": "RS256", "typ": "JWT", "kid": "7"}
    assert claims["iss"] == claims["sub"] == "who@x" and claims["scope"].endswith("/devstorage.read_write")
    assert claims["exp"] - claims["iat"] == 3600 and abs(claims["iat"] - time.time()) < 60


@pytest.mark.parametrize("name", gs_tokens.FILES)
def test_a_users_credentials_of_google_are_exchanged_for_a_token(
    name: str, monkeypatch: pytest.MonkeyPatch, cloud: Recorder, tmp_path: Path
) -> None:
    (tmp_path / "adc.json").write_text(
        json.dumps({"type": "authorized_user", "client_id": "i", "client_secret": "s", "refresh_token": SECRET})
    )
    monkeypatch.setenv(name, str(tmp_path / "adc.json"))
    monkeypatch.setattr(gs_tokens, "TOKENS", f"{cloud.root}/token")
    assert opened(GS_URI, cloud.root).get("a") is None
    assert dict(urllib.parse.parse_qsl(cloud.asked[0].body.decode()))["refresh_token"] == SECRET


def test_a_pod_of_gke_asks_for_its_identity_and_again_when_the_store_takes_it_no_more(
    monkeypatch: pytest.MonkeyPatch, cloud: Recorder
) -> None:
    monkeypatch.setenv("GCE_METADATA_HOST", cloud.root.removeprefix("http://"))
    store = opened(GS_URI, cloud.root)
    assert store.get("a") is None and store.get("b") is None
    shown = [one.headers.get("authorization", one.headers.get("metadata-flavor")) for one in cloud.asked]
    assert shown == ["Google", f"Bearer {SECRET}-1", "Google", *[f"Bearer {SECRET}-2"] * 2]
    assert SECRET not in hidden(f"the token is {SECRET}-2")


def test_what_a_catalog_vends_for_google_is_used(cloud: Recorder) -> None:
    vended.register([GS_URI], Lease("table t", lambda: Vended({"gcs.oauth2.token": "first"})))
    assert opened(GS_URI, cloud.root).get("a") is None
    assert cloud.asked[-1].headers["authorization"] == "Bearer first"


ENTRA: list[Any] = [
    pytest.param({"AZURE_CLIENT_SECRET": "s3cret"}, {"client_secret": "s3cret"}, id="a service principal"),
    pytest.param(
        {"AZURE_FEDERATED_TOKEN_FILE": "token"}, {"client_assertion": "of the kubelet"}, id="a workload identity"
    ),
]


@pytest.mark.parametrize(("given", "shown"), ENTRA)
def test_entra_gives_a_token_for_what_it_is_shown(
    given: dict[str, str], shown: dict[str, str], monkeypatch: pytest.MonkeyPatch, cloud: Recorder, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("of the kubelet\n")
    monkeypatch.chdir(tmp_path)
    own = {"AZURE_CLIENT_ID": "who", "AZURE_TENANT_ID": "tenant", "AZURE_AUTHORITY_HOST": f"{cloud.root}/"}
    for name, value in {**own, **given}.items():
        monkeypatch.setenv(name, value)
    assert opened(AZ_URI, cloud.root).get("a") is None
    token, first, again, second = cloud.asked
    assert token.url == again.url == "/tenant/oauth2/v2.0/token"
    said = dict(urllib.parse.parse_qsl(token.body.decode()))
    assert said.items() >= {"client_id": "who", "scope": "https://storage.azure.com/.default", **shown}.items()
    assert [one.headers["authorization"][-2:] for one in (first, second)] == ["-1", "-2"]
    assert second.url == "/sales/lake/out/a" and second.headers["x-ms-version"]


def test_a_node_of_azure_asks_its_metadata_server(monkeypatch: pytest.MonkeyPatch, cloud: Recorder) -> None:
    monkeypatch.setenv("AZURE_MSI_ENDPOINT", f"{cloud.root}/metadata/identity/oauth2/token")
    assert opened(AZ_URI, cloud.root).get("a") is None
    assert cloud.asked[0].query["resource"] == "https://storage.azure.com"
    assert cloud.asked[0].headers["metadata"] == "true"


def test_a_refused_token_says_why_without_showing_what_was_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in {"CLIENT_ID": "who", "TENANT_ID": "tenant", "CLIENT_SECRET": SECRET}.items():
        monkeypatch.setenv(f"AZURE_{name}", value)
    told = json.dumps({"error": "invalid_client", "error_description": f"AADSTS7000215: not {SECRET}"}).encode()
    with recording(lambda _: (401, {}, told)) as entra:
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", entra.root)
        with pytest.raises(
            JobError, match="Microsoft Entra gives no token: 401 invalid_client: AADSTS7000215"
        ) as caught:
            opened(AZ_URI, entra.root).get("a")
    assert caught.value.failure is Failure.STORAGE_AUTH and SECRET not in str(caught.value)


def test_a_request_is_signed_as_the_documentation_of_azure_has_it() -> None:
    """The example of "Authorize with Shared Key", section "Blob, Queue, and File services"."""
    headers = {"x-ms-date": "Fri, 26 Jun 2015 23:39:12 GMT", "x-ms-version": "2015-02-21"}
    url = "https://myaccount.blob.core.windows.net/mycontainer?restype=container&comp=metadata&timeout=20"
    assert signed_text("myaccount", "GET", url, headers) == (
        "GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-version:2015-02-21\n"
        "/myaccount/mycontainer\ncomp:metadata\nrestype:container\ntimeout:20"
    )


def account_signature() -> str:
    """Make a shared access signature of azurite's account (Azure, "Create an account SAS", version 2020-12-06)."""
    ends = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    given = {"sp": "rwdlac", "ss": "b", "srt": "sco", "st": "", "se": ends, "sip": "", "spr": "", "sv": "2020-12-06"}
    text = "\n".join([ACCOUNT, *given.values(), "", ""])
    mac = hmac.new(base64.b64decode(ACCOUNT_KEY), text.encode(), hashlib.sha256).digest()
    return urllib.parse.urlencode({**{k: v for k, v in given.items() if v}, "sig": base64.b64encode(mac).decode()})


@pytest.mark.s3
@pytest.mark.parametrize("way", ["variable", "vended"])
def test_a_shared_access_signature_is_enough(way: str, azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> None:
    azurite.make_container(f"signed-{way}")
    uri = f"abfss://signed-{way}@{ACCOUNT}.dfs.core.windows.net/out"
    if way == "variable":
        monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "?" + account_signature())
    else:
        monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "sig=another")
        vended.register([uri], Lease("table t", lambda: Vended({"adls.sas-token": account_signature()})))
    access = StoreAccess(az=AzStorage(endpoint=azurite.endpoint))
    store = stores.of(uri).table(stores.locate(uri), access, staging="x", stop=threading.Event())[0]
    assert store.create("a", b"1") and not store.create("a", b"2")
    assert [item.key for item in store.list("x/")] == [] and store.get("a") == b"1"


def test_a_signature_shows_in_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", f"sv=2020-12-06&sig={SECRET}")
    with pytest.raises(JobError) as caught:
        opened(AZ_URI, "http://127.0.0.1:1").get("a")
    assert caught.value.failure is Failure.STORAGE_UNAVAILABLE and SECRET not in str(caught.value)


@pytest.mark.s3
def test_what_a_catalog_vends_for_s3_opens_a_table_and_is_renewed(
    seaweed: Seaweed, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in seaweed.environment:
        monkeypatch.delenv(name)
    asked: list[int] = []
    monkeypatch.setattr(vended, "LEAST", timedelta(0))

    def ask() -> Vended:
        asked.append(1)
        keys = {"s3.access-key-id": ACCESS_KEY, "s3.secret-access-key": SECRET_KEY}
        return Vended({**keys, "s3.session-token-expires-at-ms": str(int(time.time() * 1000) + 500)})

    vended.register([f"s3://{bucket}/out"], Lease("table t", ask))
    access = StoreAccess(endpoint=seaweed.endpoint, path_style=True, region="us-east-1")
    place = stores.locate(f"s3://{bucket}/out")
    store = stores.of(place.uri).table(place, access, staging="x", stop=threading.Event())[0]
    assert store.create("a", b"1")
    before = len(asked)
    deadline = time.monotonic() + 10
    while len(asked) == before and time.monotonic() < deadline:
        assert store.get("a") == b"1"
    assert len(asked) > before
