"""Estimates of files in a real S3 server."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gpuquery.api.reasons import Failure
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner import stores
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.sizing import estimate
from gpuquery.runner.stores.base import Part

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.seaweed import Seaweed

pytestmark = pytest.mark.s3
ROWS = 100


def access(server: Seaweed, bucket: str) -> StoreAccess:
    return StoreAccess(endpoint=server.endpoint, path_style=True)


def put(server: Seaweed, bucket: str, key: str, *, wide: int = 0) -> None:
    made = io.BytesIO()
    columns = {"a": list(range(ROWS)), "s": [f"{n:020d}" for n in range(ROWS)]}
    more = {f"a column with a rather long name {n}": [n] * ROWS for n in range(wide)}
    pq.write_table(pa.table(columns | more), made)
    server.client().put_object(Bucket=bucket, Key=key, Body=made.getvalue())


def frame(server: Seaweed, bucket: str, glob: str, **options: object) -> pl.LazyFrame:
    uri = f"s3://{bucket}/{glob}"
    return pl.scan_parquet(uri, storage_options=stores.scan_options(access(server, bucket), uri), **options)  # type: ignore[arg-type]


def test_files_of_all_names_and_folders_are_found(seaweed: Seaweed, bucket: str) -> None:
    names = [f"t/y={year}/p {part}%20é.parquet" for year in (1, 2) for part in range(4)]
    for name in names:
        put(seaweed, bucket, name)
    got = estimate(frame(seaweed, bucket, "t/", hive_partitioning=True).select("a", "s"), access(seaweed, bucket))
    assert (got.files, got.rows) == (8, 8 * ROWS)
    assert got.input_bytes == round(8 * ROWS * (8.125 + 24.125))
    one = estimate(frame(seaweed, bucket, names[0].replace("[", "[[]")), access(seaweed, bucket))
    assert (one.files, one.rows) == (1, ROWS)


@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_files_of_several_buckets_are_sized_like_those_of_one(seaweed: Seaweed, bucket: str, format: str) -> None:
    other = f"{bucket}-two"
    seaweed.client().create_bucket(Bucket=other)
    for place in (bucket, other):
        put(seaweed, place, "t/a.parquet")
        seaweed.client().put_object(Bucket=place, Key="t/a.csv", Body=b"a,s\n" + b"1,some text\n" * ROWS)
    uris = [f"s3://{place}/t/a.{format}" for place in (bucket, other)]
    scan = pl.scan_parquet if format == "parquet" else pl.scan_csv
    lazy = scan(uris, storage_options=stores.scan_options(access(seaweed, bucket), uris[0]))
    got = estimate(lazy, access(seaweed, bucket))
    assert (got.files, got.rows) == (2, 2 * ROWS)
    alone = estimate(
        scan(uris[:1], storage_options=stores.scan_options(access(seaweed, bucket), uris[0])), access(seaweed, bucket)
    )
    assert got.input_bytes == 2 * alone.input_bytes > 0 and got.basis == alone.basis


def test_a_long_footer_costs_a_second_read(seaweed: Seaweed, bucket: str) -> None:
    put(seaweed, bucket, "wide.parquet", wide=600)
    assert estimate(frame(seaweed, bucket, "wide.parquet"), access(seaweed, bucket)).rows == ROWS


def test_csv_is_sized_by_its_first_bytes(seaweed: Seaweed, bucket: str) -> None:
    body = b"a,s\n" + b"1,some text\n" * 300_000
    seaweed.client().put_object(Bucket=bucket, Key="x.csv", Body=body)
    uri = f"s3://{bucket}/x.csv"
    lazy = pl.scan_csv(uri, storage_options=stores.scan_options(access(seaweed, bucket), uri))
    got = estimate(lazy, access(seaweed, bucket))
    assert got.rows == pytest.approx(300_000, rel=0.01)
    assert got.stored_bytes == len(body)


@pytest.mark.parametrize("fault", ["wrong key", "no key", "gone"])
def test_faults_have_their_classes_and_tell_no_secret(
    seaweed: Seaweed, bucket: str, fault: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for part in range(6):
        put(seaweed, bucket, f"t/{part}.parquet")
    paths = [f"s3://{bucket}/t/{part}.parquet" for part in range(6)]
    if fault == "wrong key":
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    elif fault == "no key":
        for name in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    else:
        seaweed.client().delete_object(Bucket=bucket, Key="t/3.parquet")

    def look() -> None:
        files = stores.files(paths[0], access(seaweed, bucket))
        files.sizes(paths)
        files.read([Part(path, 0, 10) for path in paths], lambda part, data: data)

    with pytest.raises(JobError) as caught:
        look()
    assert "not-the-secret" not in caught.value.message
    if fault == "gone":
        assert caught.value.failure is Failure.INVALID_INPUT
        assert "t/3.parquet" in caught.value.message
    else:
        assert caught.value.failure is Failure.STORAGE_AUTH
