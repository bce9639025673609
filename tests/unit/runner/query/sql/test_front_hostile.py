"""Nothing but a plan over the declared inputs, or a refusal, comes out of a text, and nothing happens meanwhile.

The texts are made from DuckDB's own catalogue: every function, table function, pragma, view, setting and kind of
statement that it knows. A canary file and a variable of the environment stand where each of them might look.
"""

from __future__ import annotations

import os
import re
from functools import cache
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from gpuquery.runner.query.sql.errors import SqlError
from gpuquery.runner.query.sql.front import catalog, names
from gpuquery.runner.query.sql.front.binder import _Binder
from gpuquery.runner.query.sql.front.source import Source
from gpuquery.runner.query.sql.front.ties import Ties
from gpuquery.runner.query.sql.plan import Relation, Scan
from tests.support.sql_front import SCHEMAS, bound
from tests.support.sql_plans import shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gpuquery.runner.query.sql.plan import Statement

SECRET = "canary-5c1e"
ARGUMENTS = {
    "ANY": "i",
    "BIGINT": "b",
    "BIGINT[]": "[b]",
    "BLOB": "s::BLOB",
    "BOOLEAN": "bo",
    "DATE": "dt",
    "DECIMAL": "d",
    "DOUBLE": "f",
    "DOUBLE[]": "[f]",
    "FLOAT": "f::FLOAT",
    "HUGEINT": "b::HUGEINT",
    "INTEGER": "i",
    "INTERVAL": "INTERVAL 1 DAY",
    "K": "i",
    "LAMBDA": "lambda x: x",
    "SMALLINT": "i::SMALLINT",
    "STRUCT": "st",
    "T": "i",
    "T[]": "l",
    "ANY[]": "l",
    "TIME": "ts::TIME",
    "TIMESTAMP": "ts",
    "TIMESTAMP WITH TIME ZONE": "tz",
    "TINYINT": "i::TINYINT",
    "V": "i",
    "VARCHAR[]": "[s]",
}


@cache
def _known(question: str) -> list[tuple[Any, ...]]:
    """What a DuckDB of the test's own, without limits, knows."""
    return duckdb.connect().execute(question).fetchall()


def _functions(*kinds: str) -> list[tuple[str, list[str]]]:
    rows = _known("SELECT function_name, function_type, parameter_types FROM duckdb_functions() ORDER BY ALL")
    return [(name, [str(k) for k in types]) for name, kind, types in rows if kind in kinds]


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file that holds the secret, which the environment holds too."""
    monkeypatch.setenv("CANARY", SECRET)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "canary.csv").write_text(f"secret\n{SECRET}\n")
    return tmp_path


def _scans(relation: Relation) -> Iterator[Scan]:
    if isinstance(relation, Scan):
        yield relation
    for below in relation.inputs:
        yield from _scans(below)


def _state() -> Any:
    """The files of this folder, the environment, and what the binder's databases hold."""
    files = {path: path.stat().st_mtime_ns for path in sorted(_here())}
    asked = (
        "SELECT name, value FROM duckdb_settings() ORDER BY ALL",
        "SELECT table_name FROM duckdb_tables() ORDER BY ALL",
        "SELECT view_name FROM duckdb_views() WHERE NOT internal",
        "SELECT sequence_name FROM duckdb_sequences()",
        "SELECT type_name FROM duckdb_types() WHERE NOT internal",
        "SELECT function_name FROM duckdb_functions() WHERE NOT internal",
        "SELECT database_name FROM duckdb_databases() ORDER BY ALL",
    )
    session = catalog.connection(SCHEMAS)
    return files, dict(os.environ), [session.execute(question).fetchall() for question in asked]


def _here() -> list[Any]:
    from pathlib import Path

    return list(Path.cwd().rglob("*"))


def _only_plans_or_refusals(statements: list[str]) -> int:
    """Bind each statement; return how many of them have a plan."""
    plans = 0
    before = _state()
    for statement in statements:
        try:
            made = bound(statement)
        except SqlError as exc:
            told = exc.message
        else:
            told = ""
            plans += 1
            _check(statement, made)
        assert SECRET not in told, statement
    assert _state() == before
    return plans


def _check(statement: str, made: Statement) -> None:
    assert {scan.table for scan in _scans(made.relation)} <= set(SCHEMAS), statement
    text = shown(made)
    assert SECRET not in text, statement
    called = set(re.findall(r"([a-z_]\w*)\(", text.split("\n", 1)[1]))
    assert [name for name in called if name != "unnest" and names.refusal(name)] == [], statement


