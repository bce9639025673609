"""What others do to an Iceberg table while a job writes to it, or between two of its attempts."""

from __future__ import annotations

import json
import time
from datetime import date
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table.update import SetLocationUpdate
from pyiceberg.transforms import IdentityTransform, VoidTransform

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output.commit import Step
from gpuquery.runner.output.tables import abandoned
from tests.support import iceberg
from tests.support.sinks import run, sink
from tests.unit.runner.output.tables.test_iceberg_output import SALES, ids, job, lake, refused, row, rows, sales

__all__ = ["lake"]


class Died(BaseException):
    """The process of an attempt was killed."""


def staged(made, lf, attempt=1):
    """An attempt that has only to commit."""
    one = sink(made, attempt)
    assert one.preflight() is None
    one.check_schema(lf.collect_schema())
    one.write(lf)
    one.seal()
    return one


def table(lake):
    return lake.catalog.load_table("sales.orders")


def others(lake, *ids, expire=False):
    """Rows that somebody appends, who lets all snapshots before expire."""
    day = pa.array([date(2024, 1, 1)] * len(ids), pa.date32())
    table(lake).append(pa.table({"id": pa.array(ids, pa.int64()), "day": day, "name": ["x"] * len(ids)}))
    if expire:
        found = table(lake)
        old = [one.snapshot_id for one in found.snapshots() if one.snapshot_id != found.metadata.current_snapshot_id]
        found.maintenance.expire_snapshots().by_ids(old).commit()


def died_before_its_second_mark(made, lf):
    one = staged(made, lf)
    store = one._table.store
    put = store.put

    def dying(key, body):
        if key.startswith("_commits/"):
            raise Died
        return put(key, body)

    store.put = dying
    with pytest.raises(Died):
        one.commit()


def test_a_table_whose_files_are_kept_elsewhere_meanwhile_gets_no_files_that_are_not_there(lake):
    lake.table(SALES)
    made = job(lake, mode="append")
    one = staged(made, sales(row(1, 1)))
    with table(lake).transaction() as changing:
        changing._apply((SetLocationUpdate(location=f"{table(lake).location()}-2"),))
    with pytest.raises(JobError, match=r"its files are kept at .*-2 now") as caught:
        one.commit()
    assert caught.value.failure is Failure.INPUT_CHANGED
    run(made, sales(row(2, 1)), attempt=2)
    assert ids(lake) == [2]


def test_the_mark_of_a_dead_attempt_outlives_its_snapshot_once_another_has_seen_it(lake):
    lake.table(SALES)
    made = job(lake, mode="append")
    died_before_its_second_mark(made, sales(row(1, 1)))
    seen = sink(made, 2).preflight()
    assert seen is not None
    others(lake, 2, expire=True)
    assert run(made, sales(row(9, 1)), attempt=3) == seen
    assert ids(lake) == [1, 2]


def test_a_job_that_tidies_up_behind_a_dead_attempt_leaves_what_its_job_needs_to_doubt(lake, monkeypatch):
    lake.table(SALES)
    made = job(lake, mode="append")
    died_before_its_second_mark(made, sales(row(1, 1)))
    monkeypatch.setattr(abandoned, "STALE_SECONDS", -1)
    assert sink(job(lake, mode="append")).preflight() is None
    others(lake, 2, expire=True)
    with pytest.raises(JobError, match="snapshot number 1, which was made since, has expired") as caught:
        sink(made, 2).preflight()
    assert caught.value.failure is Failure.UNSAFE_STORE
    assert ids(lake) == [1, 2]


def refusing(lake, times):
    """Let somebody else be faster, whose snapshots expire at once."""
    left = [*range(100, 100 + times)]

    def fault(when, parts):
        if when == "before" and len(parts) == 4 and left:
            others(lake, left.pop(), expire=True)

    lake.fault = fault


def test_snapshots_that_expire_while_requests_are_refused_raise_no_doubt(lake):
    lake.table(SALES)
    others(lake, 1)
    refusing(lake, 3)
    run(job(lake, mode="append"), sales(row(2, 1)))
    assert ids(lake) == [1, 2, 100, 101, 102]


def test_an_attempt_that_was_refused_for_certain_raises_no_doubt_in_the_next_one(lake):
    lake.table(SALES)
    others(lake, 1)
    made = job(lake, mode="append")
    one = staged(made, sales(row(2, 1)))

    def fault(when, parts):
        if when == "before" and len(parts) == 4:
            others(lake, 100, expire=True)
            with table(lake).update_schema() as update:
                update.rename_column("name", "label")

    lake.fault = fault
    with pytest.raises(JobError, match="its column name is another one now"):
        one.commit()
    one.abort()
    lake.fault = lambda when, parts: None
    others_again = table(lake)
    others_again.append(pa.table({"id": pa.array([101]), "day": pa.array([None], pa.date32()), "label": ["x"]}))
    others_again.maintenance.expire_snapshots().by_id(others_again.snapshots()[-2].snapshot_id).commit()
    run(made, sales(row(3, 1)).rename({"name": "label"}), attempt=2)
    assert ids(lake) == [1, 3, 100, 101]


