"""A statement from text to frame: what is found when, in whose words, and what is warned about."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.query import params
from gpuquery.runner.query.sql.compile.target import CPU, Target
from gpuquery.runner.query.sql.prepare import Prepared, Result

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW = dt.datetime(2026, 11, 29, 23, 59, tzinfo=dt.UTC)
FRAMES: Mapping[str, pl.LazyFrame] = {
    "t": pl.LazyFrame(
        {
            "id": [1, 2],
            "name": ["7", "x"],
            "price": pl.Series([Decimal("1.25"), None], dtype=pl.Decimal(9, 2)),
            "d": [dt.date(1994, 1, 5), None],
        }
    ),
    "u": pl.LazyFrame({"id": [1], "ratio": [0.5]}),
}


def prepared(sql: str, **values: params.Value) -> Prepared:
    return Prepared(sql, dialect="duckdb", inputs=list(FRAMES), values=values)


def planned(sql: str, *, target: Target = CPU, **values: params.Value) -> Result:
    return prepared(sql, **values).plan(FRAMES, now=NOW, target=target)


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        pytest.param("SELEC 1", "line 1, column ", id="no SQL"),
        pytest.param("SELECT *\nFROM tt", "line 2, column 6: ", id="no such table"),
        pytest.param("SELECT id\nFROM t WHERE id = :n", "line 2, column 19: parameter :n has no value", id="no value"),
        pytest.param("DROP TABLE t", "DROP", id="no query"),
        pytest.param("SELECT * FROM read_csv('x')", "line 1, column 15: ", id="a file"),
    ],
)
def test_what_needs_no_data_is_found_without_any(sql: str, told: str) -> None:
    with pytest.raises(JobError) as caught:
        prepared(sql)
    assert caught.value.failure is Failure.INVALID_QUERY
    assert told in caught.value.message


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        pytest.param("SELECT id,\n nam FROM t", "line 2, column 2: ", id="a column"),
        pytest.param("SELECT id + d FROM t, u", 'line 1, column 8: column "id" is in more than one table', id="two"),
        pytest.param("SELECT\n nofun(id) FROM t", "line 2, column 2: ", id="a function"),
        pytest.param("SELECT name + d FROM t", "line 1, column 13: ", id="types that do not fit"),
        pytest.param("SELECT id FROM t WHERE name = 7", "line 1, column 24: ", id="a text and a number"),
    ],
)
def test_what_needs_the_schemas_is_found_with_its_place(sql: str, told: str) -> None:
    with pytest.raises(JobError) as caught:
        planned(sql)
    assert caught.value.failure is Failure.INVALID_QUERY
    assert caught.value.message.startswith(told.split(": ", maxsplit=1)[0]), caught.value.message


WARNED: list[Any] = [
    pytest.param("SELECT t.id FROM t, u", ['"t" and "u" are joined without a condition'], id="a comma alone"),
    pytest.param("SELECT t.id FROM t CROSS JOIN u", ["without a condition"], id="a cross join"),
    pytest.param("SELECT CAST(price AS INTEGER) FROM t", ["line 1, column 8: ", "whole numbers"], id="to whole ones"),
    pytest.param("SELECT\n price::DECIMAL(9, 1) FROM t", ["line 2, column ", "1 of 2 decimal places"], id="fewer"),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "words"), WARNED)
def test_what_may_surprise_is_warned_about_once(sql: str, words: list[str]) -> None:
    (warning,) = planned(sql).warnings
    for word in words:
        assert word in warning


@pytest.mark.parametrize(
    "sql",
    [
        pytest.param("SELECT t.id FROM t, u WHERE t.id = u.id", id="a comma with its condition in WHERE"),
        pytest.param("SELECT t.id FROM t JOIN u ON t.id < u.id", id="an inequality is a condition"),
        pytest.param("SELECT t.id FROM t, u, u v WHERE t.id < u.id AND u.id < v.id + t.id", id="two inequalities"),
        pytest.param("SELECT id, (SELECT max(id) FROM u) FROM t", id="a value of another table"),
        pytest.param("SELECT id FROM t, (SELECT max(ratio) AS m FROM u) x WHERE id > m", id="one row beside a table"),
        pytest.param("SELECT CAST(round(price) AS INTEGER) FROM t", id="a cast of what was rounded"),
        pytest.param("SELECT CAST(id AS DOUBLE) FROM t", id="a cast that keeps all"),
        pytest.param("SELECT price * 1.5 FROM t WHERE price > 1", id="casts that the author did not write"),
        pytest.param("SELECT id FROM t WHERE CAST(name AS INTEGER) = 7", id="a text that is cast on purpose"),
        pytest.param("SELECT id FROM t WHERE d > '1994-01-01'", id="a day in quotes"),
        pytest.param("SELECT CAST(1.5 AS INTEGER)", id="a constant"),
    ],
)
def test_what_does_not_surprise_is_not_warned_about(sql: str) -> None:
    assert planned(sql).warnings == ()


RECURSIVE = "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT n FROM r"


@pytest.mark.parametrize(
    ("sql", "failure"),
    [
        pytest.param(RECURSIVE, Failure.UNSUPPORTED_QUERY, id="what a CPU can run is a matter of the engine"),
        pytest.param("SELECT nofun(id) FROM t", Failure.INVALID_QUERY, id="what nobody can run is wrong"),
    ],
)
def test_what_a_release_lacks_is_told_apart_from_what_is_wrong(sql: str, failure: Failure) -> None:
    with pytest.raises(JobError) as caught:
        planned(sql, target=Target("26.10", distributed=True))
    assert caught.value.failure is failure
    if failure is Failure.UNSUPPORTED_QUERY:
        assert "26.10" in caught.value.message
        assert "cpu" in caught.value.message


def test_the_clock_stands_where_it_was_told_to() -> None:
    found = planned("SELECT current_date AS d, now() AS n").frame.collect().rows()
    assert found == [(dt.date(2026, 11, 29), NOW)]


@pytest.mark.parametrize(
    ("value", "sql", "want"),
    [
        pytest.param(("integers", [1, 3]), "SELECT id FROM t WHERE id IN :p", [(1,)], id="whole numbers"),
        pytest.param(("strings", ["x"]), "SELECT id FROM t WHERE name IN :p", [(2,)], id="texts"),
        pytest.param(("dates", [dt.date(1994, 1, 5)]), "SELECT id FROM t WHERE d IN :p", [(1,)], id="days"),
        pytest.param(
            ("decimals", [Decimal("1.25"), Decimal("10")]),
            "SELECT id FROM t WHERE price IN (:p)",
            [(1,)],
            id="decimals",
        ),
        pytest.param(("numbers", [0.5, 2.0]), "SELECT id FROM u WHERE ratio IN :p", [(1,)], id="numbers"),
        pytest.param(("date", None), "SELECT count(*) FROM t WHERE d > :p", [(0,)], id="NULL finds nothing"),
        pytest.param(("date", None), "SELECT count(*) FROM t WHERE d > :p OR :p IS NULL", [(2,)], id="NULL is NULL"),
        pytest.param(("string", "x' OR 1=1 --"), "SELECT count(*) FROM t WHERE name = :p", [(0,)], id="no text of SQL"),
    ],
)
def test_a_parameter_is_a_value_of_its_type(value: tuple[str, Any], sql: str, want: list[Any]) -> None:
    assert planned(sql, p=params.Value("p", *value)).frame.collect().rows() == want


def test_a_parameter_of_another_type_than_what_it_meets_is_refused() -> None:
    with pytest.raises(JobError) as caught:
        planned("SELECT id FROM t WHERE id = :p", p=params.Value("p", "string", "1"))
    assert ":p" in caught.value.message


def test_a_failing_cast_says_which_expression_failed_and_for_what() -> None:
    sql = "SELECT id,\n  CAST(name AS INTEGER) AS n\nFROM t"
    with pytest.raises(pl.exceptions.PolarsError) as caught:
        planned(sql).frame.collect()
    assert prepared(sql).failed(caught.value) == "line 2, column 3: the value x is not a valid INTEGER"
    assert prepared(sql).failed(ValueError("something else")) is None


@pytest.mark.parametrize("dialect", ["duckdb", "spark"])
def test_a_statement_of_a_hundred_levels_is_planned_and_one_of_thousands_refused(dialect: str) -> None:
    def deep(levels: int) -> Result:
        sql = "SELECT " + " + ".join(["id"] * levels) + " AS x FROM t"
        made = Prepared(sql, dialect=dialect, inputs=["t"], values={})
        return made.plan({"t": FRAMES["t"]}, now=NOW, target=CPU)

    assert deep(150).frame.collect_schema().names() == ["x"]
    with pytest.raises(JobError, match=r"deeply|levels"):
        deep(5000)


LOADED = """
import sys
from gpuquery.runner.query import queries
print(sorted({"duckdb", "sqlglot"} & set(sys.modules)))
from gpuquery.runner.query.sql.prepare import Prepared
Prepared("SELECT 1", dialect="duckdb", inputs=[], values={})
print(sorted({"duckdb", "sqlglot"} & set(sys.modules)))
"""


def test_a_job_loads_the_libraries_of_its_own_language_alone() -> None:
    """DuckDB only where there is SQL, sqlglot only where it is another dialect's: it takes a quarter of a second."""
    ended = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True, timeout=120)
    assert ended.stdout.splitlines() == ["[]", "['duckdb']"]
