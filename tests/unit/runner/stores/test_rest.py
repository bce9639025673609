"""Requests to stores whose answers do not come, and stores that tell less than others."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Any

import pytest

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.stores import rest
from gpuquery.runner.stores.base import Piece
from tests.support.small_clouds import SmallAzure, Turned


def answering(reply: bytes) -> int:
    """Return the port of a server that answers the first bytes of one connection so, and then ends it."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(ConnectionError), server, server.accept()[0] as peer:
            peer.recv(1 << 16)
            peer.sendall(reply)
            peer.shutdown(socket.SHUT_WR)
            peer.recv(1)

    threading.Thread(target=serve, daemon=True).start()
    return int(server.getsockname()[1])


def test_a_connection_that_ends_within_tls_is_tried_again() -> None:
    request = rest.Request("GET", f"https://127.0.0.1:{answering(b'')}/?sig=secret")
    with pytest.raises(rest.UnreachedError) as caught:
        rest.send(rest.session(), request)
    assert "secret" not in str(caught.value)


def test_a_server_without_tls_never_works() -> None:
    port = answering(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    request = rest.Request("GET", f"https://127.0.0.1:{port}/")
    with pytest.raises(JobError, match="TLS fails") as caught:
        rest.send(rest.session(), request)
    assert caught.value.failure is Failure.INVALID_ENDPOINT


def test_an_upload_to_azure_that_has_no_date_is_not_taken_for_an_old_one() -> None:
    cloud = SmallAzure()
    turned: Any = Turned(cloud, lambda _: None)
    store, key = cloud.store("u", 1, turned), "data/part-00000001-1-00000-00000.parquet"
    store.upload(key, store.begin(key), Piece(1, 0, b"x"))
    (found,) = store.dangling()
    assert time.time() - found.begun < 60
