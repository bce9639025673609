"""The objects of an attempt: what protects the pod, and what the spec may change."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gpuquery.api.labels import LABEL_ATTEMPT, LABEL_JOB, LABEL_JOB_UID, MAX_NAME_LENGTH, PLAN_KEY
from gpuquery.api.pods import EnvVar, Resources, TemplateSpec
from gpuquery.api.stores import KEYS, STORES, WEB
from gpuquery.plan.defaults import Defaults
from gpuquery.plan.plan import Plan, Purpose
from gpuquery.plan.resolve import resolve
from gpuquery.render.attempt import attempt_objects
from gpuquery.render.pod import pod_spec
from tests.support.kube_objects import DEFAULTS, UID, job

Objects = dict[str, dict[str, Any]]


def build(*, defaults: Defaults = DEFAULTS, attempt: int = 1, name: str = "revenue", **spec: Any) -> Objects:
    subject = job(metadata={"name": name}, **spec)
    plan = resolve(subject, defaults, attempt=attempt)
    assert isinstance(plan, Plan), plan
    return {o["kind"]: o for o in attempt_objects(plan, subject, defaults)}


def pod(**how: Any) -> dict[str, Any]:
    spec: dict[str, Any] = build(**how)["Job"]["spec"]["template"]["spec"]
    return spec


def container(**how: Any) -> dict[str, Any]:
    found: dict[str, Any] = pod(**how)["containers"][0]
    return found


def environment(**how: Any) -> dict[str, Any]:
    return {e["name"]: e.get("value") or e["valueFrom"] for e in container(**how)["env"]}


def test_an_attempt_is_one_indexed_job_that_never_replaces_a_pod() -> None:
    spec = build()["Job"]["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 1, 1)
    assert (spec["backoffLimit"], spec["podReplacementPolicy"]) == (0, "Failed")
    assert spec["template"]["spec"]["restartPolicy"] == "Never"


def test_an_attempt_is_found_by_its_jobs_uid_and_its_number_and_the_policy_of_all_by_the_uid_alone() -> None:
    objects = build(attempt=3)
    for kind, manifest in objects.items():
        labels = manifest["metadata"]["labels"]
        assert {LABEL_JOB: "revenue", LABEL_JOB_UID: UID}.items() <= labels.items(), kind
        assert labels.get(LABEL_ATTEMPT) == (None if kind == "NetworkPolicy" else "3")
    names = {kind: manifest["metadata"]["name"] for kind, manifest in objects.items()}
    attempt = "revenue-0a1b2-3"
    assert names == {"NetworkPolicy": "revenue-0a1b2", "Job": attempt, "ConfigMap": attempt}


def test_job_and_policy_go_with_the_gpuqueryjob_and_the_rest_with_the_job_which_is_not_made_yet() -> None:
    objects = build(defaults=GPUS, engine="rapidsmpf", workers={"replicas": 2, "gpus": 8})
    for kind in ("NetworkPolicy", "Job"):
        (owner,) = objects.pop(kind)["metadata"]["ownerReferences"]
        assert owner["uid"] == UID and owner["controller"] and owner["blockOwnerDeletion"]
    assert set(objects) == {"Service", "Secret", "ConfigMap"}
    assert not any("ownerReferences" in manifest["metadata"] for manifest in objects.values())


def test_the_service_finds_pods_of_this_attempt_only_and_before_they_are_ready() -> None:
    objects = build(attempt=2, defaults=GPUS, engine="rapidsmpf", workers={"replicas": 2, "gpus": 8})
    service, labels = objects["Service"]["spec"], objects["Job"]["spec"]["template"]["metadata"]["labels"]
    assert service["clusterIP"] == "None" and service["publishNotReadyAddresses"]
    assert service["selector"].items() <= labels.items() and service["selector"][LABEL_ATTEMPT] == "2"
    assert objects["Job"]["spec"]["template"]["spec"]["subdomain"] == objects["Service"]["metadata"]["name"]


def test_the_config_map_holds_the_plan_and_nothing_secret() -> None:
    objects = build(storage={"secretName": "lake", "endpoint": "http://s3:8333"})
    plan = Plan.model_validate_json(objects["ConfigMap"]["data"][PLAN_KEY])
    assert plan.attempt == 1 and plan.store.endpoint == "http://s3:8333"
    assert "lake" not in json.dumps(objects["ConfigMap"]["data"]).replace("s3://lake", "")
    assert objects["ConfigMap"]["immutable"]


def test_the_pod_is_restricted() -> None:
    spec, inner = pod(), container()["securityContext"]
    assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["runAsUser"] == 65532
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert inner["allowPrivilegeEscalation"] is False and inner["capabilities"] == {"drop": ["ALL"]}
    assert inner["readOnlyRootFilesystem"] is True
    assert spec["automountServiceAccountToken"] is False and spec["enableServiceLinks"] is False


def test_no_token_of_the_api_server_is_mounted_for_a_cloud_identity_either() -> None:
    spec = pod(storage={"serviceAccountName": "lake-reader"})
    assert spec["automountServiceAccountToken"] is False and spec["serviceAccountName"] == "lake-reader"


def test_credentials_come_from_the_secrets_known_keys_and_only_the_session_token_may_be_missing() -> None:
    env = environment(storage={"secretName": "lake"})
    refs = {k: v["secretKeyRef"] for k, v in env.items() if isinstance(v, dict) and "secretKeyRef" in v}
    assert set(refs) == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
    assert {k for k, v in refs.items() if v.get("optional")} == {"AWS_SESSION_TOKEN"}


def reading(*uris: str) -> list[dict[str, Any]]:
    return [{"name": f"t{i}", "uri": uri, "format": "parquet"} for i, uri in enumerate(uris)]


ABFSS = "abfss://lake@sales01.dfs.core.windows.net/orders/"


def test_of_several_stores_no_key_is_sure_to_be_needed_and_only_known_ones_are_read() -> None:
    env = environment(storage={"secretName": "lake"}, inputs=reading("gs://lake/a", ABFSS, "https://h/a.parquet"))
    refs = {k: v["secretKeyRef"] for k, v in env.items() if isinstance(v, dict) and "secretKeyRef" in v}
    everything = {key for store in STORES for key in store.keys}
    assert set(refs) == everything > {*KEYS} and all(
        ref == {"name": "lake", "key": k, "optional": True} for k, ref in refs.items()
    )
    alone = environment(storage={"secretName": "lake"})
    assert not {name for name in alone if name.startswith(("GOOGLE_", "AZURE_", "GCE_"))}


def test_a_table_of_a_catalog_may_be_in_any_store() -> None:
    table = {"catalog": "lake", "name": "sales.orders"}
    storage = {"secretName": "stores"}
    env = environment(storage=storage, inputs=[{"name": "t", "table": table}])
    refs = {k: v["secretKeyRef"] for k, v in env.items() if isinstance(v, dict) and "secretKeyRef" in v}
    refs = {name: ref for name, ref in refs.items() if ref["name"] == storage["secretName"] and name in KEYS}
    assert set(refs) == {*KEYS} - {*WEB.keys}, "a catalog names no web server that is shown credentials"
    assert {k for k, v in refs.items() if not v.get("optional")} == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    written = environment(storage=storage, output={"table": table})
    assert {*KEYS} - {*WEB.keys} < set(written) and not {*WEB.keys} & set(written)
    optional = {k for k, v in written.items() if k in KEYS and v["secretKeyRef"].get("optional")}
    assert optional == {*KEYS} - {*WEB.keys}, "nobody knows yet which of them the table needs"


def test_keys_of_one_cloud_leave_the_identity_in_another_where_the_administrator_lets_pods_have_it() -> None:
    env = environment(defaults=OPEN, storage={"secretName": "lake"}, inputs=reading("gs://lake/a"))
    assert env["AWS_EC2_METADATA_DISABLED"] == "true" and "GCE_METADATA_HOST" not in env


def test_no_pod_asks_a_metadata_service_for_a_role_in_another_cloud_either() -> None:
    env = environment(inputs=reading("gs://lake/a", ABFSS))
    assert env["GCE_METADATA_HOST"] == env["GCE_METADATA_IP"] == "127.0.0.1:1"
    assert env["AZURE_MSI_ENDPOINT"] == "http://127.0.0.1:1/"
    assert "GCE_METADATA_HOST" not in environment(defaults=OPEN, inputs=reading("gs://lake/a"))


def test_authorities_of_the_job_are_one_file_of_its_config_map_in_every_pod() -> None:
    for store in ({}, {"secretName": "lake"}):
        given: dict[str, Any] = {"storage": {"caConfigMapName": "lake-ca", **store}}
        (volume,) = (one for one in pod(**given)["volumes"] if one["name"] == "storage-ca")
        assert volume["configMap"] == {
            "name": "lake-ca", "items": [{"key": "ca.crt", "path": "ca.crt"}], "optional": False,
        }, "no other key of a ConfigMap is a job's to read"  # fmt: skip
        (mount,) = (one for one in container(**given)["volumeMounts"] if one["name"] == "storage-ca")
        assert mount["readOnly"] is True
        assert environment(**given)["GPUQUERY_CA_FILE"] == f"{mount['mountPath']}/ca.crt"
    assert "GPUQUERY_CA_FILE" not in environment() and "storage-ca" not in str(pod())


def test_a_claim_is_mounted_read_only_in_every_pod_under_a_name_that_is_none_of_ours() -> None:
    volumes = [
        {"name": "plan", "mountPath": "/mnt/lake", "persistentVolumeClaim": {"claimName": "lake"}},
        {"name": "b", "mountPath": "/mnt/b", "subPath": "t/o", "persistentVolumeClaim": {"claimName": "other"}},
    ]
    how: dict[str, Any] = {"template": {"spec": {"volumes": volumes}}, "inputs": reading("file:///mnt/lake/orders/")}
    claims = [v for v in pod(**how)["volumes"] if "persistentVolumeClaim" in v]
    assert [(v["name"], v["persistentVolumeClaim"]) for v in claims] == [
        ("data-plan", {"claimName": "lake", "readOnly": True}), ("data-b", {"claimName": "other", "readOnly": True}),
    ]  # fmt: skip
    mounts = [m for m in container(**how)["volumeMounts"] if m["name"].startswith("data-")]
    assert mounts == [
        {"name": "data-plan", "mountPath": "/mnt/lake", "readOnly": True},
        {"name": "data-b", "mountPath": "/mnt/b", "readOnly": True, "subPath": "t/o"},
    ]
    assert not any("hostPath" in v or "nfs" in v for v in pod(**how)["volumes"])


OPEN = DEFAULTS.model_copy(update={"node_metadata": True})


@pytest.mark.parametrize(
    ("defaults", "storage", "closed"),
    [
        pytest.param(DEFAULTS, {"secretName": "lake"}, True, id="keys are given: a wrong one fails at once"),
        pytest.param(DEFAULTS, {"serviceAccountName": "x"}, True, id="the ServiceAccount's identity, not the node's"),
        pytest.param(DEFAULTS, {}, True, id="nothing is given: still not the node's role"),
        pytest.param(OPEN, {}, False, id="the administrator lets pods have it"),
        pytest.param(OPEN, {"secretName": "lake"}, True, id="which changes nothing where keys are given"),
    ],
)
def test_a_pod_asks_the_metadata_service_of_its_node_only_where_the_administrator_says_so(
    defaults: Defaults, storage: dict[str, Any], closed: bool
) -> None:
    assert (environment(defaults=defaults, storage=storage).get("AWS_EC2_METADATA_DISABLED") == "true") is closed


def test_everything_that_is_written_goes_to_scratch() -> None:
    env, spec = environment(), pod()
    assert env["HOME"] == env["TMPDIR"] == "/scratch"
    scratch = next(v for v in spec["volumes"] if v["name"] == "scratch")
    assert scratch["emptyDir"]["sizeLimit"] == DEFAULTS.scratch_size
    own = pod(workers={"resources": {"limits": {"ephemeral-storage": "3Gi"}}})
    assert next(v for v in own["volumes"] if v["name"] == "scratch")["emptyDir"]["sizeLimit"] == "3Gi"


@pytest.mark.parametrize(
    ("own", "want"),
    [
        pytest.param(
            {}, {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "4Gi"}}, id="nothing: the defaults"
        ),
        pytest.param(
            {"limits": {"memory": "512Mi"}},
            {"requests": {"cpu": "1"}, "limits": {"memory": "512Mi"}},
            id="a limit below the default request takes that request's place",
        ),
        pytest.param(
            {"requests": {"memory": "64Gi"}},
            {"requests": {"cpu": "1", "memory": "64Gi"}},
            id="a request above the default limit takes that limit's place",
        ),
    ],
)
def test_resources(own: dict[str, Any], want: dict[str, Any]) -> None:
    resources = Resources(requests={"cpu": "1", "memory": "1Gi"}, limits={"memory": "4Gi"})
    defaults = DEFAULTS.model_copy(update={"resources": resources})
    assert container(defaults=defaults, workers={"resources": own})["resources"] == want


def test_polars_takes_as_many_threads_as_the_limit_allows() -> None:
    assert "POLARS_MAX_THREADS" not in environment()
    env = environment(workers={"resources": {"limits": {"cpu": "2"}}})
    assert env["POLARS_MAX_THREADS"]["resourceFieldRef"]["resource"] == "limits.cpu"


def test_the_template_is_merged_and_cannot_take_the_operators_labels() -> None:
    template = {
        "metadata": {"labels": {"team": "marts"}, "annotations": {"note": "x"}},
        "spec": {
            "nodeSelector": {"disk": "nvme"},
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
            "priorityClassName": "batch",
            "imagePullSecrets": [{"name": "mine"}],
        },
    }
    defaults = DEFAULTS.model_copy(update={"image_pull_secrets": ("ours",), "priority_class": "default"})
    made = build(template=template, defaults=defaults)["Job"]["spec"]["template"]
    assert made["metadata"]["labels"]["team"] == "marts" and made["metadata"]["annotations"] == {"note": "x"}
    assert made["spec"]["nodeSelector"] == {"disk": "nvme"} and made["spec"]["priorityClassName"] == "batch"
    assert made["spec"]["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    assert made["spec"]["imagePullSecrets"] == [{"name": "ours"}, {"name": "mine"}]
    assert "affinity" not in made["spec"] and made["spec"]["restartPolicy"] == "Never"


GPUS = Defaults(runtime_image="runtime:test", runtime_image_pattern="rt:{release}", gpu_resource="example.com/gpu")


def test_gpus_are_asked_for_as_the_limit_of_the_operators_resource() -> None:
    found = container(defaults=GPUS, engine="rapidsmpf", workers={"replicas": 2, "gpus": 8})
    assert found["resources"]["limits"]["example.com/gpu"] == "8" and found["image"] == "rt:26.10"
    assert "example.com/gpu" not in found["resources"]["requests"]
    spec = build(defaults=GPUS, engine="rapidsmpf", workers={"replicas": 2, "gpus": 8})["Job"]["spec"]
    assert (spec["completions"], spec["parallelism"]) == (2, 2)
    assert "example.com/gpu" not in str(container(defaults=GPUS, engine="cpu")["resources"])


def test_a_pod_that_only_checks_asks_for_no_gpu() -> None:
    subject = job(engine="rapidsmpf", workers={"replicas": 2, "gpus": 8})
    plan = resolve(subject, GPUS)
    assert isinstance(plan, Plan)
    spec = pod_spec(plan.model_copy(update={"purpose": Purpose.PREFLIGHT}), subject, GPUS, service="x")
    assert "example.com/gpu" not in str(spec) and "shm" not in str(spec)
    assert spec["containers"][0]["image"] == "rt:26.10", "of the same image"


def test_only_distributed_pods_get_shared_memory() -> None:
    many, one = {"replicas": 1, "gpus": 2}, {"replicas": 1, "gpus": 1}
    volume = next(v for v in pod(defaults=GPUS, workers=many)["volumes"] if v["name"] == "shm")
    assert volume["emptyDir"] == {"medium": "Memory", "sizeLimit": "2Gi"}
    assert "/dev/shm" in [m["mountPath"] for m in container(defaults=GPUS, workers=many)["volumeMounts"]]
    for spec in (pod(defaults=GPUS, workers=one), pod()):
        assert "shm" not in str(spec)


def test_variables_of_the_template_reach_the_container_and_none_of_ours_is_replaced() -> None:
    own = [{"name": "CUDF_POLARS__EXECUTOR__FALLBACK_MODE", "value": "raise"}, {"name": "EMPTY", "value": ""}]
    made = container(template={"spec": {"env": own}})["env"]
    assert made[-2:] == own
    assert "env" not in pod(template={"spec": {"env": own}})
    smuggled = job()
    template = smuggled.spec.template.model_copy(
        update={"spec": TemplateSpec.model_construct(env=(EnvVar(name="HOME", value="/x"),))}
    )
    smuggled = smuggled.model_copy(update={"spec": smuggled.spec.model_copy(update={"template": template})})
    plan = resolve(smuggled, DEFAULTS)
    assert isinstance(plan, Plan)
    env = pod_spec(plan, smuggled, DEFAULTS, service="x")["containers"][0]["env"]
    assert [e["value"] for e in env if e["name"] == "HOME"] == ["/scratch"]


def test_the_job_controllers_deadline_comes_only_after_the_operators() -> None:
    assert "activeDeadlineSeconds" not in build()["Job"]["spec"]
    assert build(activeDeadlineSeconds=60)["Job"]["spec"]["activeDeadlineSeconds"] == 120


def test_the_image_and_its_pull_policy_are_the_jobs_or_the_defaults() -> None:
    assert (container()["image"], container()["imagePullPolicy"]) == ("runtime:test", "IfNotPresent")
    own = container(runtime={"image": "mine:1", "imagePullPolicy": "Always"})
    assert (own["image"], own["imagePullPolicy"]) == ("mine:1", "Always")


def test_the_longest_name_still_fits_into_a_host_name() -> None:
    name = build(name="a" * MAX_NAME_LENGTH, attempt=9999)["Job"]["metadata"]["name"]
    assert len(f"{name}-9999") <= 63
