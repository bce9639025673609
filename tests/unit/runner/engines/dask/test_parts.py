"""Part files of a Dask cluster: what is whole, how they come from workers elsewhere, that no row comes twice."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from gpuquery.api.reasons import Failure
from gpuquery.runner.engines.dask import injected, parts
from gpuquery.runner.engines.dask.external.download import Download
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output.parts import Parts
from tests.support.dask_local import Keeps, Local, written
from tests.support.dask_plans import dask_plan
from tests.support.ranks import until

if TYPE_CHECKING:
    from collections.abc import Callable


def test_only_a_whole_file_counts_as_whole(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    pl.DataFrame({"x": range(1000)}).write_parquet(file)
    assert injected.whole(str(file))
    for cut in (1, 8, 100):
        half = tmp_path / "half.parquet"
        half.write_bytes(file.read_bytes()[:-cut])
        assert not injected.whole(str(half))


def test_a_list_that_is_a_little_old_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a worker has it of a volume that it shares, when a file was fetched from a worker on another machine."""
    for name in ("part.0.parquet", "part.1.parquet"):
        (tmp_path / name).write_bytes(b"12345")
    old = list(os.scandir(tmp_path))
    injected.fetched(str(tmp_path / "part.0.parquet"))
    assert injected.kept(str(tmp_path)) == [("part.0.parquet", 5), ("part.1.parquet", 5)]
    monkeypatch.setattr(os, "scandir", lambda _: iter(old))
    assert injected.listed(str(tmp_path)) == {"part.1.parquet": 5}
    assert injected.kept(str(tmp_path)) == [("part.1.parquet", 5)]


def test_what_dead_attempts_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    """Another cluster may keep its files in the same place: on a volume that both use, or on one machine."""
    for name in (
        "gpuquery-5ch3d-old-1",
        "mine",
        "gpuquery-5ch3d-new-1",
        "gpuquery-0ther-job-1",
        "gpuquery-0ther-dead-1",
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").touch()
    days_ago = time.time() - 8 * 86_400
    os.utime(tmp_path / "gpuquery-0ther-dead-1", (days_ago, days_ago))
    injected.prepare(str(tmp_path), "gpuquery-5ch3d-new-1")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [
        "gpuquery-0ther-job-1",
        "gpuquery-5ch3d-new-1",
        "mine",
    ]


def test_files_are_fetched_once_each_in_pieces_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpuquery.runner.engines.dask.external.download.PIECE", 100)
    one, two, here = tmp_path / "one", tmp_path / "two", tmp_path / "here"
    here.mkdir()
    wanted = written(one, "part.0.000000.parquet", "part.0.000001.parquet") | written(two, "part.1.000000.parquet")
    sink = Keeps()
    download = Download(Local({"a": str(one), "b": str(one), "c": str(two)}), "@", here, sink)
    download.finish()
    download.check()
    assert sink.added == wanted
    assert not sum(file.stat().st_size for folder in (one, two) for file in folder.iterdir())


def test_files_are_fetched_while_others_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpuquery.runner.engines.dask.external.download.POLL_SECONDS", 0.02)
    one, here = tmp_path / "one", tmp_path / "here"
    here.mkdir()
    wanted = written(one, "part.0.parquet", "part.1.parquet")
    (one / "part.1.parquet").write_bytes(wanted["part.1.parquet"][:-3])
    sink = Keeps()
    download = Download(Local({"a": str(one)}), "@", here, sink)
    download.start()
    until(lambda: "part.0.parquet" in sink.added)
    assert "part.1.parquet" not in sink.added
    (one / "part.1.parquet").write_bytes(wanted["part.1.parquet"])
    download.finish()
    download.check()
    assert sink.added == wanted


def lose(file: str) -> None:
    (left,) = Path(file).parent.glob(f"{Path(file).name}.*.fetched")
    left.unlink()


def lengthen(file: str) -> None:
    (left,) = Path(file).parent.glob(f"{Path(file).name}.*.fetched")
    left.rename(f"{file}.7.fetched")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(lambda f: Path(f).write_bytes(b"x"), "was written more than once", id="written again"),
        pytest.param(lambda f: Path(f.replace("1.p", "2.p")).touch(), "1 of 4 did not come whole (part.0.000002.par",
                     id="written after all were fetched"),
        pytest.param(lengthen, "did not come whole (part.0.000001.parquet)", id="of another size"),
        pytest.param(lose, "part.0.000001.parquet came, and no worker knows of it", id="not known any more"),
        pytest.param(lambda f: shutil.rmtree(Path(f).parent), "the folder of the worker worker is gone", id="all gone"),
    ],
)  # fmt: skip
def test_nothing_is_committed_of_files_that_are_not_those_that_were_written(
    tmp_path: Path, change: Callable[[str], Any], words: str
) -> None:
    one, two, here = tmp_path / "one", tmp_path / "two", tmp_path / "here"
    here.mkdir()
    written(one, "part.0.000000.parquet", "part.0.000001.parquet")
    written(two, "part.1.000000.parquet")
    download = Download(Local({"a": str(one), "b": str(two)}), "@", here, Keeps())
    download.finish()
    download.check()
    change(str(one / "part.0.000001.parquet"))
    with pytest.raises(JobError) as told:
        download.check()
    assert told.value.failure is Failure.WORKER_LOST
    assert words in told.value.message


