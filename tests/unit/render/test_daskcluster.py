"""Dask clusters as objects: natively the attempt's own pods, with dask-kubernetes a DaskCluster beside one client."""

from __future__ import annotations

from typing import Any

import pytest

from gpuquery.api.labels import LABEL_DASK, LABEL_JOB_UID, NO_DRIVER_DIRECTORY, SCRATCH_DIRECTORY, TOKEN_KEY
from gpuquery.plan.dask import flags
from gpuquery.plan.defaults import Defaults
from gpuquery.plan.plan import Plan, Purpose
from gpuquery.plan.resolve import resolve
from gpuquery.render.attempt import attempt_labels, attempt_objects
from gpuquery.render.preflight import preflight_objects
from gpuquery.runner.engines.dask.preloads import heartbeat, nanny
from tests.support.kube_objects import PYTHON, UID, job

GPUS = Defaults(runtime_image="rt:cpu", runtime_image_pattern="rt:{release}", dask_operator=True)
Json = dict[str, Any]
NAME = f"revenue-{UID[:5]}-1"
SCHEDULER = f"ucx://{NAME}-scheduler.marts.svc:8786"
MANY: Json = {"workers": {"replicas": 4}}
CREDENTIALS = {"storage": {"secretName": "lake", "endpoint": "http://lake:8333"}}


def planned(**spec: Any) -> tuple[Plan, Any]:
    subject = job(**{"engine": "rapidsmpf", **MANY, **spec})
    plan = resolve(subject, GPUS)
    assert isinstance(plan, Plan), plan
    return plan, subject


def build(**spec: Any) -> dict[str, Json]:
    plan, subject = planned(**spec)
    return {o["kind"]: o for o in attempt_objects(plan, subject, GPUS)}


def environment(container: Json) -> Json:
    return {e["name"]: e.get("value", e.get("valueFrom")) for e in container["env"]}


def only(pod: Json) -> Json:
    (container,) = pod["containers"]
    assert isinstance(container, dict)
    return container


def part(name: str, **spec: Any) -> Json:
    """The pod of a part of a DaskCluster."""
    dask = {"backend": "operator", **spec.pop("dask", {})}
    found: Json = build(dask=dask, **spec)["DaskCluster"]["spec"][name]["spec"]
    return found


# --- Native.

NATIVE: list[Any] = [
    pytest.param({"dask": {}}, id="a release with ranks that is asked for Dask"),
    pytest.param({"engine": "tasks", "runtime": {"release": "26.02"}}, id="task graphs"),
    pytest.param({"runtime": {"release": "26.04"}}, id="rapidsmpf of 26.04"),
]


@pytest.mark.parametrize("spec", NATIVE)
def test_a_native_cluster_is_the_five_objects_of_a_set_of_ranks(spec: Json) -> None:
    objects = build(**spec)
    assert list(objects) == ["NetworkPolicy", "Job", "Service", "Secret", "ConfigMap"]
    assert TOKEN_KEY in objects["Secret"]["stringData"]
    pod = objects["Job"]["spec"]["template"]["spec"]
    assert {"token", "shm"} <= {volume["name"] for volume in pod["volumes"]}
    found = environment(only(pod))
    assert found["GPUQUERY_HUB"] == f"{NAME}-0.{NAME}"
    assert found["DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL"] == "None", "a query holds the heartbeats up"
    assert "DASK_SCHEDULER_ADDRESS" not in found, "nobody knows it before index 0 runs"
    assert objects["Job"]["spec"]["backoffLimitPerIndex"] == 0


def test_each_pod_has_all_gpus_of_its_node() -> None:
    pod = build(dask={}, workers={"replicas": 2, "gpus": 8})["Job"]["spec"]["template"]["spec"]
    assert only(pod)["resources"]["limits"]["nvidia.com/gpu"] == "8"


@pytest.mark.parametrize("asked", [True, False])
def test_the_dashboard_has_a_port_only_where_it_is_asked_for(asked: bool) -> None:
    objects = build(dask={"dashboard": asked})
    container = only(objects["Job"]["spec"]["template"]["spec"])
    for ports, key in ((objects["Service"]["spec"]["ports"], "port"), (container["ports"], "containerPort")):
        assert ({p["name"]: p[key] for p in ports}.get("dashboard") == 8787) is asked


