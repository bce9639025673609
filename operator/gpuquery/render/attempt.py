"""One attempt as Kubernetes objects: a NetworkPolicy, one Indexed Job and a ConfigMap with the plan; with ranks, or a
native Dask cluster, also a headless Service and a Secret with their token; with dask-kubernetes a DaskCluster. The
number of objects does not depend on the size.

Objects of the Job get it as their owner once it exists (reconcile/apply.py), so deleting the Job deletes them too,
without further rights. The policy and the DaskCluster are created before the Job and belong to the GpuQueryJob.

Pure: the same plan gives the same objects, so creating them twice changes nothing. The token is generated when the
Secret is created.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuquery.api.labels import (
    API_VERSION,
    DASHBOARD_PORT,
    KIND,
    LABEL_ATTEMPT,
    LABEL_COMPONENT,
    LABEL_INSTANCE,
    LABEL_JOB,
    LABEL_JOB_UID,
    LABEL_MANAGED_BY,
    LABEL_NAME,
    LABEL_PART_OF,
    PLAN_KEY,
    PROGRESS_PORT,
    RENDEZVOUS_PORT,
    attempt_name,
    policy_name,
)
from gpuquery.plan.plan import DaskWay, Plan, Processes
from gpuquery.plan.resolve import plan_json
from gpuquery.render import ranks
from gpuquery.render.daskcluster import dask_cluster
from gpuquery.render.network import network_policy
from gpuquery.render.pod import Manifest, pod_spec, serves_dashboard

if TYPE_CHECKING:
    from gpuquery.api.types import GpuQueryJob
    from gpuquery.plan.defaults import Defaults

DEADLINE_SLACK_SECONDS = 60
"""How much later than the operator the Job controller ends an attempt, in case the operator is down."""


def attempt_objects(plan: Plan, job: GpuQueryJob, defaults: Defaults) -> tuple[Manifest, ...]:
    """Build the objects of an attempt, in the order of their creation."""
    name = attempt_name(job.metadata.name, job.metadata.uid, plan.attempt)
    metadata = child_metadata(job, name, attempt_labels(job, plan.attempt))
    objects = [*policies(job, defaults)]
    if plan.dask is not None and plan.dask.way is DaskWay.OPERATOR:
        objects.append(dask_cluster(plan, job, defaults, metadata))
    objects.append(_job(plan, job, defaults, metadata))
    own = companion_metadata(metadata)
    if plan.processes is not Processes.ONE:
        objects += [_service(plan, own), ranks.secret(own)]
    return (*objects, plan_config_map(plan, own))


def policies(job: GpuQueryJob, defaults: Defaults) -> tuple[Manifest, ...]:
    """Build the NetworkPolicy of all pods of a job, unless policies are disabled."""
    if not defaults.network_policies:
        return ()
    labels = attempt_labels(job, 0)
    del labels[LABEL_ATTEMPT]
    name = policy_name(job.metadata.name, job.metadata.uid)
    return (network_policy(job, defaults, child_metadata(job, name, {**labels, LABEL_COMPONENT: "job"})),)


def _service(plan: Plan, metadata: Manifest) -> Manifest:
    """Build the headless Service with which the pods of a set find index 0."""
    ports = {"progress": PROGRESS_PORT, "rendezvous": RENDEZVOUS_PORT}
    if serves_dashboard(plan):
        ports["dashboard"] = DASHBOARD_PORT
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {
            "clusterIP": "None",
            # Ranks look up index 0 before it is ready: it is ready only when all have joined.
            "publishNotReadyAddresses": True,
            "selector": {LABEL_JOB_UID: plan.job.uid, LABEL_ATTEMPT: str(plan.attempt)},
            "ports": [
                {"name": name, "port": port, "targetPort": name, "protocol": "TCP"} for name, port in ports.items()
            ],
        },
    }


def _job(plan: Plan, job: GpuQueryJob, defaults: Defaults, metadata: Manifest) -> Manifest:
    batch = batch_job(job, metadata, pod_spec(plan, job, defaults, service=metadata["name"]), pods=plan.replicas)
    batch["spec"]["completionMode"] = "Indexed"
    if plan.replicas > 1:
        # When one pod ends, Kubernetes must not end the others, because one may be committing. They end by themselves
        # within seconds, and their reports stay.
        del batch["spec"]["backoffLimit"]
        batch["spec"]["backoffLimitPerIndex"] = 0
    return batch


def batch_job(job: GpuQueryJob, metadata: Manifest, pod: Manifest, *, pods: int) -> Manifest:
    """Build a batch Job of so many pods, none of which Kubernetes replaces.

    The operator retries, by the class of the failure: a replaced pod would join a cluster that has continued without
    it.
    """
    template = job.spec.template.metadata
    about: Manifest = {"labels": {**template.labels, **metadata["labels"]}}
    if template.annotations:
        about["annotations"] = dict(template.annotations)
    spec: Manifest = {
        "completions": pods,
        "parallelism": pods,
        "backoffLimit": 0,
        "podReplacementPolicy": "Failed",
        "template": {"metadata": about, "spec": pod},
    }
    if (deadline := safety_net(job)) is not None:
        spec["activeDeadlineSeconds"] = deadline
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def child_metadata(job: GpuQueryJob, name: str, labels: dict[str, str]) -> Manifest:
    """Return the metadata of an object that is deleted with its job."""
    return {
        "name": name, "namespace": job.metadata.namespace, "labels": labels, "ownerReferences": [owner(job)],
    }  # fmt: skip


def companion_metadata(metadata: Manifest) -> Manifest:
    """Return the metadata of an object that belongs to the batch Job of this name, which does not exist yet."""
    return {key: value for key, value in metadata.items() if key != "ownerReferences"}


def plan_config_map(plan: Plan, metadata: Manifest) -> Manifest:
    """Build the ConfigMap that carries a plan to its pods."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "immutable": True,
        "data": {PLAN_KEY: plan_json(plan)},
    }


def safety_net(job: GpuQueryJob) -> int | None:
    """Return the deadline of the batch Job, in seconds: it only matters while no operator runs."""
    deadline = job.spec.active_deadline_seconds
    return None if deadline is None else deadline + DEADLINE_SLACK_SECONDS


def attempt_labels(job: GpuQueryJob, attempt: int) -> dict[str, str]:
    """Return the labels of everything that belongs to an attempt."""
    return {
        LABEL_NAME: "gpuquery-job",
        LABEL_INSTANCE: job.metadata.name,
        LABEL_COMPONENT: "attempt",
        LABEL_PART_OF: "gpuquery",
        LABEL_MANAGED_BY: "gpuquery-operator",
        LABEL_JOB: job.metadata.name,
        LABEL_JOB_UID: job.metadata.uid,
        LABEL_ATTEMPT: str(attempt),
    }


def owner(job: GpuQueryJob) -> Manifest:
    """Return the owner reference by which the garbage collector removes an attempt with its job."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": job.metadata.name,
        "uid": job.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
