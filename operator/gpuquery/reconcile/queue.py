"""A keyed work queue: the heart of level-triggered work.

It makes four promises. A key that is added ten times while it waits is worked on once. A key is never worked on twice
at the same time; if it is added meanwhile, it comes again afterwards. A key can be added for later, and the earliest
time wins; work that begins before then cancels it, because each piece of work says when to come back. And tenants take
turns: however many keys one tenant has, a key of another waits for at most one key of each tenant ahead of it, and no
tenant gets all the workers. So events may be duplicated, reordered or come in storms: it is enough that one arrives.

The first three are the semantics of client-go's workqueue, whose AddAfter work does not cancel; the turns do what
priorities and API Priority and Fairness do there. Every step takes constant time.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

K = TypeVar("K")

FIRST_BACKOFF = 0.2
LONGEST_BACKOFF = 300.0


def everyone(_: object) -> Hashable:
    """Treat all keys as those of one tenant."""
    return None


class WorkQueue(Generic[K]):
    """Keys that wait for work. Not thread-safe: it belongs to one event loop.

    `tenant` says whose a key is. `most` is how many keys of one tenant are worked on at the same time; 0: any number.
    """

    def __init__(self, tenant: Callable[[K], Hashable] = everyone, *, most: int = 0) -> None:
        self._tenant = tenant
        self._most = most
        self._ready: dict[Hashable, deque[K]] = {}
        self._turns: deque[Hashable] = deque()
        """Tenants with a key that can be had now, in the order of their turns."""
        self._more = asyncio.Event()
        self._waiting: dict[K, float] = {}
        self._busy: set[K] = set()
        self._at_work: Counter[Hashable] = Counter()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}
        self._moved = time.monotonic()

    def __len__(self) -> int:
        """Return how many keys wait to be worked on now."""
        return len(self._waiting)

    @property
    def oldest(self) -> float:
        """Return for how many seconds the oldest key has been waiting; 0 if none waits."""
        # They stand in the order in which they were added.
        return max(0.0, time.monotonic() - next(iter(self._waiting.values()))) if self._waiting else 0.0

    @property
    def stalled(self) -> float:
        """Return for how many seconds keys have waited while work on none began or ended; 0 if none waits.

        Unlike the age of the oldest key, this does not grow with the number of keys that a tenant adds.
        """
        return min(self.oldest, time.monotonic() - self._moved)

    def add(self, key: K) -> None:
        """Ask for work on a key, now."""
        if key in self._waiting:
            return
        self._waiting[key] = time.monotonic()
        if key not in self._busy:
            self._offer(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Ask for work on a key later; if an earlier time was asked for, that one stays."""
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

    def _offer(self, key: K) -> None:
        tenant = self._tenant(key)
        keys = self._ready.setdefault(tenant, deque())
        keys.append(key)
        if len(keys) == 1 and not self._full(tenant):
            self._turns.append(tenant)
            self._more.set()

    def _full(self, tenant: Hashable) -> bool:
        return 0 < self._most <= self._at_work[tenant]

    async def get(self) -> K:
        """Wait for a key; `done` must follow."""
        while not self._turns:
            self._more.clear()
            await self._more.wait()
        tenant = self._turns.popleft()
        keys = self._ready[tenant]
        key = keys.popleft()
        self._at_work[tenant] += 1
        if not keys:
            del self._ready[tenant]
        elif not self._full(tenant):
            self._turns.append(tenant)
        del self._waiting[key]
        if (later := self._timers.pop(key, None)) is not None:
            later.cancel()
        self._busy.add(key)
        self._moved = time.monotonic()
        return key

    def done(self, key: K) -> None:
        """Work on the key has ended; if it was added meanwhile, it is ready again."""
        tenant = self._tenant(key)
        self._busy.discard(key)
        held = self._full(tenant) and tenant in self._ready
        self._at_work[tenant] -= 1
        if not self._at_work[tenant]:
            del self._at_work[tenant]
        if held:
            self._turns.append(tenant)
            self._more.set()
        if key in self._waiting:
            self._offer(key)
        self._moved = time.monotonic()

    def retry(self, key: K) -> float:
        """Work on the key failed: ask for it again after a pause that doubles; returns the pause in seconds."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        longest = min(FIRST_BACKOFF * 2.0 ** min(failures - 1, 30), LONGEST_BACKOFF)
        pause: float = longest * random.uniform(0.75, 1.0)  # noqa: S311 (jitter)
        self.add_after(key, pause)
        return pause

    def failures(self, key: K) -> int:
        """Return how many times in a row work on the key has failed."""
        return self._failures.get(key, 0)

    def forget(self, key: K) -> None:
        """Work on the key succeeded: the next failure pauses shortly again."""
        self._failures.pop(key, None)
