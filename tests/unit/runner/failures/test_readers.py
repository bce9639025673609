"""Texts of readers: which errors a file may be behind, and what a crash says last."""

import polars as pl
import pytest

from gpuquery.runner.failures.readers import Origin, crash, origin

E = pl.exceptions
CPP = "CUDF failure at: /__w/cudf/cudf/cpp/src/io/parquet"
ROWS = {
    "a page": (E.ComputeError, "parquet: File out of specification: Invalid thrift: bad data", Origin.FILE),
    "Arrow's schema in the footer": (
        E.InvalidOperationError, "unable to decode the encoded schema stored in ARROW:schema, InvalidByte(60, 64)",
        Origin.FILE,
    ),
    "a value of CSV": (E.ComputeError, "could not parse `x` as dtype `i64` at column 'a'", Origin.FILE),
    "files that clash": (E.SchemaError, "data type mismatch for column b: incoming: Int64", Origin.FILE),
    "a file that is gone": (FileNotFoundError, "No such file or directory (os error 2): /t/2.parquet", Origin.FILE),
    "RAPIDS 26.02": (RuntimeError, f"{CPP}/reader_impl_helpers.cpp:317: Corrupted header or footer", Origin.FILE),
    "RAPIDS 26.04": (RuntimeError, f"{CPP}/io_utils/parquet_io_utils.cpp:43: Corrupted footer", Origin.FILE),
    "RAPIDS 26.08": (RuntimeError, "Parquet data decode failed with code(s) 0x1", Origin.FILE),
    "KvikIO": (RuntimeError, "KvikIO failure at: file_handle.cpp: Unable to open file", Origin.FILE),
    "a panic says little": (E.PanicException, "assertion `left == right` failed", Origin.UNKNOWN),
    "a column that is not there": (E.ColumnNotFoundError, 'unable to find column "footer"', Origin.QUERY),
    "a cast of the query": (
        E.InvalidOperationError, "conversion from `str` to `i64` failed in column 'csv' for 1 out of 1 values: [\"x\"]",
        Origin.QUERY,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "want"), ROWS.values(), ids=ROWS)
def test_an_error_is_of_a_file_or_of_the_query(kind, text, want):
    assert origin(kind(text)) is want


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("memory allocation of 2305843009213693896 bytes failed", True),
        ("thread 'async-executor-0' (32534) panicked at crates/polars-stream/src/nodes/io_sources/parquet", True),
        ("thread 'main' has overflowed its stack", True),
        ("fatal runtime error: stack overflow", True),
        ("terminate called after throwing an instance of 'ucxx::UnreachableError'", False),
        ("planning: sql query over 1 inputs", False),
    ],
)
def test_a_crash_of_a_reader_is_known_by_its_last_words(line, told):
    assert bool(crash(["fine", line, "stack backtrace:"])) is told
