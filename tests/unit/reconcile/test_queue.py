"""The work queue: deduplication, one at a time, later, and backoff."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from gpuquery.reconcile import queue as queues
from gpuquery.reconcile.queue import LONGEST_BACKOFF, WorkQueue

if TYPE_CHECKING:
    import pytest


async def test_a_key_that_is_added_often_is_worked_on_once() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for _ in range(10):
        queue.add("a")
    queue.add("b")
    assert len(queue) == 2
    assert [await queue.get(), await queue.get()] == ["a", "b"]
    assert len(queue) == 0 and queue.oldest == 0


async def test_a_key_is_never_worked_on_twice_at_once_and_comes_again_if_it_was_added_meanwhile() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    key = await queue.get()
    queue.add("a")
    second = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    assert not second.done()
    queue.done(key)
    assert await asyncio.wait_for(second, 1) == "a"


async def test_no_key_is_lost_however_workers_and_events_interleave() -> None:
    queue: WorkQueue[int] = WorkQueue()
    busy: set[int] = set()
    seen: list[int] = []

    async def worker() -> None:
        while True:
            key = await queue.get()
            assert key not in busy
            busy.add(key)
            await asyncio.sleep(0)
            seen.append(key)
            busy.discard(key)
            queue.done(key)

    workers = [asyncio.create_task(worker()) for _ in range(4)]
    for _round in range(20):
        for key in range(10):
            queue.add(key)
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        while len(queue) or busy:  # noqa: ASYNC110 (the queue has no such event, and needs none)
            await asyncio.sleep(0)
    for task in workers:
        task.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    assert set(seen) == set(range(10))


async def test_of_two_later_times_the_earlier_one_wins() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 60)
    queue.add_after("a", 0.01)
    queue.add_after("a", 30)
    assert await asyncio.wait_for(queue.get(), 5) == "a"
    assert len(queue) == 0


async def test_work_that_begins_takes_the_place_of_work_that_was_asked_for_later() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 0.02)
    queue.add("a")
    assert await queue.get() == "a"
    queue.done("a")
    await asyncio.sleep(0.04)
    assert len(queue) == 0


async def test_what_is_asked_for_while_work_goes_on_stays() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    await queue.get()
    queue.add_after("a", 0.01)
    queue.done("a")
    assert await asyncio.wait_for(queue.get(), 5) == "a"


async def test_pauses_double_with_jitter_up_to_five_minutes_and_begin_anew_after_a_success() -> None:
    queue: WorkQueue[str] = WorkQueue()
    pauses = [queue.retry("a") for _ in range(40)]
    assert 0.1 < pauses[0] <= 0.2 < pauses[2] and pauses[-1] > LONGEST_BACKOFF / 2
    assert max(pauses) <= LONGEST_BACKOFF
    queue.forget("a")
    assert queue.retry("a") <= 0.2


async def test_the_age_of_the_oldest_key_tells_of_workers_that_hang() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    await asyncio.sleep(0.02)
    assert queue.oldest >= 0.02


def tenant(key: tuple[str, int]) -> str:
    return key[0]


def queue_of(most: int = 0) -> WorkQueue[tuple[str, int]]:
    return WorkQueue(tenant, most=most)


async def test_five_thousand_keys_of_one_tenant_delay_another_ones_key_by_one() -> None:
    queue = queue_of()
    for n in range(5000):
        queue.add(("mallory", n))
    queue.add(("alice", 0))
    order = [await queue.get() for _ in range(3)]
    assert order == [("mallory", 0), ("alice", 0), ("mallory", 1)]


@given(
    flood=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    begun=st.integers(0, 10),
    workers=st.integers(1, 16),
)
async def test_a_key_waits_for_one_key_of_each_other_tenant_at_most(flood: list[int], begun: int, workers: int) -> None:
    queue = queue_of()
    for number, keys in enumerate(flood):
        for n in range(keys):
            queue.add((f"tenant-{number}", n))
    at_work = [await queue.get() for _ in range(min(begun, workers, sum(flood)))]
    queue.add(("alice", 0))
    before = 0
    while True:
        if len(at_work) == workers:
            queue.done(at_work.pop(0))
        key = await queue.get()
        at_work.append(key)
        if key == ("alice", 0):
            break
        before += 1
    assert before <= len(flood)


async def test_no_tenant_has_all_the_workers_to_itself() -> None:
    queue = queue_of(most=3)
    for n in range(10):
        queue.add(("mallory", n))
    slow = [await queue.get() for _ in range(3)]
    other = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    assert not other.done(), "the rest of the workers are kept for others"
    queue.add(("alice", 0))
    assert await asyncio.wait_for(other, 1) == ("alice", 0)
    queue.done(slow[0])
    assert await asyncio.wait_for(queue.get(), 1) == ("mallory", 3), "one that ends makes room for the next"


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, 3)), max_size=60), st.integers(0, 3))
async def test_no_key_is_lost_and_none_is_worked_on_twice_at_once_whatever_the_bound(
    added: list[tuple[str, int]], most: int
) -> None:
    queue, seen, busy = queue_of(most), Counter[tuple[str, int]](), Counter[str]()

    async def worker() -> None:
        while True:
            key = await queue.get()
            busy[key[0]] += 1
            assert not most or busy[key[0]] <= most
            await asyncio.sleep(0)
            seen[key] += 1
            busy[key[0]] -= 1
            queue.done(key)

    workers = [asyncio.create_task(worker()) for _ in range(4)]
    for number, key in enumerate(added):
        queue.add(key)
        if number % 3 == 0:
            await asyncio.sleep(0)
    async with asyncio.timeout(5):
        while len(queue) or any(busy.values()):  # noqa: ASYNC110 (as above)
            await asyncio.sleep(0)
    for task in workers:
        task.cancel()
    assert not [r for r in await asyncio.gather(*workers, return_exceptions=True) if isinstance(r, AssertionError)]
    assert seen.keys() == set(added)


async def test_a_tenant_that_floods_the_queue_does_not_make_it_look_stalled(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(queues.time, "monotonic", lambda: now)
    queue = queue_of()
    for n in range(100):
        queue.add(("mallory", n))
    for _ in range(5):
        now += 60
        queue.done(await queue.get())
    assert queue.oldest == 300 and queue.stalled == 0
    now += 301
    assert queue.stalled == 301, "nobody takes a key any more"
