"""BigQuery: statements as people migrate them, and their rows, which BigQuery's documentation gives."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.sql_dialects import D, day, moment, rows

STATEMENTS = [
    pytest.param(
        "SELECT 7 / 2, DIV(7, 2), MOD(-7, 2), SAFE_DIVIDE(1, 0), SAFE_DIVIDE(7, 2)",
        [(3.5, 3, -1, None, 3.5)],
        id="division is a fraction, DIV a whole number",
    ),
    pytest.param(
        "SELECT id, total FROM orders ORDER BY total",
        [(4, None), (1, D("10.50")), (3, D("20.00")), (2, D("30.00"))],
        id="NULL is the smallest value: first",
    ),
    pytest.param(
        "SELECT id, total FROM orders ORDER BY total DESC",
        [(2, D("30.00")), (3, D("20.00")), (1, D("10.50")), (4, None)],
        id="NULL is the smallest value: last when it goes down",
    ),
    pytest.param(
        "SELECT EXTRACT(YEAR FROM d) AS y, COUNTIF(total > 15) FROM orders GROUP BY y ORDER BY y",
        [(1994, 1), (1995, 1), (1996, 0)],
        id="EXTRACT and COUNTIF",
    ),
    pytest.param(
        "SELECT DATE_ADD(d, INTERVAL 1 MONTH), DATE_SUB(d, INTERVAL 2 DAY), TIMESTAMP_ADD(ts, INTERVAL 2 "
        "HOUR) FROM orders WHERE id = 1",
        [(day(1994, 2, 5), day(1994, 1, 3), moment(1994, 1, 5, 12, 11, 12, 500000))],
        id="DATE_ADD and DATE_SUB give days",
    ),
    pytest.param(
        "SELECT DATE_DIFF(d, DATE '1994-01-01', DAY), DATE_DIFF(DATE '1994-03-01', DATE '1994-01-31', MONTH) "
        "FROM orders WHERE id = 1",
        [(4, 2)],
        id="DATE_DIFF has the end first, and counts bounds",
    ),
    pytest.param(
        "SELECT DATE_DIFF(DATE '1994-01-09', DATE '1994-01-08', WEEK), DATE_DIFF(DATE '1994-01-09', DATE "
        "'1994-01-08', ISOWEEK), DATE_DIFF(DATE '1994-01-10', DATE '1994-01-09', ISOWEEK)",
        [(1, 0, 1)],
        id="a week begins on a Sunday, an ISOWEEK on a Monday",
    ),
    pytest.param(
        "SELECT TIMESTAMP_DIFF(TIMESTAMP '1994-01-05 12:00:00', TIMESTAMP '1994-01-05 10:30:00', HOUR)",
        [(1,)],
        id="TIMESTAMP_DIFF counts whole units",
    ),
    pytest.param(
        "SELECT DATE_TRUNC(d, MONTH), DATE_TRUNC(d, WEEK), DATE_TRUNC(d, ISOWEEK), TIMESTAMP_TRUNC(ts, HOUR) "
        "FROM orders WHERE id = 1",
        [(day(1994, 1, 1), day(1994, 1, 2), day(1994, 1, 3), moment(1994, 1, 5, 10))],
        id="DATE_TRUNC has the part last",
    ),
    pytest.param(
        "SELECT EXTRACT(DAYOFWEEK FROM d), EXTRACT(WEEK FROM d), EXTRACT(ISOWEEK FROM d), EXTRACT(DATE FROM "
        "ts), EXTRACT(QUARTER FROM d) FROM orders WHERE id = 1",
        [(4, 1, 1, day(1994, 1, 5), 1)],
        id="parts of days",
    ),
    pytest.param(
        "SELECT FORMAT_DATE('%Y-%m', d), FORMAT_TIMESTAMP('%F %T', ts), PARSE_DATE('%d/%m/%Y', '05/01/1994') "
        "FROM orders WHERE id = 1",
        [("1994-01", "1994-01-05 10:11:12", day(1994, 1, 5))],
        id="FORMAT_DATE has the pattern first",
    ),
    pytest.param(
        "SELECT IFNULL(note, 'x'), IF(total > 15, 1, 0) FROM orders ORDER BY id",
        [("a,b", 0), ("c", 1), ("x", 1), ("a_b", 0)],
        id="IFNULL and IF",
    ),
    pytest.param(
        "SELECT * EXCEPT (note, ts, d, total) REPLACE (id * 10 AS id) FROM orders ORDER BY id LIMIT 1",
        [(10, 1, "F")],
        id="EXCEPT and REPLACE in a star",
    ),
    pytest.param(
        "SELECT ARRAY_AGG(id ORDER BY total DESC LIMIT 2), ARRAY_AGG(id ORDER BY id DESC) FROM orders",
        [([2, 3], [4, 3, 2, 1])],
        id="ARRAY_AGG in an order, with LIMIT",
    ),
    pytest.param(
        "SELECT id, w FROM orders, UNNEST(SPLIT(note, ',')) AS w ORDER BY 1, 2",
        [(1, "a"), (1, "b"), (2, "c"), (4, "a_b")],
        id="UNNEST beside a table",
    ),
    pytest.param(
        "SELECT id, w, o FROM orders, UNNEST(SPLIT(note)) AS w WITH OFFSET AS o ORDER BY 1, 3",
        [(1, "a", 0), (1, "b", 1), (2, "c", 0), (4, "a_b", 0)],
        id="UNNEST WITH OFFSET counts from 0",
    ),
    pytest.param("SELECT id FROM orders WHERE id IN UNNEST([1, 3]) ORDER BY id", [(1,), (3,)], id="IN UNNEST"),
    pytest.param(
        "SELECT [10, 20][OFFSET(0)], [10, 20][ORDINAL(1)], [10, 20][SAFE_OFFSET(5)], ARRAY_LENGTH([1, 2])",
        [(10, 10, None, 2)],
        id="arrays count as they are told to",
    ),
    pytest.param("SELECT GENERATE_ARRAY(1, 3)", [([1, 2, 3],)], id="GENERATE_ARRAY has both ends"),
    pytest.param(
        "SELECT CAST(2.5 AS INT64), CAST(total AS NUMERIC), CAST(id AS STRING), SAFE_CAST('x' AS INT64) FROM "
        "orders WHERE id = 1",
        [(3, D("10.500000000"), "1", None)],
        id="casts round halves away from zero",
    ),
    pytest.param(
        "SELECT APPROX_COUNT_DISTINCT(cust), APPROX_QUANTILES(total, 2)[OFFSET(1)] FROM orders GROUP BY cust > 0",
        [(3, D("20.00"))],
        id="an approximate count and quantiles are exact",
    ),
    pytest.param(
        "SELECT STRING_AGG(note ORDER BY note), STRING_AGG(note, ';' ORDER BY note DESC) FROM orders",
        [("a,b,a_b,c", "c;a_b;a,b")],
        id="STRING_AGG has commas",
    ),
    pytest.param(
        "SELECT GREATEST(1, NULL), LEAST(2, 3), CONCAT('a', NULL), CONCAT('a', 'b')",
        [(None, 2, None, "ab")],
        id="GREATEST and CONCAT are NULL with NULL",
    ),
    pytest.param(
        "SELECT LOG(1), LOG(8, 2), LN(1), LOG10(100), TRUNC(1.57, 1), ROUND(2.5)",
        [(0.0, 3.0, 0.0, 2.0, D("1.5"), D("3"))],
        id="LOG is natural, its base is last",
    ),
    pytest.param(
        "SELECT SUBSTR('hello', 0, 2), SUBSTR('hello', -3), STRPOS('abc', 'b'), INSTR('abc', 'c')",
        [("he", "llo", 2, 3)],
        id="SUBSTR at 0 begins at 1",
    ),
    pytest.param(
        r"""SELECT REGEXP_EXTRACT('a12', r'a(\d)'), REGEXP_EXTRACT('abc', r'b.'), REGEXP_EXTRACT('abc', r'x'), """
        "REGEXP_CONTAINS('abc', r'b')",
        [("1", "bc", None, True)],
        id="REGEXP_EXTRACT gives the group, or NULL",
    ),
    pytest.param(
        r"""SELECT REGEXP_REPLACE('a1b2', r'(\d)', r'<\1>')""", [("a<1>b<2>",)], id="REGEXP_REPLACE changes all"
    ),
    pytest.param(
        r'''SELECT "it's", 'a\'b', r'a\d', """x""" ''',
        [("it's", "a'b", "a\\d", "x")],
        id="strings in every kind of quotes",
    ),
    pytest.param(
        r"""SELECT id FROM orders WHERE note LIKE 'a\\_b'""", [(4,)], id="a backslash takes the meaning of _ in LIKE"
    ),
    pytest.param(
        "SELECT ANY_VALUE(note HAVING MAX id), LOGICAL_AND(total > 5), LOGICAL_OR(total > 25) FROM orders",
        [("a_b", True, True)],
        id="ANY_VALUE with HAVING MAX",
    ),
    pytest.param(
        "SELECT id FROM orders WHERE TRUE QUALIFY ROW_NUMBER() OVER (PARTITION BY status ORDER BY id DESC) = "
        "1 ORDER BY id",
        [(2,), (4,)],
        id="QUALIFY",
    ),
    pytest.param("SELECT `id` FROM `orders` ORDER BY 1 LIMIT 2", [(1,), (2,)], id="names in back ticks"),
    pytest.param("SELECT (SELECT SUM(x) FROM UNNEST([1, 2]) AS x)", [(3,)], id="a sub-query over UNNEST"),
    pytest.param(
        "SELECT DATE(1994, 1, 5), DATE(ts), DATETIME(1994, 1, 5, 1, 2, 3), TIMESTAMP('1994-01-05') FROM "
        "orders WHERE id = 1",
        [(day(1994, 1, 5), day(1994, 1, 5), moment(1994, 1, 5, 1, 2, 3), moment(1994, 1, 5))],
        id="DATE and DATETIME make times",
    ),
    pytest.param(
        "SELECT UNIX_SECONDS(ts), TIMESTAMP_SECONDS(0), UNIX_DATE(DATE '1970-01-11') FROM orders WHERE id = 1",
        [(757764672, moment(1970, 1, 1), 10)],
        id="UNIX_SECONDS and back",
    ),
    pytest.param(
        "SELECT COUNT(DISTINCT status), SUM(IF(status = 'F', total, 0)) FROM orders",
        [(2, D("40.50"))],
        id="a sum of IF",
    ),
    pytest.param(
        "SELECT id, LAG(id) OVER w, SUM(total) OVER w FROM orders WINDOW w AS (ORDER BY id) ORDER BY id",
        [(1, None, D("10.50")), (2, 1, D("40.50")), (3, 2, D("60.50")), (4, 3, D("60.50"))],
        id="a named window",
    ),
    pytest.param(
        "SELECT x FROM (SELECT 1 AS x UNION ALL SELECT 2 UNION DISTINCT SELECT 2) ORDER BY x",
        [(1,), (2,)],
        id="UNION DISTINCT and ALL",
    ),
    pytest.param(
        "SELECT id FROM orders EXCEPT DISTINCT SELECT 1 ORDER BY id", [(2,), (3,), (4,)], id="EXCEPT DISTINCT"
    ),
    pytest.param(
        "SELECT status, COUNT(*) FROM orders GROUP BY ROLLUP(status) ORDER BY status NULLS LAST",
        [("F", 2), ("O", 2), (None, 4)],
        id="ROLLUP",
    ),
    pytest.param(
        "WITH t AS (SELECT cust, SUM(total) AS s FROM orders GROUP BY cust) SELECT cust, s FROM t WHERE s > "
        "15 ORDER BY cust",
        [(1, D("40.50")), (2, D("20.00"))],
        id="a CTE",
    ),
    pytest.param(
        "SELECT CURRENT_DATE(), CURRENT_TIMESTAMP()",
        [(day(1997, 5, 6), moment(1997, 5, 6, 7, 8, 9))],
        id="CURRENT_DATE is when the job was created",
    ),
    pytest.param(
        "SELECT MAX_BY(id, total), COUNT(note), COUNT(*) FROM orders",
        [(2, 3, 4)],
        id="MAX_BY and COUNT of rows with a value",
    ),
    pytest.param(
        "SELECT STARTS_WITH('abc', 'a'), ENDS_WITH('abc', 'c'), LPAD('1', 3, '0'), REVERSE('ab'), CHAR_LENGTH('abc')",
        [(True, True, "001", "ba", 3)],
        id="ENDS_WITH, STARTS_WITH and LPAD",
    ),
]


@pytest.mark.parametrize(("sql", "want"), STATEMENTS)
def test_a_statement_of_bigquery_has_the_rows_that_it_has_there(sql: str, want: list[tuple[Any, ...]]) -> None:
    assert rows("bigquery", sql) == want
