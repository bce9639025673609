"""`overwriteWhere` about some rows of a file: those that do not meet the condition stay, as they were.

The rows that stay are those of DuckDB; pyiceberg has written the files, and reads them back.
"""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg import types as ice
from pyiceberg.manifest import ManifestContent
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import BucketTransform, DayTransform, IdentityTransform, TruncateTransform

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output.commit import Step
from gpuquery.runner.output.tables import rewrite
from gpuquery.runner.output.tables.iceberg import commit as committing
from gpuquery.runner.output.tables.iceberg.table import Iceberg
from tests.support import iceberg
from tests.support.sinks import plan, run, sink

SCHEMA = Schema(
    ice.NestedField(1, "id", ice.LongType()),
    ice.NestedField(2, "ok", ice.BooleanType()),
    ice.NestedField(3, "f", ice.FloatType()),
    ice.NestedField(4, "d", ice.DoubleType()),
    ice.NestedField(5, "day", ice.DateType()),
    ice.NestedField(6, "ts", ice.TimestampType()),
    ice.NestedField(7, "tz", ice.TimestamptzType()),
    ice.NestedField(8, "name", ice.StringType()),
    ice.NestedField(9, "raw", ice.BinaryType()),
    ice.NestedField(10, "price", ice.DecimalType(38, 10)),
    ice.NestedField(11, "n", ice.IntegerType()),
    ice.NestedField(12, "tags", ice.ListType(13, ice.StringType(), element_required=False)),
    ice.NestedField(
        14, "inner",
        ice.StructType(
            ice.NestedField(15, "a", ice.IntegerType()),
            ice.NestedField(16, "b", ice.ListType(17, ice.DoubleType(), element_required=False)),
        ),
    ),
)  # fmt: skip
NAN = math.nan
ROWS = [
    (1, True, 0.1, -0.0, date(2024, 1, 1), datetime(2024, 1, 1, 0, 0, 0, 1), datetime(2024, 1, 1, 5, tzinfo=UTC),
     "a", b"\x00", Decimal("1.5"), 1, ["x", None], {"a": 1, "b": [0.5, None]}),
    (2, False, -0.0, NAN, date(1, 1, 1), datetime(1, 1, 1), datetime(1, 1, 1, tzinfo=UTC),
     "", b"", Decimal("-9999999999999999999999999999.9999999999"), -(2**31), [], {"a": None, "b": []}),
    (3, None, NAN, math.inf, date(9999, 12, 31), datetime(9999, 12, 31, 23, 59, 59, 999999),
     datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), "ä\U0010ffff", b"\xff", Decimal(0), None, None, None),
    (None, True, None, None, None, None, None, None, None, None, None, [None], {"a": 2**31 - 1, "b": None}),
    (-(2**63), True, 3.4e38, 5e-324, date(1969, 12, 31), datetime(1969, 12, 31, 23, 59, 59, 999999),
     datetime(1969, 12, 31, 23, tzinfo=UTC), "ab", b"\x00\x01", Decimal("0.0000000001"), 7, ["", "y"],
     {"a": 0, "b": [NAN, -0.0]}),
]  # fmt: skip


@pytest.fixture
def lake(tmp_path, monkeypatch):
    monkeypatch.setattr(committing, "LONGEST_PAUSE", 0.01)
    with iceberg.served(tmp_path) as lake:
        yield lake


def arrow(table, rows=ROWS):
    wanted = table.schema().as_arrow()
    names = [field.name for field in SCHEMA.fields]
    cells = [dict(zip(names, row, strict=True)) for row in rows]
    return pa.Table.from_pylist([{name: one.get(name) for name in wanted.names} for one in cells], schema=wanted)


def job(lake, where, branch=None, **more):
    table = {"catalog": "lake", "name": "sales.orders", **({"branch": branch} if branch else {})}
    return plan(
        None,
        store=lake.access,
        table=table,
        **{"mode": "overwrite", **({"overwriteWhere": where} if where else {}), **more},
    )


def nothing(table):
    return pl.from_arrow(table.schema().as_arrow().empty_table()).lazy()


def shown(table):
    """Rows in an order of their own, told apart to the bit: NaN is NaN, and -0.0 is not 0.0."""
    return sorted(map(repr, table.to_pylist()))


def read(lake):
    return lake.catalog.load_table("sales.orders").scan().to_arrow()


