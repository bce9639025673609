"""Reconcile: one look at one job. Reads as the three steps that it is."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from gpuquery.api.conditions import is_terminal
from gpuquery.api.reasons import Failure
from gpuquery.api.status import GpuQueryJobStatus
from gpuquery.api.types import GpuQueryJob
from gpuquery.kube.client import ApiError, KubeClient, Resource
from gpuquery.kube.progress import ProgressReader
from gpuquery.plan.defaults import Defaults
from gpuquery.reconcile import observe_dask
from gpuquery.reconcile.apply import create, remove, sweep, tell, write_status
from gpuquery.reconcile.decide import decide
from gpuquery.reconcile.facts import Observed
from gpuquery.reconcile.metrics import Metrics
from gpuquery.reconcile.observe import namespace_annotations, observe
from gpuquery.reconcile.outcome import Fault
from gpuquery.reconcile.queue import WorkQueue
from gpuquery.reconcile.status import Account, derive

log = logging.getLogger(__name__)

Key = tuple[str, str]
"""Namespace and name of a job."""


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(tz=UTC)


@dataclass(frozen=True, kw_only=True)
class Reconciler:
    """Everything that a look at a job needs."""

    client: KubeClient
    reader: ProgressReader
    defaults: Defaults
    metrics: Metrics
    instance: str = "gpuquery-operator"
    clock: Callable[[], datetime] = utc_now

    async def reconcile(self, key: Key) -> float | None:
        """Look at a job and do what has to be done; returns after how many seconds to look again."""
        namespace, name = key
        raw = await self.client.get(Resource.JOBS, namespace, name)
        if raw is None or raw["metadata"].get("deletionTimestamp"):
            # The garbage collector removes the children by their owner; what it leaves alone is a DaskCluster's.
            self.metrics.gone(key)
            await self._sweep(key)
            return None
        job = await self._read(raw)
        if job is None:
            return None
        if job.status.attempt is None:
            await self._sweep(key, job.metadata.uid)
        now = self.clock()
        observed, defaults = await self._look(job)
        decision = decide(job, observed, defaults, now)
        refusal = await create(self.client, decision.apply) if decision.apply else None
        if refusal is not None:
            decision = decide(job, replace(observed, refusal=refusal), defaults, now)
        if decision.status is not None and await write_status(self.client, job, decision.status):
            log.info("%s/%s: %s", namespace, name, decision.status.state)
            await tell(self.client, job, decision.status, instance=self.instance, now=now)
        await remove(self.client, job, decision)
        if decision.status is not None and is_terminal(decision.status.conditions) and observe_dask.wanted(job):
            # An operator may have died between a DaskCluster and its Job, of which the decision knows nothing.
            await self._sweep(key)
        self.metrics.seen(key, job.status, decision.status or job.status)
        return decision.requeue_after

    async def _sweep(self, key: Key, uid: str = "") -> None:
        """Take away the Dask workers of a job that is gone or has ended, and of the last one of this name."""
        if not self.defaults.dask_operator:
            return
        try:
            await sweep(self.client, *key, uid)
        except ApiError as error:
            if error.status == 403:
                # Most jobs have no DaskCluster, and none of those must wait for a right that is not needed.
                log.warning("%s/%s: DaskClusters cannot be looked for: %s", *key, error)
            elif error.status != 404:
                raise  # without the kind there is none

    async def _look(self, job: GpuQueryJob) -> tuple[Observed, Defaults]:
        """Observe a job and what holds in its namespace; nothing of a job that has ended."""
        if is_terminal(job.status.conditions):
            return Observed(), self.defaults
        observed, noted = await asyncio.gather(
            observe(self.client, self.reader, job), namespace_annotations(self.client, job)
        )
        return observed, self.defaults.in_namespace(noted)

    async def _read(self, raw: dict[str, Any]) -> GpuQueryJob | None:
        """Read a job; one that no model of this version can read has failed, truthfully."""
        try:
            return GpuQueryJob.model_validate(raw)
        except ValidationError as error:
            status = GpuQueryJobStatus.model_validate(raw.get("status") or {})
            if is_terminal(status.conditions):
                return None
            if status.attempt is not None:
                raise
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            spec = {"query": {"sql": "-"}, "output": {"uri": "s3://unknown"}}
            job = GpuQueryJob.model_validate({"metadata": raw["metadata"], "spec": spec})
            fault = Fault(Failure.INVALID_INPUT, f"{where}: {first['msg']}")
            now = self.clock().replace(microsecond=0)
            rejected = derive(job, Account(rejected=fault), now)
            if await write_status(self.client, job, rejected):
                await tell(self.client, job, rejected, instance=self.instance, now=now)
            return None


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
        except asyncio.CancelledError:
            raise
        except Exception as error:
            pause = queue.retry(key)
            log.warning("%s/%s: %s: %s; again in %.1f s", *key, type(error).__name__, error, pause, exc_info=error)
        finally:
            queue.done(key)
            reconciler.metrics.reconciled(time.monotonic() - started, result)
