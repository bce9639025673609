"""A batch Job that somebody suspends: it is named, and by whom, at its creation and later."""

from __future__ import annotations

from typing import Any

import pytest

from gpuquery.api.conditions import is_true
from gpuquery.api.reasons import Failure, Reason
from gpuquery.kube.client import Resource
from gpuquery.reconcile.observe import parse
from tests.support.kube_objects import COMMITTED, UID, condition, told
from tests.support.recording import READY, RecordingClient, ended
from tests.unit.reconcile.test_reconciler import KEY, READING, current, operator, store

NAME = f"revenue-{UID[:5]}-1"
BY_KUBECTL = [
    {"manager": "gpuquery-operator", "fieldsV1": {"f:spec": {"f:completions": {}}}},
    {"manager": "kubectl-patch", "fieldsV1": {"f:spec": {"f:suspend": {}}}},
]


async def look(client: RecordingClient, seconds: float = 0) -> float | None:
    return await operator(client, READING, seconds=seconds).reconcile(KEY)


def suspend(client: RecordingClient, *, managers: Any = BY_KUBECTL, labels: dict[str, str] | None = None) -> None:
    found = client.objects[Resource.BATCH_JOBS, NAME]
    found["spec"] = {**found["spec"], "suspend": True}
    found["metadata"] |= {"managedFields": managers, "labels": {**found["metadata"]["labels"], **(labels or {})}}


@pytest.mark.parametrize(
    ("how", "want"),
    [
        pytest.param({"managers": BY_KUBECTL}, "kubectl-patch", id="by a field manager"),
        pytest.param(
            {"labels": {"kueue.x-k8s.io/queue-name": "gpus"}}, "Kueue, queue gpus", id="by a queue that its label names"
        ),
        pytest.param(
            {"managers": [{"manager": "gpuquery-operator", "fieldsV1": {"f:spec": {"f:suspend": {}}}}]},
            "a policy or a webhook, as it was created",
            id="by admission, in the name of who creates it",
        ),
        pytest.param({"managers": []}, "", id="by nobody who says so"),
    ],
)
async def test_a_job_that_is_created_suspended_is_named_with_who_did_it(how: dict[str, Any], want: str) -> None:
    client = RecordingClient()
    store(client, startDeadlineSeconds=30)
    await look(client)
    suspend(client, **how)
    assert (await look(client, 1) or 0) > 1, "whoever resumes it changes it, and the watch tells"
    assert told(current(client), "ClusterReady") == ("False", Reason.SUSPENDED)
    by = f" (by {want})" if want else ""
    assert condition(current(client), "ClusterReady").message == (
        f"the Job {NAME} is suspended{by} and gets no pods until it is resumed (spec.suspend)"
    )
    assert client.writes.count("event CannotStart") == 1
    await look(client, 31)
    await look(client, 32)
    assert told(current(client), "Failed") == ("True", Failure.START_DEADLINE_EXCEEDED)
    assert f"Suspended: the Job {NAME} is suspended{by}" in condition(current(client), "Failed").message
    assert current(client).status.attempt == 1, "another attempt would be suspended too"


async def test_a_job_that_is_resumed_goes_on_as_the_same_attempt() -> None:
    client = RecordingClient()
    store(client)
    await look(client)
    suspend(client)
    await look(client, 1)
    client.objects[Resource.BATCH_JOBS, NAME]["spec"]["suspend"] = False
    client.pod(1, READY)
    await look(client, 2)
    client.pod(1, ended(COMMITTED, 0))
    await look(client, 9)
    assert is_true(current(client).status.conditions, "Complete") and current(client).status.attempt == 1


async def test_a_job_that_is_suspended_while_it_runs_lost_its_pods_to_that_and_spends_no_budget() -> None:
    client = RecordingClient()
    store(client, backoffLimit=0)
    await look(client)
    client.pod(1, READY)
    await look(client, 1)
    suspend(client)
    await look(client, 2)
    words = f"the Job {NAME} was suspended (by kubectl-patch) while its pods ran"
    assert told(current(client), "Failed") == ("False", Reason.RELEASING)
    assert words in condition(current(client), "Failed").message
    assert client.names(Resource.BATCH_JOBS) == [NAME], "its pods are on their way out, and may still report"
    del client.objects[Resource.PODS, f"{NAME}-0-x"]
    await look(client, 3)
    await look(client, 4)
    attempt = current(client).status.attempts[0]
    assert attempt.reason == Failure.EVICTED and words in (attempt.message or "")
    assert told(current(client), "Failed") == ("False", Reason.RETRYING)


async def test_a_preflight_that_is_suspended_is_named_too() -> None:
    client = RecordingClient()
    store(client, preflight="always", startDeadlineSeconds=30)
    await look(client)
    name = f"revenue-{UID[:5]}-p1"
    client.objects[Resource.BATCH_JOBS, name]["spec"]["suspend"] = True
    await look(client, 1)
    assert told(current(client), "Preflight") == ("Unknown", Reason.SUSPENDED)
    assert f"the Job {name} is suspended" in condition(current(client), "Preflight").message
    await look(client, 31)
    await look(client, 32)
    assert f"the Job {name} is suspended" in condition(current(client), "Failed").message


def test_a_name_of_a_field_manager_is_told_up_to_a_bound() -> None:
    managers = [{"manager": "m" * 200, "fieldsV1": {"f:spec": {"f:suspend": {}}}}]
    found = parse.batch_job({"metadata": {"name": NAME, "managedFields": managers}, "spec": {"suspend": True}})
    assert found.suspended == "m" * 64
    assert parse.batch_job({"metadata": {"name": NAME}, "spec": {"suspend": False}}).suspended is None
