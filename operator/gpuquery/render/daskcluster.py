"""The Dask cluster of an attempt as an object of dask-kubernetes, whose operator creates its pods.

Scheduler and workers are the attempt's pod with another command: the same image, identity, security context, resources
and credentials, which the workers need to read the inputs. dask-kubernetes copies the labels of the object to
everything that it creates, so that the job's pods can be found. It adds its own labels itself; the object must not have
them, because dask-kubernetes would take it for its own.

Sources: `operator/controller/controller.py` and `daskcluster.yaml` of dask-kubernetes 2026.3.0; `dask cuda worker
--help` of dask-cuda 25.8 to 26.10.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpuquery.api.labels import (
    DASHBOARD_PORT,
    DASK_GROUP,
    DASK_KIND,
    DASK_PORT,
    DASK_VERSION,
    LABEL_ATTEMPT,
    LABEL_COMPONENT,
    LABEL_DASK,
    LABEL_JOB_UID,
    NO_DRIVER_DIRECTORY,
    SCRATCH_DIRECTORY,
)
from gpuquery.api.pods import Workers
from gpuquery.api.timing import IMPORT_SECONDS
from gpuquery.plan.dask import flags
from gpuquery.render.pod import Manifest, pod_spec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuquery.api.types import GpuQueryJob
    from gpuquery.plan.defaults import Defaults
    from gpuquery.plan.plan import Dask, Plan

SCHEDULER = "scheduler"
WORKER = "worker"
WORKER_PORT = 8788
"""HTTP port of a worker."""
DEATH_TIMEOUT_SECONDS = 60
"""After this time without a scheduler a worker ends, and its Deployment restarts it."""
BEATS = {"GPUQUERY_DASK_BEATS": f"{SCRATCH_DIRECTORY}/.beats", "GPUQUERY_DASK_SILENCE": str(IMPORT_SECONDS)}
"""Variables for the heartbeat between a worker and its nanny (runner/engines/dask/preloads): nothing else would notice
a hung worker."""


def dask_cluster(plan: Plan, job: GpuQueryJob, defaults: Defaults, metadata: Manifest) -> Manifest:
    """Build the DaskCluster of an attempt; its metadata are those of the attempt's other objects."""
    assert plan.dask is not None  # the caller checked
    return {
        "apiVersion": f"{DASK_GROUP}/{DASK_VERSION}",
        "kind": DASK_KIND,
        "metadata": metadata,
        "spec": {
            # The attempt decides when the cluster ends.
            "idleTimeout": 0,
            "scheduler": {
                "metadata": _about(job, SCHEDULER),
                "spec": _scheduler(plan, plan.dask, job, defaults),
                "service": _service(plan, plan.dask),
            },
            "worker": {
                "replicas": plan.dask.workers,
                "metadata": _about(job, WORKER),
                "spec": _worker(plan, plan.dask, job, defaults),
            },
        },
    }


def _about(job: GpuQueryJob, part: str) -> Manifest:
    template = job.spec.template.metadata
    about: Manifest = {"labels": {**template.labels, LABEL_COMPONENT: f"dask-{part}", LABEL_DASK: part}}
    if template.annotations:
        about["annotations"] = dict(template.annotations)
    return about


def _service(plan: Plan, dask: Dask) -> Manifest:
    """Build the scheduler's Service: headless, because UCX connects to pod addresses."""
    ports = {"tcp-comm": DASK_PORT} | ({"http-dashboard": DASHBOARD_PORT} if dask.dashboard else {})
    return {
        "type": "ClusterIP",
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": {LABEL_JOB_UID: plan.job.uid, LABEL_ATTEMPT: str(plan.attempt), LABEL_DASK: SCHEDULER},
        "ports": [{"name": name, "port": port, "targetPort": name, "protocol": "TCP"} for name, port in ports.items()],
    }


def _scheduler(plan: Plan, dask: Dask, job: GpuQueryJob, defaults: Defaults) -> Manifest:
    """Build the scheduler's pod: without a GPU, and with the operator's default resources."""
    modest = job.model_copy(update={"spec": job.spec.model_copy(update={"workers": Workers()})})
    spec = _pod(plan.model_copy(update={"gpus": 0}), modest, defaults)
    (container,) = spec["containers"]
    container["command"] = [
        "dask", "scheduler", "--protocol", dask.protocol, "--port", str(DASK_PORT),
        "--dashboard-address", f":{DASHBOARD_PORT}", "--preload", "gpuquery.runner.engines.dask.preloads.scheduler",
    ]  # fmt: skip
    container["ports"] = [
        {"name": "tcp-comm", "containerPort": DASK_PORT, "protocol": "TCP"},
        {"name": "http-dashboard", "containerPort": DASHBOARD_PORT, "protocol": "TCP"},
    ]
    container["readinessProbe"] = {
        "httpGet": {"path": "/health", "port": "http-dashboard"},
        "periodSeconds": 1,
        "timeoutSeconds": 2,
        "failureThreshold": 3,
    }
    container["volumeMounts"].append({"name": "scratch", "mountPath": "/tmp", "subPath": "tmp"})  # noqa: S108
    # No job may set this variable. Without a driver, release 26.04 cannot import what its shuffle needs here.
    _set(container, {"LD_LIBRARY_PATH": NO_DRIVER_DIRECTORY})
    return spec


def _worker(plan: Plan, dask: Dask, job: GpuQueryJob, defaults: Defaults) -> Manifest:
    """Build a worker's pod, with one GPU. It has no readiness probe, because a query holds the event loop that would
    answer."""
    spec = _pod(plan.model_copy(update={"gpus": 1}), job, defaults)
    (container,) = spec["containers"]
    container["command"] = [
        "dask", "cuda", "worker", dask.scheduler, "--protocol", dask.protocol, "--name", "$(DASK_WORKER_NAME)",
        "--local-directory", SCRATCH_DIRECTORY, "--dashboard-address", f":{WORKER_PORT}",
        "--death-timeout", str(DEATH_TIMEOUT_SECONDS), "--preload", "gpuquery.runner.engines.dask.preloads.worker",
        "--pre-import", "cudf_polars", *flags.arguments(dask.options),
    ]  # fmt: skip
    # dask-kubernetes adds DASK_WORKER_NAME; it does not change an existing address.
    _set(container, {"DASK_SCHEDULER_ADDRESS": dask.scheduler, **BEATS})
    return spec


def _pod(plan: Plan, job: GpuQueryJob, defaults: Defaults) -> Manifest:
    """Build the attempt's pod without the parts that are specific to an attempt."""
    spec: dict[str, Any] = pod_spec(plan, job, defaults, service="")
    # A Deployment accepts no other.
    spec["restartPolicy"] = "Always"
    spec["volumes"] = [volume for volume in spec["volumes"] if volume["name"] != "plan"]
    (container,) = spec["containers"]
    for key in ("startupProbe", "ports"):
        del container[key]
    container["volumeMounts"] = [mount for mount in container["volumeMounts"] if mount["name"] != "plan"]
    # No code of ours runs there that could write a report, so the last lines of the log are the only trace.
    container["terminationMessagePolicy"] = "FallbackToLogsOnError"
    _set(container, flags.VARIABLES)
    return spec


def _set(container: Manifest, values: Mapping[str, str]) -> None:
    """Set variables of a container, replacing existing ones."""
    others = [variable for variable in container["env"] if variable["name"] not in values]
    container["env"] = [*others, *({"name": name, "value": value} for name, value in values.items())]
