"""The only place that talks to the API server.

Thin on purpose: manifests go in and come out as plain JSON, because building the official client's model objects costs
more than the request itself. Every call can be repeated safely, and is when the server is busy or down for a moment: an
object that exists is not created again, a status is applied as a whole, and a delete can name a UID.

The rights that the operator needs, by resource:

| API group           | resource                | verbs                                   | for                    |
|---------------------|-------------------------|-----------------------------------------|------------------------|
| gpuquery.io         | gpuqueryjobs            | get, list, watch, delete                | jobs; delete: TTL      |
| gpuquery.io         | gpuqueryjobs/status     | patch                                   | status                 |
| gpuquery.io         | gpuqueryjobs/finalizers | update                                  | blockOwnerDeletion     |
| batch               | jobs                    | get, list, watch, create, patch, delete | attempts               |
| ""                  | pods                    | list, watch                             | what really happens    |
| ""                  | services                | get, create                             | headless Service       |
| ""                  | configmaps              | get, create                             | plan, configMapKeyRef  |
| ""                  | secrets                 | create                                  | token of the ranks     |
| networking.k8s.io   | networkpolicies         | get, create                             | who reaches the pods   |
| ""                  | events                  | list                                    | why pods are refused   |
| ""                  | namespaces              | get                                     | annotated defaults     |
| events.k8s.io       | events                  | create                                  | what a user reads      |
| coordination.k8s.io | leases                  | get, create, update, patch              | leader; own namespace  |

And for the Helm values `dask.operator.enabled` and `dask.attach.enabled`:

| API group           | resource     | verbs                           | for                         | value    |
|---------------------|--------------|---------------------------------|-----------------------------|----------|
| kubernetes.dask.org | daskclusters | get, list, watch, create, delete | a Dask cluster of an attempt | operator |
| kubernetes.dask.org | daskworkergroups | list, delete                 | what is left of it          | operator |
| kubernetes.dask.org | daskclusters | get, list                       | dask.clusterRef             | attach   |

It can neither change nor delete Services, ConfigMaps, Secrets and NetworkPolicies, most of which belong to others: its
own are owned by a Job or a GpuQueryJob, and the garbage collector deletes them with it.

It reads no Secret, not even those it creates: credentials go to the pods of jobs alone. If namespaces are listed, each
has a Role with the same rules; leases are allowed only in the operator's own namespace.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import urlencode

import aiohttp
from pydantic_core import from_json

from gpuquery.api.labels import (
    DASK_GROUP,
    DASK_GROUPS_PLURAL,
    DASK_KIND,
    DASK_PLURAL,
    DASK_VERSION,
    FIELD_MANAGER,
    GROUP,
    PLURAL,
    VERSION,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from kubernetes.aio.client import ApiClient
    from kubernetes.aio.client.rest import RESTResponse

Manifest = dict[str, Any]

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
FOREGROUND = "foregroundDeletion"
"""Kubernetes' finalizer of an object whose dependents go first. The garbage collector takes it off when none is left
that blocks its owner: all that dask-kubernetes makes does, and so do their ReplicaSets and pods."""
METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
TIMEOUT = aiohttp.ClientTimeout(total=20, connect=5)
ATTEMPTS = 4
PAGE = 20
"""Objects of the first page of a LIST, because authors decide how large they are. A set of the usual size fits in."""
LARGEST_PAGE = 500
PAGE_BYTES = 2**20
"""If an answer is smaller than this, the next page asks for more objects."""
LISTS = 4
"""Pages that are read at the same time, by all callers together: objects can have up to 1.5 MB each."""
WATCH_SECONDS = 300
SILENT_SECONDS = 90.0
"""Silence after which a watch is given up: the API server sends a bookmark about once a minute."""
LARGEST_KEPT = 2**17
"""Largest object, in bytes, that may be kept whole."""
LONGEST_EVENT = 2**16
"""Largest event, in bytes, that a watch of whole objects reads whole; of a longer one it reads only the head."""
HEAD = re.compile(
    rb'"metadata":\{"name":"(?P<name>[^"]*)",(?:"generateName":"[^"]*",)?"namespace":"(?P<namespace>[^"]*)",'
    rb'(?:"selfLink":"[^"]*",)?"uid":"(?P<uid>[^"]*)","resourceVersion":"(?P<resourceVersion>[^"]*)"'
)
"""How the API server begins the metadata of a built-in kind: the fields of ObjectMeta, in their order (k8s.io/
apimachinery, meta/v1/types.go). None of these values can hold a quotation mark."""
LABELS = re.compile(rb'"labels":(\{[^{}]*\})')
"""The first match after the head is the object's own labels; no label can contain a brace."""
EVENT_TYPE = re.compile(rb'\{"type":"([A-Z]+)"')
TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{}]')
"""What structures JSON; brackets within texts do not."""
DEEPEST = 200
TOO_DEEP = b'"(nested too deeply to be read)"'
NOT_THAT_UID = "UID in precondition"
"""What the API server says when a write names another UID (apiserver, storage/interfaces.go)."""
NOT_IN_SCHEMA = "failed to create typed patch object"
"""How the API server, with status 500, begins to say that a server-side apply has an unknown field
(kubernetes/apimachinery, managedfields/internal/structuredmerge.go)."""

