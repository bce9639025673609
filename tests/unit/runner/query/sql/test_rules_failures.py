"""What may fail is asked only of rows that the author lets it see."""

from __future__ import annotations

import pyarrow as pa
import pytest

from gpuquery.runner.query.sql import rules
from gpuquery.runner.query.sql.rules import ColumnFacts, Statistics, TableFacts
from tests.support import sql

TABLES = {
    "t": pa.table({"id": [1, 2, 3, 4], "n": [0, 2, 0, 5], "s": ["x", "7", "y", "8"], "big": [2**62, 3, 4, 5]}),
    "u": pa.table({"id": [2, 4, 4], "k": [1, 2, 3]}),
}
KNOWN = Statistics(
    {
        "t": TableFacts(4, {"id": ColumnFacts(1, 4, 0)}),
        "u": TableFacts(3, {"id": ColumnFacts(2, 4, 0)}),
    }
)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("SELECT id FROM t WHERE n <> 0 AND 10 // n > 1", id="a division by a divisor that is not 0"),
        pytest.param("SELECT id FROM t WHERE n > 0 AND 10 % n = 0", id="a remainder"),
        pytest.param(
            "SELECT id FROM (SELECT * FROM t WHERE n <> 0) WHERE 10 // n > 1", id="a division above a filter"
        ),
        pytest.param(
            "SELECT t.id FROM t JOIN u ON t.id = u.id JOIN u AS v ON CAST(t.s AS INTEGER) = v.k + 5",
            id="a key of a later join that a cast makes",
        ),
        pytest.param("SELECT id FROM t WHERE big < 100 AND big * 4 > 12", id="a product that only small numbers have"),
        pytest.param(
            "SELECT u.id, sum(CAST(s AS DECIMAL(9, 2))) FROM t, u WHERE t.id = u.id GROUP BY u.id",
            id="a sum of what a join leaves",
        ),
        pytest.param(
            "SELECT id FROM u WHERE EXISTS (SELECT 1 FROM t WHERE t.id = u.id AND CAST(s AS INTEGER) > k)",
            id="a cast of the rows of a sub-query that belong to an outer row",
        ),
    ],
)  # fmt: skip
def test_guarded(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpuquery.runner.query.sql.rules.eager_aggregation.MIN_ROWS", 0)
    monkeypatch.setattr("gpuquery.runner.query.sql.rules.eager_aggregation.MIN_REDUCTION", 0)
    improved = rules.improved(sql.bound(text, TABLES), KNOWN)

    assert sql.same(sql.rows(improved, TABLES), sql.duckdbs(text, TABLES))


@pytest.mark.parametrize(
    ("text", "want"),
    [
        pytest.param("SELECT id FROM t WHERE 10 // n > 1 AND n <> 0", [2, 4], id="a division before its guard"),
        pytest.param(
            "SELECT t.id FROM t, u WHERE t.id = u.id AND 10 // n > 1", [2, 4, 4], id="a division of what a join leaves"
        ),
        pytest.param(
            "SELECT t.id FROM t, u, u AS v WHERE t.id = u.id AND u.id = v.id AND CAST(s AS INTEGER) > 7 AND v.k < 9",
            [4, 4, 4, 4],
            id="a cast of what several joins leave",
        ),
    ],
)  # fmt: skip
def test_guarded_where_duckdb_may_fail(text: str, want: list[int]) -> None:
    """DuckDB 2.0.1 asks such conditions before it joins, and in the author's order."""
    improved = rules.improved(sql.bound(text, TABLES), KNOWN)

    assert sorted(sql.rows(improved, TABLES)) == [(number,) for number in want]
