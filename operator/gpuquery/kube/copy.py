"""A copy of the objects of a resource, each trimmed to what is needed: kept by a paged LIST and a WATCH from there on.

What it takes of memory does not depend on what is written into the objects: no more than a page of whole ones is ever
held. After a WATCH that broke it goes on from the version that it saw last. Where that is too old it lists anew, and
then tells deletions that it missed too.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from gpuquery.kube.client import ApiError, KubeClient, Manifest, Resource, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuquery.kube.ability import Ability

log = logging.getLogger(__name__)

Key = tuple[str, str]
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
GONE = 410


class Versioned(Protocol):
    """What an object is trimmed to."""

    @property
    def version(self) -> str:
        """Its resourceVersion."""


T = TypeVar("T", bound=Versioned)


class Copy(Generic[T]):
    """The objects of a resource in one namespace, or in all (None).

    `tell` is called with each change: the key, the trimmed object or None where it is gone, and whether a LIST told it.
    """

    def __init__(
        self,
        client: KubeClient,
        resource: Resource,
        namespace: str | None,
        *,
        trim: Callable[[Manifest], T],
        tell: Callable[[Key, T | None, bool], None],
        ability: Ability,
    ) -> None:
        self._client = client
        self._resource = resource
        self._namespace = namespace
        self._trim = trim
        self._tell = tell
        self._ability = ability
        self.items: dict[Key, T] = {}
        self.listed = asyncio.Event()
        self._seen = ""
        """Version from which a watch can go on; empty: none."""
        self._failures = 0

    async def keep(self) -> None:
        """Keep the copy, until cancelled."""
        while True:
            try:
                if not self._seen:
                    await self._list()
                await self._watch()
            except ApiError as error:
                # The version may be too old, which is no failure; and where it is something else, a LIST does no harm.
                self._seen = ""
                if error.status != GONE:
                    self._failed(error, error.status)
            except UnreachableError as error:
                self._failed(error, 0)
            pause = min(FIRST_PAUSE * 2.0 ** min(self._failures, 10), LONGEST_PAUSE)
            await asyncio.sleep(pause * random.uniform(0.75, 1.0))  # noqa: S311 (jitter)

    def _failed(self, error: Exception, status: int) -> None:
        self._failures += 1
        self._ability.failed(status, str(error))
        log.warning("cannot %s: %s", self._ability.what, error)

    async def _list(self) -> None:
        """List all objects; nothing is watched meanwhile, so what is not listed any more is gone."""
        missing, version = set(self.items), ""
        async for page, at in self._client.pages(self._resource, self._namespace, self._keyed):
            version = at
            for key, item in page:
                missing.discard(key)
                self._note(key, item, listed=True)
        for key in missing:
            del self.items[key]
            self._tell(key, None, True)
        self._seen = version
        self.listed.set()

    async def _watch(self) -> None:
        """Follow what happens since the version that was seen last, until the server ends the watch."""
        changes = self._client.watch(
            self._resource, self._namespace, self._seen, self._keyed, opened=self._ability.succeeded
        )
        async for word, (key, item) in changes:
            self._seen = item.version
            self._failures = 0
            if word == "DELETED":
                self.items.pop(key, None)
                self._tell(key, None, False)
            elif word != "BOOKMARK":
                self._note(key, item, listed=False)
        self._failures = 0

    def _keyed(self, manifest: Manifest) -> tuple[Key, T]:
        metadata: dict[str, Any] = manifest["metadata"]
        return (metadata.get("namespace", ""), metadata.get("name", "")), self._trim(manifest)

    def _note(self, key: Key, item: T, *, listed: bool) -> None:
        known = self.items.get(key)
        if known is None or known.version != item.version:
            self.items[key] = item
            self._tell(key, item, listed)
