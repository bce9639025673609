"""The reconciler and DaskClusters: what it asks for, writes and takes away, whoever else is there or is not."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from gpuquery.api.conditions import is_true
from gpuquery.api.labels import LABEL_DASK, LABEL_JOB, LABEL_JOB_UID
from gpuquery.api.reasons import Failure
from gpuquery.kube.client import FOREGROUND, ApiError, Resource
from gpuquery.plan.defaults import Defaults
from gpuquery.plan.plan import Plan
from gpuquery.reconcile.observe.dask import scheduler as look
from gpuquery.reconcile.observe.dask import with_cluster
from gpuquery.reconcile.observe.model import Attempt
from tests.support.kube_objects import COMMITTED, UID, condition, failed_report, job, told
from tests.support.recording import READY, RecordingClient, busy, ended
from tests.unit.reconcile.observe.test_memory import Following, looked, remembering
from tests.unit.reconcile.test_reconciler import KEY, READING, current, operator, store

DASK = Defaults(
    runtime_image="runtime:test", runtime_image_pattern="rt:{release}", dask_operator=True, dask_attach=True
)
SPEC: dict[str, Any] = {
    "engine": "rapidsmpf", "dask": {"backend": "operator"}, "workers": {"replicas": 1}, "preflight": "never",
}  # fmt: skip
NAME = f"revenue-{UID[:5]}-1"
MARKER = "kopf.zalando.org/KopfFinalizerMarker"
"""The finalizer of the operator of dask-kubernetes."""


def begun(**spec: Any) -> RecordingClient:
    client = RecordingClient()
    store(client, **{**SPEC, **spec})
    return client


async def look_once(client: RecordingClient, defaults: Defaults = DASK, *, seconds: float = 0) -> float | None:
    return await operator(client, READING, defaults=defaults, seconds=seconds).reconcile(KEY)


def joined(client: RecordingClient) -> None:
    client.dask_pod("scheduler", READY)
    client.dask_pod("worker", READY)


def gone(client: RecordingClient, *resources: Resource, finalizer: str = "") -> None:
    """The garbage collector has taken what dask-kubernetes has made; `finalizer` is what still holds its object."""
    for key, found in list(client.objects.items()):
        if key[0] in resources and LABEL_DASK in found["metadata"].get("labels", {}):
            del client.objects[key]
        elif key[0] is Resource.DASK_CLUSTERS and "deletionTimestamp" in found["metadata"]:
            found["metadata"]["finalizers"] = [finalizer]
            if not finalizer:
                del client.objects[key]


def grouped(client: RecordingClient, name: str, **more: Any) -> None:
    """dask-kubernetes has made a DaskWorkerGroup."""
    labels = {
        LABEL_JOB_UID: UID, LABEL_JOB: "revenue", "gpuquery.io/attempt": "1", LABEL_DASK: "worker",
        "dask.org/cluster-name": NAME,
    }  # fmt: skip
    client.put(Resource.DASK_WORKER_GROUPS, {"metadata": {"name": name, "labels": labels, **more}})


UNTIED = f"{NAME}-default"
TIED = [{"kind": "DaskCluster", "name": NAME, "uid": "d1"}]


async def test_an_attempt_with_a_daskcluster_costs_few_writes_more_than_one_without() -> None:
    client = begun()
    await look_once(client)
    for own in ({"phase": "Pending"}, READY):
        client.pod(1, own)
        await look_once(client)
    assert told(current(client), "ClusterReady")[0] == "False", "the Dask cluster is not there yet"
    joined(client)
    await look_once(client)
    assert told(current(client), "ClusterReady")[0] == "True"
    client.pod(1, ended(COMMITTED, 0))
    await look_once(client)
    assert not is_true(current(client).status.conditions, "Complete")
    gone(client, Resource.PODS)
    await look_once(client)
    assert is_true(current(client).status.conditions, "Complete")
    written = Counter(client.writes)
    assert (written["create DaskCluster"], written["delete DASK_CLUSTERS Foreground"]) == (1, 1)
    assert written["create Job"] == 1 and written["delete BATCH_JOBS"] == 0, "the report lies with the Job's pod"
    assert written["apply status"] == 4 and sum(written.values()) == 13


async def test_a_restarted_operator_writes_nothing_and_deletes_once() -> None:
    client = begun()
    await look_once(client)
    client.pod(1, READY)
    joined(client)
    await look_once(client)
    client.pod(1, ended(COMMITTED, 0))
    await look_once(client)
    before, client.writes = current(client), []
    for _ in range(3):
        assert await look_once(client)
    assert client.writes == [] and current(client).status == before.status


@pytest.mark.parametrize("crash", ["create DaskCluster", "create DaskCluster done", "create Job", "apply status"])
async def test_an_operator_that_dies_while_it_makes_the_attempt_leaves_one_that_begins_anew(crash: str) -> None:
    client = begun()
    client.fault = lambda what: busy() if what == crash else None
    with pytest.raises(ApiError):
        await look_once(client)
    client.fault = lambda _: None
    if client.names(Resource.DASK_CLUSTERS):
        joined(client)
    await look_once(client)
    status = current(client).status
    assert [(a.id, a.reason) for a in status.attempts] == [(1, None)], "its pods alone are no attempt that lost its Job"
    assert client.names(Resource.DASK_CLUSTERS) == [NAME] == client.names(Resource.BATCH_JOBS)


async def test_without_dask_kubernetes_the_job_fails_before_a_gpu_is_asked_for() -> None:
    client = begun()
    client.unknown = {Resource.DASK_CLUSTERS}
    await look_once(client)
    status = current(client).status
    assert status.failure == Failure.CLUSTER_UNAVAILABLE and status.attempt is None
    assert "install dask-kubernetes" in condition(current(client), "Failed").message
    assert client.names(Resource.BATCH_JOBS) == []


@pytest.mark.parametrize("status", [403, 422])
async def test_a_job_that_is_refused_leaves_no_worker_that_waits_for_it(status: int) -> None:
    """A quota of Jobs, or a policy that refuses this one: its DaskCluster was made a moment before."""
    client = begun()
    refused = ApiError(status, "Forbidden", "exceeded quota: jobs")
    client.fault = lambda what: refused if what == "create Job" else None
    await look_once(client)
    assert "deletionTimestamp" in client.objects[Resource.DASK_CLUSTERS, NAME]["metadata"]
    assert is_true(current(client).status.conditions, "Failed") == (status == 422)


async def test_no_attempt_begins_on_a_daskcluster_that_is_about_to_go() -> None:
    client = begun()
    refused = ApiError(403, "Forbidden", "exceeded quota: jobs")
    client.fault = lambda what: refused if what == "create Job" else None
    await look_once(client)
    client.fault = lambda _: None
    assert await look_once(client)
    assert "still being deleted" in condition(current(client), "ClusterReady").message
    assert client.names(Resource.BATCH_JOBS) == []
    del client.objects[Resource.DASK_CLUSTERS, NAME]
    await look_once(client)
    assert client.names(Resource.DASK_CLUSTERS) == [NAME] == client.names(Resource.BATCH_JOBS)


async def test_a_job_that_ends_before_its_attempt_began_leaves_no_worker() -> None:
    """The operator died after it had made the DaskCluster, and then the job's time was over."""
    client = begun(query={"configMapKeyRef": {"name": "sql", "key": "q.sql"}})
    client.put(Resource.CONFIG_MAPS, {"metadata": {"name": "sql"}, "data": {"q.sql": "SELECT 1 AS one"}})
    client.fault = lambda what: busy() if what == "create Job" else None
    with pytest.raises(ApiError):
        await look_once(client)
    client.fault = lambda _: None
    del client.objects[Resource.CONFIG_MAPS, "sql"]
    await look_once(client)
    assert not is_true(current(client).status.conditions, "Failed"), "it waits as long as any other"
    await look_once(client, seconds=86400)
    assert is_true(current(client).status.conditions, "Failed")
    assert "deletionTimestamp" in client.objects[Resource.DASK_CLUSTERS, NAME]["metadata"]


