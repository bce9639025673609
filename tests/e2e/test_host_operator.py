"""The operator as a process of this machine, in place of the one in the cluster: killed, started again, and counted."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.jobs import Bench, condition, fresh, tpch, true
from tools import demo
from tools.kubectl import ROOT, Cluster, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.alone
SELECT = "SELECT n_name, n_regionkey FROM nation"
METRICS_PORT = 19090
KILLS = 10


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


@pytest.fixture(scope="module")
def on_this_machine(
    cluster: Cluster, everything: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HostOperator]:
    """The operator on this machine for all tests of the module; the one in the cluster comes back afterwards."""
    cluster.run("scale", "deployment", "-n", demo.SYSTEM, "--all", "--replicas=0")
    cluster.run("wait", "--for=delete", "pod", "--all", "-n", demo.SYSTEM, "--timeout=60s")
    operator = HostOperator(cluster, tmp_path_factory.mktemp("operator") / "operator.log")
    operator.start()
    yield operator
    operator.kill()
    cluster.run("scale", "deployment", "-n", demo.SYSTEM, "--all", "--replicas=1")
    cluster.run("rollout", "status", "deployment", "-n", demo.SYSTEM, "--timeout=120s", timeout=150)


@pytest.fixture
def host_operator(on_this_machine: HostOperator, settled: None) -> HostOperator:
    """This operator, which has nothing left to do for the tests before."""
    return on_this_machine


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
    bench.apply(bench.held(live))
    wait_until(lambda: true(bench.get(live), "Running"), what="Running")
    before = [bench.get(n)["metadata"]["resourceVersion"] for n in (done, live)]
    host_operator.kill()
    host_operator.start()
    wait_until(lambda: host_operator.writes() >= 0, what="the operator's metrics")
    time.sleep(8)  # long enough for every write that a start could cause
    assert host_operator.writes() == 0
    assert [bench.get(n)["metadata"]["resourceVersion"] for n in (done, live)] == before
    bench.go_on(live)
    assert true(bench.ended(live), "Complete")


def test_one_attempt_of_one_pod_costs_at_most_ten_writes(bench: Bench, host_operator: HostOperator) -> None:
    """Nine, and ten where a pod is seen ready in the moment before its progress is read."""
    wait_until(lambda: host_operator.writes() >= 0, what="the operator's metrics")
    before = host_operator.writes()
    for _ in range(3):
        bench.completed(bench.job(fresh("cheap"), sql=SELECT, inputs=tpch("nation")))
    time.sleep(2)  # events follow the last status write
    assert (host_operator.writes() - before) / 3 <= 10
