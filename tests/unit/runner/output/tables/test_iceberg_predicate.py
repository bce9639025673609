"""Conditions of `overwriteWhere`: which files go, and which rows of a result meet them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import duckdb
import polars as pl
import pytest
from pyiceberg import types as ice
from pyiceberg.conversions import to_bytes
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import DayTransform
from pyiceberg.typedef import Record

from gpuquery.runner.output.tables.iceberg.predicate import Fate, Predicate
from gpuquery.runner.output.tables.iceberg.schemas import UnfitError

SCHEMA = Schema(
    ice.NestedField(1, "id", ice.LongType()),
    ice.NestedField(2, "day", ice.DateType()),
    ice.NestedField(3, "ts", ice.TimestamptzType()),
    ice.NestedField(4, "name", ice.StringType()),
    ice.NestedField(5, "price", ice.DecimalType(9, 2)),
    ice.NestedField(6, "ratio", ice.DoubleType()),
    ice.NestedField(7, "ok", ice.BooleanType()),
    ice.NestedField(8, "inner", ice.StructType(ice.NestedField(9, "a", ice.LongType()))),
)
BY_DAY = PartitionSpec(PartitionField(3, 1000, DayTransform(), "at_day"), spec_id=1)
PLAIN = PartitionSpec(spec_id=0)
FRAME = pl.DataFrame(
    {
        "id": [1, 2, None, -4],
        "day": [date(2024, 1, 1), date(1969, 12, 31), None, date(2024, 2, 29)],
        "ts": [
            datetime(2024, 1, 1, 5, tzinfo=UTC),
            datetime(1969, 12, 31, tzinfo=UTC),
            None,
            datetime(2024, 1, 2, tzinfo=UTC),
        ],
        "name": ["a", "äb", None, "ab"],
        "price": pl.Series([Decimal("1.50"), Decimal("-2.25"), None, Decimal(0)], dtype=pl.Decimal(9, 2)),
        "ok": [True, False, None, True],
    }
)  # fmt: skip
ROWS = [
    "id > 1", "id >= 1 AND id <= 2", "id IN (1, -4)", "id NOT IN (1, 2)", "id IS NULL", "id IS NOT NULL", "NOT id = 2",
    "day = '2024-01-01'", "day >= DATE '2024-01-01' AND name <> 'DATE'", "day < '1970-01-01' OR day IS NULL",
    "ts > timestamptz '2024-01-01T06:00:00+00:00'", "ts >= '2024-01-01T05:00:00+00:00'", "name LIKE 'a%'",
    "name = 'äb'", "price = 1.50", "price < 0.00", "name NOT LIKE 'a%'", "(id = 1 OR id = 2) AND NOT name = 'a'",
]  # fmt: skip


@pytest.mark.parametrize("text", ROWS)
def test_the_rows_that_meet_a_condition_are_those_of_duckdb(text):
    mine = FRAME.filter(Predicate(text, SCHEMA).expression())
    rows = FRAME  # found by DuckDB by this name
    theirs = duckdb.sql(f"SET TimeZone = 'UTC'; SELECT id, name FROM rows WHERE {text} ORDER BY ALL").fetchall()
    assert mine.select("id", "name").sort("id", "name", nulls_last=True).rows() == theirs
    assert rows.height == 4


NO_DAY = "no day"


def file(*, ids=None, at=None, nulls=0):
    """A file with bounds of `id`, or a day as its partition."""
    bounds = {} if ids is None else {1: ids}
    return DataFile.from_args(
        content=DataFileContent.DATA, file_path="s3://b/f.parquet", file_format=FileFormat.PARQUET,
        partition=Record() if at is None else Record(None if at == NO_DAY else at),
        record_count=10, file_size_in_bytes=1,
        value_counts={1: 10}, null_value_counts={} if nulls is None else {1: nulls},
        lower_bounds={n: to_bytes(ice.LongType(), low) for n, (low, _) in bounds.items()},
        upper_bounds={n: to_bytes(ice.LongType(), high) for n, (_, high) in bounds.items()},
    )  # fmt: skip


FILES = [
    ("id > 5", file(ids=(6, 9)), PLAIN, Fate.GOES),
    ("id > 5", file(ids=(1, 5)), PLAIN, Fate.STAYS),
    ("id > 5", file(ids=(1, 6)), PLAIN, Fate.IN_PART),
    ("id > 5", file(ids=(6, 9), nulls=1), PLAIN, Fate.IN_PART),
    ("id > 5", file(), PLAIN, Fate.IN_PART),
    ("ts >= '2024-01-01T00:00:00+00:00' AND ts < '2024-01-02T00:00:00+00:00'", file(at=19723), BY_DAY, Fate.GOES),
    ("ts >= '2024-01-01T00:00:00+00:00' AND ts < '2024-01-02T00:00:00+00:00'", file(at=19724), BY_DAY, Fate.STAYS),
    ("ts >= '2024-01-01T05:00:00+00:00'", file(at=19723), BY_DAY, Fate.IN_PART),
    ("ts IS NULL", file(at=19723), BY_DAY, Fate.STAYS),
    ("id != 5", file(ids=(6, 9)), PLAIN, Fate.GOES),
    ("id != 5", file(ids=(6, 9), nulls=1), PLAIN, Fate.IN_PART),
    ("id NOT IN (4, 5)", file(ids=(6, 9), nulls=1), PLAIN, Fate.IN_PART),
    ("id != 5", file(nulls=10), PLAIN, Fate.STAYS),
    ("id > 5", file(ids=(6, 9), nulls=None), PLAIN, Fate.IN_PART),
    ("NOT ts = '2024-01-01T05:00:00+00:00'", file(at=NO_DAY), BY_DAY, Fate.STAYS),
    ("ts NOT IN ('2024-01-01T05:00:00+00:00', '2024-01-02T05:00:00+00:00')", file(at=NO_DAY), BY_DAY, Fate.STAYS),
    ("ts != '2024-01-01T05:00:00+00:00' OR ts IS NULL", file(at=NO_DAY), BY_DAY, Fate.GOES),
]


@pytest.mark.parametrize(("text", "one", "spec", "fate"), FILES)
def test_partitions_and_bounds_say_whether_all_rows_of_a_file_meet_the_condition_or_none(text, one, spec, fate):
    assert Predicate(text, SCHEMA).fate(one, spec) is fate


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nosuch = 1", "no condition over the table's columns.*nosuch"),
        ("id >", "no condition"),
        ("id = 'x'", "no condition"),
        ("inner.a = 1", "inner.a is a part of a column"),
        ("ratio > 1.0", "ratio is a floating point number"),
        ("id + 1 = 2", "no condition"),
    ],
)
def test_what_is_no_condition_is_refused(text, says):
    with pytest.raises(UnfitError, match=says):
        Predicate(text, SCHEMA)
