"""Decorrelation: EXISTS and IN ask the outer row itself."""

from __future__ import annotations

import pytest

from gpuquery.runner.query.sql.rules.decorrelate import decorrelated
from gpuquery.runner.query.sql.rules.facts import Facts
from gpuquery.runner.query.sql.rules.fold import folded
from gpuquery.runner.query.sql.rules.prune import merged
from gpuquery.runner.query.sql.rules.pushdown import pushed_down
from gpuquery.runner.query.sql.rules.shared import inlined
from tests.support.sql_rule_plans import lines, relation, shown


@pytest.mark.parametrize(
    ("text", "want"),
    [
        pytest.param(
            "SELECT id FROM orders WHERE EXISTS (SELECT 1 FROM lines WHERE order_id = id AND price < total)",
            """
            SEMI join on id = order_id AND price < total
            ├─ read orders
            │     columns id, total
            └─ read lines
                  columns order_id, price
            """,
            id="EXISTS with more than an equality",
        ),
        pytest.param(
            "SELECT id FROM orders WHERE NOT EXISTS (SELECT 1 FROM lines WHERE order_id = id AND "
            "price < total)",
            """
            ANTI join on id = order_id AND price < total
            ├─ read orders
            │     columns id, total
            └─ read lines
                  columns order_id, price
            """,
            id="NOT EXISTS with more than an equality",
        ),
        pytest.param(
            "SELECT id FROM orders WHERE NOT EXISTS (SELECT 1 FROM lines WHERE order_id = id AND "
            "price < total AND customer = 3)",
            """
            ANTI join on id = order_id AND customer = 3 AND price < total
            ├─ read orders
            │     columns id, total, customer
            └─ read lines
                  columns order_id, price
            """,
            id="a condition on the outer row alone stands within the sub-query",
        ),
        pytest.param(
            "SELECT id FROM orders WHERE id IN (SELECT order_id FROM lines WHERE price < total)",
            """
            SEMI join on id = order_id AND price < total
            ├─ read orders
            │     columns total, id
            └─ read lines
                  columns price, order_id
            """,
            id="IN that is correlated by an inequality",
        ),
        pytest.param(
            "SELECT id FROM orders WHERE EXISTS (SELECT 1 FROM lines, parts WHERE lines.part = "
            "parts.part AND order_id = id AND size < customer)",
            """
            SEMI join on id = order_id AND size < customer
            ├─ read orders
            │     columns id, customer
            └─ INNER join on part = part (2)
               ├─ read lines
               │     columns part, order_id
               └─ read parts
                     columns part, size
            """,
            id="two inputs in the sub-query",
        ),
        pytest.param(
            "SELECT id FROM orders WHERE EXISTS (SELECT 1 FROM (SELECT order_id, sum(price) AS s FROM "
            "lines WHERE weight < customer GROUP BY order_id) WHERE order_id = id)",
            """
            with shared parts
            ├─ shared part outer rows: read orders
            │     columns customer, id
            └─ compute
               │  mark = TRUE
               └─ SEMI join on id = id (2) AND customer = customer (2)
                  ├─ shared part outer rows
                  └─ compute
                     │  column0 = 1
                     └─ group by order_id, #[0.1], #[0.0]
                        │  sum(price)
                        └─ keep rows where weight < #[0.0]
                           └─ INNER join on order_id = #[0.1]
                              ├─ read lines
                              │     columns weight, order_id, price
                              └─ different values of id, customer
                                 └─ shared part outer rows
            """,
            id="a sub-query that is not made of joins alone keeps the outer values",
        ),
    ],
)  # fmt: skip
def test_decorrelated(text: str, want: str) -> None:
    node = decorrelated(pushed_down(inlined(folded(relation(text))), Facts(None)))

    assert shown(merged(pushed_down(inlined(node), Facts(None)))) == lines(want)