async def test_a_role_without_daskclusters_holds_up_no_job_that_needs_none() -> None:
    client = begun(dask=None, workers={"replicas": 1})

    async def refused(resource: Resource, *args: Any, **more: Any) -> Any:
        if resource is Resource.DASK_CLUSTERS:
            raise ApiError(403, "Forbidden", "daskclusters.kubernetes.dask.org is forbidden")
        return await RecordingClient.list(client, resource, *args, **more)

    client.list = refused  # type: ignore[method-assign]
    await look_once(client)
    assert current(client).status.attempt == 1


async def test_without_the_right_to_make_one_the_reason_is_told() -> None:
    client = begun()
    refused = ApiError(403, "Forbidden", "daskclusters.kubernetes.dask.org is forbidden: User cannot create")
    client.fault = lambda what: refused if what == "create DaskCluster" else None
    assert await look_once(client)
    assert told(current(client), "ClusterReady") == ("False", "CreationRefused")
    assert client.names(Resource.BATCH_JOBS) == []


async def test_a_job_whose_operator_has_it_switched_off_is_refused_and_nothing_is_asked() -> None:
    client = begun()
    off = DASK.model_copy(update={"dask_operator": False})
    await look_once(client, off)
    assert current(client).status.failure == Failure.INVALID_COMBINATION
    assert "dask.operator.enabled" in condition(current(client), "Accepted").message
    assert client.names(Resource.CONFIG_MAPS) == []


