"""The objects of a set of ranks: what one process does not have."""

from __future__ import annotations

from typing import Any

import pytest

from gpuquery.api.labels import (
    PROGRESS_PORT,
    RENDEZVOUS_PORT,
    TOKEN_DIRECTORY,
    TOKEN_KEY,
)
from gpuquery.plan.defaults import Defaults
from gpuquery.plan.maxima import Maxima
from gpuquery.plan.plan import Plan
from gpuquery.plan.resolve import Rejected, resolve
from gpuquery.render.attempt import attempt_objects
from gpuquery.render.preflight import preflight_objects
from gpuquery.render.ranks import TO_COME
from tests.support.kube_objects import job

GPUS = Defaults(
    runtime_image="runtime:test", runtime_image_pattern="rt:{release}", operator_namespace="gpuquery-system",
    rdma_resource="rdma/hca_a", rdma_count=2,
)  # fmt: skip
SET: dict[str, Any] = {"engine": "rapidsmpf", "cluster": "distributed", "workers": {"replicas": 2, "gpus": 4}}
NAME = "revenue-0a1b2-1"

Json = dict[str, Any]


def build(defaults: Defaults = GPUS, **spec: Any) -> dict[str, Json]:
    subject = job(**{**SET, **spec})
    plan = resolve(subject, defaults)
    assert isinstance(plan, Plan), plan
    return {o["kind"]: o for o in attempt_objects(plan, subject, defaults)}


def pod(defaults: Defaults = GPUS, **spec: Any) -> Json:
    found: Json = build(defaults, **spec)["Job"]["spec"]["template"]["spec"]
    return found


def container(defaults: Defaults = GPUS, **spec: Any) -> Json:
    found: Json = pod(defaults, **spec)["containers"][0]
    return found


def environment(defaults: Defaults = GPUS, **spec: Any) -> Json:
    return {e["name"]: e.get("value", e.get("valueFrom")) for e in container(defaults, **spec)["env"]}


ONE_PROCESS: list[Any] = [
    pytest.param({"engine": "cpu", "cluster": "single", "workers": {}}, id="cpu"),
    pytest.param({"cluster": "single", "workers": {"gpus": 1}}, id="rapidsmpf on one GPU"),
    pytest.param({"dask": {"schedulerAddress": "tcp://warm:8786"}}, id="the client of a Dask cluster"),
]


@pytest.mark.parametrize("spec", ONE_PROCESS)
def test_what_is_one_process_has_no_token_and_no_service(spec: Json) -> None:
    objects = build(**spec)
    assert list(objects) == ["NetworkPolicy", "Job", "ConfigMap"]
    assert "subdomain" not in objects["Job"]["spec"]["template"]["spec"]
    assert "token" not in str(objects["Job"]) and "GPUQUERY_HUB" not in str(objects["Job"])
    assert str(RENDEZVOUS_PORT) not in str(objects)


@pytest.mark.parametrize("replicas", [1, 2, 500])
def test_a_set_of_ranks_is_five_objects_whatever_its_size(replicas: int) -> None:
    many = GPUS.model_copy(update={"maxima": Maxima(pods_per_job=500, gpus_per_job=4000)})
    objects = build(many, workers={"replicas": replicas, "gpus": 8})
    assert list(objects) == ["NetworkPolicy", "Job", "Service", "Secret", "ConfigMap"]
    assert objects["Job"]["spec"]["completions"] == objects["Job"]["spec"]["parallelism"] == replicas
    for kind in ("Job", "Service", "Secret", "ConfigMap"):
        assert objects[kind]["metadata"]["name"] == NAME


def test_building_draws_no_token_so_that_the_same_plan_gives_the_same_objects() -> None:
    secret = build()["Secret"]
    assert secret["stringData"] == {TOKEN_KEY: TO_COME} and secret["immutable"] is True
    assert build()["Secret"] == secret


def test_kubernetes_ends_no_pod_because_another_has_failed() -> None:
    spec = build()["Job"]["spec"]
    assert spec["backoffLimitPerIndex"] == 0 and "backoffLimit" not in spec and "maxFailedIndexes" not in spec


def test_native_code_finds_a_tmp_to_write_to() -> None:
    mount = next(m for m in container()["volumeMounts"] if m["mountPath"] == "/tmp")
    assert (mount["name"], mount["subPath"]) == ("scratch", "tmp")


