"""What AWS S3 is asked: hosts, regions and headers, as a server in its place sees them. AWS itself was not asked."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gpuquery.api.reasons import Failure
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner import stores
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.stores import classify
from gpuquery.runner.stores import reader_rules
from gpuquery.runner.stores.s3 import client
from tests.support.runner import plan
from tests.support.store_servers import WebServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HOST_STYLE = StoreAccess(endpoint="http://s3.example.com", region="eu-west-1", path_style=False)
PATH_STYLE = StoreAccess(endpoint="http://s3.example.com", region="eu-west-1", path_style=True)
URI = "s3://lake/t/a.parquet"


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """A proxy of the environment that answers for every host: paths are whole URLs."""
    made = io.BytesIO()
    pq.write_table(pa.table({"id": [1, 2]}), made)
    with WebServer().serving() as server:
        for place in ("lake.s3.example.com/t/a.parquet", "s3.example.com/lake/t/a.parquet"):
            server.put(f"http://{place}", made.getvalue())
        for name in ("https_proxy", "HTTPS_PROXY", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("http_proxy", server.root)
        for name, value in {"ACCESS_KEY_ID": "AKIAEXAMPLE", "SECRET_ACCESS_KEY": "k" * 40}.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield server


def looked(access: StoreAccess) -> None:
    assert stores.files(URI, access).look([URI])[URI].bytes


def scanned(access: StoreAccess) -> None:
    assert pl.scan_parquet(URI, storage_options=stores.scan_options(access, URI)).collect().height == 2


def by_boto3(access: StoreAccess) -> None:
    client.s3_client(access).head_object(Bucket="lake", Key="t/a.parquet")


@pytest.mark.parametrize("call", [looked, scanned, by_boto3])
@pytest.mark.parametrize(
    ("access", "url"),
    [
        pytest.param(HOST_STYLE, "http://lake.s3.example.com/t/a.parquet", id="the bucket in the host"),
        pytest.param(PATH_STYLE, "http://s3.example.com/lake/t/a.parquet", id="the bucket in the path"),
    ],
)
def test_every_client_asks_the_same_host_and_signs_for_the_region(
    call: Callable[[StoreAccess], None], access: StoreAccess, url: str, world: WebServer
) -> None:
    call(access)
    assert {path for _, path, _ in world.asked} == {url}
    for _, _, headers in world.asked:
        shown = {name.lower(): value for name, value in headers.items()}
        assert "/eu-west-1/s3/aws4_request" in shown["authorization"]
        assert "x-amz-request-payer" not in shown


@pytest.mark.parametrize("call", [looked, scanned, by_boto3])
def test_every_client_says_that_the_requester_pays_and_signs_it(
    call: Callable[[StoreAccess], None], world: WebServer
) -> None:
    call(PATH_STYLE.model_copy(update={"requester_pays": True}))
    assert world.asked
    for _, _, headers in world.asked:
        shown = {name.lower(): value for name, value in headers.items()}
        assert shown["x-amz-request-payer"] == "requester"
        assert "x-amz-request-payer" in shown["authorization"], "AWS refuses headers of its own that are not signed"


def test_gpu_readers_cannot_say_it_and_are_refused(world: WebServer) -> None:
    store: dict[str, Any] = {"region": "eu-west-1", "requesterPays": True}
    wanted = plan("s3://out", "select 1", engine="rapidsmpf", release="26.10", gpus=1, inputs={"t": URI}, store=store)
    with pytest.raises(JobError, match=r'input "t" .*storage\.requesterPays is true.*engine: cpu'):
        reader_rules.check_access(wanted)
    assert not world.asked


def test_a_bucket_of_another_region_is_told_with_the_field(world: WebServer) -> None:
    world.statuses["http://s3.example.com/lake/t/a.parquet"] = 301
    for call in (looked, scanned):
        with pytest.raises(Exception, match="region") as caught:
            # Polars keeps the clients of other tests, by their options.
            call(PATH_STYLE.model_copy(update={"region": "eu-west-9"}))
        found = classify(caught.value)
        assert found.failure is Failure.INVALID_ENDPOINT and "storage.region" in str(found), found
