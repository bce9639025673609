"""Reading progress from pods: beside the looks, at a pace of its own, and what a failure means."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gpuquery.api.report import Phase
from gpuquery.app import ending
from gpuquery.app.ending import end
from gpuquery.kube import progress
from gpuquery.reconcile import progress as readers
from gpuquery.reconcile.progress import Key, ProgressReader

if TYPE_CHECKING:
    from gpuquery.kube.progress import Reading

JOB = ("marts", "revenue")
ADDRESS = "127.0.0.1"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Readers:
    """Readers at work, and the news that they told."""

    subject: ProgressReader
    news: list[Key] = field(default_factory=list)

    async def until_news(self, count: int = 1) -> None:
        async with asyncio.timeout(10):
            while len(self.news) < count:  # noqa: ASYNC110 (it has no event, and needs none)
                await asyncio.sleep(0.005)

    def latest(self, uid: str = "u1", job: Key = JOB) -> Reading | None:
        return self.subject.latest(job, uid, ADDRESS)


@asynccontextmanager
async def reading(monkeypatch: pytest.MonkeyPatch, handler: Handler | None, **constants: Any) -> AsyncIterator[Readers]:
    """Readers of pods on this machine, all of which answer with a handler; None: nobody listens."""
    pace = {"EVERY_SECONDS": 0.01, "RETRY_SECONDS": 0.01, "LONGEST_PAUSE": 0.02, **constants}
    for name, value in pace.items():
        monkeypatch.setattr(readers, name, value)
    app = web.Application()
    if handler:
        app.router.add_get("/v1/progress", handler)
    async with TestServer(app, host=ADDRESS) as server, aiohttp.ClientSession() as session:
        monkeypatch.setattr(progress, "PROGRESS_PORT", server.port if handler else 1)
        news: list[Key] = []
        found = Readers(ProgressReader(session, news.append), news)
        running = found.subject.start()
        try:
            yield found
        finally:
            await end(running)


async def test_readers_end_though_an_answer_is_late_in_the_moment_in_which_they_have_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The loop lags for a moment, and then finds that both are due: that they have to end, and the timeout."""
    monkeypatch.setattr(progress, "TIMEOUT", aiohttp.ClientTimeout(total=0.2))
    monkeypatch.setattr(ending, "AGAIN_SECONDS", 0.1)

    async def never(_: web.Request) -> web.Response:
        await asyncio.sleep(1)
        return web.Response(text=RUNNING)

    async with asyncio.timeout(20), reading(monkeypatch, never) as found:
        found.latest()
        asyncio.get_running_loop().call_later(0.1, time.sleep, 0.2)
        await asyncio.sleep(0.15)


def bodies(*texts: str) -> Handler:
    """Answer with these bodies, the last one for ever."""
    left = list(texts)

    async def handle(_: web.Request) -> web.Response:
        return web.Response(text=left.pop(0) if len(left) > 1 else left[0])

    return handle


RUNNING = '{"phase": "running", "rows": 5, "new": 1}'


async def test_a_look_takes_what_is_known_and_news_ask_for_the_next_look(monkeypatch: pytest.MonkeyPatch) -> None:
    async with reading(monkeypatch, bodies(RUNNING, RUNNING, RUNNING, '{"phase": "running", "rows": 6}')) as found:
        assert found.latest() is None, "nothing is waited for"
        await found.until_news()
        first = found.latest()
        assert first and first.progress and (first.progress.phase, first.progress.rows) == (Phase.RUNNING, 5)
        await found.until_news(2)
        second = found.latest()
        assert second and second.progress and second.progress.rows == 6
        await asyncio.sleep(0.1)
        assert found.news == [JOB, JOB], "a reading that says the same is no news"


