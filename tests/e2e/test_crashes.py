"""Killed operators, killed pods, a store that goes away: one commit, nothing partial, nothing left."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.jobs import Bench, condition, fresh, tpch, true
from tests.support.faultproxy import Action, FaultProxy, Rule
from tools import demo
from tools.kubectl import ROOT, Cluster, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

SELECT = "SELECT n_name, n_regionkey FROM nation"
LINES = "SELECT * FROM lineitem"
METRICS_PORT = 19090
KILLS = 10
HELD = 20.0
"""Seconds that a part of an upload is held up: long enough for any machine to act in the middle of it."""


class HostOperator:
    """The operator as a process of this machine, so that SIGKILL hits it at any moment we like."""

    def __init__(self, cluster: Cluster, log: Path) -> None:
        self.cluster, self.log = cluster, log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it takes over where the last one was killed."""
        environment = {
            **self.cluster.env(),
            "GPUQUERY_RUNTIME_IMAGE": self.cluster.image("runtime"),
            "GPUQUERY_METRICS_PORT": str(METRICS_PORT),
            "GPUQUERY_LEADER_ELECTION": "false",
        }
        command = [str(Path(sys.executable).parent / "gpuquery"), "operator"]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=self.log.open("ab"), stderr=subprocess.STDOUT
        )

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def writes(self) -> float:
        """Return the API writes of this process, by its own count; -1 while it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{METRICS_PORT}/metrics", timeout=2) as answer:
                text = answer.read().decode()
        except OSError:
            return -1
        samples = [s for f in text_string_to_metric_families(text) for s in f.samples]
        reads = ("get", "list", "watch")
        return sum(
            s.value
            for s in samples
            if s.name == "gpuquery_api_requests_total" and s.labels["verb"].lower() not in reads
        )


@pytest.fixture
def host_operator(bench: Bench, settled: None, tmp_path: Path) -> Iterator[HostOperator]:
    """The operator on this machine in place of the one in the cluster."""
    cluster = bench.cluster
    cluster.run("scale", "deployment", "-n", demo.SYSTEM, "--all", "--replicas=0")
    cluster.run("wait", "--for=delete", "pod", "--all", "-n", demo.SYSTEM, "--timeout=60s")
    operator = HostOperator(cluster, tmp_path / "operator.log")
    operator.start()
    yield operator
    operator.kill()
    cluster.run("scale", "deployment", "-n", demo.SYSTEM, "--all", "--replicas=1")
    cluster.run("rollout", "status", "deployment", "-n", demo.SYSTEM, "--timeout=120s", timeout=150)


class Watched:
    """Lists a folder of the store all the time, as a plain reader would, and remembers every listing."""

    def __init__(self, bench: Bench, prefix: str) -> None:
        self.bench, self.prefix = bench, prefix
        self.seen: list[tuple[float, frozenset[str]]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Watched:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.is_set():
            self.seen.append((time.monotonic(), frozenset(self.bench.keys(self.prefix))))

    @property
    def partial(self) -> bool:
        """Whether files were visible while no commit record was."""
        return any(
            any("/data/" in k for k in keys) and not any("/_commits/" in k for k in keys) for _, keys in self.seen
        )


def test_an_operator_that_is_killed_ten_times_still_ends_every_job_once(
    bench: Bench, host_operator: HostOperator
) -> None:
    chance = random.Random(7)
    names = [fresh(f"kill{n}") for n in range(4)]
    for name in names:
        bench.apply(bench.job(name, sql=SELECT, inputs=tpch("nation")))
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.2, 2.5))  # the moment of the kill is what is drawn at random
        host_operator.kill()
        host_operator.start()
    for name in names:
        job = bench.ended(name)
        assert true(job, "Complete"), condition(job, "Failed")
        assert len(bench.commits(f"out/{name}")) == 1
        assert len(bench.cluster.get("jobs", "-n", bench.namespace, "-l", f"gpuquery.io/job={name}")["items"]) == 1


def test_a_restart_with_live_and_finished_jobs_writes_nothing(bench: Bench, host_operator: HostOperator) -> None:
    done, live = fresh("done"), fresh("live")
    bench.completed(bench.job(done, sql=SELECT, inputs=tpch("nation")))
    code = "import time\n\ndef query(inputs, params):\n    time.sleep(45)\n    return inputs['nation']\n"
    bench.apply(bench.job(live, python=code, inputs=tpch("nation")))
    wait_until(lambda: true(bench.get(live), "Running"), timeout=60, what="Running")
    before = [bench.get(n)["metadata"]["resourceVersion"] for n in (done, live)]
    host_operator.kill()
    host_operator.start()
    wait_until(lambda: host_operator.writes() >= 0, timeout=30, what="the operator's metrics")
    time.sleep(8)  # long enough for every write that a start could cause
    assert host_operator.writes() == 0
    assert [bench.get(n)["metadata"]["resourceVersion"] for n in (done, live)] == before
    assert true(bench.ended(live), "Complete")


def test_one_attempt_of_one_pod_costs_fewer_than_ten_writes(bench: Bench, host_operator: HostOperator) -> None:
    """On average of three: a pod that is seen ready in the moment before its progress is read costs one more."""
    wait_until(lambda: host_operator.writes() >= 0, timeout=30, what="the operator's metrics")
    before = host_operator.writes()
    for _ in range(3):
        bench.completed(bench.job(fresh("cheap"), sql=SELECT, inputs=tpch("nation")))
    time.sleep(2)  # events follow the last status write
    assert (host_operator.writes() - before) / 3 < 10


def slow_uploads(seconds: float) -> Rule:
    """Delay every part of an upload, and after them the list of what was uploaded."""
    return Rule(Action.DELAY, method="PUT", target="partNumber=|_staging/.*/rank-[0-9]+[.]json", seconds=seconds)


def test_a_pod_killed_while_it_uploads_leaves_one_commit_and_nothing_partial(
    bench: Bench, proxy: FaultProxy, tables: Path
) -> None:
    name = fresh("upload")
    slow = Bench(bench.cluster, bench.lake, bench.namespace, proxy.endpoint, bench.names)
    proxy.rules.append(slow_uploads(HELD))
    with Watched(bench, f"out/{name}/") as watched:
        slow.apply(slow.job(name, sql=LINES, inputs=tpch("lineitem"), output={"partitionBy": ["l_shipmode"]}))
        wait_until(lambda: proxy.count("PUT", "partNumber=") >= 2, timeout=90, what="an upload")
        victim = bench.alive(name)[0]
        bench.cluster.run("delete", "pod", victim, "-n", bench.namespace, "--force", "--grace-period=0")
        proxy.rules.clear()
        job = bench.ended(name)
    assert true(job, "Complete"), condition(job, "Failed")
    assert job["status"]["attempt"] == 2
    assert not watched.partial
    assert len(bench.commits(f"out/{name}")) == 1
    assert bench.uploads(f"out/{name}/") == [], "the next attempt drops the uploads of the killed one"


def test_a_store_that_is_away_for_ten_seconds_delays_and_no_more(bench: Bench, proxy: FaultProxy) -> None:
    name = fresh("outage")
    slow = Bench(bench.cluster, bench.lake, bench.namespace, proxy.endpoint, bench.names)
    proxy.rules.append(slow_uploads(3.0))
    slow.apply(slow.job(name, sql=LINES, inputs=tpch("lineitem"), output={"partitionBy": ["l_shipmode"]}))
    wait_until(lambda: proxy.count("PUT", "partNumber=") >= 1, timeout=90, what="an upload")
    proxy.down()
    time.sleep(10)  # the outage itself
    proxy.up()
    proxy.rules.clear()
    job = bench.ended(name)
    assert true(job, "Complete"), condition(job, "Failed")
    assert job["status"]["attempt"] == 1, "no attempt is spent on it"
    assert len(bench.commits(f"out/{name}")) == 1


def test_a_job_deleted_while_it_uploads_leaves_nothing(bench: Bench, proxy: FaultProxy) -> None:
    name = fresh("deleted")
    slow = Bench(bench.cluster, bench.lake, bench.namespace, proxy.endpoint, bench.names)
    proxy.rules.append(slow_uploads(3.0))
    slow.apply(slow.job(name, sql=LINES, inputs=tpch("lineitem"), output={"partitionBy": ["l_shipmode"]}))
    wait_until(lambda: proxy.count("PUT", "partNumber=") >= 2, timeout=90, what="an upload")
    bench.cluster.run("delete", "gqj", name, "-n", bench.namespace, "--wait=false")
    wait_until(lambda: not bench.pods(name), timeout=60, what="its pods to go")
    assert bench.uploads(f"out/{name}/") == []
    assert [k for k in bench.keys(f"out/{name}/") if not k.endswith("/")] == []
    left = bench.cluster.get("jobs,services,configmaps", "-n", bench.namespace, "-l", f"gpuquery.io/job={name}")
    assert left["items"] == []


def test_of_two_jobs_that_race_for_one_output_one_wins_and_the_other_names_it(bench: Bench) -> None:
    name = fresh("race")
    output = {"uri": f"s3://lake/out/{name}"}
    names = [f"{name}-{n}" for n in range(2)]
    bench.apply(*(bench.job(n, sql=SELECT, inputs=tpch("nation"), output=output) for n in names))
    jobs = [bench.ended(n) for n in names]
    assert sorted(true(j, "Complete") for j in jobs) == [False, True]
    loser = next(j for j in jobs if not true(j, "Complete"))
    failed = condition(loser, "Failed")
    assert failed and failed["reason"] == "OutputExists"
    assert len(bench.commits(f"out/{name}")) == 1
    assert bench.uploads(f"out/{name}/") == []


def test_the_operator_in_the_cluster_survives_the_loss_of_its_pod(bench: Bench) -> None:
    name = fresh("lost")
    bench.apply(bench.job(name, sql=SELECT, inputs=tpch("nation")))
    bench.cluster.run("delete", "pod", "--all", "-n", demo.SYSTEM, "--force", "--grace-period=0")
    assert true(bench.ended(name), "Complete")
