"""A job at which the operator cannot look to the end: its user learns why, and its deadlines hold."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from gpuquery.api.conditions import is_true
from gpuquery.api.reasons import Event, Failure, Reason
from gpuquery.api.status import AttemptStatus, Condition, GpuQueryJobStatus
from gpuquery.api.types import GpuQueryJob
from gpuquery.kube.client import ApiError, Resource, UnreachableError
from gpuquery.reconcile import queue as queues
from gpuquery.reconcile.observe.ownership import JOB_NAME, JOB_UID
from gpuquery.reconcile.queue import WorkQueue
from gpuquery.reconcile.reconciler import Key, Reconciler, work
from gpuquery.reconcile.report import failing
from tests.support.kube_objects import NOW, at, condition, job, started, told
from tests.support.recording import READY, RecordingClient
from tests.unit.reconcile.test_reconciler import KEY, READING, current, operator, store

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

WHY = "RuntimeError: broken"
BROKEN = RuntimeError("bro\x1bken\n")


def of(**status: Any) -> GpuQueryJob:
    return job(status=GpuQueryJobStatus(**status), startDeadlineSeconds=30, activeDeadlineSeconds=60)


def failed_since(seconds: float, **status: Any) -> GpuQueryJob:
    """A job of which it was told that many seconds after NOW that it cannot be looked at."""
    subject = of(**status)
    return subject.model_copy(update={"status": failing.told(subject, WHY, at(seconds))})


RUNS = {"attempt": 1, "attempts": (AttemptStatus(id=1, started=NOW, ready=NOW),), "start_time": NOW}
STARTS = {"attempt": 1, "attempts": (AttemptStatus(id=1, started=NOW),), "start_time": NOW}
BETWEEN = {"attempt": 1, "attempts": (AttemptStatus(id=1, started=NOW, ready=NOW, ended=NOW),), "start_time": NOW}


@pytest.mark.parametrize(
    ("subject", "now", "want"),
    [
        pytest.param(of(), 1000, None, id="the first failure ends nothing, however old the job is"),
        pytest.param(failed_since(0), 29, None, id="a job waits as long as its start deadline says"),
        pytest.param(failed_since(0), 30, Failure.START_DEADLINE_EXCEEDED, id="and not longer"),
        pytest.param(failed_since(20, **STARTS), 49, None, id="it counts from when looks began to fail"),
        pytest.param(failed_since(20, **STARTS), 50, Failure.START_DEADLINE_EXCEEDED, id="of an attempt as well"),
        pytest.param(failed_since(0, **RUNS), 59, None, id="of pods that were ready the start deadline says nothing"),
        pytest.param(failed_since(0, **RUNS), 60, Failure.DEADLINE_EXCEEDED, id="but the active one does"),
        pytest.param(of(**RUNS), 60, Failure.DEADLINE_EXCEEDED, id="whether or not it was told before"),
        pytest.param(failed_since(0, **BETWEEN), 30, Failure.START_DEADLINE_EXCEEDED, id="nor may a retry hang"),
    ],
)
def test_which_deadline_has_passed(subject: GpuQueryJob, now: float, want: Failure | None) -> None:
    late = failing.overdue(subject, WHY, at(now))
    assert (late.failure if late else None) == want
    if late:
        assert WHY in late.message
    elif subject.status.conditions:
        due = failing.due(subject, at(now))
        assert due and failing.overdue(subject, WHY, at(now + due))


def test_what_a_look_fails_of_is_told_in_one_plain_line() -> None:
    assert failing.in_words(BROKEN) == "RuntimeError: bro ken"
    assert failing.in_words(RuntimeError("a\u3164b")) == "RuntimeError: a\\u3164b", "a letter without ink"
    assert len(failing.in_words(RuntimeError("x" * 10_000))) == failing.MAX_WHY


def test_while_looks_fail_nothing_else_of_the_status_changes() -> None:
    subject = started()
    after = failing.told(subject, WHY, at(5))
    assert after.model_copy(update={"conditions": ()}) == subject.status.model_copy(update={"conditions": ()})
    changed = [c.type for c, d in zip(after.conditions, subject.status.conditions, strict=True) if c != d]
    assert changed == ["ClusterReady"]
    again = subject.model_copy(update={"status": after})
    assert told(again, "ClusterReady") == ("Unknown", Reason.OPERATOR_ERROR)
    later = failing.told(again, WHY, at(50))
    assert later == after, "the moment from which on it was so stays"


class Clock:
    """The operator's clock, which a test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


