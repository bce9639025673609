"""The sink on a real S3 server: what readers see, who wins races, and what survives crashes and outages."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import uuid4

import polars as pl
import pytest

from gpuquery.api.reasons import Failure
from gpuquery.api.spec import Input
from gpuquery.plan.plan import JobRef
from gpuquery.runner import inputs, stores
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output.commit import Step
from gpuquery.runner.output.record import CommitRecord
from gpuquery.runner.stores.base import Location
from gpuquery.runner.stores.s3.client import s3_client
from gpuquery.runner.stores.s3.table import S3Store
from tests.support.faultproxy import Action, Rule
from tests.support.sinks import ROWS, abort_in_process, plan, run, run_in_process, sink

pytestmark = pytest.mark.s3
FRAME = pl.LazyFrame(ROWS)


def scan(made) -> pl.DataFrame:
    options = stores.scan_options(made.store, made.output.uri)
    return pl.scan_parquet(f"{made.output.uri}/data/", storage_options=options).collect()


def files(seaweed, bucket: str) -> list[str]:
    return seaweed.keys(bucket, "out/data/")


@pytest.fixture
def made(seaweed, bucket):
    """Makes plans for one table on the real server."""
    return lambda **output: plan(f"s3://{bucket}/out", endpoint=seaweed.endpoint, **output)


def test_a_result_is_invisible_until_it_is_committed_and_whole_afterwards(seaweed, bucket, made):
    one = made(partition_by=["k"])
    writer = sink(one)
    assert writer.preflight() is None
    writer.write(FRAME)
    assert files(seaweed, bucket) == []
    assert len(seaweed.uploads(bucket)) == 3
    status = writer.commit()
    assert (status.version, status.files, status.rows, status.partitions) == (1, 3, 3000, 3)
    assert scan(one).sort("v").select("k", "v").equals(pl.DataFrame(ROWS))
    assert seaweed.keys(bucket, "out/_staging/") == []
    assert seaweed.uploads(bucket) == []


def test_a_result_that_is_not_as_expected_leaves_no_upload(seaweed, bucket, made):
    one = made(partition_by=["k"], expect=[{"unique": ["v"]}, {"notNull": ["k"]}, {"rows": "> 3000"}])
    writer = sink(one)
    assert writer.preflight() is None
    writer.write(FRAME)
    with pytest.raises(JobError, match=r"2 of 3 expectations .*k is null in 1,000 of 3,000 rows.* has 3,000 rows"):
        writer.commit()
    writer.abort()
    assert seaweed.uploads(bucket) == []
    assert seaweed.keys(bucket, "out/") == []


def test_five_attempts_of_one_job_race_and_one_commit_stands(seaweed, bucket, made):
    one = made(partition_by=["k"])
    barrier = threading.Barrier(5)

    def attempt(number: int):
        racer = sink(one, attempt=7)  # the same number: no attempt may fence another one
        racer.preflight()
        racer.write(FRAME)
        barrier.wait()
        return racer.commit()

    with ThreadPoolExecutor(5) as pool:
        results = list(pool.map(attempt, range(5)))
    assert {result.version for result in results} == {1}
    assert len(files(seaweed, bucket)) == 3
    assert scan(one).height == 3000
    assert seaweed.uploads(bucket) == []


def test_six_jobs_append_at_once_and_none_is_lost(made):
    jobs = [made(mode="append") for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        versions = sorted(status.version for status in pool.map(run, jobs))
    assert versions == [1, 2, 3, 4, 5, 6]
    assert scan(jobs[0]).height == 6 * 3000


@pytest.mark.parametrize("step", [Step.BEFORE_RECORD, Step.AFTER_RECORD, Step.MID_PUBLISH, Step.BEFORE_MARKER])
def test_a_process_killed_at_any_step_leaves_what_the_next_attempt_completes(seaweed, bucket, made, step):
    uid = str(uuid4())
    run(made(mode="append", partition_by=["k"]), FRAME.with_columns(pl.lit("old").alias("k")))
    one = made(mode="overwrite", partition_by=["k"], uid=uid)
    assert run_in_process(one, die_at=step, env=seaweed.environment) == -9
    if step in (Step.BEFORE_RECORD, Step.AFTER_RECORD):
        assert scan(one)["k"].unique().to_list() == ["old"]
    status = run(one, attempt=2)
    assert status.rows == 3000
    assert scan(one).sort("v").select("k", "v").equals(pl.DataFrame(ROWS))
    assert seaweed.uploads(bucket) == []
    assert seaweed.keys(bucket, "out/_staging/") == []
    assert run(one, FRAME.filter(False), attempt=3) == status, "a job that has committed never runs again"


def test_many_that_update_one_object_lose_no_update(seaweed, bucket, proxy):
    proxy.rules = [Rule(Action.SWALLOW, "PUT", "_n.json", times=3)]
    place, access = (
        Location(f"s3://{bucket}/out", bucket, "out"),
        plan(f"s3://{bucket}/out", endpoint=proxy.endpoint).store,
    )
    store = S3Store(place, access)
    seen = set()

    def bump(number: int) -> None:
        def change(body: bytes | None) -> bytes | None:
            told = set(json.loads(body or b"[]"))
            return None if number in told else json.dumps(sorted({*told, number})).encode()

        store.update("_n.json", change)
        seen.add(number)

    store.parallel(bump, range(24))
    assert json.loads(store.get("_n.json")) == sorted(seen) == list(range(24))


@pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (501, "NotImplemented")])
def test_a_store_that_lets_nobody_move_the_pointer_gets_the_result_all_the_same(bucket, proxy, status, code, caplog):
    proxy.rules = [Rule(Action.ANSWER, "PUT", "_current.json", status=status, code=code)]
    assert run(plan(f"s3://{bucket}/out", endpoint=proxy.endpoint)).rows == 3000
    assert "the pointer _current.json is not moved" in caplog.text


def test_a_process_killed_after_its_record_is_published_by_another_job(seaweed, bucket, made):
    assert run_in_process(made(), die_at=Step.AFTER_RECORD, env=seaweed.environment) == -9
    assert files(seaweed, bucket) == []
    other = made(mode="append")
    run(other)
    assert scan(other).height == 6000


def test_error_if_exists_is_known_before_the_query_runs(made):
    run(made())
    with pytest.raises(JobError, match="version 1 already, committed by job ns/job") as caught:
        sink(made()).preflight()
    assert caught.value.failure is Failure.OUTPUT_EXISTS


def test_error_if_exists_is_checked_again_at_the_commit(seaweed, bucket, made):
    late = sink(made())
    late.preflight()
    late.write(FRAME)
    run(made())
    with pytest.raises(JobError) as caught:
        late.commit()
    assert caught.value.failure is Failure.OUTPUT_EXISTS
    late.abort()
    assert seaweed.uploads(bucket) == []
    assert len(files(seaweed, bucket)) == 1


def test_abort_from_another_thread_ends_a_write_within_seconds_and_leaves_nothing(seaweed, bucket, made):
    aborted = abort_in_process(made(), env=seaweed.environment)
    assert aborted.seconds < 6
    assert aborted.write.startswith(Failure.WORKER_LOST)
    assert "told to stop" in aborted.commit
    assert seaweed.uploads(bucket) == []
    assert files(seaweed, bucket) == []


def test_a_query_that_fails_half_way_leaves_nothing(seaweed, bucket, made):
    def fail(batch: pl.DataFrame) -> pl.DataFrame:
        if batch["v"].max() > 500_000:
            raise ZeroDivisionError("the user's mistake")
        return batch

    lf = pl.LazyFrame({"v": range(1_000_000)}).map_batches(fail, streamable=True, schema={"v": pl.Int64})
    with pytest.raises(JobError, match="the user's mistake") as caught:
        run(made(), lf)
    assert caught.value.failure is Failure.USER_ERROR
    assert seaweed.uploads(bucket) == []
    assert seaweed.keys(bucket, "out/") == []


@pytest.mark.slow
def test_an_outage_of_ten_seconds_in_the_middle_of_a_write_is_survived(bucket, proxy):
    one = plan(f"s3://{bucket}/out", endpoint=proxy.endpoint)
    writer = sink(one)
    writer.preflight()

    def away() -> None:
        while not proxy.count("PUT", "partNumber"):
            time.sleep(0.01)
        proxy.down()
        time.sleep(10)
        proxy.up()

    thread = threading.Thread(target=away)
    thread.start()
    begun = time.monotonic()
    lf = pl.LazyFrame({"v": range(12_000_000)}).with_columns(pl.col("v").hash().alias("h"))
    writer.write(lf)
    assert writer.commit().rows == 12_000_000
    thread.join()
    assert 10 <= time.monotonic() - begun < 60
    assert scan(one)["v"].sum() == sum(range(12_000_000))


def test_credentials_that_expire_in_the_middle_are_storage_auth_and_are_not_tried_again(seaweed, bucket, proxy):
    one = plan(f"s3://{bucket}/out", endpoint=proxy.endpoint)
    proxy.rules = [Rule(Action.ANSWER, "PUT", "partNumber", status=403, code="ExpiredToken")]
    begun = time.monotonic()
    with pytest.raises(JobError, match="ExpiredToken") as caught:
        run(one)
    assert caught.value.failure is Failure.STORAGE_AUTH
    assert time.monotonic() - begun < 10
    assert proxy.count("PUT", "partNumber") == 1
    assert seaweed.uploads(bucket) == []


@pytest.mark.parametrize(
    "rule",
    [
        Rule(Action.ANSWER, "PUT", "partNumber", times=4),
        Rule(Action.ANSWER, "POST", times=3, status=500, code="InternalError"),
        Rule(Action.CLOSE, times=3),
        Rule(Action.SWALLOW, "POST", "uploadId", times=2),
        Rule(Action.SWALLOW, "PUT", "_commits/.*json", times=1),
        Rule(Action.SWALLOW, "PUT", "partNumber", times=1),
    ],
    ids=["503 on parts", "500 on POST", "closed connections", "a completion's answer lost", "the commit's answer lost",
         "a part's answer lost"],
)  # fmt: skip
def test_a_passing_fault_is_survived(bucket, proxy, rule):
    one = plan(f"s3://{bucket}/out", endpoint=proxy.endpoint, partition_by=["k"])
    proxy.rules = [rule]
    status = run(one)
    assert (status.version, status.rows) == (1, 3000)
    assert scan(one).height == 3000
    assert rule.times == 0


def test_after_a_fault_while_publishing_abort_drops_nothing_that_the_record_needs(bucket, proxy):
    one = plan(f"s3://{bucket}/out", endpoint=proxy.endpoint, partition_by=["k"])
    proxy.rules = [Rule(Action.ANSWER, "POST", "uploadId", status=403, code="AccessDenied")]
    with pytest.raises(JobError) as caught:
        run(one)  # calls abort
    assert caught.value.failure is Failure.STORAGE_AUTH
    proxy.rules = []
    assert run(one, attempt=2).rows == 3000
    assert scan(one).height == 3000


def test_a_store_that_ignores_conditional_writes_is_refused(bucket, proxy):
    proxy.rules = [Rule(Action.PRETEND, "PUT", "probe")]
    with pytest.raises(JobError, match="ignores conditional writes") as caught:
        sink(plan(f"s3://{bucket}/out", endpoint=proxy.endpoint)).preflight()
    assert caught.value.failure is Failure.UNSAFE_STORE


@pytest.mark.parametrize("case", ["secret", "bucket", "endpoint", "hang"])
def test_what_cannot_work_is_said_within_seconds(seaweed, bucket, proxy, monkeypatch, case):
    uri, endpoint, failure, text = f"s3://{bucket}/out", proxy.endpoint, Failure.STORAGE_UNAVAILABLE, "endpoint"
    match case:
        case "secret":
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
            failure, text = Failure.STORAGE_AUTH, "credentials"
        case "bucket":
            uri, text = "s3://no-such-bucket/out", "'no-such-bucket' does not exist"
            failure = Failure.BUCKET_NOT_FOUND
        case "endpoint":
            proxy.down()
        case "hang":
            proxy.rules = [Rule(Action.HANG, seconds=60)]
    begun = time.monotonic()
    with pytest.raises(JobError, match=text) as caught:
        sink(plan(uri, endpoint=endpoint)).preflight()
    assert caught.value.failure is failure
    assert time.monotonic() - begun < 12
    assert "not-the-secret" not in str(caught.value)


def test_uploads_of_a_job_that_died_a_day_ago_are_dropped_but_not_those_of_a_living_one(
    seaweed, bucket, made, monkeypatch
):
    from gpuquery.runner.output import sweep

    for _ in range(2):
        dead = sink(made(mode="append"))
        dead.preflight()
        dead.write(FRAME)
    assert len(seaweed.uploads(bucket)) == 2
    run(made(mode="append"))
    assert len(seaweed.uploads(bucket)) == 2
    monkeypatch.setattr(sweep, "STALE_SECONDS", -5)
    run(made(mode="append"))
    assert seaweed.uploads(bucket) == []
    with pytest.raises(JobError, match="given up for dead"):
        dead.commit()


def test_an_upload_of_another_program_is_left_alone(seaweed, bucket, made, monkeypatch):
    from gpuquery.runner.output import sweep

    monkeypatch.setattr(sweep, "STALE_SECONDS", -5)
    seaweed.client().create_multipart_upload(Bucket=bucket, Key="out/data/other.parquet")
    run(made())
    assert seaweed.uploads(bucket) == ["out/data/other.parquet"]


def test_a_forged_record_touches_nothing_outside_of_the_table_and_is_named(seaweed, bucket, made):
    run(made(), FRAME)
    client = s3_client(made().store)
    client.put_object(Bucket=bucket, Key="theirs/precious.txt", Body=b"ten years")
    forged = CommitRecord(
        version=2, job=JobRef(namespace="ns", name="x", uid=str(uuid4())), attempt=1, mode="append",
        remove=("../../theirs/precious.txt",), created=datetime.now(UTC),
    )  # fmt: skip
    key = "_commits/00000000000000000002.json"
    client.put_object(Bucket=bucket, Key=f"out/{key}", Body=forged.model_dump_json().encode())
    before = seaweed.keys(bucket, "")
    with pytest.raises(JobError, match=rf"{key} .*remove\[0\] is '\.\./\.\./theirs/precious\.txt'") as caught:
        run(made(mode="append"), FRAME)
    assert caught.value.failure is Failure.UNSAFE_STORE
    assert [name for name in seaweed.keys(bucket, "") if "/_staging/" not in name] == before
    assert seaweed.uploads(bucket) == []


@pytest.mark.parametrize("ending", ["/", "/*.parquet"])
def test_the_root_of_a_table_is_refused_as_an_input_with_the_uri_to_use(made, ending):
    table = made()
    run(table, FRAME)
    root = table.output.uri
    item = Input(name="t", uri=f"{root}{ending}", format="parquet", hivePartitioned=False)
    with pytest.raises(JobError, match=f"is the root of a table; its rows are under {root}/data/"):
        inputs.frames(inputs.resolve([item], table.store), table.store)
