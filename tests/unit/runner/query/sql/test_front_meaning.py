"""What the front end makes of forms that DuckDB's plan spells in its own way, by the rows that come out."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pyarrow as pa
import pytest

from tests.support.sql import check, ours, same

T = pa.table(
    {
        "i": pa.array([1, 2, 2, None, 5, -3], pa.int32()),
        "b": pa.array([10, 20, 30, 40, None, 10], pa.int64()),
        "d": pa.array(
            [Decimal("1.25"), Decimal("-2.50"), None, Decimal("0.05"), Decimal("9.99"), Decimal("1.25")],
            pa.decimal128(9, 2),
        ),
        "f": pa.array([0.5, 1.5, 2.5, None, -0.5, 3.5]),
        "s": pa.array(["a", "b", "b", None, "ä", ""]),
        "l": pa.array([[1, 2], [], None, [3], [None, 4], [1, 1]], pa.list_(pa.int32())),
        "day": pa.array(
            [
                dt.date(2020, 1, 31),
                None,
                dt.date(1999, 12, 31),
                dt.date(2020, 2, 29),
                dt.date(2021, 3, 1),
                dt.date(2020, 1, 1),
            ]
        ),
    }
)
U = pa.table(
    {
        "i": pa.array([1, 2, 7, None], pa.int32()),
        "x": pa.array(["a", "z", "b", "c"]),
        "k": pa.array([1, 5, 2, 3], pa.int64()),
    }
)
TABLES = {"t": T, "u": U}

STATEMENTS = (
    "SELECT i, x FROM t, unnest(t.l) AS q(x)",
    "SELECT i, x, n FROM t, unnest(t.l) WITH ORDINALITY AS q(x, n)",
    "SELECT i, y, z FROM t, unnest(t.l) AS a(y), unnest([y, t.i]) AS b(z)",
    "SELECT i, x FROM t, unnest(t.l) AS q(x) WHERE x > 1 AND i < 5",
    "SELECT i, x FROM t LEFT JOIN LATERAL (SELECT unnest(l) AS x) AS q ON true",
    "SELECT i, r FROM t, range(t.i) AS q(r)",
    "SELECT i, a FROM t, LATERAL (SELECT i + b AS a) AS v",
    "SELECT i, m FROM t, LATERAL (SELECT max(k) AS m FROM u WHERE u.i = t.i) AS v",
    "SELECT * FROM (VALUES (1, 'a'), (2, NULL)) AS v(x, y)",
    "SELECT x FROM unnest([3, NULL, 4]) AS q(x)",
    "SELECT * FROM generate_series(1, 10, 4)",
    "SELECT i, unnest(l) FROM t",
    "SELECT i FROM t WHERE i = (SELECT i FROM u WHERE x = 'z')",
    "SELECT i, (SELECT k FROM u WHERE u.i = t.i) FROM t",
    "SELECT (SELECT k FROM u WHERE x = 'q')",
    "SELECT i FROM t WHERE i IN (SELECT i FROM u WHERE i IS NOT NULL) OR s = 'ä'",
    "SELECT i, i NOT IN (SELECT i FROM u) FROM t",
    "SELECT i, b > ALL (SELECT k FROM u), b <= ANY (SELECT k FROM u) FROM t",
    "SELECT i, EXISTS (SELECT 1 FROM u WHERE u.i = t.i AND u.k < t.b) FROM t",
    "SELECT i, list_transform(l, lambda x: x + i), list_filter(l, lambda x: x > 1) FROM t",
    "SELECT string_agg(s), string_agg(s, '-' ORDER BY s DESC) FROM t",
    "SELECT quantile_cont(f, 0.25), percentile_cont(0.25) WITHIN GROUP (ORDER BY f DESC) FROM t",
    "SELECT i, sum(b) OVER (ORDER BY i RANGE BETWEEN 1 PRECEDING AND 3 FOLLOWING) FROM t",
    "SELECT i, sum(b) OVER (ORDER BY i DESC RANGE BETWEEN 1 PRECEDING AND CURRENT ROW) FROM t",
    "SELECT s, count(*), grouping(s) FROM t GROUP BY ROLLUP (s)",
    "SELECT DISTINCT ON (s) s, i FROM t ORDER BY s, b DESC",
    "SELECT i BETWEEN 1 AND b, i NOT BETWEEN 2 AND 5 FROM t",
    "WITH u AS (SELECT i AS x FROM t) SELECT x FROM u",
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT n FROM r",
    "SELECT i FROM t ORDER BY b DESC NULLS LAST, i LIMIT 2 OFFSET 1",
    "PIVOT t ON s IN ('a', 'b') USING sum(i) GROUP BY i",
    "PIVOT t ON i IN (1, 2), day IN (DATE '2020-02-29') USING count(*) AS n, sum(b) GROUP BY s",
    "SELECT * FROM (SELECT i, s, b > 1 AS big FROM t) PIVOT (count(i) FOR big IN (TRUE, FALSE))",
    "UNPIVOT (SELECT i, b FROM t) ON i, b",
    "SELECT i, ARRAY(SELECT CASE WHEN k > 1 THEN k END FROM u WHERE u.i = t.i ORDER BY x) FROM t",
    "FROM t SELECT * EXCLUDE (l) REPLACE (i + 1 AS i)",
    "SELECT day + INTERVAL 1 MONTH, day - 1, day - DATE '2020-01-01' FROM t",
    "SELECT s COLLATE \"C\" = 'a', s FROM t ORDER BY s COLLATE posix",
    "SELECT d * 2, d + 0.005, d > 1, f = 0.5, CAST('12.345' AS DECIMAL(9, 2)) FROM t",
)


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_form_means_what_duckdb_says(statement: str) -> None:
    check(statement, TABLES)


@pytest.mark.parametrize(
    ("statement", "rows"),
    [
        pytest.param(
            "SELECT b FROM t ORDER BY b FETCH FIRST 1 ROWS WITH TIES",
            [(10,), (10,)],
            id="WITH TIES gives the equal rows too",
        ),
        pytest.param(
            "SELECT b FROM t ORDER BY b DESC OFFSET 4 ROWS FETCH NEXT 1 ROW WITH TIES",
            [(10,), (10,)],
            id="ties are looked for behind the offset",
        ),
        pytest.param(
            "SELECT (1, NULL) = (2, 3), (1, NULL) = (1, 3), (1, 2) < (1, NULL)",
            [(False, None, None)],
            id="PostgreSQL compares rows value by value, and NULL is unknown",
        ),
        pytest.param(
            "SELECT i FROM t WHERE (i, b) IN ((1, 10), (2, 30), (NULL, 40))", [(1,), (2,)], id="rows in a list of rows"
        ),
        pytest.param("SELECT count(*) FROM t WHERE (i, b) < (2, 25)", [(3,)], id="the first values that differ decide"),
        pytest.param(
            "SELECT current_date, now()",
            [(dt.date(2026, 11, 29), dt.datetime(2026, 11, 29, 12, 34, 56, 789012, tzinfo=dt.UTC))],
            id="the moment is the job's",
        ),
    ],
)
def test_a_form_means_what_postgresql_documents(statement: str, rows: list[tuple[object, ...]]) -> None:
    assert same(ours(statement, TABLES), rows)
