"""Files that are not what they were when their input was resolved: deleted, or replaced by others."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from gpuquery.api.reasons import Failure
from gpuquery.runner import stores
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs import listing
from gpuquery.runner.inputs.explain.text import MAX_FILES, bounded, short

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.inputs.base import File, Resolved


def told(resolved: Resolved, access: StoreAccess) -> str | None:
    """Name the files that have changed since; None if none has, or where that cannot be found out.

    Costs one listing of the input. The files of a table's snapshot never change.
    """
    if resolved.snapshot or not resolved.files:
        return None
    with contextlib.suppress(JobError):
        found = [text for file in _changed(resolved, access)[:MAX_FILES] if (text := _how(file, resolved, access))]
        if found:
            return bounded(
                f'input "{resolved.item.name}": {"; ".join(found)}; run the job again when its files no longer change'
            )
    return None


def _changed(resolved: Resolved, access: StoreAccess) -> Sequence[tuple[File, File | None]]:
    """The files that a listing shows otherwise now, with what it shows."""
    now: dict[str, File] = {}
    with contextlib.suppress(Exception):  # nothing is there any more
        now = {file.uri: file for file in listing.listed(resolved.item, access).files}
    pairs = [(file, now.get(file.uri)) for file in resolved.files]
    return [(was, there) for was, there in pairs if there is None or _facts(there) != _facts(was)]


def _facts(file: File) -> tuple[int, str]:
    return file.bytes, file.version


def _how(pair: tuple[File, File | None], resolved: Resolved, access: StoreAccess) -> str:
    was, there = pair
    if there is None:
        try:
            # By itself: a listing may be refused, or be late.
            size = stores.files(was.uri, access).sizes([was.uri])[was.uri]
        except JobError as error:
            gone = error.failure is Failure.INVALID_INPUT
            return f"{short(was.uri)} was deleted after the input was resolved" if gone else ""
        there = was._replace(bytes=size)
    if was.bytes != there.bytes:
        return f"{short(was.uri)} had {was.bytes:,} bytes when the input was resolved, and has {there.bytes:,} now"
    if was.version != there.version:
        return f"{short(was.uri)} was replaced by another file of the same size after the input was resolved"
    return ""
