"""Removes the files of dead attempts from tables whose files are complete objects, and never those in use.

No reader finds these files, but they cost money. Which attempts there are is told by what they stage (a lease, before
the first file). Those of earlier attempts of this job are removed at once: the operator starts an attempt only when the
one before is gone. Those of other jobs are removed after a day without a sign of life. The attempt's permit is voided
first in both cases, because "gone" is never certain; and the table is asked last which files it names, because what
lies in a folder proves nothing.
"""

from __future__ import annotations

import re
import time
from abc import abstractmethod
from collections import defaultdict
from typing import TYPE_CHECKING, Protocol

from gpuquery.runner.output.record import owner_of, parse_part
from gpuquery.runner.output.sweep import LEASE, STALE_SECONDS, needless
from gpuquery.runner.output.tables.permit import NAME, Permit
from gpuquery.runner.stores.base import STAGING, leads_out

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gpuquery.runner.stores.base import Store, Stored

BASE = "base"
"""Name of what an attempt leaves that asks for its commit, where the mark of a commit can be lost: only a job that has
left another mark removes it."""
_LASTING = (f"/{NAME}", f"/{BASE}")
_KEY = re.compile(
    rf"{STAGING}(?P<uid>[A-Za-z0-9][A-Za-z0-9._-]{{0,127}})/(?:(?P<attempt>[1-9][0-9]{{0,8}})/.+|[^/]+)", re.DOTALL
)
"""What a runner may have staged; anyone may put other things there."""


class Known(Protocol):
    """What a table knows about files and commits."""

    below: str

    @abstractmethod
    def committed_by(self, uid: str) -> int | None:
        """The attempt that has committed for a job; None if none has. 0 if it is not known which."""

    @abstractmethod
    def files_of(self, uid: str, attempt: int) -> Iterable[str]:
        """Keys of the data files that an attempt has made."""

    @abstractmethod
    def unnamed(self, keys: Sequence[str]) -> Sequence[str]:
        """Those of the data files that no version of the table names, as of now."""


def sweep(store: Store, table: Known, uid: str, attempt: int) -> int:
    """Remove what earlier attempts of this job and jobs that died a day ago have left; returns how many files."""
    removed = 0
    for owner, attempts in _staged(store.list(STAGING)).items():
        if owner == uid:
            dead = [number for number in attempts if number < attempt]
        elif time.time() - max(item.modified for items in attempts.values() for item in items) > STALE_SECONDS:
            dead = list(attempts)
        else:
            continue
        for number in dead:
            # What belongs to no attempt (0) is deleted by `tidy`; what lasts shows by itself that all else is gone.
            if number and any(not item.key.endswith(_LASTING) for item in attempts[number]):
                removed += _remove(store, table, owner, number, attempts[number])
    return removed


def tidy(store: Store, table: Known, uid: str, but: int | None = None) -> int:
    """Remove what a job that has committed does not need, and all that it has staged; returns how many files.

    `but` is an attempt whose files the caller looks after.
    """
    removed = 0
    everything = list(store.list(STAGING))
    staged = _staged(everything).get(uid, {})
    for attempt in staged:
        if attempt not in (0, but):
            removed += _unneeded(store, table, uid, attempt)
    mine = [item.key for items in staged.values() for item in items]
    # A lease is what shows an attempt that has left files: it goes with them.
    others = [key for key in needless(everything) if not key.endswith(LEASE) and not leads_out(key)]
    store.delete([*mine, *others])
    return removed


def _staged(items: Iterable[Stored]) -> Mapping[str, Mapping[int, Sequence[Stored]]]:
    """What is staged, by UID and attempt; 0 for what belongs to no attempt."""
    found: dict[str, dict[int, list[Stored]]] = defaultdict(lambda: defaultdict(list))
    for item in items:
        if (key := _KEY.fullmatch(item.key)) is not None and not leads_out(item.key):
            found[key["uid"]][int(key["attempt"] or 0)].append(item)
    return {uid: {**attempts} for uid, attempts in found.items()}


def _remove(store: Store, table: Known, uid: str, attempt: int, staged: Sequence[Stored]) -> int:
    committed = table.committed_by(uid) is not None
    if not committed and not Permit(uid, attempt).void(store):
        return 0  # it may be committing right now
    removed = _unneeded(store, table, uid, attempt)
    lasting = f"/{BASE}" if committed else _LASTING
    store.delete([item.key for item in staged if not item.key.endswith(lasting)])
    return removed


def _unneeded(store: Store, table: Known, uid: str, attempt: int) -> int:
    """Remove the attempt's files that the table does not name, and its uploads. It cannot commit any more."""
    mark = (owner_of(uid), attempt)
    for upload in store.dangling(table.below):
        if parse_part(upload.key) == mark:
            store.abort(upload.key, upload.upload_id)
    keys = [key for key in table.files_of(uid, attempt) if parse_part(key) == mark]
    unnamed = list(table.unnamed(keys)) if keys else []
    store.delete(unnamed)
    return len(unnamed)
