"""The web server of a pod: whoever finds its port takes little from the query."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import TYPE_CHECKING

import pytest

from gpuquery.runner.coordination import settings
from gpuquery.runner.coordination.link import listen
from gpuquery.runner.coordination.membership import Membership
from gpuquery.runner.pod import http
from gpuquery.runner.pod.endpoints import Board
from tests.support.loops import turn
from tests.support.ranks import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Served = tuple[asyncio.AbstractEventLoop, int]
GET = b"GET /any HTTP/1.0\r\n\r\n"


@pytest.fixture
def served() -> Iterator[Served]:
    loop, sock = asyncio.new_event_loop(), listen(0)
    server = loop.run_until_complete(http.serve(sock, lambda path: (200, "text/plain", path.encode())))
    yield loop, sock.getsockname()[1]
    server.close()
    turn(loop)


def call(port: int, sent: bytes = b"") -> socket.socket:
    caller = socket.create_connection(("127.0.0.1", port), timeout=5)
    if sent:
        caller.sendall(sent)
    caller.setblocking(False)
    return caller


def received(caller: socket.socket) -> bytes | None:
    """What has come, empty if the connection was ended; None if it is open and nothing has."""
    try:
        return caller.recv(65536)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def test_the_places_of_callers_are_few_however_many_come_at_once(served: Served) -> None:
    loop, port = served
    callers = [call(port) for _ in range(90)]
    turn(loop, 0.1)
    callers += [call(port) for _ in range(90)]
    turn(loop, 0.1)
    until(lambda: turn(loop, 0.01) or sum(received(caller) is None for caller in callers) == http.MAX_CALLERS, 5)
    last = call(port, GET)
    turn(loop, 0.1)
    assert (received(last) or b"").endswith(b"\r\n\r\n/any")
    for caller in (*callers, last):
        caller.close()


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"GET / HTTP/1.0\r\n", id="half a request"),
        pytest.param(b"x" * (http.MAX_REQUEST + 1), id="too much"),
    ],
)
def test_who_sends_no_request_is_sent_away(served: Served, sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "SECONDS", 0.2)
    loop, port = served
    caller = call(port, sent)
    until(lambda: turn(loop, 0.05) or received(caller) == b"")
    caller.close()


def test_a_pod_can_only_be_read(served: Served) -> None:
    loop, port = served
    caller = call(port, GET.replace(b"GET", b"POST"))
    turn(loop, 0.1)
    assert (received(caller) or b"").startswith(b"HTTP/1.1 405 ")
    caller.close()


def test_progress_is_answered_in_no_more_bytes_than_the_query_sent(tmp_path: Path) -> None:
    membership = Membership(settings.read({}, tmp_path, {}, program="p", port=0))
    sent = '{"phase":"planning","waitsFor":"' + "\N{SNOWMAN}" * 600 + '"}'
    membership.processes[0].progress = json.loads(sent)
    status, _, body = Board(membership).answer("/v1/progress")
    assert (status, body.decode()) == (200, sent)
