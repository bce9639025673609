"""What an API server's audit log tells: who asked for what, and when; all times are of the API server's one clock."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
CONTROLLER = "system:serviceaccount:kube-system:"
"""Before the name of each controller of kube-controller-manager."""


@dataclass(frozen=True)
class Request:
    """One request that was answered, or a watch that has begun."""

    user: str
    verb: str
    resource: str
    """Resource with its subresource: pods, pods/status, daskclusters."""
    namespace: str
    name: str
    code: int
    """HTTP status."""
    received: float
    """Seconds since 1970."""
    answered: float

    @property
    def write(self) -> bool:
        """Whether it changes something, if it succeeds."""
        return self.verb in WRITES

    @property
    def created(self) -> bool:
        """Whether it made an object that can be listed: no binding and no token, and no event either.

        An object that is applied server-side is created by a patch.
        """
        return self.write and self.code == 201 and "/" not in self.resource and self.resource != "events"


class Log:
    """A growing audit log, read on from where the last look ended."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.requests: list[Request] = []
        self._offset = 0

    def look(self) -> list[Request]:
        """Read what came since the last look, and return all requests so far."""
        with self.path.open("rb") as file:
            file.seek(self._offset)
            text = file.read()
        end = text.rfind(b"\n") + 1  # the last line may not be complete yet
        self._offset += end
        self.requests += parse(text[:end].decode().splitlines())
        return self.requests


def parse(lines: Iterable[str]) -> Iterator[Request]:
    """Read the lines of an audit log. The end of a watch is left out: its beginning was counted."""
    for line in lines:
        event: dict[str, Any] = json.loads(line)
        watch = event["verb"] == "watch"
        if event["stage"] != ("ResponseStarted" if watch else "ResponseComplete"):
            continue
        about = event.get("objectRef", {})
        yield Request(
            user=event["user"]["username"],
            verb=event["verb"],
            resource="/".join(filter(None, (about.get("resource"), about.get("subresource")))),
            namespace=about.get("namespace", ""),
            name=about.get("name", ""),
            code=event.get("responseStatus", {}).get("code", 0),
            received=seconds(event["requestReceivedTimestamp"]),
            answered=seconds(event["stageTimestamp"]),
        )


def seconds(text: str) -> float:
    """Return a timestamp of the log as seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()


def client(user: str) -> str:
    """Return which part of Kubernetes a user is; the name itself for all others."""
    if user.startswith((CONTROLLER, "system:kube-controller-manager")):
        return "controllers"
    return {"system:kube-scheduler": "scheduler", "kwok": "kubelet"}.get(user, user)


def heartbeat(request: Request) -> bool:
    """Whether the request would have come without any job: leases, and the API server's requests to itself."""
    return request.user == "system:apiserver" or request.resource == "leases"


def counted(requests: Iterable[Request]) -> dict[str, Any]:
    """Return writes and all requests by client, and what of it each client wrote: `{"create pods": 100}`."""
    mine = [r for r in requests if not heartbeat(r)]
    writes = [r for r in mine if r.write]
    clients = sorted({client(r.user) for r in mine})
    return {
        "writes": len(writes),
        "requests": len(mine),
        "writes_by_client": dict(Counter(client(r.user) for r in writes).most_common()),
        "requests_by_client": dict(Counter(client(r.user) for r in mine).most_common()),
        "verbs_by_client": {
            c: dict(Counter(f"{r.verb} {r.resource}" for r in mine if client(r.user) == c).most_common())
            for c in clients
        },
        "refused": sum(r.code >= 400 for r in mine),
    }
