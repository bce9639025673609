"""The client against an HTTP server that misbehaves as API servers do."""

from __future__ import annotations

import asyncio
import json
import socket
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import ApiClient, Configuration

from gpuquery.kube import client as kube
from gpuquery.kube.client import (
    DEEPEST,
    ApiError,
    KubeClient,
    Manifest,
    Resource,
    Scope,
    StaleError,
    UnreachableError,
    read_json,
)
from gpuquery.kube.connect import DEAD_SECONDS, KEEPALIVE, api_client

Answer = Callable[[web.Request], web.Response]


def failure(status: int, reason: str, **headers: str) -> Answer:
    body = {"kind": "Status", "status": "Failure", "reason": reason, "message": f"{reason}!", "code": status}
    return lambda _: web.json_response(
        body, status=status, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


def success(**body: object) -> Answer:
    return lambda _: web.json_response(body)


@asynccontextmanager
async def connected(handle: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[KubeClient]:
    """A client of a server that answers everything with a handler."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    async with TestServer(app) as server:
        configuration = Configuration()
        configuration.host = str(server.make_url("")).rstrip("/")
        subject = KubeClient(ApiClient(configuration))
        try:
            yield subject
        finally:
            await subject.close()


@asynccontextmanager
async def answering(*answers: Answer) -> AsyncIterator[tuple[KubeClient, list[web.Request]]]:
    """A server that gives these answers, the last one for ever, and the requests that it got."""
    asked: list[web.Request] = []

    async def handle(request: web.Request) -> web.Response:
        await request.read()
        asked.append(request)
        return answers[min(len(asked), len(answers)) - 1](request)

    async with connected(handle) as subject:
        yield subject, asked


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


async def test_a_status_is_applied_server_side_with_the_operators_field_manager() -> None:
    manifest = {"kind": "GpuQueryJob", "metadata": {"namespace": "ns", "name": "j"}, "status": {}}
    async with answering(success(kind="GpuQueryJob")) as (subject, asked):
        await subject.apply_status(manifest)
        (request,) = asked
        path = "/apis/gpuquery.io/v1alpha1/namespaces/ns/gpuqueryjobs/j/status"
        assert request.method == "PATCH" and request.path == path
        assert request.headers["Content-Type"] == "application/apply-patch+yaml"
        assert dict(request.query) == {"fieldManager": "gpuquery-operator", "force": "true"}
        assert json.loads(await request.text()) == manifest


async def test_what_is_made_has_no_field_that_the_api_server_would_leave_out() -> None:
    manifest = {"kind": "Job", "metadata": {"namespace": "ns", "name": "j"}}
    async with answering(success(kind="Job")) as (subject, asked):
        assert await subject.create(manifest) == {"kind": "Job"}
        (request,) = asked
        assert request.method == "POST" and request.path == "/apis/batch/v1/namespaces/ns/jobs"
        assert dict(request.query) == {"fieldManager": "gpuquery-operator", "fieldValidation": "Strict"}


async def test_a_conflict_over_a_quota_is_no_object_that_exists() -> None:
    manifest = {"kind": "Job", "metadata": {"namespace": "ns", "name": "j"}}
    async with answering(failure(409, "AlreadyExists")) as (subject, _):
        assert await subject.create(manifest) is None
    async with answering(failure(409, "Conflict")) as (subject, _):
        with pytest.raises(ApiError, match="Conflict"):
            await subject.create(manifest)


async def test_a_list_follows_its_pages_and_keeps_its_selectors() -> None:
    pages = [success(items=[{"n": 1}], metadata={"continue": "more"}), success(items=[{"n": 2}], metadata={})]
    async with answering(*pages) as (subject, asked):
        assert await subject.list(Resource.PODS, None, labels="a=b", fields="c=d") == [{"n": 1}, {"n": 2}]
        assert asked[1].query["continue"] == "more" and asked[1].query["labelSelector"] == "a=b"
        assert asked[0].path == "/api/v1/pods"


async def test_pages_grow_while_objects_are_small_and_shrink_where_they_are_large() -> None:
    def page(size: int) -> Answer:
        return success(items=[{"n": "x" * size}], metadata={"resourceVersion": "7", "continue": "more"})

    last = success(items=None, metadata={"resourceVersion": "7"})
    async with answering(page(10), page(10), page(8 * kube.PAGE_BYTES), page(2**24), last) as (subject, asked):
        found = [(len(p), version) async for p, version in subject.pages(Resource.JOBS, None, lambda found: 1)]
        assert found == [(1, "7")] * 4 + [(0, "7")]
        assert [int(request.query["limit"]) for request in asked] == [20, 40, 80, 9, 1]


async def test_of_the_objects_of_a_list_only_what_was_asked_for_is_held() -> None:
    alive: list[weakref.ref[Whole]] = []

    class Whole(dict[str, object]):
        """A dict that tells when it is gone."""

    def digest(found: dict[str, object]) -> object:
        whole = Whole(found)
        assert sum(ref() is not None for ref in alive) == 0, "the one before is gone"
        alive.append(weakref.ref(whole))
        return whole["n"]

    pages = [success(items=[{"n": n}], metadata={"continue": "more" if n < 3 else ""}) for n in range(4)]
    async with answering(*pages) as (subject, _):
        assert await subject.digested(Resource.PODS, "ns", digest) == [0, 1, 2, 3]


@asynccontextmanager
async def streaming(*pieces: bytes, status: int = 200) -> AsyncIterator[KubeClient]:
    """A server that sends a watch in these pieces and ends it."""

    async def handle(request: web.Request) -> web.StreamResponse:
        assert request.query["watch"] == "true" and request.query["allowWatchBookmarks"] == "true"
        assert request.headers["Accept"] == kube.METADATA_ONLY, "a large object would hold up those behind it"
        answer = web.StreamResponse(status=status)
        await answer.prepare(request)
        for piece in pieces:
            await answer.write(piece)
        return answer

    async with connected(handle) as subject:
        yield subject


async def watched(subject: KubeClient) -> list[tuple[str, object]]:
    events = subject.watch(Scope(Resource.JOBS, None), "5", lambda found: found.get("n"), opened=lambda: None)
    return [event async for event in events]


async def test_events_of_a_watch_come_whole_however_the_network_cuts_them_and_however_long_they_are() -> None:
    big = b'{"type": "ADDED", "object": {"n": 2, "x": "' + b"x" * 3_000_000 + b'"}}\n'
    pieces = (
        b'{"type": "ADDED", "obj',
        b'ect": {"n": 1}}\n' + big[:1000],
        big[1000:],
        b'{"type": "BOOKMARK", "object": {}}\n',
    )
    async with streaming(*pieces) as subject:
        assert await watched(subject) == [("ADDED", 1), ("ADDED", 2), ("BOOKMARK", None)]


async def test_of_a_long_event_of_a_watch_of_whole_objects_only_what_names_the_object_is_read() -> None:
    def event(size: int) -> bytes:
        # In the order in which the API server writes fields.
        metadata = {
            "name": f"p{size}", "generateName": "p", "namespace": "ns", "uid": "u1", "resourceVersion": "7",
            "generation": 1, "labels": {"gpuquery.io/job": "j"}, "annotations": {"labels": '"labels":{"a":"b"}' * size},
            "managedFields": [{"fieldsV1": {"f:metadata": {"f:labels": {}}}}],
        }  # fmt: skip
        pod = {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": {"labels": {}}, "status": {}}
        return json.dumps({"type": "ADDED", "object": pod}, separators=(",", ":")).encode() + b"\n"

    async def handle(request: web.Request) -> web.StreamResponse:
        assert request.query["labelSelector"] == "a" and request.headers["Accept"] == "application/json"
        answer = web.StreamResponse()
        await answer.prepare(request)
        for size in (1, 10_000):
            await answer.write(event(size))
        return answer

    async with connected(handle) as subject:
        scope = Scope(Resource.PODS, None, labels="a", whole=True)
        (_, short), (word, long) = [e async for e in subject.watch(scope, "5", lambda m: m, opened=lambda: None)]
    assert set(short) == {"kind", "apiVersion", "metadata", "spec", "status"}
    metadata = {
        "name": "p10000", "namespace": "ns", "uid": "u1", "resourceVersion": "7", "labels": {"gpuquery.io/job": "j"},
    }  # fmt: skip
    assert (word, long) == ("ADDED", {"metadata": metadata})


@pytest.mark.parametrize("version", ["5", ""])
async def test_a_status_of_an_older_version_is_stale_and_one_of_no_version_of_a_job_that_is_gone(version: str) -> None:
    manifest = {"metadata": {"namespace": "ns", "name": "j", "resourceVersion": version}}
    async with answering(failure(409, "Conflict")) as (subject, _):
        if version:
            with pytest.raises(StaleError):
                await subject.apply_status(manifest)
        else:
            assert await subject.apply_status(manifest) is None


class Heeding:
    """Notes what it is told of."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Resource, object]] = []

    def stored(self, resource: Resource, manifest: Manifest) -> None:
        self.told.append(("stored", resource, manifest["metadata"]["resourceVersion"]))

    def deleted(self, resource: Resource, namespace: str, name: str) -> None:
        self.told.append(("deleted", resource, name))


async def test_who_remembers_is_told_of_what_was_written_and_of_a_large_status_that_there_is_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    about = {"namespace": "ns", "name": "j"}
    async with answering(success(metadata={"resourceVersion": "7"})) as (subject, _):
        subject.heed = heed = Heeding()
        await subject.create({"kind": "Job", "metadata": about})
        await subject.merge(Resource.BATCH_JOBS, "ns", "j", {})
        await subject.apply_status({"metadata": about})
        await subject.delete(Resource.BATCH_JOBS, "ns", "j")
        monkeypatch.setattr(kube, "LARGEST_KEPT", 10)
        assert await subject.apply_status({"metadata": about}) is not None
    assert heed.told == [
        ("stored", Resource.BATCH_JOBS, "7"), ("stored", Resource.BATCH_JOBS, "7"), ("stored", Resource.JOBS, "7"),
        ("deleted", Resource.BATCH_JOBS, "j"), ("deleted", Resource.JOBS, "j"),
    ]  # fmt: skip


async def test_who_remembers_a_job_is_told_that_its_status_cannot_be_written_since_it_is_gone() -> None:
    async with answering(failure(404, "NotFound")) as (subject, _):
        subject.heed = heed = Heeding()
        assert await subject.apply_status({"metadata": {"namespace": "ns", "name": "j"}}) is None
    assert heed.told == [("deleted", Resource.JOBS, "j")]


async def test_what_is_no_json_is_no_answer_of_an_api_server() -> None:
    page: Answer = lambda _: web.Response(text="<html>welcome</html>")  # noqa: E731
    async with answering(page) as (subject, _):
        with pytest.raises(UnreachableError, match="no API server: b'<html>"):
            await subject.list(Resource.JOBS, None)
    async with streaming(b"<html>\n") as subject:
        with pytest.raises(UnreachableError, match="no API server"):
            await watched(subject)


async def test_lists_that_are_slow_to_come_hold_no_other_list_up() -> None:
    done = asyncio.Event()

    async def handle(request: web.Request) -> web.Response:
        if "slow" in request.path:
            await done.wait()
        return web.json_response({"items": [1]})

    async with connected(handle) as subject:
        slow = [asyncio.create_task(subject.list(Resource.PODS, "slow")) for _ in range(2 * kube.LISTS)]
        await asyncio.wait(slow, timeout=0.1)
        async with asyncio.timeout(10):
            assert await subject.list(Resource.PODS, "quick") == [1]
        done.set()
        await asyncio.gather(*slow)


async def test_an_error_that_comes_as_an_event_is_one() -> None:
    error = b'{"type": "ERROR", "object": {"code": 410, "reason": "Expired", "message": "too old"}}\n'
    async with streaming(error) as subject:
        with pytest.raises(ApiError, match="410 Expired: too old"):
            await watched(subject)
    async with streaming(b'{"reason": "Forbidden", "message": "no"}', status=403) as subject:
        with pytest.raises(ApiError, match="403 Forbidden: no"):
            await watched(subject)


async def test_a_watch_that_falls_silent_is_taken_for_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube, "SILENT_SECONDS", 0.1)
    done = asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b'{"type": "ADDED", "object": {"n": 1}}\n')
        await done.wait()
        return answer

    async with connected(handle) as subject:
        with pytest.raises(UnreachableError, match="watching /apis/"):
            await asyncio.wait_for(watched(subject), 10)
        done.set()