def stays(old, where):
    """By DuckDB: what does not meet the condition, be it false or unknown."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("old", old)
        found = connection.sql(f"SELECT * FROM old WHERE ({where}) IS NOT TRUE").to_arrow_table()
    return found.cast(old.schema)


def check_counts(lake, status=None, rows=0):
    """The metadata says of the files what they hold."""
    table = lake.catalog.load_table("sales.orders")
    summary = table.current_snapshot().summary
    files = table.inspect.files().to_pylist() if summary["total-data-files"] != "0" else []
    assert int(summary["total-data-files"]) == len(files)
    assert int(summary["total-records"]) == sum(one["record_count"] for one in files)
    assert int(summary["total-files-size"]) == sum(one["file_size_in_bytes"] for one in files)
    for one in files:
        inside = pq.read_metadata(one["file_path"].removeprefix("file://"))
        assert (inside.num_rows, one["record_count"] > 0) == (one["record_count"], True)
    if status is not None:
        assert status.rows == rows
    return table


CONDITIONS = [
    "id = 1", "id > 1", "id != 1", "id IN (1, 3)", "id NOT IN (1, 3)", "id IS NULL", "id IS NOT NULL", "NOT id = 2",
    "ok = true", "day <= DATE '2024-01-01'", "ts > TIMESTAMP '2024-01-01T00:00:00'",
    "tz < '1970-01-01T00:00:00+00:00' OR name IS NULL", "name LIKE 'a%'", "name NOT LIKE 'a%'", "name = ''",
    "price > 0.0000000000 AND n >= 1", "NOT (n = 7 OR ok = true)", "n = 1 OR n IS NULL",
]  # fmt: skip


@pytest.fixture(scope="module")
def many_types(tmp_path_factory):
    """A table of one file with all types; each condition works on a branch of its own."""
    with iceberg.served(tmp_path_factory.mktemp("lake")) as lake:
        table = lake.table(SCHEMA)
        table.append(arrow(table))
        yield lake


@pytest.mark.parametrize("where", CONDITIONS)
def test_rows_that_do_not_meet_the_condition_stay_as_they_were(many_types, where):
    table = many_types.catalog.load_table("sales.orders")
    want = stays(table.scan().to_arrow(), where)
    assert 0 < want.num_rows < len(ROWS)
    branch = f"b{CONDITIONS.index(where)}"
    run(job(many_types, where, branch), nothing(table))
    scan = table.refresh().scan().use_ref(branch)
    assert shown(scan.to_arrow()) == shown(want)
    (task,) = scan.plan_files()
    ids = {field.name: field.metadata[b"PARQUET:field_id"] for field in pq.read_schema(local(task.file.file_path))}
    assert ids == {field.name: str(field.field_id).encode() for field in table.schema().fields}


def local(place):
    return place.removeprefix("file://")


def test_the_result_comes_with_the_rows_that_stay_in_one_snapshot_and_is_counted_alone(lake, monkeypatch):
    table = lake.table(SCHEMA)
    table.append(arrow(table))
    want = stays(table.scan().to_arrow(), "id > 1")
    new = arrow(table, [ROWS[2], ROWS[1], ROWS[1]])
    status = run(job(lake, "id > 1"), pl.from_arrow(new).lazy())
    assert shown(read(lake)) == shown(pa.concat_tables([want, new]))
    table = check_counts(lake, status, 3)
    summary = table.current_snapshot().summary
    assert (len(table.metadata.snapshots), summary["gpuquery.rewritten-records"]) == (2, "3")
    assert (summary["added-records"], summary["deleted-records"], status.files) == ("6", "5", 1)
    monkeypatch.setattr(Iceberg, "_added", lambda *_: set())  # all files that it looks for are there
    assert sink(job(lake, "id > 1"))._table.live() is None, "rows of others are in its files"
    monkeypatch.undo()
    run(job(lake, "id > 1"), pl.from_arrow(new).lazy())
    assert shown(read(lake)) == shown(pa.concat_tables([want, new])), "the same job leaves the same table"


def places(lake):
    """Places of the table's files, by their least id."""
    files = lake.catalog.load_table("sales.orders").inspect.files().to_pylist()
    return {one["readable_metrics"]["id"]["lower_bound"]: one["file_path"] for one in files}


NUMBERS = Schema(ice.NestedField(1, "id", ice.LongType()), ice.NestedField(2, "n", ice.LongType()))


def numbers(lake, *files, **more):
    """A table of files with the ids that are given."""
    table = lake.table(NUMBERS, **more)
    for ids in files:
        table.append(pa.table({"id": ids, "n": ids}))
    return table


def ids(lake):
    return sorted(one["id"] for one in read(lake).to_pylist())


