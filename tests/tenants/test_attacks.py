"""What a tenant who means harm can do to another tenant's small job, with and without.

A control plane of its own, whose pods are played: `make test-tenants`. The times are those from the creation of a small
job until its pod is asked for and its status says so, since from there on it is the scheduler's and the kubelet's. They
are compared with those of the same operator without the attack, generously: this machine does all the rest too. What an
attack may have at most is set high enough for it, where the operator would refuse it.
"""

from __future__ import annotations

import contextlib
import json
import socket
import statistics
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from gpuquery.api.labels import PROGRESS_PORT
from tests.bench.plane import answers
from tests.bench.setting import conditions
from tests.tenants.stage import API, USER, Operator, Server, chart_limit, job, megabyte, operator, small_jobs
from tools.kubectl import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.tenants, pytest.mark.timeout(1200)]

MOST_TIMES, MOST_SECONDS = 4.0, 2.0
"""How much longer the small job may take: so many times as long, and these seconds for a machine that is busy."""
SPECS, PODS, SLOW, WAITING = 200, 3000, 60, 1000
SLOW_ADDRESS = "127.77.0.1"


@pytest.fixture
def mallory(server: Server) -> Iterator[str]:
    """The namespace of who attacks; what was made there is gone at the end, and no operator looks at it any more."""
    name = server.namespace("mallory")
    yield name
    server.clear(name)


@pytest.fixture
def alice(server: Server) -> Iterator[str]:
    """The namespace of who is attacked."""
    name = server.namespace("alice")
    yield name
    server.clear(name)


def compared(attack: str, before: list[float], during: list[float], subject: Operator, **more: Any) -> None:
    """Tell what came of an attack, and see that the small jobs took about as long as without it."""
    without, worst = statistics.median(before), statistics.median(during)
    result = {
        "attack": attack,
        "seconds_without": round(without, 2),
        "seconds_with": round(worst, 2),
        "longest_with": round(max(during), 2),
        "operator_peak_mb": round(subject.peak() / 1e6),
        **more,
        **conditions(),
    }
    print(json.dumps(result))
    assert worst <= MOST_TIMES * without + MOST_SECONDS, result
    assert subject.peak() < chart_limit(), result
    assert subject.said("/healthz") == "ok", result


def test_two_hundred_specs_of_a_megabyte_neither_end_a_restarted_operator_nor_slow_others(
    server: Server, alice: str, mallory: str
) -> None:
    with operator(server.plane) as subject:
        before = small_jobs(server, alice)
        made = server.create(mallory, *(megabyte(f"big-{n}") for n in range(SPECS)))
        assert set(made) == {201}
        right_after = small_jobs(server, alice, 3)
        last = f"{API}/namespaces/{mallory}/gpuqueryjobs/big-{SPECS - 1}"
        told = wait_until(
            lambda: server.get(last).get("status"), timeout=120, what="the last of them to be told", every=1
        )
        assert "spec is too large" in json.dumps(told)
    size = len(json.dumps(megabyte("big")))
    assert size > 900_000
    began = time.monotonic()
    with operator(server.plane, GPUQUERY_RESYNC_SECONDS="5") as subject:
        ready = time.monotonic() - began
        during = [*right_after, *small_jobs(server, alice)]
        time.sleep(10)  # all jobs are listed again
        compared("specs", before, during, subject, objects=SPECS, bytes_each=size, ready_seconds=round(ready, 1))


def test_a_set_of_three_thousand_pods_slows_nobody(server: Server, alice: str, mallory: str) -> None:
    limits = {"GPUQUERY_LIMITS": json.dumps({"podsPerJob": PODS, "gpusPerJob": PODS})}
    with operator(server.plane, **limits) as subject:
        before = small_jobs(server, alice)
        spec = {
            "engine": "rapidsmpf", "cluster": "distributed", "preflight": "never",
            "workers": {"replicas": PODS, "gpus": 1}, "runtime": {"release": "26.10", "image": "huge"},
            "template": {"spec": {"nodeSelector": {"nowhere": "nowhere"}}},
        }  # fmt: skip
        assert server.create(mallory, job("huge", **spec)) == [201]
        during: list[float] = []
        pods = f"/api/v1/namespaces/{mallory}/pods?limit=1"

        def made() -> bool:
            found = server.get(pods)
            return len(found["items"]) + (found["metadata"].get("remainingItemCount") or 0) >= PODS

        while not made():
            during += small_jobs(server, alice, 1)
        during += small_jobs(server, alice)
        compared("pods", before, during, subject, pods=PODS)