@pytest.mark.parametrize(
    "body", ["", "not json", '{"phase": "unheard-of"}', '{"phase": "running", "x": [' + "[" * 3000]
)
async def test_one_miss_is_nothing_and_a_second_one_is_told_once(monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    async with reading(monkeypatch, bodies(body)) as found:
        found.latest()
        await found.until_news()
        told = found.latest()
        assert told and told.progress is None and told.error
        await asyncio.sleep(0.1)
        assert found.news == [JOB]


async def test_a_single_miss_between_two_readings_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with reading(monkeypatch, bodies(RUNNING, "", RUNNING, "", RUNNING)) as found:
        found.latest()
        await asyncio.sleep(0.2)
        told = found.latest()
        assert found.news == [JOB] and told and told.progress


async def test_a_pod_that_refuses_connections_is_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    async with reading(monkeypatch, None) as found:
        found.latest()
        await found.until_news()
        told = found.latest()
        assert told and told.error == "ClientConnectorError"


async def test_the_pause_doubles_with_every_miss_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    async def broken(_: web.Request) -> web.Response:
        asked.append(time.monotonic())
        raise web.HTTPInternalServerError

    async with reading(monkeypatch, broken, RETRY_SECONDS=0.02, LONGEST_PAUSE=0.16) as found:
        found.latest()
        while len(asked) < 7:  # noqa: ASYNC110 (as above)
            await asyncio.sleep(0.01)
    pauses = [after - before for before, after in itertools.pairwise(asked)]
    for pause, least in zip(pauses, (0.02, 0.04, 0.08, 0.16, 0.16, 0.16), strict=True):
        assert least * 0.9 <= pause


async def test_a_query_that_stays_as_it_is_is_asked_more_seldom_until_something_happens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[float] = []

    async def alive(_: web.Request) -> web.Response:
        asked.append(time.monotonic())
        rows = 5 if len(asked) < 12 else 6
        return web.Response(text=f'{{"phase": "running", "rows": {rows}, "cpuSeconds": {len(asked)}}}')

    async with reading(monkeypatch, alive, EVERY_SECONDS=0.01, SHARE=0.5) as found:
        found.latest()
        while len(asked) < 14:  # noqa: ASYNC110 (as above)
            await asyncio.sleep(0.005)
        assert len(found.news) >= 13, "each sign of life is told"
    pauses = [after - before for before, after in itertools.pairwise(asked)]
    assert pauses[10] > 0.1, "half of the time for which nothing has happened"
    assert pauses[11] < pauses[10] / 2, "something has happened"


def test_a_pod_is_wanted_for_longer_than_it_is_left_alone_and_three_thousand_quiet_ones_cost_ten_reads_a_second() -> (
    None
):
    assert readers.QUIET_PAUSE < readers.WANTED_SECONDS
    assert 3000 / readers.QUIET_PAUSE <= 10


async def test_sixty_pods_that_never_answer_do_not_keep_another_namespaces_pod_from_being_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_once, most = 0, 0

    async def slow(request: web.Request) -> web.Response:
        nonlocal at_once, most
        if request.headers.get("Host", "").startswith("127.0.0.1"):
            at_once += 1
            most = max(most, at_once)
            try:
                await asyncio.sleep(5)
            finally:
                at_once -= 1
        return web.Response(text=RUNNING)

    async with reading(monkeypatch, slow) as found:
        for n in range(60):
            found.subject.latest(("mallory", f"slow-{n}"), f"u{n}", "127.0.0.1")
        await asyncio.sleep(0.1)
        began = time.monotonic()
        found.subject.latest(("alice", "small"), "other", "localhost")
        while ("alice", "small") not in found.news:  # noqa: ASYNC110 (as above)
            await asyncio.sleep(0.005)
        assert time.monotonic() - began < 4, "it waits for none of the answers, which take five"
        assert most == readers.MOST_OF_A_NAMESPACE


async def test_pods_that_have_ended_or_that_no_look_wants_any_more_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = 0

    async def counting(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.Response(text=RUNNING)

    async with reading(monkeypatch, counting, WANTED_SECONDS=0.2) as found:
        found.latest("ended")
        found.latest("unwanted")
        await found.until_news(2)
        found.subject.forget(JOB, {"ended"})
        assert found.latest("ended") is None, "it begins anew"
        await asyncio.sleep(0.5)
        before = asked
        await asyncio.sleep(0.2)
        assert asked == before and not found.subject._pods


async def test_what_a_pod_answers_is_followed_nowhere_and_read_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def elsewhere(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(text='{"phase": "running"}')

    async def redirect(_: web.Request) -> web.Response:
        raise web.HTTPFound("/elsewhere")

    async def endless(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        try:
            await answer.write(b'{"phase": "running", "more": "')
            for _ in range(1000):
                await answer.write(b"x" * 65536)
            await answer.write(b'"}')
        except ConnectionError:
            asked.append("cut")
        return answer

    for handler in (redirect, endless):
        app = web.Application()
        app.add_routes([web.get("/v1/progress", handler), web.get("/elsewhere", elsewhere)])
        async with TestServer(app, host=ADDRESS) as server, aiohttp.ClientSession() as session:
            monkeypatch.setattr(progress, "PROGRESS_PORT", server.port)
            assert (await progress.ask(session, ADDRESS)).progress is None, handler.__name__
    assert "/elsewhere" not in asked
