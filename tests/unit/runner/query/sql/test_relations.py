"""Groups, set operations, orders, limits and the rest of relations answer as DuckDB's: over NULLs, NaN and nothing."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa
import pytest

from gpuquery.runner.query.sql.compile import recursive
from gpuquery.runner.query.sql.compile.failures import decoded_failure
from gpuquery.runner.query.sql.compile.target import CPU, Target
from gpuquery.runner.query.sql.errors import SqlError
from tests.support import sql

if TYPE_CHECKING:
    from pathlib import Path

NAN = float("nan")
GPU = Target("26.10")
RANKS = Target("26.10", distributed=True)
TABLES = {
    "t": pa.table(
        {
            "id": pa.array([1, 2, 3, 4, 5, 6, 7, 8], pa.int64()),
            "g": pa.array(["a", "b", None, "a", "", "b", "b", None]),
            "h": pa.array([1, 1, 2, None, 2, 1, 1, None], pa.int32()),
            "x": pa.array([1.0, NAN, 0.0, -0.0, None, 7.5, NAN, 1.0], pa.float64()),
            "d": pa.array([Decimal("1.10"), Decimal("2.00"), None] + [Decimal("99999.99")] * 5, pa.decimal128(7, 2)),
            "b": pa.array([True, False, None, True, True, False, None, None]),
            "big": pa.array([2**62] * 7 + [None], pa.int64()),
            "l": pa.array([[1, 2], [], None, [3], [None, 4], [5], [], [6, 7, 8]], pa.list_(pa.int64())),
            "m": pa.array([["p"], ["q"], ["r"], [], None, ["s", None], None, ["t", "u"]], pa.list_(pa.string())),
        }
    ),
    "u": pa.table(
        {
            "g": pa.array(["a", "a", "b", None, "z", None]),
            "h": pa.array([1, 1, 1, 2, 5, None], pa.int64()),
            "x": pa.array([1.0, NAN, 0.0, -0.0, None, NAN], pa.float64()),
        }
    ),
    "none": pa.table({"g": pa.array([], pa.string()), "h": pa.array([], pa.int32())}),
}  # fmt: skip


def each(*statements: str) -> list[object]:
    return [pytest.param(statement, id=statement) for statement in statements]


GROUPS = each(
    "SELECT count(*) FROM t",
    "SELECT count(*), count(g), count(DISTINCT g), sum(h), avg(h), min(h), max(h) FROM t",
    "SELECT count(*), sum(h), min(g) FROM none",
    "SELECT g, count(*) FROM none GROUP BY g",
    "SELECT g FROM t GROUP BY g",
    "SELECT g, h, count(*) FROM t GROUP BY g, h",
    "SELECT x, count(*) FROM t GROUP BY x",
    "SELECT d, sum(d), avg(d), count(*) FROM t GROUP BY d",
    "SELECT g, sum(d), avg(d), min(d), max(d) FROM t GROUP BY g",
    "SELECT g, sum(big) FROM t GROUP BY g",
    "SELECT sum(big) + 1, sum(h) FROM t",
    "SELECT g, min(x), max(x), count(x) FROM t GROUP BY g",
    "SELECT h + 1 AS h, count(*) FROM t GROUP BY h + 1",
    "SELECT h % 2, g || 'x', count(*) FROM t GROUP BY h % 2, g || 'x'",
    "SELECT g, count(*) FILTER (WHERE h = 1), sum(h) FILTER (WHERE x > 0) FROM t GROUP BY g",
    "SELECT count(*) FILTER (WHERE h = 1), sum(h) FILTER (WHERE h > 100) FROM t",
    "SELECT g, count(DISTINCT h), count(DISTINCT x) FROM t GROUP BY g",
    "SELECT count(DISTINCT h), sum(DISTINCT h), avg(DISTINCT h) FROM t",
    "SELECT g, sum(DISTINCT h), count(*), avg(DISTINCT d) FILTER (WHERE x > 0), sum(DISTINCT h + 1) FROM t GROUP BY g",
    "SELECT sum(DISTINCT d) FILTER (WHERE h > 100) FROM t",
    "SELECT g, sum(DISTINCT h) FROM none GROUP BY g",
    "SELECT sum(DISTINCT h), count(*) FROM none",
    "SELECT g, count(*) FROM t GROUP BY g HAVING count(*) > 1",
    "SELECT count(*) FROM t HAVING count(*) > 100",
    "SELECT sum(h) FROM t WHERE h > 100",
    "SELECT 1 FROM t GROUP BY g",
    "SELECT 5 AS five, count(*) FROM t GROUP BY five",
    "SELECT count(*) + 1, 'x' FROM t",
    "SELECT g, h, count(*), grouping(g), grouping(h), grouping(g, h) FROM t GROUP BY ROLLUP (g, h)",
    "SELECT g, h, b, count(*), sum(d), grouping(b, g, h) FROM t GROUP BY CUBE (g, h, b)",
    "SELECT g, h, count(*) FROM t GROUP BY GROUPING SETS ((g), (h), (g), ())",
    "SELECT g, h, count(*) FROM t GROUP BY GROUPING SETS ((g, h), (g), ()), h",
    "SELECT g, count(*), grouping(g) FROM none GROUP BY ROLLUP (g)",
    "SELECT count(*) FROM none GROUP BY GROUPING SETS ((), ())",
    "SELECT g, h FROM t GROUP BY ROLLUP (g, h)",
    "SELECT g, sum(h) FROM t GROUP BY ROLLUP (g) HAVING grouping(g) = 0",
    "SELECT g, h, count(*), count(x), sum(h), sum(d), sum(x), sum(big), min(d), max(g) FROM t GROUP BY ROLLUP (g, h)",
    "SELECT g, h, avg(h), avg(d), avg(x), avg(big), avg(b::INT) FROM t GROUP BY CUBE (g, h)",
    "SELECT g, h, avg(h) FILTER (WHERE x > 0), count(*) FILTER (WHERE h > 5), bool_or(b) FROM t GROUP BY ROLLUP (g, h)",
    "SELECT g, h, min(x), max(x), count(DISTINCT x), sum(h) FROM t GROUP BY CUBE (g, h)",
    "SELECT g, h, count(*), sum(h), avg(h), min(g) FROM none GROUP BY CUBE (g, h)",
    "SELECT g, g || 'x', count(*), sum(h + 1), avg(d * 2) FROM t GROUP BY ROLLUP (g, g || 'x')",
    "SELECT max(c) FROM (SELECT g, count(*) AS c FROM t GROUP BY g)",
    "SELECT l, count(*) FROM t GROUP BY l",
    "SELECT g, max(upper('x_y')), count(*) FILTER (WHERE upper('abC') IN ('a', 'ABC')) FROM t GROUP BY g",
    "SELECT g, sum(length('abc') + 1), min('x'), sum(2) FROM t GROUP BY g",
    "SELECT b, count(*) FROM t GROUP BY ALL",
)
SETS = each(
    "SELECT g, h FROM t UNION ALL SELECT g, h FROM u",
    "SELECT g, h FROM t UNION SELECT g, h FROM u",
    "SELECT g, h FROM t INTERSECT SELECT g, h FROM u",
    "SELECT g, h FROM t EXCEPT SELECT g, h FROM u",
    "SELECT x FROM t UNION SELECT x FROM u",
    "SELECT x FROM t INTERSECT SELECT x FROM u",
    "SELECT x FROM t EXCEPT SELECT x FROM u",
    "SELECT g FROM t UNION SELECT g FROM none",
    "SELECT g FROM none EXCEPT SELECT g FROM t",
    "SELECT h FROM t UNION ALL SELECT 1.5 UNION ALL SELECT NULL",
    "SELECT g FROM t UNION ALL SELECT g FROM u EXCEPT SELECT 'a'",
    "SELECT d FROM t UNION SELECT 1.1",
    "SELECT g AS a, g AS b FROM t UNION SELECT 'x', g FROM u",
    "SELECT count(*) FROM (SELECT g FROM t UNION ALL SELECT g FROM u)",
    "SELECT g, h FROM t UNION BY NAME SELECT h, g FROM u",
    "SELECT DISTINCT g FROM t",
    "SELECT DISTINCT x FROM t",
    "SELECT DISTINCT g, h FROM t",
    "SELECT DISTINCT 1 FROM t",
    "SELECT DISTINCT l FROM t",
)
COUNTED = each(
    "SELECT g, h FROM t INTERSECT ALL SELECT g, h FROM u",
    "SELECT g, h FROM t EXCEPT ALL SELECT g, h FROM u",
    "SELECT g FROM u INTERSECT ALL SELECT g FROM t",
    "SELECT g FROM u EXCEPT ALL SELECT g FROM t",
    "SELECT x FROM t INTERSECT ALL SELECT x FROM u",
    "SELECT x FROM t EXCEPT ALL SELECT x FROM u",
    "SELECT g FROM t EXCEPT ALL SELECT g FROM none",
)
ORDERS = each(
    "SELECT id, x FROM t ORDER BY x, id",
    "SELECT id, x FROM t ORDER BY x DESC, id DESC",
    "SELECT id, x FROM t ORDER BY x NULLS FIRST, id",
    "SELECT id, x FROM t ORDER BY x DESC NULLS FIRST, id",
    "SELECT id, g, h FROM t ORDER BY g DESC NULLS LAST, h NULLS FIRST, id",
    "SELECT id FROM t ORDER BY h + id DESC, id",
    "SELECT id FROM t ORDER BY 1",
    "SELECT id, d FROM t ORDER BY d, id",
    "SELECT id, b FROM t ORDER BY b, id",
    "SELECT id FROM t ORDER BY id LIMIT 3",
    "SELECT id FROM t ORDER BY id DESC LIMIT 3 OFFSET 2",
    "SELECT id FROM t ORDER BY id OFFSET 6",
    "SELECT id FROM t ORDER BY id LIMIT 0",
    "SELECT id FROM t ORDER BY id LIMIT 100 OFFSET 100",
    "SELECT g, count(*) AS c FROM t GROUP BY g ORDER BY c DESC, g LIMIT 2",
    "SELECT id FROM (SELECT id FROM t ORDER BY x DESC, id LIMIT 3) ORDER BY id",
    "SELECT count(*) FROM (SELECT 1 FROM t LIMIT 3)",
    "SELECT * FROM (SELECT id FROM t ORDER BY id LIMIT 2) UNION ALL (SELECT id FROM t ORDER BY id DESC LIMIT 1)",
    "SELECT DISTINCT ON (g) g, id FROM t ORDER BY g, id DESC",
    "SELECT DISTINCT ON (g) g, id, x FROM t ORDER BY g DESC NULLS FIRST, x DESC, id",
    "SELECT DISTINCT ON (h % 2) h % 2, id FROM t ORDER BY h % 2, id",
    "SELECT count(*) FROM (SELECT DISTINCT ON (g) g, id FROM t)",
)
PERCENT = each(
    "SELECT id FROM t ORDER BY id LIMIT 50%",
    "SELECT id FROM t ORDER BY id LIMIT 40%",
    "SELECT id FROM t ORDER BY id LIMIT 50% OFFSET 2",
    "SELECT id FROM t ORDER BY id LIMIT 0%",
    "SELECT id FROM t ORDER BY id LIMIT 100%",
)
ROWS = each(
    "SELECT 1",
    "SELECT 1, 'x', NULL, 1.50, TRUE, DATE '2020-02-29'",
    "SELECT * FROM (VALUES (1, 'a'), (2, NULL), (NULL, 'c')) v(a, b)",
    "SELECT * FROM (VALUES (1.5), (2), (NULL)) v(a)",
    "SELECT * FROM (VALUES (1 + 1), (2 * 3)) v(a)",
    "SELECT * FROM (VALUES (TIMESTAMP '2020-01-01 01:02:03.456789'), (NULL)) v(a)",
    "SELECT t.id, v.a FROM t JOIN (VALUES (1, 'one'), (2, 'two')) v(h, a) ON t.h = v.h",
    "SELECT id FROM t WHERE h IN (VALUES (1), (5))",
    "SELECT id, id AS id2, id + 0 AS id FROM t",
    "SELECT 'x' AS c FROM t",
    "SELECT count(*) FROM (SELECT 'x' AS c FROM t)",
    "SELECT count(*) FROM (SELECT 'x' FROM t WHERE h = 1)",
    "SELECT id FROM t WHERE false",
    "SELECT id FROM t WHERE NULL",
    "SELECT id FROM t WHERE h = 1 AND x > 0",
    "SELECT id FROM t WHERE NOT (h = 1 AND x > 0)",
    "SELECT id FROM t WHERE d > 50",
    'SELECT id AS "a b", g AS "\u00e9" FROM t',
)
SHARED = each(
    "WITH c AS (SELECT g, count(*) AS n FROM t GROUP BY g) SELECT a.g, b.n FROM c a JOIN c b ON a.n = b.n",
    "WITH c AS (SELECT * FROM t), d AS (SELECT id FROM c WHERE h = 1) SELECT * FROM d UNION ALL SELECT id FROM c",
    "WITH t AS (SELECT g FROM u) SELECT * FROM t",
    "WITH c AS MATERIALIZED (SELECT g FROM u) SELECT count(*) FROM c, c AS d",
    "WITH c AS NOT MATERIALIZED (SELECT g FROM u) SELECT count(*) FROM c, c AS d",
    "WITH a AS (WITH b AS (SELECT 1 AS x) SELECT x + 1 AS x FROM b) SELECT * FROM a, a AS b",
)
LISTS = each(
    "SELECT g, arg_max(upper('x_y'), id), string_agg(upper('x'), ',') FROM t GROUP BY g",
    "SELECT * FROM (VALUES ([1, 2]), ([]), (NULL)) v(a)",
    "SELECT id, unnest(l) FROM t",
    "SELECT id, unnest(l), unnest(m) FROM t",
    "SELECT unnest(l) FROM t",
    "SELECT unnest([1, 2, NULL])",
    "SELECT id, e FROM t, unnest(l) AS e(e)",
    "SELECT id, e FROM t LEFT JOIN unnest(l) AS e(e) ON true",
    "SELECT sum(e) FROM (SELECT unnest(l) AS e FROM t)",
    "SELECT id, (SELECT sum(e) FROM unnest(l) AS e(e)) FROM t",
    "SELECT id FROM t WHERE 4 IN (SELECT unnest(l))",
)
RECURSIVE = each(
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 10) SELECT * FROM r",
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION SELECT n % 3 + 1 FROM r) SELECT * FROM r",
    "WITH RECURSIVE r(a, b) AS (SELECT 1, 1 UNION ALL SELECT b, a + b FROM r WHERE b < 100) SELECT max(b) FROM r",
    "WITH RECURSIVE r(id, p) AS (SELECT id, g FROM t WHERE id = 1 UNION ALL "
    "SELECT t.id, r.p || coalesce(t.g, '-') FROM r JOIN t ON t.id = r.id + 1) SELECT * FROM r ORDER BY id",
    "WITH RECURSIVE r(n) AS (SELECT h FROM none UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r",
    "WITH RECURSIVE e(a, b) AS (VALUES (1, 2), (2, 3), (3, 1), (3, 4)), r(a, b) AS "
    "(SELECT a, b FROM e UNION SELECT r.a, e.b FROM r JOIN e ON r.b = e.a) SELECT * FROM r",
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT x.n, y.n FROM r x, r y",
)


@pytest.mark.parametrize("statement", ROWS)
def test_ranks_compute_rows_of_the_text_together(statement: str) -> None:
    sql.check(statement, TABLES, RANKS)


@pytest.mark.parametrize("target", [pytest.param(CPU, id="cpu"), pytest.param(GPU, id="gpu")])
@pytest.mark.parametrize("statement", [*SETS, *GROUPS, *ORDERS, *ROWS, *SHARED])
def test_a_relation_answers_as_duckdb(statement: str, target: Target) -> None:
    sql.check(statement, TABLES, target)


@pytest.mark.parametrize("statement", [*COUNTED, *PERCENT, *LISTS, *RECURSIVE])
def test_a_relation_answers_as_duckdb_on_the_cpu(statement: str) -> None:
    sql.check(statement, TABLES)


@pytest.mark.parametrize("statement", [COUNTED[0], PERCENT[0], RECURSIVE[0]])
def test_what_no_gpu_engine_can_is_refused_with_the_way_out(statement: str) -> None:
    with pytest.raises(SqlError, match="engine: cpu"):
        sql.ours(statement, TABLES, GPU)


@pytest.mark.parametrize(
    ("order", "want"),
    [
        pytest.param("h, id FETCH FIRST 2 ROWS WITH TIES", [(1, 1), (2, 1)], id="no ties by both keys"),
        pytest.param("h FETCH FIRST 2 ROWS WITH TIES", [(1, 1), (2, 1), (6, 1), (7, 1)], id="ties by the first"),
        pytest.param("h OFFSET 3 FETCH FIRST 2 ROWS WITH TIES", [(3, 2), (5, 2), (7, 1)], id="behind an offset"),
        pytest.param("h OFFSET 6 FETCH FIRST 1 ROWS WITH TIES", [(4, None), (8, None)], id="NULLs are ties"),
        pytest.param("h OFFSET 6 FETCH FIRST 9 ROWS WITH TIES", [(4, None), (8, None)], id="fewer rows than asked for"),
        pytest.param("h FETCH FIRST 0 ROWS WITH TIES", [], id="none"),
    ],
)
@pytest.mark.parametrize("target", [pytest.param(CPU, id="cpu"), pytest.param(GPU, id="gpu")])
def test_rows_that_are_equal_to_the_last_one_come_too(
    order: str, want: list[tuple[int, int | None]], target: Target
) -> None:
    """The rows are PostgreSQL's documented ones: DuckDB 2.0 has no WITH TIES."""
    found = sql.ours(f"SELECT id, h FROM t ORDER BY {order}", TABLES, target)
    assert sorted(found) == want


