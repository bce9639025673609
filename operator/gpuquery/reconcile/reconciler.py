"""Reconcile: one look at one job. Reads as the three steps that it is."""

from __future__ import annotations

import logging
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from gpuquery.api.conditions import is_terminal
from gpuquery.api.problems import explained, listed
from gpuquery.api.reasons import Failure
from gpuquery.api.size import oversized
from gpuquery.api.status import GpuQueryJobStatus
from gpuquery.api.types import GpuQueryJob
from gpuquery.kube.ability import REFUSALS, Writes
from gpuquery.kube.client import ApiError, KubeClient, Resource, StaleError
from gpuquery.reconcile.apply import carry_out, create, post, sweep, tell, write_status
from gpuquery.reconcile.decide.job import decide
from gpuquery.reconcile.observe import dask
from gpuquery.reconcile.observe.contradiction import has_ended
from gpuquery.reconcile.observe.head import Sight, sight_of
from gpuquery.reconcile.observe.look import observe
from gpuquery.reconcile.observe.model import Observed
from gpuquery.reconcile.observe.namespaces import Namespaces
from gpuquery.reconcile.observe.sightings import Sightings
from gpuquery.reconcile.policy.account import rejected
from gpuquery.reconcile.policy.outcome import Fault
from gpuquery.reconcile.policy.undone import untold
from gpuquery.reconcile.refusals import Refusals
from gpuquery.reconcile.release import release_all
from gpuquery.reconcile.report import failing
from gpuquery.reconcile.report.events import pruned
from gpuquery.reconcile.report.status import derive

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuquery.kube.client import Manifest
    from gpuquery.plan.defaults import Defaults
    from gpuquery.reconcile.census import Census
    from gpuquery.reconcile.metrics import Metrics
    from gpuquery.reconcile.observe.memory import Memory
    from gpuquery.reconcile.observe.model import Refusal
    from gpuquery.reconcile.progress import ProgressReader
    from gpuquery.reconcile.queue import WorkQueue

log = logging.getLogger(__name__)

Key = tuple[str, str]
"""Namespace and name of a job."""


def namespace_of(key: Key) -> str:
    """Return the namespace of a job, by which the queue takes turns."""
    return key[0]


def most_of_a_namespace(workers: int) -> int:
    """Return how many workers one namespace may have at a time: a quarter is kept for the others."""
    return workers - workers // 4


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(tz=UTC)


UNREAD = {"query": {"sql": "-"}, "output": {"uri": "s3://unknown"}}
"""Spec of a job whose own cannot be read by the models of this version."""
DEADLINES = ("activeDeadlineSeconds", "startDeadlineSeconds")
MOST_STALE = 3
"""How often in a row a status is derived anew because the job has changed meanwhile. Then it is written all the same,
so that constant changes cannot keep a job from its end."""
STALE_SECONDS = 0.05


