"""The rows of Delta tables: what differs between the files and the table becomes what the table says, or is refused."""

import datetime as dt
import json
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gpuquery.api.reasons import Failure
from gpuquery.api.spec import Input
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs.tables import delta
from tests.support import delta_tables as d

UTC = dt.UTC
NOON = dt.datetime(2026, 1, 31, 12, 0, 0, 5, UTC)


def resolved(path, **more):
    item = Input.model_validate({"name": "t", "uri": f"file://{path}/", "delta": {}} | more)
    return delta.resolve(item, StoreAccess())


def read(path, **more):
    """The rows as another rank reads them, which has the JSON alone."""
    found = resolved(path, **more)
    reading = delta.Delta.from_json(json.loads(json.dumps(found.reading.to_json())))
    frame = reading.frame(found.item, found.files, StoreAccess())
    assert dict(frame.collect_schema()) == found.schema
    rows = frame.collect(engine="streaming")
    assert dict(rows.schema) == found.schema
    return rows


def refusal(path, **more):
    with pytest.raises(JobError) as caught:
        resolved(path, **more)
    assert caught.value.failure is Failure.INVALID_INPUT
    assert caught.value.message.startswith(f'input "t": Delta table file://{path}')
    return caught.value.message


def table(path, fields, *adds, features=(), keys=(), **configuration):
    d.commit(path, 0, d.protocol(*features), d.metadata(fields, keys, **configuration), *adds)


def of(values, kind):
    return pa.table({"v": pa.array(values, kind)})


DAY, LOCAL = dt.date(2026, 1, 31), dt.datetime(2026, 1, 31, 12, 0, 0, 5)


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        ("string", of(["", "ä"], pa.string())),
        ("string", of(["", "ä"], pa.large_string())),
        ("string", of(["a", "b"], pa.dictionary(pa.int32(), pa.string()))),
        ("long", of([-(2**63), 2**63 - 1], pa.int64())),
        ("integer", of([-(2**31), 2**31 - 1], pa.int32())),
        ("short", of([-(2**15), 2**15 - 1], pa.int16())),
        ("byte", of([-128, 127], pa.int8())),
        ("float", of([1.5, float("inf")], pa.float32())),
        ("double", of([1.1, -0.0], pa.float64())),
        ("boolean", of([True, False], pa.bool_())),
        ("binary", of([b"", b"\xff"], pa.binary())),
        ("date", of([DAY, dt.date(9999, 12, 31)], pa.date32())),
        ("timestamp", of([NOON, dt.datetime(9999, 12, 31, tzinfo=UTC)], pa.timestamp("us", "UTC"))),
        ("timestamp_ntz", of([LOCAL, dt.datetime(1, 1, 1)], pa.timestamp("us"))),
        ("decimal(38,2)", of([Decimal("-0.01"), Decimal("9" * 36)], pa.decimal128(38, 2))),
        (d.list_of("integer"), of([[1, None], []], pa.list_(pa.int32()))),
        (d.struct_of(d.field("a", "long")), of([{"a": 1}, {"a": None}], pa.struct({"a": pa.int64()}))),
    ],
)
def test_values_of_every_type_are_those_of_the_file(tmp_path, kind, rows):
    rows = pa.concat_tables([rows, of([None], rows["v"].type)])
    table(tmp_path, [d.field("v", kind)], d.add(tmp_path, "x.parquet", rows))
    assert read(tmp_path)["v"].to_list() == rows["v"].to_pylist()


def test_a_map_is_a_list_of_its_entries(tmp_path):
    rows = of([[("a", 1), ("b", None)], [], None], pa.map_(pa.string(), pa.int64()))
    table(tmp_path, [d.field("v", d.map_of("string", "long"))], d.add(tmp_path, "x.parquet", rows))
    assert read(tmp_path)["v"].to_list() == [[{"key": "a", "value": 1}, {"key": "b", "value": None}], [], None]


