"""The objects of a preflight: the attempt's pod without what costs, and where the query is checked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gpuquery.api.labels import (
    LABEL_ATTEMPT,
    LABEL_COMPONENT,
    LABEL_JOB,
    LABEL_JOB_UID,
    LABEL_PREFLIGHT,
    MAX_NAME_LENGTH,
    NO_DRIVER_DIRECTORY,
    PLAN_KEY,
    attempt_name,
    preflight_name,
)
from gpuquery.plan.checks import Place, place
from gpuquery.plan.maxima import Maxima
from gpuquery.plan.plan import Plan
from gpuquery.plan.resolve import resolve
from gpuquery.render.attempt import attempt_objects
from gpuquery.render.preflight import preflight_objects
from gpuquery.runner.plans import load
from tests.support.kube_objects import DEFAULTS, UID, job

Objects = dict[str, dict[str, Any]]


def plan_of(subject: Any, **update: Any) -> Plan:
    plan = resolve(subject, DEFAULTS.model_copy(update={"maxima": Maxima(extended_resources=("example.com/fpga",))}))
    assert isinstance(plan, Plan), plan
    return plan.model_copy(update=update)


def build(*, run: int = 1, on: dict[str, Any] | None = None, **spec: Any) -> Objects:
    """Build the objects; `on` is what the plan runs on, such as 16 GPUs."""
    subject = job(**spec)
    return {o["kind"]: o for o in preflight_objects(plan_of(subject, **(on or {})), subject, DEFAULTS, run)}


def pod(**how: Any) -> dict[str, Any]:
    spec: dict[str, Any] = build(**how)["Job"]["spec"]["template"]["spec"]
    return spec


def attempts_pod(**spec: Any) -> dict[str, Any]:
    subject = job(**spec)
    found: dict[str, Any] = attempt_objects(plan_of(subject), subject, DEFAULTS)[1]["spec"]["template"]["spec"]
    return found


GPUS = {"engine": "rapidsmpf", "cluster": "distributed", "release": "26.10", "replicas": 2, "gpus": 8}


def test_a_preflight_is_one_job_of_one_pod_that_is_never_replaced() -> None:
    objects = build()
    assert list(objects) == ["NetworkPolicy", "Job", "ConfigMap"]
    spec = objects["Job"]["spec"]
    assert (spec["completions"], spec["parallelism"], spec["backoffLimit"]) == (1, 1, 0)
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert build(activeDeadlineSeconds=60)["Job"]["spec"]["activeDeadlineSeconds"] == 120


def test_they_are_found_by_the_run_and_belong_to_no_attempt() -> None:
    objects = build(run=3)
    (owner,) = objects["Job"]["metadata"]["ownerReferences"]
    assert owner["uid"] == UID and owner["controller"] and owner["blockOwnerDeletion"]
    assert "ownerReferences" not in objects["ConfigMap"]["metadata"], "it will be the Job's, which is not made yet"
    for kind in ("Job", "ConfigMap"):
        metadata = objects[kind]["metadata"]
        assert metadata["name"] == "revenue-0a1b2-p3", kind
        labels = {LABEL_JOB: "revenue", LABEL_JOB_UID: UID, LABEL_PREFLIGHT: "3", LABEL_COMPONENT: "preflight"}
        assert labels.items() <= metadata["labels"].items() and LABEL_ATTEMPT not in metadata["labels"]
    template = objects["Job"]["spec"]["template"]["metadata"]["labels"]
    assert template[LABEL_PREFLIGHT] == "3" and LABEL_ATTEMPT not in template, "no attempt's Service finds it"


def test_its_name_is_no_attempts_name_and_fits() -> None:
    names = {attempt_name("a", UID, n) for n in range(1000)} | {attempt_name("a-p1", UID, n) for n in range(1000)}
    assert not names & {preflight_name("a", UID, n) for n in range(1000)}
    assert len(preflight_name("a" * MAX_NAME_LENGTH, UID, 9999)) + len("-abcde") <= 63


def test_the_pod_reads_the_plan_of_the_attempt_for_another_purpose(tmp_path: Any) -> None:
    objects = build(on=GPUS)
    text = objects["ConfigMap"]["data"][PLAN_KEY]
    (tmp_path / PLAN_KEY).write_text(text)
    plan = load(tmp_path / PLAN_KEY)
    assert plan.purpose == "preflight" and (plan.replicas, plan.gpus, plan.release) == (2, 8, "26.10")
    volume = next(v for v in objects["Job"]["spec"]["template"]["spec"]["volumes"] if v["name"] == "plan")
    assert volume["configMap"]["name"] == objects["ConfigMap"]["metadata"]["name"]


def test_the_pod_asks_for_no_gpu_and_for_its_own_small_resources() -> None:
    spec = pod(on=GPUS, workers={"resources": {"limits": {"memory": "900Gi", "example.com/fpga": "8"}}})
    (container,) = spec["containers"]
    assert "nvidia.com" not in json.dumps(spec) and "example.com/fpga" not in json.dumps(spec)
    assert [volume["name"] for volume in spec["volumes"]] == ["plan", "scratch"], "nor for memory that ranks share"
    own = DEFAULTS.preflight_resources
    assert container["resources"] == {"requests": dict(own.requests), "limits": dict(own.limits)}


def test_the_pod_is_as_restricted_as_an_attempts() -> None:
    mine, theirs = pod(), attempts_pod()
    for key in ("securityContext", "automountServiceAccountToken", "enableServiceLinks", "restartPolicy"):
        assert mine[key] == theirs[key]
    assert mine["containers"][0]["securityContext"] == theirs["containers"][0]["securityContext"]


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"storage": {"secretName": "lake", "endpoint": "http://s3:8333"}}, id="keys"),
        pytest.param({"storage": {"serviceAccountName": "lake-reader"}}, id="a cloud identity"),
        pytest.param({"runtime": {"image": "mine:1", "imagePullPolicy": "Always"}}, id="an image"),
        pytest.param({"template": {"spec": {"imagePullSecrets": [{"name": "mine"}]}}}, id="a pull secret"),
    ],
)
def test_what_the_attempt_can_read_the_preflight_can_read(spec: dict[str, Any]) -> None:
    mine, theirs = pod(**spec), attempts_pod(**spec)
    for key in ("env", "image", "imagePullPolicy", "command"):
        assert mine["containers"][0][key] == theirs["containers"][0][key], key
    for key in ("serviceAccountName", "imagePullSecrets"):
        assert mine.get(key) == theirs.get(key), key


def test_nobody_asks_the_pod_how_far_it_is() -> None:
    spec = pod()
    assert "subdomain" not in spec
    assert not {"readinessProbe", "startupProbe", "ports"} & set(spec["containers"][0])


TEMPLATE = {
    "metadata": {"labels": {"team": "marts"}, "annotations": {"note": "x"}},
    "spec": {
        "nodeSelector": {"gpu.example.com/product": "H100", "kubernetes.io/arch": "amd64"},
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
        "runtimeClassName": "vendor",
        "priorityClassName": "batch",
    },
}


def test_nothing_of_the_template_leads_the_preflight_of_a_gpu_query_to_gpu_nodes() -> None:
    made = build(on=GPUS, template=TEMPLATE)["Job"]["spec"]["template"]
    assert made["metadata"]["labels"]["team"] == "marts" and made["metadata"]["annotations"] == {"note": "x"}
    spec = made["spec"]
    assert spec["nodeSelector"] == {"kubernetes.io/arch": "amd64"}
    assert spec["tolerations"] and spec["priorityClassName"] == "batch"
    assert "affinity" not in spec and "runtimeClassName" not in spec
    assert "nodeSelector" not in pod(on=GPUS, template={"spec": {"nodeSelector": {"a": "b"}}})


def test_without_a_gpu_engine_the_preflight_goes_where_the_query_goes() -> None:
    spec = pod(template=TEMPLATE)
    assert spec["nodeSelector"] == TEMPLATE["spec"]["nodeSelector"] and spec["affinity"]


ONE = {"engine": "rapidsmpf", "cluster": "single", "release": "26.10", "replicas": 1, "gpus": 1}
FIXED = {"engine": "rapidsmpf", "workers": {"replicas": 1, "gpus": 1}}


@pytest.mark.parametrize(
    ("spec", "plan", "want"),
    [
        pytest.param({}, {}, Place.QUERY_POD, id="no GPU: nothing is held while the query's own pod checks"),
        pytest.param({"preflight": "always"}, {}, Place.OWN_POD, id="always"),
        pytest.param({"preflight": "never", **FIXED}, GPUS, Place.NOWHERE, id="never, however many GPUs"),
        pytest.param({"dryRun": True}, {}, Place.OWN_POD, id="a dry run"),
        pytest.param({"dryRun": True, "preflight": "never"}, {}, Place.OWN_POD, id="a dry run is a preflight"),
        pytest.param(FIXED, ONE, Place.QUERY_POD, id="one GPU, as asked for"),
        pytest.param({**FIXED, "workers": {"replicas": 1, "gpus": 8}}, {**GPUS, "replicas": 1}, Place.OWN_POD, id="8"),
        pytest.param({**FIXED, "workers": {"replicas": 2, "gpus": 1}}, {**GPUS, "gpus": 1}, Place.OWN_POD, id="2 x 1"),
        pytest.param({"engine": "rapidsmpf"}, ONE, Place.OWN_POD, id="the size decides how many"),
        pytest.param({"engine": "tasks", "cluster": "single"}, ONE, Place.QUERY_POD, id="single is one GPU at most"),
        pytest.param({"engine": "tasks", "scheduler": "synchronous"}, ONE, Place.QUERY_POD, id="by its historic name"),
        pytest.param({"cluster": "single"}, ONE, Place.OWN_POD, id="the size decides whether any"),
        pytest.param({"workers": {"replicas": 1, "gpus": 1}}, ONE, Place.QUERY_POD, id="the user decided both"),
    ],
)
def test_where_the_query_is_checked(spec: dict[str, Any], plan: dict[str, Any], want: Place) -> None:
    subject = job(**spec)
    # The engine is the operator's to choose; here it is the table's.
    base = plan_of(job(), **plan)
    assert place(subject.spec, base) is want


def library_path(container: dict[str, Any]) -> str | None:
    return next((v["value"] for v in container["env"] if v["name"] == "LD_LIBRARY_PATH"), None)


def test_only_a_preflight_for_gpus_gets_the_stand_in_for_the_drivers_library() -> None:
    assert library_path(pod(on=GPUS)["containers"][0]) == NO_DRIVER_DIRECTORY
    assert library_path(pod()["containers"][0]) is None
    subject = job()
    attempt = attempt_objects(plan_of(subject, **GPUS), subject, DEFAULTS)[1]["spec"]["template"]["spec"]
    assert library_path(attempt["containers"][0]) is None, "there it would hide the real one"
