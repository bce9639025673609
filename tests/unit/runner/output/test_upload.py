"""Uploads and the sink on a local folder: bytes, row counts, empty results, limits."""

from __future__ import annotations

import io
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output import upload
from gpuquery.runner.output.commit import Step
from gpuquery.runner.output.upload import Uploads
from gpuquery.runner.parquet import footer
from tests.support.examples import examples
from tests.support.memory_store import Content, MemoryStore
from tests.support.sinks import ROWS, plan, run, run_in_process, sink

if TYPE_CHECKING:
    from pathlib import Path

TYPES = {
    "i": pl.Int64, "s": pl.String, "d": pl.Decimal(38, 4), "l": pl.List(pl.Struct({"a": pl.Int8, "b": pl.Boolean})),
    "t": pl.Datetime("us", "UTC"), "c": pl.Categorical,
}  # fmt: skip


@examples(60)
@given(rows=st.integers(0, 5000), columns=st.integers(1, 40), group=st.integers(1, 2000))
@example(rows=5000, columns=1, group=1)
def test_the_row_count_in_a_footer_is_what_pyarrow_reads(rows: int, columns: int, group: int):
    group = max(group, rows * columns // 5000)  # ten thousand pieces are seconds of writing, and no other footer
    frame = pl.DataFrame({f"c{n}": range(rows) for n in range(columns)})
    for write in (
        lambda file: frame.write_parquet(file, row_group_size=group),
        lambda file: pq.write_table(frame.to_arrow(), file, row_group_size=group),
    ):
        file = io.BytesIO()
        write(file)
        assert footer.row_count(file.getvalue()) == pq.read_metadata(io.BytesIO(file.getvalue())).num_rows == rows


def test_the_row_count_of_a_file_with_every_kind_of_type_is_found():
    file = io.BytesIO()
    pl.DataFrame({"i": [1, 2, 3]}, schema={"i": pl.Int64}).with_columns(
        pl.lit(None).cast(dtype).alias(name) for name, dtype in TYPES.items() if name != "i"
    ).write_parquet(file, metadata={"key": "value" * 1000})
    assert footer.row_count(file.getvalue()) == 3


@pytest.mark.parametrize("tail", [b"", b"PAR1", b"\0" * 20, b"\x15\x04" + b"\x02\0\0\0PAR1", b"\xff" * 9 + b"PAR1"])
def test_what_is_no_parquet_file_has_no_row_count(tail: bytes):
    with pytest.raises(footer.NotParquetError):
        footer.row_count(tail)


@examples(40)
@given(sizes=st.lists(st.integers(0, 40_000), max_size=30), seed=st.integers(0, 255))
def test_any_sequence_of_writes_arrives_whole_in_pieces_of_one_size(sizes: list[int], seed: int):
    content = Content()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upload, "PIECE", 10_000)
        patch.setattr(upload, "HOLD_LEAST", 2_000)
        uploads = Uploads(MemoryStore(content), stop=threading.Event())
        end = io.BytesIO()
        pl.DataFrame({"v": [1, 2]}).write_parquet(end)
        blobs = [bytes([(seed + n) % 256]) * size for n, size in enumerate(sizes)] + [end.getvalue()]
        file = uploads.open("x.parquet", {})
        for blob in blobs:
            file.write(blob)
        del file  # what Polars does: nothing calls close
        (staged,) = uploads.finish()
    assert (staged.rows, staged.bytes) == (2, sum(map(len, blobs)))
    ((_, pieces),) = content.uploads.values()
    assert b"".join(pieces[n] for n in sorted(pieces)) == b"".join(blobs)
    assert {len(pieces[n]) for n in sorted(pieces)[:-1]} <= {10_000}


def test_a_file_that_ends_in_the_middle_cannot_be_committed():
    uploads = Uploads(MemoryStore(Content()), stop=threading.Event())
    uploads.open("x.parquet", {}).write(b"PAR1 and then nothing")
    with pytest.raises(JobError, match=r"x\.parquet is not a whole parquet file"):
        uploads.finish()


def test_a_file_may_end_while_a_piece_of_another_is_being_handed_over(monkeypatch: pytest.MonkeyPatch):
    """The garbage collector lets go of it then, in the thread that holds the locks of the pool."""
    content = Content()
    uploads = Uploads(MemoryStore(content), stop=threading.Event())
    whole = io.BytesIO()
    pl.DataFrame({"v": [1, 2, 3]}).write_parquet(whole)
    first, second = uploads.open("a.parquet", {}), uploads.open("b.parquet", {})
    for one in (first, second):
        one.write(whole.getvalue())
    held, began = [first], ThreadPoolExecutor._adjust_thread_count
    del first, one

    def collected(pool: ThreadPoolExecutor) -> None:
        held.clear()
        began(pool)

    monkeypatch.setattr(ThreadPoolExecutor, "_adjust_thread_count", collected)
    staged: list[list[int]] = []

    def finish() -> None:
        uploads.seal(second._file)
        staged.append([file.rows for file in uploads.finish()])

    thread = threading.Thread(target=finish, daemon=True)
    thread.start()
    thread.join(30)
    assert staged == [[3, 3]], "the pool's lock is taken twice"


