"""A store that is not where the endpoint says: told soon, exactly, and tried again only where that can help."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from gpuquery.api.reasons import Failure, Policy
from gpuquery.api.stores import KEYS
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner import later, stores
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.stores import endpoint
from gpuquery.runner.stores.s3 import S3Store
from tests.support.certificates import Authority
from tests.support.seaweed import free_ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

INPUT = ["s3://lake/in/*.parquet"]
SOON = 40
"""A bound for a machine under load; what is bounded takes half a minute at most, and without its bound minutes."""


@contextmanager
def serving(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port where each connection is handed to `answer`."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]


def http(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    connection.close()


def silent(connection: socket.socket) -> None:
    threading.Event().wait(600)
    connection.close()


def chatty(connection: socket.socket) -> None:
    connection.sendall(b"220 mail.example.com ESMTP\r\n")
    connection.close()


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    monkeypatch.setattr(endpoint, "PATIENCE", 1.0)
    monkeypatch.setattr(endpoint, "ANSWER_SECONDS", 1.0)
    for name in (*KEYS, "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def refusal(url: str, uris: list[str] = INPUT, *, path_style: bool = True) -> JobError:
    with pytest.raises(JobError) as caught:
        stores.check(uris, StoreAccess(endpoint=url, path_style=path_style))
    return caught.value


def test_a_store_that_answers_is_left_in_peace():
    with serving(http) as port:
        stores.check(INPUT, StoreAccess(endpoint=f"http://127.0.0.1:{port}", path_style=True))


def test_folders_of_this_machine_need_no_endpoint():
    stores.check(["file:///data"], StoreAccess(endpoint="http://127.0.0.1:1"))


def test_https_on_a_port_without_tls_is_told_with_what_to_write_and_never_tried_again():
    with serving(http) as port:
        error = refusal(f"https://127.0.0.1:{port}")
    assert (error.failure, error.failure.policy) == (Failure.INVALID_ENDPOINT, Policy.NEVER)
    assert f'"https://127.0.0.1:{port}"' in error.message
    assert "write http://" in error.message


def test_http_on_a_port_with_tls_is_told_with_what_to_write(tmp_path):
    folder = Authority(tmp_path).signed("server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")

    def tls(connection: socket.socket) -> None:
        try:
            context.wrap_socket(connection, server_side=True)
        except ssl.SSLError:
            connection.close()

    with serving(tls) as port:
        error = refusal(f"http://127.0.0.1:{port}")
    assert error.failure is Failure.INVALID_ENDPOINT
    assert "write https://" in error.message


def test_what_speaks_no_http_is_no_store():
    with serving(chatty) as port:
        error = refusal(f"http://127.0.0.1:{port}")
    assert error.failure is Failure.INVALID_ENDPOINT
    assert "no HTTP" in error.message


def test_a_host_that_is_not_known_is_told_and_tried_again_for_its_service_may_come_up_with_the_job(monkeypatch):
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = refusal("http://lkae:8333")
    assert (error.failure, error.failure.policy) == (Failure.STORAGE_UNAVAILABLE, Policy.BUDGETED)
    assert 'the host "lkae" is not known: correct it' in error.message


@pytest.mark.parametrize(
    ("url", "words"),
    [
        pytest.param("http://lake:99999", "Port out of range", id="a port that there is not"),
        pytest.param("http://lake:0", "no port 0", id="port nought"),
        pytest.param("http://lake:s3", "Port could not be cast", id="a word for a port"),
        pytest.param("http://lake..svc:8333", "a part of the host is empty", id="two dots"),
        pytest.param(f"http://{'x' * 70}.svc", "is no part of a host's name", id="a label of 70 letters"),
        pytest.param("http://my_lake.svc", '"my_lake" is no part', id="an underscore"),
        pytest.param("http://[::1", "Invalid IPv6 URL", id="half an address"),
    ],
)
def test_an_endpoint_with_a_typing_error_is_told_by_its_field_whoever_asks_first(url, words):
    access = StoreAccess(endpoint=url, path_style=True)
    for ask in (lambda: stores.check(INPUT, access), lambda: S3Store(stores.locate("s3://lake/out"), access)):
        with pytest.raises(JobError) as caught:
            ask()
        assert (caught.value.failure, caught.value.failure.policy) == (Failure.INVALID_ENDPOINT, Policy.NEVER)
        assert caught.value.message.startswith(f'storage.endpoint "{url}": ')
        assert words in caught.value.message
        assert "like https://s3.example.com" in caught.value.message


@pytest.mark.parametrize("url", ["http://[::1]:8333", "http://10.0.0.7", "https://s3.example.com./base"])
def test_an_endpoint_that_there_can_be_is_taken(url):
    S3Store(stores.locate("s3://lake/out"), StoreAccess(endpoint=url, path_style=True))


@pytest.mark.parametrize(
    ("lost", "patience"),
    [pytest.param(1, 30.0, id="not ready"), pytest.param(3, 0.0, id="each lost answer takes all the time")],
)
def test_name_servers_that_give_no_answer_are_asked_again(monkeypatch, lost, patience):
    known, asked = socket.getaddrinfo, []

    def late(*args: object, **kwargs: object) -> object:
        asked.append(1)
        if len(asked) <= lost:
            raise socket.gaierror(socket.EAI_NODATA, "No address associated with hostname")
        return known(*args, **kwargs)

    monkeypatch.setattr(endpoint, "PATIENCE", patience)
    monkeypatch.setattr(socket, "getaddrinfo", late)
    with serving(http) as port:
        stores.check(INPUT, StoreAccess(endpoint=f"http://localhost:{port}", path_style=True))


def test_a_bucket_that_is_no_host_is_told_with_the_field_that_puts_it_into_the_path(monkeypatch):
    known = socket.getaddrinfo

    def hosts(host: str, *args: object, **kwargs: object) -> object:
        if host.startswith("lake."):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return known("127.0.0.1", *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", hosts)
    with serving(http) as port:
        error = refusal(f"http://s3.example.com:{port}", path_style=False)
    assert error.failure is Failure.STORAGE_UNAVAILABLE
    assert '"lake.s3.example.com"' in error.message
    assert "storage.pathStyle: true" in error.message


@pytest.mark.parametrize("kind", ["refused", "silent"])
def test_a_port_where_nobody_answers_is_tried_again_by_the_next_attempt(kind):
    with serving(silent) as port:
        error = refusal(f"http://127.0.0.1:{port if kind == 'silent' else free_ports(1)[0]}")
    assert (error.failure, error.failure.policy) == (Failure.STORAGE_UNAVAILABLE, Policy.BUDGETED)
    assert "correct host and port" in error.message


@pytest.mark.parametrize(
    ("key", "words"),
    [
        pytest.param("planted\n", "ends with a line break", id="echo key | base64"),
        pytest.param("planted ", "ends with a blank", id="a blank behind it"),
        pytest.param("\tplanted", "begins with a blank", id="a tab before it"),
        pytest.param("plan\nted", "a character that is in no key", id="a line break within"),
        pytest.param("plantéd", "a character that is in no key", id="no ASCII"),
    ],
)
@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_a_key_that_no_request_can_hold_is_told_before_any_and_not_shown(monkeypatch, name, key, words):
    asked: list[bytes] = []

    def noted(connection: socket.socket) -> None:
        asked.append(connection.recv(100))

    monkeypatch.setenv(name, key)
    with serving(noted) as port:
        error = refusal(f"http://127.0.0.1:{port}")
    assert error.failure is Failure.STORAGE_AUTH
    assert name in error.message
    assert words in error.message
    assert "plant" not in error.message
    assert asked == []


HANGS = """
import socket, sys, threading, time
from gpuquery.api.spec import Input
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner import inputs
from gpuquery.runner.failures.errors import JobError

port = int(sys.argv[1])
store = StoreAccess(endpoint=f"http://127.0.0.1:{port}", region="us-east-1", path_style=True)
items = [
    Input(name="away", uri="s3://lake/in/*.parquet", format="parquet", hivePartitioned=False),
    Input(name="typo", uri="file:///no/such/file.parquet", format="parquet", hivePartitioned=False),
]
try:
    inputs.frames(inputs.resolve(items, store), store)
except JobError as error:
    print(error.message)
"""


def test_a_process_ends_soon_after_its_error_though_a_store_never_answers(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any-secret")
    with serving(silent) as port:
        ended = subprocess.run(
            [sys.executable, "-c", HANGS, str(port)], capture_output=True, text=True, timeout=SOON, check=False
        )
    assert 'input "typo"' in ended.stdout


def test_of_several_calls_the_first_that_fails_is_told_whichever_was_faster():
    def call(number: int) -> int:
        time.sleep(0.4 if number == 1 else 0)
        if number:
            raise ValueError(number)
        return number

    with pytest.raises(ValueError, match="1"):
        later.each(call, [0, 1, 2], 8)
    assert later.each(lambda n: n * 2, range(20), 3) == [n * 2 for n in range(20)]
