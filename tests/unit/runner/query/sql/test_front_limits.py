"""Large and deep texts are planned, or refused in words: they never end the process, and never take long."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gpuquery.runner.query.sql.plan import Filter, Project
from tests.support.sql_front import bound, refused

DEEP = "the statement is nested too deeply (the limit is some 250 levels)"


@pytest.mark.parametrize(
    "sql",
    [
        pytest.param("SELECT i FROM t WHERE " + " OR ".join(f"i = {k} AND b = {k}" for k in range(500)), id="500 ORs"),
        pytest.param("SELECT i FROM t WHERE i IN (" + ", ".join(map(str, range(2000))) + ")", id="2,000 items of IN"),
        pytest.param("SELECT " + " + ".join(["i"] * 200) + " FROM t", id="200 terms of a sum"),
        pytest.param("SELECT " + "(" * 200 + "i" + ")" * 200 + " FROM t", id="200 parentheses"),
        pytest.param("SELECT " + ", ".join(f"i AS c{k}" for k in range(1000)) + " FROM t", id="1,000 columns"),
        pytest.param("SELECT '" + "x" * 900_000 + "'", id="900 kB of text"),
        pytest.param(" UNION ALL ".join(["SELECT i FROM t"] * 300), id="300 unions"),
        pytest.param(
            "SELECT i + 1 AS i, "
            + ", ".join(f"CASE WHEN i < {k} THEN b + i ELSE d END AS c{k}" for k in range(900))
            + " FROM t",
            id="900 columns of many parts over a column that is an alias too",
        ),
        pytest.param("SELECT i FROM t LIMIT 2 * 5 + 1 OFFSET -(-1)", id="a number that is computed in LIMIT"),
        pytest.param("SELECT * FROM " + "(SELECT * FROM " * 100 + "t" + ")" * 100, id="100 sub-queries in each other"),
    ],
)
def test_a_large_statement_is_planned(sql: str) -> None:
    bound(sql)


def test_nothing_is_run_to_plan_a_statement() -> None:
    bound("SELECT count(*) FROM range(1000000000000) AS a(x), range(1000000000000) AS b(y) WHERE x = y")


def test_a_list_of_hundreds_of_items_is_planned() -> None:
    made = bound("SELECT i FROM t WHERE b IN :v", v=("integers", list(range(300)))).relation
    assert isinstance(made, Project)
    assert isinstance(made.input, Filter)
    assert len(made.input.condition.arguments) == 301  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        pytest.param("SELECT " + " + ".join(["i"] * 1000) + " FROM t", DEEP, id="1,000 terms of a sum"),
        pytest.param("SELECT " + "(" * 5000 + "i" + ")" * 5000 + " FROM t", DEEP, id="5,000 parentheses"),
        pytest.param("SELECT " + "abs(" * 5000 + "i" + ")" * 5000 + " FROM t", DEEP, id="5,000 calls"),
        pytest.param("SELECT " + "NOT " * 5000 + "bo FROM t", DEEP, id="5,000 NOTs"),
        pytest.param("SELECT " + "- " * 5000 + "i FROM t", DEEP, id="5,000 signs"),
        pytest.param("SELECT * FROM " + "(SELECT * FROM " * 3000 + "t" + ")" * 3000, DEEP, id="3,000 sub-queries"),
        pytest.param("SELECT " + "[" * 5000 + "1" + "]" * 5000, DEEP, id="5,000 lists"),
        pytest.param("SELECT i" + "::INT::BIGINT" * 3000 + " FROM t", DEEP, id="6,000 casts"),
        pytest.param(
            "SELECT " + "nullif(" * 40 + "i" + ", 1)" * 40 + " FROM t",
            "lambdas, BETWEEN and NULLIF",
            id="NULLIFs double",
        ),
        pytest.param(
            "SELECT " + "list_transform(l, lambda x: " * 30 + "x" + ")" * 30 + " FROM t",
            "lambdas, BETWEEN and NULLIF",
            id="lambdas double",
        ),
        pytest.param(
            "SELECT " + "CASE " * 40 + "i" + " WHEN 1 THEN 1 WHEN 2 THEN 2 END" * 40 + " FROM t",
            "more than 4 CASE expressions are nested directly",
            id="simple CASEs multiply",
        ),
        pytest.param(
            "SELECT i AS a0, " + ", ".join(f"a{k} + a{k} AS a{k + 1}" for k in range(29)) + " FROM t",
            "the column aliases use one another so often",
            id="aliases double",
        ),
        pytest.param(
            "SELECT (SELECT max(y.a) FROM (SELECT i AS a, "
            + ", ".join(f"{'a' if not k else f'a{k}'} * 2 + {'a' if not k else f'a{k}'} AS a{k + 1}" for k in range(29))
            + " FROM u) y) FROM t",
            "the column aliases use one another so often",
            id="aliases double in a sub-query",
        ),
        pytest.param(
            "SELECT *, * FROM (" * 40 + "SELECT i FROM t" + ")" * 40,
            "the result would have more than 20000 columns",
            id="stars double",
        ),
        pytest.param(
            "WITH "
            + ", ".join(["c0 AS (FROM t)", *(f"c{k + 1} AS (SELECT * FROM c{k} a, c{k} b)" for k in range(30))])
            + " SELECT count(*) FROM c30",
            "the result would have more than 20000 columns",
            id="columns of CTEs double",
        ),
        pytest.param(
            "PIVOT t ON i IN ({0}), b IN ({0}) USING sum(d)".format(", ".join(map(str, range(200)))),
            "the result would have more than 20000 columns",
            id="values of PIVOT multiply",
        ),
        pytest.param(
            "SELECT i FROM t LIMIT 1 + length(repeat('x', 2000000000))",
            "length() is refused in LIMIT and OFFSET: write a number",
            id="a function in LIMIT",
        ),
        pytest.param(
            "SELECT 1 FROM t AS " + "x" * 300, 'the name "' + "x" * 40 + '..." has more than 256', id="a long name"
        ),
        pytest.param("SELECT " + ".".join(["a"] * 5000), "a name has more than 8 parts", id="a name of 5,000 parts"),
        pytest.param(
            "SELECT 1 -- " + "x" * 1_000_000, "the query has 1000012 bytes; the limit is 1000000", id="a megabyte"
        ),
        pytest.param(";" * 5000, "0 statements are given", id="semicolons alone"),
        pytest.param("/*" * 5000, "a comment is not closed", id="comments without end"),
    ],
)
def test_a_statement_that_is_too_large_is_refused_in_words(sql: str, message: str) -> None:
    told, _ = refused(sql)
    assert told.startswith(message)


def test_the_front_end_needs_neither_polars_nor_sqlglot() -> None:
    """Both are slow to import; DuckDB, which it needs, takes about a tenth of a second."""
    code = "import gpuquery.runner.query.sql.front, sys; print({'polars', 'sqlglot', 'duckdb'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "{'duckdb'}\n"
