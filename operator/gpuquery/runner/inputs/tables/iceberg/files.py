"""Read many objects at once, wherever a table has put them: manifests, footers, deletes."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from gpuquery.runner import stores
from gpuquery.runner.stores.base import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gpuquery.plan.plan import StoreAccess

T = TypeVar("T")


def place(location: str) -> str:
    """Return a location of the table's metadata as the stores take it: Hadoop has names of its own for S3 and files."""
    if location.startswith(("s3a://", "s3n://")):
        return f"s3{location[3:]}"
    if location.startswith("file:") and not location.startswith("file://"):
        return f"file://{location[5:]}"
    return location


def source(location: str) -> str:
    """Return what Polars' scans take. Raises JobError for a store that is not known."""
    at = place(location)
    return stores.of(at).source(at)


def root(location: str) -> str:
    """Return what the files of one scan have in common: bucket and credentials."""
    return stores.together(place(location))


def whole(location: str, access: StoreAccess) -> bytes:
    """Read an object of unknown size. Raises JobError."""
    at = place(location)
    files = stores.files(at, access)
    size = files.sizes([at])[at]
    return files.read([Part(at, 0, size)], lambda _, body: body)[0] if size else b""


def each(
    parts: Sequence[tuple[str, int, int]], access: StoreAccess, then: Callable[[str, bytes], T]
) -> Mapping[str, T]:
    """Read ranges (location, start, end), at most one a location; returns what `then` returned. Raises JobError."""
    known = {place(location): location for location, _, _ in parts}
    wanted = [Part(place(location), start, end) for location, start, end in parts]
    found = stores.Everywhere(access).read(wanted, lambda part, body: then(known[part.path], body))
    return dict(zip((location for location, _, _ in parts), found, strict=True))