async def test_a_field_that_no_schema_has_is_a_refusal_and_is_not_asked_again() -> None:
    message = "failed to create typed patch object (ns/j; batch/v1, Kind=Job): .spec.a: field not declared in schema"

    def answer(_: web.Request) -> web.Response:
        return web.json_response({"reason": "", "message": message, "code": 500}, status=500)

    async with answering(answer) as (subject, asked):
        with pytest.raises(ApiError, match="field not declared in schema") as caught:
            await subject.apply_status({"kind": "GpuQueryJob", "metadata": {"namespace": "ns", "name": "j"}})
        assert caught.value.status == 422 and len(asked) == 1


@pytest.mark.parametrize(
    ("how", "named"),
    [
        pytest.param({"uid": "u1"}, {"uid": "u1"}, id="the UID, so that no namesake goes"),
        pytest.param({"uid": "u1", "version": "7"}, {"uid": "u1", "resourceVersion": "7"}, id="and the version read"),
    ],
)
async def test_a_delete_names_what_is_meant(how: dict[str, str], named: dict[str, str]) -> None:
    async with answering(failure(409, "Conflict")) as (subject, asked):
        assert await subject.delete(Resource.JOBS, "ns", "j", **how) is False
        assert json.loads(await asked[0].text())["preconditions"] == named


