"""Types of parquet files: the value that pyarrow reads, or a refusal that names the column and the way out."""

from __future__ import annotations

import datetime as dt
import struct
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs.formats.parquet import int96
from tests.support.read_inputs import frame, resolved
from tests.support.runner import plan, run
from tests.support.tiny_parquet import FIXED, Column, integers, write

if TYPE_CHECKING:
    from pathlib import Path

D = Decimal


def ticks(values: list[int | None], dtype: pa.DataType) -> pa.Array:
    return pa.array(values, pa.int64()).cast(dtype)


EXACT = {
    "half floats": pa.array([1.5, None, -0.25], pa.float16()),
    "decimals of 256 bits with few digits": pa.array([D("1.50"), None], pa.decimal256(38, 2)),
    "decimals as integers": pa.array([D("1.23")], pa.decimal128(5, 2)),
    "times of milliseconds": pa.array([dt.time(1, 2, 3, 4000), None], pa.time32("ms")),
    "times of microseconds": pa.array([dt.time(1, 2, 3, 4)], pa.time64("us")),
    "the largest unsigned integer": pa.array([2**64 - 1], pa.uint64()),
    "unsigned integers of 32 bits": pa.array([2**32 - 1], pa.uint32()),
    "lists of structs": pa.array([[{"x": 1, "y": [1, None]}], [], None]),
    "bytes of fixed length": pa.array([b"abc"], pa.binary(3)),
    "JSON": pa.array(['{"a":1}', None], pa.json_(pa.string())),
    "nothing": pa.array([None, None]),
    "a dictionary of integers": pa.array([10, 20, None]).dictionary_encode(),
    "lists of fixed length": pa.array([[1, 2], [3, 4]], pa.list_(pa.int64(), 2)),
    "views of texts": pa.array(["x"], pa.string_view()),
    "days of 64 bits": pa.array([dt.date(2024, 1, 31)], pa.date64()),
    "a time zone": pa.array([dt.datetime(2024, 1, 1)], pa.timestamp("us", "America/New_York")),
}


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("store_schema", [True, False], ids=["with Arrow's schema", "without"])
def test_values_are_those_that_pyarrow_reads(tmp_path: Path, name: str, store_schema: bool) -> None:
    column = EXACT[name]
    pq.write_table(pa.table({"k": range(len(column)), "a": column}), tmp_path / "x.parquet", store_schema=store_schema)
    one = resolved(f"{tmp_path}/x.parquet")
    if "a" in one.absent:
        assert name == "half floats" and not store_schema  # bytes to Polars, who does not see what they are
        assert "float16" in one.absent["a"] and "float32" in one.absent["a"]
        return
    want = [value.as_py() for value in pq.read_table(tmp_path / "x.parquet")["a"]]
    found = frame(f"{tmp_path}/x.parquet").collect()["a"].to_list()
    assert [as_day(value, want) for value in found] == want


def as_day(value: Any, like: list[Any]) -> Any:
    return value.date() if type(like[0]) is dt.date and isinstance(value, dt.datetime) else value


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("store_schema", [True, False], ids=["with Arrow's schema", "without"])
def test_moments_of_every_size_keep_their_ticks(tmp_path: Path, unit: Any, store_schema: bool) -> None:
    values = [2**62, -(2**62), 0, None, 253_402_300_800]
    pq.write_table(
        pa.table({"a": ticks(values, pa.timestamp(unit))}), tmp_path / "x.parquet", store_schema=store_schema
    )
    found = frame(f"{tmp_path}/x.parquet").collect()["a"]
    assert found.dtype == pl.Datetime(unit)
    assert found.to_physical().to_list() == values


