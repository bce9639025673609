"""Delta tables in a real S3 server, written by deltalake, which is also the reference for their rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from gpuquery.api.reasons import Failure
from gpuquery.api.spec import Input
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs.tables import delta
from gpuquery.runner.inputs.tables.delta import reading
from tests.support import delta_tables as d

if TYPE_CHECKING:
    from pathlib import Path

    from gpuquery.runner.inputs import Resolved
    from tests.support.seaweed import Seaweed

pytestmark = pytest.mark.s3
ROWS = pa.table(
    {
        "k": ["a b", "c%20d", "ä/ö", "x=y", None, "a b"],
        "day": pa.array([0, 1, 2, None, 4, 0], pa.date32()),
        "v": pa.array([1, 2, 3, 4, 5, 6], pa.int64()),
        "at": pa.array([datetime(2026, 1, n, tzinfo=UTC) for n in range(1, 7)], pa.timestamp("us", "UTC")),
        "price": pa.array([Decimal("1.50")] * 6, pa.decimal128(10, 2)),
    }
)


@pytest.fixture
def store(seaweed: Seaweed, bucket: str, monkeypatch: pytest.MonkeyPatch) -> tuple[StoreAccess, dict[str, str]]:
    """How we reach the server, and how deltalake does."""
    for name, value in seaweed.environment.items():
        monkeypatch.setenv(name, value)
    options = {**seaweed.environment, "AWS_ENDPOINT_URL": seaweed.endpoint, "AWS_ALLOW_HTTP": "true"}
    return StoreAccess(endpoint=seaweed.endpoint, path_style=True), options


def resolved(uri: str, access: StoreAccess, pinned: str = "", **which: Any) -> Resolved:
    return delta.resolve(Input.model_validate({"name": "t", "uri": uri, "delta": which}), access, pinned)


def rows(uri: str, access: StoreAccess, pinned: str = "", **which: Any) -> list[Any]:
    return sorted(resolved(uri, access, pinned, **which).frame(access).collect(engine="streaming").rows(), key=str)


def reference(uri: str, options: dict[str, str], version: int | None = None) -> list[Any]:
    table = DeltaTable(uri, version=version, storage_options=options).to_pyarrow_table()
    return sorted((tuple(row.values()) for row in table.to_pylist()), key=str)


@pytest.mark.parametrize("scans", [0, 64], ids=["told apart by places", "told apart by scans"])
def test_a_partitioned_table_has_the_rows_that_deltalake_reads_at_every_version(store, bucket, scans, monkeypatch):
    monkeypatch.setattr(reading, "MAX_SCANS", scans)
    access, options = store
    uri = f"s3://{bucket}/some lake/orders"
    for number in range(3):
        write_deltalake(uri, ROWS.slice(number), partition_by=["k", "day"], mode="append", storage_options=options)
    table = DeltaTable(uri, storage_options=options)
    table.create_checkpoint()
    table.delete("v = 2")
    write_deltalake(uri, ROWS.slice(0, 1), mode="append", storage_options=options)
    for version in range(5):
        assert rows(uri, access, version=version) == reference(uri, options, version)
    assert rows(uri, access) == reference(uri, options)
    assert rows(uri + "/", access, resolved(uri, access, version=1).snapshot) == reference(uri, options, 1)


def test_the_version_of_a_moment_is_told_by_the_times_of_the_store(store, bucket):
    access, options = store
    uri = f"s3://{bucket}/t"
    write_deltalake(uri, ROWS, storage_options=options)
    now = datetime.now(UTC)
    assert resolved(uri, access, timestamp=(now + timedelta(hours=1)).isoformat()).snapshot.endswith("@0")
    with pytest.raises(JobError, match="no version is as old as"):
        resolved(uri, access, timestamp=(now - timedelta(days=1)).isoformat())


def test_deletion_vectors_and_the_files_of_a_shallow_clone_are_read_from_the_store(store, bucket, seaweed, tmp_path):
    access, _ = store
    table = pa.table({"v": list(range(10))})
    (vector,) = d.in_file(tmp_path, [[0, 9]])
    adds = [d.add(tmp_path, "a b.parquet", table, deletionVector=vector), d.add(tmp_path, "c.parquet", table)]
    adds[1]["add"]["path"] = f"s3a://{bucket}/source/c.parquet"
    d.commit(tmp_path, 0, d.protocol("deletionVectors"), d.metadata([d.field("v", "long")]), *adds)
    put(seaweed, bucket, "t", tmp_path)
    seaweed.client().copy_object(Bucket=bucket, Key="source/c.parquet", CopySource=f"{bucket}/t/c.parquet")
    assert rows(f"s3://{bucket}/t", access) == sorted([(v,) for v in [*range(1, 9), *range(10)]], key=str)


def put(server: Seaweed, bucket: str, prefix: str, folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            key = f"{prefix}/{file.relative_to(folder)}"
            server.client().put_object(Bucket=bucket, Key=key, Body=file.read_bytes())


def test_what_is_wrong_is_told_with_the_way_out(store, bucket, seaweed, monkeypatch):
    access, options = store
    uri = f"s3://{bucket}/t"
    for number in range(2):
        write_deltalake(uri, ROWS.slice(number), mode="append", storage_options=options)

    def refusal(uri: str, **which: Any) -> JobError:
        with pytest.raises(JobError) as caught:
            resolved(uri, access, **which)
        return caught.value

    assert "there is no version 7: versions 0 to 1 can be read" in refusal(uri, version=7).message
    assert "there is nothing in" in refusal(f"s3://{bucket}/other").message
    assert "it is no Delta table, for it has no folder _delta_log/; there is t/" in refusal(f"s3://{bucket}").message
    gone = next(key for key in seaweed.keys(bucket, "t/") if key.endswith(".parquet"))
    seaweed.client().delete_object(Bucket=bucket, Key=gone)
    told = refusal(uri)
    assert told.failure is Failure.INVALID_INPUT
    assert "version 1 needs a file that is gone" in told.message
    assert gone in told.message
    assert refusal(f"s3://{bucket}-no-such/t").failure is Failure.BUCKET_NOT_FOUND
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    assert refusal(uri).failure is Failure.STORAGE_AUTH