async def test_an_operator_of_dask_that_is_away_keeps_no_worker() -> None:
    client = begun()
    await look_once(client)
    client.pod(1, READY)
    joined(client)
    await look_once(client)
    client.deleted_at = "2026-11-21T11:59:00Z"  # a minute before the time that the operator's clock shows
    client.pod(1, ended(COMMITTED, 0))
    await look_once(client)
    grouped(client, UNTIED)
    grouped(client, "tied", ownerReferences=TIED)
    await look_once(client)
    assert client.names(Resource.DASK_WORKER_GROUPS) == ["tied"], "the garbage collector takes this one"
    assert f"DaskWorkerGroup {UNTIED} would stay" in condition(current(client), "ClusterReady").message
    gone(client, Resource.PODS, Resource.DASK_WORKER_GROUPS, finalizer=FOREGROUND)
    await look_once(client)
    assert not is_true(current(client).status.conditions, "Complete"), "the garbage collector is not done"
    gone(client, finalizer=MARKER)
    await look_once(client)
    assert is_true(current(client).status.conditions, "Complete")
    assert client.names(Resource.DASK_CLUSTERS) == [NAME], "the object waits for its finalizer, and holds nothing"


@pytest.mark.parametrize("seen", [False, True], ids=["before the garbage collector", "after it"])
async def test_a_job_that_is_deleted_leaves_no_worker_though_the_operator_of_dask_is_away(seen: bool) -> None:
    client = begun()
    await look_once(client)
    del client.objects[Resource.JOBS, "revenue"]
    cluster = client.objects[Resource.DASK_CLUSTERS, NAME]["metadata"]
    if seen:
        cluster |= {"deletionTimestamp": "2026-11-21T12:00:00Z", "finalizers": [MARKER]}
    assert await look_once(client) is None
    assert client.writes.count("delete DASK_CLUSTERS Foreground") == 1
    cluster["finalizers"] = ["foregroundDeletion"]
    await look_once(client)
    assert client.writes.count("delete DASK_CLUSTERS Foreground") == 1, "once is enough"


async def test_a_job_that_is_deleted_leaves_no_worker_group_that_was_not_tied_to_its_cluster() -> None:
    client = begun()
    await look_once(client)
    grouped(client, UNTIED)
    grouped(client, "tied", ownerReferences=TIED)
    await look_once(client)
    assert client.names(Resource.DASK_WORKER_GROUPS) == [UNTIED, "tied"], "it may still be tied"
    del client.objects[Resource.JOBS, "revenue"]
    await look_once(client)
    assert client.names(Resource.DASK_WORKER_GROUPS) == ["tied"], "the garbage collector takes this one"


async def test_dask_kubernetes_that_was_removed_with_its_kinds_holds_up_no_end() -> None:
    client = begun()
    await look_once(client)
    client.pod(1, ended(failed_report(Failure.USER_ERROR), 1))
    del client.objects[Resource.DASK_CLUSTERS, NAME]
    client.unknown |= {Resource.DASK_CLUSTERS, Resource.DASK_WORKER_GROUPS}
    await look_once(client)
    assert is_true(current(client).status.conditions, "Failed")


