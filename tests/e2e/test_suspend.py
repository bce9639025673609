"""`spec.suspend` on a real cluster: pods go, GPUs are free, and another attempt commits once."""

from __future__ import annotations

from typing import Any

from tests.e2e.jobs import Bench, condition, fresh, tpch, true
from tests.e2e.test_truth import SELECT, running
from tools.kubectl import wait_until


def suspend(bench: Bench, name: str, *, value: bool) -> None:
    """Set `spec.suspend`, as a user does."""
    patch = f'{{"spec":{{"suspend":{str(value).lower()}}}}}'
    bench.cluster.run("patch", "gqj", name, "-n", bench.namespace, "--type", "merge", "-p", patch)


def at_rest(bench: Bench, name: str) -> dict[str, Any]:
    """Wait until the job is suspended, insist that nothing of it runs, and return it."""

    def told() -> dict[str, Any] | None:
        job = bench.get(name)
        return job if true(job, "Suspended") else None

    job: dict[str, Any] = wait_until(told, what=f"{name} to be suspended")
    assert not bench.alive(name), "Suspended is True only once none of its pods is alive"
    assert job["status"]["state"] == "Suspended" and "startTime" not in job["status"]
    return job


def test_a_job_that_is_suspended_while_it_runs_has_no_pods_and_is_complete_after_it_is_resumed(bench: Bench) -> None:
    name = fresh("suspended")
    bench.apply(bench.held(name, backoffLimit=0))
    wait_until(running(bench, name), what="Running")
    suspend(bench, name, value=True)
    job = at_rest(bench, name)
    assert [attempt["reason"] for attempt in job["status"]["attempts"]] == ["Suspended"], "history is kept"
    suspend(bench, name, value=False)
    bench.go_on(name, attempt=2)
    job = bench.ended(name)
    assert true(job, "Complete"), condition(job, "Failed")
    assert not true(job, "Suspended")
    assert job["status"]["attempt"] == 2 and job["status"].get("countedFailures", 0) == 0
    assert len(bench.commits(f"out/{name}")) == 1
    told = [reason for reason, _ in bench.events(name)]
    assert "Suspended" in told and "Resumed" in told and "AttemptFailed" not in told


def test_a_job_that_is_created_suspended_begins_when_it_is_resumed(bench: Bench) -> None:
    name = fresh("held")
    bench.apply(bench.job(name, sql=SELECT, inputs=tpch("nation"), suspend=True))
    job = at_rest(bench, name)
    assert not bench.pods(name) and "attempt" not in job["status"], "nothing was asked for"
    suspend(bench, name, value=False)
    job = bench.ended(name)
    assert true(job, "Complete"), condition(job, "Failed")
    assert job["status"]["attempt"] == 1 and len(bench.commits(f"out/{name}")) == 1
