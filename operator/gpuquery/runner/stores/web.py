"""Single files of web servers: `https://host/path/file.parquet`, and `http://` where the job says so.

Credentials and signatures come from the Secret (web_secrets.py). They are shown to the hosts that it names, over TLS,
and to no host that a redirect leads to.

A web server lists nothing, so folders and globs are refused. It must answer ranges: one request for the first byte
tells size, version and whether it does. Redirects are followed here step by step, and none leads to a metadata service.
Polars, which reads the rows, follows them again by itself; what a server then answers otherwise only a NetworkPolicy
stops.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import ssl
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urljoin, urlsplit

from gpuquery.api.reasons import Failure
from gpuquery.api.text import clean
from gpuquery.runner import patience
from gpuquery.runner.failures import redaction
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.stores import with_way_out
from gpuquery.runner.stores import endpoint, relay, retries, web_secrets
from gpuquery.runner.stores.base import Backend, Files, Found, Location, Part
from gpuquery.runner.stores.cloud import unwritten

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.stores.base import Store

T = TypeVar("T")

THREADS = 16
MAX_REDIRECTS = 5
_PORTS = {"http": 80, "https": 443}
_SPAN = re.compile(r"bytes (?:\d+-\d+|\*)/(\d+)")
_COPY = "copy it to a store, such as s3://"


class BusyError(Exception):
    """The server answers that it cannot answer now."""


@dataclass(frozen=True)
class Answer:
    """What a server has answered to a request for a range, at the end of all redirects."""

    status: int
    size: int | None
    version: str
    body: bytes


class Web(Backend):
    """Files of web servers."""

    remote = True

    def __init__(self, scheme: str) -> None:
        """Make the store of one of the two schemes."""
        self._scheme = scheme
        self.example = f"{scheme}://host/file.parquet"

    def locate(self, uri: str) -> Location | None:
        """Split `https://host/path`."""
        host, _, path = uri.removeprefix(f"{self._scheme}://").partition("/")
        return Location(uri, host, path) if host else None

    def source(self, uri: str) -> str:
        """Write blanks and other letters than those of URLs as escapes: KvikIO takes no others."""
        return _spelled(uri)

    def address(self, uri: str) -> str:
        """Return a URL with its signature, or one of this process's relay, which sends credentials."""
        url, secrets = self.source(uri), web_secrets.known()
        return _relay().address(url) if secrets.shown(url) else secrets.signed.get(url, url)

    def kept_from_gpus(self, uri: str, access: StoreAccess) -> str:
        """Refuse what needs a header."""
        if not web_secrets.known().shown(self.source(uri)):
            return ""
        return (
            "the GPU readers of RAPIDS 25.08 to 26.10 send no credentials to web servers: copy it to s3://, use a "
            "signed URL (HTTPS_AUTH_URLS), or engine: cpu"
        )

    def files(self, uri: str, access: StoreAccess) -> WebFiles:
        """Read over HTTP."""
        return WebFiles(allow_http=bool(access.allow_http), seconds=retries.PATIENCE)

    def table(
        self, place: Location, access: StoreAccess, *, staging: str, stop: threading.Event
    ) -> tuple[Store, Store]:
        """Refuse to write."""
        raise unwritten(place.uri)

    def names(self, place: Location, folder: str, access: StoreAccess) -> Sequence[str]:
        """List nothing: no web server does."""
        return ()

    def check(self, places: Sequence[Location], access: StoreAccess) -> None:
        """Look at the Secret, and ask each server for one of its files."""
        web_secrets.known()
        first = {place.bucket: place.uri for place in reversed(places)}
        WebFiles(allow_http=bool(access.allow_http), seconds=endpoint.PATIENCE).look(list(first.values()))


