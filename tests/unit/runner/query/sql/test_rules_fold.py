"""Folding: what of a condition is known before the query runs."""

from __future__ import annotations

import pytest

from gpuquery.runner.query.sql.rules.fold import folded, simplified, simplified_predicate
from gpuquery.runner.query.sql.rules.printer import sql_text
from gpuquery.runner.query.sql.walk import columns_of
from tests.support.sql_rule_plans import condition, relation


@pytest.mark.parametrize(
    ("asked", "want"),
    [
        pytest.param("day < CAST('2024-03-01' AS DATE)", "day < DATE '2024-03-01'", id="a date in a text is a date"),
        pytest.param(
            "day < DATE '2024-01-31' + INTERVAL 1 MONTH",
            "day < DATE '2024-02-29'",
            id="months clip at the end of a month, and a date's cast to a timestamp is not needed for midnight",
        ),
        pytest.param(
            "day < DATE '2024-01-31' + INTERVAL 36 HOUR",
            "day <= DATE '2024-02-01'",
            id="a day before noon of a day is that day or one before",
        ),
        pytest.param("day >= DATE '2024-03-01' - 7", "day >= DATE '2024-02-23'", id="days are subtracted"),
        pytest.param("total > 5", "total > 5.00", id="a whole number is a decimal"),
        pytest.param("id = 2 + 3 * 4", "id = 14", id="whole numbers are added and multiplied"),
        pytest.param("5 < id", "id > 5", id="the constant stands on the right"),
        pytest.param("id = 1 OR id = 2 OR id = 1", "id IN (1, 2)", id="equalities are a list"),
        pytest.param("id IN (3)", "id = 3", id="a list of one is an equality"),
        pytest.param("NOT (id > 3)", "id <= 3", id="NOT goes into a comparison"),
        pytest.param(
            "NOT (id > 3 OR status IS NULL)", "id <= 3 AND status IS NOT NULL", id="NOT goes through an OR"
        ),
        pytest.param("id = 1 AND TRUE", "id = 1", id="AND TRUE is nothing"),
        pytest.param("id = 1 OR 1 = 1", "TRUE", id="OR TRUE is TRUE"),
        pytest.param("id = 1 AND 's' = 'c'", "FALSE", id="two texts that differ are never equal"),
        pytest.param("status = 's' AND status = 'c'", "FALSE", id="a value is not two constants at once"),
        pytest.param("status = 's' AND status IN ('c', 'w')", "FALSE", id="a value is in no list without it"),
        pytest.param("id = 3 AND id > 4", "FALSE", id="a value is not out of its own range"),
        pytest.param("id = NULL", "FALSE", id="a filter lets nothing through that is equal to NULL"),
        pytest.param("id IS NOT DISTINCT FROM NULL", "id IS NULL", id="only NULL is not distinct from NULL"),
        pytest.param(
            "CASE WHEN 1 = 2 THEN id > 1 WHEN 1 = 1 THEN id > 2 ELSE id > 3 END", "id > 2", id="a CASE is decided"
        ),
        pytest.param("coalesce(NULL, id) = 1", "id = 1", id="a NULL is passed over"),
        pytest.param("CAST(id AS BIGINT) = 7", "id = 7", id="a number is compared as it is held"),
        pytest.param(
            "CAST(id AS BIGINT) = 3000000000", "id = 3000000000", id="a constant that it cannot be stays what it is"
        ),
        pytest.param(
            "(id = 1 AND customer = 2) OR (id = 1 AND status = 's')",
            "id = 1 AND (customer = 2 OR status = 's')",
            id="what all branches say is said once",
        ),
        pytest.param(
            "(id = 1 AND customer = 2) OR id = 1", "id = 1", id="a branch that says no more than the others is enough"
        ),
    ],
)  # fmt: skip
def test_condition(asked: str, want: str) -> None:
    found, names = condition(asked)
    assert sql_text(simplified_predicate(found), names) == want


def test_a_value_stays_null_where_a_filter_may_take_it_for_false() -> None:
    asked, names = condition("(id = 3 AND id > 4) IS NULL")

    assert sql_text(simplified(asked), names) == "(id = 3 AND id > 4) IS NULL"


def test_a_sum_that_has_no_room_in_its_type_is_left_to_the_query_which_fails() -> None:
    (sum_,) = [item.value for item in folded(relation("SELECT 2147483647 + 1 AS x FROM orders")).items]  # type: ignore[attr-defined]

    assert sql_text(sum_, []) == "2147483647 + 1"


def test_folding_changes_neither_columns_nor_types() -> None:
    node = relation("SELECT CASE WHEN TRUE THEN NULL ELSE id END AS x, CAST('2024-01-01' AS DATE) AS d FROM orders")

    assert columns_of(folded(node)) == columns_of(node)
