"""Trino: statements as people migrate them, and their rows, which Trino's documentation gives."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.sql_dialects import D, day, moment, rows

STATEMENTS = [
    pytest.param(
        "SELECT 7 / 2, 7.0 / 2, 7 / 2e0, -7 % 2", [(3, 3.5, 3.5, -1)], id="division of whole numbers is a whole number"
    ),
    pytest.param(
        "SELECT id, total FROM orders ORDER BY total",
        [(1, D("10.50")), (3, D("20.00")), (2, D("30.00")), (4, None)],
        id="NULL comes last",
    ),
    pytest.param(
        "SELECT id, total FROM orders ORDER BY total DESC",
        [(2, D("30.00")), (3, D("20.00")), (1, D("10.50")), (4, None)],
        id="NULL comes last when it goes down, too",
    ),
    pytest.param(
        "SELECT date_trunc('month', d), date_trunc('hour', ts) FROM orders WHERE id = 1",
        [(day(1994, 1, 1), moment(1994, 1, 5, 10))],
        id="date_trunc of a day is a day",
    ),
    pytest.param(
        "SELECT date_add('day', 7, d), date_add('month', 1, ts), date_add('hour', 1, ts) FROM orders WHERE id = 1",
        [(day(1994, 1, 12), moment(1994, 2, 5, 10, 11, 12, 500000), moment(1994, 1, 5, 11, 11, 12, 500000))],
        id="date_add keeps a day a day",
    ),
    pytest.param(
        "SELECT date_diff('day', DATE '1994-01-01', d), date_diff('month', DATE '1994-01-31', DATE "
        "'1994-02-28') FROM orders WHERE id = 1",
        [(4, 1)],
        id="date_diff counts whole units",
    ),
    pytest.param(
        "SELECT d + INTERVAL '1' MONTH, d - INTERVAL '2' DAY, ts + INTERVAL '3' HOUR FROM orders WHERE id = 1",
        [(day(1994, 2, 5), day(1994, 1, 3), moment(1994, 1, 5, 13, 11, 12, 500000))],
        id="a day and an interval are a day",
    ),
    pytest.param(
        "SELECT approx_distinct(cust), count_if(total > 15) FROM orders", [(3, 2)], id="approximate functions are exact"
    ),
    pytest.param(
        "SELECT status, approx_percentile(total, 0.5) FROM orders GROUP BY status ORDER BY status",
        [("F", D("10.50")), ("O", D("20.00"))],
        id="approx_percentile is an element",
    ),
    pytest.param(
        "SELECT try(1 / 0), try(CAST('x' AS integer)), try_cast('5' AS integer)",
        [(None, None, 5)],
        id="TRY of a division and of a cast",
    ),
    pytest.param(
        "SELECT cust, array_agg(note ORDER BY d) FROM orders GROUP BY cust ORDER BY cust",
        [(1, ["a,b", "c"]), (2, [None]), (3, ["a_b"])],
        id="array_agg in an order keeps NULL",
    ),
    pytest.param(
        "SELECT format_datetime(ts, 'yyyy-MM-dd HH:mm') FROM orders WHERE id = 1",
        [("1994-01-05 10:11",)],
        id="format_datetime with Joda's letters",
    ),
    pytest.param(
        "SELECT date_format(ts, '%Y-%m-%d %H:%i:%s'), date_parse('1994/01/05', '%Y/%m/%d') FROM orders WHERE id = 1",
        [("1994-01-05 10:11:12", moment(1994, 1, 5))],
        id="date_format with MySQL's letters",
    ),
    pytest.param(
        "SELECT o.id, w FROM orders o CROSS JOIN UNNEST(split(note, ',')) AS t(w) ORDER BY 1, 2",
        [(1, "a"), (1, "b"), (2, "c"), (4, "a_b")],
        id="UNNEST joins the elements",
    ),
    pytest.param(
        "SELECT CAST(2.5e0 AS integer), CAST(-2.5 AS integer), CAST(total AS decimal(12, 1)) FROM orders WHERE id = 1",
        [(3, -3, D("10.5"))],
        id="a cast rounds halves away from zero",
    ),
    pytest.param(
        "SELECT CAST(2.5 AS decimal), CAST('abcdef' AS varchar(3)), CAST(7 AS varchar)",
        [(D("3"), "abc", "7")],
        id="decimal without digits has no places, varchar(n) cuts",
    ),
    pytest.param(
        "SELECT if(total > 15, 1, 0), if(total > 15, 1), coalesce(note, 'x') FROM orders ORDER BY id",
        [(0, None, "a,b"), (1, 1, "c"), (1, 1, "x"), (0, None, "a_b")],
        id="IF and COALESCE",
    ),
    pytest.param(
        "SELECT count(*) FILTER (WHERE total > 15), max_by(id, total), min_by(id, total) FROM orders",
        [(2, 2, 1)],
        id="FILTER, max_by and min_by",
    ),
    pytest.param(
        "SELECT greatest(1, NULL), least(2, 3), concat('a', NULL)", [(None, 2, None)], id="GREATEST is NULL with NULL"
    ),
    pytest.param(
        "SELECT split_part('a,b', ',', 2), split_part('a,b', ',', 5)",
        [("b", None)],
        id="split_part is NULL behind the last",
    ),
    pytest.param(
        "SELECT regexp_extract('abc', 'x'), regexp_extract('abc', 'a(b)', 1), regexp_like('abc', 'b')",
        [(None, "b", True)],
        id="regular expressions: NULL where nothing is found",
    ),
    pytest.param(
        r"""SELECT regexp_replace('a1b2', '(\d)', '<$1>')""",
        [("a<1>b<2>",)],
        id="regexp_replace changes all, groups are $1",
    ),
    pytest.param(
        "SELECT ARRAY[10, 20][1], element_at(ARRAY[1, 2], 5), cardinality(ARRAY[1, 2]), contains(ARRAY[1], "
        "1), sequence(1, 3)",
        [(10, None, 2, True, [1, 2, 3])],
        id="arrays count from 1",
    ),
    pytest.param(
        "SELECT array_join(ARRAY['a', 'b'], '-'), cardinality(array_distinct(ARRAY[1, 1, 2])), "
        "array_max(ARRAY[1, 3, 2])",
        [("a-b", 2, 3)],
        id="array_join and array_distinct",
    ),
    pytest.param(
        "SELECT day_of_week(d), dow(d), week(d), year_of_week(d), last_day_of_month(d), quarter(d), "
        "EXTRACT(DOW FROM d) FROM orders WHERE id = 1",
        [(3, 3, 1, 1994, day(1994, 1, 31), 1, 3)],
        id="days of the week count from a Monday",
    ),
    pytest.param(
        "SELECT listagg(status, ',') WITHIN GROUP (ORDER BY id) FROM orders", [("F,F,O,O",)], id="LISTAGG in an order"
    ),
    pytest.param(
        "SELECT x FROM (VALUES 1, 2, 3) AS t(x) ORDER BY x FETCH FIRST 2 ROWS ONLY",
        [(1,), (2,)],
        id="VALUES and FETCH FIRST",
    ),
    pytest.param(
        "SELECT status, count(*) FROM orders GROUP BY GROUPING SETS ((status), ()) ORDER BY status",
        [("F", 2), ("O", 2), (None, 4)],
        id="GROUPING SETS",
    ),
    pytest.param(
        "SELECT id, row_number() OVER (PARTITION BY status ORDER BY total DESC) FROM orders ORDER BY id",
        [(1, 2), (2, 1), (3, 1), (4, 2)],
        id="row_number by partition",
    ),
    pytest.param(
        "SELECT id, lag(id) OVER (ORDER BY id), sum(total) OVER (ORDER BY id ROWS 1 PRECEDING) FROM orders ORDER BY id",
        [(1, None, D("10.50")), (2, 1, D("40.50")), (3, 2, D("50.00")), (4, 3, D("20.00"))],
        id="lag and a frame",
    ),
    pytest.param(
        "SELECT id FROM orders WHERE d BETWEEN DATE '1994-01-01' AND DATE '1994-12-31' ORDER BY id",
        [(1,), (2,)],
        id="BETWEEN days",
    ),
    pytest.param("SELECT id FROM orders WHERE note LIKE 'a!_b' ESCAPE '!'", [(4,)], id="LIKE with ESCAPE"),
    pytest.param(
        "SELECT from_unixtime(0), to_unixtime(ts) FROM orders WHERE id = 1",
        [(moment(1970, 1, 1), 757764672.5)],
        id="from_unixtime and to_unixtime",
    ),
    pytest.param(
        "WITH t AS (SELECT cust, sum(total) s FROM orders GROUP BY cust) SELECT cust, s FROM t WHERE s > 15 "
        "ORDER BY cust",
        [(1, D("40.50")), (2, D("20.00"))],
        id="a CTE and HAVING",
    ),
    pytest.param(
        "SELECT substr('hello', 0, 2), substr('hello', -2), substr('hello', 2, 2), strpos('abc', 'c'), "
        "lpad('a', 3, '*')",
        [("", "lo", "el", 3, "**a")],
        id="substr begins nowhere at 0",
    ),
    pytest.param(
        "SELECT id FROM orders a WHERE EXISTS (SELECT 1 FROM orders b WHERE b.cust = a.cust AND b.id <> "
        "a.id) ORDER BY id",
        [(1,), (2,)],
        id="EXISTS with the row outside",
    ),
    pytest.param(
        "SELECT every(total > 0), bool_or(total > 25), arbitrary(cust) FROM orders WHERE cust = 1",
        [(True, True, 1)],
        id="aggregates of truth",
    ),
    pytest.param(
        "SELECT truncate(2.7), log(2, 8), log10(100), mod(7, 3), round(2.5), ceiling(1.2), codepoint('a')",
        [(D("2"), 3.0, 2.0, 1, D("3"), D("2"), 97)],
        id="truncate, log and mod",
    ),
    pytest.param(
        "SELECT id FROM orders WHERE note NOT IN (SELECT note FROM orders WHERE id > 1) ORDER BY id",
        [],
        id="NOT IN with NULL finds nothing",
    ),
    pytest.param("SELECT cust FROM orders WHERE id < 3 INTERSECT SELECT 1", [(1,)], id="UNION and INTERSECT"),
    pytest.param(r"""SELECT "id" AS "the key" FROM "orders" WHERE id = 1""", [(1,)], id="quoted names"),
    pytest.param(
        "SELECT replace('abc', 'b'), replace('abc', 'b', 'x'), reverse('ab'), upper('a'), length('abc')",
        [("ac", "axc", "ba", "A", 3)],
        id="replace and reverse",
    ),
    pytest.param(
        "SELECT m FROM (SELECT status, max(total) AS m FROM orders GROUP BY status) t WHERE status = 'F'",
        [(D("30.00"),)],
        id="nested sub-queries in FROM",
    ),
]


@pytest.mark.parametrize(("sql", "want"), STATEMENTS)
def test_a_statement_of_trino_has_the_rows_that_it_has_there(sql: str, want: list[tuple[Any, ...]]) -> None:
    assert rows("trino", sql) == want
