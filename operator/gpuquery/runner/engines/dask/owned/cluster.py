"""A Dask cluster of the attempt's own pods: index 0 keeps the scheduler and is the client, every pod keeps workers.

The engine's library is given a relative path to write to. Workers are started in a folder of their own pod's scratch
volume, so each pod has the files of its own workers, and hands them to its own sink.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from gpuquery.api.reasons import Failure
from gpuquery.api.timing import DASK_WORKER_SILENCES, IMPORT_SECONDS, START_SECONDS
from gpuquery.runner.engines import Ranks, Writes, telemetry
from gpuquery.runner.engines.dask import parts, versions
from gpuquery.runner.engines.dask.client import Cluster
from gpuquery.runner.engines.dask.guard import Guard
from gpuquery.runner.engines.dask.owned import child, commands
from gpuquery.runner.engines.dask.preloads import heartbeat
from gpuquery.runner.failures import oom
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output.parts import Parts
from gpuquery.runner.output.scratch import Scratch
from gpuquery.runner.stores import reader_rules

if TYPE_CHECKING:
    from gpuquery.plan.plan import Plan
    from gpuquery.runner.engines.dask.query import Execute

NO_LIMIT = 7 * 86_400.0
"""In effect no limit, for waits that something else bounds: the arrival of pods by startDeadlineSeconds, the query by
heartbeats and the limits of the job."""
LOOK_SECONDS = 0.5
NAME_SECONDS = 60.0
"""Time for the name of this pod to be known."""
LOOPBACK = "127.0.0.1"
RESULT = "result"
"""Name of the folder of part files, from where the workers are."""
Arguments = Callable[[commands.Workers], Sequence[str]]


class OwnedCluster:
    """One pod's part of it."""

    def __init__(self, plan: Plan, ranks: Ranks, arguments: Arguments) -> None:
        """`arguments` are those of `dask` for the workers."""
        assert plan.dask is not None
        self._plan, self._ranks, self._dask = plan, ranks, plan.dask
        self._arguments = arguments
        self._scratch = Scratch(plan.attempt, ranks.index)
        self._folder = self._scratch.folder()
        self.heartbeats = heartbeat.Listener(self._scratch.folder())
        given = {**os.environ, heartbeat.FOLDER_VARIABLE: str(self.heartbeats.folder)}
        self._environment = commands.environment(given)
        self._limit = max(IMPORT_SECONDS, DASK_WORKER_SILENCES * plan.heartbeat_seconds)
        self.guard = Guard()
        self.cluster = Cluster(self.guard, heartbeat=plan.heartbeat_seconds)
        """Connected in index 0 only."""
        self.children: list[int] = []
        """Process ids of the Dask processes that this process started, in that order."""
        self._name = os.environ.get("GPUQUERY_POD_NAME") or f"pod-{ranks.index}"

    def join(self) -> None:
        """Form the cluster; returns when all workers of all pods have joined. Raises JobError with the first cause."""
        ranks = self._ranks
        threading.Thread(target=self._listen, name="dask heartbeats", daemon=True).start()
        mine = self._scheduler() if ranks.index == 0 else None
        address = self._gate("dask-scheduler", mine, seconds=NO_LIMIT)[0]
        with contextlib.suppress(JobError):  # the checks before the query say what is wrong with it
            self._environment |= reader_rules.for_workers(self._plan)
        self._start("nanny", "the Dask workers of this pod", self._arguments(self._workers(address)))
        if ranks.index == 0:
            self.cluster.connect(address, seconds=START_SECONDS)
            self.cluster.complete(self._dask.workers, seconds=START_SECONDS)
            versions.check(self.cluster, graphs=True)
            self.cluster.settle()
            self.cluster.watch_workers()
        self._gate("dask-formed", None, seconds=2 * START_SECONDS)
        # From now on nothing is imported that takes long.
        self._limit = DASK_WORKER_SILENCES * self._plan.heartbeat_seconds
        ranks.note(workers=len(self.heartbeats.pids("worker")), dask=address)

    def run(self, execute: Execute, sink: Writes) -> None:
        """Run the query, in index 0. Every pod hands its files to its sink: while the query runs if no row can
        appear twice, otherwise once that has been checked."""
        folder, streaming = sink.scratch(), parts.each_once(self._plan)
        # The library makes it on one pod, or on each, or takes what is there.
        (self._folder / RESULT).symlink_to(folder)
        files = Parts(folder, sink, on_fault=self.guard.fail)
        if streaming:
            files.start()
        with telemetry.watching(self._ranks, pids=lambda: self.heartbeats.pids("worker"), every=True):
            if self._ranks.index == 0:
                self.guard.call("the query", lambda: execute(self.cluster.client, RESULT))
            self._gate("dask-done", None, seconds=NO_LIMIT)
            # The workers have written everything; they may end now.
            self.cluster.leave()
            self.guard.close()
            if not streaming:
                told = self._ranks.gate("dask-written", parts.written(folder), seconds=NO_LIMIT)
                parts.refuse_doubled([rank for pod in told for rank in pod], self._plan.release)
            files.finish()  # a long upload is work too
        self._scratch.remove()

    def _gate(self, name: str, value: Any, *, seconds: float) -> Sequence[Any]:
        return self.guard.call(f'the gate "{name}"', lambda: self._ranks.gate(name, value, seconds=seconds))

    def _scheduler(self) -> str:
        """Start the scheduler; returns its address."""
        file = self._folder / "scheduler.json"
        self._start("scheduler", "the Dask scheduler", commands.scheduler(self._dask, own_address(), str(file)))
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self.guard.check()
            with contextlib.suppress(OSError, ValueError, KeyError):
                return str(json.loads(file.read_text())["address"])
            time.sleep(0.1)
        raise JobError(Failure.RANK_STALLED, f"the Dask scheduler did not come up within {START_SECONDS:g} s")

    def _workers(self, address: str) -> commands.Workers:
        limit = oom.limit_bytes()
        return commands.Workers(self._plan, self._dask, address, self._name, str(self._folder), limit)

    def _start(self, role: str, what: str, arguments: Sequence[str]) -> None:
        process = child.start(
            role, what, arguments, folder=self._folder, environment=self._environment, on_end=self.guard.fail
        )
        self.children.append(process)

    def _listen(self) -> None:
        """End the attempt when a process of this pod's is frozen."""
        while not self.guard.closed:
            limit = self._limit
            if silent := self.heartbeats.silent(limit, time.monotonic()):
                self.guard.fail(
                    JobError(Failure.RANK_STALLED, f"{silent} hangs: it gave no sign of life within {limit:g} s")
                )
                return
            time.sleep(LOOK_SECONDS)


def own_address(*, seconds: float = NAME_SECONDS) -> str:
    """Return the address by which the other pods reach this one, which is index 0: where the coordinator is.

    The name of a pod may be known in DNS only seconds after the pod runs; by its bare host name the kubelet has it in
    /etc/hosts. Raises JobError(TransportError) where neither leads to an address that others reach.
    """
    told = os.environ.get("GPUQUERY_HUB", "")
    host = told.rpartition(":")[0] if told.rpartition(":")[2].isdigit() and told.count(":") == 1 else told.strip("[]")
    if not host:
        return LOOPBACK  # there is one pod
    deadline = time.monotonic() + seconds
    while True:
        if found := _address_of(host):
            return found
        if (found := _address_of(socket.gethostname())) and not ipaddress.ip_address(found).is_loopback:
            return found
        if time.monotonic() >= deadline:
            raise JobError(
                Failure.TRANSPORT_ERROR,
                f"this pod's own name {host} has no address within {seconds:g} s, and the Dask workers of other pods "
                "would not find the scheduler: look at the DNS of the cluster and at the attempt's Service",
            )
        time.sleep(min(LOOK_SECONDS, seconds))


def _address_of(host: str) -> str:
    with contextlib.suppress(OSError):
        return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    return ""
