"""Files of one table that have grown: widened where no value changes, told, and refused where one would."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from tests.support.read_inputs import frame, resolved
from tests.support.runner import plan, run

if TYPE_CHECKING:
    from pathlib import Path

D = Decimal
DAY = dt.datetime(2024, 1, 2, 3, 4, 5, 678)


def written(folder: Path, *tables: Any, **options: Any) -> str:
    """Write one file for each table (or each list of values of a column `a`)."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, table in enumerate(tables):
        whole = table if isinstance(table, pa.Table) else pa.table({"a": table})
        pq.write_table(whole, folder / f"{number}.parquet", **options)
    return f"{folder}/*.parquet"


def struct(fields: dict[str, pa.DataType]) -> pa.DataType:
    return pa.struct(list(fields.items()))


WIDENED = [
    pytest.param(pa.array([1], pa.int32()), pa.array([2**40], pa.int64()), "Int64", id="int32, int64"),
    pytest.param(pa.array([2**40], pa.int64()), pa.array([-1], pa.int8()), "Int64", id="int64, then int8"),
    pytest.param(pa.array([2**32 - 1], pa.uint32()), pa.array([-1], pa.int64()), "Int64", id="uint32, int64"),
    pytest.param(pa.array([255], pa.uint8()), pa.array([-1], pa.int8()), "Int16", id="uint8, int8"),
    pytest.param(pa.array([2**32 - 1], pa.uint32()), pa.array([-1], pa.int32()), "Int64", id="uint32, int32"),
    pytest.param(pa.array([1], pa.uint16()), pa.array([2**64 - 1], pa.uint64()), "UInt64", id="uint16, uint64"),
    pytest.param(pa.array([0.1], pa.float32()), pa.array([0.1], pa.float64()), "Float64", id="float32, float64"),
    pytest.param(pa.array([2**31 - 1], pa.int32()), pa.array([0.5], pa.float64()), "Float64", id="int32, float64"),
    pytest.param(pa.array([-3], pa.int16()), pa.array([0.5], pa.float32()), "Float64", id="int16, float32"),
    pytest.param(
        pa.array([D("1.5")], pa.decimal128(5, 1)), pa.array([D("99999.25")], pa.decimal128(7, 2)),
        "Decimal(precision=7, scale=2)", id="a wider decimal",
    ),
    pytest.param(
        pa.array([D("123456789.5")], pa.decimal128(10, 1)), pa.array([D("0.12345")], pa.decimal128(5, 5)),
        "Decimal(precision=14, scale=5)", id="digits on both sides of the point",
    ),
    pytest.param(
        pa.array([DAY], pa.timestamp("us")), pa.array([DAY], pa.timestamp("ns")), "Datetime('ns')", id="us, then ns"
    ),
    pytest.param(
        pa.array([DAY.replace(microsecond=1000), None], pa.timestamp("ms")), pa.array([DAY], pa.timestamp("us")),
        "Datetime('us')", id="ms, then us",
    ),
    pytest.param(
        pa.array([None], pa.timestamp("us", "UTC")), pa.array([DAY], pa.timestamp("ns", "UTC")),
        "Datetime('ns', 'UTC')", id="nulls need no statistics",
    ),
    pytest.param(pa.array([None, None]), pa.array(["x"]), "String", id="null, then text"),
    pytest.param(pa.array(["x"]), pa.array([None]), "String", id="text, then null"),
    pytest.param(pa.array(["x", None]).dictionary_encode(), pa.array(["y"]), "String", id="dictionary, then text"),
    pytest.param(pa.array(["x"]), pa.array(["y"], pa.large_string()), "String", id="text, then large text"),
    pytest.param(pa.array([b"x"]), pa.array([b"y"], pa.large_binary()), "Binary", id="bytes, then large bytes"),
    pytest.param(
        pa.array([[1, None], [], None], pa.list_(pa.int32())), pa.array([[2**40]], pa.list_(pa.int64())),
        "List(Int64)", id="in lists",
    ),
    pytest.param(
        pa.array([{"x": 1}, None], struct({"x": pa.int8()})),
        pa.array([{"x": 2**40, "y": "b"}], struct({"x": pa.int64(), "y": pa.string()})),
        "Struct({'x': Int64, 'y': String})", id="in structs, with a field more",
    ),
    pytest.param(
        pa.array([[{"x": 1}, None], None, []], pa.list_(struct({"x": pa.int8()}))),
        pa.array([[{"y": "b", "x": 2**40}]], pa.list_(struct({"y": pa.string(), "x": pa.int64()}))),
        "List(Struct({'x': Int64, 'y': String}))", id="in structs in lists",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "dtype"), WIDENED)
