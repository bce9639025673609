"""Expressions over the edges of every type: our value or failure is DuckDB's, row by row."""

from __future__ import annotations

import pytest

from gpuquery.runner.query.sql.compile.target import Target
from tests.support.sql_values import TYPES, differences

GPU = Target(release="26.10")
"""What is compiled for GPUs means the same where Polars runs it on a CPU, as far as it uses nothing of cudf's own."""

_NUMBERS = ("i8", "i32", "i64", "u8", "u64", "f64", "d5", "d38")
_PAIRS = [("i8", "i64"), ("i64", "u64"), ("d5", "d15"), ("i32", "d15"), ("i64", "d38")]


def _show(sql: str, target: Target | None = None) -> str:
    found = differences(sql) if target is None else differences(sql, target=target)
    return "\n".join(map(str, found[:5]))


@pytest.mark.parametrize("operator", ["+", "-", "//", "%", "/"])
@pytest.mark.parametrize(("a", "b"), [*((t, t) for t in _NUMBERS), *_PAIRS])
def test_operators_of_numbers_are_exact_or_fail(operator: str, a: str, b: str) -> None:
    if operator == "%" and (a, b) in {("f64", "f64"), ("d15", "d38"), ("i64", "d38")}:
        pytest.skip("the remainder of DOUBLEs has a test of its own")
    assert not _show(f"a_{a} {operator} b_{b}")


@pytest.mark.parametrize(("a", "b"), [("i8", "i8"), ("i32", "i32"), ("i64", "i64"), ("u64", "u64"), ("f64", "f64")])
def test_products_are_exact_or_fail(a: str, b: str) -> None:
    assert not _show(f"a_{a} * b_{b}")


@pytest.mark.parametrize("name", ["i8", "i32", "i64", "u8", "f32", "f64", "d5", "d38"])
def test_the_smallest_whole_number_has_no_negative(name: str) -> None:
    assert not _show(f"- a_{name}")


@pytest.mark.parametrize("name", [name for name in TYPES if name not in ("ilist", "tlist")])
@pytest.mark.parametrize("operator", ["=", "<", ">=", "is distinct from"])
def test_comparisons_know_nan_null_and_bytes(operator: str, name: str) -> None:
    assert not _show(f"a_{name} {operator} b_{name}")


@pytest.mark.parametrize(
    ("a", "operator", "b"),
    [
        pytest.param("i64", "<", "u64", id="the sign of a number counts beside one that has none"),
        pytest.param("i8", "=", "i64", id="widths differ"),
        pytest.param("d15", "<", "d38", id="decimals of two scales, near 38 digits"),
        pytest.param("i32", "=", "d15", id="a whole number and a decimal"),
        pytest.param("d18", "<", "f64", id="a decimal and a DOUBLE"),
        pytest.param("f32", "=", "f64", id="a REAL and a DOUBLE"),
        pytest.param("date", "<", "ts", id="a day and a moment"),
        pytest.param("ts", "=", "tz", id="a moment and a point in time"),
    ],
)
def test_comparisons_of_two_types(a: str, operator: str, b: str) -> None:
    assert not _show(f"a_{a} {operator} b_{b}")


_CAST_TO = {
    "bool": ("i8", "f64", "d5", "text"),
    "i64": ("i8", "u8", "f64", "d5", "d38s", "text", "bool"),
    "u64": ("i64", "d5", "f32"),
    "f32": ("i32", "d15", "d38s", "text", "f64"),
    "f64": ("i8", "i64", "u64", "f32", "d5", "d38s", "text", "bool"),
    "d5": ("i8", "u8", "d38", "f64", "text"),
    "d18": ("d5", "i32", "d15", "d38s"),
    "d38": ("i64", "d5", "d38s", "f64", "text"),
    "d38s": ("d38", "d18", "i64", "text"),
    "date": ("ts", "tz", "text"),
    "time": ("text",),
    "ts": ("date", "time", "tz", "text"),
    "tz": ("ts", "date", "text"),
    "ilist": ("tlist",),
    "tlist": ("ilist",),
}


