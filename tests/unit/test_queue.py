"""The work queue: deduplication, one at a time, later, and backoff."""

from __future__ import annotations

import asyncio

from gpuquery.reconcile.queue import LONGEST_BACKOFF, WorkQueue


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
