"""The client: the connection of this process to a Dask cluster, whose workers are counted once and then stay.

Every call has a time limit. A thread asks the scheduler each second who is there: a worker that leaves or comes, or a
scheduler that is gone, ends the query. Where other processes of the attempt see the same, and sooner or better, theirs
is the cause that counts (`Guard.suspect`).
"""

from __future__ import annotations

import asyncio
import importlib
import os
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from gpuquery.api.reasons import Failure
from gpuquery.api.timing import DASK_SCHEDULER_SILENCES
from gpuquery.runner.engines.dask import injected, tls
from gpuquery.runner.failures.errors import JobError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gpuquery.runner.engines.dask.guard import Guard

CONNECT_SECONDS = 60
"""For one connection between processes of Dask; a pod's name may take a while until it is known."""
CONFIGURATION: Mapping[str, Any] = {
    "distributed.comm.timeouts.connect": f"{CONNECT_SECONDS}s",
    "distributed.client.heartbeat": "5s",
}
"""Dask's configuration in this process."""
CALL_SECONDS = 60.0
"""For a question that is answered in milliseconds: imports on the other side may delay the answer."""
LOOK_SECONDS = 1.0
PROTOCOLS = ("ucx", "ucxx", "tcp", "tls")
T = TypeVar("T")


