"""What footers tell the planner: nothing that is not certain."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gpuquery.api.spec import Input, InputFormat
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner.inputs import resolve
from gpuquery.runner.query import facts
from gpuquery.runner.query.sql.rules.statistics import ColumnFacts, TableFacts

if TYPE_CHECKING:
    from pathlib import Path

DAY = dt.date(1994, 1, 5)


def of(folder: Path, glob: str = "*.parquet", **kind: Any) -> TableFacts:
    item = Input(name="t", uri=f"file://{folder}/{glob}", **{"format": InputFormat.PARQUET, **kind})
    return facts.known(resolve([item], StoreAccess()), StoreAccess()).table("t")


def test_rows_nulls_and_bounds_are_those_of_all_files(tmp_path: Path) -> None:
    for number, keys in enumerate(([3, None, 1], [7, 5, None])):
        pq.write_table(
            pa.table(
                {
                    "k": pa.array(keys, pa.int32()),
                    "d": pa.array([DAY + dt.timedelta(days=number)] * 3),
                    "m": pa.array([Decimal("1.50"), Decimal("-2.25"), None], pa.decimal128(9, 2)),
                }
            ),
            tmp_path / f"{number}.parquet",
        )
    found = of(tmp_path)
    assert found.rows == 6
    assert found.columns["k"] == ColumnFacts(1, 7, 2)
    assert found.columns["d"] == ColumnFacts(DAY, DAY + dt.timedelta(days=1), 0)
    assert found.columns["m"] == ColumnFacts(Decimal("-2.25"), Decimal("1.50"), 2)


def test_a_bound_has_all_38_digits(tmp_path: Path) -> None:
    value = Decimal("1234567890123456789012345678.9012345678")
    pq.write_table(pa.table({"m": pa.array([value], pa.decimal128(38, 10))}), tmp_path / "a.parquet")
    found = of(tmp_path).columns["m"]
    assert (found.low, found.high) == (value, value)


@pytest.mark.parametrize(
    "column",
    [
        pytest.param(pa.array([1.0, float("nan")]), id="of fractions, among which a NaN stands in no bound"),
        pytest.param(pa.array(["a" * 100, "b"]), id="of texts, whose bounds may be cut"),
        pytest.param(pa.array([1, 2**63], pa.uint64()), id="of unsigned numbers"),
    ],
)
def test_bounds_that_say_too_little_are_left_out(tmp_path: Path, column: pa.Array) -> None:
    pq.write_table(pa.table({"c": column}), tmp_path / "a.parquet")
    found = of(tmp_path).columns.get("c", ColumnFacts())
    assert (found.low, found.high) == (None, None)


def test_a_file_without_statistics_takes_the_bounds_of_all(tmp_path: Path) -> None:
    table = pa.table({"k": pa.array([1, 2])})
    pq.write_table(table, tmp_path / "a.parquet")
    pq.write_table(table, tmp_path / "b.parquet", write_statistics=False)
    found = of(tmp_path)
    assert (found.rows, dict(found.columns)) == (4, {})


def test_what_cannot_be_read_is_not_known(tmp_path: Path) -> None:
    item = Input(name="t", uri=f"file://{tmp_path}/a.parquet", format=InputFormat.PARQUET)
    pq.write_table(pa.table({"k": [1]}), tmp_path / "a.parquet")
    inputs = resolve([item], StoreAccess())
    (tmp_path / "a.parquet").write_text("no parquet")
    assert facts.known(inputs, StoreAccess()).table("t") == TableFacts()
    assert of(tmp_path, format=InputFormat.CSV) == TableFacts()