@pytest.mark.parametrize("store_schema", [True, False], ids=["with Arrow's schema", "without"])
def test_what_is_widened_keeps_every_value(
    tmp_path: Path, old: pa.Array, new: pa.Array, dtype: str, store_schema: bool
) -> None:
    place = written(tmp_path / "t", old, new, store_schema=store_schema)
    one = resolved(place)
    if store_schema:
        assert str(one.schema["a"]).replace("time_unit=", "").replace(", time_zone=None", "") == dtype.replace(
            "', 'UTC'", "', time_zone='UTC'"
        )
    want = [pa.table({"a": column}).to_pylist()[n]["a"] for column in (old, new) for n in range(len(column))]
    found = frame(place).collect()["a"].to_list()
    assert [_filled(value, want) for value in found] == [_filled(value, want) for value in want]


def _filled(value: Any, like: list[Any]) -> Any:
    """A value with the fields that other rows have."""
    if isinstance(value, list):
        return [_filled(one, [x for some in like if some for x in some]) for one in value]
    if isinstance(value, dict):
        return dict.fromkeys({n for one in like if one for n in one}) | value
    return value


@pytest.mark.parametrize("engine", ["streaming", "in-memory"])
def test_a_column_that_files_lack_is_null_there_in_every_row(tmp_path: Path, engine: Any) -> None:
    place = written(tmp_path / "t", pa.table({"a": [1, 2]}), pa.table({"a": [3], "b": ["x"]}), pa.table({"b": ["y"]}))
    one = frame(place)
    assert one.collect(engine=engine).rows() == [(1, None), (2, None), (3, "x"), (None, "y")]
    assert one.select("b").collect(engine=engine)["b"].to_list() == [None, None, "x", "y"]
    assert one.select("a").collect(engine=engine)["a"].to_list() == [1, 2, 3, None]
    assert one.select(pl.len()).collect(engine=engine).item() == 4
    assert one.filter(pl.col("b").is_null()).select(pl.len()).collect(engine=engine).item() == 2


def test_what_was_done_is_told_with_files_and_types(tmp_path: Path) -> None:
    place = written(
        tmp_path / "t",
        pa.table({"a": pa.array([1], pa.int32())}),
        pa.table({"a": [2], "b": ["x"]}),
        pa.table({"a": [3]}),
    )
    folder = tmp_path / "t"
    assert resolved(place).warnings == (
        f'input "t": column "a" is Int32 in {folder}/0.parquet: it is read as Int64',
        f'input "t": column "b" is not in {folder}/0.parquet, {folder}/2.parquet: it is null there',
    )


def test_files_that_differ_in_the_order_of_columns_alone_are_alike(tmp_path: Path) -> None:
    place = written(tmp_path / "t", pa.table({"a": [1], "b": ["x"]}), pa.table({"b": ["y"], "a": [2]}))
    assert frame(place, schemaEvolution="strict").collect().rows() == [(1, "x"), (2, "y")]
    assert resolved(place).warnings == ()


