"""Endpoints: what the pod answers over HTTP while the query runs.

`/v1/progress` is the query's last word on itself, passed on as it came; of many ranks it is the sum. Readiness means
that the query process is up, or that the ranks have joined; liveness only that this one is: a query that is merely slow
must never be killed by a probe.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gpuquery.runner.coordination.roster import Roster

_COUNTERS = {
    "files": ("gpuquery_written_files", "Files whose bytes were uploaded."),
    "rows": ("gpuquery_written_rows", "Rows in them."),
    "bytes": ("gpuquery_written_bytes", "Bytes uploaded."),
}
_GPU = {
    ("spilledBytes", "spilled_bytes"): ("gpuquery_spilled_bytes", "Bytes moved out of GPU memory."),
    ("gpuMemoryPeak", "gpu_memory_peak"): ("gpuquery_gpu_memory_peak_bytes", "Most bytes that the GPU had in use."),
    ("gpuUtilization", "gpu_utilization"): ("gpuquery_gpu_utilization_percent", "Use of the GPU."),
}
_JSON = "application/json"
_TEXT = "text/plain; version=0.0.4; charset=utf-8"


class Board:
    """The last progress line of the query process."""

    waiting = "the query process is starting"
    """What keeps it from being ready."""

    def __init__(self, *, guest: bool = False) -> None:
        """`guest`: the query runs on a cluster elsewhere, so that being up is not being ready."""
        self._line: bytes | None = None
        self._guest = guest
        if guest:
            self.waiting = "the Dask cluster is not complete, or is used by another job"

    @property
    def ready(self) -> bool:
        """Whether the query process has come up, and its cluster if that is elsewhere."""
        return self._line is not None and (not self._guest or json.loads(self._line).get("joined", 0) > 0)

    def put(self, line: bytes) -> None:
        """Take a progress line (JSON)."""
        self._line = line

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Return status, content type and body."""
        path = path.partition("?")[0]
        match path:
            case "/healthz":
                return 200, _TEXT, b"ok\n"
            case "/readyz":
                return (200, _TEXT, b"ok\n") if self.ready else (503, _TEXT, f"{self.waiting}\n".encode())
            case "/metrics":
                return 200, _TEXT, "".join(f"{line}\n" for line in self.metrics()).encode()
        documents = self.documents()
        if path not in documents:
            known = [*documents, "/metrics", "/healthz"]
            return 404, _TEXT, f"here are {', '.join(known)} and /readyz\n".encode()
        body = documents[path]
        return (200, _JSON, body) if body else (503, _TEXT, f"{self.waiting}\n".encode())

    def documents(self) -> Mapping[str, bytes | None]:
        """Return what is told as JSON, by path; None for what is not known yet."""
        return {"/v1/progress": self._line}

    def metrics(self) -> Iterable[str]:
        """Yield the lines of the Prometheus text format."""
        progress: dict[str, Any] = json.loads(self._line) if self._line else {}
        for key, (name, text) in _COUNTERS.items():
            yield from _gauge(name, text, [({}, progress.get(key, 0))])
        if "phase" in progress:
            yield from _gauge("gpuquery_phase", "What the query does.", [({"phase": progress["phase"]}, 1)])


class SetBoard(Board):
    """The processes of a set, as far as this pod knows them."""

    def __init__(self, roster: Roster) -> None:
        super().__init__()
        self._roster = roster

    @property
    def ready(self) -> bool:
        """Whether the processes of this pod have joined; on index 0: of all pods."""
        return self._roster.complete

    @property
    def waiting(self) -> str:  # type: ignore[override]
        """How many have joined."""
        return f"{self._roster.joined} of {len(self._roster.seen)} processes have joined"

    def documents(self) -> Mapping[str, bytes | None]:
        """Return what is told as JSON, by path."""
        return {
            "/v1/progress": json.dumps(self._roster.total()).encode(),
            "/v1/ranks": json.dumps(self._roster.ranks()).encode(),
        }

    def metrics(self) -> Iterable[str]:
        """Yield the lines of the Prometheus text format: each pod tells of its own processes, so that sums are true."""
        own = [(self._roster.labels(index), process) for index, process in self._roster.own()]
        for key, (name, text) in _COUNTERS.items():
            yield from _gauge(name, text, [(labels, p.progress.get(key, 0)) for labels, p in own])
        for (key, other), (name, text) in _GPU.items():
            found = [(labels, value) for labels, p in own if (value := p.value(key, other)) is not None]
            if found:
                yield from _gauge(name, text, found)
        joined = [(labels, int(p.joined)) for labels, p in own]
        yield from _gauge("gpuquery_rank_joined", "Whether the process can exchange rows with the others.", joined)
        phases = [({**labels, "phase": str(p.progress["phase"])}, 1) for labels, p in own if "phase" in p.progress]
        if phases:
            yield from _gauge("gpuquery_phase", "What the query does.", phases)


def _gauge(name: str, text: str, samples: Iterable[tuple[Mapping[str, str], Any]]) -> Iterable[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} gauge"
    for labels, value in samples:
        named = ",".join(f'{key}="{_escaped(label)}"' for key, label in labels.items())
        yield f"{name}{{{named}}} {value}" if named else f"{name} {value}"


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
