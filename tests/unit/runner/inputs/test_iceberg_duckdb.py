"""What we read of an Iceberg table against DuckDB's `iceberg_scan`.

DuckDB 1.5.5 ends with an internal error at equality deletes of one partition: those have a plain list for reference, in
test_iceberg_deletes.py.
"""

import datetime as dt
import json
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import DayTransform
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    ListType,
    LongType,
    MapType,
    NestedField,
    StringType,
    StructType,
    TimestampType,
    TimestamptzType,
    TimeType,
)

from tests.support import duckdb_iceberg, iceberg

NUMBERED = Schema(NestedField(1, "n", LongType()), NestedField(2, "s", StringType()))
EVERY = Schema(
    NestedField(1, "b", BooleanType()), NestedField(2, "i", IntegerType()), NestedField(3, "l", LongType()),
    NestedField(4, "f", FloatType()), NestedField(5, "d", DoubleType()), NestedField(6, "m", DecimalType(38, 7)),
    NestedField(7, "day", DateType()), NestedField(8, "t", TimeType()), NestedField(9, "ts", TimestampType()),
    NestedField(10, "tz", TimestamptzType()), NestedField(11, "s", StringType()), NestedField(12, "x", BinaryType()),
    NestedField(13, "o", StructType(NestedField(14, "p", LongType()), NestedField(15, "q", StringType()))),
    NestedField(16, "k", ListType(17, LongType(), element_required=False)),
    NestedField(18, "w", MapType(19, StringType(), 20, LongType(), value_required=False)),
)  # fmt: skip


def rows(*numbers):
    texts = [None if n % 3 == 0 else f"s{n}" for n in numbers]
    return pa.table({"n": list(numbers), "s": pa.array(texts, pa.string())})


def files(table):
    return [one["file_path"] for one in table.inspect.files().to_pylist()]


def numbered(lake, name, *appended, **more):
    table = lake.catalog.create_table(f"sales.{name}", NUMBERED, **more)
    for numbers in appended:
        table.append(rows(*numbers))
    return table


def of_every_type(lake, name):
    table = lake.catalog.create_table(f"sales.{name}", EVERY)
    far = dt.datetime(9999, 12, 31, 23, 59, 59, 999_999)
    whole = {
        "b": True, "i": -(2**31), "l": 2**63 - 1, "f": 0.1, "d": -0.1, "m": Decimal("9" * 31 + ".1234567"),
        "day": dt.date(1582, 10, 15), "t": dt.time(23, 59, 59, 999_999), "ts": far, "tz": far.replace(tzinfo=dt.UTC),
        "s": "ä\0€", "x": b"\0\xff", "o": {"p": 1, "q": None}, "k": [1, None], "w": [("a", 1), ("b", None)],
    }  # fmt: skip
    table.append(pa.Table.from_pylist([whole, dict.fromkeys(whole)], table.schema().as_arrow()))
    return table


def with_changed_columns(lake, name):
    table = numbered(lake, name, [1, 2, 3])
    with table.update_schema() as change:
        change.move_first("s").rename_column("s", "text")
    with table.update_schema() as change:
        change.add_column("s", LongType())
    table.append(pa.table({"text": ["new"], "n": [4], "s": [40]}))
    with table.update_schema() as change:
        change.delete_column("n")
    with table.update_schema() as change:
        change.add_column("n", StringType())
    return table


def with_widened_types(lake, name):
    narrow = Schema(
        NestedField(1, "i", IntegerType()), NestedField(2, "f", FloatType()), NestedField(3, "m", DecimalType(5, 2))
    )
    table = lake.catalog.create_table(f"sales.{name}", narrow)
    row = {"i": -(2**31), "f": 0.1, "m": Decimal("-999.99")}
    table.append(pa.Table.from_pylist([row], narrow.as_arrow()))
    with table.update_schema() as change:
        change.update_column("i", LongType()).update_column("f", DoubleType()).update_column("m", DecimalType(20, 2))
    table.append(pa.Table.from_pylist([{**row, "i": 2**40}], table.schema().as_arrow()))
    return table