async def test_a_new_job_of_an_old_name_sees_the_workers_of_the_old_one_off_and_leaves_its_own_alone() -> None:
    client = begun()
    labels = {LABEL_JOB: "revenue", LABEL_JOB_UID: "99999"}
    owner = {"kind": "GpuQueryJob", "name": "revenue", "uid": "99999", "controller": True}
    old = {"name": "revenue-99999-1", "labels": labels, "ownerReferences": [owner]}
    client.put(Resource.DASK_CLUSTERS, {"metadata": old})
    client.put(Resource.DASK_CLUSTERS, {"metadata": {"name": "a-copy", "labels": labels}})
    await look_once(client)
    assert client.writes[0] == "delete DASK_CLUSTERS Foreground"
    assert "deletionTimestamp" not in client.objects[Resource.DASK_CLUSTERS, "a-copy"]["metadata"], "it is a stranger's"
    del client.objects[Resource.DASK_CLUSTERS, "revenue-99999-1"]
    client.writes = []
    del client.objects[Resource.JOBS, "revenue"]["status"]["attempt"]
    await look_once(client)
    assert "delete DASK_CLUSTERS Foreground" not in client.writes


@pytest.mark.parametrize("enabled", [True, False])
async def test_a_job_that_is_deleted_where_dask_kubernetes_was_never_installed_is_no_trouble(enabled: bool) -> None:
    client = begun()
    client.unknown = {Resource.DASK_CLUSTERS}
    del client.objects[Resource.JOBS, "revenue"]
    assert await look_once(client, DASK.model_copy(update={"dask_operator": enabled})) is None
    assert client.writes == []


async def test_a_job_whose_batch_job_somebody_deletes_lets_its_daskcluster_go_too() -> None:
    client = begun(backoffLimit=0)
    await look_once(client)
    client.pod(1, READY)
    joined(client)
    await look_once(client)
    await client.delete(Resource.BATCH_JOBS, "marts", NAME)
    gone(client, Resource.PODS)
    await look_once(client)
    assert "delete DASK_CLUSTERS Foreground" in client.writes
    await look_once(client)
    assert current(client).status.failure == Failure.WORKER_LOST


async def test_the_next_attempt_has_a_daskcluster_of_its_own() -> None:
    client = begun()
    await look_once(client)
    client.pod(1, READY)
    joined(client)
    await look_once(client)
    client.pod(1, ended(failed_report(Failure.STORAGE_UNAVAILABLE), 1))
    await look_once(client)
    gone(client, Resource.PODS)
    await look_once(client)
    for attempt in client.objects[Resource.JOBS, "revenue"]["status"]["attempts"]:
        attempt["ended"] = "2020-01-01T00:00:00Z"
    await look_once(client)
    second = client.objects[Resource.DASK_CLUSTERS, f"revenue-{UID[:5]}-2"]
    assert "deletionTimestamp" not in second["metadata"]
    command = second["spec"]["worker"]["spec"]["containers"][0]["command"]
    assert f"ucx://revenue-{UID[:5]}-2-scheduler.marts.svc:8786" in command


# --- A cluster that the job names.

WARM = {"engine": "rapidsmpf", "dask": {"clusterRef": {"name": "warm"}}, "preflight": "never"}


def warm_cluster(client: RecordingClient, *args: str, limits: dict[str, str] | None = None, port: int = 8786) -> None:
    spec = {"scheduler": {"spec": {"containers": [{"name": "s", "args": ["dask", "scheduler", *args]}]}}}
    client.put(Resource.DASK_CLUSTERS, {"metadata": {"name": "warm"}, "spec": spec, "status": {"phase": "Pending"}})
    ports = [{"name": "http-dashboard", "port": 8787}, {"name": "tcp-comm", "port": port}]
    client.put(Resource.SERVICES, {"metadata": {"name": "warm-scheduler"}, "spec": {"ports": ports}})
    gpu = {"nvidia.com/gpu": "1"} if limits is None else limits
    for part, resources in (("scheduler", {}), ("worker", gpu)):
        labels = {"dask.org/cluster-name": "warm", "dask.org/component": part}
        container = {"name": part, "resources": {"limits": resources}}
        body = {"metadata": {"name": f"warm-{part}", "labels": labels}, "spec": {"containers": [container]}}
        client.put(Resource.PODS, {**body, "status": READY})