def test_files_that_went_elsewhere_than_to_the_sink_are_missed(tmp_path: Path) -> None:
    one, here = tmp_path / "one", tmp_path / "here"
    here.mkdir()
    wanted = written(one, "part.0.000000.parquet", "part.0.000001.parquet")
    sink = Keeps()
    download = Download(Local({"a": str(one)}), "@", here, sink)
    download.all()
    Parts(here, download).finish()
    download.check()
    assert sink.added == wanted
    other = Download(Local({"a": str(one)}), "@", here, sink)
    with pytest.raises(JobError, match="2 of 2 did not come whole"):
        other.check()


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["part.0.000001.parquet", "part.1.000000.parquet"], "later ones than part.0.000000.parquet, which no worker"),
        (["part.0.parquet", "part.2.parquet"], "later ones than part.1.parquet"),
        (["part.00.parquet", "part.09.parquet", "part.10.parquet"], "part.01.parquet, part.02.parquet, part.03"),
    ],
)
def test_a_file_that_vanished_before_it_was_seen_is_missed(tmp_path: Path, names: list[str], words: str) -> None:
    one, here = tmp_path / "one", tmp_path / "here"
    here.mkdir()
    written(one, *names)
    download = Download(Local({"a": str(one)}), "@", here, Keeps())
    download.finish()
    with pytest.raises(JobError) as told:
        download.check()
    assert words in told.value.message


def test_a_file_that_shrinks_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, here = tmp_path / "one", tmp_path / "here"
    here.mkdir()
    written(one, "part.0.parquet")
    monkeypatch.setattr(injected, "piece", lambda *_: b"")
    with pytest.raises(JobError, match=r"part\.0\.parquet of the Dask worker worker had \d+ bytes and gave 0"):
        Download(Local({"a": str(one)}), "@", here, Keeps()).finish()


def test_rows_that_all_ranks_wrote_are_refused(tmp_path: Path) -> None:
    rows = pl.DataFrame({"x": [1, 2, 3]})
    for rank in (0, 1):
        rows.write_parquet(tmp_path / f"part.{rank}.000000.parquet")
    with pytest.raises(JobError, match="all 2 ranks wrote the same 3 rows"):
        parts.refuse_doubled(parts.written(tmp_path), "26.06")
    pl.DataFrame({"x": [7]}).write_parquet(tmp_path / "part.1.000001.parquet")
    parts.refuse_doubled(parts.written(tmp_path), "26.06")


def test_which_releases_write_such_rows_once() -> None:
    assert parts.each_once(dask_plan("tasks", "25.08"))
    assert not parts.each_once(dask_plan("rapidsmpf", "26.04"))
    assert not parts.each_once(dask_plan("rapidsmpf", "26.08"))
    assert parts.each_once(dask_plan("rapidsmpf", "26.10"))