def with_hidden_partitions(lake, name):
    """Days, whose files hold the moments; pyiceberg itself cannot write them without another package."""
    schema = Schema(NestedField(1, "n", LongType()), NestedField(2, "at", TimestampType()))
    days = PartitionSpec(PartitionField(2, 1000, DayTransform(), "day"))
    table = lake.catalog.create_table(f"sales.{name}", schema, partition_spec=days)
    arrow, found = table.schema().as_arrow(), []
    for day in (-1, 20454, None):
        at = None if day is None else dt.datetime(1970, 1, 1, 23) + dt.timedelta(days=day)
        path = f"{lake.folder}/{name}-{day}.parquet"
        pq.write_table(pa.Table.from_pylist([{"n": day, "at": at}], arrow), path)
        found.append(iceberg.file_of(table, path, 1, partition=(day,)))
    iceberg.add_files(table, found, content=iceberg.ManifestContent.DATA)
    with table.update_spec() as change:
        change.add_identity("n").remove_field("day")
    table.append(pa.Table.from_pylist([{"n": 4, "at": dt.datetime(2026, 1, 1)}], arrow))
    return table


def with_positional_deletes(lake, name):
    table = numbered(lake, name, range(10), range(10, 20))
    first, second = sorted(files(table))
    iceberg.add_files(table, [iceberg.position_deletes(table, [(first, 0), (first, 9), (second, 4)])])
    table.append(rows(0, 9))
    return table


def with_equality_deletes(lake, name):
    table = numbered(lake, name, range(10))
    keys = pa.table({"s": ["s1", None]})
    iceberg.add_files(table, [iceberg.equality_deletes(table, keys, {"s": 2})])
    table.append(rows(0, 1, 2))
    return table


def with_deletion_vectors(lake, name):
    table = numbered(lake, name, range(10))
    (only,) = files(table)
    iceberg.add_files(table, iceberg.deletion_vectors(table, {only: [2, 3, 9]}), version=3)
    return table


MADE = {
    "empty": numbered,
    "plain": lambda lake, name: numbered(lake, name, [1, 2, 3], [4]),
    "every_type": of_every_type,
    "changed_columns": with_changed_columns,
    "widened_types": with_widened_types,
    "hidden_partitions": with_hidden_partitions,
    "positional_deletes": with_positional_deletes,
    "equality_deletes": with_equality_deletes,
    "deletion_vectors": with_deletion_vectors,
}


def of_version_3(place):
    """Write a table's metadata as version 3, which pyiceberg does not: DuckDB takes deletion vectors in no other."""
    path = place.removeprefix("file://")
    with open(path, encoding="utf-8") as file:
        metadata = json.load(file)
    rows = {"first-row-id": 0, "added-rows": 10}
    snapshots = [{**one, **rows} for one in metadata["snapshots"]]
    with open(f"{path}.metadata.json", "w", encoding="utf-8") as file:
        json.dump({**metadata, "format-version": 3, "next-row-id": 10, "snapshots": snapshots}, file)
    return f"{path}.metadata.json"


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """All tables, as DuckDB has read them and as we do: one process of DuckDB takes a second."""
    folder = tmp_path_factory.mktemp("lake")
    with iceberg.served(folder) as lake:
        made = {name: make(lake, name) for name, make in MADE.items()}
        places = {name: one.metadata_location for name, one in made.items()}
        places["deletion_vectors"] = of_version_3(places["deletion_vectors"])
        theirs = duckdb_iceberg.read(places, folder)
        yield {name: (theirs[name], lake.read(name=f"sales.{name}").to_arrow()) for name in made}


@pytest.mark.parametrize("name", MADE)
def test_the_rows_of_a_table_are_those_that_duckdb_reads(both, name):
    theirs, ours = both[name]
    assert ours.column_names == theirs.column_names
    assert sorted(map(plain, ours.to_pylist())) == sorted(map(plain, theirs.to_pylist()))
    assert bool(ours.num_rows) is (name != "empty")


def plain(row):
    return repr({name: _plain(value) for name, value in row.items()})


def _plain(value):
    """A value whatever its type is called: maps are lists of pairs for one and of structs for the other."""
    match value:
        case {"key": key, "value": inner}:
            return key, _plain(inner)
        case dict():
            return {name: _plain(inner) for name, inner in value.items()}
        case list():
            return [_plain(inner) for inner in value]
    return value
