"""Whose it is: labels find objects, owner references decide, and nothing of a stranger's is believed, used or taken."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from gpuquery.api.conditions import is_true
from gpuquery.api.labels import LABEL_DASK
from gpuquery.api.reasons import Failure, Reason
from gpuquery.kube.client import Manifest, Resource
from gpuquery.reconcile.observe import ownership
from gpuquery.reconcile.policy.startup import SLOW_SECONDS
from tests.support.kube_objects import COMMITTED, UID, at, condition, failed_report, told
from tests.support.recording import READY, RecordingClient, ended
from tests.unit.reconcile.test_dask_reconciler import DASK, SPEC, joined
from tests.unit.reconcile.test_reconciler import KEY, READING, current, operator, store

if TYPE_CHECKING:
    from gpuquery.api.report import Report

NAME = f"revenue-{UID[:5]}-1"
POD = f"{NAME}-0-x"
KEPT = {ownership.JOB_NAME: NAME, ownership.JOB_UID: "u3"}
"""Labels that the Job controller gives."""


def begun(**spec: Any) -> RecordingClient:
    client = RecordingClient()
    store(client, **spec)
    return client


async def look(client: RecordingClient, seconds: float = 0, **how: Any) -> float | None:
    return await operator(client, READING, seconds=seconds, **how).reconcile(KEY)


def stranger(client: RecordingClient, status: dict[str, Any], *, of: str = POD, **metadata: Any) -> Manifest:
    """Put a copy of a pod there, as one makes it to debug: owner and the Job controller's labels are taken out."""
    copied = copy.deepcopy(client.objects[Resource.PODS, of])
    del copied["metadata"]["ownerReferences"]
    del copied["metadata"]["uid"]
    copied["metadata"] |= {"name": "debug-copy", **metadata}
    return client.put(Resource.PODS, {**copied, "status": status})


async def running() -> RecordingClient:
    """A job whose attempt runs."""
    client = begun(backoffLimit=0)
    await look(client)
    client.pod(1, READY)
    await look(client, 1)
    assert current(client).status.state == "Running"
    return client


@pytest.mark.parametrize(
    "report",
    [None, failed_report(Failure.USER_ERROR), COMMITTED],
    ids=["exit code 3", "a failure", "a commit that never was"],
)
async def test_a_strangers_copy_of_the_pod_ends_nothing(report: Report | None) -> None:
    client = await running()
    before = current(client).status
    stranger(client, ended(report, 0 if report is COMMITTED else 3))
    client.writes = []
    subject = operator(client, READING, seconds=20)
    for seconds in (20, 60):
        await replace(subject, clock=lambda seconds=seconds: at(seconds)).reconcile(KEY)
        assert current(client).status == before and client.writes == []


@pytest.mark.parametrize("status", [READY, {"phase": "Pending"}], ids=["that runs", "that waits"])
async def test_a_strangers_copy_keeps_no_job_from_ending(status: dict[str, Any]) -> None:
    client = await running()
    stranger(client, status)
    client.pod(1, ended(COMMITTED, 0))
    await look(client, 5)
    assert is_true(current(client).status.conditions, "Complete")


async def test_a_strangers_copy_is_no_rank_that_has_joined() -> None:
    client = begun()
    await look(client)
    client.pod(1, {"phase": "Pending"})
    stranger(client, READY)
    await look(client, SLOW_SECONDS)
    assert condition(current(client), "ClusterReady").message == "0 of 1 pods ready"


async def test_a_strangers_copy_of_a_preflights_pod_finds_nothing_out() -> None:
    client = begun(preflight="always")
    await look(client)
    label = "gpuquery.io/preflight"
    client.pod(1, READY, label=label)
    stranger(client, ended(failed_report(Failure.SCHEMA_MISMATCH), 1), of=f"revenue-{UID[:5]}-p1-0-x")
    await look(client, 20)
    assert told(current(client), "Preflight") == ("Unknown", Reason.CHECKING)


