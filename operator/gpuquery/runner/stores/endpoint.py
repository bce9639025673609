"""Whether a store answers at storage.endpoint, checked before anything else.

The libraries that read and write wait for a store to come back, and what they say of a wrong endpoint in the end names
neither the field nor the way out. So the name, the port, TLS and HTTP are checked first, within seconds. A fault that
may pass is StorageUnavailable, and the next attempt tries again: nothing listens, no answer, an unknown name (its
Service is made together with the job, or has no ready pod yet). Any other is InvalidEndpoint.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from gpuquery.api.reasons import Failure
from gpuquery.api.stores import hands_out_roles
from gpuquery.api.text import clean
from gpuquery.runner import patience, trust
from gpuquery.runner.failures.errors import JobError

if TYPE_CHECKING:
    from collections.abc import Sequence

FIELD = "storage.endpoint"
PATIENCE = 6.0
"""Seconds for which a name or a port is tried again: a pod's network and DNS may come up after the pod."""
TRIES = 4
"""How often a name is looked up at least. glibc waits 5 s for a lost answer, and if only that about IPv4 was lost, it
then says that the name has no address, as if nobody knew it."""
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 8.0
_LABEL = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")


def parse(endpoint: str, field: str = FIELD) -> SplitResult:
    """Split an endpoint. Raises InvalidEndpoint for an impossible host or port, by botocore's rules too."""
    try:
        parts = urlsplit(endpoint)
        host, port = parts.hostname or "", parts.port
    except ValueError as exc:
        raise _no_endpoint(endpoint, str(exc), field) from None
    if port == 0:
        raise _no_endpoint(endpoint, "there is no port 0", field)
    refuse_metadata(host, f'{field} "{clean(endpoint, 200)}"')
    if ":" not in host:  # else urlsplit has read it as an address
        for label in host.removesuffix(".").split("."):
            if not _LABEL.fullmatch(label):
                what = f'"{clean(label, 80)}" is no part of a host\'s name' if label else "a part of the host is empty"
                raise _no_endpoint(endpoint, what, field)
    return parts


def refuse_metadata(host: str, what: str, address: str = "") -> None:
    """Raise InvalidEndpoint for a host, or an address of it, that hands out the identity of nodes."""
    if hands_out_roles(address or host):
        raise JobError(
            Failure.INVALID_ENDPOINT,
            f"{what}: {clean(host, 80)} is a metadata service or another link-local address, which no job may reach: "
            "name another host",
        )


def connect(host: str, port: int, what: str) -> socket.socket:
    """Connect to the first address that answers. Raises OSError, and InvalidEndpoint before any connection if one of
    the addresses belongs to a metadata service: what is checked is what is connected to."""
    found = _addresses(host, port)
    for *_, address in found:
        refuse_metadata(host, what, str(address[0]))
    last = OSError(f"{host} has no address")
    for *_, address in found:
        try:
            return socket.create_connection((str(address[0]), port), timeout=CONNECT_SECONDS)
        except OSError as exc:
            last = exc
    raise last


def answers(endpoint: str, field: str = FIELD) -> bool:
    """Check that a store answers there; False if a proxy answers in its place, so that nothing can be said.

    Raises InvalidEndpoint, StorageUnavailable.
    """
    parts = parse(endpoint, field)
    with contextlib.suppress(OSError, ValueError):
        if parts.scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(parts.hostname or ""):
            return False
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    named = f'{field} "{endpoint}"'

    def greet() -> None:
        try:
            with connect(host, port, named) as sock:
                _speak(sock, parts, named)
        except ConnectionResetError:
            if parts.scheme == "http" and _speaks_tls(host, port):
                raise _wrong_scheme(named) from None
            raise

    try:
        patience.until(
            greet, seconds=PATIENCE, again=lambda exc: isinstance(exc, OSError) and not isinstance(exc, socket.gaierror)
        )
    except OSError as exc:
        raise explained(exc, named, host, port) from None
    return True


def resolves(host: str, otherwise: str) -> None:
    """Check that a host is known. Raises StorageUnavailable with the text `otherwise`."""
    try:
        _addresses(host, None)
    except (OSError, UnicodeError):
        raise JobError(Failure.STORAGE_UNAVAILABLE, otherwise) from None


def _addresses(host: str, port: int | None) -> Sequence[tuple[Any, ...]]:
    """Look a name up, again and again for a while if that fails."""
    return patience.until(
        lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM),
        seconds=PATIENCE,
        tries=TRIES,
        again=lambda exc: isinstance(exc, OSError),
    )


def _no_endpoint(endpoint: str, why: str, field: str) -> JobError:
    return JobError(
        Failure.INVALID_ENDPOINT,
        f'{field} "{clean(endpoint, 200)}": {why}: correct it, like https://s3.example.com or '
        "http://minio.lake.svc:9000",
    )


def _speak(sock: socket.socket, parts: SplitResult, named: str) -> None:
    """Check that the server speaks the endpoint's protocol."""
    sock.settimeout(ANSWER_SECONDS)
    host = parts.hostname or ""
    if parts.scheme == "https":
        try:
            sock = _believing().wrap_socket(sock, server_hostname=host)
        except ssl.SSLCertVerificationError as exc:
            # Polars and obstore would ask for minutes, and then not say why.
            raise JobError(
                Failure.INVALID_ENDPOINT, f"{named}: the server's certificate is not trusted ({exc.verify_message}): "
                "correct the host, or name a ConfigMap with its authority in storage.caConfigMapName",
            ) from None  # fmt: skip
        except ssl.SSLError as exc:
            if exc.reason in ("WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
                raise JobError(
                    Failure.INVALID_ENDPOINT, f"{named}: what answers there speaks no TLS: write http:// for https://"
                ) from None
            raise
    with sock:
        sock.sendall(f"HEAD / HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode())
        answer = sock.recv(512)
    if answer.startswith(b"\x15\x03") or (parts.scheme == "http" and b" 400 " in answer and b"HTTPS" in answer.upper()):
        raise _wrong_scheme(named)
    if answer and not answer.startswith(b"HTTP/"):
        raise JobError(Failure.INVALID_ENDPOINT, f"{named}: what answers there speaks no HTTP: correct host and port")
    if not answer:
        raise ConnectionResetError("it closes the connection")


def _believing() -> ssl.SSLContext:
    """Return what trusts whatever any client here would trust; some bring their own authorities."""
    context = ssl.create_default_context()
    for file in trust.packaged():
        with contextlib.suppress(OSError):
            context.load_verify_locations(file)
    return context


def _speaks_tls(host: str, port: int) -> bool:
    """Whether a server that resets plain HTTP accepts a TLS handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=CONNECT_SECONDS) as sock:
        context.wrap_socket(sock, server_hostname=host).close()
        return True
    return False


def _wrong_scheme(named: str) -> JobError:
    return JobError(Failure.INVALID_ENDPOINT, f"{named}: what answers there speaks TLS: write https:// for http://")


def explained(exc: OSError, field: str, host: str, port: int) -> JobError:
    """Return the error for a host that was not reached; `field` is what named it."""
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
