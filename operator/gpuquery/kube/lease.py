"""One operator at a time: a Lease, held by the official client's leader election.

The identity is the pod's name, so a restarted container gets its Lease back at once. Losing the Lease ends the process,
because two operators that both believe they lead would both act. Every try is recorded in two abilities, so that an
operator that may not read or write its Lease is not mistaken for one on standby.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
from kubernetes.aio.client import ApiClient, V1Lease, V1ObjectMeta
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.leaderelection.electionconfig import Config
from kubernetes.aio.leaderelection.leaderelection import LeaderElection
from kubernetes.aio.leaderelection.resourcelock.leaselock import LeaseLock

from gpuquery.kube.ability import Ability
from gpuquery.kube.client import KubeClient, Resource

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

LEASE_SECONDS = 15
RENEW_SECONDS = 10
RETRY_SECONDS = 2
CALL_SECONDS = 4


@dataclass(frozen=True)
class Holding:
    """Whether the operator can read its Lease, and write it."""

    read: Ability
    write: Ability

    @classmethod
    def of(cls, name: str, namespace: str) -> Holding:
        """Return both abilities of a Lease. An operator on standby has had no reason to write it."""
        what = f"the Lease {namespace}/{name}"
        return cls(Ability(f"read {what}"), Ability(f"write {what}", needed=False))


class PatientLock(LeaseLock):
    """A LeaseLock for which an API server that is down means a failed try, not the end of the process.

    The official lock catches only refusals, and waits five minutes for an answer.
    """

    def __init__(self, name: str, namespace: str, identity: str, api: ApiClient, holding: Holding) -> None:
        super().__init__(name, namespace, identity, api)
        self._holding = holding

    async def get(self, name: str, namespace: str) -> Any:
        """Read the record; a failure is returned in the form that the election expects."""
        record: Any
        try:
            async with asyncio.timeout(CALL_SECONDS):
                found, record = await super().get(name, namespace)
        except (aiohttp.ClientError, TimeoutError) as error:
            found, record = False, ApiException(status=0, reason=f"no answer: {type(error).__name__}")
        if found or record.status == 404:
            self._holding.read.succeeded()
        else:
            self._holding.read.failed(record.status or 0, _in_one_line(record))
        return found, record

    async def create(self, name: str, namespace: str, election_record: Any) -> bool:
        """Create the Lease. The official lock passes `pretty=True`, which its own client 37.0 refuses."""
        lease = V1Lease(metadata=V1ObjectMeta(name=name), spec=self.update_lease(election_record))
        return await self._tried(self._created(namespace, lease))

    async def _created(self, namespace: str, lease: V1Lease) -> bool:
        self.lease_reference = await self.api_instance.create_namespaced_lease(namespace, lease)
        return True

    async def update(self, name: str, namespace: str, updated_record: Any) -> bool:
        """Renew the Lease. The official lock logs a traceback for every refusal, and does not say which it was."""
        return await self._tried(self._updated(name, namespace, updated_record))

    async def _updated(self, name: str, namespace: str, updated_record: Any) -> bool:
        assert self.lease_reference is not None
        self.lease_reference.spec = self.update_lease(updated_record, self.lease_reference.spec)
        await self.api_instance.replace_namespaced_lease(name=name, namespace=namespace, body=self.lease_reference)
        return True

    async def _tried(self, call: Awaitable[bool]) -> bool:
        try:
            async with asyncio.timeout(CALL_SECONDS):
                done = await call
        except (aiohttp.ClientError, TimeoutError, ApiException) as error:
            status, why = getattr(error, "status", None) or 0, _in_one_line(error)
            if status == 409:
                self._holding.write.succeeded()  # another operator was faster
            else:
                self._holding.write.failed(status, why)
            log.warning("lease %s: %s", self.name, why)
            return False
        self._holding.write.succeeded()
        return done


def _in_one_line(error: Exception) -> str:
    """Describe an error in one line: the official client's own text includes all headers."""
    if isinstance(error, ApiException):
        return f"{error.status} {error.reason}" if error.status else str(error.reason)
    return f"no answer: {type(error).__name__}"


async def lead(lock: PatientLock, work: Callable[[], Awaitable[None]]) -> bool:
    """Wait for the Lease, then do the work; True once the work has ended, False if the Lease was lost."""
    name, namespace = lock.name, lock.namespace
    started: asyncio.Future[asyncio.Task[None]] = asyncio.get_running_loop().create_future()

    async def leading() -> None:
        # The election cancels this task when the Lease is lost, and forgets it when it is cancelled itself.
        task = asyncio.create_task(_as_task(work))
        started.set_result(task)
        await asyncio.wait({task})

    async def lost() -> None:
        log.error("lease %s/%s is lost: another operator may have taken over", namespace, name)

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
    log.info("waiting for lease %s/%s as %s", namespace, name, lock.identity)
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
    """Give the Lease back on a clean exit, so that the next operator does not have to wait until it expires."""
    try:
        await client.merge(Resource.LEASES, namespace, name, {"spec": {"holderIdentity": None}})
    except Exception as error:
        log.warning("lease %s/%s could not be given back: %s", namespace, name, error)
