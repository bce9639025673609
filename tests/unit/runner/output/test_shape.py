"""`output.files`: where files are cut and joined, how rows are sorted, what the metadata says. pyarrow reads it all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output import scratch, shape, upload
from tests.support.sinks import plan, run, sink

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gpuquery.runner.output.sink import Sink

ROWS = 40_000
FRAME = pl.DataFrame({"k": [n % 3 for n in range(ROWS)], "v": range(ROWS)}).with_columns(h=pl.col("v").hash())
"""13 bytes of a row and more do not compress."""
PART_ROWS = 1_000
PARTS = [FRAME.slice(start, PART_ROWS) for start in range(0, ROWS, PART_ROWS)]


@pytest.fixture(autouse=True)
def _scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(scratch, "root", lambda: tmp_path / "scratch")


def made(tmp_path: Path, **output: Any) -> Any:
    return plan(f"file://{tmp_path}/out", **output)


def handed_over(one: Sink, frames: Sequence[pl.DataFrame]) -> None:
    """Do as an engine that writes part files."""
    one.preflight()
    one.check_schema(FRAME.schema)
    folder = one.scratch()
    for number, frame in enumerate(frames):
        path = folder / f"part.{number:06d}.parquet"
        frame.write_parquet(path)
        one.add(path)
    one.commit([one.seal()])


def files(tmp_path: Path) -> list[pq.ParquetFile]:
    return [pq.ParquetFile(file) for file in sorted((tmp_path / "out/data").rglob("*.parquet"))]


def values(tmp_path: Path, column: str = "v") -> list[Any]:
    return [value for file in files(tmp_path) for value in file.read().column(column).to_pylist()]


def target(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Make the target smaller than what a user can ask for, so that a test writes little."""
    monkeypatch.setattr(shape.Files, "target", property(lambda _: size))


def test_small_files_of_an_engine_are_joined_up_to_the_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    target(monkeypatch, 200_000)
    handed_over(sink(made(tmp_path, files={"target_bytes": "1M"})), PARTS)
    sizes = [file.metadata.num_rows for file in files(tmp_path)]
    assert 3 <= len(sizes) <= 8, sizes
    assert sorted(values(tmp_path)) == list(range(ROWS))


def test_a_large_file_of_an_engine_is_cut_into_files_of_the_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    target(monkeypatch, 100_000)
    handed_over(sink(made(tmp_path, files={"target_bytes": "1M"})), [FRAME])
    sizes = [file.stat().st_size for file in (tmp_path / "out/data").rglob("*.parquet")]
    assert len(sizes) >= 4
    assert all(50_000 < size < 150_000 for size in sizes[:-1]), sizes
    assert sorted(values(tmp_path)) == list(range(ROWS))


def test_a_result_of_the_engine_cpu_is_cut_near_the_target(tmp_path: Path):
    rows = 400_000  # Polars cuts after 122,880 rows at the earliest
    run(
        made(tmp_path, files={"target_bytes": "1M"}),
        pl.LazyFrame({"v": range(rows)}).with_columns(h=pl.col("v").hash()),
    )
    sizes = [file.metadata.num_rows for file in files(tmp_path)]
    assert [size * 16 for size in sizes[:-1]] == [pytest.approx(4_000_000, rel=0.1)] * (len(sizes) - 1)
    assert len(sizes) == 2
    assert values(tmp_path) == list(range(rows))


def test_parts_of_an_engine_make_one_file_in_each_partition_and_not_one_for_each_part(tmp_path: Path):
    handed_over(sink(made(tmp_path, partition_by=["k"])), PARTS)
    assert [file.metadata.num_rows for file in files(tmp_path)] == [13334, 13333, 13333]
    assert sorted(values(tmp_path)) == list(range(ROWS))


def test_gathered_files_do_not_wait_for_each_other_when_scratch_has_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("gpuquery.runner.output.spool._most", lambda: 30_000)
    handed_over(sink(made(tmp_path, partition_by=["k"])), PARTS[:12])
    assert sorted(values(tmp_path)) == list(range(12 * PART_ROWS))


@pytest.mark.parametrize(
    ("sort_by", "want"),
    [
        pytest.param(["t"], [None, None, 1, 2, 2, 3], id="nulls come first"),
        pytest.param(["t desc"], [3, 2, 2, 1, None, None], id="with desc nulls come last"),
        pytest.param(["t asc"], [None, None, 1, 2, 2, 3], id="asc can be said"),
    ],
)
@pytest.mark.parametrize("engine", ["cpu", "parts"])
def test_rows_of_a_file_are_sorted(tmp_path: Path, monkeypatch, sort_by: list[str], want: list[Any], engine: str):
    frame = pl.DataFrame({"t": [2, None, 3, 1, None, 2], "v": range(6)})
    monkeypatch.setattr(f"{__name__}.FRAME", frame)
    one = made(tmp_path, files={"sort_by": sort_by})
    if engine == "cpu":
        run(one, frame.lazy())
    else:
        handed_over(sink(one), [frame[:3], frame[3:]])
    assert values(tmp_path, "t") == want


