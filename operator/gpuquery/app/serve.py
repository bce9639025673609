"""Probes and metrics over HTTP.

Alive means that work gets done: the workers run, the queue moves, and the watch tells what a LIST tells. Ready means
able: the operator leads and can list its jobs and write what becomes of them, or it stands by and can read its Lease.

An operator that is refused (its role or its credentials are wrong) is not ready, with words, and after three minutes
not alive: a new process reads its credentials anew, and everybody sees one that restarts. What one namespace refuses,
whose owner may have taken away a RoleBinding, is not the operator's fault: while another namespace works it is ready
and says "ok, but", lest one tenant stop the work or the upgrade for all; and a status that is refused in one namespace
alone ends nobody.

An API server that is away is not the operator's fault either: by the probes it is not ready meanwhile, but only after
half an hour not alive. That holds for operators that stand by. The one that leads ends by itself within seconds, since
it cannot renew its Lease (exit code 1), and starts anew as one that stands by.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from gpuquery.app.watch import Sightings
from gpuquery.kube.ability import Ability, InNamespaces, Writes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from gpuquery.app.settings import Settings
    from gpuquery.kube.lease import Holding
    from gpuquery.reconcile.metrics import Metrics
    from gpuquery.reconcile.queue import WorkQueue
    from gpuquery.reconcile.reconciler import Key

STUCK_SECONDS = 300.0


@dataclass
class Health:
    """What the probes look at."""

    queue: WorkQueue[Key]
    jobs: InNamespaces
    holding: Holding | None = None
    """None: there is no Lease to hold."""
    status: Writes = field(default_factory=Writes)
    sightings: Sightings = field(default_factory=Sightings)
    standby: bool = True
    watching: bool = False
    workers_ended: bool = False

    def alive(self) -> str | None:
        """Return what is wrong; None if the process should live on."""
        if self.workers_ended:
            return "a worker has ended"
        if self.queue.stalled > STUCK_SECONDS:
            return f"jobs have been waiting for {self.queue.stalled:.0f} s, and none was looked at"
        if self.sightings.stale:
            return "the watch does not tell what a list tells"
        return next(filter(None, (ability.lost() for ability in self._abilities())), None)

    def ready(self) -> str | None:
        """Return what is missing; None if it leads, or stands by."""
        missing = next(filter(None, (ability.missing() for ability in self._abilities())), None)
        return missing or (None if self.standby or self.watching else "not all has been listed yet: see the log")

    def partly(self) -> str:
        """Return in words what an operator that is ready cannot do in some namespaces; empty where that is nothing."""
        return "" if self.standby else self.jobs.partly()

    def _abilities(self) -> Iterator[Ability | InNamespaces | Writes]:
        """What it must be able to do now."""
        if self.holding is not None:
            yield from (self.holding.read, self.holding.write)
        if not self.standby:
            yield from (self.jobs, self.status)


def probes(health: Health) -> web.Application:
    """Return the application that answers the kubelet."""

    async def healthz(_: web.Request) -> web.Response:
        return _answer(health.alive())

    async def readyz(_: web.Request) -> web.Response:
        return _answer(health.ready() or health.alive(), health.partly())

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz)])
    return app


def metrics_page(metrics: Metrics) -> web.Application:
    """Return the application that answers Prometheus."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/metrics", page)])
    return app


@asynccontextmanager
async def served(settings: Settings, health: Health, metrics: Metrics) -> AsyncIterator[None]:
    """Serve probes and metrics while the block runs."""
    runners = []
    try:
        for app, port in ((probes(health), settings.probe_port), (metrics_page(metrics), settings.metrics_port)):
            runner = web.AppRunner(app, access_log=None)
            runners.append(runner)
            await runner.setup()
            await web.TCPSite(runner, settings.host, port).start()
        yield
    finally:
        for runner in runners:
            await runner.cleanup()


def _answer(problem: str | None, partly: str = "") -> web.Response:
    fine = f"ok, but {partly}" if partly else "ok"
    return web.Response(text=problem or fine, status=500 if problem else 200)
