"""What the pinned DuckDB makes of statements, as our plans: a change must be seen before a user sees it."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

import duckdb
import pytest

from tests.support.sql_front import bound
from tests.support.sql_plans import shown

GOLDEN = Path(__file__).with_name("front_plans.txt")
STATEMENTS = [
    "SELECT * FROM u",
    "SELECT count(*) FROM t",
    "SELECT i + 1 AS k, -b, i // 2, i % 2, i / 2, d * 2, f ** 2 FROM t",
    "SELECT i FROM t WHERE s LIKE 'a%' AND s NOT ILIKE '%b' OR NOT bo",
    "SELECT i FROM t WHERE i BETWEEN 1 AND 3 AND i NOT IN (1, 2) AND dt >= '2020-01-01' AND s IS DISTINCT FROM NULL",
    "SELECT CASE i WHEN 1 THEN 'a' ELSE s END, coalesce(i, b), nullif(i, 2), ifnull(s, 'x') FROM t",
    "SELECT CAST(i AS VARCHAR), TRY_CAST(s AS INTEGER), d::DOUBLE, DATE '2020-02-29', INTERVAL 3 MONTH FROM t",
    "SELECT dt + INTERVAL '1 month', ts - INTERVAL 2 DAY, dt - dt, dt + 1 FROM t",
    "SELECT extract(year FROM dt), date_part('month', ts), date_trunc('week', ts), date_diff('day', dt, dt) FROM t",
    "SELECT now(), current_date, current_timestamp, localtimestamp FROM u",
    "SELECT (i, b) = (1, 2), (i, b) < (1, 2), (i, s) IN ((1, 'a'), (2, 'b')) FROM t",
    "SELECT l[1], l[1:2], st.a, [i, 2], {'k': s}, list_transform(l, lambda x, n: x + n + i) FROM t",
    "SELECT list_reduce(l, lambda a, x: a + x), list_filter(l, lambda x: list_contains([y + i for y in l], x)) FROM t",
    "SELECT s, sum(DISTINCT d) FILTER (WHERE b > 3), count(*), string_agg(s, '-' ORDER BY i DESC) FROM t GROUP BY s",
    "SELECT i, s, grouping(i, s), avg(b) FROM t GROUP BY ROLLUP (i, s) HAVING count(*) > 1",
    "SELECT median(i), quantile_cont(f, [0.25, 0.5]), percentile_cont(0.25) WITHIN GROUP (ORDER BY f DESC) FROM t",
    "SELECT sum(b) OVER (PARTITION BY s ORDER BY i ROWS BETWEEN 2 PRECEDING AND CURRENT ROW EXCLUDE TIES) FROM t",
    "SELECT sum(b) OVER (ORDER BY i RANGE BETWEEN 2 PRECEDING AND 3 FOLLOWING), "
    "count(*) OVER (ORDER BY ts DESC RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW) FROM t",
    "SELECT rank() OVER w, lag(b) OVER w, lead(b, 2, 0 IGNORE NULLS) OVER w, nth_value(b, 2) OVER w FROM t "
    "WINDOW w AS (ORDER BY i DESC NULLS FIRST GROUPS 1 PRECEDING)",
    "SELECT i FROM t QUALIFY row_number() OVER (PARTITION BY s ORDER BY b) = 1",
    "SELECT i, b FROM t ORDER BY s DESC, i NULLS FIRST LIMIT 3 OFFSET 2",
    "SELECT i FROM t LIMIT 10%",
    "SELECT i FROM t ORDER BY b DESC FETCH FIRST 3 ROWS WITH TIES",
    "SELECT DISTINCT s FROM t",
    "SELECT DISTINCT ON (s) s, i FROM t ORDER BY s, b DESC",
    "SELECT i FROM t UNION ALL SELECT i FROM u EXCEPT SELECT 4 INTERSECT ALL SELECT 5",
    "SELECT t.i, x FROM t JOIN u ON t.i = u.i AND t.d > u.d WHERE u.x = 'a'",
    "SELECT t.i, x FROM t LEFT JOIN u USING (i)",
    "SELECT t.i, x FROM t FULL JOIN u ON t.i = u.i AND t.b < u.i + t.i",
    "SELECT t.i, x FROM t RIGHT JOIN u ON t.i < u.i OR t.s = u.x",
    "SELECT t.i FROM t, u WHERE t.i = u.i",
    "SELECT t.i FROM t SEMI JOIN u ON t.i = u.i",
    "SELECT t.i FROM t ANTI JOIN u ON t.i = u.i",
    "SELECT t.i, u.x FROM t ASOF JOIN u ON t.i = u.i AND t.ts >= u.ts",
    "SELECT i FROM t WHERE i IN (SELECT i FROM u) AND s NOT IN (SELECT x FROM u)",
    "SELECT i FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.i = t.i) OR b > ALL (SELECT i FROM u)",
    "SELECT i, (SELECT max(i) FROM u), (SELECT x FROM u), (SELECT x FROM u WHERE u.i = t.i) FROM t",
    "SELECT i FROM t WHERE b = (SELECT min(d) FROM u WHERE u.x = t.s AND u.i <> t.i)",
    "WITH a AS (SELECT i FROM t) SELECT * FROM a JOIN a b USING (i)",
    "WITH t AS (SELECT x FROM u) SELECT x FROM t",
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 10) SELECT n FROM r",
    "SELECT i, unnest(l) FROM t",
    "SELECT t.i, q.x FROM t, unnest(t.l) AS q(x)",
    "SELECT x, n FROM unnest([3, 4]) WITH ORDINALITY AS q(x, n)",
    "SELECT * FROM range(3)",
    "SELECT * FROM (VALUES (1, 'a'), (2, NULL)) AS v(x, y)",
    "SELECT t.i, m FROM t, LATERAL (SELECT max(d) AS m FROM u WHERE u.i = t.i)",
    "PIVOT t ON s IN ('a', 'b') USING sum(i) GROUP BY bo",
    "UNPIVOT (SELECT i, b FROM t) ON i, b",
    "FROM t SELECT * EXCLUDE (l, st) REPLACE (i + 1 AS i)",
    "SELECT 1, NULL, TRUE, 1.50, 1e3, 'it''s', 99999999999999999999, x'00ff'",
]


def recorded() -> str:
    """Return what the pinned DuckDB makes of the statements."""
    return "\n\n".join(f"-- {statement}\n{shown(bound(statement))}" for statement in STATEMENTS) + "\n"


def test_the_plans_of_common_statements_are_the_recorded_ones() -> None:
    now = recorded()
    if os.environ.get("GOLDEN") == "write":
        GOLDEN.write_text(now)
    difference = "\n".join(
        difflib.unified_diff(GOLDEN.read_text().splitlines(), now.splitlines(), "recorded", "now", n=1)
    )
    assert not difference, (
        f"DuckDB {duckdb.__version__} or the reading of its plans has changed what statements mean:\n{difference}\n"
        "Check each difference by hand; if all of them are meant, record them: GOLDEN=write pytest "
        + str(Path(__file__))
    )


def test_the_pinned_duckdb_is_the_one_whose_json_is_read() -> None:
    assert duckdb.__version__ == "2.0.1", "duckjson_* reads the JSON of DuckDB 2.0.1: check every operator's keys"


@pytest.mark.parametrize("statement", STATEMENTS[::6])
def test_binding_twice_gives_the_same_plan(statement: str) -> None:
    assert bound(statement) == bound(statement)