def test_rows_are_sorted_in_every_partition_by_several_columns(tmp_path: Path):
    files_ = {"sort_by": ["g", "h desc"]}
    frame = FRAME.with_columns(g=pl.col("v") % 7)
    run(made(tmp_path, partition_by=["k"], files=files_), frame.lazy())
    read = [file.read().select(["g", "h"]) for file in files(tmp_path)]
    assert [table.sort_by([("g", "ascending"), ("h", "descending")]).equals(table) for table in read] == [True] * 3
    assert sorted(values(tmp_path)) == list(range(ROWS))


def test_row_groups_have_the_rows_that_were_asked_for(tmp_path: Path):
    run(made(tmp_path, files={"row_group_rows": 9_000}), FRAME.lazy())
    meta = files(tmp_path)[0].metadata
    assert [meta.row_group(n).num_rows for n in range(meta.num_row_groups)] == [9_000] * 4 + [4_000]


def test_a_higher_level_makes_smaller_files(tmp_path: Path):
    text = pl.LazyFrame({"s": [f"{n * 7919 % 1000} {n % 17} some words" for n in range(20_000)]})
    sizes = {}
    for level in (1, 19):
        run(made(tmp_path / str(level), files={"compression_level": level}), text)
        sizes[level] = sum(f.stat().st_size for f in (tmp_path / str(level)).rglob("part-*.parquet"))
    assert sizes[19] < sizes[1]


@pytest.mark.parametrize(
    ("asked", "min_max", "nulls"), [("none", False, 1), ("minMax", True, 1), ("full", True, 1)], ids=str
)
def test_statistics_are_those_that_were_asked_for_and_nulls_are_always_counted(
    tmp_path: Path, asked: str, min_max: bool, nulls: int
):
    one = made(tmp_path, files={"statistics": asked}, expect=[{"notNull": ["b"]}])
    run(one, pl.LazyFrame({"a": [1, None, 3], "b": ["x", "y", "z"]}))
    found = files(tmp_path)[0].metadata.row_group(0).column(0).statistics
    assert (found.has_min_max, found.null_count) == (min_max, nulls)
    if min_max:
        assert (found.min, found.max) == (1, 3)


def test_a_file_of_an_engine_is_written_anew_where_its_metadata_may_differ_from_what_was_asked(tmp_path: Path):
    handed_over(sink(made(tmp_path, files={"row_group_rows": 9_000})), [FRAME])
    assert files(tmp_path)[0].metadata.num_row_groups == 5
    assert pa.table(files(tmp_path)[0].read()).num_rows == ROWS


@pytest.mark.parametrize(
    ("sort_by", "said"),
    [
        ("w", "sortBy names 'w', which the result does not have"),
        ("l", "sortBy names 'l' of type List"),
        ("k", "sortBy names 'k', which output.partitionBy makes a folder"),
    ],
)
def test_what_cannot_be_sorted_is_refused_before_the_query_runs(tmp_path: Path, sort_by: str, said: str):
    one = sink(made(tmp_path, partition_by=["k"], files={"sort_by": [sort_by]}))
    with pytest.raises(JobError, match=said) as caught:
        one.check_schema(pl.Schema({"k": pl.Int64, "l": pl.List(pl.Int64), "v": pl.Int64}))
    assert caught.value.failure is Failure.USER_ERROR


@pytest.mark.parametrize("skewed", [False, True], ids=["a thousand partitions", "one that has nearly all rows"])
def test_the_bytes_and_files_that_a_rank_holds_do_not_grow_with_partitions_or_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skewed: bool
):
    held: list[tuple[int, int]] = []
    usual = upload.Uploads.write

    def watched(self: upload.Uploads, file: Any, data: bytes) -> None:
        usual(self, file, data)
        unfinished = [one for one in list(self._files) if not one.sealed and one.held]
        held.append((len(unfinished), sum(one.held for one in unfinished)))

    monkeypatch.setattr(upload.Uploads, "write", watched)
    monkeypatch.setattr(upload, "PIECE", 1 << 20)
    monkeypatch.setattr(upload, "HOLD_MOST", 1 << 20)
    rows = 3_000_000 if skewed else 20_000
    k = (pl.col("v") % 1000 == 0).cast(pl.Int64) if skewed else pl.col("v") % 1000
    lf = pl.LazyFrame({"v": range(rows)}).with_columns(k=k, h=pl.col("v").hash())
    done = run(made(tmp_path, partition_by=["k"]), lf)
    assert (done.rows, done.partitions) == (rows, 2 if skewed else 1000)
    most_files, most_bytes = max(held), max(size for _, size in held)
    assert most_files[0] <= 64
    assert most_bytes <= 8 << 20, "less than two pieces for each file that Polars has open"
