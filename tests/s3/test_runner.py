"""Whole attempts on a real S3 server: every input format, and stores that refuse, vanish or lie."""

from __future__ import annotations

import gzip
import signal
import time
from typing import Any

import polars as pl
import pytest

from gpuquery.api.reasons import Failure
from gpuquery.runner import stores
from tests.support import pod
from tests.support.faultproxy import Action, Rule
from tests.support.runner import plan, run
from tests.support.seaweed import free_ports

pytestmark = pytest.mark.s3
SOON = 20
"""Seconds within which a store that cannot be used must be told."""


@pytest.fixture
def made(seaweed, bucket, monkeypatch):
    """Makes plans in a bucket of their own that holds one small table."""
    for name, value in seaweed.environment.items():
        monkeypatch.setenv(name, value)
    client = seaweed.client()
    rows = pl.DataFrame({"id": [1, 2], "name": ["x", "y"]})
    store = {"endpoint": seaweed.endpoint, "region": "us-east-1", "pathStyle": True}

    def make(query: str = "SELECT id, name FROM shops", **changes: Any):
        changes.setdefault("inputs", {"shops": f"s3://{bucket}/in/*.parquet"})
        return plan(f"s3://{bucket}", query, **{"store": store, **changes})

    options = stores.scan_options(make().store, f"s3://{bucket}/in")
    rows.write_parquet(f"s3://{bucket}/in/shops.parquet", storage_options=options)
    for key in ("k=1/j=a%2Fb/x.parquet", "k=2/j=c/x.parquet"):
        rows.write_parquet(f"s3://{bucket}/hive/{key}", storage_options=options)
    client.put_object(Bucket=bucket, Key="csv/1.csv", Body=b"id,name\n1,x\n2,y\n")
    client.put_object(Bucket=bucket, Key="zip/1.csv.gz", Body=gzip.compress(b"id,name\n1,x\n2,y\n"))
    client.put_object(Bucket=bucket, Key="lines/1.ndjson", Body=b'{"id":1,"name":"x"}\n{"id":2,"name":"y"}\n')
    return make


def scan(made_plan) -> pl.DataFrame:
    options = stores.scan_options(made_plan.store, made_plan.output.uri)
    return pl.scan_parquet(f"{made_plan.output.uri}/data/", storage_options=options).collect()


@pytest.mark.parametrize("folder", ["in/*.parquet", "csv/*.csv", "zip/*.csv.gz", "lines/*.ndjson", "in/shops.parquet"])
def test_every_format_is_read_from_the_store(made, bucket, folder):
    one = made(inputs={"shops": f"s3://{bucket}/{folder}"})
    assert run(one).failure is None
    assert sorted(scan(one).rows()) == [(1, "x"), (2, "y")]


def test_a_partitioned_folder_is_read_and_a_table_of_ours_is_an_input_again(made, bucket):
    output = {"uri": f"s3://{bucket}/first", "partitionBy": ["j"]}
    one = made("SELECT id, k, j FROM shops", inputs={"shops": f"s3://{bucket}/hive/"}, output=output)
    first = run(one)
    assert first.committed is not None
    again = made("SELECT j, sum(id) AS n FROM t GROUP BY j", inputs={"t": first.committed.uri})
    assert run(again).failure is None
    assert sorted(scan(again).rows()) == [("a/b", 3), ("c", 3)]


def test_a_glob_that_matches_nothing_is_named(made, bucket):
    report = run(made(inputs={"shops": f"s3://{bucket}/nothing/*.parquet"}))
    assert report.failure is Failure.INVALID_INPUT
    assert report.message.startswith(f'input "shops": no file matches s3://{bucket}/nothing/*.parquet')


def test_a_glob_that_matches_nothing_is_told_with_what_is_there(made, bucket):
    report = run(made(inputs={"shops": f"s3://{bucket}/in/*.csv"}))
    assert f"in s3://{bucket}/in/ there is shops.parquet" in report.message
    report = run(made(inputs={"shops": f"s3://{bucket}/*.parquet"}))
    assert f"in s3://{bucket}/ there is csv/, hive/, in/, lines/, " in report.message


def test_a_file_that_is_missing_is_named(made, bucket):
    report = run(made(inputs={"shops": f"s3://{bucket}/nothing.parquet"}))
    assert report.failure is Failure.INVALID_INPUT
    assert f"s3://{bucket}/nothing.parquet" in report.message


def test_the_root_of_a_table_is_refused_with_the_uri_to_use(made, bucket):
    assert run(made()).committed is not None
    report = run(made(inputs={"shops": f"s3://{bucket}/out/"}, output={"uri": f"s3://{bucket}/other"}))
    assert report.failure is Failure.INVALID_INPUT
    assert f"s3://{bucket}/out/data/" in report.message


def test_files_of_clashing_schemas_are_named(made, bucket):
    options = stores.scan_options(made().store, f"s3://{bucket}/in")
    pl.DataFrame({"id": ["a"], "name": ["b"]}).write_parquet(f"s3://{bucket}/in/t.parquet", storage_options=options)
    report = run(made())
    assert report.failure is Failure.INVALID_INPUT
    for word in (f"s3://{bucket}/in/shops.parquet", f"s3://{bucket}/in/t.parquet", 'column "id"', "Int64", "String"):
        assert word in report.message


