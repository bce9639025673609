"""Meeting a Dask cluster that is elsewhere: its scheduler's name and protocol, versions, when the client is ready."""

from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING, Any

import pytest

from gpuquery.api.reasons import Failure
from gpuquery.api.report import Phase, Progress
from gpuquery.runner.coordination import settings
from gpuquery.runner.coordination.membership import Membership
from gpuquery.runner.engines.dask import injected, tls, versions
from gpuquery.runner.engines.dask.client import Cluster
from gpuquery.runner.engines.dask.guard import Guard
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.pod.endpoints import Board
from gpuquery.runner.progress import Tracker

if TYPE_CHECKING:
    from pathlib import Path

# --- Versions


MINE = {"python": "3.11", "dask": "2026.7.1", "distributed": "2026.7.1", "cudf-polars": "26.10.2", "polars": "1.44.2"}


def test_the_same_versions_pass() -> None:
    versions.refuse(MINE, {"the scheduler": MINE, "the worker a": dict(MINE)}, versions.ALL)


@pytest.mark.parametrize(
    ("name", "theirs", "words"),
    [
        (
            "polars",
            "1.38.1",
            "the worker a of the Dask cluster has polars 1.38.1, and the job's image has polars 1.44.2",
        ),
        ("cudf-polars", None, "the worker a of the Dask cluster has no cudf-polars"),
    ],
)
def test_another_version_is_refused_with_both_sides_named(name: str, theirs: str | None, words: str) -> None:
    other = {key: value for key, value in (MINE | {name: theirs}).items() if value}
    with pytest.raises(JobError) as told:
        versions.refuse(MINE, {"the worker a": other, "the worker b": MINE}, versions.ALL)
    assert told.value.failure is Failure.RELEASE_MISMATCH
    assert words in told.value.message


# --- The way to a cluster elsewhere