def test_a_file_is_read_only_where_statistics_do_not_tell_and_stays_where_no_row_meets_the_condition(lake):
    table = numbers(lake, [0, 9], [10, 19], [20, 29], [30, 39])
    before = places(lake)
    for unread in (0, 30):
        Path(local(before[unread])).write_bytes(b"not to be read")
    run(job(lake, "id = 19 OR id = 25 OR id >= 30"), nothing(table))
    after = places(lake)
    assert set(after) == {0, 10, 20}
    assert [after[one] == before[one] for one in (0, 10, 20)] == [True, False, True]


SPECS = {
    "a value": PartitionSpec(PartitionField(11, 1000, IdentityTransform(), "n_value")),
    "a day": PartitionSpec(PartitionField(7, 1000, DayTransform(), "tz_day")),
    "a hash and a beginning": PartitionSpec(
        PartitionField(1, 1000, BucketTransform(3), "id_bucket"),
        PartitionField(8, 1001, TruncateTransform(1), "name_t"),
    ),
    "a decimal": PartitionSpec(PartitionField(10, 1000, IdentityTransform(), "price_value")),
}


@pytest.mark.parametrize("by", SPECS)
def test_rows_stay_in_their_partition(lake, by):
    rows = [(*row[:1], met, *row[2:]) for row in ROWS for met in (True, False)]
    table = lake.table(SCHEMA, partition_spec=SPECS[by])
    run(job(lake, None, mode="append"), pl.from_arrow(arrow(table, rows)).lazy())
    table.refresh()
    parts = {repr(one["partition"]) for one in table.inspect.files().to_pylist()}
    want = stays(table.scan().to_arrow(), "ok = true")
    assert want.num_rows == len(ROWS)
    run(job(lake, "ok = true"), nothing(table))
    assert shown(read(lake)) == shown(want)
    table = check_counts(lake)
    assert {repr(one["partition"]) for one in table.inspect.files().to_pylist()} == parts
    for one in ("id = 1", "n = 7", "tz < '1970-01-01T00:00:00+00:00'", "price = 1.5000000000", "name = 'ab'"):
        assert shown(table.scan(row_filter=one).to_arrow()) == shown(
            pa.Table.from_pylist([row for row in want.to_pylist() if _meets(row, one)], schema=want.schema)
        ), one


def _meets(row, where):
    name, value = where.split()[0], row[where.split()[0]]
    want = {"id": 1, "n": 7, "price": Decimal("1.5"), "name": "ab"}
    return value is not None and (value < datetime(1970, 1, 1, tzinfo=UTC) if name == "tz" else value == want[name])


def position_deleted(lake):
    table = numbers(lake, [1, 2, 3, 4], [5, 6])
    at = places(lake)
    iceberg.add_files(table, [iceberg.position_deletes(table, [(at[1], 0), (at[1], 2), (at[5], 1)])])
    return [2, 4, 5]


def equality_deleted(lake):
    table = numbers(lake, [1, 2, 3, 4])
    iceberg.add_files(table, [iceberg.equality_deletes(table, pa.table({"id": [3, 9]}), {"id": 1})])
    table.append(pa.table({"id": [3, 5], "n": [3, 5]}))  # younger than the delete
    return [1, 2, 3, 4, 5]


def all_but_met_deleted(lake):
    table = numbers(lake, [1, 2, 9])
    iceberg.add_files(table, [iceberg.position_deletes(table, [(places(lake)[1], 0), (places(lake)[1], 2)])])
    return [2]


def of_an_older_spec(lake):
    table = numbers(lake)
    with table.update_spec() as update:
        update.add_field("n", BucketTransform(2), "n_bucket")
    run(job(lake, None, mode="append"), pl.LazyFrame({"id": [1, 2, 3], "n": [1, 1, 1]}))
    with table.refresh().update_spec() as update:
        update.remove_field("n_bucket").add_field("id", BucketTransform(2), "id_bucket")
    run(job(lake, None, mode="append"), pl.LazyFrame({"id": [4, 5], "n": [4, 5]}))
    return [1, 2, 3, 4, 5]


def of_a_dropped_column(lake):
    table = numbers(lake, partition_spec=PartitionSpec(PartitionField(2, 1000, IdentityTransform(), "n")))
    table.append(pa.table({"id": [1, 2, 3], "n": [7, 7, 7]}))
    with table.update_spec() as update:
        update.remove_field("n")
    with table.refresh().update_schema(allow_incompatible_changes=True) as update:
        update.delete_column("n")
    return [1, 2, 3]


