"""A proxy before a real Iceberg REST catalog which vends credentials, as that catalog does not."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PASSED_ON = ("Authorization", "Content-Type", "X-Iceberg-Access-Delegation")


class Vending:
    """The proxy: `keys` are vended with each table, for all of its files."""

    def __init__(self, backend: str, keys: Mapping[str, str]) -> None:
        self.backend, self.keys = backend, keys
        self.uri = ""
        self.loads = 0

    def ask(self, handler: BaseHTTPRequestHandler, body: bytes | None) -> tuple[int, bytes]:
        headers = {name: value for name in _PASSED_ON if (value := handler.headers.get(name))}
        request = urllib.request.Request(f"{self.backend}{handler.path}", data=body, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                found = answer.read()
        except urllib.error.HTTPError as exc:
            return exc.code, exc.read()
        if b'"metadata-location"' in found:
            self.loads += 1
            told = json.loads(found)
            told["storage-credentials"] = [{"prefix": told["metadata"]["location"], "config": dict(self.keys)}]
            found = json.dumps(told).encode()
        return 200, found


@contextmanager
def served(host: str, backend: str, keys: Mapping[str, str]) -> Iterator[Vending]:
    """Serve at an address of this machine until the end of the block."""
    proxy = Vending(backend, keys)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self.answer(None)

        def do_POST(self) -> None:
            self.answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

        def answer(self, body: bytes | None) -> None:
            status, found = proxy.ask(self, body)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(found)))
            self.end_headers()
            self.wfile.write(found)

    server = ThreadingHTTPServer((host, 0), Handler)
    proxy.uri = f"http://{host}:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
