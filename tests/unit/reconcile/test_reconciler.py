"""The reconciler against a recording API server: what it writes, and what a crash at any write leaves."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from gpuquery.api.choices import ReleaseChoice
from gpuquery.api.conditions import is_true
from gpuquery.api.labels import LABEL_PREFLIGHT
from gpuquery.api.reasons import Failure, Reason
from gpuquery.api.report import Phase, Progress
from gpuquery.api.types import GpuQueryJob
from gpuquery.kube.client import ApiError, Resource
from gpuquery.kube.progress import Reading
from gpuquery.plan.defaults import Defaults
from gpuquery.plan.plan import Plan, Purpose
from gpuquery.reconcile.metrics import Metrics
from gpuquery.reconcile.queue import WorkQueue
from gpuquery.reconcile.reconciler import Key, Reconciler
from tests.support.kube_objects import CHECKED, COMMITTED, DEFAULTS, FOUND, NOW, UID, at, failed_report
from tests.support.recording import READY, NoProgress, RecordingClient, busy, ended

KEY = ("marts", "revenue")


def store(client: RecordingClient, **spec: Any) -> None:
    metadata = {
        "name": "revenue", "namespace": "marts", "uid": UID, "generation": 1, "creationTimestamp": NOW.isoformat(),
    }  # fmt: skip
    body = {"query": {"sql": "SELECT 1 AS a"}, "output": {"uri": "s3://lake/out"}, **spec}
    job = {"apiVersion": "gpuquery.io/v1alpha1", "kind": "GpuQueryJob", "metadata": metadata, "spec": body}
    client.put(Resource.JOBS, job)


def operator(
    client: RecordingClient, reading: Reading | None = None, *, defaults: Defaults = DEFAULTS, seconds: float = 0
) -> Reconciler:
    """A freshly started operator: it remembers nothing. Its clock shows that many seconds after NOW."""
    queue: WorkQueue[Key] = WorkQueue()
    metrics = Metrics(client, queue)
    reader = NoProgress(reading)
    return Reconciler(client=client, reader=reader, defaults=defaults, metrics=metrics, clock=lambda: at(seconds))


def current(client: RecordingClient) -> GpuQueryJob:
    return GpuQueryJob.model_validate(client.objects[Resource.JOBS, "revenue"])


READING = Reading(at=NOW, progress=Progress(phase=Phase.RUNNING))


async def test_one_attempt_of_one_pod_costs_nine_writes() -> None:
    client = RecordingClient()
    store(client)
    subject = operator(client, READING)
    await subject.reconcile(KEY)
    for status in ({"phase": "Pending"}, {"phase": "Running"}, READY, READY, ended(COMMITTED, 0), ended(COMMITTED, 0)):
        client.pod(1, status)
        await subject.reconcile(KEY)
    assert is_true(current(client).status.conditions, "Complete")
    assert Counter(client.writes) == {
        "create NetworkPolicy": 1, "create Job": 1, "create ConfigMap": 1, "apply status": 3,
        "event Planned": 1, "event AttemptStarted": 1, "event Complete": 1,
    }  # fmt: skip


@pytest.mark.parametrize("moment", ["asked for", "pending", "running", "retrying", "complete", "failed"])
async def test_a_restarted_operator_writes_nothing(moment: str) -> None:
    client = RecordingClient()
    store(client)
    first = operator(client, READING)
    await first.reconcile(KEY)
    happened = {
        "pending": {"phase": "Pending"},
        "running": READY,
        "retrying": ended(failed_report(Failure.EVICTED), 1),
        "complete": ended(COMMITTED, 0),
        "failed": ended(failed_report(Failure.USER_ERROR), 1),
    }
    if moment == "retrying":
        client.pod(1, ended(failed_report(Failure.STORAGE_UNAVAILABLE), 1))
        job = client.objects[Resource.JOBS, "revenue"]
        await first.reconcile(KEY)
        # The pause of the retry lies in the future of the clock by which the operator goes.
        for attempt in job["status"]["attempts"]:
            attempt["ended"] = "2999-01-01T00:00:00Z"
        await first.reconcile(KEY)
    elif moment != "asked for":
        client.pod(1, happened[moment])
        await first.reconcile(KEY)
    before, client.writes = current(client), []
    for _ in range(3):
        await operator(client, READING).reconcile(KEY)
    assert client.writes == []
    assert current(client).status == before.status


async def live(client: RecordingClient, *histories: list[dict[str, Any]]) -> None:
    """Run a job to its end, with a new operator after every crash; each attempt's pod has a history of its own."""
    left = [iter(history) for history in histories]
    for _ in range(60):
        try:
            await operator(client, READING).reconcile(KEY)
        except ApiError:
            continue
        job = current(client)
        for attempt in client.objects[Resource.JOBS, "revenue"].get("status", {}).get("attempts", []):
            if attempt.get("ended"):
                attempt["ended"] = "2020-01-01T00:00:00Z"  # the pause before a retry has passed
        if is_true(job.status.conditions, "Complete") or is_true(job.status.conditions, "Failed"):
            return
        number = job.status.attempt or 1
        under_way = not any(a.id == number and a.ended for a in job.status.attempts)
        if under_way and client.names(Resource.BATCH_JOBS) and (status := next(left[number - 1], None)):
            client.pod(number, status)
    raise AssertionError("the job never ended")


