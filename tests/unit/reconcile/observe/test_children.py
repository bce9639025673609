"""The memory of what a job has: when it is relied on, when looks wait, and when the API server is asked."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from gpuquery.api.labels import LABEL_ATTEMPT, LABEL_DASK, LABEL_JOB, LABEL_JOB_UID, LABEL_PREFLIGHT
from gpuquery.kube import copy as copies
from gpuquery.kube.client import ApiError, KubeClient, Manifest, Resource, Scope, UnreachableError
from gpuquery.reconcile.observe import children
from gpuquery.reconcile.observe.children import Children, Family, Key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

KEY = ("marts", "revenue")
UID = "uid-of-revenue"
DASK = Resource.DASK_CLUSTERS


def labelled(name: str, version: int, **more: Any) -> Manifest:
    labels = {LABEL_JOB: "revenue", LABEL_JOB_UID: UID}
    return {
        "namespace": "marts",
        "name": name,
        "uid": f"u-{name}",
        "resourceVersion": str(version),
        "labels": labels,
        **more,
    }


def batch(name: str = "revenue-1", version: int = 1, *, ended: bool = False, **metadata: Any) -> Manifest:
    conditions = [{"type": "Complete", "status": "True"}] if ended else []
    return {"metadata": labelled(name, version, **metadata), "spec": {}, "status": {"conditions": conditions}}


def pod(name: str = "revenue-1-x", version: int = 2, *, phase: str = "Running", **status: Any) -> Manifest:
    owner = {"kind": "Job", "name": "revenue-1", "uid": "u-revenue-1", "controller": True}
    return {
        "metadata": labelled(name, version, ownerReferences=[owner]),
        "spec": {},
        "status": {"phase": phase, **status},
    }


def cluster(version: int = 3, **metadata: Any) -> Manifest:
    owner = {"kind": "GpuQueryJob", "name": "revenue", "uid": UID, "controller": True}
    return {"metadata": labelled("revenue-1", version, **{"ownerReferences": [owner], **metadata})}


def owned(**owner: Any) -> Manifest:
    found = pod(version=20)
    found["metadata"]["ownerReferences"][0] |= owner
    return found


class Server(KubeClient):
    """An API server of which each watch is fed by the test."""

    def __init__(self, *clusters: Manifest) -> None:
        self.listed: dict[Resource, list[Manifest]] = {Resource.BATCH_JOBS: [batch()], Resource.PODS: [pod()]}
        if clusters:
            self.listed[Resource.DASK_CLUSTERS] = list(clusters)
        self.version = 9
        self.events: dict[Resource, asyncio.Queue[Any]] = {kind: asyncio.Queue() for kind in self.listed}
        self.open = asyncio.Event()
        self.open.set()
        self.lists = self.watches = 0
        self.refused: ApiError | None = None
        self.refuses = set(self.listed)

    async def version_of(self, scope: Scope) -> str:
        return str(self.version)

    async def pages(
        self, resource: Resource, namespace: str | None, digest: Callable[[Manifest], Any], **how: Any
    ) -> AsyncIterator[tuple[list[Any], str]]:
        assert how["query"] == {"labelSelector": LABEL_JOB_UID}
        self.lists += 1
        if self.refused and resource in self.refuses:
            raise self.refused
        await self.open.wait()
        yield [digest(found) for found in self.listed[resource]], str(self.version)

    async def watch(
        self, scope: Scope, version: str, digest: Callable[[Manifest], Any], *, opened: Callable[[], None]
    ) -> AsyncIterator[tuple[str, Any]]:
        assert scope.labels == LABEL_JOB_UID
        assert scope.whole == (scope.resource is not DASK), "of a DaskCluster the metadata is enough"
        self.watches += 1
        opened()
        while True:
            event = await self.events[scope.resource].get()
            if isinstance(event, Exception):
                raise event
            yield event[0], digest(event[1])

    async def tell(self, word: str, manifest: Manifest, resource: Resource = Resource.PODS) -> None:
        """Send an event, and wait until it was taken."""
        await self.fail((word, manifest), resource)

    async def fail(self, event: Any, resource: Resource = Resource.PODS) -> None:
        """Send what a watch ends with, and wait until it was taken."""
        self.events[resource].put_nowait(event)
        while not self.events[resource].empty():  # noqa: ASYNC110 (a queue has no event for it)
            await asyncio.sleep(0)
        for _ in range(5):
            await asyncio.sleep(0)


class Subject(Children):
    """A memory with a clock, and the jobs that it had looked at."""

    def __init__(self, server: Server) -> None:
        self.now = 100.0
        self.woken: list[Key] = []
        super().__init__(server, [None], self.woken.append, dask=DASK in server.listed, clock=lambda: self.now)

    def family(self) -> Family:
        found = self.of(KEY, UID)
        assert found is not None
        return found


async def until(so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not so():  # noqa: ASYNC110 (there is no such event)
            await asyncio.sleep(0.001)


@asynccontextmanager
async def kept(server: Server, *, at_once: bool = True, stood_by: float = 0) -> AsyncIterator[Subject]:
    """A memory that is kept, so many seconds after it was made, and has been filled unless that takes longer."""
    subject = Subject(server)
    for copy in subject._copies[None].values():
        assert copy._behind_since is not None
        copy._behind_since -= stood_by
    running = [asyncio.create_task(keeper) for keeper in subject.keepers()]
    if at_once:
        await until(lambda: server.watches == len(server.listed))
    try:
        yield subject
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "FIRST_PAUSE", 0.0)


async def test_what_is_listed_and_what_is_watched_is_known_without_asking_and_has_its_job_looked_at() -> None:
    server = Server()
    async with kept(server) as subject:
        assert subject.pause(KEY) is None and set(subject.woken) == {KEY}
        found = subject.family()
        assert [job.fact and job.fact.name for job in found.jobs] == ["revenue-1"]
        assert [pod.fact and pod.fact.phase for pod in found.pods] == ["Running"]
        subject.woken.clear()
        await server.tell("MODIFIED", pod(version=10, phase="Succeeded"))
        assert [pod.fact and pod.fact.phase for pod in subject.family().pods] == ["Succeeded"]
        await server.tell("DELETED", pod(version=11))
        assert subject.family().pods == () and set(subject.woken) == {KEY}
        assert subject.of(KEY, "uid-of-another") == Family((), ())


async def test_looks_wait_for_the_first_list_and_ask_where_it_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    server.open.clear()
    async with kept(server, at_once=False) as subject:
        await until(lambda: server.lists == 2)
        assert subject.pause(KEY) == children.AGAIN_SECONDS
        monkeypatch.setattr(children, "LISTING_SECONDS", 0.0)
        assert subject.pause(KEY) is None and subject.of(KEY, UID) is None, "never half of what there is"


async def test_an_operator_that_stood_by_for_hours_waits_for_its_first_list_too() -> None:
    server = Server()
    server.open.clear()
    async with kept(server, at_once=False, stood_by=36_000.0) as subject:
        await until(lambda: server.lists == 2)
        assert subject.pause(KEY) == children.AGAIN_SECONDS


async def test_where_lists_are_refused_the_api_server_is_asked_at_once() -> None:
    server = Server()
    server.refused = ApiError(403, "Forbidden", "no")
    async with kept(server, at_once=False) as subject:
        await until(lambda: server.lists > 4)
        assert subject.pause(KEY) is None and subject.of(KEY, UID) is None


async def test_a_deletion_that_no_watch_told_is_found_by_the_list_after_a_410() -> None:
    server = Server()
    async with kept(server) as subject:
        server.listed[Resource.PODS], server.version = [], 50
        server.open.clear()
        subject.woken.clear()
        await server.fail(ApiError(410, "Expired", "too old resource version"))
        await until(lambda: server.lists == 3)
        assert subject.pause(KEY) == children.AGAIN_SECONDS and subject.of(KEY, UID) is None, "while it is listed"
        server.open.set()
        await until(lambda: server.watches == 3)
        assert subject.pause(KEY) is None and subject.family().pods == () and subject.woken == [KEY]


async def test_nothing_is_decided_on_one_watch_while_the_other_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "FIRST_PAUSE", 3600.0)
    server = Server()
    async with kept(server) as subject:
        await server.fail(UnreachableError("connection reset"))
        assert subject.pause(KEY) is None and subject.of(KEY, UID) is None


async def test_a_look_waits_until_the_watch_has_told_what_the_operator_made() -> None:
    server = Server()
    async with kept(server) as subject:
        subject.stored(Resource.BATCH_JOBS, batch("revenue-2", 20))
        assert subject.pause(KEY) == children.PATIENCE_SECONDS and subject.pause(("marts", "other")) is None
        subject.now += 1
        await server.tell("MODIFIED", batch(version=19), Resource.BATCH_JOBS)
        assert subject.pause(KEY) == children.PATIENCE_SECONDS - 1, "what came was written before"
        await server.tell("ADDED", batch("revenue-2", 20), Resource.BATCH_JOBS)
        assert subject.pause(KEY) is None and len(subject.family().jobs) == 2


async def test_what_was_made_and_is_gone_before_the_watch_told_of_it_holds_nobody_up() -> None:
    server = Server()
    async with kept(server) as subject:
        subject.stored(Resource.BATCH_JOBS, batch("revenue-2", 20))
        await server.tell("BOOKMARK", {"metadata": {"resourceVersion": "25"}}, Resource.BATCH_JOBS)
        assert subject.pause(KEY) is None and len(subject.family().jobs) == 1


@pytest.mark.parametrize(
    ("word", "manifest"),
    [
        pytest.param("DELETED", batch(version=20), id="it is gone"),
        pytest.param("MODIFIED", batch(version=20, deletionTimestamp="2026-11-21T12:00:00Z"), id="it is about to go"),
    ],
)
async def test_a_look_waits_until_the_watch_has_told_what_the_operator_deleted(word: str, manifest: Manifest) -> None:
    server = Server()
    async with kept(server) as subject:
        subject.deleted(Resource.BATCH_JOBS, "marts", "revenue-1")
        assert subject.pause(KEY) == children.PATIENCE_SECONDS
        await server.tell(word, manifest, Resource.BATCH_JOBS)
        assert subject.pause(KEY) is None


async def test_what_was_taken_back_at_once_is_waited_for_until_it_has_come_and_gone() -> None:
    server = Server()
    async with kept(server) as subject:
        subject.stored(Resource.BATCH_JOBS, batch("revenue-2", 20))
        subject.deleted(Resource.BATCH_JOBS, "marts", "revenue-2")
        assert subject.pause(KEY) == children.PATIENCE_SECONDS, "it is still to come"
        await server.tell("ADDED", batch("revenue-2", 20), Resource.BATCH_JOBS)
        assert subject.pause(KEY) == children.PATIENCE_SECONDS, "nobody must take it for an attempt"
        await server.tell("DELETED", batch("revenue-2", 21), Resource.BATCH_JOBS)
        assert subject.pause(KEY) is None and len(subject.family().jobs) == 1


async def test_looks_ask_the_api_server_as_long_as_the_watch_does_not_tell() -> None:
    server = Server()
    async with kept(server) as subject:
        subject.stored(Resource.BATCH_JOBS, batch("revenue-2", 20))
        subject.now += children.PATIENCE_SECONDS
        for _ in range(2):
            assert subject.pause(KEY) is None
            assert subject.of(KEY, UID) is None, "what is remembered is no newer after a look that asked"
        await server.tell("ADDED", batch("revenue-2", 20), Resource.BATCH_JOBS)
        assert subject.pause(KEY) is None and len(subject.family().jobs) == 2


async def test_a_job_that_ended_before_its_pod_is_asked_for_since_one_watch_is_late() -> None:
    server = Server()
    async with kept(server) as subject:
        await server.tell("MODIFIED", batch(version=20, ended=True), Resource.BATCH_JOBS)
        assert subject.of(KEY, UID) is None
        await server.tell("MODIFIED", pod(version=21, phase="Succeeded"))
        assert subject.of(KEY, UID) is not None


async def test_a_job_that_ended_is_asked_for_as_long_as_not_all_of_its_pods_are_known() -> None:
    server = Server()
    server.listed[Resource.PODS] = []
    async with kept(server) as subject:
        assert subject.family().pods == ()
        await server.tell("MODIFIED", batch(version=20, ended=True), Resource.BATCH_JOBS)
        assert subject.of(KEY, UID) is None, "its only report may be in a pod that is still to be told"
        await server.tell("ADDED", pod(version=21, phase="Succeeded"))
        assert len(subject.family().pods) == 1


@pytest.mark.parametrize(
    "manifest",
    [
        pytest.param({"metadata": labelled("revenue-1-x", 20)}, id="of which only the head was read"),
        pytest.param(pod(version=20, message="x" * (children.LARGEST_FACTS + 1)), id="with a text of any length"),
        pytest.param(pod(version=20, conditions=[{"status": "True"}]), id="that is like no pod"),
        pytest.param(owned(uid="x" * (children.LARGEST_FACTS + 1)), id="with an owner whose UID has any length"),
    ],
)
async def test_a_pod_that_is_too_large_or_strange_is_asked_for_and_ends_no_memory(manifest: Manifest) -> None:
    server = Server()
    async with kept(server) as subject:
        await server.tell("MODIFIED", manifest)
        assert subject.of(KEY, UID) is None and set(subject.woken) == {KEY}
        assert len(str(subject._pods.get("marts", "revenue-1-x"))) < 1000, "no more of it is kept than its name"
        await server.tell("MODIFIED", pod(version=21))
        assert subject.of(KEY, UID) is not None


async def test_a_bookmark_of_the_api_server_is_taken_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    async with kept(server) as subject:
        # As a real one sends it, of a pod without a name.
        empty = {"metadata": {"resourceVersion": "25", "creationTimestamp": None}, "spec": {"containers": None}}
        await server.tell("BOOKMARK", {**empty, "status": {}})
        assert subject._copies[None][Resource.PODS].version == 25
    assert not caplog.records


async def test_pods_beyond_the_most_of_a_namespace_are_known_by_name_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "MOST_OF_A_NAMESPACE", 1)
    server = Server()
    async with kept(server) as subject:
        await server.tell("ADDED", pod("revenue-1-y", 20))
        assert subject.of(KEY, UID) is None
        await server.tell("MODIFIED", pod(version=21, phase="Failed"))
        await server.tell("DELETED", pod("revenue-1-y", 22))
        assert [pod.fact and pod.fact.phase for pod in subject.family().pods] == ["Failed"], "the first stays known"


@pytest.mark.parametrize(
    ("labels", "status", "asked"),
    [
        pytest.param(
            {LABEL_ATTEMPT: "1"}, {}, True, id="a pod that has become ready is asked for its progress at once"
        ),
        pytest.param({LABEL_ATTEMPT: "1"}, {"conditions": []}, False, id="one that is not ready is not"),
        pytest.param({LABEL_ATTEMPT: "1"}, {"podIP": None}, False, id="one without an address is not"),
        pytest.param({LABEL_PREFLIGHT: "1"}, {}, False, id="one of a preflight is not"),
        pytest.param({LABEL_ATTEMPT: "1", LABEL_DASK: "scheduler"}, {}, False, id="a scheduler of Dask is not"),
        pytest.param({LABEL_ATTEMPT: "1", LABEL_JOB: ""}, {}, False, id="one that names no job is not"),
    ],
)
async def test_progress_is_asked_for_before_the_look_that_tells_that_a_pod_is_ready(
    labels: dict[str, str], status: dict[str, Any], asked: bool
) -> None:
    ready = {"conditions": [{"type": "Ready", "status": "True"}], "podIP": "10.0.0.7", **status}
    found = pod(version=20, **ready)
    found["metadata"]["labels"] |= labels
    server = Server()
    async with kept(server) as subject:
        answers: list[tuple[Key, str, str]] = []
        subject.answers = lambda *about: answers.append(about)
        await server.tell("MODIFIED", found)
    assert answers == ([(KEY, "u-revenue-1-x", "10.0.0.7")] if asked else [])


# --- DaskClusters


def facts(subject: Subject) -> list[tuple[str, bool]]:
    return [(each.fact.name, each.fact.deleting) for each in subject.family().clusters if each.fact]


async def test_daskclusters_are_kept_where_jobs_may_have_them_and_a_deletion_that_no_watch_told_is_found() -> None:
    async with kept(Server()) as subject:
        assert subject.family().clusters == () and len(subject._copies[None]) == 2
    server = Server(cluster())
    async with kept(server) as subject:
        assert facts(subject) == [("revenue-1", False)]
        subject.woken.clear()
        await server.tell("MODIFIED", cluster(10, deletionTimestamp="2026-11-21T12:00:00Z"), DASK)
        assert facts(subject) == [("revenue-1", True)] and set(subject.woken) == {KEY}
        subject.woken.clear()
        server.listed[DASK], server.version = [], 50
        await server.fail(ApiError(410, "Expired", "too old resource version"), DASK)
        await until(lambda: server.watches == 4)
        assert facts(subject) == [] and subject.woken == [KEY]


@pytest.mark.parametrize("status", [403, 404])
async def test_a_kind_that_cannot_be_listed_holds_up_no_job_and_takes_no_pod_from_memory(status: int) -> None:
    """dask-kubernetes is not installed, or the role lacks the right."""
    server = Server(cluster())
    server.refused, server.refuses = ApiError(status, "No", "no"), {DASK}
    async with kept(server, at_once=False) as subject:
        await until(lambda: server.watches == 2 and server.lists > 4)
        subject.stored(DASK, cluster(20))
        subject.deleted(DASK, "marts", "revenue-1")
        assert subject.pause(KEY) is None, "no watch will tell of a write"
        assert facts(subject) == [] and len(subject.family().pods) == 1


async def test_a_daskcluster_is_asked_for_while_its_watch_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(cluster())
    async with kept(server) as subject:
        monkeypatch.setattr(copies, "FIRST_PAUSE", 3600.0)
        await server.fail(UnreachableError("connection reset"), DASK)
        assert subject.pause(KEY) is None and facts(subject) == [] and len(subject.family().pods) == 1


async def test_a_look_waits_until_the_watch_has_told_of_a_daskcluster_that_the_operator_made_or_deleted() -> None:
    server = Server(cluster())
    async with kept(server) as subject:
        subject.stored(DASK, cluster(20))
        assert subject.pause(KEY) == children.PATIENCE_SECONDS
        await server.tell("ADDED", cluster(20), DASK)
        assert subject.pause(KEY) is None
        subject.deleted(DASK, "marts", "revenue-1")
        assert subject.pause(KEY) == children.PATIENCE_SECONDS
        await server.tell("MODIFIED", cluster(21, deletionTimestamp="2026-11-21T12:00:00Z"), DASK)
        assert subject.pause(KEY) is None and facts(subject) == [("revenue-1", True)]


@pytest.mark.parametrize(
    "owners",
    [
        pytest.param([], id="without an owner"),
        pytest.param([{"controller": True, "uid": "x" * (children.LARGEST_FACTS + 1)}], id="with one of any length"),
    ],
)
async def test_a_daskcluster_that_is_strange_is_known_by_its_name_alone(owners: list[Any]) -> None:
    server = Server(cluster())
    async with kept(server) as subject:
        await server.tell("MODIFIED", cluster(20, ownerReferences=owners), DASK)
        assert facts(subject) == [] and len(subject.family().pods) == 1
        assert len(str(subject.family().clusters)) < 1000
