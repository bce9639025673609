"""Actions: what a policy can ask for. Each is a small value; apply.py carries it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpuquery.plan.plan import Purpose

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Create:
    """Make these objects where they are missing; before the status is written."""

    objects: tuple[Manifest, ...]


@dataclass(frozen=True)
class MoveDeadline:
    """Set `activeDeadlineSeconds` of a batch Job, after the job's own was changed."""

    batch_job: str
    seconds: int | None


@dataclass(frozen=True)
class DeleteRun:
    """Delete the batch Job of an attempt, or of a run of the preflight, so that its pods go."""

    purpose: Purpose
    number: int


@dataclass(frozen=True)
class ForgetAttempt:
    """Delete all that an earlier attempt has left: its DaskCluster too."""

    number: int


@dataclass(frozen=True)
class DeleteDask:
    """Delete parts of an attempt's DaskCluster, in the foreground."""

    name: str = ""
    uid: str = ""
    """Of the DaskCluster itself; empty: it is gone, or on its way."""
    groups: tuple[str, ...] = ()
    """The DaskWorkerGroups that it would leave behind."""

    @property
    def told(self) -> str:
        """Explain leftovers that dask-kubernetes failed to own; empty if there are none."""
        if not self.groups:
            return ""
        return (
            f"DaskCluster {self.name} was deleted, and its DaskWorkerGroup {', '.join(self.groups)} would stay: it is "
            "deleted too (dask-kubernetes had not made it the DaskCluster's: see the log of its operator)"
        )


@dataclass(frozen=True)
class DeleteJob:
    """Delete the GpuQueryJob itself."""


Action = Create | MoveDeadline | DeleteRun | ForgetAttempt | DeleteDask | DeleteJob


def created(actions: Iterable[Action]) -> tuple[Manifest, ...]:
    """Return the objects to create."""
    return tuple(each for action in actions if isinstance(action, Create) for each in action.objects)
