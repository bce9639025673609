"""What the author of a wrong statement is told: the name, the place, what is known there, and the way out."""

from __future__ import annotations

import pytest

from tests.support.sql_front import SCHEMAS, refused

T = ", ".join(SCHEMAS["t"])
U = "i, x, d, ts"


@pytest.mark.parametrize(
    ("sql", "message", "place"),
    [
        pytest.param(
            "WITH c AS (SELECT i AS k FROM u UNION ALL SELECT i FROM t UNION SELECT 1) SELECT kk FROM c",
            'column "kk" does not exist (known: c: k); did you mean "k"?',
            "kk",
            id="a column of a union",
        ),
        pytest.param(
            "SELECT ii FROM u", f'column "ii" does not exist (known: u: {U}); did you mean "i"?', "ii", id="a column"
        ),
        pytest.param(
            "SELECT i FROM u AS v WHERE v.ex = 1",
            f'table "v" has no column "ex" (known: {U}); did you mean "x"?',
            "v.ex",
            id="a column of a table by its alias",
        ),
        pytest.param(
            "SELECT 'é' FROM u WHERE dd > 1",
            f'column "dd" does not exist (known: u: {U}); did you mean "d"?',
            "dd",
            id="places count characters, not bytes",
        ),
        pytest.param(
            "SELECT (SELECT max(dd) FROM u) FROM t",
            f'column "dd" does not exist (known: u: {U}; t: {T}); did you mean "d"?',
            "dd",
            id="a column of the inner query or the one around it",
        ),
        pytest.param(
            "WITH c AS (SELECT i AS k FROM t) SELECT kk FROM c",
            'column "kk" does not exist (known: c: k); did you mean "k"?',
            "kk",
            id="a column of a CTE",
        ),
        pytest.param(
            "SELECT i FROM uu",
            'table "uu" is not an input of the job (known: t, u); did you mean "u"?',
            "uu",
            id="a table",
        ),
        pytest.param(
            "SELECT z.i FROM u", 'table "z" is not in FROM here (known: u)', "z.i", id="a table that is not in FROM"
        ),
        pytest.param(
            "SELECT lenght(x) FROM u",
            'function lenght() does not exist; did you mean "length"?',
            "lenght(x)",
            id="a function",
        ),
        pytest.param(
            "SELECT i::intger FROM u", 'type "intger" does not exist; did you mean "INTEGER"?', "intger", id="a type"
        ),
        pytest.param(
            "SELECT upper(i) FROM u",
            "upper(INTEGER) does not exist (known: upper(VARCHAR)): cast the arguments to types that fit",
            "upper(i)",
            id="a function with other types",
        ),
        pytest.param(
            "SELECT i + x FROM u",
            "INTEGER + VARCHAR does not exist: cast one side to a type that fits",
            None,
            id="an operator with other types",
        ),
        pytest.param(
            "SELECT x > 3 FROM u",
            "VARCHAR and INTEGER cannot be compared: cast one of them",
            None,
            id="text and a number",
        ),
        pytest.param(
            "SELECT x = 3 FROM u",
            "VARCHAR and INTEGER cannot be compared: cast one of them",
            "x",
            id="equality of text and a number",
        ),
        pytest.param(
            "SELECT * FROM t JOIN u ON t.i = u.x",
            "VARCHAR and INTEGER cannot be compared: cast one of them",
            "u.x",
            id="a join of text and a number",
        ),
        pytest.param(
            "SELECT dt > 'foo' FROM t",
            "'foo' is not a valid DATE: write it like 1994-01-31",
            "'foo'",
            id="a day in quotes",
        ),
        pytest.param(
            "SELECT DATE '2021-02-29'",
            "'2021-02-29' is not a valid DATE: write it like 1994-01-31",
            "DATE '2021-02-29'",
            id="a day that is none",
        ),
        pytest.param(
            "SELECT TIMESTAMP 'infinity'",
            "'infinity' as TIMESTAMP is infinite or not in the years 1 to 9999",
            "TIMESTAMP 'infinity'",
            id="infinity",
        ),
        pytest.param(
            "SELECT i, sum(d) FROM u",
            'column "i" is neither in GROUP BY nor inside an aggregate: add it to GROUP BY, or use any_value(i)',
            "i",
            id="a missing GROUP BY",
        ),
        pytest.param(
            "SELECT i FROM t, u",
            "column \"i\" is in several tables in FROM: write 't.i' or 'u.i'",
            "i",
            id="an ambiguous column",
        ),
        pytest.param(
            "SELECT i FROM u WHERE sum(d) > 1",
            "WHERE cannot contain an aggregate: use HAVING, or compute it in a sub-query",
            None,
            id="an aggregate in WHERE",
        ),
        pytest.param(
            "SELECT rank() FROM u",
            "a window function needs OVER (...), and is allowed only in SELECT, QUALIFY and ORDER BY",
            None,
            id="a window function without OVER",
        ),
        pytest.param("SELECT i i i FROM u", 'syntax error at or after "i"', "i", id="a syntax error"),
        pytest.param("SELECT 'abc FROM u", "a quoted string is not closed: add '", None, id="a text without end"),
        pytest.param(
            "SELECT i FROM u UNION SELECT i, d FROM u",
            "the sides of UNION, INTERSECT or EXCEPT do not have the same number of columns",
            None,
            id="a union of other widths",
        ),
        pytest.param(
            "SELECT i FROM u ORDER BY 2",
            "a number in ORDER BY must be the position of a column of SELECT, from 1 to 1",
            None,
            id="a number in ORDER BY",
        ),
        pytest.param(
            "SELECT st.c FROM t", 'the struct has no field "c" (similar: "a")', None, id="a field of a record"
        ),
        pytest.param(
            "SELECT x COLLATE nocase = 'a' FROM u",
            "COLLATE NOCASE is not supported: text is compared by its bytes; compare lower(...) of "
            "both sides to ignore case",
            None,
            id="a collation",
        ),
        pytest.param(
            "SELECT rowid FROM u",
            "rowid is refused: the rows of an input have no row number and no order",
            None,
            id="rowid",
        ),
        pytest.param(
            "SELECT i FROM u TABLESAMPLE 10%",
            "TABLESAMPLE and USING SAMPLE are refused: every attempt of a job must return the same result; "
            "filter by a column",
            None,
            id="a sample",
        ),
        pytest.param(
            "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 0.5 FROM r) SELECT * FROM r",
            'a column of the recursive query "r" is INTEGER in its first part and DECIMAL(12, 1) in the next one: '
            "cast one of them",
            None,
            id="a recursive query that would round",
        ),
        pytest.param(
            "SELECT random() FROM u",
            "random() is refused: every attempt of a job must return the same result; pass the value as a parameter",
            "random()",
            id="a random number",
        ),
        pytest.param(
            "SELECT current_user FROM u",
            "current_user() is refused: it depends on a session, and a query reads only the job's "
            "inputs; use a parameter",
            "current_user",
            id="the session's user",
        ),
        pytest.param(
            "SELECT * FROM main.u",
            '"main.u" is refused: tables have no database or schema, only the name of an input',
            None,
            id="a schema",
        ),
        pytest.param(
            "SELECT * FROM read_csv('a.csv')",
            "the table function read_csv is refused: a query reads only the job's inputs (t, u)",
            None,
            id="a file",
        ),
        pytest.param(
            "SELECT * FROM 'a.parquet'",
            'table "a.parquet" is not an input of the job (known: t, u)',
            None,
            id="a file as a table",
        ),
        pytest.param("DROP TABLE u", "DROP is refused: a query is one SELECT statement", None, id="another statement"),
        pytest.param(
            "SELECT 1; SELECT 2", "2 statements are given; a query is one SELECT statement", None, id="two statements"
        ),
        pytest.param(
            "DESCRIBE u",
            "DESCRIBE, SHOW and SUMMARIZE is refused: a query is one SELECT statement",
            None,
            id="DESCRIBE",
        ),
        pytest.param(
            "PIVOT u ON x USING sum(d)",
            "PIVOT needs the values of its columns: ON column IN ('a', 'b')",
            None,
            id="PIVOT without values",
        ),
        pytest.param(
            "PIVOT u ON d IN (1.5) USING count(*)",
            "PIVOT compares texts, and a DECIMAL(10, 4) has several: "
            "write PIVOT ... ON CAST(column AS VARCHAR) IN ('1.50')",
            None,
            id="PIVOT by a number that has several texts",
        ),
        pytest.param(
            "SELECT * FROM t, LATERAL (SELECT i FROM u WHERE u.i > t.i ORDER BY i FETCH FIRST 3 ROWS WITH TIES)",
            "WITH TIES is not supported in a sub-query that uses the row outside of it: use QUALIFY "
            "rank() OVER (ORDER BY ...) <= n",
            "WITH TIES",
            id="WITH TIES for each row outside",
        ),
        pytest.param(
            "SELECT i FROM u WHERE i BETWEEN SYMMETRIC 3 AND 1",
            "BETWEEN SYMMETRIC is not supported: write BETWEEN least(a, b) AND greatest(a, b)",
            "SYMMETRIC",
            id="BETWEEN SYMMETRIC",
        ),
        pytest.param(
            "SELECT i FROM u FETCH FIRST 3 ROWS WITH TIES",
            "WITH TIES needs an ORDER BY; or use QUALIFY rank() OVER (ORDER BY ...) <= n",
            None,
            id="WITH TIES without an order",
        ),
    ],
)
def test_a_refusal_names_the_thing_and_the_way_out(sql: str, message: str, place: str | None) -> None:
    told, where = refused(sql)
    assert told == message
    if place is not None:
        assert where == place