T = TypeVar("T")


class Resource(Enum):
    """The resources that the operator uses: path of the API group, and plural."""

    JOBS = (f"apis/{GROUP}/{VERSION}", PLURAL)
    BATCH_JOBS = ("apis/batch/v1", "jobs")
    PODS = ("api/v1", "pods")
    SERVICES = ("api/v1", "services")
    CONFIG_MAPS = ("api/v1", "configmaps")
    SECRETS = ("api/v1", "secrets")
    NETWORK_POLICIES = ("apis/networking.k8s.io/v1", "networkpolicies")
    CORE_EVENTS = ("api/v1", "events")
    EVENTS = ("apis/events.k8s.io/v1", "events")
    NAMESPACES = ("api/v1", "namespaces")
    DASK_CLUSTERS = (f"apis/{DASK_GROUP}/{DASK_VERSION}", DASK_PLURAL)
    DASK_WORKER_GROUPS = (f"apis/{DASK_GROUP}/{DASK_VERSION}", DASK_GROUPS_PLURAL)
    LEASES = ("apis/coordination.k8s.io/v1", "leases")

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        """Return the URL path of a collection or of one object."""
        group, plural = self.value
        parts = [group, *(["namespaces", namespace] if namespace else []), plural, name, subresource]
        return "/" + "/".join(part for part in parts if part)


BY_KIND = {
    "ConfigMap": Resource.CONFIG_MAPS,
    "Service": Resource.SERVICES,
    "Secret": Resource.SECRETS,
    "NetworkPolicy": Resource.NETWORK_POLICIES,
    "Job": Resource.BATCH_JOBS,
    DASK_KIND: Resource.DASK_CLUSTERS,
}


@dataclass(frozen=True)
class Scope:
    """The objects of a watch: of one resource, in one namespace or (None) in all."""

    resource: Resource
    namespace: str | None
    labels: str = ""
    whole: bool = False
    """Whether whole objects are watched, and not only their metadata."""


