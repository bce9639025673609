"""Results in Iceberg tables: modes, partitions, schemas and new tables, as pyiceberg's own reader sees them."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pytest
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import BucketTransform, IdentityTransform
from pyiceberg.types import DateType, IntegerType, LongType, NestedField, StringType

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output.sink import Identity, Sink
from gpuquery.runner.output.tables.iceberg import commit as committing
from tests.support import iceberg, runner
from tests.support.sinks import plan, run, sink

FRAME = pl.LazyFrame(
    {
        "id": [1, 2, 3, 4, None, -7],
        "ts": [
            datetime(2024, 1, 1, 5, tzinfo=UTC), datetime(2024, 1, 1, 23, 59, 59, 999999, tzinfo=UTC),
            datetime(1969, 12, 31, 23, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC), None,
            datetime(2024, 1, 1, tzinfo=UTC),
        ],
        "name": ["a", "ä" * 100, "", None, "b", "\U0010ffff" * 40],
        "price": [Decimal("1.50"), Decimal("-2.25"), None, Decimal(0), Decimal(7), Decimal("0.01")],
        "tags": [["x"], [], None, ["y", None], ["z"], ["x"]],
        "inner": [{"a": 1, "b": 1.5}] * 5 + [None],
    },
    schema_overrides={"price": pl.Decimal(9, 2), "inner": pl.Struct({"a": pl.Int32, "b": pl.Float64})},
)  # fmt: skip
SALES = Schema(
    NestedField(1, "id", LongType()), NestedField(2, "day", DateType()), NestedField(3, "name", StringType()),
)  # fmt: skip
BY_DAY = PartitionSpec(PartitionField(2, 1000, IdentityTransform(), "day"))


@pytest.fixture
def lake(tmp_path, monkeypatch):
    monkeypatch.setattr(committing, "LONGEST_PAUSE", 0.01)
    with iceberg.served(tmp_path) as lake:
        yield lake


def job(lake, name="sales.orders", *, branch=None, create=None, **output):
    table = {"catalog": "lake", "name": name, "branch": branch, "create": create}
    return plan(None, store=lake.access, table={k: v for k, v in table.items() if v is not None}, **output)


def sales(*rows):
    return pl.LazyFrame(list(rows), schema={"id": pl.Int64, "day": pl.Date, "name": pl.String}, orient="row")


def row(number, day, name="x"):
    return number, date(2024, 1, day), name


def rows(lake, branch=None, name="sales.orders"):
    scan = lake.catalog.load_table(name).scan()
    found = (scan.use_ref(branch) if branch else scan).to_arrow()
    return sorted(found.to_pylist(), key=lambda one: (one["id"] is None, one["id"]))


def ids(lake, branch=None):
    return [one["id"] for one in rows(lake, branch)]


def refused(failure, says, made, lf):
    with pytest.raises(JobError, match=says) as caught:
        run(made, lf)
    assert caught.value.failure is failure
    return caught.value.message


def test_a_new_table_has_the_rows_the_partitions_the_order_and_the_ids(lake):
    create = {"partitionBy": ["day(ts)", "bucket(4, id)"], "sortBy": ["name desc"], "properties": {"comment": "x"}}
    status = run(job(lake, create=create), FRAME)
    assert (status.rows, status.uri, status.files) == (6, "lake: sales.orders", status.partitions)
    table = lake.catalog.load_table("sales.orders")
    found = table.scan().to_arrow()
    want = FRAME.collect().to_arrow().cast(found.schema)
    assert found.sort_by("id").equals(want.sort_by("id"))
    assert [str(one) for one in table.spec().fields] == ["1000: ts_day: day(2)", "1001: id_bucket: bucket[4](1)"]
    assert table.properties["comment"] == "x" and str(table.metadata.current_snapshot_id) == status.snapshot
    for one in table.inspect.files().to_pylist():
        days = one["partition"]["ts_day"]
        inside = pa.parquet.read_table(one["file_path"].removeprefix("file://"))
        assert inside.schema.field("price").metadata[b"PARQUET:field_id"] == b"4"
        assert {None if at is None else at.date() for at in inside["ts"].to_pylist()} == {days}
        assert one["sort_order_id"] == table.metadata.default_sort_order_id
        names = inside["name"].to_pylist()
        known = [n for n in names if n is not None]
        assert known == sorted(known, reverse=True) and names == known + [None] * (len(names) - len(known))


def test_bounds_let_readers_find_what_is_there(lake):
    run(job(lake, create={}), FRAME)
    table = lake.catalog.load_table("sales.orders")
    (file,) = table.inspect.files().to_pylist()
    bounds = file["readable_metrics"]
    assert (bounds["id"]["lower_bound"], bounds["id"]["upper_bound"], bounds["id"]["null_value_count"]) == (-7, 4, 1)
    assert (bounds["price"]["lower_bound"], bounds["price"]["upper_bound"]) == (Decimal("-2.25"), Decimal(7))
    assert bounds["ts"]["lower_bound"] == datetime(1969, 12, 31, 23, tzinfo=UTC)
    for text in (
        "id = 4", "id = -7", "name = 'b'", "price < -2", "ts < '1970-01-01T00:00:00+00:00'", "ts IS NULL",
        f"name = '{'ä' * 100}'", "name = ''", f"name = '{chr(0x10FFFF) * 40}'",
    ):  # fmt: skip
        assert table.scan(row_filter=text).to_arrow().num_rows == 1, text
        assert len(list(table.scan(row_filter=text).plan_files())) == 1
    assert not list(table.scan(row_filter="id > 4").plan_files())
    assert len(list(table.scan(row_filter="inner.b > 100.0").plan_files())) == 1, "floats have no upper bound"


def test_modes_append_refuse_and_replace(lake):
    lake.table(SALES, partition_spec=BY_DAY)
    run(job(lake), sales(row(1, 1), row(2, 2)))
    refused(Failure.OUTPUT_EXISTS, "has the snapshot .* already, by job ns/job; use mode append", job(lake), sales())
    run(job(lake, mode="append"), sales(row(3, 2)))
    assert ids(lake) == [1, 2, 3]
    run(job(lake, mode="overwritePartitions"), sales(row(4, 2), row(5, 3)))
    assert ids(lake) == [1, 4, 5]
    run(job(lake, mode="overwritePartitions"), sales())
    assert ids(lake) == [1, 4, 5]
    run(job(lake, mode="overwrite", overwriteWhere="day >= DATE '2024-01-02'"), sales(row(6, 9)))
    assert ids(lake) == [1, 6]
    run(job(lake, mode="overwrite"), sales(row(7, 1)))
    assert ids(lake) == [7]
    run(job(lake, mode="overwrite"), sales())
    assert ids(lake) == []


def test_rows_outside_of_what_is_replaced_are_refused(lake):
    lake.table(SALES, partition_spec=BY_DAY)
    made = job(lake, mode="overwrite", overwriteWhere="day = '2024-01-02'")
    says = "output.overwriteWhere is .* and the result has 1 rows or more that do not meet it"
    refused(Failure.USER_ERROR, says, made, sales(row(1, 2), row(2, 3)))
    another = job(lake, mode="overwrite", overwriteWhere="day = '2024-01-02'")  # an attempt is run once
    refused(Failure.USER_ERROR, says, another, sales((1, None, "x")))
    assert lake.catalog.load_table("sales.orders").current_snapshot() is None


def test_a_file_that_is_partly_inside_is_refused_and_named(lake):
    lake.table(SALES, partition_spec=BY_DAY)
    run(job(lake), sales(row(1, 1), row(2, 1)))
    made = job(lake, mode="overwrite", overwriteWhere="id > 1")
    refused(Failure.USER_ERROR, r"id > 1.*part-.*parquet may have rows that meet it", made, sales(row(2, 1)))
    assert ids(lake) == [1, 2]


def test_partitions_of_an_older_spec_are_not_replaced(lake):
    table = lake.table(SALES, partition_spec=BY_DAY)
    run(job(lake), sales(row(1, 1)))
    with table.refresh().update_spec() as update:
        update.remove_field("day").add_field("id", BucketTransform(2), "id_bucket")
    refused(Failure.USER_ERROR, "is of an older one", job(lake, mode="overwritePartitions"), sales(row(2, 1)))
    run(job(lake, mode="append"), sales(row(2, 1)))
    assert ids(lake) == [1, 2]
    run(job(lake, mode="overwrite"), sales(row(3, 1)))
    assert ids(lake) == [3]


def test_files_go_whose_partitions_are_of_a_column_that_was_dropped_since(lake):
    table = lake.table(SALES, partition_spec=BY_DAY)
    run(job(lake), sales(row(1, 1), row(2, 2)))
    with table.refresh().update_spec() as update:
        update.remove_field("day")
    with table.refresh().update_schema(allow_incompatible_changes=True) as update:
        update.delete_column("day")
    run(job(lake, mode="overwrite", overwriteWhere="id = 2"), sales(row(2, 2, "y")).drop("day"))
    assert rows(lake) == [{"id": 1, "name": "x"}, {"id": 2, "name": "y"}]
    run(job(lake, mode="overwrite"), sales(row(3, 1)).drop("day"))
    assert ids(lake) == [3]


def test_columns_whose_names_look_like_patterns_keep_their_values(lake):
    odd = pl.LazyFrame({"id": [1, 2], "^x$": [3, 4], "^i.*$": [5, 6], "*": [7, 8], "a.b": [9, 0]})
    run(job(lake, create={"partitionBy": ["bucket(2, id)"], "sortBy": ["^i.*$ desc"]}), odd)
    assert rows(lake) == odd.collect().to_dicts()


def test_a_branch_is_not_seen_before_it_is_published(lake):
    lake.table(SALES)
    run(job(lake), sales(row(1, 1)))
    run(job(lake, mode="append", branch="audit"), sales(row(2, 1)))
    assert ids(lake) == [1] and ids(lake, "audit") == [1, 2]
    run(job(lake, mode="overwrite", branch="audit"), sales(row(3, 1)))
    assert ids(lake) == [1] and ids(lake, "audit") == [3]


def test_new_columns_and_wider_types_come_with_the_rows(lake):
    lake.table(Schema(NestedField(1, "id", IntegerType(), doc="the key"), NestedField(2, "name", StringType())))
    run(job(lake), pl.LazyFrame({"id": [1], "name": ["a"]}, schema_overrides={"id": pl.Int32}))
    wider = pl.LazyFrame({"id": [2**40], "name": ["b"], "tags": [["x"]]})
    says = "id is Int64 in the result and int in the table.*tags is not in the table"
    refused(Failure.USER_ERROR, says, job(lake, mode="append"), wider)
    run(job(lake, mode="append", schemaEvolution="widen"), wider)
    assert rows(lake) == [
        {"id": 1, "name": "a", "tags": None},
        {"id": 2**40, "name": "b", "tags": ["x"]},
    ]
    table = lake.catalog.load_table("sales.orders")
    assert table.schema().find_field("id").doc == "the key" and len(table.metadata.snapshots) == 2
    run(job(lake, mode="append", schemaEvolution="widen"), wider.with_columns(id=pl.lit(3)))
    assert len(table.refresh().metadata.schemas) == 2


def test_two_jobs_that_add_the_same_column_agree_and_two_that_do_not_are_told(lake):
    lake.table(SALES)
    made = [job(lake, mode="append", schemaEvolution="widen") for _ in range(3)]
    frames = [sales(row(n, 1)).with_columns(more=pl.lit(n)) for n in (1, 2)] + [
        sales(row(3, 1)).with_columns(other=pl.lit("x"))
    ]
    writers = [sink(one) for one in made]
    for writer, lf in zip(writers, frames, strict=True):
        assert writer.preflight() is None
        writer.check_schema(lf.collect_schema())
        writer.write(lf)
    writers[0].commit()
    writers[1].commit()
    with pytest.raises(JobError, match="the table has changed while the query ran: its column other") as caught:
        writers[2].commit()
    assert caught.value.failure is Failure.INPUT_CHANGED
    writers[2].abort()
    run(made[2], frames[2].with_columns(more=pl.lit(None)), attempt=2)
    assert [(one["more"], one["other"]) for one in rows(lake)] == [(1, None), (2, None), (None, "x")]


def test_required_columns_take_no_nulls(lake):
    lake.table(Schema(NestedField(1, "id", LongType(), required=True)))
    says = "column id is required in the table, and the result has 1 nulls"
    refused(Failure.USER_ERROR, says, job(lake), pl.LazyFrame({"id": [1, None]}))
    run(job(lake), pl.LazyFrame({"id": [1, 2]}))
    assert ids(lake) == [1, 2]


def test_a_missing_table_is_told_unless_it_is_to_be_made(lake):
    refused(
        Failure.USER_ERROR,
        r"output.table \(table sales.orders of catalog lake\): namespace sales has no",
        job(lake),
        sales(),
    )
    refused(
        Failure.USER_ERROR,
        "no unsigned integers",
        job(lake, create={}),
        pl.LazyFrame({"a": [1]}, schema={"a": pl.UInt64}),
    )
    says = "partitionBy names 'nosuch', and the result has id, day, name"
    refused(Failure.USER_ERROR, says, job(lake, create={"partitionBy": ["year(nosuch)"]}), sales())
    refused(
        Failure.USER_ERROR, r"hour\(day\) does not go with", job(lake, create={"partitionBy": ["hour(day)"]}), sales()
    )
    assert not lake.catalog.table_exists("sales.orders")


def test_an_empty_result_makes_an_empty_table_with_a_snapshot(lake):
    status = run(job(lake, create={}), sales())
    assert (status.rows, status.files) == (0, 0) and ids(lake) == []
    refused(Failure.OUTPUT_EXISTS, "already", job(lake), sales())


def test_a_table_of_another_version_is_refused(lake):
    lake.table(SALES, properties={"format-version": "1"})
    refused(Failure.USER_ERROR, "format version 1, and only version 2 is written", job(lake), sales())


def test_the_second_attempt_finds_the_commit_also_when_its_snapshot_has_expired(lake):
    lake.table(SALES)
    made = job(lake)
    first = run(made, sales(row(1, 1)))
    assert run(made, sales(row(9, 1)), attempt=2) == first
    run(job(lake, mode="append"), sales(row(2, 1)))
    lake.catalog.load_table("sales.orders").maintenance.expire_snapshots().by_id(int(first.snapshot)).commit()
    assert run(made, sales(row(9, 1)), attempt=2) == first
    assert ids(lake) == [1, 2]


def test_what_abandoned_attempts_have_left_is_removed(lake, tmp_path):
    lake.table(SALES)
    made = job(lake)
    dead = sink(made)
    assert dead.preflight() is None
    dead.check_schema(sales().collect_schema())
    dead.write(sales(row(8, 1)))
    dead.seal()
    run(made, sales(row(1, 1)), attempt=2)
    files = {one.relative_to(tmp_path / "warehouse").parts[2:5] for one in (tmp_path / "warehouse").rglob("*.parquet")}
    assert files == {("data", made.job.uid, "2")} and ids(lake) == [1]
    assert dead.commit().snapshot == str(lake.catalog.load_table("sales.orders").metadata.current_snapshot_id)
    assert ids(lake) == [1]


def test_an_attempt_whose_files_were_removed_cannot_commit(lake):
    lake.table(SALES)
    made = job(lake)
    dead = sink(made)
    dead.check_schema(sales().collect_schema())
    dead.write(sales(row(8, 1)))
    dead.seal()
    assert sink(made, 2).preflight() is None
    with pytest.raises(JobError, match="given up for dead"):
        dead.commit()
    assert ids(lake) == []


def test_a_whole_job_makes_the_table_commits_and_leaves_its_receipt(lake, tmp_path):
    pl.DataFrame({"id": [1, 2, 3], "day": [date(2024, 1, n) for n in (1, 2, 3)]}).write_parquet(tmp_path / "in.parquet")
    table = {"catalog": "lake", "name": "sales.orders", "create": {"partitionBy": ["day"]}}
    wanted = runner.plan(
        tmp_path, "SELECT id, day, 'x' AS name FROM t", inputs={"t": f"file://{tmp_path}/in.parquet"},
        output={"table": table, "expect": [{"rows": "== 3"}, {"unique": ["id"]}]}, store=lake.access.model_dump(),
    )  # fmt: skip
    report = runner.run(wanted)
    assert report.committed is not None, report.message
    assert (report.committed.rows, report.committed.partitions) == (3, 3)
    assert report.committed.expectations == "2 hold: rows == 3 (3); unique [id]"
    assert rows(lake) == [{"id": n, "day": date(2024, 1, n), "name": "x"} for n in (1, 2, 3)]
    again = runner.run(wanted)
    assert again.committed == report.committed and ids(lake) == [1, 2, 3]
    (receipt,) = (tmp_path / "warehouse").rglob("_receipts/*.json")
    whole = json.loads(receipt.read_text())
    assert whole["snapshot"] == report.committed.snapshot
    assert again.receipt == report.receipt
    receipt.unlink()  # as if the attempt had died before it wrote it
    third = runner.run(wanted.model_copy(update={"attempt": 2}))
    told = json.loads(receipt.read_text())
    assert {name: told[name] for name in ("snapshot", "rows", "bytes", "files", "query", "expectations", "uri")} == {
        name: whole[name] for name in ("snapshot", "rows", "bytes", "files", "query", "expectations", "uri")
    }
    assert third.receipt.query == whole["query"]["sha256"] and "attempt 2 wrote this" in told["warnings"][0]


def test_a_snapshot_is_not_reused_once_somebody_has_changed_the_tables_columns(lake):
    lake.table(SALES)
    made = job(lake, mode="overwrite")
    writer = sink(made)
    writer.check_schema(sales().collect_schema())
    writer.write(sales(row(1, 1)))
    writer.commit([writer.seal()])
    looker = sink(job(lake, mode="overwrite"))._table
    assert looker.live() is not None
    with lake.catalog.load_table("sales.orders").update_schema() as update:
        update.rename_column("name", "label")  # it makes no snapshot
    assert sink(job(lake, mode="overwrite"))._table.live() is None


def test_ranks_that_have_seen_different_schemas_are_not_mixed(lake):
    lake.table(SALES)
    made = job(lake, mode="append", schemaEvolution="widen")
    lf = sales(row(1, 1)).with_columns(more=pl.lit(1))
    ranks = [Sink(made, Identity(made.job.uid, 1, rank, 2)) for rank in (0, 1)]
    assert ranks[0].preflight() is None
    ranks[0].check_schema(lf.collect_schema())
    with lake.catalog.load_table("sales.orders").update_schema() as update:
        update.add_column("other", StringType())  # by somebody else, between the looks of two ranks
    lf1 = lf.with_columns(other=pl.lit(None))
    ranks[1].check_schema(lf1.collect_schema())
    for rank, frame in zip(ranks, (lf, lf1), strict=True):
        rank.write(frame)
    told = [rank.seal() for rank in reversed(ranks)][::-1]
    with pytest.raises(JobError, match=r"files.path is .* and must be below"):
        ranks[0].commit(told)
    assert lake.catalog.load_table("sales.orders").current_snapshot() is None


def test_two_ranks_make_one_snapshot(lake):
    lake.table(SALES, partition_spec=BY_DAY)
    made = job(lake)
    ranks = [Sink(made, Identity(made.job.uid, 1, rank, 2)) for rank in (0, 1)]
    assert ranks[0].preflight() is None
    for number, rank in enumerate(ranks):
        rank.check_schema(sales().collect_schema())
        rank.write(sales(row(number, 1), row(number + 10, 2)))
    told = [rank.seal() for rank in reversed(ranks)][::-1]
    status = ranks[0].commit(told)
    assert (status.files, status.rows, status.partitions) == (4, 4, 2)
    assert ids(lake) == [0, 1, 10, 11] and len(lake.catalog.load_table("sales.orders").metadata.snapshots) == 1


def test_a_field_of_a_struct_and_a_name_with_a_dot_can_part_and_sort_rows(lake):
    create = {"partitionBy": ["inner.a", "x.y"], "sortBy": ["inner.b desc"]}
    frame = pl.LazyFrame(
        {"id": [1, 2, 3], "inner": [{"a": 1, "b": 0.5}, {"a": 1, "b": 1.5}, None], "x.y": ["p", "p", "q"]}
    )
    assert run(job(lake, create=create), frame).partitions == 2
    files = lake.catalog.load_table("sales.orders").inspect.files().to_pylist()
    found = {one["record_count"]: tuple(one["partition"].values()) for one in files}
    assert found == {2: (1, "p"), 1: (None, "q")}
    assert [one["id"] for one in lake.catalog.load_table("sales.orders").scan().to_arrow().to_pylist()][:2] != [1, 2]
    assert ids(lake) == [1, 2, 3]


def test_jobs_that_make_the_same_table_at_the_same_time_all_commit_to_it(lake):
    made = [job(lake, create={"partitionBy": ["day"]}, mode="append") for _ in range(2)]
    writers = [sink(one) for one in made]
    assert [one.preflight() for one in writers] == [None, None]
    for number, writer in enumerate(writers):
        lf = sales(row(number, 1))
        writer.check_schema(lf.collect_schema())
        writer.write(lf)
    for writer in writers:
        writer.commit()
    assert ids(lake) == [0, 1]


def test_a_table_that_another_has_made_a_moment_before_is_taken(lake):
    def faster(when, parts):
        if when == "before" and len(parts) == 3:
            lake.table(SALES, partition_spec=BY_DAY)

    lake.fault = faster
    run(job(lake, create={}), sales(row(1, 1)))
    assert ids(lake) == [1] and len(lake.catalog.load_table("sales.orders").spec().fields) == 1
