"""Endpoints: what the pod answers over HTTP while the query runs.

`/v1/progress` is what the query process sent last; of several it is the sum. Readiness means that the query process is
up, or that the ranks have joined; liveness only that the supervisor is: a query that is merely slow must never be
killed by a probe.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gpuquery.runner.coordination.membership import Membership

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
    """What this pod knows of the processes of its attempt."""

    def __init__(self, membership: Membership) -> None:
        self._membership = membership

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Return status, content type and body."""
        path = path.partition("?")[0]
        match path:
            case "/healthz":
                return 200, _TEXT, b"ok\n"
            case "/readyz":
                return (200, _TEXT, b"ok\n") if self._membership.complete else self._waiting()
            case "/metrics":
                return 200, _TEXT, "".join(f"{line}\n" for line in self._metrics()).encode()
        documents = self._documents()
        if path not in documents:
            known = [*documents, "/metrics", "/healthz"]
            return 404, _TEXT, f"here are {', '.join(known)} and /readyz\n".encode()
        found = documents[path]
        # As short as the query sent it: the operator reads so many bytes, and no more.
        text = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
        return (200, _JSON, text.encode(errors="replace")) if found else self._waiting()

    def _waiting(self) -> tuple[int, str, bytes]:
        return 503, _TEXT, f"{self._membership.waiting}\n".encode()

    def _documents(self) -> Mapping[str, object]:
        """Return the JSON documents by path; empty if not known yet."""
        if self._membership.alone:
            return {"/v1/progress": self._membership.processes[0].progress}
        return {"/v1/progress": self._membership.total(), "/v1/ranks": self._membership.ranks()}

    def _metrics(self) -> Iterable[str]:
        """Yield the lines of the Prometheus text format: each pod tells of its own processes, so that sums are true."""
        own = [(self._membership.labels(index), process) for index, process in self._membership.own()]
        for key, (name, text) in _COUNTERS.items():
            yield from _gauge(name, text, [(labels, p.progress.get(key, 0)) for labels, p in own])
        if not self._membership.alone:
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