WIDENED = [
    ("long", of([-5, None], pa.int32()), [-5, None]),
    ("integer", of([-5], pa.int8()), [-5]),
    ("double", of([16777217], pa.int32()), [16777217.0]),
    ("double", of([0.1], pa.float32()), [0.10000000149011612]),
    ("decimal(12,2)", of([Decimal("1.5")], pa.decimal128(5, 1)), [Decimal("1.50")]),
    ("decimal(12,2)", of([7], pa.int32()), [Decimal("7.00")]),
    ("timestamp_ntz", of([DAY], pa.date32()), [dt.datetime(2026, 1, 31)]),
    ("timestamp", of([NOON.replace(microsecond=0)], pa.timestamp("ms", "UTC")), [NOON.replace(microsecond=0)]),
    ("timestamp", of([NOON], pa.timestamp("us", "+01:00")), [NOON]),
    ("string", of([None], pa.null()), [None]),
    (d.list_of("long"), of([[1, None], [], None], pa.list_(pa.int16())), [[1, None], [], None]),
]


@pytest.mark.parametrize(("kind", "rows", "want"), WIDENED)
def test_types_that_were_widened_hold_the_values_of_old_files(tmp_path, kind, rows, want):
    table(tmp_path, [d.field("v", kind)], d.add(tmp_path, "x.parquet", rows), features=["typeWidening"])
    assert read(tmp_path)["v"].to_list() == want


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        ("integer", of([2**40], pa.int64())),
        ("float", of([1.1], pa.float64())),
        ("double", of([2**53 + 1], pa.int64())),
        ("decimal(5,2)", of([Decimal("1234.56")], pa.decimal128(6, 2))),
        ("decimal(10,2)", of([1], pa.int32())),
        ("decimal(9,1)", of([Decimal("1.55")], pa.decimal128(5, 2))),
        ("string", of([1], pa.int64())),
        ("long", of(["1"], pa.string())),
        ("date", of([LOCAL], pa.timestamp("us"))),
        ("timestamp", of([LOCAL], pa.timestamp("us"))),
        ("timestamp_ntz", of([NOON], pa.timestamp("us", "UTC"))),
        ("timestamp_ntz", of([LOCAL], pa.timestamp("ns"))),
        ("string", of([b"x"], pa.binary())),
        ("long", of([[1]], pa.list_(pa.int64()))),
        (d.list_of("long"), of([1], pa.int64())),
        (d.struct_of(d.field("a", "integer")), of([{"a": 2**40}], pa.struct({"a": pa.int64()}))),
    ],
)
def test_a_file_whose_type_does_not_fit_is_named_with_both_types(tmp_path, kind, rows):
    table(tmp_path, [d.field("v", kind)], d.add(tmp_path, "x.parquet", rows))
    told = refusal(tmp_path)
    assert f"file://{tmp_path}/x.parquet" in told
    assert 'column "v' in told
    assert "in the file and" in told


INT96 = {"use_deprecated_int96_timestamps": True, "store_schema": False}


def stats(**bounds):
    return json.dumps({"numRecords": 2, "nullCount": {"v": 1}} | bounds)


NEAR = stats(minValues={"v": "2026-01-31T12:00:00.000Z"}, maxValues={"v": "2026-01-31T12:00:00.000Z"})


def test_int96_is_a_moment_of_utc(tmp_path):
    add = d.add(tmp_path, "x.parquet", of([LOCAL, None], pa.timestamp("ns")), writer=INT96, stats=NEAR)
    table(tmp_path, [d.field("v", "timestamp")], add)
    assert read(tmp_path)["v"].to_list() == [NOON, None]


FAR = [
    (
        dt.datetime(9999, 12, 31),
        stats(minValues={"v": "2020-01-01T00:00:00Z"}, maxValues={"v": "9999-12-31T00:00:00Z"}),
    ),
    (dt.datetime(1, 1, 1), stats(minValues={"v": "0001-01-01T00:00:00Z"}, maxValues={"v": "2020-01-01T00:00:00Z"})),
    (LOCAL, None),
    (LOCAL, stats()),
]


