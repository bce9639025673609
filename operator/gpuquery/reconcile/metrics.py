"""Metrics of the operator. No label holds a job's name: their number must not grow with the number of jobs."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from gpuquery.kube.client import KubeClient
from gpuquery.reconcile.queue import WorkQueue

Key = tuple[str, str]

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics(Collector):
    """What the operator did, and what it sees."""

    def __init__(self, client: KubeClient, queue: WorkQueue[Key]) -> None:
        self._client = client
        self._queue = queue
        self._states: dict[Key, str] = {}
        self.registry = CollectorRegistry()
        self._seconds = Histogram(
            "gpuquery_reconcile_seconds",
            "Time of one look at a job",
            ["result"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    def reconciled(self, seconds: float, result: str) -> None:
        """Count a look at a job."""
        self._seconds.labels(result=result).observe(seconds)

    def state(self, key: Key, state: str | None) -> None:
        """Remember the state of a job."""
        self._states[key] = state or "Pending"

    def known(self, key: Key) -> str | None:
        """Return the state of a job as it was last seen."""
        return self._states.get(key)

    def gone(self, key: Key) -> None:
        """Forget a job that was deleted."""
        self._states.pop(key, None)

    def retain(self, keys: set[Key]) -> None:
        """Forget all jobs but these: a deletion may have been missed."""
        for key in self._states.keys() - keys:
            del self._states[key]

    def collect(self) -> Iterator[Metric]:
        """Return what is counted elsewhere, as it stands."""
        requests = CounterMetricFamily(
            "gpuquery_api_requests", "Requests to the API server by verb and status code", labels=["verb", "code"]
        )
        for (verb, code), count in self._client.requests.items():
            requests.add_metric([verb, code], count)
        yield requests
        jobs = GaugeMetricFamily("gpuquery_jobs", "Jobs by state", labels=["state"])
        for state, count in Tally(self._states.values()).items():
            jobs.add_metric([state], count)
        yield jobs
        yield GaugeMetricFamily("gpuquery_queue_depth", "Jobs that wait to be looked at", value=len(self._queue))
        yield GaugeMetricFamily(
            "gpuquery_queue_oldest_seconds", "How long the oldest of them has waited", value=self._queue.oldest
        )
