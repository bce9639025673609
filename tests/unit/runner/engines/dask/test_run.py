"""What a pod does in which order with a Dask cluster, by workers and rows that are this process's own."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from gpuquery.api.reasons import Failure
from gpuquery.runner.engines import Alone
from gpuquery.runner.engines.dask import parts, versions
from gpuquery.runner.engines.dask.external.cluster import ExternalCluster
from gpuquery.runner.engines.dask.owned import child, commands
from gpuquery.runner.engines.dask.owned.cluster import RESULT, OwnedCluster
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output.parts import Parts
from tests.support.dask_local import Keeps, Local, written
from tests.support.dask_plans import dask_plan

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Here(Keeps):
    """A sink whose scratch is a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def scratch(self) -> Path:
        self._folder.mkdir(exist_ok=True)
        return self._folder


def external(monkeypatch: pytest.MonkeyPatch, folder: Path, release: str, engine: str) -> ExternalCluster:
    """The client of a cluster with one worker, which writes to `folder`."""
    made = ExternalCluster(dask_plan(engine, release, way="attach", scheduler="tcp://warm:8786"), Alone())
    cluster = Local({"a": str(folder)})
    cluster.guard = made.guard
    monkeypatch.setattr(made, "cluster", cluster)
    monkeypatch.setattr(made, "_prepared", lambda: "@")
    return made


RELEASES = [
    pytest.param("26.04", "tasks", id="tasks, no row of which comes twice"),
    pytest.param("26.10", "rapidsmpf", id="rapidsmpf that writes each row once"),
    pytest.param("26.08", "rapidsmpf", id="rapidsmpf whose ranks may each write all"),
]


@pytest.mark.parametrize(("release", "engine"), RELEASES)
def test_the_result_of_an_attached_cluster_is_what_its_workers_have_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, release: str, engine: str
) -> None:
    folder, sink, wanted = tmp_path / "worker", Here(tmp_path / "here"), {}
    folder.mkdir()

    def execute(*_: Any) -> None:
        wanted.update(written(folder, "part.0.000000.parquet", "part.0.000001.parquet"))

    external(monkeypatch, folder, release, engine).run(execute, sink)
    assert sink.added == wanted != {}


@pytest.mark.parametrize(("release", "engine"), RELEASES)
def test_a_result_with_a_file_that_is_gone_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, release: str, engine: str
) -> None:
    folder = tmp_path / "worker"
    folder.mkdir()

    def execute(*_: Any) -> None:
        written(folder, "part.0.000000.parquet", "part.0.000002.parquet")

    with pytest.raises(JobError, match=r"later ones than part\.0\.000001\.parquet"):
        external(monkeypatch, folder, release, engine).run(execute, Here(tmp_path / "here"))


def test_a_result_that_each_rank_of_an_attached_cluster_wrote_in_full_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder, sink = tmp_path / "worker", Here(tmp_path / "here")

    def execute(*_: Any) -> None:
        written(folder, "part.0.000000.parquet")
        written(folder, "part.1.000000.parquet")

    with pytest.raises(JobError, match="all 2 ranks wrote the same 5 rows") as refused:
        external(monkeypatch, folder, "26.08", "rapidsmpf").run(execute, sink)
    assert refused.value.failure is Failure.INVALID_COMBINATION
    assert sink.added == {}


class Other(Alone):
    """Index 0 of two pods, of which the other one has written what it says."""

    size = 2

    def __init__(self, theirs: list[Any]) -> None:
        self._theirs = theirs

    def gate(self, name: str, value: Any = None, *, seconds: float) -> Any:
        return [value, self._theirs]


def owned(monkeypatch: pytest.MonkeyPatch, folder: Path, theirs: list[Any], release: str, engine: str) -> OwnedCluster:
    monkeypatch.setenv("TMPDIR", str(folder))
    return OwnedCluster(dask_plan(engine, release), Other(theirs), commands.cuda_workers)


