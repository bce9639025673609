"""TLS: the certificates of the client of a Dask cluster, and what it means when a connection fails over them.

Dask takes any certificate that the CA has signed, whatever host it names, and both sides show one (`security.py` of
distributed 2025.7 to 2026.7). A handshake that fails comes back as an exception whose own words may be empty, with
OpenSSL's behind it.
"""

from __future__ import annotations

import re
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from gpuquery.api.reasons import Failure
from gpuquery.plan.dask.flags import TLS_FILES
from gpuquery.runner.errors import JobError

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
PROBE_SECONDS = 3.0
_CA, _CERTIFICATE, _KEY = TLS_FILES
_SAID = re.compile(r"\[(?:SSL|X509|PEM)[^:\]]*: (?P<reason>\w+)\] ?(?P<words>[^(\[]*)")
"""OpenSSL's words in those of Python."""
_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"})
"""Reasons for which what came back is no TLS, of OpenSSL up to 3.1 and later."""
_EARLY = "IOStream is not idle"
"""What Tornado says of a server that has sent something before the greeting: a scheduler that speaks tcp."""
_DISAGREE = ("HANDSHAKE_FAILURE", "PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL", "INSUFFICIENT_SECURITY")
"""Reasons for which versions or ciphers of the two sides do not meet."""
_CERTIFICATE_WORDS = ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED", "DECRYPT_ERROR")
"""Of the alerts that a server sends, those about the client's certificate."""


class Certificates:
    """Those of this process, towards one scheduler."""

    def __init__(self, address: str, *, secret: str | None) -> None:
        """`secret` names the Secret that they are of; without one they are of the image."""
        self._address = address
        self._secret = secret
        self._files: tuple[str, str, str | None] | None = None
        """CA, certificate and key, once they are known to be usable."""

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
                f"name a Secret with {_CA}, {_CERTIFICATE} and {_KEY} in dask.tlsSecretName, or have {TLS_FILES[_CA]}, "
                "..._CLIENT__CERT and ..._CLIENT__KEY in template.spec.env name files of the image",
            )
        if any("\n" in text for text in found.values() if text):
            return  # not files, but the certificates themselves
        for file in found.values():
            if file:
                self._usable(file, Path(file).read_bytes)
        self._usable(found[_CA], lambda: ssl.create_default_context(cafile=found[_CA]))
        self._usable(found[_CERTIFICATE], lambda: _load(found[_CERTIFICATE], found[_KEY] or None))
        self._files = found[_CA], found[_CERTIFICATE], found[_KEY] or None

    def _usable(self, file: str, read: Callable[[], object]) -> None:
        try:
            read()
        except (OSError, ValueError) as exc:
            out = (
                f'correct the Secret "{self._secret}" (dask.tlsSecretName)'
                if self._secret
                else f"correct {TLS_FILES[_CA]}, ..._CLIENT__CERT and ..._CLIENT__KEY, or use dask.tlsSecretName"
            )
            raise JobError(
                Failure.CLUSTER_UNAVAILABLE,
                f"the client cannot use {file} for the Dask scheduler at {self._address}: {_words(exc)}: {out}",
            ) from None

    def refused(self, exc: BaseException) -> JobError | None:
        """Return what ended an attempt to connect, if it is one that no other try can mend."""
        if not self._address.startswith("tls:"):
            return self._wants_tls(exc)
        reason, words = self._said(exc)
        if reason in _NO_TLS:
            return JobError(
                Failure.INVALID_COMBINATION,
                f"what answers at {self._address} does not speak TLS ({words}): start that scheduler and its workers "
                "with --protocol tls, or name it by the protocol that it speaks, without dask.tlsSecretName",
            )
        if reason == "CERTIFICATE_VERIFY_FAILED":
            words = words.removeprefix("certificate verify failed: ")
            return self._unfit(
                f"the client does not accept the certificate of the scheduler: {words}", whose="scheduler"
            )
        if "ALERT" in reason and any(word in reason for word in _CERTIFICATE_WORDS):
            return self._unfit(f"the scheduler does not accept the certificate of the client: {words}", whose="client")
        if any(word in reason for word in _DISAGREE):
            return self._unfit(f"scheduler and client do not agree on TLS: {words}", whose="")
        return None

    def _unfit(self, how: str, *, whose: str) -> JobError:
        match whose:
            case "scheduler" if "expired" in how or "not yet valid" in how:
                out = f"renew it, or the CA in {self._named(_CA)}"
            case "scheduler" if "purpose" in how:
                out = "its extendedKeyUsage must allow for servers, and for clients"
            case "scheduler":
                out = f"{self._named(_CA)} must hold the CA that has signed it"
            case "client":
                out = (
                    f"{self._named(_CERTIFICATE)} must be valid now, for clients, and by the CA that the scheduler has"
                )
            case _:
                out = "compare distributed.comm.tls.min-version, max-version and ciphers of both"
        return JobError(Failure.CLUSTER_UNAVAILABLE, f"no TLS with the Dask scheduler at {self._address}: {how}: {out}")

    def _said(self, exc: BaseException) -> tuple[str, str]:
        """Return the reason for which a handshake failed, and its words; empty where there is none."""
        if any(_EARLY in text for text in map(str, _causes(exc))):
            return "WRONG_VERSION_NUMBER", "it speaks before it is asked"
        found = _openssl(exc)
        if found is None and self._files and _hung_up(exc):
            # Who writes at once to a server that hangs up may miss why.
            answer = _answer(self._address, *self._files)
            found = _openssl(answer) if answer else None
        return found or ("", "")

    def _wants_tls(self, exc: BaseException) -> JobError | None:
        """A scheduler that speaks TLS hangs up on who does not. Not over UCX: nobody knows what it makes of a probe."""
        if not self._address.startswith("tcp:") or not _hung_up(exc) or not _speaks_tls(self._address):
            return None
        return JobError(
            Failure.INVALID_COMBINATION,
            f"the Dask scheduler at {self._address} speaks TLS: write its address with tls://, or --protocol tls into "
            "the command of its DaskCluster, and name a Secret with certificates in dask.tlsSecretName",
        )

    def _named(self, key: str) -> str:
        if self._secret:
            return f'{key} of the Secret "{self._secret}" (dask.tlsSecretName)'
        return f"the file of {TLS_FILES[key]}"


