"""The memory of jobs, and looks that go by it: what they ask for, and what they write."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from gpuquery.api.conditions import is_true
from gpuquery.api.reasons import Failure
from gpuquery.app import watch
from gpuquery.kube.ability import Ability
from gpuquery.kube.client import Resource, Scope, StaleError, UnreachableError
from gpuquery.kube.copy import Copy
from gpuquery.plan.maxima import Maxima
from gpuquery.reconcile.census import Census
from gpuquery.reconcile.metrics import Metrics
from gpuquery.reconcile.observe import children
from gpuquery.reconcile.observe import memory as memories
from gpuquery.reconcile.observe.children import Children
from gpuquery.reconcile.observe.head import head
from gpuquery.reconcile.observe.memory import Jobs, Memory
from gpuquery.reconcile.queue import WorkQueue
from gpuquery.reconcile.reconciler import MOST_STALE, Key, Reconciler, work
from tests.support.kube_objects import COMMITTED, DEFAULTS, failed_report
from tests.support.recording import READY, RecordingClient, ended
from tests.unit.reconcile.observe.test_children import Server, Subject
from tests.unit.reconcile.test_reconciler import KEY, READING, current, operator, store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from gpuquery.kube.client import Manifest
    from gpuquery.plan.defaults import Defaults
    from gpuquery.reconcile.observe.head import Head


class Counting(RecordingClient):
    """Counts the jobs that are asked for."""

    asked = 0

    async def get(self, resource: Resource, namespace: str, name: str, **how: Any) -> Manifest | None:
        self.asked += resource is Resource.JOBS
        return await super().get(resource, namespace, name, **how)


class Watched(Jobs):
    """A memory of jobs with a watch that tells what the API server has, unless it is late."""

    def __init__(self, client: RecordingClient) -> None:
        super().__init__()
        self.client, self.behind = client, 0.0
        self.copies = {None: self}  # type: ignore[dict-item]

    @property
    def items(self) -> dict[Key, Any]:
        found = self.client.objects.get((Resource.JOBS, "revenue"))
        return {KEY: SimpleNamespace(version=found["metadata"]["resourceVersion"])} if found else {}


def change(client: RecordingClient) -> None:
    """Let somebody change the job."""
    client.put(Resource.JOBS, client.objects[Resource.JOBS, "revenue"])


async def test_a_job_is_asked_for_only_where_the_watch_tells_of_a_newer_version() -> None:
    client = Counting()
    store(client)
    subject = Watched(client)
    for _ in range(3):
        assert await subject.read(client, KEY) == client.objects[Resource.JOBS, "revenue"]
    assert client.asked == 1
    change(client)
    for _ in range(3):
        assert await subject.read(client, KEY) == client.objects[Resource.JOBS, "revenue"]
    assert client.asked == 2
    subject.behind = 1.0
    await subject.read(client, KEY)
    assert client.asked == 3, "a watch that may be late proves nothing"
    del client.objects[Resource.JOBS, "revenue"]
    subject.behind = 0.0
    assert await subject.read(client, KEY) is None and client.asked == 4


async def test_an_older_answer_that_comes_late_replaces_nothing() -> None:
    client = Counting()
    store(client)
    subject = Watched(client)
    old = await subject.read(client, KEY)
    change(client)
    new = await subject.read(client, KEY)
    assert old is not None
    subject.keep(old)
    assert await subject.read(client, KEY) == new


async def test_what_is_kept_of_jobs_has_a_bound_and_large_ones_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def job(name: str, size: int) -> Manifest:
        metadata = {"namespace": "marts", "name": name, "resourceVersion": "5", "managedFields": ["x" * 10_000]}
        return {"metadata": metadata, "spec": {"x": "x" * size}}

    monkeypatch.setattr(memories, "MOST_BYTES", 1000)
    monkeypatch.setattr(memories, "LARGEST_KEPT", 500)
    subject = Jobs()
    for name in ("a", "b", "c"):
        subject.keep(job(name, 300))
    subject.keep(job("large", 450))
    assert {name for _, name in subject._kept} == {"b", "c"}, "the oldest went first"
    assert subject._bytes == sum(len(raw) for _, raw in subject._kept.values()) <= 1000


async def test_a_list_gives_jobs_that_have_not_ended_to_the_memory_and_a_watch_does_not() -> None:
    client = Counting()
    store(client)
    memory = Memory(Subject(Server()))
    trim = memory.trimmed(head)
    whole = client.objects[Resource.JOBS, "revenue"]
    trim({"metadata": whole["metadata"]})
    assert not memory.jobs._kept
    assert trim(whole) == head(whole) and KEY in memory.jobs._kept


async def test_a_job_that_is_nested_too_deeply_to_be_written_ends_no_list_and_is_asked_for() -> None:
    client = Counting()
    store(client)
    memory = Memory(Subject(Server()))
    deep: Manifest = {}
    for _ in range(300):
        deep = {"a": deep}
    whole = client.objects[Resource.JOBS, "revenue"]
    whole = {**whole, "spec": {**whole["spec"], "executorOptions": deep}}
    assert memory.trimmed(head)(whole) == head(whole)
    assert not memory.jobs._kept and memory.jobs._bytes == 0


async def test_a_status_that_was_derived_from_what_has_changed_is_not_written_but_derived_anew() -> None:
    client = Counting()
    store(client)
    subject = operator(client, READING)
    interfered = 0

    def fault(what: str) -> Exception | None:
        nonlocal interfered
        if what == "apply status" and not interfered:
            interfered += 1
            change(client)
        return None

    client.fault = fault
    with pytest.raises(StaleError):
        await subject.reconcile(KEY)
    assert not any(what.startswith("event") for what in client.writes), "of what was not written nothing is told"
    await subject.reconcile(KEY)
    assert current(client).status.attempt == 1 and not subject.stale


async def test_who_changes_a_job_all_the_time_does_not_keep_its_status_from_being_written() -> None:
    client = Counting()
    store(client)
    subject = operator(client, READING)

    def fault(what: str) -> Exception | None:
        if what == "apply status":
            change(client)
        return None

    client.fault = fault
    for _ in range(MOST_STALE):
        with pytest.raises(StaleError):
            await subject.reconcile(KEY)
    await subject.reconcile(KEY)
    assert current(client).status.attempt == 1


async def test_a_stale_status_is_no_failure_and_the_job_is_looked_at_again_soon() -> None:
    client, queue = Counting(), WorkQueue[Key]()
    store(client)
    subject = operator(client, READING)
    interfered = 0

    def fault(what: str) -> Exception | None:
        nonlocal interfered
        if what == "apply status" and not interfered:
            interfered += 1
            change(client)
        return None

    client.fault = fault
    working = asyncio.create_task(work(queue, subject))
    queue.add(KEY)
    async with asyncio.timeout(10):
        while current(client).status.attempt is None:
            await asyncio.sleep(0.01)
            assert queue.failures(KEY) == 0
    working.cancel()


async def test_what_a_look_has_seen_or_written_needs_no_look_and_all_else_does() -> None:
    client, queue = Counting(), WorkQueue[Key]()
    store(client)
    memory = Memory(Subject(Server()))
    memory.jobs = Watched(client)
    client.heed = memory
    jobs = watch.Jobs(queue, Metrics(client, queue), watch.Sightings(), Census(Maxima(), queue.add), memory.jobs.has)

    async def told(*, listed: bool = False) -> bool:
        """Tell of the job as it is, and return whether somebody looks."""
        jobs.tell(KEY, head(client.objects[Resource.JOBS, "revenue"]), listed)
        if not len(queue):
            return False
        queue.done(await queue.get())
        return True

    assert await told(), "it is new"
    await replace(operator(client, READING), memory=cast("Memory", Asking(memory.jobs))).reconcile(KEY)
    assert current(client).status.attempt == 1 and not await told(), "the operator wrote that itself"
    change(client)
    assert await told() and await told(), "nobody has looked at it yet"
    await memory.jobs.read(client, KEY)
    assert not await told() and await told(listed=True), "a LIST after a broken watch may tell more"


class Asking:
    """A memory of jobs alone."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs
        self.children = SimpleNamespace(pause=lambda _: None, of=lambda *_: None)


