"""Rules keep the meaning: generated statements give DuckDB's rows after all rules, with and without statistics.

`SEED` and `COUNT` in the environment make another run.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import duckdb
import pytest

from gpuquery.runner.query.sql import rules
from gpuquery.runner.query.sql.errors import SqlError
from gpuquery.runner.query.sql.rules import eager_aggregation, explain
from tests.support import sql
from tests.support.sql_rules import Statements, statistics, tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuquery.runner.query.sql.plan import Relation, Statement

SEED = os.environ.get("SEED", "1")
COUNT = int(os.environ.get("COUNT") or 80)
MOST = 20_000
"""Rows of an answer; products of products are left out."""
TABLES = tables(SEED)


@pytest.fixture(scope="module")
def made() -> Iterator[list[tuple[str, Statement, list[sql.Row]]]]:
    """Statements, as they are bound, and DuckDB's answers."""
    statements = Statements(SEED)
    found = []
    with duckdb.connect() as connection:
        for name, table in TABLES.items():
            connection.register(f"arrow {name}", table)
            connection.execute(f'CREATE TABLE "{name}" AS FROM "arrow {name}"')
        for _ in range(COUNT):
            text = statements.statement()
            rows = connection.execute(text).fetchall()
            if len(rows) > MOST:
                continue
            try:
                found.append((text, sql.bound(text, TABLES), rows))
            except SqlError:  # of what the front end refuses there is nothing to improve
                continue
    return found


@pytest.fixture(scope="module")
def right() -> dict[str, list[Relation]]:
    """Plans of each statement that have answered as DuckDB did: two ways to improve it often come to the same."""
    return {}


def test_most_generated_statements_are_tried(made: list[tuple[str, Statement, list[sql.Row]]]) -> None:
    assert len(made) > 0.95 * COUNT
    assert sum(bool(rows) for _, _, rows in made) > 0.4 * COUNT, "answers without rows tell little"


@pytest.mark.parametrize(
    ("known", "many"),
    [
        pytest.param(None, eager_aggregation.MIN_ROWS, id="without statistics"),
        pytest.param(statistics(TABLES), eager_aggregation.MIN_ROWS, id="with statistics"),
        pytest.param(statistics(TABLES), 0, id="with all aggregates in two steps that can be"),
    ],
)
def test_improved_statements_answer_as_duckdb_does(
    made: list[tuple[str, Statement, list[sql.Row]]],
    right: dict[str, list[Relation]],
    known: rules.Statistics | None,
    many: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(eager_aggregation, "MIN_ROWS", many)
    monkeypatch.setattr(eager_aggregation, "MIN_REDUCTION", eager_aggregation.MIN_REDUCTION if many else 0)
    different = []
    for text, statement, rows in made:
        improved = rules.improved(statement, known)
        assert [field.type for field in improved.relation.fields] == [f.type for f in statement.relation.fields], text
        if improved.relation in right.setdefault(text, []):
            continue
        if sql.same(sql.rows(improved, TABLES), rows):
            right[text].append(improved.relation)
        else:
            different.append(f"{text}\n{explain.tree(improved)}")
    assert not different, f"SEED={SEED}: {len(different)} of {len(made)} differ\n\n" + "\n\n".join(different[:5])


def test_an_improved_statement_is_improved_to_one_that_answers_the_same(
    made: list[tuple[str, Statement, list[sql.Row]]],
) -> None:
    for text, statement, rows in made[:: max(1, len(made) // 15)]:
        twice = rules.improved(rules.improved(statement, None), None)
        assert sql.same(sql.rows(twice, TABLES), rows), text