@pytest.mark.parametrize(("moment", "known"), FAR, ids=["late", "early", "no statistics", "none of the column"])
def test_int96_that_may_be_beyond_nanoseconds_is_refused(tmp_path, moment, known):
    add = d.add(tmp_path, "x.parquet", of([moment, None], pa.timestamp("us")), writer=INT96, stats=known)
    table(tmp_path, [d.field("v", "timestamp")], add)
    told = refusal(tmp_path)
    assert 'x.parquet stores the column "v" as INT96' in told
    assert "TIMESTAMP_MICROS" in told


def test_int96_without_a_value_is_null(tmp_path):
    known = json.dumps({"numRecords": 1, "nullCount": {"v": 1}})
    add = d.add(tmp_path, "x.parquet", of([None], pa.timestamp("us")), writer=INT96, stats=known)
    table(tmp_path, [d.field("v", "timestamp")], add)
    assert read(tmp_path)["v"].to_list() == [None]


def test_int96_in_a_renamed_struct_is_judged_by_its_physical_names(tmp_path):
    rows = pa.table({"p-s": pa.array([{"p-t": LOCAL}], pa.struct({"p-t": pa.timestamp("ns")}))})
    known = json.dumps(
        {
            "numRecords": 1,
            "minValues": {"p-s": {"p-t": "2026-01-31T12:00:00Z"}},
            "maxValues": {"p-s": {"p-t": "2026-01-31T12:00:00Z"}},
        }
    )
    add = d.add(tmp_path, "x.parquet", rows, writer=INT96, stats=known)
    fields = [d.mapped("s", d.struct_of(d.mapped("t", "timestamp", "p-t", 2)), "p-s", 1)]
    table(tmp_path, fields, add, features=["columnMapping"], **{"delta.columnMapping.mode": "name"})
    assert read(tmp_path)["s"].to_list() == [{"t": NOON}]


def test_columns_that_files_lack_are_null_and_told(tmp_path):
    fields = [d.field("v", "long"), d.field("new", d.struct_of(d.field("a", "string"))), d.field("k", "long")]
    old = d.add(tmp_path, "old.parquet", pa.table({"k": [1], "v": [2]}))
    new = d.add(tmp_path, "new.parquet", pa.table({"v": [3], "new": [{"a": "x"}], "k": [4], "dropped": [5]}))
    table(tmp_path, fields, old, new)
    assert sorted(read(tmp_path).rows()) == [(2, None, 1), (3, {"a": "x"}, 4)]
    (told,) = resolved(tmp_path).warnings
    assert "1 of 2 files" in told
    assert 'old.parquet, lack the column "new"' in told
    strict = refusal(tmp_path, schemaEvolution="strict")
    assert 'old.parquet lacks the column "new"' in strict


@pytest.mark.parametrize(
    ("fields", "rows"),
    [
        ([d.field("Price", "long")], pa.table({"price": [1]})),
        ([d.field("s", d.struct_of(d.field("A", "long")))], pa.table({"s": [{"a": 1}]})),
    ],
)
def test_a_column_of_another_case_is_neither_taken_for_the_tables_nor_for_missing(tmp_path, fields, rows):
    table(tmp_path, fields, d.add(tmp_path, "x.parquet", rows))
    assert "x.parquet: column" in refusal(tmp_path)


NESTED = pa.struct({"p-a": pa.int32(), "p-l": pa.list_(pa.struct({"p-x": pa.string(), "gone": pa.int8()}))})
VALUES = [
    {"p-a": 1, "p-l": [{"p-x": "x", "gone": 1}, None, {"p-x": None, "gone": 2}]},
    None,
    {"p-a": None, "p-l": []},
    {"p-a": None, "p-l": None},
]
WANT = [
    {"a": 1, "l": [{"y": None, "x": "x"}, None, {"y": None, "x": None}], "later": None},
    None,
    {"a": None, "l": [], "later": None},
    {"a": None, "l": None, "later": None},
]


def nested_fields():
    inner = d.struct_of(d.mapped("y", "long", "p-y", 7), d.mapped("x", "string", "p-x", 6))
    outer = d.struct_of(
        d.mapped("a", "long", "p-a", 3), d.mapped("l", d.list_of(inner), "p-l", 4), d.mapped("later", "date", "p-z", 9)
    )
    return [d.mapped("renamed", outer, "p-s", 2), d.mapped("b", "string", "a", 1), d.mapped("a", "string", "b", 8)]