def test_metadata_that_begins_before_what_was_held_back_is_refused_and_not_miscounted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(upload, "PIECE", 20_000)
    monkeypatch.setattr(upload, "HOLD_LEAST", 100)
    monkeypatch.setattr(upload, "HOLD_MOST", 100)
    uploads = Uploads(MemoryStore(Content()), stop=threading.Event())
    end = io.BytesIO()
    pl.DataFrame({f"c{n}": [1] for n in range(500)}).write_parquet(end)
    uploads.open("x.parquet", {}).write(end.getvalue())
    with pytest.raises(JobError, match="too much metadata") as caught:
        uploads.finish()
    assert caught.value.failure is Failure.OUTPUT_LIMIT


def test_writers_wait_while_too_much_is_under_way():
    gate, started = threading.Event(), []

    class Slow(MemoryStore):
        def upload(self, key, upload_id, piece):
            started.append(piece.number)
            gate.wait(30)
            return "tag"

    uploads = Uploads(Slow(Content()), stop=threading.Event())
    file = uploads.open("x.parquet", {})

    def write() -> None:
        for _ in range(60):
            file.write(b"x" * upload.PIECE)

    thread = threading.Thread(target=write)
    thread.start()
    thread.join(1.0)
    assert thread.is_alive(), "sixty pieces of 8 MiB must not pile up in memory"
    assert len(started) <= upload.THREADS
    gate.set()
    thread.join(30)
    assert not thread.is_alive()


def test_a_chunk_of_many_pieces_is_not_copied_for_each_of_them(monkeypatch: pytest.MonkeyPatch):
    class Forgetful(MemoryStore):
        def upload(self, key, upload_id, piece):
            return "tag"

    monkeypatch.setattr(upload, "PIECE", 64 * 1024)
    uploads = Uploads(Forgetful(Content()), stop=threading.Event())
    file, chunk = uploads.open("x.parquet", {}), bytes(32 * upload.MIB)
    tracemalloc.start()
    try:
        file.write(chunk)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < len(chunk) / 4


def test_progress_tells_running_totals(tmp_path: Path):
    seen: list[tuple[int, int, int]] = []
    one = plan(f"file://{tmp_path}/out", partition_by=["k"])
    writer = sink(one, on_progress=lambda *totals: seen.append(totals))
    writer.preflight()
    writer.write(pl.LazyFrame({"k": [1, 2, 3], "v": [1, 2, 3]}))
    status = writer.commit()
    assert max(seen) == (3, 3, status.bytes)


@pytest.mark.parametrize("partition_by", [[], ["i"]])
def test_an_empty_result_is_readable_with_its_schema_by_every_reader(tmp_path: Path, partition_by: list[str]):
    empty = pl.LazyFrame(schema=TYPES)
    status = run(plan(f"file://{tmp_path}/out", partition_by=partition_by), empty)
    assert (status.rows, status.files, status.partitions) == (0, 1, 0)
    place = status.uri.removeprefix("file://")
    assert pl.scan_parquet(place, hive_partitioning=True).collect().schema == empty.collect_schema()
    assert pl.scan_parquet(f"{place}**/*.parquet").collect().height == 0
    table = ds.dataset(place, partitioning="hive").to_table()
    assert (table.num_rows, table.schema.names) == (0, list(TYPES))
    assert table.schema.field("i").type == pa.int64()
    rows = duckdb.sql(f"SELECT * FROM read_parquet('{place}**/*.parquet', hive_partitioning = true)")
    assert (rows.columns, rows.fetchall()) == (list(TYPES), [])


def test_an_empty_table_takes_rows_and_becomes_empty_again(tmp_path: Path):
    uri = f"file://{tmp_path}/out"
    frame = pl.LazyFrame({"k": ["a", "b"], "v": [1, 2]})
    empty = frame.filter(False)
    for mode, lf, rows in [("append", empty, 0), ("append", empty, 0), ("append", frame, 2), ("append", empty, 2),
                           ("append", frame, 4), ("overwrite", empty, 0), ("append", frame, 2)]:  # fmt: skip
        run(plan(uri, mode=mode, partition_by=["k"]), lf)
        assert pl.scan_parquet(f"{tmp_path}/out/data/").collect().height == rows
        assert set(pl.scan_parquet(f"{tmp_path}/out/data/").collect_schema()) == {"k", "v"}


