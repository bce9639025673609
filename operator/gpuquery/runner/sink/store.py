"""What the commit protocol needs of a store, and nothing more.

Two stores exist: S3 (s3.py) and a POSIX file system (posix.py). All keys are relative to the output's folder. The one
thing that a store must get right is `create`: of all callers that ever create one key, exactly one is told True.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")

DATA = "data/"
STAGING = "_staging/"
COMMITS = "_commits/"


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

    def dangling(self) -> Iterable[Dangling]:
        """List all uploads below data/ that are neither completed nor aborted."""

    def check_key(self, key: str) -> None:
        """Raise `JobError(OUTPUT_LIMIT)` if the store cannot hold an object of this name."""

    def parallel(self, work: Callable[[T], R], items: Sequence[T]) -> Sequence[R]:
        """Do independent calls on this store, several at a time; the first error is raised when all have ended."""


@dataclass(frozen=True)
class Piece:
    """One piece of a file: its number from 1, its offset, its bytes."""

    number: int
    offset: int
    body: bytes