async def test_the_answer_to_a_write_that_was_bound_to_no_version_is_not_gone_by() -> None:
    client = Following()
    store(client)
    async with remembering(client) as subject:
        subject.stale[KEY] = MOST_STALE
        await looked(subject)
        assert subject.memory and KEY not in subject.memory.jobs._kept and not subject.stale


class Following(Counting):
    """An API server with watches, which tell what happened when the test lets them."""

    KINDS: tuple[Resource, ...] = (Resource.JOBS, Resource.BATCH_JOBS, Resource.PODS)

    def __init__(self) -> None:
        super().__init__()
        self.read: Counter[str] = Counter()
        self.flow, self.news = asyncio.Event(), asyncio.Event()
        self.flow.set()
        self._told: dict[Resource, dict[str, Manifest]] = {kind: {} for kind in self.KINDS}

    async def get(self, resource: Resource, namespace: str, name: str, **how: Any) -> Manifest | None:
        self.read[f"get {resource.name}"] += 1
        return await super().get(resource, namespace, name, **how)

    async def digested(self, resource: Resource, namespace: str | None, digest: Any, **how: Any) -> list[Any]:
        self.read[f"list {resource.name}"] += 1
        return await super().digested(resource, namespace, digest, **how)

    async def pages(
        self, resource: Resource, namespace: str | None, digest: Callable[[Manifest], Any], **_: Any
    ) -> AsyncIterator[tuple[list[Any], str]]:
        found = {name: each for (kind, name), each in self.objects.items() if kind is resource}
        self._told[resource] = dict(found)
        yield [digest({**each, "metadata": {"namespace": "marts", **each["metadata"]}}) for each in found.values()], "1"

    async def watch(
        self, scope: Scope, version: str, digest: Callable[[Manifest], Any], *, opened: Callable[[], None]
    ) -> AsyncIterator[tuple[str, Any]]:
        opened()
        while True:
            await self.flow.wait()
            for word, found in list(self._changes(scope.resource)):
                whole = {**found, "metadata": {"namespace": "marts", **found["metadata"]}}
                yield word, digest(whole if scope.whole else {"metadata": whole["metadata"]})
            await asyncio.sleep(0.001)

    def _changes(self, resource: Resource) -> Iterable[tuple[str, Manifest]]:
        before = self._told[resource]
        now = {name: each for (kind, name), each in self.objects.items() if kind is resource}
        self._told[resource] = {name: dict(each) for name, each in now.items()}
        for name, each in now.items():
            if name not in before or before[name]["metadata"] != each["metadata"]:
                self._told[resource][name] = {**each, "metadata": dict(each["metadata"])}
                yield "MODIFIED", each
        for name in before.keys() - now.keys():
            self._version += 1
            gone = before[name]
            yield "DELETED", {**gone, "metadata": {**gone["metadata"], "resourceVersion": str(self._version)}}


