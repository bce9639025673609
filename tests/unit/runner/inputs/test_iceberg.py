"""Iceberg inputs: what is read is what pyiceberg reads through pyarrow, for all that a table has gone through."""

import datetime as dt
from decimal import Decimal
from uuid import UUID

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import DayTransform, IdentityTransform
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    FixedType,
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
    UUIDType,
)

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from tests.support import iceberg

ORDERS = Schema(
    NestedField(1, "id", LongType(), required=False), NestedField(2, "status", StringType(), required=False),
    NestedField(3, "price", DecimalType(9, 2), required=False),
)  # fmt: skip


@pytest.fixture
def lake(tmp_path):
    with iceberg.served(tmp_path) as served:
        yield served


def rows(*given):
    return pa.Table.from_pylist(
        [{"id": i, "status": s, "price": Decimal(p)} for i, s, p in given],
        pa.schema([("id", pa.int64()), ("status", pa.string()), ("price", pa.decimal128(9, 2))]),
    )


def same(lake, table, **asked):
    """What is read is what pyiceberg reads, in any order; returns it."""
    table = lake.catalog.load_table(table.name())
    read, wanted = lake.read(**asked), table.scan(**({"snapshot_id": int(asked["snapshotId"])} if asked else {}))
    return equal(read, wanted.to_arrow())


def equal(read, wanted):
    found = read.to_arrow()
    assert found.column_names == wanted.column_names
    assert sorted(map(plain, found.to_pylist()), key=repr) == sorted(map(plain, wanted.to_pylist()), key=repr)
    return sorted((tuple(row.values()) for row in found.to_pylist()), key=repr)


def plain(value):
    """A value without the ways in which arrow and Polars show the same one."""
    match value:
        case dict():
            return {k: plain(v) for k, v in value.items()}
        case list() | tuple():
            pairs = bool(value) and all(isinstance(one, tuple) for one in value)
            return [plain({"key": one[0], "value": one[1]} if pairs else one) for one in value]
        case UUID():
            return value.bytes
        case dt.datetime() if value.tzinfo is not None:
            return value.astimezone(dt.UTC).replace(tzinfo=None)
    return value


def refusal(lake, **asked):
    with pytest.raises(JobError) as caught:
        lake.read(**asked)
    return caught.value


def test_a_table_is_read_as_it_is_with_one_scan(lake):
    table = lake.table(ORDERS)
    for n in range(3):
        table.append(rows((n, "O", "1.50"), (n + 10, None, "2.25")))
    assert len(same(lake, table)) == 6
    found = lake.resolve()
    assert found.frame(lake.access).explain().count("Parquet SCAN") == 1
    assert "SELECT" not in found.frame(lake.access).explain()
    assert sum(one.bytes for one in found.files) == sum(
        f["file_size_in_bytes"] for f in table.inspect.files().to_pylist()
    )


@pytest.mark.parametrize("deleted", [False, True], ids=["all rows", "with deleted rows"])
def test_filters_find_times_of_day(lake, deleted):
    table = lake.table(Schema(NestedField(1, "id", LongType()), NestedField(2, "at", TimeType())))
    at = [dt.time(1, 2, 3, 4), None, dt.time(23, 59, 59, 999_999), dt.time(5)]
    table.append(pa.table({"id": pa.array([1, 2, 3, 4]), "at": pa.array(at, pa.time64("us"))}))
    if deleted:
        table.delete("id == 4")
    frame = lake.resolve().frame(lake.access)
    for condition, want in (
        (pl.col("at") == dt.time(1, 2, 3, 4), [1]),
        (pl.col("at") > dt.time(6), [3]),
        (pl.col("at") < dt.time(2), [1]),
    ):
        assert frame.filter(condition).collect()["id"].to_list() == want


def test_a_table_without_rows_has_its_columns(lake):
    lake.table(ORDERS)
    read = lake.read()
    assert (read.height, read.columns) == (0, ["id", "status", "price"])


EVERYTHING = Schema(
    NestedField(1, "b", BooleanType()), NestedField(2, "i", IntegerType()), NestedField(3, "l", LongType()),
    NestedField(4, "f", FloatType()), NestedField(5, "d", DoubleType()), NestedField(6, "dec", DecimalType(38, 10)),
    NestedField(7, "day", DateType()), NestedField(8, "t", TimeType()), NestedField(9, "ts", TimestampType()),
    NestedField(10, "tz", TimestamptzType()), NestedField(11, "s", StringType()), NestedField(12, "u", UUIDType()),
    NestedField(13, "fix", FixedType(3)), NestedField(14, "bin", BinaryType()),
    NestedField(15, "li", ListType(16, IntegerType(), element_required=False)),
    NestedField(17, "m", MapType(18, StringType(), 19, LongType(), value_required=False)),
    NestedField(20, "st", StructType(NestedField(21, "x", IntegerType()), NestedField(22, "y", StringType()))),
)  # fmt: skip


