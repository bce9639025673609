"""Columns of key=value folders: their types, their values, and what is refused."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gpuquery.api.reasons import Failure
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs import from_json, to_json
from gpuquery.runner.inputs.formats.parquet import scan
from tests.support.read_inputs import frame, resolved
from tests.support.runner import plan, run

if TYPE_CHECKING:
    from pathlib import Path

NULL = "__HIVE_DEFAULT_PARTITION__"
K = pl.col("k")


def written(root: Path, *folders: str, **columns: Any) -> str:
    """Write a file of one row into each folder, with its number as `v`; returns the root."""
    for number, folder in enumerate(folders):
        (root / folder).mkdir(parents=True, exist_ok=True)
        row = {"v": [number]} | {name: [values[number]] for name, values in columns.items()}
        pq.write_table(pa.table(row), root / folder / f"{number}.parquet")
    return f"{root}/"


def values(place: str, column: str, **changes: Any) -> list[Any]:
    return frame(place, **changes).sort("v").collect()[column].to_list()


def refusal(place: str, **changes: Any) -> str:
    with pytest.raises(JobError) as caught:
        frame(place, **changes).collect()
    assert caught.value.failure is Failure.INVALID_INPUT
    return caught.value.message


@pytest.mark.parametrize(
    ("texts", "want"),
    [
        pytest.param(["1", "20", "-3"], [1, 20, -3], id="integers"),
        pytest.param(["1", "01"], ["1", "01"], id="a leading zero makes texts of all"),
        pytest.param(["1", "1e5"], ["1", "1e5"], id="an exponent"),
        pytest.param(["1", "+1"], ["1", "+1"], id="a sign"),
        pytest.param(["-0", "1"], ["-0", "1"], id="minus zero"),
        pytest.param(["1.0", "2.5"], ["1.0", "2.5"], id="floats stay texts"),
        pytest.param(["true", "false"], ["true", "false"], id="truths stay texts"),
        pytest.param(["9223372036854775807"], [2**63 - 1], id="the largest integer"),
        pytest.param(["9223372036854775808"], ["9223372036854775808"], id="one beyond 64 bits"),
        pytest.param(["2024-01-31", "0001-01-01"], [dt.date(2024, 1, 31), dt.date(1, 1, 1)], id="days"),
        pytest.param(["2024-01-31", "2024-02-30"], ["2024-01-31", "2024-02-30"], id="a day that is none"),
        pytest.param(["2024-1-31"], ["2024-1-31"], id="a day without its zeros"),
        pytest.param(["1", "1_000"], ["1", "1_000"], id="digits with a line between"),
        pytest.param(["1", "٣"], ["1", "٣"], id="digits of another script"),
        pytest.param([NULL, "5"], [None, 5], id="null"),
        pytest.param([NULL], [None], id="null alone"),
        pytest.param(["", "5"], ["", "5"], id="an empty value is a text"),
        pytest.param(["a%2Fb", "c%25d", "100%"], ["a/b", "c%d", "100%"], id="decoded once"),
        pytest.param(["a%252Fb"], ["a%2Fb"], id="never twice"),
        pytest.param(["a+b", "c d", "e&f"], ["a+b", "c d", "e&f"], id="a plus is no blank"),
        pytest.param(["x=y", "[a]*?"], ["x=y", "[a]*?"], id="signs of folders and globs"),
    ],
)
def test_a_type_is_guessed_only_if_every_value_is_written_back_as_it_was(
    tmp_path: Path, texts: list[str], want: list[Any]
) -> None:
    assert values(written(tmp_path, *(f"k={text}" for text in texts)), "k") == want


@pytest.mark.parametrize(
    ("kind", "texts", "want"),
    [
        ("String", ["1", "2"], ["1", "2"]),
        ("Int32", ["007", NULL], [7, None]),
        ("UInt64", ["18446744073709551615"], [2**64 - 1]),
        ("Float64", ["1e5", "NaN", "-0.5"], [1e5, float("nan"), -0.5]),
        ("Float32", ["7.038531e-26", NULL], [7.038530691851209e-26, None]),
        ("Float32", ["7.038531e-26", "1.00000017881393432617187499"], [7.038530691851209e-26, 1.0000001192092896]),
        ("Boolean", ["true", "false", NULL], [True, False, None]),
        ("Decimal(9, 2)", ["1.5", "-0.25"], [Decimal("1.50"), Decimal("-0.25")]),
        ("Datetime('us')", ["2024-01-31%2010%3A00%3A00.000001"], [dt.datetime(2024, 1, 31, 10, 0, 0, 1)]),
        ("Datetime('ms')", ["2024-01-31T10:00:00"], [dt.datetime(2024, 1, 31, 10)]),
        ("Time", ["10%3A00%3A00.5"], [dt.time(10, 0, 0, 500_000)]),
        ("Date", ["2024-01-31"], [dt.date(2024, 1, 31)]),
    ],
)  # fmt: skip
def test_a_declared_type_counts(tmp_path: Path, kind: str, texts: list[str], want: list[Any]) -> None:
    found = values(written(tmp_path, *(f"k={text}" for text in texts)), "k", types={"k": kind})
    assert str(found) == str(want)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("Int8", "128"), ("Int64", "1.0"), ("Int64", ""), ("UInt8", "-1"), ("Decimal(4, 1)", "1.25"),
        ("Date", "2024-1-31"), ("Boolean", "yes"), ("Datetime('ms')", "2024-01-31 10:00:00.0001"), ("Float64", "1,5"),
        ("List(Int64)", "1"), ("Float32", "1e39"), ("Float64", "1e400"), ("Float64", "-1e400"),
    ],
)  # fmt: skip
def test_a_value_that_is_none_of_its_declared_type_is_refused_with_its_folder(
    tmp_path: Path, kind: str, text: str
) -> None:
    message = refusal(written(tmp_path, f"k={text}"), types={"k": kind})
    for word in ('"k"', f"k={text}/", "String"):
        assert word in message


@pytest.mark.parametrize("engine", ["streaming", "in-memory"])
@pytest.mark.parametrize(
    ("condition", "want"),
    [
        (K != 5, [7]), (K < 7, [5]), (~K.is_in([5]), [7]), (K.is_null(), [None]), (~K.is_between(5, 6), [7]),
        (K.is_null() | (K > 6), [None, 7]), (K.ne_missing(5), [None, 7]), (~(K == 5), [7]),
        ((K != 5) & (pl.col("v") >= 0), [7]),
    ],
    ids=str,
)  # fmt: skip
def test_rows_of_the_null_folder_pass_no_filter_that_null_does_not_pass(
    tmp_path: Path, condition: pl.Expr, want: list[Any], engine: Any
) -> None:
    one = frame(written(tmp_path, f"k={NULL}", "k=5", "k=7"))
    found = one.filter(condition).collect(engine=engine)["k"].to_list()
    assert sorted(found, key=str) == sorted(want, key=str)
    assert one.filter(condition).select(pl.len()).collect(engine=engine).item() == len(want)


def test_keys_of_several_levels_with_and_without_null(tmp_path: Path) -> None:
    place = written(tmp_path, f"a=1/b={NULL}", "a=1/b=x", f"a={NULL}/b=y")
    assert frame(place).sort("v").collect().rows() == [(0, 1, None), (1, 1, "x"), (2, None, "y")]
    assert frame(place).select("b").collect()["b"].null_count() == 1


@pytest.mark.parametrize("engine", ["streaming", "in-memory"])
def test_two_null_keys_of_different_types_stay_two_columns(tmp_path: Path, engine: Any) -> None:
    place = written(tmp_path, "y=2024-06-01/k=5", "y=1970-01-01/k=5", f"y={NULL}/k=-1", f"y={NULL}/k={NULL}")
    found = frame(place).filter(K.is_in([5, 6]) & (pl.col("y") != dt.date(1999, 1, 1))).collect(engine=engine)
    assert sorted(found["v"].to_list()) == [0, 1]
    assert found.schema["y"] == pl.Date and found.schema["k"] == pl.Int64


def test_many_partitions_that_polars_reads_wrong_are_told_apart_by_their_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "MAX_CONSTANTS", 2)
    place = written(tmp_path, *(f"a=1.{n}/b={NULL}" for n in range(5)))
    one = frame(place, types={"a": "Float64"})
    assert one.sort("v").collect().rows() == [(n, float(f"1.{n}"), None) for n in range(5)]
    assert one.filter(pl.col("a") == 1.3).collect()["v"].to_list() == [3]


def test_folders_above_the_input_are_no_keys(tmp_path: Path) -> None:
    place = written(tmp_path / "run=5" / "k=9" / "t", "k=1", "k=2")
    assert frame(place).sort("v").collect().rows() == [(0, 1), (1, 2)]


def test_a_glob_begins_where_its_first_star_or_key_stands(tmp_path: Path) -> None:
    written(tmp_path / "run=5" / "t", "k=1", "k=2")
    assert frame(f"{tmp_path}/run=5/t/k=1/*.parquet").collect().to_dicts() == [{"v": 0, "run": 5, "k": 1}]
    assert frame(f"{tmp_path}/*/t/*/*.parquet").sort("v").collect().columns == ["v", "run", "k"]


@pytest.mark.parametrize(("uri", "columns"), [("k=1/0.parquet", ["v"]), ("k=1/", ["v"]), ("", ["v", "k"])])
def test_what_is_named_itself_is_no_key(tmp_path: Path, uri: str, columns: list[str]) -> None:
    assert frame(written(tmp_path, "k=1") + uri).collect().columns == columns


def test_a_single_file_has_the_keys_of_its_place_if_that_is_wanted(tmp_path: Path) -> None:
    assert frame(f"{written(tmp_path, 'k=1')}k=1/0.parquet", hivePartitioned=True).collect().to_dicts() == [
        {"v": 0, "k": 1}
    ]


def test_without_the_same_keys_everywhere_there_are_none_and_a_warning_says_so(tmp_path: Path) -> None:
    place = written(tmp_path, "k=1", "j=2", "k=3")
    assert frame(place).collect().columns == ["v"]
    (warning,) = resolved(place).warnings
    assert "with j" in warning or "with k" in warning
    assert "hivePartitioned: false" in refusal(place, hivePartitioned=True)
    assert resolved(place, hivePartitioned=False).warnings == ()


def test_the_order_of_folders_does_not_matter(tmp_path: Path) -> None:
    place = written(tmp_path, "a=1/b=2", "b=3/a=4")
    assert frame(place).sort("v").collect().select("v", "a", "b").rows() == [(0, 1, 2), (1, 4, 3)]


def test_two_folders_of_one_key_are_refused(tmp_path: Path) -> None:
    assert "two folders of the same key" in refusal(written(tmp_path, "k=1/k=2"))


def test_names_of_folders_are_decoded_too(tmp_path: Path) -> None:
    assert frame(written(tmp_path, "a%20b%3D=1")).collect().to_dicts() == [{"v": 0, "a b=": 1}]


def test_a_key_that_the_files_have_too_is_read_from_the_files_if_both_are_equal(tmp_path: Path) -> None:
    place = written(tmp_path, "k=1/d=2024-01-01", "k=2/d=2024-01-01", k=[1, 2], d=[dt.date(2024, 1, 1)] * 2)
    assert values(place, "k") == [1, 2]
    assert frame(place, types={"k": "Int64"}).collect().columns == ["v", "k", "d"]
    texts = written(tmp_path / "texts", "k=01", "k=1", k=["01", "1"])
    assert values(texts, "k") == ["01", "1"]


@pytest.mark.parametrize("k", [[1, 3], [1, None], ["1", "3"]], ids=["another value", "null", "a text"])
def test_a_key_that_the_files_have_with_another_value_is_refused(tmp_path: Path, k: list[Any]) -> None:
    place = written(tmp_path, "k=1", "k=2", k=k)
    message = refusal(place)
    for word in ('"k"', "k=2/1.parquet", "hivePartitioned: false"):
        assert word in message
    assert values(place, "k", hivePartitioned=False) == k


def test_a_key_that_only_some_files_have_too_is_refused_and_not_null_in_the_others(tmp_path: Path) -> None:
    place = written(tmp_path, "k=1", "k=2", k=[1, 2])
    pq.write_table(pa.table({"v": [2]}), tmp_path / "k=2" / "1.parquet")
    message = refusal(place)
    for word in ('"k"', "k=2/1.parquet", "hivePartitioned: false"):
        assert word in message


def test_a_key_that_is_a_list_in_the_files_is_refused(tmp_path: Path) -> None:
    place = written(tmp_path, "k=1", k=[[1]])
    assert '"k"' in refusal(place)


@pytest.mark.parametrize(
    ("key", "column"),
    [
        ("5", pa.array([Decimal("0.05")], pa.decimal128(9, 2))),
        ("-1", pa.array([2**64 - 1], pa.uint64())),
        ("5", pa.array([dt.datetime(1970, 1, 1, 0, 0, 0, 5)], pa.timestamp("us"))),
        ("2024-01-01", pa.array([19723], pa.int32())),
        ("19723", pa.array([dt.date(2024, 1, 1)], pa.date32())),
    ],
)
def test_a_key_whose_value_in_the_files_is_stored_alike_and_means_something_else_is_refused(
    tmp_path: Path, key: str, column: pa.Array
) -> None:
    (tmp_path / f"k={key}").mkdir()
    there = tmp_path / f"k={key}" / "0.parquet"
    pq.write_table(pa.table({"k": column, "v": [1]}), there, store_decimal_as_integer=True)
    assert "hivePartitioned: false" in refusal(f"{tmp_path}/")


def test_a_key_that_the_files_have_as_a_dictionary_is_read(tmp_path: Path) -> None:
    place = written(tmp_path, "k=x")
    table = pa.table({"k": pa.array(["x"]).dictionary_encode(), "v": [0]})
    pq.write_table(table, tmp_path / "k=x" / "0.parquet")
    assert values(place, "k") == ["x"]


def test_a_key_that_the_files_have_as_a_large_number_is_read(tmp_path: Path) -> None:
    place = written(tmp_path, f"k={2**64 - 1}")
    there = tmp_path / f"k={2**64 - 1}" / "0.parquet"
    pq.write_table(pa.table({"k": pa.array([2**64 - 1], pa.uint64()), "v": [0]}), there)
    assert values(place, "k") == [2**64 - 1]


VALUES = {
    "String": ["001", "1", "01", "1e5", None, "", "é /%=*"],
    "Int32": [1, -5, None],
    "Float64": [1.5, -0.25, 1e300, None],
    "Boolean": [True, False, None],
    "Date": [dt.date(2024, 1, 31), dt.date(1, 1, 1), None],
    "Datetime('us')": [dt.datetime(2024, 1, 31, 10, 0, 0, 1), dt.datetime(9999, 12, 31), None],
    "Decimal(9, 2)": [Decimal("1.50"), Decimal("-0.25"), None],
}


@pytest.mark.parametrize("kind", VALUES)
def test_a_table_of_this_project_has_the_types_and_values_that_were_written(tmp_path: Path, kind: str) -> None:
    dtype = eval(f"pl.{kind}", {"pl": pl})
    rows = pl.DataFrame({"k": VALUES[kind], "v": range(len(VALUES[kind]))}, schema={"k": dtype, "v": pl.Int64})
    rows.write_parquet(tmp_path / "rows.parquet")
    given = {"t": {"uri": f"file://{tmp_path}/rows.parquet"}}
    output = {"uri": f"file://{tmp_path}/table", "partitionBy": ["k"]}
    text = "def query(inputs, params):\n    return inputs['t']"
    report = run(plan(tmp_path, text, inputs=given, output=output, language="python"))
    assert report.failure is None, report.message
    for place in (f"{tmp_path}/table/data/", f"{tmp_path}/table/data/**/*.parquet"):
        found = frame(place).sort("v").collect()
        assert found["k"].to_list() == VALUES[kind]
        assert found.schema["k"] == dtype


def test_gpu_engines_read_the_same_rows_by_a_scan_for_each_partition(tmp_path: Path) -> None:
    found = resolved(written(tmp_path, "k=001", "k=2", f"k={NULL}", "k=7"))
    gpu = replace(found, reading=found.reading.for_gpu())
    again = from_json(to_json({"t": gpu}), [gpu.item])["t"]
    for given in (gpu, again):
        made = given.frame(StoreAccess())
        assert made.explain().count("Parquet SCAN") == 4
        assert made.sort("v").collect().rows() == [(0, "001"), (1, "2"), (2, None), (3, "7")]
        assert sorted(made.filter(K != "2").collect()["v"]) == [0, 3]
        assert made.filter(K.is_null()).collect()["v"].to_list() == [2]
