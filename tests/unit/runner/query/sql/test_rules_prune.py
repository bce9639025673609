"""Pruning: columns that nobody uses."""

from __future__ import annotations

import pytest

from gpuquery.runner.query.sql.rules.prune import pruned
from tests.support.sql_rule_plans import lines, relation, shown


@pytest.mark.parametrize(
    ("text", "want"),
    [
        pytest.param(
            "SELECT id FROM (SELECT id, total, customer + 1 AS c FROM orders)",
            """
            read orders
               columns id
            """,
            id="only the columns are read that are used in the end",
        ),
        pytest.param(
            "SELECT count(*) FROM (SELECT status, day FROM orders)",
            """
            all rows as one group
            │  count(*)
            └─ read orders
                  columns day
            """,
            id="a count of rows reads one narrow column",
        ),
        pytest.param(
            "SELECT customer FROM (SELECT customer, status, sum(total) AS s FROM orders GROUP BY "
            "customer, status)",
            """
            different values of customer, status
            └─ read orders
                  columns customer, status
            """,
            id="an aggregate that nobody asks for is not computed, the keys stay",
        ),
        pytest.param(
            "SELECT id FROM (SELECT id, sum(total) OVER (PARTITION BY customer) AS s FROM orders)",
            """
            read orders
               columns id
            """,
            id="a window that nobody asks for is not computed",
        ),
        pytest.param(
            "SELECT a FROM (SELECT id AS a, total AS b FROM orders UNION ALL SELECT order_id, price "
            "FROM lines)",
            """
            UNION ALL
            ├─ read orders
            │     columns id
            └─ read lines
                  columns order_id
            """,
            id="all sides of UNION ALL lose a column",
        ),
        pytest.param(
            "SELECT a FROM (SELECT id AS a, total AS b FROM orders EXCEPT SELECT order_id, price FROM "
            "lines)",
            """
            different rows
            └─ EXCEPT
               ├─ read orders
               │     columns id, total
               └─ read lines
                     columns order_id, price
            """,
            id="the sides of EXCEPT keep theirs, as they decide which rows are equal",
        ),
        pytest.param(
            "WITH w AS (SELECT id, customer, total, day FROM orders) SELECT a.total, b.day FROM w a, "
            "w b WHERE a.id = b.customer",
            """
            with shared parts
            ├─ shared part w: read orders
            │     columns id, customer, total, day
            └─ keep rows where id = customer
               └─ CROSS join
                  ├─ shared part w
                  └─ shared part w
            """,
            id="a shared part has what one of its uses needs",
        ),
    ],
)  # fmt: skip
def test_pruned(text: str, want: str) -> None:
    assert shown(pruned(relation(text))) == lines(want)