def test_a_set_of_ranks_knows_nothing_of_dask() -> None:
    assert "dask" not in str(build()).lower()


# --- By dask-kubernetes.


def test_a_daskcluster_comes_before_the_job_and_needs_no_token() -> None:
    objects = build(dask={"backend": "operator"})
    assert list(objects) == ["NetworkPolicy", "DaskCluster", "Job", "ConfigMap"]
    job_spec = objects["Job"]["spec"]
    assert (job_spec["completions"], job_spec["template"]["spec"]["containers"][0]["resources"]["limits"]) == (
        1,
        {"memory": "4Gi", "nvidia.com/gpu": "1"},
    )


def test_a_daskcluster_belongs_to_the_job_and_carries_its_labels_and_none_of_dasks() -> None:
    cluster = build(dask={"backend": "operator"}, template={"metadata": {"labels": {"team": "lake"}}})["DaskCluster"]
    assert (cluster["apiVersion"], cluster["metadata"]["name"]) == ("kubernetes.dask.org/v1", NAME)
    (owner,) = cluster["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"], owner["blockOwnerDeletion"]) == (
        "GpuQueryJob", UID, True, True,
    )  # fmt: skip
    assert cluster["metadata"]["labels"] == attempt_labels(job(), 1)
    for name in ("scheduler", "worker"):
        labels = cluster["spec"][name]["metadata"]["labels"]
        assert labels == {"team": "lake", "app.kubernetes.io/component": f"dask-{name}", LABEL_DASK: name}
    assert "dask.org/" not in str(cluster).replace("kubernetes.dask.org/", "")


def test_strangers_do_not_reach_its_scheduler_which_runs_whatever_it_is_sent() -> None:
    objects = build(dask={"backend": "operator"})
    policy, cluster = objects["NetworkPolicy"]["spec"], objects["DaskCluster"]
    wanted = policy["podSelector"]["matchLabels"]
    for name in ("scheduler", "worker"):
        labels = {**cluster["metadata"]["labels"], **cluster["spec"][name]["metadata"]["labels"]}
        assert wanted.items() <= labels.items(), "dask-kubernetes gives its pods the labels of both"
    own, others = policy["ingress"]
    assert own == {"from": [{"podSelector": {"matchLabels": wanted}}]}
    assert [port["port"] for port in others["ports"]] == [8080]


def test_its_scheduler_is_reached_by_a_headless_service_of_its_own_pods() -> None:
    service = build(dask={"backend": "operator"})["DaskCluster"]["spec"]["scheduler"]["service"]
    assert (service["clusterIP"], service["type"], service["publishNotReadyAddresses"]) == ("None", "ClusterIP", True)
    assert service["selector"] == {LABEL_JOB_UID: UID, "gpuquery.io/attempt": "1", LABEL_DASK: "scheduler"}
    assert [port["port"] for port in service["ports"]] == [8786]
    shown = build(dask={"backend": "operator", "dashboard": True})["DaskCluster"]["spec"]["scheduler"]["service"]
    assert {port["name"]: port["port"] for port in shown["ports"]} == {"tcp-comm": 8786, "http-dashboard": 8787}