@contextlib.contextmanager
def slow_pods() -> Iterator[None]:
    """Answer as a pod that sends a blank every 0.3 seconds and never comes to an end."""
    ended = threading.Event()

    def answer(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while not ended.wait(0.3):
                connection.sendall(b" ")

    def serve(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server((SLOW_ADDRESS, PROGRESS_PORT), backlog=200) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield
        ended.set()


def test_sixty_pods_that_never_finish_an_answer_slow_nobody(server: Server, alice: str, mallory: str) -> None:
    with slow_pods(), operator(server.plane) as subject:
        before = small_jobs(server, alice)
        assert set(server.create(mallory, *(job(f"slow-{n}") for n in range(SLOW)))) == {201}
        path = f"/api/v1/namespaces/{mallory}/pods"

        def pods() -> list[Any]:
            return [p for p in server.get(path)["items"] if p["status"].get("phase") == "Running"]

        wait_until(lambda: len(pods()) >= SLOW, timeout=120, what="the slow pods", every=1)
        ips = {"status": {"podIP": SLOW_ADDRESS, "podIPs": [{"ip": SLOW_ADDRESS}]}}
        moved = [("PATCH", f"{path}/{p['metadata']['name']}/status", ips) for p in pods()]
        assert set(server.send(*moved)) == {200}
        time.sleep(3)
        compared("slow", before, small_jobs(server, alice), subject, pods=SLOW)


def test_a_thousand_jobs_that_wait_for_ever_slow_nobody(server: Server, alice: str, mallory: str) -> None:
    with operator(server.plane) as subject:
        before = small_jobs(server, alice)
        spec = {"query": {"configMapKeyRef": {"name": "never", "key": "q.sql"}}, "startDeadlineSeconds": 31_536_000}
        made = server.create(mallory, *(job(f"waits-{n}", **spec) for n in range(WAITING)))
        assert set(made) == {201}
        last = f"{API}/namespaces/{mallory}/gpuqueryjobs/waits-{WAITING - 1}"
        at_once = small_jobs(server, alice)
        wait_until(lambda: server.get(last).get("status"), timeout=300, what="the last of them to be told", every=1)
        compared("waiting", before, [*at_once, *small_jobs(server, alice)], subject, jobs=WAITING)


def test_an_operator_that_may_do_nothing_is_not_ready_and_says_why(server: Server, tmp_path: Path) -> None:
    """An account without rights: it can be told from one that stands by."""
    account = "gpuquery-system"
    server.plane.cluster.run("create", "namespace", account)
    server.plane.cluster.run("create", "serviceaccount", "powerless", "-n", account)
    token = server.plane.cluster.run("create", "token", "powerless", "-n", account).strip()
    config = json.loads(server.plane.kubeconfig(USER).read_text())
    config["users"][0]["user"]["token"] = token
    (tmp_path / "config").write_text(json.dumps(config))
    with operator(server.plane, able=False, KUBECONFIG=str(tmp_path / "config")) as subject:
        said = wait_until(lambda: answer(subject), timeout=60, what="words of the probe", every=0.5)
        assert said == "cannot read the Lease default/gpuquery-operator: 403 Forbidden"
        assert not answers(f"{subject.probe}/readyz") and subject.said("/healthz") == "ok"


def answer(subject: Operator) -> str:
    """Return what the readiness probe says, once it is more than that the operator has not begun."""
    with contextlib.suppress(OSError):
        said = subject.said("/readyz")
        return "" if said.startswith("has yet to") else said
    return ""
