"""The connection to the API server: with the pod's own service account, or a context of a kubeconfig."""

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