def columns_changed_since(lake):
    table = lake.table(
        Schema(
            ice.NestedField(1, "id", ice.IntegerType()), ice.NestedField(2, "gone", ice.StringType()),
            ice.NestedField(3, "s", ice.StructType(ice.NestedField(4, "a", ice.FloatType()))),
            ice.NestedField(5, "l", ice.ListType(6, ice.IntegerType(), element_required=False)),
        )
    )  # fmt: skip
    table.append(
        pa.Table.from_pylist(
            [
                {"id": 1, "gone": "x", "s": {"a": 0.1}, "l": [1, None]}, {"id": 2, "gone": "y", "s": None, "l": None},
                {"id": 3, "gone": None, "s": {"a": None}, "l": []},
            ], schema=table.schema().as_arrow(),
        )
    )  # fmt: skip
    with table.update_schema() as update:
        update.update_column("id", ice.LongType()).rename_column("gone", "kept").update_column(
            ("s", "a"), ice.DoubleType()
        )
        update.update_column(("l", "element"), ice.LongType()).add_column(("s", "b"), ice.StringType())
        update.add_column("new", ice.DateType()).move_first("new")
    return [1, 2, 3]


def with_names_like_patterns(lake):
    odd = {"^i.*$": [5, 6, 7], "*": [7, 8, 9], "id": [1, 2, 3], "a.b": [9, 0, 1], "^x$": [3, 4, 5]}
    table = lake.table(Schema(*(ice.NestedField(n, name, ice.LongType()) for n, name in enumerate(odd, 1))))
    table.append(pa.table(odd))
    with table.update_schema() as update:
        update.move_first("id")  # so that the file is not read as it is
    return [1, 2, 3]


