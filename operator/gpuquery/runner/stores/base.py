"""What a store is to the rest of the runner. Each kind of store is one module that implements `Backend`.

A backend gives out two things: `Files`, to size and read inputs, and `Store`, a table's folder that the commit protocol
writes to.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from gpuquery.api.reasons import Failure
from gpuquery.api.text import clean
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.stores import Explainer

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.stores.vended import Loan

T = TypeVar("T")
R = TypeVar("R")

UPDATES = 100
"""Tries to update an object that others are updating too."""
DATA = "data/"
STAGING = "_staging/"
COMMITS = "_commits/"


@dataclass(frozen=True)
class Location:
    """A folder or file: a bucket and a prefix without slashes around it, or (`bucket` empty) an absolute path."""

    uri: str
    bucket: str
    prefix: str

    def folder(self, prefix: str) -> str:
        """URI of a prefix of the same bucket, or of the same machine."""
        return f"{self.uri.partition('://')[0]}://{self.bucket}{'/' if self.bucket else ''}{prefix}"


class Backend(Explainer, ABC):
    """One kind of store, with everything that is particular to it."""

    example: str
    """How a URI is written, for messages."""
    remote = False
    """Whether its bytes come over the network."""
    unsafe = "does not create exclusively, so two attempts could both commit: use another store"
    """What is said of a store that lets two callers create one object."""

    unread_by_gpus = ""
    """Why no GPU engine reads it; empty if they do."""
    signs_lost_to_gpus = ""
    """Characters in the place of a file for which the GPU readers ask for another one, or for none."""

    @abstractmethod
    def locate(self, uri: str) -> Location | None:
        """Split a URI; None if it is malformed. Percent signs are taken literally, as Polars takes them."""

    @abstractmethod
    def files(self, uri: str, access: StoreAccess) -> Files:
        """Return the way to the file at a URI and to its neighbours in the same bucket."""

    @abstractmethod
    def table(
        self, place: Location, access: StoreAccess, *, staging: str, stop: threading.Event
    ) -> tuple[Store, Store]:
        """Open a table's folder twice: for work that has to get through, and for answers within seconds, be they "no".

        `staging` is the key of the attempt's folder for what it has not committed; `stop` ends all waiting.
        """

    @abstractmethod
    def names(self, place: Location, folder: str, access: StoreAccess) -> Sequence[str]:
        """List what is in a folder of a location, sorted, subfolders with a slash; empty where it cannot be listed.

        Raises JobError(BucketNotFound) if there is no such bucket.
        """

    def source(self, uri: str) -> str:
        """Return what Polars' scans and the GPU readers take for a URI."""
        return uri

    def address(self, uri: str) -> str:
        """Return what Polars' scans and the GPU readers open for a file: its source, with what the store must see to
        let it be read. It is for this process alone, and is never written down. Raises StorageAuth."""
        return self.source(uri)

    def kept_from_gpus(self, uri: str, access: StoreAccess) -> str:
        """Return why the GPU readers cannot say what the store must hear for a file; empty if they can."""
        return ""

    def scan_options(self, uri: str, access: StoreAccess) -> dict[str, Any] | None:
        """Return `storage_options` for Polars' scans of a URI."""
        return None

    def check(self, places: Sequence[Location], access: StoreAccess) -> None:
        """Check within seconds that the store answers where `access` says. Raises JobError with the way out."""

    def reader_variables(
        self, access: StoreAccess, loan: Loan | None = None
    ) -> tuple[Mapping[str, str], tuple[str, ...]]:
        """Return the environment that GPU readers need, with credentials, and warnings. Raises StorageAuth.

        `loan` are the credentials that a catalog vends for what is read.
        """
        return {}, ()

    def leaving_nothing(self, place: Location) -> contextlib.AbstractContextManager[None]:
        """Remove, at the end, folders that came into being only because something was looked at."""
        return contextlib.nullcontext()


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of a file, from `start` to before `end`."""

    path: str
    start: int
    end: int


class Found(NamedTuple):
    """A file that is there; or a folder, whose key ends with a slash and which has no bytes and no version."""

    key: str
    """Its key in the bucket; of a file of this machine, its path."""
    bytes: int
    version: str = ""
    """What changes when the file is replaced (an ETag; on POSIX the time of the last change in nanoseconds and the
    inode); empty where the store tells nothing of the kind."""
    modified: float = 0.0
    """When it was last written, in seconds since 1970; 0 where the store or its client does not tell."""


class Readable(Protocol):
    """Files by their URIs, to be looked at and read in parts."""

    def look(self, paths: Sequence[str]) -> dict[str, Found]:
        """Return the files that are at paths, by path, without those that are not there. Needs no right to list."""

    def sizes(self, paths: Sequence[str]) -> dict[str, int]:
        """Size of each file in bytes. Raises JobError if one is not there or the store does not let it be seen."""

    def read(self, parts: Sequence[Part], then: Callable[[Part, bytes], T]) -> list[T]:
        """Read parts and hand each to `then` as it comes; returns what that returned, in the order of `parts`.

        `then` raises nothing but JobError.
        """


class Files(Readable, Protocol):
    """Files of one bucket, or of this machine, which can be listed too."""

    one_level_by_pages: bool = True
    """Whether `below(deep=False)` comes page by page, so that the first page of a folder costs one request."""

    def glimpsed(self, keys: Sequence[str]) -> list[Found]:
        """Return what is there at each key; of a key that ends with a slash the first page below it."""
        pages = (next(iter(self.below(key, deep=key.endswith("/"))), ()) for key in keys)
        return [one for key, page in zip(keys, pages, strict=True) for one in page if one.key == key or key[-1] == "/"]

    def below(self, prefix: str, *, deep: bool = True) -> Iterator[Sequence[Found]]:
        """List what has a key that begins with `prefix`, page by page, in an order of the store's own.

        `prefix` is any beginning of keys: `t/`, `t/part-`, or nothing; on POSIX an absolute path. `deep=False` does
        not go into folders below the last slash of the prefix: they come as keys that end with a slash. Markers of
        folders, which some stores keep, come like that too. What is not there gives no page, or an empty one.
        Raises JobError; BucketNotFound if there is no such bucket.
        """


class Sized(Readable):
    """Files of which some sizes are known, and are not asked for again."""

    def __init__(self, files: Readable, known: Mapping[str, int]) -> None:
        """`known` has sizes in bytes by place, as Polars takes it."""
        self._files = files
        self._known = known

    def look(self, paths: Sequence[str]) -> dict[str, Found]:
        """Look at files."""
        return self._files.look(paths)

    def sizes(self, paths: Sequence[str]) -> dict[str, int]:
        """Ask for what is not known."""
        found = {path: self._known[path] for path in paths if path in self._known}
        missing = [path for path in paths if path not in found]
        return found | (self._files.sizes(missing) if missing else {})

    def read(self, parts: Sequence[Part], then: Callable[[Part, bytes], T]) -> list[T]:
        """Read parts."""
        return self._files.read(parts, then)


def staging(uid: str, attempt: int) -> str:
    """Key of the folder where an attempt keeps what it has not committed."""
    return f"{STAGING}{uid}/{attempt}"


def leads_out(key: str) -> bool:
    """Whether a key may mean something that is not below the table's folder; no key of ours has such parts."""
    return "\0" in key or any(part in ("", ".", "..") for part in key.split("/"))


