"""Web servers that want credentials: who is shown them, who never is, and that nobody reads them afterwards."""

from __future__ import annotations

import base64
import io
import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from gpuquery.api.reasons import Failure
from gpuquery.api.spec import Input
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner import inputs, local, stores
from gpuquery.runner.failures import redaction
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.redaction import redact
from gpuquery.runner.inputs import faults
from gpuquery.runner.stores import endpoint, reader_rules, web_secrets
from tests.support.certificates import Authority
from tests.support.runner import plan
from tests.support.store_servers import WebServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TABLE = pa.table({"id": list(range(1000)), "word": [f"w{n}" for n in range(1000)]})
TOKEN = "tok-3f9a6c1e77d24b0b"
SIGNATURE = "fe5f80f77d5fa3beca038a2"
QUERY = f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAEXAMPLE%2F20261130&X-Amz-Signature={SIGNATURE}"


class Guarded(WebServer):
    """A server that shows files only to those who know how to ask."""

    def __init__(self, wanted: str = "", query: str = "") -> None:
        super().__init__()
        self.wanted, self.query = wanted, query

    def lets_in(self, headers: dict[str, str], query: str) -> bool:
        """Whether a request may see a file."""
        shown = {f"{name.lower()}: {value}" for name, value in headers.items()}
        return (not self.wanted or self.wanted in shown) and query == self.query


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Authority(tmp_path_factory.mktemp("tls")).signed("web", alternative="DNS:localhost")


@pytest.fixture(autouse=True)
def environment(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "PATIENCE", 0.5)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "ca.crt"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def parquet(table: pa.Table = TABLE) -> bytes:
    made = io.BytesIO()
    pq.write_table(table, made, row_group_size=100)
    return made.getvalue()


def host(server: WebServer) -> str:
    return server.root.removeprefix("https://")


def guarded(certificate: Path, **how: str) -> Any:
    return Guarded(**how).serving(certificate)


def read(uri: str, format: str = "parquet") -> pa.Table:
    stores.check([uri], StoreAccess())
    item = Input.model_validate({"name": "t", "uri": uri, "format": format})
    resolved = inputs.resolve([item], StoreAccess())
    assert all(secret not in json.dumps(resolved["t"].to_json()) for secret in (TOKEN, QUERY, "127.0.0.1"))
    return inputs.frames(resolved, StoreAccess())["t"].collect().to_arrow().cast(TABLE.schema)


BASIC = base64.b64encode(f"data:{TOKEN}".encode()).decode()
WAYS = [
    pytest.param({"TOKEN": TOKEN}, f"authorization: Bearer {TOKEN}", id="a token"),
    pytest.param({"USER": "data", "PASSWORD": TOKEN}, f"authorization: Basic {BASIC}", id="a password"),
    pytest.param({"HEADER": f"X-Api-Key: {TOKEN}"}, f"x-api-key: {TOKEN}", id="a header of one's own"),
    pytest.param({"TOKEN": f"{TOKEN}\n"}, f"authorization: Bearer {TOKEN}", id="a line break of echo"),
]