UNLUCKY = [{"phase": "Pending"}, READY, ended(failed_report(Failure.WORKER_LOST), 1)]
LUCKY = [READY, READY, ended(COMMITTED, 0)]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("crash", range(1, 22))
async def test_a_crash_at_any_write_changes_nothing_about_the_end(crash: int, when: str) -> None:
    client = RecordingClient()
    store(client)
    count = 0

    def fault(what: str) -> Exception | None:
        nonlocal count
        if what.endswith(" done") is (when == "after"):
            count += 1
            if count == crash:
                return busy()
        return None

    client.fault = fault
    await live(client, UNLUCKY, LUCKY)
    status = current(client).status
    assert is_true(status.conditions, "Complete") and not is_true(status.conditions, "Failed")
    assert [(a.id, a.reason) for a in status.attempts] == [(1, "WorkerLost"), (2, None)]
    assert status.counted_failures == 1, "a failure is counted once, however often it is looked at"
    assert client.names(Resource.BATCH_JOBS) == [f"revenue-{UID[:5]}-2"], "of the first attempt nothing is left"


async def test_a_quota_on_batch_jobs_is_told_and_no_status_claims_an_attempt() -> None:
    client = RecordingClient()
    store(client)
    refused = ApiError(403, "Forbidden", 'jobs.batch "x" is forbidden: exceeded quota: few, requested: count/jobs=1')
    client.fault = lambda what: refused if what == "create Job" else None
    again = await operator(client).reconcile(KEY)
    status = current(client).status
    assert status.attempt is None and again
    assert any(c.reason == "QuotaExceeded" and "few" in c.message for c in status.conditions)


OLD = Defaults(runtime_image="cpu:1", runtime_image_pattern="old:{release}", default_release=ReleaseChoice.R26_04)
NEW = Defaults(runtime_image="cpu:2", runtime_image_pattern="new:{release}", rapidsmpf_percentage=100, gpu_memory=1)


def plan_of(client: RecordingClient, attempt: int = 1) -> Plan:
    name = f"revenue-{UID[:5]}-{attempt}"
    return Plan.model_validate_json(client.objects[Resource.CONFIG_MAPS, name]["data"]["plan.json"])


def image_of(client: RecordingClient, attempt: int = 1) -> str:
    job = client.objects[Resource.BATCH_JOBS, f"revenue-{UID[:5]}-{attempt}"]
    image: str = job["spec"]["template"]["spec"]["containers"][0]["image"]
    return image