def test_columns_that_were_renamed_are_found_by_their_physical_names_also_nested(tmp_path):
    rows = pa.table({"a": ["1", "2", "3", "4"], "p-s": pa.array(VALUES, NESTED), "b": ["5", "6", "7", "8"]})
    table(
        tmp_path, nested_fields(), d.add(tmp_path, "x.parquet", rows), features=["columnMapping"],
        **{"delta.columnMapping.mode": "name"},
    )  # fmt: skip
    found = read(tmp_path)
    assert found["renamed"].to_list() == WANT
    assert found.select("b", "a").rows() == [("1", "5"), ("2", "6"), ("3", "7"), ("4", "8")]


@pytest.mark.parametrize("values", [[None], [{"p-a": 1, "p-l": []}], []], ids=["null", "empty list", "no rows"])
def test_structs_are_made_where_nothing_is_in_them(tmp_path, values):
    rows = pa.table({"p-s": pa.array(values, NESTED)})
    table(
        tmp_path, nested_fields(), d.add(tmp_path, "x.parquet", rows), features=["columnMapping"],
        **{"delta.columnMapping.mode": "name"},
    )  # fmt: skip
    want = [None if value is None else {"a": 1, "l": [], "later": None} for value in values]
    assert read(tmp_path)["renamed"].to_list() == want


def with_ids(rows, numbers):
    """The same rows, with field ids that `numbers` gives by paths."""

    def named(field, path):
        here = (*path, field.name)
        kind = field.type
        if pa.types.is_struct(kind):
            kind = pa.struct([named(one, here) for one in kind])
        elif pa.types.is_list(kind):
            kind = pa.list_(named(kind.value_field, here))
        known = {"PARQUET:field_id": str(numbers[".".join(here)])} if ".".join(here) in numbers else None
        return pa.field(field.name, kind, metadata=known)

    schema = pa.schema([named(field, ()) for field in rows.schema])
    return pa.Table.from_pylist(rows.to_pylist(), schema)


def test_columns_are_found_by_ids_also_nested(tmp_path):
    rows = pa.table({"q": ["1", "2", "3", "4"], "w": pa.array(VALUES, NESTED), "a": ["5", "6", "7", "8"]})
    leaf = "w.p-l.item"
    ids = {"q": 1, "w": 2, "w.p-a": 3, "w.p-l": 4, f"{leaf}.p-x": 6, f"{leaf}.gone": 70, "a": 80}
    table(
        tmp_path, nested_fields(), d.add(tmp_path, "x.parquet", with_ids(rows, ids)),
        features=["columnMapping"], **{"delta.columnMapping.mode": "id"},
    )  # fmt: skip
    found = read(tmp_path)
    assert found["renamed"].to_list() == WANT
    assert found.select("b", "a").rows() == [("1", None), ("2", None), ("3", None), ("4", None)]


def test_a_file_without_ids_is_refused_where_columns_are_found_by_ids(tmp_path):
    add = d.add(tmp_path, "x.parquet", pa.table({"a": ["1"]}))
    table(tmp_path, nested_fields(), add, features=["columnMapping"], **{"delta.columnMapping.mode": "id"})
    assert "x.parquet has none" in refusal(tmp_path)


def test_the_mapping_counts_only_where_the_protocol_says_that_readers_know_it(tmp_path):
    add = d.add(tmp_path, "x.parquet", pa.table({"b": ["by name"]}))
    fields = [d.mapped("b", "string", "p-1", 1)]
    mode = {"delta.columnMapping.mode": "name"}
    table(tmp_path, fields, add, **mode)
    assert read(tmp_path)["b"].to_list() == ["by name"]
    d.commit(tmp_path, 0, d.protocol(reader=2), d.metadata(fields, **mode), add)
    assert read(tmp_path)["b"].to_list() == [None]