@asynccontextmanager
async def remembering(client: Following, defaults: Defaults = DEFAULTS) -> AsyncIterator[Reconciler]:
    """A reconciler whose memory is kept by the watches of an API server."""
    queue: WorkQueue[Key] = WorkQueue()
    memory = client.heed = Memory(Children(client, [None], queue.add, dask=defaults.dask_operator))
    seen: Copy[Head] = Copy(
        client, Scope(Resource.JOBS, None), trim=memory.trimmed(head), tell=lambda *_: None, ability=Ability("watch")
    )
    memory.jobs.copies = {None: seen}
    running = [asyncio.create_task(keeper) for keeper in (*memory.children.keepers(), seen.keep())]
    while seen.behind or memory.children.pause(KEY):  # noqa: ASYNC110 (there is no such event)
        await asyncio.sleep(0.001)
    try:
        yield replace(operator(client, READING, defaults=defaults), memory=memory)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def looked(subject: Reconciler) -> None:
    """Look as soon as the watches have told of all that the operator wrote."""
    assert subject.memory is not None
    async with asyncio.timeout(10):
        while subject.memory.children.pause(KEY) is not None:  # noqa: ASYNC110 (there is no such event)
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)  # what others did has come by now
        await subject.reconcile(KEY)


async def test_the_life_of_a_job_reads_no_pod_and_no_batch_job_and_the_job_never_again() -> None:
    client = Following()
    store(client)
    async with remembering(client) as subject:
        await looked(subject)
        for status in ({"phase": "Pending"}, READY, READY, ended(COMMITTED, 0), ended(COMMITTED, 0)):
            client.pod(1, status)
            await looked(subject)
    assert is_true(current(client).status.conditions, "Complete")
    assert client.read == {"get NAMESPACES": 1, "get CONFIG_MAPS": 1}
    assert client.writes.count("create Job") == 1 and client.writes.count("apply status") == 3


