"""Footers: read by our own parser, held against pyarrow's reading of the same file."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
from decimal import Decimal
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuquery.runner.parquet import footer, thrift
from gpuquery.runner.parquet.footer import NotParquetError, TooLargeError

COLUMNS: dict[str, list[Any]] = {
    "id": [1, None, 3, 4],
    "s": ["a", "bcd", None, "efgh"],
    "d": [Decimal("1.25"), Decimal("-2.50"), None, Decimal("9.99")],
    "day": [dt.date(2020, 1, 1), dt.date(2021, 1, 1), None, dt.date(1969, 1, 1)],
    "l": [["x"], [], None, ["yy", "zzz"]],
    "t": [{"a": 1, "b": "q"}, None, {"a": 2, "b": "r"}, {"a": 3, "b": None}],
    "flag": [True, False, None, True],
}


def written(columns: dict[str, Any] | None = None, **options: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns or COLUMNS), out, **options)
    return out.getvalue()


def meta_of(data: bytes) -> bytes:
    return footer.metadata(data)


@pytest.mark.parametrize(
    "options",
    [{}, {"row_group_size": 1}, {"use_dictionary": False}, {"compression": "none"}, {"version": "1.0"}],
    ids=str,
)  # fmt: skip
def test_a_footer_says_what_pyarrow_reads(options: dict[str, Any]) -> None:
    data = written(**options)
    ours, theirs = footer.parse(meta_of(data)), pq.read_metadata(io.BytesIO(data))
    assert ours.rows == theirs.num_rows
    assert [group.rows for group in ours.groups] == [
        theirs.row_group(number).num_rows for number in range(theirs.num_row_groups)
    ]
    for number, group in enumerate(ours.groups):
        for at, (path, chunk) in enumerate(group.chunks.items()):
            column = theirs.row_group(number).column(at)
            assert ".".join(path) == column.path_in_schema
            assert (chunk.values, chunk.compressed) == (column.num_values, column.total_compressed_size)
            assert chunk.uncompressed == column.total_uncompressed_size
            assert chunk.nulls == (column.statistics.null_count if column.statistics else None)
    assert {".".join(path) for path in ours.leaves} == {column.path for column in theirs.schema}


def test_texts_are_counted_as_they_are_in_memory_whether_or_not_they_lie_in_a_dictionary() -> None:
    texts = ["x" * 100] * 5000 + [None] * 5000
    told = footer.parse(meta_of(written({"s": texts}))).groups[0].under("s")[0]
    assert told.uncompressed < 10_000
    assert told.chars == 500_000
    out = io.BytesIO()
    pl.DataFrame({"s": [f"{number:0100d}" for number in range(5000)]}).write_parquet(out)  # no size statistics
    plain = footer.parse(meta_of(out.getvalue())).groups[0].under("s")[0]
    assert plain.chars is None or 500_000 <= plain.chars <= 520_000


def test_the_row_count_is_found_in_files_of_the_same_and_of_other_schemas() -> None:
    counter = footer.RowCounter()
    one, two = {"a": list(range(7))}, {"a": ["x"] * 300, "b": [1.5] * 300}
    for columns, rows in ((one, 7), (one, 7), (two, 300), (one, 7), ({"a": [5] * 70_000}, 70_000)):
        assert counter.count(meta_of(written(columns))) == rows


def test_a_few_columns_are_picked_as_they_are_read_in_full() -> None:
    for options in ({}, {"row_group_size": 1}, {"use_dictionary": False}, {"write_statistics": False}):
        meta = meta_of(written(**options))
        picked = footer.pick(meta, ["id", "s", "of no file", "day"], 4)
        assert picked is not None
        for ours, full in zip(picked, footer.parse(meta).groups, strict=True):
            assert ours.rows == full.rows
            assert set(ours.chunks) == {("id",), ("s",), ("day",)}
            for path, chunk in ours.chunks.items():
                assert (chunk.least, chunk.most, chunk.nulls) == (
                    full.chunks[path].least, full.chunks[path].most, full.chunks[path].nulls
                )  # fmt: skip


def test_a_text_that_looks_like_a_column_is_noticed() -> None:
    meta = meta_of(written({"id": [1, 2], "s": ["\x19\x18\x02id", "\x19\x18\x02id" + "\x00" * 9]}))
    assert footer.pick(meta, ["id"], 2) is None
    assert footer.pick(meta, ["s"], 2)


def test_metadata_longer_than_what_was_read_is_asked_for_again() -> None:
    data = written({f"column{number}": [number] for number in range(500)})
    with pytest.raises(TooLargeError):
        footer.metadata(data[-footer.TAIL :])
    assert footer.parse(meta_of(data)).rows == 1


@pytest.mark.parametrize("data", [b"", b"PAR1", b"x" * 100, b"\xff" * 20 + b"\x14\0\0\0PAR1", b"\x14\0\0\0PAR1"])
def test_what_is_no_parquet_file_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(NotParquetError):
        footer.parse(footer.metadata(data))


@given(st.binary(max_size=200))
def test_broken_metadata_raises_nothing_else(data: bytes) -> None:
    assert footer.pick(data, ["a"], 1) in (None, [])
    for read in (thrift.decode, footer.parse, footer.RowCounter().count):
        try:
            read(data)
        except ValueError:
            continue


@given(st.data())
def test_a_torn_footer_raises_nothing_else(data: st.DataObject) -> None:
    meta = bytearray(meta_of(written()))
    for _ in range(data.draw(st.integers(1, 8))):
        meta[data.draw(st.integers(0, len(meta) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(NotParquetError):
        footer.pick(bytes(meta), ["id", "s"], 4)
        footer.parse(bytes(meta[: data.draw(st.integers(0, len(meta)))]))
