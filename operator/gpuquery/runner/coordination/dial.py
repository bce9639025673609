"""Dialling: a call to another supervisor, in a thread of its own, since looking up a name may take its time."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from gpuquery.runner.coordination.handshake import HANDSHAKE_SECONDS, Challenge, Hello, is_answer, proof
from gpuquery.runner.coordination.wire import HEADER, MAX_FRAME, Message, WireError, frame, length, message

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuquery.runner.coordination.loop import Loop

CONNECT_SECONDS = 3.0
_STACK = 256 * 1024


class Answer(NamedTuple):
    """What became of a call."""

    sock: socket.socket | None
    """The connection, if both sides have proved who they are and the other one said welcome."""
    incarnation: str = ""
    """Of the other supervisor."""
    why: str = ""
    """Why there is no connection."""
    final: bool = False
    """Whether the other one holds the token and does not want us: another call would change nothing."""
    stranger: bool = False
    """Whether somebody answered who does not hold the token."""
    own: str = ""
    """The address of this end."""


def dial(loop: Loop, address: tuple[str, int], hello: Hello, token: bytes, done: Callable[[Answer], None]) -> None:
    """Call; `done` gets the answer in the loop's thread."""

    def work() -> None:
        answer = _call(address, hello, token)
        loop.call(lambda: done(answer))

    before = threading.stack_size(_STACK)
    try:
        threading.Thread(target=work, name="dial", daemon=True).start()
    finally:
        threading.stack_size(before)


def _call(address: tuple[str, int], hello: Hello, token: bytes) -> Answer:
    where = f"{address[0]} port {address[1]}"
    sock = None
    try:
        sock = socket.create_connection(address, timeout=CONNECT_SECONDS)
        return _shake(sock, hello, token, where)
    except (OSError, WireError) as exc:
        if sock is not None:
            sock.close()
        what = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        return Answer(None, why=f"{where}: {what}")


def _shake(sock: socket.socket, hello: Hello, token: bytes, where: str) -> Answer:
    until = time.monotonic() + HANDSHAKE_SECONDS
    sock.sendall(frame(hello.message()))
    made = Challenge.read(_receive(sock, until))
    if not is_answer(token, hello, made):
        sock.close()
        return Answer(None, why=f"{where}: who answers there does not hold the token of this attempt", stranger=True)
    given = proof(token, "call", hello, made.incarnation, made.nonce)
    sock.sendall(frame({"kind": "proof", "proof": given}))
    reply = _receive(sock, until)
    if reply["kind"] == "welcome":
        return Answer(sock, made.incarnation, own=str(sock.getsockname()[0]))
    with contextlib.suppress(OSError):
        sock.close()
    return Answer(None, made.incarnation, why=f"{where}: {reply.get('why', 'no welcome')}", final=True)


def _receive(sock: socket.socket, until: float) -> Message:
    return message(_exactly(sock, length(_exactly(sock, HEADER, until), MAX_FRAME), until))


def _exactly(sock: socket.socket, size: int, until: float) -> bytes:
    data = b""
    while len(data) < size:
        sock.settimeout(max(0.01, until - time.monotonic()))
        more = sock.recv(size - len(data))
        if not more:
            raise WireError("it closed the connection before it said who it is")
        if time.monotonic() > until:
            raise WireError("it takes too long to say who it is")
        data += more
    return data
