"""Release: end all that runs of a job, even if its state cannot be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuquery.api.labels import LABEL_JOB_UID, attempt_name
from gpuquery.kube.client import ApiError, KubeClient, Manifest, Resource
from gpuquery.reconcile.apply import delete_whole
from gpuquery.reconcile.observe import ownership, parse
from gpuquery.reconcile.observe.model import OVER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuquery.api.types import GpuQueryJob

METADATA = ("name", "uid", "deletionTimestamp", "ownerReferences", "labels")


async def release_all(client: KubeClient, job: GpuQueryJob, *, clusters: bool) -> bool:
    """Delete all that makes pods of a job; True once nothing of it is left and no pod is alive.

    A Job that still exists may have made a pod after the pods were read. `clusters`: DaskClusters too.
    """
    namespace, uid = job.metadata.namespace, job.metadata.uid
    labels = f"{LABEL_JOB_UID}={uid}"
    jobs = await client.digested(Resource.BATCH_JOBS, namespace, _trimmed, labels=labels)
    ours = [batch for batch in jobs if ownership.belongs(batch, uid)]
    own = {batch["metadata"]["name"]: batch["metadata"]["uid"] for batch in ours}
    strangers = frozenset(batch["metadata"]["uid"] for batch in jobs) - frozenset(own.values())
    makers = [batch["metadata"] for batch in ours if not parse.ended_by(batch)]
    pods = await client.digested(Resource.PODS, namespace, _trimmed, labels=labels)
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
        found = await client.digested(Resource.DASK_CLUSTERS, namespace, _trimmed, labels=f"{LABEL_JOB_UID}={uid}")
    except ApiError as error:
        if error.status == 404:  # without the kind there is none
            return True
        raise
    own = [each["metadata"] for each in found if ownership.belongs(each, uid)]
    for metadata in own:
        if "deletionTimestamp" not in metadata:
            await delete_whole(client, Resource.DASK_CLUSTERS, namespace, metadata["name"], metadata["uid"])
    return not own


def _trimmed(manifest: Manifest) -> Manifest:
    """Keep of an object whose it is and whether it is over, before the next page is read: authors decide its size."""
    metadata, status = manifest["metadata"], manifest.get("status") or {}
    kept = {key: metadata[key] for key in METADATA if key in metadata}
    return {"metadata": kept, "status": {key: status[key] for key in ("phase", "conditions") if key in status}}


def _made_by(pod: Manifest, prefix: str, own: Mapping[str, str], strangers: frozenset[str]) -> bool:
    """Whether a pod was made by a batch Job of ours: one that is there (`own`, UIDs by name), or one that is gone."""
    labels = pod["metadata"].get("labels") or {}
    name = str(ownership.controller(pod).get("name") or labels.get(ownership.JOB_NAME, ""))
    return name.startswith(prefix) and ownership.of_job(pod, name, own.get(name, ""), strangers)
