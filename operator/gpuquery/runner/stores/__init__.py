"""Where files are read and written. This is the registry of stores, which everyone asks.

A store is one module (or folder) that implements `base.Backend`, and one line here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures import stores as faults
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.stores import vended
from gpuquery.runner.stores.az import Az
from gpuquery.runner.stores.base import Readable
from gpuquery.runner.stores.gs import Gs
from gpuquery.runner.stores.posix import Posix
from gpuquery.runner.stores.s3 import S3
from gpuquery.runner.stores.web import Web

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.stores.base import Backend, Files, Found, Location, Part

T = TypeVar("T")

STORES: dict[str, Backend] = {
    "s3": S3(),
    "gs": Gs(),
    "abfss": Az("abfss", "abfss://container@account.dfs.core.windows.net/folder"),
    "az": Az("az", "az://container/folder"),
    "https": Web("https"),
    "http": Web("http"),
    "file": Posix(),
}
"""All stores, by the scheme of their URIs. What has no scheme is a file of this machine."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")

faults.EXPLAINERS = STORES.values()


def of(uri: str) -> Backend:
    """Return the store of a URI or path. Raises JobError(InvalidPlan)."""
    found = _SCHEME.match(uri)
    if (store := STORES.get(found[1] if found else "file")) is None:
        raise _no_place(uri)
    return store


def locate(uri: str) -> Location:
    """Split a URI. Raises JobError(InvalidPlan) where it is none."""
    if (place := of(uri).locate(uri)) is None:
        raise _no_place(uri)
    return place


def files(uri: str, access: StoreAccess) -> Files:
    """Return the way to the file at a URI or path and to its neighbours. Raises JobError."""
    return of(uri).files(uri, access)


def bucket(uri: str) -> str:
    """Return scheme and bucket of a URI; nothing for a file of this machine."""
    scheme, found, rest = uri.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}" if found and scheme != "file" else ""


def together(uri: str) -> str:
    """Return what files have in common that one client reads: bucket and credentials."""
    return vended.place(uri) or bucket(uri)


class Everywhere(Readable):
    """Files of any buckets and stores, each of which is opened once."""

    def __init__(self, access: StoreAccess) -> None:
        self._access = access
        self._opened: dict[str, Files] = {}

    def look(self, paths: Sequence[str]) -> dict[str, Found]:
        """Look at files, bucket by bucket."""
        return {path: one for some in self._apart(paths) for path, one in self._of(some[0]).look(some).items()}

    def sizes(self, paths: Sequence[str]) -> dict[str, int]:
        """Ask for sizes, bucket by bucket."""
        return {path: size for some in self._apart(paths) for path, size in self._of(some[0]).sizes(some).items()}

    def read(self, parts: Sequence[Part], then: Callable[[Part, bytes], T]) -> list[T]:
        """Read parts, bucket by bucket."""
        numbers: dict[str, list[int]] = {}
        for number, part in enumerate(parts):
            numbers.setdefault(together(part.path), []).append(number)
        found: dict[int, T] = {}
        for some in numbers.values():
            there = self._of(parts[some[0]].path)
            found |= zip(some, there.read([parts[number] for number in some], then), strict=True)
        return [found[number] for number in range(len(parts))]

    def _of(self, path: str) -> Files:
        if (there := self._opened.get(together(path))) is None:
            there = self._opened[together(path)] = files(path, self._access)
        return there

    @staticmethod
    def _apart(paths: Sequence[str]) -> Iterable[list[str]]:
        apart: dict[str, list[str]] = {}
        for path in paths:
            apart.setdefault(together(path), []).append(path)
        return apart.values()


def scan_options(access: StoreAccess, uri: str) -> dict[str, Any] | None:
    """Return `storage_options` for Polars' scans of a URI or path."""
    return of(uri).scan_options(uri, access)


def scan_arguments(access: StoreAccess, uri: str) -> dict[str, Any]:
    """Return how Polars' scans reach a file of a table: `storage_options`, and vended credentials."""
    loan = vended.of(uri)
    return {"storage_options": scan_options(access, uri), **({"credential_provider": loan} if loan else {})}


def check(uris: Iterable[str], access: StoreAccess) -> None:
    """Check within seconds that the stores of these URIs answer. Raises JobError with the way out."""
    places: dict[Backend, list[Location]] = {}
    for uri in uris:
        places.setdefault(of(uri), []).append(locate(uri))
    for store, there in places.items():
        store.check(there, access)


def _no_place(uri: str) -> JobError:
    examples = " or ".join(store.example for scheme, store in STORES.items() if scheme != "http")
    return JobError(Failure.INVALID_PLAN, f"{uri!r} is not a place for data: write {examples}")
