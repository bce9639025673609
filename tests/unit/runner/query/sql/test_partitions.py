"""What several GPUs do not share is told from the plan, by the table of the release."""

from __future__ import annotations

import pyarrow as pa
import pytest

from gpuquery.runner.query.sql import plan, types
from gpuquery.runner.query.sql.compile import partitions
from gpuquery.runner.query.sql.compile.target import CPU, Target
from gpuquery.runner.query.sql.errors import Place
from tests.support import sql

TABLES = {
    "t": pa.table({"k": pa.array([1], pa.int64()), "x": pa.array([1.0])}),
    "u": pa.table({"k": pa.array([1], pa.int64()), "y": pa.array([1.0])}),
}
NEW = Target("26.10", distributed=True)
OLD = Target("26.04", distributed=True)
MANY = f"SELECT k FROM t WHERE k IN (VALUES {', '.join(f'({n})' for n in range(101))})"


@pytest.mark.parametrize(
    ("statement", "target", "told"),
    [
        pytest.param("SELECT k, sum(x) FROM t GROUP BY k ORDER BY k", NEW, [], id="groups and orders are shared"),
        pytest.param("SELECT * FROM t, u", CPU, [], id="nothing is told of the CPU"),
        pytest.param("SELECT * FROM t, u", Target("26.10"), [], id="nothing is told of one GPU"),
        pytest.param("SELECT * FROM t, u", NEW, ["a cross join"], id="a cross join is not shared"),
        pytest.param("SELECT * FROM t JOIN u ON t.k = u.k AND x < y", NEW, [], id="a join by a key is shared"),
        pytest.param("SELECT * FROM t LEFT JOIN u ON x < y", NEW, ["a join without"], id="an inequality alone is not"),
        pytest.param(
            "SELECT k FROM t WHERE x > (SELECT avg(y) FROM u)", NEW, [], id="a product with one row is shared"
        ),
        pytest.param("SELECT k FROM t WHERE EXISTS (SELECT 1 FROM u)", NEW, [], id="so is whether there are rows"),
        pytest.param("SELECT k FROM t ORDER BY k LIMIT 5", NEW, [], id="the first rows are shared"),
        pytest.param("SELECT k FROM t ORDER BY k LIMIT 5 OFFSET 2", NEW, ["OFFSET"], id="rows after an offset are not"),
        pytest.param("SELECT k FROM t ORDER BY k", OLD, ["ORDER BY"], id="an old release does not share an order"),
        pytest.param("SELECT k FROM t ORDER BY k LIMIT 5", OLD, [], id="but the first rows of it"),
        pytest.param(
            "SELECT sum(x) OVER (ORDER BY k) FROM t", NEW, ["window of sum"], id="a window over all rows is not"
        ),
        pytest.param("SELECT sum(x) OVER (PARTITION BY k) FROM t", NEW, [], id="a window over parts is shared"),
        pytest.param("SELECT sum(x) OVER (PARTITION BY k) FROM t", OLD, ["window of sum"], id="not by an old release"),
        pytest.param(
            "SELECT k, median(x) FROM t GROUP BY k", NEW, ["median()"], id="a median is not computed in parts"
        ),
        pytest.param("SELECT k FROM t WHERE k IN (VALUES (1), (2))", NEW, [], id="a few VALUES are computed once"),
        pytest.param(MANY, NEW, ["VALUES of more than"], id="of many each rank would read all"),
        pytest.param(MANY, OLD, [], id="workers of Dask share them"),
    ],
)
def test_restrictions(statement: str, target: Target, told: list[str]) -> None:
    found = [str(one) for one in partitions.restrictions(sql.bound(statement, TABLES), target)]
    assert len(found) == len(told), found
    assert all(words in one for words, one in zip(told, found, strict=True)), found


def test_a_part_is_told_with_its_place_and_the_way_out() -> None:
    call = plan.WindowCall(type=types.BIGINT, function="count", place=Place(7, 15))
    scan = plan.Scan("t", (plan.Field("k", types.BIGINT),))
    (found,) = partitions.restrictions(plan.Statement(plan.Window(scan, (call,)), ("k", "n")), NEW)
    assert found.place == Place(7, 15)
    assert "PARTITION BY" in str(found)