def test_times_of_nanoseconds_keep_their_ticks(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": ticks([1_234_567_891], pa.time64("ns"))}), tmp_path / "x.parquet")
    assert frame(f"{tmp_path}/x.parquet").collect()["a"].to_physical().to_list() == [1_234_567_891]


def unread(tmp_path: Path, name: str = "a") -> str:
    """Why a column of x.parquet is not read; the others are, and the query that names it is told the same."""
    place = f"{tmp_path}/x.parquet"
    one = resolved(place)
    assert name not in one.schema
    frame(place).collect()
    report = run(plan(tmp_path, f"select {name} from t", inputs={"t": f"file://{place}"}))
    assert report.failure is Failure.INVALID_INPUT, report.message
    assert f'"{name}"' in report.message
    assert one.absent[name].split(" (")[0] in report.message
    return one.absent[name]


@pytest.mark.parametrize("digits", [39, 60, 76])
@pytest.mark.parametrize("store_schema", [True, False], ids=["with Arrow's schema", "without"])
def test_decimals_of_more_than_38_digits_fail_the_query_that_names_them(
    tmp_path: Path, digits: int, store_schema: bool
) -> None:
    table = pa.table({"k": [1], "a": pa.array([D(1)], pa.decimal256(digits, 0))})
    pq.write_table(table, tmp_path / "x.parquet", store_schema=store_schema)
    assert f"a decimal of {digits} digits" in unread(tmp_path)


@pytest.mark.parametrize(("number", "name"), [(16, "VARIANT"), (17, "GEOMETRY"), (18, "GEOGRAPHY"), (40, "field 40")])
def test_a_logical_type_that_is_not_known_is_named_with_its_column(tmp_path: Path, number: int, name: str) -> None:
    write(tmp_path / "x.parquet", integers("id", 1, 2), integers("shape", 3, 4, logical=number))
    with pytest.raises(JobError) as caught:
        resolved(f"{tmp_path}/x.parquet")
    assert caught.value.failure is Failure.INVALID_INPUT
    for word in ('"shape"', name, "x.parquet"):
        assert word in caught.value.message


def test_intervals_are_named_with_their_column(tmp_path: Path) -> None:
    values = [struct.pack("<iii", 1, 2, 3)]
    write(tmp_path / "x.parquet", integers("k", 1), Column("a", values, FIXED, 12, converted=21))
    with pytest.raises(JobError, match='column "a" has the type INTERVAL'):
        resolved(f"{tmp_path}/x.parquet")


@pytest.mark.parametrize("zone", ["+05:30", "UTC+3", "Mars/Base"])
def test_a_time_zone_that_has_no_entry_in_the_database_is_named_with_its_column(tmp_path: Path, zone: str) -> None:
    table = pa.table({"k": [1], "a": ticks([0], pa.timestamp("us", zone))})
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(JobError) as caught:
        frame(f"{tmp_path}/x.parquet").collect()
    for word in ('"a"', zone, "UTC"):
        assert word in caught.value.message, caught.value.message


def test_enum_is_the_text_that_it_is(tmp_path: Path) -> None:
    write(tmp_path / "x.parquet", integers("k", 1), Column("a", [struct.pack("<i", 3) + b"red"], 6, converted=4))
    assert frame(f"{tmp_path}/x.parquet").collect()["a"].to_list() == ["red"]


def test_an_encrypted_footer_is_told_from_a_broken_file(tmp_path: Path) -> None:
    write(tmp_path / "x.parquet", integers("k", 1), footer=b"PARE")
    with pytest.raises(JobError, match=r"x\.parquet: its footer is encrypted"):
        resolved(f"{tmp_path}/x.parquet")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html><body>403 Forbidden</body></html>", "a web page or a store's error message: '<html><body>403"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "a pointer of Git LFS"),
        (b"PAR1 and no more", "is no parquet file: the file does not end with PAR1"),
    ],
)
def test_what_lies_in_place_of_a_file_is_told_before_the_query_runs(tmp_path: Path, body: bytes, words: str) -> None:
    (tmp_path / "x.parquet").write_bytes(body)
    with pytest.raises(JobError) as caught:
        resolved(f"{tmp_path}/x.parquet")
    assert f"{tmp_path}/x.parquet: " in caught.value.message
    assert words in caught.value.message


def test_columns_of_one_name_are_refused_with_the_name(tmp_path: Path) -> None:
    pq.write_table(pa.table([[1], [2]], names=["a", "a"]), tmp_path / "x.parquet")
    with pytest.raises(JobError, match='several columns of the name "a"'):
        resolved(f"{tmp_path}/x.parquet")


def test_names_that_differ_in_capitals_alone_are_two_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1], "A": [2]}), tmp_path / "x.parquet")
    assert frame(f"{tmp_path}/x.parquet").collect().to_dicts() == [{"a": 1, "A": 2}]


def test_a_file_without_columns_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({}), tmp_path / "x.parquet")
    with pytest.raises(JobError, match=r"x\.parquet has no columns"):
        resolved(f"{tmp_path}/x.parquet")