def test_a_recursion_is_written_as_any_other_result(tmp_path: Path) -> None:
    statement = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 4) SELECT * FROM r"
    sql.planned(statement, {}).sink_parquet(tmp_path / "r.parquet", engine="streaming")
    assert sorted(pl.read_parquet(tmp_path / "r.parquet").rows()) == [(1,), (2,), (3,), (4,)]


def test_what_a_recursion_cannot_do_is_refused_before_it_runs() -> None:
    statement = (
        "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n::TEXT ~ n::TEXT) SELECT * FROM r"
    )
    with pytest.raises(SqlError, match="constant"):
        sql.planned(statement, {})


def test_a_recursion_is_stopped_within_a_round_that_makes_too_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recursive, "MAX_ROWS", 20)
    many = "range(1000000) AS a(x), range(1000000) AS b(y)"
    with pytest.raises(Exception, match="has more than 20 rows"):
        sql.ours(f"WITH RECURSIVE r(n) AS (SELECT 1::BIGINT UNION ALL SELECT n + x FROM r, {many}) FROM r", TABLES)


@pytest.mark.parametrize(
    ("bound", "told"),
    [
        pytest.param("MAX_ROUNDS", "did not end after 20 rounds", id="rounds"),
        pytest.param("MAX_ROWS", "has more than 20 rows", id="rows"),
        pytest.param("MAX_BYTES", "has rows of more than 20 bytes", id="bytes"),
    ],
)
def test_a_recursion_without_an_end_is_stopped(bound: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recursive, bound, 20)
    statement = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n FROM r) SELECT count(*) FROM r"
    with pytest.raises(Exception) as found:  # noqa: PT011
        sql.ours(statement, TABLES)
    explained_as = decoded_failure(found.value)
    assert explained_as is not None
    assert told in explained_as[0]
