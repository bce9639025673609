"""Conditions against what pods really do: why a job does not start, and how it ends when its pod does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.jobs import Begun, Bench, condition, fresh, tpch, true
from tools import demo
from tools.kubectl import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

SELECT = "SELECT n_name FROM nation"
SLEEP = """
import time

def query(inputs, params):
    time.sleep(params["seconds"])
    return inputs["nation"]
"""
HOG = """
import polars as pl

def query(inputs, params):
    ballast = [bytearray(64 << 20) for _ in range(64)]
    for block in ballast:
        block[::4096] = b"x" * len(block[::4096])
    return inputs["nation"]
"""


def sleeper(bench: Bench, name: str, seconds: int, **spec: Any) -> dict[str, Any]:
    """Build a job whose query takes that long."""
    return bench.job(name, python=SLEEP, inputs=tpch("nation"), parameters={"seconds": {"integer": seconds}}, **spec)


def not_ready(bench: Bench, name: str, reason: str) -> dict[str, Any]:
    """Wait until ClusterReady is False for that reason; returns the condition."""

    def told() -> dict[str, Any] | None:
        found = condition(bench.get(name), "ClusterReady")
        return found if found and found["status"] == "False" and found["reason"] == reason else None

    found: dict[str, Any] = wait_until(told, what=f"ClusterReady=False, {reason}")
    return found


def test_a_healthy_job_leaves_no_warning(bench: Bench) -> None:
    name = fresh("healthy")
    bench.completed(sleeper(bench, name, 3))
    assert bench.warnings(name) == []


@pytest.mark.usefixtures("all_begun")  # it waits for a quarter of a minute, as they do
def test_a_pod_that_fits_nowhere_is_unschedulable_and_ends_at_the_start_deadline(bench: Bench) -> None:
    name = fresh("huge")
    resources = {"requests": {"cpu": "4000"}, "limits": {"cpu": "4000"}}
    job = bench.job(name, sql=SELECT, inputs=tpch("nation"), workers={"resources": resources}, startDeadlineSeconds=15)
    bench.apply(job)
    found = not_ready(bench, name, "Unschedulable")
    assert "cpu" in found["message"].lower()
    ended = bench.ended(name)
    failed = condition(ended, "Failed")
    assert failed and failed["reason"] == "StartDeadlineExceeded"
    assert "cpu" in failed["message"].lower(), "the deadline's message says what it waited for"
    assert bench.alive(name) == []


@pytest.mark.begins(sql=SELECT, inputs=tpch("nation"), startDeadlineSeconds=60)
@pytest.mark.parametrize(
    ("spec", "word"),
    [
        pytest.param(
            {"runtime": {"image": "localhost/no-such-image:v0"}}, "no-such-image", id="an image that is nowhere"
        ),
        pytest.param({"runtime": {"image": "localhost/UpperCase:v0"}}, "UpperCase", id="a name that is none"),
    ],
)
def test_an_image_that_cannot_be_pulled_is_named(begun: Begun, spec: dict[str, Any], word: str) -> None:
    failed = begun.failed()
    assert failed["reason"] in ("ImagePullFailed", "StartDeadlineExceeded")
    assert word in failed["message"]


def test_a_full_quota_is_told_and_waited_for(elsewhere: Bench) -> None:
    bench = elsewhere
    name = fresh("quota")
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": name},
        "spec": {"hard": {"requests.nvidia.com/gpu": "0", "count/jobs.batch": "1000", "requests.cpu": "1m"}},
    }
    bench.apply(quota)
    try:
        bench.apply(bench.job(name, sql=SELECT, inputs=tpch("nation")))
        found = not_ready(bench, name, "QuotaExceeded")
        assert name in found["message"], "the quota is named"
    finally:
        bench.cluster.run("delete", "resourcequota", name, "-n", bench.namespace)
    assert true(bench.ended(name), "Complete"), "it goes on once there is room"


def test_a_missing_secret_is_named(bench: Bench) -> None:
    name = fresh("secret")
    bench.apply(bench.job(name, sql=SELECT, inputs=tpch("nation"), storage={"secretName": "not-there"}))
    found = not_ready(bench, name, "SecretNotFound")
    assert "not-there" in found["message"]


def test_a_query_that_outgrows_its_memory_is_host_out_of_memory(bench: Bench) -> None:
    resources = {"requests": {"memory": "600Mi"}, "limits": {"memory": "600Mi"}}
    name = fresh("hog")
    job = bench.job(name, python=HOG, inputs=tpch("nation"), workers={"resources": resources}, backoffLimit=0)
    failed = bench.failed(job)
    assert failed["reason"] == "HostOutOfMemory", failed
    assert "600Mi" in failed["message"]


def running(bench: Bench, name: str) -> Callable[[], bool]:
    """Return a check for Running=True."""
    return lambda: true(bench.get(name), "Running")


def test_a_running_query_is_ready_and_running_and_an_eviction_spends_no_budget(bench: Bench) -> None:
    name = fresh("evicted")
    bench.apply(bench.held(name, backoffLimit=0))
    wait_until(running(bench, name), what="Running")
    assert true(bench.get(name), "ClusterReady")
    pod = bench.alive(name)[0]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": bench.namespace}}
    import json

    path = f"/api/v1/namespaces/{bench.namespace}/pods/{pod}/eviction"
    bench.cluster.run("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
    bench.go_on(name, attempt=2)
    job = bench.ended(name)
    assert true(job, "Complete"), condition(job, "Failed")
    assert [a.get("reason") for a in job["status"]["attempts"]] == ["Evicted", None]


def test_a_killed_pod_is_retried_within_the_budget_and_then_fails(bench: Bench) -> None:
    name = fresh("killed")
    bench.apply(bench.held(name, backoffLimit=1))
    for attempt in (1, 2):
        wait_until(lambda n=attempt: bench.get(name)["status"].get("attempt") == n, what=f"attempt {attempt}")
        wait_until(lambda: bench.alive(name), what="its pod")
        pod = bench.alive(name)[0]
        bench.cluster.run("delete", "pod", pod, "-n", bench.namespace, "--force", "--grace-period=0")
    job = bench.ended(name)
    failed = condition(job, "Failed")
    assert failed and failed["reason"] == "BackoffLimitExceeded"
    assert "WorkerLost" in failed["message"]
    assert len(job["status"]["attempts"]) == 2


@pytest.mark.begins(
    python=SLEEP, inputs=tpch("nation"), parameters={"seconds": {"integer": 600}}, activeDeadlineSeconds=8
)
def test_a_deadline_ends_the_job_and_its_pods(begun: Begun) -> None:
    failed = begun.failed()
    assert failed["reason"] == "DeadlineExceeded"
    assert "8" in failed["message"]


@pytest.mark.begins(sql=SELECT, inputs=tpch("nation"), ttlSecondsAfterFinished=1)
def test_a_finished_job_goes_after_its_ttl_and_the_output_stays(begun: Begun) -> None:
    bench, name = begun.bench, begun.name

    def gone() -> bool:
        return "NotFound" in bench.cluster.run("get", "gqj", name, "-n", bench.namespace, check=False)

    wait_until(gone, what="the job to be deleted")
    assert len(bench.commits(f"out/{name}")) == 1


CONFINED = """
import os
import pathlib

