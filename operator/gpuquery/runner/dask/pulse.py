"""Pulse: whether workers of a cluster that is not ours are alive, by what their nannies tell of their signs of life.

Only what was seen counts as silence: between two answers of a nanny, by its own clock, and no more than `SEEN_SECONDS`
of it. So a nanny, a scheduler or a client that was itself stopped for a while has heard no silence meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpuquery.api.reasons import Failure
from gpuquery.runner.dask import beats
from gpuquery.runner.errors import JobError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

SEEN_SECONDS = 3.0
"""The most that counts of the time between two answers, which come each second or so."""


@dataclass
class _Worker:
    """What is known of one: of its own signs of life, and of its nanny's answers."""

    imports: bool
    """Whether it may still be importing."""
    silence: float = 0.0
    touched: float | None = None
    now: float = 0.0
    """The nanny's clock when it told so last."""
    answers: int = 0
    mute: float = 0.0
    """For how long the nanny has owed an answer."""
    deaf: bool = False
    """Whether the nanny never answered, or cannot see the worker's files, and the log has said so."""
    looked: float | None = None


class Pulse:
    """Of all workers that have a nanny."""

    def __init__(self, names: Mapping[str, str], *, limit: float, silent: float, imported: Iterable[str], say: Callable[[str], None]) -> None:  # fmt: skip # noqa: E501
        """`names` by address; those `imported` have done the imports of a query. Seconds: `limit` of a worker's
        silence, `silent` of a nanny's. `say` takes a line for the pod's log."""
        self._names, self._limit, self._silent, self._say = names, limit, silent, say
        done = set(imported)
        self._workers = {address: _Worker(imports=address not in done) for address in names}
        self._began: float | None = None
        self._complete = False

    def told(self, told: Mapping[str, Mapping[str, Any]], now: float) -> JobError | None:
        """Take what the scheduler knows (`remote.listen`) at this time; returns the fault that it shows."""
        if self._began is None:
            self._began = now
        for address, name in self._names.items():
            worker, state = self._workers[address], told.get(address, {})
            if fault := self._nanny(name, worker, state, now) or self._worker(name, worker, state, now - self._began):
                return fault
        if (
            self._workers
            and not self._complete
            and all(worker.touched is not None for worker in self._workers.values())
        ):
            self._complete = True
            self._say(f"signs of life of {len(self._workers)} Dask workers are heard")
        return None

    def attended(self) -> list[str]:
        """Return the addresses of the workers whose nannies have just answered."""
        return [a for a, worker in self._workers.items() if worker.answers and worker.mute <= SEEN_SECONDS]

    def _nanny(self, name: str, worker: _Worker, state: Mapping[str, Any], now: float) -> JobError | None:
        since = 0.0 if worker.looked is None else min(now - worker.looked, SEEN_SECONDS)
        worker.looked = now
        worker.mute = 0.0 if state.get("answers", 0) != worker.answers else worker.mute + since
        if worker.deaf or worker.mute <= self._silent:
            return None
        why = state.get("error")
        if not worker.answers:  # perhaps its port is closed to the scheduler: no reason to end what may well work
            worker.deaf = True
            self._say(
                f"the scheduler gets no answer from the nanny of the Dask worker {name}{f' ({why})' if why else ''}: "
                "open the nannies' ports (--nanny-port) to it, else nobody will notice that this worker hangs"
            )
            return None
        return JobError(
            Failure.WORKER_LOST if why else Failure.RANK_STALLED,
            f"the nanny of the Dask worker {name} has not answered for {self._silent:g} s, though the scheduler does"
            f"{f' ({why})' if why else ''}: whoever has that cluster has to restart the worker",
        )

    def _worker(self, name: str, worker: _Worker, state: Mapping[str, Any], running: float) -> JobError | None:
        if state.get("answers", 0) == worker.answers:
            return None
        since = state["now"] - worker.now if worker.answers else 0.0
        worker.answers, worker.now = state["answers"], state["now"]
        touched = state["touched"]
        if touched is None and worker.touched is None and not worker.deaf:
            worker.deaf = True
            self._say(
                f"the nanny of the Dask worker {name} does not see the worker's files ({state.get('why')}), so nobody "
                "will notice that this worker hangs"
            )
        if touched is None or touched != worker.touched:
            worker.touched, worker.silence = touched, 0.0
            worker.imports = worker.imports and running < beats.IMPORT_SECONDS
            return None
        worker.silence += min(max(since, 0.0), SEEN_SECONDS)
        limit = max(self._limit, beats.IMPORT_SECONDS) if worker.imports else self._limit
        if worker.silence <= limit:
            return None
        return JobError(
            Failure.RANK_STALLED,
            f"the Dask worker {name} hangs: it gave no sign of life within {limit:g} s; its cluster is not the job's "
            "own, so whoever has it has to restart the worker",
        )
