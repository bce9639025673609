"""What a plan tells about its rows: which relations have one row, and which columns differ in every row."""

from __future__ import annotations

import pytest

from gpuquery.runner.query.sql.compile.unique import cheaper_join, has_exactly_one_row, is_unique
from gpuquery.runner.query.sql.plan import (
    ONE_ROW,
    Aggregate,
    AggregateCall,
    Column,
    Distinct,
    Field,
    Filter,
    Item,
    Join,
    JoinKind,
    Limit,
    Literal,
    Match,
    Project,
    Reference,
    Relation,
    Scan,
    With,
)
from gpuquery.runner.query.sql.types import BIGINT, BOOLEAN

A, B = (Column(type=BIGINT, index=index) for index in range(2))
T = Scan("t", (Field("a", BIGINT), Field("b", BIGINT)))
COUNT = AggregateCall(type=BIGINT, function="count")
TOTAL = Aggregate(T, (), (COUNT,))
BY_A = Aggregate(T, (Item(A, "a"),), (COUNT,))
"""Columns: a, the count."""
TRUE = Literal(type=BOOLEAN, value=True)
EQUAL = (Match(A, A),)


@pytest.mark.parametrize(
    ("node", "want"),
    [
        pytest.param(TOTAL, True, id="a total"),
        pytest.param(BY_A, False, id="groups"),
        pytest.param(Aggregate(T, (Item(A, "a"),), (), ((), (0,))), False, id="grouping sets"),
        pytest.param(ONE_ROW, True, id="a SELECT without FROM"),
        pytest.param(Filter(TOTAL, TRUE), False, id="a condition may leave nothing"),
        pytest.param(Project(TOTAL, (Item(A, "n"),)), True, id="a projection of one"),
        pytest.param(Join(TOTAL, TOTAL), True, id="a product of two"),
        pytest.param(Join(TOTAL, TOTAL, matches=EQUAL), False, id="a join of two may be empty"),
        pytest.param(Limit(T, count=1), False, id="a limit may have nothing to take"),
        pytest.param(With(1, "w", TOTAL, Reference(1, TOTAL.fields)), True, id="a shared one"),
    ],
)
def test_one_row(node: Relation, want: bool) -> None:
    assert has_exactly_one_row(node, {}) is want


@pytest.mark.parametrize(
    ("node", "at", "want"),
    [
        pytest.param(BY_A, {0}, True, id="the key of groups"),
        pytest.param(BY_A, {1}, False, id="not what is computed of groups"),
        pytest.param(Aggregate(T, (Item(A, "a"), Item(B, "b")), ()), {0}, False, id="not one of two keys"),
        pytest.param(Aggregate(T, (Item(A, "a"),), (), ((), (0,))), {0}, False, id="not a key of grouping sets"),
        pytest.param(TOTAL, set(), True, id="one row differs from no other"),
        pytest.param(T, {0, 1}, False, id="a table may hold a row twice"),
        pytest.param(Distinct(T), {0, 1}, True, id="different rows"),
        pytest.param(Distinct(T), {0}, False, id="not a part of different rows"),
        pytest.param(Limit(T, count=1), set(), True, id="one row at most"),
        pytest.param(Limit(T, count=2), set(), False, id="two rows"),
        pytest.param(Project(BY_A, (Item(B, "n"), Item(A, "a"))), {1}, True, id="through a projection"),
        pytest.param(Project(BY_A, (Item(B, "n"), Item(A, "a"))), {0}, False, id="not its other column"),
        pytest.param(Join(BY_A, T, JoinKind.SEMI, EQUAL), {0}, True, id="rows of the left side with a match"),
        pytest.param(Join(BY_A, BY_A, JoinKind.LEFT, EQUAL), {0}, True, id="each meets one row at most"),
        pytest.param(Join(BY_A, T, JoinKind.LEFT, EQUAL), {0}, False, id="each may meet several"),
        pytest.param(Join(BY_A, T), {0}, False, id="each meets all rows in a product"),
        pytest.param(Join(BY_A, BY_A, JoinKind.FULL, EQUAL), {0}, False, id="rows of the right side alone have NULL"),
        pytest.param(With(1, "w", BY_A, Reference(1, BY_A.fields)), {0}, True, id="of a shared one"),
    ],
)
def test_different(node: Relation, at: set[int], want: bool) -> None:
    assert is_unique(node, frozenset(at), {}) is want


@pytest.mark.parametrize(
    ("node", "want"),
    [
        pytest.param(Join(T, BY_A, JoinKind.SINGLE, EQUAL), JoinKind.LEFT, id="a sub-query by its groups' key"),
        pytest.param(Join(T, T, JoinKind.SINGLE, EQUAL), JoinKind.SINGLE, id="one that may have more rows"),
        pytest.param(Join(T, TOTAL, JoinKind.SINGLE), JoinKind.INNER, id="one row"),
        pytest.param(Join(T, Limit(T, count=1), JoinKind.SINGLE), JoinKind.LEFT, id="one row or none"),
        pytest.param(Join(T, TOTAL, JoinKind.LEFT), JoinKind.INNER, id="a left join with one row"),
        pytest.param(Join(T, TOTAL, JoinKind.LEFT, EQUAL), JoinKind.LEFT, id="a left join that may not match"),
    ],
)
def test_simplified(node: Join, want: JoinKind) -> None:
    assert cheaper_join(node, {}).kind is want
