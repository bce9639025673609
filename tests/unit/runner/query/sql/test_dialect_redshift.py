"""Redshift: statements as people migrate them, and their rows, which Redshift's documentation gives."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.sql_dialects import D, day, moment, rows

STATEMENTS = [
    pytest.param(
        "SELECT 7 / 2, 7 / 2.0, -7 / 2, 7 % 2", [(3, 3.5, -3, 1)], id="division of whole numbers is a whole number"
    ),
    pytest.param(
        "SELECT avg(id), avg(total), avg(DISTINCT cust) FROM orders",
        [(D("2"), 20.166666666666668, D("2"))],
        id="the average of whole numbers is a whole number",
    ),
    pytest.param(
        "SELECT id, avg(id) OVER (PARTITION BY status) FROM orders ORDER BY id",
        [(1, D("1")), (2, D("1")), (3, D("3")), (4, D("3"))],
        id="the average of a window too",
    ),
    pytest.param("SELECT avg(id) FILTER (WHERE id > 2) FROM orders", [(D("3"),)], id="the average of some rows too"),
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
    pytest.param("SELECT TOP 2 id FROM orders ORDER BY id DESC", [(4,), (3,)], id="TOP is LIMIT"),
    pytest.param(
        "SELECT DATEADD(day, 7, d), DATEADD(month, 1, '1994-01-31'::date), DATEADD(hour, 2, ts) FROM orders "
        "WHERE id = 1",
        [(moment(1994, 1, 12), moment(1994, 2, 28), moment(1994, 1, 5, 12, 11, 12, 500000))],
        id="DATEADD gives a moment",
    ),
    pytest.param(
        "SELECT DATEDIFF(day, d, '1994-02-01'), DATEDIFF(month, '1994-01-31'::date, '1994-02-01'::date), "
        "DATEDIFF(year, d, ts) FROM orders WHERE id = 1",
        [(27, 1, 0)],
        id="DATEDIFF counts the bounds between",
    ),
    pytest.param(
        "SELECT DATE_TRUNC('month', d), DATE_PART(year, d), DATE_PART(dow, d), EXTRACT(second FROM ts) FROM "
        "orders WHERE id = 1",
        [(moment(1994, 1, 1), 1994, 3, 12)],
        id="DATE_TRUNC and DATE_PART take words",
    ),
    pytest.param(
        "SELECT TRUNC(ts), TRUNC(2.7), TRUNC(1.57, 1) FROM orders WHERE id = 1",
        [(day(1994, 1, 5), D("2"), D("1.5"))],
        id="TRUNC of a moment is its day",
    ),
    pytest.param(
        "SELECT LAST_DAY(d), ADD_MONTHS(d, 1) FROM orders WHERE id = 1",
        [(day(1994, 1, 31), moment(1994, 2, 5))],
        id="LAST_DAY and ADD_MONTHS",
    ),
    pytest.param(
        "SELECT GETDATE(), SYSDATE::date, CURRENT_DATE",
        [(moment(1997, 5, 6, 7, 8, 9), day(1997, 5, 6), day(1997, 5, 6))],
        id="GETDATE and SYSDATE are when the job was created",
    ),
    pytest.param(
        "SELECT NVL(note, 'x'), NVL2(note, 1, 0), DECODE(status, 'F', 1, 'O', 2, 0) FROM orders ORDER BY id",
        [("a,b", 1, 1), ("c", 1, 1), ("x", 0, 2), ("a_b", 1, 2)],
        id="NVL, NVL2 and DECODE",
    ),
    pytest.param(
        "SELECT DECODE(note, NULL, 'none', 'some') FROM orders ORDER BY id",
        [("some",), ("some",), ("none",), ("some",)],
        id="DECODE takes NULL as equal to NULL",
    ),
    pytest.param(
        "SELECT status, LISTAGG(note, ',') WITHIN GROUP (ORDER BY note) FROM orders GROUP BY status ORDER BY status",
        [("F", "a,b,c"), ("O", "a_b")],
        id="LISTAGG in an order",
    ),
    pytest.param(
        "SELECT LISTAGG(status) WITHIN GROUP (ORDER BY id) FROM orders", [("FFOO",)], id="LISTAGG without a separator"
    ),
    pytest.param("SELECT APPROXIMATE COUNT(DISTINCT cust) FROM orders", [(3,)], id="APPROXIMATE COUNT is exact"),
    pytest.param(
        "SELECT status, MEDIAN(total) FROM orders GROUP BY status ORDER BY status",
        [("F", D("20.25")), ("O", D("20.00"))],
        id="MEDIAN of a group",
    ),
    pytest.param(
        "SELECT id::varchar(10), total::decimal(10, 1), 'abcdef'::varchar(3) FROM orders WHERE id = 1",
        [("1", D("10.5"), "abc")],
        id="casts with two colons",
    ),
    pytest.param("SELECT '2.5'::decimal, 2.4::decimal", [(D("3"), D("2"))], id="decimal without digits has no places"),
    pytest.param(
        "SELECT CONCAT('a', NULL), 'a' || NULL, CONCAT('a', 'b')", [(None, None, "ab")], id="CONCAT is NULL with NULL"
    ),
    pytest.param(
        "SELECT LEN('abc'), CHARINDEX('b', 'abc'), STRPOS('abc', 'c'), LEFT('abc', 2), RIGHT('abc', 2)",
        [(3, 2, 3, "ab", "bc")],
        id="LEN, CHARINDEX and STRPOS",
    ),
    pytest.param(
        "SELECT SUBSTRING('hello', 0, 3), SUBSTR('hello', 2, 2), SUBSTRING('hello', -1, 3)",
        [("he", "el", "h")],
        id="SUBSTRING counts places before the first",
    ),
    pytest.param(
        "SELECT REGEXP_REPLACE('aab', 'a', 'x'), REGEXP_REPLACE('a1', '([0-9])', '<$1>')",
        [("xxb", "a<1>")],
        id="REGEXP_REPLACE changes all",
    ),
    pytest.param(
        "SELECT REGEXP_SUBSTR('abc', 'b.'), REGEXP_SUBSTR('abc', 'x'), REGEXP_COUNT('aab', 'a')",
        [("bc", "", 2)],
        id="REGEXP_SUBSTR gives nothing where nothing is found",
    ),
    pytest.param(
        "SELECT id FROM orders WHERE note SIMILAR TO '%(a|b)%' ORDER BY id", [(1,), (4,)], id="SIMILAR TO with %"
    ),
    pytest.param(
        "SELECT id FROM orders WHERE status ILIKE 'f%' AND d >= '1994-02-01'",
        [(2,)],
        id="ILIKE and a comparison with a text that is a day",
    ),
    pytest.param(r"""SELECT id FROM orders WHERE note LIKE 'a\\_b'""", [(4,)], id="two backslashes are one in LIKE"),
    pytest.param(
        "SELECT TO_CHAR(d, 'YYYY-MM'), TO_CHAR(ts, 'HH24:MI') FROM orders WHERE id = 1",
        [("1994-01", "10:11")],
        id="TO_CHAR of a time",
    ),
    pytest.param(
        "SELECT id, FIRST_VALUE(note IGNORE NULLS) OVER (ORDER BY id DESC ROWS BETWEEN UNBOUNDED PRECEDING "
        "AND UNBOUNDED FOLLOWING) FROM orders WHERE id > 1 ORDER BY id",
        [(2, "a_b"), (3, "a_b"), (4, "a_b")],
        id="FIRST_VALUE with IGNORE NULLS in the call",
    ),
    pytest.param(
        "SELECT id, SUM(total) OVER (ORDER BY id ROWS UNBOUNDED PRECEDING) FROM orders ORDER BY id",
        [(1, D("10.50")), (2, D("40.50")), (3, D("60.50")), (4, D("60.50"))],
        id="a running sum with a short frame",
    ),
    pytest.param(
        "SELECT id FROM orders QUALIFY ROW_NUMBER() OVER (PARTITION BY status ORDER BY id DESC) = 1 ORDER BY id",
        [(2,), (4,)],
        id="QUALIFY keeps the last of each",
    ),
    pytest.param(
        "SELECT id, DENSE_RANK() OVER (ORDER BY status), NTILE(2) OVER (ORDER BY id) FROM orders ORDER BY id",
        [(1, 1, 1), (2, 1, 1), (3, 2, 2), (4, 2, 2)],
        id="DENSE_RANK and NTILE",
    ),
    pytest.param("SELECT id FROM orders MINUS SELECT 1 ORDER BY 1", [(2,), (3,), (4,)], id="MINUS is EXCEPT"),
    pytest.param(
        "SELECT id FROM orders WHERE EXISTS (SELECT 1 FROM orders o2 WHERE o2.cust = orders.cust AND o2.id > "
        "orders.id)",
        [(1,)],
        id="EXISTS with the row outside",
    ),
    pytest.param(
        "SELECT COUNT(*) FROM orders o LEFT JOIN orders p ON o.id = p.cust WHERE p.id IS NULL",
        [(1,)],
        id="an outer join finds what has no partner",
    ),
    pytest.param(
        "SELECT cust, SUM(total) FROM orders GROUP BY cust HAVING SUM(total) > 15 ORDER BY cust",
        [(1, D("40.50")), (2, D("20.00"))],
        id="HAVING",
    ),
    pytest.param(
        "SELECT CASE WHEN total > 15 THEN 'big' ELSE 'small' END AS size, COUNT(*) FROM orders GROUP BY 1 ORDER BY 1",
        [("big", 2), ("small", 2)],
        id="CASE groups rows",
    ),
    pytest.param(
        "SELECT LOG(100), DLOG10(100), LN(1), POWER(2, 3), MOD(7, 3), CEIL(1.2), FLOOR(-1.2)",
        [(2.0, 2.0, 0.0, 8.0, 1, D("2"), D("-2"))],
        id="LOG is of base ten",
    ),
    pytest.param(
        "WITH x AS (SELECT id FROM orders) SELECT x.id FROM x ORDER BY 1 LIMIT 2 OFFSET 1",
        [(2,), (3,)],
        id="a CTE and a page of it",
    ),
    pytest.param("SELECT GREATEST(1, NULL), LEAST(3, 2), ISNULL(NULL, 5)", [(1, 2, 5)], id="GREATEST passes over NULL"),
    pytest.param(
        "SELECT status, COUNT(*) FROM orders GROUP BY ROLLUP(status) ORDER BY status",
        [("F", 2), ("O", 2), (None, 4)],
        id="ROLLUP has a row for all",
    ),
    pytest.param(
        "SELECT ADD_MONTHS('1994-02-28'::date, 1)", [(moment(1994, 3, 31),)], id="ADD_MONTHS keeps the end of a month"
    ),
]


@pytest.mark.parametrize(("sql", "want"), STATEMENTS)
def test_a_statement_of_redshift_has_the_rows_that_it_has_there(sql: str, want: list[tuple[Any, ...]]) -> None:
    assert rows("redshift", sql) == want
