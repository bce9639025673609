"""The operator's life: connect, serve probes, wait for the Lease, watch and work, and end cleanly on SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from typing import TYPE_CHECKING

import aiohttp
import kopf
from pydantic import ValidationError

from gpuquery.app.ending import end
from gpuquery.app.serve import Health, served
from gpuquery.app.settings import PREFIX, Settings
from gpuquery.app.visible import visible
from gpuquery.app.watch import DEBOUNCE_SECONDS, Jobs, operator_settings, registry, resync
from gpuquery.kube.ability import Ability, InNamespaces
from gpuquery.kube.client import KubeClient, Resource, Scope
from gpuquery.kube.connect import api_client, configuration
from gpuquery.kube.copy import Copy
from gpuquery.kube.lease import Holding, PatientLock, lead, release
from gpuquery.reconcile.census import Census
from gpuquery.reconcile.metrics import Metrics
from gpuquery.reconcile.observe.children import Children
from gpuquery.reconcile.observe.head import Head, head
from gpuquery.reconcile.observe.memory import Memory
from gpuquery.reconcile.progress import ProgressReader
from gpuquery.reconcile.queue import WorkQueue
from gpuquery.reconcile.reconciler import Key, Reconciler, most_of_a_namespace, namespace_of, work

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kubernetes.aio.client import ApiClient, Configuration

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
    _heed_signals(stop)
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
    holding = operator.health.holding = Holding.of(name, namespace)
    lock = PatientLock(name, namespace, settings.identity, api, holding)
    if not await lead(lock, lambda: operator.operate(stop)):
        return 1
    await release(operator.client, name=name, namespace=namespace)
    return 0


class Operator:
    """The part that leads: watch, queue and workers."""

    def __init__(self, settings: Settings, connection: Configuration, client: KubeClient) -> None:
        self.settings = settings
        self.connection = connection
        self.client = client
        self.queue: WorkQueue[Key] = WorkQueue(namespace_of, most=most_of_a_namespace(settings.workers))
        abilities = {namespace: Ability(_listing(namespace)) for namespace in settings.namespaces or (None,)}
        self.metrics = Metrics(client, self.queue, abilities)
        self.census = Census(settings.limits, self.queue.add)
        children = Children(client, abilities, lambda key: self.queue.add_after(key, DEBOUNCE_SECONDS))
        self.memory = client.heed = Memory(children)
        self.health = Health(self.queue, jobs=InNamespaces(abilities))

    async def operate(self, stop: asyncio.Event) -> None:
        """Watch and work until asked to stop; raises if any part of it ends by itself."""
        settings, health = self.settings, self.health
        health.standby = False
        log.info("leading; watching %s", ", ".join(settings.namespaces) or "all namespaces")
        async with aiohttp.ClientSession() as session:
            reader = ProgressReader(session, self.queue.add)
            self.memory.children.answers = reader.latest
            reconciler = Reconciler(
                client=self.client,
                reader=reader,
                defaults=settings.defaults,
                metrics=self.metrics,
                status=health.status,
                instance=settings.identity,
                census=self.census,
                memory=self.memory,
            )
            jobs = Jobs(self.queue, self.metrics, health.sightings, self.census, self.memory.jobs.has)
            copies = {namespace: self._copy(namespace, jobs) for namespace in health.jobs.places}
            self.memory.jobs.copies = copies
            # Before kopf starts: on its end it waits five seconds for every task that is younger than itself, and then
            # cancels it. The Lease would be held for as long, and another operator kept waiting.
            tasks = {asyncio.create_task(work(self.queue, reconciler)) for _ in range(settings.workers)}
            tasks |= {asyncio.create_task(copy.keep()) for copy in copies.values()}
            tasks |= {asyncio.create_task(keeper) for keeper in self.memory.children.keepers()}
            tasks |= {asyncio.create_task(self._resync(jobs)), *reader.start()}
            watch = asyncio.create_task(self._watch(stop, copies))
            try:
                done, _ = await asyncio.wait({*tasks, watch}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                health.workers_ended = any(task.done() for task in tasks)
                stop.set()
                await end(tasks)
                await asyncio.gather(watch, return_exceptions=True)
            for task in done:
                task.result()

    def _copy(self, namespace: str | None, jobs: Jobs) -> Copy[Head]:
        ability = self.health.jobs.places[namespace]
        return Copy(
            self.client,
            Scope(Resource.JOBS, namespace),
            trim=self.memory.trimmed(head),
            tell=jobs.tell,
            ability=ability,
        )

    async def _resync(self, jobs: Jobs) -> None:
        settings = self.settings
        await resync(self.client, jobs, namespaces=settings.namespaces, seconds=settings.resync_seconds)

    async def _watch(self, stop: asyncio.Event, copies: Mapping[str | None, Copy[Head]]) -> None:
        settings = self.settings
        ready = asyncio.Event()

        async def begun() -> None:
            await ready.wait()
            # kopf has taken the signals for itself. It would stop watching at once, and then wait five seconds for
            # nobody, while the workers go on and the Lease is held.
            _heed_signals(stop)
            self.health.watching = True

        async def told(namespace: str | None, copy: Copy[Head]) -> None:
            await copy.listed.wait()
            self.census.all_told(namespace)

        waiting = [asyncio.create_task(told(namespace, copy)) for namespace, copy in copies.items()]
        waiting.append(asyncio.create_task(begun()))
        try:
            await kopf.operator(
                registry=registry(self.queue, self.connection, dask=settings.dask_operator),
                settings=operator_settings(),
                clusterwide=not settings.namespaces,
                namespaces=settings.namespaces,
                standalone=True,
                stop_flag=stop,
                ready_flag=ready,
            )
        finally:
            for task in waiting:
                task.cancel()


def _listing(namespace: str | None) -> str:
    return f"list and watch the jobs of namespace {namespace}" if namespace else "list and watch the jobs"


def _heed_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


def _logging(settings: Settings) -> None:
    formats = {"plain": kopf.LogFormat.FULL, "json": kopf.LogFormat.JSON}
    kopf.configure(
        verbose=settings.log_level == "debug",
        quiet=settings.log_level == "warning",
        log_format=formats[settings.log_format],
    )
    visible()
    if settings.log_level != "debug":
        # kopf tells of every event and every connection; what matters of it are warnings.
        logging.getLogger("kopf").setLevel(logging.WARNING)
