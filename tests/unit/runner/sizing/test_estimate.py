"""Estimates against what Polars measures once the columns that are really read are in memory."""

from __future__ import annotations

import datetime as dt
import gzip
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuquery.api.reasons import Failure
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner import stores
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.parquet import footer
from gpuquery.runner.sizing import Estimate, estimate, parquet, reads
from tests.support.examples import examples

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = StoreAccess()
NO_MORE_PER_CELL = 4 + 1 / 8 + 1
"""Bytes that our layout has beyond Polars' for a cell: a text's offset, validity, a boolean's byte."""

TYPES: dict[str, tuple[pa.DataType, Callable[[int], Any]]] = {
    "int8": (pa.int8(), lambda n: n % 100),
    "int64": (pa.int64(), lambda n: n * 977),
    "float": (pa.float64(), lambda n: n / 3),
    "bool": (pa.bool_(), lambda n: n % 3 == 0),
    "date": (pa.date32(), lambda n: dt.date(2000, 1, 1) + dt.timedelta(days=n % 4000)),
    "moment": (pa.timestamp("us"), lambda n: dt.datetime(2000, 1, 1) + dt.timedelta(seconds=n)),
    "decimal": (pa.decimal128(15, 2), lambda n: Decimal(n) / 100),
    "short text": (pa.string(), lambda n: "ab"[n % 2]),
    "text": (pa.string(), lambda n: f"text number {n * 7919 % 1000}" * (1 + n % 4)),
    "long text": (pa.string(), lambda n: f"{n:0300d}"),
    "bytes": (pa.binary(), lambda n: b"x" * (n % 50)),
    "list": (pa.list_(pa.int64()), lambda n: list(range(n % 5))),
    "list of texts": (pa.list_(pa.string()), lambda n: [f"item {n}"] * (n % 3)),
    "struct": (pa.struct({"a": pa.int64(), "b": pa.string()}), lambda n: {"a": n, "b": f"value {n % 10}"}),
    "flat struct": (pa.struct({"a": pa.int64(), "b": pa.float32()}), lambda n: {"a": n, "b": n / 2}),
}


@st.composite
def files(draw: st.DrawFn) -> tuple[pa.Table, dict[str, Any]]:
    """A table and the options to write it with."""
    rows = draw(st.integers(0, 3000))
    columns = {}
    for number, kind in enumerate(draw(st.lists(st.sampled_from(sorted(TYPES)), min_size=1, max_size=6))):
        dtype, make = TYPES[kind]
        distinct = draw(st.sampled_from([1, 20, 100_000]))
        nulls = draw(st.sampled_from([0, 2, 10]))  # every so manieth
        values = [None if nulls and n % nulls == 0 else make(n % distinct) for n in range(rows)]
        columns[f"c{number}"] = pa.array(values, dtype)
    options = {
        "use_dictionary": draw(st.booleans()),
        "compression": draw(st.sampled_from(["none", "snappy", "zstd", "gzip"])),
        "row_group_size": draw(st.sampled_from([7, 100, 1000, 100_000])),
        "data_page_version": draw(st.sampled_from(["1.0", "2.0"])),
        "write_statistics": draw(st.booleans()),
    }
    return pa.table(columns), options


@examples(60)
@given(files(), st.booleans(), st.data())
def test_never_under_by_more_than_two_and_over_only_by_what_the_layout_adds(
    made: tuple[pa.Table, dict[str, Any]], told: bool, data: st.DataObject
) -> None:
    table, options = made
    columns = data.draw(st.lists(st.sampled_from(table.column_names), min_size=1, unique=True))
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder) / "x.parquet"
        pq.write_table(table, path, **options)
        if not told:  # as files of writers without size statistics
            patch.setattr(footer, "_chars", lambda meta: None)
        frame = pl.scan_parquet(path).select(columns)
        got = estimate(frame, HERE)
        want = frame.collect().estimated_size()
    assert (got.files, got.rows) == (1, table.num_rows)
    assert got.input_bytes >= want / 2
    assert got.input_bytes <= 2 * want + table.num_rows * len(columns) * (NO_MORE_PER_CELL + 2) + 64


def write(folder: Path, name: str, columns: dict[str, Any], **options: Any) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, **options)
    return path


def test_a_dictionary_hides_nothing(tmp_path: Path) -> None:
    texts = [f"{'x' * 200}{n % 3}" for n in range(50_000)]
    path = write(tmp_path, "x.parquet", {"s": texts})
    assert path.stat().st_size < 100_000
    assert estimate(pl.scan_parquet(path), HERE).input_bytes == pytest.approx(50_000 * 205, rel=0.01)