@pytest.mark.parametrize("told", [True, False], ids=["the plan was told", "the operator died before it was told"])
async def test_new_defaults_while_a_quota_holds_the_job_up_change_no_plan_that_was_told(told: bool) -> None:
    client = RecordingClient()
    store(client, workers={"replicas": 2, "gpus": 8}, preflight="never")
    refused = ApiError(403, "Forbidden", 'jobs.batch "x" is forbidden: exceeded quota: few, requested: count/jobs=1')
    client.fault = lambda what: refused if what == "create Job" else None
    await operator(client, defaults=OLD).reconcile(KEY)
    first = current(client).status.plan
    assert first and (first.engine, first.release) == ("tasks", "26.04")
    if not told:
        del client.objects[Resource.JOBS, "revenue"]["status"]
    for _ in range(2):
        await operator(client, defaults=NEW).reconcile(KEY)
        assert not is_true(current(client).status.conditions, "Failed"), current(client).status.conditions
    client.fault = lambda _: None
    await operator(client, defaults=NEW).reconcile(KEY)
    after, plan = current(client).status.plan, plan_of(client)
    assert after and (after == first) is told
    assert (plan.engine, plan.release, plan.replicas, plan.gpus) == (after.engine, after.release, 2, 8)
    assert image_of(client) == after.image == ("old:26.04" if told else "new:26.10")
    assert client.names(Resource.BATCH_JOBS) == [f"revenue-{UID[:5]}-1"]


async def test_new_defaults_while_a_quota_holds_the_preflight_up_are_what_it_then_checks() -> None:
    client = RecordingClient()
    store(client, workers={"replicas": 2, "gpus": 8})
    refused = ApiError(403, "Forbidden", 'jobs.batch "x" is forbidden: exceeded quota: few, requested: count/jobs=1')
    client.fault = lambda what: refused if what == "create Job" else None
    await operator(client, defaults=OLD).reconcile(KEY)
    assert current(client).status.plan is None, "nothing is decided before the preflight"
    client.fault = lambda _: None
    await operator(client, defaults=NEW).reconcile(KEY)
    assert not is_true(current(client).status.conditions, "Failed"), current(client).status.conditions
    (name,) = client.names(Resource.CONFIG_MAPS)
    plan = Plan.model_validate_json(client.objects[Resource.CONFIG_MAPS, name]["data"]["plan.json"])
    assert (plan.engine, plan.release, plan.purpose) == ("rapidsmpf", "26.10", Purpose.PREFLIGHT)
    assert client.names(Resource.BATCH_JOBS) == [name]


async def test_a_later_attempt_runs_what_the_first_one_ran_whatever_the_defaults_are_by_then() -> None:
    client = RecordingClient()
    store(client, workers={"gpus": 2}, preflight="never")
    await operator(client, defaults=OLD).reconcile(KEY)
    first = current(client).status.plan
    client.pod(1, ended(failed_report(Failure.EVICTED), 1))
    await operator(client, defaults=NEW).reconcile(KEY)
    client.objects[Resource.JOBS, "revenue"]["status"]["attempts"][0]["ended"] = "2020-01-01T00:00:00Z"
    await operator(client, defaults=NEW).reconcile(KEY)
    status, plan = current(client).status, plan_of(client, 2)
    assert status.attempt == 2 and status.plan == first
    assert (plan.engine, plan.cluster, plan.release, plan.gpus) == ("tasks", "distributed", "26.04", 2)
    assert image_of(client, 2) == "old:26.04"


def noted(client: RecordingClient, **annotations: str) -> None:
    """Let the job's namespace have defaults."""
    found = {f"gpuquery.io/default-{name}": value for name, value in annotations.items()}
    client.put(Resource.NAMESPACES, {"metadata": {"name": "marts", "annotations": found}})


async def test_the_namespaces_defaults_hold_and_are_read_once() -> None:
    client = RecordingClient()
    store(client, preflight="never")
    noted(client, release="26.06", cluster="distributed")
    await operator(client, defaults=NEW).reconcile(KEY)
    plan = current(client).status.plan
    assert plan and (plan.cluster, plan.release) == ("distributed", "26.06") and "annotation" in plan.why
    noted(client, release="26.08")
    await operator(client, defaults=NEW).reconcile(KEY)
    assert current(client).status.plan == plan


async def test_a_bad_annotation_is_told_in_the_job() -> None:
    client = RecordingClient()
    store(client)
    noted(client, engine="fast")
    await operator(client).reconcile(KEY)
    (accepted,) = (c for c in current(client).status.conditions if c.type == "Accepted")
    assert (accepted.status, accepted.reason) == ("False", Failure.INVALID_COMBINATION)
    assert "default-engine" in accepted.message and '"fast"' in accepted.message
    assert client.names(Resource.CONFIG_MAPS) == []


