"""Whole files that an engine hands to the sink: what goes up as it is, what is written anew, and what is refused."""

from __future__ import annotations

import errno
import threading
import time
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output import scratch, spool, upload
from gpuquery.runner.output.parts import Parts
from gpuquery.runner.stores.posix import PosixStore
from tests.support.sinks import plan, run, sink

if TYPE_CHECKING:
    from pathlib import Path

    from gpuquery.runner.output.sink import Sink

FRAME = pl.DataFrame({"k": ["a", "b", None], "v": [1, 2, 3]})


@pytest.fixture(autouse=True)
def _scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(scratch, "root", lambda: tmp_path / "scratch")


def made(tmp_path: Path, schema: pl.Schema | None = None, **output: Any) -> Sink:
    one = sink(plan(f"file://{tmp_path}/out", **output))
    assert one.preflight() is None
    one.check_schema(schema or FRAME.schema)
    return one


def file(one: Sink, frame: pl.DataFrame, name: str = "part.000000.parquet", **how: Any) -> Path:
    path = one.scratch() / name
    frame.write_parquet(path, **how)
    return path


def visible(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "out/data").rglob("*.parquet"))


def test_a_file_that_is_as_the_table_wants_it_goes_up_byte_by_byte(tmp_path: Path) -> None:
    one = made(tmp_path)
    path = file(one, FRAME, compression="snappy")
    before = path.read_bytes()
    one.add(path)
    totals = one.seal()
    assert not path.exists() and not path.parent.exists()
    assert visible(tmp_path) == [], "nothing is to be seen before the commit"
    assert one.commit([totals]).rows == 3
    assert [found.read_bytes() for found in visible(tmp_path)] == [before]


def test_a_local_file_stays_until_its_bytes_are_in_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, begun, usual = threading.Event(), threading.Event(), PosixStore.upload

    def slow(self: PosixStore, *arguments: Any) -> str:
        begun.set()
        assert gate.wait(30)
        return usual(self, *arguments)

    monkeypatch.setattr(PosixStore, "upload", slow)
    one = made(tmp_path)
    path = file(one, FRAME)
    one.add(path)
    assert begun.wait(30) and path.exists()
    gate.set()
    one.seal()
    assert not path.exists()


def test_partitions_are_laid_out_and_compressed_as_the_output_says(tmp_path: Path) -> None:
    one = made(tmp_path, partition_by=["k"], compression="zstd")
    for number in range(3):
        one.add(file(one, FRAME.with_columns(v=pl.col("v") + 10 * number), compression="snappy"))
    status = one.commit([one.seal()])
    assert (status.rows, status.partitions) == (9, 3)
    back = pl.read_parquet(f"{tmp_path}/out/data/", hive_schema={"k": pl.String})
    assert sorted(back.select("k", "v").rows(), key=str) == sorted(
        [(k, v + 10 * n) for n in range(3) for k, v in FRAME.rows()], key=str
    )
    assert {pq.read_metadata(path).row_group(0).column(0).compression for path in visible(tmp_path)} == {"ZSTD"}


def test_columns_come_in_the_order_of_the_table_that_is_appended_to(tmp_path: Path) -> None:
    run(plan(f"file://{tmp_path}/out"), FRAME.lazy())
    turned = FRAME.select("v", "k")
    one = made(tmp_path, turned.schema, mode="append")
    one.add(file(one, turned))
    one.commit([one.seal()])
    assert [list(pl.read_parquet_schema(path)) for path in visible(tmp_path)] == [["k", "v"]] * 2


WANTED = {
    "naive": (pl.Series([datetime(2024, 1, 1, 12)]), pl.col("naive").dt.replace_time_zone("UTC")),
    "zone": (
        pl.Series([datetime(2024, 6, 1, 12)]).dt.replace_time_zone("Europe/Paris"),
        pl.col("zone").dt.convert_time_zone("UTC"),
    ),
    "unit": (
        pl.Series([datetime(2024, 1, 1, 0, 0, 1)], dtype=pl.Datetime("ms")), pl.col("unit").dt.cast_time_unit("ns")
    ),
    "category": (pl.Series(["x"], dtype=pl.Categorical), pl.col("category").cast(pl.String)),
    "enum": (pl.Series(["x"], dtype=pl.Enum(["x", "y"])), pl.col("enum").cast(pl.String)),
    "decimal": (pl.Series([Decimal("1.10")], dtype=pl.Decimal(18, 2)), pl.col("decimal").cast(pl.Decimal(38, 2))),
    "list": (pl.Series([["x"]], dtype=pl.List(pl.Categorical)), pl.col("list").cast(pl.List(pl.String))),
    "date": (pl.Series([date(2024, 1, 1)]), pl.col("date")),
}  # fmt: skip


