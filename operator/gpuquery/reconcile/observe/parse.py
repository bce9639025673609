"""Parse: from manifests of pods and Jobs to the few facts that decisions need. Pure.

No time is read: the clocks of nodes, controllers and API servers may be hours off.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from gpuquery.api import claims
from gpuquery.api.labels import CONTAINER, FIELD_MANAGER, LABEL_DASK
from gpuquery.api.reasons import Reason
from gpuquery.kube.client import FOREGROUND
from gpuquery.reconcile.observe.model import BatchJob, DaskCluster, Exit, Pod, Refusal, Waiting
from gpuquery.render.ranks import TOKEN_VOLUME

Json = Mapping[str, Any]

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
"""Label by which Kueue queues a Job; it suspends it until it is admitted, and again if it is preempted."""
MAX_IMAGE = 512
"""Characters of an image's digest that are told."""
MAX_MANAGER = 64
"""Characters of a field manager's name that are told."""


def number(manifest: Json, label: str) -> int:
    """Return the number of the attempt, or of the run of the preflight, that an object belongs to; 0: it has none."""
    text = manifest["metadata"].get("labels", {}).get(label, "")
    return int(text) if text.isdigit() else 0


def pod(manifest: Json) -> Pod:
    """Parse a pod. It may have a phase and nothing else: a lost node reports no containers."""
    metadata, spec, status = manifest["metadata"], manifest.get("spec", {}), manifest.get("status", {})
    conditions = {c["type"]: c for c in status.get("conditions") or []}
    ready = conditions.get("Ready", {})
    scheduled = conditions.get("PodScheduled", {})
    disrupted = conditions.get("DisruptionTarget", {})
    container = _container(status.get("containerStatuses"))
    phase = status.get("phase", "Pending")
    return Pod(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        index=_index(metadata),
        phase=phase,
        ready=ready.get("status") == "True" and phase == "Running",
        node=spec.get("nodeName"),
        address=status.get("podIP"),
        unschedulable=scheduled.get("message", "") if scheduled.get("status") == "False" else None,
        waiting=_waiting(container),
        exit=_exit(container),
        disruption=_disruption(disrupted),
        reason=status.get("reason", ""),
        message=status.get("message", ""),
        memory_limit=_memory_limit(spec),
        image=str(container.get("imageID", ""))[:MAX_IMAGE],
        asks=_asks(spec),
        part=metadata.get("labels", {}).get(LABEL_DASK, ""),
        restarts=container.get("restartCount", 0),
        last=_exit({"state": container.get("lastState", {})}),
    )


def dask_cluster(manifest: Json) -> DaskCluster:
    """Digest a DaskCluster, of which the metadata may be all that is known. Whose it is and its pods come later."""
    metadata = manifest["metadata"]
    deleting = bool(metadata.get("deletionTimestamp"))
    return DaskCluster(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        workers=manifest.get("spec", {}).get("worker", {}).get("replicas", 1),
        deleting=deleting,
        collecting=deleting and FOREGROUND in (metadata.get("finalizers") or ()),
    )


def batch_job(manifest: Json) -> BatchJob:
    """Parse the batch Job of an attempt."""
    metadata, spec, end = manifest["metadata"], manifest.get("spec", {}), ended_by(manifest)
    return BatchJob(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        deleting="deletionTimestamp" in metadata,
        suspended=_suspended(manifest),
        completions=spec.get("completions", 1),
        ranks=any(volume.get("name") == TOKEN_VOLUME for volume in _volumes(spec)),
        deadline=spec.get("activeDeadlineSeconds"),
        finished=end.get("type"),
        reason=end.get("reason", ""),
    )


def ended_by(manifest: Json) -> Json:
    """Return the condition by which a batch Job has ended; empty while it has not."""
    conditions: Sequence[Json] = manifest.get("status", {}).get("conditions") or ()
    return next((c for c in conditions if c["type"] in ("Complete", "Failed") and c["status"] == "True"), {})


def _index(metadata: Json) -> int:
    """Return the index that the Job controller gave to a pod."""
    text = metadata.get("annotations", {}).get("batch.kubernetes.io/job-completion-index", "0")
    return int(text) if text.isdigit() else 0


def _volumes(job_spec: Json) -> Sequence[Json]:
    found: Sequence[Json] = job_spec.get("template", {}).get("spec", {}).get("volumes") or ()
    return found


def in_order(events: Sequence[Json]) -> list[Json]:
    """Sort events by when they were written, by the API server's count and not by a clock."""

    def written(event: Json) -> int:
        version = str(event["metadata"].get("resourceVersion", ""))
        return int(version) if version.isdigit() else 0

    return sorted(events, key=written)


def _suspended(manifest: Json) -> str | None:
    """Return who suspended a batch Job; empty if that is not known, None if it is not suspended."""
    if not manifest.get("spec", {}).get("suspend"):
        return None
    metadata = manifest["metadata"]
    if queue := (metadata.get("labels") or {}).get(QUEUE_LABEL):
        return f"Kueue, queue {queue}"
    managers = (
        entry.get("manager", "")
        for entry in metadata.get("managedFields") or ()
        if "f:suspend" in (entry.get("fieldsV1") or {}).get("f:spec", {})
    )
    # A change by admission, while the operator creates the Job, counts as the operator's own.
    found = next((name for name in managers if name), "")
    return "a policy or a webhook, as it was created" if found == FIELD_MANAGER else found[:MAX_MANAGER]


def _container(statuses: list[Json] | None) -> Json:
    return next((s for s in statuses or [] if s.get("name") == CONTAINER), {})


def _waiting(container: Json) -> Waiting | None:
    waiting = container.get("state", {}).get("waiting")
    if not waiting:
        return None
    return Waiting(reason=waiting.get("reason", ""), message=waiting.get("message", ""))


def _exit(container: Json) -> Exit | None:
    ended = container.get("state", {}).get("terminated")
    if not ended:
        return None
    claim = claims.read(ended.get("message", ""))
    return Exit(
        code=ended.get("exitCode", 0),
        reason=ended.get("reason", ""),
        words=ended.get("message", ""),
        report=claim.report,
        wrong=claim.wrong,
    )


def _disruption(condition: Json) -> str | None:
    if condition.get("status") != "True":
        return None
    return ": ".join(part for part in (condition.get("reason", ""), condition.get("message", "")) if part)


def _asks(spec: Json) -> str:
    """What the scheduler has to find for the container: `cpu 500m, memory 1Gi`."""
    resources = _resources(spec)
    asked = {**resources.get("limits", {}), **resources.get("requests", {})}
    return ", ".join(f"{name} {amount}" for name, amount in sorted(asked.items()))


def _memory_limit(spec: Json) -> str | None:
    limit: str | None = _resources(spec).get("limits", {}).get("memory")
    return limit


def _resources(spec: Json) -> Json:
    found: Json = _container(spec.get("containers")).get("resources", {})
    return found


def refusal_of(message: str, *, permanent: bool = False) -> Refusal:
    """Read a refusal of the API server, from an answer or from the Job controller's event.

    Names of pods that were never made are random: with them the message would change with every try.
    """
    message = re.sub(r"^Error creating: ", "", re.sub(r'pods "[^"]*"', "a pod of the attempt", message))
    reason = Reason.QUOTA_EXCEEDED if "exceeded quota" in message else Reason.CREATION_REFUSED
    return Refusal(reason=reason, message=message, permanent=permanent)