def query(inputs, params):
    assert not pathlib.Path("/var/run/secrets/kubernetes.io").exists(), "a token is mounted"
    assert os.getuid() != 0
    try:
        pathlib.Path("/probe").write_text("x")
    except OSError:
        return inputs["nation"]
    raise AssertionError("the root file system is writable")
"""


@pytest.mark.begins(python=CONFINED, inputs=tpch("nation"))
def test_the_pod_of_a_query_reaches_no_api_token_and_runs_restricted(begun: Begun) -> None:
    begun.completed()


def test_no_credential_shows_up_in_an_object_an_event_or_a_log(bench: Bench) -> None:
    good, bad = fresh("quiet"), fresh("loud")
    planted = {"AWS_ACCESS_KEY_ID": "planted-key-id", "AWS_SECRET_ACCESS_KEY": "planted-secret-value"}
    bench.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": bad}, "stringData": planted})
    bench.completed(bench.job(good, sql=SELECT, inputs=tpch("nation")))
    bench.failed(bench.job(bad, sql=SELECT, inputs=tpch("nation"), storage={"secretName": bad}))
    texts = [
        bench.cluster.run("get", "gqj,jobs,pods,configmaps,services,events", "-n", bench.namespace, "-o", "yaml"),
        bench.cluster.run("logs", "-n", demo.SYSTEM, "-l", "app.kubernetes.io/name=gpuquery", "--tail=-1"),
        *(
            bench.cluster.run("logs", "-n", bench.namespace, "-l", f"gpuquery.io/job={n}", "--tail=-1")
            for n in (good, bad)
        ),
    ]
    secrets = (*planted.values(), bench.lake.access_key, bench.lake.secret_key)
    assert [secret for secret in secrets for text in texts if secret in text] == []
