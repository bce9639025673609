"""The pointer: one small object that says what the table is."""

from __future__ import annotations

import fcntl
import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

import polars as pl
import pytest

import gpuquery
from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output import fsck, pointer
from gpuquery.runner.output.fsck import Level
from gpuquery.runner.stores import posix
from gpuquery.runner.stores.posix import PosixStore
from tests.support import sinks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def written(folder: Path, number: int, mode: str = "append") -> None:
    """Commit one row to each of two partitions."""
    made = sinks.plan(f"file://{folder}", uid=str(UUID(int=(number + 1) << 96)), mode=mode, partitionBy=["k"])
    sinks.run(made, pl.LazyFrame({"k": ["a/b", None], "v": [number, number]}))


def told(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "_current.json").read_text())


def files(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in (folder / "data").rglob("*.parquet"))


def store(folder: Path) -> PosixStore:
    return PosixStore(str(folder), "_staging/fsck/1")


def test_it_names_the_live_version_its_files_and_its_columns(tmp_path: Path) -> None:
    for number, mode in enumerate(["append", "append", "overwritePartitions", "overwrite", "append"], 1):
        written(tmp_path, number, mode)
        now = told(tmp_path)
        assert now["version"] == number
        assert [file["path"] for file in now["files"]] == files(tmp_path)
        assert (now["count"], now["rows"]) == (len(now["files"]), sum(file["rows"] for file in now["files"]))
        assert now["bytes"] == sum((tmp_path / file["path"]).stat().st_size for file in now["files"])
    assert now["columns"] == [{"name": "k", "type": "String"}, {"name": "v", "type": "Int64"}]
    assert now["partitionBy"] == ["k"]
    assert "list" not in now


def test_it_is_short_for_many_files_whose_list_stands_beside_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pointer, "INLINE", 3)
    monkeypatch.setattr(pointer, "KEPT", 2)
    for number in range(1, 7):
        written(tmp_path, number)
    now = told(tmp_path)
    assert (now["version"], now["count"], "files" in now) == (6, 12, False)
    assert [file["path"] for file in json.loads((tmp_path / now["list"]).read_text())] == files(tmp_path)
    assert sorted(path.name[18:] for path in (tmp_path / "_commits").glob("*.files.json")) == [
        "04.files.json", "05.files.json", "06.files.json",
    ], "who has read the pointer a while ago still finds its list"  # fmt: skip
    assert fsck.check(store(tmp_path)).findings == []


def forged(**fields: Any) -> Callable[[Path], None]:
    return lambda place: place.write_text(json.dumps({**json.loads(place.read_text()), **fields}))


def twice(place: Path) -> None:
    files = json.loads(place.read_text())["files"]
    forged(files=[files[0]] * len(files))(place)


STRANGE = [{"path": "data/k=a/part-00000001-1-00000-00000.parquet", "rows": 1, "bytes": 1}]
DAMAGE = [
    pytest.param(lambda place: place.write_bytes(b" " * (17 << 20)), "is missing, or cannot be read", id="it is huge"),
    pytest.param(lambda place: place.unlink(), "is missing, or cannot be read", id="it is gone"),
    pytest.param(lambda place: place.write_bytes(b"{"), "is missing, or cannot be read", id="it is garbage"),
    pytest.param(forged(version=1), "names version 1, and 2 is published", id="it is old"),
    pytest.param(forged(version=10**12), "names version 1000000000000, and 2", id="it names what never was"),
    pytest.param(forged(files=[], count=0, rows=0, bytes=0), "names other files than the log tells of version 2",
                 id="it names no files"),
    pytest.param(forged(files=STRANGE, count=1, rows=1, bytes=1), "names other files", id="it names another file"),
    pytest.param(forged(files=[{"path": "../x", "rows": 1, "bytes": 1}], count=1, rows=1, bytes=1),
                 "names other files", id="it leads out of the table"),
    pytest.param(twice, "names other files", id="it names a file two times"),
    pytest.param(forged(lists=[*range(99)]), "is missing, or cannot be read", id="it names more lists than are kept"),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "words"), DAMAGE)
