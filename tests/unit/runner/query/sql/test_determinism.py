"""The normal form of a statement, and what keeps it from giving the same rows again."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from gpuquery.runner.query.sql.prepare import Prepared

FRAMES = {
    "t": pl.LazyFrame(schema={"a": pl.Int64, "b": pl.String, "d": pl.Date, "x": pl.Float64}),
    "u": pl.LazyFrame(schema={"a": pl.Int64, "y": pl.Float64}),
}
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def prepared(text: str, dialect: str = "duckdb") -> Prepared:
    return Prepared(text, dialect=dialect, inputs=list(FRAMES), values={})


def unsettled(text: str, dialect: str = "duckdb") -> str:
    made = prepared(text, dialect)
    return made.unsettled(made.schemas(FRAMES), NOW)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT a FROM t",
        "SELECT DISTINCT a FROM t UNION SELECT a FROM u",
        "SELECT a FROM t ORDER BY a LIMIT 5",
        "SELECT a + 1 AS c FROM t ORDER BY b LIMIT 5 OFFSET 2",
        "SELECT a FROM t LIMIT 0",
        "SELECT count(*) FROM t LIMIT 1",
        "SELECT a, first(b ORDER BY d), string_agg(b, ',' ORDER BY b) FROM t GROUP BY a",
        "SELECT a, mode(b), median(x), arg_max(b, x), count(DISTINCT b) FROM t GROUP BY a",
        "SELECT a, row_number() OVER (ORDER BY b), rank() OVER (PARTITION BY a), sum(x) OVER (PARTITION BY a) FROM t",
        "SELECT DISTINCT ON (a) a, b FROM t ORDER BY a, d",
        "SELECT * FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.a = t.a) AND a IN (SELECT a FROM u)",
        "SELECT a, (SELECT y FROM u WHERE u.a = t.a) FROM t",
        "SELECT unnest([a, 1]) FROM t",
    ],
)
def test_a_statement_that_gives_the_same_rows_each_time_is_found_to_do_so(text: str) -> None:
    assert unsettled(text) == ""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("SELECT a FROM t LIMIT 5", "LIMIT without ORDER BY"),
        ("SELECT a FROM t OFFSET 2", "LIMIT without ORDER BY"),
        ("WITH c AS (SELECT a FROM t LIMIT 3) SELECT count(*) FROM c", "LIMIT without ORDER BY"),
        ("SELECT a, (SELECT y FROM u LIMIT 1) FROM t", "LIMIT without ORDER BY"),
        ("SELECT DISTINCT ON (a) a, b FROM t", "DISTINCT ON without ORDER BY"),
        ("SELECT a, any_value(b) FROM t GROUP BY a", "any_value without ORDER BY"),
        ("SELECT a, first(b) FROM t GROUP BY a", "first without ORDER BY"),
        ("SELECT a, list(b) FROM t GROUP BY a", "list without ORDER BY"),
        ("SELECT string_agg(b, ',') FROM t", "string_agg without ORDER BY"),
        ("SELECT a, row_number() OVER (PARTITION BY a) FROM t", "row_number OVER (...) without ORDER BY"),
        ("SELECT a, lag(x) OVER (PARTITION BY a) FROM t", "lag OVER (...) without ORDER BY"),
        ("SELECT first_value(x) OVER () FROM t", "first_value OVER (...) without ORDER BY"),
        ("SELECT sum(x) OVER (ROWS 1 PRECEDING) FROM t", "sum OVER (...) without ORDER BY"),
        ("SELECT a, row_number() OVER (ORDER BY (SELECT NULL)) FROM t", "row_number OVER (...) without ORDER BY"),
        ("SELECT a, row_number() OVER (ORDER BY NULL) FROM t", "row_number OVER (...) without ORDER BY"),
        ("SELECT a, lag(x) OVER (PARTITION BY a ORDER BY a) FROM t", "lag OVER (...) without ORDER BY"),
        ("SELECT a, b FROM t QUALIFY row_number() OVER (PARTITION BY a ORDER BY a) = 1", "row_number OVER (...)"),
        ("SELECT DISTINCT ON (a) a, b FROM t ORDER BY a", "DISTINCT ON without ORDER BY"),
        ("SELECT a FROM t ORDER BY 1 + 1 LIMIT 3", "LIMIT without ORDER BY"),
        ("SELECT a, first(b ORDER BY a) FROM t GROUP BY a", "first without ORDER BY"),
        ("SELECT a FROM t WHERE d < current_date", "current_date is another value in each job"),
        ("SELECT current_date > DATE '2020-01-01' AS c, a FROM t", "current_date is another value"),
        ("SELECT a, now() FROM t", "now() is another value in each job"),
        ("SELECT a FROM t WHERE d < today()", "today() is another value"),
        ("SELECT current_timestamp FROM t", "current_timestamp is another value"),
    ],
)
def test_what_may_give_other_rows_the_next_time_is_found(text: str, why: str) -> None:
    assert why in unsettled(text)


def test_it_is_found_in_other_dialects_too_and_at_the_authors_place() -> None:
    assert unsettled("SELECT first(b) FROM t", "spark").startswith("line 1, column 8: first without")
    assert "now()" in unsettled("SELECT current_timestamp, a FROM t", "snowflake")
    assert "list" in unsettled("SELECT array_agg(a) FROM t", "postgres")


@pytest.mark.parametrize(
    "other",
    [
        "select a, b from t where x > 1",
        "SELECT a,b\n\n FROM   t -- all\n WHERE x/* more */>1",
        "Select a, b From t Where (x > 1);",
    ],
)
def test_white_space_comments_and_the_case_of_keywords_do_not_count(other: str) -> None:
    assert prepared("SELECT a, b FROM t WHERE x > 1").normal == prepared(other).normal


@pytest.mark.parametrize(
    "other",
    [
        "SELECT b, a FROM t WHERE x > 1", "SELECT a, b FROM t WHERE x > 2", "SELECT a, b FROM u WHERE x > 1",
        "SELECT a, b AS B FROM t WHERE x > 1", "SELECT a, b FROM t WHERE x > '1'", "SELECT a, b FROM t WHERE x > 1.0",
    ],
)  # fmt: skip
def test_everything_else_counts(other: str) -> None:
    assert prepared("SELECT a, b FROM t WHERE x > 1").normal != prepared(other).normal
