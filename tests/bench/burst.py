"""What the operator spends on 200 jobs that are applied at once: CPU, memory and API writes a job."""

from __future__ import annotations

import argparse
import contextlib
import json
import threading
import time

from prometheus_client.parser import text_string_to_metric_families

from tests.bench.setting import conditions, prepared
from tests.e2e.jobs import Bench, fresh, tpch, true
from tools import demo
from tools.kubectl import KubectlError, wait_until

WRITES = ("create", "apply", "patch", "update", "delete", "post")
METRICS_PORT = 9090


def scrape(bench: Bench) -> dict[str, float]:
    """Return the operator's CPU seconds, resident bytes and API writes, from its own metrics."""
    pod = bench.cluster.get("pods", "-n", demo.SYSTEM, "-l", "app.kubernetes.io/name=gpuquery")["items"][0]
    path = f"/api/v1/namespaces/{demo.SYSTEM}/pods/{pod['metadata']['name']}:{METRICS_PORT}/proxy/metrics"
    found = {"cpu": 0.0, "rss": 0.0, "writes": 0.0, "requests": 0.0}
    for family in text_string_to_metric_families(bench.cluster.run("get", "--raw", path)):
        for sample in family.samples:
            if sample.name == "process_cpu_seconds_total":
                found["cpu"] = sample.value
            elif sample.name == "process_resident_memory_bytes":
                found["rss"] = sample.value
            elif sample.name == "gpuquery_api_requests_total":
                found["requests"] += sample.value
                if sample.labels["verb"].lower() in WRITES:
                    found["writes"] += sample.value
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    count = parser.parse_args().jobs
    with prepared() as bench:
        prefix, peak, stop = fresh("many"), [0.0], threading.Event()

        def watch() -> None:
            while not stop.wait(1):
                with contextlib.suppress(KubectlError):  # a busy API server is no reason to lose the measurement
                    peak[0] = max(peak[0], scrape(bench)["rss"])

        resources = {"requests": {"cpu": "150m", "memory": "200Mi"}}
        documents = [
            bench.job(
                f"{prefix}-{n}",
                sql="SELECT n_name FROM nation",
                inputs=tpch("nation"),
                workers={"resources": resources},
                startDeadlineSeconds=3600,
            )
            for n in range(count)
        ]
        before, began = scrape(bench), time.monotonic()
        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        bench.apply(*documents)

        def complete() -> int:
            jobs = bench.cluster.get("gqj", "-n", bench.namespace)["items"]
            ended = [true(j, "Complete") for j in jobs if j["metadata"]["name"].startswith(prefix)]
            return sum(ended) == count

        wait_until(complete, timeout=1500, what="all jobs", every=3)
        seconds = time.monotonic() - began
        after = scrape(bench)
        stop.set()
        watcher.join()
    result = {
        "bench": "burst",
        "jobs": count,
        "seconds": round(seconds, 1),
        "jobs_per_minute": round(60 * count / seconds, 1),
        "operator_cpu_ms_per_job": round(1000 * (after["cpu"] - before["cpu"]) / count, 1),
        "operator_peak_rss_mb": round(peak[0] / 1e6),
        "api_writes_per_job": round((after["writes"] - before["writes"]) / count, 2),
        "api_requests_per_job": round((after["requests"] - before["requests"]) / count, 2),
        **conditions(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
