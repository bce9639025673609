"""Counts of a footer: what does not agree is named, what agrees passes, whoever wrote the file."""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gpuquery.runner.parquet import elements, footer, thrift
from gpuquery.runner.parquet.counts import Counts, DamagedError
from gpuquery.runner.parquet.footer import NotParquetError

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = 300
TABLE = pa.table(
    {
        "a": range(ROWS),
        "s": [None if n % 7 == 0 else f"x{n % 50}" for n in range(ROWS)],
        "t": [{"x": n, "y": [n] * (n % 3)} for n in range(ROWS)],
        "l": [[n] * (n % 4) for n in range(ROWS)],
        "z": [n / 3 for n in range(ROWS)],
    }
)


def of_pyarrow(table: pa.Table, **options: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()


def of_polars(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pl.DataFrame(table).write_parquet(out, row_group_size=100)
    return out.getvalue()


def of_duckdb(table: pa.Table) -> bytes:
    with duckdb.connect() as connection, tempfile.NamedTemporaryFile() as file:
        connection.register("t", table)
        connection.execute(f"COPY t TO '{file.name}' (FORMAT parquet, ROW_GROUP_SIZE 2048)")
        return Path(file.name).read_bytes()


WRITERS: dict[str, Callable[[pa.Table], bytes]] = {
    "pyarrow": lambda table: of_pyarrow(table, row_group_size=100),
    "pyarrow, all there is": lambda table: of_pyarrow(
        table, row_group_size=100, write_page_index=True, data_page_version="2.0",
        sorting_columns=[pq.SortingColumn(0)], bloom_filter_options={"a": True},
    ),
    "pyarrow, nothing more": lambda table: of_pyarrow(table, write_statistics=False, store_schema=False),
    "Polars": of_polars,
    "DuckDB": of_duckdb,
}  # fmt: skip


def counted(meta: bytes) -> int:
    return Counts(meta, elements.begin(meta)).rows(meta)


def quick(meta: bytes) -> bool:
    """Whether nothing had to be decoded."""
    made = Counts(meta, elements.begin(meta))
    rows, at = thrift.signed(meta, len(elements.begin(meta)))
    return made._agree(meta, at, rows)


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("columns", [["a", "s", "t", "l", "z"], ["l", "a"], ["a", "l"], ["l"], ["t"]], ids=str)
def test_files_of_all_writers_agree_by_their_bytes(writer: str, columns: list[str]) -> None:
    for table in (TABLE, TABLE.slice(0, 0)):
        meta = footer.metadata(WRITERS[writer](table.select(columns)))
        assert counted(meta) == table.num_rows
        assert quick(meta) or not table.num_rows


def test_texts_that_look_like_a_column_change_nothing() -> None:
    odd = ["\x19\x18\x01z\x15\x02\x16\x02", "\x19\x18\x01a\x15\x02\x16\x04"] * 150
    meta = footer.metadata(of_pyarrow(pa.table({"a": odd, "z": odd}), row_group_size=100))
    assert counted(meta) == ROWS


def test_what_does_not_agree_is_named() -> None:
    meta = footer.metadata(of_pyarrow(TABLE.select(["a", "z"]), row_group_size=100))
    at, places = 0, []
    while (at := meta.find(b"\x16\xc8\x01", at + 1)) > 0:  # i64 100 as zigzag: values of two columns, rows, three times
        places.append(at + 1)
    assert len(places) == 9
    wanted = [
        'row group 0 has 100 rows there, and its column "a" 99',
        'row group 0 has 100 rows there, and its column "z"',
    ]
    wanted += [
        'row group 0 has 99 rows there, and its column "a" 100',
        'row group 1 has 100 rows there, and its column "a"',
    ]
    for place, words in zip(places, wanted, strict=False):
        with pytest.raises(DamagedError, match=words):
            counted(meta[:place] + b"\xc6" + meta[place + 1 :])
    with pytest.raises(DamagedError, match="the file has 299 rows there, and its row groups 300"):
        counted(meta.replace(b"\x16\xd8\x04\x19", b"\x16\xd6\x04\x19", 1))


WHOLE = of_pyarrow(TABLE.select(["a", "l", "z"]), row_group_size=100)
META = footer.metadata(WHOLE)
BEGIN = len(elements.begin(META))


@given(st.lists(st.tuples(st.integers(BEGIN, len(META) - 1), st.integers(0, 255)), min_size=1, max_size=4))
@example([(824, 1)])
@example([(873, 113)])
@example([(873, 33)])
def test_a_torn_footer_passes_only_if_all_of_its_counts_are_the_same_or_its_reader_finds_as_many_rows(
    changes: list[tuple[int, int]],
) -> None:
    """The reference is the whole of it, decoded: pyarrow crashes of some of these footers."""
    meta = bytearray(META)
    for place, value in changes:
        meta[place] = value
    try:
        rows = counted(bytes(meta))
        found = footer.parse(bytes(meta))
    except NotParquetError:
        return
    same = all(
        {chunk.values for path, chunk in group.chunks.items() if len(path) == 1} <= {group.rows}
        for group in found.groups
    )
    if same and rows == found.rows == sum(group.rows for group in found.groups):
        return
    # The byte that was torn hides what follows from our decoder, which is laxer than readers are.
    torn = WHOLE[: -len(META) - footer.TRAILER] + bytes(meta) + WHOLE[-footer.TRAILER :]
    # In a process of its own: it may crash, and then or later.
    code = "import io, sys; import polars as pl; print(pl.read_parquet(io.BytesIO(sys.stdin.buffer.read())).height)"
    read = subprocess.run([sys.executable, "-c", code], input=torn, capture_output=True)
    assert read.returncode or int(read.stdout) == rows
