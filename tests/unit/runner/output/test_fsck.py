"""Checks and repairs of tables: damage of every kind is named, and only what is safe to mend is mended."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from uuid import UUID

import polars as pl
import pyarrow.parquet as pq
import pytest

from gpuquery.api.output import OutputMode
from gpuquery.cli.main import main
from gpuquery.plan.plan import JobRef
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output import fsck
from gpuquery.runner.output.commit import Committer, Step
from gpuquery.runner.output.fsck import Level
from gpuquery.runner.stores.posix import PosixStore
from tests.support import sinks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gpuquery.plan.plan import Plan
    from gpuquery.runner.stores.base import Dangling, Stored


class DiedError(Exception):
    """The runner was killed."""


def written(folder: Path, number: int, *, mode: str = "append", die_at: Step | None = None) -> Plan:
    """Commit two partitions to a table, or die on the way."""

    def hook(step: Step) -> None:
        if step is die_at:
            raise DiedError

    plan = sinks.plan(f"file://{folder}", uid=str(UUID(int=(number + 1) << 96)), mode=mode, partitionBy=["k"])
    sink = sinks.sink(plan, hook=hook)
    assert sink.preflight() is None
    frame = pl.LazyFrame({"k": ["a", "b"], "v": [number, number + 1]})
    sink.check_schema(frame.collect_schema())
    sink.write(frame)
    try:
        sink.commit()
    except DiedError:
        assert die_at
    return plan


def table(folder: Path) -> PosixStore:
    return PosixStore(str(folder), "_staging/fsck/1")


def found(folder: Path, *, deep: bool = False) -> list[tuple[Level, str]]:
    return [(one.level, one.what) for one in fsck.check(table(folder), deep=deep).findings]


def files(folder: Path) -> list[Path]:
    return sorted((folder / "data").rglob("*.parquet"))


def values(folder: Path) -> list[int]:
    return sorted(value for file in files(folder) for value in pq.read_table(file)["v"].to_pylist())


def test_a_table_as_it_was_written_is_whole(tmp_path: Path) -> None:
    written(tmp_path, 1)
    written(tmp_path, 5)
    health = fsck.check(table(tmp_path), deep=True)
    assert (health.versions, health.rows, health.files, health.findings) == (2, 4, 4, [])
    assert health.bytes == sum(file.stat().st_size for file in files(tmp_path))
    assert health.compared == 0, "a folder has no checksums"


def lose(file: Path) -> None:
    file.unlink()


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


@pytest.mark.parametrize(("damage", "words"), [(lose, "is missing; it had 1 rows"), (cut, "bytes, and")])
def test_a_file_that_is_not_as_it_was_written_is_named(
    tmp_path: Path, damage: Callable[[Path], None], words: str
) -> None:
    written(tmp_path, 1)
    victim = files(tmp_path)[0]
    damage(victim)
    (level, what) = found(tmp_path)[0]
    assert level is Level.ERROR
    assert f"data/k=a/{victim.name} of version 1" in what
    assert words in what


def test_other_rows_in_as_many_bytes_are_found_by_reading_the_file(tmp_path: Path) -> None:
    written(tmp_path, 1)
    victim = files(tmp_path)[0]
    victim.write_bytes(bytes(victim.stat().st_size))
    assert found(tmp_path) == []
    ((level, what),) = found(tmp_path, deep=True)
    assert level is Level.ERROR
    assert "is no whole parquet file" in what


@pytest.mark.parametrize("step", [Step.AFTER_RECORD, Step.MID_PUBLISH, Step.BEFORE_REMOVE, Step.BEFORE_MARKER])
def test_a_version_that_is_not_published_is_published_by_a_repair(tmp_path: Path, step: Step) -> None:
    written(tmp_path, 1)
    written(tmp_path, 5, mode="overwrite", die_at=step)
    ((level, what),) = [one for one in found(tmp_path) if one[0] is not Level.NOTE]
    assert level is Level.WARNING
    assert "version 2, committed by job ns/job, is not published" in what
    fsck.repair(table(tmp_path))
    assert found(tmp_path) == []
    assert values(tmp_path) == [5, 6]


def test_a_version_whose_bytes_are_gone_can_be_taken_back_and_then_the_table_is_as_before(tmp_path: Path) -> None:
    written(tmp_path, 1)
    written(tmp_path, 5, mode="overwrite", die_at=Step.AFTER_RECORD)
    table(tmp_path).abort("", next(table(tmp_path).dangling()).upload_id)
    problems = [what for level, what in found(tmp_path) if level is Level.ERROR]
    assert len(problems) == 1
    assert "version 2, committed by job ns/job, can never be published: the bytes of" in problems[0]
    fsck.void(table(tmp_path), 2)
    assert [one for one in found(tmp_path) if one[0] is Level.ERROR] == []
    assert values(tmp_path) == [1, 2]
    written(tmp_path, 7)
    assert values(tmp_path) == [1, 2, 7, 8]


def test_a_version_whose_bytes_are_gone_after_it_has_replaced_others_is_not_taken_back(tmp_path: Path) -> None:
    written(tmp_path, 1)
    written(tmp_path, 5, mode="overwrite", die_at=Step.BEFORE_MARKER)
    files(tmp_path)[0].unlink()
    with pytest.raises(JobError, match="which it replaces, are deleted already"):
        fsck.void(table(tmp_path), 2)
    assert values(tmp_path) == [6]
    (error,) = [one for one in fsck.check(table(tmp_path)).findings if one.level is Level.ERROR]
    assert error.way.startswith("restore them from a backup")


def test_a_version_before_a_fence_is_taken_back_and_leaves_no_hole(tmp_path: Path) -> None:
    written(tmp_path, 1)
    dead = written(tmp_path, 5, die_at=Step.AFTER_RECORD)
    stranger = JobRef(namespace="", name="", uid="12345678")
    assert Committer(table(tmp_path), dead.job, 1, OutputMode.APPEND).fence(stranger, 1)
    table(tmp_path).abort("", next(table(tmp_path).dangling()).upload_id)
    fsck.void(table(tmp_path), 2)
    assert fsck.check(table(tmp_path)).good
    written(tmp_path, 7)
    assert values(tmp_path) == [1, 2, 7, 8]


class BusyStore(PosixStore):
    """A table to which something happens when its files or its uploads are listed for the first time."""

    def __init__(self, folder: Path, moment: str, act: Callable[[], object]) -> None:
        super().__init__(str(folder), "_staging/fsck/1")
        self._acts = {moment: act}

    def list(self, prefix: str, after: str = "") -> Iterator[Stored]:
        self._acts.pop(prefix, int)()
        return super().list(prefix, after)

    def dangling(self) -> Iterator[Dangling]:
        self._acts.pop("uploads", int)()
        yield from super().dangling()

    def get(self, key: str) -> bytes | None:
        if key.startswith("data/"):
            self._acts.pop("bytes", int)()
        return super().get(key)


@pytest.mark.parametrize("moment", ["data/", "uploads", "bytes"])
@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_a_job_that_commits_meanwhile_makes_no_fault(tmp_path: Path, mode: str, moment: str) -> None:
    written(tmp_path, 1)
    busy = BusyStore(tmp_path, moment, lambda: written(tmp_path, 5, mode=mode))
    assert fsck.check(busy, deep=True).findings == []


@pytest.mark.parametrize("moment", ["data/", "uploads"])
def test_a_version_that_is_published_meanwhile_is_not_called_lost(tmp_path: Path, moment: str) -> None:
    written(tmp_path, 1)
    written(tmp_path, 5, die_at=Step.AFTER_RECORD)
    busy = BusyStore(tmp_path, moment, lambda: fsck.repair(table(tmp_path)))
    assert fsck.check(busy).findings == []


def test_tags_that_are_no_checksums_accuse_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """KMS: a tag has the form of an MD5, and is none."""
    monkeypatch.setattr(PosixStore, "upload", upload_with_tags(PosixStore.upload))
    written(tmp_path, 1)
    assert [what for _, what in found(tmp_path, deep=True) if "has other bytes than were uploaded" in what]
    monkeypatch.setattr(PosixStore, "has_sums", lambda *_: False)
    health = fsck.check(table(tmp_path), deep=True)
    assert (health.findings, health.compared) == ([], 0)


def upload_with_tags(upload: Callable[..., str]) -> Callable[..., str]:
    def made(*given: object) -> str:
        upload(*given)
        return '"' + "5" * 32 + '"'

    return made


@pytest.mark.parametrize(
    ("version", "words"),
    [(1, "it is published"), (2, "none of its bytes are missing"), (3, "the table has no such version")],
)
def test_no_other_version_is_taken_back(tmp_path: Path, version: int, words: str) -> None:
    written(tmp_path, 1)
    written(tmp_path, 5, die_at=Step.AFTER_RECORD)
    with pytest.raises(JobError, match=words):
        fsck.void(table(tmp_path), version)
    fsck.repair(table(tmp_path))
    assert values(tmp_path) == [1, 2, 5, 6]


def test_a_replaced_file_that_is_back_is_deleted_by_a_repair_and_a_stranger_is_not(tmp_path: Path) -> None:
    written(tmp_path, 1)
    old = {file: file.read_bytes() for file in files(tmp_path)}
    written(tmp_path, 5, mode="overwrite")
    for file, body in old.items():
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(body)
    stranger = tmp_path / "data" / "notes.txt"
    stranger.write_text("mine")
    hidden = tmp_path / "data" / "_SUCCESS"
    hidden.write_text("")
    errors = [what for level, what in found(tmp_path) if level is Level.ERROR]
    assert len(errors) == 2
    assert all("is still there, although version 2 has replaced it" in what for what in errors)
    assert [what for level, what in found(tmp_path) if level is Level.WARNING] == [
        "data/notes.txt is not written by GpuQuery, and some readers read what lies there as part of the table"
    ]
    fsck.repair(table(tmp_path))
    assert values(tmp_path) == [5, 6]
    assert stranger.exists()
    assert hidden.exists()


def test_files_of_ours_in_no_version_and_a_hole_in_the_log_are_told(tmp_path: Path) -> None:
    written(tmp_path, 1)
    written(tmp_path, 5)
    for part in (tmp_path / "_commits").glob("*1.*"):
        part.unlink()
    told = found(tmp_path)
    assert (Level.WARNING, "version 1 has no record: somebody has deleted it, or taken it back") in told
    assert any(level is Level.ERROR and "in no version: readers see their rows" in what for level, what in told)
    fsck.repair(table(tmp_path))
    assert values(tmp_path) == [1, 2, 5, 6], "nobody knows whose they are"


def test_uploads_of_jobs_that_run_are_no_fault(tmp_path: Path) -> None:
    written(tmp_path, 1)
    sink = sinks.sink(sinks.plan(f"file://{tmp_path}", partitionBy=["k"], mode="append"))
    frame = pl.LazyFrame({"k": ["a"], "v": [1]})
    sink.check_schema(frame.collect_schema())
    sink.write(frame)
    health = fsck.check(table(tmp_path))
    assert [one.level for one in health.findings] == [Level.NOTE]
    assert health.good
    sink.abort()


# The commands.


def test_history_lists_the_newest_commits_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (1, 5, 9):
        written(tmp_path, number)
    assert main(["history", f"file://{tmp_path}", "--last", "2"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["VERSION", "COMMITTED", "(UTC)", "JOB", "MODE", "ROWS", "FILES", "BYTES", "REPLACED"]
    assert [row.split()[0] for row in rows] == ["3", "2"]
    assert [row.split()[3:6] for row in rows] == [["ns/job", "append", "2"]] * 2
    assert main(["history", f"file://{tmp_path}/data/", "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(one["version"], one["rows"], one["columns"]) for one in told] == [
        (version, 2, {"k": "String", "v": "Int64"}) for version in (3, 2, 1)
    ]


def test_fsck_ends_with_1_until_the_table_is_mended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    uri = f"file://{tmp_path}"
    written(tmp_path, 1)
    written(tmp_path, 5, die_at=Step.AFTER_RECORD)
    assert main(["fsck", uri]) == 1
    assert "warning: version 2, committed by job ns/job, is not published: 0 of its 2" in capsys.readouterr().out
    assert main(["fsck", uri, "--void", "2"]) == 2
    assert "version 2 cannot be taken back" in capsys.readouterr().err
    assert main(["fsck", uri, "--repair", "--deep", "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["good"], told["rows"], told["findings"]) == (True, 4, [])


@pytest.mark.parametrize("verb", ["history", "fsck"])
def test_a_folder_without_a_table_is_told(tmp_path: Path, verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, f"file://{tmp_path}/nothing"]) == 1
    assert "no job of GpuQuery has committed anything here" in capsys.readouterr().err
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("verb", ["history", "fsck"])
def test_a_forged_record_is_refused_by_name(tmp_path: Path, verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path, 1)
    record = tmp_path / "_commits" / "00000000000000000002.json"
    record.write_text("{}")
    assert main([verb, f"file://{tmp_path}"]) == 1
    assert "_commits/00000000000000000002.json is not what a GpuQuery runner writes" in capsys.readouterr().err


def test_a_place_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fsck", "ftp://a/b"]) == 2
    assert "'ftp://a/b' is not a place for data" in capsys.readouterr().err
