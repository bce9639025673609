"""Memory: what the operator knows without asking the API server, and its own writes until watches show them.

A watch yields only the version of a GpuQueryJob (app/watch.py), because its authors decide how large it is. So the job
itself is kept as the API server last returned it: in a LIST, to a look, or in answer to a write of its status. It is
read again when the watch shows a newer version. There is a bound on how much is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from gpuquery.kube.client import LARGEST_KEPT, Resource, read_json
from gpuquery.kube.copy import numbered

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gpuquery.kube.client import KubeClient, Manifest
    from gpuquery.kube.copy import Copy
    from gpuquery.reconcile.observe.children import Children
    from gpuquery.reconcile.observe.head import Head

Key = tuple[str, str]
"""Namespace and name of a job."""

MOST_BYTES = 2**25
"""Of all jobs together, as JSON: thousands of the usual size. The least recently used one is dropped first."""


class Jobs:
    """The GpuQueryJobs, as the API server last returned them."""

    def __init__(self) -> None:
        self.copies: Mapping[str | None, Copy[Head]] = {}
        """By namespace, or None for all: the versions that watches have shown."""
        self._kept: dict[Key, tuple[int, bytes]] = {}
        self._bytes = 0

    async def read(self, client: KubeClient, key: Key) -> Manifest | None:
        """Return a job, or None if there is none; from memory only if that is known to be the latest version."""
        version, raw = self._kept.get(key, (0, b""))
        if raw and 0 < self._version_shown(key) <= version:
            self._kept[key] = self._kept.pop(key)
            known: Manifest = read_json(raw)
            return known
        found = await client.get(Resource.JOBS, *key)
        if found is None:
            self.forget(key)
        else:
            self.keep(found)
        return found

    def _version_shown(self, key: Key) -> int:
        """Return the version of a job that the watch has shown; 0 if it has shown none, or may be late."""
        copy = self.copies.get(key[0]) or self.copies.get(None)
        head = copy.items.get(key) if copy is not None and not copy.behind else None
        return 0 if head is None else numbered(head.version)

    def has(self, key: Key, version: str) -> bool:
        """Whether this version of a job, or a later one, is known from a look or a write."""
        return 0 < numbered(version) <= self._kept.get(key, (0, b""))[0]

    def keep(self, manifest: Manifest) -> None:
        """Keep a job, unless it is large, or older than what is kept."""
        metadata = manifest["metadata"]
        key, version = (metadata["namespace"], metadata["name"]), numbered(metadata.get("resourceVersion", ""))
        if version < self._kept.get(key, (0, b""))[0]:
            return
        self.forget(key)
        # managedFields is as long as the fields themselves, and nothing reads it.
        about = {name: value for name, value in metadata.items() if name != "managedFields"}
        try:
            raw = to_json({**manifest, "metadata": about})
        except ValueError:
            return  # it cannot be written, so it is asked for each time
        if version and len(raw) <= LARGEST_KEPT:
            self._kept[key] = version, raw
            self._bytes += len(raw)
        while self._bytes > MOST_BYTES:
            self.forget(next(iter(self._kept)))

    def forget(self, key: Key) -> None:
        """Read a job from the API server at the next look."""
        _, raw = self._kept.pop(key, (0, b""))
        self._bytes -= len(raw)


class Memory:
    """Everything known without asking. The client tells it about writes."""

    def __init__(self, children: Children) -> None:
        self.children = children
        self.jobs = Jobs()

    def stored(self, resource: Resource, manifest: Manifest) -> None:
        """Note an object as one of our writes left it."""
        if resource is Resource.JOBS:
            self.jobs.keep(manifest)
        else:
            self.children.stored(resource, manifest)

    def deleted(self, resource: Resource, namespace: str, name: str) -> None:
        """Note that we deleted an object."""
        if resource is Resource.JOBS:
            self.jobs.forget((namespace, name))
        else:
            self.children.deleted(resource, namespace, name)

    def trimmed(self, trim: Callable[[Mapping[str, Any]], Head]) -> Callable[[Manifest], Head]:
        """Return a `trim` that also keeps the jobs that come whole, in a LIST, and have not ended."""

        def keep(manifest: Manifest) -> Head:
            found = trim(manifest)
            if "spec" in manifest and not found.ended:
                self.jobs.keep(manifest)
            return found

        return keep

    def forget(self, key: Key) -> None:
        """Drop what is only needed while a job is under way."""
        self.children.forget(key)
