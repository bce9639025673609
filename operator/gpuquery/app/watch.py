"""Watch: what has changed, so that somebody looks; nothing else is asked of it.

Copies of our own tell of jobs, batch Jobs, pods and DaskClusters (kube/copy.py, observe/children.py), and trim them
while they are read: how large they are, their authors decide. They only put a key into the queue. kopf has no handler,
so it keeps no state on the objects, sets no finalizer and never retries: the queue does. All jobs that have not ended
are looked at every now and then anyway.
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

import aiohttp
import kopf

from gpuquery.kube.client import (
    METADATA_LIST,
    ApiError,
    KubeClient,
    Manifest,
    Resource,
    UnreachableError,
)
from gpuquery.reconcile.reconciler import Key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from kubernetes.aio.client import Configuration

    from gpuquery.reconcile.census import Census
    from gpuquery.reconcile.metrics import Metrics
    from gpuquery.reconcile.observe.head import Head
    from gpuquery.reconcile.queue import WorkQueue

log = logging.getLogger(__name__)

DEBOUNCE_SECONDS = 0.05
"""A pod that starts tells about it several times at once; a look at each would see the same."""


@dataclass
class Sightings:
    """Whether the watch still tells what a LIST tells."""

    seen: dict[Key, str] = field(default_factory=dict)
    suspects: dict[Key, str] = field(default_factory=dict)
    stale: bool = False

    def saw(self, key: Key, version: str | None) -> None:
        """Note an event: the version of an object, or None where it is gone."""
        if version is None:
            self.seen.pop(key, None)
        else:
            self.seen[key] = version

    def compare(self, listed: Mapping[Key, str], before: Mapping[Key, str]) -> set[Key]:
        """Compare with a LIST: a version that stood in two LISTs and never came as an event means a dead watch.

        `before` is what had been seen when the LIST began. Only of that can be said that it is gone, and only where
        nothing came of it since: what was made meanwhile is in no LIST. Returns the keys that are gone.
        """
        missed = {key: version for key, version in listed.items() if self.seen.get(key) != version}
        self.stale = any(self.suspects.get(key) == version for key, version in missed.items())
        self.suspects = missed
        gone = {key for key, version in before.items() if key not in listed and self.seen.get(key) == version}
        for key in gone:
            del self.seen[key]
        return gone


@dataclass(frozen=True)
class Jobs:
    """What becomes of a change of a job: it is noted, and somebody looks at it, unless it has ended long ago."""

    queue: WorkQueue[Key]
    metrics: Metrics
    sightings: Sightings
    census: Census
    looked_at: Callable[[Key, str], bool] = lambda *_: False
    """Whether a look has seen a version of a job, or written it."""

    def tell(self, key: Key, head: Head | None, listed: bool) -> None:
        """Take a change of the copy.

        A watch tells only metadata: that a job is new, but not how it stands, which is for the look to find out.
        """
        new = key not in self.sightings.seen
        self.sightings.saw(key, None if head is None else head.version)
        if head is None:
            self.census.gone(key)
        elif listed or new:
            self.census.saw(key, head.sight)
        if head is not None and not listed and not new and self.looked_at(key, head.version):
            return  # most changes of a job are the operator's own
        if head is None or not listed or not head.ended:
            self.census.changed(key)
            self.queue.add(key)
            return
        self.metrics.noted(key, head.state, head.engine)
        if head.expires is not None:
            self.queue.add_after(key, (head.expires - datetime.now(tz=UTC)).total_seconds())


def registry(configuration: Configuration) -> kopf.OperatorRegistry:
    """Return kopf's handlers: that of its login."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    async def login(**_: Any) -> kopf.AiohttpSession:
        return await connection(configuration)

    return handlers


async def connection(configuration: Configuration) -> kopf.AiohttpSession:
    """Hand a session to kopf that talks to the same server as the same user."""
    token = await configuration.get_api_key_with_prefix("BearerToken")
    known = kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        token=token.split(" ", 1)[-1].strip() if token else None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
    )
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=known.as_ssl_context()),
        headers=known.as_http_headers(),
    )
    return kopf.AiohttpSession(server=configuration.host, aiohttp_session=session)


class Pauses:
    """The pauses between kopf's tries of a request that fails or is refused. They never end: after the last one kopf
    gives up, and the operator would end though the API server may come back.
    """

    def __iter__(self) -> Iterator[float]:
        return chain((0.5, 1, 2, 4, 8, 16), repeat(30))


def operator_settings() -> kopf.OperatorSettings:
    """Return kopf's settings: it asks which APIs there are, once, and then watches nothing."""
    settings = kopf.OperatorSettings()
    # A stuck end must not outlive the pod's grace period.
    settings.process.ultimate_exiting_timeout = 25
    settings.posting.enabled = False
    settings.peering.standalone = True
    # No list and watch of CRDs and namespaces, and no right to it.
    settings.scanning.disabled = True
    settings.networking.request_timeout, settings.networking.connect_timeout = 30, 5
    settings.networking.error_backoffs = Pauses()
    return settings


def _version(manifest: Manifest) -> tuple[Key, str]:
    metadata = manifest["metadata"]
    return (metadata["namespace"], metadata["name"]), metadata["resourceVersion"]


async def resync(client: KubeClient, jobs: Jobs, *, namespaces: tuple[str, ...], seconds: float) -> None:
    """Look at all jobs that have not ended, now and then, and compare with what the watch told; until cancelled.

    A namespace that refuses its LIST is left out, and the others are not.
    """
    while True:
        await asyncio.sleep(seconds * random.uniform(0.8, 1.2))  # noqa: S311 (jitter)
        before, listed, answered = dict(jobs.sightings.seen), dict[Key, str](), set[str | None]()
        for namespace in namespaces or (None,):
            try:
                listed |= await client.digested(Resource.JOBS, namespace, _version, accept=METADATA_LIST)
                answered.add(namespace)
            except (ApiError, UnreachableError) as error:
                log.warning("jobs of %s could not be listed: %s", namespace or "all namespaces", error)
        if not answered:
            continue
        # Of a namespace that refused its LIST nothing is gone for all that is known.
        before = {key: version for key, version in before.items() if None in answered or key[0] in answered}
        for key in jobs.sightings.compare(listed, before):
            jobs.metrics.gone(key)
            jobs.census.gone(key)
        for key in listed:
            if jobs.metrics.over(key):
                continue
            if key in jobs.sightings.suspects:
                jobs.queue.add(key)
            else:
                # One that is looked at earlier anyway needs no look of its own.
                jobs.queue.add_after(key, seconds)
