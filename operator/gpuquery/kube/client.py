"""The only place that talks to the API server.

Thin on purpose: manifests go in and come out as plain JSON, because building the official client's model objects costs
more than the request itself. Writes are server-side applies and deletes with a UID, so every call may be repeated, and
is, when the server is busy or away for a moment.

What the operator needs to be allowed, by resource:

| API group           | resource                | verbs                                   | for                    |
|---------------------|-------------------------|-----------------------------------------|------------------------|
| gpuquery.io         | gpuqueryjobs            | get, list, watch, delete                | jobs; delete: TTL      |
| gpuquery.io         | gpuqueryjobs/status     | patch                                   | status                 |
| gpuquery.io         | gpuqueryjobs/finalizers | update                                  | blockOwnerDeletion     |
| batch               | jobs                    | get, list, watch, create, patch, delete | attempts               |
| ""                  | pods                    | get, list, watch                        | what really happens    |
| ""                  | services                | get, create, patch, delete              | headless Service       |
| ""                  | configmaps              | get, create, patch, delete              | plan, configMapKeyRef  |
| ""                  | secrets                 | create, delete                          | token of the ranks     |
| networking.k8s.io   | networkpolicies         | get, create, patch, delete              | who reaches the ranks  |
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

It reads no Secret, not even those that it makes: credentials go to the pods of jobs alone. With a list of namespaces,
Roles with the same rules in each of them; leases only in the operator's own.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Mapping
from enum import Enum
from typing import Any

import aiohttp
from kubernetes.aio.client import ApiClient

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
PAGE = 500


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


class KubeClient:
    """Requests against one API server, counted by verb in `requests`."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api
        self.requests: Counter[tuple[str, str]] = Counter()
        """Number of requests by (verb, status code); the code is "error" where there was no answer."""

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()  # type: ignore[no-untyped-call]

    async def get(
        self, resource: Resource, namespace: str, name: str, *, metadata_only: bool = False
    ) -> Manifest | None:
        """Return an object, or None if there is none of that name."""
        accept = METADATA_ONLY if metadata_only else "application/json"
        return await self._maybe("get", "GET", resource.path(namespace, name), headers={"Accept": accept})

    async def list_metadata(self, resource: Resource, namespace: str | None) -> list[Manifest]:
        """Return all objects of a namespace, or of all namespaces, without their spec and status."""
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
        """Return all objects that the selectors choose; `namespace=None` means all namespaces."""
        found: list[Manifest] = []
        query: dict[str, str] = {"limit": str(PAGE)}
        if labels:
            query["labelSelector"] = labels
        if fields:
            query["fieldSelector"] = fields
        while True:
            page = await self._request("list", "GET", resource.path(namespace), headers={"Accept": accept}, query=query)
            found += page.get("items") or []
            more = page.get("metadata", {}).get("continue")
            if not more:
                return found
            query["continue"] = more

    async def apply(self, manifest: Mapping[str, Any]) -> Manifest:
        """Create or update a child by server-side apply; returns it as stored."""
        metadata = manifest["metadata"]
        path = BY_KIND[manifest["kind"]].path(metadata["namespace"], metadata["name"])
        return await self._apply(path, manifest)

    async def create(self, manifest: Mapping[str, Any]) -> bool:
        """Create a child; False if one of that name exists already, which is left as it is."""
        metadata = manifest["metadata"]
        path = BY_KIND[manifest["kind"]].path(metadata["namespace"])
        return await self._created(path, manifest)

    async def apply_status(self, manifest: Mapping[str, Any]) -> Manifest | None:
        """Apply the whole status of a GpuQueryJob; None if the job is gone (or was replaced by a namesake)."""
        metadata = manifest["metadata"]
        try:
            return await self._apply(Resource.JOBS.path(metadata["namespace"], metadata["name"], "status"), manifest)
        except ApiError as error:
            # 409: the UID does not fit: the job was deleted and another of its name was made.
            if error.status in (404, 409):
                return None
            raise

    async def merge(self, resource: Resource, namespace: str, name: str, patch: Mapping[str, Any]) -> Manifest | None:
        """Change single fields of an object; None if it is gone."""
        headers = {"Content-Type": MERGE}
        query = {"fieldManager": FIELD_MANAGER}
        return await self._maybe(
            "patch", "PATCH", resource.path(namespace, name), headers=headers, query=query, body=patch
        )

    async def create_event(self, event: Mapping[str, Any]) -> bool:
        """Post an event; False if one of that name exists already, so that none is ever told twice."""
        return await self._created(Resource.EVENTS.path(event["metadata"]["namespace"]), event)

    async def _created(self, path: str, manifest: Mapping[str, Any]) -> bool:
        try:
            await self._request("create", "POST", path, body=dict(manifest))
        except ApiError as error:
            if error.status == 409:
                return False
            raise
        return True

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str | None = None, propagation: str = "Background"
    ) -> bool:
        """Delete an object, and no namesake of it where a UID is given; False if it is gone already."""
        body: Manifest = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation}
        if uid:
            body["preconditions"] = {"uid": uid}
        try:
            return await self._maybe("delete", "DELETE", resource.path(namespace, name), body=body) is not None
        except ApiError as error:
            if error.status == 409:
                return False
            raise

    async def _apply(self, path: str, manifest: Mapping[str, Any]) -> Manifest:
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return await self._request(
            "apply", "PATCH", path, headers={"Content-Type": APPLY}, query=query, body=dict(manifest)
        )

    async def _maybe(self, verb: str, method: str, path: str, **how: Any) -> Manifest | None:
        try:
            return await self._request(verb, method, path, **how)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def _request(self, verb: str, method: str, path: str, **how: Any) -> Manifest:
        """Send a request until it is answered; what the server cannot do now is asked again after a pause."""
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
        self,
        verb: str,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        body: Any = None,
    ) -> Manifest:
        method, url, header_params, payload, _ = await self._api.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params={"Accept": "application/json", "Content-Type": "application/json", **(headers or {})},
            body=body,
            auth_settings=["BearerToken"],
        )
        response = await self._api.call_api(
            method, url, header_params=header_params, body=payload, _request_timeout=TIMEOUT
        )
        raw: bytes = await response.read()  # type: ignore[no-untyped-call]
        self.requests[verb, str(response.status)] += 1
        if response.status >= 400:
            raise _error(response.status, raw, response.headers.get("Retry-After"))
        answer: Manifest = json.loads(raw) if raw else {}
        return answer


def _error(status: int, raw: bytes, retry_after: str | None) -> ApiError:
    reason, message = "", raw.decode(errors="replace")[:2000]
    try:
        answer = json.loads(raw)
        reason, message = answer.get("reason") or "", answer.get("message") or message
    except (ValueError, AttributeError):
        # Not the API server's own words: a proxy's page, or an overload answer in plain text.
        pass
    seconds = float(retry_after) if retry_after and retry_after.isdigit() else None
    return ApiError(status, reason, message, seconds)
