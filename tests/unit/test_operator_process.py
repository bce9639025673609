"""The operator as a process: settings, probes, metrics, and the watch that may be dead."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from aiohttp.test_utils import TestClient, TestServer
from pydantic import ValidationError

from gpuquery import app
from gpuquery.api.pods import Resources
from gpuquery.api.status import Condition, GpuQueryJobStatus, PlanStatus
from gpuquery.app.serve import STUCK_SECONDS, Health, metrics_page, probes
from gpuquery.app.settings import Settings
from gpuquery.app.watch import Sightings
from gpuquery.plan.defaults import Defaults
from gpuquery.reconcile.metrics import Metrics
from gpuquery.reconcile.queue import WorkQueue
from gpuquery.reconcile.reconciler import Key
from tests.support.recording import RecordingClient


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


async def status(health: Health, path: str) -> tuple[int, str]:
    async with TestClient(TestServer(probes(health))) as client, client.get(path) as answer:
        return answer.status, await answer.text()


async def test_an_operator_is_ready_while_it_stands_by_and_once_it_watches() -> None:
    health = Health(WorkQueue())
    assert await status(health, "/readyz") == (200, "ok")
    health.standby = False
    assert await status(health, "/readyz") == (500, "the watch has not begun")
    assert (await status(health, "/healthz"))[0] == 200, "slow is not dead"
    health.watching = True
    assert (await status(health, "/readyz"))[0] == 200


async def test_an_operator_whose_worker_died_or_hangs_is_not_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    queue: WorkQueue[Key] = WorkQueue()
    health = Health(queue, standby=False, watching=True)
    monkeypatch.setattr(WorkQueue, "oldest", STUCK_SECONDS + 1)
    assert (await status(health, "/healthz"))[0] == 500
    monkeypatch.setattr(WorkQueue, "oldest", 0.0)
    assert (await status(health, "/healthz"))[0] == 200
    health.workers_ended = True
    assert await status(health, "/healthz") == (500, "a worker has ended")


def test_a_watch_that_twice_missed_the_same_version_is_dead() -> None:
    sightings, key = Sightings(), ("marts", "revenue")
    sightings.saw(key, "1", deleted=False)
    sightings.compare({key: "1"})
    assert not sightings.stale
    sightings.compare({key: "2"})
    assert not sightings.stale, "the event may be on its way"
    sightings.compare({key: "2"})
    assert sightings.stale
    sightings.saw(key, "2", deleted=False)
    sightings.compare({key: "2"})
    assert not sightings.stale


def test_a_busy_watch_that_lags_is_not_dead() -> None:
    sightings, key = Sightings(), ("marts", "revenue")
    for version in range(10):
        sightings.compare({key: str(version)})
    assert not sightings.stale, "every list showed another version"


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
    metrics.retain({("marts", "revenue")})
    metrics.reconciled(0.01, "ok")
    async with TestClient(TestServer(metrics_page(metrics))) as page, page.get("/metrics") as answer:
        text = await answer.text()
    assert 'gpuquery_api_requests_total{code="200",verb="apply"} 3.0' in text
    assert 'gpuquery_jobs{engine="tasks",state="Running"} 1.0' in text
    assert 'gpuquery_reconcile_seconds_count{result="ok"} 1.0' in text
    assert "process_resident_memory_bytes" in text
    assert "revenue" not in text
