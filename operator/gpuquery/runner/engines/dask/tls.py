"""TLS: the certificates of the client of a Dask cluster. Their files are checked; why a handshake fails is Dask's word.

Dask takes any certificate that the CA has signed, whatever host it names, and both sides show one (`security.py` of
distributed 2025.7 to 2026.7).
"""

from __future__ import annotations

import re
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuquery.api.reasons import Failure
from gpuquery.plan.dask.flags import TLS_FILES
from gpuquery.runner.failures.errors import JobError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SETTINGS = dict(
    zip(
        TLS_FILES,
        ("distributed.comm.tls.ca-file", "distributed.comm.tls.client.cert", "distributed.comm.tls.client.key"),
        strict=True,
    )
)
"""Keys of a Secret, and the settings of Dask that say where their files are."""
_CA, _CERTIFICATE, _KEY = TLS_FILES
_IN_IMAGE = f"{TLS_FILES[_CA]}, ..._CLIENT__CERT and ..._CLIENT__KEY"
_OPENSSL = re.compile(r"\[(?:SSL|X509|PEM)[^:\]]*: (?P<reason>\w+)\] ?(?P<words>[^(\[]*)")
"""OpenSSL's words in those of Python."""
_REFUSED = re.compile(
    r"\[SSL: \w*(?:CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED|DECRYPT_ERROR|HANDSHAKE_FAILURE|PROTOCOL_VERSION|"
    r"UNSUPPORTED_PROTOCOL|INSUFFICIENT_SECURITY)"
)
"""Reasons of OpenSSL that another try does not change. A connection that ends without one may be that of a scheduler
that is ending."""
_NO_TLS = re.compile(r"\[SSL: (?:WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE)|IOStream is not idle")
"""What came back is no TLS: by OpenSSL up to 3.1, by later ones, and by Tornado where the server has spoken first."""


class Certificates:
    """Those that this process shows to one scheduler."""

    def __init__(self, address: str, *, secret: str | None) -> None:
        """`secret` names the Secret that holds them; without one they are in the image."""
        self._address = address
        self._secret = secret

    def check(self, config: Any) -> None:
        """Raise JobError where Dask has none, or files that cannot be used; `config` is `dask.config`.

        Dask itself would say that it lacks an `ssl_context`, and try again and again to read a file that is not there.
        """
        found = {key: config.get(setting, None) for key, setting in SETTINGS.items()}
        needed = {_CA: "knows no CA", _CERTIFICATE: "has no certificate"}
        if lacking := [words for key, words in needed.items() if not found[key]]:
            raise JobError(
                Failure.INVALID_COMBINATION,
                f"the Dask scheduler at {self._address} is to be met by TLS, and its client {' and '.join(lacking)}: "
                f"name a Secret with {_CA}, {_CERTIFICATE} and {_KEY} in dask.tlsSecretName, or have {_IN_IMAGE} in "
                "template.spec.env name files of the image",
            )
        if any("\n" in text for text in found.values() if text):
            return  # not files, but the certificates themselves
        for file in found.values():
            if file:
                self._usable(file, Path(file).read_bytes)
        own, key = found[_CERTIFICATE], found[_KEY] or None
        self._usable(found[_CA], lambda: _load_ca(found[_CA]))
        self._usable(own, lambda: _load(own, key))
        self._usable(own, lambda: _try(own, key))

    def _usable(self, file: str, read: Callable[[], object]) -> None:
        try:
            read()
        except (OSError, ValueError) as exc:
            out = (
                f'correct the Secret "{self._secret}" (dask.tlsSecretName)'
                if self._secret
                else f"correct {_IN_IMAGE}, or use dask.tlsSecretName"
            )
            raise JobError(
                Failure.CLUSTER_UNAVAILABLE,
                f"the client cannot use {file} for the Dask scheduler at {self._address}: {_words(exc)}: {out}",
            ) from None

    def refused(self, exc: BaseException) -> JobError | None:
        """Return why an attempt to connect failed, in Dask's words, if another try cannot succeed."""
        if not self._address.startswith("tls:"):
            return None
        text = _texts(exc)
        if _NO_TLS.search(text):
            return JobError(
                Failure.INVALID_COMBINATION,
                f"what answers at {self._address} does not speak TLS ({text}): start that scheduler and its workers "
                "with --protocol tls, or name it by the protocol that it speaks, without dask.tlsSecretName",
            )
        if _REFUSED.search(text):
            mine = f'the Secret "{self._secret}" (dask.tlsSecretName)' if self._secret else _IN_IMAGE
            return JobError(
                Failure.CLUSTER_UNAVAILABLE,
                f"no TLS with the Dask scheduler at {self._address}: {text}: compare its certificates with those of "
                f"the client, {mine}",
            )
        return None


def _load_ca(file: str) -> None:
    """Load the certificates of a CA; raises ValueError where none of them is valid any more."""
    known = ssl.create_default_context(cafile=file).get_ca_certs()
    if known and all(ssl.cert_time_to_seconds(str(each["notAfter"])) < time.time() for each in known):
        raise ValueError("all of its certificates have expired")


def _load(certificate: str, key: str | None) -> None:
    """Load a certificate with its key; raises ValueError where a password would be asked for."""

    def password() -> str:
        raise ValueError("its key has a password, and nobody is there to enter it")

    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, password=password)


def _try(certificate: str, key: str | None) -> None:
    """Have OpenSSL judge a client's certificate by itself, without a connection: its dates, and what it may be used
    for. Python can read neither.

    Client and server of a handshake in memory have it, and the server trusts it, whoever has signed it.
    """
    client, server = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client.check_hostname, client.verify_mode, server.verify_mode = False, ssl.CERT_NONE, ssl.CERT_REQUIRED
    server.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    server.load_verify_locations(certificate)
    for context in (client, server):
        context.load_cert_chain(certificate, key)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [client.wrap_bio(back, there), server.wrap_bio(there, back, server_side=True)]
    while sides:
        for side in list(sides):
            try:
                side.do_handshake()
                sides.remove(side)
            except ssl.SSLWantReadError:
                continue


def _texts(exc: BaseException) -> str:
    """Return the words of an exception and of those behind it, each once; ours are left out."""
    lines: list[str] = []
    for one in _causes(exc):
        line = "" if isinstance(one, JobError) else (str(one).strip().splitlines() or [""])[0][:300]
        if line and not any(line in known for known in lines):
            lines.append(line)
    return ": ".join(lines)


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """Yield an exception and those behind it."""
    seen: list[BaseException] = []
    one: BaseException | None = exc
    while one is not None and one not in seen:
        seen.append(one)
        yield one
        one = one.__cause__ or one.__context__


def _words(exc: BaseException) -> str:
    """Return why a file cannot be used, in OpenSSL's or the system's words."""
    if found := _OPENSSL.search(str(exc)):
        return found["words"].strip() or found["reason"]
    return (exc.strerror if isinstance(exc, OSError) else None) or str(exc) or type(exc).__name__
