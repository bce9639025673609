"""Membership: the processes of the set, as far as this pod knows them. Index 0 knows all, the others their own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gpuquery.runner.coordination.settings import Settings

_SUMS = {"files": "files", "rows": "rows", "bytes": "bytes", "spilledBytes": "spilled_bytes"}
_PEAK, _UTILIZATION = ("gpuMemoryPeak", "gpu_memory_peak"), ("gpuUtilization", "gpu_utilization")
MAX_NOTES = 24 * 1024
"""Bytes of all that one process notes about itself; what comes beyond is dropped."""


class Process:
    """One process, by what it has sent of itself."""

    def __init__(self) -> None:
        self.joined = False
        self.progress: Mapping[str, Any] = {}
        self.notes: Mapping[str, Any] = {}

    def note(self, facts: Mapping[str, Any]) -> None:
        """Take facts about it."""
        for key, fact in facts.items():
            if len(json.dumps(notes := {**self.notes, key: fact})) <= MAX_NOTES:
                self.notes = notes

    def value(self, *names: str) -> int | float | None:
        """Return a number of its progress or its notes, under whichever name it has; the larger, if it has more."""
        found = [source.get(name) for source in (self.progress, self.notes) for name in names]
        return max((n for n in found if isinstance(n, int | float) and not isinstance(n, bool)), default=None)


class Membership:
    """All of them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.names: dict[int, str] = {settings.index: settings.pod}
        """Names of the pods that are known, by index."""
        self.processes = [Process() for _ in range(settings.size)]
        self.seen: Sequence[int] = range(settings.size) if settings.index == 0 else settings.own
        """Indexes of the processes that this pod knows of."""

    @property
    def alone(self) -> bool:
        """Whether the attempt has one process, which joins nobody."""
        return self._settings.alone

    @property
    def joined(self) -> int:
        """How many of those have joined. The only process has when it is up, and its cluster if that is elsewhere."""
        if self.alone:
            progress = self.processes[0].progress
            return int(bool(progress.get("joined") if self._settings.external else progress))
        return sum(self.processes[index].joined for index in self.seen)

    @property
    def complete(self) -> bool:
        """Whether all of those have joined."""
        return self.joined == len(self.seen)

    @property
    def waiting(self) -> str:
        """What keeps the pod from being ready."""
        if not self.alone:
            return f"{self.joined} of {len(self.seen)} processes have joined"
        if self._settings.external:
            return "the Dask cluster is not complete, or is used by another job"
        return "the query process is starting"

    def place(self, process: int) -> str:
        """Name a process for people."""
        return self._settings.place(process, self.names)

    def own(self) -> Iterable[tuple[int, Process]]:
        """Return the processes of this pod."""
        return ((index, self.processes[index]) for index in self._settings.own)

    def labels(self, process: int) -> Mapping[str, str]:
        """Return the labels of a process in metrics."""
        if self.alone:
            return {}
        pod, number = divmod(process, self._settings.per_pod)
        gpu = "all" if self._settings.whole and self._settings.gpus else str(number)
        return {"process": str(process), "pod": self.names.get(pod, ""), "gpu": gpu}

    def tables(self) -> Sequence[Any]:
        """Return what index 0 has told of the tables that it reads; nothing where this pod does not know."""
        told = self.processes[0].progress.get("inputs")
        return told if isinstance(told, list) else []

    def total(self) -> Mapping[str, Any]:
        """Return the progress of all together, as `/v1/progress` has it."""
        seen = [self.processes[index] for index in self.seen]
        sums = {key: sum(int(p.value(key, other) or 0) for p in seen) for key, other in _SUMS.items()}
        used = [found for p in seen if (found := p.value(*_UTILIZATION)) is not None]
        first = seen[0].progress
        return {
            "phase": first.get("phase", "planning"),
            **({"percent": first["percent"]} if first.get("percent") is not None else {}),
            **{name: first[name] for name in ("warnings", "inputs") if first.get(name)},
            **sums,
            "ranks": self._settings.size,
            "joined": self.joined,
            "gpuMemoryPeak": max(int(p.value(*_PEAK) or 0) for p in seen),
            **({"gpuUtilization": round(sum(used) / len(used))} if used else {}),
        }

    def ranks(self) -> Sequence[Mapping[str, Any]]:
        """Return what is known of each process, as `/v1/ranks` has it."""
        members = []
        for index in self.seen:
            process, pod = self.processes[index], index // self._settings.per_pod
            members.append(
                {
                    "process": index,
                    "pod": self.names.get(pod),
                    "gpu": self._settings.device(index),
                    "joined": process.joined,
                    "phase": process.progress.get("phase"),
                    "notes": process.notes,
                }
            )
        return members
