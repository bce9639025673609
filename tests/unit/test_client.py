"""The client against an HTTP server that misbehaves as API servers do."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import ApiClient, Configuration

from gpuquery.kube import client as kube
from gpuquery.kube.client import ApiError, KubeClient, Resource, UnreachableError

Answer = Callable[[web.Request], web.Response]


def failure(status: int, reason: str, **headers: str) -> Answer:
    body = {"kind": "Status", "status": "Failure", "reason": reason, "message": f"{reason}!", "code": status}
    return lambda _: web.json_response(
        body, status=status, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


def success(**body: object) -> Answer:
    return lambda _: web.json_response(body)


@asynccontextmanager
async def answering(*answers: Answer) -> AsyncIterator[tuple[KubeClient, list[web.Request]]]:
    """A server that gives these answers, the last one for ever, and the requests that it got."""
    asked: list[web.Request] = []

    async def handle(request: web.Request) -> web.Response:
        await request.read()
        asked.append(request)
        return answers[min(len(asked), len(answers)) - 1](request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    async with TestServer(app) as server:
        configuration = Configuration()
        configuration.host = str(server.make_url("")).rstrip("/")
        subject = KubeClient(ApiClient(configuration))
        try:
            yield subject, asked
        finally:
            await subject.close()


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses take no time; the fixture tells how long they would have been."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(kube.asyncio, "sleep", sleep)
    return pauses


async def test_a_busy_api_server_is_asked_again_after_the_pause_that_it_names(no_pause: list[float]) -> None:
    async with answering(failure(429, "TooManyRequests", Retry_After="7"), success(metadata={})) as (subject, asked):
        assert await subject.get(Resource.PODS, "ns", "p") == {"metadata": {}}
        assert len(asked) == 2 and no_pause == [7.0]
        assert subject.requests == {("get", "429"): 1, ("get", "200"): 1}


async def test_no_pause_is_longer_than_half_a_minute_whatever_the_server_names(no_pause: list[float]) -> None:
    async with answering(failure(429, "TooManyRequests", Retry_After="86400"), success()) as (subject, _):
        await subject.get(Resource.PODS, "ns", "p")
        assert no_pause == [30]


async def test_an_api_server_that_stays_broken_is_given_up_with_its_words() -> None:
    async with answering(failure(503, "ServiceUnavailable")) as (subject, asked):
        with pytest.raises(ApiError, match="503 ServiceUnavailable: ServiceUnavailable!"):
            await subject.get(Resource.PODS, "ns", "p")
        assert len(asked) == kube.ATTEMPTS


async def test_a_refusal_is_not_asked_again() -> None:
    async with answering(failure(403, "Forbidden")) as (subject, asked):
        with pytest.raises(ApiError, match="403"):
            await subject.list(Resource.PODS, "ns")
        assert len(asked) == 1


async def test_a_server_that_does_not_answer_is_told_from_one_that_refuses() -> None:
    configuration = Configuration()
    configuration.host = "http://127.0.0.1:1"
    subject = KubeClient(ApiClient(configuration))
    with pytest.raises(UnreachableError, match="GET /api/v1/namespaces/ns/pods/p"):
        await subject.get(Resource.PODS, "ns", "p")
    assert subject.requests["get", "error"] == kube.ATTEMPTS
    await subject.close()


async def test_what_is_not_there_is_none() -> None:
    async with answering(failure(404, "NotFound")) as (subject, _):
        assert await subject.get(Resource.PODS, "ns", "p") is None
        assert await subject.delete(Resource.PODS, "ns", "p") is False
        assert await subject.apply_status({"metadata": {"namespace": "ns", "name": "j"}}) is None


async def test_an_apply_is_server_side_with_the_operators_field_manager() -> None:
    manifest = {"kind": "Job", "metadata": {"namespace": "ns", "name": "j"}}
    async with answering(success(kind="Job")) as (subject, asked):
        await subject.apply(manifest)
        (request,) = asked
        assert request.method == "PATCH" and request.path == "/apis/batch/v1/namespaces/ns/jobs/j"
        assert request.headers["Content-Type"] == "application/apply-patch+yaml"
        assert dict(request.query) == {"fieldManager": "gpuquery-operator", "force": "true"}
        assert json.loads(await request.text()) == manifest


async def test_a_list_follows_its_pages_and_keeps_its_selectors() -> None:
    pages = [success(items=[{"n": 1}], metadata={"continue": "more"}), success(items=[{"n": 2}], metadata={})]
    async with answering(*pages) as (subject, asked):
        assert await subject.list(Resource.PODS, None, labels="a=b", fields="c=d") == [{"n": 1}, {"n": 2}]
        assert asked[1].query["continue"] == "more" and asked[1].query["labelSelector"] == "a=b"
        assert asked[0].path == "/api/v1/pods"


async def test_a_delete_names_the_uid_so_that_no_namesake_goes() -> None:
    async with answering(failure(409, "Conflict")) as (subject, asked):
        assert await subject.delete(Resource.JOBS, "ns", "j", uid="u1") is False
        assert json.loads(await asked[0].text())["preconditions"] == {"uid": "u1"}


async def test_an_event_that_exists_is_not_told_twice() -> None:
    async with answering(failure(409, "AlreadyExists")) as (subject, _):
        assert await subject.create_event({"metadata": {"namespace": "ns"}}) is False


async def test_a_proxys_page_is_an_error_with_its_text() -> None:
    page: Answer = lambda _: web.Response(text="<html>bad gateway</html>", status=400)  # noqa: E731
    async with answering(page) as (subject, _):
        with pytest.raises(ApiError, match="bad gateway"):
            await subject.get(Resource.PODS, "ns", "p")
