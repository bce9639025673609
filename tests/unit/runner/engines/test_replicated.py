"""Rows that every rank holds come out once; where that cannot be known, the query is refused."""

import asyncio
import sys
import threading
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from gpuquery.api.reasons import Failure
from gpuquery.runner.agreement import STAGED_SECONDS
from gpuquery.runner.engines import replicated
from gpuquery.runner.engines.rapidsmpf.engine import Handover
from gpuquery.runner.engines.replicated import Written, keeps
from gpuquery.runner.failures.errors import JobError
from tests.support.runner import plan as some_plan

OLD, NEW = "26.08", "26.10"


@pytest.mark.parametrize(
    ("ranks", "want"),
    [
        pytest.param([Written(True, 1), Written(True, 1)], [True, False], id="a result on every rank: rank 0 writes"),
        pytest.param([Written(False, 0), Written(False, 0)], [True, True], id="shares: all write"),
        pytest.param([Written(None, 3, "a"), Written(None, 3, "b")], [True, True], id="not heard, other rows: shares"),
        pytest.param([Written(None, 3, "a"), Written(None, 0, "")], [True, True], id="not heard, one without rows"),
        pytest.param([Written(None, 0), Written(None, 0)], [True, True], id="not heard, nothing to double"),
        pytest.param([Written(True, 0), Written(True, 0)], [True, False], id="an empty result is written once"),
    ],
)
def test_who_hands_over(ranks: list[Written], want: list[bool]) -> None:
    assert [keeps(ranks, rank, OLD) for rank in range(len(ranks))] == want


@pytest.mark.parametrize(
    ("ranks", "failure"),
    [
        pytest.param([Written(None, 3, "a")] * 2, Failure.INVALID_COMBINATION, id="not heard and equal"),
        pytest.param([Written(None, 3, "a"), Written(False, 3)] * 2, None, id="one did not hear: the rows decide"),
        pytest.param([Written(True, 1), Written(False, 1)], Failure.INTERNAL_ERROR, id="a contradiction"),
        pytest.param([Written(True, 1), Written(None, 1, "a")], Failure.INTERNAL_ERROR, id="one copy was not heard of"),
        pytest.param([Written(True, 1), Written(True, 2)], Failure.INTERNAL_ERROR, id="copies of other sizes"),
    ],
)
def test_what_is_refused_names_the_release_and_the_way_out(ranks: list[Written], failure: Failure | None) -> None:
    for rank in range(len(ranks)):
        if failure is None:
            assert keeps(ranks, rank, OLD)
            continue
        with pytest.raises(JobError, match=r"RAPIDS 26\.08.*use runtime\.release 26\.10") as raised:
            keeps(ranks, rank, OLD)
        assert raised.value.failure is failure


def test_releases_that_write_once() -> None:
    assert [name for name in ("26.06", "26.08", "26.10", "99.99") if replicated.mended(name)] == ["26.10"]


def test_fingerprints_tell_rows_apart_and_not_their_order(tmp_path: Path) -> None:
    frames = {"a": [1, 2, 3], "b": [3, 1, 2], "c": [1, 2, 4]}
    for name, values in frames.items():
        pl.DataFrame({"x": values, "y": [["n"], None, ["m"]] if name == "l" else values}).write_parquet(
            tmp_path / f"{name}.parquet"
        )
    a, b, c = (replicated.written(None, [tmp_path / f"{name}.parquet"]) for name in frames)
    assert a == b
    assert a.rows == c.rows == 3
    assert a.digest != c.digest
    nested = tmp_path / "nested.parquet"
    pl.DataFrame({"x": [{"p": [1, 2]}, {"p": None}]}).write_parquet(nested)
    assert replicated.written(None, [nested]).digest


class Metadata:
    def __init__(self, duplicated: bool) -> None:
        self.duplicated = duplicated


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """The library's module, with a function of the same name and a caller that looks it up as its actor does."""
    module = types.ModuleType(replicated.MODULE)

    async def recv_metadata(channel: Metadata, context: Any) -> Metadata:
        return channel

    async def sink_node(channel: Metadata) -> Metadata:
        found: Metadata = await module.recv_metadata(channel, None)
        return found

    module.recv_metadata = recv_metadata  # type: ignore[attr-defined]
    module.sink_node = sink_node  # type: ignore[attr-defined]
    parent = ""
    for part in replicated.MODULE.split(".")[:-1]:
        parent = f"{parent}.{part}".lstrip(".")
        monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))
    monkeypatch.setitem(sys.modules, replicated.MODULE, module)
    return module


def test_the_library_is_heard_and_left_as_it_was(library: types.ModuleType) -> None:
    usual = library.recv_metadata
    told: list[bool] = []
    ear = replicated.Ear(told.append)
    with ear.listening():
        got = asyncio.run(library.sink_node(Metadata(True)))
    assert got.duplicated is True
    assert told == [True]
    assert ear.duplicated is True
    assert library.recv_metadata is usual


