"""The pod of an attempt: restricted, without an API token, with credentials as environment variables only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpuquery.api.choices import ClusterChoice
from gpuquery.api.labels import (
    CONTAINER,
    PLAN_DIRECTORY,
    PROGRESS_PORT,
    SCRATCH_DIRECTORY,
    TERMINATION_LOG,
)
from gpuquery.api.types import GpuQueryJob
from gpuquery.plan.defaults import Defaults
from gpuquery.plan.plan import Plan, Purpose
from gpuquery.plan.resolve import image_of

Manifest = dict[str, Any]

SHARED_MEMORY = "1Gi"
"""Size of /dev/shm of a distributed job: UCX exchanges data of one pod's processes there, and 64 MiB, what containers
get by default, are too little for it. It counts against the memory limit."""
USER_ID = 65532
GRACE_SECONDS = 30
SECRET_KEYS = (("AWS_ACCESS_KEY_ID", False), ("AWS_SECRET_ACCESS_KEY", False), ("AWS_SESSION_TOKEN", True))
"""Keys of a credentials Secret that reach the pods, and whether each may be missing."""


def pod_spec(plan: Plan, job: GpuQueryJob, defaults: Defaults, *, service: str) -> Manifest:
    """Build the pod spec of an attempt; the pods find each other as `<pod>.<service>`."""
    storage, template = job.spec.storage, job.spec.template.spec
    token = storage.service_account_name is not None
    limit = {**defaults.resources.limits, **job.spec.workers.resources.limits}.get("ephemeral-storage")
    spec: Manifest = {
        "restartPolicy": "Never",
        "subdomain": service,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        # With a cloud identity the provider's webhook projects its own token; without one nothing may be mounted.
        "automountServiceAccountToken": token,
        # One environment variable per Service of the namespace would slow the start and leak names.
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(plan, job, defaults)],
        "volumes": [
            {"name": "plan", "configMap": {"name": service}},
            {"name": "scratch", "emptyDir": {"sizeLimit": limit or defaults.scratch_size}},
        ],
    }
    if distributed(plan):
        spec["volumes"].append({"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": SHARED_MEMORY}})
    if token:
        spec["serviceAccountName"] = storage.service_account_name
    secrets = [*({"name": name} for name in defaults.image_pull_secrets), *map(dict, template.image_pull_secrets)]
    extra = template.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"image_pull_secrets", "env"})
    spec.update({key: value for key, value in extra.items() if value not in ({}, [])})
    if secrets:
        spec["imagePullSecrets"] = secrets
    if defaults.priority_class and "priorityClassName" not in spec:
        spec["priorityClassName"] = defaults.priority_class
    return spec


def distributed(plan: Plan) -> bool:
    """Whether the pods run the ranks of a distributed query."""
    return plan.purpose is Purpose.QUERY and plan.cluster == ClusterChoice.DISTRIBUTED


def _container(plan: Plan, job: GpuQueryJob, defaults: Defaults) -> Manifest:
    resources = merged_resources(job, defaults)
    if plan.gpus and plan.purpose is Purpose.QUERY:
        # The limit is enough: Kubernetes takes it as the request of an extended resource.
        resources.setdefault("limits", {})[defaults.gpu_resource] = str(plan.gpus)
    shared = [{"name": "shm", "mountPath": "/dev/shm"}] if distributed(plan) else []  # noqa: S108
    return {
        "name": CONTAINER,
        "image": image_of(job, defaults, plan),
        "imagePullPolicy": job.spec.runtime.image_pull_policy or defaults.image_pull_policy,
        "command": ["python", "-m", "gpuquery.runner.supervisor"],
        "env": _environment(plan, job, resources),
        "resources": resources,
        "ports": [{"name": "progress", "containerPort": PROGRESS_PORT, "protocol": "TCP"}],
        "readinessProbe": {
            "httpGet": {"path": "/readyz", "port": "progress"},
            "periodSeconds": 1,
            "timeoutSeconds": 2,
            # A busy machine may answer a probe late; three misses in a row mean something.
            "failureThreshold": 3,
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
        },
        "terminationMessagePath": TERMINATION_LOG,
        "terminationMessagePolicy": "File",
        "volumeMounts": [
            {"name": "plan", "mountPath": PLAN_DIRECTORY, "readOnly": True},
            {"name": "scratch", "mountPath": SCRATCH_DIRECTORY},
            *shared,
        ],
    }


def merged_resources(job: GpuQueryJob, defaults: Defaults) -> Manifest:
    """Return the resources of each pod: the spec's, and the default of every resource that the spec does not name.

    A default request above a limit that the user gave would be refused, so a resource is either all the user's or all
    the operator's.
    """
    own = job.spec.workers.resources
    named = {*own.requests, *own.limits}

    def rest(default: Mapping[str, str]) -> Mapping[str, str]:
        return {name: amount for name, amount in default.items() if name not in named}

    merged = {
        "requests": {**rest(defaults.resources.requests), **own.requests},
        "limits": {**rest(defaults.resources.limits), **own.limits},
    }
    return {kind: dict(amounts) for kind, amounts in merged.items() if amounts}


def _environment(plan: Plan, job: GpuQueryJob, resources: Manifest) -> list[Manifest]:
    storage = job.spec.storage
    values = {
        "HOME": SCRATCH_DIRECTORY,
        "TMPDIR": SCRATCH_DIRECTORY,
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    if plan.store.endpoint:
        values["AWS_ENDPOINT_URL"] = plan.store.endpoint
    if plan.store.region:
        values["AWS_REGION"] = values["AWS_DEFAULT_REGION"] = plan.store.region
    env: list[Manifest] = [{"name": name, "value": value} for name, value in values.items()]
    if storage.secret_name:
        # Keys were given: a wrong one must fail at once, not after the time-outs of a metadata service.
        env.append({"name": "AWS_EC2_METADATA_DISABLED", "value": "true"})
        for key, optional in SECRET_KEYS:
            ref: Manifest = {"name": storage.secret_name, "key": key}
            env.append({"name": key, "valueFrom": {"secretKeyRef": {**ref, "optional": True} if optional else ref}})
    if "cpu" in resources.get("limits", {}):
        # Polars starts a thread for each core of the node, whatever the cgroup allows.
        field = {"containerName": CONTAINER, "resource": "limits.cpu", "divisor": "1"}
        env.append({"name": "POLARS_MAX_THREADS", "valueFrom": {"resourceFieldRef": field}})
    # The object's rules refuse names of ours; should one come through nevertheless, ours wins.
    ours = {variable["name"] for variable in env}
    own = job.spec.template.spec.env
    return [*env, *({"name": v.name, "value": v.value} for v in own if v.name not in ours)]
