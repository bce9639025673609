"""Metrics of the operator. No label holds a job's name: their number must not grow with the number of jobs."""

from __future__ import annotations

from collections import Counter as Tally
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from gpuquery.api.conditions import ConditionType, State, find

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gpuquery.api.status import GpuQueryJobStatus
    from gpuquery.kube.ability import Ability
    from gpuquery.kube.client import KubeClient
    from gpuquery.reconcile.queue import WorkQueue

Key = tuple[str, str]

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
JOB_BUCKETS = (5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14_400, 43_200)


class Metrics(Collector):
    """What the operator did, and what it sees."""

    def __init__(
        self, client: KubeClient, queue: WorkQueue[Key], watched: Mapping[str | None, Ability] | None = None
    ) -> None:
        self._client = client
        self._queue = queue
        self._watched = watched or {}
        self._states: dict[Key, tuple[str, str]] = {}
        self.registry = CollectorRegistry()
        self._seconds = Histogram(
            "gpuquery_reconcile_seconds",
            "Time of one look at a job",
            ["result"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._ended = Histogram(
            "gpuquery_job_seconds",
            "Time of jobs from the start of their first pod to their end, by engine, cluster and result",
            ["engine", "cluster", "result"],
            buckets=JOB_BUCKETS,
            registry=self.registry,
        )
        self._pruned = Counter(
            "gpuquery_jobs_pruned",
            "Finished jobs deleted as too many of their namespace",
            registry=self.registry,
        )
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    def reconciled(self, seconds: float, result: str) -> None:
        """Count a look at a job."""
        self._seconds.labels(result=result).observe(seconds)

    def seen(self, key: Key, before: GpuQueryJobStatus, after: GpuQueryJobStatus) -> None:
        """Remember the state of a job and its engine; if it has just ended, count its outcome and its time."""
        engine = after.plan.engine if after.plan else ""
        self._states[key] = (after.state or "Pending", engine)
        if after.completion_time is None or before.completion_time is not None:
            return
        failed = find(after.conditions, ConditionType.FAILED)
        result = failed.reason if failed and failed.status == "True" else "Complete"
        cluster = after.plan.cluster if after.plan else ""
        began = after.start_time or after.completion_time
        self._ended.labels(engine=engine, cluster=cluster, result=result).observe(
            (after.completion_time - began).total_seconds()
        )

    def pruned(self) -> None:
        """Count a finished job that was deleted as one too many."""
        self._pruned.inc()

    def noted(self, key: Key, state: str, engine: str) -> None:
        """Remember a job that ended before this operator began, and that nobody has to look at."""
        self._states[key] = (state, engine)

    def over(self, key: Key) -> bool:
        """Whether a job had ended when it was last seen."""
        return self._states.get(key, ("", ""))[0] in (State.COMPLETE, State.FAILED)

    def gone(self, key: Key) -> None:
        """Forget a job that was deleted."""
        self._states.pop(key, None)

    def collect(self) -> Iterator[Metric]:
        """Return what is counted elsewhere, as it stands."""
        requests = CounterMetricFamily(
            "gpuquery_api_requests", "Requests to the API server by verb and status code", labels=["verb", "code"]
        )
        for (verb, code), count in self._client.requests.items():
            requests.add_metric([verb, code], count)
        yield requests
        jobs = GaugeMetricFamily("gpuquery_jobs", "Jobs by state and engine", labels=["state", "engine"])
        for (state, engine), count in Tally(self._states.values()).items():
            jobs.add_metric([state, engine], count)
        yield jobs
        watched = GaugeMetricFamily(
            "gpuquery_namespace_watched",
            "1 if the jobs of a namespace can be listed and watched, else 0; no namespace: of all",
            labels=["namespace"],
        )
        for namespace, ability in self._watched.items():
            watched.add_metric([namespace or ""], ability.missing() is None)
        yield watched
        yield GaugeMetricFamily("gpuquery_queue_depth", "Jobs that wait to be looked at", value=len(self._queue))
        yield GaugeMetricFamily(
            "gpuquery_queue_oldest_seconds", "How long the oldest of them has waited", value=self._queue.oldest
        )