class Cluster:
    """The cluster, once `connect` has returned."""

    def __init__(self, guard: Guard, *, heartbeat: float) -> None:
        """`heartbeat` is that of the plan, in seconds."""
        self.guard = guard
        self._silent = DASK_SCHEDULER_SILENCES * heartbeat
        self.address = ""
        self.client: Any = None
        """The `distributed.Client`, which is the default one of this process."""
        self.workers: Mapping[str, str] = {}
        """Names of the workers by address, once they are complete."""
        self.left_because = ""
        """What may be the reason when a worker leaves; ends the message about it."""
        self._over = threading.Event()
        self._question: asyncio.Future[dict[str, str]] | None = None
        """To the scheduler, on its way."""

    def connect(self, address: str, *, seconds: float, tls_secret: str | None = None) -> None:
        """Connect; raises JobError(WorkerLost) that names the address when nobody has answered in time.

        `tls_secret` names the Secret with the certificates of this process, if they are of one.
        """
        protocol = address.partition("://")[0]
        if protocol not in PROTOCOLS:
            raise JobError(
                Failure.INVALID_PLAN,
                f'the Dask scheduler\'s address is "{address}": it begins with one of {", ".join(PROTOCOLS)} and "://"',
            )
        self.address = address
        distributed = importlib.import_module("distributed")
        config = importlib.import_module("dask").config
        config.set(CONFIGURATION)
        certificates = tls.Certificates(address, secret=tls_secret)
        if protocol == "tls":
            certificates.check(config)
        injected.register()
        deadline = time.monotonic() + seconds
        while True:
            try:
                found = _resolved(address)
                limit = max(1.0, min(deadline - time.monotonic(), CONNECT_SECONDS))
                self.client = self.guard.call(
                    f"connecting to the Dask scheduler at {address}",
                    lambda limit=limit, found=found: distributed.Client(  # type: ignore[misc]
                        found, timeout=limit, set_as_default=True
                    ),
                    seconds=limit + 10,
                )
                return
            except (OSError, TypeError, ValueError, RuntimeError, JobError) as exc:
                self.guard.check()
                if refused := certificates.refused(exc):
                    raise refused from None
                if not isinstance(exc, OSError | JobError):
                    if (impossible := _impossible(address, exc)) is None:
                        raise
                    raise impossible from exc
                if deadline - time.monotonic() <= 0:
                    raise JobError(
                        Failure.WORKER_LOST,
                        f"the Dask scheduler at {address} does not answer within {seconds:g} s: {_words(exc)}: see "
                        "whether its pod runs, whether it speaks this protocol, and whether a NetworkPolicy is between",
                    ) from None  # what a JobError comes from counts more than itself
                time.sleep(min(1.0, max(0.0, deadline - time.monotonic())))

    def scheduler(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run a function of `injected` in the scheduler."""
        what = f"asking the Dask scheduler for {function.__name__}"
        return self.guard.call(what, lambda: self.client.run_on_scheduler(function, *args), seconds=CALL_SECONDS)

    def run(self, function: Callable[..., Any], *args: Any, workers: list[str] | None = None, seconds: float | None = CALL_SECONDS) -> dict[str, Any]:  # fmt: skip # noqa: E501
        """Run a function of `injected` in workers; returns what each has returned, by address."""
        what, asked = f"asking Dask workers for {function.__name__}", list(self.workers) if workers is None else workers
        found: dict[str, Any] = self.guard.call(
            what, lambda: self.client.run(function, *args, workers=asked), seconds=seconds
        )
        return found

    def complete(self, wanted: int, *, seconds: float, more: bool = False) -> None:
        """Wait for the workers, which are counted from then on; `more` allows for more of them.

        Raises JobError(WorkerLost) that names who is there when there are too few of them in time.
        """
        deadline = time.monotonic() + seconds
        while True:
            found = self._now("name", str)
            if len(found) == wanted or (more and len(found) > wanted):
                self.workers = found
                return
            if time.monotonic() > deadline:
                there = ", ".join(sorted(found.values())[:8]) or "none"
                raise JobError(
                    Failure.WORKER_LOST,
                    f"the Dask cluster at {self.address} has {len(found)} workers after {seconds:g} s ({there}), and "
                    f"the job runs on {wanted}: look at the pods of the others",
                )
            self.guard.check()
            time.sleep(0.2)

    def free(self, *, seconds: float) -> None:
        """Wait until every worker has done a small task.

        It goes over the connection that each worker has with its scheduler. A question would need a new one: a worker
        whose event loop is held takes none, the scheduler gives up after 30 s, and one that has done so over UCXX was
        seen to crash soon after (distributed-ucxx of 26.10).
        """

        def ask() -> None:
            submit = self.client.submit
            tasks = [submit(os.getpid, pure=False, workers=[each]) for each in self.workers]
            importlib.import_module("distributed").wait(tasks)

        self.guard.call("waiting for the Dask workers to be free", ask, seconds=seconds)

    def settle(self, *, seconds: float = CALL_SECONDS) -> None:
        """Wait until every worker, which must be free, has beaten once more, or for so many seconds.

        Its first heartbeat makes the connection to the scheduler that later ones use. A query that begins while it is
        being made holds the worker's event loop, the scheduler gives the connection up after 5 s, and was then seen to
        crash over UCX as soon as the worker went on (distributed-ucxx of 26.10).
        """
        deadline = time.monotonic() + seconds
        first: Mapping[str, float] = {}
        while time.monotonic() < deadline:
            told = self._now("last_seen", float)  # by the scheduler's clock
            first = first or told
            if all(told.get(address, 0.0) > when for address, when in first.items() if address in self.workers):
                return
            time.sleep(0.2)
        print(f"not all Dask workers have beaten once more within {seconds:g} s", file=sys.stderr, flush=True)

    def watch_workers(self) -> None:
        """Watch the workers from now on, in a thread."""
        threading.Thread(target=self._watch, name="dask watcher", daemon=True).start()

    def leave(self) -> None:
        """Watch them no more; the connection ends with the process."""
        self._over.set()

    def _watch(self) -> None:
        heard = time.monotonic()
        while not self._over.wait(LOOK_SECONDS):
            try:
                found = self.client.sync(self._answer)
            except Exception as exc:  # of many kinds
                status = getattr(self.client, "status", "")
                if self._over.is_set():
                    return
                if status not in ("running", "newly-created"):
                    self._lost(f"the Dask scheduler at {self.address} is gone: {_words(exc)}")
                    return
                if (silent := time.monotonic() - heard) > self._silent:
                    # Its connection stands, and nobody has told of its end: it hangs, or this machine does.
                    why = f"the Dask scheduler at {self.address} hangs: it has not answered for {silent:.0f} s"
                    self._lost(why, Failure.RANK_STALLED)
                    return
                continue
            heard = time.monotonic()
            if gone := [name for address, name in self.workers.items() if address not in found]:
                self._lost(f"{_named(gone)} left the cluster at {self.address}{self.left_because}")
                return
            if came := [name for address, name in found.items() if address not in self.workers]:
                self._lost(
                    f"{_named(came)} joined the cluster at {self.address} while the query ran, which needs the workers "
                    "that it began with: no autoscaler, and nobody who scales it"
                )
                return

    async def _answer(self) -> dict[str, str]:
        """Names of the workers by address; raises TimeoutError if that takes long. The next call waits for the same
        answer.

        No question is ever given up: over UCX its answer would still be received, into memory that has other uses by
        then. A client of 25.12 was seen to crash in Python's allocator, half a minute after its scheduler had begun to
        import for as long.
        """
        if self._question is None:
            self._question = asyncio.ensure_future(self._each("name", str))
        limit = self._silent / 3
        done, _ = await asyncio.wait([self._question], timeout=limit)
        if not done:
            raise TimeoutError(f"no answer within {limit:.3g} s")
        question, self._question = self._question, None
        return question.result()

    def _now(self, field: str, kind: Callable[[Any], T]) -> dict[str, T]:
        """Return a fact about each worker, by address."""
        what = "asking the Dask scheduler for its workers"
        found: dict[str, T] = self.guard.call(
            what, lambda: self.client.sync(self._each, field, kind), seconds=CALL_SECONDS
        )
        return found

    async def _each(self, field: str, kind: Callable[[Any], T]) -> dict[str, T]:
        """The same, by a question of Dask's own, which leaves no line in the scheduler's log."""
        told = await self.client.scheduler.identity(n_workers=-1)
        return {address: kind(state[field]) for address, state in told["workers"].items()}

    def _lost(self, why: str, failure: Failure = Failure.WORKER_LOST) -> None:
        self.guard.suspect(JobError(failure, why))


def _impossible(address: str, exc: Exception) -> JobError | None:
    """Return what to say of a protocol that Dask lacks, or may not use; None if it is neither."""
    if not isinstance(exc, RuntimeError):
        out = "name a scheduler that speaks tcp, tls, ucx or ucxx as the release does"
    elif "encryption required" in str(exc):
        out = "name a scheduler that speaks tls, or take DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION away"
    else:
        return None
    words = f"cannot connect to the Dask scheduler at {address}: {_words(exc)}: {out}"
    return JobError(Failure.INVALID_COMBINATION, words)


def _resolved(address: str) -> str:
    """Return an address to connect to; for UCX it has the IP address of its host.

    UCXX looks the name up again for each connection, gives up when it is not found, and then hangs in every later try.
    Raises OSError while the name is not known: its Service may come later than this process.
    """
    parts = urlsplit(address)
    known = socket.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_STREAM)
    if not parts.scheme.startswith("ucx") or parts.port is None:
        return address
    host = str(known[0][4][0])
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{parts.port}"


def _named(names: list[str]) -> str:
    shown = ", ".join(sorted(names)[:4]) + (" and others" if len(names) > 4 else "")
    return f"Dask worker{'s' if len(names) > 1 else ''} {shown}"


def _words(exc: BaseException) -> str:
    if isinstance(exc, JobError):
        return exc.message
    return (str(exc).strip().splitlines() or [""])[0][:300] or type(exc).__name__