def timed(wanted):
    began = time.monotonic()
    report = run(wanted)
    assert time.monotonic() - began < SOON
    return report


def test_wrong_credentials_are_told_soon_and_not_shown(made, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-secret-value")
    report = timed(made())
    assert report.failure is Failure.STORAGE_AUTH
    assert "storage.secretName" in report.message
    assert "planted-secret-value" not in report.to_line()


def test_no_credentials_are_told_soon(made, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert timed(made()).failure is Failure.STORAGE_AUTH


def test_a_bucket_for_output_that_does_not_exist_is_named(made):
    report = timed(made(output={"uri": "s3://no-such-bucket/x"}))
    assert report.failure is Failure.BUCKET_NOT_FOUND
    assert "no-such-bucket" in report.message


def test_a_bucket_for_input_that_does_not_exist_is_named_with_the_one_that_was_meant(made, bucket):
    for uri in (f"s3://{bucket}x/*.parquet", f"s3://{bucket}x/shops.parquet"):
        report = timed(made(inputs={"shops": uri}))
        assert report.failure is Failure.BUCKET_NOT_FOUND
        assert f'input "shops": {uri}' in report.message
        assert f"did you mean {bucket}?" in report.message


def test_a_key_with_a_slash_in_it_is_refused_as_one(made, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA/wrong/key")
    assert timed(made()).failure is Failure.STORAGE_AUTH


def test_a_key_that_ends_with_a_line_break_is_told_and_not_shown(made, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-secret-value\n")
    report = timed(made())
    assert report.failure is Failure.STORAGE_AUTH
    assert "AWS_SECRET_ACCESS_KEY ends with a line break" in report.message
    assert "planted" not in report.to_line()


def test_https_to_a_store_without_tls_is_told_with_what_to_write(made, seaweed):
    endpoint = seaweed.endpoint.replace("http://", "https://")
    report = timed(made(store={"endpoint": endpoint, "region": "us-east-1", "pathStyle": True}))
    assert report.failure is Failure.INVALID_ENDPOINT
    assert "write http://" in report.message


def test_an_endpoint_that_nobody_answers_is_told_soon(made):
    endpoint = f"http://127.0.0.1:{free_ports(1)[0]}"
    report = timed(made(store={"endpoint": endpoint, "region": "us-east-1", "pathStyle": True}))
    assert report.failure is Failure.STORAGE_UNAVAILABLE
    assert "storage.endpoint" in report.message


def test_a_store_that_ignores_conditional_writes_is_refused_before_the_query_runs(made, proxy):
    proxy.rules = [Rule(Action.PRETEND, "PUT")]
    report = timed(made(store={"endpoint": proxy.endpoint, "region": "us-east-1", "pathStyle": True}))
    assert report.failure is Failure.UNSAFE_STORE
    assert report.query_started is None
    assert not [r for r in proxy.requests if "/out/data" in r.target]


def test_parameters_are_checked_before_any_request(made, proxy):
    wanted = made("SELECT id FROM shops", parameters={"n": {"integer": 1}},
                  store={"endpoint": proxy.endpoint, "region": "us-east-1", "pathStyle": True})  # fmt: skip
    assert run(wanted).failure is Failure.INVALID_QUERY
    assert list(proxy.requests) == []


def test_reads_survive_a_store_that_is_busy(made, proxy):
    proxy.rules = [Rule(Action.ANSWER, "GET", "/in/", times=3, status=503, code="SlowDown")]
    wanted = made(store={"endpoint": proxy.endpoint, "region": "us-east-1", "pathStyle": True})
    assert run(wanted).failure is None
    assert scan(wanted).height == 2


def test_sigterm_while_it_uploads_leaves_no_upload_and_no_file(made, seaweed, bucket, tmp_path):
    # Hashes, which no compression makes fewer, and enough of them that pieces of 8 MiB are on their way.
    n = pl.int_range(3_000_000, eager=True)
    pl.DataFrame([n.hash(seed).alias(f"h{seed}") for seed in range(4)]).write_parquet(
        tmp_path / "t.parquet", row_group_size=100_000
    )
    changes = {"store": made().store.model_dump(by_alias=True), "output": {"uri": f"s3://{bucket}/out"}}
    held = pod.held(tmp_path, f"file://{tmp_path}/t.parquet", 2_500_000, **changes)
    try:
        pod.until(lambda: seaweed.uploads(bucket))
    finally:
        began = time.monotonic()
        held.process.send_signal(signal.SIGTERM)
        code, report = held.end()
    assert time.monotonic() - began < 5, held.stderr
    assert (code, report.failure) == (1, Failure.WORKER_LOST)
    assert seaweed.uploads(bucket) == []
    assert seaweed.keys(bucket, "out/data/") == seaweed.keys(bucket, "out/_commits/") == []
