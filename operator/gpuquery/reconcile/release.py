"""Release: see that nothing of a job runs any more, without asking what it is or how it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuquery.api.labels import LABEL_JOB_UID, attempt_name
from gpuquery.kube.client import ApiError, KubeClient, Manifest, Resource
from gpuquery.reconcile.observe import ownership, parse
from gpuquery.reconcile.observe.model import OVER
from gpuquery.reconcile.observe.slim import slim_job, slim_pod

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuquery.api.types import GpuQueryJob


async def release_all(client: KubeClient, job: GpuQueryJob, *, clusters: bool) -> bool:
    """Delete all that makes pods of a job; True once there was nothing of it, and none of its pods is alive.

    A Job that was still there may have made a pod after the pods were read. `clusters`: DaskClusters too.
    """
    namespace, uid = job.metadata.namespace, job.metadata.uid
    labels = f"{LABEL_JOB_UID}={uid}"
    jobs = await client.digested(Resource.BATCH_JOBS, namespace, slim_job, labels=labels)
    ours = [batch for batch in jobs if ownership.belongs(batch, uid)]
    own = {batch["metadata"]["name"]: batch["metadata"]["uid"] for batch in ours}
    strangers = frozenset(batch["metadata"]["uid"] for batch in jobs) - frozenset(own.values())
    makers = [batch["metadata"] for batch in ours if not parse.ended_by(batch)]
    pods = await client.digested(Resource.PODS, namespace, slim_pod, labels=labels)
    for metadata in makers:
        if "deletionTimestamp" not in metadata:
            await client.delete(Resource.BATCH_JOBS, namespace, metadata["name"], uid=metadata["uid"])
    gone = not clusters or await _no_clusters(client, namespace, uid)
    prefix = attempt_name(job.metadata.name, uid, 0).removesuffix("0")
    alive = [pod for pod in pods if pod["status"].get("phase", "Pending") not in OVER]
    return gone and not makers and not any(_made_by(pod, prefix, own, strangers) for pod in alive)


async def _no_clusters(client: KubeClient, namespace: str, uid: str) -> bool:
    """Delete the DaskClusters of a job, in the foreground: its pods go first. True once there is none."""
    try:
        found = await client.digested(Resource.DASK_CLUSTERS, namespace, slim_job, labels=f"{LABEL_JOB_UID}={uid}")
    except ApiError as error:
        if error.status == 404:  # without the kind there is none
            return True
        raise
    own = [each["metadata"] for each in found if ownership.belongs(each, uid)]
    for metadata in own:
        if "deletionTimestamp" not in metadata:
            how = {"uid": metadata["uid"], "propagation": "Foreground"}
            await client.delete(Resource.DASK_CLUSTERS, namespace, metadata["name"], **how)
    return not own


def _made_by(pod: Manifest, prefix: str, own: Mapping[str, str], strangers: frozenset[str]) -> bool:
    """Whether a pod was made by a batch Job of ours: one that is there (`own`, UIDs by name), or one that is gone."""
    labels = pod["metadata"].get("labels") or {}
    name = str(ownership.controller(pod).get("name") or labels.get(ownership.JOB_NAME, ""))
    return name.startswith(prefix) and ownership.of_job(pod, name, own.get(name, ""), strangers)
