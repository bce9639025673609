"""EXISTS with one inequality by the ends of groups."""

from __future__ import annotations

import pytest

from gpuquery.runner.query.sql.rules.decorrelate import decorrelated
from gpuquery.runner.query.sql.rules.facts import Facts
from gpuquery.runner.query.sql.rules.fold import folded
from gpuquery.runner.query.sql.rules.prune import merged
from gpuquery.runner.query.sql.rules.pushdown import pushed_down
from gpuquery.runner.query.sql.rules.semi_bounds import semi_joins_by_min_max
from gpuquery.runner.query.sql.rules.shared import inlined
from tests.support.sql_rule_plans import lines, relation, shown


@pytest.mark.parametrize(
    ("text", "want"),
    [
        pytest.param(
            "SELECT id FROM orders WHERE EXISTS (SELECT 1 FROM lines WHERE order_id = id AND price < total)",
            """
            keep rows where total > min(price)
            └─ INNER join on id = order_id
               ├─ read orders
               │     columns id, total
               └─ group by order_id
                  │  min(price)
                  └─ read lines
                        columns order_id, price
            """,
            id="some price is less than the total if the least is",
        ),
        pytest.param(
            "SELECT id FROM orders WHERE NOT EXISTS (SELECT 1 FROM lines WHERE order_id = id AND "
            "price > total)",
            """
            keep rows where (total < max(price)) IS DISTINCT FROM TRUE
            └─ LEFT join on id = order_id
               ├─ read orders
               │     columns id, total
               └─ group by order_id
                  │  max(price)
                  └─ read lines
                        columns order_id, price
            """,
            id="no price is greater than the total unless the greatest is; rows without a match stay",
        ),
        pytest.param(
            "SELECT id FROM orders WHERE EXISTS (SELECT 1 FROM lines WHERE order_id = id AND part <> "
            "customer)",
            """
            keep rows where customer <> min(part) OR customer <> max(part)
            └─ INNER join on id = order_id
               ├─ read orders
               │     columns id, customer
               └─ group by order_id
                  │  min(part)
                  │  max(part)
                  └─ read lines
                        columns order_id, part
            """,
            id="some part is another one if the least or the greatest is",
        ),
        pytest.param(
            "SELECT id FROM orders WHERE EXISTS (SELECT 1 FROM parts WHERE size > customer)",
            """
            keep rows where customer < max(size)
            └─ CROSS join
               ├─ read orders
               │     columns customer, id
               └─ all rows as one group
                  │  max(size)
                  └─ read parts
                        columns size
            """,
            id="an inequality without a key looks at one row",
        ),
        pytest.param(
            "SELECT id FROM orders WHERE EXISTS (SELECT 1 FROM lines WHERE order_id = id AND weight > "
            "customer)",
            """
            SEMI join on id = order_id AND weight > customer
            ├─ read orders
            │     columns id, customer
            └─ read lines
                  columns order_id, weight
            """,
            id="NaN is no bound",
        ),
        pytest.param(
            "SELECT id FROM orders WHERE EXISTS (SELECT 1 FROM lines WHERE order_id = id AND price > "
            "total AND part < customer)",
            """
            SEMI join on id = order_id AND price > total AND part < customer
            ├─ read orders
            │     columns id, total, customer
            └─ read lines
                  columns order_id, price, part
            """,
            id="two inequalities need the pairs",
        ),
    ],
)  # fmt: skip
def test_by_bounds(text: str, want: str) -> None:
    facts = Facts(None)
    node = decorrelated(pushed_down(inlined(folded(relation(text))), facts))

    assert shown(merged(semi_joins_by_min_max(merged(pushed_down(inlined(node), facts)), facts))) == lines(want)
