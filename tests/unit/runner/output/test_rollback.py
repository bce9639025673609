"""The way back to an earlier version: a new version, or a reason why there is none."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from uuid import UUID

import polars as pl
import pyarrow.dataset as ds
import pytest

from gpuquery.cli.main import main
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output import fsck
from gpuquery.runner.output.commit import Step
from gpuquery.runner.output.rollback import rollback
from gpuquery.runner.stores.posix import PosixStore
from tests.support import sinks

if TYPE_CHECKING:
    from pathlib import Path


class DiedError(Exception):
    """The process was killed."""


def written(folder: Path, number: int, mode: str = "append", *, empty: bool = False) -> None:
    """Commit one row to each of two partitions, or none."""
    made = sinks.plan(f"file://{folder}", uid=str(UUID(int=(number + 1) << 96)), mode=mode, partitionBy=["k"])
    frame = pl.LazyFrame({"k": ["a", "b"], "v": [number, number]})
    sinks.run(made, frame.filter(pl.lit(False)) if empty else frame)


def store(folder: Path) -> PosixStore:
    return PosixStore(str(folder), "_staging/fsck/1")


def values(folder: Path) -> list[int]:
    return sorted(ds.dataset(folder / "data", partitioning="hive").to_table()["v"].to_pylist())


def content(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_rollback_is_a_new_version_that_history_shows_and_jobs_build_upon(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 2, 3):
        written(tmp_path, number)
    assert main(["rollback", f"file://{tmp_path}", "--to", "1"]) == 0
    assert "version 4 makes the table what it was at version 1, without the 4 files" in capsys.readouterr().out
    assert values(tmp_path) == [1, 1]
    written(tmp_path, 9)
    assert values(tmp_path) == [1, 1, 9, 9]
    assert main(["history", f"file://{tmp_path}", "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(one["version"], one["mode"], one["restores"], one["replaced"]) for one in told[:2]] == [
        (5, "append", None, 0), (4, "rollback", 1, 4),
    ]  # fmt: skip
    assert main(["history", f"file://{tmp_path}"]) == 0
    assert "rollback to 1" in capsys.readouterr().out
    assert fsck.check(store(tmp_path), deep=True).findings == []


def test_a_rollback_to_just_after_an_overwrite_is_possible(tmp_path: Path) -> None:
    written(tmp_path, 1)
    written(tmp_path, 2, "overwrite")
    written(tmp_path, 3)
    assert rollback(store(tmp_path), 2).restores == 2
    assert values(tmp_path) == [2, 2]


def test_a_rollback_can_be_rolled_back_to_what_came_after_it(tmp_path: Path) -> None:
    for number in (1, 2):
        written(tmp_path, number)
    rollback(store(tmp_path), 1)
    written(tmp_path, 3)
    rollback(store(tmp_path), 3)
    assert values(tmp_path) == [1, 1]


NO_WAY = [
    pytest.param(["append", "overwrite"], 1, r"version 2 \(mode overwrite, of job ns/job\) has deleted 2 of its 2",
                 id="an overwrite has deleted it"),
    pytest.param(["append", "overwritePartitions"], 1, "has deleted 2 of its 2 files", id="partitions are replaced"),
    pytest.param(["append", "overwrite", "append"], 1, "version 2 .mode overwrite", id="an older overwrite"),
    pytest.param(["append"], 1, "that is what the table is now", id="it is there"),
    pytest.param(["append"], 7, "the table has no such version", id="it never was"),
    pytest.param([], 1, "the table has no such version", id="no table"),
]  # fmt: skip


@pytest.mark.parametrize(("modes", "to", "words"), NO_WAY)
def test_where_there_is_no_way_back_it_says_why_and_changes_nothing(
    tmp_path: Path, modes: list[str], to: int, words: str
) -> None:
    for number, mode in enumerate(modes):
        written(tmp_path, number, mode)
    before = content(tmp_path)
    with pytest.raises(JobError, match=words):
        rollback(store(tmp_path), to)
    assert content(tmp_path) == before
    assert main(["rollback", f"file://{tmp_path}", "--to", str(to)]) == 2


def test_there_is_no_way_back_to_an_empty_table_whose_only_file_is_gone(tmp_path: Path) -> None:
    written(tmp_path, 1, empty=True)
    written(tmp_path, 2)
    with pytest.raises(JobError, match=r"version 2 \(mode append, of job ns/job\) has deleted 1 of its 1 files"):
        rollback(store(tmp_path), 1)


@pytest.mark.parametrize("step", [step for step in Step if step is not Step.MID_PUBLISH])
def test_a_rollback_that_dies_at_any_step_happens_as_a_whole_or_not_at_all(tmp_path: Path, step: Step) -> None:
    for number in (1, 2):
        written(tmp_path, number)

    def die(now: Step) -> None:
        if now is step:
            raise DiedError

    with pytest.raises(DiedError):
        rollback(store(tmp_path), 1, die)
    written(tmp_path, 3)
    assert values(tmp_path) == ([1, 1, 2, 2, 3, 3] if step is Step.BEFORE_RECORD else [1, 1, 3, 3])
    assert fsck.check(store(tmp_path)).findings == []