@pytest.mark.parametrize("kind", WANTED)
def test_types_that_a_writer_does_not_know_come_back_as_planned(tmp_path: Path, kind: str) -> None:
    wanted = pl.DataFrame({kind: WANTED[kind][0], "n": [1]})
    one = made(tmp_path, wanted.schema)
    one.add(file(one, wanted.with_columns(WANTED[kind][1])))
    one.commit([one.seal()])
    back = pl.read_parquet(visible(tmp_path)[0])
    assert back.schema == wanted.schema and back.equals(wanted)


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        pytest.param(FRAME.drop("v"), "v is missing in place of Int64", id="a column is missing"),
        pytest.param(FRAME.with_columns(x=1), "x is Int32 in place of nothing", id="a column too many"),
        pytest.param(FRAME.cast({"v": pl.Int32}), "v is Int32 in place of Int64", id="another integer"),
        pytest.param(FRAME.cast({"v": pl.String}), "v is String in place of Int64", id="texts for numbers"),
        pytest.param(FRAME.cast({"v": pl.Float64}), "v is Float64 in place of Int64", id="floats for integers"),
    ],
)
def test_other_columns_than_planned_are_a_defect_of_the_engine(tmp_path: Path, frame: pl.DataFrame, text: str) -> None:
    one = made(tmp_path)
    one.add(file(one, frame))
    with pytest.raises(JobError, match=f"part.000000.parquet with other columns than planned: .*{text}") as caught:
        one.seal()
    assert caught.value.failure is Failure.INTERNAL_ERROR
    one.abort()
    assert not list(tmp_path.rglob("*.tmp")) and not list(tmp_path.rglob("rank-*"))


def test_a_file_that_broke_off_is_a_full_disk_if_there_is_no_room_else_a_defect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for little, failure in ((0, Failure.INTERNAL_ERROR), (1 << 60, Failure.SCRATCH_FULL)):
        monkeypatch.setattr(scratch, "LITTLE_BYTES", little)
        one = made(tmp_path)
        path = one.scratch() / "part.000000.parquet"
        path.write_bytes(b"PAR1 and then no more")
        one.add(path)
        with pytest.raises(JobError, match=r"part\.000000|scratch volume") as caught:
            one.seal()
        assert caught.value.failure is failure


@pytest.mark.parametrize(
    "fault",
    [
        OSError(errno.ENOSPC, "No space left on device", "/scratch/x"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        pl.exceptions.ComputeError("'cuda' failed: RuntimeError: cannot write: No space left on device (os error 28)"),
        RuntimeError("KvikIO: pwrite failed: ENOSPC"),
    ],
)
def test_a_full_scratch_volume_is_told_with_its_size_and_the_way_out(fault: Exception) -> None:
    error = scratch.full(fault)
    assert error is not None and error.failure is Failure.SCRATCH_FULL
    assert str(scratch.root()) in error.message and "GiB is full" in error.message
    assert "ephemeral-storage in workers.resources.limits" in error.message
    assert scratch.full(OSError(errno.EIO, "Input/output error")) is None


def test_no_folder_in_a_full_scratch_volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(scratch.tempfile, "mkdtemp", refuse)
    with pytest.raises(JobError, match="is full") as caught:
        made(tmp_path).scratch()
    assert caught.value.failure is Failure.SCRATCH_FULL


def test_adding_waits_while_uploads_are_slow_so_that_scratch_does_not_fill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()

    def slow(self: PosixStore, *_: Any) -> str:
        assert gate.wait(60)
        return "1"

    monkeypatch.setattr(PosixStore, "upload", slow)
    monkeypatch.setattr(spool, "WAITING_BYTES", 3000)
    one = made(tmp_path)
    added: list[int] = []

    def engine() -> None:
        for number in range(10):
            one.add(file(one, FRAME, f"part.{number:06d}.parquet"))
            added.append(number)

    size = file(one, FRAME).stat().st_size
    thread = threading.Thread(target=engine)
    thread.start()
    until(lambda: len(added) == 3000 // size)
    thread.join(1.0)
    assert thread.is_alive() and len(added) == 3000 // size, "the next file would be too much"
    gate.set()
    thread.join(30)
    assert not thread.is_alive() and len(added) == 10


def test_an_upload_that_fails_is_told_at_once_and_stops_who_waits_for_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: PosixStore, *_: Any) -> str:
        raise JobError(Failure.STORAGE_AUTH, "the key was withdrawn")

    monkeypatch.setattr(PosixStore, "upload", refuse)
    told: list[JobError] = []
    one = sink(plan(f"file://{tmp_path}/out"), on_fault=told.append)
    one.preflight()
    one.check_schema(FRAME.schema)
    one.add(file(one, FRAME))
    until(lambda: bool(told))
    for again in (lambda: one.add(file(one, FRAME)), one.wait, one.seal):
        with pytest.raises(JobError, match="withdrawn"):
            again()
    assert [error.failure for error in told] == [Failure.STORAGE_AUTH]


def test_a_large_file_goes_up_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "PIECE", 10_000)
    monkeypatch.setattr(spool, "PIECE", 10_000)
    monkeypatch.setattr(upload, "HOLD_LEAST", 2000)
    frame = pl.DataFrame({"k": [f"{n * 7919}" for n in range(50_000)], "v": range(50_000)})
    one = made(tmp_path)
    path = file(one, frame)
    before = path.read_bytes()
    one.add(path)
    one.commit([one.seal()])
    assert visible(tmp_path)[0].read_bytes() == before