@pytest.mark.parametrize("status", [403, 503])
async def test_what_a_namespace_says_is_not_guessed_where_it_cannot_be_read(status: int) -> None:
    client = RecordingClient()
    store(client)
    get = client.get

    async def guarded(resource: Resource, *where: Any, **how: Any) -> Any:
        if resource is Resource.NAMESPACES:
            raise ApiError(status, "", "namespaces")
        return await get(resource, *where, **how)

    client.get = guarded  # type: ignore[method-assign]
    with pytest.raises(ApiError):
        await operator(client).reconcile(KEY)
    assert client.writes == []


async def test_what_will_have_to_change_is_warned_of_once() -> None:
    client = RecordingClient()
    store(client, scheduler="synchronous", preflight="never")
    for _ in range(3):
        await operator(client, defaults=OLD).reconcile(KEY)
    client.pod(1, ended(failed_report(Failure.EVICTED), 1))
    await operator(client, defaults=OLD).reconcile(KEY)
    client.objects[Resource.JOBS, "revenue"]["status"]["attempts"][0]["ended"] = "2020-01-01T00:00:00Z"
    await operator(client, defaults=OLD).reconcile(KEY)
    assert current(client).status.attempt == 2
    events = [o for (kind, _), o in client.objects.items() if kind is Resource.EVENTS]
    warned = {e["reason"]: e for e in events if e["reason"] in ("Deprecated", "DefaultChanges")}
    assert {e["type"] for e in warned.values()} == {"Warning"}
    assert "cluster: single" in warned["Deprecated"]["note"]
    assert "26.04" in warned["DefaultChanges"]["note"] and "from 26.06 on" in warned["DefaultChanges"]["note"]
    for reason in ("Deprecated", "DefaultChanges", "Planned"):
        assert client.writes.count(f"event {reason}") == 1
    (accepted,) = (c for c in current(client).status.conditions if c.type == "Accepted")
    assert accepted.status == "True"
    assert accepted.message.startswith("tasks x single on 26.04, 1 pod x 1 GPU: ")
    assert "scheduler is deprecated" in accepted.message


async def test_an_object_that_no_model_can_read_fails_with_the_field() -> None:
    client = RecordingClient()
    store(client, backoffLimit=-3)
    await operator(client).reconcile(KEY)
    conditions = client.objects[Resource.JOBS, "revenue"]["status"]["conditions"]
    failed = next(c for c in conditions if c["type"] == "Failed")
    assert failed["status"] == "True" and "backoffLimit" in failed["message"]
    assert client.names(Resource.BATCH_JOBS) == []
    client.writes = []
    assert await operator(client).reconcile(KEY) is None, "what has failed is left alone"
    assert client.writes == []


async def test_an_end_that_somebody_wrote_by_hand_hides_no_field_that_cannot_be_read() -> None:
    client = RecordingClient()
    store(client, backoffLimit=-3)
    complete = {"type": "Complete", "status": "True", "reason": "Completed", "message": ""}
    client.objects[Resource.JOBS, "revenue"]["status"] = {"conditions": [complete]}
    await operator(client).reconcile(KEY)
    conditions = {c["type"]: c for c in client.objects[Resource.JOBS, "revenue"]["status"]["conditions"]}
    assert conditions["Failed"]["status"] == "True" and "backoffLimit" in conditions["Failed"]["message"]
    assert conditions["Complete"]["status"] == "False"


async def test_a_job_that_is_being_deleted_is_left_to_the_garbage_collector() -> None:
    client = RecordingClient()
    store(client)
    client.objects[Resource.JOBS, "revenue"]["metadata"]["deletionTimestamp"] = NOW.isoformat()
    assert await operator(client).reconcile(KEY) is None
    assert await operator(client).reconcile(("marts", "never-there")) is None
    assert client.writes == []


async def test_an_event_that_cannot_be_posted_stops_nothing() -> None:
    client = RecordingClient()
    store(client)
    client.fault = lambda what: ApiError(403, "Forbidden", "namespace is terminating") if "event" in what else None
    await operator(client).reconcile(KEY)
    assert current(client).status.state == "Starting"


