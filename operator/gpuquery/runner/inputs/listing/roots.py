"""Roots of tables: places whose files must not be read one by one, because only the table's log says which rows count.

A listing shows the log of a table in or below the listed folder. What it cannot show (a prefix that is narrower than
the folder, the table above a partition's folder) is looked up: two folders at most for one URI.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gpuquery.runner.inputs.listing.pattern import Pattern
    from gpuquery.runner.stores.base import Files, Found

MOST = 1000
"""Roots that one listing remembers; one is enough to refuse."""
METADATA = ".metadata.json"


class Kind(StrEnum):
    """Kinds of tables."""

    DELTA = "Delta"
    ICEBERG = "Iceberg"
    HUDI = "Hudi"
    OWN = "own"
    STREAM = "stream"
    """The sink of a stream of Spark, which leaves files of batches that have failed among the others."""


class Root(NamedTuple):
    """A folder that holds a table's log; with a slash at its end, or empty for a whole bucket."""

    folder: str
    kind: Kind


_LOGS = (
    ("_delta_log/", Kind.DELTA),
    (".hoodie/", Kind.HUDI),
    (".hoodie_partition_metadata", Kind.HUDI),
    ("_commits/", Kind.OWN),
    ("_spark_metadata/", Kind.STREAM),
)


def root_of(key: str) -> Root | None:
    """Return the root of a table if a key is in, or is, its log."""
    for log, kind in _LOGS:
        if log in key:
            before = key[: key.index(log)]
            if not before or before.endswith("/"):
                return Root(before, kind)
    if key.endswith(METADATA):
        folder = key.rpartition("/")[0]
        if folder == "metadata" or folder.endswith("/metadata"):
            return Root(folder[: -len("metadata")], Kind.ICEBERG)
    return None


def above(pattern: Pattern) -> Iterable[str]:
    """Return the folders of which a listing of a pattern does not show the log, nearest first, two at most."""
    folder = pattern.folder
    narrow = pattern.exact or pattern.prefix != folder
    found = [folder] if narrow and "=" not in _last(folder) else []
    up = _parent(folder)
    while up is not None and "=" in _last(folder):
        folder, up = up, _parent(up)
    if folder != pattern.folder:
        found.append(folder)
    if up and (_last(folder) == "data" or folder == pattern.folder):
        found.append(up)
    return found[:2]


def look(folder: str, files: Files, *, remote: bool) -> list[Root]:
    """Look for the log of a table in one folder, by a request for each kind at most.

    Sees nothing where it may not list.
    """
    try:
        if not remote:
            shown = [one for start in ("_", ".hoodie", "metadata") for one in _first(files, folder + start)]
        elif not files.one_level_by_pages:
            # A listing of one level would have all of it.
            shown = files.glimpsed([f"{folder}{log}" for log in (*(log for log, _ in _LOGS), "metadata/")])
        else:
            shown = _first(files, folder)
            if len(shown) >= MOST and not any(one.key > f"{folder}_" for one in shown):
                shown += _first(files, f"{folder}_")
        found = [root for one in shown if (root := root_of(one.key)) and root.folder == folder]
        if not found and any(one.key == f"{folder}metadata/" for one in shown):
            found = [root for one in _first(files, f"{folder}metadata/") if (root := root_of(one.key))]
    except JobError as exc:
        if exc.failure is Failure.STORAGE_AUTH:
            return []
        raise
    return found


def _first(files: Files, prefix: str) -> list[Found]:
    page: Sequence[Found] = next(iter(files.below(prefix, deep=False)), ())
    return list(page)


def _parent(folder: str) -> str | None:
    """Return the folder above one; None above a bucket."""
    head = folder.rstrip("/").rpartition("/")
    return None if not folder.strip("/") else head[0] + head[1]


def _last(folder: str) -> str:
    return folder.rstrip("/").rpartition("/")[2]