def _load(certificate: str, key: str | None) -> None:
    """Load a certificate with its key; raises ValueError where a password would be asked for."""

    def password() -> str:
        raise ValueError("its key has a password, and nobody is there to enter it")

    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, password=password)


def _speaks_tls(address: str) -> bool:
    """Whether a server answers a greeting of TLS by one: it is not asked who it is, and told nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    refusal = _greet(address, context, read=False)
    return refusal is None or "ALERT" in (getattr(refusal, "reason", None) or "")


def _answer(address: str, ca: str, certificate: str, key: str | None) -> Exception | None:
    """Return how a scheduler refuses a client with these certificates, if it does: Dask's schedulers speak first."""
    context = ssl.create_default_context(cafile=ca)
    context.check_hostname = False
    context.load_cert_chain(certificate, key)
    return _greet(address, context, read=True)


def _greet(address: str, context: ssl.SSLContext, *, read: bool) -> Exception | None:
    parts = urlsplit(address)
    try:
        with (
            socket.create_connection((parts.hostname, parts.port), timeout=PROBE_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=parts.hostname) as greeted,
        ):
            if read:
                greeted.recv(1)
    except (OSError, ValueError) as exc:
        return exc
    return None


def _hung_up(exc: BaseException) -> bool:
    kinds = {kind.__name__ for one in _causes(exc) for kind in type(one).__mro__}
    return not kinds.isdisjoint({"CommClosedError", "ConnectionError", "SSLEOFError"})


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """Yield an exception and those behind it."""
    seen: list[BaseException] = []
    one: BaseException | None = exc
    while one is not None and one not in seen:
        seen.append(one)
        yield one
        one = one.__cause__ or one.__context__


def _openssl(exc: BaseException) -> tuple[str, str] | None:
    """Return OpenSSL's reason and words."""
    for one in _causes(exc):
        if found := _SAID.search(str(one)):
            return found["reason"], found["words"].strip() or found["reason"]
    return None


def _words(exc: BaseException) -> str:
    """Return why a file cannot be used, in OpenSSL's or the system's words."""
    if found := _openssl(exc):
        return found[1]
    return (exc.strerror if isinstance(exc, OSError) else None) or str(exc) or type(exc).__name__
