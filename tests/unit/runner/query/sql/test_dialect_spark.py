"""Spark: statements as people migrate them, and their rows, which Spark's documentation gives."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.sql_dialects import D, day, moment, rows

STATEMENTS = [
    pytest.param(
        "SELECT 7 / 2, 7 DIV 2, -7 % 3, pmod(-7, 3)", [(3.5, 3, -1, 2)], id="division is a fraction, DIV a whole number"
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
        "SELECT CAST(2.7 AS INT), CAST(-2.7D AS BIGINT), CAST(total AS INT), CAST('12' AS INT) FROM orders "
        "WHERE id = 1",
        [(2, -2, 10, 12)],
        id="a cast to a whole number cuts",
    ),
    pytest.param(
        "SELECT TRY_CAST('x' AS INT), TRY_CAST('5' AS INT)", [(None, 5)], id="TRY_CAST is NULL where CAST fails"
    ),
    pytest.param(
        "SELECT YEAR(d) AS y, SUM(total) FROM orders GROUP BY YEAR(d) ORDER BY y",
        [(1994, D("40.50")), (1995, D("20.00")), (1996, None)],
        id="YEAR and grouping by it",
    ),
    pytest.param(
        "SELECT DATE_ADD(d, 7), DATE_SUB(d, 1), ADD_MONTHS(DATE'1994-01-31', 1) FROM orders WHERE id = 1",
        [(day(1994, 1, 12), day(1994, 1, 4), day(1994, 2, 28))],
        id="DATE_ADD, DATE_SUB and ADD_MONTHS give days",
    ),
    pytest.param(
        "SELECT DATEDIFF(d, DATE'1994-01-01') FROM orders WHERE id = 1", [(4,)], id="DATEDIFF has the end first"
    ),
    pytest.param(
        "SELECT TIMESTAMPDIFF(MONTH, DATE'1994-01-31', DATE'1994-03-01'), DATEDIFF(DAY, DATE'1994-01-31', "
        "DATE'1994-03-01')",
        [(1, 29)],
        id="TIMESTAMPDIFF counts whole units",
    ),
    pytest.param(
        "SELECT TRUNC(d, 'MM'), TRUNC(d, 'YEAR'), DATE_TRUNC('HOUR', ts) FROM orders WHERE id = 1",
        [(day(1994, 1, 1), day(1994, 1, 1), moment(1994, 1, 5, 10))],
        id="TRUNC cuts a day to its month",
    ),
    pytest.param(
        "SELECT d + INTERVAL 3 DAYS, d - INTERVAL '1' MONTH, ts + INTERVAL 2 HOURS FROM orders WHERE id = 1",
        [(day(1994, 1, 8), day(1993, 12, 5), moment(1994, 1, 5, 12, 11, 12, 500000))],
        id="a day and an interval of days are a day",
    ),
    pytest.param(
        r"""SELECT DATE_FORMAT(d, 'yyyy-MM'), DATE_FORMAT(ts, "EEE dd MMM yyyy HH:mm:ss 'at' a") FROM orders """
        "WHERE id = 1",
        [("1994-01", "Wed 05 Jan 1994 10:11:12 at AM")],
        id="DATE_FORMAT with Java's letters",
    ),
    pytest.param(
        "SELECT TO_DATE('05/01/1994', 'dd/MM/yyyy'), TO_DATE('1994-01-05'), TO_TIMESTAMP('1994-01-05 10:11:12')",
        [(day(1994, 1, 5), day(1994, 1, 5), moment(1994, 1, 5, 10, 11, 12))],
        id="TO_DATE and TO_TIMESTAMP",
    ),
    pytest.param(
        "SELECT UNIX_TIMESTAMP(ts), FROM_UNIXTIME(0), FROM_UNIXTIME(86400, 'yyyy-MM-dd') FROM orders WHERE id = 1",
        [(757764672, "1970-01-01 00:00:00", "1970-01-02")],
        id="UNIX_TIMESTAMP and FROM_UNIXTIME",
    ),
    pytest.param(
        "SELECT DAYOFWEEK(d), WEEKDAY(d), WEEKOFYEAR(d), QUARTER(d), LAST_DAY(d), EXTRACT(DAYOFWEEK FROM d) "
        "FROM orders WHERE id = 1",
        [(4, 2, 1, 1, day(1994, 1, 31), 4)],
        id="days of the week count from a Sunday that is 1",
    ),
    pytest.param(
        "SELECT id, w FROM orders LATERAL VIEW EXPLODE(SPLIT(note, ',')) t AS w ORDER BY id, w",
        [(1, "a"), (1, "b"), (2, "c"), (4, "a_b")],
        id="LATERAL VIEW explodes a list",
    ),
    pytest.param(
        "SELECT id, w FROM orders LATERAL VIEW OUTER EXPLODE(SPLIT(note, ',')) t AS w ORDER BY id, w",
        [(1, "a"), (1, "b"), (2, "c"), (3, None), (4, "a_b")],
        id="LATERAL VIEW OUTER keeps rows without elements",
    ),
    pytest.param("SELECT EXPLODE(SEQUENCE(1, 3))", [(1,), (2,), (3,)], id="EXPLODE in SELECT"),
    pytest.param(
        "SELECT NVL(note, 'x'), IF(total > 15, 1, 0), NVL2(note, 'some', 'none') FROM orders ORDER BY id",
        [("a,b", 0, "some"), ("c", 1, "some"), ("x", 1, "none"), ("a_b", 0, "some")],
        id="NVL, IF and NVL2",
    ),
    pytest.param(
        "SELECT id, note RLIKE 'a.*b', REGEXP_LIKE(note, '^c') FROM orders ORDER BY id",
        [(1, True, False), (2, False, True), (3, None, None), (4, True, False)],
        id="RLIKE finds anywhere",
    ),
    pytest.param(
        "SELECT /*+ BROADCAST(i) */ o.id FROM orders o LEFT SEMI JOIN orders i ON o.id = i.cust ORDER BY o.id",
        [(1,), (2,), (3,)],
        id="hints are passed over, LEFT SEMI JOIN keeps the left side",
    ),
    pytest.param(
        "SELECT o.id FROM orders o LEFT ANTI JOIN orders i ON o.id = i.cust",
        [(4,)],
        id="LEFT ANTI JOIN keeps what has no partner",
    ),
    pytest.param(
        "SELECT cust, COLLECT_LIST(note) FROM orders GROUP BY cust ORDER BY cust",
        [(1, ["a,b", "c"]), (2, []), (3, ["a_b"])],
        id="COLLECT_LIST leaves NULL out",
    ),
    pytest.param(
        "SELECT SIZE(COLLECT_SET(status)), ARRAY_CONTAINS(COLLECT_SET(status), 'F') FROM orders",
        [(2, True)],
        id="SIZE of COLLECT_SET",
    ),
    pytest.param(
        "SELECT status, PERCENTILE_APPROX(total, 0.5), PERCENTILE(total, 0.5) FROM orders GROUP BY status "
        "ORDER BY status",
        [("F", D("10.50"), D("20.25")), ("O", D("20.00"), D("20.00"))],
        id="PERCENTILE_APPROX is an element, exact",
    ),
    pytest.param(
        "SELECT COUNT(DISTINCT cust, status), COUNT(DISTINCT status) FROM orders",
        [(3, 2)],
        id="COUNT DISTINCT of two columns",
    ),
    pytest.param("SELECT MAX_BY(id, total), MIN_BY(id, total) FROM orders", [(2, 1)], id="MAX_BY and MIN_BY"),
    pytest.param(
        "SELECT COUNT_IF(total > 15), ANY_VALUE(status), APPROX_COUNT_DISTINCT(cust) FROM orders",
        [(2, "F", 3)],
        id="COUNT_IF, ANY_VALUE and an approximate count that is exact",
    ),
    pytest.param(
        "SELECT SUBSTRING('hello', 0, 2), SUBSTRING('hello', -3), SUBSTR('hello', 2)",
        [("he", "llo", "ello")],
        id="SUBSTRING at 0 begins at 1, below 0 counts from the end",
    ),
    pytest.param(
        "SELECT SUBSTRING_INDEX('a.b.c', '.', 2), SUBSTRING_INDEX('a.b.c', '.', -2)",
        [("a.b", "b.c")],
        id="SUBSTRING_INDEX from either side",
    ),
    pytest.param(
        "SELECT INSTR('abc', 'b'), LOCATE('b', 'abc'), POSITION('c' IN 'abc')", [(2, 2, 3)], id="INSTR and LOCATE"
    ),
    pytest.param(
        r"""SELECT REGEXP_EXTRACT('a12', 'a(\\d)'), REGEXP_EXTRACT('a12', 'a(\\d)', 0), REGEXP_EXTRACT('x', """
        "'(y)')",
        [("1", "a1", "")],
        id="REGEXP_EXTRACT gives the first group",
    ),
    pytest.param(
        r"""SELECT REGEXP_REPLACE('a1b2', '(\\d)', '<$1>')""",
        [("a<1>b<2>",)],
        id="REGEXP_REPLACE changes all, groups are $1",
    ),
    pytest.param(
        "SELECT CONCAT('a', NULL), CONCAT_WS(',', 'a', NULL, 'b'), CONCAT('a', 'b', 'c')",
        [(None, "a,b", "abc")],
        id="CONCAT is NULL with NULL, CONCAT_WS passes over it",
    ),
    pytest.param("SELECT SPLIT('a1b22c', '[0-9]+')", [(["a", "b", "c"],)], id="SPLIT takes a regular expression"),
    pytest.param(
        "SELECT ARRAY(10, 20)[0], ELEMENT_AT(ARRAY(10, 20), 1), SIZE(ARRAY(1, 2))",
        [(10, 10, 2)],
        id="arrays count from 0, ELEMENT_AT from 1",
    ),
    pytest.param(
        "SELECT status, COUNT(*) FROM orders GROUP BY status WITH ROLLUP ORDER BY status",
        [(None, 4), ("F", 2), ("O", 2)],
        id="WITH ROLLUP",
    ),
    pytest.param(
        "SELECT id, LAST_VALUE(note) IGNORE NULLS OVER (ORDER BY id) FROM orders ORDER BY id",
        [(1, "a,b"), (2, "c"), (3, "c"), (4, "a_b")],
        id="IGNORE NULLS behind the call",
    ),
    pytest.param(
        "SELECT id, ROW_NUMBER() OVER (PARTITION BY status ORDER BY total DESC), SUM(id) OVER (ORDER BY id "
        "ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM orders ORDER BY id",
        [(1, 2, D("1")), (2, 1, D("3")), (3, 1, D("5")), (4, 2, D("7"))],
        id="a window in an order",
    ),
    pytest.param("SELECT id FROM orders WHERE note <=> NULL", [(3,)], id="the spaceship takes NULL as a value"),
    pytest.param(
        r"""SELECT id FROM orders WHERE note LIKE 'a\\_b'""", [(4,)], id="a backslash takes the meaning of _ in LIKE"
    ),
    pytest.param(
        "SELECT `id` FROM `orders` MINUS SELECT 1 ORDER BY 1", [(2,), (3,), (4,)], id="names in back ticks, MINUS"
    ),
    pytest.param(
        "SELECT LOG(1), LOG(2, 8), ROUND(2.5), CEIL(1.2), SIGNUM(-3)",
        [(0.0, 3.0, D("3"), D("2"), -1)],
        id="LOG is natural, with a base it is not",
    ),
    pytest.param(
        "SELECT col1, col2 FROM VALUES (1, 'a'), (2, 'b') ORDER BY col1",
        [(1, "a"), (2, "b")],
        id="VALUES names its columns",
    ),
    pytest.param(
        "SELECT DECODE(status, 'F', 1, 0), CASE status WHEN 'F' THEN 'first' ELSE 'open' END FROM orders ORDER BY id",
        [(1, "first"), (1, "first"), (0, "open"), (0, "open")],
        id="DECODE and CASE",
    ),
    pytest.param(
        "SELECT CURRENT_DATE, CURRENT_TIMESTAMP()",
        [(day(1997, 5, 6), moment(1997, 5, 6, 7, 8, 9))],
        id="CURRENT_DATE and CURRENT_TIMESTAMP are when the job was created",
    ),
    pytest.param(
        "SELECT id FROM orders WHERE d >= :since ORDER BY id", [(3,), (4,)], id="a parameter in another dialect"
    ),
]


@pytest.mark.parametrize(("sql", "want"), STATEMENTS)
def test_a_statement_of_spark_has_the_rows_that_it_has_there(sql: str, want: list[tuple[Any, ...]]) -> None:
    assert rows("spark", sql) == want