class WebFiles(Files):
    """Files by their URLs."""

    def __init__(self, *, allow_http: bool, seconds: float) -> None:
        """`seconds` is how long a server that does not answer is asked again."""
        self._allow_http = allow_http
        self._seconds = seconds
        self._tls = ssl.create_default_context()

    def below(self, prefix: str, *, deep: bool = True) -> Iterator[Sequence[Found]]:
        """List nothing: no web server does, and a job that names a folder or a glob is refused (plan/places.py)."""
        yield from ()

    def look(self, paths: Sequence[str]) -> dict[str, Found]:
        """Ask for the first byte of each. Raises InvalidInput for a server that does not answer ranges."""
        with ThreadPoolExecutor(THREADS, "web") as pool:
            found = dict(zip(paths, pool.map(self._looked, paths), strict=True))
        return {path: there for path, there in found.items() if there is not None}

    def sizes(self, paths: Sequence[str]) -> dict[str, int]:
        """Ask for each."""
        found = self.look(paths)
        for path in paths:
            if path not in found:
                raise JobError(Failure.INVALID_INPUT, f"{path}: the server has no such file: correct the URI")
        return {path: one.bytes for path, one in found.items()}

    def read(self, parts: Sequence[Part], then: Callable[[Part, bytes], T]) -> list[T]:
        """Read ranges, several at a time."""

        def one(part: Part) -> T:
            answer = self._asked(part.path, part.start, part.end) if part.end > part.start else None
            if answer is not None and answer.status != http.client.PARTIAL_CONTENT:
                raise _refused(part.path, answer)
            return then(part, answer.body if answer else b"")

        with ThreadPoolExecutor(THREADS, "web") as pool:
            return list(pool.map(one, parts))

    def _looked(self, uri: str) -> Found | None:
        answer = self._asked(uri, 0, 1)
        if answer.status in (http.client.NOT_FOUND, http.client.GONE):
            return None
        empty = answer.size == 0 and answer.status in (http.client.OK, http.client.REQUESTED_RANGE_NOT_SATISFIABLE)
        if answer.size is None or not (empty or answer.status == http.client.PARTIAL_CONTENT):
            raise _refused(uri, answer)
        return Found(uri.partition("://")[2].partition("/")[2], answer.size, answer.version)

    def _asked(self, uri: str, start: int, end: int) -> Answer:
        """Ask for a range until the server can answer."""
        uri = _plain(uri)

        def ask() -> Answer:
            with self.answering(uri, f"bytes={start}-{end - 1}") as found:
                answer = _answer(found)
            if answer.status >= http.client.INTERNAL_SERVER_ERROR or answer.status == http.client.TOO_MANY_REQUESTS:
                raise BusyError(f"the server answers {answer.status}")
            return answer

        try:
            return patience.until(ask, seconds=self._seconds, again=_may_pass)
        except BusyError as exc:
            raise JobError(
                Failure.STORAGE_UNAVAILABLE, f"{uri}: {exc}: see that it is up, or have it allow more requests"
            ) from None
        except ssl.SSLCertVerificationError as exc:
            raise JobError(
                Failure.INVALID_ENDPOINT,
                f"{uri}: the server's certificate is not trusted ({exc.verify_message}): correct the host, or name a "
                "ConfigMap with its authority in storage.caConfigMapName",
            ) from None
        except (OSError, http.client.HTTPException) as exc:
            parts = urlsplit(uri)
            fault = exc if isinstance(exc, OSError) else ConnectionError(str(exc) or type(exc).__name__)
            raise endpoint.explained(fault, uri, parts.hostname or "", _port(uri)) from None

    @contextlib.contextmanager
    def answering(self, uri: str, span: str | None) -> Iterator[http.client.HTTPResponse]:
        """Ask for a range, and follow redirects to places that may be asked.

        Raises JobError, OSError, HTTPException.
        """
        secrets = web_secrets.known()
        url = secrets.signed.get(_spelled(uri), uri)
        for _ in range(MAX_REDIRECTS + 1):
            connection = self._connected(url, uri)
            try:
                parts = urlsplit(url)
                target = web_secrets.spelled(parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                headers = {"Accept-Encoding": "identity", "User-Agent": "gpuquery", "Connection": "close"}
                headers |= {**({"Range": span} if span else {}), **secrets.shown(url)}
                connection.request("GET", target, headers=headers)
                answer = connection.getresponse()
                if not 300 <= answer.status < 400 or (to := answer.headers["Location"]) is None:
                    yield answer
                    return
                url = urljoin(url, to)
            finally:
                connection.close()
        raise JobError(
            Failure.INVALID_INPUT, f"{uri}: more than {MAX_REDIRECTS} redirects: name the file's own address"
        )

    def _connected(self, url: str, uri: str) -> http.client.HTTPConnection:
        """Connect for a URL, to which `uri` may have been redirected."""
        what = uri if url == uri else f"{uri}, redirected to another host"
        parts = urlsplit(url)
        host, port = parts.hostname or "", _port(url)
        if parts.scheme not in _PORTS or (parts.scheme == "http" and not self._allow_http):
            raise JobError(
                Failure.INVALID_INPUT,
                f"{uri}: a redirect leads to {parts.scheme}://, which is not encrypted: name the file's own https:// "
                "address, or set storage.allowHttp: true",
            )
        endpoint.refuse_metadata(host, what)
        connection = http.client.HTTPConnection(host, port)
        connection.sock = endpoint.connect(host, port, what)
        connection.sock.settimeout(retries.READ_TIMEOUT)
        if parts.scheme == "https":
            connection.sock = self._tls.wrap_socket(connection.sock, server_hostname=host)
        return connection


def _ask(url: str, span: str | None) -> AbstractContextManager[http.client.HTTPResponse]:
    return WebFiles(allow_http=False, seconds=0).answering(url, span)


def _relay() -> relay.Relay:
    return relay.of_process(_ask)


def _plain(address: str) -> str:
    """Return the URL of a file, whatever of it Polars was given."""
    for own, shown in redaction.SHOWN_AS.items():
        if address.startswith(own):
            return shown + address.removeprefix(own)
    url = address.partition("?")[0]
    return url if web_secrets.known().signed.get(url) == address else address


def _spelled(uri: str) -> str:
    scheme, _, rest = uri.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host}{slash}{web_secrets.spelled(path)}"