async def test_a_job_that_merely_runs_asks_for_nothing() -> None:
    client = Following()
    store(client)
    async with remembering(client) as subject:
        await looked(subject)
        client.pod(1, READY)
        await looked(subject)
        client.read.clear()
        client.writes.clear()
        for _ in range(10):
            await looked(subject)
    assert not client.read and not client.writes


async def test_nothing_is_made_twice_by_an_operator_whose_watch_is_late() -> None:
    client = Following()
    store(client)
    async with remembering(client) as subject:
        client.flow.clear()
        await subject.reconcile(KEY)
        before = client.writes[:]
        for _ in range(3):
            assert (await subject.reconcile(KEY) or 0) > 0, "it comes again"
        assert client.writes == before
        client.flow.set()
        client.pod(1, ended(failed_report(Failure.WORKER_LOST), 1))
        await looked(subject)
        assert [a.id for a in current(client).status.attempts if a.ended] == [1]


async def test_a_restarted_operator_fills_its_memory_by_lists_and_asks_for_no_job() -> None:
    client = Following()
    store(client)
    async with remembering(client) as subject:
        await looked(subject)
        client.pod(1, READY)
        await looked(subject)
    client.read.clear()
    client.writes.clear()
    async with remembering(client) as subject:
        await looked(subject)
    assert not client.read and not client.writes


async def test_an_attempt_that_the_watch_never_tells_of_is_not_taken_for_one_that_somebody_deleted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(children, "PATIENCE_SECONDS", 0.0)
    client = Following()
    store(client)
    async with remembering(client) as subject:
        client.flow.clear()
        for _ in range(4):
            await subject.reconcile(KEY)
            assert [(each.id, each.ended) for each in current(client).status.attempts] == [(1, None)]


async def test_that_an_attempt_is_gone_is_not_concluded_from_a_memory_that_nobody_told_of_it() -> None:
    client = Following()
    store(client)
    lost = iter([UnreachableError("no answer")])
    client.fault = lambda what: next(lost, None) if what == "create Job done" else None
    async with remembering(client) as subject:
        client.flow.clear()
        assert subject.memory is not None
        with pytest.raises(UnreachableError):
            await subject.reconcile(KEY)
        # Of a Job whose creation was not answered nobody expects to see it.
        subject.memory.children.forget(KEY)
        for _ in range(3):
            await subject.reconcile(KEY)
            assert [(each.id, each.ended) for each in current(client).status.attempts] == [(1, None)]
        client.flow.set()
        client.read.clear()
        await looked(subject)
        assert not client.read["list PODS"], "once it is known nobody asks"


async def test_an_ended_job_that_was_given_more_time_is_not_deleted_by_who_has_not_heard_of_it() -> None:
    client = Following()
    store(client, ttlSecondsAfterFinished=0)
    async with remembering(client) as subject:
        await looked(subject)
        client.pod(1, ended(COMMITTED, 0))
        await looked(subject)
        await asyncio.sleep(0.01)  # the watch has told of the end
        client.flow.clear()
        whole = client.objects[Resource.JOBS, "revenue"]
        client.put(Resource.JOBS, {**whole, "spec": {**whole["spec"], "ttlSecondsAfterFinished": 3600}})
        await subject.reconcile(KEY)
        assert client.names(Resource.JOBS) == ["revenue"]
        client.flow.set()
        await looked(subject)
        assert client.names(Resource.JOBS) == ["revenue"]