def broken(client: RecordingClient, clock: Clock, error: Exception | None = BROKEN) -> Reconciler:
    """An operator whose looks fail."""

    class Broken(Reconciler):
        async def reconcile(self, key: Key) -> float | None:
            if error is not None:
                raise error
            return await super().reconcile(key)

    return Broken(**{**vars(operator(client, READING)), "clock": clock})


def events(client: RecordingClient) -> list[str]:
    return [write.removeprefix("event ") for write in client.writes if write.startswith("event ")]


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not done():  # noqa: ASYNC110 (there is no such event)
            await asyncio.sleep(0.001)


async def test_from_the_second_failed_look_on_the_user_sees_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "FIRST_BACKOFF", 0.5)
    client, clock = RecordingClient(), Clock()
    store(client)
    queue: WorkQueue[Key] = WorkQueue()
    queue.add(KEY)
    working = asyncio.create_task(work(queue, broken(client, clock)))
    await until(lambda: queue.failures(KEY) >= 1)
    assert client.writes == [], "once is a hiccup"
    await until(lambda: bool(client.writes))
    working.cancel()
    found = condition(current(client), "ClusterReady")
    assert (found.status, found.reason) == ("Unknown", Reason.OPERATOR_ERROR)
    assert "RuntimeError: bro ken" in found.message
    assert events(client) == [Event.CANNOT_START]
    status = current(client).status
    assert status.state == "Pending"
    assert [(c.type, c.status) for c in status.conditions][1:] == [("Complete", "False"), ("Failed", "False")]


async def test_a_look_that_succeeds_takes_it_back() -> None:
    client, clock = RecordingClient(), Clock()
    store(client)
    subject = operator(client, READING)
    await subject.reconcile(KEY)
    before = current(client).status
    await broken(client, clock).failed(KEY, BROKEN)
    assert condition(current(client), "ClusterReady").reason == Reason.OPERATOR_ERROR
    client.pod(1, {"phase": "Pending"})
    await subject.reconcile(KEY)
    assert [c.reason for c in current(client).status.conditions] == [c.reason for c in before.conditions]


@pytest.mark.parametrize(
    ("error", "looks"),
    [
        pytest.param(BROKEN, 2, id="an error of the operator's own is told soon"),
        pytest.param(ApiError(500, "InternalError", "failed calling webhook"), 2, id="so is one of a webhook"),
        pytest.param(ApiError(503, "ServiceUnavailable", ""), 5, id="a busy API server is given some time"),
        pytest.param(UnreachableError("away"), 5, id="and so is one that is away"),
    ],
)
def test_after_how_many_looks_an_error_is_told(error: Exception, looks: int) -> None:
    assert failing.told_from(error) == looks


async def ends(client: RecordingClient, clock: Clock, seconds: float, error: Exception = BROKEN) -> GpuQueryJob:
    """Let looks fail until a while has passed."""
    subject = broken(client, clock)
    await subject.failed(KEY, error)
    clock.now = at(seconds)
    await subject.failed(KEY, error)
    return current(client)


