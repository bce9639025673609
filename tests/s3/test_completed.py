"""Uploads that are completed as soon as a file is whole, on a real S3 server: for tables whose metadata names files."""

from __future__ import annotations

import contextlib
import io
import threading

import polars as pl
import pyarrow.parquet as pq
import pytest

from gpuquery.runner import stores
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output import upload
from gpuquery.runner.output.tables.permit import Permit
from gpuquery.runner.output.upload import Uploads, Wanted
from tests.support.sinks import plan

pytestmark = pytest.mark.s3
UID = "6f1ab7c2-0000-4000-8000-000000000001"


@pytest.fixture
def store(seaweed, bucket):
    made = plan(f"s3://{bucket}/t", endpoint=seaweed.endpoint)
    uri = made.output.uri
    opened, _ = stores.of(uri).table(stores.locate(uri), made.store, staging="_staging/u/1", stop=threading.Event())
    return opened


def written(store, stop: threading.Event, rows: int) -> tuple[Uploads, pl.DataFrame]:
    uploads = Uploads(store, stop=stop, wanted=Wanted("", completes=True, statistics=8))
    frame = pl.DataFrame({"v": range(rows)}).with_columns(pl.col("v").hash().alias("h"))
    with uploads.open("part-6f1ab7c2-1-00000-00000-0a0b0c0d.parquet", {}) as file:
        frame.write_parquet(file, compression="uncompressed")  # type: ignore[call-overload]
    return uploads, frame


@pytest.mark.parametrize("rows", [10, 2_000_000], ids=["one request", "several pieces"])
def test_a_whole_file_is_an_object_before_any_commit(seaweed, bucket, store, rows):
    uploads, frame = written(store, threading.Event(), rows)
    (staged,) = uploads.finish()
    assert (staged.rows, staged.upload_id, staged.pieces) == (rows, "", ())
    assert seaweed.uploads(bucket) == [] and seaweed.keys(bucket, "t/") == [f"t/{staged.path}"]
    body = store.get(staged.path)
    assert len(body) == staged.bytes and pq.read_table(io.BytesIO(body)).equals(frame.to_arrow())
    assert staged.statistics is not None and staged.statistics[0].most is not None
    assert (staged.statistics[0].values, staged.statistics[0].most.value) == (rows, rows - 1)


def test_pieces_that_arrive_in_any_order_make_one_object(seaweed, bucket, store, monkeypatch):
    monkeypatch.setattr(upload, "PIECE", upload.SMALL_PIECE)
    real, turns = type(store).upload, threading.Semaphore(0)

    def late(self, key, upload_id, piece):
        if piece.number == 1:  # the first one arrives last
            turns.acquire(timeout=30)
        tag = real(self, key, upload_id, piece)
        if piece.number == 3:
            turns.release()
        return tag

    monkeypatch.setattr(type(store), "upload", late)
    uploads, frame = written(store, threading.Event(), 2_000_000)
    (staged,) = uploads.finish()
    assert pq.read_table(io.BytesIO(store.get(staged.path))).equals(frame.to_arrow())


@pytest.mark.parametrize("rows", [10, 2_000_000], ids=["one request", "several pieces"])
def test_abandoning_removes_objects_only_where_that_is_allowed(seaweed, bucket, store, rows):
    stop = threading.Event()
    uploads, _ = written(store, stop, rows)
    uploads.finish()
    stop.set()
    uploads.abandon(store, 5, remove=False)
    assert len(seaweed.keys(bucket, "t/")) == 1
    uploads.abandon(store, 5)
    assert seaweed.keys(bucket, "t/") == [] and seaweed.uploads(bucket) == []


def test_of_twenty_processes_at_once_one_gets_the_permit(store):
    got: list[str] = []

    def want(number: int) -> None:
        permit = Permit(UID, 1)
        if number % 2:
            got.extend(["void"] if permit.void(store) else [])
        else:
            with contextlib.suppress(JobError):
                permit.take(store)
                got.append("commit")

    threads = [threading.Thread(target=want, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert got == ["commit"] or set(got) == {"void"}
