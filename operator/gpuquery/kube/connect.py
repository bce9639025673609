"""Where the API server is: the pod's own service account, or a context of a kubeconfig that was named."""

from __future__ import annotations

import os
import socket

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.client.rest import RESTClientObject

CONNECTIONS = 64
DEAD_SECONDS = 25
KEEPALIVE = {
    "TCP_KEEPIDLE": 10,
    "TCP_KEEPINTVL": 5,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 1000 * DEAD_SECONDS,
}
"""Options of TCP: a connection that is silent is asked after 10 s and twice more, and given up 5 s later. The last
one, in milliseconds, is for what was sent and is not confirmed."""


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


class Rest(RESTClientObject):
    """The official client's connections, of which each is noticed to be dead within `DEAD_SECONDS`.

    A watch says nothing for up to a minute, and an end that is cut off says nothing at all.
    """

    def _create_connector(self) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(limit=self.maxsize, ssl=self.ssl_context, socket_factory=_kept_alive)


def _kept_alive(address: aiohttp.AddrInfoType) -> socket.socket:
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE.items():
        if hasattr(socket, option):  # Linux has them all
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return made


def api_client(loaded: Configuration) -> ApiClient:
    """Return the official client for a connection."""
    client = ApiClient(loaded)
    client.rest_client = Rest(loaded)
    return client
