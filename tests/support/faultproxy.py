"""A proxy in front of an S3 server that can be told to misbehave, and that remembers every request.

Signatures stay valid: the Host header is passed on as it came. Faults are rules; the first rule that matches a request
and has not been used up decides. As a pytest fixture (`proxy`) it runs inside the test process; on its own

    python tests/support/faultproxy.py --listen 127.0.0.1:9100 --backend 127.0.0.1:9000

it is controlled over HTTP: `PUT /__rules__` with a JSON list of rules, `GET /__log__` for what was asked.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import ssl
import threading
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

MAX_HEAD = 64 * 1024
CHUNK = 1 << 16


class Action(StrEnum):
    """What happens to a request that a rule matches."""

    ANSWER = "answer"
    """The proxy answers with `status`; the server never hears of the request."""
    CLOSE = "close"
    """The connection is closed without an answer, before the server hears of the request."""
    SWALLOW = "swallow"
    """The server does what was asked, but the answer gets lost."""
    HANG = "hang"
    """Nothing happens for `seconds`; then the connection is closed."""
    DELAY = "delay"
    """The request goes on after `seconds`."""
    PRETEND = "pretend"
    """The request goes on; a refusal by the server is turned into "200 OK"."""


@dataclass
class Rule:
    """A fault: what it does, to which requests, and how often (-1: always)."""

    action: Action
    method: str = ".*"
    target: str = ".*"
    """Regular expression that is searched in the path with its query string."""
    times: int = -1
    status: int = 503
    code: str = "SlowDown"
    seconds: float = 0.0

    def matches(self, method: str, target: str) -> bool:
        """Whether the rule is for this request and not used up."""
        return self.times != 0 and bool(re.fullmatch(self.method, method) and re.search(self.target, target))


@dataclass(frozen=True)
class Request:
    """What was asked, and what came of it."""

    method: str
    target: str
    fault: str


@dataclass
class _Head:
    method: str
    target: str
    headers: list[tuple[str, str]] = field(default_factory=list)

    def get(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")

    def encode(self) -> bytes:
        kept = [f"{k}: {v}" for k, v in self.headers if k.lower() not in {"expect", "connection"}]
        head = "\r\n".join([f"{self.method} {self.target} HTTP/1.1", *kept, "Connection: close", "", ""])
        return head.encode("latin-1")


class FaultProxy:
    """The proxy. `rules`, `requests`, `down` and `up` may be used from any thread."""

    def __init__(self, backend: str, certificate: Path | None = None) -> None:
        """`certificate` is a folder of tls.crt and tls.key for localhost, to listen with TLS."""
        self._backend = backend
        self._tls: ssl.SSLContext | None = None
        if certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificate / "tls.crt", certificate / "tls.key")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._address = ("127.0.0.1", 0)
        self.rules: list[Rule] = []
        self.requests: list[Request] = []

    @property
    def endpoint(self) -> str:
        """URL of the proxy."""
        return f"https://localhost:{self._address[1]}" if self._tls else f"http://{self._address[0]}:{self._address[1]}"

    def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; port 0 takes a free one."""
        self._address = (host, port)
        self._thread.start()
        self.up()

    def stop(self) -> None:
        """Stop listening and end the thread."""
        self.down()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def up(self) -> None:
        """Listen (again, on the same port)."""
        asyncio.run_coroutine_threadsafe(self._up(), self._loop).result()

    def down(self) -> None:
        """An outage: refuse new connections and cut all that are open."""
        asyncio.run_coroutine_threadsafe(self._down(), self._loop).result()

    def count(self, method: str = ".*", target: str = ".*") -> int:
        """How many requests of this kind there were."""
        return sum(bool(re.fullmatch(method, r.method) and re.search(target, r.target)) for r in list(self.requests))

    async def _up(self) -> None:
        self._server = await asyncio.start_server(self._serve, *self._address, limit=MAX_HEAD, ssl=self._tls)
        self._address = self._server.sockets[0].getsockname()[:2]

    async def _down(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while head := await _read_head(reader):
                if not await self._handle(head, reader, writer):
                    return
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _handle(self, head: _Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Deal with one request; False if the connection must end."""
        if head.target.startswith("/__"):
            await self._control(head, reader, writer)
            return False
        rule = next((r for r in self.rules if r.matches(head.method, head.target)), None)
        if rule is not None and rule.times > 0:
            rule.times -= 1
        self.requests.append(Request(head.method, head.target, rule.action if rule else ""))
        if head.get("expect"):
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        match rule.action if rule else None:
            case Action.CLOSE:
                return False
            case Action.HANG:
                await asyncio.sleep(rule.seconds)
                return False
            case Action.ANSWER:
                await _read_body(head, reader)
                await _answer(writer, rule.status, rule.code)
                return True
            case Action.DELAY:
                await asyncio.sleep(rule.seconds)
        return await self._forward(head, reader, writer, rule)

    async def _forward(
        self, head: _Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rule: Rule | None
    ) -> bool:
        host, port = self._backend.split(":")
        body = await _read_body(head, reader)
        try:
            from_server, to_server = await asyncio.open_connection(host, int(port), limit=MAX_HEAD)
        except OSError:
            await _answer(writer, 503, "ServiceUnavailable")
            return True
        self._writers.add(to_server)
        try:
            to_server.write(head.encode() + body)
            await to_server.drain()
            answer = await from_server.readuntil(b"\r\n\r\n")
            if rule and rule.action is Action.SWALLOW:
                return False
            if rule and rule.action is Action.PRETEND and b" 4" in answer.split(b"\r\n")[0]:
                writer.write(b'HTTP/1.1 200 OK\r\nETag: "0"\r\nContent-Length: 0\r\n\r\n')
                return True
            writer.write(answer)
            while data := await from_server.read(CHUNK):
                writer.write(data)
                await writer.drain()
        finally:
            self._writers.discard(to_server)
            to_server.close()
        return False  # the server was told to close, and its answer says so

    async def _control(self, head: _Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = await _read_body(head, reader)
        if head.method == "PUT" and head.target == "/__rules__":
            self.rules = [Rule(**{**rule, "action": Action(rule["action"])}) for rule in json.loads(body)]
        answer = json.dumps([asdict(r) for r in self.requests] if head.target == "/__log__" else [])
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(answer)}\r\n\r\n{answer}".encode())
        await writer.drain()


async def _read_head(reader: asyncio.StreamReader) -> _Head | None:
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *rest = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    return _Head(method, target, [(k, v.strip()) for k, _, v in (line.partition(":") for line in rest)])


async def _read_body(head: _Head, reader: asyncio.StreamReader) -> bytes:
    if "chunked" not in head.get("transfer-encoding"):
        return await reader.readexactly(int(head.get("content-length") or 0))
    raw = b""
    while True:
        line = await reader.readline()
        size = int(line.split(b";")[0], 16)
        raw += line + await reader.readexactly(size + 2)
        if size == 0:
            return raw


async def _answer(writer: asyncio.StreamWriter, status: int, code: str) -> None:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>injected</Message></Error>"
    writer.write(f"HTTP/1.1 {status} Injected\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    await writer.drain()


@contextlib.contextmanager
def in_front_of(
    endpoint: str, rules: Sequence[Rule] = (), certificate: Path | None = None, host: str = "127.0.0.1"
) -> Iterator[FaultProxy]:
    """Run a proxy in front of an endpoint, which names its port; `host` is an address of this machine."""
    proxy = FaultProxy(urlsplit(endpoint).netloc, certificate)
    proxy.rules = list(rules)
    proxy.start(host)
    try:
        yield proxy
    finally:
        proxy.stop()


@pytest.fixture
def proxy(seaweed) -> Iterator[FaultProxy]:
    """A proxy in front of the test session's S3 server, without faults until a test adds rules."""
    with in_front_of(seaweed.endpoint) as running:
        yield running


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="Put faults between an S3 client and its server.")
    parser.add_argument("--listen", default="127.0.0.1:9100")
    parser.add_argument("--backend", required=True, help="host:port of the server")
    options = parser.parse_args()
    host, _, port = options.listen.rpartition(":")
    proxy = FaultProxy(options.backend)
    proxy.start(host, int(port))
    print(proxy.endpoint, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
