"""The frames that relations are compiled to: what goes into the scan, what a GPU engine meets, what names are for."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from gpuquery.runner.query.fingerprint import fingerprint, own_tables
from gpuquery.runner.query.sql.compile.target import Target
from gpuquery.runner.query.sql.errors import SqlError
from tests.support import sql
from tests.unit.runner.query.sql import test_joins, test_relations

GPU = Target("26.10", distributed=True)
ROOT = Path(__file__).parents[5]


@pytest.fixture
def prices(tmp_path: Path) -> pl.LazyFrame:
    file = tmp_path / "prices.parquet"
    numbers = [Decimal(n) / 100 for n in range(1000)]
    columns = {"id": list(range(1000)), "price": pl.Series(numbers, dtype=pl.Decimal(15, 2)), "note": ["x"] * 1000}
    pl.DataFrame(columns).write_parquet(file)
    return pl.scan_parquet(file)


@pytest.mark.parametrize(
    ("statement", "scanned"),
    [
        pytest.param("SELECT id FROM p WHERE id > 5", ["1/3 COLUMNS", 'SELECTION: col("id") > 5'], id="a condition"),
        pytest.param(
            "SELECT id FROM p WHERE price > 9.5", ["2/3 COLUMNS", "SELECTION:"], id="a condition on a decimal"
        ),
        pytest.param("SELECT sum(price) FROM p WHERE id > 5 AND price > 9", ["2/3", "SELECTION:"], id="conditions"),
        pytest.param("SELECT count(*) FROM p WHERE id > 5", ["SELECTION:"], id="a count under a condition"),
        pytest.param(
            "WITH c AS (SELECT id AS n, price AS d FROM p) SELECT n FROM c WHERE n > 5",
            ["1/3 COLUMNS", "SELECTION:"],
            id="through a projection with other names",
        ),
        pytest.param(
            "SELECT a.id FROM p a JOIN p b ON a.id = b.id WHERE a.price > 9 AND b.price > 9",
            ["SELECTION:"],
            id="through a join",
        ),
    ],
)
def test_conditions_and_columns_go_into_the_scan(statement: str, scanned: list[str], prices: pl.LazyFrame) -> None:
    shown = sql.planned(statement, {"p": prices}).explain()
    assert "FILTER" not in shown
    assert all(words in shown for words in scanned), shown


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("SELECT id FROM p WHERE id IN (VALUES (1), (2 + 3))", id="VALUES"),
        pytest.param("SELECT 1 AS one, 'x' AS two", id="a SELECT without FROM"),
        pytest.param("SELECT id FROM p WHERE false", id="nothing"),
    ],
)
def test_ranks_read_no_table_that_the_text_holds(statement: str, prices: pl.LazyFrame) -> None:
    assert own_tables(sql.planned(statement, {"p": prices}, GPU)) == ()
    assert own_tables(sql.planned(statement, {"p": prices})) != ()


def test_inputs_come_and_go_in_the_form_of_their_types() -> None:
    moment = dt.datetime(2020, 1, 2, 3, 4, 5, 678000)
    zone = moment.replace(tzinfo=dt.UTC)
    frame = pl.DataFrame(
        {
            "c": pl.Series(["a", None], dtype=pl.Categorical),
            "e": pl.Series(["b", None], dtype=pl.Enum(["a", "b"])),
            "z": pl.Series([zone, None], dtype=pl.Datetime("ms", "UTC")).dt.convert_time_zone("Europe/Berlin"),
            "n": pl.Series([moment, None], dtype=pl.Datetime("ns")),
            "m": pl.Series([moment, None], dtype=pl.Datetime("ms")),
            "d": pl.Series([Decimal("1.10"), None], dtype=pl.Decimal(9, 2)),
            "i": pl.Series([5, None], dtype=pl.UInt8),
            "l": pl.Series([[Decimal("1.5")], None], dtype=pl.List(pl.Decimal(5, 1))),
        }
    ).lazy()
    found = sql.planned("SELECT * FROM t WHERE c = 'a' AND e = 'b' AND d > 1 AND i < 6", {"t": frame}).collect()
    assert found.rows() == [("a", "b", zone, moment, moment, Decimal("1.10"), 5, [Decimal("1.5")])]
    assert found["c"].dtype == found["e"].dtype == pl.String
    assert found["z"].dtype == pl.Datetime("us", "UTC")
    assert found["d"].dtype == pl.Decimal(9, 2)
    assert found["l"].dtype == pl.List(pl.Decimal(5, 1))


@pytest.mark.parametrize(
    ("statement", "dtype"),
    [
        pytest.param("SELECT sum(h) FROM t", pl.Int64, id="a sum of 32 bits"),
        pytest.param(
            "SELECT s FROM (SELECT g, sum(h) AS s FROM t GROUP BY g) ORDER BY s LIMIT 1", pl.Int64, id="deeper"
        ),
        pytest.param("SELECT sum(h) FROM t UNION ALL SELECT sum(h) FROM t", pl.Int64, id="of a union"),
        pytest.param("SELECT sum(h) FROM t UNION ALL SELECT sum(big) FROM t", pl.Decimal(38, 0), id="not of all sides"),
        pytest.param("SELECT sum(big) FROM t", pl.Decimal(38, 0), id="a sum of 64 bits"),
        pytest.param("SELECT sum(h) + 1 FROM t", pl.Decimal(38, 0), id="an expression"),
        pytest.param("SELECT count(*) FROM t", pl.Int64, id="a count"),
    ],
)
def test_a_sum_of_small_numbers_is_a_bigint_in_the_result(statement: str, dtype: pl.DataType) -> None:
    frame = sql.planned(statement, sql.frames(test_relations.TABLES))
    assert frame.collect_schema().dtypes() == [dtype]


def digests() -> list[str]:
    """Return fingerprints of plans of many kinds."""
    joins, others = sql.frames(test_joins.TABLES), sql.frames(test_relations.TABLES)
    kinds = [*test_relations.GROUPS, *test_relations.SETS, *test_relations.ORDERS, *test_relations.SHARED]
    planned = [sql.planned(row.values[0], joins, GPU) for row in [*test_joins.OUTER, *test_joins.SUBQUERIES][::12]]
    planned += [sql.planned(row.values[0], others, GPU) for row in kinds[::12]]
    return [fingerprint(frame).digest for frame in planned]


def test_two_processes_make_the_same_plan_of_a_statement() -> None:
    code = f"from {__name__} import digests; print(*digests())"
    env = {**os.environ, "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, text=True)
    assert done.stdout.split() == digests()


def _doubled(levels: int) -> str:
    parts = [f"c{i} AS (SELECT a.k FROM c{i - 1} a JOIN c{i - 1} b ON a.k = b.k)" for i in range(1, levels + 1)]
    return f"WITH c0 AS (SELECT k FROM few), {', '.join(parts)} SELECT k FROM c{levels}"


def test_parts_that_use_one_another_twice_again_and_again_are_run_once() -> None:
    frame = sql.planned(_doubled(11), sql.frames(test_joins.TABLES))
    assert sorted(frame.collect(engine="streaming").rows()) == [(2,), (3,), (5,)]


def test_too_many_of_them_are_refused_in_words() -> None:
    with pytest.raises(SqlError, match="declare that table in inputs"):
        sql.planned(_doubled(20), sql.frames(test_joins.TABLES))
