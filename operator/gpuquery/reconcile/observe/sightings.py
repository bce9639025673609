"""Sightings: when this operator first saw a fact. Decisions go by the operator's own clock alone.

Clocks of nodes, controllers and API servers may be hours off, so their times are never compared with it. Sightings may
be lost: after a restart a pause that had begun begins anew, and so does the wait for a Secret; a container that was
restarted meanwhile counts as one that was always there, and its client will report it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpuquery.reconcile.observe.model import Attempt, DaskCluster, Exit, Observed, Pod

Seen = dict[str, datetime | None]
"""First sightings of one job's facts; None: it was there when the operator first looked."""


class Sightings:
    """The first sightings of the jobs that are under way."""

    def __init__(self) -> None:
        self._jobs: dict[tuple[str, str], Seen] = {}

    def noted(self, key: tuple[str, str], observed: Observed, now: datetime) -> Observed:
        """Return what was observed, with when each fact was first seen. Facts that are gone are forgotten."""
        look = _Look(before=self._jobs.get(key), after={}, now=now.replace(microsecond=0))
        found = replace(observed, attempts=look.each(observed.attempts), runs=look.each(observed.runs))
        self._jobs[key] = look.after
        return found

    def forget(self, key: tuple[str, str]) -> None:
        """Drop a job that has ended or is gone."""
        self._jobs.pop(key, None)

    def __len__(self) -> int:
        return len(self._jobs)


@dataclass(frozen=True)
class _Look:
    """One look at one job."""

    before: Seen | None
    after: Seen
    now: datetime

    def each(self, attempts: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
        return tuple(
            replace(a, pods=tuple(map(self._pod, a.pods)), dask=self._cluster(a.dask) if a.dask else None)
            for a in attempts
        )

    def _first(self, what: str, *, lasting: bool = False) -> datetime | None:
        """Return when a fact was first seen. `lasting`: it may have been so for long when the operator first looked."""
        unknown = None if lasting else self.now
        self.after[what] = unknown if self.before is None else self.before.get(what, self.now)
        return self.after[what]

    def _pod(self, pod: Pod) -> Pod:
        return replace(
            pod,
            seen=self._first(pod.uid, lasting=True),
            secret_missed=self._first(f"{pod.uid} misses a Secret") if pod.misses_secret else None,
            over_seen=None if pod.alive else self._first(f"{pod.uid} over"),
            exit=pod.exit and self._end(pod.exit, f"{pod.uid} end {pod.restarts}"),
            last=pod.last and self._end(pod.last, f"{pod.uid} end {pod.restarts - 1}", lasting=True),
        )

    def _end(self, end: Exit, what: str, *, lasting: bool = False) -> Exit:
        return replace(end, seen=self._first(what, lasting=lasting))

    def _cluster(self, cluster: DaskCluster) -> DaskCluster:
        pods = tuple(map(self._pod, cluster.pods))
        if not cluster.deleting:
            return replace(cluster, pods=pods)
        return replace(cluster, pods=pods, deleting_seen=self._first(f"{cluster.uid} deleting"))
