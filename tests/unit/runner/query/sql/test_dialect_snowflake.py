"""Snowflake: statements as people migrate them, and their rows, which Snowflake's documentation gives."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.sql_dialects import D, day, moment, rows

STATEMENTS = [
    pytest.param("SELECT 7 / 2, 7 % 2, DIV0(1, 0), DIV0(7, 2)", [(3.5, 1, 0.0, 3.5)], id="division is a fraction"),
    pytest.param(
        "SELECT id, total FROM orders ORDER BY total",
        [(1, D("10.50")), (3, D("20.00")), (2, D("30.00")), (4, None)],
        id="NULL is the largest value: last",
    ),
    pytest.param(
        "SELECT id, total FROM orders ORDER BY total DESC",
        [(4, None), (2, D("30.00")), (3, D("20.00")), (1, D("10.50"))],
        id="NULL is the largest value: first when it goes down",
    ),
    pytest.param(
        "SELECT DATE_TRUNC('month', d), DATE_TRUNC(month, d), DATE_TRUNC(hour, ts) FROM orders WHERE id = 1",
        [(day(1994, 1, 1), day(1994, 1, 1), moment(1994, 1, 5, 10))],
        id="DATE_TRUNC of a day is a day, its part in quotes or not",
    ),
    pytest.param(
        "SELECT DATEADD(day, 7, d), DATEADD('month', 1, ts), DATEADD(hour, 1, d) FROM orders WHERE id = 1",
        [(day(1994, 1, 12), moment(1994, 2, 5, 10, 11, 12, 500000), moment(1994, 1, 5, 1))],
        id="DATEADD keeps a day a day",
    ),
    pytest.param(
        "SELECT DATEDIFF(day, d, DATE '1995-01-01'), DATEDIFF(month, DATE '1994-01-31', DATE '1994-02-01') "
        "FROM orders WHERE id = 1",
        [(361, 1)],
        id="DATEDIFF counts the bounds between",
    ),
    pytest.param(
        "SELECT d + INTERVAL '1 month', d - INTERVAL '2 days' FROM orders WHERE id = 1",
        [(day(1994, 2, 5), day(1994, 1, 3))],
        id="a day and an interval are a day",
    ),
    pytest.param(
        "SELECT id, ROW_NUMBER() OVER (PARTITION BY cust ORDER BY d DESC) AS rn FROM orders QUALIFY rn = 1 ORDER BY id",
        [(2, 1), (3, 1), (4, 1)],
        id="QUALIFY with the name of the window's column",
    ),
    pytest.param(
        "SELECT IFF(total > 15, 'a', 'b'), NVL(note, 'z'), ZEROIFNULL(total), NVL2(note, 1, 2) FROM orders ORDER BY id",
        [("b", "a,b", D("10.50"), 1), ("a", "c", D("30.00"), 1), ("a", "z", D("20.00"), 2), ("b", "a_b", D("0.00"), 1)],
        id="IFF, NVL, NVL2 and ZEROIFNULL",
    ),
    pytest.param(
        "SELECT EQUAL_NULL(NULL, NULL), EQUAL_NULL(1, NULL), NULLIFZERO(0)",
        [(True, False, None)],
        id="EQUAL_NULL and NULLIFZERO",
    ),
    pytest.param(
        "SELECT LISTAGG(note, ',') WITHIN GROUP (ORDER BY note DESC) FROM orders",
        [("c,a_b,a,b",)],
        id="LISTAGG in an order",
    ),
    pytest.param(
        "SELECT ARRAY_AGG(note) WITHIN GROUP (ORDER BY id) FROM orders",
        [(["a,b", "c", "a_b"],)],
        id="ARRAY_AGG leaves NULL out",
    ),
    pytest.param(
        "SELECT TO_VARCHAR(d, 'YYYY-MM'), TO_CHAR(ts, 'yyyy-mm-dd hh24:mi:ss'), TO_VARCHAR(id) FROM orders "
        "WHERE id = 1",
        [("1994-01", "1994-01-05 10:11:12", "1")],
        id="TO_VARCHAR of a time and of a number",
    ),
    pytest.param(
        "SELECT TO_DATE('05-01-1994', 'DD-MM-YYYY'), TO_TIMESTAMP('1994-01-05 10:11:12'), TO_DATE(ts) FROM "
        "orders WHERE id = 1",
        [(day(1994, 1, 5), moment(1994, 1, 5, 10, 11, 12), day(1994, 1, 5))],
        id="TO_DATE and TO_TIMESTAMP",
    ),
    pytest.param(
        "SELECT 2.5::FLOAT::INT, total::INT, total::NUMBER(10, 1), '7'::NUMBER FROM orders WHERE id = 1",
        [(3, 11, D("10.5"), D("7"))],
        id="casts round halves away from zero",
    ),
    pytest.param(
        "SELECT TRY_TO_NUMBER('x'), TRY_CAST('12' AS INT), TRY_TO_DATE('x'), TO_NUMBER('12.345', 10, 2)",
        [(None, 12, None, D("12.35"))],
        id="TRY_ functions are NULL where others fail",
    ),
    pytest.param("SELECT id FROM orders WHERE note ILIKE ANY ('A%', 'x%') ORDER BY id", [(1,), (4,)], id="ILIKE ANY"),
    pytest.param(
        "SELECT id, f.value FROM orders, LATERAL FLATTEN(INPUT => SPLIT(note, ',')) f ORDER BY 1, 2",
        [(1, "a"), (1, "b"), (2, "c"), (4, "a_b")],
        id="LATERAL FLATTEN gives VALUE",
    ),
    pytest.param(
        "SELECT id, f.value FROM orders, TABLE(FLATTEN(INPUT => SPLIT(note, ','))) f ORDER BY 1, 2",
        [(1, "a"), (1, "b"), (2, "c"), (4, "a_b")],
        id="TABLE(FLATTEN) gives VALUE",
    ),
    pytest.param(
        "SELECT GREATEST(1, NULL), LEAST(2, 3), LEAST_IGNORE_NULLS(1, NULL), CONCAT('a', NULL)",
        [(None, 2, 1, None)],
        id="GREATEST is NULL with NULL",
    ),
    pytest.param(
        "SELECT SUBSTR('hello', 0, 2), SUBSTR('hello', -3), CHARINDEX('b', 'abc'), POSITION('c' IN 'abc')",
        [("he", "llo", 2, 3)],
        id="SUBSTR at 0 begins at 1",
    ),
    pytest.param(
        "SELECT SPLIT_PART('a.b', '.', -1), SPLIT_PART('a.b', '.', 0), SPLIT_PART('a.b', '.', 3)",
        [("b", "a", "")],
        id="SPLIT_PART from either side",
    ),
    pytest.param(
        "SELECT REGEXP_LIKE('abc', 'b'), 'abc' RLIKE 'a.c', RLIKE('abc', 'abc')",
        [(False, True, True)],
        id="REGEXP_LIKE and RLIKE are about the whole text",
    ),
    pytest.param(
        "SELECT REGEXP_SUBSTR('abc', 'b.'), REGEXP_SUBSTR('abc', 'x'), REGEXP_REPLACE('aab', 'a', 'x'), "
        "REGEXP_COUNT('aab', 'a')",
        [("bc", None, "xxb", 2)],
        id="REGEXP_SUBSTR is NULL where nothing is found",
    ),
    pytest.param(
        "SELECT ARRAY_CONSTRUCT(10, 20)[0], ARRAY_SIZE(ARRAY_CONSTRUCT(1, 2)), GET(ARRAY_CONSTRUCT(5, 6), 1)",
        [(10, 2, 6)],
        id="arrays count from 0",
    ),
    pytest.param(
        "SELECT ARRAY_CONTAINS(1, ARRAY_CONSTRUCT(1, 2)), ARRAY_TO_STRING(ARRAY_CONSTRUCT('a', 'b'), '-')",
        [(True, "a-b")],
        id="ARRAY_CONTAINS has the value first",
    ),
    pytest.param(
        "SELECT DECODE(status, 'F', 'first', 'O', 'open', 'x'), DECODE(note, NULL, 1, 0) FROM orders ORDER BY id",
        [("first", 0), ("first", 0), ("open", 1), ("open", 0)],
        id="DECODE",
    ),
    pytest.param(
        "SELECT DAYNAME(d), MONTHNAME(d), DAYOFWEEK(d), DAYOFWEEKISO(d), WEEK(d), LAST_DAY(d), QUARTER(d), "
        "YEAR(d) FROM orders WHERE id = 1",
        [("Wed", "Jan", 3, 3, 1, day(1994, 1, 31), 1, 1994)],
        id="parts of days",
    ),
    pytest.param(
        "SELECT DATE_PART(year, d), DATE_PART('month', d), EXTRACT(dow FROM d) FROM orders WHERE id = 1",
        [(1994, 1, 3)],
        id="DATE_PART and EXTRACT",
    ),
    pytest.param(
        "SELECT MAX_BY(id, total), COUNT_IF(total > 15), APPROX_COUNT_DISTINCT(cust) FROM orders",
        [(2, 2, 3)],
        id="MAX_BY, COUNT_IF and an approximate count that is exact",
    ),
    pytest.param(
        "SELECT status, MEDIAN(total), PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY total) FROM orders GROUP "
        "BY status ORDER BY status",
        [("F", D("20.25"), D("20.25")), ("O", D("20.00"), D("20.00"))],
        id="MEDIAN and PERCENTILE_CONT of a group",
    ),
    pytest.param(
        "SELECT id, LAST_VALUE(note) IGNORE NULLS OVER (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND "
        "CURRENT ROW), FIRST_VALUE(total IGNORE NULLS) OVER (ORDER BY id) FROM orders ORDER BY id",
        [(1, "a,b", D("10.50")), (2, "c", D("10.50")), (3, "c", D("10.50")), (4, "a_b", D("10.50"))],
        id="IGNORE NULLS behind the call and in it",
    ),
    pytest.param(
        "SELECT * EXCLUDE (note, ts, d, total) RENAME (cust AS customer) FROM orders ORDER BY id LIMIT 1",
        [(1, 1, "F")],
        id="EXCLUDE and RENAME",
    ),
    pytest.param("SELECT id FROM orders MINUS SELECT 1 ORDER BY 1", [(2,), (3,), (4,)], id="MINUS"),
    pytest.param("SELECT column1 FROM VALUES (1), (2) ORDER BY column1", [(1,), (2,)], id="VALUES names its columns"),
    pytest.param(
        "SELECT status, cust, COUNT(*) FROM orders WHERE id < 3 GROUP BY CUBE (status, cust) ORDER BY 1, 2",
        [("F", 1, 2), ("F", None, 2), (None, 1, 2), (None, None, 2)],
        id="CUBE",
    ),
    pytest.param(
        "SELECT BOOLAND_AGG(total > 5), BOOLOR_AGG(total > 25) FROM orders", [(True, True)], id="aggregates of truth"
    ),
    pytest.param(
        "SELECT CURRENT_DATE(), CURRENT_TIMESTAMP()",
        [(day(1997, 5, 6), moment(1997, 5, 6, 7, 8, 9))],
        id="CURRENT_DATE and CURRENT_TIMESTAMP are when the job was created",
    ),
    pytest.param(
        "SELECT TRUNC(1.57, 1), ROUND(2.5), CEIL(1.2), LOG(2, 8), SQUARE(3), MOD(7, 3)",
        [(D("1.5"), D("3"), D("2"), 3.0, 9, 1)],
        id="numbers",
    ),
    pytest.param(
        "SELECT LEN('abc'), UPPER('a'), LPAD('1', 3, '0'), TRIM('  a '), STARTSWITH('abc', 'a'), CONTAINS('abc', 'b')",
        [(3, "A", "001", "a", True, True)],
        id="texts",
    ),
    pytest.param("SELECT ID AS Key FROM Orders WHERE Id = 1", [(1,)], id="names of any case"),
    pytest.param(
        "SELECT id, SUM(total) OVER (PARTITION BY cust ORDER BY id) FROM orders ORDER BY id",
        [(1, D("10.50")), (2, D("40.50")), (3, D("20.00")), (4, None)],
        id="a sum by partition",
    ),
    pytest.param(
        "SELECT DATE_FROM_PARTS(1994, 1, 31), ADD_MONTHS(DATE '1994-01-31', 1)",
        [(day(1994, 1, 31), day(1994, 2, 28))],
        id="DATE_FROM_PARTS and ADD_MONTHS",
    ),
    pytest.param(
        "SELECT id, LAST_VALUE(id) OVER (PARTITION BY status ORDER BY id) FROM orders ORDER BY id",
        [(1, 2), (2, 2), (3, 4), (4, 4)],
        id="LAST_VALUE sees the whole partition",
    ),
    pytest.param(
        "SELECT ADD_MONTHS(DATE '1994-02-28', 1), ADD_MONTHS(DATE '1994-02-27', 1), DATEADD(month, 1, DATE "
        "'1994-02-28')",
        [(day(1994, 3, 31), day(1994, 3, 27), day(1994, 3, 28))],
        id="ADD_MONTHS keeps the end of a month",
    ),
    pytest.param(
        "SELECT DATEDIFF(week, DATE '1994-01-09', DATE '1994-01-10'), DATEDIFF(week, DATE '1994-01-03', DATE "
        "'1994-01-09'), DATEDIFF(hour, '1994-01-05 10:59:00'::timestamp, '1994-01-05 11:01:00'::timestamp)",
        [(1, 0, 1)],
        id="DATEDIFF of weeks counts Mondays",
    ),
]


@pytest.mark.parametrize(("sql", "want"), STATEMENTS)
def test_a_statement_of_snowflake_has_the_rows_that_it_has_there(sql: str, want: list[tuple[Any, ...]]) -> None:
    assert rows("snowflake", sql) == want
