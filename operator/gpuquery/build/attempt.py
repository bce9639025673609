"""One attempt as Kubernetes objects: a ConfigMap with the plan, a headless Service and one Indexed Job; with ranks, or
a native Dask cluster, also a Secret with their token and a NetworkPolicy; with dask-kubernetes a NetworkPolicy and a
DaskCluster.

The same for any size. Pure: the same plan gives the same objects, so applying them twice changes nothing; the token is
drawn by whoever creates the Secret.
"""

from __future__ import annotations

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
)
from gpuquery.api.types import GpuQueryJob
from gpuquery.build import ranks
from gpuquery.build.daskcluster import dask_cluster
from gpuquery.build.pod import Manifest, pod_spec, serves_dashboard
from gpuquery.plan.defaults import Defaults
from gpuquery.plan.plan import DaskWay, Plan, Processes
from gpuquery.plan.resolve import plan_json

DEADLINE_SLACK_SECONDS = 60
"""How much later than the operator the Job controller ends an attempt: only if the operator is away."""


def attempt_objects(plan: Plan, job: GpuQueryJob, defaults: Defaults) -> tuple[Manifest, ...]:
    """Build the objects of an attempt, in the order in which they are needed: the Job last."""
    name = attempt_name(job.metadata.name, job.metadata.uid, plan.attempt)
    metadata = child_metadata(job, name, attempt_labels(job, plan.attempt))
    several = plan.processes is not Processes.ONE
    ports = {"progress": PROGRESS_PORT}
    if several:
        ports["rendezvous"] = RENDEZVOUS_PORT
    if serves_dashboard(plan):
        ports["dashboard"] = DASHBOARD_PORT
    service: Manifest = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {
            "clusterIP": "None",
            # Ranks look index 0 up before it can be ready: it is ready only when all have joined.
            "publishNotReadyAddresses": True,
            "selector": {LABEL_JOB_UID: job.metadata.uid, LABEL_ATTEMPT: str(plan.attempt)},
            "ports": [
                {"name": name, "port": port, "targetPort": name, "protocol": "TCP"} for name, port in ports.items()
            ],
        },
    }
    companions = [plan_config_map(plan, metadata), service]
    by_others = plan.dask is not None and plan.dask.way is DaskWay.OPERATOR
    if several:
        companions.append(ranks.secret(metadata))
    if (several or by_others) and defaults.network_policies:
        # The pods of a DaskCluster carry the labels that it goes by. Whoever reaches a Dask scheduler runs code there.
        companions.append(ranks.network_policy(plan, job, defaults, metadata))
    if by_others:
        companions.append(dask_cluster(plan, job, defaults, metadata))
    return (*companions, _job(plan, job, defaults, metadata))


def _job(plan: Plan, job: GpuQueryJob, defaults: Defaults, metadata: Manifest) -> Manifest:
    batch = batch_job(job, metadata, pod_spec(plan, job, defaults, service=metadata["name"]), pods=plan.replicas)
    batch["spec"]["completionMode"] = "Indexed"
    if plan.replicas > 1:
        # The end of one pod must not have Kubernetes take the others, of which one may be committing. They end by
        # themselves, within seconds, and their reports stay.
        del batch["spec"]["backoffLimit"]
        batch["spec"]["backoffLimitPerIndex"] = 0
    return batch


def batch_job(job: GpuQueryJob, metadata: Manifest, pod: Manifest, *, pods: int) -> Manifest:
    """Build a batch Job of so many pods, none of which Kubernetes replaces.

    Retries are the operator's, by the class of the failure: a replaced pod would join a cluster that has gone on
    without it.
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
    """Return the metadata of an object that goes with its job."""
    return {
        "name": name, "namespace": job.metadata.namespace, "labels": labels, "ownerReferences": [owner(job)],
    }  # fmt: skip


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
    """Return the deadline of the batch Job, in seconds: it bites only while no operator runs."""
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
