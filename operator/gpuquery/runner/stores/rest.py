"""Plain HTTP requests to a store, with patience: for what no client library does in one process and ends in another.

obstore reads Google's and Azure's stores, but it begins and completes an upload in one call. So tables are written by
the stores' own REST interfaces, through requests, which pyiceberg brings. What a store answers clearly ("403", "no such
container") is never tried again. Redirects are not followed: nobody but the store may see a signature.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from gpuquery.api.reasons import Failure
from gpuquery.api.text import clean
from gpuquery.runner import patience
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.stores import redact, with_way_out
from gpuquery.runner.stores.retries import CONNECT_TIMEOUT, HURRIED, PATIENCE, READ_TIMEOUT

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping

    import requests

CONNECTIONS = 32
HURRIED_READ_TIMEOUT = 8
BUSY = frozenset({408, 429, 500, 502, 503, 504})
"""Answers that say that the same request may well succeed a little later."""
DENIED = frozenset({401, 403})
_CUT = ("EOF", "BAD_RECORD_MAC", "timed out")
"""In what OpenSSL says of connections that end in the middle or are garbled: another one may well work."""
MAX_TOLD = 16 << 10
"""Bytes of an answer that are looked at to find out what is wrong."""


@dataclass(frozen=True)
class Request:
    """What a store is asked."""

    method: str
    url: str
    body: bytes = field(default=b"", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What a store has answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Told:
    """What an answer says of a fault: the store's code, and its words."""

    code: str
    message: str


class RefusedError(Exception):
    """The store has answered with an error."""

    def __init__(self, answer: Answer, told: Told) -> None:
        self.answer, self.told = answer, told
        super().__init__(f"{answer.status} {told.code}: {told.message}".rstrip(": "))


class UnreachedError(Exception):
    """Nobody has answered."""


class Signer(Protocol):
    """Who sends the requests."""

    def __call__(self, request: requests.PreparedRequest) -> None:
        """Put credentials into a request. Raises JobError(StorageAuth), and UnreachedError if nobody gives them out."""

    def forget(self) -> None:
        """Ask for new credentials next time: the store takes these no more."""


@dataclass(frozen=True)
class Words:
    """How one kind of store tells of faults."""

    told: Callable[[Answer], Told]
    no_bucket: Callable[[Told], bool]
    """Whether it says that there is no such bucket."""
    busy: Callable[[Told], bool] = lambda _: False
    """Whether it says by its code that the same request may well succeed a little later."""


class Rest:
    """One store, asked by one caller, from many threads."""

    def __init__(
        self, signer: Signer, words: Words, *, hurried: bool = False, stop: threading.Event | None = None
    ) -> None:
        """`hurried` gives up within seconds; `stop` ends all waiting when it is set."""
        self._signer, self._words, self._stop = signer, words, stop
        self._session = session()
        self._timeout = (CONNECT_TIMEOUT, HURRIED_READ_TIMEOUT if hurried else READ_TIMEOUT)
        self._patience = float(HURRIED if hurried else PATIENCE)

    def ask(
        self,
        what: str,
        request: Request,
        *,
        okay: Callable[[int, Told], bool] = lambda _status, _told: False,
        again: Callable[[RefusedError], bool] = lambda _: True,
    ) -> Answer:
        """Ask until there is an answer: one of success, or one that `okay` says is just that.

        `again` may forbid to repeat what would be repeated. Raises JobError that begins with `what`.
        """
        renewed = False

        def once() -> Answer:
            answer = send(self._session, request, self._signer, self._timeout)
            if answer.status < 300:
                return answer
            told = self._words.told(answer)
            if not self._words.no_bucket(told) and okay(answer.status, told):
                return answer
            raise RefusedError(answer, told)

        def passes(exc: Exception) -> bool:
            nonlocal renewed
            if isinstance(exc, UnreachedError):
                return True
            if not isinstance(exc, RefusedError):
                return False
            if exc.answer.status == 401 and not renewed:
                renewed = True
                self._signer.forget()
                return True
            return (exc.answer.status in BUSY or self._words.busy(exc.told)) and again(exc)

        try:
            return patience.until(once, seconds=self._patience, again=passes, stop=self._stop)
        except patience.StoppedError as exc:
            raise JobError(Failure.STORAGE_UNAVAILABLE, f"{what}: stopped while the store was away") from exc
        except UnreachedError as exc:
            raise with_way_out(Failure.STORAGE_UNAVAILABLE, f"{what}: {exc}") from exc
        except RefusedError as exc:
            raise self._explained(what, exc) from exc

    def _explained(self, what: str, exc: RefusedError) -> JobError:
        text = f"{what}: {redact(str(exc))}"
        if self._words.no_bucket(exc.told):
            return JobError(
                Failure.BUCKET_NOT_FOUND, f"{text}: create it, or correct the output's uri or the store's endpoint"
            )
        if exc.answer.status in BUSY or self._words.busy(exc.told):
            return with_way_out(Failure.STORAGE_UNAVAILABLE, text)
        return with_way_out(Failure.STORAGE_AUTH if exc.answer.status in DENIED else Failure.INTERNAL_ERROR, text)


def session() -> requests.Session:
    """Make a session, which many threads may use."""
    import requests
    from requests.adapters import HTTPAdapter

    made = requests.Session()
    for scheme in ("https://", "http://"):
        made.mount(scheme, HTTPAdapter(pool_connections=4, pool_maxsize=CONNECTIONS))
    return made


def send(
    by: requests.Session,
    request: Request,
    signer: Callable[[requests.PreparedRequest], None] = lambda _: None,
    timeout: tuple[float, float] = (CONNECT_TIMEOUT, HURRIED_READ_TIMEOUT),
) -> Answer:
    """Send one request. Raises UnreachedError, and JobError(InvalidEndpoint) for TLS that never works."""
    import requests

    def sign(prepared: Any) -> Any:  # given as `auth`, it keeps requests from using a password of ~/.netrc
        signer(prepared)
        return prepared

    try:
        answer = by.request(
            request.method,
            request.url,
            data=request.body,
            headers=dict(request.headers),
            auth=sign,
            timeout=timeout,
            allow_redirects=False,
        )
        return Answer(answer.status_code, answer.headers, answer.content)
    except requests.exceptions.SSLError as exc:
        if any(sign in str(exc) for sign in _CUT):
            raise UnreachedError(f"no answer from {_host(request.url)} (the connection was cut)") from None
        why = "its certificate is not trusted" if "CERTIFICATE_VERIFY_FAILED" in str(exc) else "TLS fails"
        raise with_way_out(Failure.INVALID_ENDPOINT, f"{_host(request.url)}: {why}") from None
    except (requests.exceptions.RequestException, OSError) as exc:
        # The text of these exceptions has the whole URL, and that may have a signature in it.
        raise UnreachedError(f"no answer from {_host(request.url)} ({type(exc).__name__})") from None


def _host(url: str) -> str:
    return clean(url.partition("://")[2].partition("/")[0], 200)
