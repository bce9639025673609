"""What a Delta table says of itself, for `gpuquery fsck`: its newest version, and what older ones have named."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from gpuquery.runner.inputs.tables.delta import log, vectors
from gpuquery.runner.output.fsck import Finding, Level
from gpuquery.runner.output.tables.check import File, Told
from gpuquery.runner.output.tables.delta.state import State, actions_of
from gpuquery.runner.stores.base import leads_out

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuquery.runner.inputs.tables.delta.actions import Added
    from gpuquery.runner.output.tables.delta.place import Target

ABSOLUTE = re.compile(r"/|[A-Za-z][A-Za-z0-9+.-]*:")
"""How paths of the log begin that are not below the table."""


def told(target: Target) -> Told:
    """Read the whole log. Raises JobError where the newest version cannot be read."""
    found = log.listed(target, until=-1)
    state = State(target)
    state.load()
    live = list(state.snapshot.files.values()) if state.snapshot else []
    inside = [one for one in live if not ABSOLUTE.match(one.path) and not leads_out(unquote(one.path))]
    named = {unquote(one.path) for one in inside}
    for body in target.store.parallel(target.store.get, [log.commit_key(one) for one in found.commits]):
        acts = (one.get(kind) for one in actions_of(body or b"") for kind in ("add", "remove"))
        named |= {unquote(str(act.get("path"))) for act in acts if isinstance(act, dict)}
    deleted = sum(one.vector.rows for one in live if one.vector is not None)
    files = [File(unquote(one.path), one.bytes, rows_of(one)) for one in inside]
    gone = {place for one in inside for place in _vector(one)}
    return Told(
        len(found.commits), [*files, *(File(key) for key in sorted(gone))], frozenset(named), len(live),
        sum(rows_of(one) or 0 for one in live) - deleted, sum(one.bytes or 0 for one in live),
        [*_gaps(found), *_outside(len(live) - len(inside))],
    )  # fmt: skip


def rows_of(one: Added) -> int | None:
    """Return how many rows a file has, by its statistics, those included that a vector deletes."""
    try:
        rows = json.loads(one.statistics or "{}").get("numRecords")
    except (ValueError, AttributeError):
        return None
    return rows if isinstance(rows, int) and rows >= 0 else None


def _vector(one: Added) -> Iterator[str]:
    """Keys of files with deletion vectors."""
    if one.vector is not None and one.vector.storage == "u":
        try:
            yield vectors.path(one.vector.where)
        except vectors.BrokenVectorError:
            return


def _gaps(found: log.Log) -> Iterator[Finding]:
    for version in sorted(set(range(min(found.commits, default=0), found.newest)) - set(found.commits)):
        text = f"{log.commit_key(version)} is missing: not all earlier versions can be read"
        yield Finding(Level.WARNING, text, "restore it from a backup, or from older versions of the bucket")


def _outside(count: int) -> Iterator[Finding]:
    if count:
        yield Finding(Level.NOTE, f"{count:,} files are outside of the table's folder, and were not looked for")
