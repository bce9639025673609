"""REST catalogs: where one is, what it is asked with, and what its refusals mean.

A catalog is declared by the administrator (its options come with the plan), or it is a Secret of the job's namespace,
whose keys are variables of the pod: `PYICEBERG_CATALOG__LAKE__URI` for the key `uri` of the catalog `lake`, as for all
programs that use pyiceberg. Elsewhere, as with `gpuquery run`, whoever runs it sets them.
"""

from __future__ import annotations

import contextlib
import os
import socket
import warnings
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from gpuquery.api import catalogs as words
from gpuquery.api.reasons import Failure
from gpuquery.runner import patience
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.redaction import learn, redact
from gpuquery.runner.failures.words import said
from gpuquery.runner.inputs.tables.iceberg import files
from gpuquery.runner.inputs.tables.iceberg.snapshots import closest
from gpuquery.runner.stores import endpoint, retries
from gpuquery.runner.stores.vended import Vended

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping

    from gpuquery.api.spec import Input
    from gpuquery.plan.plan import StoreAccess

CONNECT_SECONDS, ANSWER_SECONDS = 10, 120


def options_of(name: str, access: StoreAccess, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return a catalog's options, secrets included: those of its declaration, and those of variables, which win."""
    found = dict((access.catalogs or {}).get(name, {}))
    prefix = words.variable(name, "")
    for variable, value in environment.items():
        if variable.startswith(prefix):
            key = variable.removeprefix(prefix).lower().replace("__", ".").replace("_", "-")
            if key in words.OPTIONS or "." not in key:  # else it is of a catalog whose name goes on
                found[key] = value.strip()
    return found


@dataclass(frozen=True)
class Asked:
    """A table of a catalog, and how messages name what it is for."""

    catalog: str
    table: str
    """Its name with its namespaces: `sales.orders`."""
    what: str
    """`input "orders"`, or `output.table`."""
    failure: Failure = Failure.INVALID_INPUT
    """What it is if the table itself is wrong."""

    @classmethod
    def of(cls, item: Input) -> Self:
        """What an input asks for."""
        assert item.table is not None
        return cls(item.table.catalog, item.table.name, f'input "{item.name}"')

    @property
    def identifier(self) -> tuple[str, ...]:
        """Namespaces and name."""
        return tuple(self.table.split("."))

    def error(self, failure: Failure, what: str) -> JobError:
        """Return an error that names the table."""
        return JobError(failure, f"{self.what} (table {self.table} of catalog {self.catalog}): {what}")


class Catalog:
    """A catalog, as it is asked for one table; its tokens are asked for once, and again when it refuses them."""

    def __init__(
        self, asked: Asked, access: StoreAccess, file_io: Any = None, stop: threading.Event | None = None
    ) -> None:
        """Ask nothing yet. `file_io` is how pyiceberg reaches files, without one none; `stop` ends all waiting."""
        self.asked = asked
        self.patience: float = retries.HURRIED
        """Seconds for which a catalog that is away is asked again."""
        self._stop = stop
        self.options: Mapping[str, str] = options_of(asked.catalog, access)
        self.vended = Vended()
        """What came with the table when it was last loaded."""
        self._access = access
        self._file_io = file_io
        self._client: Any = None

    def load(self) -> Any:
        """Ask for the table; returns pyiceberg's. Raises JobError."""
        return self.ask(lambda client: client.load_table(self.asked.identifier))

    def ask(self, work: Callable[[Any], Any], unlike: tuple[type[Exception], ...] = (), *, once: bool = False) -> Any:
        """Ask the catalog's client of pyiceberg, again while it is away, unless it is to be asked `once`.

        Raises JobError, and errors `unlike` these as they are, at once.
        """

        def away(exc: Exception) -> bool:
            return not once and isinstance(exc, JobError) and exc.failure is Failure.STORAGE_UNAVAILABLE

        try:
            return patience.until(
                lambda: self._asked_once(work, unlike), seconds=self.patience, again=away, stop=self._stop
            )
        except patience.StoppedError as exc:
            raise self.asked.error(Failure.STORAGE_UNAVAILABLE, "stopped while the catalog was away") from exc

    def _asked_once(self, work: Callable[[Any], Any], unlike: tuple[type[Exception], ...]) -> Any:
        asked, options = self.asked, self.options
        _check(asked, options, self._access)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pyiceberg says to a log what it will drop one day
            try:
                self._client = self._client or _client(asked.catalog, options, self._file_io)
                answer = work(self._client)
            except unlike:
                raise
            except Exception as exc:
                # Not from the error itself, for a catalog may say back what it was sent.
                raise _explained(asked, exc, self._client, options["uri"]) from None
            finally:
                if self._client is not None and self._client.vended is not None:
                    self.vended = self._client.vended
        return answer


def _check(asked: Asked, options: Mapping[str, str], access: StoreAccess) -> None:
    name = asked.catalog
    if not options.get("uri"):
        declared = closest(name, sorted(access.catalogs or {}))
        known = f"; the administrator has declared {', '.join(declared)}" if declared else ""
        raise asked.error(asked.failure,
            f'catalog "{name}" is not known here: it is a name that the administrator has declared, or a Secret of the '
            f"job's namespace with the key uri; on your own machine, set {words.variable(name, 'uri')}{known}",
        )  # fmt: skip
    if unknown := sorted(set(options) - words.OPTIONS):
        raise asked.error(asked.failure,
            f'catalog "{name}" has the option {unknown[0]}, which is not known: the options are '
            f"{', '.join(sorted(words.OPTIONS))}",
        )  # fmt: skip
    for key in ("uri", "oauth2-server-uri"):
        if url := options.get(key):
            _refuse_metadata(asked, f'the {key} of catalog "{name}"', url)


def _refuse_metadata(asked: Asked, what: str, url: str) -> None:
    """Raise InvalidEndpoint for a URL whose host, by name or address, hands out the identity of nodes."""
    try:
        with contextlib.suppress(OSError, ValueError):  # pyiceberg says what is wrong with it
            host = urlsplit(url).hostname or ""
            endpoint.refuse_metadata(host, what)
            for *_, address in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM):
                endpoint.refuse_metadata(host, what, str(address[0]))
    except JobError as exc:
        raise asked.error(exc.failure, exc.message) from None


