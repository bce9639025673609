"""Aggregates in two steps."""

from __future__ import annotations

import pytest

from gpuquery.runner.query.sql.rules import eager_aggregation
from gpuquery.runner.query.sql.rules.estimate import Estimates
from gpuquery.runner.query.sql.rules.facts import Facts
from gpuquery.runner.query.sql.rules.fold import folded
from gpuquery.runner.query.sql.rules.join_order import ordered
from gpuquery.runner.query.sql.rules.prune import merged, pruned
from gpuquery.runner.query.sql.rules.pushdown import pushed_down
from gpuquery.runner.query.sql.rules.shared import inlined
from tests.support.sql_rule_plans import KNOWN, lines, relation, shown


@pytest.mark.parametrize(
    ("text", "want"),
    [
        pytest.param(
            "SELECT customer, sum(total) FROM orders GROUP BY ROLLUP (customer)",
            """
            group by customer
            │  sum(total)
            │  grouping sets (), (customer)
            └─ read orders
                  columns customer, total
            """,
            id="grouping sets are the compiler's",
        ),
        pytest.param(
            "SELECT name, sum(price) FROM lines, parts WHERE lines.part = parts.part GROUP BY name",
            """
            group by name
            │  sum(sum(price))
            └─ INNER join on part = part (2)
               ├─ group by part
               │  │  sum(price)
               │  └─ read lines
               │        columns part, price
               └─ read parts
                     columns part, name
            """,
            id="rows are summed up by the key of a join before it",
        ),
        pytest.param(
            "SELECT customer, sum(CASE WHEN name = 'x' THEN price ELSE 0 END) FROM lines, parts, "
            "orders WHERE lines.part = parts.part AND size = customer GROUP BY customer",
            """
            group by customer
            │  sum(CASE WHEN name = 'x' THEN sum(price) ELSE 0.00 END)
            └─ INNER join on part = part (2)
               ├─ group by part
               │  │  sum(price)
               │  └─ read lines
               │        columns part, price
               └─ INNER join on size = customer
                  ├─ read parts
                  │     columns part, size, name
                  └─ read orders
                        columns customer
            """,
            id="a sum in some of the rows, told by the other side, is made of sums of all",
        ),
        pytest.param(
            "SELECT name, order_id % 2 AS odd, max(price) FROM lines, parts WHERE lines.part = "
            "parts.part GROUP BY ALL",
            """
            group by name, order_id % 2
            │  max(price)
            └─ INNER join on part = part (2)
               ├─ read lines
               │     columns part, order_id, price
               └─ read parts
                     columns part, name
            """,
            id="as many groups as rows are no gain",
        ),
        pytest.param(
            "SELECT name, sum(order_id) FROM lines, parts WHERE lines.part = parts.part GROUP BY name",
            """
            group by name
            │  sum(order_id)
            └─ INNER join on part = part (2)
               ├─ read lines
               │     columns part, order_id
               └─ read parts
                     columns part, name
            """,
            id="sums of narrow numbers are left alone",
        ),
        pytest.param(
            "SELECT name, count(DISTINCT price) FROM lines, parts WHERE lines.part = parts.part GROUP "
            "BY name",
            """
            group by name
            │  count(DISTINCT price)
            └─ INNER join on part = part (2)
               ├─ read lines
               │     columns part, price
               └─ read parts
                     columns part, name
            """,
            id="DISTINCT has no parts",
        ),
        pytest.param(
            "SELECT name, sum(price), max(size) FROM lines, parts WHERE lines.part = parts.part GROUP "
            "BY name",
            """
            group by name
            │  sum(price)
            │  max(size)
            └─ INNER join on part = part (2)
               ├─ read lines
               │     columns part, price
               └─ read parts
                     columns part, name, size
            """,
            id="calls about both sides cannot come before the join",
        ),
        pytest.param(
            "SELECT day, sum(price) FROM lines, orders WHERE id = order_id GROUP BY day",
            """
            group by day
            │  sum(sum(price))
            └─ INNER join on order_id = id
               ├─ group by order_id
               │  │  sum(price)
               │  └─ read lines
               │        columns order_id, price
               └─ read orders
                     columns id, day
            """,
            id="lines are summed up by order before the order is looked up",
        ),
    ],
)  # fmt: skip
def test_in_steps(text: str, want: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eager_aggregation, "MIN_ROWS", 1_000)
    facts, estimates = Facts(KNOWN), Estimates(KNOWN)
    node = ordered(merged(pushed_down(inlined(folded(relation(text))), facts)), facts, estimates)

    assert shown(merged(eager_aggregation.with_eager_aggregation(pruned(node), estimates))) == lines(want)
