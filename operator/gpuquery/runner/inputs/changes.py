"""Whether files are still those that were resolved: looked at before a commit, and after a reader's error.

A file that was replaced while it was read gives rows of two files, or an error that blames the wrong thing. So sizes
and versions are compared with what the listing told.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from gpuquery.api.reasons import Failure
from gpuquery.runner import stores
from gpuquery.runner.failures.errors import JobError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.inputs.base import File, Resolved
    from gpuquery.runner.stores.base import Files, Found

LOOKED_AT = 32
"""Up to so many files of a bucket are looked at one by one, which needs no right to list."""
STRAY = 20_000
"""Other files in a listing after which it is given up, and files are looked at one by one."""

AT_A_TIME = 1000
"""Files that are looked at before it is said which has changed."""


def changed(resolved: Mapping[str, Resolved], access: StoreAccess) -> str | None:
    """Say which file has changed since it was resolved, and how; None if none has. Raises JobError.

    The first file of the first such input is named. Where no version is known, a file that was replaced by another one
    of the same size goes unseen.
    """
    for name, one in resolved.items():
        if (why := _changed(one.files, access)) is not None:
            return f'input "{name}": {why}'
    return None


def _changed(files: Sequence[File], access: StoreAccess) -> str | None:
    buckets: dict[str, list[File]] = {}
    for file in files:
        buckets.setdefault(stores.together(file.uri), []).append(file)
    told = dict(found for several in buckets.values() if (found := _first_changed(several, access)) is not None)
    return next((told[file] for file in files if file in told), None) if told else None


def _first_changed(files: Sequence[File], access: StoreAccess) -> tuple[File, str] | None:
    opened = stores.files(files[0].uri, access)
    found: dict[str, Found] = {}
    if len(files) > LOOKED_AT and stores.of(files[0].uri).remote:
        found = _listed({_key(file.uri): file.uri for file in files}, opened)
    # What a listing does not show, or shows otherwise, is looked at: not every store lists what was just written.
    doubtful = [file for file in files if _difference(file, found.get(file.uri)) is not None]
    for at in range(0, len(doubtful), AT_A_TIME):
        some = doubtful[at : at + AT_A_TIME]
        now = opened.look([file.uri for file in some])
        for file in some:
            if (why := _difference(file, now.get(file.uri))) is not None:
                return file, why
    return None


def _listed(wanted: Mapping[str, str], files: Files) -> dict[str, Found]:
    """Find files, by place, in a listing of the folder that holds all of them."""
    folder = posixpath.commonpath([posixpath.dirname(key) for key in wanted])
    found: dict[str, Found] = {}
    seen = 0
    try:
        for page in files.below(f"{folder}/" if folder else ""):
            seen += len(page)
            found |= {wanted[one.key]: one for one in page if one.key in wanted}
            if len(found) == len(wanted) or seen - len(found) > STRAY:
                break
    except JobError as exc:
        # Files of a table, and files that were named, are found without the right to list.
        if exc.failure is not Failure.STORAGE_AUTH:
            raise
    return found


def _difference(file: File, now: Found | None) -> str | None:
    if now is None:
        return f"{file.uri} was deleted after it was resolved: it had {file.bytes:,} bytes"
    if now.bytes != file.bytes:
        how = "has grown" if now.bytes > file.bytes else "has shrunk"
        return f"{file.uri} {how} after it was resolved: from {file.bytes:,} bytes to {now.bytes:,}"
    if file.version and now.version and now.version != file.version:
        return f"{file.uri} was replaced after it was resolved, by a file that has {now.bytes:,} bytes as well"
    return None


def _key(uri: str) -> str:
    return uri.partition("://")[2].partition("/")[2]
