"""The handshake: two supervisors of one attempt show each other that both hold its token, which itself is never sent.

The caller greets with a nonce; the answerer returns its own nonce and an HMAC over all of it; the caller checks that
and returns another HMAC. Each covers caller, answerer, purpose, both incarnations and both nonces, and begins with its
own role: none can be replayed, used elsewhere, or reflected. What follows is not encrypted: the network between the
pods of a cluster is trusted as far as Kubernetes itself trusts it.
"""

from __future__ import annotations

import hmac
import os
from typing import NamedTuple

from gpuquery.runner.coordination.wire import VERSION, Message, WireError, dumps

HANDSHAKE_SECONDS = 5.0
"""How long a handshake may take, from the first byte to the last."""
HANDSHAKE_FRAME = 1024
"""Bytes of the longest frame before it is known who sends it."""


def nonce() -> str:
    """Return a fresh nonce."""
    return os.urandom(16).hex()


class Hello(NamedTuple):
    """The greeting of a caller."""

    purpose: str
    """`member`: to the coordinator, for the whole attempt; `peer`: to another pod, to see whether there is a way."""
    caller: int
    """Pod index of the caller."""
    answerer: int
    """Pod index of the answerer."""
    incarnation: str
    """Of the caller's supervisor: another one of the same index is another one."""
    nonce: str
    """Of the caller."""
    pod: str = ""
    """Name of the caller's pod."""
    port: int = 0
    """Where the caller answers its peers."""
    version: int = VERSION

    def message(self) -> Message:
        """Return it as a frame."""
        return {"kind": "hello", **self._asdict()}

    @classmethod
    def read(cls, message: Message) -> Hello:
        """Read a frame; raises WireError."""
        fields = {key: value for key, value in message.items() if key != "kind"}
        numbers = [fields.get(key) for key in ("caller", "answerer", "port", "version")]
        texts = [fields.get(key) for key in ("purpose", "incarnation", "nonce", "pod")]
        if (
            message["kind"] != "hello"
            or set(fields) != set(cls._fields)
            or not all(type(number) is int and 0 <= number < 2**31 for number in numbers)
            or not all(type(text) is str and len(text) <= 256 for text in texts)
        ):
            raise WireError("no greeting")
        return cls(**fields)


class Challenge(NamedTuple):
    """What the answerer returns."""

    incarnation: str
    nonce: str
    proof: str

    def message(self) -> Message:
        """Return it as a frame."""
        return {"kind": "challenge", **self._asdict()}

    @classmethod
    def read(cls, message: Message) -> Challenge:
        """Read a frame; raises WireError."""
        fields = [message.get(name) for name in cls._fields]
        if message["kind"] != "challenge" or not all(type(field) is str and len(field) <= 256 for field in fields):
            raise WireError("no challenge")
        return cls(*(str(field) for field in fields))


def proof(token: bytes, role: str, hello: Hello, incarnation: str, nonce: str) -> str:
    """Return what only a holder of the token can say; `role` is `answer` or `call`, the rest the answerer's."""
    return hmac.digest(token, dumps([role, *hello, incarnation, nonce]), "sha256").hex()


def challenge(token: bytes, hello: Hello, incarnation: str) -> Challenge:
    """Answer a greeting."""
    own = nonce()
    return Challenge(incarnation, own, proof(token, "answer", hello, incarnation, own))


def is_answer(token: bytes, hello: Hello, made: Challenge) -> bool:
    """Whether the answerer holds the token."""
    wanted = proof(token, "answer", hello, made.incarnation, made.nonce)
    return hmac.compare_digest(wanted.encode(), made.proof.encode("utf-8", "surrogatepass"))


def is_call(token: bytes, hello: Hello, made: Challenge, given: object) -> bool:
    """Whether the caller holds the token."""
    wanted = proof(token, "call", hello, made.incarnation, made.nonce)
    return isinstance(given, str) and hmac.compare_digest(wanted.encode(), given.encode("utf-8", "surrogatepass"))