async def test_a_job_that_never_got_a_status_fails_when_its_start_deadline_has_passed() -> None:
    client, clock = RecordingClient(), Clock()
    store(client, startDeadlineSeconds=30)
    after = await ends(client, clock, 31)
    found = condition(after, "Failed")
    assert (found.status, found.reason) == ("True", Failure.START_DEADLINE_EXCEEDED)
    assert "startDeadlineSeconds (30 s)" in found.message and "RuntimeError: bro ken" in found.message
    assert not is_true(after.status.conditions, "Complete")
    assert after.status.completion_time == at(31) and after.status.state == "Failed"
    assert events(client) == [Event.CANNOT_START, Event.REJECTED]


def stranger(client: RecordingClient, **owner: str) -> None:
    """Give the pods another owner than the batch Job that made them; none, as a copy of a pod has."""
    for (kind, _), pod in client.objects.items():
        if kind is Resource.PODS:
            pod["metadata"]["ownerReferences"] = [{"controller": True, **owner}] if owner else []


async def runs(client: RecordingClient) -> None:
    store(client, activeDeadlineSeconds=60)
    await operator(client, READING).reconcile(KEY)
    client.pod(1, READY)
    await operator(client, READING).reconcile(KEY)


async def looked_again(client: RecordingClient, clock: Clock) -> GpuQueryJob:
    await broken(client, clock).failed(KEY, BROKEN)
    return current(client)


@pytest.mark.parametrize(
    "owner",
    [
        pytest.param({}, id="a copy of a pod is nobody's"),
        pytest.param({"kind": "Job", "uid": "other"}, id="nor is one of a Job of the same name"),
    ],
)
async def test_a_pod_of_another_is_not_waited_for(owner: dict[str, str]) -> None:
    client, clock = RecordingClient(), Clock()
    await runs(client)
    (name,) = client.names(Resource.BATCH_JOBS)
    stranger(client, **owner, **({"name": name} if owner else {}))
    left = {key: each for key, each in client.objects.items() if key[0] is Resource.PODS}
    batch = client.objects[Resource.BATCH_JOBS, name]
    about = {**batch["metadata"], "name": "copy", "uid": "other", "ownerReferences": []}
    client.objects[Resource.BATCH_JOBS, "copy"] = {**batch, "metadata": about}
    await ends(client, clock, 61)
    client.objects |= left
    assert client.names(Resource.BATCH_JOBS) == ["copy"], "what is not its own is left alone"
    assert is_true((await looked_again(client, clock)).status.conditions, "Failed")


async def test_a_pod_whose_job_was_deleted_without_it_is_waited_for() -> None:
    client, clock = RecordingClient(), Clock()
    await runs(client)
    (name,) = client.names(Resource.BATCH_JOBS)
    stranger(client)
    for (kind, _), pod in client.objects.items():
        if kind is Resource.PODS:
            pod["metadata"]["labels"] |= {JOB_NAME: name, JOB_UID: "gone"}
    del client.objects[Resource.BATCH_JOBS, name]
    assert told(await ends(client, clock, 61), "Failed") == ("False", Reason.RELEASING)


async def test_a_job_that_is_just_deleted_may_still_have_made_a_pod() -> None:
    client, clock = RecordingClient(), Clock()
    store(client, startDeadlineSeconds=30)
    await operator(client, READING).reconcile(KEY)
    after = await ends(client, clock, 31)
    assert client.names(Resource.BATCH_JOBS) == [] and told(after, "Failed") == ("False", Reason.RELEASING)
    assert is_true((await looked_again(client, clock)).status.conditions, "Failed")


@pytest.mark.parametrize(
    ("known", "want"),
    [("False", ("Unknown", Reason.UNCONFIRMED)), ("", ("Unknown", Reason.UNCONFIRMED)),
     ("Unknown", ("Unknown", Reason.UNCONFIRMED)), ("True", ("True", Reason.COMMITTED))],
)  # fmt: skip
def test_an_end_that_nobody_saw_denies_no_commit(known: str, want: tuple[str, str]) -> None:
    said = Condition(type="OutputCommitted", status=known or "False", reason=Reason.COMMITTED, message="version 1 of x")
    subject = failed_since(0, **RUNS, conditions=(said,) if known else ())
    late = failing.overdue(subject, WHY, at(60))
    assert late is not None
    after = subject.model_copy(update={"status": failing.ended(subject, late, at(60))})
    assert told(after, "OutputCommitted") == want
    assert told(after, "Failed") == ("True", Failure.DEADLINE_EXCEEDED)


