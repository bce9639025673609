"""Dialling: a connection to another supervisor, which counts once both sides have proved that they hold the token."""

from __future__ import annotations

import asyncio
import socket
from typing import NamedTuple

from gpuquery.runner.coordination.handshake import HANDSHAKE_SECONDS, Challenge, Hello, is_answer, proof
from gpuquery.runner.coordination.link import Link, reason
from gpuquery.runner.coordination.wire import WireError

CONNECT_SECONDS = 3.0
"""Limit for each address of the other supervisor."""


class Answer(NamedTuple):
    """How a call ended."""

    link: Link | None
    """The connection, not started, if both sides have proved who they are and the other one said welcome."""
    incarnation: str = ""
    """Of the other supervisor."""
    why: str = ""
    """Why there is no connection."""
    final: bool = False
    """Whether the other one holds the token and refuses us: another call would change nothing."""
    stranger: bool = False
    """Whether the one that answered does not hold the token."""


async def dial(address: tuple[str, int], hello: Hello, token: bytes) -> Answer:
    """Call a supervisor."""
    where = f"{address[0]} port {address[1]}"
    try:
        link = await _connect(*address)
    except OSError as exc:
        return Answer(None, why=f"{where}: {reason(exc)}")
    try:
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            answer = await _shake(link, hello, token)
    except TimeoutError:
        answer = Answer(None, why="it takes too long to say who it is")
    except ConnectionError as exc:
        answer = Answer(None, why=f"{reason(exc)} before it said who it is")
    except (OSError, WireError) as exc:
        answer = Answer(None, why=reason(exc) if isinstance(exc, OSError) else str(exc))
    if answer.link is None:
        link.close()
    return answer._replace(why=answer.why and f"{where}: {answer.why}")


async def _connect(host: str, port: int) -> Link:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    failed = OSError("no address")
    for *_, address in dict.fromkeys(found):
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return Link(*await asyncio.open_connection(str(address[0]), port))
        except TimeoutError:
            failed = OSError("timed out")
        except OSError as exc:
            failed = exc
    raise failed


async def _shake(link: Link, hello: Hello, token: bytes) -> Answer:
    link.send(hello.message())
    made = Challenge.read(await link.receive())
    if not is_answer(token, hello, made):
        return Answer(None, why="who answers there does not hold the token of this attempt", stranger=True)
    link.send({"kind": "proof", "proof": proof(token, "call", hello, made.incarnation, made.nonce)})
    reply = await link.receive()
    if reply["kind"] == "welcome":
        return Answer(link, made.incarnation)
    return Answer(None, made.incarnation, why=str(reply.get("why", "no welcome")), final=True)
