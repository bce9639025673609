"""A keyed work queue: the heart of level-triggered work.

It promises three things. A key that is added ten times while it waits is worked on once. A key is never worked on twice
at the same time; if it is added meanwhile, it comes again afterwards. And a key can be added for later, where the
earliest time wins. So events may be duplicated, reordered or storm: what counts is that at least one comes.

The semantics are those of client-go's workqueue.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Generic, TypeVar

K = TypeVar("K")

FIRST_BACKOFF = 0.2
LONGEST_BACKOFF = 300.0


class WorkQueue(Generic[K]):
    """Keys that wait for work. Not thread-safe: it belongs to one event loop."""

    def __init__(self) -> None:
        self._ready: asyncio.Queue[K] = asyncio.Queue()
        self._waiting: dict[K, float] = {}
        self._busy: set[K] = set()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}

    def __len__(self) -> int:
        """Return how many keys wait to be worked on now."""
        return len(self._waiting)

    @property
    def oldest(self) -> float:
        """Return for how many seconds the oldest key has been waiting; 0 if none waits."""
        if not self._waiting:
            return 0.0
        return max(0.0, time.monotonic() - min(self._waiting.values()))

    def add(self, key: K) -> None:
        """Ask for work on a key, now."""
        if key in self._waiting:
            return
        self._waiting[key] = time.monotonic()
        if key not in self._busy:
            self._ready.put_nowait(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Ask for work on a key later; an earlier time that was asked for stays."""
        if seconds <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        pending = self._timers.get(key)
        if pending is not None:
            if pending.when() <= loop.time() + seconds:
                return
            pending.cancel()
        self._timers[key] = loop.call_later(seconds, self._due, key)

    def _due(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)

    async def get(self) -> K:
        """Wait for a key; `done` must follow."""
        key = await self._ready.get()
        self._waiting.pop(key, None)
        self._busy.add(key)
        return key

    def done(self, key: K) -> None:
        """Work on the key has ended; if it was added meanwhile, it is ready again."""
        self._busy.discard(key)
        if key in self._waiting:
            self._ready.put_nowait(key)

    def retry(self, key: K) -> float:
        """Work on the key failed: ask for it again after a pause that doubles; returns the pause in seconds."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        longest = min(FIRST_BACKOFF * 2.0 ** min(failures - 1, 30), LONGEST_BACKOFF)
        pause: float = longest * random.uniform(0.75, 1.0)  # noqa: S311 (jitter)
        self.add_after(key, pause)
        return pause

    def forget(self, key: K) -> None:
        """Work on the key succeeded: the next failure pauses shortly again."""
        self._failures.pop(key, None)
