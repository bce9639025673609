"""The trimmed copy of a resource: what it tells after lists, watches, and what happens between them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from gpuquery.kube import copy as copies
from gpuquery.kube.ability import Ability
from gpuquery.kube.client import ApiError, KubeClient, Manifest, Resource, Scope, UnreachableError
from gpuquery.kube.copy import Copy, Key, RestoredError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

Event = tuple[str, Manifest]


@dataclass(frozen=True)
class Item:
    version: str


def manifest(name: str, version: int) -> Manifest:
    return {"metadata": {"namespace": "marts", "name": name, "resourceVersion": str(version)}}


def bookmark(version: int) -> Event:
    return "BOOKMARK", {"metadata": {"resourceVersion": str(version)}}


class Script(KubeClient):
    """An API server that does what the test says, call by call, and then nothing more."""

    def __init__(self, *steps: Any) -> None:
        self.steps: Iterator[Any] = iter(steps)
        self.asked: list[str] = []
        self.now = "1000"
        self.over = asyncio.Event()

    async def _step(self, what: str) -> Any:
        self.asked.append(what)
        step = next(self.steps, None)
        if step is None:
            self.over.set()
            await asyncio.Event().wait()
        if isinstance(step, Exception):
            raise step
        return step

    async def version_of(self, scope: Scope) -> str:
        return self.now

    async def pages(
        self, resource: Resource, namespace: str | None, digest: Callable[[Manifest], Any], **_: Any
    ) -> AsyncIterator[tuple[list[Any], str]]:
        version, *pages = await self._step("list")
        for page in pages:
            yield [digest(found) for found in page], str(version)

    async def watch(
        self, scope: Scope, version: str, digest: Callable[[Manifest], Any], *, opened: Any
    ) -> AsyncIterator[tuple[str, Any]]:
        events = await self._step(f"watch from {version}")
        opened()
        for event in events:
            if isinstance(event, Exception):
                raise event
            yield event[0], digest(event[1])


async def follow(client: Script) -> tuple[list[tuple[str, str | None, bool]], Ability]:
    """Return what a copy tells while the API server does this: name, version or None, and whether a LIST told it."""
    changes: list[tuple[str, str | None, bool]] = []

    def tell(key: Key, item: Item | None, listed: bool) -> None:
        changes.append((key[1], item and item.version, listed))

    def trim(found: Manifest) -> Item:
        return Item(found["metadata"]["resourceVersion"])

    ability = Ability("watch")
    copy = Copy(client, Scope(Resource.JOBS, None), trim=trim, tell=tell, ability=ability)
    running, over = asyncio.create_task(copy.keep()), asyncio.create_task(client.over.wait())
    async with asyncio.timeout(10):
        await asyncio.wait({running, over}, return_when=asyncio.FIRST_COMPLETED)
    over.cancel()
    if running.done():
        running.result()
    running.cancel()
    return changes, ability


async def told(*steps: Any) -> tuple[list[tuple[str, str | None, bool]], Script, Ability]:
    """Return the same, and the API server."""
    client = Script(*steps)
    changes, ability = await follow(client)
    return changes, client, ability


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "FIRST_PAUSE", 0.0)


async def test_what_is_listed_and_what_is_watched_is_told_once() -> None:
    changes, client, _ = await told(
        (5, [manifest("a", 1)], [manifest("b", 2)]),
        [("MODIFIED", manifest("a", 6)), ("ADDED", manifest("c", 7)), ("DELETED", manifest("b", 8)), bookmark(9)],
    )
    assert changes == [("a", "1", True), ("b", "2", True), ("a", "6", False), ("c", "7", False), ("b", None, False)]
    assert client.asked == ["list", "watch from 5", "watch from 9"]


async def test_a_watch_that_breaks_goes_on_from_where_it_was_without_a_list() -> None:
    lost = UnreachableError("connection reset")
    changes, client, _ = await told((5, [manifest("a", 1)]), [("MODIFIED", manifest("a", 6)), lost], [])
    assert client.asked == ["list", "watch from 5", "watch from 6", "watch from 6"]
    assert changes == [("a", "1", True), ("a", "6", False)]


async def test_a_version_that_is_too_old_means_a_list_that_tells_missed_changes_and_deletions_only() -> None:
    gone = ApiError(410, "Expired", "too old resource version")
    changes, client, _ = await told(
        (5, [manifest("a", 1), manifest("b", 2), manifest("same", 3)]),
        [gone],
        (20, [manifest("a", 15), manifest("same", 3)]),
    )
    assert client.asked == ["list", "watch from 5", "list", "watch from 20"]
    assert changes[3:] == [("a", "15", True), ("b", None, True)]


async def test_an_error_of_the_server_in_a_watch_does_not_end_the_operator() -> None:
    broken = ApiError(500, "InternalError", "etcdserver: no leader")
    changes, client, _ = await told(
        UnreachableError("no answer"), ApiError(403, "Forbidden", "no"), (5, [manifest("a", 1)]), [broken], (6, []), []
    )
    assert client.asked == ["list", "list", "list", "watch from 5", "list", "watch from 6", "watch from 6"]
    assert changes == [("a", "1", True), ("a", None, True)]


async def test_a_watch_that_is_refused_while_lists_are_not_is_no_ability() -> None:
    refused = [ApiError(403, "Forbidden", "may not watch")] * 3
    lists = [(n, [manifest("a", 1)]) for n in range(1, 4)]
    steps = [step for pair in zip(lists, refused, strict=True) for step in pair]
    _, _, ability = await told(*steps)
    assert ability.missing() == "cannot watch: 403 Forbidden: may not watch"
    _, _, able = await told((1, []), [])
    assert able.missing() is None


async def test_an_api_server_that_goes_back_in_time_ends_the_copy_before_anything_of_it_is_told() -> None:
    gone = ApiError(410, "Expired", "too old resource version")
    with pytest.raises(RestoredError, match="jobs were at version 50 and are at 20"):
        await told((5, [manifest("a", 1)]), [bookmark(50), gone], (20, [manifest("a", 15)]))


@pytest.mark.parametrize("now", [pytest.param("20", id="restored"), pytest.param("50", id="only idle")])
async def test_a_watch_from_a_version_that_is_still_to_come_is_silent_and_is_found_out(now: str) -> None:
    """The API server opens it, and tells neither events nor bookmarks (apiserver 1.36, cache_watcher.go, process)."""
    silent = UnreachableError("watching: SocketTimeoutError")
    client = Script((5, []), [bookmark(50), silent], [])
    client.now = now
    if now == "50":
        await follow(client)
        assert client.asked == ["list", "watch from 5", "watch from 50", "watch from 50"], "no second list"
        return
    with pytest.raises(RestoredError, match="jobs were at version 50 and are at 20"):
        await follow(client)
    assert client.asked == ["list", "watch from 5"]
