"""The connection to the API server: with the pod's own service account, or a context of a kubeconfig."""

from __future__ import annotations

import os

from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

CONNECTIONS = 64


async def configuration(context: str | None = None) -> Configuration:
    """Load the connection: in a pod its service account, elsewhere $KUBECONFIG or ~/.kube/config with its context."""
    loaded = Configuration()
    if os.environ.get("KUBERNETES_SERVICE_HOST") and not os.environ.get("KUBECONFIG"):
        config.load_incluster_config(client_configuration=loaded)  # type: ignore[no-untyped-call]
    else:
        await config.load_kube_config(context=context, client_configuration=loaded)  # type: ignore[no-untyped-call]
    # Limits the parallel requests, and so the load of a burst of jobs on the API server.
    loaded.connection_pool_maxsize = CONNECTIONS
    # The kubeconfig sets the proxy. With trust_env aiohttp would start two lookups in threads for every request.
    loaded.client_session_kwargs = {"trust_env": False}
    return loaded


def api_client(loaded: Configuration) -> ApiClient:
    """Return the official client for a connection."""
    return ApiClient(loaded)