def test_append_writes_the_columns_in_the_tables_order(tmp_path: Path):
    uri = f"file://{tmp_path}/out"
    run(plan(uri), pl.LazyFrame({"a": [1], "b": ["x"]}))
    run(plan(uri, mode="append"), pl.LazyFrame({"b": ["y"], "a": [2]}))
    rows = duckdb.sql(f"SELECT * FROM read_parquet('{tmp_path}/out/data/*.parquet') ORDER BY a").fetchall()
    assert rows == [(1, "x"), (2, "y")]


def test_append_of_other_types_is_refused_before_the_query_runs(tmp_path: Path):
    uri = f"file://{tmp_path}/out"
    run(plan(uri), pl.LazyFrame({"a": [1]}))
    writer = sink(plan(uri, mode="append"))
    writer.preflight()
    with pytest.raises(JobError, match="a is String in the result and Int64 in the table") as caught:
        writer.check_schema(pl.Schema({"a": pl.String}))
    assert caught.value.failure is Failure.USER_ERROR


@pytest.mark.parametrize("compression", ["zstd", "lz4", "snappy", "gzip", "uncompressed"])
def test_files_have_the_compression_that_was_asked_for(tmp_path: Path, compression: str):
    run(plan(f"file://{tmp_path}/out", compression=compression), pl.LazyFrame({"a": ["x" * 50] * 1000}))
    (file,) = (tmp_path / "out/data").glob("*.parquet")
    wanted = {"lz4": "LZ4"}.get(compression, compression.upper())
    assert pq.read_metadata(file).row_group(0).column(0).compression == wanted


def test_a_read_only_folder_is_storage_auth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "/out")

    writer = sink(plan(f"file://{tmp_path}/out"))
    monkeypatch.setattr("os.link", refuse)
    with pytest.raises(JobError) as caught:
        writer.preflight()
    assert caught.value.failure is Failure.STORAGE_AUTH


def test_a_file_system_without_hard_links_is_refused_as_unsafe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("os.link", refuse)
    with pytest.raises(JobError, match="no hard links") as caught:
        sink(plan(f"file://{tmp_path}/out")).preflight()
    assert caught.value.failure is Failure.UNSAFE_STORE


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.pwrite", refuse)
    with pytest.raises(JobError, match="No space left") as caught:
        run(plan(f"file://{tmp_path}/out"), pl.LazyFrame({"a": [1]}))
    assert caught.value.failure is Failure.SCRATCH_FULL


def test_an_overwrite_leaves_no_file_and_no_folder_of_the_old_version(tmp_path: Path):
    uri = f"file://{tmp_path}/out"
    run(plan(uri, partition_by=["k"]), pl.LazyFrame({"k": ["old"], "v": [1]}))
    run(plan(uri, mode="overwrite", partition_by=["k"]), pl.LazyFrame({"k": ["new"], "v": [1]}))
    assert [path.name for path in (tmp_path / "out/data").iterdir()] == ["k=new"]
    assert not list((tmp_path / "out").rglob("*.tmp"))
    assert not (tmp_path / "out/_staging").exists() or not list((tmp_path / "out/_staging").iterdir())


def test_six_jobs_append_to_a_local_folder_at_once_and_none_is_lost(tmp_path: Path):
    jobs = [plan(f"file://{tmp_path}/out", mode="append", partition_by=["k"]) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        versions = sorted(status.version for status in pool.map(run, jobs))
    assert versions == [1, 2, 3, 4, 5, 6]
    assert pl.scan_parquet(f"{tmp_path}/out/data/").select(pl.len()).collect().item() == 6 * 3000


@pytest.mark.parametrize("step", [Step.BEFORE_RECORD, Step.AFTER_RECORD, Step.MID_PUBLISH, Step.BEFORE_MARKER])
def test_a_killed_process_on_a_local_folder_leaves_what_the_next_attempt_completes(tmp_path: Path, step: Step):
    one = plan(f"file://{tmp_path}/out", partition_by=["k"])
    assert run_in_process(one, die_at=step, env={}) == -9
    if step in (Step.BEFORE_RECORD, Step.AFTER_RECORD):
        assert not list((tmp_path / "out").glob("data/**/*.parquet"))
    assert run(one, attempt=2).rows == 3000
    assert pl.scan_parquet(f"{tmp_path}/out/data/").sort("v").select("k", "v").collect().equals(pl.DataFrame(ROWS))
    assert not list((tmp_path / "out").rglob("*.tmp"))
