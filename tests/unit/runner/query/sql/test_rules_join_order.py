"""The order of joins."""

from __future__ import annotations

import pytest

from gpuquery.runner.query.sql.rules.estimate import Estimates
from gpuquery.runner.query.sql.rules.facts import Facts
from gpuquery.runner.query.sql.rules.fold import folded
from gpuquery.runner.query.sql.rules.join_order import ordered
from gpuquery.runner.query.sql.rules.prune import merged
from gpuquery.runner.query.sql.rules.pushdown import pushed_down
from gpuquery.runner.query.sql.rules.shared import inlined
from tests.support.sql_rule_plans import KNOWN, lines, relation, shown


@pytest.mark.parametrize(
    ("text", "want"),
    [
        pytest.param(
            "SELECT name FROM orders, lines, parts WHERE id = order_id AND lines.part = parts.part "
            "AND size = 7",
            """
            INNER join on id = order_id
            ├─ read orders
            │     columns id
            └─ INNER join on part = part (2)
               ├─ read lines
               │     columns order_id, part
               └─ read parts
                     columns part, size, name
                     rows where size = 7
            """,
            id="the join with the fewest rows comes first",
        ),
        pytest.param(
            "SELECT name FROM orders, lines, parts WHERE id = order_id AND lines.part = parts.part "
            "AND day = DATE '2024-05-01'",
            """
            INNER join on part = part (2)
            ├─ INNER join on id = order_id
            │  ├─ read orders
            │  │     columns id, day
            │  │     rows where day = DATE '2024-05-01'
            │  └─ read lines
            │        columns order_id, part
            └─ read parts
                  columns part, name
            """,
            id="a filter on the other end turns the order around",
        ),
        pytest.param(
            "SELECT name FROM orders, parts, lines WHERE id = order_id",
            """
            CROSS join
            ├─ INNER join on id = order_id
            │  ├─ read orders
            │  │     columns id
            │  └─ read lines
            │        columns order_id
            └─ read parts
                  columns name
            """,
            id="a cross product comes last",
        ),
        pytest.param(
            "SELECT 1 FROM orders a, orders b, lines WHERE a.id = order_id AND b.id = order_id AND "
            "a.day = DATE '2024-05-01' AND b.day = DATE '2024-05-02'",
            """
            compute
            │  column0 = 1
            └─ INNER join on id = order_id
               ├─ INNER join on id = id (2)
               │  ├─ read orders
               │  │     columns id, day
               │  │     rows where day = DATE '2024-05-01'
               │  └─ read orders
               │        columns id, day
               │        rows where day = DATE '2024-05-02'
               └─ read lines
                     columns order_id
            """,
            id="a join that is given by two others may come before them",
        ),
        pytest.param(
            "SELECT name FROM lines LEFT JOIN parts ON lines.part = parts.part, orders WHERE id = "
            "order_id AND day = DATE '2024-05-01'",
            """
            LEFT join on part = part (2)
            ├─ INNER join on order_id = id
            │  ├─ read lines
            │  │     columns part, order_id
            │  └─ read orders
            │        columns id, day
            │        rows where day = DATE '2024-05-01'
            └─ read parts
                  columns part, name
            """,
            id="a left join waits until the rows are few",
        ),
        pytest.param(
            "SELECT name FROM lines LEFT JOIN parts ON lines.part = parts.part, orders WHERE customer "
            "IS NOT DISTINCT FROM size",
            """
            INNER join on size = customer
            ├─ LEFT join on part = part (2)
            │  ├─ read lines
            │  │     columns part
            │  └─ read parts
            │        columns part, size, name
            └─ read orders
                  columns customer
            """,
            id="a left join comes before a join that needs its columns",
        ),
        pytest.param(
            "SELECT name FROM lines LEFT JOIN parts ON order_id = size, orders WHERE parts.part = "
            "customer AND lines.part = customer",
            """
            keep rows where customer = part (2)
            └─ LEFT join on order_id = size
               ├─ INNER join on part = customer
               │  ├─ read lines
               │  │     columns order_id, part
               │  └─ read orders
               │        columns customer
               └─ read parts
                     columns size, part, name
            """,
            id="a column that a left join brings is as equal as the others of its class",
        ),
        pytest.param(
            "SELECT name FROM lines, orders, parts WHERE id = order_id AND lines.part = parts.part "
            "AND customer IN (SELECT size FROM parts WHERE name = 'x')",
            """
            INNER join on part = part (2)
            ├─ INNER join on order_id = id
            │  ├─ read lines
            │  │     columns order_id, part
            │  └─ SEMI join on customer = size
            │     ├─ read orders
            │     │     columns id, customer
            │     └─ read parts
            │           columns name, size
            │           rows where name = 'x'
            └─ read parts
                  columns part, name
            """,
            id="a semi join goes to the input that it is about",
        ),
    ],
)  # fmt: skip
def test_ordered(text: str, want: str) -> None:
    facts = Facts(KNOWN)
    node = merged(pushed_down(inlined(folded(relation(text))), facts))

    assert shown(merged(ordered(node, facts, Estimates(KNOWN)))) == lines(want)