def test_an_answer_that_is_lost_raises_doubt_when_the_snapshot_that_followed_has_expired(lake):
    lake.table(SALES)
    one = staged(job(lake, mode="append"), sales(row(1, 1)))

    def fault(when, parts):
        if when == "after" and len(parts) == 4:
            others(lake, 2, expire=True)
            return "hang up"
        return None

    lake.fault = fault
    with pytest.raises(JobError, match="snapshot number 1, which was made since, has expired") as caught:
        one.commit()
    assert caught.value.failure is Failure.UNSAFE_STORE
    assert ids(lake) == [1, 2]


def put_into_folder(lake, key, body):
    place = Path(table(lake).location().removeprefix("file://")) / key
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(body)


FORGED = {
    "a base of another table": (
        "_staging/{}/1/base",
        {"table": "", "sequence": 0},
        "was dropped and made anew",
    ),
    "a base that is no JSON": ("_staging/{}/1/base", b"?", "is not what a runner leaves there"),
    "a base that is too large": ("_staging/{}/1/base", b" " * 20_000 + b"{}", "is not what a runner leaves there"),
    "a second mark that is too large": ("_commits/{}.json", b" " * 20_000, "is not what a runner of this job leaves"),
    "a second mark of another": ("_commits/{}.json", {"format": 1}, "is not what a runner of this job leaves"),
}


@pytest.mark.parametrize(("key", "body", "says"), FORGED.values(), ids=FORGED)
def test_what_no_runner_has_left_is_told_at_once_and_nothing_is_committed(lake, key, body, says):
    lake.table(SALES)
    made = job(lake, mode="append")
    put_into_folder(lake, key.format(made.job.uid), body if isinstance(body, bytes) else json.dumps(body).encode())
    begun = time.monotonic()
    with pytest.raises(JobError, match=says) as caught:
        run(made, sales(row(1, 1)), attempt=2)
    assert caught.value.failure is Failure.UNSAFE_STORE and time.monotonic() - begun < 20
    assert ids(lake) == []


def test_a_base_far_below_the_table_is_judged_at_once(lake):
    found = lake.table(SALES)
    others(lake, 1)
    made = job(lake, mode="append")
    base = {"table": str(found.metadata.table_uuid), "sequence": -(10**15)}
    put_into_folder(lake, f"_staging/{made.job.uid}/1/base", json.dumps(base).encode())
    with pytest.raises(JobError, match=r"snapshot number -\d+, which was made since, has expired"):
        run(made, sales(row(2, 1)), attempt=2)


def test_what_is_forged_in_the_name_of_other_jobs_keeps_nobody_from_his_work(lake, monkeypatch):
    lake.table(SALES)
    monkeypatch.setattr(abandoned, "STALE_SECONDS", -1)
    uid = "00000000-0000-0000-0000-000000000000"
    part = f"data/{uid}/1/part-{uid}-1-00000-00000-00000000.parquet"
    for key, body in {f"_staging/{uid}/1/base": b"?", f"_staging/{uid}/1/rank-00000.lease": b"", part: b"x"}.items():
        put_into_folder(lake, key, body)
    table(lake).append(
        pa.table({"id": pa.array([7]), "day": pa.array([None], pa.date32()), "name": ["x"]}),
        snapshot_properties={"gpuquery.job-uid": "another", "gpuquery.attempt": "²", "gpuquery.job": "a/b"},
    )
    put_into_folder(lake, "_staging/another/1/rank-00000.lease", b"")
    assert sink(job(lake, mode="overwrite"))._table.live() is None
    run(job(lake, mode="append"), sales(row(1, 1)))
    assert ids(lake) == [1, 7]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("write.py-location-provider.impl", "builtins.exit"),
        ("write.object-storage.enabled", "maybe"),
        ("write.avro.compression-codec", "uncompressed"),
        ("write.avro.compression-codec", "snappy"),
        ("write.summary.partition-limit", "many"),
    ],
)
def test_properties_that_others_set_for_their_own_writers_keep_nobody_from_committing(lake, name, value):
    lake.table(SALES)
    lake.edit = lambda metadata: {**metadata, "properties": {name: value}}  # the catalog itself is pyiceberg's
    run(job(lake, mode="append"), sales(row(1, 1)))
    assert ids(lake) == [1]


