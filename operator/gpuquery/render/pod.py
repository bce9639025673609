"""The pod of an attempt: restricted, without an API token, with credentials only as environment variables, except for
the certificates of a Dask cluster.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from gpuquery.api import stores
from gpuquery.api.catalogs import variable
from gpuquery.api.choices import ClusterChoice
from gpuquery.api.labels import (
    CA_DIRECTORY,
    CA_KEY,
    CA_VARIABLE,
    CONTAINER,
    DASHBOARD_PORT,
    PLAN_DIRECTORY,
    PROGRESS_PORT,
    RENDEZVOUS_PORT,
    SCRATCH_DIRECTORY,
    TERMINATION_LOG,
    TLS_DIRECTORY,
)
from gpuquery.api.pods import RESERVED_VARIABLE
from gpuquery.api.timing import GRACE_SECONDS
from gpuquery.plan import catalogs
from gpuquery.plan.dask import flags
from gpuquery.plan.plan import Network, Plan, Processes, Purpose
from gpuquery.plan.resolve import image_of
from gpuquery.render import ranks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuquery.api.types import GpuQueryJob
    from gpuquery.api.volumes import Volume
    from gpuquery.plan.defaults import Defaults

Manifest = dict[str, Any]

NOT_AS_IT_IS = ("image_pull_secrets", "env", "resource_claims", "volumes")
"""Fields of the template that are not copied to the pod unchanged."""
USER_ID = 65532
PROBE_SECONDS = 24 * 60 * 60
PROBE_FAILURES = 1_000_000
VOLUME_PREFIX = "data-"
"""Begins the names of the template's volumes, so that none is one of ours."""
TLS_VOLUME = "dask-tls"
"""The volume with the certificates of a Dask cluster's client."""
CA_VOLUME = "storage-ca"
"""The volume with the authorities that the job trusts."""
DASK_VARIABLES = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "None"}
"""Variables of every Dask process. A query holds the event loop of its workers, so no heartbeat gets through, and after
five minutes the scheduler would restart them (distributed#8538)."""


def pod_spec(plan: Plan, job: GpuQueryJob, defaults: Defaults, *, service: str) -> Manifest:
    """Build the pod spec of an attempt; the pods find each other as `<pod>.<service>`."""
    storage, template = job.spec.storage, job.spec.template.spec
    limit = {**defaults.resources.limits, **job.spec.workers.resources.limits}.get("ephemeral-storage")
    spec: Manifest = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        # Even with a ServiceAccount: a query would have its rights at the API server. A cloud's webhook mounts its own
        # token, which is valid only for that cloud.
        "automountServiceAccountToken": False,
        # One environment variable per Service of the namespace would slow the start and leak names.
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(plan, job, defaults, attempt=service)],
        "volumes": [
            {"name": "plan", "configMap": {"name": service}},
            {"name": "scratch", "emptyDir": {"sizeLimit": limit or defaults.scratch_size}},
        ],
    }
    if distributed(plan):
        limit = merged_resources(job, defaults).get("limits", {}).get("memory")
        size = ranks.shared_memory(plan.gpus, defaults.shared_memory, limit)
        spec["volumes"].append({"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": size}})
    if has_ranks(plan):
        spec["subdomain"] = service
        spec["volumes"].append(ranks.token_volume(service))
    if secret := _tls_secret(plan):
        spec["volumes"].append(_tls_volume(secret))
    if storage.ca_config_map_name is not None:
        # Only this key: others of the ConfigMap are none of the job's business.
        source = {"name": storage.ca_config_map_name, "items": [{"key": CA_KEY, "path": CA_KEY}], "optional": False}
        spec["volumes"].append({"name": CA_VOLUME, "configMap": source})
    spec["volumes"] += [_claim(volume) for volume in template.volumes]
    if plan.gpus and plan.purpose is Purpose.QUERY and (claims := template.resource_claims):
        spec["resourceClaims"] = [
            c.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"gpus"}) for c in claims
        ]
    if storage.service_account_name is not None:
        spec["serviceAccountName"] = storage.service_account_name
    secrets = [*({"name": name} for name in defaults.image_pull_secrets), *map(dict, template.image_pull_secrets)]
    extra = template.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=set(NOT_AS_IT_IS))
    spec.update({key: value for key, value in extra.items() if value not in ({}, [])})
    if secrets:
        spec["imagePullSecrets"] = secrets
    if defaults.priority_class and "priorityClassName" not in spec:
        spec["priorityClassName"] = defaults.priority_class
    return spec


def distributed(plan: Plan) -> bool:
    """Whether the pods run the ranks of a distributed query."""
    return plan.purpose is Purpose.QUERY and plan.cluster == ClusterChoice.DISTRIBUTED


