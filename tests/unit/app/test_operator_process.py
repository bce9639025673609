"""The operator as a process: settings, probes, metrics, and the watch that may be dead."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

import kopf
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from kubernetes.aio.client import Configuration
from pydantic import ValidationError

from gpuquery.api.pods import Resources
from gpuquery.api.status import Condition, GpuQueryJobStatus, PlanStatus
from gpuquery.app import main as app
from gpuquery.app.serve import STUCK_SECONDS, Health, metrics_page, probes
from gpuquery.app.settings import Settings
from gpuquery.app.watch import Jobs, Sightings, operator_settings, registry, resync
from gpuquery.kube import ability
from gpuquery.kube.client import ApiError, Resource
from gpuquery.kube.lease import Holding
from gpuquery.plan.defaults import Defaults
from gpuquery.plan.maxima import Maxima
from gpuquery.reconcile.census import Census
from gpuquery.reconcile.metrics import Metrics
from gpuquery.reconcile.queue import WorkQueue
from gpuquery.reconcile.reconciler import Key
from tests.support.recording import RecordingClient

if TYPE_CHECKING:
    from collections.abc import Callable


def test_settings_come_from_the_environment_and_empty_ones_are_not_set() -> None:
    found = Settings.from_environment(
        {
            "GPUQUERY_NAMESPACES": "marts, lake,",
            "GPUQUERY_RUNTIME_IMAGE": "runtime:1",
            "GPUQUERY_DEFAULT_RESOURCES": '{"requests": {"cpu": "2"}}',
            "GPUQUERY_LEADER_ELECTION": "false",
            "GPUQUERY_WORKERS": "",
            "GPUQUERY_SOMETHING_OF_OTHERS": "x",
        }
    )
    assert found.namespaces == ("marts", "lake") and found.workers == 16 and not found.leader_election
    assert found.defaults.runtime_image == "runtime:1"
    assert found.defaults.resources == Resources(requests={"cpu": "2"})


def test_what_jobs_get_that_leave_it_open_comes_from_the_environment() -> None:
    found = Settings.from_environment(
        {
            "GPUQUERY_RUNTIME_IMAGES": '{"26.04": "rt:old"}',
            "GPUQUERY_RUNTIME_IMAGE_PATTERN": "rt:{release}",
            "GPUQUERY_DEFAULT_ENGINE": "rapidsmpf",
            "GPUQUERY_DEFAULT_CLUSTER": "distributed",
            "GPUQUERY_DEFAULT_RELEASE": "26.04",
            "GPUQUERY_RAPIDSMPF_PERCENTAGE": "25",
            "GPUQUERY_GPU_RESOURCE": "example.com/gpu",
            "GPUQUERY_GPU_MEMORY": "40Gi",
            "GPUQUERY_DEFAULT_GPUS": "4",
            "GPUQUERY_MAX_REPLICAS": "3",
        }
    ).defaults
    assert (found.image_of("26.04"), found.image_of("26.10")) == ("rt:old", "rt:26.10")
    assert (found.default_engine, found.default_cluster, found.default_release) == ("rapidsmpf", "distributed", "26.04")
    assert (found.rapidsmpf_percentage, found.gpu_resource, found.gpu_memory) == (25, "example.com/gpu", 40 * 2**30)
    assert (found.gpus, found.max_replicas) == (4, 3)
    assert Settings().defaults == Defaults(), "both know the same built-in values"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WORKERS", "0"),
        ("WORKERS", "many"),
        ("DEFAULT_RESOURCES", "{"),
        ("LOG_FORMAT", "xml"),
        ("DEFAULT_ENGINE", "fast"),
        ("DEFAULT_CLUSTER", "big"),
        ("DEFAULT_RELEASE", "27.02"),
        ("RAPIDSMPF_PERCENTAGE", "101"),
        ("RUNTIME_IMAGES", '{"27.02": "x"}'),
        ("RUNTIME_IMAGE_PATTERN", "one-for-all"),
        ("GPU_RESOURCE", "gpu"),
        ("GPU_MEMORY", "much"),
        ("DEFAULT_GPUS", "0"),
        ("MAX_REPLICAS", "0"),
    ],
)
def test_a_wrong_setting_ends_the_process_and_names_the_variable(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValidationError):
        Settings.from_environment({f"GPUQUERY_{name}": value})
    monkeypatch.setenv(f"GPUQUERY_{name}", value)
    assert app.run() == 2
    assert f"GPUQUERY_{name}" in capsys.readouterr().err


class Refusing(RecordingClient):
    """An API server with a job `j` in some namespaces, of which some refuse their LIST."""

    def __init__(self, namespaces: tuple[str, ...]) -> None:
        super().__init__()
        self.namespaces = namespaces
        self.refused: set[str] = set()

    async def digested(self, resource: Resource, namespace: str | None, digest: Any, **_: Any) -> list[Any]:
        if namespace in self.refused:
            raise ApiError(403, "Forbidden", "no")
        job = {"metadata": {"namespace": namespace, "name": "j", "resourceVersion": "1"}}
        return [digest(job)] if namespace in self.namespaces else []


async def status(health: Health, path: str) -> tuple[int, str]:
    async with TestClient(TestServer(probes(health))) as client, client.get(path) as answer:
        return answer.status, await answer.text()


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let time pass for abilities."""
    now = 1000.0

    def later(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(ability.time, "monotonic", lambda: now)
    return later


def health(*, standby: bool = False, watching: bool = True) -> Health:
    """An operator that can do all that it must."""
    subject = Health(
        WorkQueue(), listing(None), Holding.of("gpuquery", "gpuquery-system"), standby=standby, watching=watching
    )
    assert subject.holding
    subject.holding.read.succeeded()
    subject.jobs.places[None].succeeded()
    return subject


def listing(*namespaces: str | None) -> ability.InNamespaces:
    return ability.InNamespaces({name: ability.Ability(f"list {name or 'jobs'}") for name in namespaces})


async def test_an_operator_is_ready_while_it_stands_by_and_once_it_watches() -> None:
    subject = health(standby=True, watching=False)
    assert await status(subject, "/readyz") == (200, "ok")
    subject.standby = False
    assert await status(subject, "/readyz") == (500, "not all has been listed yet: see the log")
    assert (await status(subject, "/healthz"))[0] == 200, "slow is not dead"
    subject.watching = True
    assert (await status(subject, "/readyz"))[0] == 200


LEASE = "the Lease gpuquery-system/gpuquery"


def test_an_operator_that_has_not_yet_read_its_lease_does_not_stand_by() -> None:
    subject = Health(WorkQueue(), listing(None), Holding.of("gpuquery", "gpuquery-system"))
    assert subject.ready() == f"has yet to read {LEASE}"
    assert subject.alive() is None


@pytest.mark.parametrize("status", [401, 403])
def test_a_standby_that_may_not_read_its_lease_is_not_ready_and_after_minutes_not_alive(
    status: int, pass_time: Callable[[float], None]
) -> None:
    subject = health(standby=True)
    holding = subject.holding
    assert holding
    for _ in range(20):
        pass_time(2)
        holding.read.failed(status, f"{status} no")
    assert subject.ready() == f"cannot read {LEASE}: {status} no" and subject.alive() is None
    pass_time(ability.REFUSED_SECONDS)
    assert subject.alive() == f"cannot read {LEASE}: refused for 218 s: {status} no"
    holding.read.succeeded()
    assert subject.ready() is None and subject.alive() is None


def test_a_standby_that_could_never_take_over_is_not_ready(pass_time: Callable[[float], None]) -> None:
    subject = health(standby=True)
    assert subject.holding
    subject.holding.write.failed(403, "403 Forbidden")
    pass_time(ability.LATELY_SECONDS + 1)
    assert subject.ready() == f"cannot write {LEASE}: 403 Forbidden"


def test_an_api_server_that_is_away_makes_no_operator_restart_before_half_an_hour(
    pass_time: Callable[[float], None],
) -> None:
    subject = health()
    assert subject.holding
    for what in (subject.holding.read, subject.jobs.places[None]):
        what.failed(0, "no answer: TimeoutError")
    assert subject.ready() is None, "one miss is nothing"
    pass_time(ability.REFUSED_SECONDS * 2)
    assert subject.ready() == f"cannot read {LEASE}: no answer: TimeoutError"
    assert subject.alive() is None
    pass_time(ability.AWAY_SECONDS)
    assert subject.alive() is not None, "perhaps the connection of this process alone is broken"


def test_a_leader_that_may_not_list_jobs_is_not_ready_and_after_minutes_not_alive(
    pass_time: Callable[[float], None],
) -> None:
    subject = health()
    subject.jobs.places[None].failed(403, "403 no")
    pass_time(ability.LATELY_SECONDS + 1)
    assert subject.ready() == "cannot list jobs: 403 no"
    pass_time(ability.REFUSED_SECONDS)
    assert subject.alive() is not None
    subject.standby = True
    assert subject.alive() is None, "of one that stands by this is not asked"


async def test_a_namespace_that_refuses_its_list_is_told_and_makes_nobody_restart(
    pass_time: Callable[[float], None],
) -> None:
    subject = health()
    subject.jobs = listing("a", "b")
    assert subject.ready() == "has yet to list a"
    subject.jobs.places["a"].succeeded()
    assert subject.ready() == "has yet to list b", "it may be many pages"
    subject.jobs.places["b"].failed(403, "403 no")
    pass_time(ability.AWAY_SECONDS * 2)
    assert await status(subject, "/readyz") == (200, "ok, but cannot list b: 403 no")
    assert await status(subject, "/healthz") == (200, "ok")
    subject.jobs.places["a"].failed(403, "403 no")
    pass_time(ability.REFUSED_SECONDS + 1)
    assert subject.ready() == "cannot list a: 403 no; cannot list b: 403 no"
    assert subject.alive() is not None, "it can do nothing at all"


def refused(subject: Health, pass_time: Callable[[float], None], *keys: Key) -> None:
    """Try for some minutes to write the status of jobs, in vain."""
    for _ in range(6):
        for key in keys:
            subject.status.refused(key, "403 no")
        pass_time(ability.REFUSED_SECONDS / 4)


def test_a_leader_that_may_write_no_status_is_not_ready_and_after_minutes_not_alive(
    pass_time: Callable[[float], None],
) -> None:
    subject = health()
    refused(subject, pass_time, ("a", "j"), ("b", "j"))
    assert subject.ready() == "cannot write the status of jobs: 403 no"
    assert subject.alive() == "cannot write the status of jobs: refused for 225 s: 403 no"
    subject.status.succeeded()
    assert subject.ready() is None and subject.alive() is None


def test_a_status_that_one_namespace_refuses_for_long_makes_nobody_restart(pass_time: Callable[[float], None]) -> None:
    subject = health()
    refused(subject, pass_time, ("quiet", "a"), ("quiet", "b"))
    assert subject.ready() is not None, "as far as it knows it can write nothing"
    assert subject.alive() is None
    subject.status.refused(("other", "j"), "403 no")
    pass_time(ability.REFUSED_SECONDS * 2)
    assert subject.alive() is None, "nor does a single try elsewhere, long ago"


def test_a_refusal_is_forgotten_with_its_job(pass_time: Callable[[float], None]) -> None:
    subject = health()
    refused(subject, pass_time, ("a", "j"), ("b", "j"))
    subject.status.forget(("b", "j"))
    assert subject.alive() is None and subject.ready() is not None
    subject.status.forget(("a", "j"))
    assert subject.ready() is None


async def test_a_namespace_that_refuses_its_list_is_left_out_of_the_comparison_and_the_others_are_not() -> None:
    client, queue = Refusing(("a", "b")), WorkQueue[Key]()
    metrics, sightings = Metrics(client, queue), Sightings()
    jobs = Jobs(queue, metrics, sightings, Census(Maxima(), queue.add))
    for key in (("a", "j"), ("a", "gone"), ("b", "j")):
        sightings.saw(key, "1")
    client.refused = {"a"}
    running = asyncio.create_task(resync(client, jobs, namespaces=("a", "b", "c"), seconds=0.01))
    async with asyncio.timeout(10):
        assert await queue.get() == ("b", "j"), "what follows a refusal is listed"
        client.refused = {"b"}
        assert await queue.get() == ("a", "j")
    running.cancel()
    assert sightings.seen.keys() == {("a", "j"), ("b", "j")}, "of what refuses nothing is gone"


KINDS = {
    "/api/v1": {"name": "namespaces", "kind": "Namespace", "namespaced": False},
    "/apis/apiextensions.k8s.io/v1": {
        "name": "customresourcedefinitions", "kind": "CustomResourceDefinition", "namespaced": False,
    },
}  # fmt: skip
"""What kopf would list and watch if its scanning were on."""
GROUP = {"name": "apiextensions.k8s.io", "versions": [{"version": "v1"}], "preferredVersion": {"version": "v1"}}


@pytest.mark.parametrize("namespaces", [(), ("a", "b")], ids=["of the cluster", "of two namespaces"])
async def test_kopf_asks_which_apis_there_are_and_for_no_object(namespaces: tuple[str, ...]) -> None:
    asked: list[tuple[str, str | None]] = []

    async def handle(request: web.Request) -> web.Response:
        asked.append((request.path_qs, request.headers.get("Authorization")))
        if len(asked) == 4:
            all_asked.set()
        kinds = (
            [{**KINDS[request.path], "singularName": "", "verbs": ["list", "watch", "patch"]}]
            if request.path in KINDS
            else []
        )
        return web.json_response({"versions": ["v1"], "groups": [GROUP], "resources": kinds, "items": []})

    served = web.Application()
    served.router.add_route("*", "/{path:.*}", handle)
    stop, ready, all_asked = asyncio.Event(), asyncio.Event(), asyncio.Event()
    async with TestServer(served) as found:
        configuration = Configuration()
        configuration.host = str(found.make_url("")).rstrip("/")
        configuration.api_key = {"BearerToken": "secret"}
        running = asyncio.create_task(
            kopf.operator(
                registry=registry(configuration), settings=operator_settings(), clusterwide=not namespaces,
                namespaces=namespaces, standalone=True, stop_flag=stop, ready_flag=ready,
            )
        )  # fmt: skip
        async with asyncio.timeout(20):
            await ready.wait()
            await all_asked.wait()
            await asyncio.sleep(0.3)  # a LIST would follow at once
            stop.set()
            await running
    assert sorted(asked) == [(path, "Bearer secret") for path in sorted(("/api", "/apis", *KINDS))]
    assert registry(configuration)._watching.get_all_handlers() == [], "it would set a finalizer, and compare objects"


def test_kopf_never_gives_up_a_request_that_is_refused() -> None:
    pauses = operator_settings().networking.error_backoffs
    assert isinstance(pauses, Iterable)
    for _ in range(2):
        assert list(islice(pauses, 1000))[-1] == 30, "each request has all of them"


def test_the_metrics_tell_of_which_namespaces_the_jobs_are_seen() -> None:
    places = listing("a", "b").places
    places["a"].succeeded()
    places["b"].failed(403, "no")
    registry = Metrics(RecordingClient(), WorkQueue(), places).registry
    found = {n: registry.get_sample_value("gpuquery_namespace_watched", {"namespace": n}) for n in ("a", "b")}
    assert found == {"a": 1, "b": 0}


def test_refusals_between_which_the_server_was_away_do_not_add_up(pass_time: Callable[[float], None]) -> None:
    subject = ability.Ability("do it")
    for _ in range(10):
        subject.failed(403, "no")
        pass_time(ability.REFUSED_SECONDS - 1)
        subject.failed(0, "away")
    assert subject.lost() is None


async def test_an_operator_whose_worker_died_or_hangs_is_not_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = health()
    monkeypatch.setattr(WorkQueue, "stalled", STUCK_SECONDS + 1)
    assert (await status(subject, "/healthz"))[0] == 500
    monkeypatch.setattr(WorkQueue, "stalled", 0.0)
    assert (await status(subject, "/healthz"))[0] == 200
    subject.workers_ended = True
    assert await status(subject, "/healthz") == (500, "a worker has ended")


def listed(sightings: Sightings, found: dict[Key, str]) -> set[Key]:
    """Compare with a LIST during which nothing happened."""
    return sightings.compare(found, dict(sightings.seen))


def test_a_watch_that_twice_missed_the_same_version_is_dead() -> None:
    sightings, key = Sightings(), ("marts", "revenue")
    sightings.saw(key, "1")
    listed(sightings, {key: "1"})
    assert not sightings.stale
    listed(sightings, {key: "2"})
    assert not sightings.stale, "the event may be on its way"
    listed(sightings, {key: "2"})
    assert sightings.stale
    sightings.saw(key, "2")
    listed(sightings, {key: "2"})
    assert not sightings.stale


def test_a_busy_watch_that_lags_is_not_dead() -> None:
    sightings, key = Sightings(), ("marts", "revenue")
    for version in range(10):
        listed(sightings, {key: str(version)})
    assert not sightings.stale, "every list showed another version"


def test_a_job_that_is_made_and_ends_while_a_list_is_taken_is_not_missed_by_the_watch() -> None:
    sightings, old, new = Sightings(), ("marts", "old"), ("marts", "new")
    sightings.saw(old, "1")
    before = dict(sightings.seen)
    # The LIST was taken here; what follows comes while its answer is on the way.
    sightings.saw(new, "2")
    sightings.saw(new, "3")
    assert sightings.compare({old: "1"}, before) == set()
    for _ in range(3):
        listed(sightings, {old: "1", new: "3"})
        assert not sightings.stale


def test_a_deletion_that_the_watch_missed_is_found_by_a_list() -> None:
    sightings, gone, changed = Sightings(), ("marts", "gone"), ("marts", "changed")
    sightings.saw(gone, "1")
    sightings.saw(changed, "2")
    before = dict(sightings.seen)
    sightings.saw(changed, "4")  # it was deleted and made anew after the LIST
    assert sightings.compare({}, before) == {gone}
    assert sightings.seen == {changed: "4"}


TASKS = PlanStatus(
    engine="tasks", cluster="single", release="26.04", image="rt", replicas=1, gpus=1, why="", query_digest=""
)


async def test_jobs_that_end_are_counted_by_engine_and_result_once() -> None:
    metrics = Metrics(RecordingClient(), WorkQueue())
    began, over = datetime(2026, 11, 21, 12, tzinfo=UTC), datetime(2026, 11, 21, 12, 5, tzinfo=UTC)
    running = GpuQueryJobStatus(state="Running", plan=TASKS, start_time=began)
    complete = running.model_copy(update={"state": "Complete", "completion_time": over})
    reason = Condition(type="Failed", status="True", reason="GpuOutOfMemory")
    failed = complete.model_copy(update={"state": "Failed", "conditions": (reason,)})
    for name, after in (("a", complete), ("b", failed)):
        metrics.seen(("marts", name), running, running)
        metrics.seen(("marts", name), running, after)
        metrics.seen(("marts", name), after, after)
    async with TestClient(TestServer(metrics_page(metrics))) as page, page.get("/metrics") as answer:
        text = await answer.text()
    for result in ("Complete", "GpuOutOfMemory"):
        labels = f'cluster="single",engine="tasks",result="{result}"'
        assert f"gpuquery_job_seconds_count{{{labels}}} 1.0" in text
        assert f"gpuquery_job_seconds_sum{{{labels}}} 300.0" in text


async def test_metrics_count_requests_by_verb_and_jobs_by_state_without_names() -> None:
    client = RecordingClient()
    client.requests["apply", "200"] = 3
    metrics = Metrics(client, WorkQueue())
    running = GpuQueryJobStatus(state="Running", plan=TASKS)
    metrics.seen(("marts", "revenue"), running, running)
    metrics.seen(("marts", "gone"), running, running)
    metrics.gone(("marts", "gone"))
    metrics.reconciled(0.01, "ok")
    async with TestClient(TestServer(metrics_page(metrics))) as page, page.get("/metrics") as answer:
        text = await answer.text()
    assert 'gpuquery_api_requests_total{code="200",verb="apply"} 3.0' in text
    assert 'gpuquery_jobs{engine="tasks",state="Running"} 1.0' in text
    assert 'gpuquery_reconcile_seconds_count{result="ok"} 1.0' in text
    assert "process_resident_memory_bytes" in text
    assert "revenue" not in text
