"""One operator at a time: a Lease, held by the official client's leader election.

The identity is the pod's name, so a restarted container has its Lease back at once. Losing the Lease ends the process:
two operators that both believe would both act.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from kubernetes.aio.client import ApiClient, V1Lease, V1ObjectMeta
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.leaderelection.electionconfig import Config
from kubernetes.aio.leaderelection.leaderelection import LeaderElection
from kubernetes.aio.leaderelection.resourcelock.leaselock import LeaseLock

from gpuquery.kube.client import KubeClient, Resource

log = logging.getLogger(__name__)

LEASE_SECONDS = 15
RENEW_SECONDS = 10
RETRY_SECONDS = 2
CALL_SECONDS = 4


class PatientLock(LeaseLock):
    """A LeaseLock for which an API server that is away is a failed try, not the end of the process.

    The official lock catches only the server's refusals, and waits five minutes for an answer.
    """

    async def get(self, name: str, namespace: str) -> Any:
        """Read the record; a failure is told as the election expects it."""
        try:
            async with asyncio.timeout(CALL_SECONDS):
                return await super().get(name, namespace)
        except (aiohttp.ClientError, TimeoutError) as error:
            return False, ApiException(status=0, reason=f"no answer: {type(error).__name__}")

    async def create(self, name: str, namespace: str, election_record: Any) -> bool:
        """Create the Lease. The official lock passes `pretty=True`, which its own client 37.0 refuses."""
        lease = V1Lease(metadata=V1ObjectMeta(name=name), spec=self.update_lease(election_record))
        return await self._tried(self._created(namespace, lease))

    async def _created(self, namespace: str, lease: V1Lease) -> bool:
        self.lease_reference = await self.api_instance.create_namespaced_lease(namespace, lease)
        return True

    async def update(self, name: str, namespace: str, updated_record: Any) -> bool:
        """Renew the Lease."""
        return await self._tried(super().update(name, namespace, updated_record))

    async def _tried(self, call: Awaitable[bool]) -> bool:
        try:
            async with asyncio.timeout(CALL_SECONDS):
                return await call
        except (aiohttp.ClientError, TimeoutError, ApiException) as error:
            log.warning("lease %s: %s", self.name, type(error).__name__)
            return False


async def lead(
    api: ApiClient, *, name: str, namespace: str, identity: str, work: Callable[[], Awaitable[None]]
) -> bool:
    """Wait for the Lease, then do the work; True once the work has ended, False if the Lease was lost."""
    started: asyncio.Future[asyncio.Task[None]] = asyncio.get_running_loop().create_future()

    async def leading() -> None:
        # The election cancels this task when the Lease is lost, and forgets it when it is cancelled itself.
        task = asyncio.create_task(_as_task(work))
        started.set_result(task)
        await asyncio.wait({task})

    async def lost() -> None:
        log.error("lease %s/%s is lost: another operator may have taken over", namespace, name)

    lock = PatientLock(name, namespace, identity, api)
    election = LeaderElection(
        Config(
            lock,
            lease_duration=LEASE_SECONDS,
            renew_deadline=RENEW_SECONDS,
            retry_period=RETRY_SECONDS,
            onstarted_leading=leading,
            onstopped_leading=lost,
        )
    )
    log.info("waiting for lease %s/%s as %s", namespace, name, identity)
    running = asyncio.create_task(election.run())
    try:
        either: set[asyncio.Future[Any]] = {running, started}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not started.done():
            running.result()
            return False
        await asyncio.wait({running, started.result()}, return_when=asyncio.FIRST_COMPLETED)
        if not started.result().done():
            return False
        started.result().result()
        return True
    finally:
        tasks = [running, *([started.result()] if started.done() else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _as_task(work: Callable[[], Awaitable[None]]) -> None:
    await work()


async def release(client: KubeClient, *, name: str, namespace: str) -> None:
    """Give the Lease back on a clean end, so that the next operator need not wait for its expiry."""
    try:
        await client.merge(Resource.LEASES, namespace, name, {"spec": {"holderIdentity": None}})
    except Exception as error:
        log.warning("lease %s/%s could not be given back: %s", namespace, name, error)
