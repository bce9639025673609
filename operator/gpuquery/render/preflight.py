"""The preflight's own pod as Kubernetes objects: the job's NetworkPolicy, one Job without a GPU, and a ConfigMap with
the plan, which belongs to that Job.

It has the same image, command, environment and identity as an attempt's pod, so what it can read, the attempt can read
too. Pure: the same plan gives the same objects, so applying them twice changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuquery.api.choices import EngineChoice
from gpuquery.api.labels import (
    LABEL_ATTEMPT,
    LABEL_COMPONENT,
    LABEL_PREFLIGHT,
    NO_DRIVER_DIRECTORY,
    preflight_name,
)
from gpuquery.api.pods import Workers
from gpuquery.plan.plan import DaskWay, Plan, Processes, Purpose
from gpuquery.render.attempt import (
    attempt_labels,
    batch_job,
    child_metadata,
    companion_metadata,
    plan_config_map,
    policies,
)
from gpuquery.render.pod import Manifest, pod_spec

if TYPE_CHECKING:
    from gpuquery.api.types import GpuQueryJob
    from gpuquery.plan.defaults import Defaults

COMPONENT = "preflight"
GPU_NODES = ("nodeSelector", "affinity", "topologySpreadConstraints", "runtimeClassName")
"""Fields of a template that lead to GPU nodes: a pod with them could make an autoscaler start one."""
MACHINE_LABELS = ("kubernetes.io/arch", "kubernetes.io/os")
"""Labels of a node selector that are kept: the image runs only on such nodes."""


def preflight_objects(plan: Plan, job: GpuQueryJob, defaults: Defaults, run: int) -> tuple[Manifest, ...]:
    """Build the objects of a run of the preflight, in the order of their creation.

    `plan` is that of the first attempt: the pod checks the query for the GPUs that would run it.
    """
    name = preflight_name(job.metadata.name, job.metadata.uid, run)
    metadata = child_metadata(job, name, preflight_labels(job, run))
    # One process runs the checks, whatever the attempt consists of.
    leaves = {} if job.spec.dry_run else {"leaves_inputs": True}
    asking = plan.model_copy(update={"purpose": Purpose.PREFLIGHT, "processes": Processes.ONE, **leaves})
    if plan.dask is not None and plan.dask.way is not DaskWay.NATIVE:
        asking = asking.model_copy(update={"replicas": plan.workers, "gpus": 1})
    pod = _pod_spec(asking, job, defaults, config_map=name)
    own = plan_config_map(asking, companion_metadata(metadata))
    return (*policies(job, defaults), batch_job(job, metadata, pod, pods=1), own)


def preflight_labels(job: GpuQueryJob, run: int) -> dict[str, str]:
    """Return the labels of everything that belongs to a run of the preflight."""
    labels = attempt_labels(job, 0)
    del labels[LABEL_ATTEMPT]
    return {**labels, LABEL_COMPONENT: COMPONENT, LABEL_PREFLIGHT: str(run)}


def _pod_spec(plan: Plan, job: GpuQueryJob, defaults: Defaults, *, config_map: str) -> Manifest:
    """Build the attempt's pod spec for one pod without GPUs and with the preflight's resources."""
    small = defaults.model_copy(update={"resources": defaults.preflight_resources})
    modest = job.model_copy(update={"spec": job.spec.model_copy(update={"workers": Workers()})})
    spec = pod_spec(plan, modest, small, service=config_map)
    # Nobody reads its progress: it ends within seconds.
    (container,) = spec["containers"]
    for key in ("startupProbe", "ports"):
        del container[key]
    if plan.engine != EngineChoice.CPU:
        machine = {k: v for k, v in spec.get("nodeSelector", {}).items() if k in MACHINE_LABELS}
        spec = {k: v for k, v in spec.items() if k not in GPU_NODES}
        if machine:
            spec["nodeSelector"] = machine
        # No job may set this variable, so it does not exist yet.
        container["env"].append({"name": "LD_LIBRARY_PATH", "value": NO_DRIVER_DIRECTORY})
    return spec