SHAPES = [
    position_deleted, equality_deleted, all_but_met_deleted, of_an_older_spec, of_a_dropped_column,
    columns_changed_since, with_names_like_patterns,
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_of_files_of_all_shapes_stay(lake, shape):
    there = shape(lake)
    old = read_live(lake)
    assert sorted(old["id"].to_pylist()) == there
    for number, where in enumerate(["id = 2", "id != 2", "id IS NULL OR id > 2", "NOT id IN (1, 5)"]):
        want = stays(old, where)
        run(job(lake, where, f"b{number}"), nothing(lake.catalog.load_table("sales.orders")))
        assert shown(read_live(lake, f"b{number}")) == shown(want), where


def read_live(lake, branch="main"):
    """By pyiceberg, but where there are equality deletes, which it does not read."""
    table = lake.catalog.load_table("sales.orders")
    snapshot = table.snapshot_by_name(branch)
    if all("-equality" not in one.file_path for one in deletes(table, snapshot)):
        return (table.scan() if branch == "main" else table.scan().use_ref(branch)).to_arrow()
    return lake.read(snapshotId=str(snapshot.snapshot_id)).to_arrow().cast(table.schema().as_arrow())


def deletes(table, snapshot):
    found = [one for one in snapshot.manifests(table.io) if one.content == ManifestContent.DELETES]
    return [entry.data_file for one in found for entry in one.fetch_manifest_entry(table.io)]


def gone(lake, made, attempt=1):
    """Files of an attempt that the table does not name."""
    table = lake.catalog.load_table("sales.orders")
    named = {local(one.file.file_path) for one in table.scan().plan_files()}
    mine = {
        str(one) for one in (lake.folder / "warehouse").rglob("*.parquet") if f"/{made.job.uid}/{attempt}/" in str(one)
    }
    return sorted(mine - named)


def _with_a_column(table):
    with table.update_schema() as update:
        update.add_column("more", ice.StringType())
    table.refresh().append(pa.table({"id": [7, 8], "n": [None, 8], "more": ["x", "y"]}))


CHANGES = {
    "an append": (lambda table: table.append(pa.table({"id": [40, 41], "n": [1, 41]})), [1, 2, 40]),
    "rows of the file that is written anew are deleted": (lambda table: table.delete("id = 1"), [2]),
    "the file goes": (lambda table: table.delete("id > 0"), []),
    "a new column": (_with_a_column, [1, 2, 7]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_between_writing_and_committing_is_kept_and_nothing_is_left_behind(lake, change):
    alter, want = CHANGES[change]
    table = numbers(lake, [1, 2, 3, 4, 9])
    done = []

    def between(step):
        if step is Step.MID_PUBLISH and not done:
            done.append(alter(lake.catalog.load_table("sales.orders")))

    made = job(lake, "n >= 3")
    writer = sink(made, hook=between)
    assert writer.preflight() is None
    writer.check_schema(nothing(table).collect_schema())
    writer.write(nothing(table))
    status = writer.commit()
    assert done and ids(lake) == want
    assert [one.get("more") for one in read(lake).to_pylist() if one["id"] == 7] == (["x"] if 7 in want else [])
    assert gone(lake, made) == []
    check_counts(lake, status)


def test_files_of_a_try_whose_answer_was_lost_are_removed_once_another_counts(lake):
    table = numbers(lake, [1, 2, 3])
    asked = []

    def fault(when, parts):
        if when == "before" and len(parts) == 4 and not asked:
            asked.append(parts)
            lake.catalog.load_table("sales.orders").append(pa.table({"id": [4], "n": [4]}))
            return "hang up"
        return None

    lake.fault = fault
    made = job(lake, "id >= 3")
    run(made, nothing(table))
    assert asked and ids(lake) == [1, 2]
    assert gone(lake, made) == []


def test_a_table_that_changes_each_time_is_given_up_and_nothing_is_left(lake, monkeypatch):
    monkeypatch.setattr(committing, "MOST_REWRITES", 3)
    table = numbers(lake, [1, 2, 3])
    tries = []

    def always(step):
        if step is Step.MID_PUBLISH:
            tries.append(step)
            lake.catalog.load_table("sales.orders").append(pa.table({"id": [1], "n": [1]}))

    made = job(lake, "id >= 3")
    writer = sink(made, hook=always)
    writer.check_schema(nothing(table).collect_schema())
    writer.write(nothing(table))
    with pytest.raises(JobError, match="has not taken the commit in 3 tries") as caught:
        writer.commit()
    assert (caught.value.failure, len(tries)) == (Failure.STORAGE_UNAVAILABLE, 3)
    assert ids(lake) == [1, 1, 1, 1, 2, 3]
    run(made, nothing(table), attempt=2)
    assert ids(lake) == [1, 1, 1, 1, 2] and gone(lake, made) == []


@pytest.mark.parametrize("at", ["preflight", "commit"])
def test_more_bytes_than_are_written_anew_are_refused_before_the_query_runs(lake, monkeypatch, at):
    table = numbers(lake, [1, 2, 3])
    monkeypatch.setattr(rewrite, "MOST_BYTES", 100 if at == "preflight" else 1 << 30)
    made = job(lake, "id >= 3")
    writer = sink(made)
    if at == "commit":
        writer.check_schema(nothing(table).collect_schema())
        writer.write(nothing(table))
        monkeypatch.setattr(rewrite, "MOST_BYTES", 100)
    with pytest.raises(JobError, match=r"replaces some rows of 1 files of .* at most 100 bytes are") as caught:
        writer.commit() if at == "commit" else writer.check_schema(nothing(table).collect_schema())
    assert caught.value.failure is Failure.OUTPUT_LIMIT
    writer.abort()
    assert ids(lake) == [1, 2, 3] and gone(lake, made) == []


def test_a_file_that_cannot_be_read_is_named_before_the_query_runs(lake):
    table = numbers(lake, [1, 2, 3])
    pq.write_table(pa.table({"id": [1, 2, 3], "n": [1, 2, 3]}), local(places(lake)[1]))
    with pytest.raises(JobError, match=r"overwriteWhere .*parquet has no field ids") as caught:
        sink(job(lake, "id > 1")).check_schema(nothing(table).collect_schema())
    assert caught.value.failure is Failure.INVALID_INPUT


def test_a_file_that_fails_while_it_is_written_anew_fails_the_job_and_leaves_nothing(lake):
    table = numbers(lake, [1, 2, 3], [11, 12, 13])
    made = job(lake, "id IN (2, 12)")
    writer = sink(made)
    writer.check_schema(nothing(table).collect_schema())
    writer.write(nothing(table))
    broken = Path(local(places(lake)[11]))
    body = broken.read_bytes()
    broken.write_bytes(body[:4] + b"\xff" * 56 + body[60:])
    with pytest.raises(JobError, match=r"overwriteWhere \(id IN \(2, 12\)\): reading .*parquet"):
        writer.commit()
    writer.abort()
    assert ids_of_metadata(lake) == 6 and gone(lake, made) == []


def ids_of_metadata(lake):
    return int(lake.catalog.load_table("sales.orders").current_snapshot().summary["total-records"])


def test_the_condition_may_name_a_column_that_the_result_brings(lake):
    table = numbers(lake, [1, 2])
    more = nothing(table).with_columns(more=pl.lit("x"))
    run(job(lake, "more = 'x' OR id = 2", schemaEvolution="widen"), more)
    assert read(lake).to_pylist() == [{"id": 1, "n": 1, "more": None}]