KEYS = [
    ("string", "001", "001"),
    ("string", "", None),
    ("string", None, None),
    ("long", "-12", -12),
    ("byte", "127", 127),
    ("double", "1.0E10", 1e10),
    ("double", "-Infinity", float("-inf")),
    ("float", "0.1", 0.10000000149011612),
    ("decimal(10,2)", "1.50", Decimal("1.50")),
    ("decimal(10,2)", "1.5", Decimal("1.50")),
    ("decimal(38,10)", "1234567890123456789012345678.1", Decimal("1234567890123456789012345678.1000000000")),
    ("boolean", "true", True),
    ("date", "2026-01-31", DAY),
    ("date", "0001-01-01", dt.date(1, 1, 1)),
    ("binary", "\u0001\u0002", b"\x01\x02"),
    ("binary", r"\u0001\u00fF", b"\x01\xff"),
    ("binary", "abc", b"abc"),
    ("timestamp", "2026-01-31T12:00:00.000005Z", NOON),
    ("timestamp", "2026-01-31T13:00:00.000005+01:00", NOON),
    ("timestamp", "2026-01-31 12:00:00.000005", NOON),
    ("timestamp", "2026-01-31 12:00:00", NOON.replace(microsecond=0)),
    ("timestamp", "2026-01-31 12:00:00.1", NOON.replace(microsecond=100000)),
    ("timestamp_ntz", "2026-01-31 12:00:00.000005", LOCAL),
    ("timestamp_ntz", "9999-12-31 23:59:59.999999", dt.datetime(9999, 12, 31, 23, 59, 59, 999999)),
]


@pytest.mark.parametrize(("kind", "text", "want"), KEYS)
def test_partition_values_are_of_the_columns_type(tmp_path, kind, text, want):
    add = d.add(tmp_path, "x.parquet", pa.table({"v": [1, 2]}), {"k": text})
    table(tmp_path, [d.field("k", kind), d.field("v", "long")], add, keys=["k"])
    assert read(tmp_path).rows() == [(want, 1), (want, 2)]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("long", "1.0"),
        ("long", " 1"),
        ("byte", "128"),
        ("integer", "١"),
        ("double", "1e999"),
        ("double", "0x1"),
        ("decimal(4,2)", "100.00"),
        ("decimal(4,1)", "1.55"),
        ("decimal(4,1)", "NaN"),
        ("boolean", "1"),
        ("date", "31.01.2026"),
        ("date", "20260131"),
        ("date", "+10000-01-01"),
        ("timestamp", "2026-01-31T12:00:00.0000001Z"),
        ("timestamp", "noon"),
        ("timestamp_ntz", "2026-01-31T12:00:00Z"),
        ("binary", "é"),
        (d.list_of("long"), "[1]"),
    ],
)
def test_a_partition_value_that_is_none_of_its_type_is_refused(tmp_path, kind, text):
    add = d.add(tmp_path, "x.parquet", pa.table({"v": [1]}), {"k": text})
    table(tmp_path, [d.field("k", kind), d.field("v", "long")], add, keys=["k"])
    told = refusal(tmp_path)
    assert 'partition column "k"' in told
    assert "x.parquet" in told


def test_times_of_partitions_without_a_zone_are_read_as_utc_and_told(tmp_path):
    add = d.add(tmp_path, "x.parquet", pa.table({"v": [1]}), {"k": "2026-01-31 12:00:00"})
    table(tmp_path, [d.field("k", "timestamp"), d.field("v", "long")], add, keys=["k"])
    (told,) = resolved(tmp_path).warnings
    assert "read as UTC" in told


def test_a_file_without_a_value_of_a_partition_column_is_refused(tmp_path):
    add = d.add(tmp_path, "x.parquet", pa.table({"v": [1]}), {})
    table(tmp_path, [d.field("k", "long"), d.field("v", "long")], add, keys=["k"])
    assert 'no value of the partition column "k"' in refusal(tmp_path)


