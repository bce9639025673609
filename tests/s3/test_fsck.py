"""Checks of tables in S3: the checksums of uploads, and uploads that the bucket has dropped."""

from __future__ import annotations

import json

import polars as pl
import pytest

from gpuquery.cli.main import main
from tests.support.sinks import plan, run, run_in_process

pytestmark = pytest.mark.s3
WIDE = pl.LazyFrame({"v": pl.int_range(3_000_000, eager=True).shuffle(seed=1)})
"""More bytes than one piece has."""


@pytest.fixture
def table(seaweed, bucket):
    """What the commands take for one table on the real server."""
    return f"s3://{bucket}/out", "--endpoint", seaweed.endpoint


def checked(table, capsys, *more: str) -> tuple[int, dict]:
    """Exit code and result of a check."""
    code = main(["fsck", *table, "-o", "json", *more])
    return code, json.loads(capsys.readouterr().out)


def test_bytes_that_are_not_those_of_the_upload_are_found(seaweed, bucket, table, capsys):
    made = plan(table[0], endpoint=seaweed.endpoint)
    run(made, WIDE)
    code, told = checked(table, capsys, "--deep")
    assert (code, told["compared"], told["rows"], told["findings"]) == (0, 1, 3_000_000, [])
    (key,) = seaweed.keys(bucket, "out/data/")
    client = seaweed.client()
    body = bytearray(client.get_object(Bucket=bucket, Key=key)["Body"].read())
    assert len(body) > 9 << 20, "it takes two pieces"
    body[5 << 20] ^= 1
    client.put_object(Bucket=bucket, Key=key, Body=bytes(body))
    code, told = checked(table, capsys)
    assert code == 0, "the size is right"
    code, told = checked(table, capsys, "--deep")
    assert code == 1
    assert told["findings"][0]["what"].endswith("of version 1 has other bytes than were uploaded")


def test_a_version_whose_upload_the_bucket_has_dropped_is_taken_back(seaweed, bucket, table, capsys):
    run(plan(table[0], endpoint=seaweed.endpoint))
    made = plan(table[0], endpoint=seaweed.endpoint, mode="append")
    assert run_in_process(made, die_at="after-record", env=seaweed.environment) == -9
    for upload in seaweed.client().list_multipart_uploads(Bucket=bucket)["Uploads"]:
        seaweed.client().abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    code, told = checked(table, capsys)
    assert code == 1
    assert "version 2, committed by job ns/job, can never be published" in told["findings"][0]["what"]
    code, told = checked(table, capsys, "--void", "2")
    assert (code, told["versions"], told["rows"], told["findings"]) == (0, 1, 3000, [])
    assert run(plan(table[0], endpoint=seaweed.endpoint, mode="append")).version == 2
