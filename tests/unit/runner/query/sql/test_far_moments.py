"""Nanoseconds beside days that they do not reach: the rows that DuckDB finds for the same moments in microseconds."""

from __future__ import annotations

import datetime as dt
import functools
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest

from gpuquery.runner.query.params import Value
from gpuquery.runner.query.sql.compile.target import CPU
from gpuquery.runner.query.sql.prepare import Prepared

ROWS = {
    "id": [1, 2, 3],
    "seen": [dt.datetime(2024, 6, 1), dt.datetime(1990, 1, 1), None],
    "other": [dt.datetime(2024, 6, 1), dt.datetime(1991, 1, 1), dt.datetime(2000, 1, 1)],
}
MICROS = pa.table(ROWS, schema=pa.schema({"id": pa.int64(), "seen": pa.timestamp("us"), "other": pa.timestamp("us")}))
NANOS = pl.LazyFrame(ROWS, schema={"id": pl.Int64, "seen": pl.Datetime("ns"), "other": pl.Datetime("ns")})
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
FAR = ["'9999-12-31'", "DATE '9999-12-31'", "TIMESTAMP '9999-12-31 23:59:59'", "'0001-01-01'"]
NEAR = ["'2000-01-01'"]
SHAPES = [
    *(f"seen {sign} {{0}}" for sign in ("=", "<>", "<", "<=", ">", ">=")),
    *(f"{{0}} {sign} seen" for sign in ("<", ">=")),
    "seen IN ({0}, TIMESTAMP '2024-06-01')",
    "seen IN ({0})",
    "seen NOT IN ({0}, TIMESTAMP '2024-06-01')",
    "NOT (seen < {0})",
    "seen BETWEEN '1900-01-01' AND {0}",
    "seen NOT BETWEEN '1900-01-01' AND {0}",
    "seen IS DISTINCT FROM {0}",
    "seen IS NOT DISTINCT FROM {0}",
    "seen < {0} OR id = 3",
    "CASE WHEN seen < {0} THEN id = 1 ELSE id = 3 END",
    "greatest(seen, other) < {0}",
]


def ids(text: str, values: dict[str, Value] | None = None) -> list[int]:
    prepared = Prepared(text, dialect="duckdb", inputs=["t"], values=values or {})
    return prepared.plan({"t": NANOS}, now=NOW, target=CPU).frame.collect()["id"].to_list()


@functools.cache
def engine() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("CREATE TABLE t AS FROM MICROS")
    return connection


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("moment", FAR + NEAR)
def test_a_moment_out_of_reach_compares_as_one_of_microseconds(shape: str, moment: str) -> None:
    text = f"SELECT id FROM t WHERE {shape.format(moment)} ORDER BY id"
    assert ids(text) == [row[0] for row in engine().execute(text).fetchall()]


@pytest.mark.parametrize(
    "value",
    [Value("until", "date", dt.date(9999, 12, 31)), Value("until", "timestamp", dt.datetime(9999, 12, 31))],
    ids=["a date", "a timestamp"],
)
def test_so_does_a_parameter(value: Any) -> None:
    assert ids("SELECT id FROM t WHERE seen <= :until ORDER BY id", {"until": value}) == [1, 2]


def test_a_text_that_is_no_moment_still_fails() -> None:
    with pytest.raises(Exception, match="9999-13-31"):
        ids("SELECT id FROM t WHERE seen < '9999-13-31'")
