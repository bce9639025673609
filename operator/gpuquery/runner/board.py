"""The board: what the pod answers over HTTP while the query runs.

`/v1/progress` is the query's last word on itself, passed on as it came. Readiness means that the query process is up;
liveness only that this one is: a query that is merely slow must never be killed by a probe.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_COUNTERS = {
    "files": ("gpuquery_written_files", "Files whose bytes were uploaded."),
    "rows": ("gpuquery_written_rows", "Rows in them."),
    "bytes": ("gpuquery_written_bytes", "Bytes uploaded."),
}
_JSON = "application/json"
_TEXT = "text/plain; version=0.0.4; charset=utf-8"


class Board:
    """The last progress line of the query process."""

    def __init__(self) -> None:
        self._line: bytes | None = None

    @property
    def ready(self) -> bool:
        """Whether the query process has come up."""
        return self._line is not None

    def put(self, line: bytes) -> None:
        """Take a progress line (JSON)."""
        self._line = line

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Return status, content type and body."""
        match path.partition("?")[0]:
            case "/healthz":
                return 200, _TEXT, b"ok\n"
            case "/readyz":
                return (200, _TEXT, b"ok\n") if self.ready else (503, _TEXT, b"the query process is starting\n")
            case "/v1/progress":
                return (200, _JSON, self._line) if self._line else (503, _TEXT, b"the query process is starting\n")
            case "/metrics":
                return 200, _TEXT, self._metrics().encode()
            case _:
                return 404, _TEXT, b"here are /v1/progress, /metrics, /healthz and /readyz\n"

    def _metrics(self) -> str:
        progress: dict[str, Any] = json.loads(self._line) if self._line else {}
        lines = []
        for key, (name, text) in _COUNTERS.items():
            lines += [f"# HELP {name} {text}", f"# TYPE {name} gauge", f"{name} {progress.get(key, 0)}"]
        if "phase" in progress:
            name = "gpuquery_phase"
            lines += [
                f"# HELP {name} What the query does.",
                f"# TYPE {name} gauge",
                f'{name}{{phase="{progress["phase"]}"}} 1',
            ]
        return "\n".join(lines) + "\n"


def serve(board: Board, port: int) -> None:
    """Answer on all addresses, in threads of its own; raises OSError if the port is taken."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            status, kind, body = board.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Probes come every few seconds: not a word in the log."""

    server = ThreadingHTTPServer(("", port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