@pytest.mark.parametrize(
    ("protocol", "ip", "place"),
    [
        ("ucx", "10.0.0.7", "10.0.0.7"),
        ("ucxx", "fd00::7", "[fd00::7]"),
        ("tcp", "10.0.0.7", "warm-scheduler.data.svc"),
        pytest.param("tls", "10.0.0.7", "warm-scheduler.data.svc", id="a name may be what is checked"),
    ],
)
def test_nobody_connects_before_the_schedulers_name_is_known_and_ucx_looks_up_no_name(
    monkeypatch: pytest.MonkeyPatch, protocol: str, ip: str, place: str
) -> None:
    """UCXX that has once met a name without an address hangs in every later try."""
    asked: list[str] = []

    def known(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(f"{host}:{port}")
        if len(asked) < 2:
            raise OSError("Name or service not known")
        return [(2, 1, 6, "", (ip, port))]

    def client(address: str, **_: Any) -> str:
        assert len(asked) == 2, "the name was not known yet"
        return f"client of {address}"

    distributed, config = types.ModuleType("distributed"), types.SimpleNamespace(set=lambda _: None)
    monkeypatch.setattr(distributed, "Client", client, raising=False)
    monkeypatch.setitem(sys.modules, "distributed", distributed)
    monkeypatch.setitem(sys.modules, "dask", types.SimpleNamespace(config=config))
    monkeypatch.setattr(injected, "register", lambda: None)
    monkeypatch.setattr("gpuquery.runner.engines.dask.client.socket.getaddrinfo", known)
    cluster = Cluster(Guard(hold=0.0), heartbeat=6)
    monkeypatch.setattr(tls.Certificates, "check", lambda *_: None)
    cluster.connect(f"{protocol}://warm-scheduler.data.svc:8786", seconds=30)
    assert asked == ["warm-scheduler.data.svc:8786"] * 2
    assert cluster.client == f"client of {protocol}://{place}:8786"
    assert cluster.address == f"{protocol}://warm-scheduler.data.svc:8786", "which people know"


def test_a_name_that_is_never_known_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", types.ModuleType("distributed"))
    monkeypatch.setitem(sys.modules, "dask", types.SimpleNamespace(config=types.SimpleNamespace(set=lambda _: None)))
    monkeypatch.setattr(injected, "register", lambda: None)
    with pytest.raises(
        JobError, match=r"tcp://nowhere\.invalid:8786 does not answer within 1 s: .*not known"
    ) as raised:
        Cluster(Guard(hold=0.0), heartbeat=6).connect("tcp://nowhere.invalid:8786", seconds=1)
    assert raised.value.failure is Failure.WORKER_LOST


def cannot_connect(monkeypatch: pytest.MonkeyPatch, raised: Exception) -> None:
    """Have every try to connect raise this."""

    def client(*_: Any, **__: Any) -> None:
        raise raised

    distributed = types.ModuleType("distributed")
    monkeypatch.setattr(distributed, "Client", client, raising=False)
    monkeypatch.setitem(sys.modules, "distributed", distributed)
    monkeypatch.setitem(sys.modules, "dask", types.SimpleNamespace(config=types.SimpleNamespace(set=lambda _: None)))
    monkeypatch.setattr(injected, "register", lambda: None)
    monkeypatch.setattr(
        "gpuquery.runner.engines.dask.client.socket.getaddrinfo", lambda *_, **__: [(2, 1, 6, "", ("10.0.0.7", 8786))]
    )


class CommClosedError(OSError):
    """What Dask raises of a connection that breaks."""


def test_what_is_told_of_a_scheduler_that_hangs_up_is_the_address_and_not_what_was_seen_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The report of an attempt takes the words of a fault's cause, if it has one."""
    cannot_connect(monkeypatch, CommClosedError("in <UCX (closed)>: reset"))
    with pytest.raises(JobError, match=r"ucx://h:8786 does not answer within 0 s: .*reset: see whether its") as told:
        Cluster(Guard(hold=0.0), heartbeat=6).connect("ucx://h:8786", seconds=0)
    assert told.value.failure is Failure.WORKER_LOST and told.value.__cause__ is None


@pytest.mark.parametrize(
    ("address", "raised", "words"),
    [
        pytest.param("tcp://h:8786", RuntimeError("encryption required by Dask configuration, refusing communication"),
                     "name a scheduler that speaks tls", id="a protocol that the client may not speak"),
        pytest.param("ucx://h:8786", ValueError("unknown address scheme 'ucx'"), "ucx or ucxx as the release does",
                     id="a protocol under another name"),
    ],
)  # fmt: skip
def test_what_no_try_can_mend_is_refused_for_good(
    monkeypatch: pytest.MonkeyPatch, address: str, raised: Exception, words: str
) -> None:
    cannot_connect(monkeypatch, raised)
    with pytest.raises(JobError, match=words) as found:
        Cluster(Guard(hold=0.0), heartbeat=6).connect(address, seconds=30)
    assert found.value.failure is Failure.INVALID_COMBINATION, "which is not tried again"


def test_what_is_none_of_these_is_raised_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    cannot_connect(monkeypatch, RuntimeError("no running event loop"))
    with pytest.raises(RuntimeError, match="no running event loop") as found:
        Cluster(Guard(hold=0.0), heartbeat=6).connect("ucx://h:8786", seconds=30)
    assert found.value.__cause__ is None


def test_the_client_of_a_cluster_elsewhere_is_ready_once_that_is_complete(tmp_path: Path) -> None:
    membership = Membership(settings.read({"dask": {}}, tmp_path, {}, program="p", port=0))
    board = Board(membership)

    def told(progress: Progress) -> None:
        membership.processes[0].progress = progress.model_dump(mode="json", by_alias=True)

    tracker = Tracker(told, quiet=True)
    assert board.answer("/readyz")[0] == 503
    tracker.enter(Phase.PLANNING)
    assert board.answer("/readyz")[0] == 503
    assert b"Dask cluster" in board.answer("/readyz")[2]
    tracker.joined()
    assert board.answer("/readyz")[0] == 200
