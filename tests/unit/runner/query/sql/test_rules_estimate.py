"""Estimates: how many rows a relation has, roughly."""

from __future__ import annotations

import pytest

from gpuquery.runner.query.sql import rules
from gpuquery.runner.query.sql.rules.estimate import Estimates
from tests.support.sql_rule_plans import KNOWN, bound


def rows(text: str) -> float:
    return Estimates(KNOWN).rows(rules.improved(bound(text), KNOWN).relation)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        pytest.param("SELECT * FROM orders", 10_000, 10_000, id="an input has its rows"),
        pytest.param("SELECT * FROM orders WHERE id = 7", 1, 1, id="of a key one row"),
        pytest.param("SELECT * FROM orders WHERE customer = 7", 20, 20, id="of one of 500 values the 500th part"),
        pytest.param("SELECT * FROM orders WHERE customer IN (1, 2, 3)", 60, 60, id="of three values three parts"),
        pytest.param("SELECT * FROM orders WHERE customer = 501", 1, 1, id="of a value out of the bounds nothing"),
        pytest.param("SELECT * FROM orders WHERE day < DATE '2024-02-01'", 800, 900, id="of a month a twelfth"),
        pytest.param(
            "SELECT * FROM orders WHERE day >= DATE '2024-02-01' AND day < DATE '2024-03-01'",
            700,
            900,
            id="the second of two bounds counts from the first",
        ),
        pytest.param("SELECT * FROM orders, lines WHERE id = order_id", 40_000, 40_000, id="each line has its order"),
        pytest.param(
            "SELECT * FROM orders, lines WHERE id = order_id AND customer = 7", 80, 80, id="a filter counts in a join"
        ),
        pytest.param("SELECT customer FROM orders GROUP BY customer", 500, 500, id="groups are the key's values"),
        pytest.param("SELECT count(*) FROM orders", 1, 1, id="one group is one row"),
        pytest.param("SELECT * FROM orders LIMIT 5", 5, 5, id="a limit is the limit"),
        pytest.param(
            "SELECT * FROM parts WHERE part IN (SELECT part FROM lines WHERE order_id = 1)", 1, 8, id="a semi join"
        ),
        pytest.param(
            "SELECT * FROM orders UNION ALL SELECT * FROM orders", 20_000, 20_000, id="UNION ALL is a sum"
        ),
    ],
)  # fmt: skip
def test_rows(text: str, low: float, high: float) -> None:
    assert low <= rows(text) <= high