def test_the_token_is_a_file_that_the_pods_user_reads_and_nobody_else() -> None:
    spec = pod()
    volume = next(v for v in spec["volumes"] if v["name"] == "token")
    assert volume["secret"] == {"secretName": NAME, "defaultMode": 0o440}
    assert spec["securityContext"]["fsGroup"] == spec["securityContext"]["runAsGroup"]
    mount = next(m for m in container()["volumeMounts"] if m["name"] == "token")
    assert mount == {"name": "token", "mountPath": TOKEN_DIRECTORY, "readOnly": True}
    assert "secretKeyRef" not in str(container()["env"]), "a variable would be told by every error page and core dump"


def test_pods_know_their_name_and_the_hub_and_the_service_has_its_port() -> None:
    env, objects = environment(), build()
    assert env["GPUQUERY_POD_NAME"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    assert env["GPUQUERY_HUB"] == f"{NAME}-0.{NAME}", "host name of an Indexed Job's pod, and its subdomain"
    assert pod()["subdomain"] == NAME
    assert [p["port"] for p in objects["Service"]["spec"]["ports"]] == [PROGRESS_PORT, RENDEZVOUS_PORT]
    ports = {p["name"]: p["containerPort"] for p in container()["ports"]}
    assert ports == {p["targetPort"]: p["port"] for p in objects["Service"]["spec"]["ports"]}


def test_a_pod_is_asked_once_whether_it_is_ready_and_never_killed_for_being_slow() -> None:
    assert not {"readinessProbe", "livenessProbe"} & set(container())
    probe = container()["startupProbe"]
    assert probe["exec"]["command"] == ["python", "-m", "gpuquery.runner.pod.ready", str(PROGRESS_PORT)]
    assert probe["timeoutSeconds"] * probe["failureThreshold"] > 365 * 24 * 3600


def test_the_preflight_of_a_set_is_one_process_without_token_and_devices() -> None:
    subject = job(**SET, template={"spec": {"resourceClaims": [{"name": "g", "resourceClaimTemplateName": "x"}]}})
    plan = resolve(subject, GPUS)
    assert isinstance(plan, Plan)
    _, batch, config_map = preflight_objects(plan, subject, GPUS, 1)
    checked = Plan.model_validate_json(config_map["data"]["plan.json"])
    assert checked.processes == "one" and (checked.replicas, checked.gpus) == (2, 4)
    for word in ("token", "claims", "Claims", "GPUQUERY_HUB", "shm", "UCX"):
        assert word not in str(batch), word


def test_each_network_has_its_variables_and_caches_go_to_scratch() -> None:
    assert environment(network="tcp")["UCX_TLS"] == "tcp,cuda_copy,cuda_ipc,sm,self"
    assert environment(network="rdma")["RAPIDS_LIBUCX_PREFER_SYSTEM_LIBRARY"] == "true"
    auto = environment()
    assert not any(name.startswith(("UCX_", "RAPIDS_")) for name in auto)
    assert auto["CUDA_CACHE_PATH"].startswith("/scratch/") and auto["LIBCUDF_KERNEL_CACHE_PATH"].startswith("/scratch/")


def test_the_jobs_own_variables_go_over_a_networks_but_not_over_reserved_ones() -> None:
    own = {"spec": {"env": [{"name": "UCX_TLS", "value": "tcp,self"}]}}
    found = container(network="tcp", template=own)["env"]
    assert [e["value"] for e in found if e["name"] == "UCX_TLS"] == ["tcp,self"]


def test_rdma_gets_its_resource_and_may_lock_memory_and_nothing_else_does() -> None:
    rdma = container(network="rdma")
    assert rdma["resources"]["limits"]["rdma/hca_a"] == "2"
    assert rdma["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["IPC_LOCK"]}
    for network in ("auto", "tcp"):
        other = container(network=network)
        assert "rdma" not in str(other["resources"])
        assert other["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    own = {"replicas": 2, "gpus": 4, "resources": {"limits": {"rdma/hca_a": 8}}}
    assert container(network="rdma", workers=own)["resources"]["limits"]["rdma/hca_a"] == "8"


@pytest.mark.parametrize(
    ("gpus", "memory", "want"),
    [
        pytest.param(8, "256Gi", "8Gi", id="so much for each GPU"),
        pytest.param(8, "4Gi", "2Gi", id="never above half of the memory limit"),
        pytest.param(1, "1500Mi", "750Mi", id="in the largest unit that fits"),
        pytest.param(1, "1001", "500", id="or in bytes"),
    ],
)
def test_shared_memory(gpus: int, memory: str, want: str) -> None:
    found = pod(workers={"replicas": 2, "gpus": gpus, "resources": {"limits": {"memory": memory}}})
    assert next(v for v in found["volumes"] if v["name"] == "shm")["emptyDir"]["sizeLimit"] == want


def test_without_a_memory_limit_nothing_bounds_shared_memory() -> None:
    found = pod(workers={"replicas": 2, "gpus": 8, "resources": {"requests": {"memory": "64Gi"}}})
    assert next(v for v in found["volumes"] if v["name"] == "shm")["emptyDir"]["sizeLimit"] == "8Gi"


def test_a_claim_for_gpus_takes_the_place_of_the_gpu_resource() -> None:
    template = {"spec": {"resourceClaims": [{"name": "gpus", "resourceClaimTemplateName": "four-gpus"}]}}
    spec = pod(template=template)
    assert spec["resourceClaims"] == [{"name": "gpus", "resourceClaimTemplateName": "four-gpus"}]
    assert spec["containers"][0]["resources"]["claims"] == [{"name": "gpus"}]
    assert "nvidia.com/gpu" not in str(spec)


def test_a_claim_for_another_device_stands_beside_the_gpu_resource() -> None:
    template = {"spec": {"resourceClaims": [{"name": "imex", "resourceClaimTemplateName": "channel", "gpus": False}]}}
    resources = container(template=template)["resources"]
    assert resources["claims"] == [{"name": "imex"}] and resources["limits"]["nvidia.com/gpu"] == "4"
    assert "gpus" not in str(pod(template=template)["resourceClaims"]), "which is no field of Kubernetes"


@pytest.mark.parametrize(("asked", "default", "want"), [(None, 900, 900), (60, 900, 60), (0, 900, 0), (None, 0, 0)])
def test_the_limit_for_a_set_that_hangs_is_the_jobs_own_or_the_operators(
    asked: int | None, default: int, want: int
) -> None:
    workers = {"replicas": 2, "gpus": 4} | ({} if asked is None else {"stallSeconds": asked})
    defaults = GPUS.model_copy(update={"stall_seconds": default, "heartbeat_seconds": 9})
    found = resolve(job(**{**SET, "workers": workers}), defaults)
    assert isinstance(found, Plan) and (found.stall_seconds, found.heartbeat_seconds) == (want, 9)
    alone = resolve(job(**{**SET, "cluster": "single", "workers": {}}), defaults)
    assert isinstance(alone, Plan) and alone.stall_seconds == default, "one process can hang as well"


REFUSED: list[Any] = [
    pytest.param(
        GPUS.model_copy(update={"rdma_resource": ""}), {"network": "rdma"},
        ['network is "rdma"', "rdma.resource", "tcp"], id="rdma where the operator has none",
    ),
    pytest.param(
        GPUS, {"network": "tcp", "cluster": "auto", "workers": {"replicas": 1, "gpus": 1}},
        ['network is "tcp"', "rapidsmpf x single", '"distributed"'], id="a network for what becomes one process",
    ),
    pytest.param(
        GPUS, {"network": "tcp", "engine": "auto", "cluster": "auto", "workers": {"gpus": 0}},
        ['network is "tcp"', "workers.gpus is 0", "remove network"], id="a network without GPUs",
    ),
    pytest.param(
        GPUS, {"workers": {"replicas": 2, "gpus": 4, "stallSeconds": 9}},
        ["workers.stallSeconds is 9", "use 10 or more"], id="a limit within which nobody hears of progress",
    ),
    pytest.param(
        GPUS, {"template": {"spec": {"resourceClaims": [{"name": "g", "resourceClaimName": "shared"}]}}},
        ['resourceClaims["g"].resourceClaimName is "shared"', "2 pods", "resourceClaimTemplateName"],
        id="one claim for the GPUs of several nodes",
    ),
    pytest.param(
        GPUS,
        {
            "engine": "auto", "cluster": "auto", "workers": {"gpus": 0},
            "template": {"spec": {"resourceClaims": [{"name": "g", "resourceClaimName": "shared"}]}},
        },
        ["resourceClaims", "workers.gpus is 0"], id="devices without GPUs",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("defaults", "spec", "words"), REFUSED)
def test_it_is_refused_with_field_value_and_way_out(defaults: Defaults, spec: Json, words: list[str]) -> None:
    found = resolve(job(**{**SET, **spec}), defaults)
    assert isinstance(found, Rejected)
    for word in words:
        assert word in found.message, found.message


def test_a_network_or_a_claim_asks_for_a_gpu_where_the_engine_is_left_open() -> None:
    open_ended = {"engine": "auto", "cluster": "auto", "workers": {}}
    claim = {"spec": {"resourceClaims": [{"name": "g", "resourceClaimTemplateName": "x"}]}}
    found = resolve(job(**open_ended, template=claim), GPUS)
    assert isinstance(found, Plan) and found.engine == "rapidsmpf"
    nothing = resolve(job(**open_ended, template=claim), Defaults())
    assert isinstance(nothing, Rejected) and "no runtime image" in nothing.message, "never the CPU instead"