async def test_a_job_that_runs_ends_at_its_deadline_once_no_pod_of_its_own_is_alive() -> None:
    client, clock = RecordingClient(), Clock()
    await runs(client)
    pods = {key: pod for key, pod in client.objects.items() if key[0] is Resource.PODS}
    after = await ends(client, clock, 61)
    assert client.names(Resource.BATCH_JOBS) == [], "its pods are released"
    assert told(after, "Failed") == ("False", Reason.RELEASING)
    client.objects |= pods  # the kubelet takes its time
    assert await broken(client, clock).failed(KEY, BROKEN) == failing.LOOK_FOR_END
    assert not is_true(current(client).status.conditions, "Failed")
    for key in pods:
        del client.objects[key]
    await broken(client, clock).failed(KEY, BROKEN)
    done = current(client).status
    assert is_true(done.conditions, "Failed") and done.failure == Failure.DEADLINE_EXCEEDED
    assert done.attempts[0].ended == at(61) and done.attempts[0].reason == Failure.DEADLINE_EXCEEDED
    client.writes = []
    await operator(client, READING).reconcile(KEY)
    await broken(client, clock).failed(KEY, BROKEN)
    assert client.writes == [], "it stays so"


async def test_a_job_that_no_model_can_read_any_more_ends_at_its_deadline_too() -> None:
    client, clock = RecordingClient(), Clock()
    store(client, startDeadlineSeconds=30)
    await operator(client, READING).reconcile(KEY)
    stored = client.objects[Resource.JOBS, "revenue"]
    stored["spec"]["engine"] = "of-a-later-version"
    stored["status"]["attempts"][0].pop("ready", None)
    after = GpuQueryJob.model_validate(
        {**stored, "spec": {**stored["spec"], "engine": "cpu"}, "status": (await _unread(client, clock))["status"]}
    )
    assert condition(after, "Failed").reason == Failure.START_DEADLINE_EXCEEDED


async def _unread(client: RecordingClient, clock: Clock) -> dict[str, Any]:
    subject = broken(client, clock, None)
    for seconds in (0, 31, 36):
        clock.now = at(seconds)
        with pytest.raises(ValueError, match="engine") as caught:
            await subject.reconcile(KEY)
        await subject.failed(KEY, caught.value)
    found: dict[str, Any] = client.objects[Resource.JOBS, "revenue"]
    return found


async def test_what_cannot_even_be_told_ends_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "FIRST_BACKOFF", 0.001)
    client, clock = RecordingClient(), Clock()
    store(client)
    client.fault = lambda _: RuntimeError("nothing works")
    queue: WorkQueue[Key] = WorkQueue()
    queue.add(KEY)
    working = asyncio.create_task(work(queue, broken(client, clock)))
    await until(lambda: queue.failures(KEY) >= 4)
    assert not working.done()
    working.cancel()


# --- A status that the API server refuses, and objects that it will not take.


def refusing(client: RecordingClient, unfit: Callable[[dict[str, Any]], bool], error: ApiError) -> list[dict[str, Any]]:
    """Let the API server refuse statuses; returns those that it was asked to store."""
    asked: list[dict[str, Any]] = []
    whole = client.apply_status

    async def apply_status(manifest: Any) -> Any:
        asked.append(manifest["status"])
        if unfit(manifest["status"]):
            raise error
        return await whole(manifest)

    client.apply_status = apply_status  # type: ignore[method-assign]
    return asked


