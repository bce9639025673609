"""A relay in the process that reads: it shows web servers the header that Polars has no way to send.

Polars' reader of https:// takes no headers (pola-rs/polars#17197, open). So it is given a URL of this process, which
asks the server in its place, range by range, and passes the bytes on. Nobody else can use it: it listens on the
loopback address, and its URLs begin with a random word. The readers for GPUs may be other processes in other pods, and
are not given it (reader_rules).
"""

from __future__ import annotations

import functools
import http.client
import os
import secrets
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from gpuquery.runner.failures import redaction
from gpuquery.runner.failures.errors import JobError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    Ask = Callable[[str, str | None], AbstractContextManager[http.client.HTTPResponse]]

HOST = "127.0.0.1"
CHUNK = 1 << 18
_PASSED_ON = ("Content-Range", "Content-Length", "ETag", "Last-Modified", "Accept-Ranges")


class Relay:
    """A server of this process."""

    def __init__(self, ask: Ask) -> None:
        """`ask` asks for a URL and a range, follows redirects, and raises what http.client raises, and JobError."""
        self._server = _Server((HOST, 0), _handler(self, ask))
        self.root = f"http://{HOST}:{self._server.server_port}/{secrets.token_urlsafe(16)}/"
        """What its URLs begin with, in place of `https://`."""
        redaction.SHOWN_AS[self.root] = "https://"
        # A proxy of the environment is for the world outside.
        for name in ("NO_PROXY", "no_proxy"):
            os.environ[name] = ",".join(filter(None, [os.environ.get(name), HOST]))
        threading.Thread(target=self._server.serve_forever, name="web relay", daemon=True).start()

    def address(self, url: str) -> str:
        """Return where a URL can be read without credentials."""
        return self.root + url.removeprefix("https://")

    def path(self) -> str:
        """Return what the paths of its URLs begin with."""
        return "/" + self.root.split("/", 3)[3]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a reader that has enough closes its connections."""


def _handler(relay: Relay, ask: Ask) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if not self.path.startswith(relay.path()):
                self._end(http.client.NOT_FOUND)
                return
            url = f"https://{self.path.removeprefix(relay.path())}"
            span = "bytes=0-0" if self.command == "HEAD" else self.headers["Range"]
            try:
                with ask(url, span) as answer:
                    self._pass_on(answer)
            except JobError:
                self._end(http.client.FORBIDDEN)
            except (OSError, http.client.HTTPException):  # the reader asks again, for as long as it is told to
                self._end(http.client.SERVICE_UNAVAILABLE)

        do_HEAD = do_GET  # noqa: N815

        def _pass_on(self, answer: http.client.HTTPResponse) -> None:
            headers = {name: value for name in _PASSED_ON if (value := answer.headers[name])}
            status = answer.status
            if self.command == "HEAD" and status in (
                http.client.PARTIAL_CONTENT, http.client.REQUESTED_RANGE_NOT_SATISFIABLE,
            ):  # fmt: skip
                # The server was asked for a byte, because some refuse HEAD.
                status, headers["Content-Length"] = http.client.OK, headers.pop("Content-Range", "").rpartition("/")[2]
            if not headers.get("Content-Length", "").isdigit():
                headers |= {"Connection": "close"}
                self.close_connection = True
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                try:
                    shutil.copyfileobj(answer, self.wfile, CHUNK)
                except (OSError, http.client.HTTPException):  # half of a body has no end but this
                    self.close_connection = True

        def _end(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    return Handler


@functools.cache
def of_process(ask: Ask) -> Relay:
    """Return the relay of this process, which is begun by the first who asks."""
    return Relay(ask)
