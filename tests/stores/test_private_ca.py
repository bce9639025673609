"""Servers with certificates of a private authority: every client believes the job's ConfigMap, and no other does."""

from __future__ import annotations

import functools
import io
import os
import threading
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gpuquery.api.catalogs import variable
from gpuquery.api.labels import CA_VARIABLE
from gpuquery.api.reasons import Failure
from gpuquery.api.spec import Input
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner import inputs, stores, trust
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.sizing import estimate
from gpuquery.runner.stores import reader_rules, retries
from tests.support.certificates import Authority
from tests.support.faultproxy import FaultProxy, in_front_of
from tests.support.runner import plan
from tests.support.store_servers import WebServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.lakes import Lake
    from tests.support.seaweed import Seaweed

TABLE = pa.table({"id": list(range(100))})


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> Path:
    return authority.signed("server", alternative="DNS:localhost")


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "PATIENCE", 2)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in (*trust.VARIABLES, "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def believing(authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever runs now is a process of a pod whose job names the authority."""
    for name, value in trust.variables({CA_VARIABLE: str(authority.certificate), "TMPDIR": str(tmp_path)}).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def secure(seaweed: Seaweed, bucket: str, certificate: Path) -> Iterator[FaultProxy]:
    made = io.BytesIO()
    pq.write_table(TABLE, made)
    seaweed.client().put_object(Bucket=bucket, Key="t/a.parquet", Body=made.getvalue())
    with in_front_of(seaweed.endpoint, certificate=certificate) as proxy:
        yield proxy


def access(proxy: FaultProxy) -> StoreAccess:
    return StoreAccess(endpoint=proxy.endpoint, path_style=True)


def read(uri: str, reach: StoreAccess) -> pa.Table:
    item = Input.model_validate({"name": "t", "uri": uri, "format": "parquet"})
    frame = inputs.frames(inputs.resolve([item], reach), reach)["t"]
    assert estimate(frame, reach).rows == TABLE.num_rows
    return frame.collect().to_arrow()


@pytest.mark.s3
def test_inputs_of_s3_are_listed_sized_and_read(secure: FaultProxy, bucket: str, believing: None) -> None:
    for uri in (f"s3://{bucket}/t/", f"s3://{bucket}/t/a.parquet", f"s3://{bucket}/t/a*.parquet"):
        stores.check([uri], access(secure))
        assert read(uri, access(secure)).cast(TABLE.schema).equals(TABLE)


@pytest.mark.s3
def test_a_table_in_s3_is_written(secure: FaultProxy, bucket: str, believing: None) -> None:
    uri = f"s3://{bucket}/out"
    patient, quick = stores.of(uri).table(
        stores.locate(uri), access(secure), staging="_staging/x/1", stop=threading.Event()
    )
    assert quick.create("_commits/1", b"{}") and not patient.create("_commits/1", b"{}")


@pytest.fixture
def cloud(lake: Lake, certificate: Path) -> Iterator[StoreAccess]:
    """The store of Google or Azure behind the server."""
    given = getattr(lake.access, lake.kind)
    server, _, path = given.endpoint.partition("://")[2].partition("/")
    with in_front_of(f"http://{server}", certificate=certificate) as proxy:
        yield StoreAccess(**{lake.kind: given.model_copy(update={"endpoint": f"{proxy.endpoint}/{path}"})})


CLOUDS = pytest.mark.parametrize("lake", ["gs", "az"], indirect=True)


@pytest.mark.s3
@CLOUDS
def test_a_table_in_the_stores_of_google_and_azure_is_written(
    lake: Lake, cloud: StoreAccess, request: pytest.FixtureRequest
) -> None:
    place = stores.locate(lake.uri)
    open_table = functools.partial(stores.of(lake.uri).table, place, cloud, staging="x", stop=threading.Event())
    with pytest.raises(JobError, match=r"its certificate is not trusted; .*storage.caConfigMapName"):
        open_table()[0].get("a")
    request.getfixturevalue("believing")
    assert open_table()[0].create("a", b"1")


@pytest.mark.s3
@CLOUDS
def test_inputs_in_the_stores_of_google_and_azure_are_listed_sized_and_read(
    lake: Lake, cloud: StoreAccess, request: pytest.FixtureRequest
) -> None:
    made = io.BytesIO()
    pq.write_table(TABLE, made)
    lake.store().put("t/a.parquet", made.getvalue())
    with pytest.raises(JobError, match=r"certificate is not trusted .*storage.caConfigMapName"):
        stores.check([f"{lake.uri}/t/"], cloud)
    request.getfixturevalue("believing")
    for uri in (f"{lake.uri}/t/", f"{lake.uri}/t/a.parquet"):
        stores.check([uri], cloud)
        assert read(uri, cloud).cast(TABLE.schema).equals(TABLE)


def checked(reach: StoreAccess, bucket: str) -> None:
    stores.check([f"s3://{bucket}/t/"], reach)


def written(reach: StoreAccess, bucket: str) -> None:
    uri = f"s3://{bucket}/out"
    stores.of(uri).table(stores.locate(uri), reach, staging="_staging/x/1", stop=threading.Event())[1].get("a")


@pytest.mark.s3
@pytest.mark.parametrize("call", [checked, written])
def test_without_it_the_server_is_refused_within_seconds(
    call: Callable[[StoreAccess, str], Any], secure: FaultProxy, bucket: str
) -> None:
    with pytest.raises(JobError) as caught:
        call(access(secure), bucket)
    assert caught.value.failure is Failure.INVALID_ENDPOINT, caught.value
    assert "storage.caConfigMapName" in str(caught.value)


@pytest.mark.s3
def test_without_it_polars_and_obstore_do_not_believe_the_server(secure: FaultProxy, bucket: str) -> None:
    uri = f"s3://{bucket}/t/a.parquet"
    with pytest.raises(JobError):
        stores.files(uri, access(secure)).look([uri])
    options = {**stores.scan_options(access(secure), uri), "max_retries": 0}
    with pytest.raises(Exception, match="error sending request"):
        pl.scan_parquet(uri, storage_options=options).collect()
    assert not secure.requests


def test_a_web_server_is_read(certificate: Path, believing: None) -> None:
    made = io.BytesIO()
    pq.write_table(TABLE, made)
    with WebServer().serving(certificate) as server:
        server.put("a.parquet", made.getvalue())
        stores.check([f"{server.root}/a.parquet"], StoreAccess())
        assert read(f"{server.root}/a.parquet", StoreAccess()).cast(TABLE.schema).equals(TABLE)


@pytest.mark.parametrize("trusted", [False, True])
def test_a_catalog_is_believed_like_a_store(
    trusted: bool, certificate: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if trusted:
        request.getfixturevalue("believing")
    item = Input.model_validate({"name": "t", "table": {"catalog": "lake", "name": "db.t"}})
    with WebServer().serving(certificate) as server:
        monkeypatch.setenv(variable("lake", "uri"), server.root)
        with pytest.raises(JobError) as caught:
            inputs.resolve([item], StoreAccess())
    assert bool(server.asked) is trusted, "a server that is not believed is asked nothing"
    assert trusted or "storage.caConfigMapName" in str(caught.value)


def test_what_everybody_trusts_is_trusted_still(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Authority(tmp_path, "everybodys")
    given = {CA_VARIABLE: str(authority.certificate), "TMPDIR": str(tmp_path), "SSL_CERT_FILE": str(other.certificate)}
    found = trust.variables(given)
    assert set(found) == set(trust.VARIABLES) and len(set(found.values())) == 1
    made = (tmp_path / "gpuquery-ca.pem").read_bytes()
    assert trust.variables({**given, **found}) == found, "a process below finds it made"
    assert (tmp_path / "gpuquery-ca.pem").read_bytes() == made
    monkeypatch.setenv("SSL_CERT_FILE", found["SSL_CERT_FILE"])
    for one in (authority, other):
        with WebServer().serving(one.signed("web", alternative="DNS:localhost")) as server:
            server.put("a.parquet", b"PAR1 and more")
            stores.check([f"{server.root}/a.parquet"], StoreAccess())


def test_a_job_without_authorities_changes_nothing() -> None:
    assert trust.variables({"SSL_CERT_FILE": "/etc/own.pem"}) == {}


BAD = [
    pytest.param(b"", "no certificate in PEM", id="nothing"),
    pytest.param(b"\x30\x82\x01", "no certificate in PEM", id="DER"),
    pytest.param(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be read", id="cut"),
    pytest.param(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "a private key", id="a key"),
]


@pytest.mark.parametrize(("body", "words"), BAD)
def test_what_is_no_certificate_is_refused_by_its_field(body: bytes, words: str, tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    file.write_bytes(body)
    with pytest.raises(trust.TrustError, match=words) as caught:
        trust.variables({CA_VARIABLE: str(file), "TMPDIR": str(tmp_path)})
    assert "storage.caConfigMapName" in str(caught.value) and "kubectl create configmap" in str(caught.value)
    assert os.listdir(tmp_path) == ["ca.crt"]


def test_comments_between_certificates_do_not_matter(authority: Authority, tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    file.write_bytes("# Főtanúsítvány\n".encode() + authority.certificate.read_bytes())
    assert trust.variables({CA_VARIABLE: str(file), "TMPDIR": str(tmp_path)})


@pytest.mark.parametrize(
    ("release", "uri", "refused"),
    [
        pytest.param("25.08", "https://h/a.parquet", True, id="no variable tells KvikIO of 25.08"),
        pytest.param("25.08", "file:///mnt/a.parquet", False, id="a file needs no certificate"),
        pytest.param("25.10", "https://h/a.parquet", False, id="KvikIO from 25.10 on is told"),
    ],
)
def test_gpu_readers_that_cannot_be_told_are_refused_before_a_gpu_is_held(
    release: str, uri: str, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CA_VARIABLE, "/var/run/gpuquery-ca/ca.crt")
    wanted = plan("s3://lake/out", "select 1", engine="tasks", release=release, gpus=1, inputs={"t": uri})
    if refused:
        with pytest.raises(JobError, match=r"storage\.caConfigMapName is set") as caught:
            reader_rules.check_access(wanted)
        assert "release 25.10 or newer" in str(caught.value)
    else:
        reader_rules.check_access(wanted)
