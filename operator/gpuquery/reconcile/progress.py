"""Readers of progress: they work beside the looks at jobs, and never within one.

A look takes the latest reading that is known and thereby says that the next one is wanted; a reading that says
something new asks for a look. So a pod that answers slowly, or never, costs nobody but itself: readers take turns among
namespaces, none of which has all of them, a pod whose query stays as it is is asked more seldom, and one that cannot be
read ever more so.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpuquery.kube import progress
from gpuquery.kube.progress import EVERY_SECONDS, Reading
from gpuquery.reconcile.queue import WorkQueue

if TYPE_CHECKING:
    from collections.abc import Callable

    import aiohttp

RETRY_SECONDS = 1.0
LONGEST_PAUSE = 120.0
"""Pause after many misses: each is four times the one before, from RETRY_SECONDS on. So a pod that does not answer is
asked four times in its first minute, and then every other minute."""
SHARE = 0.1
QUIET_PAUSE = 300.0
"""How seldom a pod is asked whose query has not changed for long: after a tenth of that time, from EVERY_SECONDS up to
this. As its CPU time grows, each reading is a status write: 3,000 quiet jobs, each read every 30 s, make 100 a second.
"""
PULSE = frozenset({"read_bytes", "cpu_seconds"})
"""What grows as long as a query is alive, however little happens."""
READERS = 16
MOST_OF_A_NAMESPACE = 4
"""Pods of one namespace that are read at the same time."""
WANTED_SECONDS = 600.0
"""How long a pod is read after the last look that wanted it; jobs that run are looked at more often."""

Key = tuple[str, str]
"""Namespace and name of a job."""
PodKey = tuple[str, str, str]
"""Those, and the UID of a pod of it."""


@dataclass
class _Pod:
    address: str
    wanted: float
    changed: float
    """When a reading said something new, beside a pulse."""
    misses: int = 0
    reading: Reading | None = None


def _content(reading: Reading) -> Any:
    """Return what a reading says, without the pulse; None where it says nothing."""
    return reading.progress.model_dump(exclude=set(PULSE)) if reading.progress is not None else None


def _namespace(key: PodKey) -> str:
    return key[0]


class ProgressReader:
    """Reads `/v1/progress` of pods at a pace; what it remembers may be lost without harm.

    `news` is called with a job of which a reading says something new.
    """

    def __init__(self, session: aiohttp.ClientSession, news: Callable[[Key], None]) -> None:
        self._session = session
        self._news = news
        self._pods: dict[PodKey, _Pod] = {}
        self._queue: WorkQueue[PodKey] = WorkQueue(_namespace, most=MOST_OF_A_NAMESPACE)

    def latest(self, job: Key, pod_uid: str, address: str) -> Reading | None:
        """Return the latest reading of a pod, None before there is one; and go on reading it for a while."""
        key, now = (*job, pod_uid), time.monotonic()
        pod = self._pods.get(key)
        if pod is None:
            pod = self._pods[key] = _Pod(address, now, now)
            self._queue.add(key)
        pod.address, pod.wanted = address, now
        return pod.reading

    def forget(self, job: Key, pod_uids: set[str]) -> None:
        """Drop what is remembered about pods of a job that have ended."""
        for uid in pod_uids:
            self._pods.pop((*job, uid), None)

    def start(self) -> set[asyncio.Task[None]]:
        """Begin to read; the tasks go on until they are cancelled."""
        return {asyncio.create_task(self._read_on()) for _ in range(READERS)}

    async def _read_on(self) -> None:
        while True:
            key = await self._queue.get()
            try:
                await self._read(key)
            finally:
                self._queue.done(key)

    async def _read(self, key: PodKey) -> None:
        pod = self._pods.get(key)
        if pod is None or time.monotonic() - pod.wanted > WANTED_SECONDS:
            self._pods.pop(key, None)
            return
        reading = await progress.ask(self._session, pod.address)
        if self._pods.get(key) is not pod:
            return  # it ended meanwhile
        if reading.progress is None:
            pod.misses += 1
            pause = min(RETRY_SECONDS * 4.0 ** min(pod.misses - 1, 10), LONGEST_PAUSE)
        else:
            now = time.monotonic()
            if pod.reading is None or _content(pod.reading) != _content(reading):
                pod.changed = now
            quiet = min(SHARE * (now - pod.changed), QUIET_PAUSE)
            pod.misses, pause = 0, max(EVERY_SECONDS, quiet)
        self._queue.add_after(key, pause)
        if pod.misses == 1:
            # No reading yet: a pod that is about to end refuses the connection before anyone knows.
            return
        before, pod.reading = pod.reading, reading
        if before is None or before.progress != reading.progress:
            self._news(key[:2])
