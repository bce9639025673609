"""Reading progress from pods: the pace, and what a failure means."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gpuquery.api.report import Phase
from gpuquery.kube import progress
from gpuquery.kube.progress import ProgressReader


@asynccontextmanager
async def pod(monkeypatch: pytest.MonkeyPatch, *bodies: str) -> AsyncIterator[ProgressReader]:
    """A pod on this machine that answers with these bodies, the last one for ever."""
    left = list(bodies)

    async def handle(_: web.Request) -> web.Response:
        return web.Response(text=left.pop(0) if len(left) > 1 else left[0])

    app = web.Application()
    app.router.add_get("/v1/progress", handle)
    async with TestServer(app, host="127.0.0.1") as server, aiohttp.ClientSession() as session:
        monkeypatch.setattr(progress, "PROGRESS_PORT", server.port)
        yield ProgressReader(session)


async def test_a_pod_is_read_and_then_left_alone_for_five_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    async with pod(monkeypatch, '{"phase": "running", "rows": 5, "new": 1}') as reader:
        reading = await reader.read("u1", "127.0.0.1")
        assert reading and reading.progress and (reading.progress.phase, reading.progress.rows) == (Phase.RUNNING, 5)
        assert await reader.read("u1", "127.0.0.1") is None
        assert await reader.read("u2", "127.0.0.1") is not None, "another pod has a pace of its own"
        reader.forget({"u1"})
        assert await reader.read("u1", "127.0.0.1") is not None


@pytest.mark.parametrize("body", ["", "not json", '{"phase": "unheard-of"}'])
async def test_one_miss_is_nothing_and_a_second_one_is_told(monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    monkeypatch.setattr(progress, "RETRY_SECONDS", 0.0)
    async with pod(monkeypatch, body) as reader:
        assert await reader.read("u1", "127.0.0.1") is None
        reading = await reader.read("u1", "127.0.0.1")
        assert reading and reading.progress is None and reading.error


async def test_a_pod_that_refuses_connections_is_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(progress, "PROGRESS_PORT", 1)
    async with aiohttp.ClientSession() as session:
        reader = ProgressReader(session)
        assert await reader.read("u1", "127.0.0.1") is None
        reading = await reader.read("u1", "127.0.0.1")
        assert reading and reading.error == "ClientConnectorError"


async def test_what_a_pod_answers_is_followed_nowhere_and_read_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "RETRY_SECONDS", 0.0)
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
        async with TestServer(app, host="127.0.0.1") as server, aiohttp.ClientSession() as session:
            monkeypatch.setattr(progress, "PROGRESS_PORT", server.port)
            reader = ProgressReader(session)
            await reader.read("u1", "127.0.0.1")
            reading = await reader.read("u1", "127.0.0.1")
            assert reading and reading.progress is None, handler.__name__
    assert "/elsewhere" not in asked