class ApiError(Exception):
    """The API server refused a request."""

    def __init__(self, status: int, reason: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after


class UnreachableError(Exception):
    """The API server did not answer, several times in a row."""


class StaleError(Exception):
    """An object has changed since it was read, so what was derived from it was not written."""


class Heed(Protocol):
    """Remembers writes until a watch shows them."""

    def stored(self, resource: Resource, manifest: Manifest) -> None:
        """Note an object as one of our writes left it."""

    def deleted(self, resource: Resource, namespace: str, name: str) -> None:
        """Note that we deleted an object, or that what is remembered of a job is out of date."""


class KubeClient:
    """Requests against one API server, counted by verb in `requests`."""

    heed: Heed | None = None
    """Is told about writes."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api
        self.requests: Counter[tuple[str, str]] = Counter()
        """Number of requests by (verb, status code); the code is "error" where there was no answer."""
        self._lists = asyncio.Semaphore(LISTS)

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()  # type: ignore[no-untyped-call]

    async def get(
        self, resource: Resource, namespace: str, name: str, *, metadata_only: bool = False
    ) -> Manifest | None:
        """Return an object, or None if there is none of that name."""
        accept = METADATA_ONLY if metadata_only else "application/json"
        return await self._maybe("get", "GET", resource.path(namespace, name), headers={"Accept": accept})

    async def digested(
        self,
        resource: Resource,
        namespace: str | None,
        digest: Callable[[Manifest], T],
        *,
        labels: str = "",
        fields: str = "",
        accept: str = "application/json",
    ) -> list[T]:
        """Return `digest` of each object; no more than a page of whole objects is ever held."""
        query = {"labelSelector": labels, "fieldSelector": fields}
        found: list[T] = []
        async for page, _ in self.pages(resource, namespace, digest, query=query, accept=accept):
            found += page
        return found

    async def pages(
        self,
        resource: Resource,
        namespace: str | None,
        digest: Callable[[Manifest], T],
        *,
        query: Mapping[str, str] | None = None,
        accept: str = "application/json",
    ) -> AsyncIterator[tuple[list[T], str]]:
        """Yield `digest` of the objects of each page, and the version of the list.

        The size in bytes of each page decides how many objects the next one asks for.
        """
        limit, more = PAGE, ""
        while True:
            asked = {k: v for k, v in {**(query or {}), "limit": str(limit), "continue": more}.items() if v}
            found, about, size = await self._page(resource.path(namespace), digest, accept, asked)
            yield found, about.get("resourceVersion", "")
            more = about.get("continue") or ""
            if not more:
                return
            limit = min(2 * limit, LARGEST_PAGE) if size < PAGE_BYTES else max(1, limit * PAGE_BYTES // size)

    async def _page(
        self, path: str, digest: Callable[[Manifest], T], accept: str, query: Mapping[str, str]
    ) -> tuple[list[T], Manifest, int]:
        raw = await self._answer("list", "GET", path, headers={"Accept": accept}, query=query, room=self._lists)
        page = _parsed(raw, path)
        return [digest(item) for item in page.get("items") or []], page.get("metadata") or {}, len(raw)

    async def version_of(self, scope: Scope) -> str:
        """Return the version that a scope has now, by a LIST of one object."""
        path = scope.resource.path(scope.namespace)
        _, about, _ = await self._page(path, _whole, METADATA_LIST, {"limit": "1"})
        found: str = about.get("resourceVersion", "")
        return found

    async def watch(
        self,
        scope: Scope,
        version: str,
        digest: Callable[[Manifest], T],
        *,
        opened: Callable[[], None],
    ) -> AsyncIterator[tuple[str, T]]:
        """Yield the changes after a version: the type of the event, BOOKMARK included, and `digest` of the object.

        Ends when the server ends the watch. `opened` is called once it has begun. Only metadata comes unless the scope
        asks for `whole` objects: all events share one stream, and a large one would hold up those behind it. Of a whole
        object that is longer than LONGEST_EVENT only its name and labels are read: it has neither spec nor status.

        Raises ApiError, with status 410 if the version is too old, and UnreachableError if the connection breaks or
        falls silent.
        """
        query = {
            "watch": "true", "allowWatchBookmarks": "true", "resourceVersion": version,
            "timeoutSeconds": str(WATCH_SECONDS), **({"labelSelector": scope.labels} if scope.labels else {}),
        }  # fmt: skip
        how = {"headers": {"Accept": "application/json" if scope.whole else METADATA_ONLY}, "query": query}
        path = scope.resource.path(scope.namespace)
        timeout = aiohttp.ClientTimeout(total=None, connect=TIMEOUT.connect, sock_read=SILENT_SECONDS)
        try:
            response = await self._sent("GET", path, limits=timeout, **how)
            self.requests["watch", str(response.status)] += 1
            answer: aiohttp.ClientResponse = response.response
            try:
                if response.status >= 400:
                    raise _error(response.status, await answer.read(), answer.headers.get("Retry-After"))
                opened()
                async for line in _lines(answer.content):
                    event = (scope.whole and _head(line)) or _parsed(line, path)
                    if event["type"] == "ERROR":
                        told = event["object"]
                        raise ApiError(told.get("code") or 500, told.get("reason") or "", told.get("message") or "")
                    yield event["type"], digest(event["object"])
            finally:
                answer.close()
        except (aiohttp.ClientError, TimeoutError) as error:
            self.requests["watch", "error"] += 1
            raise UnreachableError(f"watching {path}: {error or type(error).__name__}") from error

    async def list_metadata(self, resource: Resource, namespace: str | None) -> list[Manifest]:
        """Return the metadata of all objects of a namespace, or of all namespaces."""
        return await self.list(resource, namespace, accept=METADATA_LIST)

    async def list(
        self,
        resource: Resource,
        namespace: str | None,
        *,
        labels: str = "",
        fields: str = "",
        accept: str = "application/json",
    ) -> list[Manifest]:
        """Return all objects that the selectors match; `namespace=None` means all namespaces."""
        return await self.digested(resource, namespace, _whole, labels=labels, fields=fields, accept=accept)

    async def create(self, manifest: Mapping[str, Any]) -> Manifest | None:
        """Create a child and return it as stored; None if the name exists already, and that object is left alone.

        A field that the API server does not know is an error: it is not dropped.
        """
        metadata = manifest["metadata"]
        resource = BY_KIND[manifest["kind"]]
        made = await self._created(resource.path(metadata["namespace"]), manifest)
        if made is not None:
            self._heeded(resource, made)
        return made

    async def apply_status(self, manifest: Mapping[str, Any]) -> Manifest | None:
        """Apply the whole status of a GpuQueryJob, and return it; None if the job is gone, or replaced by a namesake.

        Raises StaleError if `metadata.resourceVersion` is given and the job has another version by now.
        """
        metadata = manifest["metadata"]
        try:
            found = await self._apply(Resource.JOBS.path(metadata["namespace"], metadata["name"], "status"), manifest)
        except ApiError as error:
            if error.status == 409 and NOT_THAT_UID not in error.message and metadata.get("resourceVersion"):
                raise StaleError(error.message) from error
            # 409: the UID differs: the job was deleted, and another of its name was created.
            if error.status in (404, 409):
                self._outdated(metadata)
                return None
            raise
        # A large answer is not kept, so it is not parsed.
        if len(found) > LARGEST_KEPT:
            self._outdated(metadata)
        elif self.heed is not None:
            self.heed.stored(Resource.JOBS, _parsed(found, "status"))
        return dict(manifest)

    def _outdated(self, job: Mapping[str, Any]) -> None:
        """Have a job read again: what is remembered of it is out of date."""
        if self.heed is not None:
            self.heed.deleted(Resource.JOBS, job["namespace"], job["name"])

    def _heeded(self, resource: Resource, manifest: Manifest) -> None:
        if self.heed is not None:
            self.heed.stored(resource, manifest)

    async def merge(self, resource: Resource, namespace: str, name: str, patch: Mapping[str, Any]) -> Manifest | None:
        """Change single fields of an object; None if it is gone."""
        headers = {"Content-Type": MERGE}
        query = {"fieldManager": FIELD_MANAGER}
        path = resource.path(namespace, name)
        found = await self._maybe("patch", "PATCH", path, headers=headers, query=query, body=patch)
        if found is not None:
            self._heeded(resource, found)
        return found

    async def create_event(self, event: Mapping[str, Any]) -> bool:
        """Post an event; False if its name exists already, so no event is posted twice."""
        return await self._created(Resource.EVENTS.path(event["metadata"]["namespace"]), event) is not None

    async def _created(self, path: str, manifest: Mapping[str, Any]) -> Manifest | None:
        try:
            query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
            return await self._request("create", "POST", path, query=query, body=dict(manifest))
        except ApiError as error:
            # Requests that change a quota at the same time are answered with 409 as well.
            if error.status == 409 and error.reason == "AlreadyExists":
                return None
            raise

    async def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        uid: str | None = None,
        version: str = "",
        propagation: str = "Background",
    ) -> bool:
        """Delete an object, and not a namesake if a UID is given; False if it is gone already, or if its version is not
        the given one.
        """
        body: Manifest = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation}
        if meant := {k: v for k, v in (("uid", uid), ("resourceVersion", version)) if v}:
            body["preconditions"] = meant
        try:
            gone = await self._maybe("delete", "DELETE", resource.path(namespace, name), body=body) is not None
        except ApiError as error:
            if error.status == 409:
                return False
            raise
        if gone and self.heed is not None:
            self.heed.deleted(resource, namespace, name)
        return gone

    async def _apply(self, path: str, manifest: Mapping[str, Any]) -> bytes:
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        headers = {"Content-Type": APPLY, "Accept": "application/json" if self.heed else METADATA_ONLY}
        return await self._answer("apply", "PATCH", path, headers=headers, query=query, body=dict(manifest))

    async def _maybe(self, verb: str, method: str, path: str, **how: Any) -> Manifest | None:
        try:
            return await self._request(verb, method, path, **how)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def _request(self, verb: str, method: str, path: str, **how: Any) -> Manifest:
        """Send a request, and return the answer as JSON."""
        raw = await self._answer(verb, method, path, **how)
        return _parsed(raw, path) if raw else {}

    async def _answer(self, verb: str, method: str, path: str, **how: Any) -> bytes:
        """Send a request until it is answered; if the server cannot answer now, try again after a pause."""
        for attempt in range(1, ATTEMPTS + 1):
            pause = random.uniform(0.5, 1.0) * 0.2 * 2**attempt  # noqa: S311 (jitter)
            try:
                return await self._once(verb, method, path, **how)
            except ApiError as error:
                if attempt == ATTEMPTS or not (error.status == 429 or error.status >= 500):
                    raise
                pause = error.retry_after if error.retry_after is not None else pause
            except (aiohttp.ClientError, TimeoutError) as error:
                self.requests[verb, "error"] += 1
                if attempt == ATTEMPTS:
                    raise UnreachableError(f"{method} {path}: {error or type(error).__name__}") from error
            await asyncio.sleep(min(pause, 30))
        raise AssertionError("unreachable")

    async def _once(
        self, verb: str, method: str, path: str, *, room: asyncio.Semaphore | None = None, **how: Any
    ) -> bytes:
        response = await self._sent(method, path, **how)
        # Only an answer that has begun to arrive waits for room: a slow one holds nobody up.
        async with room or contextlib.nullcontext():
            raw: bytes = await response.read()  # type: ignore[no-untyped-call]
        self.requests[verb, str(response.status)] += 1
        if response.status >= 400:
            raise _error(response.status, raw, response.headers.get("Retry-After"))
        return raw

    async def _sent(
        self,
        method: str,
        path: str,
        *,
        limits: aiohttp.ClientTimeout = TIMEOUT,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        body: Any = None,
    ) -> RESTResponse:
        """Send a request by the session of the official client, past its serialisation, which copies each value."""
        url = self._api.configuration.host + path + (f"?{urlencode(query)}" if query else "")
        about = {"Accept": "application/json", "Content-Type": "application/json", **self._api.default_headers}
        about |= headers or {}
        await self._api.update_params_for_auth(about, [], ["BearerToken"], path, method, body)
        send: Callable[..., Awaitable[RESTResponse]] = self._api.rest_client.request
        return await send(method, url, headers=about, body=body, _request_timeout=limits)


def _parsed(raw: bytes, path: str) -> Manifest:
    try:
        answer: Manifest = read_json(raw)
    except ValueError as error:
        raise UnreachableError(f"{path}: what answers is no API server: {raw[:200]!r}") from error
    return answer


def read_json(raw: bytes) -> Any:
    """Read JSON by the parser of pydantic, which takes half the time, or else by that of Python, which reads more.

    Neither takes any depth, and an author of a job who nests without end must not end the operator.
    """
    try:
        return from_json(raw)
    except ValueError:
        return json.loads(_shallow(raw))


def _shallow(raw: bytes) -> bytes:
    """Replace what is nested deeper than `DEEPEST`."""
    kept, depth, at = list[bytes](), 0, 0
    for found in TOKEN.finditer(raw):
        if found[0] in b"[{":
            depth += 1
            if depth == DEEPEST:
                kept += raw[at : found.start()], TOO_DEEP
        elif found[0] in b"]}":
            if depth == DEEPEST:
                at = found.end()
            depth -= 1
    return b"".join((*kept, raw[at:]))


def _whole(manifest: Manifest) -> Manifest:
    return manifest


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Yield the lines of a stream, however long they are."""
    left = b""
    async for piece in content.iter_any():
        *lines, left = (left + piece).split(b"\n")
        for line in lines:
            if line:
                yield line


def _head(line: bytes) -> Manifest | None:
    """Read the head of a long event; None for all others."""
    if len(line) <= LONGEST_EVENT:
        return None
    word, about = EVENT_TYPE.match(line), HEAD.search(line)
    if word is None or about is None:
        return None
    labels = LABELS.search(line, about.end())
    metadata = {key: value.decode() for key, value in about.groupdict().items()}
    found = {"metadata": {**metadata, "labels": json.loads(labels[1]) if labels else {}}}
    return {"type": word[1].decode(), "object": found}


def _error(status: int, raw: bytes, retry_after: str | None) -> ApiError:
    reason, message = "", raw.decode(errors="replace")[:2000]
    try:
        answer = json.loads(raw)
        reason, message = answer.get("reason") or "", answer.get("message") or message
    except (ValueError, AttributeError):
        # Not the API server's own words: a proxy's page, or an overload answer in plain text.
        pass
    seconds = float(retry_after) if retry_after and retry_after.isdigit() else None
    if status == 500 and NOT_IN_SCHEMA in message:
        # The object is at fault and will stay so: it gets the status of all other invalid objects.
        status, reason = 422, "Invalid"
    return ApiError(status, reason, message, seconds)