async def test_the_version_of_a_scope_costs_a_list_of_one_object_without_what_authors_write() -> None:
    page: Answer = lambda _: web.json_response({"metadata": {"resourceVersion": "7"}, "items": None})  # noqa: E731
    async with answering(page) as (subject, asked):
        assert await subject.version_of(Scope(Resource.PODS, "ns", "a-label")) == "7"
    (request,) = asked
    assert request.path == "/api/v1/namespaces/ns/pods" and dict(request.query) == {"limit": "1"}
    assert "as=PartialObjectMetadataList" in request.headers["Accept"]


async def test_an_event_that_exists_is_not_told_twice() -> None:
    async with answering(failure(409, "AlreadyExists")) as (subject, _):
        assert await subject.create_event({"metadata": {"namespace": "ns"}}) is False


async def test_a_proxys_page_is_an_error_with_its_text() -> None:
    page: Answer = lambda _: web.Response(text="<html>bad gateway</html>", status=400)  # noqa: E731
    async with answering(page) as (subject, _):
        with pytest.raises(ApiError, match="bad gateway"):
            await subject.get(Resource.PODS, "ns", "p")


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        pytest.param(b'{"a": [1, 1.5, "\xc3\xbc", null]}', {"a": [1, 1.5, "ü", None]}, id="as it is"),
        pytest.param(b'"\\ud800"', "\ud800", id="half a character, which only Python's parser takes"),
    ],
)
def test_json_is_read_as_by_python(raw: bytes, read: Any) -> None:
    assert read_json(raw) == json.loads(raw) == read


