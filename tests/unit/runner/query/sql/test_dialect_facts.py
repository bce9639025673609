"""What the same text means elsewhere and not in DuckDB: a value, a failure, or a refusal.

The rows say what we know of the rules of Spark 4 (ANSI mode), Trino, Snowflake, BigQuery and Redshift. None of these
engines was asked: only PostgreSQL was, in the long lane (`make test-sql-postgres`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl
import pytest

from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.query.sql.compile.target import CPU
from tests.support import sql as sql_rows
from tests.support.sql_dialects import NOW, ORDERS, D, day, moment, planned, prepared


class Fails(NamedTuple):
    """The query runs, and fails with these words."""

    words: str


class Refused(NamedTuple):
    """The query is refused with these words."""

    words: str


ZERO = Fails("division by zero")
OUTSIDE = Fails("no element at this place")
LOGARITHM = Fails("above zero")

SPARK: list[tuple[str, str, Any]] = [
    ("a division by zero fails in ANSI mode", "SELECT total / 0 FROM orders", ZERO),
    ("of whole numbers too", "SELECT 1 / 0", ZERO),
    (
        "in a branch that no row takes it does not",
        "SELECT CASE WHEN id > 9 THEN 1 / 0 ELSE 5 END FROM orders LIMIT 1",
        [5.0],
    ),
    ("a text with a fraction is no whole number", "SELECT CAST('1.5' AS INT)", Refused("'1.5' is not a valid INT")),
    (
        "nor is that of a column",
        "SELECT CAST(concat(id, '.5') AS INT) FROM orders",
        Fails("the value 1.5 is not a valid INTEGER"),
    ),
    (
        "TRY_CAST of one is NULL",
        "SELECT TRY_CAST('1.5' AS INT), TRY_CAST(concat(id, '.5') AS INT) FROM orders LIMIT 1",
        [None, None],
    ),
    ("blanks around a number are none", "SELECT CAST(' 12 ' AS INT)", [12]),
    ("`on` is not a valid BOOLEAN, `y` is", "SELECT TRY_CAST('on' AS BOOLEAN), CAST('y' AS BOOLEAN)", [None, True]),
    ("a DOUBLE is written otherwise", "SELECT CAST(1e7D AS STRING)", Refused("DOUBLE as text")),
    ("as a part of a text too", "SELECT concat('a', 1e0)", Refused("DOUBLE as text")),
    ("a length below zero is none", "SELECT substring('hello', 2, -1)", [""]),
    (
        "what would stand before a text is left out",
        "SELECT substring('abc', -5, 3), substring('hello', -3, 2)",
        ["a", "ll"],
    ),
    ("lists end in ANSI mode", "SELECT array(id, 2)[5] FROM orders", OUTSIDE),
    ("and begin", "SELECT array(id, 2)[-1] FROM orders", OUTSIDE),
    ("ELEMENT_AT counts from the end, and ends", "SELECT element_at(array(1, 2), -1)", [2]),
    ("but there is no element 0", "SELECT element_at(array(id, 2), 0) FROM orders", OUTSIDE),
    (
        "GET is NULL outside",
        "SELECT get(array(1, 2), 5), get(array(1, 2), -1), try_element_at(array(1), 3)",
        [None, None, None],
    ),
    ("parts count from 1", "SELECT split_part('a,b', ',', 0)", Refused("no part 0")),
    ("a text is not split at nothing", "SELECT split_part('abc', '', 1), split_part('a,b', ',', -1)", ["abc", "b"]),
    ("logarithms of zero are NULL", "SELECT log(0), ln(-1), log10(0), log2(0), log(2, 0)", [None] * 5),
    (
        "kurtosis is that of a population, as its reference shows",
        "SELECT kurtosis(x) FROM VALUES (-10), (-20), (100), (1000) AS t(x)",
        [-0.7014368047527618],
    ),
    ("skewness too, and is refused", "SELECT skewness(id) FROM orders", Refused("population")),
    (
        "months of two days by Java's rule",
        "SELECT datediff(MONTH, DATE'2024-01-31', DATE'2024-02-29'), "
        "datediff(MONTH, DATE'2024-02-29', DATE'2024-01-31'), "
        "timestampdiff(YEAR, DATE'2023-03-01', DATE'2024-02-29')",
        [0, 0, 0],
    ),
    ("two days apart are an INTERVAL", "SELECT d - DATE'1994-01-01' FROM orders", Refused("datediff(a, b)")),
    ("a year of two digits is one of this century", "SELECT to_date('70-01-05', 'yy-MM-dd')", [day(2070, 1, 5)]),
    (
        "a zone in a text counts",
        "SELECT to_timestamp('2024-01-05 10:00:00+02:00'), TIMESTAMP'2024-01-05 10:00:00+02:00'",
        [moment(2024, 1, 5, 8), moment(2024, 1, 5, 8)],
    ),
    ("a pattern without a group has none", r"SELECT regexp_extract('a12', '\\d+')", Refused("no group 1")),
    (
        "a dollar behind a backslash is one",
        r"SELECT regexp_replace('a.b', '\\.', '\\$'), regexp_replace('abc', 'b', '$0$0')",
        ["a$b", "abbc"],
    ),
    (
        "a NULL in a list may be anything",
        "SELECT array_contains(array(1, NULL), 2), array_contains(array(1, NULL), 1)",
        [None, True],
    ),
    ("SEQUENCE counts down", "SELECT sequence(5, 3), sequence(1, 5, 2)", [[5, 4, 3], [1, 3, 5]]),
    ("a NULL list in a list is NULL", "SELECT flatten(array(array(1), NULL)), flatten(array(array(1)))", [None, [1]]),
    ("LEFT of less than nothing is nothing", "SELECT left('abc', -1), right('abc', -2)", ["", ""]),
    ("INITCAP goes by blanks", "SELECT initcap('hello wORLD foo-bar')", ["Hello World Foo-bar"]),
    ("DISTINCT in a text of a group", "SELECT string_agg(DISTINCT status, '+') FROM orders WHERE id < 3", ["F"]),
]
TRINO: list[tuple[str, str, Any]] = [
    ("a division by zero fails", "SELECT total / 0 FROM orders", ZERO),
    ("but not that of a DOUBLE", "SELECT CAST(id AS DOUBLE) / 0 FROM orders LIMIT 1", [float("inf")]),
    ("NULL comes last, both ways", "SELECT array_agg(id ORDER BY total DESC) FROM orders", [[2, 3, 1, 4]]),
    ("a text with a fraction is no whole number", "SELECT CAST('1.5' AS INTEGER)", Refused("'1.5' is not a valid INT")),
    (
        "and NULL with TRY",
        "SELECT TRY_CAST('1.5' AS INTEGER), TRY(CAST('1.5' AS BIGINT)), TRY_CAST('yes' AS BOOLEAN)",
        [None] * 3,
    ),
    (
        "DECIMAL '1.5' has its own digits, a cast has none",
        "SELECT DECIMAL '1.5', CAST('1.5' AS DECIMAL)",
        [D("1.5"), D("2")],
    ),
    ("CHAR(n) is filled up", "SELECT CAST('a' AS CHAR(5))", Refused("VARCHAR(n)")),
    ("a DOUBLE is written otherwise", "SELECT CAST(1e0 AS VARCHAR)", Refused("DOUBLE as text")),
    ("lists end", "SELECT ARRAY[id, 2][5] FROM orders", OUTSIDE),
    ("and begin", "SELECT ARRAY[id, 2][0] FROM orders", OUTSIDE),
    ("ELEMENT_AT is NULL behind the end", "SELECT element_at(ARRAY[1, 2], 5), element_at(ARRAY[1, 2], -1)", [None, 2]),
    ("there is no part 0", "SELECT split_part('a,b', ',', 0)", Refused("above zero")),
    ("nor one below", "SELECT split_part(note, ',', 1 - CAST(id AS INTEGER)) FROM orders", Fails("above zero")),
    ("behind the last part is NULL", "SELECT split_part('a,b', ',', 5)", [None]),
    (
        "SUBSTR before the first character is empty",
        "SELECT substr('abc', -5), substr('abc', -5, 3), substr('hello', 2, -1)",
        ["", "", ""],
    ),
    ("SEQUENCE counts down", "SELECT sequence(5, 3)", [[5, 4, 3]]),
    ("a NULL in a list may be anything", "SELECT contains(ARRAY[1, NULL], 2)", [None]),
    ("two days apart are an INTERVAL", "SELECT d - DATE '1994-01-01' FROM orders", Refused("date_diff('day', b, a)")),
    (
        "a month from its end to the next one's is a month",
        "SELECT date_diff('month', DATE '2024-01-31', DATE '2024-02-29')",
        [1],
    ),
    ("years of two digits begin in 1970", "SELECT date_parse('69-01-05', '%y-%m-%d')", [moment(2069, 1, 5)]),
    ("Joda's depend on today", "SELECT parse_datetime('24-01-05', 'yy-MM-dd')", Refused("yyyy")),
    ("a group by its name", "SELECT regexp_replace('ab', '(?<x>a)', '${x}')", Refused("$0 to $9")),
    ("FETCH keeps ties", "SELECT status FROM orders ORDER BY status FETCH FIRST 1 ROW WITH TIES", [["F"], ["F"]]),
    ("skewness is that of a population", "SELECT skewness(id) FROM orders", Refused("population")),
    ("digits have no underscores", "SELECT 1_000", Refused("underscores")),
    ("several lists in UNNEST", "SELECT x FROM UNNEST(ARRAY[1], ARRAY[2]) AS t(x, y)", Refused("one for each")),
    (
        "parts of a week's year",
        "SELECT extract(YOW FROM DATE '2024-12-30'), extract(DOW FROM DATE '2024-01-07')",
        [2025, 7],
    ),
]
SNOWFLAKE: list[tuple[str, str, Any]] = [
    ("a division by zero fails", "SELECT total / 0 FROM orders", ZERO),
    ("of a FLOAT too", "SELECT id::float / 0 FROM orders", ZERO),
    ("CONCAT_WS is NULL with a NULL, as its reference shows", "SELECT concat_ws(',', 'one', NULL, 'two')", [None]),
    ("a text as a whole number is rounded", "SELECT '1.5'::int, try_cast('1.5' AS int)", [2, 2]),
    ("SUBSTR before the first character", "SELECT substr('abc', -5)", Fails("right(x, n)")),
    ("a length below zero is none", "SELECT substr('hello', 2, -1), left('abc', -1)", ["", ""]),
    ("a list is NULL outside, below zero too", "SELECT [1, 2][5], [1, 2, 3][-2], get([1, 2], -2)", [None] * 3),
    ("ARRAY_SLICE counts from 0, without the last", "SELECT array_slice([1, 2, 3, 4], 1, 3)", [[2, 3]]),
    ("from the end it is refused", "SELECT array_slice([1, 2, 3], 0, -1)", Refused("must not be negative")),
    (
        "part 0 is part 1",
        "SELECT split_part('a.b', '.', 0), split_part('a.b', '.', -1), split_part('abc', '', 1)",
        ["a", "b", "abc"],
    ),
    ("there is no logarithm of 0", "SELECT ln(id - 1) FROM orders", LOGARITHM),
    ("nor a root of -1", "SELECT sqrt(-1)", Fails("root")),
    ("nor 0 to a negative power", "SELECT power(0, -1)", Fails("negative power")),
    ("what is too long is not cut", "SELECT note::varchar(2) FROM orders", Fails("longer than 2")),
    ("what is not is kept", "SELECT status::varchar(2) FROM orders LIMIT 1", ["F"]),
    (
        "a zone of TIMESTAMP_TZ counts, of NTZ it does not",
        "SELECT '2024-01-01 10:00:00+02:00'::timestamp_tz, '2024-01-01 10:00:00+02:00'::timestamp_ntz",
        [moment(2024, 1, 1, 8), moment(2024, 1, 1, 10)],
    ),
    ("REGEXP_LIKE is about the whole text", "SELECT regexp_like('abc', 'b'), 'abc' RLIKE '.b.'", [False, True]),
    ("LIKE has no escape", r"SELECT 'a_b' LIKE 'a\\_b', 'a_b' LIKE 'a^_b' ESCAPE '^'", [False, True]),
    ("years of two digits begin in 1970", "SELECT to_date('05/01/69', 'DD/MM/YY')", [day(2069, 1, 5)]),
    (
        "DISTINCT in a text of a group",
        "SELECT listagg(DISTINCT status, ',') WITHIN GROUP (ORDER BY status DESC) FROM orders",
        ["O,F"],
    ),
    (
        "SKEW is that of a sample, as its reference shows",
        "SELECT round(skew(x), 4) FROM (VALUES (10), (10), (20), (25), (30)) AS t(x)",
        [0.0524],
    ),
    ("INITCAP goes by signs too", "SELECT initcap('hello wORLD-foo_bar')", ["Hello World-Foo_Bar"]),
    ("two days apart are a number", "SELECT '2024-03-01'::date - '2024-01-01'::date", [60]),
    ("a DOUBLE is written otherwise", "SELECT 1.5::float::varchar", Refused("DOUBLE as text")),
]
BIGQUERY: list[tuple[str, str, Any]] = [
    ("a division by zero fails", "SELECT total / 0 FROM orders", ZERO),
    ("SAFE_DIVIDE does not", "SELECT SAFE_DIVIDE(id, 0) FROM orders LIMIT 1", [None]),
    ("a text with a fraction is no INT64", "SELECT SAFE_CAST('1.5' AS INT64), SAFE_CAST('yes' AS BOOL)", [None, None]),
    ("not with CAST", "SELECT CAST('1.5' AS INT64)", Refused("is not a valid BIGINT")),
    ("lists end", "SELECT [id, 2][OFFSET(5)] FROM orders", OUTSIDE),
    ("and begin", "SELECT [id, 2][ORDINAL(0)] FROM orders", OUTSIDE),
    (
        "SAFE_ is NULL outside",
        "SELECT [1, 2, 3][SAFE_OFFSET(-2)], [1, 2][SAFE_ORDINAL(5)], [1, 2][ORDINAL(2)]",
        [None, None, 2],
    ),
    (
        "SUBSTR before the first character begins there",
        "SELECT SUBSTR('abc', -5), SUBSTR('abc', -5, 3), SUBSTR('abc', 0, 2)",
        ["abc", "abc", "ab"],
    ),
    ("a length below zero fails", "SELECT SUBSTR('abc', 1, -1)", Refused("below zero")),
    ("that of a column, too", "SELECT LEFT(note, 1 - id) FROM orders", Fails("below zero")),
    ("there is no logarithm of 0", "SELECT LN(id - 1) FROM orders", LOGARITHM),
    (
        "weeks from a Monday on",
        "SELECT DATE_TRUNC(DATE '2024-01-07', WEEK(MONDAY)), DATE_TRUNC(DATE '2024-01-07', WEEK), "
        "DATE_DIFF(DATE '2024-01-08', DATE '2024-01-07', WEEK(MONDAY))",
        [day(2024, 1, 1), day(2024, 1, 7), 1],
    ),
    ("from another day on they are refused", "SELECT DATE_TRUNC(d, WEEK(TUESDAY)) FROM orders", Refused("MONDAY")),
    (
        "parts of a second leave the second out",
        "SELECT EXTRACT(MILLISECOND FROM TIMESTAMP '2024-01-05 10:00:01.5')",
        [500],
    ),
    (
        "a zone in a TIMESTAMP counts, in a DATETIME there is none",
        "SELECT TIMESTAMP '2024-01-05 10:00:00+02:00', DATETIME '2024-01-05 10:00:00'",
        [moment(2024, 1, 5, 8), moment(2024, 1, 5, 10)],
    ),
    (
        "REGEXP_EXTRACT_ALL gives the group",
        r"SELECT REGEXP_EXTRACT_ALL('a1b2', r'[a-z](\d)'), REGEXP_EXTRACT('a1', r'(?i)A(\d)')",
        [["1", "2"], "1"],
    ),
    (
        "ARRAY_AGG without NULL, in an order, and only some",
        "SELECT ARRAY_AGG(note IGNORE NULLS ORDER BY id), ARRAY_AGG(note IGNORE NULLS ORDER BY id DESC LIMIT 2) "
        "FROM orders",
        [["a,b", "c", "a_b"], ["a_b", "c"]],
    ),
    (
        "DISTINCT in a text of a group",
        "SELECT STRING_AGG(DISTINCT status, ',' ORDER BY status DESC) FROM orders",
        ["O,F"],
    ),
    ("a NULL in a list may be anything", "SELECT 2 IN UNNEST([1, NULL]), 1 IN UNNEST([1, NULL])", [None, True]),
    ("two days apart are an INTERVAL", "SELECT d - DATE '1994-01-01' FROM orders", Refused("DATE_DIFF(a, b, DAY)")),
    ("%e is filled up with a blank", "SELECT FORMAT_DATE('%e', d) FROM orders", Refused("%e")),
    ("a query as a list", "SELECT ARRAY(SELECT id FROM orders)", Refused("ARRAY_AGG")),
    ("LIMIT in a text of a group", "SELECT STRING_AGG(note, ',' ORDER BY id LIMIT 2) FROM orders", Refused("LIMIT")),
    ("digests", "SELECT TO_HEX(MD5('a'))", Refused("hashes")),
]
REDSHIFT: list[tuple[str, str, Any]] = [
    ("a division by zero fails", "SELECT total / 0 FROM orders", ZERO),
    (
        "the sum of BIGINTs is a NUMERIC, that of INTEGERs is whole",
        "SELECT sum(id) / 4, sum(cust) / 4 FROM orders",
        [2.5, D("1")],
    ),
    (
        "the average of whole numbers is one",
        "SELECT avg(cust), avg(id), avg(DISTINCT cust) FROM orders",
        [D("1"), D("2"), D("2")],
    ),
    ("a text with a fraction is no whole number", "SELECT '1.5'::int", Refused("is not a valid INT")),
    ("CHAR(n) is filled up", "SELECT 'a'::char(5)", Refused("VARCHAR(n)")),
    ("a length below zero fails", "SELECT substring('hello', 2, -1)", Refused("below zero")),
    ("there is no part 0", "SELECT split_part('a,b', ',', 0)", Refused("no part 0")),
    (
        "milliseconds leave the seconds out, as the reference of EXTRACT shows",
        "SELECT extract(ms FROM timestamp '2009-09-09 12:08:43.101')",
        [101],
    ),
    ("there is no logarithm of 0", "SELECT ln(id - 1) FROM orders", LOGARITHM),
    ("years of two digits begin in 1970", "SELECT to_date('69-01-05', 'YY-MM-DD')", [day(2069, 1, 5)]),
    (
        "DISTINCT in a text of a group",
        "SELECT listagg(DISTINCT status, ',') WITHIN GROUP (ORDER BY status) FROM orders",
        ["F,O"],
    ),
    (
        "TRUNC of a moment is its day",
        "SELECT trunc(ts), trunc(1.57) FROM orders WHERE id = 1",
        [day(1994, 1, 5), D("1")],
    ),
    ("digits have no underscores", "SELECT 1_000", Refused("underscores")),
]
ALL = {"spark": SPARK, "trino": TRINO, "snowflake": SNOWFLAKE, "bigquery": BIGQUERY, "redshift": REDSHIFT}


@pytest.mark.parametrize(
    ("dialect", "sql", "want"),
    [pytest.param(name, sql, want, id=f"{name}: {says}") for name, rows in ALL.items() for says, sql, want in rows],
)
def test_a_text_means_what_it_means_there(dialect: str, sql: str, want: Any) -> None:
    if isinstance(want, Refused):
        with pytest.raises(JobError) as refused:
            planned(dialect, sql)
        assert want.words in refused.value.message
        assert refused.value.message.startswith("line 1, column "), refused.value.message
        return
    if isinstance(want, Fails):
        frame = planned(dialect, sql)
        with pytest.raises(pl.exceptions.PolarsError) as failed:
            frame.collect()
        told = prepared(dialect, sql).failed(failed.value) or ""
        assert want.words in told
        assert told.startswith("line 1, column "), told
        return
    rows = planned(dialect, sql).collect().rows()
    wanted = [tuple(row) for row in (want if len(rows) > 1 else [want])]
    assert sql_rows.same(rows, wanted, ordered=True), rows


QUOTIENTS = [
    pytest.param("spark", "SELECT total / 3 FROM orders", True, id="Spark has six places or more"),
    pytest.param("spark", "SELECT id / 3 FROM orders", False, id="of whole numbers Spark has a DOUBLE"),
    pytest.param("trino", "SELECT total / id FROM orders", True, id="Trino has as many places as the sides"),
    pytest.param("trino", "SELECT avg(total) FROM orders", True, id="an average"),
    pytest.param("trino", "SELECT CAST(total AS DOUBLE) / id FROM orders", False, id="a DOUBLE is one there too"),
    pytest.param("snowflake", "SELECT id / 3 FROM orders", True, id="Snowflake has six places of whole numbers too"),
    pytest.param("bigquery", "SELECT total / 3 FROM orders", True, id="BigQuery has nine places"),
    pytest.param("postgres", "SELECT total / 3 FROM orders", False, id="PostgreSQL has sixteen digits or more"),
]


@pytest.mark.parametrize(("dialect", "sql", "told"), QUOTIENTS)
def test_a_quotient_that_is_rounded_there_is_told_of(dialect: str, sql: str, told: bool) -> None:
    found = prepared(dialect, sql).plan({"orders": ORDERS.lazy()}, now=NOW, target=CPU).warnings
    assert [one.startswith("line 1, column 8: ") and "is a DOUBLE here" in one for one in found] == [True] * told