INVALID = ApiError(422, "Invalid", 'GpuQueryJob "revenue" is invalid: status.plan.gpus: Invalid value: "float64"')


async def test_a_status_that_the_api_server_refuses_is_told_in_a_smaller_one_and_the_job_goes_on() -> None:
    client = RecordingClient()
    store(client)
    asked = refusing(client, lambda status: "plan" in status, INVALID)
    await operator(client, READING).reconcile(KEY)
    status = current(client).status
    assert status.attempt == 1 and status.plan is None and len(asked) == 2
    assert "refused to store more" in condition(current(client), "Failed").message
    client.pod(1, READY)
    await operator(client, READING).reconcile(KEY)
    assert is_true(current(client).status.conditions, "ClusterReady")
    client.writes = []
    await operator(client, READING).reconcile(KEY)
    assert client.writes == [], "what was told in a smaller one is not told again"


async def test_a_status_that_is_refused_in_every_size_is_an_error_of_the_look() -> None:
    client = RecordingClient()
    store(client)
    asked = refusing(client, lambda _: True, INVALID)
    with pytest.raises(ApiError, match=r"status\.plan\.gpus"):
        await operator(client, READING).reconcile(KEY)
    assert 2 <= len(asked) <= 4


async def test_a_status_that_the_server_could_not_store_now_is_not_made_smaller() -> None:
    client = RecordingClient()
    store(client)
    asked = refusing(client, lambda _: True, ApiError(503, "ServiceUnavailable", "etcd has no leader"))
    with pytest.raises(ApiError, match="no leader"):
        await operator(client, READING).reconcile(KEY)
    assert len(asked) == 1


async def test_an_operator_that_may_not_write_status_says_so_to_its_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    client = RecordingClient()
    store(client)
    refusing(client, lambda _: True, ApiError(403, "Forbidden", "no"))
    subject = operator(client, READING)
    with pytest.raises(ApiError, match="403"):
        await subject.reconcile(KEY)
    monkeypatch.setattr("gpuquery.kube.ability.LATELY_SECONDS", 0.0)
    assert subject.status.missing() == "cannot write the status of jobs: 403 Forbidden: no"
    del client.objects[Resource.JOBS, "revenue"]
    await subject.reconcile(KEY)
    assert subject.status.missing() is None, "nothing of that job has to be written any more"


SCHEMA = ApiError(
    400,
    "BadRequest",
    'Job in version "v1" cannot be handled as a Job: strict decoding error: unknown field '
    '"spec.template.spec.affinity.nodeAffinity.foo", unknown field "spec.template.spec.tolerations[0].op"',
)


@pytest.mark.parametrize(
    "error",
    [
        ApiError(413, "RequestEntityTooLarge", "limit is 3145728"),
        ApiError(500, "InternalError", "etcdserver: request is too large"),
    ],
)
async def test_an_object_that_is_too_large_for_the_api_server_fails_the_job_for_good(error: ApiError) -> None:
    client = RecordingClient()
    store(client)
    client.fault = lambda what: error if what == "create ConfigMap" else None
    subject = operator(client, READING)
    await subject.reconcile(KEY)  # the Job has been made by then, and goes again
    await subject.reconcile(KEY)
    found = condition(current(client), "Failed")
    assert (found.status, found.reason, found.message) == ("True", Failure.TEMPLATE_REJECTED, error.message)


async def test_a_field_that_kubernetes_does_not_know_fails_the_job_at_once_with_its_name() -> None:
    client = RecordingClient()
    store(client)
    client.fault = lambda what: SCHEMA if what == "create Job" else None
    await operator(client, READING).reconcile(KEY)
    found = condition(current(client), "Failed")
    assert (found.status, found.reason) == ("True", Failure.TEMPLATE_REJECTED)
    assert "spec.template.spec.affinity.nodeAffinity.foo, " in found.message
    assert "spec.template.spec.tolerations[0].op" in found.message and "decoding" not in found.message
