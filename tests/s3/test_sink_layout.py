"""Partition layout on a real S3 server, where awkward values become keys: what three readers make of it, and limits."""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs
import pytest

from gpuquery.api.reasons import Failure
from gpuquery.runner import stores
from gpuquery.runner.failures.errors import JobError
from tests.support.sinks import plan, run
from tests.unit.runner.output.test_hive import AWKWARD

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.s3


@pytest.fixture
def table(seaweed, bucket):
    """The plan of a table whose rows have every awkward value as partition."""
    made = plan(f"s3://{bucket}/out", endpoint=seaweed.endpoint, partition_by=["k"])
    run(made, pl.LazyFrame({"k": AWKWARD, "n": range(len(AWKWARD))}))
    return made


def test_polars_reads_every_value_back_from_s3(table):
    options = stores.scan_options(table.store, table.output.uri)
    for place in (f"{table.output.uri}/data/", f"{table.output.uri}/data/**/*.parquet"):
        lf = pl.scan_parquet(place, hive_partitioning=True, hive_schema={"k": pl.String()}, storage_options=options)
        assert lf.select("n", "k").sort("n").collect().rows() == list(enumerate(AWKWARD))


def test_pyarrow_reads_every_value_back_from_s3(seaweed, table):
    server = pyarrow.fs.S3FileSystem(
        access_key=os.environ["AWS_ACCESS_KEY_ID"],
        secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        endpoint_override=seaweed.endpoint.removeprefix("http://"),
        scheme="http",
        region="us-east-1",
    )
    layout = ds.HivePartitioning(pa.schema([("k", pa.string())]), segment_encoding="uri")
    folder = f"{table.output.uri.removeprefix('s3://')}/data"
    rows = ds.dataset(folder, filesystem=server, partitioning=layout).to_table(columns=["n", "k"]).sort_by("n")
    assert [(row["n"], row["k"]) for row in rows.to_pylist()] == list(enumerate(AWKWARD))


def test_duckdb_reads_every_value_back_from_the_same_keys(seaweed, bucket, table, tmp_path: Path):
    # DuckDB reaches S3 only with an extension that its package does not carry, so it gets a copy, key by key.
    for key in seaweed.keys(bucket, "out/data/"):
        target = tmp_path / key
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(seaweed.client().get_object(Bucket=bucket, Key=key)["Body"].read())
    source = f"read_parquet('{tmp_path}/**/*.parquet', hive_partitioning = true, hive_types_autocast = false)"
    assert duckdb.sql(f"SELECT n, k FROM {source} ORDER BY n").fetchall() == list(enumerate(AWKWARD))


def test_an_empty_result_is_readable_from_s3(seaweed, bucket):
    made = plan(f"s3://{bucket}/out", endpoint=seaweed.endpoint, partition_by=["k"])
    empty = pl.LazyFrame(schema={"k": pl.Date, "v": pl.Decimal(38, 2)})
    assert run(made, empty).rows == 0
    options = stores.scan_options(made.store, made.output.uri)
    assert pl.scan_parquet(f"{made.output.uri}/data/", storage_options=options).collect().equals(empty.collect())


def test_a_key_that_s3_cannot_hold_is_refused_with_the_limit_and_leaves_nothing(seaweed, bucket):
    made = plan(f"s3://{bucket}/out", endpoint=seaweed.endpoint, partition_by=["k"])
    with pytest.raises(JobError, match=r"at most 1024 bytes, .* 'data/k=yyy") as caught:
        run(made, pl.LazyFrame({"k": ["short", "y" * 1000], "v": [1, 2]}))
    assert caught.value.failure is Failure.OUTPUT_LIMIT
    assert seaweed.uploads(bucket) == []
    assert seaweed.keys(bucket) == []


@pytest.mark.slow
@pytest.mark.faults
def test_ten_thousand_partitions_are_committed_within_bounded_memory_and_files(seaweed, bucket):
    made = plan(f"s3://{bucket}/out", endpoint=seaweed.endpoint, partition_by=["k"])
    rows = 200_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        status = run(made, pl.LazyFrame({"v": range(rows)}).with_columns(k=pl.col("v") % 10_000))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (status.files, status.partitions, status.rows) == (10_000, 10_000, rows)
    assert len(seaweed.keys(bucket, "out/data/")) == 10_000
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 1024, f"{grown:.0f} MiB"
