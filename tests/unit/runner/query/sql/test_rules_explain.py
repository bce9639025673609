"""Explain: what a plan says of itself."""

from __future__ import annotations

import datetime as dt

import pytest

from gpuquery.runner.query.sql import rules
from gpuquery.runner.query.sql.plan import Interval
from gpuquery.runner.query.sql.rules import explain
from gpuquery.runner.query.sql.rules.explain import shown_number
from gpuquery.runner.query.sql.rules.printer import constant, sql_text
from tests.support.sql_rule_plans import KNOWN, bound, condition, lines


def test_a_plan_is_a_tree_with_estimates_and_what_is_read() -> None:
    query = """
        SELECT customer, sum(price) AS paid FROM orders, lines
        WHERE id = order_id AND day >= DATE '2024-07-01' AND status <> 'x'
        GROUP BY customer HAVING sum(price) > 100 ORDER BY paid DESC NULLS LAST LIMIT 3"""

    assert explain.tree(rules.improved(bound(query), KNOWN), KNOWN) == lines("""
        first 3 rows by sum(price) DESC  (~3 rows)
        └─ keep rows where sum(price) > 100.00  (~150 rows)
           └─ group by customer  (~500 rows)
              │  sum(price)
              └─ INNER join on id = order_id  (~18k rows)
                 ├─ read orders  (~4.51k rows)
                 │     columns id, day, status, customer
                 │     rows where day >= DATE '2024-07-01' AND status <> 'x'
                 └─ read lines  (~40k rows)
                       columns order_id, price
    """)


def test_a_note_stands_with_the_step_that_it_is_about() -> None:
    tree = explain.tree(bound("SELECT id FROM orders"), note=lambda node: f"runs in {type(node).__name__}")

    assert tree == "read orders\n   columns id\n   runs in Scan"


def test_columns_of_one_name_are_told_apart() -> None:
    tree = explain.tree(
        rules.improved(bound("SELECT a.id FROM orders a, orders b WHERE a.customer = b.customer"), None)
    )

    assert tree.startswith("INNER join on customer = customer (2)\n")


def test_a_long_line_is_cut() -> None:
    names = " || ".join(["status"] * 40)
    longest = max(explain.tree(bound(f"SELECT {names} AS x FROM orders")).splitlines(), key=len)

    assert len(longest) == explain.WIDTH
    assert longest.endswith("…")


@pytest.mark.parametrize(
    "asked",
    [
        "id + 2 * customer > 3 AND (id = 1 OR customer = 2)",
        "(id + 2) * customer > 3",
        "id - (customer - 1) = 0",
        "NOT (status LIKE 'a%' AND id = 1)",
        "status IS NULL OR id IN (1, 2, 3)",
        "CASE WHEN id > 1 THEN TRUE ELSE FALSE END",
        "day = DATE '2024-01-31'",
        "lower(status) = 'it''s'",
    ],
)
def test_a_condition_reads_as_it_was_written(asked: str) -> None:
    assert sql_text(*condition(asked)) == asked


@pytest.mark.parametrize(
    ("value", "want"),
    [
        (None, "NULL"),
        (True, "TRUE"),
        ("it's", "'it''s'"),
        (dt.datetime(2024, 1, 1, 12), "TIMESTAMP '2024-01-01 12:00:00'"),
        (Interval(months=15, days=0, micros=0), "INTERVAL '15 months'"),
        (Interval(months=24, days=1, micros=0), "INTERVAL '2 years 1 day'"),
        (Interval(months=0, days=0, micros=1_500_000), "INTERVAL '1.5 seconds'"),
        ([1, 2, 3, 4, 5, 6, 7], "[1, 2, 3, 4, 5, 6, …]"),
    ],
    ids=str,
)
def test_constant(value: object, want: str) -> None:
    assert constant(value) == want


@pytest.mark.parametrize(
    ("rows", "want"), [(1, "1"), (999, "999"), (1_000, "1k"), (999_600, "1M"), (1_234_567, "1.23M"), (6e9, "6G")]
)
def test_numbers_of_rows_are_short(rows: float, want: str) -> None:
    assert shown_number(rows) == want