async def test_a_config_map_that_someone_deleted_is_made_again_while_the_pod_waits_for_it() -> None:
    client = RecordingClient()
    store(client)
    await operator(client).reconcile(KEY)
    client.pod(1, {"phase": "Pending"})
    name = f"revenue-{UID[:5]}-1"
    del client.objects[Resource.CONFIG_MAPS, name]
    await operator(client, seconds=6).reconcile(KEY)
    assert client.names(Resource.CONFIG_MAPS) == [name]


OTHERS = [{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "somebody-else"}]


@pytest.mark.parametrize(
    ("resource", "name"),
    [
        (Resource.BATCH_JOBS, "revenue-0a1b2-1"),
        (Resource.CONFIG_MAPS, "revenue-0a1b2-1"),
        (Resource.NETWORK_POLICIES, "revenue-0a1b2"),
    ],
)
async def test_no_pod_runs_by_what_somebody_else_has_put_under_the_name_of_an_attempt(
    resource: Resource, name: str
) -> None:
    client = RecordingClient()
    store(client)
    theirs = client.put(resource, {"metadata": {"name": name, "labels": {}, "ownerReferences": OTHERS}})
    again = await operator(client).reconcile(KEY)
    told = next(c for c in current(client).status.conditions if c.type == "ClusterReady")
    assert told.reason == Reason.NAME_TAKEN and f"named {name} that is not this job's" in told.message
    assert again and client.objects[resource, name] == theirs
    assert "create Job" not in client.writes or resource is Resource.BATCH_JOBS, "none that would find his plan"
    del client.objects[resource, name]
    await operator(client).reconcile(KEY)
    assert current(client).status.attempt == 1


async def test_a_job_goes_again_whose_name_somebody_was_quick_enough_to_take() -> None:
    client = RecordingClient()
    store(client)
    name = "revenue-0a1b2-1"

    def quick(what: str) -> None:
        if what == "create Job":
            client.put(Resource.CONFIG_MAPS, {"metadata": {"name": name, "labels": {}, "ownerReferences": OTHERS}})

    client.fault = quick
    assert await operator(client).reconcile(KEY)
    told = next(c for c in current(client).status.conditions if c.type == "ClusterReady")
    assert told.reason == Reason.NAME_TAKEN and client.names(Resource.BATCH_JOBS) == []


async def test_a_quota_on_config_maps_leaves_no_pod_that_waits_for_its_plan() -> None:
    client = RecordingClient()
    store(client)
    refused = ApiError(
        403, "Forbidden", 'configmaps "x" is forbidden: exceeded quota: few, requested: count/configmaps=1'
    )
    client.fault = lambda what: refused if what == "create ConfigMap" else None
    assert await operator(client).reconcile(KEY)
    assert client.names(Resource.BATCH_JOBS) == [] and current(client).status.attempt is None
    assert any(c.reason == Reason.QUOTA_EXCEEDED for c in current(client).status.conditions)
    client.fault = lambda _: None
    await operator(client).reconcile(KEY)
    assert client.names(Resource.BATCH_JOBS) == ["revenue-0a1b2-1"]


async def test_a_job_that_was_taken_back_is_no_attempt_that_failed() -> None:
    """The garbage collector takes its time: until Job and pod are gone nothing follows, and nothing is spent."""
    client = RecordingClient()
    store(client, backoffLimit=0)
    await operator(client).reconcile(KEY)
    client.pod(1, {"phase": "Pending"})
    client.objects[Resource.JOBS, "revenue"]["status"] = {}
    client.objects[Resource.BATCH_JOBS, "revenue-0a1b2-1"]["metadata"]["deletionTimestamp"] = "2026-11-21T12:00:00Z"
    assert await operator(client).reconcile(KEY) == 1.0
    del client.objects[Resource.BATCH_JOBS, "revenue-0a1b2-1"]
    assert await operator(client).reconcile(KEY) == 1.0
    assert current(client).status.attempt is None
    client.objects = {
        key: o for key, o in client.objects.items() if key[0] in (Resource.JOBS, Resource.NETWORK_POLICIES)
    }
    await operator(client).reconcile(KEY)
    assert current(client).status.attempt == 1 and not current(client).status.counted_failures


