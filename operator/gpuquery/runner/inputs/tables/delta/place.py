"""Where a Delta table is, how its log is read, and how what is wrong with it is said."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar
from urllib.parse import unquote, urlsplit

from gpuquery.api.reasons import Failure
from gpuquery.api.text import clean
from gpuquery.runner import stores
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.stores.base import Part, Stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gpuquery.api.spec import Input
    from gpuquery.plan.plan import StoreAccess

T = TypeVar("T")
R = TypeVar("R")
THREADS = 16
LOG = "_delta_log/"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_SAME = {"s3a": "s3", "s3n": "s3", "abfs": "abfss"}
"""Schemes of Hadoop for stores that we name otherwise."""


class LogStore(Protocol):
    """What reads the log. Keys are relative to the table."""

    def list(self, prefix: str, after: str = "") -> Iterator[Stored]:
        """List what is below a prefix and sorts after a key, sorted by key."""

    def get(self, key: str) -> bytes | None:
        """Read a file; None if there is none."""

    def parallel(self, work: Callable[[T], R], items: Sequence[T]) -> Sequence[R]:
        """Do independent calls, several at a time."""


class ReadOnly(LogStore):
    """The log in a store to which nothing is written."""

    def __init__(self, uri: str, access: StoreAccess) -> None:
        """`uri` is the table's, without a slash at its end."""
        self._uri = uri
        self._files = stores.files(uri, access)
        prefix = stores.locate(uri).prefix
        self._root = f"{prefix}/" if prefix else ""

    def list(self, prefix: str, after: str = "") -> Iterator[Stored]:
        """List all and sort it."""
        pages = self._files.below(f"{self._root}{prefix}")
        found = [Stored(one.key.removeprefix(self._root), one.bytes, one.modified) for page in pages for one in page]
        yield from sorted((one for one in found if one.key > after), key=lambda one: one.key)

    def get(self, key: str) -> bytes | None:
        """Look whether it is there, and read it."""
        uri = f"{self._uri}/{key}"
        there = self._files.look([uri]).get(uri)
        if there is None:
            return None
        return self._files.read([Part(uri, 0, there.bytes)], lambda _, body: body)[0] if there.bytes else b""

    def parallel(self, work: Callable[[T], R], items: Sequence[T]) -> Sequence[R]:
        """Work in threads."""
        with ThreadPoolExecutor(THREADS, "log") as pool:
            return list(pool.map(work, items))


class Folder(Protocol):
    """The folder of a table whose log is read: an input's, or an output's."""

    @property
    def store(self) -> LogStore:
        """What reads the log."""

    @property
    def access(self) -> StoreAccess:
        """Where the stores are."""

    @property
    def root(self) -> str:
        """Its URI, without a slash at its end."""

    def refused(self, text: str) -> JobError:
        """Return the failure that names the table and says what is wrong with it."""


@dataclass(frozen=True)
class Table:
    """The folder of an input."""

    item: Input
    access: StoreAccess
    store: LogStore

    @property
    def root(self) -> str:
        """Its URI, without a slash at its end."""
        return self.item.places[0].rstrip("/")

    def refused(self, text: str) -> JobError:
        """Return InvalidInput with the names of the input and of the table."""
        return JobError(Failure.INVALID_INPUT, f'input "{self.item.name}": Delta table {self.root}: {text}')

    def place_of(self, path: str) -> str:
        """Return the URI of a path of the log, which is relative to the table or absolute, and percent-encoded.

        Raises JobError for a store that is not known.
        """
        if not _SCHEME.match(path):
            decoded = unquote(path)
            return f"file://{decoded}" if decoded.startswith("/") else f"{self.root}/{decoded}"
        parts = urlsplit(path)
        scheme = _SAME.get(parts.scheme, parts.scheme)
        # urlsplit would take a question mark or a hash for the end of the path.
        rest = unquote(path.partition(":")[2].removeprefix("//"))
        uri = f"{scheme}://{rest}"
        try:
            stores.of(uri)
        except JobError as exc:
            raise self.refused(
                f"the log names the file {clean(path, 300)}, which is in a store that cannot be read ({exc.message}): "
                "make a deep clone of the table, and read that"
            ) from None
        return uri


def opened(item: Input, access: StoreAccess) -> Table:
    """Open the folder of a table; looks at nothing."""
    uri = item.places[0].rstrip("/")
    try:
        store: LogStore = stores.of(uri).table(stores.locate(uri), access, staging="_staging", stop=threading.Event())[
            0
        ]
    except JobError as exc:
        if exc.failure is not Failure.INVALID_PLAN:
            raise
        store = ReadOnly(uri, access)
    return Table(item, access, store)
