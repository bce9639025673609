"""A table is not read as plain files: its log says which rows count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gpuquery.api.reasons import Failure
from gpuquery.api.spec import Input
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner import stores
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs import listing
from tests.support.memory_backend import Memory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TABLES = {
    "delta": ["part-0.parquet", "k=1/j=2/part-1.parquet", "aB/part-2.parquet", "_delta_log/00000000000000000000.json"],
    "iceberg": ["data/part-0.parquet", "data/k=1/part-1.parquet", "metadata/00000-1.metadata.json"],
    "migrated": ["part-0.parquet", "k=1/part-1.parquet", "metadata/v1.metadata.json"],
    "hudi": [
        "2024/01/x_0.parquet",
        "2024/01/.hoodie_partition_metadata",
        "part-0.parquet",
        ".hoodie/hoodie.properties",
    ],
    "own": ["data/part-0.parquet", "data/k=1/part-1.parquet", "_commits/00000001.json"],
    "stream": ["part-0.parquet", "k=1/part-1.parquet", "_spark_metadata/0"],
    "plain": ["part-0.parquet", "k=1/part-1.parquet", "metadata/columns.txt", "data/part-2.parquet"],
}
SAYS = {
    "delta": "lake/delta/\" and delta: {}",
    "iceberg": "lake/iceberg/ is an Iceberg table",
    "migrated": "lake/migrated/ is an Iceberg table",
    "hudi": "Hudi is not read",
    "own": "its rows are under",
    "stream": "lake/stream/ is the sink of a Spark stream",
}  # fmt: skip


class Lake:
    """The same files on two stores."""

    def __init__(self, folder: Path, memory: Memory) -> None:
        self.memory = memory
        self.roots = {"file": f"file://{folder}/", "http": "http://host/"}
        for table, names in TABLES.items():
            for name in names:
                path = folder / "lake" / table / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"x")
                memory.put(f"lake/{table}/{name}", b"x")

    def listed(self, scheme: str, *uris: str) -> list[str]:
        item: Any = Input.model_validate({"name": "t", "uris": ["s3://lake/"], "format": "parquet"})
        item = item.model_copy(update={"uris": tuple(self.roots[scheme] + uri for uri in uris)})
        files = listing.listed(item, StoreAccess()).files
        return [file.uri.removeprefix(self.roots[scheme].removeprefix("file://")) for file in files]

    def refusal(self, scheme: str, *uris: str) -> str:
        with pytest.raises(JobError) as caught:
            self.listed(scheme, *uris)
        assert caught.value.failure is Failure.INVALID_INPUT
        return caught.value.message.replace("`", "").replace('uri: "', "")


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lake]:
    memory = Memory()
    monkeypatch.setitem(stores.STORES, "http", memory)
    return Lake(tmp_path, memory)


@pytest.mark.parametrize("scheme", ["file", "http"])
@pytest.mark.parametrize(
    ("table", "uris"),
    [
        pytest.param("delta", ["lake/delta/"], id="Delta: the folder"),
        pytest.param("delta", ["lake/delta"], id="Delta: the folder without a slash"),
        pytest.param("delta", ["lake/delta/*.parquet"], id="Delta: a glob"),
        pytest.param("delta", ["lake/delta/part-*.parquet"], id="Delta: a glob that sees no log"),
        pytest.param("delta", ["lake/delta/**/*.parquet"], id="Delta: a glob below it"),
        pytest.param("delta", ["lake/d*/part-*"], id="Delta: a glob above it"),
        pytest.param("delta", ["lake/**/part-0.parquet", "lake/plain/"], id="Delta: among others"),
        pytest.param("delta", ["lake/delta/part-0.parquet"], id="Delta: one file"),
        pytest.param("delta", ["lake/plain/", "lake/delta/part-0.parquet"], id="Delta: in a list"),
        pytest.param("delta", ["lake/delta/k=1/"], id="Delta: a partition"),
        pytest.param("delta", ["lake/delta/k=1/j=2/"], id="Delta: a partition of a partition"),
        pytest.param("delta", ["lake/delta/k=1/j=*/*.parquet"], id="Delta: partitions by a glob"),
        pytest.param("delta", ["lake/delta/aB/"], id="Delta: a folder without a key"),
        pytest.param("iceberg", ["lake/iceberg/"], id="Iceberg: the folder"),
        pytest.param("iceberg", ["lake/iceberg/data/"], id="Iceberg: its data"),
        pytest.param("iceberg", ["lake/iceberg/data/*.parquet"], id="Iceberg: a glob"),
        pytest.param("iceberg", ["lake/iceberg/data/k=1/"], id="Iceberg: a partition"),
        pytest.param("iceberg", ["lake/iceberg/data/part-0.parquet"], id="Iceberg: one file"),
        pytest.param("migrated", ["lake/migrated/*.parquet"], id="Iceberg over files of Hive: a glob"),
        pytest.param("migrated", ["lake/migrated/k=1/*.parquet"], id="Iceberg over files of Hive: a partition"),
        pytest.param("hudi", ["lake/hudi/"], id="Hudi: the folder"),
        pytest.param("hudi", ["lake/hudi/2024/01/"], id="Hudi: a partition"),
        pytest.param("hudi", ["lake/hudi/part-*.parquet"], id="Hudi: a glob"),
        pytest.param("stream", ["lake/stream/"], id="a stream's sink: the folder"),
        pytest.param("stream", ["lake/stream/*.parquet"], id="a stream's sink: a glob"),
        pytest.param("stream", ["lake/stream/k=1/"], id="a stream's sink: a partition"),
        pytest.param("own", ["lake/own/"], id="our own: the folder"),
        pytest.param("own", ["lake/own"], id="our own: the folder without a slash"),
        pytest.param("own", ["lake/own/*.parquet"], id="our own: a glob that finds nothing"),
        pytest.param("own", ["lake/own/**/*.parquet"], id="our own: a glob below it"),
        pytest.param("own", ["lake/o*/"], id="our own: a glob above it"),
    ],
)  # fmt: skip
def test_a_table_is_refused_with_what_to_write(lake: Lake, scheme: str, table: str, uris: list[str]) -> None:
    assert SAYS[table] in lake.refusal(scheme, *uris)


@pytest.mark.parametrize("scheme", ["file", "http"])
@pytest.mark.parametrize(
    ("uri", "want"),
    [
        pytest.param("lake/own/data/", ["own/data/k=1/part-1.parquet", "own/data/part-0.parquet"], id="our own data"),
        pytest.param("lake/own/data/k=*/*.parquet", ["own/data/k=1/part-1.parquet"], id="partitions of our own data"),
        pytest.param("lake/ow?/data/*.parquet", ["own/data/part-0.parquet"], id="a glob that names data"),
        pytest.param(
            "lake/plain/", ["plain/data/part-2.parquet", "plain/k=1/part-1.parquet", "plain/part-0.parquet"],
            id="a folder called metadata alone makes no table",
        ),
        pytest.param("lake/plain/data/", ["plain/data/part-2.parquet"], id="nor one called data"),
        pytest.param("lake/stream/part-0.parquet", ["stream/part-0.parquet"], id="a named file of a stream"),
        pytest.param("lake/{plain,none}/*.parquet", ["plain/part-0.parquet"], id="a table beside what is read"),
    ],
)  # fmt: skip
def test_what_is_no_root_of_a_table_is_read(lake: Lake, scheme: str, uri: str, want: list[str]) -> None:
    assert lake.listed(scheme, uri) == [f"lake/{name}" for name in want]


def test_many_files_that_are_named_cost_one_look_at_their_folder(lake: Lake) -> None:
    for number in range(100):
        lake.memory.put(f"lake/plain/n{number}.parquet", b"x")
    lake.memory.pages_listed = 0
    lake.listed("http", *(f"lake/plain/n{number}.parquet" for number in range(100)))
    assert lake.memory.pages_listed <= 3
