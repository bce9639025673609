"""Digest: from what the API server returns about pods and Jobs to the few facts that decisions need. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from gpuquery.api.labels import CONTAINER, LABEL_DASK
from gpuquery.api.report import Report
from gpuquery.build.ranks import TOKEN_VOLUME
from gpuquery.reconcile.facts import BatchJob, Exit, Pod, Waiting

Json = Mapping[str, Any]


def number(manifest: Json, label: str) -> int:
    """Return to which attempt, or to which run of the preflight, an object belongs; 0 if its label is no number."""
    text = manifest["metadata"].get("labels", {}).get(label, "")
    return int(text) if text.isdigit() else 0


def pod(manifest: Json) -> Pod:
    """Digest a pod. A pod may have a phase and nothing else: a lost node reports no containers."""
    metadata, spec, status = manifest["metadata"], manifest.get("spec", {}), manifest.get("status", {})
    conditions = {c["type"]: c for c in status.get("conditions") or []}
    ready = conditions.get("Ready", {})
    scheduled = conditions.get("PodScheduled", {})
    disrupted = conditions.get("DisruptionTarget", {})
    container = _container(status.get("containerStatuses"))
    phase = status.get("phase", "Pending")
    is_ready = ready.get("status") == "True" and phase == "Running"
    return Pod(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        index=_index(metadata),
        phase=phase,
        ready=is_ready,
        ready_since=moment(ready.get("lastTransitionTime")) if is_ready else None,
        over_since=moment(ready.get("lastTransitionTime")) if phase in ("Failed", "Succeeded") else None,
        node=spec.get("nodeName"),
        address=status.get("podIP"),
        unschedulable=scheduled.get("message", "") if scheduled.get("status") == "False" else None,
        waiting=_waiting(container),
        exit=_exit(container),
        disruption=_disruption(disrupted),
        reason=status.get("reason", ""),
        message=status.get("message", ""),
        memory_limit=_memory_limit(spec),
        part=metadata.get("labels", {}).get(LABEL_DASK, ""),
        created=moment(metadata.get("creationTimestamp")),
        last=_exit({"state": container.get("lastState", {})}),
    )


def batch_job(manifest: Json) -> BatchJob:
    """Digest the batch Job of an attempt."""
    metadata, spec = manifest["metadata"], manifest.get("spec", {})
    conditions = manifest.get("status", {}).get("conditions") or []
    true = [c for c in conditions if c["type"] in ("Complete", "Failed") and c["status"] == "True"]
    return BatchJob(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        created=moment(metadata.get("creationTimestamp")),
        deleting="deletionTimestamp" in metadata,
        completions=spec.get("completions", 1),
        ranks=any(volume.get("name") == TOKEN_VOLUME for volume in _volumes(spec)),
        deadline=spec.get("activeDeadlineSeconds"),
        finished=true[0]["type"] if true else None,
        reason=true[0].get("reason", "") if true else "",
    )


def _index(metadata: Json) -> int:
    """Return the index that the Job controller gave to a pod."""
    text = metadata.get("annotations", {}).get("batch.kubernetes.io/job-completion-index", "0")
    return int(text) if text.isdigit() else 0


def _volumes(job_spec: Json) -> Sequence[Json]:
    found: Sequence[Json] = job_spec.get("template", {}).get("spec", {}).get("volumes") or ()
    return found


def moment(text: str | None) -> datetime | None:
    """Read a timestamp of the API server."""
    return datetime.fromisoformat(text) if text else None


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
    return Exit(
        code=ended.get("exitCode", 0),
        reason=ended.get("reason", ""),
        words=ended.get("message", ""),
        finished=moment(ended.get("finishedAt")),
        report=Report.from_line(ended.get("message", "")),
    )


def _disruption(condition: Json) -> str | None:
    if condition.get("status") != "True":
        return None
    return ": ".join(part for part in (condition.get("reason", ""), condition.get("message", "")) if part)


def _memory_limit(spec: Json) -> str | None:
    container: Json = next((c for c in spec.get("containers", []) if c.get("name") == CONTAINER), {})
    limit: str | None = container.get("resources", {}).get("limits", {}).get("memory")
    return limit