def test_the_scheduler_takes_no_gpu_and_the_operators_default_resources() -> None:
    spec = part("scheduler", workers={"replicas": 4, "resources": {"limits": {"memory": "400Gi"}}})
    container = only(spec)
    words = "dask scheduler --protocol ucx --port 8786 --dashboard-address :8787"
    assert container["command"] == [*words.split(), "--preload", "gpuquery.runner.engines.dask.preloads.scheduler"]
    assert container["resources"]["limits"] == {"memory": "4Gi"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/health", "port": "http-dashboard"}
    found = environment(container)
    assert found["DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL"] == "None"
    assert found["LD_LIBRARY_PATH"] == NO_DRIVER_DIRECTORY, "26.04 imports its shuffle there, and needs a driver for it"


def test_a_worker_has_one_gpu_and_the_flags_of_the_plan() -> None:
    options = {"device-memory-limit": "0.9", "enable-nvlink": False}
    dask = {"backend": "operator", "workerOptions": options}
    worker = build(dask=dask, workers={"replicas": 4, "resources": {"limits": {"memory": "64Gi"}}})["DaskCluster"][
        "spec"
    ]["worker"]
    assert worker["replicas"] == 4
    container = only(worker["spec"])
    start = f"dask cuda worker {SCHEDULER} --protocol ucx --name $(DASK_WORKER_NAME) --local-directory /scratch"
    assert " ".join(container["command"]).startswith(start)
    early = "--preload gpuquery.runner.engines.dask.preloads.worker --pre-import cudf_polars"
    assert early in " ".join(container["command"]), "26.04 crashed where it imported Polars with connections open"
    assert environment(container)[heartbeat.FOLDER_VARIABLE] == f"{SCRATCH_DIRECTORY}/.beats"
    assert float(environment(container)[nanny.LIMIT_VARIABLE]) == 120, "else nobody would see that it hangs"
    assert " ".join(container["command"]).endswith("--device-memory-limit 0.9 --disable-nvlink")
    assert container["resources"]["limits"] == {"memory": "64Gi", "nvidia.com/gpu": "1"}
    assert environment(container)["DASK_SCHEDULER_ADDRESS"] == SCHEDULER, "dask-kubernetes would say tcp://"
    assert "readinessProbe" not in container, "a query holds the loop that would answer"
    assert "shm" in {volume["name"] for volume in worker["spec"]["volumes"]}


@pytest.mark.parametrize("name", ["scheduler", "worker"])
def test_a_worker_that_ends_ends_its_container_whatever_the_job_sets(name: str) -> None:
    """Else its nanny starts another one, and nobody outside sees that the first is gone."""
    own = [
        {"name": "DASK_DISTRIBUTED__NANNY__PRELOAD", "value": "[]"},
        {"name": "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "value": "90s"},
    ]
    container = only(part(name, template={"spec": {"env": own}}))
    names = [variable["name"] for variable in container["env"]]
    assert len(names) == len(set(names))
    found = environment(container)
    assert found["DASK_DISTRIBUTED__NANNY__PRELOAD"] == "['gpuquery.runner.engines.dask.preloads.nanny']"
    assert found["DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES"] == "0"
    assert found["DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT"] == "90s"


def test_the_protocol_is_what_the_release_calls_it() -> None:
    spec = part("worker", engine="tasks", runtime={"release": "25.08"}, query=PYTHON)
    words = " ".join(only(spec)["command"])
    assert "ucxx://" in words and "--protocol ucxx" in words and "--rmm-async" in words


@pytest.mark.parametrize("name", ["scheduler", "worker"])
def test_pods_of_a_daskcluster_are_as_restricted_as_our_own_and_know_no_plan(name: str) -> None:
    spec = part(name, **CREDENTIALS)
    container = only(spec)
    assert spec["restartPolicy"] == "Always", "a Deployment takes no other"
    assert spec["automountServiceAccountToken"] is False and spec["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["image"] == "rt:26.10"
    assert "subdomain" not in spec and "plan" not in {volume["name"] for volume in spec["volumes"]}
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert set(mounts.values()) <= {volume["name"] for volume in spec["volumes"]} and mounts["/tmp"] == "scratch"
    found = environment(container)
    assert found["AWS_ACCESS_KEY_ID"] == {"secretKeyRef": {"name": "lake", "key": "AWS_ACCESS_KEY_ID"}}
    assert found["AWS_ENDPOINT_URL"] == "http://lake:8333"
    assert container["terminationMessagePolicy"] == "FallbackToLogsOnError", "nothing else tells what it ended of"


def test_where_pods_run_and_what_they_pull_is_what_the_job_says() -> None:
    template = {
        "nodeSelector": {"pool": "gpu"}, "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "imagePullSecrets": [{"name": "registry"}], "priorityClassName": "low", "runtimeClassName": "nvidia",
        "env": [{"name": "UCX_LOG_LEVEL", "value": "info"}],
    }  # fmt: skip
    spec = part("worker", template={"spec": template})
    assert {key: spec[key] for key in template if key != "env"} == {k: v for k, v in template.items() if k != "env"}
    assert environment(only(spec))["UCX_LOG_LEVEL"] == "info"


FROZEN_POD = {
    "automountServiceAccountToken", "affinity", "containers", "enableServiceLinks", "imagePullSecrets", "nodeSelector",
    "priorityClassName", "restartPolicy", "runtimeClassName", "schedulerName", "securityContext", "serviceAccountName",
    "terminationGracePeriodSeconds", "tolerations", "topologySpreadConstraints", "volumes",
}  # fmt: skip
FROZEN_CONTAINER = {
    "command", "env", "image", "imagePullPolicy", "name", "ports", "readinessProbe", "resources", "securityContext",
    "terminationMessagePath", "terminationMessagePolicy", "volumeMounts",
}  # fmt: skip
"""Fields of daskcluster.yaml of dask-kubernetes 2026.3.0 that are used here: all others would be dropped silently."""


@pytest.mark.parametrize("name", ["scheduler", "worker"])
def test_nothing_is_said_that_a_daskcluster_does_not_keep(name: str) -> None:
    spec = part(name, storage={"secretName": "lake"}, network="tcp")
    assert set(spec) <= FROZEN_POD and set(only(spec)) <= FROZEN_CONTAINER
    assert set(only(spec)["resources"]) <= {"limits", "requests"}


def test_the_preflight_of_a_daskcluster_asks_for_as_many_gpus_as_will_run_it_and_makes_none() -> None:
    plan, subject = planned(dask={"backend": "operator"})
    _, batch, config_map = preflight_objects(plan, subject, GPUS, 1)
    assert batch["spec"]["completions"] == 1
    asking = Plan.model_validate_json(config_map["data"]["plan.json"])
    assert (asking.purpose, asking.replicas, asking.gpus) == (Purpose.PREFLIGHT, 4, 1)
    assert "DASK_" not in str(batch) and "nvidia.com/gpu" not in str(batch)


# --- A cluster of somebody else.


def test_the_client_of_another_cluster_is_three_objects_and_gives_no_credentials_away() -> None:
    objects = build(dask={"schedulerAddress": "tcp://warm:8786"}, workers={})
    assert list(objects) == ["NetworkPolicy", "Job", "ConfigMap"]
    plan = Plan.model_validate_json(objects["ConfigMap"]["data"]["plan.json"])
    assert plan.dask is not None and (plan.dask.scheduler, plan.dask.workers) == ("tcp://warm:8786", 1)


TLS = {"schedulerAddress": "tls://warm:8786", "tlsSecretName": "client"}


def test_certificates_of_the_client_are_files_that_its_user_reads_and_nobody_writes() -> None:
    objects = build(dask=TLS, workers={}, **CREDENTIALS)
    assert list(objects) == ["NetworkPolicy", "Job", "ConfigMap"]
    pod = objects["Job"]["spec"]["template"]["spec"]
    (volume,) = (volume for volume in pod["volumes"] if "secret" in volume)
    keys = ["ca.crt", "tls.crt", "tls.key"]
    assert volume["secret"] == {
        "secretName": "client", "optional": False, "defaultMode": 0o440,
        "items": [{"key": key, "path": key} for key in keys],
    }, "keys by their names, so that the kubelet tells which one is missing"  # fmt: skip
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"], "the files are root's"
    (mount,) = (mount for mount in only(pod)["volumeMounts"] if mount["name"] == volume["name"])
    assert mount["readOnly"] is True and "subPath" not in mount
    found = environment(only(pod))
    assert [found[name] for name in flags.TLS_FILES.values()] == [f"{mount['mountPath']}/{key}" for key in keys]
    assert found["DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION"] == "True", "what asks for TLS talks no other way"


def test_what_must_be_ciphers_and_versions_of_tls_is_the_jobs_to_say() -> None:
    own = {"name": "DASK_DISTRIBUTED__COMM__TLS__MIN_VERSION", "value": "1.3"}
    pod = build(dask=TLS, workers={}, template={"spec": {"env": [own]}})["Job"]["spec"]["template"]["spec"]
    assert environment(only(pod))[own["name"]] == "1.3"


def test_without_a_secret_the_certificates_are_the_images() -> None:
    pod = build(dask={"schedulerAddress": "tls://warm:8786"}, workers={})["Job"]["spec"]["template"]["spec"]
    assert "TLS" not in str(pod) and not any("secret" in volume for volume in pod["volumes"])


def test_a_preflight_talks_with_no_scheduler_and_has_no_certificates() -> None:
    plan, subject = planned(dask=TLS)
    _, batch, _ = preflight_objects(plan, subject, GPUS, 1)
    assert "client" not in str(batch["spec"]["template"]["spec"])
