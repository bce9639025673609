"""What others do beside a job or to it: copies of its pods, objects of its names, a status written by hand."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gpuquery.api.labels import attempt_name
from tests.e2e.jobs import Bench, condition, fresh, tpch, true
from tests.e2e.test_truth import SELECT, not_ready, running
from tools.kubectl import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

JOB_LABELS = ("batch.kubernetes.io/", "controller-uid", "job-name")
SMALL = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "100m", "memory": "64Mi"}}


def copied(pod: dict[str, Any], name: str, command: Sequence[str]) -> dict[str, Any]:
    """Copy a pod as one does to debug: without its owner, the Job controller's labels and its node."""
    labels = {k: v for k, v in pod["metadata"]["labels"].items() if not k.startswith(JOB_LABELS)}
    spec = {k: v for k, v in pod["spec"].items() if k not in ("nodeName", "hostname", "subdomain")}
    runner = {k: v for k, v in spec["containers"][0].items() if k not in ("readinessProbe", "startupProbe", "args")}
    spec["containers"] = [{**runner, "command": list(command), "resources": SMALL}]
    spec["terminationGracePeriodSeconds"] = 0
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}


def test_copies_of_its_pod_that_end_or_stay_change_nothing_about_a_job(bench: Bench) -> None:
    name = fresh("copied")
    bench.apply(bench.held(name, backoffLimit=0))
    wait_until(running(bench, name), what="Running")
    (pod,) = bench.pods(name)
    fails, stays = f"{name}-fails", f"{name}-stays"
    bench.apply(
        copied(pod, fails, ["python", "-c", "raise SystemExit(3)"]),
        copied(pod, stays, ["python", "-c", "import time; time.sleep(600)"]),
    )
    try:
        wait_until(
            lambda: bench.cluster.get("pod", fails, "-n", bench.namespace)["status"]["phase"] == "Failed",
            what="the copy to end",
        )  # fmt: skip
        bench.go_on(name)
        job = wait_until(
            lambda: next((found for found in [bench.get(name)] if true(found, "Complete")), None),
            what="Complete beside a copy that runs",
        )  # fmt: skip
        assert [attempt.get("reason") for attempt in job["status"]["attempts"]] == [None]
        assert bench.alive(name) == [stays]
    finally:
        bench.cluster.run("delete", "pod", fails, stays, "-n", bench.namespace, "--wait=false")


def test_an_object_of_its_name_that_is_somebody_elses_is_told_and_left_alone(bench: Bench) -> None:
    name = fresh("taken")
    job = bench.job(name, configMapKeyRef={"name": name, "key": "query.sql"}, inputs=tpch("nation"))
    bench.apply(job)
    uid = bench.get(name)["metadata"]["uid"]
    theirs = attempt_name(name, uid, 1)
    about = {"apiVersion": "v1", "kind": "ConfigMap"}
    bench.apply({**about, "metadata": {"name": theirs}, "data": {"their": "data"}})
    bench.apply({**about, "metadata": {"name": name}, "data": {"query.sql": SELECT}})
    found = not_ready(bench, name, "NameTaken")
    assert f"a ConfigMap named {theirs} that is not this job's" in found["message"]
    kept = bench.cluster.get("configmap", theirs, "-n", bench.namespace)
    assert kept["data"] == {"their": "data"} and "ownerReferences" not in kept["metadata"]
    bench.cluster.run("delete", "configmap", theirs, "-n", bench.namespace)
    assert true(bench.ended(name), "Complete"), "it goes on once the name is free"


def test_a_batch_job_that_somebody_suspends_is_named_and_goes_on_when_resumed(bench: Bench) -> None:
    name = fresh("suspended")
    bench.apply(bench.job(name, sql=SELECT, inputs=tpch("nation"), template={"spec": {"nodeSelector": {"not": "yet"}}}))
    not_ready(bench, name, "Unschedulable")
    batch_job = attempt_name(name, bench.get(name)["metadata"]["uid"], 1)

    def suspend(value: bool) -> None:
        patch = json.dumps({"spec": {"suspend": value}})
        bench.cluster.run("patch", "job", batch_job, "-n", bench.namespace, "-p", patch)

    suspend(True)
    found = not_ready(bench, name, "Suspended")
    assert f"the Job {batch_job} is suspended (by kubectl" in found["message"]
    suspend(False)
    not_ready(bench, name, "Unschedulable")
    assert bench.get(name)["status"]["attempt"] == 1
    bench.cluster.run("delete", "gqj", name, "-n", bench.namespace, "--wait=false")