@pytest.mark.parametrize(("a", "b"), [(a, b) for a, others in _CAST_TO.items() for b in others])
def test_casts_round_and_refuse_what_does_not_fit(a: str, b: str) -> None:
    assert not _show(f"CAST( a_{a} AS {TYPES[b][0]} )")


@pytest.mark.parametrize("to", ["i8", "i64", "u64", "f32", "f64", "d5", "d38", "d38s"])
def test_text_is_read_as_numbers_by_its_digits(to: str) -> None:
    assert not _show(f"TRY_CAST( a_text AS {TYPES[to][0]} )")


@pytest.mark.parametrize("to", ["i32", "d15"])
def test_text_that_is_no_number_fails(to: str) -> None:
    assert not _show(f"CAST( a_text AS {TYPES[to][0]} )")


_INFINITE = "CASE WHEN lower( a_text ) IN ('inf', '-infinity', '24:00:00') THEN '' ELSE a_text END"
"""Without moments and times of DuckDB's that Polars has not."""


@pytest.mark.parametrize("to", ["DATE", "TIMESTAMP", "TIMESTAMPTZ", "TIMESTAMP_S", "TIME"])
def test_text_is_read_as_dates_and_moments(to: str) -> None:
    assert not _show(f"TRY_CAST( {_INFINITE} AS {to})")


@pytest.mark.parametrize(
    "sql",
    [
        "5.5 % 0.1::DOUBLE",
        "CASE WHEN abs( a_f64 ) < 1e16 THEN a_f64 END % 7",
        "CASE WHEN abs( a_f64 ) < 1e12 THEN a_f64 % -0.1::DOUBLE END",
        "1e15::DOUBLE % CASE WHEN a_f64 > 0.2 THEN a_f64 END",
        "CASE WHEN abs( a_f64 ) < 1e6 THEN a_f64 END % CASE WHEN abs( b_f64 ) > 1e-8 THEN b_f64 END",
    ],
)
def test_the_remainder_of_doubles_is_exact(sql: str) -> None:
    assert not _show(sql)


@pytest.mark.parametrize(
    "sql",
    [
        pytest.param("a_date + b_i8", id="days are added to a day"),
        pytest.param("a_date - b_date", id="days between two days"),
        pytest.param("a_ts - b_ts", id="the length between two moments"),
        pytest.param("a_date + INTERVAL 1 MONTH", id="31 January + 1 month is the last of February"),
        pytest.param("a_date - INTERVAL '1 month 3 days'", id="months come before days"),
        pytest.param("a_date + INTERVAL (b_i8) MONTH", id="months that rows hold"),
        pytest.param("a_ts - to_years( b_i8 )", id="years that rows hold"),
        pytest.param("a_ts - INTERVAL 13 MONTH", id="months of a moment"),
        pytest.param("a_ts + (b_ts - a_ts)", id="a length that rows hold"),
        pytest.param("(a_ts - b_ts) * 2 < INTERVAL '1 month'", id="a month has thirty days in a comparison"),
        pytest.param("a_time - INTERVAL '90 seconds'", id="a time of the day goes round"),
        pytest.param("a_date + b_time", id="a day and a time are a moment"),
        pytest.param("DATE '2024-02-29' + INTERVAL 1 YEAR", id="a constant"),
        pytest.param("CAST(a_ts AS TIMESTAMP_MS)", id="milliseconds are rounded"),
        pytest.param("CAST(a_ts AS TIMESTAMP_NS)", id="nanoseconds end with the year 2262"),
    ],
)
def test_dates_times_and_intervals(sql: str) -> None:
    assert not _show(sql)


