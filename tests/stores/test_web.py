"""Single files of web servers: what is refused, what is followed, and what is never asked."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gpuquery.api.reasons import Failure
from gpuquery.api.spec import Input
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner import inputs, stores
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.stores import classify
from gpuquery.runner.stores import endpoint
from tests.support.certificates import Authority
from tests.support.store_servers import WebServer

if TYPE_CHECKING:
    from collections.abc import Iterator

PLAIN = StoreAccess(allow_http=True)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "PATIENCE", 0.5)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def web() -> Iterator[WebServer]:
    with WebServer().serving() as server:
        server.put("a.parquet", b"PAR1 and more")
        yield server


def refusal(uri: str, access: StoreAccess = PLAIN) -> JobError:
    with pytest.raises(JobError) as caught:
        stores.check([uri], access)
    return caught.value


def test_a_file_over_tls_is_read_where_the_certificate_is_trusted(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path_factory.mktemp("tls"))
    table, body = pa.table({"id": list(range(100))}), io.BytesIO()
    pq.write_table(table, body)
    with WebServer().serving(authority.signed("web", alternative="DNS:localhost")) as server:
        server.put("deep/a b.parquet", body.getvalue())
        uri = f"{server.root}/deep/a b.parquet"
        stranger = refusal(uri, StoreAccess())
        assert stranger.failure is Failure.INVALID_ENDPOINT and "certificate is not trusted" in str(stranger)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
        stores.check([uri], StoreAccess())
        item = Input(name="t", uri=uri, format="parquet")
        resolved = inputs.resolve([item], StoreAccess())
        assert resolved["t"].files[0].version
        assert inputs.frames(resolved, StoreAccess())["t"].collect().to_arrow().cast(table.schema).equals(table)


STATUSES = [
    pytest.param(401, Failure.STORAGE_AUTH, "no credentials are sent to this host", id="a password is wanted"),
    pytest.param(403, Failure.STORAGE_AUTH, "no credentials are sent to this host", id="nobody may read it"),
    pytest.param(400, Failure.INVALID_INPUT, "answers 400", id="no answer that means anything"),
    pytest.param(503, Failure.STORAGE_UNAVAILABLE, "answers 503", id="down for now"),
    pytest.param(429, Failure.STORAGE_UNAVAILABLE, "answers 429", id="too many requests"),
]


@pytest.mark.parametrize(("status", "failure", "words"), STATUSES)
def test_what_a_server_answers_has_its_class(web: WebServer, status: int, failure: Failure, words: str) -> None:
    web.statuses["x.parquet"] = status
    found = refusal(f"{web.root}/x.parquet")
    assert found.failure is failure and words in str(found) and "x.parquet" in str(found)


def test_a_server_that_comes_back_is_asked_again(web: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "PATIENCE", 20)
    web.statuses["a.parquet"] = 503
    later = iter([503, 503])

    class Passing(dict[str, int]):
        def __contains__(self, key: object) -> bool:
            return key == "a.parquet" and next(later, None) is not None

    web.statuses = Passing({"a.parquet": 503})
    stores.check([f"{web.root}/a.parquet"], PLAIN)
    assert len(web.asked) == 3


def test_a_server_without_ranges_is_refused_by_name(web: WebServer) -> None:
    web.ranges = False
    found = refusal(f"{web.root}/a.parquet")
    assert found.failure is Failure.INVALID_INPUT and "Range" in str(found) and "a.parquet" in str(found)


def test_an_empty_file_is_there_and_has_no_bytes(web: WebServer) -> None:
    web.put("empty.parquet", b"")
    for ranges in (True, False):
        web.ranges = ranges
        uri = f"{web.root}/empty.parquet"
        assert stores.files(uri, PLAIN).sizes([uri]) == {uri: 0}


def test_redirects_are_followed_and_end(web: WebServer) -> None:
    web.redirects |= {"moved.parquet": "/a.parquet", "away.parquet": f"{web.root}/moved.parquet", "loop": "/loop"}
    uri = f"{web.root}/away.parquet"
    assert stores.files(uri, PLAIN).sizes([uri]) == {uri: len(b"PAR1 and more")}
    assert "more than 5 redirects" in str(refusal(f"{web.root}/loop"))


@pytest.mark.parametrize(
    ("uri", "source"),
    [
        ("https://h/a b/ü.parquet", "https://h/a%20b/%C3%BC.parquet"),
        ("https://h:8443/a%20b/k=1/x+y~(1).parquet", "https://h:8443/a%20b/k=1/x+y~(1).parquet"),
    ],
)
def test_readers_get_a_url_as_standards_have_it(uri: str, source: str) -> None:
    store = stores.of(uri)
    assert store.source(uri) == source == store.source(source)


METADATA = [
    "http://169.254.169.254/latest/meta-data/iam", "http://metadata.google.internal/computeMetadata/v1/",
    "http://[fe80::1]/x", "http://[::ffff:169.254.169.254]/x", "http://2852039166/x", "http://0xA9.0xFE.0xA9.0xFE/x",
    "http://100.100.100.200/latest", "https://168.63.129.16/x",
]  # fmt: skip


@pytest.mark.parametrize("target", METADATA)
def test_no_redirect_leads_to_a_metadata_service(web: WebServer, target: str) -> None:
    web.redirects["a.parquet"] = target
    found = refusal(f"{web.root}/a.parquet")
    assert found.failure is Failure.INVALID_ENDPOINT and "metadata service" in str(found)
    assert "latest" not in str(found), "what it was redirected to may be a secret"


def resolving_to(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    family = endpoint.socket.AF_INET6 if ":" in address else endpoint.socket.AF_INET
    answer = [(family, endpoint.socket.SOCK_STREAM, 6, "", (address, 80))]
    monkeypatch.setattr(endpoint.socket, "getaddrinfo", lambda *_, **__: answer)


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "fd00:ec2::254", "::ffff:169.254.169.254"])
def test_no_name_leads_to_a_metadata_service(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    resolving_to(address, monkeypatch)
    monkeypatch.setattr(endpoint.socket, "create_connection", lambda *_, **__: pytest.fail("it was connected to"))
    for access, uri in (
        (PLAIN, "http://innocent.example.com/a.parquet"),
        (StoreAccess(endpoint="http://innocent.example.com", path_style=True), "s3://lake/a.parquet"),
    ):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
        found = refusal(uri, access)
        assert found.failure is Failure.INVALID_ENDPOINT and "innocent.example.com is a metadata service" in str(found)


def test_an_encrypted_address_is_not_left_for_one_that_is_not(
    tmp_path_factory: pytest.TempPathFactory, web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path_factory.mktemp("tls"))
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    with WebServer().serving(authority.signed("web", alternative="DNS:localhost")) as server:
        server.redirects["a.parquet"] = f"{web.root}/a.parquet"
        found = refusal(f"{server.root}/a.parquet", StoreAccess())
        assert "is not encrypted" in str(found) and web.asked == []


def test_polars_says_what_a_server_answers_in_the_same_classes(web: WebServer) -> None:
    for status, failure in ((403, Failure.STORAGE_AUTH), (404, Failure.INVALID_INPUT)):
        web.statuses["x.parquet"] = status
        with pytest.raises(OSError, match=str(status)) as caught:
            pl.scan_parquet(f"{web.root}/x.parquet").collect()
        assert classify(caught.value).failure is failure
