"""The operator's life: connect, serve probes, wait for the Lease, watch and work, and end cleanly on SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

import aiohttp
import kopf
from kubernetes.aio.client import ApiClient, Configuration
from pydantic import ValidationError

from gpuquery.api.labels import GROUP, PLURAL
from gpuquery.app.serve import Health, served
from gpuquery.app.settings import PREFIX, Settings
from gpuquery.app.watch import operator_settings, registry, resync
from gpuquery.kube.client import ApiError, KubeClient, Resource, UnreachableError
from gpuquery.kube.connect import api_client, configuration
from gpuquery.kube.lease import lead, release
from gpuquery.kube.progress import ProgressReader
from gpuquery.reconcile.metrics import Metrics
from gpuquery.reconcile.queue import WorkQueue
from gpuquery.reconcile.reconciler import Key, Reconciler, work

CRD_SECONDS = 2

log = logging.getLogger(__name__)


def run(namespaces: list[str] | None = None, *, settings: Settings | None = None) -> int:
    """Run the operator until SIGTERM or SIGINT; returns the exit code of the process.

    `namespaces` replaces GPUQUERY_NAMESPACES; everything else comes from `settings` or, without it, the environment.
    Exit codes: 0 ended when asked to, 1 failed or lost its Lease, 2 the settings are wrong.
    """
    try:
        chosen = settings or Settings.from_environment()
    except ValidationError as error:
        for problem in error.errors():
            name = PREFIX + str(problem["loc"][0] if problem["loc"] else "").upper()
            print(f"{name}: {problem['msg']} (it is {problem['input']!r})", file=sys.stderr)
        return 2
    if namespaces is not None:
        chosen = chosen.model_copy(update={"namespaces": tuple(namespaces)})
    _logging(chosen)
    return asyncio.run(main(chosen))


async def main(settings: Settings) -> int:
    """Run the operator in this event loop; returns the exit code."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    connection = await configuration(settings.context)
    api = api_client(connection)
    client = KubeClient(api)
    operator = Operator(settings, connection, client)
    try:
        async with served(settings, operator.health, operator.metrics):
            work = asyncio.create_task(_led(settings, api, operator, stop))
            stopped = asyncio.create_task(stop.wait())
            await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done() and operator.health.standby:
                # Asked to end while another operator leads: there is nothing to finish.
                work.cancel()
            stopped.cancel()
            await asyncio.gather(work, return_exceptions=True)
            return 0 if work.cancelled() else work.result()
    finally:
        await client.close()


async def _led(settings: Settings, api: ApiClient, operator: Operator, stop: asyncio.Event) -> int:
    """Do the work while no other operator does."""
    if not settings.leader_election:
        await operator.operate(stop)
        return 0
    name, namespace = settings.lease_name, settings.lease_namespace
    kept = await lead(
        api, name=name, namespace=namespace, identity=settings.identity, work=lambda: operator.operate(stop)
    )
    if not kept:
        return 1
    await release(operator.client, name=name, namespace=namespace)
    return 0


class Operator:
    """The part that leads: watch, queue and workers."""

    def __init__(self, settings: Settings, connection: Configuration, client: KubeClient) -> None:
        self.settings = settings
        self.connection = connection
        self.client = client
        self.queue: WorkQueue[Key] = WorkQueue()
        self.metrics = Metrics(client, self.queue)
        self.health = Health(self.queue)

    async def operate(self, stop: asyncio.Event) -> None:
        """Watch and work until asked to stop; raises if any part of it ends by itself."""
        settings, health = self.settings, self.health
        health.standby = False
        log.info("leading; watching %s", ", ".join(settings.namespaces) or "all namespaces")
        async with aiohttp.ClientSession() as session:
            reconciler = Reconciler(
                client=self.client,
                reader=ProgressReader(session),
                defaults=settings.defaults,
                metrics=self.metrics,
                instance=settings.identity,
            )
            # Before kopf starts: on its end it cancels every task that is younger than itself.
            tasks = {asyncio.create_task(work(self.queue, reconciler)) for _ in range(settings.workers)}
            tasks.add(asyncio.create_task(self._resync()))
            watch = asyncio.create_task(self._watch(stop))
            try:
                done, _ = await asyncio.wait({*tasks, watch}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                health.workers_ended = any(task.done() for task in tasks)
                stop.set()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, watch, return_exceptions=True)
            for task in done:
                task.result()

    async def _resync(self) -> None:
        settings = self.settings
        while True:
            try:
                await resync(
                    self.client, self.queue, self.metrics, self.health.sightings,
                    namespaces=settings.namespaces, seconds=settings.resync_seconds,
                )  # fmt: skip
            except (ApiError, UnreachableError) as error:
                log.warning("jobs could not be listed: %s", error)

    async def _crd(self) -> None:
        """Wait for the CRD: kopf looks for it once, and would then watch nothing for ever."""
        namespace = next(iter(self.settings.namespaces), None)
        while True:
            try:
                await self.client.list_metadata(Resource.JOBS, namespace)
            except ApiError as error:
                if error.status != 404:
                    raise
                log.warning("the CustomResourceDefinition %s.%s is missing; waiting for it", PLURAL, GROUP)
                await asyncio.sleep(CRD_SECONDS)
            else:
                return

    async def _watch(self, stop: asyncio.Event) -> None:
        settings = self.settings
        await self._crd()
        ready = asyncio.Event()

        async def begun() -> None:
            await ready.wait()
            self.health.watching = True

        waiting = asyncio.create_task(begun())
        try:
            await kopf.operator(
                registry=registry(self.queue, self.health.sightings, self.connection, dask=settings.dask_operator),
                settings=operator_settings(),
                clusterwide=not settings.namespaces,
                namespaces=settings.namespaces,
                standalone=True,
                stop_flag=stop,
                ready_flag=ready,
            )
        finally:
            waiting.cancel()


def _logging(settings: Settings) -> None:
    formats = {"plain": kopf.LogFormat.FULL, "json": kopf.LogFormat.JSON}
    kopf.configure(
        verbose=settings.log_level == "debug",
        quiet=settings.log_level == "warning",
        log_format=formats[settings.log_format],
    )
    if settings.log_level != "debug":
        # kopf tells of every event and every connection; what matters of it are warnings.
        logging.getLogger("kopf").setLevel(logging.WARNING)
