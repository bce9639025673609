"""Columns whose names are words that DuckDB keeps for itself, in places where PostgreSQL takes them."""

from __future__ import annotations

import pyarrow as pa
import pytest

from gpuquery.runner.query.sql.errors import SqlError
from gpuquery.runner.query.sql.front.keywords import WORDS
from tests.support import duck, sql

COLUMNS = sorted(WORDS)
TABLES = {"t": pa.table({"id": [1, 2], **{name: ["a", "b"] for name in COLUMNS}})}


@pytest.mark.parametrize("word", COLUMNS)
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT {} FROM t WHERE id = 1",
        "SELECT CAST({} AS VARCHAR) AS x, upper({}) AS y FROM t",
        "SELECT id FROM t WHERE {} = 'a' AND id < 2 ORDER BY id",
        "SELECT t.{}, count(*) FROM t GROUP BY t.{} ORDER BY 1",
        "SELECT id AS {} FROM t",
    ],
)
def test_a_column_has_such_a_name_without_quotes(statement: str, word: str) -> None:
    quoted = statement.format(*[f'"{word}"'] * 2)
    assert sql.ours(statement.format(word, word), TABLES) == sql.duckdbs(quoted, TABLES)


def test_what_such_a_word_means_in_sql_is_kept() -> None:
    statement = "SELECT by, at, count(*) OVER (PARTITION BY by ORDER BY at) AS n FROM t QUALIFY n = 1 ORDER BY id"
    theirs = statement.replace(" by,", ' "by",').replace("BY by", 'BY "by"').replace("at,", '"at",')
    assert sql.ours(statement, TABLES) == sql.duckdbs(theirs.replace("BY at)", 'BY "at")'), TABLES)


def test_the_place_of_an_error_behind_such_a_word_is_the_authors() -> None:
    with pytest.raises(SqlError) as refused:
        sql.bound("SELECT at, nothing FROM t", TABLES)
    assert refused.value.place is not None and refused.value.place.start == 11


def test_every_word_is_one_that_duckdb_keeps_for_itself() -> None:
    kept = duck.connect().execute("SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category <> 'unreserved'")
    assert {name for (name,) in kept.fetchall()} >= WORDS