def test_values_of_every_type_stay_what_they_are(lake):
    table = lake.table(EVERYTHING)
    at = dt.datetime(9999, 12, 31, 23, 59, 59, 999999)
    full = {
        "b": True, "i": -(2**31), "l": 2**63 - 1, "f": 0.1, "d": float("inf"),
        "dec": Decimal("12345678901234567890.0000000001"), "day": dt.date(1, 1, 1),
        "t": dt.time(23, 59, 59, 999999), "ts": at, "tz": at.replace(tzinfo=dt.UTC), "s": "é\0",
        "u": UUID("f79c3e09-677c-4bbd-a479-3f349cb785e7").bytes, "fix": b"\0\xff1", "bin": b"", "li": [1, None],
        "m": [("a", 1), ("b", None)], "st": {"x": 1, "y": None},
    }  # fmt: skip
    arrow = table.schema().as_arrow()
    table.append(pa.Table.from_pylist([full, dict.fromkeys(full)], arrow))
    same(lake, table)


def test_columns_are_found_by_their_ids_whatever_became_of_their_names(lake):
    table = lake.table(ORDERS)
    table.append(rows((1, "old", "1.00")))
    with table.update_schema() as change:
        change.rename_column("status", "state").delete_column("price")
    with table.update_schema() as change:
        change.add_column("price", StringType())  # another column of the same name
        change.add_column("status", LongType())
    with table.update_schema() as change:
        change.move_first("state")
    arrow = table.schema().as_arrow()
    table.append(pa.Table.from_pylist([{"state": "new", "id": 2, "price": "two", "status": 7}], arrow))
    assert same(lake, table) == [("new", 2, "two", 7), ("old", 1, None, None)]


def test_names_that_were_swapped_are_swapped_in_old_files(lake):
    table = lake.table(Schema(NestedField(1, "a", LongType()), NestedField(2, "b", LongType())))
    table.append(pa.table({"a": [1], "b": [2]}))
    for old, new in (("a", "x"), ("b", "a"), ("x", "b")):
        with table.update_schema() as change:
            change.rename_column(old, new)
    assert same(lake, table) == [(1, 2)]
    assert lake.read().to_dicts() == [{"b": 1, "a": 2}]


def test_types_that_were_widened_keep_their_values(lake):
    table = lake.table(
        Schema(
            NestedField(1, "i", IntegerType()), NestedField(2, "f", FloatType()), NestedField(3, "d", DecimalType(4, 2))
        )
    )  # fmt: skip
    table.append(pa.Table.from_pylist([{"i": -(2**31), "f": 0.1, "d": Decimal("12.34")}], table.schema().as_arrow()))
    with table.update_schema() as change:
        change.update_column("i", LongType()).update_column("f", DoubleType())
        change.update_column("d", DecimalType(20, 2))
    table.append(
        pa.Table.from_pylist([{"i": 2**60, "f": 0.1, "d": Decimal("123456789012345678.90")}], table.schema().as_arrow())
    )
    same(lake, table)


def test_fields_inside_structs_lists_and_maps_are_found_by_their_ids(lake):
    inside = StructType(NestedField(11, "x", IntegerType()), NestedField(12, "y", StringType()))
    items = StructType(NestedField(13, "x", IntegerType()), NestedField(14, "y", StringType()))
    values = StructType(NestedField(15, "x", IntegerType()))
    table = lake.table(
        Schema(
            NestedField(1, "s", inside),
            NestedField(2, "l", ListType(3, items, element_required=False)),
            NestedField(4, "m", MapType(5, StringType(), 6, values, value_required=False)),
        )
    )  # fmt: skip
    old = {"s": {"x": 1, "y": "a"}, "l": [{"x": 1, "y": "a"}, None], "m": [("k", {"x": 5}), ("n", None)]}
    table.append(pa.Table.from_pylist([old, dict.fromkeys(old)], table.schema().as_arrow()))
    with table.update_schema() as change:
        change.rename_column("s.x", "z").add_column(("s", "new"), LongType()).move_first("s.y")
        change.update_column("l.element.x", LongType()).rename_column("l.element.y", "why")
        change.add_column(("m", "value", "more"), StringType())
    new = {"s": {"y": "b", "z": 2, "new": 3}, "l": [{"x": 2**40, "why": "b"}], "m": [("k", {"x": 1, "more": "v"})]}
    table.append(pa.Table.from_pylist([new], table.schema().as_arrow()))
    same(lake, table)


