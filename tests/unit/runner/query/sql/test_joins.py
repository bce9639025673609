"""Joins of our planner answer as DuckDB's: over NULLs, NaN, duplicates and empty tables, on either kind of target."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest

from gpuquery.runner.query.sql.compile.failures import decoded_failure
from gpuquery.runner.query.sql.compile.target import CPU, Target
from tests.support import sql

NAN = float("nan")
GPU = Target("26.10")


def decimals(*texts: str | None) -> list[Decimal | None]:
    return [None if text is None else Decimal(text) for text in texts]


TABLES = {
    "a": pa.table(
        {
            "id": pa.array([1, 2, 3, 4, 5, 6, 7], pa.int64()),
            "k": pa.array([1, 2, 2, None, 5, 3, None], pa.int32()),
            "x": pa.array([1.0, NAN, 0.0, -0.0, None, 7.5, NAN], pa.float64()),
            "s": pa.array(["a", "b", None, "a", "", "c", "b"]),
            "d": pa.array(decimals("1.10", "2.00", None, "1.10", "-3.25", "-3.25", "-3.25"), pa.decimal128(9, 2)),
        }
    ),
    "b": pa.table(
        {
            "k": pa.array([2, 2, 3, None, 9, 5, 3], pa.int64()),
            "y": pa.array([NAN, 1.0, 0.0, None, 2.0, 7.5, -0.0], pa.float64()),
            "s": pa.array(["b", "a", "a", None, "", "zz", "c"]),
            "d": pa.array(decimals("1.10", "2.00", None, "5.00", "-3.25", "-3.25", "-3.25"), pa.decimal128(15, 2)),
        }
    ),
    "few": pa.table({"k": pa.array([2, 3, 5], pa.int16()), "n": pa.array([20, 30, 50], pa.int64())}),
    "q": pa.table(
        {
            "t": pa.array([0, 2, 3, 6, None, 5], pa.int32()),
            "k": pa.array([1, 2, 2, 5, 2, None], pa.int64()),
            "s": pa.array(["a", "b", "", "c", "b", "a"]),
            "d": pa.array(decimals("1.10", "0.00", None, "2.50", "-9.00", "1.20"), pa.decimal128(9, 2)),
            "x": pa.array([1.0, NAN, -1.0, None, 0.0, 7.5], pa.float64()),
            "n": pa.array([1, 2, 3, 4, 5, 6], pa.int64()),
        }
    ),
    "one": pa.table({"v": pa.array([2], pa.int32())}),
    "none": pa.table({"k": pa.array([], pa.int32()), "t": pa.array([], pa.string())}),
}  # fmt: skip


def each(*statements: str) -> list[object]:
    return [pytest.param(statement, id=statement) for statement in statements]


INNER = each(
    "SELECT a.id, b.y FROM a JOIN b ON a.k = b.k",
    "SELECT a.id, b.y FROM a JOIN b ON a.x = b.y",
    "SELECT a.id, b.y FROM a JOIN b ON a.x IS NOT DISTINCT FROM b.y",
    "SELECT a.id, b.y FROM a JOIN b ON a.x IS NOT DISTINCT FROM b.y AND a.s = b.s",
    "SELECT a.id, b.y FROM a JOIN b ON a.x IS NOT DISTINCT FROM b.y AND a.k IS NOT DISTINCT FROM b.k",
    "SELECT a.id, b.d FROM a JOIN b ON a.d = b.d",
    "SELECT a.id, few.n FROM a JOIN few ON a.k = few.k",
    "SELECT a.id, few.n FROM a JOIN few USING (k)",
    "SELECT * FROM a JOIN few USING (k)",
    "SELECT * FROM a NATURAL JOIN few",
    "SELECT a.id, b.k FROM a JOIN b ON a.k + 1 = b.k",
    "SELECT a.id, b.k FROM a JOIN b ON a.k + b.k = 5",
    "SELECT a.id, b.k FROM a JOIN b ON a.k = b.k AND a.k = b.k",
    "SELECT a.id, b.k FROM a JOIN b ON a.k = b.k AND a.k IS NOT DISTINCT FROM b.k",
    "SELECT a.id, b.k FROM a JOIN b ON a.k = b.k AND a.id = b.k",
    "SELECT a.id, b.k FROM a JOIN b ON a.k = b.k AND a.s <> b.s",
    "SELECT a.id, b.k FROM a JOIN b ON a.k < b.k",
    "SELECT a.id, b.k FROM a JOIN b ON a.k < b.k AND a.x > b.y",
    "SELECT a.id, b.k FROM a JOIN b ON a.k IS DISTINCT FROM b.k",
    "SELECT a.id, b.k FROM a JOIN b ON a.k = b.k OR a.s = b.s",
    "SELECT a.id, b.k FROM a JOIN b ON a.k = b.k AND a.x > 0 AND b.y < 5",
    "SELECT a.id, b.k FROM a JOIN b ON true",
    "SELECT a.id, b.k FROM a JOIN b ON false",
    "SELECT a.id, b.k FROM a JOIN b ON NULL",
    "SELECT a.id, b.k FROM a, b",
    "SELECT a.id, b.k FROM a, b WHERE a.k = b.k AND a.s > b.s",
    "SELECT count(*) FROM a, b",
    "SELECT count(*) FROM a, b, few",
    "SELECT count(*) FROM a CROSS JOIN none",
    "SELECT a.id, one.v FROM a, one WHERE a.k > one.v",
    "SELECT x.id, y.id FROM a x JOIN a y ON x.k = y.k",
    "SELECT x.id, y.id, z.id FROM a x JOIN a y ON x.k = y.k JOIN a z ON y.s = z.s",
    "SELECT * FROM a x JOIN a y ON x.id = y.id",
    "SELECT a.id FROM a JOIN none ON a.k = none.k",
)
OUTER = each(
    *(
        f"SELECT * FROM a {kind} JOIN b ON {condition}"
        for kind in ("LEFT", "RIGHT", "FULL")
        for condition in (
            "a.k = b.k",
            "a.x = b.y",
            "a.x IS NOT DISTINCT FROM b.y",
            "a.x IS NOT DISTINCT FROM b.y AND a.s = b.s",
            "a.k = b.k AND a.s < b.s",
            "a.k = b.k AND a.x > 0.5",
            "a.k = b.k AND b.y > 0.5",
            "a.k = b.k AND a.x IS NULL",
            "a.x > 0.5",
            "b.y > 0.5",
            "a.k < b.k",
            "a.k < b.k AND a.s <> b.s",
            "a.k = b.k OR a.s = b.s",
            "true",
            "false",
            "NULL",
            "a.k = b.k AND NULL",
            "a.k + b.k = 5",
            "coalesce(a.k, 3) = b.k",
            "a.d = b.d AND a.k = b.k",
        )
    ),
    "SELECT * FROM a FULL JOIN few USING (k)",
    "SELECT k, id, n FROM a RIGHT JOIN few USING (k)",
    "SELECT k, id, n FROM a FULL JOIN few USING (k)",
    "SELECT * FROM a LEFT JOIN none ON a.k = none.k",
    "SELECT * FROM a LEFT JOIN none ON true",
    "SELECT * FROM none RIGHT JOIN a ON none.k < a.k",
    "SELECT * FROM none FULL JOIN a ON none.k < a.k",
    "SELECT * FROM none FULL JOIN a ON true",
    "SELECT * FROM a FULL JOIN none ON true",
    "SELECT count(*) FROM a FULL JOIN none ON false",
    "SELECT a.id FROM a LEFT JOIN b ON a.k = b.k WHERE b.k IS NULL",
    "SELECT a.id, b.y FROM a LEFT JOIN b ON a.k = b.k AND b.y = 1 WHERE a.id > 1 AND (b.y IS NULL OR b.y > 0)",
    "SELECT a.id, b.y, c.n FROM a LEFT JOIN b ON a.k = b.k LEFT JOIN few c ON b.k = c.k AND a.id < c.n",
)
SUBQUERIES = each(
    "SELECT id FROM a WHERE k IN (SELECT k FROM b)",
    "SELECT id FROM a WHERE k NOT IN (SELECT k FROM b)",
    "SELECT id FROM a WHERE k NOT IN (SELECT k FROM b WHERE k IS NOT NULL)",
    "SELECT id FROM a WHERE k NOT IN (SELECT k FROM none)",
    "SELECT id FROM a WHERE k IN (SELECT k FROM none)",
    "SELECT id, k IN (SELECT k FROM b) FROM a",
    "SELECT id, k IN (SELECT k FROM few) FROM a",
    "SELECT id, k IN (SELECT k FROM none) FROM a",
    "SELECT id, k NOT IN (SELECT k FROM b) FROM a",
    "SELECT id, x IN (SELECT y FROM b WHERE y IS NOT NULL) FROM a",
    "SELECT id, NULL IN (SELECT k FROM b) FROM a",
    "SELECT id, NULL IN (SELECT k FROM none) FROM a",
    "SELECT id, 2 IN (SELECT k FROM b) FROM a",
    "SELECT id, 4 IN (SELECT k FROM b) FROM a",
    "SELECT id, (k, s) IN (SELECT k, s FROM b) FROM a",
    "SELECT id, (k, s) NOT IN (SELECT k, s FROM b WHERE k = 9) FROM a",
    "SELECT id FROM a WHERE (k, s) NOT IN (SELECT k, s FROM b WHERE y > 0)",
    "SELECT id, k IN (SELECT b.k FROM b WHERE b.s = a.s) FROM a",
    "SELECT id, k NOT IN (SELECT b.k FROM b WHERE b.s IS NOT DISTINCT FROM a.s) FROM a",
    "SELECT id FROM a WHERE k NOT IN (SELECT b.k FROM b WHERE b.s = a.s)",
    "SELECT id, k IN (SELECT b.k FROM b WHERE b.y < a.x) FROM a",
    "SELECT id, k > ANY (SELECT k FROM b) FROM a",
    "SELECT id, k > ALL (SELECT k FROM b) FROM a",
    "SELECT id, k >= ALL (SELECT k FROM few) FROM a",
    "SELECT id, k <> ALL (SELECT k FROM few WHERE few.n > a.id * 10) FROM a",
    "SELECT id, k = ALL (SELECT k FROM none) FROM a",
    "SELECT id, x < ANY (SELECT y FROM b WHERE b.k = a.k) FROM a",
    "SELECT id FROM a WHERE EXISTS (SELECT 1 FROM b WHERE b.k = a.k)",
    "SELECT id FROM a WHERE NOT EXISTS (SELECT 1 FROM b WHERE b.k = a.k)",
    "SELECT id FROM a WHERE EXISTS (SELECT 1 FROM b WHERE b.k < a.k AND b.s <> a.s)",
    "SELECT id FROM a WHERE NOT EXISTS (SELECT 1 FROM b WHERE b.k < a.k AND b.s <> a.s)",
    "SELECT id FROM a WHERE EXISTS (SELECT 1 FROM b)",
    "SELECT id FROM a WHERE NOT EXISTS (SELECT 1 FROM none)",
    "SELECT id, EXISTS (SELECT 1 FROM b WHERE b.k = a.k) AS e FROM a",
    "SELECT id, NOT EXISTS (SELECT 1 FROM none) AS e FROM a",
    "SELECT id, EXISTS (SELECT 1 FROM b WHERE b.y > a.x) FROM a",
    "SELECT id, (SELECT max(y) FROM b WHERE b.k = a.k AND NOT isnan(y)) FROM a",
    "SELECT id, (SELECT count(*) FROM b WHERE b.k = a.k) FROM a",
    "SELECT id, (SELECT count(*) FROM b WHERE b.k < a.k) FROM a",
    "SELECT id, (SELECT n FROM few WHERE few.k = a.k) FROM a",
    "SELECT id, (SELECT v FROM one) FROM a",
    "SELECT id, (SELECT v FROM one WHERE v > 5) FROM a",
    "SELECT id, (SELECT k FROM none) FROM a",
    "SELECT id FROM a WHERE k = (SELECT max(k) FROM few)",
    "SELECT id, (SELECT n FROM few WHERE few.k > a.k ORDER BY n LIMIT 1) FROM a",
    "SELECT a.id, t.n FROM a, LATERAL (SELECT n FROM few WHERE few.k >= a.k) t",
    "SELECT a.id, t.n FROM a LEFT JOIN LATERAL (SELECT n FROM few WHERE few.k > a.k) t ON true",
    "SELECT a.id, t.c FROM a, LATERAL (SELECT count(*) AS c FROM b WHERE b.k = a.k) t",
    "SELECT * FROM a SEMI JOIN b USING (k)",
    "SELECT * FROM a ANTI JOIN b USING (k)",
    "SELECT * FROM a SEMI JOIN b ON a.k = b.k AND a.x < b.y",
    "SELECT * FROM a ANTI JOIN b ON a.k < b.k",
    "SELECT * FROM a ANTI JOIN b ON a.k = b.k AND a.x > 0.5",
    "SELECT * FROM a SEMI JOIN b ON a.x > 0.5",
    "SELECT id FROM a WHERE k IN (SELECT k FROM b) OR s = 'a'",
    "SELECT id FROM a WHERE k NOT IN (SELECT k FROM few) OR x > 1",
    "SELECT id, CASE WHEN k IN (SELECT k FROM b) THEN 'in' ELSE 'out' END FROM a",
)

NEAREST = each(
    *(
        f"SELECT a.id, q.t, q.n FROM a ASOF {kind} JOIN q ON {equal} a.id {inequality} q.t"
        for kind in ("", "LEFT")
        for equal in ("", "a.k = q.k AND ", "a.s = q.s AND a.k = q.k AND ")
        for inequality in (">", ">=", "<", "<=")
    ),
    "SELECT a.id, q.n FROM a ASOF JOIN q ON a.d >= q.d",
    "SELECT a.id, q.n FROM a ASOF LEFT JOIN q ON a.d < q.d",
    "SELECT a.id, q.n FROM a ASOF JOIN q ON a.k = q.k AND a.s >= q.s",
    "SELECT a.id, q.k FROM a ASOF JOIN q ON a.k >= q.k",
    "SELECT a.id, q.k FROM a ASOF JOIN q ON a.k = q.k AND a.k >= q.k",
)
NEAREST_FLOAT = each(
    "SELECT a.id, q.x FROM a ASOF JOIN q ON a.x >= q.x",
    "SELECT a.id, q.x FROM a ASOF JOIN q ON a.x > q.x",
    "SELECT a.id, q.x FROM a ASOF LEFT JOIN q ON a.x <= q.x",
    "SELECT a.id, q.x FROM a ASOF LEFT JOIN q ON a.x < q.x",
)
EXTREMES = each(
    *(
        f"SELECT id FROM a WHERE {negated} EXISTS (SELECT 1 FROM b WHERE {key} AND {compared})"
        for negated in ("", "NOT")
        for key in ("b.k = a.k", "b.k IS NOT DISTINCT FROM a.k", "b.s = a.s")
        for compared in (
            *(f"b.d {operator} a.d" for operator in ("<", "<=", ">", ">=", "<>", "IS DISTINCT FROM")),
            "a.d + 1 <> b.d",
            "b.d <> a.d * 0 + 1.10",
            "b.d <> a.d * 0 + 2.00",
            "a.s <> b.s",
            "a.id > b.k",
            "b.y <> a.x",
            "b.y < a.x",
        )
    ),
)


@pytest.mark.parametrize("target", [pytest.param(CPU, id="cpu"), pytest.param(GPU, id="gpu")])
@pytest.mark.parametrize("statement", [*INNER, *OUTER, *SUBQUERIES, *NEAREST, *EXTREMES])
def test_a_join_answers_as_duckdb(statement: str, target: Target) -> None:
    sql.check(statement, TABLES, target)


@pytest.mark.parametrize("statement", [*INNER, *OUTER[::4], *SUBQUERIES, *NEAREST[::4], *EXTREMES[::8]])
def test_a_gpu_engine_meets_no_product_and_no_join_by_inequality(statement: str) -> None:
    shown = sql.planned(statement, sql.frames(TABLES), GPU).explain()
    assert not [word for word in ("CROSS", "NESTED LOOP", "IEJOIN", "ASOF", "PYTHON") if word in shown.upper()]


@pytest.mark.parametrize("statement", [*SUBQUERIES, *EXTREMES[::3]])
def test_a_join_answers_so_without_any_rule(statement: str) -> None:
    ours = sql.rows(sql.bound(statement, TABLES), TABLES)
    assert sql.same(ours, sql.duckdbs(statement, TABLES)), ours


@pytest.mark.parametrize("statement", NEAREST_FLOAT)
def test_the_nearest_float_is_duckdbs(statement: str) -> None:
    sql.check(statement, TABLES)


NAMES = ("key", "row", "found", "rows", "nulls", "value", "verdict", "one", "best", "low", "high", "condition", "part")
OWN = {
    "l": pa.table({name: pa.array([1, 2, None, i], pa.int64()) for i, name in enumerate(NAMES)}),
    "r": pa.table({name: pa.array([2, 3, i, None], pa.int64()) for i, name in enumerate(NAMES)}),
}


@pytest.mark.parametrize("target", [pytest.param(CPU, id="cpu"), pytest.param(GPU, id="gpu")])
@pytest.mark.parametrize(
    "statement",
    each(
        *(f"SELECT * FROM l {kind} JOIN r ON l.key + 0 = r.key + 0 AND l.low < r.high" for kind in ("LEFT", "FULL")),
        "SELECT * FROM l, r WHERE l.one < r.one",
        "SELECT *, key IN (SELECT found FROM r) FROM l",
        "SELECT *, key + 0 IN (SELECT found + 0 FROM r WHERE r.nulls < l.rows) FROM l",
        "SELECT * FROM l WHERE EXISTS (SELECT 1 FROM r WHERE r.key = l.key AND r.low + 1 <> l.high + 1)",
        "SELECT *, (SELECT value FROM r WHERE r.rows = l.rows + 9) FROM l",
        "SELECT * FROM l ASOF JOIN r ON l.key = r.key AND l.best >= r.best",
        "SELECT value + 1, sum(key + 1) FILTER (WHERE condition > 0) FROM l GROUP BY ROLLUP (value + 1, key)",
        "SELECT count(*) FROM l, (SELECT 1 FROM r)",
        "SELECT * FROM l ORDER BY key + 1, row",
        "SELECT DISTINCT ON (key + 1) * FROM l ORDER BY key + 1, row",
        "SELECT * FROM l EXCEPT SELECT * FROM r",
    ),
)
def test_names_of_the_author_do_not_meet_our_own(statement: str, target: Target) -> None:
    sql.check(statement, OWN, target)


@pytest.mark.parametrize(
    "statement",
    each(
        "SELECT id, (SELECT y FROM b WHERE b.k = a.k) FROM a",
        "SELECT id, (SELECT y FROM b WHERE b.k < a.k) FROM a",
        "SELECT id, (SELECT y FROM b) FROM a",
        "SELECT id, (SELECT y.n FROM (SELECT DISTINCT k FROM few) x JOIN few y ON x.k <= y.k WHERE x.k = a.k) FROM a",
        "SELECT id, (SELECT y.n FROM (SELECT k FROM few GROUP BY k) x, few y WHERE x.k = a.k) FROM a",
        "SELECT id, (SELECT s FROM b WHERE b.k = a.k GROUP BY s) FROM a",
    ),
)
def test_a_second_row_of_a_scalar_sub_query_fails_in_words(statement: str) -> None:
    with pytest.raises(Exception) as found:  # noqa: PT011
        sql.ours(statement, TABLES)
    told = decoded_failure(found.value)
    assert told is not None
    assert "more than one row" in told[0]
