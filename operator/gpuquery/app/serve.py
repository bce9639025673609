"""Probes and metrics over HTTP.

Alive means that work gets done: the workers run, nothing waits for minutes, and the watch tells what a LIST tells. An
API server that is away is not the operator's fault and does not make it unhealthy. Ready means leading, or standing by.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from gpuquery.app.settings import Settings
from gpuquery.app.watch import Sightings
from gpuquery.reconcile.metrics import Metrics
from gpuquery.reconcile.queue import WorkQueue
from gpuquery.reconcile.reconciler import Key

STUCK_SECONDS = 300.0


@dataclass
class Health:
    """What the probes look at."""

    queue: WorkQueue[Key]
    sightings: Sightings = field(default_factory=Sightings)
    standby: bool = True
    watching: bool = False
    workers_ended: bool = False

    def alive(self) -> str | None:
        """Return what is wrong; None if the process should live on."""
        if self.workers_ended:
            return "a worker has ended"
        if self.queue.oldest > STUCK_SECONDS:
            return f"a job has been waiting for {self.queue.oldest:.0f} s"
        if self.sightings.stale:
            return "the watch does not tell what a list tells"
        return None

    def ready(self) -> str | None:
        """Return what is missing; None if it leads, or stands by."""
        return None if self.standby or self.watching else "the watch has not begun"


def probes(health: Health) -> web.Application:
    """Return the application that answers the kubelet."""

    async def healthz(_: web.Request) -> web.Response:
        return _answer(health.alive())

    async def readyz(_: web.Request) -> web.Response:
        return _answer(health.ready() or health.alive())

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


def _answer(problem: str | None) -> web.Response:
    return web.Response(text=problem or "ok", status=500 if problem else 200)
