"""Slim: what a look needs of a pod or a Job, cut out of its manifest before the next page is read. Pure.

How large the rest is, authors of jobs decide: with thousands of pods of one set it was most of the operator's memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpuquery.api.labels import DASK_GROUP, GROUP

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuquery.kube.client import Manifest

INDEX = "batch.kubernetes.io/job-completion-index"
METADATA = ("name", "uid", "deletionTimestamp", "ownerReferences")
LABELS = (f"{GROUP}/", "batch.kubernetes.io/", "dask.org/", f"{DASK_GROUP}/", "kueue.x-k8s.io/")
"""Domains of labels that say whose an object is, or who holds it up."""
POD_SPEC = ("nodeName",)
JOB_SPEC = ("completions", "activeDeadlineSeconds", "suspend")


def slim_pod(manifest: Manifest) -> Manifest:
    """Cut a pod to its state: what the kubelet and the scheduler say of it, and its limits."""
    spec = manifest.get("spec") or {}
    containers = [_chosen(each, ("name", "resources")) for each in spec.get("containers") or ()]
    return {
        "metadata": _metadata(manifest),
        "spec": {**_chosen(spec, POD_SPEC), "containers": containers},
        "status": manifest.get("status") or {},
    }


def slim_job(manifest: Manifest) -> Manifest:
    """Cut a Job to its state, who has suspended it, and the names of the volumes of its pods."""
    spec = manifest.get("spec") or {}
    volumes = ((spec.get("template") or {}).get("spec") or {}).get("volumes") or ()
    template = {"spec": {"volumes": [_chosen(each, ("name",)) for each in volumes]}}
    managers = [
        {**_chosen(entry, ("manager",)), "fieldsV1": {"f:spec": {"f:suspend": {}}}}
        for entry in manifest["metadata"].get("managedFields") or ()
        if "f:suspend" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})
    ]
    return {
        "metadata": {**_metadata(manifest), "managedFields": managers},
        "spec": {**_chosen(spec, JOB_SPEC), "template": template},
        "status": manifest.get("status") or {},
    }


def _metadata(manifest: Manifest) -> Manifest:
    metadata = manifest["metadata"]
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if key.startswith(LABELS)}
    return {
        **_chosen(metadata, METADATA),
        "labels": labels,
        "annotations": _chosen(metadata.get("annotations") or {}, (INDEX,)),
    }


def _chosen(found: Mapping[str, Any], keys: tuple[str, ...]) -> Manifest:
    return {key: found[key] for key in keys if key in found}
