"""`output.keepFailed`: where the rows of a result stay that is not as expected, and when they go.

    _failed/<uid>/keep-7d                                  for how long, in the words of the job
    _failed/<uid>/<attempt>/<k=v>/part-....parquet         the rows

What was staged cannot be read: its uploads are not complete, and their keys are those of the table. Where files are
whole (Delta, Iceberg), those of the attempt are removed all the same, so that nobody can ever commit them. So each rank
writes the copies of its files, which it has kept in scratch (kept.py), once more, below a name that begins with `_`:
readers and clean-ups of tables pass over such names.

Whoever writes to the table later removes what is over: by the newest object of a job, as the sweeps judge the age of
what others have left. Names are all that is read, so one listing is enough. They are claims of whoever may write to
the table: they can keep or remove what is in the folder of that very job, and nothing else.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuquery.api import ages
from gpuquery.api.reasons import Failure
from gpuquery.api.text import clean
from gpuquery.api.timing import ABORT_SECONDS
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.stores import classify
from gpuquery.runner.output.upload import MIB, Uploads, Wanted
from gpuquery.runner.output.writer import told_to_stop
from gpuquery.runner.stores.base import leads_out

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from gpuquery.runner.output.tables.base import Asked, Table
    from gpuquery.runner.stores.base import Store, Stored

_LOG = logging.getLogger(__name__)

FAILED = "_failed/"
MAX_WHY = 300
"""Characters of the reason why rows could not be kept."""
_UID = "[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
_KEY = re.compile(
    rf"{FAILED}(?P<uid>{_UID})/(?:keep-(?P<age>{ages.AGE})|[1-9][0-9]{{0,8}}/(?:[^/]+/)*[^/]+\.parquet)", re.DOTALL
)


@dataclass(frozen=True)
class Kept:
    """What one rank has kept."""

    rows: int = 0
    files: int = 0
    wrong: str = ""
    """Why not all of it could be kept."""


@dataclass(frozen=True)
class Left:
    """What a job has left in the table's folder."""

    uid: str
    files: Sequence[str]
    """Keys of the files."""
    terms: Mapping[str, str]
    """For how long, by the key of what says so."""
    until: float | None
    """In seconds since 1970; None if nothing says for how long."""

    @property
    def over(self) -> bool:
        """Whether it may go."""
        return self.until is not None and time.time() > self.until

    @property
    def folder(self) -> str:
        """Key of its folder."""
        return f"{FAILED}{self.uid}/"


def place(asked: Asked, root: str) -> str:
    """URI of the folder that gets an attempt's rows, with a slash at its end."""
    return f"{root.rstrip('/')}/{_folder(asked)}"


def keep(table: Table, asked: Asked, copies: Mapping[str, Path]) -> Kept:
    """Write the copies of this rank's files, by their paths in the table. Says what went wrong, and raises nothing."""
    if not copies:
        return Kept()
    halt = threading.Event()
    uploads = Uploads(table.store, stop=halt, wanted=Wanted(_folder(asked), completes=True))
    mine = f"{asked.identity.uid}/{asked.identity.attempt}/"  # a table may have this folder below data/ already
    try:
        table.store.put(f"{FAILED}{asked.identity.uid}/keep-{asked.plan.output.keep_failed}", b"")
        for path, copy in copies.items():
            with copy.open("rb") as source, uploads.open(path.removeprefix(mine), {}) as target:
                while data := source.read(MIB):
                    if asked.stop.is_set():
                        raise told_to_stop()
                    target.write(data)
        files = uploads.finish()
    except Exception as exc:
        halt.set()
        with suppress(JobError):
            uploads.abandon(table.hurried, ABORT_SECONDS)
        return Kept(wrong=clean(classify(exc, "keeping its rows").message, MAX_WHY))
    finally:
        uploads.close()
    return Kept(sum(file.rows for file in files), len(files))


def found(store: Store) -> Sequence[Left]:
    """Return what jobs have left, by UID."""
    items: dict[str, list[Stored]] = defaultdict(list)
    terms: dict[str, dict[str, str]] = defaultdict(dict)
    for item in store.list(FAILED):
        if (key := _KEY.fullmatch(item.key)) is None or leads_out(item.key):
            continue  # nothing of ours: it stays
        items[key["uid"]].append(item)
        if key["age"]:
            terms[key["uid"]][item.key] = key["age"]
    return [_left(uid, theirs, terms[uid]) for uid, theirs in items.items()]


def remove(store: Store, left: Sequence[Left]) -> None:
    """Remove what jobs have left. What says for how long goes last: without it nobody would remove the rest."""
    for one in left:
        store.delete(one.files)
        store.delete([*one.terms])


def sweep(store: Store) -> None:
    """Remove what is over. That it cannot be seen or removed keeps no job from writing."""
    try:
        remove(store, [one for one in found(store) if one.over])
    except JobError as exc:
        if exc.failure is not Failure.STORAGE_AUTH:
            raise
        _LOG.warning("cannot remove rows that were kept: %s", exc.message)


def _left(uid: str, items: Sequence[Stored], terms: Mapping[str, str]) -> Left:
    newest = max(item.modified for item in items)
    until = newest + max(map(ages.seconds, terms.values())) if terms else None
    return Left(uid, [item.key for item in items if item.key not in terms], terms, until)


def _folder(asked: Asked) -> str:
    return f"{FAILED}{asked.identity.uid}/{asked.identity.attempt}/"