def _call(name: str, types: list[str], text: str) -> str:
    arguments = [ARGUMENTS.get(kind, text) for kind in types]
    if name[0].isalpha() or name[0] == "_":
        return f'"{name}"({", ".join(arguments)})'
    return f" {name} ".join(arguments) if len(arguments) == 2 else f"{name} {arguments[0]}" if arguments else "1"


def test_no_function_of_values_does_anything_else(canary: Path) -> None:
    functions = {
        name: types
        for name, types in _functions("scalar", "aggregate", "macro")
        if not name.startswith(("collate_", "icu_collate_"))
    }
    statements = [f"SELECT {_call(name, types, 's')} FROM t" for name, types in functions.items()]
    assert len(statements) > 600
    assert _only_plans_or_refusals(statements) > 250


def test_no_function_with_the_name_of_a_secret_reads_it(canary: Path) -> None:
    texts = ("'CANARY'", "'canary.csv'", "'s3_secret_access_key'", f"'{canary}/canary.csv'")
    functions = {name for name, types in _functions("scalar", "macro") if len(types) <= 2 and "VARCHAR" in types}
    some = [name for name in sorted(functions) if not name.startswith(("collate_", "icu_collate_"))]
    statements = [f'SELECT "{name}"({text})' for name in some for text in texts[:2]]
    statements += [f"SELECT {name}({text})" for name in ("getenv", "current_setting", "getvariable") for text in texts]
    assert len(statements) > 100
    _only_plans_or_refusals(statements)


def test_no_table_function_but_those_of_values_is_bound(canary: Path) -> None:
    functions = [*_functions("table", "table_macro"), *_functions("pragma")]
    path = f"'{canary}/canary.csv'"
    calls = sorted({f'"{name}"({", ".join([path] * min(1, len(types)))})' for name, types in functions})
    calls += sorted({f'"{name}"()' for name, _ in functions} - set(calls))
    statements = [f"SELECT * FROM {call}" for call in calls]
    statements += [f"FROM t, LATERAL {call}" for call in calls]
    assert len(statements) > 300
    assert _only_plans_or_refusals(statements) == 0


def test_no_view_of_the_system_is_read(canary: Path) -> None:
    views = _known("SELECT schema_name, view_name FROM duckdb_views() WHERE internal")
    assert len(views) > 20
    statements = [f'SELECT * FROM "{view}"' for _, view in views]
    statements += [f'SELECT * FROM "{schema}"."{view}"' for schema, view in views]
    statements += [f'SELECT * FROM system."{schema}"."{view}"' for schema, view in views]
    statements += [f'WITH "{view}" AS (SELECT 1 AS a) SELECT * FROM main."{view}"' for _, view in views]
    assert _only_plans_or_refusals(statements) == 0


def test_a_name_of_the_system_is_free_for_the_author_in_the_right_scope() -> None:
    made = bound("WITH pg_class AS (SELECT i FROM t) SELECT i FROM pg_class")
    assert [scan.table for scan in _scans(made.relation)] == ["t"]
    with pytest.raises(SqlError, match="a query reads only the job's inputs"):
        bound("SELECT * FROM (WITH pg_class AS (SELECT 1 AS a) SELECT a FROM pg_class) AS x, pg_class")


STATEMENTS = (
    "ALTER TABLE t ADD COLUMN z INTEGER",
    "ANALYZE",
    "ATTACH 'canary.db' AS other",
    "BEGIN",
    "CALL pragma_version()",
    "CHECKPOINT",
    "COMMENT ON TABLE t IS 'x'",
    "COMMIT",
    "COPY t TO 'out.csv'",
    "COPY (SELECT 1) TO 'out.parquet'",
    "COPY t FROM 'canary.csv'",
    "CREATE TABLE z (a INTEGER)",
    "CREATE TABLE z AS SELECT 1",
    "CREATE VIEW z AS SELECT 1",
    "CREATE SEQUENCE z",
    "CREATE MACRO z() AS 1",
    "CREATE TYPE z AS ENUM ('a')",
    "CREATE INDEX z ON t (i)",
    "CREATE SCHEMA z",
    "CREATE SECRET z (TYPE s3)",
    "DEALLOCATE z",
    "DELETE FROM t",
    "DESCRIBE t",
    "DETACH memory",
    "DROP TABLE t",
    "EXECUTE z",
    "EXPLAIN SELECT 1",
    "EXPLAIN ANALYZE SELECT * FROM t",
    "EXPORT DATABASE 'out'",
    "FORCE CHECKPOINT",
    "IMPORT DATABASE 'out'",
    "INSERT INTO t VALUES (1)",
    "INSTALL httpfs",
    "LOAD httpfs",
    "MERGE INTO t USING u ON t.i = u.i WHEN MATCHED THEN DELETE",
    "PRAGMA version",
    "PRAGMA database_list",
    "PREPARE z AS SELECT 1",
    "RESET threads",
    "ROLLBACK",
    "SET threads = 2",
    "SET VARIABLE z = 1",
    "SHOW TABLES",
    "SUMMARIZE t",
    "TRUNCATE t",
    "UPDATE t SET i = 1",
    "UPDATE EXTENSIONS",
    "USE memory",
    "VACUUM",
    "SHOW ALL TABLES",
    "SHOW t",
)
INSIDE = (
    "INSERT INTO t SELECT * FROM t RETURNING *",
    "DELETE FROM t RETURNING *",
    "UPDATE t SET i = 1 RETURNING *",
    "DESCRIBE t",
    "SHOW TABLES",
    "SUMMARIZE t",
    "PRAGMA version",
    "CALL pragma_version()",
    "COPY t TO 'out.csv'",
    "EXPLAIN SELECT 1",
)