async def test_a_strangers_copy_of_the_batch_job_is_no_attempt() -> None:
    client = await running()
    copied = copy.deepcopy(client.objects[Resource.BATCH_JOBS, NAME])
    del copied["metadata"]["ownerReferences"]
    copied["metadata"] |= {"name": "debug-job", "uid": "stranger"}
    copied["status"] = {"conditions": [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}]}
    client.put(Resource.BATCH_JOBS, copied)
    owner = {"kind": "Job", "name": "debug-job", "uid": "stranger", "controller": True}
    stranger(client, ended(failed_report(Failure.USER_ERROR), 1), ownerReferences=[owner])
    client.objects[Resource.BATCH_JOBS, "debug-job"]["metadata"]["labels"]["gpuquery.io/attempt"] = "7"
    before = current(client).status
    await look(client, 20)
    assert current(client).status == before, "neither its end nor its number is ours"


async def test_a_job_waits_for_pods_whose_batch_job_is_gone_and_names_them() -> None:
    client = await running()
    del client.objects[Resource.BATCH_JOBS, NAME]
    client.objects[Resource.PODS, POD]["spec"] = {"nodeName": "node-1"}
    await look(client, 20)
    assert told(current(client), "Failed") == ("False", Reason.RELEASING)
    assert f"waits for pod {POD} on node node-1 to end" in condition(current(client), "ClusterReady").message
    assert f"waits for pod {POD} on node node-1 to end" in condition(current(client), "Failed").message
    client.pod_gone(POD)
    await look(client, 21)
    assert told(current(client), "Failed") == ("True", Failure.WORKER_LOST)


async def test_a_pod_that_was_left_behind_on_purpose_is_waited_for_and_a_copy_without_its_labels_is_not() -> None:
    client = await running()
    del client.objects[Resource.BATCH_JOBS, NAME]
    orphan = client.objects[Resource.PODS, POD]["metadata"]
    del orphan["ownerReferences"]
    orphan["labels"] |= KEPT
    copied = copy.deepcopy(client.objects[Resource.PODS, POD])
    copied["metadata"] |= {"name": "debug-copy", "uid": "copy"}
    copied["metadata"]["labels"] = {k: v for k, v in orphan["labels"].items() if k not in KEPT}
    client.put(Resource.PODS, copied)
    await look(client, 20)
    assert told(current(client), "Failed")[0] == "False"
    assert POD in condition(current(client), "Failed").message
    assert "debug-copy" not in condition(current(client), "Failed").message
    client.pod_gone(POD)
    await look(client, 21)
    assert told(current(client), "Failed")[0] == "True", "the copy holds up nothing"


async def test_a_committed_job_names_the_pod_it_waits_for() -> None:
    client = await running()
    lingering = {**ended(COMMITTED, 0), "phase": "Running"}
    client.pod(1, lingering)
    subject = operator(client, READING, seconds=5)
    await subject.reconcile(KEY)
    await replace(operator(client, READING, seconds=60), sightings=subject.sightings).reconcile(KEY)
    assert told(current(client), "Complete") == ("False", Reason.RELEASING)
    assert f"waits for pod {POD}" in condition(current(client), "Complete").message


TAKEN = [Resource.CONFIG_MAPS, Resource.BATCH_JOBS]
OTHERS = [
    pytest.param({}, id="that nobody owns"),
    pytest.param(
        {"ownerReferences": [{"kind": "GpuQueryJob", "name": "revenue", "uid": "another", "controller": True}]},
        id="of another job",
    ),
]


@pytest.mark.parametrize("resource", TAKEN)
@pytest.mark.parametrize("owner", OTHERS)
async def test_an_object_of_our_name_that_is_a_strangers_is_told_and_left_as_it_is(
    resource: Resource, owner: dict[str, Any]
) -> None:
    client = begun()
    theirs = {"metadata": {"name": NAME, "labels": {"app": "theirs"}, **owner}, "data": {"their": "data"}}
    before = copy.deepcopy(client.put(resource, theirs))
    await look(client)
    status = current(client).status
    assert told(current(client), "ClusterReady") == ("False", Reason.NAME_TAKEN)
    message = condition(current(client), "ClusterReady").message
    assert f"named {NAME} that is not this job's" in message and "another name" in message
    assert status.attempt is None, "no status claims an attempt"
    assert client.objects[resource, NAME] == before
    assert "event CannotStart" in client.writes
    await look(client, 700)
    assert told(current(client), "Failed") == ("True", Failure.START_DEADLINE_EXCEEDED)
    assert "not this job's" in condition(current(client), "Failed").message
    assert client.objects[resource, NAME] == before


