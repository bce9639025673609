"""PostgreSQL: statements as people migrate them, and their rows, which PostgreSQL's documentation gives."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.sql_dialects import UTC, D, day, moment, rows

STATEMENTS = [
    pytest.param(
        "SELECT 7 / 2, -7 / 2, 7 / 2.0, id / 2 FROM orders WHERE id = 3",
        [(3, -3, 3.5, 1)],
        id="division of whole numbers is a whole number, cut towards zero",
    ),
    pytest.param(
        "SELECT EXTRACT(MONTH FROM d) / 2, date_part('month', d) / 2 FROM orders ORDER BY id",
        [(0.5, 0.5), (1.5, 1.5), (1.5, 1.5), (6.0, 6.0)],
        id="a quotient with a part of a date is exact, as EXTRACT is a NUMERIC",
    ),
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
        "SELECT EXTRACT(YEAR FROM d) AS y, sum(total) FROM orders GROUP BY 1 ORDER BY 1",
        [(1994, D("40.50")), (1995, D("20.00")), (1996, None)],
        id="EXTRACT groups by year",
    ),
    pytest.param(
        "SELECT EXTRACT(SECOND FROM ts), date_part('dow', d) FROM orders WHERE id = 1",
        [(12.5, 3)],
        id="seconds have a fraction",
    ),
    pytest.param(
        "SELECT date_trunc('month', d), date_trunc('hour', ts) FROM orders WHERE id = 1",
        [(moment(1994, 1, 1), moment(1994, 1, 5, 10))],
        id="date_trunc of a day is a moment",
    ),
    pytest.param(
        "SELECT d + INTERVAL '1 month', d - DATE '1994-01-01', d + 7 FROM orders WHERE id = 1",
        [(moment(1994, 2, 5), 4, day(1994, 1, 12))],
        id="a day and an interval are a moment, two days are a number",
    ),
    pytest.param(
        "SELECT DATE '1994-01-31' + INTERVAL '1 month'", [(moment(1994, 2, 28),)], id="the end of a month stays one"
    ),
    pytest.param(
        "SELECT DISTINCT ON (cust) cust, id FROM orders ORDER BY cust, d DESC",
        [(1, 2), (2, 3), (3, 4)],
        id="DISTINCT ON keeps the first of each",
    ),
    pytest.param(
        "SELECT status, string_agg(note, ';' ORDER BY note DESC) FROM orders GROUP BY status ORDER BY status",
        [("F", "c;a,b"), ("O", "a_b")],
        id="string_agg in an order",
    ),
    pytest.param(
        "SELECT array_agg(note ORDER BY id) FROM orders", [(["a,b", "c", None, "a_b"],)], id="array_agg keeps NULL"
    ),
    pytest.param(
        "SELECT id FROM orders WHERE note ~ 'a.*b' AND status ILIKE 'f%'",
        [(1,)],
        id="a regular expression is found anywhere, ILIKE of any case",
    ),
    pytest.param(
        "SELECT id FROM orders WHERE note !~* '^A' ORDER BY id", [(2,)], id="a regular expression of any case, negated"
    ),
    pytest.param(
        "SELECT note SIMILAR TO '(a|c)%', note SIMILAR TO 'a' FROM orders ORDER BY id",
        [(True, False), (True, False), (None, None), (True, False)],
        id="SIMILAR TO is about the whole text, with % and _",
    ),
    pytest.param(
        r"""SELECT id FROM orders WHERE note LIKE 'a\_b'""", [(4,)], id="a backslash takes the meaning of _ in LIKE"
    ),
    pytest.param(
        "SELECT to_char(d, 'YYYY-MM'), to_char(ts, 'yyyy-mm-dd hh24:mi:ss') FROM orders WHERE id = 1",
        [("1994-01", "1994-01-05 10:11:12")],
        id="to_char with letters of any case",
    ),
    pytest.param(
        r"""SELECT to_char(d, 'FMDay, DD Mon YYYY "at" IW') FROM orders WHERE id = 1""",
        [("Wednesday, 05 Jan 1994 at 01",)],
        id="to_char with quoted text and names",
    ),
    pytest.param(
        "SELECT to_date('05 Jan 1994', 'DD Mon YYYY'), to_timestamp('1994-01-05 10:11', 'YYYY-MM-DD HH24:MI')",
        [(day(1994, 1, 5), moment(1994, 1, 5, 10, 11))],
        id="to_date and to_timestamp read patterns",
    ),
    pytest.param("SELECT generate_series(1, 3)", [(1,), (2,), (3,)], id="generate_series makes rows in SELECT"),
    pytest.param(
        "SELECT x * 2 FROM generate_series(1, 5, 2) AS g(x) ORDER BY x",
        [(2,), (6,), (10,)],
        id="generate_series makes rows in FROM",
    ),
    pytest.param(
        "SELECT '1.23456'::numeric, round('2.345'::numeric, 2)",
        [(D("1.2345600000"), D("2.35"))],
        id="numeric without digits keeps ten places",
    ),
    pytest.param(
        "SELECT total::numeric(10, 1), '2.45'::numeric(3, 1) FROM orders WHERE id = 1",
        [(D("10.5"), D("2.5"))],
        id="a cast to numeric rounds",
    ),
    pytest.param(
        "SELECT 'abcdef'::varchar(3), id::text FROM orders WHERE id = 1", [("abc", "1")], id="a cast to varchar(n) cuts"
    ),
    pytest.param(
        "SELECT id FROM orders WHERE id = ANY(ARRAY[1, 4]) ORDER BY id", [(1,), (4,)], id="= ANY of an array is IN"
    ),
    pytest.param(
        "SELECT (ARRAY[10, 20])[1], array_length(ARRAY[1, 2], 1), cardinality(ARRAY[1])",
        [(10, 2, 1)],
        id="arrays count from 1",
    ),
    pytest.param(
        "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY total) FROM orders GROUP BY cust > 0",
        [(D("20.00"),)],
        id="percentile_cont within its order",
    ),
    pytest.param(
        "SELECT substring('hello' FROM 2 FOR 3), substring('hello' FROM -1 FOR 3), substr('hello', 0, 3), "
        "substring('hello' FROM 4)",
        [("ell", "h", "he", "lo")],
        id="substring counts places before the first",
    ),
    pytest.param(
        "SELECT substring('foobar' FROM 'o.b'), substring('foobar' FROM 'x')",
        [("oob", None)],
        id="substring takes a regular expression",
    ),
    pytest.param(
        r"""SELECT regexp_replace('aab', 'a', 'x'), regexp_replace('aab', '(a)', '<\1>', 'g')""",
        [("xab", "<a><a>b")],
        id="regexp_replace changes the first, with g all",
    ),
    pytest.param(
        "SELECT position('b' IN 'abc'), overlay('abcdef' PLACING 'ZZ' FROM 2 FOR 3), trim(BOTH 'x' FROM "
        "'xax'), btrim('xax', 'x')",
        [(2, "aZZef", "a", "a")],
        id="position, overlay and trim have a syntax of their own",
    ),
    pytest.param(
        "SELECT lpad('a', 3), rpad('a', 3, '*'), lpad('abcd', 2)", [("  a", "a**", "ab")], id="lpad fills with blanks"
    ),
    pytest.param(
        "SELECT concat('a', NULL, 'b'), 'a' || NULL, concat_ws(',', 'a', NULL, 'b')",
        [("ab", None, "a,b")],
        id="concat passes over NULL, || does not",
    ),
    pytest.param("SELECT greatest(1, NULL, 3), least(NULL, 2)", [(3, 2)], id="greatest and least pass over NULL"),
    pytest.param(
        "SELECT count(*) FILTER (WHERE total > 15), count(DISTINCT cust), bool_or(total > 25) FROM orders",
        [(2, 3, True)],
        id="FILTER and DISTINCT in aggregates",
    ),
    pytest.param(
        "SELECT id, row_number() OVER (PARTITION BY status ORDER BY total DESC), sum(id) OVER (ORDER BY id "
        "ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM orders ORDER BY id",
        [(1, 2, D("1")), (2, 1, D("3")), (3, 2, D("5")), (4, 1, D("7"))],
        id="windows number and sum rows",
    ),
    pytest.param(
        "SELECT id, lag(id) OVER w, first_value(note) OVER w FROM orders WINDOW w AS (ORDER BY id) ORDER BY id",
        [(1, None, "a,b"), (2, 1, "a,b"), (3, 2, "a,b"), (4, 3, "a,b")],
        id="a named window",
    ),
    pytest.param(
        "SELECT status, count(*) FROM orders GROUP BY ROLLUP (status) ORDER BY status",
        [("F", 2), ("O", 2), (None, 4)],
        id="ROLLUP has a row for all",
    ),
    pytest.param(
        "SELECT a.id, x.id FROM orders a LEFT JOIN LATERAL (SELECT b.id FROM orders b WHERE b.cust = a.cust "
        "AND b.id > a.id) x ON TRUE ORDER BY a.id",
        [(1, 2), (2, None), (3, None), (4, None)],
        id="LATERAL sees the row beside it",
    ),
    pytest.param(
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT n FROM r ORDER BY n",
        [(1,), (2,), (3,)],
        id="a recursive CTE",
    ),
    pytest.param(
        "SELECT id FROM orders o WHERE total >= (SELECT avg(total) FROM orders i WHERE i.status = o.status) "
        "ORDER BY id",
        [(2,), (3,)],
        id="a correlated sub-query compares with its group",
    ),
    pytest.param("SELECT id FROM orders WHERE (id, cust) IN (SELECT 2, 1)", [(2,)], id="rows in IN"),
    pytest.param(
        "SELECT column1, column2 FROM (VALUES (1, 'a'), (2, 'b')) AS v ORDER BY column1",
        [(1, "a"), (2, "b")],
        id="VALUES names its columns",
    ),
    pytest.param(
        "SELECT id FROM orders WHERE note IS NOT DISTINCT FROM NULL",
        [(3,)],
        id="IS DISTINCT FROM takes NULL as a value",
    ),
    pytest.param(
        "SELECT 7 % -2, -7 % 2, mod(7, 3), div(7, 2)", [(1, -1, 1, 3)], id="modulo has the sign of the dividend"
    ),
    pytest.param(
        "SELECT log(100), log(2, 8), ln(1), trunc(1.57, 1), round(-2.5), sign(-2)",
        [(2.0, 3.0, 0.0, D("1.5"), D("-3"), -1)],
        id="log is of base ten",
    ),
    pytest.param(
        "SELECT current_date, now()",
        [(day(1997, 5, 6), moment(1997, 5, 6, 7, 8, 9, tzinfo=UTC))],
        id="current_date and now() are when the job was created",
    ),
    pytest.param(
        "SELECT make_date(1994, 1, 5), DATE '1994-03-01' - DATE '1994-02-01'",
        [(day(1994, 1, 5), 28)],
        id="make_date and age of days",
    ),
    pytest.param(
        "SELECT split_part('a.b', '.', 2), split_part('a.b', '.', 3), strpos('abc', 'c'), left('abc', -1)",
        [("b", "", 3, "ab")],
        id="split_part gives nothing behind the last",
    ),
]


@pytest.mark.parametrize(("sql", "want"), STATEMENTS)
def test_a_statement_of_postgres_has_the_rows_that_it_has_there(sql: str, want: list[tuple[Any, ...]]) -> None:
    assert rows("postgres", sql) == want