@pytest.mark.parametrize(
    ("args", "port", "want"),
    [
        ((), 8786, "tcp://warm-scheduler.marts.svc:8786"),
        (("--protocol", "ucx"), 9000, "ucx://warm-scheduler.marts.svc:9000"),
        (("--protocol=ucxx",), 8786, "ucxx://warm-scheduler.marts.svc:8786"),
        (("--protocol", "tls"), 8786, "tls://warm-scheduler.marts.svc:8786"),
        (("--host", "tls://0.0.0.0:8786"), 8786, "tls://warm-scheduler.marts.svc:8786"),
        (("--tls-cert=/tls/tls.crt", "--host", "0.0.0.0"), 8786, "tls://warm-scheduler.marts.svc:8786"),
        (("--tls-cert-file=/of/another/program",), 8786, "tcp://warm-scheduler.marts.svc:8786"),
        (("--host", "tls://0.0.0.0", "--protocol", "tcp"), 8786, "tcp://warm-scheduler.marts.svc:8786"),
    ],
)
async def test_a_warm_cluster_is_read_and_never_written(args: tuple[str, ...], port: int, want: str) -> None:
    client = begun(**WARM)
    warm_cluster(client, *args, port=port)
    await look_once(client)
    plan = Plan.model_validate_json(client.objects[Resource.CONFIG_MAPS, NAME]["data"]["plan.json"])
    assert plan.dask is not None and plan.dask.scheduler == want, "whatever its phase says"
    client.pod(1, READY)
    await look_once(client)
    assert told(current(client), "ClusterReady")[0] == "True"
    client.pod(1, ended(COMMITTED, 0))
    await look_once(client)
    assert is_true(current(client).status.conditions, "Complete")
    assert not any("Dask" in what or "DASK" in what for what in client.writes)
    assert client.names(Resource.DASK_CLUSTERS) == ["warm"]


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("scheduler", "DASK_DISTRIBUTED__COMM__DEFAULT_SCHEME", "tls"),
        ("scheduler", "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION", "True"),
        ("worker", "DASK_SCHEDULER_ADDRESS", "tls://warm-scheduler:8786"),
    ],
)
async def test_a_variable_may_say_that_a_warm_cluster_speaks_tls(part: str, name: str, value: str) -> None:
    client = begun(**WARM)
    warm_cluster(client)
    spec = client.objects[Resource.DASK_CLUSTERS, "warm"]["spec"].setdefault(part, {"spec": {"containers": [{}]}})
    spec["spec"]["containers"][0]["env"] = [{"name": "A", "valueFrom": {}}, {"name": name, "value": value}]
    found = await look(client, job(**WARM))
    assert found is not None and found.address == "tls://warm-scheduler.marts.svc:8786"


SECURE = {**WARM, "dask": {"clusterRef": {"name": "warm"}, "tlsSecretName": "client"}}


async def test_certificates_for_a_warm_cluster_without_tls_are_refused_before_a_pod_is_asked_for() -> None:
    client = begun(**SECURE)
    warm_cluster(client, "--protocol", "ucx")
    await look_once(client)
    assert current(client).status.failure == Failure.INVALID_COMBINATION
    message = condition(current(client), "Accepted").message
    assert 'dask.tlsSecretName is "client", and the scheduler of DaskCluster warm uses ucx, not tls' in message
    assert client.names(Resource.CONFIG_MAPS) == []


NO_SECRET = 'MountVolume.SetUp failed for volume "dask-tls" : secret "client" not found'
NO_KEY = 'MountVolume.SetUp failed for volume "dask-tls" : references non-existent secret key: ca.crt'
EARLY, LATER = "2026-11-21T12:00:01Z", "2026-11-21T12:00:09Z"
CREATING = {"phase": "Pending", "containerStatuses": [
    {"name": "runner", "state": {"waiting": {"reason": "ContainerCreating"}}},
]}  # fmt: skip


def creating(client: RecordingClient) -> dict[str, Any]:
    """Put the client's pod on a node, where its container is not made yet."""
    client.pod(1, CREATING)
    pod = next(found for (kind, name), found in client.objects.items() if kind is Resource.PODS and NAME in name)
    pod["spec"] = {"nodeName": "node-1"}
    return pod


