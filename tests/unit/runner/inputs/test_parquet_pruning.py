"""Filters over parquet files give the rows that DuckDB finds in the same rows in memory, where nothing is left out.

Statistics of row groups and names of folders let a reader leave out what no row can come from. Whatever is left out,
the rows must be the same: with NaN and -0.0, nulls of every kind, texts whose bounds are cut, constants of other units.
"""

from __future__ import annotations

import datetime as dt
import math
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuquery.runner.query.sql.compile.target import CPU
from gpuquery.runner.query.sql.prepare import Prepared
from tests.support.examples import examples
from tests.support.read_inputs import frame

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
NULL = "__HIVE_DEFAULT_PARTITION__"
DAY = dt.datetime(2024, 6, 1)
LONG = "a" * 80
MOMENTS = [
    "'2024-06-01'",
    "DATE '2024-06-01'",
    "TIMESTAMP '2024-06-01 00:00:00.001'",
    "'9999-12-31'",
    "DATE '1500-01-01'",
]


class Kind(NamedTuple):
    """A column: its type in the files, and as DuckDB has it; its values; constants to compare it with."""

    file: pa.DataType
    memory: pa.DataType
    values: list[Any]
    constants: list[str]


def same(dtype: pa.DataType, values: list[Any], constants: list[str]) -> Kind:
    return Kind(dtype, dtype, values, constants)


NEAR = [DAY, DAY + dt.timedelta(milliseconds=1), DAY - dt.timedelta(days=40_000), dt.datetime(1969, 12, 31, 23, 59, 59)]
FAR = [*NEAR, dt.datetime(9999, 12, 31), dt.datetime(1, 1, 1)]
LAST = dt.time(23, 59, 59, 999_999)
TIMES = ["TIME '00:00:00'", "TIME '01:02:03'", "TIME '01:02:03.000004'", "TIME '23:59:59.999999'"]
ID = same(pa.int64(), [], [])
KINDS = {
    "i": same(pa.int64(), [-(2**63), -1, 0, 1, 2**63 - 1], ["0", "1", "0.5", "-1", "9223372036854775807", "1e300"]),
    "n": same(pa.int8(), [-128, 0, 5, 127], ["5", "300", "-129", "127"]),
    "u": same(pa.uint64(), [0, 1, 2**64 - 1], ["0", "-1", "18446744073709551615"]),
    "f": same(
        pa.float64(), [float("nan"), 0.0, -0.0, 1.5, float("inf"), float("-inf")], ["0", "1.5", "CAST('NaN' AS DOUBLE)"]
    ),
    "g": same(pa.float32(), [float("nan"), 0.0, -0.0, 0.5], ["0", "0.5", "0.1"]),
    "ns": Kind(pa.timestamp("ns"), pa.timestamp("us"), NEAR, MOMENTS),
    "us": same(pa.timestamp("us"), FAR, MOMENTS),
    "ms": Kind(pa.timestamp("ms"), pa.timestamp("us"), FAR, MOMENTS),
    "d": same(pa.date32(), [DAY.date(), dt.date(1, 1, 1), dt.date(9999, 12, 31)], MOMENTS),
    "m": same(
        pa.decimal128(9, 2), [Decimal("0.00"), Decimal("-1.25"), Decimal("9999999.99")], ["0", "-1.25", "1.255", "1e10"]
    ),
    "s": same(pa.string(), ["", "a", "ab", LONG, LONG + "b", "é", "\U0001f600"], ["''", "'a'", f"'{LONG}'", "'z'"]),
    "t": same(pa.time64("us"), [dt.time(), dt.time(1, 2, 3, 4), LAST], TIMES),
    "tm": Kind(pa.time32("ms"), pa.time64("us"), [dt.time(), dt.time(1, 2, 3)], TIMES),
    "b": same(pa.bool_(), [True, False], ["TRUE", "FALSE"]),
}
KEYS = {
    "k": same(pa.int64(), [5, 7, -1], ["5", "6", "7.5"]),
    "z": same(pa.string(), ["00501", "1e5", "", "a/b c%", "5", "é=*"], ["'00501'", "''", "'5'", "'a/b c%'"]),
    "y": same(pa.date32(), [DAY.date(), dt.date(1970, 1, 1)], ["DATE '2024-06-01'", "'1999-01-01'", "'9999-12-31'"]),
    "fl": same(
        pa.float64(),
        [1.5, -0.25, 0.1, 1e300, 5e-324, 0.0, -0.0, float("inf"), float("nan")],
        ["0", "0.1", "1.5", "'NaN'"],
    ),
    "fs": same(pa.float32(), [0.5, 0.1, -3.25], ["0.1", "0.5", "CAST(0.1 AS FLOAT)"]),
    "de": same(pa.decimal128(9, 2), [Decimal("1.50"), Decimal("-0.25"), Decimal("0.00")], ["1.5", "0", "-0.255"]),
    "bo": same(pa.bool_(), [True, False], ["TRUE", "FALSE"]),
}
TYPES = {
    "k": "Int64", "z": "String", "y": "Date", "fl": "Float64", "fs": "Float32", "de": "Decimal(9, 2)", "bo": "Boolean",
}  # fmt: skip
ALL = KINDS | KEYS | {"id": ID}
SIGNS = ["=", "<>", "<", "<=", ">", ">="]


