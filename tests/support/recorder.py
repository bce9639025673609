"""A server that remembers what it is asked, and answers what a test says: for requests to clouds that are not here."""

from __future__ import annotations

import contextlib
import threading
import urllib.parse
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True)
class Asked:
    """One request. `url` is a whole one where the server is somebody's proxy."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes = field(repr=False)

    @property
    def query(self) -> dict[str, str]:
        parts = urllib.parse.urlsplit(self.url)
        return dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))


Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Recorder:
    """What was asked, in order, and where the server is."""

    root: str
    asked: list[Asked] = field(default_factory=list)


@contextlib.contextmanager
def recording(answer: Callable[[Asked], Answer]) -> Iterator[Recorder]:
    """Serve on a free port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            asked = Asked(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body)
            recorder.asked.append(asked)
            status, headers, found = answer(asked)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(found)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(found)

        do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        recorder = Recorder(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield recorder
        server.shutdown()