async def test_without_certificates_no_events_are_asked_for() -> None:
    client = begun(**WARM)
    warm_cluster(client, "--protocol", "tls")
    await look_once(client)
    creating(client)
    client.unknown.add(Resource.CORE_EVENTS)
    await look_once(client)
    assert condition(current(client), "ClusterReady").reason == "Starting"


@pytest.mark.parametrize(
    ("events", "want"),
    [
        pytest.param([(NO_SECRET, EARLY)], 'secret "client" not found', id="no Secret"),
        pytest.param([(NO_KEY, LATER), (NO_SECRET, EARLY)], "references non-existent secret key: ca.crt", id="no key"),
        pytest.param([(NO_SECRET, EARLY), ("Pulling image", LATER)], "", id="it has come, and the image has not yet"),
        pytest.param([], "", id="nothing is said of it"),
    ],
)
async def test_a_secret_with_certificates_that_is_not_there_is_named(events: list[tuple[str, str]], want: str) -> None:
    client = begun(**SECURE)
    warm_cluster(client, "--protocol", "tls")
    await look_once(client)
    pod = creating(client)
    for message, when in sorted(events, key=lambda event: event[1]):
        reason = "Pulling" if message.startswith("Pulling") else "FailedMount"
        about = {"metadata": {"name": f"e{when}{reason}"}, "involvedObject": {"uid": pod["metadata"]["uid"]}}
        client.put(Resource.CORE_EVENTS, {**about, "reason": reason, "message": message})
    await look_once(client, seconds=6)
    found = condition(current(client), "ClusterReady")
    assert (found.reason == "SecretNotFound") is bool(want), found
    assert not want or found.message == (
        f'dask.tlsSecretName is "client", which must be a Secret with ca.crt, tls.crt and tls.key: {want}'
    )


NO_AUTHORITIES = 'MountVolume.SetUp failed for volume "storage-ca" : configmap "lake-ca" not found'


async def test_a_config_map_with_authorities_that_is_not_there_is_named() -> None:
    client = begun(storage={"caConfigMapName": "lake-ca"}, dask=None, engine="cpu")
    await look_once(client)
    pod = creating(client)
    about = {"metadata": {"name": "e1"}, "involvedObject": {"uid": pod["metadata"]["uid"]}}
    client.put(Resource.CORE_EVENTS, {**about, "reason": "FailedMount", "message": NO_AUTHORITIES})
    await look_once(client, seconds=6)
    found = condition(current(client), "ClusterReady")
    assert found.reason == "ContainerCannotStart"
    assert 'storage.caConfigMapName is "lake-ca", which must be a ConfigMap with ca.crt: configmap "lake-ca"' in (
        found.message
    )


MISSING: list[Any] = [
    pytest.param({}, "has no such DaskCluster: create it", id="there is none"),
    pytest.param({"deletionTimestamp": "2026-11-21T12:00:00Z"}, "is being deleted", id="it is on its way out"),
]


@pytest.mark.parametrize(("metadata", "words"), MISSING)
async def test_one_that_is_not_there_is_waited_for(metadata: dict[str, Any], words: str) -> None:
    client = begun(**WARM)
    if metadata:
        warm_cluster(client)
        client.objects[Resource.DASK_CLUSTERS, "warm"]["metadata"] |= metadata
    assert await look_once(client)
    assert told(current(client), "Accepted") == ("False", "Pending")
    message = condition(current(client), "Accepted").message
    assert message.startswith('dask.clusterRef.name is "warm", and') and words in message
    assert client.names(Resource.CONFIG_MAPS) == []


@pytest.mark.parametrize("lacking", ["Service", "ready scheduler"])
async def test_one_whose_scheduler_does_not_answer_is_waited_for(lacking: str) -> None:
    client = begun(**WARM)
    warm_cluster(client)
    if lacking == "Service":
        del client.objects[Resource.SERVICES, "warm-scheduler"]
    else:
        client.objects[Resource.PODS, "warm-scheduler"]["status"] = {"phase": "Running"}
    await look_once(client)
    assert "its scheduler is not ready" in condition(current(client), "Accepted").message