def _client(name: str, options: Mapping[str, str], file_io: Any) -> Any:
    from pyiceberg.catalog.rest import RestCatalog

    class Client(RestCatalog):
        """Reads and writes files as it is told, or not at all: inputs are read through the runner's own stores."""

        vended: Vended | None = None

        def _create_session(self) -> Any:
            session = super()._create_session()
            # By itself requests waits for ever, whatever adapter signs what it sends.
            session.request = partial(session.request, timeout=(CONNECT_SECONDS, ANSWER_SECONDS))  # type: ignore[method-assign]
            session.hooks["response"].append(_learn_token)
            return session

        def _load_file_io(self, properties: Any = None, location: Any = None) -> Any:
            return file_io

        def _response_to_table(self, identifier_tuple: Any, table_response: Any) -> Any:
            places = {files.place(one.prefix): one.config for one in table_response.storage_credentials}
            self.vended = Vended(table_response.config, places)
            return super()._response_to_table(identifier_tuple, table_response)

    return Client(name, **{"type": "rest", **options})


def _learn_token(answer: Any, **_: Any) -> None:
    """Keep the token that a request was sent with out of all messages: one that was issued stands in no variable."""
    kind, _, token = answer.request.headers.get("Authorization", "").partition(" ")
    if kind == "Bearer" and token != "None":  # pyiceberg's word for no token  # noqa: S105
        learn([token])


def _explained(asked: Asked, exc: Exception, catalog: Any, uri: str) -> JobError:
    import requests
    from pydantic import ValidationError
    from pyiceberg import exceptions as known

    name = asked.catalog
    text = redact(said(exc))
    check = f'check the credentials of catalog "{name}" and their rights'
    match exc:
        case known.NoSuchTableError() | known.NoSuchNamespaceError() | known.NoSuchIdentifierError():
            return _missing(asked, catalog)
        case known.UnauthorizedError() | known.AuthorizationExpiredError() | known.OAuthError():
            return asked.error(Failure.STORAGE_AUTH, f"the catalog does not accept the credentials: {text}; {check}")
        case known.ForbiddenError():
            return asked.error(Failure.STORAGE_AUTH, f"the catalog does not allow it: {text}; {check}")
        case requests.exceptions.SSLError():
            return asked.error(Failure.INVALID_ENDPOINT,
                f"the certificate of {uri} is not trusted: {text}; name a ConfigMap with its authority in "
                "storage.caConfigMapName, or correct the uri",
            )  # fmt: skip
        case requests.exceptions.ConnectionError() | requests.exceptions.Timeout():
            return asked.error(Failure.STORAGE_UNAVAILABLE, f"no answer from the catalog at {uri}: {text}")
        case known.ServerError() | known.ServiceUnavailableError() | known.TooManyRequestsError():
            return asked.error(Failure.STORAGE_UNAVAILABLE, f"the catalog at {uri} failed: {text}")
        case ValidationError():
            problem = exc.errors()[0]
            where = ".".join(str(part) for part in problem["loc"])
            return asked.error(asked.failure, f"its metadata cannot be read: {where}: {problem['msg']}")
        case requests.exceptions.RequestException() | known.RESTError():
            return asked.error(Failure.INVALID_ENDPOINT, f"{uri} does not answer as an Iceberg REST catalog: {text}")
    if "get_frozen_credentials" in text:  # pyiceberg signs with what boto3 finds, which is nothing
        return asked.error(Failure.STORAGE_AUTH,
            f'catalog "{name}" has rest.sigv4-enabled, and there are no AWS credentials to sign with: name a Secret in '
            "storage.secretName, or a ServiceAccount with a cloud identity in storage.serviceAccountName",
        )  # fmt: skip
    if text.startswith("NoCredentials") or "credentials" in text.lower():
        return asked.error(Failure.STORAGE_AUTH, f"{text}; {check}")
    return asked.error(asked.failure, f"cannot be loaded: {type(exc).__name__}: {text}")


def _missing(asked: Asked, catalog: Any) -> JobError:
    """Name what is there instead; a catalog may not let everybody list."""
    *namespace, table = asked.identifier
    try:
        tables = [one[-1] for one in catalog.list_tables(tuple(namespace))]
        near = ", ".join(closest(table, sorted(tables)))
        what = f"namespace {'.'.join(namespace)} has no table {table}; "
        what += f"it has {near}{', ...' if len(tables) > len(near.split(', ')) else ''}" if tables else "it is empty"
    except Exception:
        what = f"there is no namespace {'.'.join(namespace)}"
        try:
            spaces = [".".join(one) for one in catalog.list_namespaces()]
            near = ", ".join(closest(".".join(namespace), sorted(spaces)))
            what += f"; there are {near}{', ...' if len(spaces) > len(near.split(', ')) else ''}" if spaces else ""
        except Exception:
            what = "the catalog has no such table"
    return asked.error(asked.failure, what)
