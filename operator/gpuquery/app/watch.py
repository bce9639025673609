"""Watch: kopf tells that something changed; nothing else is asked of it.

Only raw events are handled, and they only put a key into the queue. So kopf keeps no state on the objects, sets no
finalizer and never retries: the queue does. After a broken watch kopf lists anew but tells no deletion that it missed,
which is why all jobs are looked at every now and then anyway.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

import kopf
from kubernetes.aio.client import Configuration

from gpuquery.api.conditions import State
from gpuquery.api.labels import (
    DASK_GROUP,
    DASK_PLURAL,
    DASK_VERSION,
    GROUP,
    LABEL_JOB,
    LABEL_JOB_UID,
    PLURAL,
    VERSION,
)
from gpuquery.kube.client import KubeClient, Resource
from gpuquery.reconcile.metrics import Metrics
from gpuquery.reconcile.queue import WorkQueue
from gpuquery.reconcile.reconciler import Key

DEBOUNCE_SECONDS = 0.05
"""A pod that starts tells about it several times at once; a look at each would see the same."""


@dataclass
class Sightings:
    """Whether the watch still tells what a LIST tells."""

    seen: dict[Key, str] = field(default_factory=dict)
    suspects: dict[Key, str] = field(default_factory=dict)
    stale: bool = False

    def saw(self, key: Key, version: str, *, deleted: bool) -> None:
        """Note an event."""
        if deleted:
            self.seen.pop(key, None)
        else:
            self.seen[key] = version

    def compare(self, listed: dict[Key, str]) -> None:
        """Compare with a LIST: a version that stood in two LISTs and never came as an event means a dead watch."""
        missed = {key: version for key, version in listed.items() if self.seen.get(key) != version}
        self.stale = any(self.suspects.get(key) == version for key, version in missed.items())
        self.suspects = missed
        for key in self.seen.keys() - listed.keys():
            del self.seen[key]


def registry(
    queue: WorkQueue[Key], sightings: Sightings, configuration: Configuration, *, dask: bool = False
) -> kopf.OperatorRegistry:
    """Return kopf's handlers: a key into the queue for every event. `dask`: DaskClusters are watched too."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return await connection(configuration)

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=handlers)
    async def on_job(event: Any, namespace: str | None, name: str | None, **_: Any) -> None:
        key = (namespace or "", name or "")
        version = event["object"]["metadata"].get("resourceVersion", "")
        sightings.saw(key, version, deleted=event["type"] == "DELETED")
        queue.add(key)

    @kopf.on.event("v1", "pods", labels={LABEL_JOB_UID: kopf.PRESENT}, registry=handlers)
    @kopf.on.event("batch", "v1", "jobs", labels={LABEL_JOB_UID: kopf.PRESENT}, registry=handlers)
    async def on_child(namespace: str | None, labels: Any, **_: Any) -> None:
        if job := labels.get(LABEL_JOB):
            queue.add_after((namespace or "", job), DEBOUNCE_SECONDS)

    if dask:
        # Their pods tell the rest; one that a deleted job left behind while no operator ran shows in no other way.
        kopf.on.event(DASK_GROUP, DASK_VERSION, DASK_PLURAL, labels={LABEL_JOB_UID: kopf.PRESENT}, registry=handlers)(
            on_child
        )
    return handlers


async def connection(configuration: Configuration) -> kopf.ConnectionInfo:
    """Hand the connection of the official client to kopf, so that both talk to the same server as the same user."""
    token = await configuration.get_api_key_with_prefix("BearerToken")
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        token=token.split(" ", 1)[-1].strip() if token else None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
    )


class NothingStored(kopf.DiffBaseStorage):
    """No differences, since no handler asks for any: kopf would copy every object twice to find them."""

    def build(self, **_: Any) -> Any:
        """Return an empty essence."""
        return {}

    def fetch(self, **_: Any) -> None:
        """Find nothing of before."""

    def store(self, **_: Any) -> None:
        """Keep nothing."""


def operator_settings() -> kopf.OperatorSettings:
    """Return kopf's settings: a quiet watcher with bounded waits."""
    settings = kopf.OperatorSettings()
    # Never a finalizer that another kopf operator uses: the two would take turns in adding and removing it.
    settings.persistence.finalizer = f"{GROUP}/unused-by-kopf"
    settings.persistence.diffbase_storage = NothingStored()
    # A stuck end must not outlive the pod's grace period.
    settings.process.ultimate_exiting_timeout = 25
    settings.posting.enabled = False
    settings.peering.standalone = True
    # No list and watch of CRDs and namespaces, and no right to it.
    settings.scanning.disabled = True
    settings.watching.label_selectors["v1/pods"] = LABEL_JOB_UID
    settings.watching.label_selectors["batch", "v1", "jobs"] = LABEL_JOB_UID
    settings.watching.label_selectors[DASK_GROUP, DASK_VERSION, DASK_PLURAL] = LABEL_JOB_UID
    # Whole numbers: a fraction would be refused as timeoutSeconds.
    settings.watching.server_timeout, settings.watching.client_timeout = 300, 330
    settings.watching.connect_timeout = 10
    settings.networking.request_timeout, settings.networking.connect_timeout = 30, 5
    settings.networking.error_backoffs = (0.5, 1, 2, 4, 8)
    return settings


async def resync(
    client: KubeClient, queue: WorkQueue[Key], metrics: Metrics, sightings: Sightings, *, namespaces: tuple[str, ...],
    seconds: float,
) -> None:  # fmt: skip
    """Look at all jobs that have not ended, now and then, and compare with what the watch told; until cancelled."""
    while True:
        await asyncio.sleep(seconds * random.uniform(0.8, 1.2))  # noqa: S311 (jitter)
        listed: dict[Key, str] = {}
        for namespace in namespaces or (None,):
            for job in await client.list_metadata(Resource.JOBS, namespace):
                metadata = job["metadata"]
                listed[metadata["namespace"], metadata["name"]] = metadata["resourceVersion"]
        sightings.compare(listed)
        metrics.retain(set(listed))
        for key in listed:
            if metrics.known(key) not in (State.COMPLETE, State.FAILED):
                queue.add(key)
