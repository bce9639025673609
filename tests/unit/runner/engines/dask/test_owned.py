"""A Dask cluster of the attempt's own pods, as far as it needs no Dask: where it is, what its workers get, limits."""

from __future__ import annotations

import os
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from gpuquery.api.reasons import Failure
from gpuquery.runner.engines import Alone
from gpuquery.runner.engines.dask.owned import child, commands
from gpuquery.runner.engines.dask.owned.cluster import OwnedCluster, own_address
from gpuquery.runner.engines.dask.query import DaskQuery
from gpuquery.runner.failures.errors import JobError
from tests.support.dask_plans import dask_plan
from tests.support.runner import plan

if TYPE_CHECKING:
    from pathlib import Path


def names(monkeypatch: pytest.MonkeyPatch, known: dict[str, str], *, later: dict[str, str] | None = None) -> list[str]:
    """Have a DNS that knows some names, and after three questions some more; returns the questions."""
    asked: list[str] = []

    def answer(host: str, _: object, **__: Any) -> list[Any]:
        asked.append(host)
        found = known | ((later or {}) if len(asked) > 3 else {})
        if host not in found:
            raise socket.gaierror("Name or service not known")
        return [(0, 0, 0, "", (found[host], 0))]

    monkeypatch.setattr("gpuquery.runner.engines.dask.owned.cluster.LOOK_SECONDS", 0.01)
    monkeypatch.setattr("gpuquery.runner.engines.dask.owned.cluster.socket.getaddrinfo", answer)
    monkeypatch.setattr("gpuquery.runner.engines.dask.owned.cluster.socket.gethostname", lambda: "job-1-0")
    monkeypatch.setenv("GPUQUERY_HUB", "job-1-0.job-1")
    return asked


@pytest.mark.parametrize(
    ("known", "want"),
    [
        pytest.param({"job-1-0.job-1": "10.0.0.7"}, "10.0.0.7", id="as the other pods find it"),
        pytest.param({"job-1-0": "10.0.0.7"}, "10.0.0.7", id="as the kubelet has written it, before DNS knows it"),
    ],
)
def test_the_scheduler_is_where_other_pods_reach_it(
    monkeypatch: pytest.MonkeyPatch, known: dict[str, str], want: str
) -> None:
    names(monkeypatch, known)
    assert own_address(seconds=5) == want


def test_a_name_that_dns_does_not_know_yet_is_waited_for_and_no_loopback_stands_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At the loopback address the workers of the other pods would look for it in their own pods, for minutes."""
    asked = names(monkeypatch, {"job-1-0": "127.0.1.1"}, later={"job-1-0.job-1": "10.0.0.7"})
    assert own_address(seconds=60) == "10.0.0.7"
    assert len(asked) > 3
    names(monkeypatch, {"job-1-0": "127.0.1.1"})
    with pytest.raises(JobError, match=r"own name job-1-0\.job-1 has no address within 0\.05 s") as raised:
        own_address(seconds=0.05)
    assert raised.value.failure is Failure.TRANSPORT_ERROR


class Ranks(Alone):
    """The second pod of two."""

    index, size = 1, 2

    def gate(self, name: str, value: Any = None, *, seconds: float) -> Any:
        return ["ucx://10.0.0.1:8786", None]


def test_workers_get_the_credentials_of_a_cloud_identity_as_the_gpu_reader_needs_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They start before the query is checked and this process's own environment is filled."""
    started: list[dict[str, str]] = []
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(child, "start", lambda *_, environment, **__: started.append(dict(environment)))
    keys = {"AWS_ACCESS_KEY_ID": "AKIA1234", "AWS_SESSION_TOKEN": "t0ken"}
    monkeypatch.setattr("gpuquery.runner.stores.reader_rules.variables", lambda _: (keys, ()))
    reads = dask_plan().model_copy(
        update={"inputs": plan("s3://lake", "-", inputs={"t": "s3://lake/t.parquet"}).inputs}
    )
    pod = OwnedCluster(reads, Ranks(), commands.cuda_workers)
    pod.join()
    pod.guard.close()
    (environment,) = started
    assert {name: environment.get(name) for name in keys} == keys
    assert "AWS_SESSION_TOKEN" not in os.environ


def test_workers_that_never_connect_among_each_other_end_the_query(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The library waits for them in native code, and has no time limit."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    query = DaskQuery(dask_plan(), Ranks())

    def run() -> None:
        with query.connecting(seconds=0.1):
            threading.Event().wait(60)

    with pytest.raises(JobError, match=r"did not connect among each other within 0\.1 s") as raised:
        query.cluster.guard.call("the query", run)
    assert raised.value.failure is Failure.TRANSPORT_ERROR
