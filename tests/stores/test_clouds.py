"""Faults of gs://, az:// and abfss://: which class they get, in which words, and that no secret gets out.

The servers here are emulators. What the clouds themselves answer (their identities, rights and throttling) was not run.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import obstore
import polars as pl
import pytest

from gpuquery.api import stores as kinds
from gpuquery.api.pods import AzStorage, GsStorage
from gpuquery.api.reasons import Failure
from gpuquery.api.spec import Input
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner import inputs, stores
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.stores import classify
from gpuquery.runner.inputs import listing
from gpuquery.runner.stores import endpoint, reader_rules, retries
from tests.support.sinks import plan
from tests.support.store_servers import ACCOUNT, ACCOUNT_KEY, WebServer

if TYPE_CHECKING:
    from tests.support.store_servers import Azurite, FakeGcs

SECRET = "c2VjcmV0LXRoYXQtbXVzdC1ub3QtYmUtc2Vlbi1hbnl3aGVyZS1hdC1hbGw="
ABFSS = f"abfss://lake@{ACCOUNT}.dfs.core.windows.net"


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "PATIENCE", 0.5)
    monkeypatch.setattr(retries, "PATIENCE", 1)
    monkeypatch.setattr(retries, "HURRIED", 1)
    for store in kinds.STORES:
        for name, value in store.no_node_role.items():
            monkeypatch.setenv(name, value)


def resolved(uri: str, access: StoreAccess) -> JobError:
    """Check and open an input as an attempt does; returns why it does not work."""

    def opened() -> None:
        stores.check([uri], access)
        inputs.resolve([Input(name="orders", uri=uri, format="parquet")], access)

    with pytest.raises(JobError) as caught:
        opened()
    assert SECRET[:20] not in str(caught.value) and ACCOUNT_KEY[:20] not in str(caught.value)
    return caught.value


@pytest.mark.s3
def test_a_bucket_that_is_not_there_is_named(fake_gcs: FakeGcs) -> None:
    access = StoreAccess(gs=GsStorage(endpoint=fake_gcs.endpoint, anonymous=True))
    fake_gcs.make_bucket("shelf")
    fake_gcs.put("shelf", "t/orders.parquet", b"PAR1")
    found = resolved("gs://shelf/t/ordres.parquet", access)
    assert found.failure is Failure.INVALID_INPUT
    assert 'input "orders": no file matches gs://shelf/t/ordres.parquet' in str(found)
    assert "in gs://shelf/t/ there is orders.parquet" in str(found)
    # The emulator answers a listing of no bucket with 500, which Google does with 404 NoSuchBucket.
    text = "Generic GCS error: Error performing list request: 404 Not Found: <Code>NoSuchBucket</Code>"
    assert classify(OSError(text)).failure is Failure.BUCKET_NOT_FOUND


@pytest.mark.s3
def test_a_container_that_is_not_there_is_named(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", ACCOUNT_KEY)
    access = StoreAccess(az=AzStorage(endpoint=azurite.endpoint))
    found = resolved(f"abfss://nolake@{ACCOUNT}.dfs.core.windows.net/t/*.parquet", access)
    assert found.failure is Failure.BUCKET_NOT_FOUND and 'input "orders"' in str(found) and "nolake" in str(found)


@pytest.mark.s3
def test_a_wrong_key_of_azure_is_told_without_showing_it(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> None:
    azurite_access = StoreAccess(az=AzStorage(endpoint=azurite.endpoint))
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", SECRET)
    found = resolved(f"{ABFSS}/t/*.parquet", azurite_access)
    assert found.failure is Failure.STORAGE_AUTH and "storage.secretName" in str(found)
    options = stores.scan_options(azurite_access, f"{ABFSS}/t/a.parquet")
    with pytest.raises(Exception, match="403") as caught:
        pl.scan_parquet([f"{ABFSS}/t/a.parquet"], storage_options=options).collect()
    assert classify(caught.value).failure is Failure.STORAGE_AUTH


@pytest.mark.s3
def test_a_shared_access_signature_does_not_show_in_a_message(
    azurite: Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    signature = "sv=2021-08-06&ss=b&srt=sco&sp=rl&se=2030-01-01T00%3A00%3A00Z&sig=bWVsbG9uLWlzLXRoZS13b3JkLWhlcmU%3D"
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", signature)
    found = resolved(f"{ABFSS}/t/*.parquet", StoreAccess(az=AzStorage(endpoint=azurite.endpoint)))
    assert found.failure is Failure.STORAGE_AUTH
    assert "bWVsbG9u" not in str(found) and "sig=bW" not in str(found)


@pytest.mark.s3
def test_public_containers_are_read_without_a_key(azurite: Azurite) -> None:
    azurite.make_container("public1", public=True)
    azurite.put("public1", "a.parquet", b"four")
    access = StoreAccess(az=AzStorage(endpoint=azurite.endpoint, account=ACCOUNT, anonymous=True))
    stores.check(["az://public1/a.parquet"], access)
    assert stores.files("az://public1/a.parquet", access).sizes(["az://public1/a.parquet"]) == {
        "az://public1/a.parquet": 4
    }


NO_CREDENTIALS: list[Any] = [
    pytest.param("gs://lake/x", {}, "name a Secret with GOOGLE_SERVICE_ACCOUNT_KEY", id="nothing for Google"),
    pytest.param("gs://lake/x", {"GOOGLE_SERVICE_ACCOUNT_KEY": SECRET}, "is not the JSON of a", id="no JSON"),
    pytest.param("gs://lake/x", {"GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps({"private_key": SECRET})},
                 "which has client_email and private_key", id="half of a key"),
    pytest.param(f"{ABFSS}/x", {}, "AZURE_STORAGE_ACCOUNT_KEY; or AZURE_STORAGE_SAS_TOKEN", id="nothing for Azure"),
    pytest.param(f"{ABFSS}/x", {"AZURE_CLIENT_ID": "id", "AZURE_CLIENT_SECRET": SECRET},
                 "(AZURE_TENANT_ID is missing)", id="half of a service principal"),
    pytest.param(f"{ABFSS}/x", {"AZURE_STORAGE_ACCOUNT_KEY": f"{SECRET}\n"}, "ends with a blank or a line break",
                 id="a line break after a key"),
]  # fmt: skip


@pytest.mark.parametrize(("uri", "given", "words"), NO_CREDENTIALS)
def test_missing_and_broken_credentials_are_told_at_once(
    uri: str, given: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    found = resolved(uri, StoreAccess())
    assert found.failure is Failure.STORAGE_AUTH and words in str(found)


def test_credentials_that_azures_webhook_gives_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE"):
        monkeypatch.setenv(name, "x")
    stores.check([f"{ABFSS}/x"], StoreAccess())


@pytest.mark.parametrize("uri", ["gs://lake/x.parquet", f"{ABFSS}/x.parquet"])
def test_an_outage_is_one_and_a_metadata_service_is_no_endpoint(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", ACCOUNT_KEY)

    def access(url: str) -> StoreAccess:
        return StoreAccess(gs=GsStorage(endpoint=url, anonymous=True), az=AzStorage(endpoint=url))

    kind = "gs" if uri.startswith("gs") else "az"
    away = resolved(uri, access("http://127.0.0.1:1"))
    assert away.failure is Failure.STORAGE_UNAVAILABLE and f'storage.{kind}.endpoint "http://127.0.0.1:1"' in str(away)
    closed = resolved(uri, access("http://169.254.169.254/x"))
    assert closed.failure is Failure.INVALID_ENDPOINT and "metadata service" in str(closed)
    with WebServer().serving() as web:
        web.statuses |= {"lake": 503, "x/lake": 503}
        web.statuses = type("All", (dict,), {"__contains__": lambda *_: True, "__getitem__": lambda *_: 503})()
        broken = resolved(uri, access(web.root))
        assert broken.failure is Failure.STORAGE_UNAVAILABLE and 'input "orders"' in str(broken)


def test_nothing_is_written_to_a_web_server() -> None:
    uri = "https://lake.example.com/out"
    with pytest.raises(JobError, match=r"output.uri is .*: web servers are only read: write it like s3://bucket"):
        stores.of(uri).table(stores.locate(uri), plan("s3://lake/out").store, staging="x", stop=threading.Event())


GPU = [
    pytest.param("gs://lake/x.parquet", "reach s3:// and https:// only: copy it to s3://, or use engine: cpu", id="gs"),
    pytest.param(f"{ABFSS}/x.parquet", "or use engine: cpu", id="abfss"),
    pytest.param("https://h/x.parquet", "", id="https"),
    pytest.param("file:///mnt/lake/x.parquet", "", id="a volume"),
]


@pytest.mark.parametrize(("uri", "words"), GPU)
def test_a_store_that_no_gpu_reader_reaches_is_refused_by_the_preflight(uri: str, words: str) -> None:
    item = Input(name="orders", uri=uri, format="parquet")
    made = plan("s3://lake/out").model_copy(update={"inputs": (item,)})
    if words:
        with pytest.raises(JobError) as caught:
            reader_rules.check_formats(made)
        assert words in str(caught.value) and f'input "orders" ({uri})' in str(caught.value)
    else:
        reader_rules.check_formats(made)


def test_one_named_file_is_asked_for_and_its_folder_is_not_listed(
    fake_gcs: FakeGcs, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_gcs.make_bucket("named")
    for number in range(3):
        fake_gcs.put("named", f"t/{number}.parquet", b"x")
    asked: list[str] = []

    def recording(store: Any, prefix: str, **how: Any) -> Any:
        asked.append(prefix)
        return list_keys(store, prefix, **how)

    list_keys = obstore.list
    monkeypatch.setattr(obstore, "list", recording)
    monkeypatch.setattr(obstore, "list_with_delimiter", lambda *_: pytest.fail("a whole level was listed"))
    item = Input.model_validate({"name": "t", "uri": "gs://named/t/1.parquet", "format": "parquet"})
    access = StoreAccess(gs=GsStorage(endpoint=fake_gcs.endpoint, anonymous=True))
    assert [file.uri for file in listing.listed(item, access).files] == [item.uri]
    assert sorted(asked) == ["t/.hoodie", "t/_commits", "t/_delta_log", "t/_spark_metadata", "t/metadata"]


@pytest.mark.parametrize("log", ["_delta_log/0.json", "_commits/1", "metadata/v1.metadata.json", ".hoodie/a"])
def test_the_table_of_a_named_file_is_seen_nevertheless(fake_gcs: FakeGcs, log: str) -> None:
    bucket = f"root{abs(hash(log))}"
    fake_gcs.make_bucket(bucket)
    for key in ("1.parquet", log):
        fake_gcs.put(bucket, f"t/{key}", b"x")
    item = Input.model_validate({"name": "t", "uri": f"gs://{bucket}/t/1.parquet", "format": "parquet"})
    with pytest.raises(JobError, match="table"):
        listing.listed(item, StoreAccess(gs=GsStorage(endpoint=fake_gcs.endpoint, anonymous=True)))