@pytest.mark.parametrize("levels", [300, 9000], ids="{} levels".format)
@pytest.mark.parametrize(("open_", "close"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_what_an_author_nests_without_end_ends_nothing(open_: bytes, close: bytes, levels: int) -> None:
    deep = open_ * levels + b"1" + close * levels
    read = read_json(b'{"items": [{"x": ' + deep + b', "text": "]}\\"]", "y": ' + deep + b'}, {"z": [{}]}]}')
    assert set(read["items"][0]) == {"x", "text", "y"}
    assert read["items"][0]["text"] == ']}"]' and read["items"][1] == {"z": [{}]}
    found, depth = read["items"][0]["y"], 3
    while not isinstance(found, str):
        found, depth = (found[0] if isinstance(found, list) else found["a"]), depth + 1
    assert (found, depth) == ("(nested too deeply to be read)", DEEPEST - 1)


def test_what_is_no_json_is_an_error_of_values() -> None:
    with pytest.raises(ValueError, match="Expecting value"):
        read_json(b"<html>")


async def test_a_connection_that_is_cut_off_is_noticed_within_half_a_minute() -> None:
    async with TestServer(web.Application()) as server:
        api = api_client(Configuration(host=str(server.make_url(""))))
        answer = await api.rest_client.request("GET", api.configuration.host)
        await answer.read()
        (pooled,) = [held for held, *_ in next(iter(api.rest_client.pool_manager.connector._conns.values()))]
        sock = pooled.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        idle, every, times, unconfirmed = (sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, o)) for o in KEEPALIVE)
        assert idle + every * times == DEAD_SECONDS == unconfirmed / 1000
        await api.close()
