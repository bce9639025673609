"""Types of a result's columns: what is accepted, other readers read back; what is refused, they would not."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import pyarrow.parquet as pq
import pytest

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output import hive, types

if TYPE_CHECKING:
    from pathlib import Path

MOMENT = dt.datetime(2024, 1, 31, 10, 0, 0, 1)
ACCEPTED: dict[str, pl.Series] = {
    "Int8": pl.Series([-128], dtype=pl.Int8),
    "UInt64": pl.Series([2**64 - 1], dtype=pl.UInt64),
    "Float32": pl.Series([0.5], dtype=pl.Float32),
    "Boolean": pl.Series([True]),
    "String": pl.Series(["é"]),
    "Binary": pl.Series([b"\x00"]),
    "Date": pl.Series([dt.date(9999, 12, 31)]),
    "Datetime us": pl.Series([MOMENT], dtype=pl.Datetime("us")),
    "Datetime ns": pl.Series([MOMENT], dtype=pl.Datetime("ns")),
    "Time": pl.Series([dt.time(1, 2, 3)]),
    "Decimal": pl.Series([Decimal("1.5")], dtype=pl.Decimal(38, 10)),
    "Enum": pl.Series(["a"], dtype=pl.Enum(["a", "b"])),
    "Categorical": pl.Series(["a"], dtype=pl.Categorical),
    "List": pl.Series([[1, None]]),
    "Array": pl.Series([[1, 2]], dtype=pl.Array(pl.Int64, 2)),
    "Struct": pl.Series([{"a": [{"b": 1}]}]),
}
REFUSED: dict[str, tuple[Any, str]] = {
    "Int128": (pl.Int128, r"Decimal\(38, 0\)"),
    "Int128 in a list": (pl.List(pl.Int128), r"Decimal\(38, 0\)"),
    "Duration": (pl.Duration("us"), "total_microseconds"),
    "Null": (pl.Null, "cast it"),
    "Null in a struct": (pl.Struct({"a": pl.Null}), "cast it"),
    "a struct without fields": (pl.Struct([]), "without fields"),
    "an array of width 0": (pl.Array(pl.Int64, 0), "width 0"),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_is_accepted_has_the_same_value_in_pyarrow_and_duckdb(tmp_path: Path, name: str) -> None:
    column = ACCEPTED[name]
    assert types.refusals({"a": column.dtype}) == []
    pl.DataFrame({"a": column}).write_parquet(tmp_path / "x.parquet")
    (want,) = column.to_list()
    assert pq.read_table(tmp_path / "x.parquet").to_pylist() == [{"a": want}]
    (found,) = duckdb.sql(f"SELECT a FROM '{tmp_path}/x.parquet'").fetchall()
    assert (list(found[0]) if name == "Array" else found[0]) == want


@pytest.mark.parametrize("name", REFUSED)
def test_what_others_do_not_read_is_refused_with_the_column_and_a_cast(name: str) -> None:
    dtype, way_out = REFUSED[name]
    with pytest.raises(JobError, match=f"'a'.*{way_out}") as caught:
        hive.check_schema({"a": dtype, "n": pl.Int64()}, ())
    assert caught.value.failure is Failure.USER_ERROR


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"a": pl.Int64(), "A": pl.Int64()}, "'a' and 'A'"),
        ({"s": pl.Struct({"x": pl.Int64, "X": pl.Int64})}, "column 's' has the names 'x' and 'X'"),
        ({"": pl.Int64()}, "without characters"),
    ],
)  # fmt: skip
def test_names_that_others_take_for_one_are_refused(schema: dict[str, pl.DataType], text: str) -> None:
    (said,) = types.refusals(schema)
    assert text in said