async def test_one_that_can_never_be_used_is_refused() -> None:
    not_installed, on_cpus, anothers = (begun(**WARM) for _ in range(3))
    not_installed.unknown = {Resource.DASK_CLUSTERS}
    warm_cluster(on_cpus, limits={"memory": "4Gi"})
    warm_cluster(anothers)
    anothers.objects[Resource.DASK_CLUSTERS, "warm"]["metadata"]["labels"] = {LABEL_JOB_UID: "other"}
    for client, words in (
        (not_installed, "install dask-kubernetes, or name a scheduler in dask.schedulerAddress"),
        (on_cpus, "1 worker, none with a GPU"),
        (anothers, "belongs to a job's attempt and goes with it"),
    ):
        await look_once(client)
        assert current(client).status.failure == Failure.CLUSTER_UNAVAILABLE
        assert words in condition(current(client), "Failed").message


async def test_an_operator_that_may_not_look_says_so_and_starts_nothing_blindly() -> None:
    client = begun(**WARM)

    async def refused(*_: Any, **__: Any) -> Any:
        raise ApiError(403, "Forbidden", "daskclusters.kubernetes.dask.org is forbidden")

    client.get = refused  # type: ignore[method-assign]
    found = await look(client, job(**WARM))
    assert found is not None and "dask.attach.enabled" in found.missing


async def test_a_worker_that_has_ended_is_none() -> None:
    client = begun(**WARM)
    warm_cluster(client)
    client.objects[Resource.PODS, "warm-worker"]["status"] = {"phase": "Failed"}
    found = await look(client, job(**WARM))
    assert found is not None and found.workers == () and found == replace(found, unfit="", missing="")


async def test_a_job_that_names_an_address_asks_nobody() -> None:
    client = begun(**{**WARM, "dask": {"schedulerAddress": "tcp://warm:8786"}})
    client.unknown = {Resource.DASK_CLUSTERS}
    await look_once(client, DASK.model_copy(update={"dask_operator": False, "dask_attach": False}))
    assert client.names(Resource.BATCH_JOBS) == [NAME]


# --- From memory.


class Watched(Following):
    """An API server that tells of DaskClusters too."""

    KINDS = (*Following.KINDS, Resource.DASK_CLUSTERS)


async def test_the_life_of_an_attempt_with_a_daskcluster_asks_for_it_once_it_is_gone() -> None:
    client = Watched()
    store(client, **SPEC)
    async with remembering(client, DASK) as subject:
        await looked(subject)
        client.pod(1, READY)
        joined(client)
        for _ in range(3):
            client.read.clear()
            await looked(subject)
            assert not client.read and is_true(current(client).status.conditions, "ClusterReady")
        client.pod(1, ended(COMMITTED, 0))
        await looked(subject)
        await looked(subject)
        assert client.read["get DASK_CLUSTERS"] == 0, "the watch has told that it is being deleted"
        gone(client, Resource.PODS)
        await looked(subject)
        assert is_true(current(client).status.conditions, "Complete")
        assert client.read["get DASK_CLUSTERS"] == 1, "that it is gone is not concluded from a memory"
    assert client.writes.count("create DaskCluster") == 1 == client.writes.count("delete DASK_CLUSTERS Foreground")


async def test_a_daskcluster_of_another_operator_s_silent_watch_is_made_and_deleted_once() -> None:
    client = Watched()
    store(client, **SPEC)
    async with remembering(client, DASK) as subject:
        client.flow.clear()
        await subject.reconcile(KEY)
        before = client.writes[:]
        for _ in range(3):
            assert (await subject.reconcile(KEY) or 0) > 0, "it comes again"
        assert client.writes == before


@pytest.mark.parametrize(("told", "want"), [(True, 1), (False, 3)], ids=["by the plan", "before the plan is told"])
async def test_how_many_workers_a_daskcluster_has_is_the_plan_s_word(told: bool, want: int) -> None:
    client = begun()
    await look_once(client)
    subject = current(client)
    if not told:
        subject = subject.model_copy(update={"status": subject.status.model_copy(update={"plan": None})})
    client.objects[Resource.DASK_CLUSTERS, NAME]["spec"]["worker"]["replicas"] = 3
    found = await with_cluster(client, subject, Attempt(number=1))
    assert found.dask and (found.dask.workers, found.dask.ours) == (want, True)