def checked(key: str) -> str:
    """Return a key that stays below the table's folder; raises UnsafeStore for any other.

    The last guard: keys from what others wrote are checked before (output/genuine.py), with a better message.
    """
    if leads_out(key):
        raise JobError(Failure.UNSAFE_STORE, f"{clean(key, 200)!r} is no place in the table; nothing was done about it")
    return key


@dataclass(frozen=True)
class Stored:
    """An object that is there: key, size, and when it was last written (seconds since 1970)."""

    key: str
    bytes: int
    modified: float


@dataclass(frozen=True)
class Dangling:
    """An upload that was begun and neither completed nor aborted."""

    key: str
    """The key that it would become; on POSIX only the last part of it is known."""
    upload_id: str
    begun: float
    pieces: int | None = None
    """How many of its pieces are there; None where the store keeps all or none."""


def updated(once: Callable[[], bool | None], what: str) -> bool:
    """Update an object until it is done, or not to be done; `once` returns None where another was faster."""
    for _ in range(UPDATES):
        if (done := once()) is not None:
            return done
    raise JobError(Failure.STORAGE_UNAVAILABLE, f"updating {what}: others have written it {UPDATES} times meanwhile")


@dataclass(frozen=True)
class Piece:
    """One piece of a file: its number from 1, its offset, its bytes."""

    number: int
    offset: int
    body: bytes


