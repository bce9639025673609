"""Pushdown: where a condition ends up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gpuquery.runner.query.sql.plan import Call, Column, Field, Filter, Literal, Scan
from gpuquery.runner.query.sql.rules.empty import without_empty
from gpuquery.runner.query.sql.rules.facts import Facts, with_filters
from gpuquery.runner.query.sql.rules.fold import folded
from gpuquery.runner.query.sql.rules.prune import merged
from gpuquery.runner.query.sql.rules.pushdown import pushed_down
from gpuquery.runner.query.sql.rules.shared import inlined
from gpuquery.runner.query.sql.types import BIGINT, BOOLEAN
from tests.support.sql_rule_plans import lines, relation, shown


@pytest.mark.parametrize(
    ("text", "want"),
    [
        pytest.param(
            "SELECT id FROM (SELECT id, total * 2 AS twice FROM orders) WHERE twice > 10 AND id < 5",
            """
            read orders
               columns id, total
               rows where id < 5 AND total * 2 > 10.00
            """,
            id="a condition on a computed column goes to the input as one on what it is computed of",
        ),
        pytest.param(
            "SELECT orders.id FROM orders, lines WHERE orders.id = lines.order_id AND total > 5 AND "
            "price < 3",
            """
            INNER join on id = order_id
            ├─ read orders
            │     columns id, total
            │     rows where total > 5.00
            └─ read lines
                  columns order_id, price
                  rows where price < 3.00
            """,
            id="an equality of two inputs is the key of their join, other conditions go to their side",
        ),
        pytest.param(
            "SELECT orders.id FROM orders LEFT JOIN lines ON orders.id = lines.order_id AND price < 3 "
            "WHERE total > 5",
            """
            LEFT join on id = order_id
            ├─ read orders
            │     columns id, total
            │     rows where total > 5.00
            └─ read lines
                  columns order_id, price
                  rows where price < 3.00
            """,
            id="of a left join WHERE goes to the left, a condition in ON to the right",
        ),
        pytest.param(
            "SELECT orders.id FROM orders LEFT JOIN lines ON orders.id = lines.order_id WHERE price < 3",
            """
            INNER join on id = order_id
            ├─ read orders
            │     columns id
            └─ read lines
                  columns order_id, price
                  rows where price < 3.00
            """,
            id="a condition that no NULL fulfils makes a left join an inner one",
        ),
        pytest.param(
            "SELECT orders.id FROM orders LEFT JOIN lines ON orders.id = lines.order_id WHERE price IS NULL",
            """
            keep rows where price IS NULL
            └─ LEFT join on id = order_id
               ├─ read orders
               │     columns id
               └─ read lines
                     columns order_id, price
            """,
            id="a condition that a NULL fulfils stays above a left join",
        ),
        pytest.param(
            "SELECT lines.part FROM orders RIGHT JOIN lines ON orders.id = lines.order_id WHERE price < 3",
            """
            LEFT join on order_id = id
            ├─ read lines
            │     columns order_id, price, part
            │     rows where price < 3.00
            └─ read orders
                  columns id
            """,
            id="a right join is a left one from the other side",
        ),
        pytest.param(
            "SELECT orders.id FROM orders FULL JOIN lines ON orders.id = lines.order_id WHERE total < 3",
            """
            LEFT join on id = order_id
            ├─ read orders
            │     columns id, total
            │     rows where total < 3.00
            └─ read lines
                  columns order_id
            """,
            id="a full join keeps the rows without a match only of the side that a condition lets through",
        ),
        pytest.param(
            "SELECT orders.id FROM orders FULL JOIN lines ON orders.id = lines.order_id WHERE total IS NULL",
            """
            keep rows where total IS NULL
            └─ FULL join on id = order_id
               ├─ read orders
               │     columns id, total
               └─ read lines
                     columns order_id
            """,
            id="a full join stays one where NULLs may pass",
        ),
        pytest.param(
            "SELECT orders.id FROM orders JOIN lines ON orders.id = lines.order_id WHERE orders.id = 7",
            """
            INNER join on id = order_id
            ├─ read orders
            │     columns id
            │     rows where id = 7
            └─ read lines
                  columns order_id
                  rows where order_id = 7
            """,
            id="what is said of a key is told to the other side",
        ),
        pytest.param(
            "SELECT * FROM (SELECT customer, sum(total) AS s FROM orders GROUP BY customer) WHERE "
            "customer = 3 AND s > 10",
            """
            keep rows where sum(total) > 10.00
            └─ group by customer
               │  sum(total)
               └─ read orders
                     columns customer, total
                     rows where customer = 3
            """,
            id="a condition on a key of groups goes below, one on an aggregate stays",
        ),
        pytest.param(
            "SELECT * FROM (SELECT customer, status, sum(total) AS s FROM orders GROUP BY ROLLUP "
            "(customer, status)) WHERE customer = 3",
            """
            keep rows where customer = 3
            └─ group by customer, status
               │  sum(total)
               │  grouping sets (), (customer), (customer, status)
               └─ read orders
                     columns customer, status, total
            """,
            id="a condition on a key that is not in every grouping set stays above",
        ),
        pytest.param(
            "SELECT * FROM (SELECT customer, rank() OVER (PARTITION BY customer ORDER BY total) AS r "
            "FROM orders) WHERE customer = 3 AND r = 1",
            """
            keep rows where w0 = 1
            └─ window
               │  rank() OVER (PARTITION BY customer ORDER BY total)
               └─ read orders
                     columns customer, total
                     rows where customer = 3
            """,
            id="a condition on the partitions goes below a window, one on its result stays",
        ),
        pytest.param(
            "SELECT * FROM (SELECT 's' AS kind, id FROM orders UNION ALL SELECT 'c', part FROM parts) "
            "WHERE kind = 'c' AND id > 2",
            """
            compute
            │  column0 = 'c'
            └─ read parts
                  columns part
                  rows where part > 2
            """,
            id="a branch of a union whose constant contradicts goes",
        ),
        pytest.param(
            "SELECT * FROM (SELECT id FROM orders ORDER BY id LIMIT 3) WHERE id > 2",
            """
            keep rows where id > 2
            └─ first 3 rows by id
               └─ read orders
                     columns id
            """,
            id="nothing goes below a limit",
        ),
        pytest.param(
            "SELECT * FROM (SELECT DISTINCT customer, status FROM orders) WHERE customer > 2",
            """
            different rows
            └─ read orders
                  columns customer, status
                  rows where customer > 2
            """,
            id="a condition goes below DISTINCT",
        ),
        pytest.param(
            "SELECT orders.id FROM orders, parts WHERE (customer = 1 AND size = 2) OR (customer = 3 "
            "AND size = 4)",
            """
            keep rows where customer = 1 AND size = 2 OR customer = 3 AND size = 4
            └─ CROSS join
               ├─ read orders
               │     columns customer, id
               │     rows where customer IN (1, 3)
               └─ read parts
                     columns size
                     rows where size IN (2, 4)
            """,
            id="each side of a join is told what an OR says of it",
        ),
        pytest.param(
            "WITH w AS (SELECT customer, status, sum(total) AS s FROM orders GROUP BY ALL) SELECT "
            "a.s, b.s FROM w a, w b WHERE a.customer = b.customer AND a.status = 'x' AND b.status = "
            "'y'",
            """
            with shared parts
            ├─ shared part w: group by customer, status
            │  │  sum(total)
            │  └─ read orders
            │        columns customer, status, total
            │        rows where status IN ('x', 'y')
            └─ INNER join on customer = customer (2)
               ├─ keep rows where status = 'x'
               │  └─ shared part w
               └─ keep rows where status = 'y'
                  └─ shared part w
            """,
            id="a shared part is told what all of its uses ask for together",
        ),
        pytest.param(
            "WITH w AS (SELECT customer, sum(total) AS s FROM orders GROUP BY ALL) SELECT a.s, b.s "
            "FROM w a, w b WHERE a.customer = b.customer + 1 AND a.customer = 7",
            """
            with shared parts
            ├─ shared part w: group by customer
            │  │  sum(total)
            │  └─ read orders
            │        columns customer, total
            └─ INNER join on customer = customer (2) + 1
               ├─ keep rows where customer = 7
               │  └─ shared part w
               └─ shared part w
            """,
            id="a shared part of which one use takes all is told nothing",
        ),
        pytest.param(
            "SELECT id FROM orders, lines WHERE id = order_id AND CAST(status AS INTEGER) > 3",
            """
            keep rows where CAST(status AS INTEGER) > 3
            └─ INNER join on id = order_id
               ├─ read orders
               │     columns id, status
               └─ read lines
                     columns order_id
            """,
            id="a cast that may fail sees no rows that a join would keep from it",
        ),
        pytest.param(
            "SELECT id FROM orders WHERE id IN (SELECT order_id FROM lines)",
            """
            SEMI join on id = order_id
            ├─ read orders
            │     columns id
            └─ read lines
                  columns order_id
            """,
            id="IN that a filter asks for is a semi join",
        ),
        pytest.param(
            "SELECT id FROM orders WHERE id IN (SELECT order_id FROM lines) OR total > 5",
            """
            keep rows where mark OR total > 5.00
            └─ MARK join on id = order_id
               ├─ read orders
               │     columns id, total
               └─ read lines
                     columns order_id
            """,
            id="IN under an OR stays a mark",
        ),
        pytest.param(
            "SELECT id FROM orders WHERE id NOT IN (SELECT order_id FROM lines)",
            """
            keep rows where NOT mark
            └─ MARK join on id = order_id
               ├─ read orders
               │     columns id
               └─ read lines
                     columns order_id
            """,
            id="NOT IN stays a mark where a NULL may be among the values",
        ),
        pytest.param(
            "SELECT id FROM orders WHERE id IS NOT NULL AND id NOT IN (SELECT order_id FROM lines "
            "WHERE order_id > 0)",
            """
            keep rows where NOT mark
            └─ MARK join on id = order_id
               ├─ read orders
               │     columns id
               │     rows where id IS NOT NULL
               └─ read lines
                     columns order_id
                     rows where order_id > 0
            """,
            id="NOT IN is an anti join where no NULL can be",
        ),
        pytest.param(
            "SELECT id FROM orders WHERE NOT EXISTS (SELECT 1 FROM lines WHERE order_id = id)",
            """
            ANTI join on id = id (2)
            ├─ read orders
            │     columns id
            └─ compute
               │  column0 = 1
               └─ read lines
                     columns order_id
                     rows where order_id IS NOT NULL
            """,
            id="NOT EXISTS is an anti join",
        ),
        pytest.param(
            "SELECT id, (SELECT sum(price) FROM lines WHERE order_id = id) AS s FROM orders",
            """
            LEFT join on id = id (2)
            ├─ read orders
            │     columns id
            └─ group by order_id
               │  sum(price)
               └─ read lines
                     columns order_id, price
                     rows where order_id IS NOT NULL
            """,
            id="a scalar sub-query that is one row for each key is a left join",
        ),
        pytest.param(
            "SELECT id, (SELECT price FROM lines WHERE order_id = id) AS s FROM orders",
            """
            SINGLE join on id = id (2)
            ├─ read orders
            │     columns id
            └─ read lines
                  columns order_id, price
                  rows where order_id IS NOT NULL
            """,
            id="a scalar sub-query that may have two rows stays one that fails then",
        ),
        pytest.param(
            "SELECT id FROM orders, lines WHERE id = order_id AND 's' = 'c'",
            """
            no row of constants
            """,
            id="a filter that is never TRUE leaves nothing to read",
        ),
        pytest.param(
            "SELECT count(*) FROM orders WHERE 's' = 'c'",
            """
            all rows as one group
            │  count(*)
            └─ no row of constants
            """,
            id="an aggregate over nothing still has its row",
        ),
    ],
)  # fmt: skip
def test_pushed_down(text: str, want: str) -> None:
    node = pushed_down(inlined(folded(relation(text))), Facts(None))

    assert shown(merged(without_empty(node))) == lines(want)


def test_what_may_overflow_is_a_filter_of_its_own_so_that_the_rest_reaches_the_footers() -> None:
    scan = Scan("t", (Field("k", BIGINT),))
    key = Column(type=BIGINT, index=0)
    plain = Call(type=BOOLEAN, function=">", arguments=(key, Literal(type=BIGINT, value=5)))
    computed = replace(plain, arguments=(Call(type=BIGINT, function="+", arguments=(key, key)), key))
    assert with_filters(scan, [computed, plain]) == Filter(Filter(scan, plain), computed)