def test_only_columns_that_the_plan_reads_count_and_a_filter_reads_its_own(tmp_path: Path) -> None:
    write(tmp_path, "x.parquet", {name: list(range(1000)) for name in "abcd"})
    frame = pl.scan_parquet(tmp_path / "x.parquet")

    def columns(query: pl.LazyFrame) -> float:
        return estimate(query, HERE).input_bytes / 1000 / 8.125

    assert columns(frame) == 4
    assert columns(frame.select("a")) == 1
    assert columns(frame.filter(pl.col("b") > 5).select("a")) == 2
    assert columns(frame.select(pl.len())) == 0
    assert columns(frame.join(frame.select("a", pl.col("b").alias("z")), on="a").select("a", "z")) == 2, "shared scan"


@pytest.mark.parametrize(
    ("make", "value", "other"),
    [
        pytest.param(lambda n: n, 450, 950, id="integers"),
        pytest.param(lambda n: dt.date(2000, 1, 1) + dt.timedelta(days=n), dt.date(2001, 3, 26), None, id="days"),
        pytest.param(lambda n: dt.datetime(2000, 1, 1, n // 60, n % 60), dt.datetime(2000, 1, 1, 7, 30), None,
                     id="moments"),
        pytest.param(lambda n: Decimal(n) / 100, Decimal("4.50"), None, id="decimals"),
        pytest.param(lambda n: f"{n:04d}", "0450", "0950", id="texts"),
    ],
)  # fmt: skip
def test_row_groups_that_a_filter_surely_leaves_out_do_not_count(
    tmp_path: Path, make: Callable[[int], Any], value: Any, other: Any
) -> None:
    columns = {"k": pa.array([make(n) for n in range(1000)]), "v": pa.array(range(1000), pa.int64())}
    path = write(tmp_path, "x.parquet", columns, row_group_size=100)
    frame = pl.scan_parquet(path)

    def rows(*tests: pl.Expr) -> int:
        scan = reads.view(frame.filter(*tests).select("v")).scans[0]
        table = parquet.size(scan, parquet_files(path), HERE)
        assert table.rows == 1000
        # It may count too much, never too little: every row that passes is in a row group that counts.
        assert table.read >= frame.filter(*tests).select(pl.len()).collect().item()
        return table.read

    k, value, other = pl.col("k"), pl.lit(value), other and pl.lit(other)
    assert rows(k == value) == 100
    assert rows(k < value) == 500
    assert rows(k >= value) == 600
    assert rows(k.is_between(value, value)) == 100
    assert rows(value <= k) == 600
    assert rows((k < value) | (k > value)) == 1000, "what is no AND leaves nothing out"
    assert rows(k != value) == 1000
    if other is not None:
        assert rows(k > value, k < other) == 600


def test_bounds_of_files_that_are_not_read_in_full_count_too(tmp_path: Path) -> None:
    for number in range(60):
        day = dt.date(2000, 1, 1) + dt.timedelta(days=number)
        write(tmp_path, f"{number:02d}.parquet", {"k": [day] * 10, "v": list(range(10))}, row_group_size=5)
    frame = pl.scan_parquet(tmp_path / "*.parquet").filter(pl.col("k") < dt.date(2000, 1, 11))
    assert estimate(frame, HERE).rows == 600
    assert estimate(frame.select("v"), HERE).input_bytes == 100 * (4.125 + 8.125)


def parquet_files(path: Path) -> Any:
    return stores.files(str(path), HERE)


def test_numbers_that_could_be_nan_leave_nothing_out(tmp_path: Path) -> None:
    path = write(tmp_path, "x.parquet", {"k": [1.0, 2.0, float("nan")], "v": [1, 2, 3]}, row_group_size=3)
    frame = pl.scan_parquet(path).filter(pl.col("k") > 5.0).select("v")
    assert frame.collect().height == 1, "Polars orders NaN above all numbers"
    assert estimate(frame, HERE).input_bytes > 0


def test_many_files_are_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(120):
        write(tmp_path, f"{number:03d}.parquet", {"a": list(range(100)), "s": [f"{n:020d}" for n in range(100)]})
    frame = pl.scan_parquet(tmp_path / "*.parquet")
    full = estimate(frame, HERE)
    monkeypatch.setattr(parquet, "ALL_FILES", 50)
    sampled = estimate(frame, HERE)
    assert (full.files, full.rows) == (120, 12_000)
    assert sampled.files == 120
    assert sampled.rows == pytest.approx(full.rows, rel=0.05)
    assert sampled.input_bytes == pytest.approx(full.input_bytes, rel=0.05)
    assert "footers of 32 of 120 files" in sampled.basis


def test_folders_of_a_hive_table_are_columns_and_others_are_left_out(tmp_path: Path) -> None:
    for year in (1, 2, 3):
        write(tmp_path, f"y={year}/x.parquet", {"a": list(range(100))})
    frame = pl.scan_parquet(tmp_path, hive_partitioning=True)
    assert estimate(frame, HERE).rows == 300
    one = estimate(frame.filter(pl.col("y") == 2), HERE)
    assert (one.files, one.rows, one.input_bytes) == (1, 100, 1625)


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "ndjson"])
def test_text_files_are_sized_by_their_beginning(tmp_path: Path, ending: str) -> None:
    frame = pl.DataFrame({
        "a": range(200_000), "s": [f"some text {n % 1000}, quoted" for n in range(200_000)], "b": [1.5] * 200_000
    })  # fmt: skip
    path = tmp_path / f"x.{ending}"
    if ending == "ndjson":
        frame.write_ndjson(path)
        lazy = pl.scan_ndjson(path)
    else:
        data = frame.write_csv(separator=";").encode()
        path.write_bytes(gzip.compress(data) if ending.endswith("gz") else data)
        lazy = pl.scan_csv(path, separator=";")
    got = estimate(lazy.select("s", "a"), HERE)
    assert got.rows == pytest.approx(200_000, rel=0.1)
    assert got.input_bytes == pytest.approx(lazy.select("s", "a").collect().estimated_size(), rel=0.25)


