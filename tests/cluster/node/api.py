"""Questions to the API server over plain HTTPS: a kubectl process for each would cost more than the answer."""

import http.client
import json
import ssl
import urllib.request
from contextlib import suppress
from typing import Any

from .layout import API_URL, NODE, Layout

TIMEOUT = 5


def _call(layout: Layout, method: str, path: str, body: object = None) -> bytes:
    context = ssl.create_default_context(cafile=str(layout.pki / "ca.crt"))
    context.load_cert_chain(layout.pki / "admin.crt", layout.pki / "admin.key")
    address = API_URL.removeprefix("https://")
    connection = http.client.HTTPSConnection(address, context=context, timeout=TIMEOUT)
    try:
        payload = None if body is None else json.dumps(body)
        headers = {"Content-Type": "application/merge-patch+json"} if body is not None else {}
        connection.request(method, path, payload, headers)
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    if response.status >= 300:
        raise OSError(f"{method} {path}: {response.status} {content[:300].decode(errors='replace')}")
    return content


def ready(layout: Layout) -> bool:
    """Whether the API server says that it is ready."""
    with suppress(OSError, http.client.HTTPException):
        return _call(layout, "GET", "/readyz") == b"ok"
    return False


def get(layout: Layout, path: str) -> dict[str, Any] | None:
    """An object, or None while it cannot be had."""
    with suppress(OSError, http.client.HTTPException):
        found: dict[str, Any] = json.loads(_call(layout, "GET", path))
        return found
    return None


def node(layout: Layout) -> dict[str, Any] | None:
    """The one node."""
    return get(layout, f"/api/v1/nodes/{NODE}")


def set_gpus(layout: Layout, count: int) -> None:
    """Simulate GPUs as an extended resource; the kubelet keeps what it does not manage."""
    amount = {"nvidia.com/gpu": str(count)}
    body = {"status": {"capacity": amount, "allocatable": amount}}
    _call(layout, "PATCH", f"/api/v1/nodes/{NODE}/status", body)


def answers(url: str) -> bool:
    """Whether a health page answers 200; never through a proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with suppress(OSError, http.client.HTTPException), opener.open(url, timeout=TIMEOUT) as response:
        return bool(response.status == 200)
    return False


def is_ready(found: dict[str, Any] | None) -> bool:
    """Whether a node is Ready and takes pods: the not-ready taint goes a moment after the condition turns."""
    if found is None:
        return False
    conditions = {c["type"]: c["status"] for c in found["status"].get("conditions", [])}
    return conditions.get("Ready") == "True" and not found["spec"].get("taints")


def gpus(found: dict[str, Any]) -> int:
    """How many simulated GPUs a node offers."""
    return int(found["status"].get("allocatable", {}).get("nvidia.com/gpu", 0))
