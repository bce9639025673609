"""The preflight's own pod on a real cluster: it comes first, it says what is wrong, and nothing of it is left."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.jobs import Begun, Bench, condition, fresh, tpch, true
from tools import demo
from tools.kubectl import wait_until

SELECT = "SELECT n_name, n_regionkey FROM nation"
SLOW = """
import time

def query(inputs, params):
    time.sleep(params["seconds"])
    return inputs["nation"]
"""
COMPONENT = "app.kubernetes.io/component"


def slow(bench: Bench, name: str, seconds: int, **spec: Any) -> dict[str, Any]:
    """Build a job whose plan takes that long to make, so that something can be done to its preflight meanwhile."""
    parameters = {"seconds": {"integer": seconds}}
    return bench.job(name, python=SLOW, inputs=tpch("nation"), parameters=parameters, preflight="always", **spec)


def objects(bench: Bench, name: str, component: str, kinds: str = "jobs,pods,configmaps") -> list[str]:
    """Return what there is of a job's preflight, or of its attempts."""
    selector = f"gpuquery.io/job={name},{COMPONENT}={component}"
    found = bench.cluster.get(kinds, "-n", bench.namespace, "-l", selector)["items"]
    return [f"{o['kind']}/{o['metadata']['name']}" for o in found if "deletionTimestamp" not in o["metadata"]]


def told(bench: Bench, name: str) -> tuple[str, str]:
    """Return status and reason of the condition Preflight."""
    found = condition(bench.get(name), "Preflight") or {}
    return found.get("status", ""), found.get("reason", "")


def at_work(bench: Bench, name: str) -> str:
    """Wait until the pod of a preflight runs; returns its name."""

    def running() -> str | None:
        pods = [p for p in bench.pods(name) if p["metadata"]["labels"][COMPONENT] == "preflight"]
        return next((p["metadata"]["name"] for p in pods if p["status"]["phase"] == "Running"), None)

    found: str = wait_until(running, what="a preflight at work", every=0.2)
    return found


def reasons(bench: Bench, name: str) -> list[str]:
    """Return the reasons of the job's events, without order: those of one moment have one time.

    A commit has an event of its own only if the operator saw it before the end of the job, so it is left out.
    """
    return sorted(reason for reason, _ in bench.events(name) if reason != "OutputCommitted")


def test_a_preflight_tells_sizes_and_goes_before_its_query_runs(bench: Bench) -> None:
    name = fresh("checked")
    job = bench.completed(bench.job(name, sql=SELECT, inputs=tpch("nation"), preflight="always"))
    status = job["status"]
    assert told(bench, name) == ("True", "Passed")
    assert status["preflight"]["polars"] and status["preflight"]["finished"]
    assert status["preflightRun"]["id"] == 1 and status["preflightRun"]["exitCode"] == 0
    assert [a["id"] for a in status["attempts"]] == [1], "a preflight is no attempt"
    assert status["startTime"] <= status["attempts"][0]["started"]
    wait_until(lambda: not objects(bench, name, "preflight"), what="the preflight's objects to go")
    assert reasons(bench, name) == ["AttemptStarted", "Complete", "Planned", "PreflightPassed"]


def test_a_dry_run_writes_nothing_and_asks_for_no_attempt(bench: Bench) -> None:
    name = fresh("dry")
    bench.apply(bench.job(name, sql=SELECT, inputs=tpch("nation"), dryRun=True))
    job = bench.ended(name)
    complete = condition(job, "Complete")
    assert complete and (complete["status"], complete["reason"]) == ("True", "DryRun"), job["status"]
    found = condition(job, "Preflight")
    assert found and job["status"]["plan"]["why"] in complete["message"] and found["message"] in complete["message"]
    assert not true(job, "OutputCommitted") and "output" not in job["status"]
    assert bench.keys(f"out/{name}") == [] and bench.uploads(f"out/{name}") == []
    assert objects(bench, name, "attempt") == []
    assert reasons(bench, name) == ["Complete", "Planned", "PreflightPassed"]
    log = bench.cluster.run("logs", "-n", bench.namespace, "-l", f"gpuquery.io/job={name}", "--tail=-1")
    assert log.strip(), "the log of the preflight can still be read"


def test_a_dry_run_goes_after_its_ttl(bench: Bench) -> None:
    name = fresh("dryttl")
    bench.apply(bench.job(name, sql=SELECT, inputs=tpch("nation"), dryRun=True, ttlSecondsAfterFinished=1))

    def gone() -> bool:
        return "NotFound" in bench.cluster.run("get", "gqj", name, "-n", bench.namespace, check=False)

    wait_until(gone, what="the dry run to be deleted")


def contract(kind: str) -> dict[str, Any]:
    """Build an input with a contract on one column."""
    return {**tpch("nation")[0], "schema": {"columns": {"n_nationkey": {"type": kind}}}}