def test_no_statement_but_a_query_is_planned(canary: Path) -> None:
    statements = [*STATEMENTS, *(f"{s}; SELECT 1" for s in STATEMENTS), *(f"SELECT 1; {s}" for s in STATEMENTS)]
    statements += [f"WITH z AS ({s}) SELECT * FROM z" for s in (*STATEMENTS, *INSIDE)]
    statements += [f"SELECT * FROM ({s})" for s in (*STATEMENTS, *INSIDE)]
    statements += [f"SELECT ({s})" for s in INSIDE] + [f"SELECT 1 UNION ALL {s}" for s in INSIDE]
    statements += [f"/* SELECT 1 */ {s} -- SELECT 1" for s in STATEMENTS]
    assert _only_plans_or_refusals(statements) == 0


@pytest.mark.parametrize("text", ["CREATE TABLE z (a INTEGER)", "SELECT 1; SELECT 2", "SET threads = 2", ""])
def test_nothing_but_one_query_is_handed_over_for_the_names_of_its_columns(text: str) -> None:
    """Anything else DuckDB would run; it is refused before, too."""
    session = catalog.connection(SCHEMAS)
    with pytest.raises(SqlError, match="a query is one SELECT statement"):
        _Binder(session, Source(text, []), SCHEMAS, {}, Ties(text)).names()


def test_no_file_is_read_by_a_name_that_looks_like_one(canary: Path) -> None:
    files = (
        "canary.csv",
        "./canary.csv",
        f"{canary}/canary.csv",
        "*.csv",
        "file:canary.csv",
        "s3://a/b.parquet",
        "https://a/b.csv",
    )
    statements = [f"SELECT * FROM '{f}'" for f in files] + [f'SELECT * FROM "{f}"' for f in files]
    statements += [f"FROM read_csv_auto('{f}')" for f in files] + [f"SELECT (SELECT secret FROM '{f}')" for f in files]
    statements += [f"SELECT * FROM t JOIN '{f}' ON true" for f in files] + [
        f"SELECT * FROM query('FROM ''{f}''')" for f in files
    ]
    statements += [f"SELECT read_text('{f}')" for f in files] + [f"SELECT * FROM query_table('{f}')" for f in files]
    assert _only_plans_or_refusals(statements) == 0


def test_a_variable_of_this_process_is_no_table() -> None:
    frame = duckdb.connect().sql("SELECT 1 AS a")  # noqa: F841
    with pytest.raises(SqlError, match='table "frame" is not an input'):
        bound("SELECT * FROM frame")


def test_no_setting_becomes_a_constant(canary: Path) -> None:
    settings = [name for (name,) in _known("SELECT name FROM duckdb_settings()")]
    assert len(settings) > 100
    statements = [f"SELECT current_setting('{name}')" for name in settings[::9]]
    statements += [f"SELECT {name}" for name in settings[::9]] + [f"SELECT @@{name}" for name in settings[::10]]
    assert _only_plans_or_refusals(statements) == 0


def test_what_the_catalogue_calls_unstable_is_refused_or_the_moment() -> None:
    rows = _known(
        "SELECT function_name, list(DISTINCT stability) FROM duckdb_functions() "
        "WHERE function_type IN ('scalar', 'aggregate') GROUP BY ALL"
    )
    unstable = [name for name, kinds in rows if "CONSISTENT" not in kinds and kinds != [None]]
    assert {"random", "now", "nextval", "current_setting"} <= set(unstable)
    left = [name for name in unstable if names.refusal(name) is None and name not in names.NOW]
    assert left == ["error"], "which fails with its text, the same on every attempt"