def _port(url: str) -> int:
    parts = urlsplit(url)
    try:
        return parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        raise JobError(Failure.INVALID_INPUT, f"{clean(url, 200)}: there is no such port: correct it") from None


def _answer(answer: http.client.HTTPResponse) -> Answer:
    """Read the body of a range, and no other."""
    partial = answer.status == http.client.PARTIAL_CONTENT
    span = _SPAN.fullmatch(answer.headers["Content-Range"] or "")
    length = answer.headers["Content-Length"]
    size = int(span[1]) if span else int(length) if length and length.isdigit() and not partial else None
    version = (answer.headers["ETag"] or answer.headers["Last-Modified"] or "").strip('"')
    return Answer(answer.status, size, version, answer.read() if partial else b"")


def _may_pass(exc: BaseException) -> bool:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return False
    return isinstance(exc, (OSError, http.client.HTTPException, BusyError))


def _refused(uri: str, answer: Answer) -> JobError:
    secrets = web_secrets.known()
    match answer.status:
        case http.client.UNAUTHORIZED | http.client.FORBIDDEN:
            if _spelled(uri) in secrets.signed:
                why = "and does not accept the signature of HTTPS_AUTH_URLS, or not any more: sign the URL anew"
            elif secrets.shown(uri):
                why = "and does not accept the credentials of the Secret in storage.secretName: correct them"
            else:
                why = (
                    "and no credentials are sent to this host: put HTTPS_AUTH_TOKEN (or HTTPS_AUTH_USER and "
                    "HTTPS_AUTH_PASSWORD, or HTTPS_AUTH_HEADER) and HTTPS_AUTH_HOST, or a signed URL "
                    "(HTTPS_AUTH_URLS), into the Secret in storage.secretName"
                )
            return JobError(Failure.STORAGE_AUTH, f"{uri}: the server answers {answer.status}, {why}")
        case http.client.OK | http.client.PARTIAL_CONTENT:
            return JobError(
                Failure.INVALID_INPUT,
                f"{uri}: the server does not answer requests for parts of a file (Range), which readers need: {_COPY}",
            )
    return with_way_out(
        Failure.INVALID_INPUT, f"{uri}: the server answers {answer.status}: correct the URI, or {_COPY}"
    )