def has_ranks(plan: Plan) -> bool:
    """Whether the pods run ranks, or parts of a Dask cluster, that must find each other."""
    return plan.purpose is Purpose.QUERY and plan.processes is not Processes.ONE


def serves_dashboard(plan: Plan) -> bool:
    """Whether one of the pods serves the dashboard of a Dask scheduler."""
    return has_ranks(plan) and plan.dask is not None and plan.dask.dashboard


def _tls_secret(plan: Plan) -> str | None:
    """Return the Secret with the certificates for a Dask cluster; a preflight connects to none."""
    return plan.dask.tls_secret if plan.dask is not None and plan.purpose is Purpose.QUERY else None


def _tls_volume(secret: str) -> Manifest:
    """Build the volume with the certificates: files that the pod's user can read through its group, `fsGroup`.

    Each key is listed, so that the kubelet reports a missing one and the pod gets no other keys of the Secret.
    """
    files = [{"key": key, "path": key} for key in flags.TLS_FILES]
    source = {"secretName": secret, "items": files, "defaultMode": ranks.OWNER_AND_GROUP_READ, "optional": False}
    return {"name": TLS_VOLUME, "secret": source}


def _catalogs(job: GpuQueryJob, defaults: Defaults) -> list[Manifest]:
    """Return variables for the job's catalogs, each from one key of a Secret: the pod gets no other keys."""
    return [
        {
            "name": variable(name, key),
            "valueFrom": {"secretKeyRef": {"name": secret, "key": key, **({"optional": True} if optional else {})}},
        }
        for name, (secret, keys) in catalogs.secrets(job.spec, defaults.catalogs).items()
        for key, optional in keys.items()
    ]


def _claim(volume: Volume) -> Manifest:
    """Build the volume of a claim. A read-only claim also keeps the kubelet from giving all its files to `fsGroup`
    (`supportsFSGroup` in pkg/volume/csi/csi_mounter.go of Kubernetes 1.36)."""
    claim = {"claimName": volume.persistent_volume_claim.claim_name, "readOnly": True}
    return {"name": f"{VOLUME_PREFIX}{volume.name}", "persistentVolumeClaim": claim}


def _mount(volume: Volume) -> Manifest:
    found: Manifest = {"name": f"{VOLUME_PREFIX}{volume.name}", "mountPath": volume.mount_path, "readOnly": True}
    return {**found, "subPath": volume.sub_path} if volume.sub_path else found


def _devices(plan: Plan, job: GpuQueryJob, defaults: Defaults, resources: Manifest) -> None:
    """Add GPUs and network devices to the resources of a container that runs the query.

    Limits are enough: for an extended resource Kubernetes uses them as requests.
    """
    if not plan.gpus or plan.purpose is not Purpose.QUERY:
        return
    claims = job.spec.template.spec.resource_claims
    if claims:
        resources["claims"] = [{"name": claim.name} for claim in claims]
    if not any(claim.gpus for claim in claims):
        resources.setdefault("limits", {})[defaults.gpu_resource] = str(plan.gpus)
    if _rdma(plan) and defaults.rdma_resource:
        resources.setdefault("limits", {}).setdefault(defaults.rdma_resource, str(defaults.rdma_count))


def _rdma(plan: Plan) -> bool:
    return distributed(plan) and plan.network is Network.RDMA