def test_the_working_set_grows_with_what_blocks(tmp_path: Path) -> None:
    write(tmp_path, "x.parquet", {"a": list(range(1000)), "b": list(range(1000))})
    frame = pl.scan_parquet(tmp_path / "x.parquet")

    def peak(query: pl.LazyFrame) -> float:
        got = estimate(query, HERE)
        return got.peak_bytes / got.input_bytes

    assert peak(frame.filter(pl.col("a") > 3).with_columns(pl.col("b") * 2)) == 0
    assert peak(frame.sort("a")) == pytest.approx(3, rel=0.01)
    assert peak(frame.unique()) == pytest.approx(6, rel=0.01)
    assert peak(frame.group_by("a").agg(pl.col("b").sum())) == pytest.approx(4.5, rel=0.01)
    assert peak(frame.join(frame.with_columns(pl.col("b") + 1), on="a")) > 1.5


def test_a_plan_that_cannot_be_seen_is_estimated_coarsely_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        write(tmp_path, f"{number}.parquet", {"a": list(range(100)), "b": list(range(100))})

    def hidden(self: Any) -> Any:
        raise NotImplementedError("scan with hive partitioning")

    monkeypatch.setattr(reads._Visit, "view", hidden)
    got = estimate(pl.scan_parquet(tmp_path / "*.parquet").select("a").sort("a"), HERE)
    assert (got.files, got.rows) == (5, 500)
    assert got.input_bytes == pytest.approx(500 * 8.125, rel=0.01)
    assert got.peak_bytes > got.input_bytes
    assert got.basis.startswith("coarse")


def test_a_file_that_is_gone_or_no_parquet_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = write(tmp_path, "x.parquet", {"a": [1]})
    frame = pl.scan_parquet(path, schema={"a": pl.Int64})
    for body in (b"no parquet at all, but long enough", b"more metadata than bytes: \xff\xff\0\0PAR1"):
        path.write_bytes(body)
        with pytest.raises(JobError, match=r"x\.parquet is no parquet file") as caught:
            estimate(frame, HERE)
        assert caught.value.failure is Failure.INVALID_INPUT
    path.unlink()
    with pytest.raises((JobError, FileNotFoundError)):
        estimate(frame, HERE)


def test_an_empty_table_and_no_files_at_all_are_zero(tmp_path: Path) -> None:
    path = write(tmp_path, "x.parquet", {"s": pa.array([], pa.string())})
    nothing: Estimate = estimate(pl.scan_parquet(path), HERE)
    assert (nothing.rows, nothing.input_bytes, nothing.peak_bytes) == (0, 0, 0)
    assert estimate(pl.LazyFrame({"a": [1]}).sort("a"), HERE).files == 0