WRONG = (
    "SELECT o FROM t",
    "SELECT t.o FROM t",
    "SELECT z.i FROM t",
    "SELECT nofun(i) FROM t",
    "SELECT sum(i, 1) FROM t",
    "SELECT i FROM",
    "SELEC 1",
    "SELECT dt + dt FROM t",
    "SELECT dt > 3 FROM t",
    "SELECT bo + 1 FROM t",
    "SELECT 'a' + 1",
    "SELECT CASE WHEN bo THEN 1 ELSE dt END FROM t",
    "SELECT coalesce(i, dt) FROM t",
    "SELECT sum(sum(i)) FROM t",
    "SELECT i FROM t GROUP BY 5",
    "SELECT (SELECT i, b FROM t)",
    "SELECT * FROM t JOIN u USING (zz)",
    "SELECT x.i FROM t x, u x",
    "SELECT l[bo] FROM t",
    "SELECT substr(s) FROM t",
    "SELECT date_trunc('foo', ts) FROM t",
    "SELECT strftime(ts, '%Q') FROM t",
    "SELECT * EXCLUDE (zz) FROM t",
    "SELECT i FROM t LIMIT s",
    "SELECT i FROM t LIMIT -1",
    "WITH a AS (SELECT 1), a AS (SELECT 2) SELECT * FROM a",
    "SELECT DISTINCT ON (zz) i FROM t",
    "SELECT grouping(b) FROM t GROUP BY i",
    "SELECT lag(i) FROM t",
    "SELECT i::foo FROM t",
    "SELECT unnest(i) FROM t",
    "SELECT list_transform(l, lambda x: y) FROM t",
    "SELECT i FROM t WHERE unnest(l) = 1",
    "SELECT x'zz'",
    "SELECT * FROM t ASOF JOIN u ON t.i = u.i",
    "SELECT * FROM (VALUES (1), (2, 3))",
    'SELECT "i FROM t',
    "SELECT /* foo",
    "SELECT -s FROM t",
    "SELECT s LIKE 3 FROM t",
    "SELECT max(i, b, s) FROM t",
    "SELECT quantile_cont(i, 2) FROM t",
    "SELECT quantile_cont(i, b) FROM t",
    "SELECT count(DISTINCT *) FROM t",
    "SELECT COLUMNS('zz') FROM t",
    "SELECT i FROM t QUALIFY i = 1",
    "SELECT f(x := 1)",
    "SELECT 1 WHERE 1 = 1 GROUP",
    "SELECT nextval('s')",
    "SELECT list_contains(l, s) FROM t",
    "SELECT '1'::BIT",
    "SELECT 99999999999999999999999999999999999999999999",
    "SELECT i FROM t LIMIT (SELECT 1)",
    "SELECT TRY(i) FROM t",
    "SELECT uuid()",
    "SELECT s::UUID FROM t",
    "SELECT s::JSON FROM t",
    "SELECT map([1], [2])",
    "SELECT 1::UHUGEINT",
    "SELECT 'a'::ENUM('a', 'b')",
    "SELECT * FROM t POSITIONAL JOIN u",
    "SELECT i FROM t GROUP BY CUBE (" + ", ".join(f"i + {k}" for k in range(20)) + ")",
    "SELECT ?",
    "SELECT $1",
    "SELECT i FROM t ORDER BY ALL, i",
    "SELECT * FROM t WHERE i IN (SELECT i, x FROM u)",
    "SELECT sum(i) OVER (ORDER BY zz) FROM t",
    "WITH RECURSIVE r AS (SELECT r.n FROM r) SELECT * FROM r",
    "SELECT a.b.c.d.e FROM t",
    "SELECT 1 +",
    "SELECT FROM t",
)
INTERNALS = (
    "DuckDB",
    "Polars",
    "Binder",
    "Catalog",
    "Parser",
    "Candidate",
    "Conversion",
    "explicit type casts",
    "memory.main",
    "main.",
    "LITERAL",
    "__",
    "getvariable",
    "LINE 1",
    "duckdb",
    "pg_",
    "sqlite",
    "information_schema",
    "Did you mean",
    "Error:",
)


@pytest.mark.parametrize("sql", WRONG)
def test_a_refusal_holds_no_word_of_the_libraries(sql: str) -> None:
    message, _ = refused(sql)
    assert message[0] != " " and len(message) < 1000
    assert [word for word in INTERNALS if word in message] == []
