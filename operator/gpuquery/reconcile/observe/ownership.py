"""Ownership: which objects are a job's own. Labels find them, owner references decide.

Anyone may copy labels, for example to debug a copy of a pod. The controller reference is Kubernetes' own word, by UID,
and the garbage collector deletes objects whose owner does not exist. So a deleted batch Job need not be remembered: a
pod that still names it as its controller is one of its pods.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gpuquery.api.labels import DASK_KIND, LABEL_DASK_CLUSTER

Json = Mapping[str, Any]

JOB_UID = "batch.kubernetes.io/controller-uid"
JOB_NAME = "batch.kubernetes.io/job-name"
"""Labels that the Job controller puts on its pods. They stay where a Job was deleted with `--cascade=orphan`."""


def controller(manifest: Json) -> Json:
    """Return the owner reference of an object's controller; empty if it has none."""
    owners: Iterable[Json] = manifest["metadata"].get("ownerReferences") or ()
    return next((owner for owner in owners if owner.get("controller")), {})


def belongs(manifest: Json, uid: str) -> bool:
    """Whether an object is controlled by the one with that UID."""
    return bool(uid) and controller(manifest).get("uid") == uid


def of_job(pod: Json, name: str, uid: str, strangers: frozenset[str]) -> bool:
    """Whether a pod was made by the batch Job of that name for an attempt, or for a run of the preflight.

    `uid` is the Job's; empty: it is gone, and its pods may be on their way out, or have been left behind on purpose.
    `strangers` are the UIDs of other Jobs that carry our labels.
    """
    owner = controller(pod)
    if uid:
        return owner.get("uid") == uid
    if owner:
        return owner.get("kind") == "Job" and owner.get("name") == name and owner.get("uid") not in strangers
    labels = pod["metadata"].get("labels") or {}
    return labels.get(JOB_NAME) == name and JOB_UID in labels and labels[JOB_UID] not in strangers


def of_cluster(pod: Json, name: str) -> bool:
    """Whether a pod was made for the DaskCluster of that name.

    dask-kubernetes (2026.3) makes Deployments whose names begin with the cluster's, and these make ReplicaSets. The
    operator has no right to look at either, so the name of the ReplicaSet is the proof.
    """
    owner = controller(pod)
    return owner.get("kind") == "ReplicaSet" and str(owner.get("name", "")).startswith(f"{name}-")


def of_group(group: Json, cluster: str) -> bool:
    """Whether a DaskWorkerGroup was made for the DaskCluster of that name; `untied` ones are."""
    owners: Iterable[Json] = group["metadata"].get("ownerReferences") or ()
    tied = any(owner.get("kind") == DASK_KIND and owner.get("name") == cluster for owner in owners)
    return tied or (untied(group) and group["metadata"]["name"] == f"{cluster}-default")


def untied(group: Json) -> bool:
    """Whether a DaskWorkerGroup is one that dask-kubernetes has made and not tied to its cluster (policy/dask.py).

    It has no owner then, so its name is the proof: that of the cluster, with `-default` behind it.
    """
    metadata = group["metadata"]
    cluster = (metadata.get("labels") or {}).get(LABEL_DASK_CLUSTER, "")
    return not metadata.get("ownerReferences") and metadata["name"] == f"{cluster}-default"