class Store(Protocol):
    """A table's folder, with atomic creation and deferred uploads. Keys are relative to it.

    The one thing that a store must get right is `create`: of all callers that ever create one key, exactly one gets
    True. Every method may raise `JobError`, and may be called from many threads.
    """

    threads: int = 8
    """Calls that `parallel` makes at a time."""
    lost: str = "did somebody remove temporary files below _staging/?"
    """How an upload can have vanished between commit and publish, as a question."""

    def get(self, key: str) -> bytes | None:
        """Read an object; None if there is none."""

    def put(self, key: str, body: bytes) -> None:
        """Write an object, whole and at once, over an older one if there is one."""

    def create(self, key: str, body: bytes) -> bool:
        """Write an object if there is none; False if there is one (perhaps by an earlier try of this very call)."""

    def update(self, key: str, change: Callable[[bytes | None], bytes | None]) -> bool:
        """Write what `change` makes of an object (None if there is none), but only over just what it was given.

        So of several callers none undoes what another has written: `change` is called again with that. It returns None
        to leave the object as it is. Returns whether this caller has written. Raises UnsafeStore where the store cannot
        do it.
        """

    def size(self, key: str) -> int | None:
        """Size of an object in bytes; None if there is none."""

    def list(self, prefix: str, after: str = "") -> Iterator[Stored]:
        """List all objects below `prefix` (which ends with a slash) whose key sorts after `after`, sorted by key."""

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; those that are not there count as deleted."""

    def begin(self, key: str) -> str:
        """Begin an upload that stays invisible until it is completed; returns its id."""

    def upload(self, key: str, upload_id: str, piece: Piece) -> str:
        """Upload one piece of a file; returns what `complete` needs to know of it."""

    def complete(self, key: str, upload_id: str, pieces: Sequence[str]) -> bool:
        """Make an upload visible, whole and at once; False if there is no such upload (any more)."""

    def abort(self, key: str, upload_id: str) -> None:
        """Drop an upload; one that does not exist counts as dropped."""

    def has_sums(self, key: str) -> bool:
        """Whether what `upload` has returned for an object is the MD5 of each piece, if it has the form of one."""
        return True

    def can_be(self, upload_id: str, key: str, staging: str) -> bool:
        """Whether an upload of this id can have been begun for a key by an attempt that stages in `staging`."""

    def dangling(self, below: str = DATA) -> Iterable[Dangling]:
        """List all uploads whose key begins with `below` that are neither completed nor aborted; POSIX and GCS: all."""

    def check_key(self, key: str) -> None:
        """Raise `JobError(OUTPUT_LIMIT)` if the store cannot hold an object of this name."""

    def check_free(self, key: str) -> None:
        """Raise `JobError(UNSAFE_STORE)` if something that is no object keeps one from being made."""

    def parallel(self, work: Callable[[T], R], items: Sequence[T]) -> Sequence[R]:
        """Do independent calls on this store, several at a time; the first error is raised when all have ended."""
        if len(items) < 2:
            return [work(item) for item in items]
        with ThreadPoolExecutor(min(self.threads, len(items)), "store") as pool:
            return list(pool.map(work, items))
