"""The relay in front of web servers: what it passes on ends where the server's answer ends."""

from __future__ import annotations

import contextlib
import http.client
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from gpuquery.runner.failures import redaction
from gpuquery.runner.stores.relay import HOST, Relay

if TYPE_CHECKING:
    from collections.abc import Iterator


class Cut(BaseHTTPRequestHandler):
    """Promises ten bytes and sends five."""

    def do_GET(self) -> None:
        self.send_response(http.client.PARTIAL_CONTENT)
        self.send_header("Content-Length", "10")
        self.end_headers()
        self.wfile.write(b"12345")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    with HTTPServer((HOST, 0), Cut) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


def test_a_reader_of_a_body_that_ends_too_early_is_told_at_once(
    server: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def ask(_: str, __: str | None) -> Iterator[http.client.HTTPResponse]:
        with contextlib.closing(http.client.HTTPConnection(HOST, server.server_port)) as connection:
            connection.request("GET", "/")
            yield connection.getresponse()

    monkeypatch.setattr(redaction, "SHOWN_AS", {})
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")
    made = Relay(ask)
    port = int(made.root.split("/")[2].partition(":")[2])
    with contextlib.closing(http.client.HTTPConnection(HOST, port, timeout=5)) as reader:
        reader.request("GET", f"{made.path()}data.example.com/a.parquet", headers={"Range": "bytes=0-9"})
        with pytest.raises(http.client.IncompleteRead):
            reader.getresponse().read()