def test_damage_is_named_and_mended(tmp_path: Path, damage: Callable[[Path], None], words: str) -> None:
    for number in (1, 2):
        written(tmp_path, number)
    damage(tmp_path / "_current.json")
    (finding,) = fsck.check(store(tmp_path)).findings
    assert finding.level in (Level.WARNING, Level.ERROR)
    assert words in finding.what
    fsck.repair(store(tmp_path))
    assert fsck.check(store(tmp_path)).findings == []
    assert [file["path"] for file in told(tmp_path)["files"]] == files(tmp_path)


@pytest.mark.parametrize(("damage", "words"), [one for one in DAMAGE if "another" not in str(one.id)])
def test_the_next_job_builds_on_the_log_where_the_pointer_cannot_be_right(
    tmp_path: Path, damage: Callable[[Path], None], words: str
) -> None:
    written(tmp_path, 1)
    written(tmp_path, 2, "overwrite")
    damage(tmp_path / "_current.json")
    written(tmp_path, 3, "overwrite" if "other files" in words else "append")
    assert [file["path"] for file in told(tmp_path)["files"]] == files(tmp_path)
    assert fsck.check(store(tmp_path)).findings == []


def test_a_false_list_of_files_is_mended_by_a_repair_as_is_said(tmp_path: Path) -> None:
    for number in (1, 2):
        written(tmp_path, number)
    forged(files=STRANGE, count=1, rows=1, bytes=1)(tmp_path / "_current.json")
    for number in (3, 4):
        (finding,) = fsck.check(store(tmp_path)).findings
        assert finding.way.startswith("`--repair` makes it anew; jobs that append take over")
        written(tmp_path, number)
    fsck.repair(store(tmp_path))
    assert [file["path"] for file in told(tmp_path)["files"]] == files(tmp_path)


def test_a_version_that_is_taken_back_is_named_no_more(tmp_path: Path) -> None:
    written(tmp_path, 1)
    written(tmp_path, 2)
    marker = next((tmp_path / "_commits").glob("*2.append.*.done"))
    marker.unlink()
    for file in told(tmp_path)["files"]:
        if "-00000003-" in file["path"] or "part-00000003" in file["path"]:
            (tmp_path / file["path"]).unlink()
    fsck.void(store(tmp_path), 2)
    assert told(tmp_path)["version"] == 1
    assert fsck.check(store(tmp_path)).findings == []


@pytest.mark.parametrize("name", ["_current.json", "._current.json.lock"])
def test_a_folder_in_its_place_keeps_no_job_from_writing(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    written(tmp_path, 1)
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    written(tmp_path, 2)
    assert "the pointer _current.json is not moved" in caplog.text
    assert f"{name}" in caplog.text
    assert gpuquery.open_table(f"file://{tmp_path}", 2).rows == 4


def test_who_holds_the_lock_for_ever_is_not_waited_for_as_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posix, "LOCK_PATIENCE", 0.3)
    (tmp_path / "._n.json.lock").touch()
    with (tmp_path / "._n.json.lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(JobError, match=r"/\._n\.json\.lock is locked by another process") as caught:
            store(tmp_path).update("_n.json", lambda _: b"")
    assert caught.value.failure is Failure.STORAGE_UNAVAILABLE
    assert store(tmp_path).update("_n.json", lambda _: b"")


def test_many_at_once_lose_no_update(tmp_path: Path) -> None:
    one = store(tmp_path)

    def bump(_: int) -> None:
        one.update("_n.json", lambda body: str(int(body or b"0") + 1).encode())

    one.parallel(bump, range(60))
    assert one.get("_n.json") == b"60"
    assert not one.update("_n.json", lambda _: None)
