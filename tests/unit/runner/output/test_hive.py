"""Partition folders: what may become one, and that three independent readers read every value back."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING
from urllib.parse import unquote

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output import hive
from tests.support.sinks import plan, run

if TYPE_CHECKING:
    from pathlib import Path

AWKWARD = [
    "a/b", "a=b", "a b", " ", "%", "a%20b", "%2F", '"q"', "it's", "😀", "é", "a\\b", "a*b", "a?b", "[x]", "{a,b}",
    "#&+:;,@$!()", "..", ".", "\n", "\t", "null", "NULL", "None", "~", "A", "a", "01", "1.0", "true", "2024-01-01",
    "-", "_", "__x", ".x", "<>|^`", "x" * 200, "", None,
]  # fmt: skip


@pytest.fixture
def table(tmp_path: Path) -> str:
    """The data folder of a table whose rows have every awkward value as partition, and it again beside it."""
    lf = pl.LazyFrame({"k": AWKWARD, "same": AWKWARD, "n": range(len(AWKWARD))})
    status = run(plan(f"file://{tmp_path}/out", partition_by=["k"]), lf)
    assert status.partitions == len(AWKWARD)
    return status.uri.removeprefix("file://")


def expected() -> list[tuple[int, str | None]]:
    return list(enumerate(AWKWARD))


def test_polars_reads_every_value_back(table: str):
    schema = {"k": pl.String()}
    for place in (table, f"{table}**/*.parquet"):
        lf = pl.scan_parquet(place, hive_partitioning=True, hive_schema=schema)
        assert lf.select("n", "k").sort("n").collect().rows() == expected()
        assert lf.filter(pl.col("k").eq_missing(pl.col("same"))).select(pl.len()).collect().item() == len(AWKWARD)


def test_pyarrow_reads_every_value_back(table: str):
    layout = ds.HivePartitioning(pa.schema([("k", pa.string())]), segment_encoding="uri")
    rows = ds.dataset(table, partitioning=layout).to_table(columns=["n", "k"]).sort_by("n").to_pylist()
    assert [(row["n"], row["k"]) for row in rows] == expected()


def test_duckdb_reads_every_value_back(table: str):
    source = f"read_parquet('{table}**/*.parquet', hive_partitioning = true, hive_types_autocast = false)"
    assert duckdb.sql(f"SELECT n, k FROM {source} ORDER BY n").fetchall() == expected()


def test_a_text_that_readers_take_for_null_is_refused_and_not_turned_into_null(tmp_path: Path):
    lf = pl.LazyFrame({"k": [hive.NULL], "n": [1]})
    with pytest.raises(JobError, match="takes for null") as caught:
        run(plan(f"file://{tmp_path}/out", partition_by=["k"]), lf)
    assert caught.value.failure is Failure.USER_ERROR
    assert not list(tmp_path.rglob("*.parquet"))


def test_values_of_other_types_come_back_with_their_types(tmp_path: Path):
    values = {
        "i": [1, -2], "b": [True, False], "d": [date(2024, 1, 31), date(1, 1, 1)], "f": [1.5, -0.25],
        "m": [Decimal("1.10"), Decimal("-2.00")], "t": [datetime(2024, 1, 1, 12), datetime(1999, 1, 1)],
    }  # fmt: skip
    frame = pl.DataFrame({**values, "n": [0, 1]})
    status = run(plan(f"file://{tmp_path}/out", partition_by=list(values)), frame.lazy())
    schema = {name: frame.schema[name] for name in values}
    back = pl.scan_parquet(status.uri.removeprefix("file://"), hive_schema=schema).collect()
    assert back.sort("n").select(frame.columns).equals(frame)


def test_two_partition_columns_become_nested_folders_in_their_order(tmp_path: Path):
    run(plan(f"file://{tmp_path}/out", partition_by=["b", "a"]), pl.LazyFrame({"a": [1], "b": ["x"], "n": [1]}))
    (file,) = (tmp_path / "out/data").rglob("*.parquet")
    assert file.relative_to(tmp_path / "out/data").parts[:-1] == ("b=x", "a=1")


@pytest.mark.parametrize("name", ["plain", "with space", "a-b", "a.b", "é", "名前", "K"])
def test_every_reader_knows_a_partition_column_of_an_accepted_name(tmp_path: Path, name: str):
    status = run(plan(f"file://{tmp_path}/out", partition_by=[name]), pl.LazyFrame({name: ["v"], "n": [1]}))
    place = status.uri.removeprefix("file://")
    assert pl.scan_parquet(place).select(name).collect().item() == "v"
    assert ds.dataset(place, partitioning="hive").to_table().to_pylist() == [{"n": 1, name: "v"}]
    found = duckdb.sql(f"SELECT \"{name}\" FROM read_parquet('{place}**/*.parquet', hive_partitioning = true)")
    assert found.fetchall() == [("v",)]


@pytest.mark.parametrize(
    ("schema", "partition_by", "text"),
    [
        pytest.param({}, (), "no columns", id="no columns"),
        pytest.param({"region": pl.String, "n": pl.Int64}, ("regoin",), r"has region, n; did you mean 'region'\?",
                     id="a name with a typo"),
        pytest.param({"k": pl.List(pl.Int64), "n": pl.Int64}, ("k",), "List", id="a list"),
        pytest.param({"k": pl.Struct({"a": pl.Int64}), "n": pl.Int64}, ("k",), "Struct", id="a struct"),
        pytest.param({"k": pl.Array(pl.Int64, 2), "n": pl.Int64}, ("k",), "Array", id="an array"),
        pytest.param({"k": pl.Binary, "n": pl.Int64}, ("k",), "Binary", id="bytes"),
        pytest.param({"k": pl.Duration("us"), "n": pl.Int64}, ("k",), "Duration", id="a duration"),
        pytest.param({"at": pl.Time, "n": pl.Int64}, ("at",), "names 'at' of type Time", id="a time of day"),
        pytest.param({"k": pl.Datetime("us", "Asia/Tokyo"), "n": pl.Int64}, ("k",), "time zones", id="a time zone"),
        pytest.param({"k": pl.String}, ("k",), "files would have none", id="only partition columns"),
        pytest.param({"a=b": pl.String, "n": pl.Int64}, ("a=b",), "rename the column", id="a name with ="),
        pytest.param({"a/b": pl.String, "n": pl.Int64}, ("a/b",), "rename the column", id="a name with /"),
        pytest.param({"o": pl.Object}, (), "Python objects", id="objects"),
    ],
)  # fmt: skip
def test_what_cannot_be_laid_out_is_refused_before_the_query_runs(schema, partition_by, text):
    with pytest.raises(JobError, match=text) as caught:
        hive.check_schema(pl.Schema(schema), partition_by)
    assert caught.value.failure is Failure.USER_ERROR


def test_a_value_too_long_for_a_folder_is_refused_with_the_limit(tmp_path: Path):
    lf = pl.LazyFrame({"k": ["x" * 300], "n": [1]})
    with pytest.raises(JobError, match=r"at most 255 bytes, but a partition needs 302: 'k=xxx") as caught:
        run(plan(f"file://{tmp_path}/out", partition_by=["k"]), lf)
    assert caught.value.failure is Failure.OUTPUT_LIMIT


@given(st.text())
def test_an_encoded_value_is_one_safe_path_component_and_decodes_to_itself(value: str):
    encoded = hive.encode(value)
    assert unquote(encoded) == value
    assert all(char.isascii() and (char.isalnum() or char in "_-.%") for char in encoded)