@pytest.mark.begins(sql=SELECT, inputs=[contract("Date")])
@pytest.mark.parametrize("spec", [{"preflight": "always"}, {"dryRun": True}], ids=["a job", "a dry run"])
def test_a_finding_ends_the_job_before_any_attempt(begun: Begun, spec: dict[str, Any]) -> None:
    bench, name = begun.bench, begun.name
    failed = begun.failed()
    assert failed["reason"] == "SchemaMismatch"
    assert "n_nationkey" in failed["message"] and "Date" in failed["message"]
    assert told(bench, name) == ("False", "SchemaMismatch")
    assert "attempt" not in bench.get(name)["status"] and objects(bench, name, "attempt") == []
    assert reasons(bench, name) == ["PreflightFailed"]


@pytest.mark.begins(sql=SELECT, inputs=[contract("Int64")], preflight="always")
def test_a_contract_that_holds_passes(begun: Begun) -> None:
    begun.completed()


def test_the_querys_own_pod_checks_small_jobs_and_says_so(bench: Bench) -> None:
    name, other, broken = fresh("inpod"), fresh("never"), fresh("inpodbad")
    bench.apply(
        bench.job(name, sql=SELECT, inputs=tpch("nation")),
        bench.job(other, sql=SELECT, inputs=tpch("nation"), preflight="never"),
        bench.job(broken, sql=SELECT, inputs=[contract("Date")]),
    )
    bench.as_completed(name)
    assert told(bench, name) == ("True", "Passed")
    bench.as_completed(other)
    assert told(bench, other) == ("Unknown", "Skipped")
    assert bench.how_it_failed(broken)["reason"] == "SchemaMismatch"
    assert told(bench, broken) == ("False", "SchemaMismatch")


@pytest.mark.parametrize("what", [pytest.param("pod", marks=pytest.mark.faults), "job"])
def test_a_preflight_that_someone_deletes_is_made_again(bench: Bench, what: str) -> None:
    name = fresh("lost")
    bench.apply(slow(bench, name, 6))
    pod = at_work(bench, name)
    target = pod if what == "pod" else pod.rsplit("-", 1)[0]
    bench.cluster.run("delete", what, target, "-n", bench.namespace, "--force", "--grace-period=0")
    job = bench.ended(name)
    assert true(job, "Complete"), condition(job, "Failed")
    assert job["status"]["preflightRun"]["id"] == 2 and job["status"]["preflightRun"]["countedFailures"] == 1
    assert [a["id"] for a in job["status"]["attempts"]] == [1]


@pytest.mark.alone
def test_an_operator_that_is_killed_beside_a_preflight_does_nothing_twice(bench: Bench) -> None:
    name = fresh("restart")
    bench.apply(slow(bench, name, 6))
    at_work(bench, name)
    bench.cluster.run("delete", "pod", "--all", "-n", demo.SYSTEM, "--force", "--grace-period=0")
    job = bench.ended(name)
    assert true(job, "Complete"), condition(job, "Failed")
    assert job["status"]["preflightRun"]["id"] == 1 and len(job["status"]["attempts"]) == 1
    assert reasons(bench, name) == ["AttemptStarted", "Complete", "Planned", "PreflightPassed"]


def test_a_preflight_that_fits_nowhere_is_told_and_ends_at_the_start_deadline(bench: Bench) -> None:
    name = fresh("nowhere")
    template = {"spec": {"nodeSelector": {"example.com/no-such": "node"}}}
    spec = {"template": template, "startDeadlineSeconds": 12, "dryRun": True}
    bench.apply(bench.job(name, sql=SELECT, inputs=tpch("nation"), **spec))
    wait_until(lambda: told(bench, name) == ("Unknown", "Unschedulable"), what="Unschedulable")
    assert bench.get(name)["status"]["state"] == "Preflight"
    failed = condition(bench.ended(name), "Failed")
    assert failed and failed["reason"] == "StartDeadlineExceeded" and "node" in failed["message"]


def test_a_missing_secret_holds_the_preflight_up(bench: Bench) -> None:
    name = fresh("secret")
    spec = {"storage": {"secretName": "not-there"}, "preflight": "always"}
    bench.apply(bench.job(name, sql=SELECT, inputs=tpch("nation"), **spec))
    wait_until(lambda: told(bench, name) == ("Unknown", "SecretNotFound"), what="SecretNotFound")


def test_the_deadline_ends_a_preflight_and_its_pod(bench: Bench) -> None:
    name = fresh("deadline")
    bench.apply(slow(bench, name, 600, activeDeadlineSeconds=8))
    failed = condition(bench.ended(name, timeout=90), "Failed")
    assert failed and failed["reason"] == "DeadlineExceeded"
    assert objects(bench, name, "attempt") == []


def test_deleting_the_job_deletes_its_preflight(bench: Bench) -> None:
    name = fresh("deleted")
    bench.apply(slow(bench, name, 600))
    at_work(bench, name)
    bench.cluster.run("delete", "gqj", name, "-n", bench.namespace)
    wait_until(lambda: not objects(bench, name, "preflight"), what="the preflight to go with its job")