@pytest.mark.parametrize(("given", "wanted"), WAYS)
def test_a_server_is_shown_what_the_secret_has_for_it(
    given: dict[str, str], wanted: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with guarded(certificate, wanted=wanted) as server:
        server.put("a b.parquet", parquet())
        found = io.BytesIO()
        pa_csv.write_csv(TABLE, found)
        server.put("a.csv", found.getvalue())
        for name, value in {**given, "HOST": f"data.example.com, {host(server).upper()}"}.items():
            monkeypatch.setenv(f"HTTPS_AUTH_{name}", value)
        assert read(f"{server.root}/a b.parquet").equals(TABLE)
        assert read(f"{server.root}/a.csv", "csv").equals(TABLE)


@pytest.mark.parametrize("name", ["TOKEN", "URLS"])
def test_a_job_reads_it_and_its_plan_report_and_record_have_no_secret(
    name: str, certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with guarded(certificate, query=QUERY if name == "URLS" else "") as server:
        server.put("a b.parquet", parquet())
        given = {"TOKEN": TOKEN, "URLS": f"# of today\n\n{server.root}/a%20b.parquet?{QUERY}\n"}
        monkeypatch.setenv(f"HTTPS_AUTH_{name}", given[name])
        monkeypatch.setenv("HTTPS_AUTH_HOST", host(server))
        wanted = plan(tmp_path, "select sum(id) as s from t", inputs={"t": f"{server.root}/a b.parquet"})
        report = local.run(wanted, on_progress=lambda _: None)
        assert report.failure is None, report.message
        (file,) = (tmp_path / "out" / "data").rglob("*.parquet")
        assert pq.read_table(file)["s"].to_pylist() == [sum(range(1000))]
        texts = [report.model_dump_json(), wanted.model_dump_json()]
        texts += [file.read_text(errors="replace") for file in tmp_path.rglob("*") if file.is_file()]
        told = [text for text in texts if any(one in text for one in ("X-Amz", SIGNATURE, TOKEN, "127.0.0.1"))]
        assert not told


def test_another_signature_of_the_same_file_is_the_same_input(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = set()
    with guarded(certificate) as server:
        server.put("a.parquet", parquet())
        for query in ("sig=today", "sig=tomorrow"):
            server.query = query
            monkeypatch.setenv("HTTPS_AUTH_URLS", f"{server.root}/a.parquet?{query}")
            item = Input.model_validate({"name": "t", "uri": f"{server.root}/a.parquet", "format": "parquet"})
            digests.add(json.dumps(inputs.resolve([item], StoreAccess())["t"].to_json()))
    assert len(digests) == 1


def refused(uri: str) -> JobError:
    with pytest.raises(JobError) as caught:
        stores.check([uri], StoreAccess())
    return caught.value


@pytest.mark.parametrize("redirect", [False, True])
def test_another_host_never_sees_the_token(redirect: bool, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with guarded(certificate) as mine, guarded(certificate) as other:
        other.put("a.parquet", parquet())
        mine.redirects["a.parquet"] = f"{other.root}/a.parquet"
        monkeypatch.setenv("HTTPS_AUTH_TOKEN", TOKEN)
        monkeypatch.setenv("HTTPS_AUTH_HOST", host(mine))
        assert read(f"{(mine if redirect else other).root}/a.parquet").equals(TABLE)
        assert other.asked and TOKEN not in str(other.asked)
        assert all(f"Bearer {TOKEN}" in str(one) for one in mine.asked) and bool(mine.asked) is redirect


def test_nothing_is_sent_without_encryption(monkeypatch: pytest.MonkeyPatch) -> None:
    with WebServer().serving() as server:
        server.put("a.parquet", parquet())
        monkeypatch.setenv("HTTPS_AUTH_TOKEN", TOKEN)
        monkeypatch.setenv("HTTPS_AUTH_HOST", server.root.removeprefix("http://"))
        uri = f"{server.root}/a.parquet"
        assert stores.files(uri, StoreAccess(allow_http=True)).sizes([uri])
        assert stores.of(uri).address(uri) == uri
        assert server.asked and TOKEN not in str(server.asked)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        pytest.param({}, "no credentials are sent to this host", id="none"),
        pytest.param({"TOKEN": "wrong-token-of-mine"}, "does not accept the credentials", id="a wrong token"),
        pytest.param({"URLS": "sig=expired-signature-of-mine"}, "sign the URL anew", id="a signature of yesterday"),
    ],
)
def test_a_refusal_names_the_key_and_shows_no_value(
    given: dict[str, str], words: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with guarded(certificate, wanted="x: y") as server:
        server.put("a.parquet", parquet())
        uri = f"{server.root}/a.parquet"
        for name, value in given.items():
            monkeypatch.setenv(f"HTTPS_AUTH_{name}", f"{uri}?{value}" if name == "URLS" else value)
        monkeypatch.setenv("HTTPS_AUTH_HOST", host(server))
        found = refused(uri)
    assert found.failure is Failure.STORAGE_AUTH and words in str(found) and uri in str(found)
    assert "of-mine" not in str(found)


@pytest.mark.parametrize("name", ["TOKEN", "URLS"])
def test_what_polars_says_of_a_broken_file_names_its_own_url(
    name: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with guarded(certificate) as server:
        body = bytearray(parquet())
        server.put("a.parquet", bytes(body))
        uri = f"{server.root}/a.parquet"
        item = Input.model_validate({"name": "t", "uri": uri, "format": "parquet"})
        if name == "URLS":
            server.query = QUERY
        monkeypatch.setenv(f"HTTPS_AUTH_{name}", TOKEN if name == "TOKEN" else f"{uri}?{QUERY}")
        monkeypatch.setenv("HTTPS_AUTH_HOST", host(server))
        resolved = inputs.resolve([item], StoreAccess())
        server.statuses["a.parquet"] = 403
        with pytest.raises(Exception, match="403") as caught:
            inputs.frames(resolved, StoreAccess())["t"].collect()
    said = redact(str(caught.value))
    assert uri in said and "X-Amz-Signature=fe" not in said and "127.0.0.1" not in said


def test_gpu_readers_are_given_signed_urls_and_refused_what_needs_a_header(monkeypatch: pytest.MonkeyPatch) -> None:
    uri = "https://data.example.com/a.parquet"
    wanted = plan("s3://lake/out", "select 1", engine="rapidsmpf", release="26.10", gpus=1, inputs={"t": uri})
    monkeypatch.setenv("HTTPS_AUTH_URLS", f"{uri}?{QUERY}")
    reader_rules.check_access(wanted)
    assert stores.of(uri).address(uri) == f"{uri}?{QUERY}"
    monkeypatch.setenv("HTTPS_AUTH_TOKEN", TOKEN)
    monkeypatch.setenv("HTTPS_AUTH_HOST", "other.example.com")
    reader_rules.check_access(wanted)
    monkeypatch.setenv("HTTPS_AUTH_HOST", "other.example.com data.example.com")
    with pytest.raises(JobError, match=r'input "t" .*send no credentials to web servers.*engine: cpu'):
        reader_rules.check_access(wanted)
    assert faults.lost_to_gpus([]) == ""


BAD = [
    pytest.param({"TOKEN": "t"}, "HTTPS_AUTH_HOST is missing", id="nobody to show it to"),
    pytest.param({"TOKEN": "a b", "HOST": "h"}, "HTTPS_AUTH_TOKEN holds a blank", id="a blank in a token"),
    pytest.param({"TOKEN": "t", "HEADER": "X: y", "HOST": "h"}, "keep one of them", id="two ways"),
    pytest.param({"USER": "me", "HOST": "h"}, "belong together", id="half of a password"),
    pytest.param({"HEADER": "X-Api-Key", "HOST": "h"}, "no header of your own", id="no header"),
    pytest.param({"HEADER": "Host: other", "HOST": "h"}, "no header of your own", id="a header of HTTP itself"),
    pytest.param({"HEADER": "X: y\nHost: z", "HOST": "h"}, "no header of your own", id="a second header"),
    pytest.param({"TOKEN": "t", "HOST": "https://h/"}, "names no hosts", id="a URL in place of a host"),
    pytest.param({"URLS": "https://h/a.parquet"}, "line 1 of HTTPS_AUTH_URLS is no signed URL", id="no signature"),
    pytest.param({"URLS": "\nhttp://h/a?s=1"}, "line 2 of HTTPS_AUTH_URLS is no signed URL", id="no encryption"),
    pytest.param({"URLS": "https://h/a?s=1\nhttps://h/a?s=2"}, "line 2 of HTTPS_AUTH_URLS signs a file", id="twice"),
]


@pytest.mark.parametrize(("given", "words"), BAD)
def test_a_secret_that_means_nothing_is_refused_by_its_key(
    given: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(f"HTTPS_AUTH_{name}", value)
    found = refused("https://data.example.com/a.parquet")
    assert found.failure is Failure.STORAGE_AUTH and words in str(found) and "storage.secretName" in str(found)


def test_values_are_hidden_wherever_they_turn_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_AUTH_HEADER", f"X-Api-Key: {TOKEN}")
    monkeypatch.setenv("HTTPS_AUTH_HOST", "data.example.com")
    monkeypatch.setenv("HTTPS_AUTH_URLS", f"https://data.example.com/a.parquet?{QUERY}\n")
    told = redaction.hidden(f"asked https://data.example.com/a.parquet?{QUERY} with {TOKEN}, signed {SIGNATURE}")
    assert told == "asked https://data.example.com/a.parquet?*** with ***, signed ***"


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    yield
    web_secrets._read.cache_clear()