CLASHES = [
    pytest.param(pa.array([1]), pa.array(["x"]), ["Int64", "String"], id="a number and a text"),
    pytest.param(pa.array([2**64 - 1], pa.uint64()), pa.array([-1]), ["UInt64", "Int64"], id="uint64 and int64"),
    pytest.param(pa.array([2**53 + 1]), pa.array([0.5]), ["Int64", "Float64"], id="int64 and float64"),
    pytest.param(pa.array([dt.date(2024, 1, 1)]), pa.array([DAY]), ["Date", "Datetime"], id="a day and a moment"),
    pytest.param(
        pa.array([DAY], pa.timestamp("us", "UTC")), pa.array([DAY], pa.timestamp("us")), ["UTC", "None"],
        id="a time zone and none",
    ),
    pytest.param(
        pa.array([D(1)], pa.decimal128(38, 0)), pa.array([D("0.5")], pa.decimal128(2, 1)), ["38", "1"],
        id="decimals that need more than 38 digits",
    ),
    pytest.param(
        pa.array([dt.datetime(9999, 12, 31)], pa.timestamp("us")), pa.array([DAY], pa.timestamp("ns")),
        ["'us'", "'ns'", "0.parquet"], id="a moment that nanoseconds do not reach",
    ),
    pytest.param(
        pa.array([[DAY]], pa.list_(pa.timestamp("us"))), pa.array([[DAY]], pa.list_(pa.timestamp("ns"))),
        ["'us'", "'ns'"], id="moments in lists, of which footers say nothing",
    ),
    pytest.param(pa.array([True]), pa.array([1]), ["Boolean", "Int64"], id="a truth and a number"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "words"), CLASHES)
def test_a_column_without_a_common_type_fails_the_query_that_names_it_and_no_other(
    tmp_path: Path, old: pa.Array, new: pa.Array, words: list[str]
) -> None:
    tables = [pa.table({"k": [n], "a": column}) for n, column in enumerate((old, new))]
    given = {"t": {"uri": f"file://{written(tmp_path / 't', *tables)}"}}
    report = run(plan(tmp_path, "select k from t", inputs=given))
    assert report.committed is not None
    assert report.committed.rows == 2
    assert any('column "a"' in warning for warning in report.warnings)
    for text in ("select a from t", "select * from t"):
        refused = run(plan(tmp_path, text, inputs=given, output={"uri": f"file://{tmp_path}/no"}))
        assert refused.failure is not None
        for word in ['"a"', "0.parquet", "two inputs", *words]:
            assert word in refused.message, refused.message


def test_a_query_in_python_is_told_too_why_it_does_not_find_a_column(tmp_path: Path) -> None:
    tables = [pa.table({"k": [1], "a": [2]}), pa.table({"k": [1], "a": ["x"]})]
    given = {"t": {"uri": f"file://{written(tmp_path / 't', *tables)}"}}
    text = "def query(inputs, params):\n    return inputs['t'].select('a')"
    report = run(plan(tmp_path, text, inputs=given, language="python"))
    for word in ('column "a" has the type Int64', "String", "0.parquet", "1.parquet", "two inputs"):
        assert word in report.message, report.message


def test_strict_refuses_the_first_difference_with_both_files(tmp_path: Path) -> None:
    place = written(tmp_path / "t", pa.array([1], pa.int32()), pa.array([2], pa.int64()))
    with pytest.raises(JobError) as caught:
        resolved(place, schemaEvolution="strict")
    assert caught.value.failure is Failure.INVALID_INPUT
    for word in ('"a"', "Int32", "Int64", "0.parquet", "1.parquet", "strict"):
        assert word in caught.value.message


def test_files_of_one_schema_are_one_plain_scan(tmp_path: Path) -> None:
    place = written(tmp_path / "t", *(pa.table({"a": [n]}).replace_schema_metadata({"n": str(n)}) for n in range(3)))
    text = frame(place).explain(optimized=False)
    assert text.count("SCAN") == 1 and "SELECT" not in text


def test_a_file_without_rows_or_row_groups_is_like_any_other(tmp_path: Path) -> None:
    place = written(tmp_path / "t", pa.table({"a": pa.array([], pa.int32())}), pa.table({"a": [1]}))
    assert frame(place).collect().rows() == [(1,)]
