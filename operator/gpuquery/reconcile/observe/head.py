"""Head: what the queue needs to know about a job before anyone looks at it. Pure.

A job that has ended, with a consistent status, needs no look until its time to live has passed, so a restarted operator
does not read finished jobs. Their specs, whose size their authors choose, are dropped as soon as they are parsed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from gpuquery.api.conditions import ConditionType
from gpuquery.reconcile.observe.contradiction import ended_in

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Sight:
    """The facts about a job that the census counts."""

    uid: str
    created: str
    begun: bool
    """Whether it was accepted, or something of it was made, so that it holds a place."""
    ended: str = ""
    """When it ended, according to a status that is consistent; empty while it lives."""
    suspended: bool = False
    """Whether it is suspended and nothing of it runs: it neither holds a place nor waits for one."""


def sight_of(job: Mapping[str, Any]) -> Sight:
    """Return those facts about a job as the API server has it."""
    metadata, status = job["metadata"], job.get("status") or {}
    created = metadata.get("creationTimestamp") or ""
    statuses = {condition.get("type"): condition.get("status") for condition in status.get("conditions") or ()}
    begun = any(status.get(name) for name in ("plan", "attempt", "preflightRun"))
    asked = bool((job.get("spec") or {}).get("suspend"))
    return Sight(
        uid=metadata.get("uid", ""),
        created=created,
        # A job that is suspended, or has waited for its turn since it was, is not accepted.
        begun=begun and statuses.get(ConditionType.ACCEPTED) != "Unknown",
        ended=status["completionTime"] if ended_in(status) else "",
        suspended=asked and (not begun or statuses.get(ConditionType.SUSPENDED) == "True"),
    )


@dataclass(frozen=True, slots=True)
class Head:
    """A job, trimmed."""

    sight: Sight
    version: str
    state: str = ""
    engine: str = ""
    ended: bool = False
    """Whether it has ended, according to a status that is consistent."""
    expires: datetime | None = None
    """When it is to be deleted."""


def head(manifest: Mapping[str, Any]) -> Head:
    """Trim a job; a malformed one has to be looked at."""
    metadata = manifest["metadata"]
    version, sight = str(metadata.get("resourceVersion", "")), sight_of({"metadata": metadata})
    try:
        sight = sight_of(manifest)
        status = manifest.get("status") or {}
        state, engine = str(status.get("state") or ""), str((status.get("plan") or {}).get("engine") or "")
        if not sight.ended:
            return Head(sight, version, state, engine)
        return Head(sight, version, state, engine, ended=True, expires=_expires(manifest["spec"], status))
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        return Head(sight, version)


def _expires(spec: Mapping[str, Any], status: Mapping[str, Any]) -> datetime | None:
    seconds = spec.get("ttlSecondsAfterFinished")
    return None if seconds is None else datetime.fromisoformat(status["completionTime"]) + timedelta(seconds=seconds)
