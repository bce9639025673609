"""Reach: whether a store answers where storage.endpoint says, asked before anything else is.

The libraries that read and write are patient, for a store that is away comes back. A wrong endpoint does not, and
what they say of it at last names neither the field nor the way out. So there is one look beforehand, which takes
seconds: at the keys, the name, the port, TLS and HTTP. What may pass is StorageUnavailable, which is tried again by the
next attempt: nobody listens, no answer, a name that nobody knows (its Service is made together with the job, or has no
ready pod yet). What cannot is told as such.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import time
import urllib.request
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.stores import storage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpuquery.plan.plan import StoreAccess

PATIENCE = 6.0
"""Seconds for which a name is looked up and a port is tried again: a pod's network and DNS may come up after it."""
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 8.0
PAUSE = 0.5
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_MAKE = (
    "make the Secret in storage.secretName anew, with `printf` in place of `echo`, or with `kubectl create secret "
    "--from-literal`"
)


def check(uris: Iterable[str], access: StoreAccess) -> None:
    """Raise JobError if the stores of these URIs cannot be used: StorageAuth for keys that no request can hold,
    InvalidEndpoint or StorageUnavailable for the endpoint."""
    places = [place for place in map(storage.locate, uris) if place.is_s3]
    if not places:
        return
    check_keys()
    if not access.endpoint:
        return  # AWS
    parts = storage.read_endpoint(access.endpoint)
    with contextlib.suppress(OSError, ValueError):
        if parts.scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(parts.hostname or ""):
            return  # who answers there is the proxy's affair
    _answers(parts, access.endpoint)
    for place in places:
        _bucket_resolves(access, place)


def check_keys() -> None:
    """Refuse keys with characters that are in none, without showing them: StorageAuth."""
    for name in KEYS:
        key = os.environ.get(name, "")
        if key.strip() != key:
            where = "begins" if key.lstrip() != key else "ends"
            edge = key[0] if where == "begins" else key[-1]
            what = "a line break" if edge in "\r\n" else "a blank"
            raise JobError(Failure.STORAGE_AUTH, f"the key in {name} {where} with {what}: {_MAKE}")
        if not (key.isascii() and (not key or key.isprintable())) or " " in key:
            raise JobError(
                Failure.STORAGE_AUTH, f"the key in {name} holds a blank or a character that is in no key: {_MAKE}"
            )


def _answers(parts: SplitResult, endpoint: str) -> None:
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with socket.create_connection((host, port), timeout=CONNECT_SECONDS) as sock:
                _speak(sock, parts, endpoint)
            return
        except OSError as exc:
            if parts.scheme == "http" and isinstance(exc, ConnectionResetError) and _speaks_tls(host, port):
                raise _wrong_scheme(endpoint) from None
            if time.monotonic() + PAUSE > deadline:
                raise _explained(exc, f'storage.endpoint "{endpoint}"', host, port) from None
        time.sleep(PAUSE)


def _speak(sock: socket.socket, parts: SplitResult, endpoint: str) -> None:
    """See whether the other side speaks what the endpoint says."""
    sock.settimeout(ANSWER_SECONDS)
    host, field = parts.hostname or "", f'storage.endpoint "{endpoint}"'
    if parts.scheme == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # whose certificate it is, the client checks
        try:
            sock = context.wrap_socket(sock, server_hostname=host)
        except ssl.SSLError as exc:
            if exc.reason in ("WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
                raise JobError(
                    Failure.INVALID_ENDPOINT, f"{field}: what answers there speaks no TLS: write http:// for https://"
                ) from None
            raise
    with sock:
        sock.sendall(f"HEAD / HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode())
        answer = sock.recv(512)
    if answer.startswith(b"\x15\x03") or (parts.scheme == "http" and b" 400 " in answer and b"HTTPS" in answer.upper()):
        raise _wrong_scheme(endpoint)
    if answer and not answer.startswith(b"HTTP/"):
        raise JobError(Failure.INVALID_ENDPOINT, f"{field}: what answers there speaks no HTTP: correct host and port")
    if not answer:
        raise ConnectionResetError("it closes the connection")


def _speaks_tls(host: str, port: int) -> bool:
    """Whether what breaks off plain HTTP takes a handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=CONNECT_SECONDS) as sock:
        context.wrap_socket(sock, server_hostname=host).close()
        return True
    return False


def _wrong_scheme(endpoint: str) -> JobError:
    field = f'storage.endpoint "{endpoint}"'
    return JobError(Failure.INVALID_ENDPOINT, f"{field}: what answers there speaks TLS: write https:// for http://")


def _bucket_resolves(access: StoreAccess, place: storage.Location) -> None:
    """Where the bucket stands before the endpoint's host, that name must be known as well."""
    host = urlsplit(str(storage.store_options(access, place.uri).get("aws_endpoint_url", ""))).hostname or ""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            socket.getaddrinfo(host, None)
            return
        except (OSError, UnicodeError):
            if time.monotonic() + PAUSE > deadline:
                raise JobError(
                    Failure.STORAGE_UNAVAILABLE,
                    f'{place.uri}: the host "{host}" is not known: set storage.pathStyle: true, if the bucket belongs '
                    f'into the path at storage.endpoint "{access.endpoint}"',
                ) from None
        time.sleep(PAUSE)


def _explained(exc: OSError, field: str, host: str, port: int) -> JobError:
    if isinstance(exc, socket.gaierror):
        if exc.errno == socket.EAI_AGAIN:
            return JobError(
                Failure.STORAGE_UNAVAILABLE, f'{field}: no name server says where the host "{host}" is: correct the '
                "host, or see to the DNS of the cluster",
            )  # fmt: skip
        return JobError(
            Failure.STORAGE_UNAVAILABLE,
            f'{field}: the host "{host}" is not known: correct it, or see that the store is up; a Service of another '
            "namespace is <name>.<namespace>.svc",
        )
    if isinstance(exc, ConnectionRefusedError):
        why = f"nobody listens on port {port} of {host}: correct host and port, or see that the store is up"
    elif isinstance(exc, TimeoutError):
        why = (
            f"{host} does not answer on port {port}: correct host and port, see that the store is up, and that no "
            "NetworkPolicy keeps the pods from it"
        )
    else:
        why = f"{host} does not answer on port {port} as a store does ({exc.strerror or exc}): see that the store is up"
    return JobError(Failure.STORAGE_UNAVAILABLE, f"{field}: {why}")
