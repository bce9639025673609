"""A Dask cluster that is not ours to start: one that dask-kubernetes makes for the attempt, or somebody else's.

Nothing of this project has to be on its workers, and no credentials go there: they write part files into a folder of
their own, from where this process downloads them in pieces over Dask's connections. One job at a time uses a cluster:
it holds a lease in the scheduler, which ends with its connection, and others wait for it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from gpuquery.api.choices import EngineChoice
from gpuquery.api.reasons import Failure
from gpuquery.api.text import clean
from gpuquery.plan.plan import DaskWay, Plan
from gpuquery.runner.engines import Ranks, Writes, telemetry
from gpuquery.runner.engines.dask import injected, parts, versions
from gpuquery.runner.engines.dask.client import Cluster
from gpuquery.runner.engines.dask.external.download import Download
from gpuquery.runner.engines.dask.guard import Guard
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output.parts import Parts

if TYPE_CHECKING:
    from gpuquery.runner.engines.dask.query import Execute

NO_LIMIT = 7 * 86_400.0
"""Seconds for what startDeadlineSeconds bounds: a DaskCluster that is being made, and jobs and queries before this one.
"""
CONNECT_SECONDS = 120.0
WORKERS_SECONDS = 60.0
"""Time for the workers of a cluster that runs already."""
ASK_SECONDS = 1.0
BUSY_SECONDS = 5.0
"""After which workers that do not answer are said to be busy."""
TIDY_SECONDS = 5.0
"""For removing what is left after a failure; the next job removes it otherwise."""


class ExternalCluster:
    """This process as the cluster's client."""

    def __init__(self, plan: Plan, ranks: Ranks) -> None:
        assert plan.dask is not None
        self._plan, self._ranks, self._dask = plan, ranks, plan.dask
        self._made = plan.dask.way is DaskWay.OPERATOR
        self._folder = ""
        self.guard = Guard(hold=0.0)
        self.cluster = Cluster(self.guard, heartbeat=plan.heartbeat_seconds)

    def join(self) -> None:
        """Connect, wait for the workers and for other jobs, and compare versions; raises JobError."""
        cluster = self.cluster
        seconds = NO_LIMIT if self._made else CONNECT_SECONDS
        cluster.connect(self._dask.scheduler, seconds=seconds, tls_secret=self._dask.tls_secret)
        self._queue()
        cluster.complete(self._dask.workers, seconds=NO_LIMIT if self._made else WORKERS_SECONDS, more=not self._made)
        self._warn_of_ttl()
        cluster.watch_workers()
        self._freed()
        versions.check(cluster, graphs=self._plan.engine == EngineChoice.TASKS)
        self._ranks.note(workers=len(cluster.workers), dask=cluster.address)

    def run(self, execute: Execute, sink: Writes) -> None:
        """Run the query and download what the workers have written: with task graphs meanwhile, else afterwards, for a
        worker answers nobody while rapidsmpf runs a query in it."""
        self._folder = self._prepared()
        here, each_once = sink.scratch(), parts.each_once(self._plan)
        download = Download(self.cluster, self._folder, here, sink)
        done = False
        try:
            with telemetry.watching(self._ranks):
                if each_once and self._plan.engine == EngineChoice.TASKS:
                    download.start()
                self.guard.call("the query", lambda: execute(self.cluster.client, self._folder))
                if each_once:
                    download.finish()
                else:
                    download.all()
                    parts.refuse_doubled(parts.written(here), self._plan.release)
                    Parts(here, download).finish()
                download.check()
            done = True
        finally:
            self._tidy(idle=done)

    def _warn_of_ttl(self) -> None:
        """Say so where the scheduler restarts workers that do not beat: a query may keep them from it for hours."""
        if seconds := self.cluster.scheduler(injected.worker_ttl):
            why = (
                f"its scheduler gives up a worker that has not beaten for {seconds:g} s, and a query may keep it from "
                "that: start the scheduler with DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL=None"
            )
            self.cluster.left_because = f": {why}"
            _say(f"the Dask cluster at {self.cluster.address}: {why}")

    def _queue(self) -> None:
        """Wait until no other job uses the cluster."""
        job = f"{self._plan.job.namespace}/{self._plan.job.name}"
        reported = ""
        while holder := self.cluster.scheduler(injected.take, self.cluster.client.id, job):
            if holder != reported:
                reported = holder
                self._waits(f"the Dask cluster at {self.cluster.address} is used by the job {holder}: waiting for it")
            time.sleep(ASK_SECONDS)
        if reported:
            self._waits("")

    def _freed(self) -> None:
        """Wait until every worker answers, and take down what jobs that died have left there.

        A query on workers goes on when its client dies, and holds their event loops. Only a restart of the workers ends
        it, and that is not ours to do.
        """
        busy = threading.Timer(BUSY_SECONDS, self._waits, [
            f"workers of the Dask cluster at {self.cluster.address} do not answer, as if they still ran the query of a "
            "job that is gone: waiting for them; whoever has the cluster may restart them",
        ])  # fmt: skip
        busy.daemon = True
        busy.start()
        try:
            self.cluster.free(seconds=NO_LIMIT)
            found = self.cluster.scheduler(injected.left, [])
            if found:
                self.cluster.run(injected.dissolve, found)
                self.cluster.scheduler(injected.left, found)
            self.cluster.settle()
        finally:
            busy.cancel()
            self._waits("")

    def _waits(self, why: str) -> None:
        """Tell what keeps the query from beginning; nothing does where it is empty."""
        if why:
            _say(why)
        self._ranks.note(waits_for=why)

    def _prepared(self) -> str:
        """Make the folder for part files on every worker; returns its path, the same on all."""
        folders = self.cluster.scheduler(injected.folders)
        # A worker's own is <local-directory>/dask-scratch-space/<its name>.
        parents = {os.path.dirname(folders[address]): address for address in self.cluster.workers}
        if len(parents) > 1:
            one, other, *_ = parents
            raise JobError(
                Failure.INVALID_COMBINATION,
                f"the Dask workers keep their files in different places, {one} and {other}, and the engine writes to "
                "one path on all of them: start them with the same --local-directory",
            )
        parent = next(iter(parents))
        mark = self.cluster.scheduler(injected.mark)
        name = f"{injected.PREFIX}{mark}-{self._plan.job.uid[:8]}-{self._plan.attempt}"
        self.cluster.run(injected.prepare, parent, name)
        return str(Path(parent, name))

    def _tidy(self, *, idle: bool) -> None:
        """Remove the folder from the workers and let the next job in, if that does not take long.

        Workers that are not known to be `idle` are asked nothing: their event loop may be held. Their nannies are asked
        over TCP and TLS. Over UCX nobody is, for a question that is never answered does harm there (`Cluster.free`):
        the next job removes the folder.
        """
        self.cluster.leave()
        self.guard.close()
        tidy = Guard(hold=0.0)
        with contextlib.suppress(Exception):
            tidy.call("tidying up", lambda: self._left(idle=idle), seconds=TIDY_SECONDS)

    def _left(self, *, idle: bool) -> None:
        cluster = self.cluster
        with contextlib.suppress(Exception):
            if idle or cluster.address.startswith(("tcp:", "tls:")):
                cluster.client.run(injected.removed, self._folder, nanny=not idle, on_error="ignore")
        cluster.client.run_on_scheduler(injected.give, cluster.client.id)


def _say(line: str) -> None:
    print(clean(line), file=sys.stderr, flush=True)
