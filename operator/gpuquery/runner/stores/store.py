"""What the commit protocol needs of a store, and nothing more.

Two stores exist: S3 (s3.py) and a POSIX file system (posix.py). All keys are relative to the output's folder. The one
thing that a store must get right is `create`: of all callers that ever create one key, exactly one is told True.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from gpuquery.api.reasons import Failure
from gpuquery.api.text import clean
from gpuquery.runner.failures.errors import JobError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

T = TypeVar("T")
R = TypeVar("R")

DATA = "data/"
STAGING = "_staging/"
COMMITS = "_commits/"


def staging(uid: str, attempt: int) -> str:
    """Key of the folder where an attempt keeps what it has not committed."""
    return f"{STAGING}{uid}/{attempt}"


def leads_out(key: str) -> bool:
    """Whether a key may mean something that is not below the table's folder; no key of ours has such parts."""
    return "\0" in key or any(part in ("", ".", "..") for part in key.split("/"))


def checked(key: str) -> str:
    """Return a key that stays below the table's folder; raises UnsafeStore for any other.

    The last fence: whoever makes keys of what others wrote has to check it before (genuine.py), and says what is wrong.
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


class Store(Protocol):
    """A folder with atomic creation and deferred uploads. Every method may raise `JobError`."""

    def get(self, key: str) -> bytes | None:
        """Read an object; None if there is none."""

    def put(self, key: str, body: bytes) -> None:
        """Write an object, over an older one if there is one."""

    def create(self, key: str, body: bytes) -> bool:
        """Write an object if there is none; False if there is one (perhaps by an earlier try of this very call)."""

    def size(self, key: str) -> int | None:
        """Size of an object in bytes; None if there is none."""

    def list(self, prefix: str, after: str = "") -> Iterator[Stored]:
        """List all objects whose key begins with `prefix` and sorts after `after`, sorted by key."""

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

    def can_be(self, upload_id: str, key: str, staging: str) -> bool:
        """Whether an upload of this id can have been begun for a key by whoever stages in the folder `staging`."""

    def dangling(self) -> Iterable[Dangling]:
        """List all uploads below data/ that are neither completed nor aborted."""

    def check_key(self, key: str) -> None:
        """Raise `JobError(OUTPUT_LIMIT)` if the store cannot hold an object of this name."""

    def check_free(self, key: str) -> None:
        """Raise `JobError(UNSAFE_STORE)` if something that is no object keeps one from being made."""

    def parallel(self, work: Callable[[T], R], items: Sequence[T]) -> Sequence[R]:
        """Do independent calls on this store, several at a time; the first error is raised when all have ended."""


@dataclass(frozen=True)
class Piece:
    """One piece of a file: its number from 1, its offset, its bytes."""

    number: int
    offset: int
    body: bytes