@dataclass(frozen=True, kw_only=True)
class Reconciler:
    """Everything that a look at a job needs."""

    client: KubeClient
    reader: ProgressReader
    defaults: Defaults
    metrics: Metrics
    status: Writes = field(default_factory=Writes)
    instance: str = "gpuquery-operator"
    clock: Callable[[], datetime] = utc_now
    census: Census | None = None
    """Counts the jobs of a namespace; None: there are no maxima."""
    memory: Memory | None = None
    """The informers' cache; None: every look asks the API server."""
    stale: Counter[Key] = field(default_factory=Counter)
    """How often in a row the status of a job was derived from an old version of it."""
    namespaces: Namespaces = field(default_factory=Namespaces)
    sightings: Sightings = field(default_factory=Sightings)
    refusals: Refusals = field(default_factory=Refusals)

    async def reconcile(self, key: Key) -> float | None:
        """Look at a job and act; returns the seconds until the next look."""
        namespace, name = key
        if self.census is not None and self.census.holds(key):
            return None
        if (pause := self._pause(key)) is not None:
            return pause
        raw = await self._raw(key)
        if raw is None or raw["metadata"].get("deletionTimestamp"):
            # The garbage collector removes the children, but not all that a DaskCluster has made.
            self.metrics.gone(key)
            self._forget(key)
            if self.census is not None and raw is None:
                self.census.gone(key)
            await self._sweep(key)
            return None
        sight = sight_of(raw)
        if self.census is not None:
            self.census.saw(key, sight)
        job = await self._read(raw, sight)
        if job is None:
            return None
        if job.status.attempt is None:
            await self._sweep(key, job.metadata.uid)
        now = self.clock()
        if self.census is not None and self.census.holds(key):
            return None
        observed, defaults = await self._look(job, sight, now)
        decision = decide(job, observed, defaults, now)
        refusal = await self._create(key, decision.creates) if decision.creates else None
        if refusal is not None:
            decision = decide(job, replace(observed, refusal=refusal), defaults, now)
        await self._write(job, decision.status, now)
        if observed.kept:
            log.info("%s/%s: deleted: %d finished jobs are kept in its namespace", namespace, name, observed.kept)
            await post(self.client, job, pruned(observed.kept), instance=self.instance, now=now)
            self.metrics.pruned()
        await carry_out(self.client, job, decision.actions)
        if decision.status is not None and is_terminal(decision.status.conditions) and dask.wanted(job):
            # The operator may have died after it made a DaskCluster and before it made the Job.
            await self._sweep(key)
        self.metrics.seen(key, job.status, decision.status or job.status)
        return decision.requeue_after

    def _pause(self, key: Key) -> float | None:
        """Return for how many seconds a look is not needed, or would see an old state; None: look now."""
        if self.census is not None and (pause := self.census.pause(key)) is not None:
            return pause
        return self.memory.children.pause(key) if self.memory is not None else None

    async def _raw(self, key: Key) -> Manifest | None:
        """Return a job as the API server has it."""
        if self.memory is None:
            return await self.client.get(Resource.JOBS, *key)
        return await self.memory.jobs.read(self.client, key)

    async def _create(self, key: Key, objects: tuple[Manifest, ...]) -> Refusal | None:
        """Make what is missing, unless it was refused a moment ago."""
        return self.refusals.recent(key) or self.refusals.noted(key, await create(self.client, objects))

    async def _write(self, job: GpuQueryJob, status: GpuQueryJobStatus | None, now: datetime) -> None:
        """Write the status if it changed, then its events. Raises StaleError if the job has changed meanwhile."""
        key = job.metadata.namespace, job.metadata.name
        if self.stale[key] >= MOST_STALE:
            job = unconditional(job)
        try:
            written = await write_status(self.client, job, status)
        except ApiError as error:
            if error.status in REFUSALS:
                self.status.refused(key, str(error))
            raise
        except StaleError:
            self.stale[key] += 1
            if self.memory is not None:
                self.memory.jobs.forget(key)
            raise
        if self.memory is not None and not job.metadata.resource_version:
            # The answer may contain changes of others that no look has seen.
            self.memory.jobs.forget(key)
        self.stale.pop(key, None)
        self.status.forget(key)
        if written and status is not None:
            self.status.succeeded()
            log.info("%s/%s: %s", *key, status.state)
            await tell(self.client, job, status, instance=self.instance, now=now)

    async def failed(self, key: Key, error: Exception) -> float | None:
        """Report that looks at a job fail, and end it if a deadline has passed; returns the seconds until one does."""
        raw = await self.client.get(Resource.JOBS, *key)
        if raw is None or raw["metadata"].get("deletionTimestamp"):
            self._forget(key)
            return None
        job, now = _as_far_as_read(raw), self.clock().replace(microsecond=0)
        if has_ended(job):
            return None
        why = failing.in_words(error)
        late = failing.overdue(job, why, now)
        if late is None:
            await self._write(job, failing.told(job, why, now), now)
            return failing.due(job, now)
        await self._write(job, failing.releasing(job, late, now), now)
        if not await release_all(self.client, job, clusters=self.defaults.dask_operator):
            return failing.LOOK_FOR_END
        # The write above has made a new version.
        await self._write(unconditional(job), failing.ended(job, late, now), now)
        return None

    def _forget(self, key: Key) -> None:
        """Drop what is only remembered while a job is under way."""
        self.sightings.forget(key)
        self.refusals.forget(key)
        self.stale.pop(key, None)
        if self.memory is not None:
            self.memory.forget(key)
        self.status.forget(key)

    async def _sweep(self, key: Key, uid: str = "") -> None:
        """Delete the Dask workers that a job of this name has left."""
        if not self.defaults.dask_operator:
            return
        try:
            await sweep(self.client, *key, uid)
        except ApiError as error:
            if error.status == 403:
                # Most jobs have no DaskCluster, and must not wait for a right that they do not need.
                log.warning("%s/%s: DaskClusters cannot be looked for: %s", *key, error)
            elif error.status != 404:
                raise  # 404: the kind is not installed

    async def _look(self, job: GpuQueryJob, sight: Sight, now: datetime) -> tuple[Observed, Defaults]:
        """Observe a job and the defaults of its namespace; little of a job that has ended or waits for its turn."""
        key = job.metadata.namespace, job.metadata.name
        if has_ended(job):
            self._forget(key)
            if self.census is None:
                return Observed(), self.defaults
            try:
                noted = await self.namespaces.recent(self.client, job)
            except ApiError as error:
                log.warning("namespace %s: no finished job is deleted as one too many: %s", key[0], error)
                return Observed(), self.defaults
            return Observed(kept=self.census.surplus(key, noted)), self.defaults
        if job.status.plan is not None and (sight.begun or sight.suspended or self.census is None):
            return await self._observed(job, now), self.defaults
        noted = await self.namespaces.fresh(self.client, job)
        defaults = self.defaults if job.status.plan is not None else self.defaults.in_namespace(noted)
        observed = None
        free = sight.begun or sight.suspended
        if self.census is not None and not free and (wait := self.census.turn(key, sight, noted)) is not None:
            observed = await self._observed(job, now)
            if not untold(job, observed):
                return Observed(wait=wait), defaults
            # The operator died after it made something and before it wrote the status.
            self.census.begin(key, sight)
        return observed or await self._observed(job, now), defaults

    async def _observed(self, job: GpuQueryJob, now: datetime) -> Observed:
        """Observe what exists of a job, and when this operator first saw it."""
        children = self.memory.children if self.memory is not None else None
        found = await observe(self.client, self.reader, job, now, children)
        return self.sightings.noted((job.metadata.namespace, job.metadata.name), found, now)

    async def _read(self, raw: dict[str, Any], sight: Sight) -> GpuQueryJob | None:
        """Read a job; one that is too large, or cannot be read by this version, fails."""
        if not (sight.begun or sight.ended) and (large := oversized(raw["spec"])):
            await self._unread(raw, Fault(Failure.LIMIT_EXCEEDED, large))
            return None
        try:
            return GpuQueryJob.model_validate(raw)
        except ValidationError as error:
            if sight.ended:
                return None
            if GpuQueryJobStatus.model_validate(raw.get("status") or {}).attempt is not None:
                raise
            await self._unread(raw, Fault(Failure.INVALID_INPUT, listed(explained(error))))
            return None

    async def _unread(self, raw: dict[str, Any], fault: Fault) -> None:
        """Fail a job that is not read."""
        job = GpuQueryJob.model_validate({"metadata": raw["metadata"], "spec": UNREAD})
        now = self.clock().replace(microsecond=0)
        await self._write(job, derive(job, rejected(fault), now), now)


