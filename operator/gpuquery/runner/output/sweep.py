"""Drops the uploads that crashed attempts left behind, and never those that a live one needs.

Invisible uploads cost money until they are dropped. An upload's owner is in its file name. Those of earlier attempts of
this job are dropped at once: the operator starts an attempt only when the one before is gone. Those of other jobs are
dropped after a day without a renewed lease (every attempt renews one while it writes). A fence comes first in both
cases, because "gone" is never certain. A fence is not needed for what nobody needs to commit: the lists of inputs of
jobs that have staged nothing, or nothing any more.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from typing import TYPE_CHECKING

from gpuquery.plan.plan import JobRef
from gpuquery.runner.output.record import owner_of, parse_part
from gpuquery.runner.stores.base import STAGING, Dangling, Store, Stored, staging

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpuquery.runner.output.commit import Committer

STALE_SECONDS = 24 * 3600
LEASE_SECONDS = 3600
LEASE = ".lease"
"""Ending of the objects that show that an attempt writes."""
LEFT = "inputs"
"""Name of what a preflight leaves for the attempts of its job."""
_NEEDLESS = re.compile(rf"[^/]+/(?:{LEFT}|[0-9]+/(?:rank-[0-9]{{5}}\.(?:inputs|lease)|probe-[0-9a-f]{{16}}))")
"""What is staged and needed for no commit, as the keys below STAGING are: without it an attempt does the work again."""

_STAGED = re.compile(r"[^/]+/(?P<attempt>[1-9][0-9]{0,8})/rank-[0-9]{5}\.(?:json|kept-[0-9]{5,9})")
"""What an attempt commits from: nobody may delete it while that attempt may commit."""


def lease_key(uid: str, attempt: int, rank: int) -> str:
    """Key of the object whose age says whether a rank is alive."""
    return f"{staging(uid, attempt)}/rank-{rank:05d}{LEASE}"


def sweep(store: Store, committer: Committer, job: JobRef, attempt: int) -> int:
    """Drop uploads of this job's earlier attempts and of jobs that died a day ago; returns how many."""
    mine, strangers = [], []
    for upload in store.dangling():
        part = parse_part(upload.key)
        if part is None:
            continue  # not ours: another program uploads here
        owner, number = part
        if owner == owner_of(job.uid):
            if number < attempt:
                mine.append(upload)
        elif time.time() - upload.begun > STALE_SECONDS:
            strangers.append(upload)
    dropped = 0
    if mine and committer.fence(job, attempt - 1):
        dropped += _drop(store, mine)
    if strangers:
        dropped += _sweep_strangers(store, committer, strangers)
    return dropped


def sweep_finished(store: Store, uid: str) -> int:
    """Drop all uploads of a job whose commit is published: it needs none."""
    return _drop(store, [u for u in store.dangling() if (parse_part(u.key) or ("", 0))[0] == owner_of(uid)])


def needless(staged: Iterable[Stored]) -> list[str]:
    """Of all that is staged, return the keys of what nobody needs of jobs that gave no sign of life for a day."""
    signs: dict[str, float] = defaultdict(float)
    keys: dict[str, list[str]] = defaultdict(list)
    for item in staged:
        below = item.key.removeprefix(STAGING)
        uid = below.partition("/")[0]
        signs[uid] = max(signs[uid], item.modified)
        if _NEEDLESS.fullmatch(below):
            keys[uid].append(item.key)
    return [key for uid, theirs in keys.items() if time.time() - signs[uid] > STALE_SECONDS for key in theirs]


def given_up(staged: Iterable[Stored]) -> dict[tuple[str, int], list[str]]:
    """Return what was staged for commits, by (owner, attempt), of jobs that gave no sign of life for a day.

    Their uploads may be gone, so that no sweep of uploads finds them: dropped by a later attempt, or by the bucket.
    """
    signs: dict[str, float] = defaultdict(float)
    keys: dict[tuple[str, int], list[str]] = defaultdict(list)
    for item in staged:
        below = item.key.removeprefix(STAGING)
        owner = owner_of(below.partition("/")[0])
        signs[owner] = max(signs[owner], item.modified)
        if found := _STAGED.fullmatch(below):
            keys[owner, int(found["attempt"])].append(item.key)
    return {one: theirs for one, theirs in keys.items() if time.time() - signs[one[0]] > STALE_SECONDS}


def _sweep_strangers(store: Store, committer: Committer, uploads: Iterable[Dangling]) -> int:
    signs: dict[str, float] = defaultdict(float)
    objects: dict[str, list[str]] = defaultdict(list)
    for item in store.list(STAGING):
        owner = owner_of(item.key.removeprefix(STAGING).partition("/")[0])
        signs[owner] = max(signs[owner], item.modified)
        objects[owner].append(item.key)
    by_owner: dict[str, list[Dangling]] = defaultdict(list)
    for upload in uploads:
        by_owner[(parse_part(upload.key) or ("", 0))[0]].append(upload)
    dropped = 0
    for owner, theirs in by_owner.items():
        if time.time() - signs[owner] <= STALE_SECONDS:
            continue
        newest = max((parse_part(u.key) or ("", 0))[1] for u in theirs)
        if not committer.fence(JobRef(namespace="", name="", uid=owner), newest):
            committer.settle()  # it has committed: first finish what it needs, the rest is waste
        dropped += _drop(store, theirs)
        store.delete(objects[owner])
    return dropped


def _drop(store: Store, uploads: list[Dangling]) -> int:
    store.parallel(lambda upload: store.abort(upload.key, upload.upload_id), uploads)
    return len(uploads)