async def test_a_config_map_of_our_name_that_a_stranger_made_is_not_taken_for_ours() -> None:
    client = begun()
    await look(client)
    client.pod(1, {"phase": "Pending"})
    theirs = {"metadata": {"name": NAME}, "data": {"their": "data"}}
    before = copy.deepcopy(client.put(Resource.CONFIG_MAPS, theirs))
    await look(client, 6)
    assert told(current(client), "ClusterReady") == ("False", Reason.NAME_TAKEN)
    assert client.objects[Resource.CONFIG_MAPS, NAME] == before


async def test_an_interrupted_creation_is_taken_up_with_what_is_there_already() -> None:
    client = begun()
    client.fault = lambda what: RuntimeError("the operator dies") if what == "create Job" else None
    with pytest.raises(RuntimeError):
        await look(client)
    client.fault = lambda _: None
    await look(client, 5)
    assert current(client).status.attempt == 1 and client.names(Resource.BATCH_JOBS) == [NAME]


async def test_a_clean_up_deletes_nothing_of_a_strangers() -> None:
    client = begun()
    await look(client)
    client.pod(1, ended(None, 137))
    await look(client, 1)
    theirs = client.put(Resource.SERVICES, {"metadata": {"name": NAME, "ownerReferences": None}})
    await look(client, 30)
    assert current(client).status.attempt == 2
    assert client.objects[Resource.SERVICES, NAME] == theirs
    assert (Resource.CONFIG_MAPS, NAME) not in client.objects


async def test_a_strangers_copy_of_a_dask_worker_is_neither_a_worker_nor_waited_for() -> None:
    client = begun(**SPEC, backoffLimit=0)
    how = {"defaults": DASK}
    await look(client, **how)
    client.pod(1, READY)
    client.dask_pod("scheduler", READY)
    client.dask_pod("worker", {"phase": "Pending"})
    worker = next(
        name
        for (kind, name), found in client.objects.items()
        if kind is Resource.PODS and found["metadata"]["labels"].get(LABEL_DASK) == "worker"
    )
    stranger(client, READY, of=worker)
    await look(client, SLOW_SECONDS, **how)
    assert "0 of 1 Dask workers running" in condition(current(client), "ClusterReady").message
    joined(client)
    await look(client, SLOW_SECONDS + 1, **how)
    assert told(current(client), "ClusterReady")[0] == "True"


@pytest.mark.parametrize(
    ("owner", "uid", "want"),
    [
        pytest.param({"kind": "Job", "name": NAME, "uid": "b1"}, "b1", True, id="the attempt's own Job controls it"),
        pytest.param({"kind": "Job", "name": NAME, "uid": "b2"}, "b1", False, id="a Job of another UID does"),
        pytest.param({}, "b1", False, id="nobody does, while the Job is there"),
        pytest.param({"kind": "Job", "name": NAME, "uid": "b1"}, "", True, id="its Job is gone"),
        pytest.param({"kind": "Job", "name": NAME, "uid": "other"}, "", False, id="a stranger's Job of that name"),
        pytest.param({"kind": "Job", "name": "debug", "uid": "b9"}, "", False, id="a Job of another name"),
        pytest.param({"kind": "ReplicaSet", "name": NAME, "uid": "b1"}, "", False, id="something else of that name"),
        pytest.param({}, "", False, id="nobody does, and nothing says that a Job made it"),
    ],
)
def test_of_job(owner: dict[str, Any], uid: str, want: bool) -> None:
    owners = [{**owner, "controller": True}] if owner else []
    found = {"metadata": {"name": "p", "labels": {}, "ownerReferences": owners}}
    assert ownership.of_job(found, NAME, uid, frozenset({"other"})) is want


def test_an_owner_that_does_not_control_is_none() -> None:
    found = {"metadata": {"name": "p", "ownerReferences": [{"kind": "Job", "name": NAME, "uid": "b1"}]}}
    assert ownership.controller(found) == {} and not ownership.belongs(found, "b1")
    assert not ownership.belongs({"metadata": {"name": "p"}}, ""), "no UID is nobody's"