def test_partition_columns_of_mapped_tables_go_by_their_physical_names_and_never_by_folders(tmp_path):
    fields = [d.mapped("k", "long", "p-k", 1), d.mapped("v", "long", "p-v", 2)]
    rows = pa.table({"p-v": [1], "p-k": [99]})
    add = d.add(tmp_path, "p-k=7/k=8/x.parquet", rows, {"p-k": "3"})
    mode = {"delta.columnMapping.mode": "name"}
    table(tmp_path, fields, add, keys=["k"], features=["columnMapping"], **mode)
    assert read(tmp_path).rows() == [(3, 1)]


@pytest.mark.parametrize("count", [1, 70], ids=["constants", "by places"])
def test_files_that_have_none_of_the_tables_columns_keep_their_rows(tmp_path, count):
    fields = [d.field("new", "long"), d.field("k", "string")]
    adds = [d.add(tmp_path, f"{n}.parquet", pa.table({"old": [1, 2, 3]}), {"k": str(n)}) for n in range(count)]
    table(tmp_path, fields, *adds, keys=["k"])
    rows = read(tmp_path)
    assert sorted(rows.rows()) == sorted((None, str(n)) for n in range(count) for _ in range(3))
    found = resolved(tmp_path)
    placed = found.reading.frame(found.item, found.files, StoreAccess(), places="place").collect()
    assert placed.height == 3 * count and placed.columns == ["new", "k", "place"]


