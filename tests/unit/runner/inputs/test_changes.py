"""Files that change between their resolution and the commit are named, never mixed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NoReturn

import pytest

from gpuquery.api.reasons import Failure
from gpuquery.api.spec import Input
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner import stores
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs import changed, listing
from gpuquery.runner.inputs.base import Resolved
from gpuquery.runner.inputs.changes import LOOKED_AT
from gpuquery.runner.inputs.formats.parquet import Parquet
from tests.support.memory_backend import Memory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from gpuquery.runner.inputs.base import File


ITEM = Input.model_validate({"name": "t", "uri": "s3://lake/", "format": "parquet"})


def listed(uri: str) -> Sequence[File]:
    return listing.listed(ITEM.model_copy(update={"uri": uri}), StoreAccess()).files


def told(files: Sequence[File]) -> str | None:
    return changed({"t": Resolved(ITEM, tuple(files), Parquet({}))}, StoreAccess())


def delete(path: Path) -> None:
    path.unlink()


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def shrink(path: Path) -> None:
    path.write_bytes(b"x")


def replace(path: Path) -> None:
    new = path.with_suffix(".new")
    new.write_bytes(b"y" * path.stat().st_size)
    os.replace(new, path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(delete, "was deleted after it was resolved: it had 100 bytes", id="deleted"),
        pytest.param(grow, "has grown after it was resolved: from 100 bytes to 104", id="grown"),
        pytest.param(shrink, "has shrunk after it was resolved: from 100 bytes to 1", id="cut off"),
        pytest.param(replace, "was replaced after it was resolved", id="another of the same size"),
    ],
)
def test_the_first_file_that_has_changed_is_named_with_both_sizes(
    tmp_path: Path, change: Callable[[Path], None], words: str
) -> None:
    for number in range(4):
        (tmp_path / f"{number}.parquet").write_bytes(b"x" * 100)
    files = listed(f"file://{tmp_path}/")
    assert told(files) is None
    change(tmp_path / "1.parquet")
    change(tmp_path / "2.parquet")
    assert (told(files) or "").startswith(f'input "t": {tmp_path}/1.parquet {words}')
    assert told(files[:1] + files[3:]) is None


def test_a_new_file_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"x")
    files = listed(f"file://{tmp_path}/")
    (tmp_path / "b.parquet").write_bytes(b"x")
    assert told(files) is None


def test_without_a_version_the_size_is_compared(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"x" * 100)
    files = [file._replace(version="") for file in listed(f"file://{tmp_path}/")]
    replace(path)
    assert told(files) is None
    grow(path)
    assert "from 100 bytes to 104" in (told(files) or "")


def test_many_files_of_an_object_store_are_compared_with_one_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory()
    monkeypatch.setitem(stores.STORES, "http", memory)
    for number in range(LOOKED_AT + 1):
        memory.put(f"in/{number:03}.parquet", b"x")
    files = listed("http://host/in/")
    looked: list[str] = []
    look = memory.look
    monkeypatch.setattr(memory, "look", lambda paths: looked.extend(paths) or look(paths))
    memory.pages_listed = 0
    assert told(files) is None
    assert (memory.pages_listed, looked) == (1, [])
    memory.put("in/007.parquet", b"xyz")
    assert told(files) == ('input "t": http://host/in/007.parquet has grown after it was resolved: from 1 bytes to 3')
    assert looked == ["http://host/in/007.parquet"]


@pytest.mark.parametrize("failure", [Failure.STORAGE_AUTH, Failure.STORAGE_UNAVAILABLE])
def test_without_the_right_to_list_many_files_are_looked_at_one_by_one(
    monkeypatch: pytest.MonkeyPatch, failure: Failure
) -> None:
    """Files of a table and files that were named are read without that right: a finished query must not fail for it."""
    memory = Memory()
    monkeypatch.setitem(stores.STORES, "http", memory)
    for number in range(LOOKED_AT + 1):
        memory.put(f"in/{number:03}.parquet", b"x")
    files = listed("http://host/in/")

    def refuse(prefix: str, *, deep: bool = True) -> NoReturn:
        raise JobError(failure, f"listing {prefix}")

    monkeypatch.setattr(memory, "below", refuse)
    if failure is not Failure.STORAGE_AUTH:
        with pytest.raises(JobError, match="listing"):
            told(files)
        return
    assert told(files) is None
    memory.put("in/007.parquet", b"xyz")
    assert "in/007.parquet has grown" in (told(files) or "")