@pytest.mark.parametrize(("release", "engine"), RELEASES)
def test_a_pod_hands_over_what_its_own_workers_have_written_and_early_only_what_cannot_be_doubled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, release: str, engine: str
) -> None:
    sink, wanted, started = Here(tmp_path / "here"), {}, []
    usual = Parts.start
    monkeypatch.setattr(Parts, "start", lambda self: (started.append(self), usual(self)))
    written(tmp_path / "theirs", "part.1.000000.parquet", "part.1.000001.parquet", "part.1.000002.parquet")
    pod = owned(monkeypatch, tmp_path, parts.written(tmp_path / "theirs"), release, engine)

    def execute(_client: Any, folder: str) -> None:
        assert folder == RESULT
        wanted.update(written(pod._folder / folder, "part.0.000000.parquet", "part.0.000001.parquet"))

    pod.run(execute, sink)
    assert sink.added == wanted != {}
    assert bool(started) is (release != "26.08")


def test_a_file_that_cannot_be_handed_over_ends_a_query_that_still_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Full(Here):
        def add(self, file: Path) -> None:
            raise JobError(Failure.SCRATCH_FULL, f"no room for {file.name}")

    pod = owned(monkeypatch, tmp_path, [], "26.10", "rapidsmpf")
    told, done = threading.Event(), []

    def execute(_client: Any, folder: str) -> None:
        written(pod._folder / folder, "part.0.000000.parquet", "part.0.000001.parquet")
        done.append(told.wait(20))

    with pytest.raises(JobError, match=r"no room for part\.0\.000000\.parquet"):
        pod.run(execute, Full(tmp_path / "here"))
    assert done == [], "nobody waited for the end of the query"
    told.set()


def test_a_result_that_each_pod_holds_in_full_is_refused_before_a_row_is_handed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sink = Here(tmp_path / "here")
    written(tmp_path / "theirs", "part.1.000000.parquet")
    pod = owned(monkeypatch, tmp_path, parts.written(tmp_path / "theirs"), "26.08", "rapidsmpf")
    with pytest.raises(JobError, match="all 2 ranks wrote the same 5 rows") as refused:
        pod.run(lambda _, folder: written(pod._folder / folder, "part.0.000000.parquet") and None, sink)
    assert refused.value.failure is Failure.INVALID_COMBINATION
    assert sink.added == {}


class Pods(Alone):
    """A pod of two, which writes down what it does."""

    size = 2

    def __init__(self, index: int, done: list[str]) -> None:
        self.index = index
        self._done = done
        self.noted: dict[str, Any] = {}

    def gate(self, name: str, value: Any = None, *, seconds: float) -> Any:
        self._done.append(name)
        return ["ucx://10.0.0.1:8786", None]

    def note(self, **facts: Any) -> None:
        self.noted |= facts


def named(name: str, done: list[str]) -> Callable[..., None]:
    return lambda *_, **__: done.append(name)


FIRST = "scheduler dask-scheduler nanny connect complete versions settle watch_workers dask-formed"


@pytest.mark.parametrize(("index", "wanted"), [(0, FIRST), (1, "dask-scheduler nanny dask-formed")])
def test_a_query_begins_when_all_workers_have_settled_and_nannies_are_no_workers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, index: int, wanted: str
) -> None:
    done: list[str] = []
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(child, "start", lambda role, *_, **__: done.append(role))
    monkeypatch.setattr(versions, "check", named("versions", done))
    pods = Pods(index, done)
    pod = OwnedCluster(dask_plan(), pods, commands.cuda_workers)
    for each in ("connect", "complete", "settle", "watch_workers"):
        monkeypatch.setattr(pod.cluster, each, named(each, done))
    monkeypatch.setattr(pod.heartbeats, "pids", {"worker": [11, 12], "nanny": [10], "scheduler": [9]}.__getitem__)
    (pod._folder / "scheduler.json").write_text('{"address": "ucx://10.0.0.1:8786"}')
    pod.join()
    pod.guard.close()
    assert done == wanted.split()
    assert pods.noted["workers"] == 2