def unconditional(job: GpuQueryJob) -> GpuQueryJob:
    """Return a job whose status is written even if the job has changed."""
    return job.model_copy(update={"metadata": job.metadata.model_copy(update={"resource_version": ""})})


def _as_far_as_read(raw: dict[str, Any]) -> GpuQueryJob:
    """Read a job, or only its deadlines and its status if the rest of its spec cannot be read."""
    try:
        return GpuQueryJob.model_validate(raw)
    except ValidationError:
        spec = raw.get("spec") or {}
        deadlines = {key: spec[key] for key in (*DEADLINES, "suspend") if isinstance(spec.get(key), int)}
        found = {"metadata": raw["metadata"], "spec": {**UNREAD, **deadlines}, "status": raw.get("status") or {}}
        return GpuQueryJob.model_validate(found)


async def work(queue: WorkQueue[Key], reconciler: Reconciler) -> None:
    """Work on keys, one after the other, until cancelled."""
    while True:
        key = await queue.get()
        started = time.monotonic()
        result = "error"
        try:
            again = await reconciler.reconcile(key)
            result = "ok"
            queue.forget(key)
            if again is not None:
                queue.add_after(key, again)
        except StaleError as error:
            # No failure: the job has changed.
            log.info("%s/%s: %s", *key, error)
            result = "stale"
            queue.add_after(key, STALE_SECONDS)
        except Exception as error:
            pause = queue.retry(key)
            log.warning("%s/%s: %s: %s; again in %.1f s", *key, type(error).__name__, error, pause, exc_info=error)
            if queue.failures(key) >= failing.told_from(error):
                await _told(queue, reconciler, key, error)
        finally:
            queue.done(key)
            reconciler.metrics.reconciled(time.monotonic() - started, result)


async def _told(queue: WorkQueue[Key], reconciler: Reconciler, key: Key, error: Exception) -> None:
    """Write why looks at a job fail into its status; if that fails too, into the log."""
    try:
        due = await reconciler.failed(key, error)
    except Exception as second:
        log.warning("%s/%s: this could not be told: %s: %s", *key, type(second).__name__, second)
    else:
        if due is not None:
            queue.add_after(key, due)