OLD = {"use_deprecated_int96_timestamps": True, "store_schema": False, "row_group_size": 2}
LAYOUTS: dict[str, dict[str, Any]] = {
    "as Spark writes": {"compression": "snappy"},
    "without dictionary": {"compression": "zstd", "use_dictionary": False, "data_page_version": "2.0"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_int96_within_nanoseconds_is_exact(tmp_path: Path, layout: str) -> None:
    values = [dt.datetime(1700, 1, 1), None, dt.datetime(2261, 12, 31, 23, 59, 59, 999_999), dt.datetime(1969, 12, 31)]
    table = pa.table({"k": range(4), "a": pa.array(values, pa.timestamp("us"))})
    pq.write_table(table, tmp_path / "x.parquet", **OLD, **LAYOUTS[layout])
    assert frame(f"{tmp_path}/x.parquet").collect()["a"].to_list() == values


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("far", [dt.datetime(9999, 12, 31), dt.datetime(1, 1, 1), dt.datetime(2262, 5, 1)])
def test_int96_beyond_nanoseconds_fails_the_query_that_names_it(tmp_path: Path, layout: str, far: dt.datetime) -> None:
    table = pa.table({"k": range(5), "a": pa.array([None, *[dt.datetime(2024, 1, 1)] * 3, far], pa.timestamp("us"))})
    pq.write_table(table, tmp_path / "x.parquet", **OLD, **LAYOUTS[layout])
    assert "INT96" in unread(tmp_path)


def test_int96_that_is_too_much_to_look_through_has_to_be_declared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int96, "MAX_BYTES", 10)
    table = pa.table({"k": [1], "a": pa.array([dt.datetime(2024, 1, 1)], pa.timestamp("us"))})
    pq.write_table(table, tmp_path / "x.parquet", **OLD)
    assert "types: {a: Datetime('ns')}" in unread(tmp_path)
    one = frame(f"{tmp_path}/x.parquet", types={"a": "Datetime('ns')"})
    assert one.collect()["a"].to_list() == [dt.datetime(2024, 1, 1)]


@pytest.mark.parametrize("store_schema", [True, False], ids=["with Arrow's schema", "without"])
@pytest.mark.parametrize("nested", [False, True], ids=["alone", "in a list"])
def test_times_in_seconds_are_exact_or_not_read(tmp_path: Path, store_schema: bool, nested: bool) -> None:
    kind = pa.list_(pa.time32("s")) if nested else pa.time32("s")
    at = dt.time(0, 0, 1)
    table = pa.table({"a": pa.array([[at] if nested else at, None], kind), "b": [1, 2]})
    pq.write_table(table, tmp_path / "a.parquet", store_schema=store_schema)
    one = resolved(tmp_path / "a.parquet")
    if store_schema:
        assert list(one.schema) == ["b"]
        assert "time32[ms]" in one.absent["a"]
    else:
        assert frame(tmp_path / "a.parquet").collect()["a"].to_list() == [[at] if nested else at, None]


def test_times_of_other_units_beside_each_other_are_read(tmp_path: Path) -> None:
    at = dt.time(1, 2, 3, 4000)
    kinds = {"ms": pa.time32("ms"), "us": pa.time64("us"), "ns": pa.time64("ns")}
    table = pa.table({name: pa.array([at], kind) for name, kind in kinds.items()} | {"day": [dt.date(2024, 1, 1)]})
    pq.write_table(table, tmp_path / "a.parquet")
    assert frame(tmp_path / "a.parquet").collect().row(0) == (at, at, at, dt.date(2024, 1, 1))


def test_days_that_arrow_has_in_milliseconds_are_days(tmp_path: Path) -> None:
    days = [dt.date(2024, 1, 1), dt.date(1, 1, 1), dt.date(9999, 12, 31), None]
    pq.write_table(pa.table({"a": pa.array(days, pa.date64())}), tmp_path / "0.parquet")
    pq.write_table(pa.table({"a": pa.array(days, pa.date32())}), tmp_path / "1.parquet")
    one = frame(f"{tmp_path}/*.parquet")
    assert one.collect_schema()["a"] == pl.Date
    assert one.collect()["a"].to_list() == days * 2
    assert one.filter(pl.col("a") > dt.date(2024, 1, 1)).collect()["a"].to_list() == [days[2]] * 2


@pytest.mark.parametrize("engine", ["streaming", "in-memory"])
@pytest.mark.parametrize("store_schema", [True, False], ids=["with Arrow's schema", "without"])
@pytest.mark.parametrize("kind", [pa.time32("ms"), pa.time64("us"), pa.time64("ns")], ids=str)
def test_filters_find_times_of_every_unit(tmp_path: Path, kind: pa.DataType, engine: Any, store_schema: bool) -> None:
    at = [dt.time(1, 2, 3), None, dt.time(5)]
    table = pa.table({"id": [1, 2, 3], "a": pa.array(at, kind)})
    pq.write_table(table, tmp_path / "0.parquet", store_schema=store_schema, row_group_size=2)
    pq.write_table(table.append_column("b", pa.array(["x"] * 3)), tmp_path / "1.parquet", store_schema=store_schema)
    one = frame(f"{tmp_path}/*.parquet")
    for condition, want in (
        (pl.col("a") == dt.time(1, 2, 3), [1, 1]),
        (pl.col("a") > dt.time(2), [3, 3]),
        (pl.col("a") < dt.time(2), [1, 1]),
        (pl.col("a").is_in([dt.time(5)]), [3, 3]),
        (pl.col("a").is_null(), [2, 2]),
    ):
        assert one.filter(condition).collect(engine=engine)["id"].to_list() == want