def policy(name: str, group: str, resource: str, change: str) -> list[dict[str, Any]]:
    """Return objects by which admission changes what the job of that name has made, whoever makes it."""
    rule = {"apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": [resource]}
    about = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": name}}
    of_job = {"matchLabels": {"gpuquery.io/job": name}}
    mutation = {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": f"Object{{spec: {change}}}"}}
    spec = {"failurePolicy": "Fail", "reinvocationPolicy": "Never", "mutations": [mutation]}
    spec["matchConstraints"] = {"resourceRules": [rule], "objectSelector": of_job}
    return [
        {**about, "kind": "MutatingAdmissionPolicy", "spec": spec},
        {**about, "kind": "MutatingAdmissionPolicyBinding", "spec": {"policyName": name}},
    ]


@contextlib.contextmanager
def in_force(bench: Bench, *objects: dict[str, Any], probe: dict[str, Any], shows: str) -> Iterator[None]:
    """Have a policy, once what is made of `probe` shows it; nothing is made to find out."""
    names = [f"{each['kind']}/{each['metadata']['name']}" for each in reversed(objects)]
    bench.cluster.apply(*objects)
    asked = ("create", "--dry-run=server", "-o", "json", "-n", bench.namespace, "-f", "-")
    try:
        wait_until(lambda: shows in bench.cluster.run(*asked, stdin=json.dumps(probe)), what="the policy")
        yield
    finally:
        bench.cluster.run("delete", *names)


def apparmor() -> bool:
    """Whether the kernel of this machine enforces AppArmor."""
    enabled = Path("/sys/module/apparmor/parameters/enabled")
    return enabled.exists() and enabled.read_text().startswith("Y")


BARE = {
    "restartPolicy": "Never",
    "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {
            "name": "probe", "image": "none.invalid/none",
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
    ],
}  # fmt: skip
"""A pod that a namespace takes which wants restricted ones."""


@pytest.mark.skipif(apparmor(), reason="this machine enforces AppArmor, so its kubelet refuses no pod for it")
def test_a_pod_that_the_kubelet_refuses_spends_the_budget_and_is_told_with_a_way_out(bench: Bench) -> None:
    name = fresh("armed")
    profile = 'Object.spec.securityContext.appArmorProfile{type: "RuntimeDefault"}'
    change = f"Object.spec{{securityContext: Object.spec.securityContext{{appArmorProfile: {profile}}}}}"
    labels = {"gpuquery.io/job": name}
    probe = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": BARE}
    with in_force(bench, *policy(name, "", "pods", change), probe=probe, shows="appArmorProfile"):
        failed = bench.failed(bench.job(name, sql=SELECT, inputs=tpch("nation"), backoffLimit=0))
    assert failed["reason"] == "PodRefused"
    assert "AppArmor" in failed["message"] and "template.metadata.annotations" in failed["message"]
    assert len(bench.get(name)["status"]["attempts"]) == 1


def test_a_batch_job_that_a_policy_suspends_as_it_is_created_is_named_by_the_deadline(bench: Bench) -> None:
    name = fresh("queued")
    about = {"name": name, "labels": {"gpuquery.io/job": name}}
    probe = {"apiVersion": "batch/v1", "kind": "Job", "metadata": about, "spec": {"template": {"spec": BARE}}}
    held = policy(name, "batch", "jobs", "Object.spec{suspend: true}")
    with in_force(bench, *held, probe=probe, shows='"suspend": true'):
        failed = bench.failed(bench.job(name, sql=SELECT, inputs=tpch("nation"), startDeadlineSeconds=5))
    assert failed["reason"] == "StartDeadlineExceeded" and "is suspended (by a policy" in failed["message"]
    assert len(bench.get(name)["status"]["attempts"]) == 1


def test_a_pod_that_a_device_plugin_refuses_is_told_as_that(bench: Bench) -> None:
    """The status is written in the kubelet's place: there is no device plugin here that could refuse."""
    name = fresh("refused")
    nowhere = {"spec": {"nodeSelector": {"not": "yet"}}}
    bench.apply(bench.job(name, sql=SELECT, inputs=tpch("nation"), template=nowhere, backoffLimit=0))
    not_ready(bench, name, "Unschedulable")
    (pod,) = bench.alive(name)
    words = "Pod was rejected: Allocate failed due to no healthy devices"
    status = {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": words}
    bench.cluster.run(
        "patch", "pod", pod, "-n", bench.namespace, "--subresource=status", "-p", json.dumps({"status": status})
    )
    failed = condition(bench.ended(name), "Failed")
    assert failed and failed["reason"] == "PodRefused"
    assert pod in failed["message"] and words in failed["message"] and "look at the device plugin" in failed["message"]


def test_complete_that_is_written_by_hand_ends_nothing_and_is_told(bench: Bench) -> None:
    name = fresh("written")
    bench.apply(bench.held(name))
    wait_until(running(bench, name), what="Running")
    conditions = [
        {**found, "status": "True"} if found["type"] == "Complete" else found
        for found in bench.get(name)["status"]["conditions"]
    ]
    patch = json.dumps({"status": {"conditions": conditions}})
    how = ("-n", bench.namespace, "--subresource=status", "--type=merge", "-p", patch)
    bench.cluster.run("patch", "gqj", name, *how)
    wait_until(lambda: not true(bench.get(name), "Complete"), what="Complete to be taken back")
    bench.go_on(name)
    job = bench.ended(name)
    assert true(job, "Complete") and true(job, "OutputCommitted"), job["status"]
    assert len(bench.commits(f"out/{name}")) == 1
    assert [reason for reason, _ in bench.events(name)].count("StatusCorrected") == 1