def test_a_library_without_that_function_is_not_heard(library: types.ModuleType) -> None:
    del library.recv_metadata
    ear = replicated.Ear()
    with ear.listening():
        pass
    assert ear.duplicated is None


class Sink:
    """Takes files as the real one does: they are gone afterwards."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.rows: list[int] = []

    def write(self, lf: pl.LazyFrame, /) -> None:
        raise AssertionError("an engine with files of its own")

    def scratch(self) -> Path:
        return self.folder

    def add(self, file: Path, /) -> None:
        self.rows += pl.read_parquet(file)["x"].to_list()
        file.unlink()


class Gates:
    """Gates between threads; each rank is one."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.values: list[Any] = [None] * size
        self.barrier = threading.Barrier(size, timeout=60)

    def rank(self, index: int) -> "Rank":
        return Rank(self, index)


class Rank:
    def __init__(self, gates: Gates, index: int) -> None:
        self.index, self.size, self._gates = index, gates.size, gates
        self.facts: dict[str, Any] = {}

    def gate(self, name: str, value: Any = None, *, seconds: float) -> Sequence[Any]:
        assert seconds >= STAGED_SECONDS, "a rank may be done long before the slowest has run the query"
        self._gates.values[self.index] = value
        self._gates.barrier.wait()
        return list(self._gates.values)

    def note(self, **facts: Any) -> None:
        self.facts |= facts

    def advance(self) -> None:
        """Nobody asks."""


def run_ranks(
    tmp_path: Path, library: types.ModuleType, release: str, shares: Sequence[Sequence[int]], duplicated: bool | None
) -> tuple[list[int], list[BaseException]]:
    """Let ranks write their shares as an engine would; return all rows handed over, and what was raised."""
    gates = Gates(len(shares))
    sinks = [Sink(tmp_path / str(index)) for index in range(len(shares))]
    raised: list[BaseException] = []
    plan = some_plan(tmp_path, "SELECT 1").model_copy(
        update={"release": release, "engine": "rapidsmpf", "cluster": "distributed"}
    )
    handovers = [Handover(plan, gates.rank(index), index, sinks[index]) for index in range(len(shares))]

    def finish(index: int) -> None:
        try:
            handovers[index].finish()
        except BaseException as exc:
            raised.append(exc)

    for index, share in enumerate(shares):
        with handovers[index].listening():
            if duplicated is not None:
                asyncio.run(library.sink_node(Metadata(duplicated)))
            for number, value in enumerate(share):
                handovers[index].folder.mkdir(exist_ok=True)
                pl.DataFrame({"x": [value]}).write_parquet(
                    handovers[index].folder / f"part.{index}.{number:06d}.parquet"
                )
    threads = [threading.Thread(target=finish, args=(index,)) for index in range(len(shares))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert raised or not [file for sink in sinks for file in sink.folder.rglob("*.parquet")]
    return sorted(value for sink in sinks for value in sink.rows), raised


@pytest.mark.parametrize(
    ("release", "shares", "duplicated", "want"),
    [
        pytest.param(OLD, [[7, 8], [7, 8], [7, 8]], True, [7, 8], id="an old release, a result on every rank"),
        pytest.param(OLD, [[1, 2], [3], []], False, [1, 2, 3], id="an old release, shares"),
        pytest.param(OLD, [[1, 2], [3, 4]], None, [1, 2, 3, 4], id="an old release that says nothing, shares"),
        pytest.param(NEW, [[7, 8], [], []], True, [7, 8], id="a new release writes it once itself"),
        pytest.param(NEW, [[1], [2], [3]], False, [1, 2, 3], id="a new release, shares"),
        pytest.param(NEW, [[1], [1]], False, [1, 1], id="a new release, shares that happen to be equal"),
        pytest.param(NEW, [[1, 2]], None, [1, 2], id="one rank"),
        pytest.param(OLD, [[1, 2]], None, [1, 2], id="one rank of an old release"),
    ],
)
def test_rows_come_out_once(
    tmp_path: Path,
    library: types.ModuleType,
    release: str,
    shares: list[list[int]],
    duplicated: bool | None,
    want: list[int],
) -> None:
    assert run_ranks(tmp_path, library, release, shares, duplicated) == (want, [])


@pytest.mark.parametrize(
    ("release", "shares", "duplicated", "failures"),
    [
        pytest.param(OLD, [[5], [5]], None, 2 * [Failure.INVALID_COMBINATION], id="an old release that says nothing"),
        pytest.param(OLD, [[5], [5, 5]], True, 2 * [Failure.INTERNAL_ERROR], id="copies of other sizes"),
        pytest.param(NEW, [[5], [5]], True, [Failure.INTERNAL_ERROR], id="a new release that writes twice after all"),
    ],
)
def test_rows_that_might_come_out_twice_are_refused(
    tmp_path: Path,
    library: types.ModuleType,
    release: str,
    shares: list[list[int]],
    duplicated: bool | None,
    failures: list[Failure],
) -> None:
    _, raised = run_ranks(tmp_path, library, release, shares, duplicated)
    assert [exc.failure for exc in raised if isinstance(exc, JobError)] == failures