def until(condition: Any, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


class Collector:
    """A sink that notes what it is given, and when."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.rows: dict[str, int] = {}
        self.fault = fault

    def add(self, path: Path) -> None:
        if self.fault is not None:
            raise self.fault
        assert path.name not in self.rows, "once is enough"
        self.rows[path.name] = pl.read_parquet(path).height


def test_parts_are_taken_while_the_library_writes_and_only_whole_ones(tmp_path: Path) -> None:
    folder, collector = tmp_path / "parts", Collector()
    parts = Parts(folder, collector)
    parts.start()  # the library makes the folder later
    folder.mkdir()
    FRAME.write_parquet(folder / "part.0.000000.parquet")
    whole = (folder / "part.0.000000.parquet").read_bytes()
    (folder / "part.0.000001.parquet").write_bytes(whole[: len(whole) // 2])
    until(lambda: "part.0.000000.parquet" in collector.rows)
    FRAME.write_parquet(folder / "part.0.000002.parquet")
    FRAME.head(1).write_parquet(folder / "part.0.000003.parquet")
    until(lambda: "part.0.000002.parquet" in collector.rows)
    assert set(collector.rows) == {"part.0.000000.parquet", "part.0.000002.parquet"}
    (folder / "part.0.000001.parquet").write_bytes(whole)
    parts.finish()
    assert collector.rows == {f"part.0.{n:06d}.parquet": (1 if n == 3 else 3) for n in range(4)}


def test_the_last_part_of_a_series_waits_for_the_end_even_if_it_looks_whole(tmp_path: Path) -> None:
    collector = Collector()
    parts = Parts(tmp_path, collector)
    parts.start()
    FRAME.write_parquet(tmp_path / "part.0.000000.parquet")
    FRAME.write_parquet(tmp_path / "part.1.000000.parquet")
    FRAME.write_parquet(tmp_path / "part.1.000001.parquet")
    until(lambda: collector.rows)
    assert list(collector.rows) == ["part.1.000000.parquet"]
    parts.finish()
    assert len(collector.rows) == 3


def test_a_fault_of_the_sink_is_told_at_once_and_raised_at_the_end(tmp_path: Path) -> None:
    told: list[BaseException] = []
    parts = Parts(tmp_path, Collector(JobError(Failure.STORAGE_AUTH, "no")), on_fault=told.append)
    parts.start()
    for number in range(2):
        FRAME.write_parquet(tmp_path / f"part.{number:06d}.parquet")
    until(lambda: bool(told))
    with pytest.raises(JobError, match="no"):
        parts.finish()


def test_a_folder_without_parts_is_no_fault(tmp_path: Path) -> None:
    parts = Parts(tmp_path / "none", Collector())
    parts.start()
    parts.finish()
    assert parts.added == 0


def test_columns_whose_names_are_patterns_to_polars_keep_their_values(tmp_path: Path) -> None:
    first = pl.DataFrame({"^v$": [1], "*": ["a"], "v": [2]})
    run(plan(f"file://{tmp_path}"), first.lazy())
    again = first.select(pl.col("^\\*$"), pl.col("v"), pl.col("^\\^v\\$$"))
    assert again.columns == ["*", "v", "^v$"]
    expect = [{"unique": ["^v$", "v"]}, {"notNull": ["*"]}]
    run(plan(f"file://{tmp_path}", mode="append", expect=expect), again.with_columns(pl.col("v") + 1).lazy())
    rows = ds.dataset(tmp_path / "data").to_table().sort_by("v").to_pylist()
    assert rows == [{"^v$": 1, "*": "a", "v": 2}, {"^v$": 1, "*": "a", "v": 3}]