def test_totals_that_a_snapshot_does_not_tell_are_not_told_after_it(lake):
    lake.table(SALES)
    others(lake, 1)

    def edit(metadata):
        for one in metadata["snapshots"][:1]:
            one["summary"] = {"operation": "append", "total-records": "x", "total-data-files": "1"}
        return metadata

    lake.edit = edit
    run(job(lake, mode="append"), sales(row(2, 1)))
    summary = table(lake).current_snapshot().summary
    assert summary["total-data-files"] == "2" and "total-records" not in summary.additional_properties


def test_a_snapshot_without_a_summary_is_not_counted_as_an_empty_table(lake):
    lake.table(SALES)
    others(lake, 1)

    def edit(metadata):
        for one in metadata["snapshots"][:1]:
            one.pop("summary", None)
        return metadata

    lake.edit = edit
    run(job(lake, mode="append"), sales(row(2, 1)))
    assert "total-records" not in table(lake).current_snapshot().summary.additional_properties
    assert sink(job(lake, mode="append"))._table.live() is None


@pytest.mark.parametrize("answer", [None, (400, {"error": {"type": "x", "message": "sequence number", "code": 400}})])
def test_jobs_on_two_branches_both_commit(lake, answer):
    lake.table(SALES)
    others(lake, 1)
    first, second = (staged(job(lake, mode="append", branch=one), sales(row(n, 1))) for n, one in ((2, "a"), (3, "b")))
    asked, hook = [], second._table._committer._hook

    def overtaken(step):
        if step is Step.BEFORE_RECORD and not asked:
            asked.append(first.commit())
            lake.fault = lambda when, parts: asked.append(1) or answer if when == "before" and len(asked) == 1 else None
        hook(step)

    second._table._committer._hook = overtaken
    second.commit()
    assert (ids(lake), ids(lake, "a"), ids(lake, "b")) == ([1], [1, 2], [1, 3])


def test_a_partition_whose_column_was_dropped_is_void(lake):
    spec = PartitionSpec(
        PartitionField(2, 1000, VoidTransform(), "day"), PartitionField(1, 1001, IdentityTransform(), "id")
    )
    found = lake.table(Schema(*SALES.fields), partition_spec=spec)
    with found.update_schema(allow_incompatible_changes=True) as update:
        update.delete_column("day")
    frame = pl.LazyFrame({"id": [1, 1, None], "name": ["x", "y", "z"]})
    run(job(lake, mode="append"), frame)
    assert rows(lake) == frame.collect().to_dicts()
    run(job(lake, mode="overwritePartitions"), frame.head(1))
    assert [one["name"] for one in rows(lake)] == ["x", "z"]


def test_days_that_python_has_no_dates_for_are_partitions(lake):
    """The years 10000 and 0."""
    days = pl.Series([2_932_897, -719_529, 0], dtype=pl.Int32).cast(pl.Date)
    frame = pl.LazyFrame({"id": [1, 2, 3], "day": days, "at": days.cast(pl.Datetime("us"))})
    create = {"partitionBy": ["day", "day(at)", "hour(at)"]}
    assert run(job(lake, create=create), frame).partitions == 3
    assert run(job(lake, mode="overwritePartitions"), frame.head(1)).partitions == 1
    found = lake.catalog.load_table("sales.orders")
    held = [one for m in found.current_snapshot().manifests(found.io) for one in m.fetch_manifest_entry(found.io)]
    parts = {tuple(one.data_file.partition[n] for n in range(3)) for one in held}
    assert parts == {(2_932_897, 2_932_897, 2_932_897 * 24), (-719_529, -719_529, -719_529 * 24), (0, 0, 0)}


@pytest.mark.parametrize(
    ("create", "says"),
    [
        ({"properties": {"format-version": "3"}}, "sets format-version to '3', and only version 2 is written"),
        ({"partitionBy": ["month(day)"]}, r"partitions by month\(day\) are called day_month, and so is a column"),
        ({}, r"the columns make no Iceberg table: .*multiple fields for name s\.day.*rename one"),
    ],
)
def test_a_table_that_could_not_be_written_is_not_made(lake, create, says):
    twins = {"s": pl.struct("day"), "s.day": pl.lit(1)} if not create else {}
    frame = sales(row(1, 1)).with_columns(day_month=pl.lit(1), **twins)
    refused(Failure.USER_ERROR, says, job(lake, create=create), frame)
    assert not lake.catalog.table_exists("sales.orders")


def test_equality_deletes_stay_and_touch_no_new_rows(lake):
    found = lake.table(SALES)
    run(job(lake), sales(row(1, 1), row(2, 1)))
    keys = pa.table({"id": pa.array([1, 3], pa.int64())})
    iceberg.add_files(found.refresh(), [iceberg.equality_deletes(found, keys, {"id": 1})])
    run(job(lake, mode="append"), sales(row(3, 1), row(1, 2)))
    assert sorted(lake.read()["id"].to_list()) == [1, 2, 3]
