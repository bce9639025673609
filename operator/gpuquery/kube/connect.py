"""Where the API server is: the pod's own service account, or a context of a kubeconfig that was named."""

from __future__ import annotations

import os

from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

CONNECTIONS = 64


async def configuration(context: str | None = None) -> Configuration:
    """Load the connection: in a pod its service account; elsewhere $KUBECONFIG or ~/.kube/config, and its context."""
    loaded = Configuration()
    if os.environ.get("KUBERNETES_SERVICE_HOST") and not os.environ.get("KUBECONFIG"):
        config.load_incluster_config(client_configuration=loaded)  # type: ignore[no-untyped-call]
    else:
        await config.load_kube_config(context=context, client_configuration=loaded)  # type: ignore[no-untyped-call]
    # Bounds the parallel requests, and with them what a burst of jobs can ask of the API server at a time.
    loaded.connection_pool_maxsize = CONNECTIONS
    # A proxy comes from the kubeconfig. With trust_env aiohttp would ask two threads about it for every request.
    loaded.client_session_kwargs = {"trust_env": False}
    return loaded


def api_client(loaded: Configuration) -> ApiClient:
    """Return the official client for a connection."""
    return ApiClient(loaded)