@st.composite
def conditions(draw: st.DrawFn, columns: list[str]) -> str:
    """A condition over some columns, of up to three comparisons."""

    def one() -> str:
        column = draw(st.sampled_from(columns))
        constant = st.sampled_from(ALL[column].constants)
        a, b = draw(constant), draw(constant)
        shapes = [f"{column} {draw(st.sampled_from(SIGNS))} {a}", f"{a} < {column}", f"{column} IS NULL"]
        shapes += [f"{column} IN ({a}, {b})", f"{column} NOT IN ({a}, {b})", f"{column} NOT IN ({a}, NULL)"]
        shapes += [f"{column} BETWEEN {a} AND {b}", f"{column} NOT BETWEEN {a} AND {b}", f"{column} IS NOT NULL"]
        shapes += [f"{column} IS DISTINCT FROM {a}"]
        found = draw(st.sampled_from(shapes))
        return f"NOT ({found})" if draw(st.booleans()) else f"({found})"

    parts = [one() for _ in range(draw(st.integers(1, 3)))]
    text = parts[0]
    for part in parts[1:]:
        text = f"({text} {draw(st.sampled_from(['AND', 'OR']))} {part})"
    return text


@st.composite
def tables(draw: st.DrawFn, names: list[str], rows: st.SearchStrategy[int]) -> pa.Table:
    """A table of some rows as DuckDB has it, with nulls."""
    count = draw(rows)
    columns = {name: [draw(st.none() | st.sampled_from(ALL[name].values)) for _ in range(count)] for name in names}
    return pa.table(columns, schema=pa.schema({name: ALL[name].memory for name in names}))


def written(folder: Path, table: pa.Table, keys: list[str], options: dict[str, Any]) -> None:
    """Write a table as files, in folders of its keys, a row group for every two rows."""
    for number in range(0, table.num_rows, 5):
        for at, row in enumerate(table.slice(number, 5).to_pylist() if keys else [None]):
            parts = [f"{key}={quote(folder_of(row[key]), safe='')}" for key in keys]
            there = folder.joinpath(*parts)
            there.mkdir(parents=True, exist_ok=True)
            some = table.slice(number + at, 1) if keys else table.slice(number, 5)
            some = some.drop_columns(keys)
            schema = pa.schema({name: ALL[name].file for name in some.column_names})
            pq.write_table(some.cast(schema), there / f"{number + at}.parquet", row_group_size=2, **options)


def folder_of(value: Any) -> str:
    """A value as the text of a folder."""
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    return NULL if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def ids(condition: str, source: Any, engine: Any) -> list[int]:
    made = Prepared(f"SELECT id FROM t WHERE {condition}", dialect="duckdb", inputs=["t"], values={})
    return sorted(made.plan({"t": source}, now=NOW, target=CPU).frame.collect(engine=engine)["id"].to_list())


def wanted(condition: str, table: pa.Table) -> list[int] | None:
    """Return what DuckDB finds; None if it refuses the condition."""
    with duckdb.connect() as connection:
        connection.register("t", table)
        try:
            return sorted(r[0] for r in connection.execute(f"SELECT id FROM t WHERE {condition}").fetchall())
        except duckdb.Error:
            return None


OPTIONS = st.fixed_dictionaries(
    {
        "write_statistics": st.booleans(),
        "use_dictionary": st.booleans(),
        "write_page_index": st.booleans(),
        "store_schema": st.booleans(),
    }
)


@examples(40)
@given(st.data())
def test_nothing_that_statistics_leave_out_belongs_to_the_rows(data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=3, unique=True))
    table = data.draw(tables(names, st.integers(1, 11)))
    compared(data, table, names, [])


@examples(40)
@given(st.data())
def test_nothing_that_folders_leave_out_belongs_to_the_rows(data: st.DataObject) -> None:
    keys = data.draw(st.lists(st.sampled_from(sorted(KEYS)), min_size=1, max_size=2, unique=True))
    names = [*data.draw(st.lists(st.sampled_from(sorted(KINDS)), max_size=1)), *keys]
    compared(data, data.draw(tables(names, st.integers(1, 6))), names, keys)


def compared(data: st.DataObject, table: pa.Table, names: list[str], keys: list[str]) -> None:
    table = table.append_column("id", pa.array(range(table.num_rows), pa.int64()))
    with tempfile.TemporaryDirectory() as folder:
        written(Path(folder), table, keys, data.draw(OPTIONS))
        one = frame(f"{folder}/", types={key: TYPES[key] for key in keys})
        for condition in data.draw(st.lists(conditions(names), min_size=3, max_size=3)):
            want = wanted(condition, table)
            if want is not None:
                for engine in ("streaming", "in-memory"):
                    assert ids(condition, one, engine) == want, condition


@pytest.mark.parametrize("engine", ["streaming", "in-memory"])
@pytest.mark.parametrize(
    ("key", "values"),
    [
        pytest.param("k", [5, 7], id="integers"),
        pytest.param("fl", [1.5, 0.1], id="floats"),
        pytest.param("de", [Decimal("1.50"), Decimal("-0.25")], id="decimals"),
        pytest.param("bo", [True, False], id="booleans"),
    ],
)
def test_files_whose_key_does_not_match_are_not_read(tmp_path: Path, key: str, values: list[Any], engine: Any) -> None:
    table = pa.table({"id": [1, 2, 3], key: pa.array([*values, None], ALL[key].memory)})
    written(tmp_path, table, [key], {})
    one = frame(f"{tmp_path}/", types={key: TYPES[key]})
    name = next((tmp_path / f"{key}={folder_of(values[1])}").glob("*.parquet"))
    name.write_bytes(b"x" * name.stat().st_size)  # whoever reads it fails
    assert ids(f"{key} = {values[0]}", one, engine) == [1]