async def test_a_job_whose_plan_is_refused_for_good_ends_once_no_pod_of_it_is_alive() -> None:
    client = RecordingClient()
    store(client)
    large = ApiError(413, "RequestEntityTooLarge", "limit is 3145728")
    client.fault = lambda what: large if what == "create ConfigMap" else None
    subject = operator(client)
    await subject.reconcile(KEY)
    told = {c.type: c for c in current(client).status.conditions}
    assert told["Failed"].status == "False" and told["ClusterReady"].message == large.message
    await subject.reconcile(KEY)
    told = {c.type: c for c in current(client).status.conditions}
    assert (told["Failed"].status, told["Failed"].reason) == ("True", Failure.TEMPLATE_REJECTED)
    assert client.writes.count("create Job") == 1


async def test_a_refusal_that_cost_a_job_holds_for_a_while_however_often_somebody_looks() -> None:
    client = RecordingClient()
    store(client)
    refused = ApiError(403, "Forbidden", "exceeded quota: few, requested: count/configmaps=1")
    client.fault = lambda what: refused if what == "create ConfigMap" else None
    subject = operator(client)
    for _ in range(5):
        await subject.reconcile(KEY)
    assert client.writes.count("create Job") == 1
    assert any(c.reason == Reason.QUOTA_EXCEEDED for c in current(client).status.conditions)