def _container(plan: Plan, job: GpuQueryJob, defaults: Defaults, *, attempt: str) -> Manifest:
    resources = merged_resources(job, defaults)
    _devices(plan, job, defaults, resources)
    ports = [{"name": "progress", "containerPort": PROGRESS_PORT, "protocol": "TCP"}]
    env = [*_environment(plan, job, defaults, resources), *_catalogs(job, defaults)]
    shared: list[Manifest] = [{"name": "shm", "mountPath": "/dev/shm"}] if distributed(plan) else []  # noqa: S108
    if has_ranks(plan):
        ports.append({"name": "rendezvous", "containerPort": RENDEZVOUS_PORT, "protocol": "TCP"})
        env += ranks.addresses(attempt)
        shared.append(ranks.token_mount())
    if serves_dashboard(plan):
        ports.append({"name": "dashboard", "containerPort": DASHBOARD_PORT, "protocol": "TCP"})
    if plan.dask is not None and plan.purpose is Purpose.QUERY:
        env += [{"name": name, "value": value} for name, value in DASK_VARIABLES.items()]
    if _tls_secret(plan):
        shared.append({"name": TLS_VOLUME, "mountPath": TLS_DIRECTORY, "readOnly": True})
        files = {name: f"{TLS_DIRECTORY}/{key}" for key, name in flags.TLS_FILES.items()}
        env += [{"name": name, "value": value} for name, value in {**files, **flags.TLS_ONLY}.items()]
    if job.spec.storage.ca_config_map_name is not None:
        shared.append({"name": CA_VOLUME, "mountPath": CA_DIRECTORY, "readOnly": True})
        env.append({"name": CA_VARIABLE, "value": f"{CA_DIRECTORY}/{CA_KEY}"})
    if distributed(plan):
        env += [{"name": name, "value": value} for name, value in ranks.presets(plan.network).items()]
    # The job's variables override presets, and reserved ones override the job's: the object's rules refuse such names,
    # but if one gets through, ours wins.
    own = {v.name: v.value for v in job.spec.template.spec.env if not re.match(RESERVED_VARIABLE, v.name)}
    env = [*(v for v in env if v["name"] not in own), *({"name": n, "value": v} for n, v in own.items())]
    # UCXX creates its communicator with the C library's tmpfile(), which ignores TMPDIR and uses /tmp, and the root
    # file system is read-only.
    on_gpus = plan.gpus and plan.purpose is Purpose.QUERY
    temporary = [{"name": "scratch", "mountPath": "/tmp", "subPath": "tmp"}] if on_gpus else []  # noqa: S108
    return {
        "name": CONTAINER,
        "image": image_of(job, defaults, plan),
        "imagePullPolicy": job.spec.runtime.image_pull_policy or defaults.image_pull_policy,
        "command": ["python", "-m", "gpuquery.runner.supervisor"],
        "env": env,
        "resources": resources,
        "ports": ports,
        # Runs once: it waits inside the pod until that is ready, and the pod stays ready. It never fails in a healthy
        # pod.
        "startupProbe": {
            "exec": {"command": ["python", "-m", "gpuquery.runner.pod.ready", str(PROGRESS_PORT)]},
            "periodSeconds": 1,
            "timeoutSeconds": PROBE_SECONDS,
            # After this the kubelet would kill the container; the job's deadlines limit how long a start may take.
            "failureThreshold": PROBE_FAILURES,
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            # A network card can only read buffers that are locked into memory.
            "capabilities": {"drop": ["ALL"], **({"add": ["IPC_LOCK"]} if _rdma(plan) else {})},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
        },
        "terminationMessagePath": TERMINATION_LOG,
        "terminationMessagePolicy": "File",
        "volumeMounts": [
            {"name": "plan", "mountPath": PLAN_DIRECTORY, "readOnly": True},
            {"name": "scratch", "mountPath": SCRATCH_DIRECTORY},
            *temporary,
            *shared,
            *map(_mount, job.spec.template.spec.volumes),
        ],
    }


def merged_resources(job: GpuQueryJob, defaults: Defaults) -> Manifest:
    """Return the resources of each pod: the spec's, and defaults for the resources that the spec does not set.

    A default request above the user's limit would be refused, so each resource is either entirely the user's or
    entirely the operator's.
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


def _environment(plan: Plan, job: GpuQueryJob, defaults: Defaults, resources: Manifest) -> list[Manifest]:
    storage = job.spec.storage
    used = stores.used([*plan.output.places, *(uri for item in plan.inputs for uri in item.places)])
    # Only its catalog knows in which store a table is.
    tables = plan.output.table is not None or any(item.table for item in plan.inputs)
    # A web server is shown credentials only where an input itself names one.
    perhaps = [one for one in stores.STORES if tables and one not in (*used, stores.WEB)]
    values = {
        "HOME": SCRATCH_DIRECTORY,
        "TMPDIR": SCRATCH_DIRECTORY,
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    for store in (*used, *perhaps):
        if plan.store.endpoint:
            values |= dict.fromkeys(store.endpoint, plan.store.endpoint)
        if plan.store.region:
            values |= dict.fromkeys(store.region, plan.store.region)
        if not defaults.node_metadata or (storage.secret_name and store is stores.S3):
            # A query must not use the node's role; and a wrong key must fail at once, not after the timeouts of a
            # metadata service. The clients of other stores take keys first, and ask only where there are none.
            values |= store.no_node_role
    env: list[Manifest] = [{"name": name, "value": value} for name, value in values.items()]
    if storage.secret_name:
        # Of several stores, some may be reached by a ServiceAccount's identity: then no key is sure to be needed.
        several = sum(bool(store.keys) for store in used) > 1
        for store in (*used, *perhaps):
            for key, may_lack in store.keys.items():
                optional = {"optional": True} if may_lack or several or store in perhaps else {}
                ref = {"name": storage.secret_name, "key": key, **optional}
                env.append({"name": key, "valueFrom": {"secretKeyRef": ref}})
    if "cpu" in resources.get("limits", {}):
        # Polars starts a thread for each core of the node, and ignores the cgroup.
        field = {"containerName": CONTAINER, "resource": "limits.cpu", "divisor": "1"}
        env.append({"name": "POLARS_MAX_THREADS", "valueFrom": {"resourceFieldRef": field}})
    return env
