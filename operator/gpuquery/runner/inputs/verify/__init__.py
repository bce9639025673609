"""Every line of large text inputs is looked at beside the query: whether the reader passes over something in it.

with Verification.of(resolved, access, index, size) as verification:    # this rank's share of the files
    ...                                                                 # the query
    verification.result()                # before the commit; raises JobError that names the line

Processes of their own look (`python -m gpuquery.runner.inputs.verify`), so that nothing waits for the query's Python
interpreter, nor the query for theirs. A rank looks at a share of the files, the largest ones first.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, NamedTuple, Self

import polars as pl

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures import obituary
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs.changes import changed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.inputs.base import Resolved

PROGRAM = "gpuquery.runner.inputs.verify"
CORES_EACH = 4
"""Cores of the query for each process that looks."""
MOST = 8
"""Processes of one rank."""
_LAST_WORDS = 1000


class Place(NamedTuple):
    """A file of an input."""

    input: str
    at: int
    """Index of the file."""


def shares(places: Iterable[Place], weights: Mapping[Place, int], size: int) -> list[list[Place]]:
    """Divide files into shares of about as many bytes; the same for all who ask."""
    made: list[list[Place]] = [[] for _ in range(size)]
    loads = [0] * size
    for place in sorted(places, key=lambda one: (-weights[one], one)):
        least = loads.index(min(loads))
        made[least].append(place)
        loads[least] += weights[place]
    return made


class Verification:
    """Processes that look at files, each at a share of them."""

    def __init__(self, resolved: Mapping[str, Resolved], access: StoreAccess, parts: Sequence[Sequence[Place]]) -> None:
        """Begin; without parts there is nothing to do."""
        self._resolved, self._access = resolved, access
        self._lookers = [_Looker(self._task(part)) for part in parts]

    @classmethod
    def of(cls, resolved: Mapping[str, Resolved], access: StoreAccess, index: int, size: int) -> Self:
        """Begin with a rank's share of the files of which only a sample was looked at."""
        weights = {
            Place(name, at): file.bytes
            for name, one in resolved.items()
            if one.reading.sampled
            for at, file in enumerate(one.files)
        }
        own = shares(weights, weights, size)[index]
        processes = min(MOST, max(1, pl.thread_pool_size() // CORES_EACH), len(own))
        return cls(resolved, access, shares(own, weights, processes) if own else [])

    def __enter__(self) -> Self:
        """Nothing more is to be begun."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the processes that still look: nobody waits for their word."""
        for one in self._lookers:
            one.end()

    @property
    def processes(self) -> list[subprocess.Popen[bytes]]:
        """The processes that look, or have looked."""
        return [one.process for one in self._lookers]

    def result(self) -> None:
        """Wait until all files were looked at.

        Raises JobError: InvalidInput that names file, line and column, or InputChanged.
        """
        faults = [fault for one in self._lookers if (fault := one.fault()) is not None]
        if faults:
            # A file that was replaced meanwhile has other lines, or is gone.
            if why := changed(self._resolved, self._access):
                raise JobError(Failure.INPUT_CHANGED, why)
            raise faults[0]

    def _task(self, places: Sequence[Place]) -> str:
        some = {place.input for place in places}
        found = {name: one for name, one in self._resolved.items() if name in some}
        return json.dumps(
            {
                "items": [one.item.model_dump(mode="json", by_alias=True, exclude_none=True) for one in found.values()],
                "access": self._access.model_dump(mode="json", by_alias=True),
                "resolved": json.dumps({name: one.to_json() for name, one in found.items()}),
                "places": places,
            }
        )


class _Looker:
    """One process."""

    def __init__(self, task: str) -> None:
        pipe = subprocess.PIPE
        environment = os.environ | {"POLARS_MAX_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", PROGRAM], stdin=pipe, stdout=pipe, stderr=pipe, env=environment
        )
        self._told, self._words = b"", b""
        # Followed beside the query: a process whose words nobody takes would wait.
        self._follows = threading.Thread(target=self._follow, args=(task.encode(),), name="verify", daemon=True)
        self._follows.start()

    def fault(self) -> JobError | None:
        """Wait for its end, and return what it has found."""
        self._follows.join()
        status = self.process.returncode
        if status == 0:
            told = json.loads(self._told)
            return JobError(Failure(told["failure"]), told["message"]) if told else None
        words = self._words[-_LAST_WORDS:].decode(errors="replace").strip()
        how = obituary.signal_name(status) if status < 0 else f"exit code {status}"
        return JobError(
            Failure.INTERNAL_ERROR,
            f"the process that looks at all lines of large text inputs ended without a word ({how}): {words}",
        )

    def end(self) -> None:
        """End it."""
        self.process.kill()
        self._follows.join()

    def _follow(self, task: bytes) -> None:
        self._told, self._words = self.process.communicate(task)