async def test_what_an_attempt_is_made_of_goes_with_its_job_without_a_right_to_delete_it() -> None:
    client = RecordingClient()
    store(client)
    await operator(client).reconcile(KEY)
    job = client.objects[Resource.BATCH_JOBS, "revenue-0a1b2-1"]["metadata"]
    (owner,) = client.objects[Resource.CONFIG_MAPS, "revenue-0a1b2-1"]["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("Job", job["uid"]) and "blockOwnerDeletion" not in owner
    client.pod(1, ended(failed_report(Failure.EVICTED), 1))
    for _ in range(3):
        for each in client.objects[Resource.JOBS, "revenue"]["status"]["attempts"]:
            each.update({"ended": "2020-01-01T00:00:00Z"} if each.get("ended") else {})
        await operator(client).reconcile(KEY)
    assert client.names(Resource.CONFIG_MAPS) == ["revenue-0a1b2-2"] and current(client).status.attempt == 2
    assert {what for what in client.writes if what.startswith("delete")} == {"delete BATCH_JOBS"}


async def test_an_object_that_the_api_server_finds_invalid_is_not_asked_for_again() -> None:
    client = RecordingClient()
    store(client)
    invalid = ApiError(422, "Invalid", 'Job "x" is invalid: spec.template.spec.tolerations[0].effect')
    client.fault = lambda what: invalid if what == "create Job" else None
    await operator(client).reconcile(KEY)
    status = current(client).status
    assert any(c.type == "Failed" and c.reason == Failure.TEMPLATE_REJECTED for c in status.conditions)


async def test_an_expired_job_is_deleted_by_its_uid_so_that_no_namesake_goes() -> None:
    client = RecordingClient()
    store(client, ttlSecondsAfterFinished=0)
    asked: list[str | None] = []
    delete = client.delete

    async def noted(*what: Any, uid: str | None = None, **how: Any) -> bool:
        asked.append(uid)
        return await delete(*what, uid=uid, **how)

    client.delete = noted  # type: ignore[method-assign]
    await operator(client, READING).reconcile(KEY)
    client.pod(1, ended(COMMITTED, 0))
    for _ in range(2):
        await operator(client).reconcile(KEY)
    assert asked == [UID] and client.names(Resource.JOBS) == []


async def test_words_of_any_length_fit_into_status_and_event() -> None:
    client = RecordingClient()
    store(client)
    words = "é" * 40_000
    client.fault = lambda what: ApiError(422, "Invalid", words) if what == "create Job" else None
    await operator(client).reconcile(KEY)
    assert all(len(c.message) <= 4096 for c in current(client).status.conditions)
    events = [o for (kind, _), o in client.objects.items() if kind is Resource.EVENTS]
    assert events and all(len(e["note"].encode()) <= 1024 for e in events), "the API server refuses longer ones"


async def test_a_pod_that_has_ended_is_ready_no_more_and_its_pace_is_forgotten() -> None:
    forgotten: set[str] = set()

    class Noting(NoProgress):
        def forget(self, job: Key, pod_uids: set[str]) -> None:
            forgotten.update(pod_uids)

    client = RecordingClient()
    store(client, backoffLimit=0)
    await operator(client).reconcile(KEY)
    # A node that was lost leaves the condition Ready as it was.
    client.pod(1, {**READY, "phase": "Failed"})
    subject = Reconciler(**{**vars(operator(client)), "reader": Noting()})
    await subject.reconcile(KEY)
    uid = next(o["metadata"]["uid"] for (kind, _), o in client.objects.items() if kind is Resource.PODS)
    assert forgotten == {uid}
    assert current(client).status.attempts[0].ready is None


# With a preflight.


def kubelet(client: RecordingClient, run: int, status: dict[str, Any]) -> None:
    """Let the kubelet say something about the pod of a preflight."""
    client.pod(run, status, label=LABEL_PREFLIGHT)


async def test_a_preflight_costs_six_writes_more() -> None:
    client = RecordingClient()
    store(client, preflight="always")
    subject = operator(client, READING)
    await subject.reconcile(KEY)
    for status in ({"phase": "Pending"}, {"phase": "Running"}, READY, ended(CHECKED, 0)):
        kubelet(client, 1, status)
        await subject.reconcile(KEY)
    for status in ({"phase": "Pending"}, READY, READY, ended(COMMITTED, 0), ended(COMMITTED, 0)):
        client.pod(1, status)
        await subject.reconcile(KEY)
    assert is_true(current(client).status.conditions, "Complete")
    assert Counter(client.writes) == {
        "create NetworkPolicy": 2, "create Job": 2, "create ConfigMap": 2, "apply status": 4, "delete BATCH_JOBS": 1,
        "event PreflightPassed": 1, "event Planned": 1, "event AttemptStarted": 1, "event Complete": 1,
    }  # fmt: skip


async def test_a_dry_run_costs_eight_writes() -> None:
    client = RecordingClient()
    store(client, dryRun=True)
    subject = operator(client)
    await subject.reconcile(KEY)
    for status in ({"phase": "Pending"}, READY, ended(CHECKED, 0), ended(CHECKED, 0)):
        kubelet(client, 1, status)
        await subject.reconcile(KEY)
    status = current(client).status
    assert is_true(status.conditions, "Complete") and status.preflight == FOUND
    assert Counter(client.writes) == {
        "create NetworkPolicy": 1, "create Job": 1, "create ConfigMap": 1, "apply status": 2,
        "event PreflightPassed": 1, "event Planned": 1, "event Complete": 1,
    }  # fmt: skip


@pytest.mark.parametrize("moment", ["asked for", "pending", "running", "between", "passed", "failed", "dry"])
async def test_an_operator_that_restarts_beside_a_preflight_writes_nothing(moment: str) -> None:
    client = RecordingClient()
    store(client, **({"dryRun": True} if moment == "dry" else {"preflight": "always"}))
    happened = {
        "pending": {"phase": "Pending"},
        "running": READY,
        "between": ended(failed_report(Failure.STORAGE_UNAVAILABLE), 1),
        "passed": ended(CHECKED, 0),
        "failed": ended(failed_report(Failure.SCHEMA_MISMATCH), 1),
        "dry": ended(CHECKED, 0),
    }
    await operator(client).reconcile(KEY)
    if moment in happened:
        kubelet(client, 1, happened[moment])
        await operator(client).reconcile(KEY)
    if moment == "between":
        # The pause of the retry lies in the future of the clock by which the operator goes.
        client.objects[Resource.JOBS, "revenue"]["status"]["preflightRun"]["ended"] = "2999-01-01T00:00:00Z"
        await operator(client).reconcile(KEY)
    before, client.writes = current(client), []
    for _ in range(3):
        await operator(client).reconcile(KEY)
    assert client.writes == []
    assert current(client).status == before.status


async def checked(client: RecordingClient, runs: list[list[dict[str, Any]]], history: list[dict[str, Any]]) -> None:
    """Run a job with a preflight to its end, with a new operator after every crash."""
    left, rest = [iter(run) for run in runs], iter(history)
    for _ in range(60):
        try:
            await operator(client, READING).reconcile(KEY)
        except ApiError:
            continue
        job = current(client)
        stored = client.objects[Resource.JOBS, "revenue"].get("status", {})
        if (run := job.status.preflight_run) and run.ended and run.reason:
            stored["preflightRun"]["ended"] = "2020-01-01T00:00:00Z"  # the pause before the next has passed
        if is_true(job.status.conditions, "Complete") or is_true(job.status.conditions, "Failed"):
            return
        names = client.names(Resource.BATCH_JOBS)
        if job.status.attempt is None and run and not run.ended and f"revenue-{UID[:5]}-p{run.id}" in names:
            if status := next(left[run.id - 1], None):
                kubelet(client, run.id, status)
        elif f"revenue-{UID[:5]}-1" in names and (status := next(rest, None)):
            client.pod(1, status)
    raise AssertionError("the job never ended")


GONE = [{"phase": "Pending"}, READY, ended(failed_report(Failure.WORKER_LOST), 1)]
PASSES = [{"phase": "Pending"}, READY, ended(CHECKED, 0)]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("crash", range(1, 26))
async def test_a_crash_at_any_write_beside_a_preflight_changes_nothing_about_the_end(crash: int, when: str) -> None:
    client = RecordingClient()
    store(client, preflight="always")
    count = 0

    def fault(what: str) -> Exception | None:
        nonlocal count
        if what.endswith(" done") is (when == "after"):
            count += 1
            if count == crash:
                return busy()
        return None

    client.fault = fault
    await checked(client, [GONE, PASSES], LUCKY)
    status = current(client).status
    assert is_true(status.conditions, "Complete") and status.preflight == FOUND
    assert [(a.id, a.reason) for a in status.attempts] == [(1, None)]
    assert status.preflight_run and status.preflight_run.id == 2
    assert client.names(Resource.BATCH_JOBS) == [f"revenue-{UID[:5]}-1"], "of the preflight nothing is left"
    assert client.names(Resource.CONFIG_MAPS) == [f"revenue-{UID[:5]}-1"]


async def test_the_query_of_a_preflight_comes_from_its_config_map_and_the_attempt_runs_the_same() -> None:
    client = RecordingClient()
    ref = {"configMapKeyRef": {"name": "queries", "key": "q.sql"}}
    store(client, query=ref, preflight="always")
    client.put(Resource.CONFIG_MAPS, {"metadata": {"name": "queries", "labels": {}}, "data": {"q.sql": "SELECT 1"}})
    await operator(client).reconcile(KEY)
    kubelet(client, 1, ended(CHECKED, 0))
    client.objects[Resource.CONFIG_MAPS, "queries"]["data"]["q.sql"] = "SELECT 2"
    await operator(client).reconcile(KEY)
    status = current(client).status
    assert any(c.type == "Failed" and c.reason == Failure.INVALID_QUERY for c in status.conditions)
    assert status.attempt is None


async def test_a_quota_on_batch_jobs_is_told_of_the_preflight_too() -> None:
    client = RecordingClient()
    store(client, preflight="always")
    refused = ApiError(403, "Forbidden", 'jobs.batch "x" is forbidden: exceeded quota: few, requested: count/jobs=1')
    client.fault = lambda what: refused if what == "create Job" else None
    again = await operator(client).reconcile(KEY)
    status = current(client).status
    assert status.preflight_run is None and again
    told = {c.type: c for c in status.conditions}
    assert told["Preflight"].reason == "QuotaExceeded" and "few" in told["Preflight"].message


async def test_the_config_map_of_a_preflight_is_made_again_while_its_pod_waits_for_it() -> None:
    client = RecordingClient()
    store(client, preflight="always")
    await operator(client).reconcile(KEY)
    kubelet(client, 1, {"phase": "Pending"})
    name = f"revenue-{UID[:5]}-p1"
    del client.objects[Resource.CONFIG_MAPS, name]
    await operator(client, seconds=6).reconcile(KEY)
    assert client.names(Resource.CONFIG_MAPS) == [name]
