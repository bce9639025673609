"""An informer: the objects of a resource, each trimmed to what is needed, kept current by a paged LIST and a WATCH.

Its memory does not depend on how large the objects are: it never holds more than a page of whole ones. When a WATCH
breaks, it resumes from the last version it saw. If that is too old, it lists again, and tells missed deletions too.

Versions are compared as numbers, as KEP-5504 (Kubernetes 1.35) allows; earlier servers count the same way.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from gpuquery.kube.client import ApiError, KubeClient, Manifest, Scope, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuquery.kube.ability import Ability

log = logging.getLogger(__name__)

Key = tuple[str, str]
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
GONE = 410


def numbered(version: str) -> int:
    """Return a resourceVersion as a number; 0 if it is none."""
    return int(version) if version.isdigit() else 0


class Versioned(Protocol):
    """A trimmed object."""

    @property
    def version(self) -> str:
        """Its resourceVersion."""


T = TypeVar("T", bound=Versioned)


class RestoredError(Exception):
    """The API server tells an earlier version than before: its etcd was restored from a backup."""


class Copy(Generic[T]):
    """The objects of a scope.

    `tell` is called with each change: the key, the trimmed object or None if it is gone, and whether a LIST told it.
    Unless the scope asks for whole objects, a WATCH yields their metadata alone.
    """

    def __init__(
        self,
        client: KubeClient,
        scope: Scope,
        *,
        trim: Callable[[Manifest], T],
        tell: Callable[[Key, T | None, bool], None],
        ability: Ability,
    ) -> None:
        self._client = client
        self._scope = scope
        self._trim = trim
        self._tell = tell
        self._ability = ability
        self._behind_since: float | None = time.monotonic()
        """Since when no watch has been open; None: one is."""
        self.items: dict[Key, T] = {}
        self.listed = asyncio.Event()
        self._seen = ""
        """Version from which a watch can go on; empty: none."""
        self._latest = 0
        """The latest version that was ever seen, as a number."""
        self._failures = 0

    @property
    def behind(self) -> float:
        """Return for how many seconds no watch has been open; 0 while one is."""
        return 0.0 if self._behind_since is None else max(time.monotonic() - self._behind_since, 1e-9)

    @property
    def failing(self) -> bool:
        """Whether the last LIST or WATCH failed."""
        return self._failures > 0

    @property
    def version(self) -> int:
        """The version up to which changes are known; 0 before the first LIST."""
        return numbered(self._seen)

    async def keep(self) -> None:
        """Keep the copy, until cancelled; raises RestoredError, for then nothing that is remembered holds."""
        self._behind_since = time.monotonic()
        while True:
            try:
                if not self._seen:
                    await self._list()
                elif self._failures:
                    # A watch from a version that is still to come is opened, and silent.
                    self._compare(await self._client.version_of(self._scope), self.version)
                try:
                    await self._watch()
                finally:
                    if self._behind_since is None:
                        self._behind_since = time.monotonic()
            except ApiError as error:
                # The version may be too old, which is no failure. In all other cases a LIST does no harm.
                self._latest, self._seen = max(self._latest, self.version), ""
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

    def _compare(self, version: str, latest: int) -> None:
        if numbered(version) < latest:
            raise RestoredError(f"{self._scope.resource.value[1]} were at version {latest} and are at {version}")

    async def _list(self) -> None:
        """List all objects; no watch is open meanwhile, so an object that is no longer listed is gone."""
        missing, version = set(self.items), ""
        scope, query = self._scope, {"labelSelector": self._scope.labels}
        async for page, at in self._client.pages(scope.resource, scope.namespace, self._keyed, query=query):
            version = at
            self._compare(version, self._latest)
            for key, item in page:
                missing.discard(key)
                self._note(key, item, listed=True)
        for key in missing:
            del self.items[key]
            self._tell(key, None, True)
        self._seen = version
        self.listed.set()

    async def _watch(self) -> None:
        """Follow changes since the last version seen, until the server ends the watch."""
        changes = self._client.watch(self._scope, self._seen, self._keyed, opened=self._opened)
        async for word, (key, item) in changes:
            self._seen = item.version
            self._failures = 0
            if word == "DELETED":
                self.items.pop(key, None)
                self._tell(key, None, False)
            elif word != "BOOKMARK":
                self._note(key, item, listed=False)
        self._failures = 0

    def _opened(self) -> None:
        self._ability.succeeded()
        self._behind_since = None

    def _keyed(self, manifest: Manifest) -> tuple[Key, T]:
        metadata: dict[str, Any] = manifest["metadata"]
        return (metadata.get("namespace", ""), metadata.get("name", "")), self._trim(manifest)

    def _note(self, key: Key, item: T, *, listed: bool) -> None:
        known = self.items.get(key)
        if known is None or known.version != item.version:
            self.items[key] = item
            self._tell(key, item, listed)