def test_files_of_many_partitions_and_schemas_are_one_table(tmp_path):
    adds, want = [], []
    for at in range(300):
        kind = pa.int32() if at % 3 else pa.int64()
        key = None if at % 50 == 0 else str(at // 2)
        adds.append(d.add(tmp_path, f"k={key}/{at}.parquet", of([at], kind), {"k": key}))
        want.append((None if key is None else int(key), at))
    table(tmp_path, [d.field("k", "integer"), d.field("v", "long")], *adds, keys=["k"])
    assert sorted(read(tmp_path).rows(), key=lambda row: row[1]) == want
    found = resolved(tmp_path)
    assert found.frame(StoreAccess()).explain(optimized=False).count("Parquet SCAN") == 2
    gpu = delta.Delta.from_json(json.loads(json.dumps(found.reading.for_gpu().to_json())))
    frame = gpu.frame(found.item, found.files, StoreAccess())
    assert "replace" not in frame.explain()
    assert sorted(frame.collect().rows(), key=lambda row: row[1]) == want
    placed = found.frame(StoreAccess(), places="from").filter(pl.col("k").is_in([7, 8])).collect()
    assert sorted(placed.rows()) == [(at // 2, at, f"{tmp_path}/k={at // 2}/{at}.parquet") for at in range(14, 18)]


def test_the_files_of_an_unpartitioned_table_are_one_plain_scan(tmp_path):
    adds = [d.add(tmp_path, f"{at}.parquet", pa.table({"v": [at]})) for at in range(5)]
    table(tmp_path, [d.field("v", "long")], *adds)
    plan = resolved(tmp_path).frame(StoreAccess()).explain(optimized=False)
    assert plan.count("Parquet SCAN") == 1
    assert "SELECT" not in plan
    assert "UNION" not in plan


def test_the_place_of_each_row_is_known(tmp_path):
    adds = [d.add(tmp_path, f"k={at}/{at}.parquet", pa.table({"v": [at]}), {"k": str(at)}) for at in range(2)]
    table(tmp_path, [d.field("k", "long"), d.field("v", "long")], *adds, keys=["k"])
    rows = resolved(tmp_path).frame(StoreAccess(), places="from").collect()
    assert rows.sort("v").rows() == [(at, at, f"{tmp_path}/k={at}/{at}.parquet") for at in range(2)]


@pytest.mark.parametrize(
    ("feature", "word"),
    [
        ("aFeatureOfTheFuture", "aFeatureOfTheFuture"),
        ("catalogManaged", "its catalog alone knows"),
        ("catalogOwned-preview", "its catalog alone knows"),
    ],
)
def test_a_reader_feature_that_is_not_known_is_refused_by_its_name(tmp_path, feature, word):
    table(tmp_path, [d.field("v", "long")], features=["deletionVectors", feature])
    told = refusal(tmp_path)
    assert feature in told
    assert word in told


def test_features_that_only_writers_need_to_know_change_nothing(tmp_path):
    head = {"protocol": {"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": ["rowTracking", "future"]}}
    add = d.add(tmp_path, "x.parquet", pa.table({"v": [1]}), baseRowId=0, clusteringProvider="liquid")
    (tmp_path / "_change_data").mkdir()
    pq.write_table(pa.table({"v": [9]}), tmp_path / "_change_data" / "cdc.parquet")
    cdc = {"cdc": {"path": "_change_data/cdc.parquet", "partitionValues": {}, "size": 1}}
    generated = d.field("v", "long", **{"delta.generationExpression": "1", "delta.identity.start": 1})
    d.commit(tmp_path, 0, head, d.metadata([generated]), add, cdc, {"domainMetadata": {"domain": "delta.clustering"}})
    assert read(tmp_path)["v"].to_list() == [1]


@pytest.mark.parametrize("kind", ["variant", "geometry(OGC:CRS84)", {"type": "tensor"}, d.list_of("variant")])
def test_a_column_of_an_unknown_type_is_refused_by_its_name(tmp_path, kind):
    table(tmp_path, [d.field("v", "long"), d.field("odd", kind)], features=["variantType"])
    assert 'column "odd" has the type' in refusal(tmp_path)


def test_a_column_of_type_void_is_left_out_and_told(tmp_path):
    add = d.add(tmp_path, "x.parquet", pa.table({"v": [1]}))
    table(tmp_path, [d.field("v", "long"), d.field("nothing", "void")], add)
    assert read(tmp_path).columns == ["v"]
    assert '"nothing"' in resolved(tmp_path).warnings[0]


def test_a_reader_version_of_the_future_is_refused(tmp_path):
    d.commit(tmp_path, 0, d.protocol(reader=4), d.metadata([d.field("v", "long")]))
    assert "version 4" in refusal(tmp_path)


def test_a_file_that_vacuum_has_removed_is_named_with_the_version(tmp_path):
    adds = [d.add(tmp_path, f"{at}.parquet", pa.table({"v": [at]})) for at in range(3)]
    table(tmp_path, [d.field("v", "long")], *adds)
    (tmp_path / "1.parquet").unlink()
    told = refusal(tmp_path)
    assert "version 0 needs a file that is gone" in told
    assert "1.parquet" in told
    assert "VACUUM" in told


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(lambda whole: whole[:-20], id="cut"),
        pytest.param(lambda whole: b"", id="empty"),
        pytest.param(lambda whole: b"x" * len(whole), id="overwritten"),
        pytest.param(lambda whole: b"PAR1" + b"\xff" * (len(whole) - 12) + b"\x10\0\0\0PAR1", id="broken inside"),
    ],
)
def test_a_file_that_is_not_the_one_of_the_log_is_named(tmp_path, body):
    add = d.add(tmp_path, "x.parquet", pa.table({"v": [1]}))
    table(tmp_path, [d.field("v", "long")], add)
    file = tmp_path / "x.parquet"
    file.write_bytes(body(file.read_bytes()))
    assert f"the file file://{tmp_path}/x.parquet is not the parquet file of" in refusal(tmp_path)


def test_a_file_that_the_log_names_twice_is_refused(tmp_path):
    add = d.add(tmp_path, "x.parquet", pa.table({"v": [1]}))
    again = {"add": add["add"] | {"deletionVector": d.inline([0])}}
    table(tmp_path, [d.field("v", "long")], add, again, features=["deletionVectors"])
    assert "x.parquet more than once" in refusal(tmp_path)


def test_the_digest_changes_with_the_version(tmp_path):
    table(tmp_path, [d.field("v", "long")], d.add(tmp_path, "x.parquet", pa.table({"v": [1]})))
    first = resolved(tmp_path)
    d.commit(tmp_path, 1, {"commitInfo": {}})
    assert first.digest != resolved(tmp_path).digest
    assert pl.DataFrame(first.frame(StoreAccess()).collect()).height == 1