def test_hidden_and_changed_partitioning_changes_no_row(lake):
    schema = Schema(
        NestedField(1, "id", LongType()), NestedField(2, "status", StringType()), NestedField(3, "at", TimestampType())
    )
    table = lake.table(schema, partition_spec=PartitionSpec(PartitionField(3, 1000, DayTransform(), "at_day")))
    arrow, at = table.schema().as_arrow(), dt.datetime(2026, 1, 1)
    files = []
    for day in range(4):
        data = [{"id": day, "status": "FO"[n], "at": at + dt.timedelta(days=day, hours=n)} for n in range(2)]
        path = f"{lake.folder}/{day}.parquet"
        pq.write_table(pa.Table.from_pylist(data, arrow), path)
        files.append(iceberg.file_of(table, path, 2, partition=(20454 + day,)))
    iceberg.add_files(table, files, content=iceberg.ManifestContent.DATA)
    with table.update_spec() as change:
        change.add_identity("status").remove_field("at_day")
    more = [{"id": n, "status": status, "at": at} for n, status in enumerate(("F", "O", None, "F"))]
    table.append(pa.Table.from_pylist(more, arrow))
    assert len(same(lake, table)) == 12


def test_partition_values_that_files_do_not_hold_come_from_the_manifest(lake):
    schema = Schema(
        NestedField(1, "status", StringType()), NestedField(2, "day", DateType()), NestedField(3, "rev", LongType())
    )
    spec = PartitionSpec(
        PartitionField(1, 1000, IdentityTransform(), "status"), PartitionField(2, 1001, IdentityTransform(), "day")
    )
    table = lake.table(schema, partition_spec=spec)
    files = []
    for status, day in (("F", 1), ("O", 2), (None, None), ("001", 19000)):
        path = f"{lake.folder}/{status}.parquet"
        pq.write_table(iceberg.with_ids(pa.table({"rev": [1, 2]}), {"rev": 3}), path)
        files.append(iceberg.file_of(table, path, 2, partition=(status, day)))
    iceberg.add_files(table, files, content=iceberg.ManifestContent.DATA)
    got = same(lake, table)
    assert ("001", dt.date(2022, 1, 8), 1) in got
    assert (None, None, 2) in got


def test_files_without_field_ids_are_read_by_the_name_mapping(lake):
    table = lake.table(ORDERS)
    path = f"{lake.folder}/x.parquet"
    pq.write_table(rows((1, "F", "1.00")).select(["price", "id", "status"]), path)
    table.add_files([f"file://{path}"])
    with table.update_schema() as change:
        change.rename_column("status", "state")
    assert same(lake, table) == [(1, "F", Decimal("1.00"))]
    table = lake.catalog.load_table(table.name())
    with table.transaction() as change:
        change.remove_properties("schema.name-mapping.default")
    error = refusal(lake)
    assert error.failure is Failure.INVALID_INPUT
    assert "x.parquet has no field ids" in error.message
    assert "schema.name-mapping.default" in error.message


def test_columns_that_are_younger_than_a_file_have_their_initial_default(lake):
    table = lake.table(ORDERS)
    table.append(rows((1, "F", "1.00")))
    defaults = [
        ("n", "int", 7, 7), ("when", "timestamptz", "2026-01-31T12:00:00.000001+00:00",
                             dt.datetime(2026, 1, 31, 12, 0, 0, 1, dt.UTC)),
        ("amount", "decimal(9, 2)", "14.20", Decimal("14.20")), ("flag", "boolean", True, True),
        ("raw", "binary", "00ff", b"\0\xff"), ("day", "date", "2026-02-01", dt.date(2026, 2, 1)),
        ("text", "string", "2026-02-01", "2026-02-01"), ("at", "time", "22:31:08.000123", dt.time(22, 31, 8, 123)),
    ]  # fmt: skip

    def with_defaults(metadata):
        metadata["format-version"] = 3
        metadata["next-row-id"] = 0
        metadata["schemas"][0]["fields"] += [
            {"id": 50 + n, "name": name, "type": kind, "required": False, "initial-default": value}
            for n, (name, kind, value, _) in enumerate(defaults)
        ]
        return metadata

    lake.edit = with_defaults
    assert lake.read().rows() == [(1, "F", Decimal("1.00"), *(want for *_, want in defaults))]