@pytest.mark.parametrize(
    "sql",
    [
        pytest.param("CASE WHEN b_i32 <> 0 THEN a_i32 // b_i32 END", id="a branch that is not chosen does not divide"),
        pytest.param("CASE WHEN a_text = '42' THEN CAST(a_text AS INT) ELSE 7 END", id="nor reads text"),
        pytest.param("CASE WHEN b_i32 = 0 THEN 0 WHEN a_i32 // b_i32 > 1 THEN 1 END", id="nor does a later condition"),
        pytest.param(
            "CASE WHEN a_i32 > 3 THEN CASE WHEN b_i32 <> 0 THEN a_i32 % b_i32 ELSE -1 END ELSE 0 END", id="within CASE"
        ),
        pytest.param("CASE WHEN a_bool THEN a_d5 ELSE b_d18 END", id="branches get one type"),
        pytest.param("COALESCE(a_i32, 7 // nullif(b_i32, 0))", id="COALESCE asks no more than it needs"),
        pytest.param("COALESCE(TRY_CAST(a_text AS INT), 0)", id="TRY_CAST gives NULL"),
        pytest.param("NULLIF(a_f64, b_f64)", id="NULLIF of NaN"),
        pytest.param("a_bool AND b_bool", id="AND of three values"),
        pytest.param("a_bool OR b_bool", id="OR of three values"),
        pytest.param("a_bool IS NOT TRUE", id="IS NOT TRUE is never NULL"),
        pytest.param("a_i32 NOT IN (1, NULL, 3)", id="NOT IN with NULL"),
        pytest.param("a_i8 IN (1, 300, b_i64)", id="IN with a column and a constant out of range"),
        pytest.param("a_text IN ('abc', 'é', '')", id="IN of text"),
        pytest.param("a_d5 IN (0.50, 1.00, 127.5)", id="IN of decimals"),
        pytest.param("a_f64 IN (1, 'nan', 0)", id="IN with NaN"),
        pytest.param("{'x': a_i32, 'y': a_text} = {'x': b_i32, 'y': b_text}", id="records"),
        pytest.param("a_ilist IS DISTINCT FROM b_ilist", id="lists"),
        pytest.param("(a_d5 + 1) * (1 - b_d5) * (1 + a_d5)", id="a chain of decimals"),
        pytest.param("a_f64 / 7.0::DOUBLE", id="100 / 7 is not 100 times a seventh"),
        pytest.param("CAST(a_i64 AS HUGEINT) % b_i8", id="HUGEINT"),
        pytest.param("CAST(CAST(a_d38 AS HUGEINT) AS BIGINT)", id="HUGEINT that does not fit"),
        pytest.param("list_transform(a_ilist, lambda x: x + b_i8)", id="a lambda sees the row's columns"),
        pytest.param("list_filter(a_ilist, lambda x: x > b_i8)", id="and so does a filter"),
        pytest.param(
            "list_transform(a_ilist, lambda x: list_transform(b_ilist, lambda y: x + y + a_i8))",
            id="lambdas in lambdas",
        ),
    ],
)
def test_choices_logic_and_lists(sql: str) -> None:
    assert not _show(sql)


@pytest.mark.parametrize(
    "sql",
    [
        *(f"a_{t} {op} b_{t}" for t in ("i8", "i64", "u64") for op in "+-*"),
        *(f"a_{t} {op} b_{t}" for t in ("i64", "d5", "u64") for op in ("//", "%")),
        *(f"a_{t} + b_{t}" for t in ("d5", "d38", "f64")),
        *("a_date - INTERVAL '1 month 3 days'", "a_ts + INTERVAL 13 MONTH"),
        *("CAST( a_f64 AS TINYINT )", "CAST( a_i64 AS DECIMAL(5, 2) )", "CAST( a_d38 AS BIGINT )"),
        *("CASE WHEN b_i32 <> 0 THEN a_i32 // b_i32 END", "COALESCE(a_i32, 7 // nullif(b_i32, 0))"),
    ],
)
def test_what_gpus_compute_is_exact_or_fails(sql: str) -> None:
    assert not _show(sql, GPU)
